//! A mixture of experts (Shazeer et al. 2017; Fedus et al. 2022): a router sends each row to a few of many MLPs and
//! weighs their answers.
//!
//! A *slot* is one row's place with one expert: slot `row * k + rank`, ranks by descending weight. Experts answer the
//! rows that come to them ([`gather`]), and [`combine`] adds the answers of a row in the order of the experts, so that
//! a row does not depend on the rows beside it.

use super::{Kernel, LANES, Real, by_type, fold_lanes, lane_sum, num, read, tape, vectorised};
use candle_core::{Device, Result, Tensor};

/// Where every row goes.
#[derive(Clone, Debug)]
pub struct Routing {
    /// `[row * k]`: the expert of every slot.
    pub experts: Vec<u32>,
    /// `[row, k]`: what its answer is multiplied by.
    pub weights: Tensor,
}

impl Routing {
    /// The slots of each of `n_experts` experts, ascending.
    ///
    /// # Panics
    /// If a slot belongs to an expert beyond them.
    pub fn slots(&self, n_experts: usize) -> Vec<Vec<usize>> {
        let mut slots = vec![Vec::new(); n_experts];
        self.experts.iter().enumerate().for_each(|(slot, e)| slots[*e as usize].push(slot));
        slots
    }
}

/// The `k` experts of the largest probability, by a softmax over all of `logits [row, n_experts]`, and these
/// probabilities; with `normalise` they are divided by their sum. Of equal ones the expert of the lower index wins.
///
/// # Errors
/// More experts wanted than there are; logits that are not numbers.
pub fn route(logits: &Tensor, k: usize, normalise: bool) -> Result<Routing> {
    let (rows, n_experts) = logits.dims2()?;
    if k == 0 || k > n_experts {
        candle_core::bail!("route: {k} of {n_experts} experts")
    }
    let z = logits.to_device(&Device::Cpu)?.contiguous()?;
    by_type!(z.dtype(), "route", T => {
        let p = read::<T, _>(&z, |z| Ok(vectorised(Softmax { z, n: n_experts })))?;
        let mut experts = Vec::with_capacity(rows * k);
        let mut weights = Vec::with_capacity(rows * k);
        for (row, p) in p.chunks_exact(n_experts).enumerate() {
            let first = experts.len();
            for _ in 0..k {
                let free = (0..n_experts).filter(|e| !experts[first..].contains(&(*e as u32)));
                let Some(best) = free.reduce(|best, e| if p[e] > p[best] { e } else { best }) else { break };
                experts.push(best as u32);
                weights.push(p[best]);
            }
            let sum = weights[first..].iter().fold(<T as num::Float>::ZERO, |sum, w| sum + *w);
            if sum.is_nan() {
                candle_core::bail!("route: the logits of row {row} are not numbers")
            }
            if normalise {
                weights[first..].iter_mut().for_each(|w| *w /= sum);
            }
        }
        let weights = Tensor::from_vec(weights, (rows, k), logits.device())?;
        let (held, chosen) = (weights.clone(), experts.clone());
        tape::push(&[logits], &weights, move |grad, _| {
            let (grad, mut dz) = (grad.contiguous()?, vec![<T as num::Float>::ZERO; rows * n_experts]);
            read::<T, _>(&held, |w| read::<T, _>(&grad, |grad| {
                back(Chosen { experts: &chosen, w, grad, k }, (!normalise).then_some(&p[..]), &mut dz, n_experts);
                Ok(())
            }))?;
            Ok(vec![Some(Tensor::from_vec(dz, (rows, n_experts), held.device())?)])
        });
        Ok(Routing { experts, weights })
    })
}

/// The slots of all rows, with their weights and the gradients of these.
struct Chosen<'a, T> {
    experts: &'a [u32],
    w: &'a [T],
    grad: &'a [T],
    k: usize,
}

/// The gradient of the logits. Normalised weights are a softmax over the chosen logits alone; others have `p`, that over
/// all: dz = [chosen] w grad - p sum(w grad), with w in the place of p where there is none.
fn back<T: Real>(chosen: Chosen<'_, T>, p: Option<&[T]>, dz: &mut [T], n_experts: usize) {
    let Chosen { experts, w, grad, k } = chosen;
    let rows = experts.chunks_exact(k).zip(w.chunks_exact(k)).zip(grad.chunks_exact(k));
    for (row, (((experts, w), grad), dz)) in rows.zip(dz.chunks_exact_mut(n_experts)).enumerate() {
        let along = w.iter().zip(grad).fold(T::ZERO, |sum, (w, g)| sum + *w * *g);
        if let Some(p) = p {
            let p = &p[row * n_experts..][..n_experts];
            dz.iter_mut().zip(p).for_each(|(dz, p)| *dz = -*p * along);
        }
        for ((e, w), g) in experts.iter().zip(w).zip(grad) {
            let level = if p.is_some() { T::ZERO } else { along };
            dz[*e as usize] += *w * (*g - level);
        }
    }
}

