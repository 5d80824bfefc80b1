//! The default persona under each model: how tight its cluster is, and how far out along the axis it stands.

use super::Options;
use super::design::Design;
use super::kernel::Kernels;
use super::shift::axis;
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::map::{Place, place};
use crate::rng::stream;
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// The default persona under one model. The axis runs from the mean of the other roles to it, model by model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sharpness {
    pub model: String,
    /// Root of the variance of its rows, summed over dimensions; interval over prompts.
    pub radius: f64,
    pub radius_interval: Option<Interval>,
    /// The same over all other roles, for comparison.
    pub others: f64,
    /// Radius over that of the others.
    pub relative: f64,
    pub relative_interval: Option<Interval>,
    /// Length of the axis.
    pub axis_norm: f64,
    /// Among the other roles, along the axis; `None` where they have no range.
    pub place: Option<Place>,
    /// Of the range distance, over prompts.
    pub range_interval: Option<Interval>,
    /// Cosine of the axis with that of the first model.
    pub cosine_first: f64,
}

pub(super) fn sharpness(
    name: &str,
    design: &Design,
    kernels: &Kernels,
    rows: ArrayView2<f32>,
    options: &Options,
) -> Vec<Sharpness> {
    let Some(default) = design.default else { return vec![] };
    let n_models = design.models.len();
    let axes: Vec<Option<Array1<f64>>> = (0..n_models).map(|m| axis(design, kernels, default, m)).collect();
    let mut found = Vec::new();
    for (m, model) in design.models.iter().enumerate() {
        let Some(axis) = &axes[m] else { continue };
        let others: Vec<usize> = (0..design.roles.len()).filter(|r| *r != default).collect();
        let of = |r: usize| r * n_models + m;
        let own = |s: &[usize], cell: usize| {
            (s.iter().map(|p| kernels.spread[[cell, *p]]).sum::<f64>() / s.len() as f64).max(0.0).sqrt()
        };
        let rest = |s: &[usize]| {
            let variance = others.iter().map(|r| own(s, of(*r)).powi(2)).sum::<f64>() / others.len() as f64;
            variance.sqrt()
        };
        let all: Vec<usize> = (0..design.prompts).collect();
        let relative = |s: &[usize]| Some(own(s, of(default)) / rest(s)).filter(|v| v.is_finite());
        let z = projections(design, m, rows, axis);
        let placed = |s: &[usize]| {
            let levels: Option<Vec<f64>> = others.iter().map(|r| mean_of(&z, *r, s)).collect();
            place(mean_of(&z, default, s)?, &levels?)
        };
        let interval = |what: &str, of: &dyn Fn(&[usize]) -> Option<f64>| {
            let mut rng = stream(options.seed, &format!("sharpness/{what}/{name}/{model}"));
            cluster_bootstrap(design.prompts, options.bootstrap, &mut rng, of)
        };
        let level = |r: usize| axis.dot(&kernels.means.row(of(r)));
        let length = level(default) - others.iter().map(|r| level(*r)).sum::<f64>() / others.len() as f64;
        found.push(Sharpness {
            model: model.clone(),
            radius: own(&all, of(default)),
            radius_interval: interval("radius", &|s| Some(own(s, of(default)))),
            others: rest(&all),
            relative: relative(&all).unwrap_or(f64::NAN),
            relative_interval: interval("relative", &|s| relative(s)),
            axis_norm: length,
            place: placed(&all),
            range_interval: interval("range", &|s| placed(s).map(|p| p.range_distance)),
            cosine_first: axes[0].as_ref().map_or(f64::NAN, |first| first.dot(axis)),
        });
    }
    found
}

/// `[role, prompt]`: sum of the projections of a model's rows, and how many there are.
fn projections(design: &Design, model: usize, rows: ArrayView2<f32>, axis: &Array1<f64>) -> Array2<(f64, usize)> {
    let n_models = design.models.len();
    let mut z = Array2::from_elem((design.roles.len(), design.prompts), (0.0, 0));
    for (r, mut of) in z.axis_iter_mut(Axis(0)).enumerate() {
        for (p, rows_of) in design.rows[r * n_models + model].iter().enumerate() {
            let mut values: Vec<f64> = rows_of
                .iter()
                .map(|row| rows.row(*row).iter().zip(axis).map(|(v, a)| f64::from(*v) * a).sum())
                .collect();
            values.sort_by(f64::total_cmp);
            of[p] = (values.iter().sum(), values.len());
        }
    }
    z
}

fn mean_of(z: &Array2<(f64, usize)>, role: usize, prompts: &[usize]) -> Option<f64> {
    let (sum, n) = prompts.iter().map(|p| z[[role, *p]]).fold((0.0, 0), |(s, n), (v, k)| (s + v, n + k));
    (n > 0).then(|| sum / n as f64)
}
