//! How likely a model finds the next token: head and softmax in one, a few hundred rows at a time, so that
//! `[row, d_vocab]` never exists as a whole. Where a gradient is wanted it is computed on the way, while the logits of
//! those rows are at hand.

use super::packed::Packed;
use super::products::{Matrix, MatrixMut, multiply, multiply_into};
use super::{Kernel, LANES, Real, by_type, fold_lanes, lane_sum, num::Float, read, tape, vectorised};
use candle_core::{CpuStorage, Result, Tensor};
use std::sync::Arc;

/// Rows whose logits exist at the same time.
const CHUNK: usize = 256;

/// The matrix behind the last norm.
#[derive(Clone, Copy, Debug)]
pub enum HeadWeight<'a> {
    /// `[d_model, d_vocab]`
    Own(&'a Tensor),
    /// `[d_vocab, d_model]`: the embedding.
    Tied(&'a Tensor),
    /// `[d_model, d_vocab]`, only run.
    Packed(&'a Packed),
}

impl<'a> HeadWeight<'a> {
    fn tensor(&self) -> Option<&'a Tensor> {
        match self {
            HeadWeight::Own(w) | HeadWeight::Tied(w) => Some(w),
            HeadWeight::Packed(_) => None,
        }
    }
}

/// The head as a loss takes it.
#[derive(Clone, Copy, Debug)]
pub struct CappedHead<'a> {
    pub weight: HeadWeight<'a>,
    /// Logits l are `cap * tanh(l / cap)`.
    pub cap: Option<f64>,
}

impl<'a> From<HeadWeight<'a>> for CappedHead<'a> {
    fn from(weight: HeadWeight<'a>) -> CappedHead<'a> {
        CappedHead { weight, cap: None }
    }
}

/// `sum over rows of weight * -ln p(target)`, a scalar, for `h [row, d_model]` and one target and weight per row.
///
/// Rows of weight 0 cost nothing. The sum is taken in f64.
pub fn cross_entropy<'a>(
    h: &Tensor,
    head: impl Into<CappedHead<'a>>,
    targets: Arc<Vec<u32>>,
    weights: Arc<Vec<f32>>,
) -> Result<Tensor> {
    let (h, head) = (h.contiguous()?, head.into());
    let w = head.weight.tensor();
    let wanted = [tape::is_wanted(&h), w.is_some_and(tape::is_wanted)];
    by_type!(h.dtype(), "cross_entropy", T => {
        let done = run::<T>(&h, head, &targets, Some(&weights), wanted)?;
        let loss = Tensor::new(T::of(done.loss), h.device())?;
        let Some(w) = w else { return Ok(loss) };
        let (h_shape, w_shape, device) = (h.shape().clone(), w.shape().clone(), h.device().clone());
        tape::push(&[&h, w], &loss, move |grad, _| {
            let seed: T = grad.to_scalar()?;
            let scaled = |mut all: Vec<T>, shape: candle_core::Shape| {
                if seed != T::ONE {
                    all.iter_mut().for_each(|v| *v *= seed);
                }
                Tensor::from_vec(all, shape, &device)
            };
            let dh = wanted[0].then(|| scaled(done.dh, h_shape)).transpose()?;
            Ok(vec![dh, wanted[1].then(|| scaled(done.dw, w_shape)).transpose()?])
        });
        Ok(loss)
    })
}

/// `-ln p(target)` of every row, in nats; no gradient.
pub fn nll<'a>(h: &Tensor, head: impl Into<CappedHead<'a>>, targets: &[u32]) -> Result<Vec<f32>> {
    let (h, head) = (h.contiguous()?, head.into());
    by_type!(h.dtype(), "nll", T => {
        let done = run::<T>(&h, head, targets, None, [false; 2])?;
        Ok(done.rows.into_iter().map(|v| v as f32).collect())
    })
}

struct Done<T> {
    loss: f64,
    /// Of every row; empty where weights are given.
    rows: Vec<f64>,
    dh: Vec<T>,
    dw: Vec<T>,
}

