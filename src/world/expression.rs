//! How often traits show, against what was planted.

use super::World;
use super::traits::{Markers, TraitId, TraitSet};

/// A share with its counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub hits: usize,
    pub of: usize,
}

impl Rate {
    /// The share, 0 to 1; `None` where nothing was counted.
    pub fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// Counts one more.
    pub(super) fn add(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.of += 1;
    }

    /// Counts all of another count.
    pub(super) fn join(&mut self, other: Rate) {
        self.hits += other.hits;
        self.of += other.of;
    }
}

/// The rates of one trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraitRates {
    pub id: TraitId,
    /// Over replies of speakers that have it.
    pub on: Rate,
    /// Over replies of speakers that lack it.
    pub off: Rate,
}

/// Rates over many replies; one count per reply and trait, so replies with more traits weigh more in `on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Traits that the speaker has and that showed; planted [`World::p_on`].
    pub on: Rate,
    /// Traits that the speaker lacks and that showed; planted [`World::p_off`].
    pub off: Rate,
    /// One per trait of the world, in its order.
    pub per_trait: Vec<TraitRates>,
}

impl World {
    /// Counts what showed. Each row is one reply: the traits that its speaker has, and the markers found in it.
    pub fn expression(&self, rows: impl IntoIterator<Item = (TraitSet, Markers)>) -> Expression {
        let none = Rate::default();
        let per_trait = self.trait_ids().map(|id| TraitRates { id, on: none, off: none }).collect();
        let mut all = Expression { on: none, off: none, per_trait };
        for (planted, markers) in rows {
            for rates in &mut all.per_trait {
                let hit = markers.has(rates.id);
                let (whole, one) = match planted.has(rates.id) {
                    true => (&mut all.on, &mut rates.on),
                    false => (&mut all.off, &mut rates.off),
                };
                whole.add(hit);
                one.add(hit);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_counted_by_trait_and_by_what_was_planted() {
        let w = World::toyworld();
        let set = |ids: &[usize]| ids.iter().map(|i| TraitId(*i)).collect::<TraitSet>();
        // Two replies of a speaker with traits 0 and 1: the first shows 0 and, not planted, 4; the second shows 0, 1.
        let e = w.expression([(set(&[0, 1]), set(&[0, 4])), (set(&[0, 1]), set(&[0, 1]))]);
        assert_eq!(e.on, Rate { hits: 3, of: 4 });
        // 9 traits, 2 planted, 2 replies: 14 chances, 1 taken.
        assert_eq!(e.off, Rate { hits: 1, of: 14 });
        assert_eq!(e.per_trait[1].on, Rate { hits: 1, of: 2 });
        assert_eq!(e.per_trait[4].off, Rate { hits: 1, of: 2 });
        assert_eq!((e.on.value(), e.per_trait[4].on.value()), (Some(0.75), None));
    }
}
