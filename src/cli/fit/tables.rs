//! The tables of a fit.

pub(super) mod selected;
pub(super) mod transfer;

use super::Site3;
use super::labels::Labels;
use crate::analysis::interval::Interval;
use crate::analysis::placed::Placed;
use crate::analysis::probe::{Judged, Method, Plan, calibration, null_cells};
use crate::analysis::stats::benjamini_hochberg;
use crate::analysis::wording::{TokenCounts, wording_scores};
use crate::axes::{Point, Site};
use crate::error::Result;
use crate::table::{Cell, Table, number};

/// What was fitted, by site.
#[derive(Default)]
pub(super) struct Found {
    /// Site, probes, mean length of its rows.
    pub sites: Vec<Site3>,
}

/// Where the words of a row are all that its stream holds.
const WORDS: &str = "resid_pre.0";

/// Mean length of rows.
pub(super) fn mean_norm(rows: &ndarray::Array2<f32>) -> f64 {
    let length = |r: ndarray::ArrayView1<f32>| r.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    rows.rows().into_iter().map(length).sum::<f64>() / rows.nrows().max(1) as f64
}

/// All tables but that of transfer. Warnings are added to.
pub(super) fn all(
    found: &Found,
    plans: &[(Plan, Vec<Method>)],
    methods: &[Method],
    labels: &Labels,
    tokens: Option<&TokenCounts>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Table>> {
    let mut tables = vec![folds(&plans[0].0, labels), held_out(found, labels)];
    let mut scores = scores(found, plans, methods, warnings);
    if let Some((plan, _)) = plans.iter().find(|(p, _)| !p.graded) {
        tables.push(calibrations(found, plan));
        tables.push(wording(found, plan, tokens, &mut scores, warnings));
    }
    tables.push(scores);
    Ok(tables)
}

/// A row of `scores.csv`.
fn row(site: Site, method: Method, name: &str, value: Option<f64>, interval: Option<Interval>) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![site.to_string().into(), method.name().into(), name.into(), value.into()];
    row.extend([interval.map(|i| i.lo).into(), interval.map(|i| i.hi).into()]);
    row
}

fn scores(found: &Found, plans: &[(Plan, Vec<Method>)], methods: &[Method], warnings: &mut Vec<String>) -> Table {
    let columns = ["site", "method", "metric", "value", "ci_low", "ci_high", "null_mean", "null_p95", "p_value", "n"];
    let mut table = Table::new("scores", &columns);
    let first = |j: &Judged| j.metrics.first().and_then(|m| m.p);
    let p: Vec<Option<f64>> = found.sites.iter().flat_map(|(_, all, _)| all.iter().map(first)).collect();
    let tests = p.iter().flatten().count();
    let mut q = benjamini_hochberg(&p).into_iter();
    let (mut few, mut bound) = (0, 0);
    for (site, all, _) in &found.sites {
        for j in all {
            for m in &j.metrics {
                let (null_mean, null_hi) = null_cells(&m.null);
                let mut cells = row(*site, j.method, &m.name, m.value, m.interval);
                cells.extend([null_mean.into(), null_hi.into(), m.p.into(), m.n.into()]);
                table.push(cells);
                if m.name == "auroc" {
                    few += usize::from(m.interval.is_some_and(|i| i.few_clusters));
                    bound += usize::from(m.interval.is_some_and(|i| i.one_sided));
                }
            }
            if let Some(Some(q)) = q.next() {
                let mut cells = row(*site, j.method, "q_value", Some(q), None);
                cells.extend([Cell::Empty, Cell::Empty, Cell::Empty, tests.into()]);
                table.push(cells);
            }
        }
        if all.is_empty() {
            let n = plans[0].0.target.len();
            for m in methods.iter().filter(|m| plans.iter().any(|(p, of)| !p.graded && of.contains(m))) {
                let mut cells = row(*site, *m, "auroc", Some(0.5), None);
                cells.extend([Cell::Empty, Cell::Empty, Cell::Empty, n.into()]);
                table.push(cells);
            }
        }
    }
    if few > 0 {
        warnings.push("few clusters: fewer than 6 groups of the rarer kind; intervals say little".into());
    }
    if bound > 0 {
        warnings.push(format!("{bound} AUROCs are at the end of their range: one end of the interval is a bound"));
    }
    table
}

fn folds(plan: &Plan, labels: &Labels) -> Table {
    let mut table = Table::new("folds", &["row", "label", "group", "fold"]);
    for (i, &r) in labels.rows.iter().enumerate() {
        let label: Cell = match plan.graded {
            true => plan.target[i].into(),
            false => usize::from(plan.target[i] > 0.0).into(),
        };
        let group = plan.groups.names[plan.groups.of_row[i]].clone();
        table.push(vec![r.into(), label, group.into(), plan.fold(i).into()]);
    }
    table
}

fn held_out(found: &Found, labels: &Labels) -> Table {
    let mut table = Table::new("held_out", &["site", "method", "row", "score", "chance"]);
    for (site, all, _) in &found.sites {
        for j in all {
            for (i, &r) in labels.rows.iter().enumerate() {
                let chance = j.chance.as_ref().map(|c| c[i]);
                let at: Vec<Cell> = vec![site.to_string().into(), j.method.name().into(), r.into()];
                table.push([at, vec![j.held_out[i].into(), chance.into()]].concat());
            }
        }
    }
    table
}

