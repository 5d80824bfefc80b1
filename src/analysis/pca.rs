//! Principal components with the right variances, and the spectrum that chance would give.

use super::stats::{mean, quantile};
use crate::error::{Error, Result};
use crate::rng::stream;
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::SliceRandom;

/// Principal components of points `[row, d_model]`.
#[derive(Clone, Debug)]
pub struct Pca {
    /// `[d_model]`: what was subtracted.
    pub mean: Array1<f64>,
    /// `[component, d_model]`, orthonormal, by falling variance. Sign: the entry of largest size is positive (the first
    /// of equals), until [`Pca::orient`] says otherwise.
    pub components: Array2<f64>,
    /// Variance along each component, n - 1 below the line.
    pub explained_variance: Vec<f64>,
    /// Share of the *total* variance. Sums to 1 over all components, however many of them are looked at.
    pub explained_variance_ratio: Vec<f64>,
    /// `[row, component]`: coordinates of the points.
    pub scores: Array2<f64>,
    /// Sum of the variances of all coordinates: the trace of the covariance.
    pub total_variance: f64,
}

/// PCA by thin singular value decomposition of the centred points in f64. Components whose variance is zero up to
/// rounding are left out.
///
/// # Errors
/// Fewer than two rows, values that are not finite, or rows that are all the same.
pub fn pca(points: ArrayView2<f64>) -> Result<Pca> {
    let (n, d) = points.dim();
    let centre = centred(points)?;
    let svd = to_faer(centre.view()).thin_svd().map_err(|_| {
        Error::refused("the singular value decomposition did not converge", "check the activations for huge values")
    })?;
    let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let total: f64 = centre.iter().map(|v| v * v).sum::<f64>() / (n - 1) as f64;
    let largest = values.first().copied().unwrap_or(0.0);
    let kept = values.iter().take_while(|s| **s > 1e-10 * largest).count();
    let mut components = Array2::from_shape_fn((kept, d), |(c, j)| svd.V()[(j, c)]);
    for mut component in components.axis_iter_mut(Axis(0)) {
        let sign = leading_sign(component.view());
        component.mapv_inplace(|v| v * sign);
    }
    let explained_variance: Vec<f64> = values[..kept].iter().map(|s| s * s / (n - 1) as f64).collect();
    Ok(Pca {
        mean: points.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(d)),
        scores: centre.dot(&components.t()),
        components,
        explained_variance_ratio: explained_variance.iter().map(|v| v / total).collect(),
        explained_variance,
        total_variance: total,
    })
}

impl Pca {
    /// The coordinates of another point, `[component]`.
    pub fn project(&self, point: ArrayView1<f64>) -> Array1<f64> {
        self.components.dot(&(&point - &self.mean))
    }

    /// Flips components so that `point` has no negative coordinate.
    pub fn orient(&mut self, point: ArrayView1<f64>) {
        for (c, v) in self.project(point).into_iter().enumerate() {
            if v < 0.0 {
                self.components.row_mut(c).mapv_inplace(|v| -v);
                self.scores.column_mut(c).mapv_inplace(|v| -v);
            }
        }
    }

    /// The number of components that together reach `share` (0.7 for 70 %) of the total variance.
    pub fn dims_for(&self, share: f64) -> usize {
        let mut sum = 0.0;
        let reached = self.explained_variance_ratio.iter().position(|r| {
            sum += r;
            // A share of 1 must not fail by rounding.
            sum >= share - 1e-12
        });
        reached.map_or(self.explained_variance_ratio.len(), |i| i + 1)
    }

    /// The participation ratio, (sum of variances)^2 / sum of squared variances: the number of components if all had
    /// the same variance, 1 if there is only one.
    pub fn participation_ratio(&self) -> f64 {
        let (sum, squares) = self.explained_variance.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        sum * sum / squares
    }
}

/// The spectrum of points whose coordinates have nothing to do with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct NullSpectrum {
    /// Mean share of the total variance per component.
    pub ratio_mean: Vec<f64>,
    /// 95 % quantile of it.
    pub ratio_hi: Vec<f64>,
}

