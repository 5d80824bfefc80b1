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

use super::{Real, by_dtype, num, slice, storage, tape, vectorised};
use back::gradient;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;
use whole::{Scratch, Whole};

/// The sizes of one attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub d_head: usize,
}

impl Attention {
    /// Columns of the fused input: all query heads, then key heads, then value heads.
    pub fn width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.d_head
    }

    fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.d_head as f64).sqrt())
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
            let (mut rest, mut scratch) = (&mut out[..], Scratch::default());
            for (range, asking) in self.examples.iter().zip(asking.iter()) {
                let (out, behind) = rest.split_at_mut(asking.len() * d_out);
                rest = behind;
                let (rows, queries) = (&x[range.start * width..range.end * width], asking.start - range.start..asking.end - range.start);
                for kv in 0..spec.n_kv_heads {
                    let (queries, out, scratch) = (queries.clone(), &mut *out, &mut scratch);
                    vectorised(Whole::<T> { spec, kv, rows, queries, out, scratch });
                }
            }
            Ok(storage(out, (answers, d_out)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::*;
    use candle_core::{D, Device};

    const SPEC: Attention = Attention { n_heads: 4, n_kv_heads: 2, d_head: 6 };

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let spec = Attention { n_heads: 2, n_kv_heads: 1, d_head: 3 };
        let examples = Arc::new(vec![0..3, 3..5]);
        check_gradients(&[&[5, spec.width()]], |x| attend(&x[0], spec, &examples, None));
        // More queries than one block of the gradient.
        let (spec, examples) = (Attention { n_heads: 1, n_kv_heads: 1, d_head: 2 }, Arc::new(vec![0..2, 2..70]));
        check_gradients(&[&[70, spec.width()]], |x| attend(&x[0], spec, &examples, None));
    }

    /// The textbook form, in tensor operations, for one sequence.
    fn textbook(x: &Tensor, s: Attention) -> Tensor {
        let n = x.dim(0).unwrap();
        let part = |at: usize, heads: usize| {
            let y = x.narrow(1, at * s.d_head, heads * s.d_head).unwrap();
            y.reshape((n, heads, s.d_head)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
        };
        let (q, k, v) =
            (part(0, s.n_heads), part(s.n_heads, s.n_kv_heads), part(s.n_heads + s.n_kv_heads, s.n_kv_heads));
        let mask: Vec<f64> = (0..n * n).map(|i| if i % n > i / n { f64::NEG_INFINITY } else { 0.0 }).collect();
        let mask = Tensor::from_vec(mask, (n, n), &Device::Cpu).unwrap();
        let heads: Vec<Tensor> = (0..s.n_heads)
            .map(|h| {
                let kv = h / s.group();
                let scores = q.get(h).unwrap().matmul(&k.get(kv).unwrap().t().unwrap()).unwrap();
                let scores = ((scores * s.scale::<f64>()).unwrap() + &mask).unwrap();
                let e = scores.broadcast_sub(&scores.max_keepdim(D::Minus1).unwrap()).unwrap().exp().unwrap();
                let p = e.broadcast_div(&e.sum_keepdim(D::Minus1).unwrap()).unwrap();
                p.matmul(&v.get(kv).unwrap()).unwrap()
            })
            .collect();
        Tensor::cat(&heads, 1).unwrap()
    }

    #[test]
    fn packed_rows_agree_with_the_textbook_sequence_by_sequence() {
        let lengths = [1usize, 2, 33, 7, 64];
        let n = lengths.iter().sum::<usize>();
        let x = Tensor::from_vec(values(5, n * SPEC.width()), (n, SPEC.width()), &Device::Cpu).unwrap();
        let mut examples = Vec::new();
        for l in lengths {
            let from = examples.last().map_or(0, |r: &Range<usize>| r.end);
            examples.push(from..from + l);
        }
        let got = attend(&x, SPEC, &Arc::new(examples.clone()), None).unwrap();
        for r in examples {
            let want = textbook(&x.narrow(0, r.start, r.len()).unwrap(), SPEC);
            let diff = (got.narrow(0, r.start, r.len()).unwrap() - want).unwrap().abs().unwrap();
            assert!(diff.max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12, "rows {r:?}");
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn cached_steps_give_the_bits_of_the_whole() {
        let n = 70;
        let data: Vec<f32> = values(6, n * SPEC.width()).into_iter().map(|v| v as f32).collect();
        let x = Tensor::from_vec(data, (n, SPEC.width()), &Device::Cpu).unwrap();
        let whole = attend(&x, SPEC, &Arc::new(vec![0..n]), None).unwrap().to_vec2::<f32>().unwrap();
        let mut heads = Vec::new();
        let mut from = 0;
        for step in [1, 30, 1, 1, 2, 35] {
            let part = x.narrow(0, from, step).unwrap();
            let got = attend_cached(&part, SPEC, &[0..step], &mut [&mut heads]).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(got[..], whole[from..from + step], "{step} rows after {from}");
            from += step;
        }
        assert_eq!(heads[0].len(), n);
    }

    #[test]
    fn rows_that_ask_alone_get_the_bits_of_the_whole() {
        let n = 90;
        let data: Vec<f32> = values(7, n * SPEC.width()).into_iter().map(|v| v as f32).collect();
        let x = Tensor::from_vec(data, (n, SPEC.width()), &Device::Cpu).unwrap();
        let examples = Arc::new(vec![0..37, 37..40, 40..90]);
        let whole = attend(&x, SPEC, &examples, None).unwrap().to_vec2::<f32>().unwrap();
        let asking = vec![5..36, 38..38, 71..90];
        let got = attend(&x, SPEC, &examples, Some(&Arc::new(asking.clone()))).unwrap().to_vec2::<f32>().unwrap();
        let want: Vec<Vec<f32>> = asking.into_iter().flatten().map(|r| whole[r].clone()).collect();
        assert_eq!(got, want);
    }
}