fn calibrations(found: &Found, plan: &Plan) -> Table {
    let columns = ["site", "method", "from", "rows", "mean_predicted", "observed"];
    let mut table = Table::new("calibration", &columns);
    let labels = plan.labels();
    for (site, all, _) in &found.sites {
        for j in all {
            for (from, rows, predicted, observed) in calibration(j.chance.as_deref().unwrap_or(&[]), &labels) {
                let at: Vec<Cell> = vec![site.to_string().into(), j.method.name().into(), from.into()];
                table.push([at, vec![rows.into(), predicted.into(), observed.into()]].concat());
            }
        }
    }
    table
}

/// What the words alone score in the same folds; what each probe adds to that goes to `scores`.
fn wording(
    found: &Found,
    plan: &Plan,
    tokens: Option<&TokenCounts>,
    scores: &mut Table,
    warnings: &mut Vec<String>,
) -> Table {
    let (labels, n) = (plan.labels(), plan.target.len());
    let place = |s: &[f64], factor: f64| {
        let placed = Placed::new(s, &labels, &plan.groups.of_row, plan.groups.names.len());
        placed.map(|p| p.widened(factor))
    };
    // (name, method it belongs to, its placements)
    let mut baselines: Vec<(&str, Option<Method>, Placed)> = Vec::new();
    let words = Site::new(Point::ResidPre, 0);
    for (_, all, _) in found.sites.iter().filter(|(s, ..)| *s == words) {
        for j in all.iter().filter(|j| j.chance.is_some()) {
            baselines.extend(place(&j.held_out, j.widened).map(|p| (WORDS, Some(j.method), p)));
        }
    }
    let flat = found.sites.iter().any(|(s, all, _)| *s == words && all.is_empty());
    if let Some(counts) = tokens {
        match of_tokens(counts, plan) {
            Ok(scores) => baselines.extend(place(&scores, 1.0).map(|p| ("tokens", None, p))),
            Err(reason) => warnings.push(format!("no token-count baseline: {reason}")),
        }
    }
    if baselines.is_empty() && !flat {
        warnings.push(format!(
            "no wording baseline: keep {WORDS} beside the other sites, or say why the rows cannot hold the wording"
        ));
    }
    let mut table = Table::new("wording", &["baseline", "method", "auroc", "ci_low", "ci_high", "n"]);
    for (name, method, p) in &baselines {
        let i = p.interval();
        let named: Cell = method.map(Method::name).into();
        table.push(vec![
            (*name).into(),
            named,
            p.auroc.into(),
            i.map(|i| i.lo).into(),
            i.map(|i| i.hi).into(),
            n.into(),
        ]);
    }
    for (site, all, _) in found.sites.iter().filter(|(s, ..)| *s != words) {
        for j in all.iter().filter(|j| j.chance.is_some()) {
            let Some(own) = place(&j.held_out, j.widened) else { continue };
            for (name, _, p) in baselines.iter().filter(|b| b.1.is_none_or(|m| m == j.method)) {
                let (value, interval) = own.gain(p);
                let mut cells = row(*site, j.method, &format!("gain_over_{name}"), Some(value), interval);
                cells.extend([Cell::Empty, Cell::Empty, Cell::Empty, n.into()]);
                scores.push(cells);
            }
        }
    }
    table
}

/// The token-count probe of every fold, on the rows that it did not see, relative to its training rows.
fn of_tokens(counts: &TokenCounts, plan: &Plan) -> std::result::Result<Vec<f64>, String> {
    let (labels, mut scores) = (plan.labels(), vec![0.0; plan.target.len()]);
    for f in 0..plan.folds {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..scores.len()).partition(|&r| plan.fold(r) == f);
        let found = wording_scores(counts, &labels, &train, &test)?;
        test.iter().zip(found).for_each(|(&r, s)| scores[r] = s);
    }
    Ok(scores)
}

/// The method with its settings, in words.
pub(super) fn said(j: &Judged, alpha: f64, standardize: bool) -> String {
    let units = if standardize { ", columns in units of their deviation" } else { "" };
    let how = match (j.method, j.probe.shrunk) {
        (Method::Logistic | Method::Svm | Method::Ridge, _) => format!("alpha {}", number(alpha)),
        (_, Some([a, b])) if a == b => format!("covariance within classes shrunk by {}", number(a)),
        (_, Some([a, b])) => format!("covariance within classes shrunk by {} and {}", number(a), number(b)),
        (Method::Pca, _) => "first component of the differences between the classes of each group".into(),
        _ => "difference of means of rows".into(),
    };
    format!("{how}{units}; refitted on all rows")
}

/// A line per method: where it scores best, with the warning that the best of many is too good.
pub(super) fn summary(found: &Found, methods: &[Method]) -> Vec<String> {
    let line = |m: &Method| {
        let all = found.sites.iter().flat_map(|(s, all, _)| all.iter().map(move |j| (s, j)));
        let scored = all.filter(|(_, j)| j.method == *m).filter_map(|(s, j)| Some((s, j.metrics.first()?)));
        // The first of equals.
        let (site, best) = scored.reduce(|a, b| if b.1.value > a.1.value { b } else { a })?;
        let interval = best.interval.map_or(String::new(), |i| format!(" [{}, {}]", number(i.lo), number(i.hi)));
        let p = best.p.map_or(String::new(), |p| format!(", p {}", number(p)));
        let of = if found.sites.len() > 1 {
            format!(", the largest of {} sites (--select says what choosing it is worth)", found.sites.len())
        } else {
            String::new()
        };
        Some(format!("{m}: {} {}{interval}{p} at {site}{of}", best.name, number(best.value?)))
    };
    methods.iter().filter_map(line).collect()
}
