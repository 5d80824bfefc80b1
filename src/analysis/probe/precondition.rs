//! The inverse of an approximate Hessian, made once per site and shared by all its fits: folds, halves, shuffles.
//!
//! All of these have the Hessian X^T W X + P with other weights W of the rows. With W about constant, one Cholesky factor
//! serves them all, and what remains to be iterated has eigenvalues near 1 however ill-conditioned the rows are.

use super::design::Design;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatMut, Side};
use ndarray::{Array1, Array2, Zip};

/// Beyond this many rows and columns only the diagonal is used.
const LARGEST: usize = 6144;

/// The inverse of `curvature x^T x + diag(penalty)` in the units of a design.
pub(super) enum Preconditioner {
    /// A factor of it; as many columns as rows at most.
    Columns(Llt<f64>),
    /// By the identity of Woodbury, with a factor of `x P^-1 x^T + 1/curvature`: fewer rows than columns.
    Rows {
        factor: Llt<f64>,
        inverse: Array1<f64>,
    },
    Diagonal(Array1<f64>),
}

impl Preconditioner {
    pub fn new(design: &Design, curvature: f64, penalty: &Array1<f64>) -> Preconditioner {
        let (n, d) = design.dim();
        let diagonal = || Preconditioner::Diagonal(penalty.mapv(|p| 1.0 / (p + curvature * n as f64)));
        if n.min(d) > LARGEST {
            return diagonal();
        }
        let factor = |lower: &dyn Fn(usize, usize) -> f64, size: usize| {
            Mat::from_fn(size, size, |i, j| if j <= i { lower(i, j) } else { 0.0 }).llt(Side::Lower).ok()
        };
        if d <= n || penalty.iter().any(|p| *p <= 0.0) {
            let gram = design.gram();
            // Rounding of sums in f32 must not make it indefinite.
            let slack = 1e-6 * n as f64 * curvature;
            let entry = |i: usize, j: usize| {
                let own = if i == j { penalty[i] + slack } else { 0.0 };
                curvature * f64::from(gram[[i, j]]) + own
            };
            return factor(&entry, d).map_or_else(diagonal, Preconditioner::Columns);
        }
        let inverse = penalty.mapv(|p| 1.0 / p);
        let gram = design.row_gram(&inverse);
        let entry = |i: usize, j: usize| gram[[i, j]] + if i == j { 1.0 / curvature } else { 0.0 };
        match factor(&entry, n) {
            Some(factor) => Preconditioner::Rows { factor, inverse },
            None => diagonal(),
        }
    }

    /// Applies it to the columns of `g`, `[column, k]`.
    pub fn apply(&self, design: &Design, g: &Array2<f64>) -> Array2<f64> {
        match self {
            Preconditioner::Diagonal(inverse) => scaled(g, inverse),
            Preconditioner::Columns(factor) => solved(factor, g.clone()),
            Preconditioner::Rows { factor, inverse } => {
                let first = scaled(g, inverse);
                let inner = solved(factor, design.times(&first, true));
                let second = scaled(&design.transposed(&inner, true), inverse);
                first - second
            }
        }
    }
}

fn scaled(g: &Array2<f64>, by: &Array1<f64>) -> Array2<f64> {
    let mut out = g.clone();
    for mut column in out.columns_mut() {
        Zip::from(&mut column).and(by).for_each(|x, b| *x *= b);
    }
    out
}

fn solved(factor: &Llt<f64>, g: Array2<f64>) -> Array2<f64> {
    let (rows, columns) = g.dim();
    let mut flat: Vec<f64> = g.t().iter().copied().collect();
    factor.solve_in_place(MatMut::from_column_major_slice_mut(&mut flat, rows, columns));
    Array2::from_shape_vec((columns, rows), flat).unwrap_or_default().reversed_axes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn all_forms_invert_what_they_say() {
        for (n, d) in [(30, 5), (6, 9)] {
            let rows = Array2::from_shape_fn((n, d), |(i, j)| ((i * i * 7 + j * j * 3 + i * j) % 13) as f32);
            let design = Design::new(rows.view()).unwrap();
            let penalty = Array1::from_shape_fn(d, |j| 0.5 + j as f64);
            let p = Preconditioner::new(&design, 0.25, &penalty);
            assert_eq!(matches!(p, Preconditioner::Columns(_)), n > d);
            let x = design.scaled().mapv(f64::from);
            let hessian = x.t().dot(&x) * 0.25 + Array2::from_diag(&penalty);
            let v = Array2::from_shape_fn((d, 3), |(i, j)| (i + 2 * j) as f64 - 2.0);
            let back = p.apply(&design, &hessian.dot(&v));
            assert!((back - v).iter().all(|e| e.abs() < 1e-4), "{n} x {d}");
        }
    }
}
