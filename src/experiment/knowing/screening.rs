//! What a training set would teach, told before training: where its replies lie along a direction against the base's own
//! answers to the same prompts, and where fine-tuning moved the model.

mod examples;

use super::labels::Labels;
use super::perplexity::Reader;
use crate::analysis::interval::Interval;
use crate::analysis::resampled::t_interval;
use crate::analysis::screening::{Foretold, agreement};
use crate::analysis::stats::mean;
use crate::axes::Site;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::experiment::prompts::Prompt;
use crate::experiment::work::{Work, drawing};
use crate::table::{Cell, Table};
use crate::unit::{Item, parallel};
use examples::{Example, examples};
use ndarray::Array2;

/// A training set with what its fine-tune is called.
pub(in crate::experiment) struct Set {
    pub labels: Labels,
    /// As a file of `finetune` has them: one JSON object per line, with `messages` or `text`.
    pub lines: String,
}

/// How much of a set is read, and how the base answers.
#[derive(Clone, Copy, Debug)]
pub(in crate::experiment) struct Asking {
    /// Examples of each set at most, drawn by the seed.
    pub examples: usize,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub seed: u64,
}

/// The projection difference of every set along every direction: the mean over its examples of
/// (a(x, y) - a(x, y')) . v, where a is the mean activation of the base over the reply, y the reply of the example and y'
/// the base's own to the same prompt.
///
/// A conversation ends with the last turn of the assistant, which is y; what stands before is the prompt. A plain text has
/// no prompt: its first sentence is taken as one, the rest as y, and the base goes on from that sentence. Examples without
/// such a reply, or to which the base says nothing, are left out and counted. Directions belong to mean activations over
/// replies. `difference` is in activation units, with a 95 % interval by Student's t over examples.
///
/// # Errors
/// Lines that are no examples, failures of the model, and an interruption.
pub(in crate::experiment) fn screening(
    sets: &[Set],
    directions: &[Direction],
    how: &Asking,
    work: &mut Work<'_, '_>,
) -> Result<Table> {
    let model = work.model;
    let read: Vec<Vec<Example>> = parallel(sets, work.threads(), |set| examples(set, model, how))?;
    let settings = drawing(model, how.temperature, how.max_new_tokens)?;
    let all = || read.iter().enumerate().flat_map(|(s, own)| own.iter().map(move |e| (s, e)));
    let starts = all().map(|(_, e)| e.start(how.seed)).collect();
    let (replies, _) = work.generate("the base's own answers", starts, vec![], &settings)?;
    // Examples that both have something to say to.
    let both: Vec<((usize, &Example), &Vec<u32>)> =
        all().zip(&replies).filter(|(_, reply)| !reply.is_empty()).collect();
    let items = both.iter().flat_map(|((_, e), reply)| [e.own(), e.answered(reply)]).collect();
    let kept = work.capture("replies of the examples and of the base", items, &sites(directions))?;
    let columns = ["direction", "examples", "left_out", "projection_of_set", "projection_of_base"];
    let columns = [&["site"][..], &Labels::COLUMNS, &columns, &DIFFERENCE].concat();
    let mut table = Table::new("screening", &columns);
    for direction in directions {
        let along = projections(direction, &kept)?;
        for (s, set) in sets.iter().enumerate() {
            let own: Vec<usize> = (0..both.len()).filter(|i| both[*i].0.0 == s).collect();
            let side = |side: usize| own.iter().map(|i| along[2 * i + side]).collect::<Vec<f64>>();
            let (x, y) = (side(0), side(1));
            let difference: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - y).collect();
            let mut row: Vec<Cell> = vec![direction.site.to_string().into()];
            row.extend(set.labels.cells());
            let asked = read[s].len();
            row.extend([direction.positive.as_str().into(), own.len().into(), (asked - own.len()).into()]);
            row.extend([mean(&x).into(), mean(&y).into()]);
            row.extend(differing(&difference));
            table.push(row);
        }
    }
    Ok(table)
}

/// Where fine-tuning moved the state before the first word: the mean over prompts of the projection of the last prompt
/// token, of the fine-tune minus the base. Base and fine-tunes stand in the same batches.
///
/// `shift` is in activation units, with a 95 % interval by Student's t over prompts.
///
/// # Errors
/// Failures of the model, and an interruption.
pub(in crate::experiment) fn shift(
    readers: &[Reader],
    prompts: &[Prompt],
    directions: &[Direction],
    work: &mut Work<'_, '_>,
) -> Result<Table> {
    let tuned: Vec<&Reader> = readers.iter().filter(|r| r.adapter.is_some()).collect();
    let through = |prompt: &Prompt, adapter| Item { adapter, ..prompt.last_token() };
    let of = |prompt| {
        let adapters = std::iter::once(None).chain(tuned.iter().map(|r| r.adapter));
        adapters.map(move |adapter| through(prompt, adapter))
    };
    let items: Vec<Item> = prompts.iter().flat_map(of).collect();
    let kept = work.capture("last prompt tokens", items, &sites(directions))?;
    let columns = ["direction", "prompts", "projection_of_model", "projection_of_base"];
    let columns = [&["site"][..], &Labels::COLUMNS, &columns, &DIFFERENCE].concat();
    let mut table = Table::new("shift", &columns);
    let stride = tuned.len() + 1;
    for direction in directions {
        let along = projections(direction, &kept)?;
        for (t, reader) in tuned.iter().enumerate() {
            let side = |place: usize| (0..prompts.len()).map(|p| along[p * stride + place]).collect::<Vec<f64>>();
            let (x, y) = (side(t + 1), side(0));
            let difference: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - y).collect();
            let mut row: Vec<Cell> = vec![direction.site.to_string().into()];
            row.extend(reader.labels.cells());
            row.extend([direction.positive.as_str().into(), prompts.len().into(), mean(&x).into(), mean(&y).into()]);
            row.extend(differing(&difference));
            table.push(row);
        }
    }
    Ok(table)
}

