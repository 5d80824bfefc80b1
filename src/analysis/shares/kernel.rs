//! Products of effects between prompts: all that the shares and their intervals need of the rows.

use super::blocks::Blocks;
use super::design::Design;
use ndarray::{Array2, Array3, ArrayView2, Axis, s};

/// Columns that are looked at together.
const BLOCK: usize = 64;

/// `[prompt, prompt]` each: the mean over cells of the products of what two prompts say about an effect.
///
/// The mean over pairs of different prompts is the mean square of the effect without noise: two prompts share the effect
/// and nothing else.
pub(super) struct Kernels {
    pub persona: Array2<f64>,
    pub model: Array2<f64>,
    pub interaction: Array2<f64>,
    /// One per prompt; their mean is the variance of a row in its cell.
    pub residual: Vec<f64>,
    /// `[cell, d_model]`: the cells' means, prompts taken out where the design is blocked.
    pub means: Array2<f64>,
    /// `[model, prompt, d_model]`: the mean over roles of what a prompt says about a model.
    pub by_model: Array3<f64>,
    /// `[cell, prompt]`: what a prompt says about the variance of a row in a cell; their mean over prompts is that variance.
    pub spread: Array2<f64>,
}

impl Kernels {
    pub fn of(design: &Design, rows: ArrayView2<f32>) -> Kernels {
        let (cells, prompts, d) = (design.cells(), design.prompts, rows.ncols());
        let (n_models, n_roles) = (design.models.len(), design.roles.len());
        let square = || Array2::<f64>::zeros((prompts, prompts));
        let (mut total, mut persona, mut model) = (square(), square(), square());
        let mut residual = vec![0.0; prompts];
        let mut spread = Array2::zeros((cells, prompts));
        let mut means = Array2::zeros((cells, d));
        let mut noise = 0.0;
        let mut by_model = Array3::zeros((n_models, prompts, d));
        let blocks = design.blocked.then(|| Blocks::of(design));
        for from in (0..d).step_by(BLOCK) {
            let to = (from + BLOCK).min(d);
            let mut y = averages(design, rows.slice(s![.., from..to]), &mut residual, &mut spread);
            if let Some(blocks) = &blocks {
                blocks.take_out(design, &mut y);
                noise += blocks.noise(design, &y);
            }
            let width = to - from;
            let stretch = blocks.as_ref().map_or(1.0, |b| b.stretch);
            let pseudo = pseudo_values(design, y, stretch, &mut means.slice_mut(s![.., from..to]));
            // [prompt, cell * width], split into what roles, models and neither share.
            let flat = pseudo.into_shape_with_order((prompts, cells * width)).expect("the same number of values");
            let mut centred = flat;
            let mut roles = Array2::zeros((prompts, n_roles * width));
            let mut models = Array2::zeros((prompts, n_models * width));
            for p in 0..prompts {
                let mut row = centred.row_mut(p);
                let grand: Vec<f64> =
                    (0..width).map(|j| (0..cells).map(|c| row[c * width + j]).sum::<f64>() / cells as f64).collect();
                for c in 0..cells {
                    let (r, m) = (c / n_models, c % n_models);
                    for j in 0..width {
                        by_model[[m, p, from + j]] += row[c * width + j] / n_roles as f64;
                        row[c * width + j] -= grand[j];
                        roles[[p, r * width + j]] += row[c * width + j] / n_models as f64;
                        models[[p, m * width + j]] += row[c * width + j] / n_roles as f64;
                    }
                }
            }
            total += &centred.dot(&centred.t());
            persona += &roles.dot(&roles.t());
            model += &models.dot(&models.t());
        }
        total /= cells as f64;
        persona /= n_roles as f64;
        model /= n_models as f64;
        let mut interaction = &total - &persona - &model;
        if let Some(blocks) = &blocks {
            // The same for every pair of prompts: what least squares leave of the noise.
            for (part, left) in [&mut persona, &mut model, &mut interaction].into_iter().zip(blocks.left) {
                *part -= left * noise;
            }
        }
        Kernels { persona, model, interaction, residual, means, by_model, spread }
    }
}

