//! What an adapter adds to the maps that write to the residual stream.

use super::Adapter;
use crate::axes::Layer;
use crate::error::{Error, Result};
use crate::model::{Lm, Writer};
use candle_core::{DType, Tensor};
use ndarray::Array2;

/// The update of one map that writes to the residual stream: `dW = scale * b a`, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub layer: Layer,
    /// The module's path within its layer: `self_attn.o_proj`, `mlp.down_proj`.
    pub map: String,
    /// `[rank, d_in]`: `lora_A` of the file.
    pub a: Array2<f32>,
    /// `[d_model, rank]`: `lora_B` of the file, each row times what a norm between the map and the stream multiplies it by.
    pub b: Array2<f32>,
    /// alpha / rank, or alpha / sqrt(rank).
    pub scale: f64,
}

impl Adapter {
    /// Its updates of the maps that write to the residual stream, in forward order. Files that keep weights turned
    /// (`Conv1D`) keep factors as all do, so nothing is turned for them.
    ///
    /// # Errors
    /// A model that does not say which of its maps write to the stream.
    pub fn written(&self, lm: &dyn Lm) -> Result<Vec<Written>> {
        let writers = lm.writers();
        if writers.is_empty() {
            let what = "this model does not say which of its maps write to the residual stream";
            return Err(Error::refused(what, "take a model as it was loaded"));
        }
        let mut all = Vec::new();
        for writer in &writers {
            for module in &writer.map.modules {
                let Some(low_rank) = self.modules.get(&module.path) else { continue };
                if module.columns != (0..lm.dims().d_model) {
                    let what = format!("`{}` writes {} numbers", module.path, module.columns.len());
                    return Err(Error::refused(what, format!("the stream has {}", lm.dims().d_model)));
                }
                let b = match &module.order {
                    Some(order) => crate::model::kernels::columns(&low_rank.b.detach(), order)?,
                    None => low_rank.b.detach(),
                };
                let mut b = host(&b)?;
                if let Some(gain) = &writer.gain {
                    let gain = gain.to_dtype(DType::F32)?.to_vec1::<f32>()?;
                    b.columns_mut().into_iter().zip(gain).for_each(|(mut column, g)| column.mapv_inplace(|v| v * g));
                }
                let (map, scale) = (within(&module.path, writer), low_rank.scale);
                let a = host(&low_rank.a.detach())?.reversed_axes();
                all.push(Written { layer: writer.layer, map, a, b: b.reversed_axes(), scale });
            }
        }
        Ok(all)
    }
}

/// A matrix in f32, as it stands.
fn host(m: &Tensor) -> Result<Array2<f32>> {
    let (rows, columns) = m.dims2()?;
    let values = m.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Array2::from_shape_vec((rows, columns), values).map_err(|_| {
        let (found, expected) = (m.dims().to_vec(), vec![rows, columns]);
        Error::Shape { place: "an adapter".into(), name: "a factor".into(), found, expected }
    })
}

/// `self_attn.o_proj` of `model.layers.3.self_attn.o_proj`.
fn within(path: &str, writer: &Writer<'_>) -> String {
    let layer = format!(".{}.", writer.layer.0);
    path.split_once(&layer).map_or(path, |(_, rest)| rest).into()
}
