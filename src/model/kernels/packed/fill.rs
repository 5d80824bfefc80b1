//! Weights on their way from a file into panels: never as a whole in f32.

use super::element::Element;
use super::tile::COLUMNS;
use super::{Line, Packed, Panels, by_element};
use candle_core::{DType, Result};
use half::{bf16, f16};
use std::ops::{AddAssign, Range};

/// Terms that are turned at a time: as many cache lines stay open.
const TURNED: usize = 16;

/// Values that a weight cannot have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfit {
    /// NaN or infinite.
    pub not_finite: usize,
    /// Finite, but beyond the range of what the weight is held in.
    pub too_large: usize,
}

impl AddAssign for Unfit {
    fn add_assign(&mut self, other: Unfit) {
        self.not_finite += other.not_finite;
        self.too_large += other.too_large;
    }
}

/// A weight that is being filled, some columns at a time, in any order.
pub struct Packer {
    packed: Packed,
    filled: Vec<Range<usize>>,
}

impl Packer {
    /// Room for a weight `[d_in, d_out]`, held as f32, bf16 or f16.
    ///
    /// # Errors
    /// Another dtype; no memory.
    pub fn new(dtype: DType, d_in: usize, d_out: usize) -> Result<Packer> {
        fn room<E: Element>(lines: Option<usize>) -> Result<Vec<Line<E>>> {
            let mut room = Vec::new();
            match lines {
                Some(lines) if room.try_reserve_exact(lines).is_ok() => room.resize(lines, Line([E::ZERO; COLUMNS])),
                _ => candle_core::bail!("no memory for a weight of that size"),
            }
            Ok(room)
        }
        let lines = d_out.div_ceil(COLUMNS).checked_mul(d_in);
        let panels = match dtype {
            DType::F32 => Panels::F32(room(lines)?),
            DType::BF16 => Panels::Bf16(room(lines)?),
            DType::F16 => Panels::F16(room(lines)?),
            other => candle_core::bail!("weights are held in f32, bf16 or f16 on the CPU, not in {other:?}"),
        };
        Ok(Packer { packed: Packed { d_in, d_out, panels }, filled: Vec::new() })
    }

    /// Fills columns from the rows of a matrix `[column, d_in]`, given as the little-endian bytes of a file.
    ///
    /// # Errors
    /// A dtype that is no float, columns that are not there, or another number of bytes.
    pub fn stored_rows(&mut self, columns: Range<usize>, dtype: DType, bytes: &[u8]) -> Result<Unfit> {
        let steps = (self.packed.d_in, 1);
        self.stored(columns, dtype, bytes, steps)
    }

    /// Fills columns from a matrix `[d_in, column]`, given as the little-endian bytes of a file.
    ///
    /// # Errors
    /// As [`Packer::stored_rows`].
    pub fn stored_columns(&mut self, columns: Range<usize>, dtype: DType, bytes: &[u8]) -> Result<Unfit> {
        let steps = (1, columns.len());
        self.stored(columns, dtype, bytes, steps)
    }

    /// Fills columns from the numbers of a matrix `[d_in, column]`.
    ///
    /// # Errors
    /// Columns that are not there, or another number of numbers.
    pub fn columns(&mut self, columns: Range<usize>, values: &[f32]) -> Result<Unfit> {
        self.check(&columns, values.len())?;
        let n = columns.len();
        Ok(self.fill(columns, |column, term| values[term * n + column]))
    }

    /// Fills columns from the numbers of a matrix `[column, d_in]`.
    ///
    /// # Errors
    /// Columns that are not there, or another number of numbers.
    pub fn rows(&mut self, columns: Range<usize>, values: &[f32]) -> Result<Unfit> {
        self.check(&columns, values.len())?;
        let d_in = self.packed.d_in;
        Ok(self.fill(columns, |column, term| values[column * d_in + term]))
    }

    /// `steps`: the distance of two columns, and of two terms, in the file.
    fn stored(&mut self, columns: Range<usize>, dtype: DType, bytes: &[u8], steps: (usize, usize)) -> Result<Unfit> {
        self.check(&columns, bytes.len() / dtype.size_in_bytes().max(1))?;
        macro_rules! values {
            ($size:expr, $value:expr) => {{
                let (values, rest) = bytes.as_chunks::<$size>();
                if !rest.is_empty() {
                    candle_core::bail!("{} bytes are no whole number of values in {dtype:?}", bytes.len())
                }
                Ok(self.fill(columns, |column, term| $value(values[column * steps.0 + term * steps.1])))
            }};
        }
        match dtype {
            DType::F32 => values!(4, f32::from_le_bytes),
            DType::F64 => values!(8, |b| f64::from_le_bytes(b) as f32),
            DType::BF16 => values!(2, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F16 => values!(2, |b| f16::from_le_bytes(b).to_f32()),
            other => candle_core::bail!("weights stored in f32, f16, bf16 or f64 can be packed, not in {other:?}"),
        }
    }

    fn check(&self, columns: &Range<usize>, values: usize) -> Result<()> {
        let Packed { d_in, d_out, .. } = self.packed;
        if columns.start > columns.end || columns.end > d_out || values != columns.len() * d_in {
            candle_core::bail!("{values} values for the columns {columns:?} of a weight [{d_in}, {d_out}]")
        }
        Ok(())
    }

    /// `value(i, term)` is that of the `i`-th of the columns.
    fn fill(&mut self, columns: Range<usize>, value: impl Fn(usize, usize) -> f32) -> Unfit {
        let (d_in, mut unfit) = (self.packed.d_in, Unfit::default());
        by_element!(&mut self.packed.panels, lines => {
            for (panel, lines) in lines.chunks_exact_mut(d_in.max(1)).enumerate() {
                let first = (panel * COLUMNS).max(columns.start);
                let last = ((panel + 1) * COLUMNS).min(columns.end);
                if first >= last {
                    continue;
                }
                for (at, lines) in lines.chunks_mut(TURNED).enumerate() {
                    for column in first..last {
                        for (i, line) in lines.iter_mut().enumerate() {
                            let value = value(column - columns.start, at * TURNED + i);
                            let held = hold(value, &mut unfit);
                            line.0[column % COLUMNS] = held;
                        }
                    }
                }
            }
        });
        self.filled.push(columns);
        unfit
    }

    /// The weight.
    ///
    /// # Errors
    /// Columns that were not filled, or filled twice.
    pub fn finish(mut self) -> Result<Packed> {
        self.filled.retain(|r| !r.is_empty());
        self.filled.sort_by_key(|r| r.start);
        let mut end = 0;
        for range in &self.filled {
            if range.start != end {
                candle_core::bail!("columns {} to {} of a packed weight", end.min(range.start), end.max(range.start))
            }
            end = range.end;
        }
        if end != self.packed.d_out {
            candle_core::bail!("columns {end} to {} of a packed weight were not filled", self.packed.d_out)
        }
        Ok(self.packed)
    }
}

#[inline(always)]
fn hold<E: Element>(value: f32, unfit: &mut Unfit) -> E {
    let held = E::hold(value);
    if !held.is_finite() {
        *(if value.is_finite() { &mut unfit.too_large } else { &mut unfit.not_finite }) += 1;
    }
    held
}
