//! One trait over all layers: contrast vectors fitted on some groups, scored on others, with null and wording baseline.

use super::clustered::ClusteredAuroc;
use super::contrast::{contrast_weights, is_constant, means_of, rows_f64};
use super::score::{Gain, Score, interval_cells};
use super::split::{Groups, Split, stratified_folds, stratified_split};
use super::stats::{auroc, benjamini_hochberg, mean};
use super::wording::{CONSTANT, TokenCounts, wording_scores};
use crate::acts::Activations;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use ndarray::{Array1, Array2};
use rand::seq::SliceRandom;

/// How a sweep splits, resamples and shuffles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepOptions {
    /// Share of each class's groups that directions are fitted on.
    pub train_fraction: f64,
    /// Folds inside the training groups, for choosing the layer.
    pub folds: usize,
    pub bootstrap: usize,
    pub permutations: usize,
    pub seed: u64,
}

impl Default for SweepOptions {
    fn default() -> SweepOptions {
        SweepOptions { train_fraction: 5.0 / 8.0, folds: 5, bootstrap: 1000, permutations: 200, seed: 0 }
    }
}

/// One site of a sweep.
#[derive(Clone, Debug)]
pub struct LayerScore {
    pub site: Site,
    /// Mean AUROC over folds of the training groups. The layer is chosen by this alone.
    pub train_auroc: Option<f64>,
    pub held_out: Score,
    /// Held-out AUROC above that of the wording; `None` where either is missing.
    pub gain: Option<Gain>,
    /// Fitted on the training groups.
    pub direction: Option<Direction>,
}

/// A trait over all sites of one pick.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The trait.
    pub name: String,
    pub pick: Pick,
    pub layers: Vec<LayerScore>,
    /// Index of the layer with the largest `train_auroc`, the first of equals. Held-out rows have no say in it.
    pub best: usize,
    /// The token-count probe on the same split. It has an interval but no null of its own.
    pub wording: Score,
    pub train_groups: Vec<String>,
    pub test_groups: Vec<String>,
    /// Positive groups among (training, test).
    pub positives: (usize, usize),
}

/// Sweeps the contrast vector of `name` over `layers` (same rows and pick at different sites).
///
/// Groups (personas) are split once, stratified by `positive`, by (seed, name) alone. Per site the contrast vector of
/// the training groups scores the held-out *rows* by projection; the interval resamples held-out groups. The null
/// shuffles labels over groups, within the training and within the held-out groups so that the split keeps its counts,
/// and refits and rescores each time. A site where all rows are the same scores 0.5 with the reason `constant`; a class
/// that is missing on a side gives empty scores with a reason.
///
/// Cost per site: two products `[rows, d_model] x [d_model, training groups]`; refits are then weighted sums of their
/// columns.
///
/// # Errors
/// No layers, layers whose rows or picks differ, counts that belong to other rows, options out of range.
pub fn sweep(
    name: &str,
    layers: &[Activations],
    counts: &TokenCounts,
    positive: &dyn Fn(&str) -> bool,
    options: &SweepOptions,
) -> Result<Sweep> {
    let first = check(layers, counts, options)?;
    let groups = Groups::of(&first.keys);
    let labels: Vec<bool> = groups.names.iter().map(|g| positive(g)).collect();
    let of = |purpose: &str| stream(options.seed, &format!("sweep/{name}/{purpose}"));
    let split = stratified_split(&labels, options.train_fraction, &mut of("split"));
    let plan = Plan::new(name, &groups, labels, split, options, &mut of("folds"), &mut of("null"));

    let row_labels: Vec<bool> = groups.of_row.iter().map(|&g| plan.labels[g]).collect();
    let (wording, wording_pairs) = match plan.missing() {
        Some(reason) => (Score::missing(reason), None),
        None => match wording_scores(counts, &row_labels, &plan.train_rows, &plan.test_rows) {
            Ok(scores) => {
                let pairs = plan.pairs(&scores);
                (Score::of(&pairs, &[], options.bootstrap, &mut of("bootstrap")), Some(pairs))
            }
            Err(reason) if reason == CONSTANT => (Score::chance(reason), None),
            Err(reason) => (Score::missing(reason), None),
        },
    };
    let scored: Vec<LayerScore> = layers
        .iter()
        .map(|acts| {
            let (mut layer, pairs) = plan.layer(acts);
            if let Some(pairs) = pairs.filter(|_| wording.auroc.is_some()) {
                layer.gain = Gain::of(&pairs, wording_pairs.as_ref(), options.bootstrap, &mut of("bootstrap"));
            }
            layer
        })
        .collect();
    let mut best = 0;
    for (i, layer) in scored.iter().enumerate() {
        // `None` is below every score.
        if layer.train_auroc > scored[best].train_auroc {
            best = i;
        }
    }
    let count = |side: &[usize]| side.iter().filter(|&&g| plan.labels[g]).count();
    Ok(Sweep {
        name: name.into(),
        pick: first.pick,
        layers: scored,
        best,
        wording,
        train_groups: groups.names_of(&plan.split.train),
        test_groups: groups.names_of(&plan.split.test),
        positives: (count(&plan.split.train), count(&plan.split.test)),
    })
}

