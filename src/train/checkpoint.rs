//! The state of a run on disk: with it, an interrupted run goes on as if nothing had happened.

use super::curve::Curve;
use super::optimizer::Slot;
use crate::error::{Error, Result};
use crate::store::write_atomic;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The name of the file in the folder of a run.
pub const FILE: &str = "checkpoint.safetensors";

const HINT: &str = "remove the file to start from the beginning, or choose another folder";

fn bytes_of<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|v| to(*v)).collect()
}

/// Writes the state after `curve.len()` steps, whole or not at all.
pub fn write(dir: &Path, identity: &str, slots: &[Slot], curve: &Curve) -> Result<()> {
    let mut held: Vec<(String, Dtype, usize, Vec<u8>)> = Vec::new();
    for (i, slot) in slots.iter().enumerate() {
        for (kind, values) in [("value", &slot.value), ("first", &slot.first), ("second", &slot.second)] {
            held.push((format!("{kind}.{i}"), Dtype::F32, values.len(), bytes_of(values, f32::to_le_bytes)));
        }
    }
    for (name, column) in columns(curve) {
        held.push((format!("curve.{name}"), Dtype::F64, column.len(), bytes_of(column, f64::to_le_bytes)));
    }
    let views: Vec<(&str, TensorView<'_>)> = held
        .iter()
        .map(|(name, dtype, n, bytes)| Ok((name.as_str(), TensorView::new(*dtype, vec![*n], bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(broken)?;
    let about = HashMap::from([("identity".to_string(), identity.to_string())]);
    let bytes = safetensors::serialize(views, Some(about)).map_err(broken)?;
    write_atomic(&dir.join(FILE), &bytes, true)
}

/// Takes up the state in `dir`, if there is one; gives the curve up to it.
///
/// # Errors
/// A damaged file, or the state of another run.
pub fn read(dir: &Path, identity: &str, slots: &mut [Slot]) -> Result<Option<Curve>> {
    let path = dir.join(FILE);
    let place = path.display().to_string();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let damaged = |why: String| Error::format(&place, format!("a damaged checkpoint ({why})"), HINT);
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let other = header.metadata().as_ref().and_then(|m| m.get("identity")).is_none_or(|found| found != identity);
    if other {
        let why = "the checkpoint of another run: data, settings, seed or base model differ";
        return Err(Error::format(&place, why, HINT));
    }
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let tensor = |name: &str| file.tensor(name).map_err(|e| damaged(e.to_string()));
    for (i, slot) in slots.iter_mut().enumerate() {
        for (kind, values) in [("value", &mut slot.value), ("first", &mut slot.first), ("second", &mut slot.second)] {
            let view = tensor(&format!("{kind}.{i}"))?;
            if view.dtype() != Dtype::F32 || view.data().len() != 4 * values.len() {
                return Err(damaged(format!("{kind}.{i} has another size")));
            }
            for (value, b) in values.iter_mut().zip(view.data().as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*b);
            }
        }
        slot.publish()?;
    }
    let mut curve = Curve::default();
    for (name, column) in columns_mut(&mut curve) {
        let view = tensor(&format!("curve.{name}"))?;
        column.extend(view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)));
    }
    Ok(Some(curve))
}

fn columns(c: &Curve) -> [(&'static str, &Vec<f64>); 5] {
    [("tokens", &c.tokens), ("rate", &c.rate), ("loss", &c.loss), ("norm", &c.norm), ("heldout", &c.heldout)]
}

fn columns_mut(c: &mut Curve) -> [(&'static str, &mut Vec<f64>); 5] {
    [
        ("tokens", &mut c.tokens),
        ("rate", &mut c.rate),
        ("loss", &mut c.loss),
        ("norm", &mut c.norm),
        ("heldout", &mut c.heldout),
    ]
}

fn broken(e: safetensors::SafeTensorError) -> Error {
    Error::refused(
        format!("a checkpoint cannot be written ({e})"),
        "this is a defect of personascope; please report it",
    )
}
