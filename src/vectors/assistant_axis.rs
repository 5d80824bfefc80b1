//! Tensors of assistant-axis: `[n_layers, d_model]`, a row for what each block leaves behind.
//!
//! By itself, or as `axis` in a dict, it points from the roles to the Assistant. As `vector` beside a `role` it is no
//! difference but a mean: where the replies in that role are.

use super::file::{File, Source};
use super::format::Format;
use super::pickle::{Plain, View, archive};
use super::rows::{empty_rows, rows, stack};
use super::{About, Vector};
use crate::axes::Site;
use crate::error::Result;
use serde_json::Value;

pub(super) fn read(source: &Source<'_>, root: View<'_, '_>) -> Result<File> {
    let plain = About { convention: Some(Format::AssistantAxis.facts().convention.into()), ..About::default() };
    let axis = About {
        positive: "the Assistant".into(),
        negative: "the mean of the roles".into(),
        origin: "the Assistant's mean minus that of the roles".into(),
        ..plain.clone()
    };
    let mut warnings = Vec::new();
    let mut tensors: Vec<(String, View<'_, '_>, About)> = Vec::new();
    if root.shape().is_some() {
        warnings.push(
            "a tensor by itself: taken to be an axis, on which larger is the Assistant, and row i to be resid_post.i"
                .into(),
        );
        tensors.push((String::new(), root, axis));
    } else if let Some(tensor) = root.get("axis") {
        let mut about = axis;
        for (key, value) in root.entries().unwrap_or_default() {
            let Some(key) = key.text().filter(|k| *k != "axis") else { continue };
            if value.shape().is_some() {
                warnings.push(format!("`{key}` beside the axis is a mean, no direction: left out"));
            } else {
                keep(&mut about, key, value);
            }
        }
        tensors.push((String::new(), tensor, about));
    } else if let Some(tensor) = root.get("vector") {
        let mut about = plain;
        for (key, value) in root.entries().unwrap_or_default() {
            if let Some(key) = key.text().filter(|k| *k != "vector") {
                keep(&mut about, key, value);
            }
        }
        let name = ["role", "trait"].iter().find_map(|k| root.get(k)?.text()).unwrap_or_default().to_string();
        if root.get("role").is_some() {
            about.origin = format!("mean over the replies in the role `{name}`");
            warnings.push(format!(
                "`{name}` is a mean of activations, no difference: steering along it moves towards all that its mean holds"
            ));
        } else if !name.is_empty() {
            about.positive = name.clone();
        }
        tensors.push((name, tensor, about));
    } else {
        for (key, value) in root.entries().ok_or_else(|| root.not("a tensor, or a dict of tensors,"))? {
            let name = key.text().ok_or_else(|| key.not("a name"))?;
            tensors.push((name.to_string(), value, plain.clone()));
        }
    }
    let (mut vectors, mut n_layers): (Vec<Vector>, Option<usize>) = (Vec::new(), source.options.n_layers);
    for (name, tensor, about) in tensors {
        let count = tensor.shape().and_then(|s| s.first()).copied();
        if n_layers.is_some() && n_layers != count {
            let wanted = format!("a tensor [{}, d_model], as the model or the others have it,", n_layers.unwrap_or(0));
            return Err(tensor.not(&wanted));
        }
        n_layers = count;
        let (found, zero) = rows(tensor, &name, &about, |k| Some(Site::post(k)))?;
        let whose = if name.is_empty() { "rows".into() } else { format!("rows of `{name}`") };
        warnings.extend(empty_rows(&zero, &whose));
        vectors.extend(found);
    }
    Ok(File { warnings, n_layers, ..File::new(Format::AssistantAxis, vectors) })
}

fn keep(about: &mut About, key: &str, value: View<'_, '_>) {
    if let Some(value) = value.json() {
        about.more.insert(key.into(), value);
    }
}

/// Without names `{"axis", "metadata"}`; of one name `{"vector", "type", "role"}`; of several a dict of tensors by name.
pub(super) fn write(vectors: &[&Vector], n_layers: usize) -> Result<Vec<u8>> {
    let width = vectors.first().map_or(0, |v| v.unit.len());
    let mut names: Vec<&str> = vectors.iter().map(|v| v.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let tensor = |name: &str| -> Result<Plain> {
        let own: Vec<&Vector> = vectors.iter().filter(|v| v.name == name).copied().collect();
        Ok(Plain::Tensor(vec![n_layers, width], stack(&own, n_layers, Site::layer)?))
    };
    let text = |v: &str| Plain::Text(v.into());
    archive(&match names.as_slice() {
        [""] => {
            let about = &vectors[0].about;
            let said = vec![
                ("larger_projection_means", text(&about.positive)),
                ("smaller_projection_means", text(&about.negative)),
                ("origin", text(&about.origin)),
            ];
            Plain::dict(vec![("axis", tensor("")?), ("metadata", Plain::dict(said))])
        }
        [name] => {
            let kind = vectors[0].about.more.get("type").and_then(Value::as_str).unwrap_or("mean");
            Plain::dict(vec![("vector", tensor(name)?), ("type", text(kind)), ("role", text(name))])
        }
        names => {
            let all: Result<Vec<(&str, Plain)>> = names.iter().map(|n| Ok((*n, tensor(n)?))).collect();
            Plain::dict(all?)
        }
    })
}
