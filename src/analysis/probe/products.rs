//! Matrix products on slices, in f32 and f64.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// A number that is multiplied.
pub(super) trait Real: Copy + 'static {
    const ZERO: Self;
    const ONE: Self;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
}

/// `a @ b`, on the calling thread.
pub(super) fn product<T: Real>(a: ArrayView2<T>, b: ArrayView2<T>) -> Array2<T> {
    let mut out = Array2::from_elem((a.nrows(), b.ncols()), T::ZERO);
    add(out.view_mut(), a, b);
    out
}

/// Adds `a @ b` to `out`.
pub(super) fn add<T: Real>(mut out: ArrayViewMut2<T>, a: ArrayView2<T>, b: ArrayView2<T>) {
    let ((m, k), n) = (a.dim(), b.ncols());
    assert!(b.nrows() == k && out.dim() == (m, n), "a product of matrices that fit");
    if m * n * k == 0 {
        return;
    }
    let strides = out.strides().to_vec();
    // SAFETY: the pointers and strides are those of live views with the sizes just checked; `out` is borrowed alone, and
    // ndarray lets no mutable view alias itself.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            strides[1],
            strides[0],
            true,
            a.as_ptr(),
            a.strides()[1],
            a.strides()[0],
            b.as_ptr(),
            b.strides()[1],
            b.strides()[0],
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The lower triangle, and some of the upper beside the diagonal, of `a^T @ a`: `[column, column]`.
pub(super) fn gram<T: Real>(a: ArrayView2<T>) -> Array2<T> {
    const BLOCK: usize = 256;
    let d = a.ncols();
    let mut out = Array2::from_elem((d, d), T::ZERO);
    for from in (0..d).step_by(BLOCK) {
        let to = d.min(from + BLOCK);
        let (rows, columns) = (a.slice(ndarray::s![.., from..to]), a.slice(ndarray::s![.., ..to]));
        add(out.slice_mut(ndarray::s![from..to, ..to]), rows.t(), columns);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_the_triangle_are_those_of_the_definition() {
        let a = Array2::from_shape_fn((5, 300), |(i, j)| ((i * 7 + j * 3) % 11) as f64 - 5.0);
        let full = a.t().dot(&a);
        let lower = gram(a.view());
        for i in 0..300 {
            for j in 0..=i {
                assert_eq!(lower[[i, j]], full[[i, j]]);
            }
        }
        assert_eq!(product(a.view(), a.t()), a.dot(&a.t()));
        assert_eq!(product(a.slice(ndarray::s![..0, ..]), a.t()).dim(), (0, 5));
    }
}
