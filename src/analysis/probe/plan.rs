//! What is decided before any site is looked at: folds, shuffles, halves, control labels. The same for every site and
//! method, by the groups, the labels and the seed alone.

use super::method::Part;
use crate::analysis::split::{Groups, stratified_folds};
use crate::error::{Error, Result};
use crate::rng::stream;
use rand::Rng;
use rand::seq::SliceRandom;

/// How probes are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judging {
    pub folds: usize,
    /// Shuffles of the null, each refitted.
    pub permutations: usize,
    /// Random directions.
    pub random: usize,
    /// Halvings for the reliability of the direction; at 0 no group is left out by itself either.
    pub halvings: usize,
    /// Control tasks: labels by lot for each group.
    pub controls: usize,
    pub seed: u64,
}

impl Default for Judging {
    fn default() -> Judging {
        Judging { folds: 5, permutations: 100, random: 200, halvings: 10, controls: 3, seed: 0 }
    }
}

/// Groups left out one by one; beyond this many a sample of them.
const LEFT_OUT: usize = 40;

/// The plan of all fits.
#[derive(Clone, Debug)]
pub struct Plan {
    pub groups: Groups,
    /// Per row 1 or -1, or a score.
    pub target: Vec<f64>,
    /// Whether targets are scores, not labels.
    pub graded: bool,
    /// The fold of each group.
    pub fold_of: Vec<usize>,
    pub folds: usize,
    /// Whether labels vary within groups: in all, in none, in some.
    pub level: Level,
    pub(super) shuffles: Vec<Shuffle>,
    pub(super) halves: Vec<[Part; 2]>,
    pub(super) left_out: Vec<usize>,
    pub(super) controls: Vec<Vec<f64>>,
    /// Folds of rows inside groups, for control tasks.
    pub(super) row_folds: Vec<usize>,
    pub(super) judging: Judging,
    pub warnings: Vec<String>,
}

/// Where labels vary, and so what is shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Labels go with groups, and are shuffled over them.
    Between,
    /// Every group has both labels, which are shuffled within it.
    Within,
    /// Some groups have one label and some both: each as above.
    Mixed,
}

impl Level {
    /// The level in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Level::Between => "labels over groups",
            Level::Within => "labels within groups",
            Level::Mixed => "labels over groups of one label, and within those of both",
        }
    }
}

/// One draw of the null: targets with folds of their own.
#[derive(Clone, Debug)]
pub(super) struct Shuffle {
    pub target: Vec<f64>,
    pub fold_of: Vec<usize>,
}

impl Plan {
    /// Plans by groups and targets: labels as 1 and -1, or graded scores.
    ///
    /// # Errors
    /// Fewer than two folds asked for, one label only, or too few groups to hold any out.
    pub fn new(groups: Groups, target: Vec<f64>, graded: bool, judging: Judging) -> Result<Plan> {
        let (mut plan, seed) = (Plan::bare(groups, target, graded, judging)?, judging.seed);
        let mut rng = stream(seed, "probe/shuffles");
        plan.shuffles = (0..judging.permutations)
            .map(|_| {
                let target = plan.shuffled(&mut rng);
                let fold_of = deal(&plan.groups, &target, graded, plan.folds, &mut rng).unwrap_or(plan.fold_of.clone());
                Shuffle { target, fold_of }
            })
            .collect();
        let mut rng = stream(seed, "probe/halves");
        plan.halves = (0..judging.halvings)
            .filter_map(|_| {
                let half = deal(&plan.groups, &plan.target, graded, 2, &mut rng)?;
                Some([0, 1].map(|h| plan.part(|r| half[plan.groups.of_row[r]] == h)))
            })
            .collect();
        let mut all: Vec<usize> = (0..plan.groups.names.len()).collect();
        if all.len() > LEFT_OUT {
            all.shuffle(&mut stream(seed, "probe/left out"));
            all.truncate(LEFT_OUT);
            all.sort_unstable();
        }
        plan.left_out = if judging.halvings == 0 { vec![] } else { all };
        let mut rng = stream(seed, "probe/control");
        plan.row_folds = vec![0; plan.target.len()];
        for rows in &plan.groups.rows {
            let mut rows = rows.clone();
            rows.shuffle(&mut rng);
            // The first of a group goes to a fold by lot, so that no fold gets all the first ones.
            let from = rng.random_range(0..plan.folds);
            rows.iter().enumerate().for_each(|(i, &r)| plan.row_folds[r] = (i + from) % plan.folds);
        }
        let shared = plan.groups.rows.iter().filter(|r| r.len() > 1).count();
        if !graded && shared * 2 > plan.groups.rows.len() {
            for _ in 0..judging.controls {
                // As even as they go, by lot.
                let mut by_group: Vec<f64> =
                    (0..plan.groups.names.len()).map(|g| if g % 2 == 0 { 1.0 } else { -1.0 }).collect();
                by_group.shuffle(&mut rng);
                plan.controls.push(plan.groups.of_row.iter().map(|&g| by_group[g]).collect());
            }
        }
        Ok(plan)
    }

