//! How many dimensions the roles span.

use super::twonn::{TwoNn, twonn};
use super::vectors::MOST_PAIRED;
use crate::analysis::interval::Interval;
use crate::analysis::pca::{NullSpectrum, Pca};
use crate::analysis::resampled::jackknife;
use ndarray::{Array2, ArrayView2};

/// Counts of dimensions at one site. They answer different questions and need not agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Components that hold 70, 80, 90 and 95 % of the variance.
    pub for_share: [usize; 4],
    /// The component at the bend of the spectrum; `None` below three components.
    pub elbow: Option<usize>,
    /// Leading components above the 95 % quantile of shuffled coordinates.
    pub above_null: usize,
    /// (sum of variances)^2 / sum of squared variances.
    pub participation_ratio: f64,
    /// 95 %: delete-one jackknife of the logarithm over roles.
    pub participation: Option<Interval>,
    pub twonn: TwoNn,
}

/// The shares of [`Dimension::for_share`].
pub const SHARES: [f64; 4] = [0.7, 0.8, 0.9, 0.95];

/// Counts the dimensions of points whose components are known.
pub fn dimension(pca: &Pca, null: &NullSpectrum, seed: u64) -> Dimension {
    let ratio = &pca.explained_variance_ratio;
    let pr = pca.participation_ratio();
    Dimension {
        for_share: SHARES.map(|s| pca.dims_for(s)),
        elbow: elbow(ratio),
        above_null: ratio.iter().zip(&null.ratio_hi).take_while(|(r, n)| r > n).count(),
        participation_ratio: pr,
        participation: (pca.scores.nrows() <= MOST_PAIRED).then(|| participation(pca.scores.view(), pr)).flatten(),
        twonn: twonn(pca.scores.view(), seed),
    }
}

/// The component, counted from 1, at which the second difference of the shares is largest: the first behind the steepest
/// fall.
fn elbow(ratio: &[f64]) -> Option<usize> {
    let bend = |w: &[f64]| (w[0] - 2.0 * w[1] + w[2]).abs();
    let mut best: Option<(usize, f64)> = None;
    for (i, b) in ratio.windows(3).map(bend).enumerate() {
        if best.is_none_or(|(_, most)| b > most) {
            best = Some((i + 2, b));
        }
    }
    best.map(|(component, _)| component)
}

/// The ratio needs no components: with K the Gram matrix of the centred points it is tr(K)^2 / |K|^2, and what leaving a
/// point out does to both follows from sums over K.
fn participation(scores: ArrayView2<f64>, value: f64) -> Option<Interval> {
    let k: Array2<f64> = scores.dot(&scores.t());
    let n = k.nrows();
    let sums: Vec<f64> = k.rows().into_iter().map(|r| r.sum()).collect();
    let total: f64 = sums.iter().sum();
    let squares: f64 = k.iter().map(|v| v * v).sum();
    let trace: f64 = k.diag().sum();
    let without = |i: usize| {
        let m = n as f64 - 1.0;
        let (row, own) = (k.row(i), k[[i, i]]);
        let rest = total - 2.0 * sums[i] + own;
        let squared = squares - 2.0 * row.iter().map(|v| v * v).sum::<f64>() + own * own;
        let of_sums: f64 = (0..n).filter(|j| *j != i).map(|j| (sums[j] - row[j]).powi(2)).sum();
        let (tr, norm) = (trace - own - rest / m, squared - 2.0 * of_sums / m + rest * rest / (m * m));
        (norm > 0.0 && tr > 0.0).then(|| (tr * tr / norm).ln())
    };
    let i = jackknife(n, value.ln(), without)?;
    Some(Interval { lo: i.lo.exp(), hi: i.hi.exp(), ..i })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::analysis::pca::pca;
    use crate::rng::stream;
    use ndarray::Axis;

    #[test]
    fn the_bend_is_where_the_fall_ends() {
        // Second differences of .5 .2 .15 .1 .05: .25, 0, 0. The bend is at the second component.
        assert_eq!(elbow(&[0.5, 0.2, 0.15, 0.1, 0.05]), Some(2));
        assert_eq!((elbow(&[0.6, 0.4]), elbow(&[0.45, 0.45, 0.05, 0.05])), (None, Some(2)));
    }

    #[test]
    fn leaving_a_role_out_by_sums_is_leaving_it_out() {
        let mut rng = stream(3, "participation");
        let x = Array2::from_shape_fn((12, 5), |(_, j)| normal(&mut rng) * (1.0 + j as f64));
        let p = pca(x.view()).unwrap();
        let got = participation(p.scores.view(), p.participation_ratio()).unwrap();
        let without = |i: usize| {
            let kept: Vec<usize> = (0..12).filter(|j| *j != i).collect();
            pca(x.select(Axis(0), &kept).view()).ok().map(|p| p.participation_ratio().ln())
        };
        let plain = jackknife(12, p.participation_ratio().ln(), without).unwrap();
        assert!((got.lo - plain.lo.exp()).abs() < 1e-9 && (got.hi - plain.hi.exp()).abs() < 1e-9, "{got:?} {plain:?}");
    }
}
