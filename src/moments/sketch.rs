//! Frequent directions: a few rows that stand for a scatter matrix, with a bound of what they miss.
//!
//! Liberty (2013), "Simple and deterministic matrix sketching"; Ghashami, Liberty, Phillips and Woodruff (2016), "Frequent
//! directions". Rows are kept as they come until there are twice as many as asked for; then they are turned on their
//! principal axes, and the square of the first length that is too many is taken from the squares of all.

use super::full::one_more;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// A sketch `B` of a scatter matrix `S`: `S - B^T B` has eigenvalues from 0 to `error`, up to rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketched {
    /// `[rows, width]`: as many as were asked for, zeros where fewer are needed.
    pub rows: Vec<f64>,
    /// Bound of the spectral norm of `S - B^T B`; 0 where the sketch is exact.
    pub error: f64,
}

/// A sketch that grows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sketch {
    width: usize,
    lines: usize,
    /// `[_, width]`: fewer than twice as many as asked for.
    pub rows: Vec<f64>,
    pub error: f64,
}

impl Sketch {
    pub fn new(width: usize, lines: usize) -> Sketch {
        Sketch { width, lines, rows: Vec::new(), error: 0.0 }
    }

    /// Adds a row, which `fill` writes over zeros.
    pub fn push(&mut self, fill: impl FnOnce(&mut [f64])) {
        let most = self.most();
        fill(one_more(&mut self.rows, self.width, most));
        if self.rows.len() >= most * self.width {
            self.shrink();
        }
    }

    /// Adds the rows of another, with what they miss.
    pub fn merge(&mut self, other: &Sketch) {
        self.error += other.error;
        for row in other.rows.chunks_exact(self.width) {
            self.push(|out| out.copy_from_slice(row));
        }
    }

    /// As it is handed out.
    pub fn finished(&self) -> Sketched {
        let mut last = self.clone();
        if last.rows.len() > last.lines * last.width {
            last.shrink();
        }
        last.rows.resize(last.lines * last.width, 0.0);
        Sketched { rows: last.rows, error: last.error }
    }

    /// Rows at which it shrinks.
    pub fn most(&self) -> usize {
        2 * self.lines
    }

    pub fn held(&self) -> usize {
        8 * self.rows.capacity()
    }

    /// Leaves at most as many rows as were asked for.
    fn shrink(&mut self) {
        let (d, n) = (self.width, self.rows.len() / self.width);
        let rows = MatRef::from_row_major_slice(&self.rows, n, d);
        let mut gram = Mat::<f64>::zeros(n, n);
        matmul(gram.as_mut(), Accum::Replace, rows, rows.transpose(), 1.0, Par::Seq);
        let Ok(eigen) = gram.self_adjoint_eigen(Side::Lower) else { return self.drop_short() };
        // Rising eigenvalues: squares of the lengths along the principal axes.
        let squares = eigen.S().column_vector();
        let cut = squares[n - 1 - self.lines].max(0.0);
        let kept: Vec<usize> = (n - self.lines..n).rev().filter(|i| squares[*i] > cut).collect();
        let turn = Mat::from_fn(kept.len(), n, |i, j| {
            let square = squares[kept[i]];
            ((square - cut) / square).sqrt() * eigen.U()[(j, kept[i])]
        });
        let mut turned = Vec::with_capacity(self.most() * d);
        turned.resize(kept.len() * d, 0.0);
        let out = MatMut::from_row_major_slice_mut(&mut turned, kept.len(), d);
        matmul(out, Accum::Replace, turn.as_ref(), rows, 1.0, Par::Seq);
        self.rows = turned;
        self.error += cut;
    }

    /// Without eigenvalues the shortest rows go. What a row adds to the matrix has its squared length as its norm.
    fn drop_short(&mut self) {
        let square = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
        let mut rows: Vec<(f64, &[f64])> = self.rows.chunks_exact(self.width).map(|r| (square(r), r)).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.error += rows.iter().skip(self.lines).map(|(square, _)| square).sum::<f64>();
        self.rows = rows.iter().take(self.lines).flat_map(|(_, row)| row.iter().copied()).collect();
    }
}