    fn bare(groups: Groups, target: Vec<f64>, graded: bool, judging: Judging) -> Result<Plan> {
        if judging.folds < 2 {
            return Err(Error::refused(
                format!("{} folds", judging.folds),
                "scores come from held-out folds: give 2 at least",
            ));
        }
        let positives = target.iter().filter(|y| **y > 0.0).count();
        let same = target.iter().all(|y| *y == target[0]);
        if same || (!graded && (positives == 0 || positives == target.len())) {
            let what = if graded { "all scores are the same" } else { "all rows have the same label" };
            return Err(Error::refused(what, "a probe needs rows of both labels"));
        }
        let mut warnings = Vec::new();
        let mixed = groups.rows.iter().filter(|rows| both(rows, &target)).count();
        let level = match mixed {
            0 => Level::Between,
            m if m == groups.rows.len() => Level::Within,
            _ => Level::Mixed,
        };
        let folds = most_folds(&groups, &target, graded).min(judging.folds);
        let fold_of = deal(&groups, &target, graded, folds, &mut stream(judging.seed, "probe/folds"));
        let Some(fold_of) = fold_of.filter(|_| folds >= 2) else {
            let what = format!("{} groups are too few to hold any out", groups.names.len());
            let hint = "each label needs two groups, or two groups need both labels: give rows that do not depend on each other groups of their own";
            return Err(Error::refused(what, hint));
        };
        if folds < judging.folds {
            warnings
                .push(format!("{folds} folds and not {}: there are no more groups of the rarer label", judging.folds));
        }
        Ok(Plan {
            groups,
            target,
            graded,
            fold_of,
            folds,
            level,
            shuffles: vec![],
            halves: vec![],
            left_out: vec![],
            controls: vec![],
            row_folds: vec![],
            judging,
            warnings,
        })
    }

    /// The label of each row.
    pub fn labels(&self) -> Vec<bool> {
        self.target.iter().map(|y| *y > 0.0).collect()
    }

    /// How it was asked to judge.
    pub fn judging(&self) -> Judging {
        self.judging
    }

    /// The fold of a row.
    pub fn fold(&self, row: usize) -> usize {
        self.fold_of[self.groups.of_row[row]]
    }

    /// Rows for which `train` holds, with the real targets.
    pub(super) fn part(&self, train: impl Fn(usize) -> bool) -> Part {
        Part { train: (0..self.target.len()).map(train).collect(), target: self.target.clone() }
    }

    fn shuffled(&self, rng: &mut impl Rng) -> Vec<f64> {
        let mut target = self.target.clone();
        if self.graded {
            return self.shuffled_scores(rng);
        }
        let single: Vec<usize> =
            (0..self.groups.rows.len()).filter(|&g| !both(&self.groups.rows[g], &self.target)).collect();
        let mut of_single: Vec<f64> = single.iter().map(|&g| self.target[self.groups.rows[g][0]]).collect();
        of_single.shuffle(rng);
        for (&g, y) in single.iter().zip(of_single) {
            self.groups.rows[g].iter().for_each(|&r| target[r] = y);
        }
        for rows in self.groups.rows.iter().filter(|rows| both(rows, &self.target)) {
            let mut own: Vec<f64> = rows.iter().map(|&r| self.target[r]).collect();
            own.shuffle(rng);
            rows.iter().zip(own).for_each(|(&r, y)| target[r] = y);
        }
        target
    }

    /// Scores: those of a group that has one score move as one; others are shuffled within groups.
    fn shuffled_scores(&self, rng: &mut impl Rng) -> Vec<f64> {
        let mut target = self.target.clone();
        let rows = &self.groups.rows;
        let flat: Vec<usize> =
            (0..rows.len()).filter(|&g| rows[g].iter().all(|&r| target[r] == target[rows[g][0]])).collect();
        let mut of_flat: Vec<f64> = flat.iter().map(|&g| self.target[rows[g][0]]).collect();
        of_flat.shuffle(rng);
        for (&g, y) in flat.iter().zip(of_flat) {
            rows[g].iter().for_each(|&r| target[r] = y);
        }
        for g in (0..rows.len()).filter(|g| !flat.contains(g)) {
            let mut own: Vec<f64> = rows[g].iter().map(|&r| self.target[r]).collect();
            own.shuffle(rng);
            rows[g].iter().zip(own).for_each(|(&r, y)| target[r] = y);
        }
        target
    }
}

/// Whether rows have both labels.
fn both(rows: &[usize], target: &[f64]) -> bool {
    rows.iter().any(|&r| target[r] > 0.0) && rows.iter().any(|&r| target[r] <= 0.0)
}

