//! Rows as probes are fitted on them: centred, each column in units of its own deviation, held once in f32.
//!
//! Neither changes what a probe is: the intercept is not penalised, and the penalty is put into the same units. Centring
//! in f64 before rounding keeps small differences beside a large mean (massive activations); the units keep products of
//! f32 from drowning columns that vary little.

use super::products::{add, gram, product};
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// Rows that are multiplied at once in f64.
const BLOCK: usize = 128;

/// The rows of one site.
pub struct Design {
    /// `[row, column]`.
    x: Array2<f32>,
    mean: Array1<f64>,
    /// Over all rows, n below the line; 1 where a column does not vary.
    deviation: Array1<f64>,
    varies: Vec<bool>,
}

impl Design {
    /// Prepares the rows of a site, `[row, d_model]`.
    ///
    /// # Errors
    /// No rows; values that are not finite.
    pub fn new(rows: ArrayView2<f32>) -> Result<Design> {
        let (n, d) = rows.dim();
        if n == 0 || d == 0 {
            return Err(Error::refused(format!("a probe of {n} rows of {d} columns"), "give rows with a label"));
        }
        let bad = rows.iter().filter(|v| !v.is_finite()).count();
        if bad > 0 {
            return Err(Error::NotFinite { place: "rows of a probe".into(), count: bad });
        }
        let (mut mean, mut squares) = (Array1::<f64>::zeros(d), Array1::<f64>::zeros(d));
        for row in rows.axis_iter(Axis(0)) {
            mean.zip_mut_with(&row, |m, x| *m += f64::from(*x));
        }
        mean /= n as f64;
        let largest: Vec<f64> = mean.iter().map(|m| m.abs()).collect();
        for row in rows.axis_iter(Axis(0)) {
            for ((s, x), m) in squares.iter_mut().zip(row).zip(&mean) {
                *s += (f64::from(*x) - m).powi(2);
            }
        }
        let mut deviation = squares.mapv(|s| (s / n as f64).sqrt());
        // What rounding to f32 leaves of a constant.
        let varies: Vec<bool> = deviation.iter().zip(&largest).map(|(s, m)| *s > 1e-7 * m && *s > 0.0).collect();
        deviation.iter_mut().zip(&varies).filter(|(_, v)| !**v).for_each(|(s, _)| *s = 1.0);
        let mut x = Array2::zeros((n, d));
        for (mut to, from) in x.axis_iter_mut(Axis(0)).zip(rows.axis_iter(Axis(0))) {
            for (j, (to, from)) in to.iter_mut().zip(from).enumerate() {
                *to = if varies[j] { ((f64::from(*from) - mean[j]) / deviation[j]) as f32 } else { 0.0 };
            }
        }
        Ok(Design { x, mean, deviation, varies })
    }

    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        self.x.dim()
    }

    /// The deviation of each column over all rows, 1 where it does not vary.
    pub fn deviation(&self) -> &Array1<f64> {
        &self.deviation
    }

    /// Whether no column varies.
    pub fn is_constant(&self) -> bool {
        !self.varies.contains(&true)
    }

    /// The rows in the units of this design.
    pub(super) fn scaled(&self) -> ArrayView2<'_, f32> {
        self.x.view()
    }

    /// Weights and intercept for rows as they came, from those for scaled ones.
    pub(super) fn raw(&self, scaled: &Array1<f64>, intercept: f64) -> (Array1<f64>, f64) {
        let weights = scaled / &self.deviation;
        let weights = Array1::from_shape_fn(weights.len(), |j| if self.varies[j] { weights[j] } else { 0.0 });
        let intercept = intercept - weights.dot(&self.mean);
        (weights, intercept)
    }

    /// `x @ v` for `v` of `[column, k]`, as `[row, k]`; sums in f64 where `exact`, else in f32.
    pub(super) fn times(&self, v: &Array2<f64>, exact: bool) -> Array2<f64> {
        if !exact {
            return product(v.mapv(|x| x as f32).t(), self.x.t()).mapv(f64::from).reversed_axes();
        }
        let mut out = Array2::zeros((v.ncols(), self.x.nrows())).reversed_axes();
        for (from, block) in self.blocks() {
            add(out.slice_mut(s![from..from + block.nrows(), ..]), block.view(), v.view());
        }
        out
    }

    /// `x^T @ r` for `r` of `[row, k]`, as `[column, k]`.
    pub(super) fn transposed(&self, r: &Array2<f64>, exact: bool) -> Array2<f64> {
        if !exact {
            return product(r.mapv(|x| x as f32).t(), self.x.view()).mapv(f64::from).reversed_axes();
        }
        let mut out = Array2::zeros((r.ncols(), self.x.ncols())).reversed_axes();
        for (from, block) in self.blocks() {
            add(out.view_mut(), block.t(), r.slice(s![from..from + block.nrows(), ..]));
        }
        out
    }

    /// The lower triangle of `x^T @ x`.
    pub(super) fn gram(&self) -> Array2<f32> {
        gram(self.x.view())
    }

    /// The lower triangle of `x diag(w) x^T` in f64, `[row, row]`.
    pub(super) fn row_gram(&self, w: &Array1<f64>) -> Array2<f64> {
        let root = w.mapv(f64::sqrt);
        let mut wide = self.x.mapv(f64::from);
        wide.axis_iter_mut(Axis(0)).for_each(|mut row| row *= &root);
        gram(wide.t())
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, Array2<f64>)> + '_ {
        let n = self.x.nrows();
        (0..n).step_by(BLOCK).map(move |from| {
            let block = self.x.slice(s![from..n.min(from + BLOCK), ..]);
            (from, block.mapv(f64::from))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn columns_are_centred_in_units_of_their_deviation_and_weights_come_back() {
        let d = Design::new(array![[1000.0_f32, 5.0, 1.0], [1002.0, 5.0, 3.0]].view()).unwrap();
        assert_eq!(d.scaled(), array![[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]);
        // Deviations 1 and 1: weight 2 on the first column stays; the constant one has none. Intercept 1 - 2 * 1001.
        let (w, b) = d.raw(&array![2.0, 7.0, 0.0], 1.0);
        assert_eq!((w, b), (array![2.0, 0.0, 0.0], -2001.0));
        assert!(Design::new(Array2::zeros((0, 3)).view()).is_err());
        assert!(Design::new(array![[f32::NAN]].view()).is_err());
        assert!(Design::new(array![[3.0_f32], [3.0]].view()).unwrap().is_constant());
    }

    #[test]
    fn products_are_the_same_in_both_precisions() {
        let rows = Array2::from_shape_fn((300, 7), |(i, j)| ((i * 13 + j * 5) % 17) as f32);
        let d = Design::new(rows.view()).unwrap();
        let v = Array2::from_shape_fn((7, 2), |(i, j)| (i as f64 - 3.0) * (j as f64 + 0.5));
        let r = Array2::from_shape_fn((300, 2), |(i, j)| ((i + j) % 5) as f64 - 2.0);
        let x = d.scaled().mapv(f64::from);
        for exact in [true, false] {
            let slack = if exact { 1e-10 } else { 1e-3 };
            assert!((d.times(&v, exact) - x.dot(&v)).iter().all(|e| e.abs() < slack));
            assert!((d.transposed(&r, exact) - x.t().dot(&r)).iter().all(|e| e.abs() < slack));
        }
    }
}
