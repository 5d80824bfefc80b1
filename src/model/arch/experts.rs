//! A mixture of experts in place of an MLP.

use crate::error::{Error, Result};
use crate::model::Purpose;
use crate::model::kernels::{self, Act};
use crate::model::linear::Linear;
use crate::model::projection::Projection;
use crate::model::weights::Weights;
use candle_core::{DType, Tensor};

/// A mixture of experts (Shazeer et al. 2017): each row goes through the few that a router chooses.
///
/// Adapters do not reach experts, and no gradient goes through the choice.
pub struct Experts {
    router: Projection,
    /// Gate and up, and down, of each.
    experts: Vec<(Projection, Projection)>,
    act: Act,
    /// How many a row goes through.
    chosen: usize,
    /// Whether the weights of the chosen ones are made to sum to 1.
    normalise: bool,
}

/// The sizes of a mixture.
#[derive(Clone, Copy, Debug)]
pub struct Mixture {
    pub experts: usize,
    pub chosen: usize,
    pub d_expert: usize,
    pub normalise: bool,
    pub act: Act,
}

impl Experts {
    /// The mixture below `linear`, in which `mlp.gate` is the router and `mlp.experts.E` the experts.
    ///
    /// # Errors
    /// Weights that are missing; a model that is to be trained.
    pub fn read(weights: &mut Weights, linear: &Linear, m: Mixture) -> Result<Experts> {
        if weights.purpose() != Purpose::Run {
            let hint = "train a model without experts, or adapters made elsewhere";
            return Err(Error::refused("training does not reach through a mixture of experts", hint));
        }
        let d = linear.d_in;
        let router = weights.linear(&linear.of(d, &[("mlp.gate", m.experts)]))?;
        let mut experts = Vec::new();
        for e in 0..m.experts {
            let path = |name: &str| format!("mlp.experts.{e}.{name}");
            let (gate, up, down) = (path("gate_proj"), path("up_proj"), path("down_proj"));
            let gate_up = weights.linear(&linear.of(d, &[(&gate, m.d_expert), (&up, m.d_expert)]))?;
            experts.push((gate_up, weights.linear(&linear.of(m.d_expert, &[(&down, d)]))?));
        }
        Ok(Experts { router, experts, act: m.act, chosen: m.chosen, normalise: m.normalise })
    }

    /// `x [row, d_model]` to the same shape.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let logits = self.router.apply(x)?;
        let logits = logits.to_dtype(DType::F32)?.to_vec2()?;
        let routes: Vec<_> = logits.iter().map(|l| route(l, self.chosen, self.normalise)).collect();
        let mut sum = x.zeros_like()?;
        // In the order of the experts, so that a row's sum does not depend on the rows beside it.
        for (e, (gate_up, down)) in self.experts.iter().enumerate() {
            let (rows, shares): (Vec<u32>, Vec<f32>) = routes
                .iter()
                .enumerate()
                .filter_map(|(row, chosen)| chosen.iter().find(|(c, _)| *c == e).map(|(_, w)| (row as u32, *w)))
                .unzip();
            if rows.is_empty() {
                continue;
            }
            let n = rows.len();
            let rows = Tensor::from_vec(rows, n, x.device())?;
            let shares = Tensor::from_vec(shares, (n, 1), x.device())?.to_dtype(x.dtype())?;
            let h = kernels::gated(&gate_up.apply(&x.index_select(&rows, 0)?)?, self.act)?;
            sum = sum.index_add(&rows, &down.apply(&h)?.broadcast_mul(&shares)?, 0)?;
        }
        Ok(sum)
    }
}

/// The experts of one row with their shares: the `chosen` most likely ones, ties to the lower index.
fn route(logits: &[f32], chosen: usize, normalise: bool) -> Vec<(usize, f32)> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares: Vec<(usize, f32)> = logits.iter().map(|l| (l - top).exp()).enumerate().collect();
    let sum: f32 = shares.iter().map(|(_, e)| e).sum();
    shares.iter_mut().for_each(|(_, e)| *e /= sum);
    shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    shares.truncate(chosen);
    if normalise {
        let sum: f32 = shares.iter().map(|(_, share)| share).sum();
        shares.iter_mut().for_each(|(_, share)| *share /= sum);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn a_row_goes_to_the_likeliest_experts_with_their_shares() {
        // Shares are 1/8, 4/8, 1/8, 2/8.
        let logits = [0.0, 4f32.ln(), 0.0, 2f32.ln()];
        let near = |got: &[(usize, f32)], want: &[(usize, f32)]| {
            assert!(
                got.len() == want.len() && got.iter().zip(want).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6),
                "{got:?}"
            );
        };
        near(&route(&logits, 2, false), &[(1, 0.5), (3, 0.25)]);
        near(&route(&logits, 2, true), &[(1, 2.0 / 3.0), (3, 1.0 / 3.0)]);
        // Two experts are equal: the first of them goes first.
        near(&route(&logits, 3, false), &[(1, 0.5), (3, 0.25), (0, 0.125)]);
    }
}
