//! A frozen linear map with low-rank parts on some of its rows and columns, in one op.
//!
//! The parts are added into the product where it lies: no second copy of it exists, neither in the pass nor in what
//! the backward keeps.

use super::linear::{back, rows_at_once};
use super::num::Float;
use super::packed::{Packed, multiplied};
use super::{Real, by_dtype, read, slice, storage, tape};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use std::ops::Range;

/// `scale * h @ b` added to a block of the product.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRankPart {
    /// Rows of the product, and as many of `h`.
    pub rows: Range<usize>,
    /// Columns of the product, and as many of `b`.
    pub columns: Range<usize>,
    pub rank: usize,
    pub scale: f64,
    /// Where its `h [rows, rank]` begins among all of them, laid end to end.
    pub h_at: usize,
    /// Where its `b [rank, columns]` begins; parts may share it.
    pub b_at: usize,
}

impl LowRankPart {
    fn h(&self) -> Range<usize> {
        self.h_at..self.h_at + self.rows.len() * self.rank
    }

    fn b(&self) -> Range<usize> {
        self.b_at..self.b_at + self.rank * self.columns.len()
    }
}

/// `x [row, in] @ w [in, out]`, and on the block of each part `+ scale * h @ b`.
///
/// `h` and `b` hold the factors of all parts end to end. What no part covers has the bits of [`linear`], and the rows
/// of a part have the same bits whatever other rows and parts there are.
pub fn linear_with_low_rank(x: &Tensor, w: &Tensor, h: &Tensor, b: &Tensor, parts: Vec<LowRankPart>) -> Result<Tensor> {
    let (x, w, h, b) = (x.contiguous()?, w.contiguous()?, h.contiguous()?, b.contiguous()?);
    let y = x.apply_op3_no_bwd(&h, &b, &Adapted { w: w.clone(), parts: parts.clone() })?;
    let inputs = [&x, &w, &h, &b].map(Tensor::clone);
    tape::push(&[&x, &w, &h, &b], &y, move |grad, wanted| {
        let [x, w, h, b] = inputs;
        let grad = grad.contiguous()?;
        let mut all = back(&x, &w, &grad, &wanted[..2])?;
        for (of, this, other, wanted) in [(Of::H, &h, &b, wanted[2]), (Of::B, &b, &h, wanted[3])] {
            let op = Gradient { of, parts: parts.clone(), length: this.elem_count() };
            all.push(wanted.then(|| grad.apply_op2_no_bwd(other, &op)).transpose()?);
        }
        Ok(all)
    });
    Ok(y)
}

/// The same for a packed weight, which is only run: no gradient.
///
/// # Errors
/// As [`super::linear_packed`]; parts that do not lie within their operands.
pub fn packed_with_low_rank(x: &Tensor, w: &Packed, h: &Tensor, b: &Tensor, parts: &[LowRankPart]) -> Result<Tensor> {
    let (rows, _) = x.dims2()?;
    check(parts, rows, w.d_out(), h.elem_count(), b.elem_count())?;
    if tape::is_wanted(h) || tape::is_wanted(b) {
        candle_core::bail!("low rank: a packed weight has no gradient; load the model to be adapted")
    }
    let mut out = multiplied(x, w)?;
    read::<f32, _>(&h.contiguous()?, |h| {
        read::<f32, _>(&b.contiguous()?, |b| {
            parts.iter().for_each(|p| add_rows(&mut out, w.d_out(), &h[p.h()], &b[p.b()], p));
            Ok(())
        })
    })?;
    Tensor::from_vec(out, (rows, w.d_out()), x.device())
}

/// A matrix inside a slice, by its strides.
struct Mat<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

