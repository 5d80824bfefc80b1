//! Ridge regression over folds of groups, with the penalty chosen inside each training set, from sums of products alone:
//! a shuffled target costs one product with the rows.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// Penalties on squared weights of standardised columns, as multiples of the rows.
const PENALTIES: [f64; 8] = [1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 10.0];

/// Rows with their folds, ready to be regressed on.
pub(super) struct Ridge {
    /// `[row, column]`, standardised over all rows.
    x: Array2<f64>,
    fold: Vec<usize>,
    folds: usize,
    /// Rows of each fold, and sums of columns over them.
    counts: Vec<(f64, Array1<f64>)>,
    /// Of each set of folds that is trained on.
    sets: Vec<Outer>,
}

/// One outer fold: the factors of its training set, and those of that set without one more fold.
struct Outer {
    whole: Vec<Llt<f64>>,
    inner: Vec<(usize, Vec<Llt<f64>>)>,
}

/// Sums over the rows of some folds.
#[derive(Clone)]
struct Sums {
    n: f64,
    x: Array1<f64>,
    gram: Array2<f64>,
}

/// The target's part of the sums of a fold.
struct Target {
    y: f64,
    xy: Array1<f64>,
}

/// What is predicted of every row by a fit that has not seen its fold.
pub(super) struct Predicted {
    pub by_fit: Vec<f64>,
    /// The mean of the training rows.
    pub by_mean: Vec<f64>,
}

impl Ridge {
    /// Prepares the columns; `free` of them, the last ones, are not penalised. `None` where a factorisation fails.
    pub(super) fn new(mut x: Array2<f64>, fold: &[usize], folds: usize, free: usize) -> Option<Ridge> {
        let n = x.nrows() as f64;
        for mut column in x.columns_mut() {
            let mean = column.sum() / n;
            column.mapv_inplace(|v| v - mean);
            let sd = (column.dot(&column) / n).sqrt();
            // A constant column says nothing; rounding must not be blown up to unit variance.
            column.mapv_inplace(|v| if sd > 1e-12 * mean.abs().max(1e-300) { v / sd } else { 0.0 });
        }
        let of_fold: Vec<Sums> = (0..folds).map(|f| sums(x.view(), fold, f)).collect();
        let mut sets = Vec::with_capacity(folds);
        for f in 0..folds {
            let training = total(&of_fold, &[f])?;
            let whole = factors(&training, free)?;
            let mut inner = Vec::new();
            for g in (0..folds).filter(|g| *g != f) {
                let held = (g, factors(&total(&of_fold, &[f, g])?, free)?);
                inner.push(held);
            }
            sets.push(Outer { whole, inner });
        }
        let counts = of_fold.into_iter().map(|s| (s.n, s.x)).collect();
        Some(Ridge { x, fold: fold.to_vec(), folds, counts, sets })
    }

    /// Regresses a target on the columns, out of fold.
    pub(super) fn predict(&self, y: &[f64]) -> Predicted {
        let centre = y.iter().sum::<f64>() / y.len().max(1) as f64;
        let y: Vec<f64> = y.iter().map(|v| v - centre).collect();
        let targets: Vec<Target> = (0..self.folds).map(|f| target(self.x.view(), &self.fold, f, &y)).collect();
        let (mut by_fit, mut by_mean) = (vec![0.0; y.len()], vec![0.0; y.len()]);
        for (f, set) in self.sets.iter().enumerate() {
            let best = self.penalty(f, set, &targets, &y);
            let (weights, mean_x, mean_y) = self.fit(&set.whole[best], &[f], &targets);
            for r in (0..y.len()).filter(|r| self.fold[*r] == f) {
                let row = self.x.row(r);
                let shift: f64 = row.iter().zip(&mean_x).zip(&weights).map(|((x, m), w)| (x - m) * w).sum();
                by_mean[r] = centre + mean_y;
                by_fit[r] = centre + mean_y + shift;
            }
        }
        Predicted { by_fit, by_mean }
    }

