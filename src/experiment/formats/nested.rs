//! Values with intervals over characters, seeds and what was measured on each.

use crate::analysis::interval::{FEW_CLUSTERS, Interval, stratified_bootstrap};
use crate::analysis::stats::{mean, quantile};
use crate::experiment::formats::Cast;
use crate::rng::stream;
use crate::table::{Cell, Table};
use rand::Rng;

/// A number from a sample of units.
type Statistic<'a> = Box<dyn Fn(&[usize]) -> Option<f64> + 'a>;

/// A statistic of one subject.
pub(super) struct Leaf<'a> {
    /// What is resampled (replies, traits, texts), in strata of which a resample holds as many as the data.
    pub strata: Vec<Vec<usize>>,
    pub value: Statistic<'a>,
}

impl<'a> Leaf<'a> {
    /// A statistic over `n` units of one kind.
    pub fn over(n: usize, value: impl Fn(&[usize]) -> Option<f64> + 'a) -> Leaf<'a> {
        Leaf { strata: vec![(0..n).collect()], value: Box::new(value) }
    }

    /// The mean of one number per unit.
    pub fn mean(values: Vec<f64>) -> Leaf<'a> {
        Leaf::over(values.len(), move |sample| mean(&sample.iter().map(|i| values[*i]).collect::<Vec<_>>()))
    }

    fn n(&self) -> usize {
        self.strata.iter().map(Vec::len).sum()
    }

    fn whole(&self) -> Option<f64> {
        (self.value)(&self.strata.concat())
    }

    fn draw(&self, rng: &mut impl Rng) -> Option<f64> {
        let one = |s: &Vec<usize>, rng: &mut _| (0..s.len()).map(|_| s[pick(s.len(), rng)]).collect::<Vec<_>>();
        let sample: Vec<usize> = self.strata.iter().flat_map(|s| one(s, rng)).collect();
        (self.value)(&sample)
    }
}

fn pick(n: usize, rng: &mut impl Rng) -> usize {
    rng.random_range(0..n)
}

/// The mean over characters of the mean over seeds, with a 95 % interval.
///
/// A resample draws characters, seeds of each, and units of each seed, all with replacement: the three sources of
/// chance. With few characters it is too narrow, and flagged. `None` without a value for every leaf, or (the interval)
/// without draws.
pub(super) fn nested(tree: &[Vec<Leaf<'_>>], draws: usize, rng: &mut impl Rng) -> (Option<f64>, Option<Interval>) {
    let of = |seeds: &Vec<Leaf<'_>>| mean(&seeds.iter().map(Leaf::whole).collect::<Option<Vec<_>>>()?);
    let value = tree.iter().map(of).collect::<Option<Vec<_>>>().and_then(|v| mean(&v));
    if value.is_none() || tree.iter().any(Vec::is_empty) {
        return (None, None);
    }
    let mut resample = || -> Option<f64> {
        let mut characters = Vec::with_capacity(tree.len());
        for _ in 0..tree.len() {
            let seeds = &tree[pick(tree.len(), rng)];
            let one = |_| seeds[pick(seeds.len(), rng)].draw(rng);
            characters.push(mean(&(0..seeds.len()).map(one).collect::<Option<Vec<_>>>()?)?);
        }
        mean(&characters)
    };
    let values: Vec<f64> = (0..draws).filter_map(|_| resample()).collect();
    let ends = quantile(&values, 0.025).zip(quantile(&values, 0.975)).filter(|_| values.len() * 2 >= draws);
    let interval = ends.map(|(lo, hi)| Interval {
        lo,
        hi,
        draws_used: values.len(),
        few_clusters: tree.len() < FEW_CLUSTERS,
        one_sided: lo == hi,
    });
    (value, interval)
}

/// One measure of one model in one cell of a table.
pub(super) struct Measured<'a> {
    pub model: &'static str,
    /// The cells that tell what was measured, `condition` and `topics` for example.
    pub keys: Vec<String>,
    pub measure: &'static str,
    /// As [`Cast::tree`] has the subjects of the model.
    pub tree: Vec<Vec<Leaf<'a>>>,
}

/// The name of the rows over all characters and seeds.
pub(super) const ALL: &str = "(all)";

