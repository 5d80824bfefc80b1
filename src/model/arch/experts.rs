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
/// Adapters do not reach experts; gradients go through them.
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
        if weights.purpose() == Purpose::Train {
            let hint = "train an adapter: it reaches attention, and its gradient goes through the experts";
            return Err(Error::refused("a mixture of experts is not trained as a whole", hint));
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
        let logits = self.router.apply(x)?.to_dtype(DType::F32)?;
        let routing = kernels::route(&logits, self.chosen, self.normalise)?;
        let (mut answers, mut slots) = (Vec::new(), Vec::new());
        for ((gate_up, down), own) in self.experts.iter().zip(routing.slots(self.experts.len())) {
            if own.is_empty() {
                continue;
            }
            let rows = kernels::gather(x, &own, self.chosen)?;
            answers.push(down.apply(&kernels::gated(&gate_up.apply(&rows)?, self.act)?)?);
            slots.push(own);
        }
        Ok(kernels::combine(&answers, &slots, &routing.weights.to_dtype(x.dtype())?)?)
    }
}
