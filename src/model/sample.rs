//! Choosing the next token.

use crate::error::{Error, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How a token is drawn from its logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the largest logit.
    pub temperature: f64,
    /// Only the most likely tokens that together have this probability; 1 takes all.
    pub top_p: f64,
}

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_p: 1.0 };

    /// Checked settings.
    ///
    /// # Errors
    /// A negative temperature, or a `top_p` outside (0, 1].
    pub fn new(temperature: f64, top_p: f64) -> Result<Sampling> {
        if !(temperature >= 0.0 && temperature.is_finite()) {
            return Err(Error::refused(
                format!("temperature {temperature} is not >= 0"),
                "0 is greedy, 1 is the model's own distribution",
            ));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::refused(format!("top-p {top_p} is not in (0, 1]"), "1 keeps every token"));
        }
        Ok(Sampling { temperature, top_p })
    }

    /// Draws a token. Ties of the largest logit go to the lowest id. Probabilities are summed in f64.
    pub fn draw(&self, logits: &[f32], rng: &mut ChaCha8Rng) -> u32 {
        let best = (0..logits.len()).fold(0, |b, i| if logits[i] > logits[b] { i } else { b });
        if self.temperature == 0.0 {
            return best as u32;
        }
        let top = f64::from(logits[best]);
        let mut weights: Vec<f64> = logits.iter().map(|l| ((f64::from(*l) - top) / self.temperature).exp()).collect();
        if self.top_p < 1.0 {
            // Weights are at least 0, so that their bits are in their order; a heap, because few are taken of many.
            let by_weight = weights.iter().enumerate().map(|(i, w)| (w.to_bits(), Reverse(i)));
            let mut heap: BinaryHeap<(u64, Reverse<usize>)> = by_weight.collect();
            let (total, mut sum) = (weights.iter().sum::<f64>(), 0.0);
            let mut kept = vec![0.0; weights.len()];
            while sum < self.top_p * total {
                let Some((_, Reverse(i))) = heap.pop() else { break };
                sum += weights[i];
                kept[i] = weights[i];
            }
            weights = kept;
        }
        let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
        let mut last = best;
        for (i, w) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            last = i;
            left -= w;
            if left < 0.0 {
                break;
            }
        }
        last as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Sampling;
    use crate::rng::stream;

    #[test]
    fn draws_follow_the_softmax() {
        // Weights 1 : 2 : 1 at temperature 1.
        let logits = [0.0f32, 2.0f32.ln(), 0.0];
        let mut rng = stream(1, "draws");
        let n = 20_000;
        let hits = (0..n).filter(|_| Sampling { temperature: 1.0, top_p: 1.0 }.draw(&logits, &mut rng) == 1).count();
        // 0.5 +- 4 sigma, sigma = sqrt(0.25 / 20000) = 0.0035.
        assert!((hits as f64 / n as f64 - 0.5).abs() < 0.0142, "{hits}");
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_it() {
        let logits = [4.0f32.ln(), 3.0f32.ln(), 2.0f32.ln(), 0.0]; // 0.4 0.3 0.2 0.1
        let mut rng = stream(2, "draws");
        let mut seen = [0; 4];
        (0..2000).for_each(|_| seen[Sampling { temperature: 1.0, top_p: 0.6 }.draw(&logits, &mut rng) as usize] += 1);
        assert!(seen[0] > 0 && seen[1] > 0 && seen[2] == 0 && seen[3] == 0, "{seen:?}");
    }

    #[test]
    fn greedy_takes_the_first_of_equals_and_bad_settings_are_refused() {
        assert_eq!(Sampling::GREEDY.draw(&[1.0, 3.0, 3.0], &mut stream(0, "x")), 1);
        assert!(Sampling::new(-1.0, 1.0).is_err() && Sampling::new(f64::NAN, 1.0).is_err());
        assert!(Sampling::new(1.0, 0.0).is_err() && Sampling::new(1.0, 1.5).is_err());
    }
}