fn run<T: Real>(
    h: &Tensor,
    head: CappedHead<'_>,
    targets: &[u32],
    weights: Option<&[f32]>,
    wanted: [bool; 2],
) -> Result<Done<T>> {
    let (rows, d) = h.dims2()?;
    let tied = matches!(head.weight, HeadWeight::Tied(_));
    let w = head.weight.tensor().map(Tensor::contiguous).transpose()?;
    let (a, b) = match head.weight {
        HeadWeight::Own(w) | HeadWeight::Tied(w) => w.dims2()?,
        HeadWeight::Packed(_) if wanted != [false; 2] => {
            candle_core::bail!("cross_entropy: a packed head has no gradient; load the model to be trained or adapted")
        }
        HeadWeight::Packed(w) => (w.d_in(), w.d_out()),
    };
    let (width, vocab) = if tied { (b, a) } else { (a, b) };
    if width != d || targets.len() != rows || weights.is_some_and(|w| w.len() != rows) {
        candle_core::bail!("cross_entropy: rows [{rows}, {d}] for a head of {width} and {} targets", targets.len())
    }
    if let Some(t) = targets.iter().find(|t| **t as usize >= vocab) {
        candle_core::bail!("cross_entropy: target {t} is outside the vocabulary of {vocab}")
    }
    let counted: Vec<usize> = (0..rows).filter(|r| weights.is_none_or(|w| w[*r] != 0.0)).collect();
    let zeros = |want: bool, n: usize| vec![T::ZERO; if want { n } else { 0 }];
    let mut done = Done { loss: 0.0, rows: Vec::new(), dh: zeros(wanted[0], rows * d), dw: zeros(wanted[1], a * b) };
    read::<T, _>(h, |h| {
        read_some::<T, _>(w.as_ref(), |w| {
            for part in counted.chunks(CHUNK) {
                let mine: Vec<T> = part.iter().flat_map(|r| &h[r * d..(r + 1) * d]).copied().collect();
                let mut logits = match head.weight {
                    HeadWeight::Packed(w) => packed(mine.clone(), w)?,
                    _ => {
                        let stored = Matrix::new(w, a, b);
                        multiply(Matrix::new(&mine, part.len(), d), if tied { stored.t() } else { stored })
                    }
                };
                let mine = Matrix::new(&mine, part.len(), d);
                let mut capped = Vec::new();
                if let Some(cap) = head.cap {
                    vectorised(Cap { logits: &mut logits, cap: T::of(cap) });
                    capped.clone_from(&logits);
                }
                let of: Vec<(u32, T)> =
                    part.iter().map(|r| (targets[*r], weights.map_or(T::ONE, |w| T::of(w[*r].into())))).collect();
                let each = vectorised(Losses { logits: &mut logits, vocab, of: &of });
                match weights {
                    Some(_) => {
                        done.loss += each.iter().zip(&of).map(|(l, (_, w))| l.to_f64() * w.to_f64()).sum::<f64>()
                    }
                    None => done.rows.extend(each.iter().map(|l| l.to_f64())),
                }
                if let Some(cap) = head.cap {
                    // The slope of cap * tanh(l / cap) is 1 - (value / cap)^2.
                    let inv = T::of(1.0 / cap);
                    logits.iter_mut().zip(&capped).for_each(|(s, v)| *s *= T::ONE - (*v * inv) * (*v * inv));
                }
                let slopes = Matrix::new(&logits, part.len(), vocab);
                if wanted[0] {
                    let stored = Matrix::new(w, a, b);
                    let dh = multiply(slopes, if tied { stored } else { stored.t() });
                    for (r, row) in part.iter().zip(dh.chunks_exact(d)) {
                        done.dh[r * d..(r + 1) * d].copy_from_slice(row);
                    }
                }
                if wanted[1] {
                    match tied {
                        true => multiply_into(slopes.t(), mine, MatrixMut::new(&mut done.dw, a, b), true),
                        false => multiply_into(mine.t(), slopes, MatrixMut::new(&mut done.dw, a, b), true),
                    }
                }
            }
            Ok(())
        })
    })?;
    Ok(done)
}

/// Lends the elements of a tensor, or none.
fn read_some<T: Real, R>(x: Option<&Tensor>, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    match x {
        Some(x) => read(x, f),
        None => f(&[]),
    }
}

/// A packed product, which is in f32 alone.
fn packed<T: Real>(rows: Vec<T>, w: &Packed) -> Result<Vec<T>> {
    let CpuStorage::F32(rows) = T::to_cpu_storage_owned(rows) else { candle_core::bail!("a packed head takes f32") };
    let logits = CpuStorage::F32(w.multiply(&rows));
    Ok(T::cpu_storage_as_slice(&logits)?.to_vec())
}

/// Puts logits under a soft cap.
struct Cap<'a, T> {
    logits: &'a mut [T],
    cap: T,
}

