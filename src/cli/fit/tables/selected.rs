//! The site chosen without the fold that is scored.

use super::Found;
use crate::analysis::probe::{Inner, Judged, Method, Plan, choose};
use crate::table::{Cell, Table, number};

/// A row for each method, and the same in sentences; empty where nothing was chosen.
pub fn table(found: &Found, plans: &[(Plan, Vec<Method>)], inners: &[Option<Inner>]) -> (Table, Vec<String>) {
    let columns = ["method", "metric", "value", "ci_low", "ci_high", "n", "sites", "folds_per_site"];
    let (mut table, mut said) = (Table::new("selected", &columns), Vec::new());
    let Some((plan, methods)) = plans.iter().find(|(plan, _)| !plan.graded) else { return (table, said) };
    for (m, method) in methods.iter().enumerate() {
        let judged: Vec<Option<&Judged>> =
            found.sites.iter().map(|(_, all, _)| all.iter().find(|j| j.method == *method)).collect();
        let inner: Vec<&[Option<f64>]> =
            inners.iter().map(|i| i.as_ref().map_or(&[][..], |i: &Inner| &i[m][..])).collect();
        let Some(chosen) = choose(plan, &judged, &inner) else { continue };
        let mut counts: Vec<(String, usize)> = Vec::new();
        for site in chosen.sites.iter().flatten().map(|s| found.sites[*s].0.to_string()) {
            match counts.iter_mut().find(|(name, _)| *name == site) {
                Some((_, n)) => *n += 1,
                None => counts.push((site, 1)),
            }
        }
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let names: Vec<&str> = counts.iter().map(|(name, _)| name.as_str()).collect();
        let folds: Vec<String> = counts.iter().map(|(_, n)| n.to_string()).collect();
        let i = chosen.interval;
        let mut row: Vec<Cell> = vec![method.name().into(), "auroc".into(), chosen.auroc.into()];
        row.extend([i.map(|i| i.lo).into(), i.map(|i| i.hi).into(), chosen.rows.into()]);
        row.extend([names.join(" ").into(), folds.join(" ").into()]);
        table.push(row);
        let ends = i.map_or(String::new(), |i| format!(" [{}, {}]", number(i.lo), number(i.hi)));
        let auroc = number(chosen.auroc);
        said.push(format!(
            "{method}: auroc {auroc}{ends} at the site chosen without the fold that is scored ({})",
            names.join(", ")
        ));
    }
    (table, said)
}
