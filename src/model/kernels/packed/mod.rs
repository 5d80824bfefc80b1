//! Weights as the product reads them: in panels, in f32 or in 16 bits, computed in f32.
//!
//! A panel is `COLUMNS` columns of the weight `[in, out]`, term by term, so that a product reads memory from front to
//! back, once for all rows where they are few. The bits of a result depend on its row of `x` and its column of the
//! weight alone: not on the rows beside it, not on how many threads share the work, and not on whether the numbers
//! stand in 16 bits or were widened to f32 before.

mod element;
mod fill;
mod product;
mod tile;

pub use fill::{Packer, Unfit};

use super::{read, tape};
use candle_core::{DType, Device, Result, Tensor};
use element::Element;
use half::{bf16, f16};
use tile::COLUMNS;

/// One term of a panel.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line<E>([E; COLUMNS]);

/// `[panel, d_in]` lines; columns behind the last one are 0.
enum Panels {
    F32(Vec<Line<f32>>),
    Bf16(Vec<Line<bf16>>),
    F16(Vec<Line<f16>>),
}

/// Chooses the compiled element type.
macro_rules! by_element {
    ($panels:expr, $lines:ident => $body:expr) => {
        match $panels {
            $crate::model::kernels::packed::Panels::F32($lines) => $body,
            $crate::model::kernels::packed::Panels::Bf16($lines) => $body,
            $crate::model::kernels::packed::Panels::F16($lines) => $body,
        }
    };
}
use by_element;

/// A weight `[d_in, d_out]` that is only run.
pub struct Packed {
    d_in: usize,
    d_out: usize,
    panels: Panels,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed[{}, {}; {:?}]", self.d_in, self.d_out, self.dtype())
    }
}

impl Packed {
    /// A weight from a tensor `[d_in, d_out]` on the CPU, held as `dtype`: f32, bf16 or f16.
    ///
    /// # Errors
    /// Another dtype, or a tensor that is no matrix of numbers in f32.
    pub fn of(dtype: DType, weight: &Tensor) -> Result<Packed> {
        let (d_in, d_out) = weight.dims2()?;
        let mut packer = Packer::new(dtype, d_in, d_out)?;
        let weight = weight.contiguous()?;
        read::<f32, _>(&weight, |values| packer.columns(0..d_out, values))?;
        packer.finish()
    }

    /// Numbers that a row of the input has.
    pub fn d_in(&self) -> usize {
        self.d_in
    }

    /// Numbers that a row of the result has.
    pub fn d_out(&self) -> usize {
        self.d_out
    }

    /// What its numbers are held in.
    pub fn dtype(&self) -> DType {
        match &self.panels {
            Panels::F32(_) => DType::F32,
            Panels::Bf16(_) => DType::BF16,
            Panels::F16(_) => DType::F16,
        }
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        by_element!(&self.panels, lines => size_of_val(&lines[..]))
    }

    /// `x [row, d_in] @ w` for rows one after another: `[row, d_out]`.
    ///
    /// # Panics
    /// If `x` has no whole number of rows.
    pub fn multiply(&self, x: &[f32]) -> Vec<f32> {
        by_element!(&self.panels, lines => product::multiply(x, lines, self.d_in, self.d_out))
    }

    /// Columns one after another, `[column, d_in]`: the rows of an embedding of which this is the head.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn gather(&self, columns: &[u32]) -> Result<Vec<f32>> {
        if let Some(c) = columns.iter().find(|c| **c as usize >= self.d_out) {
            candle_core::bail!("column {c} of a weight [{}, {}]", self.d_in, self.d_out)
        }
        let mut out = Vec::with_capacity(columns.len() * self.d_in);
        by_element!(&self.panels, lines => for c in columns {
            let (panel, column) = (*c as usize / COLUMNS, *c as usize % COLUMNS);
            out.extend(lines[panel * self.d_in..][..self.d_in].iter().map(|line| line.0[column].value()));
        });
        Ok(out)
    }

    /// The weight `[d_in, d_out]` in f32.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let mut out = vec![0.0f32; self.d_in * self.d_out];
        by_element!(&self.panels, lines => for (at, line) in lines.iter().enumerate() {
            let (panel, row) = (at / self.d_in, at % self.d_in);
            let columns = panel * COLUMNS..self.d_out.min((panel + 1) * COLUMNS);
            for (out, held) in out[row * self.d_out..][columns].iter_mut().zip(line.0) {
                *out = held.value();
            }
        });
        Tensor::from_vec(out, (self.d_in, self.d_out), &Device::Cpu)
    }
}

/// `x [row, in] @ w [in, out]` in f32. What is packed is only run: there is no gradient.
///
/// # Errors
/// An input of another width, not in f32 or not on the CPU, or one that a gradient is wanted of.
pub fn linear_packed(x: &Tensor, w: &Packed) -> Result<Tensor> {
    Tensor::from_vec(multiplied(x, w)?, (x.dim(0)?, w.d_out), x.device())
}

/// The product row by row.
pub(super) fn multiplied(x: &Tensor, w: &Packed) -> Result<Vec<f32>> {
    let (rows, d_in) = x.dims2()?;
    if d_in != w.d_in {
        candle_core::bail!("linear: input [{rows}, {d_in}] does not fit a weight [{}, {}]", w.d_in, w.d_out)
    }
    if tape::is_wanted(x) {
        candle_core::bail!("linear: a packed weight has no gradient; load the model to be trained or adapted")
    }
    read::<f32, _>(&x.contiguous()?, |x| Ok(w.multiply(x)))
}

#[cfg(test)]
mod tests;
