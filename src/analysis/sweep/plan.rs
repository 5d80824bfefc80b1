//! Everything about a sweep that does not depend on the site: the split, the cells that means are taken of, the null.

use super::{LayerScore, SweepOptions};
use crate::acts::Activations;
use crate::analysis::clustered::ClusteredAuroc;
use crate::analysis::contrast::{contrast_weights, is_constant, means_of, rows_f64};
use crate::analysis::score::Score;
use crate::analysis::split::{Groups, Split, stratified_folds, stratified_split};
use crate::analysis::stats::{auroc, mean};
use crate::analysis::wording::CONSTANT;
use crate::direction::Direction;
use crate::rng::stream;
use ndarray::{Array1, Array2};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub(super) struct Plan<'a> {
    name: &'a str,
    options: &'a SweepOptions,
    pub split: Split,
    pub train_rows: Vec<usize>,
    pub test_rows: Vec<usize>,
    train: Side,
    test: Side,
    /// Fold of each training cell; folds are dealt by group.
    folds: Option<Vec<usize>>,
    /// Shuffled labels of (training cells, test cells).
    shuffles: Vec<(Vec<bool>, Vec<bool>)>,
}

/// The groups of a side of the split, cut into cells: the rows of one class of one group.
struct Side {
    /// Rows of each cell.
    cells: Vec<Vec<usize>>,
    labels: Vec<bool>,
    /// The place of each cell's group among the groups of the side.
    group: Vec<usize>,
    groups: usize,
    /// For each row of the side, group after group, its cell.
    of_row: Vec<usize>,
}

impl Side {
    fn new(groups: &Groups, side: &[usize], row_labels: &[bool]) -> Side {
        let mut s = Side { cells: vec![], labels: vec![], group: vec![], groups: side.len(), of_row: vec![] };
        for (place, &g) in side.iter().enumerate() {
            let mut cell_of = [None; 2];
            for class in [true, false] {
                let rows: Vec<usize> = groups.rows[g].iter().copied().filter(|&r| row_labels[r] == class).collect();
                if !rows.is_empty() {
                    cell_of[usize::from(class)] = Some(s.cells.len());
                    s.cells.push(rows);
                    s.labels.push(class);
                    s.group.push(place);
                }
            }
            s.of_row.extend(groups.rows[g].iter().filter_map(|&r| cell_of[usize::from(row_labels[r])]));
        }
        s
    }

    /// Whether the cell's group has another one: cells of a group stand together.
    fn is_paired(&self, cell: usize) -> bool {
        let same = |other: Option<&usize>| other == Some(&self.group[cell]);
        same(self.group.get(cell + 1)) || (cell > 0 && same(self.group.get(cell - 1)))
    }

    /// Shuffles the labels of groups of one class among these, and swaps those of a group with both, or not.
    fn shuffle(&self, labels: &mut [bool], rng: &mut impl Rng) {
        let single: Vec<usize> = (0..labels.len()).filter(|&c| !self.is_paired(c)).collect();
        let mut of_single: Vec<bool> = single.iter().map(|&c| labels[c]).collect();
        of_single.shuffle(rng);
        single.iter().zip(of_single).for_each(|(&c, l)| labels[c] = l);
        for c in (1..labels.len()).filter(|&c| self.group[c] == self.group[c - 1]) {
            if rng.random() {
                labels.swap(c - 1, c);
            }
        }
    }

    /// How many groups have rows of the positive class.
    fn positives(&self) -> usize {
        self.labels.iter().filter(|l| **l).count()
    }
}