impl Sweep {
    /// The chosen layer.
    pub fn chosen(&self) -> &LayerScore {
        &self.layers[self.best]
    }
}

/// One row per trait, pick and probe: `contrast` at each site, and `wording` once. `q_value` is Benjamini-Hochberg over
/// the chosen layers of all sweeps given, the only ones that are claims.
pub fn sweep_table(name: &str, sweeps: &[Sweep]) -> Table {
    let mut columns = vec!["trait", "pick", "probe", "site", "layer", "chosen", "train_auroc"];
    columns.extend(Score::COLUMNS);
    columns.extend(["q_value", "gain_over_wording", "gain_lo", "gain_hi", "gain_note", "mean_difference_activation"]);
    columns.extend(["train_groups", "test_groups", "test_positive_groups", "reason"]);
    let mut table = Table::new(name, &columns);
    let q = benjamini_hochberg(&sweeps.iter().map(|s| s.chosen().held_out.p).collect::<Vec<_>>());
    for (s, q) in sweeps.iter().zip(q) {
        let sizes = [s.train_groups.len(), s.test_groups.len(), s.positives.1].map(Cell::from);
        for (i, l) in s.layers.iter().enumerate() {
            let chosen = i == s.best;
            let mut row: Vec<Cell> = vec![s.name.clone().into(), s.pick.name().into(), "contrast".into()];
            row.extend([l.site.to_string().into(), l.site.layer().into(), usize::from(chosen).into()]);
            row.push(l.train_auroc.into());
            row.extend(l.held_out.cells());
            row.extend([q.filter(|_| chosen).into(), l.gain.map(|g| g.value).into()]);
            row.extend(interval_cells(l.gain.and_then(|g| g.interval)));
            row.push(l.direction.as_ref().map(|d| d.raw_norm).into());
            row.extend(sizes.clone());
            row.push(l.held_out.reason.clone().into());
            table.push(row);
        }
        let mut row: Vec<Cell> = vec![s.name.clone().into(), s.pick.name().into(), "wording".into()];
        row.extend([Cell::Empty, Cell::Empty, Cell::Empty, Cell::Empty]);
        row.extend(s.wording.cells());
        row.extend(vec![Cell::Empty; 6]);
        row.extend(sizes);
        row.push(s.wording.reason.clone().into());
        table.push(row);
    }
    table
}

/// Everything about a sweep that does not depend on the site.
struct Plan<'a> {
    name: &'a str,
    options: &'a SweepOptions,
    labels: Vec<bool>,
    split: Split,
    /// Training rows and, for each, the place of its group in `split.train`.
    train_rows: Vec<usize>,
    train_place: Vec<usize>,
    /// Test rows and, for each, the place of its group in `split.test`.
    test_rows: Vec<usize>,
    test_place: Vec<usize>,
    /// Lists of rows of the training groups.
    train_lists: Vec<Vec<usize>>,
    /// Fold of each training group.
    folds: Option<Vec<usize>>,
    /// Shuffled labels of (training groups, test groups).
    shuffles: Vec<(Vec<bool>, Vec<bool>)>,
}

