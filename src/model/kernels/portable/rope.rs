//! Rotary positions.

use candle_core::{DType, DeviceLocation, Result, Tensor};
use std::sync::{Arc, Mutex};

/// Cosines and sines of the rows of a pass, where they are used: made once for all layers that turn by one table.
#[derive(Debug, Default)]
pub struct Angles(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    places: Arc<Vec<u32>>,
    location: DeviceLocation,
    dtype: DType,
    /// `[row, half]`
    cos: Tensor,
    sin: Tensor,
}

impl Angles {
    /// Cosines and sines, `[row, half]`, in the dtype of `x` and where it is; `at` gives those of a place, on the host.
    pub fn of<'t>(
        &self,
        at: impl Fn(usize) -> (&'t [f32], &'t [f32]),
        places: &Arc<Vec<u32>>,
        x: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (location, dtype) = (x.device().location(), x.dtype());
        let mut held = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(h) = &*held {
            let same = Arc::ptr_eq(&h.places, places) || h.places == *places;
            if same && h.location == location && h.dtype == dtype {
                return Ok((h.cos.clone(), h.sin.clone()));
            }
        }
        let (cos, sin): (Vec<_>, Vec<_>) = places.iter().map(|p| at(*p as usize)).unzip();
        let rows = |of: Vec<&[f32]>| {
            let half = of.first().map_or(0, |row| row.len());
            Tensor::from_vec(of.concat(), (places.len(), half), x.device())?.to_dtype(dtype)
        };
        let (cos, sin) = (rows(cos)?, rows(sin)?);
        *held = Some(Held { places: places.clone(), location, dtype, cos: cos.clone(), sin: sin.clone() });
        Ok((cos, sin))
    }
}

/// Turns the first `2 * half` columns of the first `heads` heads of `x [row, n * d_head]` by `cos` and `sin [row, half]`.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, d_head: usize) -> Result<Tensor> {
    let ((rows, width), turned) = (x.dims2()?, 2 * cos.dim(1)?);
    let of_heads =
        x.contiguous()?.reshape((1, rows, width / d_head, d_head))?.narrow(2, 0, heads)?.force_contiguous()?;
    let head = candle_nn::rotary_emb::rope_thd(&of_heads.narrow(3, 0, turned)?.contiguous()?, cos, sin)?;
    let part = if turned < d_head {
        of_heads.slice_set(&head, 3, 0)?;
        of_heads
    } else {
        head
    };
    let part = part.reshape((rows, heads * d_head))?;
    if heads * d_head == width {
        return Ok(part);
    }
    let all = x.force_contiguous()?;
    all.slice_set(&part, 1, 0)?;
    Ok(all)
}
