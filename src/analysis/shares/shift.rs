//! The common shift: what a model adds to every persona.

use super::Options;
use super::design::Design;
use super::estimate::{Estimated, pair_estimate};
use super::kernel::Kernels;
use crate::analysis::stats::{mean, permutation_p};
use crate::rng::stream;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::Rng;
use rand::seq::SliceRandom;

/// With up to this many signs all of them are tried.
const ALL_SIGNS: usize = 12;

/// From one model to another: the mean over roles of what changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    pub from: String,
    pub to: String,
    /// Squared length of the shift without its noise; may lie below 0 where there is none.
    pub squared: Estimated,
    /// Length of the mean difference as it is, noise and all.
    pub raw_norm: f64,
    /// Root mean square distance of personas from their mean; `None` where personas do not differ beyond noise.
    pub persona_sd: Option<f64>,
    /// Mean cosine of the shifts on two halves of the prompts; about 0 where there is none.
    pub split_half: Option<f64>,
    /// Sign flips of roles: would roles that change each in a way of its own have so large a mean?
    pub p_roles: Option<f64>,
    /// Sign flips of prompts: would prompts that change nothing on average have so large a mean?
    pub p_prompts: Option<f64>,
    /// `[d_model]`: the mean difference.
    pub vector: Array1<f64>,
    /// One per role: its own difference along the unit shift of the other roles, in units of the activations.
    pub along: Vec<f64>,
    /// One per role: its own difference along the axis of the first model, from the mean of the other roles to the default
    /// persona; empty without a default persona.
    pub along_axis: Vec<f64>,
    /// One per role: the length of its own difference.
    pub own: Vec<f64>,
}

pub(super) fn shifts(name: &str, design: &Design, kernels: &Kernels, persona: f64, options: &Options) -> Vec<Shift> {
    let n = design.models.len();
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    pairs.map(|(a, b)| shift(&format!("{name}/{a}/{b}"), design, kernels, (a, b), persona, options)).collect()
}

fn shift(
    label: &str,
    design: &Design,
    kernels: &Kernels,
    (a, b): (usize, usize),
    persona: f64,
    options: &Options,
) -> Shift {
    let (n_models, n_roles) = (design.models.len(), design.roles.len());
    let by_prompt = &kernels.by_model.slice(s![b, .., ..]) - &kernels.by_model.slice(s![a, .., ..]);
    let cell = |r: usize, m: usize| kernels.means.row(r * n_models + m);
    let d = kernels.means.ncols();
    let mut by_role = Array2::zeros((n_roles, d));
    for (r, mut row) in by_role.axis_iter_mut(Axis(0)).enumerate() {
        row.assign(&(&cell(r, b) - &cell(r, a)));
    }
    let vector = by_role.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(d));
    let products = by_prompt.dot(&by_prompt.t());
    let flips = |of: &Array2<f64>, what: &str| sign_flips(of, options, &format!("shift/{what}/{label}"));
    let along = |r: usize| {
        let others = (&vector * n_roles as f64 - by_role.row(r)) / (n_roles - 1) as f64;
        let norm = others.dot(&others).sqrt();
        if norm > 0.0 { by_role.row(r).dot(&others) / norm } else { 0.0 }
    };
    let axis = design.default.and_then(|default| axis(design, kernels, default, a));
    Shift {
        from: design.models[a].clone(),
        to: design.models[b].clone(),
        squared: pair_estimate(&products),
        raw_norm: vector.dot(&vector).sqrt(),
        persona_sd: (persona > 0.0).then(|| persona.sqrt()),
        split_half: split_half(&products, options, label),
        p_roles: flips(&by_role.dot(&by_role.t()), "roles"),
        p_prompts: flips(&products, "prompts"),
        along: (0..n_roles).map(along).collect(),
        along_axis: axis.map_or(vec![], |axis| by_role.dot(&axis).to_vec()),
        own: by_role.rows().into_iter().map(|r| r.dot(&r).sqrt()).collect(),
        vector,
    }
}

/// The unit vector from the mean of the other roles to the default persona, under one model; `None` where they coincide.
pub(super) fn axis(design: &Design, kernels: &Kernels, default: usize, model: usize) -> Option<Array1<f64>> {
    let n_models = design.models.len();
    let of = |r: usize| kernels.means.row(r * n_models + model).to_owned();
    let others = (0..design.roles.len()).filter(|r| *r != default);
    let sum = others.fold(Array1::zeros(kernels.means.ncols()), |sum: Array1<f64>, r| sum + of(r));
    let axis = of(default) - sum / (design.roles.len() - 1) as f64;
    let norm = axis.dot(&axis).sqrt();
    (norm > 0.0).then(|| axis / norm)
}

/// The p-value of the squared length of a sum under random signs of its terms, from the terms' products.
fn sign_flips(products: &Array2<f64>, options: &Options, label: &str) -> Option<f64> {
    let n = products.nrows();
    let length = |signs: &[f64]| -> f64 {
        (0..n).map(|i| signs[i] * (0..n).map(|j| signs[j] * products[[i, j]]).sum::<f64>()).sum()
    };
    let observed = length(&vec![1.0; n]);
    if n <= ALL_SIGNS {
        // The first sign is fixed: all of them turned over give the same length.
        let all = 1_usize << (n - 1);
        let signs =
            |k: usize| (0..n).map(|i| if i > 0 && k >> (i - 1) & 1 == 1 { -1.0 } else { 1.0 }).collect::<Vec<_>>();
        let slack = 1e-12 * observed.abs();
        return Some((0..all).filter(|k| length(&signs(*k)) >= observed - slack).count() as f64 / all as f64);
    }
    let mut rng = stream(options.seed, label);
    let mut draw = || length(&(0..n).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect::<Vec<_>>());
    permutation_p(observed, &(0..options.permutations).map(|_| draw()).collect::<Vec<_>>())
}

fn split_half(products: &Array2<f64>, options: &Options, label: &str) -> Option<f64> {
    let n = products.nrows();
    let mut rng = stream(options.seed, &format!("shift/halves/{label}"));
    let mut order: Vec<usize> = (0..n).collect();
    let mut cosines = Vec::with_capacity(options.splits);
    for _ in 0..options.splits {
        order.shuffle(&mut rng);
        let (first, second) = order.split_at(n / 2);
        let product = |x: &[usize], y: &[usize]| block(products.view(), x, y);
        let norms = (product(first, first) * product(second, second)).sqrt();
        if norms > 0.0 {
            cosines.push(product(first, second) / norms);
        }
    }
    mean(&cosines)
}

fn block(products: ArrayView2<f64>, x: &[usize], y: &[usize]) -> f64 {
    x.iter().map(|&i| y.iter().map(|&j| products[[i, j]]).sum::<f64>()).sum()
}