impl<T> Mat<'_, T> {
    fn covers(&self, rows: usize, columns: usize) -> bool {
        rows * columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// Adds `scale * a @ b` to `out`, whose rows are `stride` apart. `sizes`: rows, columns, terms of each sum.
fn add_product<T: Real>(out: &mut [T], stride: usize, sizes: [usize; 3], scale: f64, a: Mat<T>, b: Mat<T>) {
    let [m, n, k] = sizes;
    if m * n * k == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= out.len() && a.covers(m, k) && b.covers(k, n), "a product within its operands");
    // SAFETY: all three matrices lie within their slices, as just checked, and `out` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            true,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::ONE,
            T::of(scale),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// [`add_product`] of contiguous `h` and `b`, with an order of summation that does not depend on the number of rows.
fn add_rows<T: Real>(out: &mut [T], stride: usize, h: &[T], b: &[T], part: &LowRankPart) {
    let (n, k) = (part.columns.len(), part.rank);
    let most = rows_at_once(n).min(part.rows.len().max(1));
    for (i, h) in h.chunks(most * k).enumerate() {
        let from = part.rows.start + i * most;
        let out = &mut out[from * stride + part.columns.start..];
        let b = Mat { data: b, row: n, column: 1 };
        let rows = h.len() / k;
        if rows > 1 {
            add_product(out, stride, [rows, n, k], part.scale, Mat { data: h, row: k, column: 1 }, b);
            continue;
        }
        // As in `linear`: a single row would be summed in another order.
        let (twice, mut two) = ([h, h].concat(), [&out[..n], &out[..n]].concat());
        add_product(&mut two, n, [2, n, k], part.scale, Mat { data: &twice, row: k, column: 1 }, b);
        out[..n].copy_from_slice(&two[..n]);
    }
}

/// Refuses parts that do not lie within their operands.
fn check(parts: &[LowRankPart], rows: usize, columns: usize, h: usize, b: usize) -> Result<()> {
    let inside = |p: &&LowRankPart| {
        p.rank > 0 && p.rows.end <= rows && p.columns.end <= columns && p.h().end <= h && p.b().end <= b
    };
    match parts.iter().find(|p| !inside(p)) {
        Some(p) => candle_core::bail!("low rank: {p:?} is outside a product [{rows}, {columns}], h [{h}], b [{b}]"),
        None => Ok(()),
    }
}

struct Adapted {
    w: Tensor,
    parts: Vec<LowRankPart>,
}

impl CustomOp3 for Adapted {
    fn name(&self) -> &'static str {
        "linear with low rank"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        h: &CpuStorage,
        lh: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (ws, lw) = self.w.storage_and_layout();
        let candle_core::Storage::Cpu(ws) = &*ws else { candle_core::bail!("low rank: the weight is not on the CPU") };
        let ((rows, d_in), (w_in, d_out)) = (lx.shape().dims2()?, lw.shape().dims2()?);
        if d_in != w_in {
            candle_core::bail!("low rank: input [{rows}, {d_in}] does not fit a weight [{w_in}, {d_out}]")
        }
        check(&self.parts, rows, d_out, lh.shape().elem_count(), lb.shape().elem_count())?;
        by_dtype!(x, "low rank", T => {
            let (h, b) = (slice::<T>(h, lh, "low rank")?, slice::<T>(b, lb, "low rank")?);
            let mut out = super::linear::run::<T>(slice(x, lx, "low rank")?, slice(ws, lw, "low rank")?, rows, d_in, d_out);
            for p in &self.parts {
                add_rows(&mut out, d_out, &h[p.h()], &b[p.b()], p);
            }
            Ok(storage(out, (rows, d_out)))
        })
    }
}

/// Which factor a gradient is of.
#[derive(Clone, Copy)]
enum Of {
    H,
    B,
}

/// The gradient of all `h` or of all `b`, from that of the product and the other factor.
struct Gradient {
    of: Of,
    parts: Vec<LowRankPart>,
    length: usize,
}

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gradient of low rank"
    }

    fn cpu_fwd(&self, g: &CpuStorage, lg: &Layout, other: &CpuStorage, lo: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d_out) = lg.shape().dims2()?;
        by_dtype!(g, "gradient of low rank", T => {
            let (g, other) = (slice::<T>(g, lg, "gradient of low rank")?, slice::<T>(other, lo, "gradient of low rank")?);
            let mut out = vec![T::ZERO; self.length];
            for p in &self.parts {
                let (m, n, k) = (p.rows.len(), p.columns.len(), p.rank);
                if m == 0 {
                    continue;
                }
                let g = &g[p.rows.start * d_out + p.columns.start..];
                match self.of {
                    // dh = scale * g @ b^T
                    Of::H => {
                        let (g, b) = (Mat { data: g, row: d_out, column: 1 }, Mat { data: &other[p.b()], row: 1, column: n });
                        add_product(&mut out[p.h()], k, [m, k, n], p.scale, g, b);
                    }
                    // db = scale * h^T @ g
                    Of::B => {
                        let (h, g) = (Mat { data: &other[p.h()], row: 1, column: k }, Mat { data: g, row: d_out, column: 1 });
                        add_product(&mut out[p.b()], n, [k, n, m], p.scale, h, g);
                    }
                }
            }
            Ok(storage(out, self.length))
        })
    }
}

#[cfg(test)]
mod tests;
