//! What was found, as tidy tables. `site` stands first where the states have one.

use super::depth::{Dose, Pushes};
use super::dynamics::{Dynamics, Value};
use super::{Found, Options};
use crate::analysis::series::Series;
use crate::table::{Cell, Table};
use std::collections::BTreeMap;

/// `dynamics`, `basins`, `markov`, `conditions`, `contraction`, `depth`, `loops`, `field` and `trajectories`; those
/// without rows are left out.
pub fn tables(series: &[Series], found: &[Found], options: Options) -> Vec<Table> {
    let sites = found.iter().any(|f| !f.site.is_empty());
    let k = series.first().map_or(0, |s| s.k);
    type Rows = fn(&Series, &Found, Options) -> Vec<Vec<Cell>>;
    let all: [(&str, Vec<String>, Rows); 9] = [
        ("dynamics", owned(&["quantity", "component", "value", "ci_low", "ci_high", "n", "reason"]), dynamics),
        ("basins", basin_columns(k), basins),
        ("markov", owned(&["quantity", "from", "to", "value", "ci_low", "ci_high", "n", "reason"]), markov),
        ("conditions", owned(&["condition", "result", "value", "bar", "reason"]), conditions),
        (
            "contraction",
            owned(&[
                "turn",
                "dispersion",
                "ci_low",
                "ci_high",
                "ratio",
                "ratio_low",
                "ratio_high",
                "starts",
                "runs",
                "reason",
            ]),
            contraction,
        ),
        ("depth", owned(&["quantity", "basin", "dose", "value", "ci_low", "ci_high", "n", "reason"]), depth),
        ("loops", owned(&["quantity", "lag_turns", "value", "n"]), loops),
        ("field", owned(&["z0", "z1", "dz0_per_turn", "dz1_per_turn", "n"]), field),
        ("trajectories", owned(&["run", "turn", "basin", "pushed", "z0", "z1"]), trajectories),
    ];
    let mut out = Vec::new();
    for (name, columns, rows) in all {
        let mut columns = columns;
        if sites {
            columns.insert(0, "site".into());
        }
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut table = Table::new(name, &names);
        for (s, f) in series.iter().zip(found) {
            for mut row in rows(s, f, options) {
                if sites {
                    row.insert(0, f.site.clone().into());
                }
                table.push(row);
            }
        }
        if !table.rows.is_empty() {
            out.push(table);
        }
    }
    out
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

fn basin_columns(k: usize) -> Vec<String> {
    let mut all = owned(&["basin", "weight", "ci_low", "ci_high", "runs", "starts", "radius_sd", "spectral_radius"]);
    all.extend((0..k).map(|i| format!("z{i}")));
    all.push("reason".into());
    all
}

/// The value and its interval as three cells, and why one is missing.
fn cells(v: Value) -> ([Cell; 3], Option<String>) {
    let (lo, hi) = v.interval.map_or((Cell::Empty, Cell::Empty), |(lo, hi)| (lo.into(), hi.into()));
    let reason = match (v.value.is_finite(), v.interval) {
        (false, _) => Some("never".to_string()),
        (true, None) => Some("no interval".to_string()),
        (true, Some((_, hi))) if !hi.is_finite() => Some("the upper end is not finite".to_string()),
        _ => None,
    };
    ([v.value.into(), lo, hi], reason)
}

fn plain(quantity: &str, component: &str, value: f64, n: usize, reason: &str) -> Vec<Cell> {
    let reason = if reason.is_empty() { Cell::Empty } else { reason.into() };
    vec![quantity.into(), component.into(), value.into(), Cell::Empty, Cell::Empty, n.into(), reason]
}

fn valued(quantity: &str, component: &str, value: Value, n: usize) -> Vec<Cell> {
    let ([v, lo, hi], reason) = cells(value);
    vec![quantity.into(), component.into(), v, lo, hi, n.into(), reason.into()]
}

fn dynamics(_: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    match &f.dynamics {
        Ok(d) => rows.extend(fitted(d)),
        Err(why) => rows.push(plain("spectral_radius", "", f64::NAN, 0, why)),
    }
    for (name, beyond) in [("", f.beyond.as_ref().ok()), ("line over turns", f.turning.as_ref())] {
        if let Some(b) = beyond {
            rows.push(plain("predicted_share", name, b.share, b.steps, ""));
            rows.push(plain("predicted_share_shuffled_95", name, b.null, b.shuffles, ""));
            rows.push(plain("shuffle_p", name, b.p, b.shuffles, ""));
        }
    }
    if let Ok(b) = &f.basins {
        let runs = b.labels.iter().flatten().count();
        rows.push(plain("basins", "", b.count() as f64, runs, &b.choice.reason));
        rows.push(plain("basin_entropy", "", b.entropy(), runs, ""));
        if let Some(s) = b.choice.silhouette {
            rows.push(plain("silhouette", "", s, runs, ""));
        }
        if let Some(s) = b.choice.null {
            rows.push(plain("silhouette_gaussian_95", "", s, runs, ""));
        }
        rows.push(plain("basins_second_metric", "", b.second_metric, runs, ""));
    }
    match &f.boundary {
        Ok(b) => {
            rows.push(valued("boundary_place", "", Value { value: b.place, interval: b.interval }, b.runs));
            rows.extend(
                b.point.iter().enumerate().map(|(i, v)| plain("boundary_point", &format!("z{i}"), *v, b.runs, "")),
            );
        }
        Err(why) if f.basins.as_ref().is_ok_and(|b| b.count() > 1) => {
            rows.push(plain("boundary_place", "", f64::NAN, 0, why));
        }
        Err(_) => {}
    }
    rows
}

fn fitted(d: &Dynamics) -> Vec<Vec<Cell>> {
    let n = d.steps;
    let r = &d.radius;
    let mut rows = vec![valued("spectral_radius", "", Value { value: r.value, interval: Some((r.lo, r.hi)) }, n)];
    rows.push(plain("spectral_radius_least_squares", "", r.plain, n, ""));
    rows.push(plain("eigenvalues_read_as_one", "", r.together as f64, n, ""));
    let (value, lo, hi) = d.half_life();
    rows.push(valued("half_life_turns", "", Value { value, interval: Some((lo, hi)) }, n));
    match d.period() {
        Some(p) => rows.push(plain("period_turns", "", p, n, "")),
        None => rows.push(plain("period_turns", "", f64::NAN, n, "the leading mode does not turn")),
    }
    match &d.lagged {
        Some(l) => {
            let value = Value { value: l.modulus, interval: Some(l.interval) };
            rows.push(valued("spectral_radius_two_turns", "", value, n));
        }
        None => rows.push(plain("spectral_radius_two_turns", "", f64::NAN, n, "a turn says too little about the next")),
    }
    if let Some(p) = &d.persistent {
        rows.push(plain("cycle_period_turns", "", p.period(), n, ""));
        rows.push(valued("cycle_modulus", "", Value { value: p.modulus, interval: Some(p.interval) }, n));
    }
    match d.drift {
        Some(v) => rows.push(plain("fixed_point_drift_sd", "", v, n, "")),
        None => rows.push(plain("fixed_point_drift_sd", "", f64::NAN, n, "the state does not settle")),
    }
    rows.extend(d.fixed_point.iter().enumerate().map(|(i, v)| valued("fixed_point", &format!("z{i}"), *v, n)));
    for (i, sd) in d.sd.iter().flatten().enumerate() {
        rows.push(plain("stationary_sd", &format!("z{i}"), *sd, n, ""));
    }
    for (i, m) in d.modes.iter().enumerate() {
        rows.push(plain("eigenvalue_modulus", &i.to_string(), m.modulus, m.multiplicity, ""));
        rows.push(plain("eigenvalue_angle", &i.to_string(), m.value.arg(), m.multiplicity, ""));
    }
    rows
}

fn basins(series: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    let Ok(b) = &f.basins else { return Vec::new() };
    let one = |i: usize| {
        let w = b.weights[i];
        let mut row: Vec<Cell> = vec![i.into(), w.share.into(), w.lo.into(), w.hi.into(), w.runs.into()];
        row.extend([w.starts.into(), b.radii[i].into()]);
        let own = match f.within.get(i) {
            Some(d) => d.as_ref().map(|d| d.radius.value).map_err(Clone::clone),
            None => f.dynamics.as_ref().map(|d| d.radius.value).map_err(Clone::clone),
        };
        row.push(own.as_ref().ok().copied().into());
        row.extend((0..series.k).map(|j| Cell::from(b.centres[[i, j]])));
        row.push(own.err().into());
        row
    };
    (0..b.count()).map(one).collect()
}

fn markov(_: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    let Ok(m) = &f.markov else { return Vec::new() };
    let n = m.counts.nrows();
    let out = |i: usize| m.counts.row(i).sum() as usize;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut row = |quantity: &str, from: Cell, to: Cell, value: [Cell; 3], n: usize, reason: Option<String>| {
        let [v, lo, hi] = value;
        rows.push(vec![quantity.into(), from, to, v, lo, hi, n.into(), reason.into()]);
    };
    let bare = |v: f64| [Cell::from(v), Cell::Empty, Cell::Empty];
    for i in 0..n {
        for j in 0..n {
            row("steps", i.into(), j.into(), bare(m.counts[[i, j]]), out(i), None);
        }
    }
    let chain = match &m.chain {
        Ok(c) => c,
        Err(why) => {
            let empty = [Cell::Empty, Cell::Empty, Cell::Empty];
            row("probability", Cell::Empty, Cell::Empty, empty, m.counts.sum() as usize, Some(why.clone()));
            return rows;
        }
    };
    for i in 0..n {
        for j in 0..n {
            let (v, reason) = cells(chain.probability[i][j]);
            row("probability", i.into(), j.into(), v, out(i), reason);
        }
    }
    match &chain.stationary {
        Some(all) => {
            for (i, v) in all.iter().enumerate() {
                let (v, reason) = cells(*v);
                row("stationary", i.into(), Cell::Empty, v, out(i), reason);
            }
        }
        None => {
            let empty = [Cell::Empty, Cell::Empty, Cell::Empty];
            let why = "basins do not reach each other: where a run ends is decided by where it begins";
            row("stationary", Cell::Empty, Cell::Empty, empty, m.counts.sum() as usize, Some(why.into()));
        }
    }
    for (i, v) in chain.timescales.iter().enumerate() {
        let (shown, mut reason) = cells(*v);
        if !v.value.is_finite() {
            reason = Some("no step between basins was seen".into());
        }
        let v = shown;
        row("timescale_turns", (i + 1).into(), Cell::Empty, v, m.counts.sum() as usize, reason);
    }
    for i in 0..n {
        for j in 0..n {
            let v = chain.first_passage[i][j];
            let reason = v.is_none().then(|| "never reached".to_string());
            row("first_passage_turns", i.into(), j.into(), bare(v.unwrap_or(f64::NAN)), out(i), reason);
        }
    }
    for c in &chain.checks {
        let held = if c.difference <= c.bar { "a chain" } else { "no chain" };
        let quantity = format!("chapman_kolmogorov_lag_{}", c.lag);
        let value = [c.difference.into(), Cell::Empty, c.bar.into()];
        row(&quantity, Cell::Empty, Cell::Empty, value, m.counts.sum() as usize, Some(held.into()));
    }
    rows
}

fn conditions(_: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    let one = |c: &super::Condition| {
        let reason = if c.reason.is_empty() { Cell::Empty } else { c.reason.clone().into() };
        vec![c.name.into(), c.outcome.to_string().into(), c.value.into(), c.bar.into(), reason]
    };
    f.conditions.iter().map(one).collect()
}

fn contraction(_: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    let one = |d: &super::paired::Dispersion| {
        let ([v, lo, hi], reason) = cells(d.dispersion);
        let (ratio, ratio_reason) = match d.ratio {
            Some(r) => cells(r),
            None => ([Cell::Empty, Cell::Empty, Cell::Empty], Some("no turn before".to_string())),
        };
        let [r, r_lo, r_hi] = ratio;
        let turn = Cell::Int(d.turn);
        vec![turn, v, lo, hi, r, r_lo, r_hi, d.starts.into(), d.runs.into(), reason.or(ratio_reason).into()]
    };
    f.paired.iter().map(one).collect()
}

fn depth(_: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    f.pushes.as_ref().map(pushed).unwrap_or_default()
}

fn pushed(p: &Pushes) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut row = |quantity: &str, basin: Cell, dose: Cell, v: [Cell; 3], n: usize, reason: Option<String>| {
        let [value, lo, hi] = v;
        rows.push(vec![quantity.into(), basin, dose, value, lo, hi, n.into(), reason.into()]);
    };
    let bare = |v: f64| [Cell::from(v), Cell::Empty, Cell::Empty];
    for d in &p.depths {
        let basin = || d.home.map_or(Cell::from("all"), Cell::from);
        for &(dose, switched, n) in &d.shares {
            let interval = crate::analysis::interval::wilson(switched, n, 0.95).map(|i| (i.lo, i.hi));
            let (v, reason) = cells(Value { value: switched as f64 / n as f64, interval });
            row("switched_share", basin(), dose.into(), v, n, reason);
        }
        let n = d.shares.iter().map(|s| s.2).sum();
        match &d.d50 {
            Ok(Dose::At { value, lo, hi }) => {
                let open = lo.is_none() || hi.is_none();
                let reason = open.then(|| "an end lies beyond the doses tried".to_string());
                row("d50", basin(), Cell::Empty, [(*value).into(), (*lo).into(), (*hi).into()], n, reason);
            }
            Ok(Dose::Above(most)) => {
                row(
                    "d50",
                    basin(),
                    Cell::Empty,
                    [Cell::Empty, (*most).into(), Cell::Empty],
                    n,
                    Some(format!("> {most}")),
                );
            }
            Ok(Dose::Below(least)) => {
                row(
                    "d50",
                    basin(),
                    Cell::Empty,
                    [Cell::Empty, Cell::Empty, (*least).into()],
                    n,
                    Some(format!("< {least}")),
                );
            }
            Err(why) => row("d50", basin(), Cell::Empty, [Cell::Empty, Cell::Empty, Cell::Empty], n, Some(why.clone())),
        }
        if let Some(s) = d.slope {
            row("slope_per_log_dose", basin(), Cell::Empty, bare(s), n, None);
        }
    }
    if let Some((value, interval, n)) = p.half_life {
        let (v, reason) = cells(Value { value, interval });
        row("return_half_life_turns", "all".into(), Cell::Empty, v, n, reason);
    }
    if let Some((up, down, interval)) = p.hysteresis {
        row("d50_up", "all".into(), Cell::Empty, bare(up), p.all.len(), None);
        row("d50_down", "all".into(), Cell::Empty, bare(down), p.all.len(), None);
        let (v, reason) = cells(Value { value: (up / down).ln(), interval });
        row("hysteresis_log_ratio", "all".into(), Cell::Empty, v, p.all.len(), reason);
    }
    if p.homeless > 0 {
        let why = "the basin before the push is not known";
        row("pushes_left_out", "all".into(), Cell::Empty, bare(p.homeless as f64), p.all.len(), Some(why.into()));
    }
    rows
}

