//! Numbers on their way from where they were computed.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};
use half::bf16;
use half::slice::HalfFloatSliceExt;

/// Numbers that are widened by one thread.
const BY_ONE: usize = 1 << 22;

/// The numbers of a tensor in row order, as f32 on the host. They cross in the dtype that they have.
pub fn to_host(x: &Tensor) -> Result<Vec<f32>> {
    let x = x.contiguous()?.flatten_all()?.to_device(&Device::Cpu)?;
    {
        let (storage, layout) = x.storage_and_layout();
        let own = layout.start_offset()..layout.start_offset() + x.elem_count();
        match &*storage {
            Storage::Cpu(CpuStorage::BF16(numbers)) => {
                return Ok(widened(&numbers[own], |from, to| {
                    // The bits of a bf16 are the upper half of those of the f32.
                    from.iter().zip(to).for_each(|(x, y)| *y = f32::from_bits(u32::from(bf16::to_bits(*x)) << 16));
                }));
            }
            Storage::Cpu(CpuStorage::F16(numbers)) => {
                return Ok(widened(&numbers[own], |from, to| from.convert_to_f32_slice(to)));
            }
            _ => {}
        }
    }
    x.to_dtype(DType::F32)?.to_vec1()
}

/// Applies `f` to parts of `from` and of the result, side by side where there is much: whoever waits for a device has
/// cores to spare, and a whole stream of every layer is gigabytes.
fn widened<T: Sync>(from: &[T], f: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
    let mut to = vec![0.0; from.len()];
    if from.len() <= BY_ONE {
        f(from, &mut to);
        return to;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = from.len().div_ceil(threads).max(BY_ONE);
    std::thread::scope(|scope| {
        for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
            scope.spawn(|| f(from, to));
        }
    });
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_they_were_whatever_their_type_and_number() {
        for n in [0, 1, 1000, 2 * BY_ONE + 17] {
            // Whole numbers below 256 are the same in all three.
            let numbers: Vec<f32> = (0..n).map(|i| (i % 251) as f32 - 125.0).collect();
            let x = Tensor::from_slice(&numbers, n, &Device::Cpu).unwrap();
            for dtype in [DType::F32, DType::BF16, DType::F16] {
                assert!(to_host(&x.to_dtype(dtype).unwrap()).unwrap() == numbers, "{n} in {dtype:?}");
            }
        }
        let x = Tensor::new(&[[f32::INFINITY, 0.5], [-0.0, 3.0]], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
        assert_eq!(to_host(&x.t().unwrap()).unwrap(), [f32::INFINITY, -0.0, 0.5, 3.0]);
        assert_eq!(to_host(&x.narrow(0, 1, 1).unwrap()).unwrap(), [-0.0, 3.0]);
        assert!(to_host(&(x * f64::NAN).unwrap()).unwrap().iter().all(|v| v.is_nan()));
    }
}
