//! Causal grouped-query attention over packed rows (Vaswani et al. 2017; Ainslie et al. 2023).
//!
//! The rows of one example stand together; nothing is padded. Keys and values of a group are read once for all its
//! query heads and never copied per head. Only the scores of a few queries exist at a time, so memory is linear in
//! the length of the context. With a cache or without, a row gets the same bits.

mod back;
mod cached;
mod products;
mod softmax;
mod whole;

pub use cached::{HeadCache, attend_cached};

use super::{Real, by_dtype, num, slice, storage, tape, team, vectorised};
use back::gradient;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use whole::{Scratch, Whole};

/// One attention layer: its sizes and what becomes of a score.
///
/// The score of query i and key j is `q . k * scale`, then `cap * tanh(score / cap)` where there is a cap. A query at
/// position i sees the keys j with `j <= i`, and with a window those with `i - j < window`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub d_head: usize,
    pub scale: f64,
    pub softcap: Option<f64>,
    pub window: Option<usize>,
}

impl Attention {
    /// Scores divided by `sqrt(d_head)`, no cap, no window.
    pub fn new(n_heads: usize, n_kv_heads: usize, d_head: usize) -> Attention {
        let scale = 1.0 / (d_head as f64).sqrt();
        Attention { n_heads, n_kv_heads, d_head, scale, softcap: None, window: None }
    }

    /// Columns of the fused input: all query heads, then key heads, then value heads.
    pub fn width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.d_head
    }

    /// Query heads that share a key/value head.
    fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// The keys that the query at a position sees.
    fn sees(&self, position: usize) -> Range<usize> {
        let end = position + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    fn cap<T: Real>(&self) -> Option<T> {
        self.softcap.map(T::of)
    }
}

/// Attention of packed rows among themselves: `qkv [row, width]` to `[row, n_heads * d_head]`.
///
/// `examples` are the row ranges of the sequences; every one starts at its own position 0. With `asking`, a range of
/// rows within each example, only these are answered, and they are the rows of the result; that has no gradient.
pub fn attend(
    qkv: &Tensor,
    spec: Attention,
    examples: &Arc<Vec<Range<usize>>>,
    asking: Option<&Arc<Vec<Range<usize>>>>,
) -> Result<Tensor> {
    let x = qkv.contiguous()?;
    let y = x.apply_op1_no_bwd(&Attend { spec, examples: examples.clone(), asking: asking.cloned() })?;
    if tape::is_wanted(&x) && asking.is_some() {
        candle_core::bail!("attend: a gradient needs the answers of all rows")
    }
    let (input, examples) = (x.clone(), examples.clone());
    tape::push(&[&x], &y, move |grad, _| Ok(vec![Some(gradient(&input, spec, &examples, grad)?)]));
    Ok(y)
}

fn check(shape: &Shape, spec: Attention) -> Result<(usize, usize)> {
    let (rows, width) = shape.dims2()?;
    if width != spec.width() {
        candle_core::bail!("attend: rows of {width} for {spec:?}")
    }
    if spec.window == Some(0) || spec.softcap.is_some_and(|cap| cap <= 0.0) {
        candle_core::bail!("attend: a window needs a key and a cap must be positive: {spec:?}")
    }
    Ok((rows, width))
}

struct Attend {
    spec: Attention,
    examples: Arc<Vec<Range<usize>>>,
    asking: Option<Arc<Vec<Range<usize>>>>,
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (spec, (_, width)) = (self.spec, check(l.shape(), self.spec)?);
        let (asking, d_out) = (self.asking.as_ref().unwrap_or(&self.examples), spec.n_heads * spec.d_head);
        let answers: usize = asking.iter().map(Range::len).sum();
        by_dtype!(x, "attend", T => {
            let x = slice::<T>(x, l, "attend")?;
            let mut out = vec![<T as num::Float>::ZERO; answers * d_out];
            let (mut rest, mut each) = (&mut out[..], Vec::new());
            for (range, asking) in self.examples.iter().zip(asking.iter()) {
                let (out, behind) = rest.split_at_mut(asking.len() * d_out);
                rest = behind;
                let queries = asking.start - range.start..asking.end - range.start;
                each.push(Mutex::new((&x[range.start * width..range.end * width], queries, out)));
            }
            team::each(each.len(), &|i| {
                let (rows, queries, out) = &mut *each[i].lock().unwrap_or_else(|e| e.into_inner());
                let scratch = &mut Scratch::default();
                for kv in 0..spec.n_kv_heads {
                    vectorised(Whole::<T> { spec, kv, rows, queries: queries.clone(), out, scratch });
                }
            });
            Ok(storage(out, (answers, d_out)))
        })
    }
}

#[cfg(test)]
mod tests;
