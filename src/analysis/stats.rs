//! Plain statistics over slices. A value that does not exist is `None`, never NaN.

/// The mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The variance with n - 1 below the line; `None` below two values.
pub fn variance(values: &[f64]) -> Option<f64> {
    let m = mean(values).filter(|_| values.len() > 1)?;
    Some(values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64)
}

/// The quantile at `q` in 0..=1, by linear interpolation between order statistics at position q (n - 1): type 7 of
/// Hyndman and Fan (1996), the default of R and NumPy. `None` of nothing or outside 0..=1.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_sorted(&sorted, q)
}

/// [`quantile`] of values already in ascending order.
pub fn quantile_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let at = q * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    // Equal ends are returned as they are: infinities would otherwise turn into NaN.
    let (a, b) = (sorted[low], sorted[(low + 1).min(sorted.len() - 1)]);
    Some(if part == 0.0 || a == b { a } else { a + part * (b - a) })
}

/// Ranks from 1, ties sharing their mean rank.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tie in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &i in tie {
            ranks[i] = below as f64 + (tie.len() + 1) as f64 / 2.0;
        }
        below += tie.len();
    }
    ranks
}

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counting half (the Mann-Whitney
/// statistic over its maximum). `None` if a class is empty or the lengths differ.
pub fn auroc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let positives = labels.iter().filter(|l| **l).count();
    let negatives = labels.len() - positives;
    if scores.len() != labels.len() || positives == 0 || negatives == 0 {
        return None;
    }
    let sum: f64 = ranks(scores).iter().zip(labels).filter(|(_, l)| **l).map(|(r, _)| r).sum();
    let (p, n) = (positives as f64, negatives as f64);
    Some((sum - p * (p + 1.0) / 2.0) / (p * n))
}

/// Pearson's correlation; `None` below two points, for unequal lengths or where a side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let (mx, my) = (mean(x)?, mean(y)?);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xx += (a - mx) * (a - mx);
        yy += (b - my) * (b - my);
        xy += (a - mx) * (b - my);
    }
    // Rounding leaves a constant column with a variance of about (eps times its size) squared.
    let flat = |ss: f64, m: f64| ss <= x.len() as f64 * (1e-14 * m.abs()).powi(2);
    (!flat(xx, mx) && !flat(yy, my)).then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's over mean ranks.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Cohen's d of `a` against `b`, in pooled standard deviations (n - 1); positive where `a` is larger. `None` below two
/// values on a side or where neither side varies.
pub fn cohens_d(a: &[f64], b: &[f64]) -> Option<f64> {
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let pooled = ((na - 1.0) * variance(a)? + (nb - 1.0) * variance(b)?) / (na + nb - 2.0);
    (pooled > 0.0).then_some((mean(a)? - mean(b)?) / pooled.sqrt())
}

/// The p-value of a permutation test, one-sided upwards: (1 + draws at least as large) / (1 + draws).
///
/// The added one counts the data as one of its own permutations, so p is never 0 and the test keeps its level
/// (Phipson and Smyth 2010). `None` without draws.
pub fn permutation_p(observed: f64, null: &[f64]) -> Option<f64> {
    // Two ways to the same sum may differ in the last bits; such a draw is a tie, not a smaller value.
    let slack = 1e-12 * observed.abs();
    let above = null.iter().filter(|v| **v >= observed - slack).count();
    (!null.is_empty()).then(|| (1 + above) as f64 / (1 + null.len()) as f64)
}

/// Benjamini-Hochberg q-values, in the order of the p-values: the smallest false discovery rate at which each would be
/// called. Missing values stay missing and do not count as tests.
pub fn benjamini_hochberg(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p.iter().enumerate().filter_map(|(i, p)| p.map(|p| (i, p))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut q = vec![None; p.len()];
    let mut smallest = 1.0_f64;
    for (rank, &(i, p)) in order.iter().enumerate().rev() {
        smallest = smallest.min(p * order.len() as f64 / (rank + 1) as f64);
        q[i] = Some(smallest);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} is not {b}");
    }

    #[test]
    fn auroc_counts_pairs_with_ties_as_half() {
        // Positives 3, 2; negatives 2, 1. Pairs: 3>2, 3>1, 2=2, 2>1: 3.5 of 4.
        let (s, l) = ([3.0, 2.0, 2.0, 1.0], [true, true, false, false]);
        close(auroc(&s, &l), 3.5 / 4.0);
        close(auroc(&s.map(|v| -v), &l), 0.5 / 4.0);
        close(auroc(&[1.0; 4], &l), 0.5);
        assert_eq!(auroc(&s, &[true; 4]), None);
        assert_eq!(auroc(&s, &[true; 3]), None);
        assert_eq!(auroc(&[], &[]), None);
    }

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        // Position 0.25 * 3 = 0.75 between 1 and 2.
        close(quantile(&[4.0, 1.0, 3.0, 2.0], 0.25), 1.75);
        close(quantile(&[4.0, 1.0], 1.0), 4.0);
        assert_eq!(quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.9), Some(f64::INFINITY));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0], 1.5), None);
    }

    #[test]
    fn correlations_agree_with_hand_and_are_missing_where_nothing_varies() {
        // x - mean = -1 0 1, y - mean = -1 1 0: xy = 1, xx = yy = 2.
        close(pearson(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]), 0.5);
        close(spearman(&[1.0, 2.0, 3.0], &[1.0, 100.0, 1e6]), 1.0);
        assert_eq!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), None);
        assert_eq!(pearson(&[1.0], &[1.0]), None);
    }

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks(&[10.0, 20.0, 10.0, 5.0]), [2.5, 4.0, 2.5, 1.0]);
    }

    #[test]
    fn cohens_d_is_in_pooled_standard_deviations() {
        // Means 3 and 1, both variances 1: d = 2.
        close(cohens_d(&[2.0, 3.0, 4.0], &[0.0, 1.0, 2.0]), 2.0);
        assert_eq!(cohens_d(&[1.0], &[0.0, 1.0]), None);
        assert_eq!(cohens_d(&[1.0, 1.0], &[0.0, 0.0]), None);
    }

    #[test]
    fn a_permutation_p_is_never_zero_and_counts_ties_against_the_finding() {
        close(permutation_p(9.0, &[1.0, 2.0, 3.0]), 0.25);
        close(permutation_p(3.0, &[1.0, 2.0, 3.0]), 0.5);
        assert_eq!(permutation_p(1.0, &[]), None);
    }

    #[test]
    fn benjamini_hochberg_steps_up_and_skips_missing_values() {
        // Sorted .01 .03 .04: 3*.01/1 = .03; min(3*.03/2, 3*.04/3) = .04; .04.
        let q = benjamini_hochberg(&[Some(0.04), None, Some(0.01), Some(0.03)]);
        close(q[0], 0.04);
        assert_eq!(q[1], None);
        close(q[2], 0.03);
        close(q[3], 0.04);
    }
}
