//! Shares, shifts and sharpness as tables.

use super::{Design, LEAST_PROMPTS, SOURCES, Site};
use crate::table::{Cell, Table};

/// `shares`, `components`, `shift`, `roles`, and `sharpening` where there is a default persona.
pub fn tables(design: &Design, sites: &[Site]) -> Vec<Table> {
    let mut all = vec![shares(sites), components(sites), shift(sites), roles(design, sites)];
    if sites.iter().any(|s| !s.sharpness.is_empty()) {
        all.push(sharpening(sites));
    }
    all
}

fn few(interval: Option<(f64, f64)>) -> Cell {
    match interval {
        None => format!("fewer than {LEAST_PROMPTS} prompts: no interval").into(),
        Some(_) => Cell::Empty,
    }
}

fn shares(sites: &[Site]) -> Table {
    let mut t = Table::new("shares", &["site", "source", "share", "ci_low", "ci_high", "reason"]);
    for site in sites {
        for (source, e) in SOURCES.iter().zip(&site.shares) {
            t.push(vec![
                site.name.as_str().into(),
                (*source).into(),
                Cell::exact(e.value),
                Cell::exact(e.interval.map(|i| i.0)),
                Cell::exact(e.interval.map(|i| i.1)),
                few(e.interval),
            ]);
        }
    }
    t
}

fn components(sites: &[Site]) -> Table {
    let mut t = Table::new("components", &["site", "source", "mean_square", "ci_low", "ci_high", "reason"]);
    for site in sites {
        for (source, e) in SOURCES.iter().zip(&site.mean_squares) {
            t.push(vec![
                site.name.as_str().into(),
                (*source).into(),
                e.value.into(),
                e.interval.map(|i| i.0).into(),
                e.interval.map(|i| i.1).into(),
                few(e.interval),
            ]);
        }
    }
    t
}

fn shift(sites: &[Site]) -> Table {
    let columns = [
        "site",
        "from",
        "to",
        "norm",
        "ci_low",
        "ci_high",
        "raw_norm",
        "persona_sd",
        "relative",
        "relative_low",
        "relative_high",
        "split_half_cosine",
        "p_roles",
        "p_prompts",
        "reason",
    ];
    let mut t = Table::new("shift", &columns);
    for site in sites {
        for shift in &site.shifts {
            let root = |v: f64| v.max(0.0).sqrt();
            let ends = shift.squared.interval.map(|(lo, hi)| (root(lo), root(hi)));
            let norm = root(shift.squared.value);
            let over = |v: f64| shift.persona_sd.map(|sd| v / sd);
            let mut reasons = Vec::new();
            if shift.squared.value <= 0.0 {
                reasons.push("no shift beyond noise".to_string());
            }
            if shift.persona_sd.is_none() {
                reasons.push("personas do not differ beyond noise".into());
            }
            if ends.is_none() {
                reasons.push(format!("fewer than {LEAST_PROMPTS} prompts: no interval"));
            }
            t.push(vec![
                site.name.as_str().into(),
                shift.from.as_str().into(),
                shift.to.as_str().into(),
                norm.into(),
                ends.map(|e| e.0).into(),
                ends.map(|e| e.1).into(),
                shift.raw_norm.into(),
                shift.persona_sd.into(),
                over(norm).into(),
                ends.and_then(|e| over(e.0)).into(),
                ends.and_then(|e| over(e.1)).into(),
                shift.split_half.into(),
                shift.p_roles.into(),
                shift.p_prompts.into(),
                if reasons.is_empty() { Cell::Empty } else { reasons.join("; ").into() },
            ]);
        }
    }
    t
}

/// What each role's own difference is along the common one.
fn roles(design: &Design, sites: &[Site]) -> Table {
    let mut t =
        Table::new("roles", &["site", "from", "to", "role", "is_default", "own_norm", "along_shift", "along_axis"]);
    for site in sites {
        for shift in &site.shifts {
            for (r, role) in design.roles.iter().enumerate() {
                t.push(vec![
                    site.name.as_str().into(),
                    shift.from.as_str().into(),
                    shift.to.as_str().into(),
                    role.as_str().into(),
                    usize::from(design.default == Some(r)).into(),
                    shift.own[r].into(),
                    shift.along[r].into(),
                    shift.along_axis.get(r).copied().into(),
                ]);
            }
        }
    }
    t
}

fn sharpening(sites: &[Site]) -> Table {
    let columns = [
        "site",
        "model",
        "radius",
        "radius_low",
        "radius_high",
        "others_radius",
        "relative_radius",
        "relative_low",
        "relative_high",
        "axis_norm",
        "range_distance",
        "range_low",
        "range_high",
        "rank_percentile",
        "axis_cosine_first",
    ];
    let mut t = Table::new("sharpening", &columns);
    for site in sites {
        for s in &site.sharpness {
            t.push(vec![
                site.name.as_str().into(),
                s.model.as_str().into(),
                s.radius.into(),
                s.radius_interval.map(|i| i.lo).into(),
                s.radius_interval.map(|i| i.hi).into(),
                s.others.into(),
                s.relative.into(),
                s.relative_interval.map(|i| i.lo).into(),
                s.relative_interval.map(|i| i.hi).into(),
                s.axis_norm.into(),
                s.place.map(|p| p.range_distance).into(),
                s.range_interval.map(|i| i.lo).into(),
                s.range_interval.map(|i| i.hi).into(),
                s.place.map(|p| p.rank_percentile).into(),
                s.cosine_first.into(),
            ]);
        }
    }
    t
}
