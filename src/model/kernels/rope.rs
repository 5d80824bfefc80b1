//! Rotary position embedding (Su et al. 2021) in the half-split layout of Hugging Face checkpoints.

use super::{Kernel, Real, by_dtype, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::sync::Arc;

/// Cosines and sines of every position, `[position, d_rot / 2]`, computed in f64 and held in f32.
#[derive(Debug)]
pub struct RopeTable {
    half: usize,
    positions: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
    factor: f64,
    long: Option<usize>,
    n_short: usize,
}

impl RopeTable {
    /// Angles `pos * theta^(-2 i / d_rot)` for positions below `positions`.
    ///
    /// The angle is rounded to f32 before its cosine is taken, as the reference implementation does.
    pub fn new(d_rot: usize, theta: f64, positions: usize) -> RopeTable {
        let half = d_rot / 2;
        let freq: Vec<f32> = (0..half).map(|i| 1.0 / (theta as f32).powf(2.0 * i as f32 / d_rot as f32)).collect();
        let angles = (0..positions).flat_map(|p| freq.iter().map(move |f| f64::from(p as f32 * f)));
        let (cos, sin) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        RopeTable { half, positions, cos, sin, factor: 1.0, long: None, n_short: positions }
    }

    pub fn from_frequencies(freq: Vec<f32>, factor: f64, positions: usize) -> RopeTable {
        let angles = (0..positions).flat_map(|p| freq.iter().map(move |f| f64::from(p as f32 * f)));
        let (cos, sin) = angles.map(|a| ((a.cos() * factor) as f32, (a.sin() * factor) as f32)).unzip();
        RopeTable { half: freq.len(), positions, cos, sin, factor, long: None, n_short: positions }
    }
    pub fn with_long(mut self, freq: Vec<f32>, from: usize) -> RopeTable {
        let more = RopeTable::from_frequencies(freq, self.factor, self.positions);
        self.cos.extend(more.cos);
        self.sin.extend(more.sin);
        self.long = Some(from);
        self.positions *= 2;
        self
    }
    pub fn changes_at(&self) -> Option<usize> {
        self.long.map(|from| from + 1)
    }
    pub fn places(&self, positions: &Arc<Vec<u32>>, ranges: &[std::ops::Range<usize>]) -> Arc<Vec<u32>> {
        let Some(from) = self.long else { return positions.clone() };
        let mut p = positions.to_vec();
        for r in ranges {
            if r.len() > 0 && p[r.end - 1] as usize >= from {
                for x in &mut p[r.clone()] {
                    *x += self.n_short as u32
                }
            }
        }
        Arc::new(p)
    }
    /// Positions that the table covers.
    pub fn positions(&self) -> usize {
        self.positions
    }
}

struct Rope {
    table: Arc<RopeTable>,
    positions: Arc<Vec<u32>>,
    /// Heads of `d_head` that are rotated; the ones behind them pass through.
    heads: usize,
    d_head: usize,
    /// +1 forward, -1 for the gradient: the inverse of a rotation is its transpose.
    sign: f64,
}

/// Rotates the first `heads` heads of every row of `x [row, n * d_head]` by the row's position.
pub fn rope(
    x: &Tensor,
    table: &Arc<RopeTable>,
    positions: &Arc<Vec<u32>>,
    heads: usize,
    d_head: usize,
) -> Result<Tensor> {
    let turn = |sign| Rope { table: table.clone(), positions: positions.clone(), heads, d_head, sign };
    let x = x.contiguous()?;
    let y = x.apply_op1_no_bwd(&turn(1.0))?;
    let back = turn(-1.0);
    tape::push(&[&x], &y, move |grad, _| Ok(vec![Some(grad.contiguous()?.apply_op1_no_bwd(&back)?)]));
    Ok(y)
}

struct Rotate<'a, T> {
    op: &'a Rope,
    x: &'a [T],
    width: usize,
}

impl<T: Real> Kernel for Rotate<'_, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Rotate { op, x, width } = self;
        let half = op.table.half;
        let sign = T::of(op.sign);
        let mut out = x.to_vec();
        for (row, pos) in out.chunks_exact_mut(width).zip(op.positions.iter()) {
            let at = *pos as usize * half;
            let (cos, sin) = (&op.table.cos[at..at + half], &op.table.sin[at..at + half]);
            for head in row.chunks_exact_mut(op.d_head).take(op.heads) {
                let (a, rest) = head.split_at_mut(half);
                for (((a, b), c), s) in a.iter_mut().zip(&mut rest[..half]).zip(cos).zip(sin) {
                    let (c, s) = (T::of(f64::from(*c)), T::of(f64::from(*s)) * sign);
                    (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                }
            }
        }
        out
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = l.shape().dims2()?;
        if rows != self.positions.len() || self.heads * self.d_head > width {
            candle_core::bail!("rope: [{rows}, {width}] for {} positions, {} heads", self.positions.len(), self.heads)
        }
        if let Some(p) = self.positions.iter().find(|p| **p as usize >= self.table.positions) {
            candle_core::bail!("rope: position {p} is beyond the {} positions of the model", self.table.positions)
        }
        by_dtype!(x, "rope", T => Ok(storage(vectorised(Rotate::<T> { op: self, x: slice(x, l, "rope")?, width }), l.shape())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::{RopeTable, rope};
    use candle_core::{Device, Tensor};
    use std::sync::Arc;

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let (table, pos) = (Arc::new(RopeTable::new(4, 100.0, 9)), Arc::new(vec![0u32, 3, 8]));
        check_gradients(&[&[3, 12]], |x| rope(&x[0], &table, &pos, 2, 4));
    }

    #[test]
    fn scores_depend_on_the_distance_of_positions_alone() {
        let table = Arc::new(RopeTable::new(8, 10_000.0, 64));
        let qk = Tensor::from_vec([values(1, 8), values(2, 8)].concat(), (2, 8), &Device::Cpu).unwrap();
        let score = |p: u32, q: u32| {
            let y = rope(&qk, &table, &Arc::new(vec![p, q]), 1, 8).unwrap().to_vec2::<f64>().unwrap();
            y[0].iter().zip(&y[1]).map(|(a, b)| a * b).sum::<f64>()
        };
        assert!((score(5, 2) - score(40, 37)).abs() < 1e-5);
        assert!((score(5, 2) - score(5, 3)).abs() > 1e-3);
    }
}