impl<T: Real> Kernel for Cap<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) {
        let inv = T::ONE / self.cap;
        self.logits.iter_mut().for_each(|l| *l = self.cap * (*l * inv).tanh_fast());
    }
}

/// Turns logits into `weight * (p - [target])`, and gives `-ln p(target)` of every row.
struct Losses<'a, T> {
    logits: &'a mut [T],
    vocab: usize,
    of: &'a [(u32, T)],
}

impl<T: Real> Kernel for Losses<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let mut losses = Vec::with_capacity(self.of.len());
        for (row, (target, weight)) in self.logits.chunks_exact_mut(self.vocab).zip(self.of) {
            let mut top = [T::LOWEST; LANES];
            let chunks = row.chunks_exact(LANES);
            for (m, x) in top.iter_mut().zip(chunks.remainder()) {
                *m = m.larger(*x);
            }
            for c in chunks {
                for (m, x) in top.iter_mut().zip(c) {
                    *m = m.larger(*x);
                }
            }
            let top = fold_lanes(top, |a, b| a.larger(b));
            let at = row[*target as usize] - top;
            for x in row.iter_mut() {
                *x = (*x - top).exp_fast();
            }
            let sum = lane_sum(row, |v| v);
            losses.push(sum.natural_log() - at);
            let scale = *weight / sum;
            for x in row.iter_mut() {
                *x *= scale;
            }
            row[*target as usize] -= *weight;
        }
        losses
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::*;
    use candle_core::Device;

    fn task() -> (Arc<Vec<u32>>, Arc<Vec<f32>>) {
        (Arc::new(vec![1, 0, 4, 2]), Arc::new(vec![1.0, 0.0, 0.5, 2.0]))
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let (targets, weights) = task();
        let loss = |h: &Tensor, head: HeadWeight| cross_entropy(h, head, targets.clone(), weights.clone());
        let capped = |h: &Tensor, weight: HeadWeight| {
            cross_entropy(h, CappedHead { weight, cap: Some(0.7) }, targets.clone(), weights.clone())
        };
        check_gradients(&[&[4, 3], &[3, 5]], |x| capped(&x[0], HeadWeight::Own(&x[1])));
        check_gradients(&[&[4, 3], &[5, 3]], |x| capped(&x[0], HeadWeight::Tied(&x[1])));
        check_gradients(&[&[4, 3], &[3, 5]], |x| loss(&x[0], HeadWeight::Own(&x[1])));
        check_gradients(&[&[4, 3], &[5, 3]], |x| loss(&x[0], HeadWeight::Tied(&x[1])));
    }

    #[test]
    fn the_loss_is_the_weighted_sum_of_negative_log_probabilities() {
        let h = Tensor::from_vec(values(1, 12), (4, 3), &Device::Cpu).unwrap();
        let w = Tensor::from_vec(values(2, 15), (3, 5), &Device::Cpu).unwrap();
        let (targets, weights) = task();
        let logits = h.matmul(&w).unwrap().to_vec2::<f64>().unwrap();
        let want: Vec<f64> = logits
            .iter()
            .zip(targets.iter())
            .map(|(row, t)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[*t as usize])
            .collect();
        let got = nll(&h, HeadWeight::Own(&w), &targets).unwrap();
        assert!(got.iter().zip(&want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{got:?} for {want:?}");
        let total = cross_entropy(&h, HeadWeight::Own(&w), targets, weights).unwrap().to_scalar::<f64>().unwrap();
        assert!((total - (want[0] + 0.5 * want[2] + 2.0 * want[3])).abs() < 1e-12);
    }

    #[test]
    fn many_rows_are_cut_into_parts_that_change_nothing() {
        let n = CHUNK + 3;
        let h = Tensor::from_vec(values(3, n * 4), (n, 4), &Device::Cpu).unwrap();
        let w = Tensor::from_vec(values(4, 24), (6, 4), &Device::Cpu).unwrap();
        let targets: Vec<u32> = (0..n).map(|i| (i % 6) as u32).collect();
        let all = nll(&h, HeadWeight::Tied(&w), &targets).unwrap();
        let last = nll(&h.narrow(0, CHUNK, 3).unwrap(), HeadWeight::Tied(&w), &targets[CHUNK..]).unwrap();
        assert!(all[CHUNK..].iter().zip(&last).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(nll(&h, HeadWeight::Tied(&w), &vec![6; n]).is_err());
    }
}
