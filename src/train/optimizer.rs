//! AdamW (Loshchilov and Hutter 2019), with moments that can be saved and a decay that spares vectors.

use crate::error::Result;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

/// Settings of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    pub betas: (f64, f64),
    pub eps: f64,
    /// Decoupled weight decay of matrices; norms and biases have none.
    pub weight_decay: f64,
    /// The largest norm of all gradients together.
    pub clip: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, clip: 1.0 }
    }
}

/// Values and moments of one trained tensor.
pub struct Slot {
    var: Var,
    pub value: Vec<f32>,
    /// Running mean of the gradient, and of its square.
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl Slot {
    pub fn new(var: &Var) -> Result<Slot> {
        let value: Vec<f32> = var.as_tensor().flatten_all()?.to_vec1()?;
        let n = value.len();
        Ok(Slot { var: var.clone(), value, first: vec![0.0; n], second: vec![0.0; n] })
    }

    /// Puts the values into the model.
    pub fn publish(&self) -> Result<()> {
        let shape = self.var.as_tensor().shape().clone();
        Ok(self.var.set(&Tensor::from_slice(&self.value, shape, self.var.as_tensor().device())?)?)
    }
}

impl AdamW {
    /// Step `step` (from 0) at rate `rate`. Gives the norm of all gradients before clipping.
    pub fn update(&self, slots: &mut [Slot], gradients: &[Vec<f32>], step: usize, rate: f64) -> Result<f64> {
        let squares = |g: &Vec<f32>| g.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
        let norm = gradients.iter().map(squares).sum::<f64>().sqrt();
        // The 1e-6 is PyTorch's, so that runs can be compared.
        let scale = (self.clip / (norm + 1e-6)).min(1.0) as f32;
        let t = (step + 1) as i32;
        let (b1, b2) = self.betas;
        let size = (rate / (1.0 - b1.powi(t))) as f32;
        let root = (1.0 - b2.powi(t)).sqrt() as f32;
        let (b1, b2, eps) = (b1 as f32, b2 as f32, self.eps as f32);
        for (slot, gradient) in slots.iter_mut().zip(gradients) {
            let decays = slot.var.as_tensor().rank() > 1;
            let keep = if decays { (1.0 - rate * self.weight_decay) as f32 } else { 1.0 };
            let moments = slot.first.iter_mut().zip(&mut slot.second);
            for ((value, (m, v)), g) in slot.value.iter_mut().zip(moments).zip(gradient) {
                let g = g * scale;
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                *value = *value * keep - size * *m / (v.sqrt() / root + eps);
            }
            slot.publish()?;
        }
        Ok(norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn two_steps_agree_with_the_formula_by_hand() {
        // One matrix entry of 1 and one vector entry of 1; gradients 0.3 and 0.4: their norm 0.5 is not clipped.
        let matrix = Var::from_vec(vec![1.0f32], (1, 1), &Device::Cpu).unwrap();
        let vector = Var::from_vec(vec![1.0f32], 1, &Device::Cpu).unwrap();
        let mut slots = [Slot::new(&matrix).unwrap(), Slot::new(&vector).unwrap()];
        let adam = AdamW { weight_decay: 0.1, ..AdamW::default() };
        let norm = adam.update(&mut slots, &[vec![0.3], vec![0.4]], 0, 0.1).unwrap();
        assert!((norm - 0.5).abs() < 1e-7);
        // First step: m / (1 - b1) = g and sqrt(v / (1 - b2)) = |g|, so the move is the rate: 1 * (1 - 0.01) - 0.1, and
        // 1 - 0.1 without decay.
        let value = |v: &Var| v.as_tensor().flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((value(&matrix) - 0.89).abs() < 1e-6, "{}", value(&matrix));
        assert!((value(&vector) - 0.9).abs() < 1e-6);
        // Second step with gradient 0 on both: m = 0.09 * g', with g' = 0.3: m/(1-0.81) = 0.027/0.19 = 0.142105;
        // v = 0.999 * 0.001 * 0.09 = 8.991e-5, /(1 - 0.998001) = 0.0449775, root 0.212079: move 0.1 * 0.670057.
        adam.update(&mut slots, &[vec![0.0], vec![0.0]], 1, 0.1).unwrap();
        assert!((f64::from(value(&matrix)) - (0.89 * 0.99 - 0.067_005_7)).abs() < 2e-6, "{}", value(&matrix));
    }

    #[test]
    fn gradients_beyond_the_clip_are_scaled_together() {
        let var = Var::from_vec(vec![0.0f32, 0.0], 2, &Device::Cpu).unwrap();
        let mut slots = [Slot::new(&var).unwrap()];
        let norm = AdamW::default().update(&mut slots, &[vec![30.0, 40.0]], 0, 1.0).unwrap();
        assert!((norm - 50.0).abs() < 1e-9);
        // Scaled by 1 / 50: 0.6 and 0.8, of which 0.1 goes into the first moment.
        assert!((slots[0].first[0] - 0.06).abs() < 1e-6 && (slots[0].first[1] - 0.08).abs() < 1e-6);
    }
}
