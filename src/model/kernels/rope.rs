//! Rotary position embedding (Su et al. 2021) in the half-split layout of Hugging Face checkpoints.

use super::portable::Angles;
use super::{Kernel, Real, by_dtype, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Positions whose cosines and sines are computed together, when the first of them is needed.
const CHUNK: usize = 1024;

/// Cosines and sines by position, computed in f64 and held in f32.
#[derive(Debug)]
pub struct RopeTable {
    frequencies: Vec<f32>,
    factor: f32,
    positions: usize,
    /// Of [`CHUNK`] positions each, `[position, 2, frequency]`: cosines, then sines. A context of 131,072 tokens is
    /// seldom used to its end.
    chunks: Vec<OnceLock<Vec<f32>>>,
    /// For sequences that are longer than a number of tokens: that number, and their angles.
    long: Option<(usize, Box<RopeTable>)>,
    angles: Angles,
}

impl RopeTable {
    /// Angles `pos * theta^(-2 i / d_rot)` for positions below `positions`.
    pub fn new(d_rot: usize, theta: f64, positions: usize) -> RopeTable {
        let frequency = |i| 1.0 / (theta as f32).powf(2.0 * i as f32 / d_rot as f32);
        RopeTable::from_frequencies((0..d_rot / 2).map(frequency).collect(), 1.0, positions)
    }

    /// Angles `pos * frequencies[i]`, one for each pair of columns i and `i + frequencies.len()`, for positions below
    /// `positions`. Cosines and sines are multiplied by `factor` (the attention factor of Peng et al. 2023).
    ///
    /// The angle is rounded to f32 before its cosine is taken, and the cosine before it is multiplied, as the reference
    /// implementation does.
    pub fn from_frequencies(frequencies: Vec<f32>, factor: f64, positions: usize) -> RopeTable {
        let chunks = (0..positions.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        RopeTable { frequencies, factor: factor as f32, positions, chunks, long: None, angles: Angles::default() }
    }

    /// With other frequencies in sequences of more than `trained` tokens, from their first token on (LongRoPE, Ding et
    /// al. 2024).
    pub fn with_long(self, frequencies: Vec<f32>, trained: usize) -> RopeTable {
        let long = RopeTable::from_frequencies(frequencies, f64::from(self.factor), self.positions);
        RopeTable { long: Some((trained, Box::new(long))), ..self }
    }

    /// The length of the shortest sequences that have the other frequencies.
    pub fn changes_at(&self) -> Option<usize> {
        self.long.as_ref().map(|(trained, _)| trained + 1)
    }

    /// Where the angles of rows are, of sequences that are the given ranges of them: at their positions, or as far
    /// behind the last one in sequences that have the other frequencies.
    pub fn places(&self, positions: &Arc<Vec<u32>>, sequences: &[Range<usize>]) -> Arc<Vec<u32>> {
        let Some((trained, _)) = &self.long else { return positions.clone() };
        let mut places = positions.to_vec();
        for rows in sequences {
            let place = &mut places[rows.clone()];
            if place.last().is_some_and(|last| *last as usize >= *trained) {
                place.iter_mut().for_each(|p| *p += self.positions as u32);
            }
        }
        Arc::new(places)
    }

    /// One more than the last place that there is.
    fn end(&self) -> usize {
        if self.long.is_some() { 2 * self.positions } else { self.positions }
    }

    /// Positions that the table covers.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Columns of a head that are turned.
    pub fn d_rot(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Cosines and sines at one of the [`places`](RopeTable::places), one of each per frequency.
    ///
    /// # Panics
    /// If the place is beyond the table.
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        if let (Some((_, long)), true) = (&self.long, position >= self.positions) {
            return long.at(position - self.positions);
        }
        let half = self.frequencies.len();
        let chunk = self.chunks[position / CHUNK].get_or_init(|| self.chunk(position / CHUNK * CHUNK));
        chunk[position % CHUNK * 2 * half..][..2 * half].split_at(half)
    }

    /// Cosines and sines of the rows at `places`, `[row, frequency]`, in the dtype of `x` and where it is.
    pub(super) fn angles(&self, places: &Arc<Vec<u32>>, x: &Tensor) -> Result<(Tensor, Tensor)> {
        self.angles.of(|place| self.at(place), places, x)
    }

    /// Refuses rows that the table or the heads do not fit.
    pub(super) fn fits(&self, x: &Tensor, places: &[u32], heads: usize, d_head: usize) -> Result<()> {
        let (rows, width) = x.dims2()?;
        if rows != places.len() || heads * d_head > width {
            candle_core::bail!("rope: [{rows}, {width}] for {} positions, {heads} heads of {d_head}", places.len())
        }
        if self.d_rot() > d_head {
            candle_core::bail!("rope: {} columns cannot turn in heads of {d_head}", self.d_rot())
        }
        if let Some(p) = places.iter().find(|p| **p as usize >= self.end()) {
            candle_core::bail!("rope: position {p} is beyond the {} positions of the model", self.positions)
        }
        Ok(())
    }

    fn chunk(&self, first: usize) -> Vec<f32> {
        let mut chunk = Vec::with_capacity(CHUNK * self.d_rot());
        for position in first..(first + CHUNK).min(self.positions) {
            let angles = || self.frequencies.iter().map(|f| f64::from(position as f32 * f));
            chunk.extend(angles().map(|a| a.cos() as f32 * self.factor));
            chunk.extend(angles().map(|a| a.sin() as f32 * self.factor));
        }
        chunk
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

/// Rotates the first `heads` heads of every row of `x [row, n * d_head]` by the row's position: the first
/// [`d_rot`](RopeTable::d_rot) columns of each, the ones behind them pass through.
pub fn rope(
    x: &Tensor,
    table: &Arc<RopeTable>,
    positions: &Arc<Vec<u32>>,
    heads: usize,
    d_head: usize,
) -> Result<Tensor> {
    let turn = |sign| Rope { table: table.clone(), positions: positions.clone(), heads, d_head, sign };
    table.fits(x, positions, heads, d_head)?;
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
        let half = op.table.frequencies.len();
        let sign = T::of(op.sign);
        let mut out = x.to_vec();
        for (row, pos) in out.chunks_exact_mut(width).zip(op.positions.iter()) {
            let (cos, sin) = op.table.at(*pos as usize);
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
        let (_, width) = l.shape().dims2()?;
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
    fn gradient_agrees_with_a_factor_and_columns_that_pass_through() {
        let table = Arc::new(RopeTable::from_frequencies(vec![0.7, 0.05], 1.4, 1030));
        let pos = Arc::new(vec![0u32, 3, 1025]);
        check_gradients(&[&[3, 13]], |x| rope(&x[0], &table, &pos, 2, 6));
    }

    #[test]
    fn pairs_turn_by_position_times_frequency_and_the_rest_passes_through() {
        let table = Arc::new(RopeTable::from_frequencies(vec![0.5, 0.001], 2.0, 5000));
        let x = Tensor::new(&[[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
        for p in [0u32, 7, 1023, 1024, 4999] {
            let y = rope(&x, &table, &Arc::new(vec![p]), 1, 5).unwrap().to_vec2::<f64>().unwrap();
            let (a, b) = (f64::from(p) * 0.5, f64::from(p as f32 * 0.001));
            let turned = [
                a.cos() - 3.0 * a.sin(),
                2.0 * b.cos() - 4.0 * b.sin(),
                3.0 * a.cos() + a.sin(),
                4.0 * b.cos() + 2.0 * b.sin(),
            ];
            for (got, want) in y[0].iter().zip(turned) {
                assert!((got - 2.0 * want).abs() < 2e-6, "{p}: {y:?}");
            }
            assert_eq!(y[0][4..], [5.0, 6.0]);
        }
    }

    #[test]
    fn a_long_context_costs_only_the_positions_that_are_used() {
        let table = Arc::new(RopeTable::new(64, 10_000.0, 131_072));
        table.at(130_000);
        assert_eq!(table.chunks.iter().filter(|c| c.get().is_some()).count(), 1);
    }

    #[test]
    fn positions_and_columns_beyond_the_table_are_refused() {
        let x = Tensor::zeros((1, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let turn = |d_rot, p| {
            let table = Arc::new(RopeTable::new(d_rot, 100.0, 9));
            rope(&x, &table, &Arc::new(vec![p]), 1, 4).unwrap_err().to_string()
        };
        assert!(turn(4, 9).contains("position 9 is beyond the 9 positions"));
        assert!(turn(6, 0).contains("6 columns cannot turn in heads of 4"));
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
