//! Our own format: a safetensors file of unit vectors, `[d_model]` f32 each under its key, and in the header, under
//! `directions`, a JSON object with the provenance of each by key.

use super::{About, Vector};
use crate::axes::Site;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The entry of the header.
pub(super) const ENTRY: &str = "directions";
/// How far from 1 the length of a stored unit vector may be.
const SLACK: f64 = 1e-3;

/// The file of some vectors, whose keys must differ.
///
/// # Errors
/// Two vectors with one key.
pub fn encode(vectors: &[Vector]) -> Result<Vec<u8>> {
    let defect = |e: &dyn std::fmt::Display| {
        Error::refused(format!("vectors cannot be written: {e}"), "please report it, with the command that led here")
    };
    let raw: Vec<(String, Vec<u8>)> =
        vectors.iter().map(|v| (v.key(), v.unit.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
    let mut about = Map::new();
    for v in vectors {
        let mut entry = serde_json::to_value(&v.about).map_err(|e| defect(&e))?;
        entry["site"] = json!(v.site);
        entry["raw_norm"] = json!(v.raw_norm);
        if about.insert(v.key(), entry).is_some() {
            let what = format!("two vectors have the key `{}`", v.key());
            return Err(Error::refused(what, "give them names of their own"));
        }
    }
    let mut views: Vec<(&str, TensorView)> = Vec::with_capacity(raw.len());
    for (name, bytes) in &raw {
        views.push((name, TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(|e| defect(&e))?));
    }
    // One entry: the order of several in the header would not be the same in every run.
    let header = HashMap::from([(ENTRY.to_string(), Value::Object(about).to_string())]);
    safetensors::serialize(views, Some(header)).map_err(|e| defect(&e))
}

/// The vectors of a file of ours, in the order of their sites; `None` where a safetensors file is not ours.
///
/// # Errors
/// A damaged file; a vector that is not of unit length, not finite, or without site and length.
pub fn decode(place: &str, bytes: &[u8]) -> Result<Option<Vec<Vector>>> {
    let damaged = |e: &dyn std::fmt::Display| {
        let reason = format!("not a whole safetensors file ({e})");
        Error::format(place, reason, "it is damaged or cut short; make or fetch it again")
    };
    let (_, head) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
    let Some(entry) = head.metadata().as_ref().and_then(|m| m.get(ENTRY)) else { return Ok(None) };
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
    let Ok(Value::Object(about)) = serde_json::from_str(entry) else {
        return Err(Error::format(place, format!("`{ENTRY}` in its header is no JSON object"), "make it again"));
    };
    let mut vectors = about.into_iter().map(|(key, a)| one(place, &file, key, a)).collect::<Result<Vec<_>>>()?;
    vectors.sort_by(|a, b| (a.site, &a.name).cmp(&(b.site, &b.name)));
    Ok(Some(vectors))
}

/// The vector under a key. Keys of ours are `site` or `site/name`; experiments write `name/pick/site`.
fn one(place: &str, file: &SafeTensors, key: String, mut about: Value) -> Result<Vector> {
    let bad = |reason: String| Error::format(place, format!("`{key}` {reason}"), "make the file again");
    let view = file.tensor(&key).map_err(|_| bad("is described and not there".into()))?;
    if view.dtype() != Dtype::F32 || view.shape().len() != 1 {
        return Err(bad(format!("is {:?} {:?}, not f32 [d_model]", view.dtype(), view.shape())));
    }
    let unit: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let length = unit.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if length.is_nan() || (length - 1.0).abs() >= SLACK {
        return Err(bad(format!("has length {length}, not 1")));
    }
    let mut take = |name: &str| about.as_object_mut().and_then(|o| o.shift_remove(name));
    let site: Option<Site> = take("site").and_then(|v| serde_json::from_value(v).ok());
    let norm = take("raw_norm").and_then(|v| v.as_f64()).filter(|n| *n > 0.0 && n.is_finite());
    let (Some(site), Some(raw_norm)) = (site, norm) else { return Err(bad("says no site or no raw_norm".into())) };
    let about: About =
        serde_json::from_value(about).map_err(|e| bad(format!("is described as what it is not ({e})")))?;
    let own = site.to_string();
    let name = match key.strip_prefix(&own).and_then(|rest| rest.strip_prefix('/')) {
        Some(name) => name.to_string(),
        None if key == own => String::new(),
        None => key.strip_suffix(&format!("/{own}")).unwrap_or(&key).to_string(),
    };
    Ok(Vector { site, name, unit, raw_norm, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let about = About { positive: "evil".into(), counts: Some([3, 4]), ..About::default() };
        let v = Vector::new(Site::post(2), "", &[3.0, 4.0], about.clone()).unwrap();
        assert_eq!((v.unit.clone(), v.raw_norm), (vec![0.6, 0.8], 5.0));
        let other = Vector::new(Site::post(1), "sad", &[0.0, -2.0], about).unwrap();
        let bytes = encode(&[v.clone(), other.clone()]).unwrap();
        assert_eq!(decode("f", &bytes).unwrap().unwrap(), [other, v.clone()]);
        assert!(encode(&[v.clone(), v]).unwrap_err().to_string().contains("two vectors"));
        assert!(decode("f", &bytes[..bytes.len() - 1]).is_err());
        assert!(Vector::new(Site::post(2), "", &[0.0, 0.0], About::default()).is_err());
    }
}
