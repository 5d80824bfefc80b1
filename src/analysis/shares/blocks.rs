//! Effects of prompts in tables with gaps: a cell must not seem apart because its prompts are.

use super::design::Design;
use super::kernel::cell_means;
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use ndarray::{Array2, Array3};

/// Least squares of cells and prompts side by side. With gaps the prompts' effects take some of the noise with them, by an
/// amount that the design alone decides: for noise of one variance it is made good exactly.
pub(super) struct Blocks {
    inverse: Mat<f64>,
    /// Deviations of prompts in cells times this have the size that noise of the means asks for, over all effects.
    pub stretch: f64,
    /// What is left after that in persona, model and interaction, per variance of the noise.
    pub left: [f64; 3],
}

impl Blocks {
    pub fn of(design: &Design) -> Blocks {
        let (cells, prompts) = (design.cells(), design.prompts);
        // Cells eliminated from the normal equations: diag(cells of p) - sum over cells of 1/n 1 1'. Constant effects are
        // free there; the first term fixes their sum at 0.
        let mut m = Mat::<f64>::from_fn(prompts, prompts, |_, _| cells as f64 / prompts as f64);
        for by_prompt in &design.rows {
            let of: Vec<usize> = (0..prompts).filter(|p| !by_prompt[*p].is_empty()).collect();
            for &p in &of {
                m[(p, p)] += 1.0;
                of.iter().for_each(|&q| m[(p, q)] -= 1.0 / of.len() as f64);
            }
        }
        let inverse = match m.llt(Side::Lower) {
            Ok(llt) => llt.solve(&Mat::<f64>::identity(prompts, prompts)),
            // A connected design is positive definite; should rounding say otherwise, nothing is taken out.
            Err(_) => Mat::zeros(prompts, prompts),
        };
        let mut blocks = Blocks { inverse, stretch: 1.0, left: [0.0; 3] };
        blocks.calibrate(design);
        blocks
    }

    /// Takes the effects of prompts out of means of cells and prompts, `[cell, prompt, width]`.
    pub fn take_out(&self, design: &Design, y: &mut Array3<f64>) {
        let (cells, prompts, width) = y.dim();
        let means = cell_means(design, y);
        let there = |c: usize, p: usize| !design.rows[c][p].is_empty();
        let mut right = Mat::<f64>::zeros(prompts, width);
        for c in 0..cells {
            for p in (0..prompts).filter(|p| there(c, *p)) {
                (0..width).for_each(|j| right[(p, j)] += y[[c, p, j]] - means[[c, j]]);
            }
        }
        let effects = &self.inverse * right;
        for c in 0..cells {
            for p in (0..prompts).filter(|p| there(c, *p)) {
                (0..width).for_each(|j| y[[c, p, j]] -= effects[(p, j)]);
            }
        }
    }

    /// The variance of what is left in cells and prompts, summed over the columns.
    pub fn noise(&self, design: &Design, y: &Array3<f64>) -> f64 {
        let (cells, prompts, width) = y.dim();
        let means = cell_means(design, y);
        let (mut squares, mut count) = (0.0, 0.0);
        for c in 0..cells {
            for p in (0..prompts).filter(|p| !design.rows[c][*p].is_empty()) {
                squares += (0..width).map(|j| (y[[c, p, j]] - means[[c, j]]).powi(2)).sum::<f64>();
                count += 1.0;
            }
        }
        let free = count - (cells + prompts) as f64 + 1.0;
        if free > 0.0 { squares / free } else { 0.0 }
    }

    /// Compares the noise that cells' means have with the noise that deviations of prompts show, for noise of variance 1.
    fn calibrate(&mut self, design: &Design) {
        let (cells, prompts) = (design.cells(), design.prompts);
        let there = |c: usize, p: usize| !design.rows[c][p].is_empty();
        let n: Vec<f64> = (0..cells).map(|c| design.filled(c) as f64).collect();
        // Covariances of the least-squares means with the effects of prompts, and with each other.
        let shares = Mat::<f64>::from_fn(cells, prompts, |c, p| if there(c, p) { 1.0 / n[c] } else { 0.0 });
        let with_prompts = &shares * &self.inverse;
        let more = &with_prompts * shares.transpose();
        let means = |c: usize, k: usize| more[(c, k)] + if c == k { 1.0 / n[c] } else { 0.0 };
        let all = prompts as f64;
        let scale = |c: usize| all / n[c] * ((all - 1.0) * n[c] / (all * (n[c] - 1.0))).sqrt();
        let mut truth = Array2::zeros((cells, cells));
        let mut shown = Array2::zeros((cells, cells));
        for c in 0..cells {
            for k in 0..cells {
                truth[[c, k]] = means(c, k);
                let mut sum = 0.0;
                for p in (0..prompts).filter(|p| there(c, *p) && there(k, *p)) {
                    let same = if c == k { 1.0 } else { 0.0 };
                    let fitted = means(c, k) + self.inverse[(p, p)] - with_prompts[(c, p)] - with_prompts[(k, p)];
                    sum += same - fitted;
                }
                shown[[c, k]] = scale(c) * scale(k) * sum / (all * (all - 1.0));
            }
        }
        let (truth, shown) = (effects(design, &truth), effects(design, &shown));
        let (sum, seen): (f64, f64) = (truth.iter().sum(), shown.iter().sum());
        if !(seen > 0.0 && sum.is_finite()) {
            return;
        }
        self.stretch = (sum / seen).sqrt();
        self.left = [0, 1, 2].map(|x| truth[x] - shown[x] * sum / seen);
    }
}

/// The mean squares of persona, model and interaction that a covariance of cells brings with it.
fn effects(design: &Design, of: &Array2<f64>) -> [f64; 3] {
    let (m, r) = (design.models.len() as f64, design.roles.len() as f64);
    let (mut own, mut role, mut model, mut all) = (0.0, 0.0, 0.0, 0.0);
    for ((c, k), v) in of.indexed_iter() {
        let (same_role, same_model) =
            (c / design.models.len() == k / design.models.len(), c % design.models.len() == k % design.models.len());
        own += if c == k { *v } else { 0.0 };
        role += if same_role { *v } else { 0.0 };
        model += if same_model { *v } else { 0.0 };
        all += v;
    }
    let (cells, all) = (m * r, all / (m * r));
    let (role, model) = (role / m, model / r);
    [(role - all) / cells, (model - all) / cells, (own - role - model + all) / cells]
}
