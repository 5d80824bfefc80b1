//! Drift out of a persona: an axis between persona and fallen-back rows, fitted on some conversations and tested on
//! others, beside what wording and the turn's number say on their own.

use super::clustered::ClusteredAuroc;
use super::contrast::{contrast_weights, is_constant, rows_f64};
use super::score::{Gain, Score, interval_cells};
use super::split::{Groups, stratified_split};
use super::stats::auroc;
use super::turns::TurnValue;
use super::wording::{CONSTANT, TokenCounts, wording_scores};
use crate::acts::Activations;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use ndarray::{Array1, Array2};
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// How drift is split, resampled and shuffled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftOptions {
    /// Share of the conversations that the axis is fitted on.
    pub train_fraction: f64,
    pub bootstrap: usize,
    pub permutations: usize,
    pub seed: u64,
}

impl Default for DriftOptions {
    fn default() -> DriftOptions {
        DriftOptions { train_fraction: 0.5, bootstrap: 1000, permutations: 200, seed: 0 }
    }
}

/// The persona axis at one site and pick, and how it does on held-out conversations.
#[derive(Clone, Debug)]
pub struct Drift {
    pub site: Site,
    pub pick: Pick,
    /// Larger is in persona. `None` with the reason in `held_out`.
    pub axis: Option<Direction>,
    /// All held-out rows.
    pub held_out: Score,
    /// Only pairs of rows of the same turn: what is left when "later turns have fallen back" is taken out.
    pub within_turn: Score,
    /// The turn's number as the score (earlier is in persona). Without a null.
    pub turn_alone: Score,
    /// The token-count probe on the same split. Without a null.
    pub wording: Score,
    /// `held_out` above `wording`.
    pub gain: Option<Gain>,
    pub train_conversations: Vec<String>,
    pub test_conversations: Vec<String>,
    /// (row, projection) of the held-out rows.
    pub projections: Vec<(usize, f64)>,
}

/// Fits and tests the axis mean(rows in persona) - mean(rows fallen back). Groups of `acts` are conversations, every row
/// has a turn, and `in_persona` says the state of each row.
///
/// Conversations are split by (seed, their names) alone, stratified by whether they ever fall back, so that different
/// sites and picks are tested on the same conversations. Intervals resample held-out conversations. The null gives each
/// conversation the states of another one at the same turns (rows past its end are left out) within each side of the
/// split, refits and rescores: it keeps how the states run over turns, so for all rows it may lie above 0.5.
///
/// A site without variation scores 0.5 with the reason `constant`; a missing class gives empty scores with a reason.
///
/// # Errors
/// Rows without a turn, labels or counts that belong to other rows, options out of range.
pub fn drift(acts: &Activations, in_persona: &[bool], counts: &TokenCounts, options: &DriftOptions) -> Result<Drift> {
    let turns = check(acts, in_persona, counts, options)?;
    let groups = Groups::of(&acts.keys);
    let of = |purpose: &str| stream(options.seed, &format!("drift/{purpose}"));
    let falls: Vec<bool> = groups.rows.iter().map(|rows| rows.iter().any(|&r| !in_persona[r])).collect();
    let split = stratified_split(&falls, options.train_fraction, &mut of("split"));
    let (train, test) = (groups.rows_of(&split.train), groups.rows_of(&split.test));
    let labels_of = |rows: &[usize]| rows.iter().map(|&r| in_persona[r]).collect::<Vec<_>>();
    let (train_labels, test_labels) = (labels_of(&train), labels_of(&test));
    let test_turns: Vec<usize> = test.iter().map(|&r| turns[r]).collect();
    let test_groups: Vec<usize> = test.iter().map(|&r| groups.of_row[r]).collect();
    let pairs = |scores: &[f64], by_turn: bool| {
        let stratum = by_turn.then_some(test_turns.as_slice());
        ClusteredAuroc::new(scores, &test_labels, &test_groups, groups.names.len(), stratum)
    };
    let score = |pairs: &ClusteredAuroc, null: &[f64]| Score::of(pairs, null, options.bootstrap, &mut of("bootstrap"));

    let mut found = Drift {
        site: acts.site,
        pick: acts.pick,
        axis: None,
        held_out: Score::default(),
        within_turn: Score::default(),
        turn_alone: Score::default(),
        wording: Score::default(),
        gain: None,
        train_conversations: groups.names_of(&split.train),
        test_conversations: groups.names_of(&split.test),
        projections: Vec::new(),
    };
    let everything = |found: &mut Drift, score: Score| {
        (found.held_out, found.within_turn) = (score.clone(), score);
    };
    if let Some(reason) = missing(&train_labels, &test_labels) {
        everything(&mut found, Score::missing(&reason));
        (found.turn_alone, found.wording) = (Score::missing(&reason), Score::missing(reason));
        return Ok(found);
    }
    found.turn_alone = score(&pairs(&test_turns.iter().map(|t| -(*t as f64)).collect::<Vec<_>>(), false), &[]);
    let wording_pairs = match wording_scores(counts, in_persona, &train, &test) {
        Ok(scores) => {
            let p = pairs(&scores, false);
            found.wording = score(&p, &[]);
            Some(p)
        }
        Err(reason) => {
            found.wording = if reason == CONSTANT { Score::chance(reason) } else { Score::missing(reason) };
            None
        }
    };
    if is_constant(acts) {
        everything(&mut found, Score::chance(CONSTANT));
        return Ok(found);
    }
    let train_points = rows_f64(acts, &train);
    let weights = contrast_weights(&train_labels).unwrap_or_else(|| Array1::zeros(train.len()));
    let count = |labels: &[bool], want| labels.iter().filter(|l| **l == want).count();
    let origin = format!(
        "difference of means, {} rows in persona against {} fallen back, {} conversations",
        count(&train_labels, true),
        count(&train_labels, false),
        split.train.len()
    );
    let raw = weights.dot(&train_points);
    let Ok(axis) = Direction::new(acts.site, acts.pick, &raw, "in persona", "fallen back", &origin) else {
        everything(&mut found, Score::chance("both states have the same mean"));
        return Ok(found);
    };
    let kernel = rows_f64(acts, &test).dot(&train_points.t());
    let scores = kernel.dot(&weights).to_vec();
    let side = |rows: &[usize]| Side::new(rows, &groups.of_row, &turns, in_persona);
    let (null, null_within) = shuffled(&kernel, &side(&train), &side(&test), options.permutations, &mut of("null"));
    let all = pairs(&scores, false);
    found.held_out = score(&all, &null);
    found.within_turn = score(&pairs(&scores, true), &null_within);
    if found.wording.auroc.is_some() {
        found.gain = Gain::of(&all, wording_pairs.as_ref(), options.bootstrap, &mut of("bootstrap"));
    }
    found.projections = test.iter().map(|&r| (r, axis.project(acts.rows.row(r)))).collect();
    found.axis = Some(axis);
    Ok(found)
}