/// Bytes that a sketch takes.
pub(super) fn bytes(width: usize, lines: usize) -> usize {
    8 * 2 * lines * width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng;

    const D: usize = 24;

    /// Rows whose lengths fall along the coordinates, and a turn that hides them.
    fn rows(n: usize, seed: u64, rank: usize) -> Vec<Vec<f64>> {
        let mut rng = stream(seed, "rows");
        let mut noise = |k: usize| (0..k).map(|_| rng.random::<f64>() - 0.5).collect::<Vec<_>>();
        let axes: Vec<Vec<f64>> = (0..rank).map(|_| noise(D)).collect();
        let row = |parts: Vec<f64>| -> Vec<f64> {
            let along =
                |j: usize| parts.iter().zip(&axes).enumerate().map(move |(i, (p, a))| p * a[j] / (1 + i) as f64);
            (0..D).map(|j| along(j).sum()).collect()
        };
        (0..n).map(|_| row(noise(rank))).collect()
    }

    fn sketch(rows: &[Vec<f64>], lines: usize) -> Sketch {
        let mut sketch = Sketch::new(D, lines);
        rows.iter().for_each(|row| sketch.push(|out| out.copy_from_slice(row)));
        sketch
    }

    fn product(rows: &[f64]) -> Mat<f64> {
        let rows = MatRef::from_row_major_slice(rows, rows.len() / D, D);
        rows.transpose() * rows
    }

    /// Least and largest eigenvalue of what a sketch misses, in parts of the trace.
    fn missed(rows: &[Vec<f64>], sketched: &Sketched) -> (f64, f64, f64) {
        let all = product(&rows.concat());
        let trace: f64 = (0..D).map(|i| all[(i, i)]).sum();
        let values = (&all - product(&sketched.rows)).self_adjoint_eigenvalues(Side::Lower).unwrap();
        (values[0] / trace, values[D - 1] / trace, trace)
    }

    #[test]
    fn what_a_sketch_misses_is_within_its_bound_and_the_bound_within_that_of_the_paper() {
        let rows = rows(400, 1, D);
        let mut last = f64::INFINITY;
        for lines in [1, 4, 8, 16, 23] {
            let sketched = sketch(&rows, lines).finished();
            assert_eq!(sketched.rows.len(), lines * D);
            let (least, most, trace) = missed(&rows, &sketched);
            let bound = sketched.error / trace;
            assert!(least > -1e-13 && most <= bound + 1e-13, "{lines}: {least:e} {most:e} {bound:e}");
            // Every shrinking takes its cut from at least `lines + 1` squares.
            assert!(bound <= 1.0 / (lines + 1) as f64, "{lines}: {bound}");
            assert!(bound < last, "{lines}: more rows miss less");
            last = bound;
        }
    }

    #[test]
    fn shrinking_takes_the_same_from_all_squares() {
        // Squares 9, 4 and 1 along three axes, and a second 1 along the last: 9, 4 and 2 in four rows. Two rows are asked
        // for, so 2 is cut: 7 and 2 are left, the longest first.
        let mut sketch = Sketch::new(3, 2);
        for row in [[0.0, 0.0, 1.0], [0.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]] {
            sketch.push(|out| out.copy_from_slice(&row));
        }
        let want = [7f64.sqrt(), 0.0, 0.0, 0.0, 2f64.sqrt(), 0.0];
        let Sketched { rows, error } = sketch.finished();
        assert!((error - 2.0).abs() < 1e-14 && rows.len() == 6, "{error}");
        assert!(rows.iter().zip(want).all(|(got, want)| (got.abs() - want).abs() < 1e-14), "{rows:?}");
    }

    #[test]
    fn merged_sketches_miss_no_more_than_they_say() {
        let all = rows(300, 2, D);
        for cuts in [vec![150], vec![3, 40, 41, 200], (1..300).collect()] {
            let mut edges = vec![0];
            edges.extend(cuts);
            edges.push(300);
            let mut total = Sketch::new(D, 6);
            edges.windows(2).for_each(|w| total.merge(&sketch(&all[w[0]..w[1]], 6)));
            let sketched = total.finished();
            let (least, most, trace) = missed(&all, &sketched);
            assert!(least > -1e-13 && most <= sketched.error / trace + 1e-13 && sketched.error / trace < 1.0 / 7.0);
        }
    }

    #[test]
    fn rows_of_few_dimensions_are_kept_exactly() {
        let rows = rows(200, 3, 5);
        let sketched = sketch(&rows, 5).finished();
        let (least, most, trace) = missed(&rows, &sketched);
        assert!(least > -1e-13 && most < 1e-13 && sketched.error / trace < 1e-13, "{least:e} {most:e}");
        // And few rows are kept as they are.
        let few = sketch(&rows[..3], 5).finished();
        assert_eq!((few.error, &few.rows[..3 * D], &few.rows[3 * D..]), (0.0, &rows[..3].concat()[..], &[0.0; 48][..]));
    }

    #[test]
    fn rows_that_are_dropped_for_want_of_eigenvalues_are_accounted_for() {
        let rows = rows(7, 4, D);
        let mut sketch = sketch(&rows, 4);
        sketch.drop_short();
        assert_eq!(sketch.rows.len(), 4 * D);
        let (least, most, trace) = missed(&rows, &sketch.finished());
        assert!(least > -1e-13 && most <= sketch.error / trace + 1e-13 && most > 1e-6);
    }
}
