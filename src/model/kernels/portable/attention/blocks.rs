//! The arithmetic: blocks of queries over padded keys and values.

use super::super::super::Attention;
use super::super::wide;
use super::SCORE_BYTES;
use candle_core::{Device, Result, Tensor};
use std::ops::Range;

/// What hides a key: more than any score, and small enough for a float after it was multiplied by a distance.
pub const HIDDEN: f64 = -1e30;

/// Queries that are answered together at most: with more, a causal block would score many keys that none of it sees.
const MOST_QUERIES: usize = 512;

/// Cuts `queries` of each of `n` examples over `keys` keys into blocks whose scores stay within the bound.
pub fn blocks(spec: &Attention, n: usize, queries: usize, keys: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let bytes_of_one = n * spec.n_heads * keys.max(1) * 4;
    let most = (SCORE_BYTES / bytes_of_one.max(1)).clamp(1, MOST_QUERIES);
    (0..queries).step_by(most).map(move |from| from..queries.min(from + most))
}

/// Gives `[n, n_kv, group, queries, d]` for `q` of that shape, over `k` and `v [n * n_kv, key, d]`.
///
/// `visible` says of a block of queries which keys it may see and what is added to their scores
/// (`[n or 1, 1, queries, keys]`).
pub fn answer(
    spec: &Attention,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mut visible: impl FnMut(&Range<usize>) -> Result<(Range<usize>, Tensor)>,
) -> Result<Tensor> {
    let (n, n_kv, group, queries, d) = q.dims5()?;
    let mut answers = Vec::new();
    for block in blocks(spec, n, queries, k.dim(1)?) {
        let (keys, mask) = visible(&block)?;
        let rows = group * block.len();
        let of_block = |x: &Tensor| x.narrow(1, keys.start, keys.len());
        let q = q.narrow(3, block.start, block.len())?.contiguous()?.reshape((n * n_kv, rows, d))?;
        let scores = (wide(&q.matmul(&of_block(k)?.t()?)?)? * spec.scale)?;
        let scores = match spec.softcap {
            Some(cap) => ((scores / cap)?.tanh()? * cap)?,
            None => scores,
        };
        let scores = scores.reshape((n, spec.n_heads, block.len(), keys.len()))?.broadcast_add(&mask)?;
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
        let mixed = weights.reshape((n * n_kv, rows, keys.len()))?.matmul(&of_block(v)?)?;
        answers.push(mixed.reshape((n, n_kv, group, block.len(), d))?);
    }
    if answers.len() == 1 { Ok(answers.remove(0)) } else { Tensor::cat(&answers, 3) }
}

/// The mask of queries at the positions `queries` (one list for all examples, or one for each) over the keys at `keys`.
pub fn causal(window: Option<usize>, queries: &[Vec<usize>], keys: &Range<usize>, device: &Device) -> Result<Tensor> {
    let (n, len) = (queries.len(), queries.first().map_or(0, Vec::len));
    let at: Vec<f32> = queries.iter().flatten().map(|p| *p as f32).collect();
    let key = Tensor::arange(keys.start as f32, keys.end as f32, device)?.reshape((1, 1, 1, keys.len()))?;
    let distance = Tensor::from_vec(at, (n, 1, len, 1), device)?.broadcast_sub(&key)?;
    // 0 where it may be seen, and below where not: no branch, and whole numbers are exact.
    let late = distance.neg()?.relu()?;
    let hidden = match window {
        Some(window) => (late + (distance - (window as f64 - 1.0))?.relu()?)?,
        None => late,
    };
    hidden * HIDDEN
}

/// The heads of `x [n * rows, width]` from the `first` on, `[n, heads, rows, d]` in one piece.
pub fn heads(x: &Tensor, n: usize, first: usize, heads: usize, d: usize) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let all = x.contiguous()?.reshape((n, rows / n.max(1), width / d, d))?;
    all.narrow(2, first, heads)?.transpose(1, 2)?.contiguous()
}

/// [`answer`]'s result as rows, `[n * queries, n_heads * d]`.
pub fn as_rows(answers: &Tensor) -> Result<Tensor> {
    let (n, n_kv, group, queries, d) = answers.dims5()?;
    answers.permute((0, 3, 1, 2, 4))?.contiguous()?.reshape((n * queries, n_kv * group * d))
}