impl<'a> Plan<'a> {
    /// `of` gives the random stream of a purpose.
    pub fn new(
        name: &'a str,
        groups: &Groups,
        row_labels: &[bool],
        options: &'a SweepOptions,
        of: &dyn Fn(&str) -> ChaCha8Rng,
    ) -> Plan<'a> {
        let classes = |g: usize| [true, false].map(|c| groups.rows[g].iter().any(|&r| row_labels[r] == c));
        let (both, single): (Vec<usize>, Vec<usize>) = (0..groups.rows.len()).partition(|&g| classes(g) == [true; 2]);
        let split = split(&single, &both, &|g| classes(g)[0], options.train_fraction, &mut of("split"));
        let (train, test) = (Side::new(groups, &split.train, row_labels), Side::new(groups, &split.test, row_labels));
        let folds = folds(&train, options.folds, &mut of("folds"));
        let (mut train_labels, mut test_labels) = (train.labels.clone(), test.labels.clone());
        let mut rng = of("null");
        let mut shuffle = || {
            train.shuffle(&mut train_labels, &mut rng);
            test.shuffle(&mut test_labels, &mut rng);
            (train_labels.clone(), test_labels.clone())
        };
        Plan {
            shuffles: (0..options.permutations).map(|_| shuffle()).collect(),
            train_rows: groups.rows_of(&split.train),
            test_rows: groups.rows_of(&split.test),
            train,
            test,
            folds,
            name,
            options,
            split,
        }
    }

    /// Why nothing can be scored, if so.
    pub fn missing(&self) -> Option<String> {
        for (word, side) in [("training", &self.train), ("held-out", &self.test)] {
            for (with, class) in [("with", true), ("without", false)] {
                if !side.labels.contains(&class) {
                    return Some(format!("no {word} group {with} {}", self.name));
                }
            }
        }
        None
    }

    /// Groups with rows of the positive class among (training, test).
    pub fn positives(&self) -> (usize, usize) {
        (self.train.positives(), self.test.positives())
    }

    /// Pairs of test rows by their scores.
    pub fn pairs(&self, scores: &[f64]) -> ClusteredAuroc {
        let of_row: Vec<bool> = self.test.of_row.iter().map(|&c| self.test.labels[c]).collect();
        let cluster: Vec<usize> = self.test.of_row.iter().map(|&c| self.test.group[c]).collect();
        ClusteredAuroc::new(scores, &of_row, &cluster, self.test.groups, None)
    }

    pub fn layer(&self, acts: &Activations) -> (LayerScore, Option<ClusteredAuroc>) {
        let empty =
            |held_out, train_auroc| LayerScore { site: acts.site, train_auroc, held_out, gain: None, direction: None };
        if let Some(reason) = self.missing() {
            return (empty(Score::missing(reason), None), None);
        }
        if is_constant(acts) {
            return (empty(Score::chance(CONSTANT), Some(0.5)), None);
        }
        let means = means_of(acts, &self.train.cells);
        let train = rows_f64(acts, &self.train_rows).dot(&means.t());
        let test = rows_f64(acts, &self.test_rows).dot(&means.t());
        let labels = &self.train.labels;
        let weights = contrast_weights(labels).unwrap_or_else(|| Array1::zeros(labels.len()));
        let (positive, negative) = (self.name.to_string(), format!("not {}", self.name));
        let origin = format!(
            "difference of means, {} training groups against {}",
            labels.iter().filter(|l| **l).count(),
            labels.iter().filter(|l| !**l).count()
        );
        let raw = weights.dot(&means);
        let Ok(direction) = Direction::new(acts.site, acts.pick, &raw, &positive, &negative, &origin) else {
            return (empty(Score::chance("both classes have the same mean"), Some(0.5)), None);
        };
        let pairs = self.pairs(&test.dot(&weights).to_vec());
        let null = self.null(&test);
        let mut rng = stream(self.options.seed, &format!("sweep/{}/bootstrap", self.name));
        let held_out = Score::of(&pairs, &null, self.options.bootstrap, &mut rng);
        let train_auroc = self.cross_validated(&train);
        (LayerScore { site: acts.site, train_auroc, held_out, gain: None, direction: Some(direction) }, Some(pairs))
    }

    /// Mean AUROC over the folds of the training groups; `train` is `[training row, training cell]`.
    fn cross_validated(&self, train: &Array2<f64>) -> Option<f64> {
        let (folds, labels) = (self.folds.as_ref()?, &self.train.labels);
        let last = folds.iter().filter(|f| **f != NO_FOLD).max()?;
        let scores: Vec<f64> = (0..=*last)
            .filter_map(|fold| {
                let fitted: Vec<usize> = (0..labels.len()).filter(|&c| folds[c] != fold).collect();
                let weights = contrast_weights(&fitted.iter().map(|&c| labels[c]).collect::<Vec<_>>())?;
                let mut all = Array1::zeros(labels.len());
                fitted.iter().zip(&weights).for_each(|(&c, &w)| all[c] = w);
                let of_row = &self.train.of_row;
                let rows: Vec<usize> = (0..train.nrows()).filter(|&r| folds[of_row[r]] == fold).collect();
                let scores: Vec<f64> = rows.iter().map(|&r| train.row(r).dot(&all)).collect();
                auroc(&scores, &rows.iter().map(|&r| labels[of_row[r]]).collect::<Vec<_>>())
            })
            .collect();
        mean(&scores)
    }

    /// Held-out AUROC under shuffled labels; `test` is `[test row, training cell]`.
    fn null(&self, test: &Array2<f64>) -> Vec<f64> {
        let mut weights = Array2::zeros((self.train.cells.len(), self.shuffles.len()));
        for (mut column, (labels, _)) in weights.columns_mut().into_iter().zip(&self.shuffles) {
            if let Some(w) = contrast_weights(labels) {
                column.assign(&w);
            }
        }
        let scores = test.dot(&weights);
        let score = |(column, (_, labels)): (ndarray::ArrayView1<f64>, &(Vec<bool>, Vec<bool>))| {
            auroc(&column.to_vec(), &self.test.of_row.iter().map(|&c| labels[c]).collect::<Vec<_>>())
        };
        scores.columns().into_iter().zip(&self.shuffles).filter_map(score).collect()
    }
}