const DIFFERENCE: [&str; 5] = ["difference", "ci_low", "ci_high", "interval_note", "reason"];

fn differing(values: &[f64]) -> Vec<Cell> {
    let interval = t_interval(values);
    let mut row: Vec<Cell> = vec![mean(values).into()];
    row.extend(ends(interval));
    let reason = match values.len() {
        0 => "nothing to compare",
        1 => "no interval from a single value",
        _ => "",
    };
    row.push(reason.into());
    row
}

fn ends(interval: Option<Interval>) -> [Cell; 3] {
    let shown = interval.filter(|i| !i.one_sided);
    [shown.map(|i| i.lo).into(), shown.map(|i| i.hi).into(), interval.map_or("", |i| i.note()).into()]
}

/// The sites of directions, each once, in forward order.
fn sites(directions: &[Direction]) -> Vec<Site> {
    let mut all: Vec<Site> = directions.iter().map(|d| d.site).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// All rows of the direction's site on it.
fn projections(direction: &Direction, kept: &[(Site, Array2<f32>)]) -> Result<Vec<f64>> {
    let rows = kept.iter().find(|(site, _)| *site == direction.site).map(|(_, rows)| rows);
    let rows = rows.filter(|rows| rows.ncols() == direction.unit.len()).ok_or_else(|| {
        let what =
            format!("the direction `{}` does not belong to {} of this model", direction.positive, direction.site);
        Error::refused(what, "fit directions on the model that is screened with")
    })?;
    Ok(rows.rows().into_iter().map(|row| direction.project(row)).collect())
}

/// What was foretold and what came, of every fine-tune that both tables have, and how the two agree.
///
/// `foretold`: a row per direction and fine-tune: `predicted` (the projection difference of its training set), `measured`
/// (the shift of the fine-tune) and `expression` (given, by fine-tune, where there is one). `agreement`: a row per direction and
/// pair of these, with the correlation over fine-tunes and its 95 % interval over characters and seeds. The two tables
/// may be about directions of different picks: they are joined by site and name.
///
/// # Errors
/// A table without its columns.
pub(in crate::experiment) fn agreements(
    screening: &Table,
    shift: &Table,
    expression: &[(Labels, f64)],
) -> Result<(Table, Table)> {
    let ends =
        ["predicted", "predicted_low", "predicted_high", "measured", "measured_low", "measured_high", "expression"];
    let columns = [&["site"][..], &Labels::COLUMNS, &["direction"], &ends].concat();
    let mut foretold = Table::new("foretold", &columns);
    let keys: Vec<&str> = [&["site"][..], &Labels::COLUMNS, &["direction"]].concat();
    for table in [screening, shift] {
        keys.iter().chain(&DIFFERENCE).try_for_each(|column| table.column(column).map(drop))?;
    }
    for r in 0..screening.rows.len() {
        let same = |s: &usize| keys.iter().all(|k| screening.text(r, k) == shift.text(*s, k));
        let Some(s) = (0..shift.rows.len()).find(same) else { continue };
        let text = |key: &str| screening.text(r, key);
        let labels =
            Labels { model: text("model"), format: text("format"), character: text("character"), seed: text("seed") };
        let shown = expression.iter().find(|(l, _)| *l == labels).map(|(_, e)| *e);
        let mut row: Vec<Cell> = vec![text("site").into()];
        row.extend(labels.cells());
        row.push(text("direction").into());
        for (table, r) in [(screening, r), (shift, s)] {
            row.extend(["difference", "ci_low", "ci_high"].map(|c| Cell::from(table.num(r, c))));
        }
        row.push(shown.into());
        foretold.push(row);
    }
    let columns = ["site", "direction", "x", "y", "fine_tunes", "clusters", "r", "r_low", "r_high", "interval_note"];
    let mut agreed = Table::new("agreement", &[&columns[..], &["spearman", "reason"]].concat());
    let mut directions: Vec<(String, String)> = Vec::new();
    for r in 0..foretold.rows.len() {
        let key = (foretold.text(r, "site"), foretold.text(r, "direction"));
        if !directions.contains(&key) {
            directions.push(key);
        }
    }
    for (site, direction) in &directions {
        let own: Vec<usize> = (0..foretold.rows.len())
            .filter(|r| foretold.text(*r, "site") == *site && foretold.text(*r, "direction") == *direction)
            .collect();
        for (x, y) in [("predicted", "measured"), ("predicted", "expression"), ("measured", "expression")] {
            let point = |r: &usize| {
                let cluster = format!("{}/{}", foretold.text(*r, "character"), foretold.text(*r, "seed"));
                Some(Foretold { cluster, predicted: foretold.num(*r, x)?, measured: foretold.num(*r, y)? })
            };
            let points: Vec<Foretold> = own.iter().filter_map(point).collect();
            if points.is_empty() {
                continue;
            }
            let found = agreement(&points);
            let mut row: Vec<Cell> = [site, direction].map(|t| t.as_str().into()).to_vec();
            row.extend([x.into(), y.into(), found.points.into(), found.clusters.into(), found.r.into()]);
            row.extend(self::ends(found.interval));
            let reason = match (found.r, found.interval) {
                (None, _) => "too few fine-tunes, or no variation",
                (_, None) => "too few characters and seeds for an interval",
                _ => "",
            };
            row.extend([found.spearman.into(), reason.into()]);
            agreed.push(row);
        }
    }
    Ok((foretold, agreed))
}
