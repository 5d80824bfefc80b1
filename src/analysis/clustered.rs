//! AUROC in a form that can be resampled by cluster thousands of times: pair counts between clusters, made once.

use super::interval::Strata;

/// How often positives of one cluster score above negatives of another, for every pair of clusters.
///
/// The AUROC of any resample of whole clusters is then a sum over pairs of clusters, and equals the AUROC of the
/// concatenated rows exactly (a cluster drawn twice is paired with its own copy too).
pub struct ClusteredAuroc {
    n: usize,
    /// `[positive cluster, negative cluster]`: pairs won, ties as half.
    wins: Vec<f64>,
    /// `[positive cluster, negative cluster]`: pairs that count.
    pairs: Vec<f64>,
    strata: Strata,
}

impl ClusteredAuroc {
    /// Counts the pairs of rows. `cluster` holds an index below `n_clusters` for each row.
    ///
    /// With `stratum` (one value per row) only pairs of the same stratum count, for example of the same turn: what the
    /// stratum itself predicts is then taken out.
    pub fn new(
        scores: &[f64],
        labels: &[bool],
        cluster: &[usize],
        n_clusters: usize,
        stratum: Option<&[usize]>,
    ) -> ClusteredAuroc {
        let (mut wins, mut pairs) = (vec![0.0; n_clusters * n_clusters], vec![0.0; n_clusters * n_clusters]);
        let negatives: Vec<usize> = (0..scores.len()).filter(|&r| !labels[r]).collect();
        for p in (0..scores.len()).filter(|&r| labels[r]) {
            for &q in negatives.iter().filter(|&&q| stratum.is_none_or(|s| s[p] == s[q])) {
                let at = cluster[p] * n_clusters + cluster[q];
                pairs[at] += 1.0;
                wins[at] += if scores[p] > scores[q] {
                    1.0
                } else if scores[p] == scores[q] {
                    0.5
                } else {
                    0.0
                };
            }
        }
        ClusteredAuroc { n: n_clusters, wins, pairs, strata: Strata::of(labels, cluster, n_clusters) }
    }

    /// The AUROC of the data; `None` if no pair counts.
    pub fn value(&self) -> Option<f64> {
        self.of(&(0..self.n).collect::<Vec<_>>())
    }

    /// The AUROC of a resample of clusters.
    pub fn of(&self, sample: &[usize]) -> Option<f64> {
        let mut times = vec![0.0; self.n];
        for &c in sample {
            times[c] += 1.0;
        }
        let (mut won, mut all) = (0.0, 0.0);
        for p in (0..self.n).filter(|&p| times[p] > 0.0) {
            let row = p * self.n..(p + 1) * self.n;
            let sums = self.wins[row.clone()].iter().zip(&self.pairs[row]).zip(&times);
            let (w, a) = sums.fold((0.0, 0.0), |(w, a), ((win, pair), t)| (w + win * t, a + pair * t));
            won += times[p] * w;
            all += times[p] * a;
        }
        (all > 0.0).then(|| won / all)
    }

    /// The clusters by the classes they hold, as the bootstrap draws them.
    pub fn strata(&self) -> &Strata {
        &self.strata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::auroc;
    use crate::rng::stream;
    use rand::Rng;

    #[test]
    fn a_resample_of_clusters_has_the_auroc_of_its_concatenated_rows() {
        let mut rng = stream(5, "clustered");
        let n = 60;
        // Scores on a coarse grid, so that there are ties; labels vary inside clusters.
        let scores: Vec<f64> = (0..n).map(|_| rng.random_range(0..8) as f64).collect();
        let labels: Vec<bool> = (0..n).map(|_| rng.random::<bool>()).collect();
        let cluster: Vec<usize> = (0..n).map(|r| r % 7).collect();
        let c = ClusteredAuroc::new(&scores, &labels, &cluster, 7, None);
        assert!((c.value().unwrap() - auroc(&scores, &labels).unwrap()).abs() < 1e-12);
        for _ in 0..20 {
            let sample: Vec<usize> = (0..7).map(|_| rng.random_range(0..7)).collect();
            let rows: Vec<usize> = sample.iter().flat_map(|&s| (0..n).filter(move |r| r % 7 == s)).collect();
            let s: Vec<f64> = rows.iter().map(|&r| scores[r]).collect();
            let l: Vec<bool> = rows.iter().map(|&r| labels[r]).collect();
            assert!((c.of(&sample).unwrap() - auroc(&s, &l).unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn pairs_across_strata_do_not_count() {
        // Within stratum 0 the positive wins, within stratum 1 it loses; across strata it would win 3 of 4 times.
        let (scores, labels) = ([9.0, 1.0, 5.0, 6.0], [true, false, true, false]);
        let c = |stratum| ClusteredAuroc::new(&scores, &labels, &[0, 1, 2, 3], 4, stratum).value();
        assert_eq!(c(None), Some(0.75));
        assert_eq!(c(Some(&[0, 0, 1, 1][..])), Some(0.5));
        assert_eq!(c(Some(&[0, 1, 1, 0][..])), Some(1.0));
        assert_eq!(c(Some(&[0, 1, 2, 3][..])), None);
    }
}
