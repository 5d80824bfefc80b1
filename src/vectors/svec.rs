//! `.svec` files of IBM's activation-steering: JSON with a direction for each layer.

use super::file::{File, Source};
use super::format::Format;
use super::llamacpp::after_norm;
use super::rows::{layer, raw};
use super::{About, Vector};
use crate::axes::Site;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

pub(super) fn read(source: &Source<'_>) -> Result<File> {
    let bad = |reason: String| {
        Error::format(source.place, reason, "a .svec holds model_type, directions by layer, and variances")
    };
    let value: Value = serde_json::from_slice(source.bytes).map_err(|e| bad(format!("not JSON ({e})")))?;
    let all = value["directions"].as_object().ok_or_else(|| bad("no object `directions` in it".into()))?;
    let mut vectors = Vec::new();
    for (at, values) in all {
        let n = at.parse().map_err(|_| bad(format!("`{at}` in `directions` is no layer")))?;
        let n = layer(n, "`directions`")?;
        let numbers: Option<Vec<f64>> = values.as_array().and_then(|v| v.iter().map(Value::as_f64).collect());
        let numbers =
            numbers.filter(|n| !n.is_empty()).ok_or_else(|| bad(format!("direction {n} is no list of numbers")))?;
        let mut about = About { convention: Some(Format::Svec.facts().convention.into()), ..About::default() };
        about.dtype = Some("JSON".into());
        for (name, value) in
            [("model_type", &value["model_type"]), ("explained_variance", &value["explained_variances"][at])]
        {
            if !value.is_null() {
                about.more.insert(name.into(), value.clone());
            }
        }
        vectors.push(Vector::new(Site::post(n), "", &numbers, about)?);
    }
    let ours = value["written_by"].as_str() == Some("personascope");
    let n_layers = source.options.n_layers;
    let note = if ours { None } else { after_norm(&vectors, n_layers, 0, "activation-steering") };
    let warnings = note.into_iter().collect();
    Ok(File { warnings, n_layers, ..File::new(Format::Svec, vectors) })
}

/// A direction for each layer, unscaled.
pub(super) fn write(vectors: &[&Vector], model_type: &str) -> Vec<u8> {
    let (mut directions, mut variances) = (Map::new(), Map::new());
    for v in vectors {
        let at = v.site.layer().unwrap_or_default().to_string();
        if let Some(share) = v.about.more.get("explained_variance") {
            variances.insert(at.clone(), share.clone());
        }
        directions.insert(at, json!(raw(v)));
    }
    let all = json!({
        "model_type": model_type,
        "directions": directions,
        "explained_variances": variances,
        "written_by": "personascope",
    });
    all.to_string().into_bytes()
}
