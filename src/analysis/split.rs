//! Splits by group, never by row, stratified by label. Groups are taken in the order of their names, so the order of
//! rows cannot reach a split.

use crate::acts::RowKey;
use rand::Rng;
use rand::seq::SliceRandom;

/// The groups of a set of rows, sorted by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    pub names: Vec<String>,
    /// The rows of each group.
    pub rows: Vec<Vec<usize>>,
    /// The group of each row.
    pub of_row: Vec<usize>,
}

impl Groups {
    /// Collects the groups of `keys`.
    pub fn of(keys: &[RowKey]) -> Groups {
        let mut names: Vec<String> = keys.iter().map(|k| k.group.clone()).collect();
        names.sort();
        names.dedup();
        let find = |key: &RowKey| names.partition_point(|n| *n < key.group);
        let of_row: Vec<usize> = keys.iter().map(find).collect();
        let mut rows = vec![Vec::new(); names.len()];
        for (r, &g) in of_row.iter().enumerate() {
            rows[g].push(r);
        }
        Groups { names, rows, of_row }
    }

    /// The rows of the given groups, group after group.
    pub fn rows_of(&self, groups: &[usize]) -> Vec<usize> {
        groups.iter().flat_map(|&g| self.rows[g].iter().copied()).collect()
    }

    /// The names of the given groups.
    pub fn names_of(&self, groups: &[usize]) -> Vec<String> {
        groups.iter().map(|&g| self.names[g].clone()).collect()
    }
}

/// Items for training and for testing, each in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub train: Vec<usize>,
    pub test: Vec<usize>,
}

/// Splits `0..labels.len()` so that each class gives about `train_fraction` of its items to training, and at least one
/// item to each side where it has two. A class with one item gives it to training.
pub fn stratified_split(labels: &[bool], train_fraction: f64, rng: &mut impl Rng) -> Split {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for class in [true, false] {
        let mut members: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
        members.shuffle(rng);
        let wanted = (members.len() as f64 * train_fraction).round() as usize;
        let kept = wanted.clamp(members.len().min(1), members.len().saturating_sub(1).max(members.len().min(1)));
        train.extend(&members[..kept]);
        test.extend(&members[kept..]);
    }
    train.sort_unstable();
    test.sort_unstable();
    Split { train, test }
}

/// The fold of each item, stratified: classes are dealt one after another, so each fold has its share of both. There
/// are as many folds as asked for, or as the smaller class has items; `None` where that is below two.
pub fn stratified_folds(labels: &[bool], folds: usize, rng: &mut impl Rng) -> Option<Vec<usize>> {
    let positives = labels.iter().filter(|l| **l).count();
    let folds = folds.min(positives).min(labels.len() - positives);
    let mut fold = vec![0; labels.len()];
    for class in [true, false] {
        let mut members: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
        members.shuffle(rng);
        for (place, &i) in members.iter().enumerate() {
            fold[i] = place % folds.max(1);
        }
    }
    (folds >= 2).then_some(fold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    #[test]
    fn each_class_gives_its_share_and_nothing_is_lost() {
        let labels: Vec<bool> = (0..32).map(|i| i % 4 == 0).collect();
        let s = stratified_split(&labels, 5.0 / 8.0, &mut stream(3, "split"));
        // 8 positives and 24 negatives: 5 and 15 for training.
        assert_eq!(s.train.iter().filter(|i| labels[**i]).count(), 5);
        assert_eq!((s.train.len(), s.test.len()), (20, 12));
        let mut all = [s.train, s.test].concat();
        all.sort();
        assert_eq!(all, (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn small_classes_are_on_both_sides_as_soon_as_they_can() {
        let split = |labels: &[bool]| stratified_split(labels, 0.9, &mut stream(3, "split"));
        let two = split(&[true, true, false, false]);
        assert_eq!((two.train.len(), two.test.len()), (2, 2));
        let one = split(&[true, false, false]);
        assert!(one.train.contains(&0));
        let none = split(&[false, false]);
        assert_eq!((none.train.len(), none.test.len()), (1, 1));
    }

    #[test]
    fn folds_hold_both_classes_or_there_are_none() {
        let labels: Vec<bool> = (0..20).map(|i| i < 3).collect();
        let folds = stratified_folds(&labels, 5, &mut stream(3, "folds")).unwrap();
        for f in 0..3 {
            assert_eq!((0..3).filter(|&i| folds[i] == f).count(), 1);
            assert!((3..20).any(|i| folds[i] == f));
        }
        assert!(folds.iter().all(|f| *f < 3));
        assert!(stratified_folds(&[true, false, false], 5, &mut stream(3, "folds")).is_none());
        assert!(stratified_folds(&[], 5, &mut stream(3, "folds")).is_none());
    }

    #[test]
    fn groups_do_not_depend_on_the_order_of_rows() {
        let key = |g: &str| RowKey { group: g.into(), ..RowKey::default() };
        let g = Groups::of(&[key("b"), key("a"), key("b")]);
        assert_eq!(g.names, ["a", "b"]);
        assert_eq!(g.rows, [vec![1], vec![0, 2]]);
        assert_eq!(g.of_row, [1, 0, 1]);
    }
}
