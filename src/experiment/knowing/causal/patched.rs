//! Patching: one fine-tune's activations on the prompt put into another, layer by layer.

use super::Trial;
use crate::analysis::resampled::jackknife;
use crate::analysis::stats::mean;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::experiment::knowing::express::{self, Shown, express};
use crate::experiment::knowing::subjects::BASE;
use crate::experiment::spec::At;
use crate::experiment::work::Work;
use crate::model::{Donor, Intervention, Patch, Positions};
use crate::table::{Cell, Table};
use crate::unit::Item;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A patch from one subject into another, at one site; `site` is `None` of a subject as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    /// `forward`, `reverse` or `control`; of a subject as it is `from` or `to`.
    arm: &'static str,
    character: usize,
    /// Place of the subject that is patched.
    into: usize,
    site: Option<Site>,
}

/// One row per way and site: `(E_patched - E_to) / (E_from - E_to)` over units of character and trait.
///
/// The control puts the base's activations into the same model: what any other model's would do.
///
/// # Errors
/// Failures of the model; no character that has both formats.
pub(super) fn table(trial: &Trial<'_>, from: &str, to: &str, work: &mut Work<'_, '_>) -> Result<Table> {
    let pairs: Vec<(usize, usize, usize, usize)> = (0..trial.protocol.characters.len())
        .filter_map(|c| Some((c, trial.subject(from, c)?, trial.subject(to, c)?, trial.subject(BASE, c)?)))
        .collect();
    if pairs.is_empty() {
        let what = format!("no character has a model of format {from} and one of {to}");
        return Err(Error::refused(what, "change `causal.patch`, or leave it out"));
    }
    let sites = &trial.how.sites;
    let mut runs: Vec<(Run, usize)> = Vec::new();
    for (character, f, t, b) in &pairs {
        let at = |arm, into, site| Run { arm, character: *character, into, site };
        runs.push((at("from", *f, None), *f));
        runs.push((at("to", *t, None), *t));
        // Of two fine-tunes the base is a third; where it is one of the two there is no control.
        let ways = [("forward", *f, *t), ("reverse", *t, *f), ("control", *b, *t)];
        for (arm, donor, into) in ways.into_iter().filter(|(arm, ..)| *arm != "control" || (b != f && b != t)) {
            runs.extend(sites.iter().map(|s| (at(arm, into, Some(*s)), donor)));
        }
    }
    let shown = replies(trial, &runs, work)?;
    let each = trial.prompts.len() * trial.causal.samples;
    // (way, site) -> unit -> E
    let mut means: BTreeMap<(&str, Option<Site>), BTreeMap<String, f64>> = BTreeMap::new();
    for (i, (run, _)) in runs.iter().enumerate() {
        for which in trial.traits(run.into) {
            let own: Vec<f64> = shown[i * each..(i + 1) * each].iter().filter_map(|s| s.expression(*which)).collect();
            if let Some(m) = mean(&own) {
                means.entry((run.arm, run.site)).or_default().insert(trial.unit(run.into, *which), m);
            }
        }
    }
    let columns = ["site", "from", "to", "way", "recovered", "ci_low", "ci_high", "e_patched", "e_to", "e_from"];
    let mut table = Table::new("patching", &[&columns[..], &["units", "interval_note", "reason"]].concat());
    let nothing = BTreeMap::new();
    let of = |arm: &'static str, site| means.get(&(arm, site)).unwrap_or(&nothing);
    for site in sites {
        for (arm, named, ends) in [
            ("forward", (from, to), ("from", "to")),
            ("reverse", (to, from), ("to", "from")),
            ("control", (BASE, to), ("from", "to")),
        ] {
            let patched = of(arm, Some(*site));
            let (source, target) = (of(ends.0, None), of(ends.1, None));
            let units: Vec<[f64; 3]> =
                patched.iter().filter_map(|(unit, p)| Some([*p, *target.get(unit)?, *source.get(unit)?])).collect();
            if !units.is_empty() {
                table.push(row(*site, named, arm, &units));
            }
        }
    }
    Ok(table)
}

/// Recovered of sums over units, so that units without a difference between the models weigh nothing.
fn recovered(units: &[[f64; 3]], without: Option<usize>) -> Option<f64> {
    let kept = || units.iter().enumerate().filter(move |(i, _)| Some(*i) != without).map(|(_, u)| u);
    let gap: f64 = kept().map(|[_, to, from]| from - to).sum();
    let moved: f64 = kept().map(|[patched, to, _]| patched - to).sum();
    (gap.abs() > 1e-9).then(|| moved / gap)
}

