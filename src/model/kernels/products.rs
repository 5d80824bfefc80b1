//! Matrix products of any two layouts.

use super::Real;

/// A matrix in memory, or its transpose.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    /// Distance of two rows, and of two columns.
    strides: (isize, isize),
}

impl<'a, T> Matrix<'a, T> {
    /// `[rows, columns]`, row by row.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Matrix<'a, T> {
        assert_eq!(data.len(), rows * columns, "a matrix of {rows} x {columns}");
        Matrix { data, rows, columns, strides: (columns as isize, 1) }
    }

    /// `[rows, columns]` at the front of rows that stand `stride` numbers apart.
    ///
    /// # Panics
    /// If the slice is too short.
    pub fn strided(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Matrix<'a, T> {
        assert!(fits(data.len(), rows, columns, stride), "a matrix of {rows} x {columns} in rows of {stride}");
        Matrix { data, rows, columns, strides: (stride as isize, 1) }
    }

    /// The transpose.
    pub fn t(self) -> Matrix<'a, T> {
        let Matrix { data, rows, columns, strides } = self;
        Matrix { data, rows: columns, columns: rows, strides: (strides.1, strides.0) }
    }
}

fn fits(length: usize, rows: usize, columns: usize, stride: usize) -> bool {
    columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= length)
}

/// A matrix to be written.
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// `[rows, columns]`, row by row.
    pub fn new(data: &'a mut [T], rows: usize, columns: usize) -> MatrixMut<'a, T> {
        MatrixMut::strided(data, rows, columns, columns)
    }

    /// `[rows, columns]` at the front of rows that stand `stride` numbers apart.
    ///
    /// # Panics
    /// If the slice is too short.
    pub fn strided(data: &'a mut [T], rows: usize, columns: usize, stride: usize) -> MatrixMut<'a, T> {
        assert!(fits(data.len(), rows, columns, stride), "a matrix of {rows} x {columns} in rows of {stride}");
        MatrixMut { data, rows, columns, stride }
    }
}

/// `a @ b`, row by row.
///
/// # Panics
/// If the shapes do not fit.
pub fn multiply<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>) -> Vec<T> {
    let n = a.rows * b.columns;
    let mut out: Vec<T> = Vec::with_capacity(n);
    if a.columns == 0 {
        out.resize(n, T::ZERO);
    } else if n > 0 {
        // SAFETY: `out` has room for `n` numbers and every one of them is written, none read.
        unsafe {
            product(a, b, out.as_mut_ptr(), b.columns, false);
            out.set_len(n);
        }
    }
    out
}

/// `out = a @ b`, or `out += a @ b` with `add`.
///
/// # Panics
/// If the shapes do not fit.
pub fn multiply_into<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, out: MatrixMut<'_, T>, add: bool) {
    assert_eq!((out.rows, out.columns), (a.rows, b.columns), "the place of a product");
    if out.rows > 0 && out.columns > 0 && a.columns > 0 {
        // SAFETY: `out` covers its shape with its stride, which `MatrixMut` made sure of, and holds numbers.
        unsafe { product(a, b, out.data.as_mut_ptr(), out.stride, add) };
    }
}

/// # Safety
/// `out` must have room for the product in rows `stride` apart; with `add` it must hold numbers.
unsafe fn product<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, out: *mut T, stride: usize, add: bool) {
    assert_eq!(a.columns, b.rows, "the inner sides of a product");
    // SAFETY: both operands cover their shapes with their strides, which `Matrix` made sure of; `out` by contract.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.strides.1,
            a.strides.0,
            b.data.as_ptr(),
            b.strides.1,
            b.strides.0,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_and_sums_agree_with_products_by_hand() {
        let (a, b) = ([1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, -1.0, 0.5, 1.0]);
        let (a, b) = (Matrix::new(&a, 2, 3), Matrix::new(&b, 2, 3));
        // a b^T = [[1+0+6, -1+1+3], [4+0+12, -4+2.5+6]]
        let mut out = multiply(a, b.t());
        assert_eq!(out, [7.0, 3.0, 16.0, 4.5]);
        multiply_into(a, b.t(), MatrixMut::new(&mut out, 2, 2), true);
        assert_eq!(out, [14.0, 6.0, 32.0, 9.0]);
        // a^T b: its first row is 1 (1, 0, 2) + 4 (-1, 0.5, 1).
        assert_eq!(multiply(a.t(), b)[..3], [-3.0, 2.0, 6.0]);
        // The first two columns of a, into every third place: [[1, 2], [4, 5]] times its own transpose.
        let part = Matrix::strided(a.data, 2, 2, 3);
        let mut out = [9.0; 5];
        multiply_into(part, part.t(), MatrixMut::strided(&mut out, 2, 2, 3), false);
        assert_eq!(out, [5.0, 14.0, 9.0, 14.0, 41.0]);
    }
}
