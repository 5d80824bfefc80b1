//! Probes fitted on one set of rows, tried on others.

use super::design::Design;
use super::judge::{Judged, cosine};
use super::method::{Fitter, Part, Settings};
use super::plan::Plan;
use super::solver::Closeness;
use crate::analysis::interval::Interval;
use crate::analysis::placed::Placed;
use crate::analysis::stats::mean;
use crate::error::Result;
use ndarray::{Array1, ArrayView2};

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
///
/// Where a set shares groups with the one that it is tried on, its probe is fitted again without those of each fold: a
/// person on both sides would carry the label over.
///
/// # Errors
/// Rows that are not finite.
pub fn transfer(sets: &[Fitted], settings: Settings) -> Result<Vec<Tried>> {
    let mut all = Vec::with_capacity(sets.len() * sets.len());
    for (from, own) in sets.iter().enumerate() {
        let design = Design::new(own.rows)?;
        for (to, other) in sets.iter().enumerate() {
            let groups = &other.plan.groups;
            let scores = match from == to {
                true => other.judged.held_out.clone(),
                false => across(own, other, &design, settings),
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
                cosine: cosine(&own.judged.probe.weights, &other.judged.probe.weights),
            });
        }
    }
    Ok(all)
}

/// Scores of the rows of one set by the probe of another, of groups that it was not fitted on.
fn across(own: &Fitted, other: &Fitted, design: &Design, settings: Settings) -> Vec<f64> {
    let project = |weights: &Array1<f64>, r: usize| {
        other.rows.row(r).iter().zip(weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>()
    };
    let n = other.rows.nrows();
    let (mine, theirs) = (&own.plan.groups, &other.plan.groups);
    let shared: Vec<Option<usize>> =
        mine.names.iter().map(|name| theirs.names.iter().position(|other| other == name)).collect();
    if shared.iter().all(Option::is_none) {
        return (0..n).map(|r| project(&own.judged.probe.weights, r)).collect();
    }
    let fitter = Fitter { design, group: &mine.of_row, settings };
    let without = |fold: usize| {
        let left_out = |r: usize| shared[mine.of_row[r]].is_some_and(|g| other.plan.fold_of[g] == fold);
        Part { train: (0..own.rows.nrows()).map(|r| !left_out(r)).collect(), target: own.plan.target.clone() }
    };
    let parts: Vec<Part> = (0..other.plan.folds).map(without).collect();
    let probes = fitter.fit(own.judged.method, &parts, Closeness::FULL, None);
    let mut scores = vec![0.0; n];
    for (fold, probe) in probes.iter().enumerate() {
        let Some(probe) = probe else { continue };
        let of: Vec<f64> = (0..n).map(|r| project(&probe.weights, r)).collect();
        let inside = |r: &usize| other.plan.fold_of[theirs.of_row[*r]] == fold;
        // Folds have one zero: the mean of the rows of the others, whatever their labels.
        let outside: Vec<f64> = (0..n).filter(|r| !inside(r)).map(|r| of[r]).collect();
        let zero = mean(&outside).unwrap_or(0.0);
        (0..n).filter(inside).for_each(|r| scores[r] = of[r] - zero);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::super::judge::judge;
    use super::super::method::Method;
    use super::super::plan::Judging;
    use super::*;
    use crate::acts::RowKey;
    use crate::analysis::nulls::normal;
    use crate::analysis::split::Groups;
    use crate::rng::stream;
    use ndarray::Array2;

    #[test]
    fn a_person_on_both_sides_carries_no_label_over() {
        // 24 people, each with a row of its own in 60 dimensions that says nothing of its label, the same in both sets.
        let mut rng = stream(3, "transfer");
        let (people, width) = (24, 60);
        let who = Array2::from_shape_fn((people, width), |_| normal(&mut rng));
        let set = |rng: &mut _| {
            let rows =
                Array2::from_shape_fn((2 * people, width), |(r, c)| (who[[r / 2, c]] + 0.1 * normal(rng)) as f32);
            let key = |r: usize| RowKey { group: format!("p{:02}", r / 2), ..RowKey::default() };
            let keys: Vec<RowKey> = (0..2 * people).map(key).collect();
            let target = (0..2 * people).map(|r| if (r / 2) % 2 == 0 { 1.0 } else { -1.0 }).collect();
            let judging = Judging { permutations: 0, random: 0, halvings: 0, controls: 0, ..Judging::default() };
            let plan = Plan::new(Groups::of(&keys), target, false, judging).unwrap();
            let judged = judge(rows.view(), &plan, &[Method::Contrast], Settings::default()).unwrap().remove(0);
            (rows, plan, judged)
        };
        let sets = [set(&mut rng), set(&mut rng)];
        let fitted = sets.each_ref().map(|(rows, plan, judged)| Fitted { rows: rows.view(), plan, judged });
        let found = transfer(&fitted, Settings::default()).unwrap();
        // The direction is that of the people themselves: with them on both sides the AUROC would be 1.
        let leaking: Vec<f64> = (0..2 * people)
            .map(|r| sets[1].0.row(r).iter().zip(&sets[0].2.probe.weights).map(|(x, w)| f64::from(*x) * w).sum())
            .collect();
        let labels = sets[1].1.labels();
        assert!(crate::analysis::stats::auroc(&leaking, &labels).unwrap() > 0.99);
        let honest = found.iter().find(|t| (t.from, t.to) == (0, 1)).unwrap();
        assert!(honest.auroc.unwrap() < 0.75 && honest.cosine.unwrap() > 0.9, "{honest:?}");
    }
}