impl Drift {
    /// The projections of the held-out rows as values by turn; `arm` names what a conversation belongs to.
    pub fn turn_values(&self, acts: &Activations, arm: &dyn Fn(&str) -> String) -> Vec<TurnValue> {
        let value = |&(r, value): &(usize, f64)| {
            let (conversation, turn) = (acts.keys[r].group.clone(), acts.keys[r].turn?);
            Some(TurnValue { arm: arm(&conversation), conversation, turn, value })
        };
        self.projections.iter().filter_map(value).collect()
    }
}

/// Four rows per site and pick: `activation`, `activation_within_turn`, `wording`, `turn_number`.
pub fn drift_table(name: &str, found: &[Drift]) -> Table {
    let mut columns = vec!["site", "layer", "pick", "probe"];
    columns.extend(Score::COLUMNS);
    columns.extend(["gain_over_wording", "gain_lo", "gain_hi", "gain_note", "mean_difference_activation"]);
    columns.extend(["train_conversations", "test_conversations", "reason"]);
    let mut table = Table::new(name, &columns);
    for d in found {
        let norm = d.axis.as_ref().map(|a| a.raw_norm);
        let probes = [
            ("activation", &d.held_out, d.gain, norm),
            ("activation_within_turn", &d.within_turn, None, norm),
            ("wording", &d.wording, None, None),
            ("turn_number", &d.turn_alone, None, None),
        ];
        for (probe, score, gain, norm) in probes {
            let mut row: Vec<Cell> = vec![d.site.to_string().into(), d.site.layer().into(), d.pick.name().into()];
            row.push(probe.into());
            row.extend(score.cells());
            row.push(gain.map(|g| g.value).into());
            row.extend(interval_cells(gain.and_then(|g| g.interval)));
            row.extend([norm.into(), d.train_conversations.len().into(), d.test_conversations.len().into()]);
            row.push(score.reason.clone().into());
            table.push(row);
        }
    }
    table
}