/// The folds that groups allow: every rest must hold both labels.
fn most_folds(groups: &Groups, target: &[f64], graded: bool) -> usize {
    let mixed = groups.rows.iter().filter(|rows| both(rows, target)).count();
    if graded || mixed > 1 {
        return groups.rows.len();
    }
    let positive = groups.rows.iter().filter(|rows| target[rows[0]] > 0.0 && !both(rows, target)).count();
    positive.min(groups.rows.len() - positive - mixed)
}

/// Deals groups into folds: those of either label in turn, so that each fold has its share; those with both by lot.
fn deal(groups: &Groups, target: &[f64], graded: bool, folds: usize, rng: &mut impl Rng) -> Option<Vec<usize>> {
    let n = groups.rows.len();
    let (mixed, single): (Vec<usize>, Vec<usize>) = (0..n).partition(|&g| graded || both(&groups.rows[g], target));
    let mut fold_of = vec![0; n];
    if mixed.len() > 1 {
        // Dealt one after another, whatever they are: two groups with both labels are in different folds.
        let (mut rest, mut order) = (single, mixed);
        order.shuffle(rng);
        rest.shuffle(rng);
        rest.sort_by_key(|&g| target[groups.rows[g][0]] > 0.0);
        order.extend(rest);
        order.iter().enumerate().for_each(|(place, &g)| fold_of[g] = place % folds.max(1));
        return (folds >= 2 && n >= 2).then_some(fold_of);
    }
    let labels: Vec<bool> = single.iter().map(|&g| target[groups.rows[g][0]] > 0.0).collect();
    let dealt = stratified_folds(&labels, folds, rng)?;
    single.iter().zip(dealt).for_each(|(&g, f)| fold_of[g] = f);
    mixed.iter().for_each(|&g| fold_of[g] = rng.random_range(0..folds));
    Some(fold_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts::RowKey;

    fn groups(names: &[&str]) -> Groups {
        let key = |g: &&str| RowKey { group: g.to_string(), ..RowKey::default() };
        Groups::of(&names.iter().map(key).collect::<Vec<_>>())
    }

    fn plan(names: &[&str], target: &[f64]) -> Result<Plan> {
        Plan::new(groups(names), target.to_vec(), false, Judging { permutations: 30, ..Judging::default() })
    }

    #[test]
    fn labels_that_go_with_groups_are_shuffled_over_them_and_others_within() {
        let names = ["a", "a", "b", "b", "c", "c", "d", "d"];
        let between = plan(&names, &[1., 1., 1., 1., -1., -1., -1., -1.]).unwrap();
        assert_eq!(between.level, Level::Between);
        for s in &between.shuffles {
            assert!((0..8).step_by(2).all(|r| s.target[r] == s.target[r + 1]));
            assert_eq!(s.target.iter().sum::<f64>(), 0.0);
            // Both labels on either side of every fold.
            for f in 0..between.folds {
                let of = |y: f64| (0..4).any(|g| s.fold_of[g] == f && s.target[2 * g] == y);
                assert!(of(1.0) && of(-1.0));
            }
        }
        assert!(between.shuffles.iter().any(|s| s.target != between.target));
        let within = plan(&names, &[1., -1., 1., -1., 1., -1., 1., -1.]).unwrap();
        assert_eq!(within.level, Level::Within);
        assert!(within.shuffles.iter().all(|s| (0..8).step_by(2).all(|r| s.target[r] == -s.target[r + 1])));
        assert_eq!(within.folds, 4);
    }

    #[test]
    fn what_cannot_be_held_out_is_refused_with_what_to_do() {
        assert!(plan(&["a", "b", "c"], &[1., 1., 1.]).unwrap_err().to_string().contains("same label"));
        let few = plan(&["a", "b", "b"], &[1., -1., -1.]).unwrap_err();
        assert!(few.to_string().contains("too few") && few.hint().contains("two groups"), "{few}");
        assert!(plan(&["a", "a", "a"], &[1., -1., 1.]).is_err());
        let fewer = plan(&["a", "b", "c", "d"], &[1., 1., -1., -1.]).unwrap();
        assert!(fewer.folds == 2 && fewer.warnings[0].contains("2 folds and not 5"));
    }

    #[test]
    fn the_plan_is_decided_by_its_seed_and_groups_are_never_split() {
        let names: Vec<String> = (0..40).map(|r| format!("g{:02}", r / 2)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let target: Vec<f64> = (0..40).map(|r| if (r / 2) % 3 == 0 { 1.0 } else { -1.0 }).collect();
        let (a, b) = (plan(&names, &target).unwrap(), plan(&names, &target).unwrap());
        assert_eq!((&a.fold_of, &a.shuffles[7].target), (&b.fold_of, &b.shuffles[7].target));
        for [x, y] in &a.halves {
            assert!((0..40).all(|r| x.train[r] != y.train[r] && x.train[r] == x.train[r ^ 1]));
        }
        assert!(a.controls.iter().all(|c| (0..40).all(|r| c[r] == c[r ^ 1])));
        assert!((0..40).step_by(2).all(|r| a.row_folds[r] != a.row_folds[r + 1]));
    }
}
