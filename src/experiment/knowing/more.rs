//! Tables beside the indices: the latent profile, scorers, confounds, the place on the axis.

use super::ask::Answered;
use super::latent::Place;
use super::measures::{Measures, latent_rows};
use super::protocol::{self, Protocol};
use super::subjects::Subject;
use crate::analysis::knowing::{Index, IndexRow, Measure, Measured, Options, knowing};
use crate::analysis::resampled::t_interval;
use crate::analysis::stats::{mean, pearson};
use crate::error::Result;
use crate::table::{Cell, Table};
use std::collections::BTreeMap;

/// All of them.
pub(super) fn tables(of: (&Protocol, &[Subject]), found: &Measures, options: &Options) -> Result<Vec<Table>> {
    Ok(vec![
        knowledge(of, found),
        profile(of, found, options)?,
        scorers(of, found),
        confounds(of, found, options)?,
        axis(of, found),
    ])
}

/// Place of the format, measure, kind and split.
type Asked<'a> = (usize, &'a str, &'a str, &'a str);

/// Questions by format, kind and split: the value behind what is taken off, the value without that, and how many the base
/// has already, which count nowhere.
fn knowledge((protocol, subjects): (&Protocol, &[Subject]), found: &Measures) -> Table {
    let columns =
        ["format", "measure", "kind", "split", "asked", "value", "value_alone", "right_share", "known_to_base"];
    let mut table = Table::new("questions", &columns);
    let mut cells: BTreeMap<Asked<'_>, (Vec<Answered>, usize)> = BTreeMap::new();
    let order = formats(subjects);
    for (p, a) in &found.asked {
        let (s, q) = (&subjects[p.subject], &protocol.questions[p.question]);
        let measure = if q.measure == protocol::Measure::Knowledge { Measure::K } else { Measure::S };
        let place = order.iter().position(|f| *f == s.format).unwrap_or(0);
        let cell = cells.entry((place, measure.name(), q.kind, &q.split)).or_default();
        cell.0.push(*a);
        cell.1 += usize::from(found.known.contains(&p.question));
    }
    for ((format, measure, kind, split), (answers, known)) in cells {
        let over = |f: fn(&Answered) -> f64| mean(&answers.iter().map(f).collect::<Vec<f64>>());
        let right = |a: &Answered| f64::from(u8::from(a.raw > 0.5));
        let mut row: Vec<Cell> = [order[format], measure, kind, split].map(Cell::from).to_vec();
        row.extend([answers.len().into(), over(|a| a.value).into(), over(|a| a.raw).into()]);
        // Mean probabilities of claims have no side that is right.
        row.extend([Some(kind).filter(|k| *k != "identity").and_then(|_| over(right)).into(), known.into()]);
        table.push(row);
    }
    table
}

/// The formats of subjects, each once, in order.
fn formats(subjects: &[Subject]) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for s in subjects {
        if !all.contains(&s.format.as_str()) {
            all.push(&s.format);
        }
    }
    all
}

/// Indices without classes and contrasts.
pub(super) fn bare(options: &Options) -> Options {
    Options { resamples: 0, planned: Some(vec![]), ..options.clone() }
}

fn value(r: &IndexRow) -> [Cell; 3] {
    [r.value.into(), r.interval.map(|i| i.0).into(), r.interval.map(|i| i.1).into()]
}

/// The latent indices pooled by format, at every site and place.
fn profile(of: (&Protocol, &[Subject]), found: &Measures, options: &Options) -> Result<Table> {
    let columns = ["site", "place", "format", "index", "value", "ci_low", "ci_high", "clusters", "reason"];
    let mut table = Table::new("latent", &columns);
    let mut sites: Vec<_> = found.carried.iter().map(|c| c.site).collect();
    sites.sort();
    sites.dedup();
    for site in sites {
        for place in Place::ALL {
            let rows = latent_rows(of, &found.carried, place, Some(site));
            if rows.iter().all(Measured::is_anchor) {
                continue;
            }
            for r in knowing(&rows, &bare(options))?.latent.iter().filter(|r| r.model == "*") {
                let mut row: Vec<Cell> = vec![site.to_string().into(), place.name().into()];
                row.extend([r.format.as_str().into(), r.index.name().into()]);
                row.extend(value(r));
                row.extend([r.clusters.into(), r.reason.as_str().into()]);
                table.push(row);
            }
        }
    }
    Ok(table)
}

