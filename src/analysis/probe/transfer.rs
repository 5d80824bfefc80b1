//! Probes fitted on one set of rows, tried on others.

use super::judge::{Judged, cosine};
use super::plan::Plan;
use crate::analysis::interval::Interval;
use crate::analysis::placed::Placed;
use ndarray::{ArrayView1, ArrayView2};

/// Rows with what was found on them by one method.
#[derive(Clone, Copy)]
pub struct Fitted<'a> {
    /// `[row, d_model]`, in the order of the plan.
    pub rows: ArrayView2<'a, f32>,
    pub plan: &'a Plan,
    pub judged: &'a Judged,
}

/// How a probe does on some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Place of the set that it was fitted on, and of the one that it was tried on.
    pub from: usize,
    pub to: usize,
    /// Of its own set, held out; `None` where a label is missing.
    pub auroc: Option<f64>,
    /// 95 %, over the groups of the set that it was tried on.
    pub interval: Option<Interval>,
    pub n: usize,
    /// With the probe that was fitted on that set.
    pub cosine: Option<f64>,
}

/// Every set's probe on every set, in order. All have the same width.
pub fn transfer(sets: &[Fitted]) -> Vec<Tried> {
    let mut all = Vec::with_capacity(sets.len() * sets.len());
    for (from, own) in sets.iter().enumerate() {
        let weights = &own.judged.probe.weights;
        let project = |r: ArrayView1<f32>| r.iter().zip(weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>();
        for (to, other) in sets.iter().enumerate() {
            let groups = &other.plan.groups;
            let scores = match from == to {
                true => other.judged.held_out.clone(),
                false => other.rows.rows().into_iter().map(project).collect(),
            };
            // Rows of another set had no part in the direction.
            let factor = if from == to { other.judged.widened } else { 1.0 };
            let placed = Placed::new(&scores, &other.plan.labels(), &groups.of_row, groups.names.len());
            let placed = placed.map(|p| p.widened(factor));
            all.push(Tried {
                from,
                to,
                auroc: placed.as_ref().map(|p| p.auroc),
                interval: placed.as_ref().and_then(Placed::interval),
                n: scores.len(),
                cosine: cosine(weights, &other.judged.probe.weights),
            });
        }
    }
    all
}