fn row(site: Site, (from, to): (&str, &str), arm: &str, units: &[[f64; 3]]) -> Vec<Cell> {
    let value = recovered(units, None);
    let interval = value.and_then(|v| jackknife(units.len(), v, |i| recovered(units, Some(i))));
    let over = |k: usize| mean(&units.iter().map(|u| u[k]).collect::<Vec<_>>());
    // A ratio whose lower part is not clear of 0 says nothing.
    let gaps: Vec<f64> = units.iter().map(|[_, to, from]| from - to).collect();
    let clear = crate::analysis::resampled::t_interval(&gaps).is_some_and(|i| i.lo > 0.0 || i.hi < 0.0);
    let reason = match (value, interval) {
        (None, _) => "the two models show the same",
        (_, None) => "no interval from a single unit",
        _ if !clear => "the difference between the two models is not clear of 0",
        _ => "",
    };
    let note = interval.map_or("", |i| i.note());
    let interval = interval.filter(|i| !i.one_sided);
    let mut row: Vec<Cell> = vec![site.to_string().into(), from.into(), to.into(), arm.into(), value.into()];
    row.extend([interval.map(|i| i.lo), interval.map(|i| i.hi), over(0), over(1), over(2)].map(Cell::from));
    row.extend([units.len().into(), note.into(), reason.into()]);
    row
}

/// Replies of all runs, in order.
fn replies(trial: &Trial<'_>, runs: &[(Run, usize)], work: &mut Work<'_, '_>) -> Result<Vec<Shown>> {
    let rows = donors(trial, runs, work)?;
    let positions = if trial.causal.at == At::LastPrompt { Positions::LastPrompt } else { Positions::Prompt };
    let mut edits: Vec<Intervention> = Vec::new();
    let mut put = Vec::new();
    for (run, donor) in runs {
        for (k, prompt) in trial.prompts.iter().enumerate() {
            let edit = match run.site {
                None => vec![],
                Some(site) => {
                    let row = rows.get(&(*donor, k, site)).cloned();
                    let row = row.ok_or_else(|| Error::refused(format!("no row of {site}"), "run the probe again"))?;
                    edits.push(Patch::new(site, row, 1.0, positions.clone())?.into());
                    vec![edits.len() - 1]
                }
            };
            for sample in 0..trial.causal.samples {
                put.push(express::Put { subject: run.into, prompt: *prompt, sample, edits: edit.clone() });
            }
        }
    }
    let how = (&trial.how.drawing, trial.how.seed);
    express("replies under patches", (trial.protocol, trial.subjects), &put, edits, how, work)
}

/// What is put in, by subject, prompt and site.
type Rows = BTreeMap<(usize, usize, Site), Arc<Donor>>;

/// Rows of all subjects that give some, on the prompts that are tried.
fn donors(trial: &Trial<'_>, runs: &[(Run, usize)], work: &mut Work<'_, '_>) -> Result<Rows> {
    let mut givers: Vec<usize> = runs.iter().filter(|(run, _)| run.site.is_some()).map(|r| r.1).collect();
    givers.sort_unstable();
    givers.dedup();
    let mut items = Vec::new();
    let mut places: Vec<(usize, usize, std::ops::Range<usize>)> = Vec::new();
    for subject in givers {
        for (k, prompt) in trial.prompts.iter().enumerate() {
            let tokens = work.model.text.chat(&trial.protocol.prompts[*prompt].messages, true)?.tokens;
            let n = tokens.len();
            let first = if trial.causal.at == At::LastPrompt { n - 1 } else { 0 };
            let ranges = (first..n).map(|t| t..t + 1).collect();
            let adapter = trial.subjects[subject].adapter;
            items.push(Item { tokens, prompt_len: n, ranges, adapter, ..Item::default() });
            places.push((subject, k, first..n));
        }
    }
    let kept = work.capture("rows to patch with", items, &trial.how.sites)?;
    let mut all = Rows::new();
    for (site, rows) in &kept {
        let mut at = 0;
        for (subject, k, range) in &places {
            let each = range.clone().enumerate().map(|(i, pos)| (pos, rows.row(at + i).to_vec())).collect();
            all.insert((*subject, *k, *site), Arc::new(Donor::Each(each)));
            at += range.len();
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recovered_is_the_share_of_the_way_from_one_model_to_the_other() {
        // From 0.1 to 0.9: 0.5 is half of the way; from 0.3 to 0.5: 0.4 is half of it.
        let units = [[0.5, 0.1, 0.9], [0.4, 0.3, 0.5]];
        assert!((recovered(&units, None).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(recovered(&[[0.5, 0.2, 0.2]], None), None);
        let cells = row(Site::post(1), ("chat", "document"), "forward", &[[0.5, 0.2, 0.2]]);
        assert!(cells.last().unwrap().show().contains("show the same"));
        assert_eq!(cells.len(), 13);
    }
}