fn loops(_: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    let Some(r) = &f.repetition else { return Vec::new() };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for &(lag, share, n) in &r.shares {
        rows.push(vec!["repeated_share".into(), lag.into(), share.into(), n.into()]);
    }
    for &(period, runs) in &r.looping {
        rows.push(vec!["looping_share".into(), period.into(), (runs as f64 / r.runs as f64).into(), r.runs.into()]);
    }
    rows
}

/// Cells of the grid on each side.
const GRID: usize = 9;

/// Mean movement per turn of the first two components, by place.
fn field(series: &Series, _: &Found, _: Options) -> Vec<Vec<Cell>> {
    if series.k < 2 {
        return Vec::new();
    }
    let steps = || series.runs.iter().flat_map(|r| r.steps().map(move |t| (&r.turns[t].z, &r.turns[t + 1].z)));
    let span = |i: usize| {
        let values = || steps().map(move |s| s.0[i]);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let spans = [span(0), span(1)];
    if spans.iter().any(|s| !(s.1 > s.0)) {
        return Vec::new();
    }
    let cell = |z: &[f64], i: usize| {
        let (lo, hi) = spans[i];
        (((z[i] - lo) / (hi - lo) * GRID as f64) as usize).min(GRID - 1)
    };
    let mut sums: BTreeMap<(usize, usize), ([f64; 4], usize)> = BTreeMap::new();
    for (a, b) in steps() {
        let entry = sums.entry((cell(a, 0), cell(a, 1))).or_default();
        for (s, v) in entry.0.iter_mut().zip([a[0], a[1], b[0] - a[0], b[1] - a[1]]) {
            *s += v;
        }
        entry.1 += 1;
    }
    let row = |(sum, n): &([f64; 4], usize)| {
        let mut row: Vec<Cell> = sum.iter().map(|s| Cell::from(s / *n as f64)).collect();
        row.push((*n).into());
        row
    };
    sums.values().filter(|s| s.1 >= 3).map(row).collect()
}

/// Most runs that are drawn.
const SHOWN: usize = 24;

/// A sample of the runs: every so-many-th in the order of their names.
fn trajectories(series: &Series, f: &Found, _: Options) -> Vec<Vec<Cell>> {
    if series.k < 2 {
        return Vec::new();
    }
    let every = series.runs.len().div_ceil(SHOWN).max(1);
    let mut rows = Vec::new();
    for (r, run) in series.runs.iter().enumerate().step_by(every) {
        let basin = f.basins.as_ref().ok().and_then(|b| b.labels[r]);
        for (t, turn) in run.turns.iter().enumerate() {
            let pushed = usize::from(run.pushed[t]);
            let (name, number) = (run.name.clone().into(), Cell::Int(turn.turn));
            rows.push(vec![name, number, basin.into(), pushed.into(), turn.z[0].into(), turn.z[1].into()]);
        }
    }
    rows
}
