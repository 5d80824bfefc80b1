//! Writing an adapter as PEFT reads it. Gives bytes; who writes them sees to it that files appear whole.

use super::load::{ABOUT, CONFIG, PREFIX, WEIGHTS};
use super::{Adapter, LowRank, Settings};
use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The number type of stored factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    F32,
    F16,
}

impl Adapter {
    /// The files of the adapter's folder, (name, bytes): the same bytes every time.
    ///
    /// `about` is kept in the header of the tensors, with the hash of the base model.
    ///
    /// # Errors
    /// Settings that would give a module another rank or scale, or that do not target it; values that are no numbers,
    /// or too large for f16.
    pub fn to_files(
        &self,
        settings: &Settings,
        stored: Stored,
        about: &Map<String, Value>,
    ) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let rules = settings.rules()?;
        let mut raw: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (path, module) in &self.modules {
            let agrees = rules.targets(path) && rules.rank(path) == module.rank() && same(rules.scale(path), module);
            if !agrees {
                let what = format!(
                    "the settings do not describe `{path}` of adapter `{}` (rank {}, scale {})",
                    self.name,
                    module.rank(),
                    module.scale
                );
                return Err(Error::refused(what, "this is a defect of personascope; please report it"));
            }
            for (factor, tensor) in [("A", &module.a), ("B", &module.b)] {
                let name = format!("{PREFIX}{path}.lora_{factor}.weight");
                let turned = tensor.detach().t()?.contiguous()?;
                let bytes = bytes(&turned, stored, &name)?;
                raw.push((name, turned.dims().to_vec(), bytes));
            }
        }
        let mut about = about.clone();
        about.insert("base_hash".into(), self.base_hash.clone().into());
        // One entry alone: the format writes several in the order of a hash map, another one in each process.
        let head = HashMap::from([(ABOUT.to_string(), Value::Object(about).to_string())]);
        let dtype = if stored == Stored::F16 { Dtype::F16 } else { Dtype::F32 };
        let views = raw
            .iter()
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let weights = views.and_then(|views| serialize(views, Some(head))).map_err(|e| {
            let what = format!("adapter `{}` cannot be written: {e}", self.name);
            Error::refused(what, "this is a defect of personascope; please report it")
        })?;
        let config = serde_json::to_string_pretty(&settings.to_json()).unwrap_or_default() + "\n";
        Ok(vec![(WEIGHTS, weights), (CONFIG, config.into_bytes())])
    }
}

fn same(scale: f64, module: &LowRank) -> bool {
    (scale - module.scale).abs() <= 1e-12 * scale.abs()
}

fn bytes(tensor: &Tensor, stored: Stored, name: &str) -> Result<Vec<u8>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let halves = || values.iter().map(|v| half::f16::from_f32(*v));
    let count = match stored {
        Stored::F32 => values.iter().filter(|v| !v.is_finite()).count(),
        Stored::F16 => halves().filter(|v| !v.is_finite()).count(),
    };
    if count > 0 {
        return Err(Error::NotFinite { place: format!("`{name}` as {stored:?}"), count });
    }
    Ok(match stored {
        Stored::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Stored::F16 => halves().flat_map(|v| v.to_le_bytes()).collect(),
    })
}