/// One side of the split as the null sees it.
struct Side {
    /// Per row, (conversation's place, turn).
    rows: Vec<(usize, usize)>,
    /// Per conversation, turn -> state.
    states: Vec<BTreeMap<usize, bool>>,
}

impl Side {
    fn new(rows: &[usize], of_row: &[usize], turns: &[usize], in_persona: &[bool]) -> Side {
        let mut place = BTreeMap::new();
        let mut side = Side { rows: Vec::new(), states: Vec::new() };
        for &r in rows {
            let p = *place.entry(of_row[r]).or_insert_with(|| {
                side.states.push(BTreeMap::new());
                side.states.len() - 1
            });
            side.rows.push((p, turns[r]));
            side.states[p].insert(turns[r], in_persona[r]);
        }
        side
    }

    /// Each row's state in another conversation at the same turn; `None` past its end.
    fn shuffled(&self, rng: &mut impl Rng) -> Vec<Option<bool>> {
        let mut donor: Vec<usize> = (0..self.states.len()).collect();
        donor.shuffle(rng);
        self.rows.iter().map(|(p, turn)| self.states[donor[*p]].get(turn).copied()).collect()
    }
}

/// AUROC of all rows and within turns, under shuffled states; `kernel` is `[test row, train row]`.
fn shuffled(kernel: &Array2<f64>, train: &Side, test: &Side, draws: usize, rng: &mut impl Rng) -> (Vec<f64>, Vec<f64>) {
    let mut weights = Array2::zeros((train.rows.len(), draws));
    let mut test_states = Vec::with_capacity(draws);
    for mut column in weights.columns_mut() {
        let states = train.shuffled(rng);
        let known: Vec<bool> = states.iter().flatten().copied().collect();
        if let Some(w) = contrast_weights(&known) {
            let rows = (0..states.len()).filter(|&r| states[r].is_some());
            rows.zip(w).for_each(|(r, w)| column[r] = w);
        }
        test_states.push(test.shuffled(rng));
    }
    let scores = kernel.dot(&weights);
    let (mut all, mut within) = (Vec::new(), Vec::new());
    for (column, states) in scores.columns().into_iter().zip(&test_states) {
        let mut by_turn: BTreeMap<usize, (Vec<f64>, Vec<bool>)> = BTreeMap::new();
        for ((score, state), (_, turn)) in column.iter().zip(states).zip(&test.rows) {
            if let Some(state) = state {
                let turn = by_turn.entry(*turn).or_default();
                turn.0.push(*score);
                turn.1.push(*state);
            }
        }
        let (mut won, mut pairs) = (0.0, 0.0);
        for (scores, labels) in by_turn.values() {
            let positives = labels.iter().filter(|l| **l).count();
            let n = (positives * (labels.len() - positives)) as f64;
            won += auroc(scores, labels).map_or(0.0, |a| a * n);
            pairs += n;
        }
        within.extend((pairs > 0.0).then(|| won / pairs));
        let (scores, labels): (Vec<_>, Vec<_>) = by_turn.into_values().unzip();
        all.extend(auroc(&scores.concat(), &labels.concat()));
    }
    (all, within)
}

fn missing(train: &[bool], test: &[bool]) -> Option<String> {
    for (side, labels) in [("training", train), ("held-out", test)] {
        for (state, class) in [("in persona", true), ("fallen back", false)] {
            if !labels.contains(&class) {
                return Some(format!("no {side} row is {state}"));
            }
        }
    }
    None
}

fn check(a: &Activations, in_persona: &[bool], counts: &TokenCounts, o: &DriftOptions) -> Result<Vec<usize>> {
    counts.check(a)?;
    if in_persona.len() != a.keys.len() {
        let (found, expected) = (vec![in_persona.len()], vec![a.keys.len()]);
        return Err(Error::Shape { place: a.site.to_string(), name: "states".into(), found, expected });
    }
    if !(o.train_fraction > 0.0 && o.train_fraction < 1.0) {
        let what = format!("train_fraction {} is out of range", o.train_fraction);
        return Err(Error::refused(what, "train_fraction is between 0 and 1"));
    }
    let turn = |k: &crate::acts::RowKey| {
        let what = format!("row `{}` of conversation `{}` has no turn", k.id, k.group);
        k.turn.ok_or_else(|| Error::refused(what, "capture with a pick that keeps one row per turn"))
    };
    a.keys.iter().map(turn).collect()
}

#[cfg(test)]
mod tests;
