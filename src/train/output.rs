//! The folder of a trained model.

use super::curve::Curve;
use crate::error::{Error, Result};
use crate::model::{Parameter, Source};
use crate::store::write_atomic;
use candle_core::DType;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;

/// Files of a checkpoint beside its weights.
pub const BESIDE: [&str; 4] = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
/// Files that some checkpoints have besides.
const OPTIONAL: [&str; 3] = ["chat_template.jinja", "special_tokens_map.json", "added_tokens.json"];

/// A folder in Hugging Face layout in the making.
pub struct Folder<'a> {
    pub dir: &'a Path,
    /// How weights are stored: f32 or f16.
    pub dtype: DType,
}

impl Folder<'_> {
    /// Copies configuration and tokenizer of a checkpoint, so that the weights alone are missing.
    ///
    /// # Errors
    /// A checkpoint without them, a folder that cannot be written.
    pub fn copy_beside(&self, from: &Source) -> Result<()> {
        for name in BESIDE.iter().chain(&OPTIONAL) {
            let Some(bytes) = from.read(name)? else { continue };
            let bytes = if *name == "config.json" { self.with_dtype(&bytes)? } else { bytes };
            write_atomic(&self.dir.join(name), &bytes, true)?;
        }
        Ok(())
    }

    /// Writes `config.json` from its keys.
    pub fn config(&self, config: &Map<String, Value>) -> Result<()> {
        let bytes = self.with_dtype(Value::Object(config.clone()).to_string().as_bytes())?;
        write_atomic(&self.dir.join("config.json"), &bytes, true)
    }

    fn with_dtype(&self, config: &[u8]) -> Result<Vec<u8>> {
        let bad = |e: serde_json::Error| Error::format("config.json", e.to_string(), "fetch the file again");
        let mut map: Map<String, Value> = serde_json::from_slice(config).map_err(bad)?;
        let name = if self.dtype == DType::F16 { "float16" } else { "float32" };
        map.shift_remove("torch_dtype");
        map.insert("dtype".into(), name.into());
        let mut bytes = serde_json::to_vec_pretty(&map).map_err(bad)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Writes `model.safetensors` from the values that the parameters have now.
    ///
    /// # Errors
    /// Weights beyond the range of the stored type, a folder that cannot be written.
    pub fn weights(&self, parameters: &[Parameter]) -> Result<()> {
        write_atomic(&self.dir.join("model.safetensors"), &model_files(parameters, self.dtype)?, true)
    }

    /// Writes the curve as `loss.csv` and as a figure.
    pub fn curve(&self, name: &str, curve: &Curve) -> Result<()> {
        write_atomic(&self.dir.join("loss.csv"), curve.table().to_csv().as_bytes(), false)?;
        if curve.is_empty() {
            return Ok(());
        }
        let figure = curve.page(name).draw()?;
        write_atomic(&self.dir.join("loss.svg"), figure.svg.as_bytes(), false)?;
        write_atomic(&self.dir.join("loss.png"), &figure.to_png(300.0)?, false)
    }
}

/// The bytes of `model.safetensors`.
///
/// # Errors
/// Weights beyond the range of the stored type.
pub fn model_files(parameters: &[Parameter], dtype: DType) -> Result<Vec<u8>> {
    let mut held: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, tensor) in parameters.iter().map(Parameter::export).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = match dtype {
            DType::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let limit = if dtype == DType::F16 { 65504.0 } else { f32::MAX };
        let count = values.iter().filter(|v| v.is_nan() || v.abs() > limit).count();
        if count > 0 {
            return Err(Error::NotFinite { place: format!("`{name}` as {dtype:?}"), count });
        }
        held.push((name, tensor.dims().to_vec(), bytes));
    }
    let kind = if dtype == DType::F16 { Dtype::F16 } else { Dtype::F32 };
    let broken = |e: safetensors::SafeTensorError| Error::refused(format!("weights cannot be written ({e})"), "");
    let views: Vec<(&str, TensorView<'_>)> = held
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(kind, shape.clone(), bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(broken)?;
    // Transformers asks for this key.
    let about = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(about)).map_err(broken)
}