/// Means of the rows of each cell and prompt, `[cell, prompt, width]`, with the grand mean taken off; the variance of rows in
/// their cells is added to `residual` and `spread`.
fn averages(design: &Design, rows: ArrayView2<f32>, residual: &mut [f64], spread: &mut Array2<f64>) -> Array3<f64> {
    let (cells, prompts, width) = (design.cells(), design.prompts, rows.ncols());
    let mut y = Array3::<f64>::zeros((cells, prompts, width));
    let mut within = Array2::<f64>::zeros((cells, prompts));
    for (c, by_prompt) in design.rows.iter().enumerate() {
        for (p, of) in by_prompt.iter().enumerate().filter(|(_, of)| !of.is_empty()) {
            let k = of.len() as f64;
            let mut mean = y.slice_mut(s![c, p, ..]);
            // Sorted, so that replies that changed places give the same sum.
            for j in 0..width {
                let mut values: Vec<f64> = of.iter().map(|r| f64::from(rows[[*r, j]])).collect();
                values.sort_by(f64::total_cmp);
                mean[j] = values.iter().sum::<f64>() / k;
                if of.len() > 1 {
                    let squares: f64 = values.iter().map(|v| (v - mean[j]).powi(2)).sum();
                    // A mean of k rows has lost (1 - 1/k) of what differs between them.
                    within[[c, p]] += squares / (k - 1.0) * (1.0 - 1.0 / k);
                }
            }
        }
    }
    let there = |c: usize, p: usize| !design.rows[c][p].is_empty();
    for c in 0..cells {
        let n = design.filled(c) as f64;
        let of: Vec<usize> = (0..prompts).filter(|p| there(c, *p)).collect();
        let mean = y.index_axis(Axis(0), c).select(Axis(0), &of).mean_axis(Axis(0)).expect("every cell has prompts");
        let mut own = vec![0.0; prompts];
        for &p in &of {
            let away: f64 = y.slice(s![c, p, ..]).iter().zip(&mean).map(|(a, b)| (a - b).powi(2)).sum();
            own[p] = away * n / (n - 1.0) + within[[c, p]];
        }
        let variance = own.iter().sum::<f64>() / n;
        // As for the means: what a prompt says about a cell that lacks it is what the others say.
        for p in 0..prompts {
            let says = if there(c, p) { variance + prompts as f64 / n * (own[p] - variance) } else { variance };
            spread[[c, p]] += says;
            residual[p] += says / cells as f64;
        }
    }
    let grand = cell_means(design, &y).mean_axis(Axis(0)).expect("there are cells");
    for c in 0..cells {
        for p in (0..prompts).filter(|p| there(c, *p)) {
            y.slice_mut(s![c, p, ..]).zip_mut_with(&grand, |v, g| *v -= g);
        }
    }
    y
}

pub(super) fn cell_means(design: &Design, y: &Array3<f64>) -> Array2<f64> {
    let mut means = y.sum_axis(Axis(1));
    for (c, mut mean) in means.axis_iter_mut(Axis(0)).enumerate() {
        let n = design.filled(c) as f64;
        mean.mapv_inplace(|v| v / n);
    }
    means
}

/// What each prompt says about each cell, `[prompt, cell, width]`, such that the mean over all prompts is the cell's mean and
/// the noise of that mean is that of the prompts which the cell has. A cell that lacks a prompt gets its mean there.
fn pseudo_values(
    design: &Design,
    mut y: Array3<f64>,
    stretch: f64,
    means: &mut ndarray::ArrayViewMut2<f64>,
) -> Array3<f64> {
    let (cells, prompts, width) = y.dim();
    let all = prompts as f64;
    means.assign(&cell_means(design, &y));
    let mut out = Array3::zeros((prompts, cells, width));
    for c in 0..cells {
        let n = design.filled(c) as f64;
        let scale = stretch * all / n * ((all - 1.0) * n / (all * (n - 1.0))).sqrt();
        for p in 0..prompts {
            let there = !design.rows[c][p].is_empty();
            let (from, mean) = (y.slice_mut(s![c, p, ..]), means.row(c));
            let mut to = out.slice_mut(s![p, c, ..]);
            for j in 0..width {
                to[j] = if there { mean[j] + scale * (from[j] - mean[j]) } else { mean[j] };
            }
        }
    }
    out
}
