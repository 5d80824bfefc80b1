//! How likely a model finds the next token.

use super::super::CappedHead;
use super::super::HeadWeight;
use super::{linear, softcap, to_host, wide};
use candle_core::{Result, Tensor};

/// Rows whose logits exist at the same time.
const CHUNK: usize = 256;

/// `-ln p(target)` of every row of `h [row, d_model]`, in nats.
pub fn nll(h: &Tensor, head: CappedHead<'_>, targets: &[u32]) -> Result<Vec<f32>> {
    let weight = match head.weight {
        HeadWeight::Own(w) => w.clone(),
        HeadWeight::Tied(w) => w.t()?,
        HeadWeight::Packed(_) => candle_core::bail!("nll: a packed head is for the CPU's own kernels"),
    };
    let (rows, d_vocab) = (h.dim(0)?, weight.dim(1)?);
    if rows != targets.len() {
        candle_core::bail!("nll: {rows} rows and {} targets", targets.len())
    }
    if let Some(target) = targets.iter().find(|t| **t as usize >= d_vocab) {
        candle_core::bail!("nll: target {target} is beyond a vocabulary of {d_vocab}")
    }
    let mut all = Vec::with_capacity(rows);
    for (i, targets) in targets.chunks(CHUNK).enumerate() {
        let logits = wide(&linear(&h.narrow(0, i * CHUNK, targets.len())?, &weight)?)?;
        let logits = head.cap.map_or_else(|| Ok(logits.clone()), |cap| softcap(&logits, cap))?;
        let index = Tensor::from_slice(targets, (targets.len(), 1), h.device())?;
        let largest = logits.max_keepdim(1)?;
        let sum = logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?.log()?;
        all.extend(to_host(&((sum + largest)? - logits.gather(&index, 1)?)?)?);
    }
    Ok(all)
}