/// What every scorer says of the replies of a format, how the first agrees with it, and how many are coherent.
fn scorers((protocol, subjects): (&Protocol, &[Subject]), found: &Measures) -> Table {
    let columns =
        ["format", "trait", "scorer", "replies", "coherent_share", "unscored", "mean_score", "correlation_with_first"];
    let mut table = Table::new("scorers", &columns);
    for format in formats(subjects) {
        for (which, t) in protocol.traits.iter().enumerate() {
            let has = |s: &Subject| s.format == format && protocol.characters[s.character].traits.contains(&which);
            let own: Vec<_> =
                found.put.iter().zip(&found.shown).filter(|(p, _)| has(&subjects[p.subject])).map(|(_, s)| s).collect();
            let coherent: Vec<f64> = own.iter().map(|s| f64::from(u8::from(s.coherent))).collect();
            for (k, (name, _)) in t.scorers.iter().enumerate() {
                let scores: Vec<f64> = own.iter().filter_map(|s| s.scores[which][k]).collect();
                let both = own.iter().filter_map(|s| s.scores[which][0].zip(s.scores[which][k]));
                let (first, this): (Vec<f64>, Vec<f64>) = both.unzip();
                let mut row: Vec<Cell> = vec![format.into(), t.name.as_str().into(), name.as_str().into()];
                row.extend([own.len().into(), mean(&coherent).into(), (own.len() - scores.len()).into()]);
                row.extend([
                    mean(&scores).into(),
                    Some(k).filter(|k| *k > 0).and_then(|_| pearson(&first, &this)).into(),
                ]);
                table.push(row);
            }
        }
    }
    table
}

/// Expression of traits whose markers share words with what states them, and of the others: a path from knowing to
/// showing that is no feeling.
fn confounds(of: (&Protocol, &[Subject]), found: &Measures, options: &Options) -> Result<Table> {
    let columns = ["word_overlap", "traits", "format", "index", "value", "ci_low", "ci_high", "clusters", "reason"];
    let mut table = Table::new("confounds", &columns);
    for overlap in [true, false] {
        let own: Vec<&str> =
            of.0.traits.iter().filter(|t| t.overlap == Some(overlap)).map(|t| t.name.as_str()).collect();
        let here = |r: &&Measured| own.contains(&r.quality.as_str()) && [Measure::K, Measure::E].contains(&r.measure);
        let rows: Vec<Measured> = found.rows.iter().filter(here).cloned().collect();
        if rows.iter().all(Measured::is_anchor) {
            continue;
        }
        let wanted = [Index::K, Index::E, Index::KE];
        for r in knowing(&rows, &bare(options))?.indices.iter().filter(|r| r.model == "*" && wanted.contains(&r.index))
        {
            let mut row: Vec<Cell> = vec![if overlap { "shared words" } else { "none" }.into(), own.join(" ").into()];
            row.extend([r.format.as_str().into(), r.index.name().into()]);
            row.extend(value(r));
            row.extend([r.clusters.into(), r.reason.as_str().into()]);
            table.push(row);
        }
    }
    Ok(table)
}

/// Where last prompt tokens lie on the assistant axis.
fn axis((protocol, subjects): (&Protocol, &[Subject]), found: &Measures) -> Table {
    let columns = ["model", "format", "character", "seed", "axis_z", "ci_low", "ci_high", "prompts"];
    let mut table = Table::new("axis", &columns);
    for (i, s) in subjects.iter().enumerate() {
        let own: Vec<f64> = found.placed.iter().filter(|p| p.subject == i).map(|p| p.z).collect();
        let interval = t_interval(&own);
        let seed = s.seed.map_or(String::new(), |s| s.to_string());
        let mut row: Vec<Cell> = vec![s.model.as_str().into(), s.format.as_str().into()];
        row.extend([protocol.characters[s.character].name.as_str().into(), seed.into(), mean(&own).into()]);
        row.extend([interval.map(|i| i.lo).into(), interval.map(|i| i.hi).into(), own.len().into()]);
        table.push(row);
    }
    table
}
