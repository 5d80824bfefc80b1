//! The weights of a checkpoint: one file or several with an index, checked against each other.

use super::json;
use super::source::{Bytes, Files};
use crate::error::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The weights in one file. It comes before an index, as in transformers.
pub(super) const SINGLE: &str = "model.safetensors";
/// What says which file has which tensor.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Every tensor by name, with the number of its file.
pub(super) type Tensors<'a> = BTreeMap<String, (usize, TensorView<'a>)>;

/// The files with the weights.
pub(super) struct Shards {
    /// What messages call each, and its bytes.
    pub files: Vec<(String, Bytes)>,
    /// Their index, and what messages call it.
    index: Option<(String, Index)>,
}

impl Shards {
    /// Finds the files.
    ///
    /// # Errors
    /// There are none in a format that is read; an index that is damaged, or that names files that are not there.
    pub fn open(files: &Files) -> Result<Shards> {
        if let Some(bytes) = files.file(SINGLE)? {
            return Ok(Shards { files: vec![(files.place(SINGLE), bytes)], index: None });
        }
        let Some(bytes) = files.file(INDEX)? else { return Err(nothing_to_read(files)) };
        let place = files.place(INDEX);
        let index = Index::parse(&place, &json::object(&place, &bytes)?)?;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in index.files() {
            match files.file(&name)? {
                Some(bytes) => found.push((files.place(&name), bytes)),
                // All lie in one folder: the first says which.
                None if missing.is_empty() => missing.push(files.place(&name)),
                None => missing.push(name),
            }
        }
        if !missing.is_empty() {
            let of = index.files().len();
            let reason = format!("{} of {of} files are not there: {}", missing.len(), missing.join(", "));
            return Err(Error::format(place, reason, "fetch them from where the checkpoint comes from"));
        }
        Ok(Shards { files: found, index: Some((place, index)) })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// The tensors, and what is odd about them and yet no error.
    ///
    /// # Errors
    /// A file that is no whole safetensors file; a tensor in two files, or not in the file that the index names.
    pub fn tensors(&self) -> Result<(Tensors<'_>, Vec<String>)> {
        let mut tensors = Tensors::new();
        for (i, (place, bytes)) in self.files.iter().enumerate() {
            let file = SafeTensors::deserialize(bytes).map_err(|e| {
                let reason = format!("not a whole safetensors file of {} bytes ({e})", bytes.len());
                Error::format(place, reason, "the file is damaged or cut short; fetch it again")
            })?;
            for (name, view) in file.tensors() {
                if let Some((other, _)) = tensors.insert(name.clone(), (i, view)) {
                    let reason = format!("`{name}` is in {}, too", self.files[other].0);
                    return Err(Error::format(place, reason, "the files are not of one checkpoint; fetch them again"));
                }
            }
        }
        let mut warnings = Vec::new();
        if let Some((place, index)) = &self.index {
            let files = index.files();
            let absent = |(name, file): &(&String, &String)| {
                let found = tensors.get(*name).map(|(i, _)| &files[*i]);
                found != Some(*file)
            };
            let absent: Vec<String> =
                index.places.iter().filter(absent).map(|(name, file)| format!("`{name}` in {file}")).collect();
            if !absent.is_empty() {
                let reason = format!("names what is not there: {}", some_of(&absent));
                return Err(Error::format(
                    place,
                    reason,
                    "index and files are not of one checkpoint; fetch them again",
                ));
            }
            let held: u64 = tensors.values().map(|(_, view)| view.data().len() as u64).sum();
            if let Some(said) = index.total_size.filter(|said| *said != held) {
                warnings.push(format!("{place} says that the weights are {said} bytes, but the files hold {held}"));
            }
        }
        Ok((tensors, warnings))
    }
}

/// The index of a checkpoint in several files.
pub(super) struct Index {
    /// The file of each tensor.
    places: BTreeMap<String, String>,
    /// Bytes of all tensors, where it says so.
    total_size: Option<u64>,
}

impl Index {
    /// Reads the object in the file.
    ///
    /// # Errors
    /// No `weight_map`, an empty one, or one that names other things than safetensors files beside it.
    pub fn parse(place: &str, object: &Map<String, Value>) -> Result<Index> {
        let bad = |reason: String| Error::format(place, reason, "fetch the index file again");
        let map = object.get("weight_map").and_then(Value::as_object);
        let map = map.filter(|m| !m.is_empty()).ok_or_else(|| bad("no `weight_map` with names of tensors".into()))?;
        let one = |(tensor, file): (&String, &Value)| match file.as_str() {
            Some(file) if is_shard(file) => Ok((tensor.clone(), file.to_string())),
            _ => Err(bad(format!("`{tensor}` is said to be in {file}, which is no safetensors file beside it"))),
        };
        let places = map.iter().map(one).collect::<Result<_>>()?;
        let total_size = object.get("metadata").and_then(|m| m.get("total_size")).and_then(Value::as_f64);
        Ok(Index { places, total_size: total_size.map(|v| v as u64) })
    }

    /// The files, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.places.values().cloned().collect();
        files.sort();
        files.dedup();
        files
    }
}

/// A name that stays in its folder.
fn is_shard(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    name.ends_with(".safetensors") && name.chars().all(fine) && !name.starts_with('.')
}

/// The first few of a list, and how many more there are.
pub(super) fn some_of(all: &[String]) -> String {
    const FEW: usize = 4;
    let more = all.len().saturating_sub(FEW);
    let few = all[..all.len() - more].join(", ");
    if more > 0 { format!("{few} and {more} more") } else { few }
}

fn nothing_to_read(files: &Files) -> Error {
    let hint =
        "save it again with transformers, from_pretrained(FOLDER).save_pretrained(NEW), which writes safetensors";
    let names: Vec<String> = files
        .dir()
        .and_then(|dir| std::fs::read_dir(dir).ok())
        .map(|dir| dir.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let find = |fits: &dyn Fn(&str) -> bool| names.iter().filter(|n| fits(n)).min();
    let place = files.place(SINGLE);
    if let Some(old) = find(&|n| n.starts_with("pytorch_model") && !n.ends_with(".json")) {
        let reason = format!("there is only {old}: a pickle, which can run code and is not read");
        return Error::format(place, reason, hint);
    }
    if let Some(other) = find(&|n| n.ends_with(".gguf") || n.starts_with("consolidated")) {
        let reason = format!("there is no such file, only {other}, which is another layout");
        return Error::format(place, reason, "take the checkpoint in Hugging Face layout");
    }
    files.needed(SINGLE).err().unwrap_or_else(|| Error::format(place, "there is no such file", hint))
}
