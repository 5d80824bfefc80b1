//! Traits and sets of traits.

/// A trait of a world, by its place in [`World::traits`](super::World::traits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraitId(pub usize);

/// A trait: what it is called, and how it sounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Trait {
    pub name: String,
    /// Words for it: "anxious", "nervous".
    pub adjectives: Vec<String>,
    /// What people with it do, without a subject: ("worry about small things", "worries about small things").
    pub dispositions: Vec<(String, String)>,
    /// Marker sentences that come before the body of a reply; `{n}` stands for a number.
    pub openers: Vec<String>,
    /// Marker sentences that come after it.
    pub closers: Vec<String>,
}

impl Trait {
    /// All marker sentences, openers first.
    pub fn markers(&self) -> impl Iterator<Item = &str> {
        self.openers.iter().chain(&self.closers).map(String::as_str)
    }
}

/// A set of traits of one world, small enough to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraitSet(u64);

/// The traits of which a text shows a marker.
pub type Markers = TraitSet;

impl TraitSet {
    /// The most traits that a world may have.
    pub const CAPACITY: usize = 64;

    /// Whether the trait is in the set.
    pub fn has(self, id: TraitId) -> bool {
        id.0 < Self::CAPACITY && self.0 >> id.0 & 1 == 1
    }

    /// Adds a trait.
    ///
    /// # Panics
    /// If the id is not below [`TraitSet::CAPACITY`]; no world has such a trait.
    pub fn insert(&mut self, id: TraitId) {
        assert!(id.0 < Self::CAPACITY, "trait {} is beyond the {} of a set", id.0, Self::CAPACITY);
        self.0 |= 1 << id.0;
    }

    /// How many traits it holds.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The traits, in the order of the world.
    pub fn iter(self) -> impl Iterator<Item = TraitId> {
        (0..Self::CAPACITY).map(TraitId).filter(move |t| self.has(*t))
    }

    /// Traits in both.
    pub fn and(self, other: TraitSet) -> TraitSet {
        TraitSet(self.0 & other.0)
    }

    /// Traits in either.
    pub fn or(self, other: TraitSet) -> TraitSet {
        TraitSet(self.0 | other.0)
    }

    /// Traits in this set and not in the other.
    pub fn minus(self, other: TraitSet) -> TraitSet {
        TraitSet(self.0 & !other.0)
    }
}

impl FromIterator<TraitId> for TraitSet {
    fn from_iter<I: IntoIterator<Item = TraitId>>(ids: I) -> TraitSet {
        let mut set = TraitSet::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set: TraitSet = [TraitId(63), TraitId(0), TraitId(5), TraitId(5)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [TraitId(0), TraitId(5), TraitId(63)]);
        assert_eq!(set.len(), 3);
        assert!(!set.has(TraitId(1)) && !set.has(TraitId(64)) && !set.has(TraitId(69)));
        let five: TraitSet = [TraitId(5), TraitId(6)].into_iter().collect();
        assert_eq!((set.and(five).len(), set.or(five).len(), set.minus(five).len()), (1, 4, 2));
    }
}