/// One row per subject, with the interval over its units, and one over all of a model's subjects.
///
/// Columns: `model`, `character`, `seed` (empty for the base), the keys, `measure`, `units` (of the smallest subject),
/// `value`, `value_lo`, `value_hi`, `interval_note`.
pub(super) fn tabled(
    name: &str,
    keys: &[&str],
    cast: &Cast,
    measured: &[Measured<'_>],
    (draws, seed): (usize, u64),
) -> Table {
    let columns = [&["model", "character", "seed"], keys, &["measure", "units"]].concat();
    let values = ["value", "value_lo", "value_hi", "interval_note"];
    let mut table = Table::new(name, &[&columns[..], &values].concat());
    for m in measured {
        let label = format!("{name}/{}/{}/{}", m.model, m.keys.join("/"), m.measure);
        let mut push = |who: [String; 2], units: usize, value: Option<f64>, interval: Option<Interval>| {
            let mut row: Vec<Cell> = vec![m.model.into(), who[0].as_str().into(), who[1].as_str().into()];
            row.extend(m.keys.iter().map(|k| Cell::from(k.as_str())));
            row.extend([m.measure.into(), units.into()]);
            row.extend(ends(value, interval, draws));
            table.push(row);
        };
        for (places, leaves) in cast.tree(m.model).iter().zip(&m.tree) {
            for (subject, leaf) in places.iter().zip(leaves) {
                let who = &cast.subjects[*subject];
                let seeded = who.seed.map_or(String::new(), |s| s.to_string());
                let mut rng = stream(seed, &format!("{label}/{}/{seeded}", who.character));
                let interval = stratified_bootstrap(&leaf.strata, draws, &mut rng, |sample| (leaf.value)(sample));
                push([cast.character(*subject).name.clone(), seeded], leaf.n(), leaf.whole(), interval);
            }
        }
        let (value, interval) = nested(&m.tree, draws, &mut stream(seed, &label));
        let least = m.tree.iter().flatten().map(Leaf::n).min().unwrap_or(0);
        push([ALL.into(), ALL.into()], least, value, interval);
    }
    table
}

fn ends(value: Option<f64>, interval: Option<Interval>, draws: usize) -> [Cell; 4] {
    // An interval without width would look like certainty.
    let shown = interval.filter(|i| !i.one_sided);
    let note = match (value, interval) {
        (None, _) => "one class alone: no value",
        (_, Some(i)) if i.one_sided => "no variation between resamples",
        (_, Some(i)) => i.note(),
        _ if draws == 0 => "no resamples asked for",
        _ => "too few units to resample",
    };
    [value.into(), shown.map(|i| i.lo).into(), shown.map(|i| i.hi).into(), note.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(values: &[f64]) -> Leaf<'static> {
        Leaf::mean(values.to_vec())
    }

    #[test]
    fn characters_weigh_the_same_whatever_their_seeds_and_units() {
        // Character 1: seeds with means 1 and 3; character 2: one seed with mean 6. (2 + 6) / 2.
        let tree = vec![vec![leaf(&[1.0]), leaf(&[2.0, 4.0])], vec![leaf(&[6.0, 6.0, 6.0])]];
        let (value, interval) = nested(&tree, 400, &mut stream(0, "nested"));
        assert_eq!(value, Some(4.0));
        let i = interval.unwrap();
        // The least resample is character 1 twice with seed 1 alone: 1; the largest character 2 twice: 6. Each of the two
        // characters is drawn twice with probability 1/4, far above 2.5 %.
        assert!(i.lo < 2.5 && i.lo >= 1.0 && i.hi == 6.0 && i.few_clusters, "{i:?}");
    }

    #[test]
    fn the_interval_holds_what_lies_within_a_seed_too() {
        // One character and one seed: what is left is the mean of 100 coins, with standard error 0.05.
        let coins: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let (value, interval) = nested(&[vec![leaf(&coins)]], 2000, &mut stream(0, "coins"));
        let i = interval.unwrap();
        assert_eq!(value, Some(0.5));
        assert!((i.lo - 0.402).abs() < 0.015 && (i.hi - 0.598).abs() < 0.015, "{i:?}");
    }

    #[test]
    fn strata_keep_both_classes_and_a_missing_value_gives_none() {
        let both = Leaf {
            strata: vec![vec![0], vec![1, 2, 3]],
            value: Box::new(|s| Some(f64::from(u8::from(s.contains(&0))))),
        };
        let mut rng = stream(0, "strata");
        assert!((0..50).all(|_| both.draw(&mut rng) == Some(1.0)));
        let none = Leaf::over(3, |_| None);
        assert_eq!(nested(&[vec![leaf(&[1.0]), none]], 10, &mut rng), (None, None));
        let e = ends(Some(1.0), nested(&[vec![leaf(&[1.0, 1.0])]], 10, &mut rng).1, 10);
        assert_eq!((&e[1], &e[3]), (&Cell::Empty, &Cell::from("no variation between resamples")));
    }
}
