//! Two effects told apart: who speaks, and which model speaks through them.
//!
//! Of the vectors v[role, model, prompt] of roles under several models on prompts,
//!
//! ```text
//! v = g + persona[role] + bias[model] + interaction[role, model] + residual[role, model, prompt]
//! ```
//!
//! with effects that sum to zero over roles and over models (the effects of type III sums: every cell counts the same, no
//! matter how many prompts it has). The mean square of an effect, summed over dimensions, is over the roles and models that
//! are given: with R roles, M models and cell means mu,
//!
//! ```text
//! persona     = 1/R  sum_r  |mu[r, .] - mu[., .]|^2          model = 1/M sum_m |mu[., m] - mu[., .]|^2
//! interaction = 1/RM sum_rm |mu[r, m] - mu[r, .] - mu[., m] + mu[., .]|^2
//! residual    = 1/RM sum_rm (variance of a row in its cell)
//! ```
//!
//! and a share is one of the four over their sum (the omega squared of Hays 1963, without a floor). Squares of estimated
//! means are too large by their noise; here each is the mean over pairs of different prompts of a product, which is the limit
//! of all split halves: two prompts have the effect in common and nothing else. So an effect of zero is estimated as zero on
//! average, and about every second time slightly below. Prompts are the units that intervals are over; a prompt is one and
//! the same under every role and model that has it.

mod along;
mod blocks;
mod design;
mod estimate;
mod gate;
mod kernel;
mod sharpen;
mod shift;
mod tables;
#[cfg(test)]
mod tests;

pub use along::{Along, Shared, along, shared_space};
pub use design::{Design, Label, MOST_PROMPTS};
pub use estimate::{Estimated, LEAST_PROMPTS};
pub use gate::{Gate, gate};
pub use sharpen::Sharpness;
pub use shift::Shift;
pub use tables::tables;

use crate::error::{Error, Result};
use kernel::Kernels;
use ndarray::{Array2, ArrayView2};

/// The sources of variance, in the order of [`Site::shares`].
pub const SOURCES: [&str; 4] = ["persona", "model", "interaction", "residual"];

/// Choices of an analysis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Sign flips behind a p-value, where there are too many for all of them.
    pub permutations: usize,
    /// Random halves of the prompts behind a split-half cosine.
    pub splits: usize,
    /// Resamples of the prompts behind the intervals of what is no mean over pairs.
    pub bootstrap: usize,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { permutations: 1999, splits: 100, bootstrap: 400, seed: 0 }
    }
}

/// What the rows of one site say.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    pub name: String,
    /// By [`SOURCES`]: mean squares without noise, in squared units of the activations, summed over dimensions.
    pub mean_squares: [Estimated; 4],
    /// Each over the sum of the four.
    pub shares: [Estimated; 4],
    /// One per pair of models.
    pub shifts: Vec<Shift>,
    /// One per model, where there is a default persona.
    pub sharpness: Vec<Sharpness>,
}

/// Shares of variance and common shifts of the rows `[row, d_model]` of a site.
///
/// # Errors
/// Fewer rows than the design has labels, values that are not finite, rows that do not vary.
pub fn site(name: &str, design: &Design, rows: ArrayView2<f32>, options: &Options) -> Result<Site> {
    let kernels = kernels(design, rows)?;
    let residual = residual(&kernels.residual);
    let parts = [&kernels.persona, &kernels.model, &kernels.interaction, &residual];
    let whole = parts.iter().fold(Array2::zeros(residual.dim()), |sum, part| sum + *part);
    let total = estimate::pair_mean(&whole);
    let size: f64 = parts.iter().map(|p| estimate::pair_mean(p).abs()).sum();
    let largest = rows.iter().fold(0.0_f64, |m, v| m.max(f64::from(v.abs())));
    if !(total > 1e-12 * size && total > 1e-13 * largest * largest) {
        return Err(Error::refused(format!("the rows of {name} do not vary"), "choose another site or other prompts"));
    }
    let mean_squares = parts.map(estimate::pair_estimate);
    Ok(Site {
        name: name.into(),
        mean_squares,
        shares: parts.map(|part| estimate::share(part, &whole)),
        shifts: shift::shifts(name, design, &kernels, mean_squares[0].value, options),
        sharpness: sharpen::sharpness(name, design, &kernels, rows, options),
    })
}

fn kernels(design: &Design, rows: ArrayView2<f32>) -> Result<Kernels> {
    let count = rows.iter().filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(Error::NotFinite { place: "rows".into(), count });
    }
    let last = design.rows.iter().flatten().flatten().max().copied().unwrap_or(0);
    if last >= rows.nrows() || rows.ncols() == 0 {
        let what = format!("labels of {} rows or more, and an array of {:?}", last + 1, rows.dim());
        return Err(Error::refused(what, "give one label per row, in the order of the array"));
    }
    Ok(Kernels::of(design, rows))
}

/// What one prompt says about the residual, as a product of pairs.
fn residual(of: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((of.len(), of.len()), |(p, q)| (of[p] + of[q]) / 2.0)
}