struct Softmax<'a, T> {
    z: &'a [T],
    n: usize,
}

impl<T: Real> Kernel for Softmax<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let mut out = self.z.to_vec();
        for row in out.chunks_exact_mut(self.n) {
            let mut top = [T::LOWEST; LANES];
            for chunk in row.chunks(LANES) {
                for (m, x) in top.iter_mut().zip(chunk) {
                    *m = m.larger(*x);
                }
            }
            let top = fold_lanes(top, |a, b| a.larger(b));
            for x in row.iter_mut() {
                *x = (*x - top).exp_fast();
            }
            let inv = T::ONE / lane_sum(row, |v| v);
            for x in row.iter_mut() {
                *x *= inv;
            }
        }
        out
    }
}

/// The rows of `x [row, d]` that stand in some slots: `[slot, d]`, with `k` slots a row.
pub fn gather(x: &Tensor, slots: &[usize], k: usize) -> Result<Tensor> {
    let index = rows_of(slots, k, x.device())?;
    let y = x.index_select(&index, 0)?;
    let shape = x.shape().clone();
    tape::push(&[x], &y, move |grad, _| {
        Ok(vec![Some(Tensor::zeros(&shape, grad.dtype(), grad.device())?.index_add(&index, grad, 0)?)])
    });
    Ok(y)
}

fn rows_of(slots: &[usize], k: usize, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(slots.iter().map(|s| (s / k) as u32).collect(), slots.len(), device)
}

/// Adds up what the experts answered: `[row, d]` from `answers[e] [slots[e], d]`, each multiplied by the weight of its
/// slot in `weights [row, k]`. A row's answers are added in the order in which the experts are given.
///
/// # Errors
/// Answers that are as many as their slots neither in experts nor in rows.
pub fn combine(answers: &[Tensor], slots: &[Vec<usize>], weights: &Tensor) -> Result<Tensor> {
    let ((rows, k), d) = (weights.dims2()?, answers.first().map_or(Ok(0), |a| a.dim(1))?);
    let fits = |(a, s): (&Tensor, &Vec<usize>)| a.dims() == [s.len(), d] && s.iter().all(|s| *s < rows * k);
    if answers.len() != slots.len() || !answers.iter().zip(slots).all(fits) {
        candle_core::bail!("combine: answers of {} experts do not fit the slots of {}", answers.len(), slots.len())
    }
    let answers = answers.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let weights = weights.contiguous()?;
    let y = by_type!(weights.dtype(), "combine", T => {
        let mut out = vec![<T as num::Float>::ZERO; rows * d];
        read::<T, _>(&weights, |w| {
            answers.iter().zip(slots).try_for_each(|(a, slots)| {
                read::<T, _>(a, |a| { vectorised(AddWeighted { a, slots, w, k, d, out: &mut out }); Ok(()) })
            })
        })?;
        Tensor::from_vec(out, (rows, d), weights.device())?
    });
    let (held, slots, w) = (answers.clone(), slots.to_vec(), weights.clone());
    let inputs: Vec<&Tensor> = answers.iter().chain([&weights]).collect();
    tape::push(&inputs, &y, move |grad, wanted| {
        let mut grads = Vec::with_capacity(wanted.len());
        let mut dw = Tensor::zeros(rows * k, w.dtype(), w.device())?;
        for ((a, slots), wanted_here) in held.iter().zip(&slots).zip(wanted) {
            if slots.is_empty() {
                grads.push(None);
                continue;
            }
            let own = grad.index_select(&rows_of(slots, k, grad.device())?, 0)?;
            grads.push(wanted_here.then(|| own.broadcast_mul(&of_slots(&w, slots)?)).transpose()?);
            if wanted[held.len()] {
                dw = dw.index_add(&rows_of(slots, 1, grad.device())?, &(own * a)?.sum(1)?, 0)?;
            }
        }
        grads.push(wanted[held.len()].then(|| dw.reshape((rows, k))).transpose()?);
        Ok(grads)
    });
    Ok(y)
}

/// The weights of some slots, `[slot, 1]`.
fn of_slots(weights: &Tensor, slots: &[usize]) -> Result<Tensor> {
    weights.flatten_all()?.index_select(&rows_of(slots, 1, weights.device())?, 0)?.unsqueeze(1)
}

struct AddWeighted<'a, T> {
    /// `[slot, d]`
    a: &'a [T],
    slots: &'a [usize],
    /// Of all slots.
    w: &'a [T],
    k: usize,
    d: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel for AddWeighted<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) {
        let AddWeighted { a, slots, w, k, d, out } = self;
        for (a, slot) in a.chunks_exact(d.max(1)).zip(slots) {
            let weight = w[*slot];
            for (out, a) in out[slot / k * d..][..d].iter_mut().zip(a) {
                *out = a.fma(weight, *out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
