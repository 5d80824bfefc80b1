//! Products with weights stored `[in, out]`, in the dtype of the rows.

use super::super::LowRankPart;
use super::wide;
use candle_core::{Result, Tensor};

/// `x [row, in] @ w [in, out]`; `w` may be a transposed view. Where they differ in dtype, in f32.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    if x.dtype() == w.dtype() { x.contiguous()?.matmul(w) } else { wide(x)?.contiguous()?.matmul(&wide(w)?) }
}

/// `x [row, out] + b [out]`.
pub fn add_bias(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.broadcast_add(&b.to_dtype(x.dtype())?)
}

/// The product `y [row, out]`, which nobody else holds, with `scale * h @ b` added on the block of each part.
///
/// `h` and `b` hold the factors of all parts end to end, in one dtype.
pub fn with_low_rank(y: Tensor, h: &Tensor, b: &Tensor, parts: &[LowRankPart]) -> Result<Tensor> {
    for part in parts {
        let (rows, columns) = (part.rows.len(), part.columns.len());
        if rows == 0 {
            continue;
        }
        let h = h.narrow(0, part.h_at, rows * part.rank)?.reshape((rows, part.rank))?;
        let b = b.narrow(0, part.b_at, part.rank * columns)?.reshape((part.rank, columns))?;
        let added = (h.matmul(&b)? * part.scale)?.to_dtype(y.dtype())?;
        let of_rows = y.narrow(0, part.rows.start, rows)?;
        let new = (of_rows.narrow(1, part.columns.start, columns)? + added)?;
        of_rows.slice_set(&new.contiguous()?, 1, part.columns.start)?;
    }
    Ok(y)
}
