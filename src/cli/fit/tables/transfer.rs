//! Probes fitted on one set of rows, tried on others.

use super::super::{Data, plans};
use super::Found;
use crate::analysis::probe::{FittedOn, Judged, Judging, Method, Plan, Settings, judge, transfer};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::table::{Cell, Table};
use crate::unit::parallel;
use ndarray::Array2;

/// The set that the command is about.
const OWN: &str = "this";

/// One row per site, method and ordered pair of sets; on the diagonal the held-out score.
pub(in crate::cli::fit) fn table(
    data: &Data,
    others: &[(String, Data)],
    found: &Found,
    own: &[(Plan, Vec<Method>)],
    settings: Settings,
    threads: usize,
) -> Result<Table> {
    let columns = ["site", "method", "fitted_on", "tried_on", "auroc", "ci_low", "ci_high", "n", "cosine"];
    let mut table = Table::new("transfer", &columns);
    let Some((plan, methods)) = own.iter().find(|(p, _)| !p.graded) else { return Ok(table) };
    let judging = Judging { permutations: 0, random: 0, controls: 0, ..plan.judging() };
    let mut their_plans = Vec::new();
    for (name, d) in others {
        let named = |e: Error| Error::refused(format!("{name}: {e}"), e.hint());
        their_plans.push(plans(d, methods, judging).map_err(named)?.remove(0).0);
    }
    let places: Vec<usize> = (0..found.sites.len()).filter(|&i| !found.sites[i].1.is_empty()).collect();
    let lines = parallel(&places, threads, |&i| {
        let (site, judged, _) = &found.sites[i];
        let mut sets =
            vec![Set { name: OWN, rows: data.rows.load(*site, &data.labels.rows)?, plan, judged: judged.clone() }];
        for ((name, d), plan) in others.iter().zip(&their_plans) {
            let rows = d.rows.load(*site, &d.labels.rows)?;
            let at = |e: Error| Error::refused(format!("{name} at {site}: {e}"), e.hint());
            let judged = judge(rows.view(), plan, methods, settings).map_err(at)?;
            sets.push(Set { name, rows, plan, judged });
        }
        pairs(*site, methods, &sets, settings)
    })?;
    lines.into_iter().flatten().for_each(|line| table.push(line));
    Ok(table)
}

struct Set<'a> {
    name: &'a str,
    rows: Array2<f32>,
    plan: &'a Plan,
    judged: Vec<Judged>,
}

fn pairs(site: Site, methods: &[Method], sets: &[Set], settings: Settings) -> Result<Vec<Vec<Cell>>> {
    if let Some(other) = sets.iter().find(|s| s.rows.ncols() != sets[0].rows.ncols()) {
        let (found, expected) = (vec![other.rows.ncols()], vec![sets[0].rows.ncols()]);
        return Err(Error::Shape { place: other.name.into(), name: site.to_string(), found, expected });
    }
    let mut lines = Vec::new();
    for method in methods {
        let of = |s: &'_ Set<'_>| s.judged.iter().position(|j| j.method == *method);
        let having: Vec<(&Set, usize)> = sets.iter().filter_map(|s| Some((s, of(s)?))).collect();
        let fitted: Vec<FittedOn> = having
            .iter()
            .map(|h| FittedOn { rows: h.0.rows.view(), plan: h.0.plan, judged: &h.0.judged[h.1] })
            .collect();
        for t in transfer(&fitted, settings)? {
            let i = t.interval;
            let mut line: Vec<Cell> = vec![site.to_string().into(), method.name().into()];
            line.extend([having[t.from].0.name.into(), having[t.to].0.name.into(), t.auroc.into()]);
            line.extend([i.map(|i| i.lo).into(), i.map(|i| i.hi).into(), t.n.into(), t.cosine.into()]);
            lines.push(line);
        }
    }
    Ok(lines)
}
