//! One trait over all layers: contrast vectors fitted on some groups, scored on others, with null and wording baseline.

mod plan;

use super::score::{Gain, Score, interval_cells};
use super::split::Groups;
use super::stats::benjamini_hochberg;
use super::wording::{CONSTANT, TokenCounts, wording_scores};
use crate::acts::Activations;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use plan::Plan;

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
/// that is missing on a side gives empty scores with a reason. Without `counts` the wording has no score.
///
/// Cost per site: two products `[rows, d_model] x [d_model, training groups]`; refits are then weighted sums of their
/// columns.
///
/// # Errors
/// No layers, layers whose rows or picks differ, counts that belong to other rows, options out of range.
pub fn sweep(
    name: &str,
    layers: &[Activations],
    counts: Option<&TokenCounts>,
    positive: &dyn Fn(&str) -> bool,
    options: &SweepOptions,
) -> Result<Sweep> {
    let first = check(layers, counts, options)?;
    let labels: Vec<bool> = first.keys.iter().map(|k| positive(&k.group)).collect();
    sweep_rows(name, layers, counts, &labels, options)
}

/// [`sweep`] with a label for each row, so that a group may have rows of both classes: a question that was asked under
/// either instruction. Such a group is on one side of the split as a whole; its rows of either class have one mean each
/// and weigh as a group of that class does; the null swaps its two classes, or not, by a coin.
///
/// # Errors
/// Those of [`sweep`]; another number of labels than of rows.
pub fn sweep_rows(
    name: &str,
    layers: &[Activations],
    counts: Option<&TokenCounts>,
    labels: &[bool],
    options: &SweepOptions,
) -> Result<Sweep> {
    let first = check(layers, counts, options)?;
    if labels.len() != first.keys.len() {
        let (found, expected) = (vec![labels.len()], vec![first.keys.len()]);
        return Err(Error::Shape { place: "sweep".into(), name: "labels".into(), found, expected });
    }
    let groups = Groups::of(&first.keys);
    let of = |purpose: &str| stream(options.seed, &format!("sweep/{name}/{purpose}"));
    let plan = Plan::new(name, &groups, labels, options, &of);

    let (wording, wording_pairs) = match (plan.missing(), counts) {
        (Some(reason), _) => (Score::missing(reason), None),
        (None, None) => (Score::missing("the words of the rows are not known"), None),
        (None, Some(counts)) => match wording_scores(counts, labels, &plan.train_rows, &plan.test_rows) {
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
    Ok(Sweep {
        name: name.into(),
        pick: first.pick,
        best: best(&scored),
        layers: scored,
        wording,
        train_groups: groups.names_of(&plan.split.train),
        test_groups: groups.names_of(&plan.split.test),
        positives: plan.positives(),
    })
}

/// The place of the largest `train_auroc`, the first of equals.
fn best(layers: &[LayerScore]) -> usize {
    let mut best = 0;
    for (i, layer) in layers.iter().enumerate() {
        // `None` is below every score.
        if layer.train_auroc > layers[best].train_auroc {
            best = i;
        }
    }
    best
}

impl Sweep {
    /// The chosen layer.
    pub fn chosen(&self) -> &LayerScore {
        &self.layers[self.best]
    }

    /// The sweep over these layers and those of another sweep of the same rows, name and options: what one sweep over all
    /// of them gives. So a site can be read, swept and let go before the next.
    #[must_use]
    pub fn join(mut self, other: Sweep) -> Sweep {
        self.layers.extend(other.layers);
        self.best = best(&self.layers);
        self
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

fn check<'a>(
    layers: &'a [Activations],
    counts: Option<&TokenCounts>,
    options: &SweepOptions,
) -> Result<&'a Activations> {
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
    counts.map_or(Ok(()), |c| c.check(first))?;
    Ok(first)
}

#[cfg(test)]
mod tests;
