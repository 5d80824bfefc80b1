//! How far scorers agree beyond chance.

use std::collections::BTreeMap;

/// Cohen's kappa of two raters over the same things (Cohen 1960); `None` where there is nothing, or where chance alone
/// would agree everywhere.
pub fn cohen(a: &[usize], b: &[usize]) -> Option<f64> {
    let rows: Vec<Vec<usize>> = a.iter().zip(b).map(|(a, b)| vec![*a, *b]).collect();
    let n = rows.len() as f64;
    if rows.is_empty() || a.len() != b.len() {
        return None;
    }
    let share = |of: &[usize]| {
        let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
        of.iter().for_each(|c| *counts.entry(*c).or_default() += 1.0 / n);
        counts
    };
    let (of_a, of_b) = (share(a), share(b));
    let chance: f64 = of_a.iter().map(|(c, p)| p * of_b.get(c).copied().unwrap_or(0.0)).sum();
    let seen = rows.iter().filter(|r| r[0] == r[1]).count() as f64 / n;
    beyond(seen, chance)
}

/// Fleiss' kappa of any number of raters (Fleiss 1971): a row is one thing and the category that each rater gave it.
/// `None` for fewer than two raters, rows of unlike length, nothing, or chance that agrees everywhere.
pub fn fleiss(rows: &[Vec<usize>]) -> Option<f64> {
    let raters = rows.first()?.len();
    if raters < 2 || rows.iter().any(|r| r.len() != raters) {
        return None;
    }
    let (n, m) = (rows.len() as f64, raters as f64);
    let mut share: BTreeMap<usize, f64> = BTreeMap::new();
    let mut seen = 0.0;
    for row in rows {
        let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
        row.iter().for_each(|c| *counts.entry(*c).or_default() += 1.0);
        seen += (counts.values().map(|k| k * k).sum::<f64>() - m) / (m * (m - 1.0)) / n;
        counts.into_iter().for_each(|(c, k)| *share.entry(c).or_default() += k / (n * m));
    }
    beyond(seen, share.values().map(|p| p * p).sum())
}

fn beyond(seen: f64, chance: f64) -> Option<f64> {
    (1.0 - chance > 1e-12).then(|| (seen - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappas_are_those_of_their_papers_arithmetic() {
        // Of 50: both yes 20, a yes b no 5, a no b yes 10, both no 15. Seen 0.7, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
        let times = |n: usize, a: usize, b: usize| vec![(a, b); n];
        let all = [times(20, 1, 1), times(5, 1, 0), times(10, 0, 1), times(15, 0, 0)].concat();
        let (a, b): (Vec<usize>, Vec<usize>) = all.into_iter().unzip();
        assert!((cohen(&a, &b).unwrap() - 0.4).abs() < 1e-12);
        assert_eq!((cohen(&[1, 1], &[1, 1]), cohen(&[], &[]), cohen(&[1], &[])), (None, None, None));
        // Two things, three raters: [0 0 0] agrees wholly, [0 1 1] in 1 of 3 pairs: seen 2/3; shares 4/6 and 2/6, chance 5/9.
        let k = fleiss(&[vec![0, 0, 0], vec![0, 1, 1]]).unwrap();
        assert!((k - (2.0 / 3.0 - 5.0 / 9.0) / (4.0 / 9.0)).abs() < 1e-12);
        assert_eq!((fleiss(&[]), fleiss(&[vec![1]]), fleiss(&[vec![1, 2], vec![1]])), (None, None, None));
    }
}