    /// The place of the penalty with the least squared error on the other folds of a training set.
    fn penalty(&self, f: usize, set: &Outer, targets: &[Target], y: &[f64]) -> usize {
        let mut errors = [0.0; PENALTIES.len()];
        for (g, factors) in &set.inner {
            let rows: Vec<usize> = (0..y.len()).filter(|r| self.fold[*r] == *g).collect();
            for (error, factor) in errors.iter_mut().zip(factors) {
                let (weights, mean_x, mean_y) = self.fit(factor, &[f, *g], targets);
                let offset = mean_y - mean_x.dot(&weights);
                *error += rows.iter().map(|&r| (y[r] - offset - self.x.row(r).dot(&weights)).powi(2)).sum::<f64>();
            }
        }
        let mut best = 0;
        for (i, e) in errors.iter().enumerate() {
            if *e < errors[best] {
                best = i;
            }
        }
        best
    }

    /// Weights of the training set without some folds, and the means of columns and target in it.
    fn fit(&self, factor: &Llt<f64>, without: &[usize], targets: &[Target]) -> (Array1<f64>, Array1<f64>, f64) {
        let m = self.x.ncols();
        let (mut n, mut x, mut y, mut xy) = (0.0, Array1::<f64>::zeros(m), 0.0, Array1::<f64>::zeros(m));
        for f in (0..self.folds).filter(|f| !without.contains(f)) {
            n += self.counts[f].0;
            x += &self.counts[f].1;
            y += targets[f].y;
            xy += &targets[f].xy;
        }
        let (mean_x, mean_y) = (x / n, y / n);
        let right = Mat::from_fn(m, 1, |i, _| xy[i] - n * mean_x[i] * mean_y);
        let solved = factor.solve(&right);
        ((0..m).map(|i| solved[(i, 0)]).collect(), mean_x, mean_y)
    }
}

fn members(fold: &[usize], f: usize) -> Vec<usize> {
    (0..fold.len()).filter(|r| fold[*r] == f).collect()
}

fn sums(x: ArrayView2<f64>, fold: &[usize], f: usize) -> Sums {
    let own = x.select(Axis(0), &members(fold, f));
    Sums { n: own.nrows() as f64, x: own.sum_axis(Axis(0)), gram: own.t().dot(&own) }
}

fn target(x: ArrayView2<f64>, fold: &[usize], f: usize, y: &[f64]) -> Target {
    let mut t = Target { y: 0.0, xy: Array1::zeros(x.ncols()) };
    for r in members(fold, f) {
        t.y += y[r];
        t.xy.scaled_add(y[r], &x.row(r));
    }
    t
}

/// Sums over all folds but some; `None` where no row is left.
fn total(of_fold: &[Sums], without: &[usize]) -> Option<Sums> {
    let mut kept = of_fold.iter().enumerate().filter(|(f, _)| !without.contains(f)).map(|(_, s)| s);
    let mut all = kept.next()?.clone();
    for s in kept {
        all.n += s.n;
        all.x += &s.x;
        all.gram += &s.gram;
    }
    (all.n > 1.0).then_some(all)
}

/// Factors of the centred products with each penalty.
fn factors(sums: &Sums, free: usize) -> Option<Vec<Llt<f64>>> {
    let (m, n) = (sums.x.len(), sums.n);
    let centred = |i: usize, j: usize| sums.gram[[i, j]] - sums.x[i] * sums.x[j] / n;
    let with = |penalty: &f64| {
        let own = |i: usize| if i + free < m { penalty * n } else { 1e-9 * n };
        let a = Mat::from_fn(m, m, |i, j| centred(i, j) + if i == j { own(i) } else { 0.0 });
        a.llt(Side::Lower).ok()
    };
    PENALTIES.iter().map(with).collect()
}

/// At most `most` leading components of columns that are more, `[row, component]`.
pub(super) fn reduced(x: Array2<f64>, most: usize) -> Option<Array2<f64>> {
    if x.ncols() <= most {
        return Some(x);
    }
    let mean = x.mean_axis(Axis(0))?;
    let centred = x - &mean;
    let gram = centred.t().dot(&centred);
    let d = gram.nrows();
    let eigen = Mat::from_fn(d, d, |i, j| gram[[i, j]]).self_adjoint_eigen(Side::Lower).ok()?;
    let axes = Array2::from_shape_fn((d, most), |(i, j)| eigen.U()[(i, d - 1 - j)]);
    Some(centred.dot(&axes).slice(s![.., ..most]).to_owned())
}