/// Splits groups of one class by class, and those with both among themselves.
fn split(
    single: &[usize],
    both: &[usize],
    is_positive: &dyn Fn(usize) -> bool,
    train_fraction: f64,
    rng: &mut impl Rng,
) -> Split {
    let labels: Vec<bool> = single.iter().map(|&g| is_positive(g)).collect();
    let of_single = stratified_split(&labels, train_fraction, rng);
    let of_both = stratified_split(&vec![true; both.len()], train_fraction, rng);
    let side = |s: &[usize], b: &[usize]| {
        let mut groups: Vec<usize> = s.iter().map(|&i| single[i]).chain(b.iter().map(|&i| both[i])).collect();
        groups.sort_unstable();
        groups
    };
    Split { train: side(&of_single.train, &of_both.train), test: side(&of_single.test, &of_both.test) }
}

/// The fold of a cell that is only fitted on.
const NO_FOLD: usize = usize::MAX;

/// The fold of each cell: groups of one class are dealt by class, those with both among themselves. What cannot be dealt
/// is in no fold, and only fitted on.
fn folds(side: &Side, folds: usize, rng: &mut impl Rng) -> Option<Vec<usize>> {
    let (paired, single): (Vec<usize>, Vec<usize>) = (0..side.cells.len()).partition(|&c| side.is_paired(c));
    let of_single = stratified_folds(&single.iter().map(|&c| side.labels[c]).collect::<Vec<_>>(), folds, rng);
    let mut groups: Vec<usize> = paired.iter().map(|&c| side.group[c]).collect();
    groups.dedup();
    groups.shuffle(rng);
    if of_single.is_none() && groups.len() < 2 {
        return None;
    }
    let mut fold = vec![NO_FOLD; side.cells.len()];
    single.iter().zip(of_single.into_iter().flatten()).for_each(|(&c, f)| fold[c] = f);
    if groups.len() > 1 {
        let place = |c: usize| groups.iter().position(|g| *g == side.group[c]).unwrap_or(0);
        paired.iter().for_each(|&c| fold[c] = place(c) % folds.min(groups.len()));
    }
    Some(fold)
}