impl<'a> Plan<'a> {
    fn new(
        name: &'a str,
        groups: &Groups,
        labels: Vec<bool>,
        split: Split,
        options: &'a SweepOptions,
        fold_rng: &mut impl rand::Rng,
        null_rng: &mut impl rand::Rng,
    ) -> Plan<'a> {
        let place = |side: &[usize]| -> Vec<usize> {
            side.iter().enumerate().flat_map(|(p, &g)| std::iter::repeat_n(p, groups.rows[g].len())).collect()
        };
        let of = |side: &[usize]| -> Vec<bool> { side.iter().map(|&g| labels[g]).collect() };
        let (mut train_labels, mut test_labels) = (of(&split.train), of(&split.test));
        let folds = stratified_folds(&train_labels, options.folds, fold_rng);
        let mut shuffle = || {
            train_labels.shuffle(null_rng);
            test_labels.shuffle(null_rng);
            (train_labels.clone(), test_labels.clone())
        };
        Plan {
            shuffles: (0..options.permutations).map(|_| shuffle()).collect(),
            train_rows: groups.rows_of(&split.train),
            train_place: place(&split.train),
            test_rows: groups.rows_of(&split.test),
            test_place: place(&split.test),
            train_lists: split.train.iter().map(|&g| groups.rows[g].clone()).collect(),
            folds,
            name,
            options,
            labels,
            split,
        }
    }

    fn train_labels(&self) -> Vec<bool> {
        self.split.train.iter().map(|&g| self.labels[g]).collect()
    }

    fn test_labels(&self) -> Vec<bool> {
        self.split.test.iter().map(|&g| self.labels[g]).collect()
    }

    /// Why nothing can be scored, if so.
    fn missing(&self) -> Option<String> {
        for (side, labels) in [("training", self.train_labels()), ("held-out", self.test_labels())] {
            for (word, class) in [("with", true), ("without", false)] {
                if !labels.contains(&class) {
                    return Some(format!("no {side} group {word} {}", self.name));
                }
            }
        }
        None
    }

    /// Pairs of test rows by their scores.
    fn pairs(&self, scores: &[f64]) -> ClusteredAuroc {
        let labels = self.test_labels();
        let of_row: Vec<bool> = self.test_place.iter().map(|&p| labels[p]).collect();
        ClusteredAuroc::new(scores, &of_row, &self.test_place, labels.len(), None)
    }

    fn layer(&self, acts: &Activations) -> (LayerScore, Option<ClusteredAuroc>) {
        let empty =
            |held_out, train_auroc| LayerScore { site: acts.site, train_auroc, held_out, gain: None, direction: None };
        if let Some(reason) = self.missing() {
            return (empty(Score::missing(reason), None), None);
        }
        if is_constant(acts) {
            return (empty(Score::chance(CONSTANT), Some(0.5)), None);
        }
        let means = means_of(acts, &self.train_lists);
        let train = rows_f64(acts, &self.train_rows).dot(&means.t());
        let test = rows_f64(acts, &self.test_rows).dot(&means.t());
        let labels = self.train_labels();
        let weights = contrast_weights(&labels).unwrap_or_else(|| Array1::zeros(labels.len()));
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

    /// Mean AUROC over the folds of the training groups; `train` is `[training row, training group]`.
    fn cross_validated(&self, train: &Array2<f64>) -> Option<f64> {
        let (folds, labels) = (self.folds.as_ref()?, self.train_labels());
        let scores: Vec<f64> = (0..=*folds.iter().max()?)
            .filter_map(|fold| {
                let fitted: Vec<usize> = (0..labels.len()).filter(|&g| folds[g] != fold).collect();
                let weights = contrast_weights(&fitted.iter().map(|&g| labels[g]).collect::<Vec<_>>())?;
                let mut all = Array1::zeros(labels.len());
                fitted.iter().zip(&weights).for_each(|(&g, &w)| all[g] = w);
                let rows: Vec<usize> = (0..train.nrows()).filter(|&r| folds[self.train_place[r]] == fold).collect();
                let scores: Vec<f64> = rows.iter().map(|&r| train.row(r).dot(&all)).collect();
                auroc(&scores, &rows.iter().map(|&r| labels[self.train_place[r]]).collect::<Vec<_>>())
            })
            .collect();
        mean(&scores)
    }

    /// Held-out AUROC under shuffled labels; `test` is `[test row, training group]`.
    fn null(&self, test: &Array2<f64>) -> Vec<f64> {
        let mut weights = Array2::zeros((self.split.train.len(), self.shuffles.len()));
        for (mut column, (labels, _)) in weights.columns_mut().into_iter().zip(&self.shuffles) {
            if let Some(w) = contrast_weights(labels) {
                column.assign(&w);
            }
        }
        let scores = test.dot(&weights);
        let score = |(column, (_, labels)): (ndarray::ArrayView1<f64>, &(Vec<bool>, Vec<bool>))| {
            auroc(&column.to_vec(), &self.test_place.iter().map(|&p| labels[p]).collect::<Vec<_>>())
        };
        scores.columns().into_iter().zip(&self.shuffles).filter_map(score).collect()
    }
}

fn check<'a>(layers: &'a [Activations], counts: &TokenCounts, options: &SweepOptions) -> Result<&'a Activations> {
    let Some(first) = layers.first() else {
        return Err(Error::refused("a sweep over no layers", "give activations of at least one site"));
    };
    if let Some(other) = layers.iter().find(|a| a.pick != first.pick || a.keys != first.keys) {
        return Err(Error::refused(
            format!("{} ({}) and {} ({}) have different rows", first.site, first.pick, other.site, other.pick),
            "sweep one pick at a time, over the rows of one capture",
        ));
    }
    let o = options;
    if !(o.train_fraction > 0.0 && o.train_fraction < 1.0) || o.folds < 2 {
        return Err(Error::refused(
            format!("train_fraction {} and folds {} are out of range", o.train_fraction, o.folds),
            "train_fraction is between 0 and 1, and there are at least 2 folds",
        ));
    }
    counts.check(first)?;
    Ok(first)
}

#[cfg(test)]
mod tests;
