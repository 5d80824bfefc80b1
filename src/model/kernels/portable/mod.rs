//! Every kernel once more in candle's tensor operations: what runs on a GPU, for inference alone.
//!
//! The stream and the products are in the dtype of the model (f32, bf16 or f16). Norms, activations, scores and their
//! softmax are computed in f32 and rounded once, which is at least as fine as the reference implementation. A result may
//! here depend in its last bits on the rows beside it, because the library that multiplies picks its path by shape.
//!
//! The same operations run on the CPU. That is how they are tested without a GPU: see [`forced`].

mod activation;
mod along;
pub mod attention;
mod host;
mod likelihood;
mod linear;
mod mixture;
mod norm;
mod rope;

pub use activation::{activate, gated, scaled, softcap};
pub use along::{Seen, move_rows};
pub use host::to_host;
pub use likelihood::nll;
pub use linear::{add_bias, linear, with_low_rank};
pub use mixture::combine;
pub use norm::{layer_norm, norm_heads, rms_norm};
pub use rope::{Angles, rope};

use candle_core::{DType, Device, Result, Tensor};
use std::cell::Cell;

thread_local! {
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a kernel is to take the form in tensor operations for `x`.
pub fn applies(x: &Tensor) -> bool {
    !x.device().is_cpu() || FORCED.get()
}

/// Runs `f` with the kernels of the calling thread in tensor operations on the CPU too.
pub fn forced<R>(f: impl FnOnce() -> R) -> R {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _back = Back(FORCED.replace(true));
    f()
}

/// `x` in f32 where it is narrower.
fn wide(x: &Tensor) -> Result<Tensor> {
    if matches!(x.dtype(), DType::BF16 | DType::F16) { x.to_dtype(DType::F32) } else { Ok(x.clone()) }
}

/// Row numbers where `like` is.
fn index(rows: impl IntoIterator<Item = usize>, device: &Device) -> Result<Tensor> {
    let rows: Vec<u32> = rows.into_iter().map(|r| r as u32).collect();
    let n = rows.len();
    Tensor::from_vec(rows, n, device)
}

/// Finds the largest numbers of rows where these are.
pub struct Largest {
    /// `[1, n]`: how many numbers there are from each to the end.
    left: Tensor,
}

impl Largest {
    /// For rows of `n` numbers.
    pub fn of(n: usize, device: &Device) -> Result<Largest> {
        let left: Vec<u32> = (0..n as u32).map(|i| n as u32 - i).collect();
        Ok(Largest { left: Tensor::from_vec(left, (1, n), device)? })
    }

    /// The place of the largest number of each row of `x [row, n]`, the first of equals.
    pub fn first(&self, x: &Tensor) -> Result<Vec<u32>> {
        let is_largest = x.broadcast_eq(&x.max_keepdim(1)?)?.to_dtype(DType::U32)?;
        let left: Vec<u32> = is_largest.broadcast_mul(&self.left)?.max(1)?.to_vec1()?;
        // Where a row holds no number at all nothing is the largest: the first, as on the host.
        let n = self.left.dim(1)? as u32;
        Ok(left.into_iter().map(|left| if left == 0 { 0 } else { n - left }).collect())
    }
}

#[cfg(test)]
mod tests;