/// Parallel analysis (Horn 1965) by permutation: each coordinate is shuffled over the rows on its own, which keeps its
/// distribution and removes what it shares with the others, and the spectrum is taken again, `draws` times.
///
/// Depends on the basis: a component that lies along a single coordinate (a massive activation, for example) keeps its
/// variance under the shuffle, so it never stands above this null. What does stand above it is shared by coordinates.
///
/// # Errors
/// As [`pca`].
pub fn null_spectrum(points: ArrayView2<f64>, draws: usize, seed: u64) -> Result<NullSpectrum> {
    let mut shuffled = centred(points)?;
    let total: f64 = shuffled.iter().map(|v| v * v).sum();
    let size = shuffled.nrows().min(shuffled.ncols());
    let mut ratios = vec![Vec::with_capacity(draws); size];
    let mut rng = stream(seed, "null spectrum");
    for _ in 0..draws {
        for mut column in shuffled.columns_mut() {
            let mut values = column.to_vec();
            values.shuffle(&mut rng);
            column.assign(&Array1::from(values));
        }
        // The smaller of the two products has the same spectrum.
        let gram = if shuffled.nrows() <= shuffled.ncols() {
            shuffled.dot(&shuffled.t())
        } else {
            shuffled.t().dot(&shuffled)
        };
        let values = to_faer(gram.view()).self_adjoint_eigenvalues(Side::Lower).map_err(|_| {
            Error::refused("an eigenvalue decomposition did not converge", "check the activations for huge values")
        })?;
        // Eigenvalues come in ascending order.
        ratios.iter_mut().zip(values.iter().rev()).for_each(|(r, v)| r.push((v / total).max(0.0)));
    }
    let of = |f: &dyn Fn(&[f64]) -> Option<f64>| ratios.iter().map(|r| f(r).unwrap_or_default()).collect();
    Ok(NullSpectrum { ratio_mean: of(&|r| mean(r)), ratio_hi: of(&|r| quantile(r, 0.95)) })
}

fn centred(points: ArrayView2<f64>) -> Result<Array2<f64>> {
    let count = points.iter().filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(Error::NotFinite { place: "points for PCA".into(), count });
    }
    let (n, size) = (points.nrows(), points.iter().fold(0.0_f64, |m, v| m.max(v.abs())));
    let centre = match points.mean_axis(Axis(0)) {
        Some(mean) => &points - &mean,
        None => points.to_owned(),
    };
    if n < 2 || centre.iter().all(|v| v.abs() <= 1e-12 * size) {
        return Err(Error::refused(
            format!("{n} points without variation have no principal components"),
            "give at least two different points: choose another site or pick",
        ));
    }
    Ok(centre)
}

fn to_faer(m: ArrayView2<f64>) -> Mat<f64> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[[i, j]])
}

