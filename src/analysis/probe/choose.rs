//! A site chosen on training groups alone, and what it scores on groups that had no say in the choice.

use super::{Judged, Judging, Method, Plan, Settings, judge};
use crate::acts::RowKey;
use crate::analysis::interval::Interval;
use crate::analysis::placed::Placed;
use crate::analysis::split::Groups;
use crate::error::Result;
use ndarray::{ArrayView2, Axis};

/// Per method and fold, the AUROC that a site has on the groups of the other folds, by folds of their own. `None` where
/// these are too few to be held out, or find no direction.
pub type Inner = Vec<Vec<Option<f64>>>;

/// Scores a site, `[row, d_model]` in the order of the plan, without the rows of each fold in turn.
///
/// # Errors
/// Rows that are not those of the plan.
pub fn inner(rows: ArrayView2<f32>, plan: &Plan, methods: &[Method], settings: Settings) -> Result<Inner> {
    let mut all = vec![Vec::with_capacity(plan.folds); methods.len()];
    for fold in 0..plan.folds {
        let kept: Vec<usize> =
            (0..plan.target.len()).filter(|&r| plan.fold_of[plan.groups.of_row[r]] != fold).collect();
        let key = |&r: &usize| RowKey { group: plan.groups.names[plan.groups.of_row[r]].clone(), ..RowKey::default() };
        let groups = Groups::of(&kept.iter().map(key).collect::<Vec<_>>());
        let target = kept.iter().map(|&r| plan.target[r]).collect();
        let judging =
            Judging { folds: plan.folds, permutations: 0, random: 0, halvings: 0, controls: 0, seed: fold as u64 };
        let own = Plan::new(groups, target, plan.graded, judging).ok();
        let rows = own.as_ref().map(|_| rows.select(Axis(0), &kept));
        for (list, method) in all.iter_mut().zip(methods) {
            let judged = own.as_ref().zip(rows.as_ref());
            let judged = judged.and_then(|(plan, rows)| judge(rows.view(), plan, &[*method], settings).ok()?.pop());
            list.push(judged.and_then(|j| j.metrics.first()?.value));
        }
    }
    Ok(all)
}

/// What the chosen sites score.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The index of the site chosen without each fold; `None` where none could be.
    pub sites: Vec<Option<usize>>,
    /// Over the rows of all folds, each scored by the site that was chosen without it.
    pub auroc: f64,
    pub interval: Option<Interval>,
    pub rows: usize,
}

/// Chooses for each fold the site with the largest inner AUROC, the first of equals, and joins what these sites say of the
/// rows of their folds, as chances, which are comparable between sites. `judged` and `inner` are of one method, by site.
/// `None` for graded targets and where no fold has a site.
pub fn choose(plan: &Plan, judged: &[Option<&Judged>], inner: &[&[Option<f64>]]) -> Option<Chosen> {
    let best = |fold: usize| {
        let mut best: Option<(usize, f64)> = None;
        for (site, scores) in inner.iter().enumerate().filter(|(s, _)| judged[*s].is_some()) {
            if let Some(score) = scores.get(fold).copied().flatten()
                && best.is_none_or(|(_, b)| score > b)
            {
                best = Some((site, score));
            }
        }
        best.map(|(site, _)| site)
    };
    let sites: Vec<Option<usize>> = (0..plan.folds).map(best).collect();
    let (mut scores, mut labels, mut cluster, mut widened) = (Vec::new(), Vec::new(), Vec::new(), 1.0f64);
    for r in 0..plan.target.len() {
        let group = plan.groups.of_row[r];
        let Some(probe) = sites[plan.fold_of[group]].and_then(|s| judged[s]) else { continue };
        scores.push(probe.chance.as_ref()?[r]);
        labels.push(plan.target[r] > 0.0);
        cluster.push(group);
        widened = widened.max(probe.widened);
    }
    let placed = Placed::new(&scores, &labels, &cluster, plan.groups.names.len())?.widened(widened);
    Some(Chosen { sites, auroc: placed.auroc, interval: placed.interval(), rows: scores.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::rng::stream;
    use ndarray::Array2;

    /// 24 groups of 6 rows, labels by group; `signal` along the first of 8 columns.
    fn planted(seed: u64, signal: f64) -> (Array2<f32>, Plan) {
        let mut rng = stream(seed, "chosen site");
        let label = |r: usize| if (r / 6).is_multiple_of(2) { 1.0 } else { -1.0 };
        let rows = Array2::from_shape_fn((144, 8), |(r, c)| {
            (normal(&mut rng) + if c == 0 { signal * label(r) } else { 0.0 }) as f32
        });
        let key = |r: usize| RowKey { group: format!("g{:02}", r / 6), ..RowKey::default() };
        let groups = Groups::of(&(0..144).map(key).collect::<Vec<_>>());
        let judging = Judging { permutations: 0, halvings: 0, random: 0, controls: 0, ..Judging::default() };
        (rows, Plan::new(groups, (0..144).map(label).collect(), false, judging).unwrap())
    }

    fn chosen(sites: &[Array2<f32>], plan: &Plan) -> Chosen {
        let methods = [Method::Contrast];
        let judged: Vec<Judged> =
            sites.iter().map(|s| judge(s.view(), plan, &methods, Settings::default()).unwrap().remove(0)).collect();
        let found: Vec<Inner> =
            sites.iter().map(|s| inner(s.view(), plan, &methods, Settings::default()).unwrap()).collect();
        let of: Vec<&[Option<f64>]> = found.iter().map(|f| &f[0][..]).collect();
        choose(plan, &judged.iter().map(Some).collect::<Vec<_>>(), &of).unwrap()
    }

    #[test]
    fn the_site_with_the_signal_is_chosen_without_every_fold() {
        let (signal, plan) = planted(1, 1.0);
        let sites = [planted(2, 0.0).0, signal, planted(3, 0.0).0];
        let c = chosen(&sites, &plan);
        assert!(c.sites.iter().all(|s| *s == Some(1)) && c.rows == 144, "{c:?}");
        // Rows of the classes are 2 apart with deviation 1: Phi(2 / sqrt 2) = 0.92.
        assert!((c.auroc - 0.92).abs() < 0.05 && c.interval.is_some(), "{c:?}");
    }

    #[test]
    fn the_best_of_many_empty_sites_scores_chance_and_not_its_luck() {
        let plan = planted(0, 0.0).1;
        let (mut honest, mut lucky) = (0.0, 0.0);
        for round in 0..12 {
            let sites: Vec<Array2<f32>> = (0..10).map(|s| planted(100 + 10 * round + s, 0.0).0).collect();
            honest += chosen(&sites, &plan).auroc / 12.0;
            let of = |s: &Array2<f32>| {
                let j = judge(s.view(), &plan, &[Method::Contrast], Settings::default()).unwrap();
                j[0].metrics[0].value.unwrap()
            };
            lucky += sites.iter().map(of).fold(0.0, f64::max) / 12.0;
        }
        // An AUROC of 72 against 72 rows has sd 0.05, its mean over 12 rounds 0.014, and more for folds that share rows;
        // the largest of ten lies about 1.5 sd above.
        assert!((honest - 0.5).abs() < 0.06 && lucky > 0.55, "{honest} {lucky}");
    }
}
