//! Stored numbers as f32.

use super::kernels::packed::{Packer, Unfit};
use super::opening::Dtype;
use super::projection::Part;
use crate::error::{Error, Result};
use candle_core::DType;
use half::{bf16, f16};
use safetensors::tensor::{Dtype as Stored, TensorView};

/// The numbers of a stored tensor, rounded to `dtype` and held as f32: one pass over the file's bytes, one allocation.
///
/// # Errors
/// A type that is no float; numbers that are not finite, or not in the range of `dtype`.
pub(crate) fn to_f32(place: &str, name: &str, view: &TensorView<'_>, dtype: Dtype) -> Result<Vec<f32>> {
    let data = view.data();
    let mut values = match float(place, name, view.dtype())? {
        DType::F16 => each(data, |b| f16::from_le_bytes(b).to_f32()),
        DType::BF16 => each(data, |b| bf16::from_le_bytes(b).to_f32()),
        DType::F64 => each(data, |b| f64::from_le_bytes(b) as f32),
        _ => each(data, f32::from_le_bytes),
    };
    check(place, name, &values)?;
    let already = matches!((dtype, view.dtype()), (Dtype::Bf16, Stored::BF16) | (Dtype::F16, Stored::F16));
    if dtype != Dtype::F32 && !already {
        round(&mut values, dtype);
        let count = values.iter().filter(|v| !v.is_finite()).count();
        in_range(place, name, dtype, count)?;
    }
    Ok(values)
}

/// Packs the columns of one stored tensor, rounded to `dtype`.
///
/// # Errors
/// As [`to_f32`].
pub(crate) fn pack(place: &str, part: &Part, view: &TensorView<'_>, dtype: Dtype, into: &mut Packer) -> Result<()> {
    let (name, data) = (&part.name, view.data());
    let stored = float(place, name, view.dtype())?;
    let columns = part.columns.clone().unwrap_or(0..view.shape()[if part.turned { 0 } else { 1 }]);
    let mut unfit = Unfit::default();
    match (&part.order, part.turned) {
        (None, true) => unfit += into.stored_rows(columns, stored, data)?,
        (None, false) => unfit += into.stored_columns(columns, stored, data)?,
        (Some(order), true) => {
            // Outputs that stand together in the file are packed together.
            let row = data.len() / order.len().max(1);
            let mut from = 0;
            for run in order.chunk_by(|a, b| *b == a + 1) {
                let (to, file) = (from + run.len(), run[0] as usize);
                let bytes = &data[file * row..(file + run.len()) * row];
                unfit += into.stored_rows(columns.start + from..columns.start + to, stored, bytes)?;
                from = to;
            }
        }
        (Some(order), false) => {
            let (values, n) = (to_f32(place, name, view, dtype)?, order.len());
            let rows = values.chunks_exact(n.max(1));
            let ordered: Vec<f32> = rows.flat_map(|row| order.iter().map(|at| row[*at as usize])).collect();
            unfit += into.columns(columns, &ordered)?;
        }
    }
    if unfit.not_finite > 0 {
        return Err(Error::NotFinite { place: format!("{place}: `{name}`"), count: unfit.not_finite });
    }
    in_range(place, name, dtype, unfit.too_large)
}

/// A stored type that weights may have.
fn float(place: &str, name: &str, stored: Stored) -> Result<DType> {
    match stored {
        Stored::F32 => Ok(DType::F32),
        Stored::F16 => Ok(DType::F16),
        Stored::BF16 => Ok(DType::BF16),
        Stored::F64 => Ok(DType::F64),
        other => {
            let reason = format!("`{name}` is stored as {other:?}");
            Err(Error::format(place, reason, "weights in f32, f16 or bf16 can be read; dequantise it first"))
        }
    }
}

fn in_range(place: &str, name: &str, dtype: Dtype, too_large: usize) -> Result<()> {
    if too_large == 0 {
        return Ok(());
    }
    let reason = format!("{too_large} values of `{name}` are beyond the range of {dtype}");
    Err(Error::format(place, reason, "take --dtype bf16 or f32"))
}

/// Rounds numbers to a type.
pub(crate) fn round(values: &mut [f32], dtype: Dtype) {
    match dtype {
        Dtype::F32 => {}
        Dtype::Bf16 => values.iter_mut().for_each(|v| *v = Dtype::Bf16.round(*v)),
        Dtype::F16 => values.iter_mut().for_each(|v| *v = Dtype::F16.round(*v)),
    }
}

fn each<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
}

fn check(place: &str, name: &str, values: &[f32]) -> Result<()> {
    let count = values.iter().filter(|v| !v.is_finite()).count();
    if count == 0 {
        return Ok(());
    }
    Err(Error::NotFinite { place: format!("{place}: `{name}`"), count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stored: Stored, bytes: &[u8], n: usize, dtype: Dtype) -> Result<Vec<f32>> {
        to_f32("w", "x", &TensorView::new(stored, vec![n], bytes).unwrap(), dtype)
    }

    #[test]
    fn every_float_type_is_read_and_rounded_to_what_was_asked() {
        let values = [1.5f32, -257.0, 0.1];
        let f32s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f64s: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
        let halves: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let brains: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        assert_eq!(read(Stored::F32, &f32s, 3, Dtype::F32).unwrap(), values);
        assert_eq!(read(Stored::F64, &f64s, 3, Dtype::F32).unwrap(), values);
        let as_half = values.map(|v| f16::from_f32(v).to_f32());
        let as_brain = values.map(|v| bf16::from_f32(v).to_f32());
        for (stored, bytes) in [(Stored::F32, &f32s), (Stored::F16, &halves)] {
            assert_eq!(read(stored, bytes, 3, Dtype::F16).unwrap(), as_half);
        }
        for (stored, bytes) in [(Stored::F32, &f32s), (Stored::BF16, &brains)] {
            assert_eq!(read(stored, bytes, 3, Dtype::Bf16).unwrap(), as_brain);
        }
        assert_ne!(as_half, as_brain);
    }

    #[test]
    fn numbers_that_are_none_or_become_none_are_refused() {
        let bytes: Vec<u8> = [f32::NAN, 1.0, f32::INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
        let e = read(Stored::F32, &bytes, 3, Dtype::F32).unwrap_err();
        assert!(matches!(e, Error::NotFinite { count: 2, .. }), "{e}");
        let bytes: Vec<u8> = [70_000.0f32, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let e = read(Stored::F32, &bytes, 2, Dtype::F16).unwrap_err().to_string();
        assert!(e.contains("1 values of `x` are beyond the range of f16"), "{e}");
        assert!(read(Stored::F32, &bytes, 2, Dtype::Bf16).is_ok());
        assert!(read(Stored::I8, &[0; 4], 4, Dtype::F32).unwrap_err().to_string().contains("I8"));
    }
}
