//! Control vectors for llama.cpp, and how their two producers count layers.
//!
//! llama.cpp adds `direction.l` to what block `l` leaves behind, and refuses layer 0. repeng numbers so. cvector-generator
//! stores what it took behind block `l` as `direction.{l+1}`, so that it is added one block later than it was made.

use super::file::{File, Source};
use super::format::{Format, Producer};
use super::gguf::{Gguf, Meta, build};
use super::rows::{layer, raw};
use super::{About, Vector};
use crate::axes::Site;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// Our entries of the metadata; the loader of llama.cpp reads none.
const PROVENANCE: &str = "personascope.directions";
const N_LAYERS: &str = "personascope.n_layers";
/// No model has more layers.
const MOST: u64 = 1 << 16;

pub(super) fn read(source: &Source<'_>) -> Result<File> {
    let gguf = Gguf::parse(source.place, source.bytes, MOST)?;
    let kind = gguf.text("general.architecture").unwrap_or("not said");
    if kind != "controlvector" {
        let what = format!("{}: a GGUF file of the architecture `{kind}`, no control vector", source.place);
        return Err(Error::refused(what, "give a control vector: `general.architecture` is `controlvector` there"));
    }
    let ours = gguf.text(PROVENANCE).and_then(|t| serde_json::from_str::<Map<String, Value>>(t).ok());
    let (producer, mut warnings) = producer(source, &gguf, ours.is_some())?;
    let convention = producer.in_words();
    let mut vectors = Vec::new();
    for t in &gguf.tensors {
        let Some(number) = t.name.strip_prefix("direction.") else {
            warnings.push(format!("tensor `{}` is no direction: left out", t.name));
            continue;
        };
        let bad =
            || Error::format(source.place, format!("tensor `{}` names no layer", t.name), "names are direction.N");
        let k = layer(number.parse().map_err(|_| bad())?, "a control vector")?;
        let l = match producer {
            Producer::Repeng => k,
            Producer::CvectorGenerator => k.checked_sub(1).ok_or_else(|| {
                Error::format(
                    source.place,
                    "it has a direction.0, which cvector-generator never writes",
                    "try --producer repeng",
                )
            })?,
        };
        let mut about = About { convention: Some(convention.into()), dtype: Some(t.dtype.into()), ..About::default() };
        let mut name = String::new();
        if let Some(said) = ours.as_ref().and_then(|o| o.get(&t.name)) {
            about = serde_json::from_value(said.clone()).unwrap_or(about);
            name = about.more.shift_remove("name").and_then(|n| n.as_str().map(String::from)).unwrap_or_default();
        } else if let Some(hint) = gguf.text("controlvector.model_hint") {
            about.more.insert("model_type".into(), hint.into());
        }
        vectors.push(Vector::new(Site::post(l), &name, &t.values, about)?);
    }
    let stored = match gguf.get(N_LAYERS) {
        Some(Meta::U32(n)) => Some(*n as usize),
        _ => None,
    };
    let n_layers = source.options.n_layers.or(stored);
    if producer == Producer::Repeng && ours.is_none() {
        warnings.extend(after_norm(&vectors, n_layers, 1, "repeng"));
    }
    let convention = format!("{convention}; llama.cpp adds direction.l to what block l leaves behind");
    Ok(File { warnings, n_layers, convention, ..File::new(Format::LlamacppGguf, vectors) })
}

/// Who wrote it: repeng counts its layers in an unsigned number, cvector-generator in a signed one.
fn producer(source: &Source<'_>, gguf: &Gguf, ours: bool) -> Result<(Producer, Vec<String>)> {
    let told = match gguf.get("controlvector.layer_count") {
        _ if ours => Some(Producer::Repeng),
        Some(Meta::U32(_)) => Some(Producer::Repeng),
        Some(Meta::I32(_)) => Some(Producer::CvectorGenerator),
        _ => None,
    };
    match (source.options.producer, told) {
        (Some(asked), Some(told)) if asked != told => Ok((
            asked,
            vec![format!("read as of {}, as asked; its layer_count is as {} writes it", asked.name(), told.name())],
        )),
        (Some(asked), _) => Ok((asked, vec![])),
        (None, Some(told)) if ours => Ok((told, vec![])),
        (None, Some(told)) => Ok((
            told,
            vec![format!(
                "taken to be of {}, by the type of its layer_count ({}); off-by-one: the other producer numbers one block apart, \
                 so say --producer if it is not",
                told.name(),
                told.in_words()
            )],
        )),
        (None, None) => Err(Error::format(
            source.place,
            "it does not tell who wrote it, and repeng and cvector-generator number layers one block apart",
            "say --producer repeng or --producer cvector-generator",
        )),
    }
}

/// What to say of a vector of the last block that was made after the final norm. Where the number of blocks is not known,
/// layers that are all there from `first` on, as they are when a program took every one, are enough to say it.
pub(super) fn after_norm(vectors: &[Vector], n_layers: Option<usize>, first: usize, whose: &str) -> Option<String> {
    let mut layers: Vec<usize> = vectors.iter().filter_map(|v| v.site.layer()).collect();
    layers.sort_unstable();
    let all = layers.len() > 1 && layers.iter().enumerate().all(|(i, l)| *l == i + first);
    let guess = layers.last().filter(|_| all).map(|l| l + 1);
    let n = n_layers.or(guess)?;
    let last = Site::post(n.checked_sub(1)?);
    let unsure = if n_layers.is_some() { "" } else { "if the model has no more blocks, " };
    vectors.iter().any(|v| v.site == last).then(|| {
        format!(
            "{unsure}the vector at {last}, after the last block of {n}, was made by {whose} at hidden_states[{n}], which is after \
             the final norm (the post-norm row), and is applied before it"
        )
    })
}

/// Numbered as repeng does; provenance beside, in metadata that the loader does not read.
pub(super) fn write(vectors: &[&Vector], model_type: &str, n_layers: Option<usize>) -> Vec<u8> {
    let mut tensors = Vec::new();
    let mut said = Map::new();
    for v in vectors {
        let name = format!("direction.{}", v.site.layer().unwrap_or_default());
        let mut about = serde_json::to_value(&v.about).unwrap_or_default();
        if !v.name.is_empty() && about.is_object() {
            about["name"] = json!(v.name);
        }
        said.insert(name.clone(), about);
        tensors.push((name, raw(v)));
    }
    let mut metadata = vec![
        ("general.architecture", Meta::Text("controlvector".into())),
        ("controlvector.model_hint", Meta::Text(model_type.into())),
        ("controlvector.layer_count", Meta::U32(tensors.len() as u32)),
        (PROVENANCE, Meta::Text(Value::Object(said).to_string())),
    ];
    if let Some(n) = n_layers.and_then(|n| u32::try_from(n).ok()) {
        metadata.push((N_LAYERS, Meta::U32(n)));
    }
    build(&metadata, &tensors)
}
