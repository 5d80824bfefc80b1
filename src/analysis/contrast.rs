//! Contrast vectors: the difference between the means of two sets of groups.

use super::split::Groups;
use crate::acts::Activations;
use crate::direction::Direction;
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, Axis};

/// The mean activation of each group, `[group, d_model]` in f64, with the groups' names in ascending order.
pub fn group_means(acts: &Activations) -> (Vec<String>, Array2<f64>) {
    let groups = Groups::of(&acts.keys);
    let means = means_of(acts, &groups.rows);
    (groups.names, means)
}

/// The contrast vector: mean over the groups for which `is_positive` holds, minus mean over the others. Every group
/// weighs the same however many rows it has. `names` say what its (larger, smaller) projections mean.
///
/// Never a principal component of paired differences: centring removes exactly this vector.
///
/// # Errors
/// No group on one of the sides, or two equal means.
pub fn contrast(acts: &Activations, is_positive: &dyn Fn(&str) -> bool, names: (&str, &str)) -> Result<Direction> {
    let (groups, means) = group_means(acts);
    let labels: Vec<bool> = groups.iter().map(|g| is_positive(g)).collect();
    let positives = labels.iter().filter(|l| **l).count();
    let Some(weights) = contrast_weights(&labels) else {
        let empty = if positives == 0 { names.0 } else { names.1 };
        return Err(Error::refused(
            format!("no group is `{empty}` among {} groups at {}", labels.len(), acts.site),
            "a contrast needs groups on both sides: check the labels, or capture more groups",
        ));
    };
    let origin = format!("difference of means, {positives} groups against {}", labels.len() - positives);
    Direction::new(acts.site, acts.pick, &weights.dot(&means), names.0, names.1, &origin)
}

/// Weights that turn group means into a contrast: 1/positives and -1/negatives. `None` if a class is empty.
pub(crate) fn contrast_weights(labels: &[bool]) -> Option<Array1<f64>> {
    let positives = labels.iter().filter(|l| **l).count();
    let negatives = labels.len() - positives;
    let weight = |l: &bool| if *l { 1.0 / positives as f64 } else { -1.0 / negatives as f64 };
    (positives > 0 && negatives > 0).then(|| labels.iter().map(weight).collect())
}

/// The mean of each list of rows, `[list, d_model]`.
pub(crate) fn means_of(acts: &Activations, lists: &[Vec<usize>]) -> Array2<f64> {
    let mut means = Array2::zeros((lists.len(), acts.rows.ncols()));
    for (mut row, list) in means.axis_iter_mut(Axis(0)).zip(lists) {
        row.assign(&acts.mean(list));
    }
    means
}

/// The given rows in f64, `[row, d_model]`.
pub(crate) fn rows_f64(acts: &Activations, rows: &[usize]) -> Array2<f64> {
    acts.rows.select(Axis(0), rows).mapv(f64::from)
}

/// Whether all rows are the same up to the rounding of f32: the embedding of one and the same last token, for example.
pub(crate) fn is_constant(acts: &Activations) -> bool {
    let Some(first) = acts.rows.axis_iter(Axis(0)).next() else { return true };
    let largest = acts.rows.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let near = |row: ndarray::ArrayView1<f32>| row.iter().zip(&first).all(|(a, b)| (a - b).abs() <= 1e-6 * largest);
    acts.rows.axis_iter(Axis(0)).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts::RowKey;
    use crate::axes::{Pick, Site};
    use ndarray::array;

    fn acts(rows: Array2<f32>, groups: &[&str]) -> Activations {
        let key = |g: &&str| RowKey { group: g.to_string(), ..RowKey::default() };
        Activations::new(Site::post(1), Pick::LastPrompt, rows, groups.iter().map(key).collect()).unwrap()
    }

    #[test]
    fn groups_weigh_the_same_however_many_rows_they_have() {
        // Positive groups a = (1, 0) twice and b = (3, 0): mean 2, not 5/3. Negative c = (0, 2).
        let a = acts(array![[1., 0.], [1., 0.], [3., 0.], [0., 2.]], &["a", "a", "b", "c"]);
        let d = contrast(&a, &|g| g != "c", ("pos", "neg")).unwrap();
        // (2, -2), length sqrt 8.
        assert!((d.raw_norm - 8.0_f64.sqrt()).abs() < 1e-12);
        assert!((d.unit[0] - 0.5_f32.sqrt()).abs() < 1e-6 && (d.unit[1] + 0.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!((d.positive.as_str(), d.negative.as_str()), ("pos", "neg"));
    }

    #[test]
    fn one_sided_or_equal_groups_are_refused_with_a_reason() {
        let a = acts(array![[1., 0.], [1., 0.]], &["a", "b"]);
        let none = contrast(&a, &|_| false, ("anxious", "calm")).unwrap_err().to_string();
        assert!(none.contains("no group is `anxious`"), "{none}");
        assert!(contrast(&a, &|_| true, ("anxious", "calm")).unwrap_err().to_string().contains("`calm`"));
        assert!(contrast(&a, &|g| g == "a", ("anxious", "calm")).is_err());
    }

    #[test]
    fn constant_rows_are_recognised_and_small_differences_are_not_lost() {
        assert!(is_constant(&acts(array![[1e3, 0.], [1e3, 1e-4]], &["a", "b"])));
        assert!(!is_constant(&acts(array![[1.0, 0.], [1.0, 1e-4]], &["a", "b"])));
    }
}
