//! The gradient of one batch: shards in parallel, their gradients added in order.

use super::Sequences;
use crate::error::{Error, Result};
use crate::model::Adapter;
use crate::model::{Example, Head, Hooks, Lm, Rows, forward, kernels};
use crate::unit::parallel;
use candle_core::{Tensor, Var};
use std::sync::Arc;

/// What a batch gives.
pub struct Gradient {
    /// Mean negative log-likelihood of the counted tokens, in nats.
    pub loss: f64,
    /// One per trained tensor, in their order.
    pub values: Vec<Vec<f32>>,
}

/// The rows of some sequences with what each is to predict: row t the token t + 1, weighed 1 where that counts.
pub fn rows_and_targets(
    data: &Sequences,
    members: &[usize],
    adapter: Option<usize>,
) -> (Rows, Arc<Vec<u32>>, Arc<Vec<f32>>) {
    let (mut targets, mut weights) = (Vec::new(), Vec::new());
    let rows = Rows::pack(members.iter().enumerate().map(|(index, i)| {
        let (tokens, counted) = data.get(*i);
        targets.extend_from_slice(&tokens[1..]);
        targets.push(0);
        weights.extend(counted[1..].iter().map(|c| f32::from(u8::from(*c))));
        weights.push(0.0);
        let example = Example { index, rows: 0..0, first_pos: 0, prompt_len: tokens.len(), adapter, edits: Vec::new() };
        (example, tokens.to_vec())
    }));
    (rows, Arc::new(targets), Arc::new(weights))
}

/// Loss and gradients of a batch that is cut into `shards`. Threads change no bit of it.
///
/// # Errors
/// Failures of the model; a tensor of `vars` that no gradient reaches; a loss that is not finite.
pub fn gradient(
    lm: &dyn Lm,
    adapter: Option<&Adapter>,
    vars: &[Var],
    data: &Sequences,
    shards: &[Vec<usize>],
    threads: usize,
) -> Result<Gradient> {
    let count = |i: &usize| data.get(*i).1.iter().filter(|c| **c).count();
    let counted = shards.iter().flatten().map(count).sum::<usize>() as f64;
    let one = |members: &Vec<usize>| -> Result<(f64, Vec<Vec<f32>>)> {
        let (rows, targets, weights) = rows_and_targets(data, members, adapter.map(|_| 0));
        let mut hooks = Hooks::default().adapters(adapter.map(std::slice::from_ref).unwrap_or_default());
        let (sum, tape) = kernels::tape::record(|| -> Result<Tensor> {
            let (normed, _) = forward(lm, &rows, &mut hooks, None, Head::Normed)?;
            let normed = normed.ok_or_else(|| Error::refused("the pass gave no hidden states", ""))?;
            Ok(kernels::cross_entropy(&normed, lm.unembedding().kernel(), targets, weights)?)
        })?;
        let loss = f64::from(sum.to_scalar::<f32>()?);
        let mut grads = tape.backward(&sum, Tensor::new((1.0 / counted) as f32, sum.device())?)?;
        let flat = |var: &Var| -> Result<Vec<f32>> {
            let grad = grads.take(var.as_tensor()).ok_or_else(|| {
                Error::refused(
                    format!("no gradient reaches a trained tensor of shape {:?}", var.as_tensor().dims()),
                    "this is a defect of personascope; please report it with the command that led here",
                )
            })?;
            Ok(grad.flatten_all()?.to_vec1::<f32>()?)
        };
        Ok((loss, vars.iter().map(flat).collect::<Result<_>>()?))
    };

    let (mut loss, mut values) = (0.0, Vec::<Vec<f32>>::new());
    for (l, g) in parallel(shards, threads, one)? {
        loss += l;
        if values.is_empty() {
            values = g;
        } else {
            for (sum, g) in values.iter_mut().zip(g) {
                sum.iter_mut().zip(g).for_each(|(s, g)| *s += g);
            }
        }
    }
    let loss = loss / counted;
    if !loss.is_finite() {
        return Err(Error::refused(
            format!("the loss is {loss}: training has come apart"),
            "lower the learning rate; the last checkpoint is kept",
        ));
    }
    Ok(Gradient { loss, values })
}