/// The sign of the entry of largest size, the first of those that are equal up to rounding.
fn leading_sign(v: ArrayView1<f64>) -> f64 {
    let largest = v.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let leading = v.iter().find(|x| x.abs() >= largest * (1.0 - 1e-9)).copied().unwrap_or(1.0);
    if leading < 0.0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use ndarray::array;

    fn noise(n: usize, d: usize, seed: u64) -> Array2<f64> {
        let mut rng = stream(seed, "pca");
        Array2::from_shape_fn((n, d), |_| normal(&mut rng))
    }

    #[test]
    fn a_two_by_two_case_agrees_with_hand() {
        // Points (0,0), (2,2), (4,2), (2,0) around (2,1): sums of squares 8, 4 and product 4, so the covariance is
        // [[8,4],[4,4]]/3 with eigenvalues (12 +- sqrt(144 - 64))/6 = 2 +- sqrt(80)/6.
        let p = pca(array![[0., 0.], [2., 2.], [4., 2.], [2., 0.]].view()).unwrap();
        let root = 80.0_f64.sqrt() / 6.0;
        assert!((p.explained_variance[0] - (2.0 + root)).abs() < 1e-12);
        assert!((p.explained_variance[1] - (2.0 - root)).abs() < 1e-12);
        assert!((p.explained_variance_ratio[0] - (2.0 + root) / 4.0).abs() < 1e-12);
        // First eigenvector: (4, 3 lambda - 8) / norm; its larger entry is the first, so it is positive.
        let (x, y): (f64, f64) = (4.0, 3.0 * (2.0 + root) - 8.0);
        assert!((p.components[[0, 0]] - x / (x * x + y * y).sqrt()).abs() < 1e-12);
        assert!((p.project(array![2., 1.].view())).iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn variances_sum_to_the_trace_and_scores_have_them() {
        for (n, d) in [(30, 7), (7, 30)] {
            let x = noise(n, d, 1);
            let p = pca(x.view()).unwrap();
            let trace: f64 = x.var_axis(Axis(0), 1.0).sum();
            assert!((p.explained_variance.iter().sum::<f64>() - trace).abs() < 1e-10 * trace);
            assert!((p.explained_variance_ratio.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (c, v) in p.explained_variance.iter().enumerate() {
                assert!((p.scores.column(c).var(1.0) - v).abs() < 1e-10);
            }
            // Orthonormal, and everything is restored from the scores.
            assert!(
                (p.components.dot(&p.components.t()) - Array2::<f64>::eye(p.components.nrows()))
                    .iter()
                    .all(|v| v.abs() < 1e-10)
            );
            assert!((p.scores.dot(&p.components) + &p.mean - &x).iter().all(|v| v.abs() < 1e-10));
            assert_eq!(p.explained_variance.len(), d.min(n - 1), "a centred matrix loses one dimension");
        }
    }

    #[test]
    fn the_sign_is_the_same_for_points_and_their_mirror_image() {
        let x = noise(20, 5, 2);
        let (a, b) = (pca(x.view()).unwrap(), pca((-&x).view()).unwrap());
        assert!((&a.components - &b.components).iter().all(|v| v.abs() < 1e-9));
        let mut turned = a.clone();
        let point = &a.mean - &(&a.components.row(0) + &a.components.row(1));
        turned.orient(point.view());
        assert!(turned.project(point.view()).iter().take(2).all(|v| (v - 1.0).abs() < 1e-9));
        assert!((&turned.scores.column(0) + &a.scores.column(0)).iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn dimensions_and_participation_count_what_they_should() {
        // Four equal variances along the axes (points +-e_i).
        let x = Array2::from_shape_fn((8, 4), |(i, j)| if i / 2 == j { 1.0 - 2.0 * (i % 2) as f64 } else { 0.0 });
        let p = pca(x.view()).unwrap();
        assert!((p.participation_ratio() - 4.0).abs() < 1e-9);
        assert_eq!([0.2, 0.5, 0.7, 1.0].map(|s| p.dims_for(s)), [1, 2, 3, 4]);
    }

    #[test]
    fn a_planted_component_stands_above_the_null_and_noise_does_not() {
        let mut x = noise(60, 20, 3);
        let first = |x: &Array2<f64>| {
            let null = null_spectrum(x.view(), 60, 1).unwrap();
            (pca(x.view()).unwrap().explained_variance_ratio[0], null)
        };
        let (ratio, null) = first(&x);
        assert!(ratio < 1.1 * null.ratio_hi[0], "{ratio} against {}", null.ratio_hi[0]);
        assert!((null.ratio_mean.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        // A shared factor in all coordinates.
        let factor = noise(60, 1, 4);
        x += &(&factor * 1.0);
        let (ratio, null) = first(&x);
        assert!(ratio > 2.0 * null.ratio_hi[0], "{ratio} against {}", null.ratio_hi[0]);
    }

    #[test]
    fn points_without_variation_are_refused() {
        assert!(pca(Array2::ones((5, 3)).view()).is_err());
        assert!(pca(Array2::zeros((5, 3)).view()).is_err());
        assert!(pca(noise(1, 3, 1).view()).is_err());
        assert!(pca(array![[1.0, f64::NAN], [1.0, 2.0]].view()).is_err());
        assert!(null_spectrum(Array2::ones((5, 3)).view(), 3, 1).is_err());
    }
}
