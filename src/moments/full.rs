//! A whole scatter matrix: rows whose products it is the sum of, and the sum of those that were multiplied out.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Columns of a panel.
const PANEL: usize = 128;
/// Rows that wait until they are multiplied out together. It bounds the number of sums of sums, and so their rounding.
const WAIT: usize = 256;

/// The sum of `r r^T` over rows `r`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Full {
    width: usize,
    /// `[_, width]`: rows that are not in the panels.
    pub rows: Vec<f64>,
    /// The lower triangle in panels of columns, one behind another; row by row, each from the row of its first column
    /// on. Empty until rows are more than a matrix.
    pub panels: Vec<f64>,
}

impl Full {
    pub fn new(width: usize) -> Full {
        Full { width, rows: Vec::new(), panels: Vec::new() }
    }

    /// Adds a row, which `fill` writes over zeros.
    pub fn push(&mut self, fill: impl FnOnce(&mut [f64])) {
        let most = self.most();
        fill(one_more(&mut self.rows, self.width, most));
        if self.rows.len() >= most * self.width {
            self.fold();
        }
    }

    /// Adds the rows of another.
    pub fn merge(&mut self, other: &Full) {
        if !other.panels.is_empty() {
            self.panels.resize(other.panels.len(), 0.0);
            self.panels.iter_mut().zip(&other.panels).for_each(|(ours, theirs)| *ours += theirs);
        }
        if self.rows.len() >= self.most() * self.width {
            self.fold();
        }
        for row in other.rows.chunks_exact(self.width) {
            self.push(|out| out.copy_from_slice(row));
        }
    }

    /// `[width, width]`: the matrix.
    pub fn dense(&self) -> Vec<f64> {
        let mut sum = self.clone();
        sum.fold();
        let d = self.width;
        let mut out = vec![0.0; d * d];
        let mut panels = sum.panels.as_slice();
        for (first, columns) in panels_of(d) {
            let (panel, rest) = panels.split_at((d - first) * columns);
            panels = rest;
            for (i, row) in (first..d).zip(panel.chunks_exact(columns)) {
                for (j, value) in (first..=i).zip(row) {
                    (out[i * d + j], out[j * d + i]) = (*value, *value);
                }
            }
        }
        out
    }

    /// Rows that may wait: as many as take no more room than the panels, as long as there are none.
    pub fn most(&self) -> usize {
        if self.panels.is_empty() { (self.width / 2).max(WAIT) } else { WAIT }
    }

    pub fn held(&self) -> usize {
        8 * (self.rows.capacity() + self.panels.capacity())
    }

    /// Multiplies the waiting rows out.
    fn fold(&mut self) {
        let d = self.width;
        self.panels.resize(panel_values(d), 0.0);
        let rows = std::mem::take(&mut self.rows);
        let rows = MatRef::from_row_major_slice(&rows, rows.len() / d, d);
        let mut panels = self.panels.as_mut_slice();
        for (first, columns) in panels_of(d) {
            let (panel, rest) = panels.split_at_mut((d - first) * columns);
            panels = rest;
            let out = MatMut::from_row_major_slice_mut(panel, d - first, columns);
            let (left, right) = (rows.subcols(first, d - first), rows.subcols(first, columns));
            matmul(out, Accum::Add, left.transpose(), right, 1.0, Par::Seq);
        }
    }
}

/// Bytes that a matrix with its waiting rows takes.
pub(super) fn bytes(width: usize) -> usize {
    8 * (panel_values(width) + WAIT * width)
}

/// Numbers in the panels of a matrix.
pub(super) fn panel_values(width: usize) -> usize {
    panels_of(width).map(|(first, columns)| (width - first) * columns).sum()
}

/// First column and number of columns of each panel.
fn panels_of(width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..width).step_by(PANEL).map(move |first| (first, PANEL.min(width - first)))
}

/// Room for one more row of zeros behind rows of which there will be `most`.
pub(super) fn one_more(rows: &mut Vec<f64>, width: usize, most: usize) -> &mut [f64] {
    let at = rows.len();
    if rows.capacity() < at + width {
        // Doubling, but never beyond what is needed.
        let room = (2 * at).max(4 * width).min(most * width).max(at + width);
        rows.reserve_exact(room - at);
    }
    rows.resize(at + width, 0.0);
    &mut rows[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row `r` of a matrix of small integers, whose products are exact.
    fn row(r: usize, d: usize) -> impl Fn(&mut [f64]) {
        move |out| (0..d).for_each(|j| out[j] = ((r * 31 + j * 17 + r * j) % 11) as f64 - 5.0)
    }

    fn expected(rows: std::ops::Range<usize>, d: usize) -> Vec<f64> {
        let mut sum = vec![0.0; d * d];
        for r in rows {
            let mut values = vec![0.0; d];
            row(r, d)(&mut values);
            (0..d * d).for_each(|at| sum[at] += values[at / d] * values[at % d]);
        }
        sum
    }

    #[test]
    fn matrices_are_the_sum_of_products_whether_rows_wait_or_not() {
        // Below and above a panel of 128; fewer and more rows than wait.
        for (d, n) in [(1, 3), (5, 700), (130, 200), (130, 600), (530, 264), (530, 266)] {
            let mut full = Full::new(d);
            (0..n).for_each(|r| full.push(row(r, d)));
            assert_eq!(full.dense(), expected(0..n, d), "{n} rows of {d}");
            assert_eq!(full.panels.is_empty(), n < WAIT.max(d / 2));
            assert!(full.held() <= bytes(d), "{n} rows of {d}");
        }
    }

    #[test]
    fn merged_matrices_are_those_of_all_rows() {
        let d = 140;
        for cut in [0, 10, 300, 590, 600] {
            let (mut first, mut second) = (Full::new(d), Full::new(d));
            (0..cut).for_each(|r| first.push(row(r, d)));
            (cut..600).for_each(|r| second.push(row(r, d)));
            first.merge(&second);
            assert_eq!(first.dense(), expected(0..600, d), "cut at {cut}");
            assert!(first.rows.len() < first.most() * d);
        }
    }
}
