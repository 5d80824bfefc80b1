//! How much of the variance of replies lies between speakers.

use super::{Options, Said, check, runs, shuffled};
use crate::analysis::interval::Interval;
use crate::analysis::resampled::jackknife;
use crate::analysis::stats::{mean, permutation_p, quantile};
use crate::error::Result;
use crate::rng::stream;
use ndarray::{Array1, Array2, ArrayView2};

/// A share of variance between speakers.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// The variance component between speakers over the sum of both: 0 where speakers do not differ (below it by chance), 1
    /// where replies of a speaker are all the same.
    pub share: Option<f64>,
    /// 95 %, jackknife over conversations.
    pub interval: Option<Interval>,
    pub null_mean: Option<f64>,
    pub null_hi: Option<f64>,
    pub p: Option<f64>,
}

/// One-way analysis of variance over all coordinates together (Searle's unbalanced estimator): with MSB and MSW the mean
/// squares between and within speakers, the component between them is (MSB - MSW) / n0. The null deals speakers anew
/// within conversations.
///
/// # Errors
/// Rows without a speaker, fewer than two speakers.
pub fn apart(rows: ArrayView2<f32>, said: &[Said], speakers: usize, o: Options) -> Result<Apart> {
    check(rows, said, speakers, o)?;
    let sums = |said: &[Said]| Sums::of(rows, said, speakers);
    let all = sums(said);
    let share = all.share();
    let mut of_run: Vec<Sums> = (0..runs(said)).map(|_| Sums::empty(speakers, rows.ncols())).collect();
    for (row, s) in rows.rows().into_iter().zip(said) {
        of_run[s.run].add(row, s.speaker);
    }
    let without = |run: usize| all.without(&of_run[run]).share();
    let mut rng = stream(o.seed, "speakers apart");
    let null: Vec<f64> = (0..o.permutations).filter_map(|_| sums(&shuffled(said, &mut rng)).share()).collect();
    Ok(Apart {
        share,
        interval: share.and_then(|v| jackknife(of_run.len(), v, without)),
        null_mean: mean(&null),
        null_hi: quantile(&null, 0.95),
        p: share.and_then(|v| permutation_p(v, &null)),
    })
}

/// Sums by speaker.
struct Sums {
    n: Vec<f64>,
    /// `[speaker, d_model]`.
    sum: Array2<f64>,
    squares: f64,
}

impl Sums {
    fn empty(speakers: usize, d: usize) -> Sums {
        Sums { n: vec![0.0; speakers], sum: Array2::zeros((speakers, d)), squares: 0.0 }
    }

    fn of(rows: ArrayView2<f32>, said: &[Said], speakers: usize) -> Sums {
        let mut all = Sums::empty(speakers, rows.ncols());
        rows.rows().into_iter().zip(said).for_each(|(row, s)| all.add(row, s.speaker));
        all
    }

    fn add(&mut self, row: ndarray::ArrayView1<f32>, speaker: usize) {
        self.n[speaker] += 1.0;
        self.sum.row_mut(speaker).zip_mut_with(&row, |s, v| *s += f64::from(*v));
        self.squares += row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    }

    fn without(&self, other: &Sums) -> Sums {
        Sums {
            n: self.n.iter().zip(&other.n).map(|(a, b)| a - b).collect(),
            sum: &self.sum - &other.sum,
            squares: self.squares - other.squares,
        }
    }

    fn share(&self) -> Option<f64> {
        let here: Vec<usize> = (0..self.n.len()).filter(|s| self.n[*s] > 0.0).collect();
        let (total, k) = (self.n.iter().sum::<f64>(), here.len() as f64);
        if k < 2.0 || total <= k {
            return None;
        }
        let length = |v: &Array1<f64>| v.dot(v);
        let grand: Array1<f64> = self.sum.sum_axis(ndarray::Axis(0));
        let of_means: f64 = here.iter().map(|&s| length(&self.sum.row(s).to_owned()) / self.n[s]).sum();
        let between = (of_means - length(&grand) / total) / (k - 1.0);
        let within = (self.squares - of_means) / (total - k);
        let n0 = (total - self.n.iter().map(|n| n * n).sum::<f64>() / total) / (k - 1.0);
        let component = (between - within) / n0;
        (component + within > 0.0).then(|| component / (component + within))
    }
}
