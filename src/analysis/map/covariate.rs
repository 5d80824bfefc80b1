//! What is known about the roles from elsewhere, and how it goes with the lines of a map.

use super::{MapOptions, Shape};
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::score::interval_cells;
use crate::analysis::stats::{pearson, permutation_p, spearman};
use crate::rng::stream;
use crate::table::{Cell, Table};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// What is known about the personas from elsewhere: a planted trait (0 or 1), a count, a rating.
#[derive(Clone, Debug, PartialEq)]
pub struct Covariate {
    pub name: String,
    /// By persona; those without a value are left out.
    pub values: BTreeMap<String, f64>,
}

/// A correlation between an axis and a covariate over the roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    pub axis: String,
    pub covariate: String,
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
    /// 95 % of Pearson's r, resampling roles.
    pub interval: Option<Interval>,
    /// Two-sided, shuffling the covariate over roles. Not corrected for the number of axes and covariates.
    pub p: Option<f64>,
    pub roles: usize,
    pub reason: Option<String>,
}

/// Correlates every axis of the map with every covariate.
pub fn correlate(map: &Shape, covariates: &[Covariate], options: &MapOptions) -> Vec<Correlation> {
    let mut found = Vec::new();
    for covariate in covariates {
        let known: Vec<(usize, f64)> =
            map.roles.iter().enumerate().filter_map(|(i, r)| Some((i, *covariate.values.get(r)?))).collect();
        let y: Vec<f64> = known.iter().map(|(_, v)| *v).collect();
        for axis in &map.lines {
            let x: Vec<f64> = known.iter().map(|(i, _)| axis.role_scores[*i]).collect();
            let mut rng = stream(options.seed, &format!("correlate/{}/{}", axis.name, covariate.name));
            let r = pearson(&x, &y);
            let resampled = |s: &[usize]| {
                let pick = |v: &[f64]| s.iter().map(|&i| v[i]).collect::<Vec<_>>();
                pearson(&pick(&x), &pick(&y))
            };
            let interval = r.and_then(|_| cluster_bootstrap(x.len(), options.bootstrap, &mut rng, resampled));
            let mut shuffled = y.clone();
            let mut draw = || {
                shuffled.shuffle(&mut rng);
                pearson(&x, &shuffled).map(f64::abs)
            };
            let null: Vec<f64> = (0..options.permutations).filter_map(|_| draw()).collect();
            found.push(Correlation {
                axis: axis.name.clone(),
                covariate: covariate.name.clone(),
                pearson: r,
                spearman: spearman(&x, &y),
                interval,
                p: r.and_then(|r| permutation_p(r.abs(), &null)),
                roles: x.len(),
                reason: r.is_none().then(|| "the covariate does not vary over the roles".into()),
            });
        }
    }
    found
}

/// One row per map, line and covariate.
pub fn correlation_table(of: &[(&Shape, &[Correlation])]) -> Table {
    let mut columns = vec!["site", "axis", "covariate", "pearson_r", "pearson_lo", "pearson_hi", "interval_note"];
    columns.extend(["spearman_rho", "p_value", "roles", "reason"]);
    let mut table = Table::new("correlations", &columns);
    for (m, correlations) in of {
        for c in *correlations {
            let mut row: Vec<Cell> = vec![m.site.clone().into(), c.axis.clone().into(), c.covariate.clone().into()];
            row.push(c.pearson.into());
            row.extend(interval_cells(c.interval));
            row.extend([c.spearman.into(), c.p.into(), c.roles.into(), c.reason.clone().into()]);
            table.push(row);
        }
    }
    table
}
