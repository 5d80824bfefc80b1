//! The measures through training: does knowing come before feeling?

use super::directions::Directions;
use super::measures::{Asking, measure};
use super::models::Wanted;
use super::more::bare;
use super::protocol::Protocol;
use super::subjects::{Tuned, subjects};
use crate::analysis::knowing::{Index, Measured, Options, knowing};
use crate::error::Result;
use crate::experiment::spec::Knowing as Settings;
use crate::experiment::tunes;
use crate::experiment::work::Work;
use crate::model::Model;
use crate::table::{Cell, Table};
use std::collections::{BTreeMap, BTreeSet};

/// The indices of a format at one checkpoint.
struct Point {
    format: String,
    step: usize,
    tokens: usize,
    fine_tunes: usize,
    index: Index,
    value: Option<f64>,
    interval: Option<(f64, f64)>,
    reason: String,
}

/// The fine-tunes that are followed.
pub(super) fn followed<'w>(s: &Settings, wanted: &'w [Wanted]) -> Vec<&'w Wanted> {
    let takes = |w: &&Wanted| {
        let seeds = s.course.seeds.is_empty() || s.course.seeds.contains(&w.tuned.seed);
        let formats = s.course.formats.is_empty() || s.course.formats.contains(&w.tuned.format);
        seeds && formats && w.made().is_some()
    };
    wanted.iter().filter(takes).collect()
}

/// The tables `course` and `onset`.
///
/// Every checkpoint is measured as the finished fine-tunes are, with its own adapter, and put between the same anchors;
/// those of one format at one step are pooled over characters and seeds. The onset is the first checkpoint from which on
/// the interval stays clear of the base, of all that follow.
pub(super) fn course(
    s: &Settings,
    protocol: &Protocol,
    wanted: &[Wanted],
    directions: &Directions,
    (how, options): (&Asking, &Options),
    work: &mut Work<'_, '_>,
) -> Result<Vec<Table>> {
    let mut tuned = Vec::new();
    let mut at: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let (mut model, _) = Model::open(&work.model.source, work.model.opening())?;
    for w in followed(s, wanted) {
        let Some(tune) = w.made() else { continue };
        for c in tunes::course(tune, s.course.save_every, work)? {
            let Some(adapter) = c.adapter else { continue };
            let name = format!("{}.{}", w.tuned.name, c.step);
            at.insert(name.clone(), (c.step, c.tokens));
            model.add(adapter)?;
            tuned.push(Tuned { name, ..w.tuned.clone() });
        }
    }
    let all = subjects(protocol, &tuned);
    let found = work.on(&model, |work| measure("through training: ", (protocol, &all), directions, how, work))?;
    let mut points = Vec::new();
    let cells: BTreeSet<(&str, usize)> = tuned.iter().map(|t| (t.format.as_str(), at[&t.name].0)).collect();
    for (format, step) in cells {
        let here = |r: &&Measured| r.is_anchor() || r.format == format && at[&r.model].0 == step;
        let rows: Vec<Measured> = found.rows.iter().filter(here).cloned().collect();
        let own: Vec<&Tuned> = tuned.iter().filter(|t| t.format == format && at[&t.name].0 == step).collect();
        // Formats have texts of unlike length: the mean over fine-tunes.
        let tokens = own.iter().map(|t| at[&t.name].1).sum::<usize>() / own.len().max(1);
        let found = knowing(&rows, &bare(options))?;
        for r in found.indices.iter().filter(|r| r.model == "*" && Index::MAIN[..4].contains(&r.index)) {
            points.push(Point {
                format: format.into(),
                step,
                tokens,
                fine_tunes: own.len(),
                index: r.index,
                value: r.value,
                interval: r.interval,
                reason: r.reason.clone(),
            });
        }
    }
    Ok(vec![table(&points), onsets(&points)])
}

fn table(points: &[Point]) -> Table {
    let columns = ["format", "step", "tokens_trained", "index", "value", "ci_low", "ci_high", "fine_tunes", "reason"];
    let mut table = Table::new("course", &columns);
    for p in points {
        let mut row: Vec<Cell> = vec![p.format.as_str().into(), p.step.into(), p.tokens.into()];
        row.extend([p.index.name().into(), p.value.into(), p.interval.map(|i| i.0).into()]);
        row.extend([p.interval.map(|i| i.1).into(), p.fine_tunes.into(), p.reason.as_str().into()]);
        table.push(row);
    }
    table
}

/// The first step from which on an index stays above the base.
fn onsets(points: &[Point]) -> Table {
    let mut table = Table::new("onset", &["format", "index", "step", "tokens_trained", "reason"]);
    let curves: BTreeSet<(&str, Index)> = points.iter().map(|p| (p.format.as_str(), p.index)).collect();
    for (format, index) in curves {
        let mut own: Vec<&Point> = points.iter().filter(|p| p.format == format && p.index == index).collect();
        own.sort_by_key(|p| p.step);
        let below = own.iter().rposition(|p| !p.interval.is_some_and(|i| i.0 > 0.0));
        let first = own.get(below.map_or(0, |b| b + 1));
        let reason = match (first, own.iter().all(|p| p.interval.is_none())) {
            (_, true) => "no interval at any checkpoint",
            (None, _) => "not clear of the base at the last checkpoint",
            _ => "",
        };
        table.push(vec![
            format.into(),
            index.name().into(),
            first.map(|p| p.step).into(),
            first.map(|p| p.tokens).into(),
            reason.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_onset_is_where_the_interval_stays_clear_of_the_base() {
        let point = |step, lo: Option<f64>| Point {
            format: "chat".into(),
            step,
            tokens: 10 * step,
            fine_tunes: 3,
            index: Index::K,
            value: lo.map(|l| l + 0.1),
            interval: lo.map(|l| (l, l + 0.2)),
            reason: String::new(),
        };
        let first = |lows: [Option<f64>; 4]| {
            let points: Vec<Point> = lows.into_iter().enumerate().map(|(i, l)| point(i + 1, l)).collect();
            let t = onsets(&points);
            (t.num(0, "step"), t.text(0, "reason"))
        };
        // Clear at 1, not at 2, clear from 3 on.
        assert_eq!(first([Some(0.1), Some(-0.1), Some(0.1), Some(0.2)]), (Some(3.0), String::new()));
        assert_eq!(first([Some(0.1); 4]), (Some(1.0), String::new()));
        assert_eq!(first([Some(0.1), Some(0.1), Some(0.1), Some(-0.1)]).0, None);
        assert_eq!(first([None; 4]).1, "no interval at any checkpoint");
    }
}
