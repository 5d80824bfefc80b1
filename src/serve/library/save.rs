//! Vectors into a file of ours, with where they come from.

use super::read::read;
use super::{Library, VectorInfo};
use crate::error::Error;
use crate::serve::Problem;
use crate::serve::runs::find::SAVED;
use crate::serve::space::Space;
use crate::store::{create_dir, write_atomic};
use crate::vectors::{Vector, encode};
use serde::Deserialize;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// A vector to be kept in a file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Save {
    /// The name of the file below `vectors`, without folder; `.safetensors` is added.
    pub file: String,
    /// What the vector is called in it; empty for the name that it has.
    #[serde(default)]
    pub name: String,
    pub what: What,
}

/// What is saved.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum What {
    /// The displacement from a role, or from the default assistant, to a role of persona space.
    Role {
        role: String,
        #[serde(default)]
        against: Option<String>,
    },
    /// A vector that is there, all its sites.
    Vector { vector: String },
}

/// Names are no longer than this.
const LONGEST: usize = 80;

impl Library {
    /// Saves what was asked for.
    ///
    /// # Errors
    /// As [`Library::write`]; a role or vector that is not there, persona space that is not computed yet.
    pub fn save(&self, ask: &Save, space: &Space) -> Result<VectorInfo, Problem> {
        // A name that could lead elsewhere is one whatever else is asked.
        stem(&ask.file)?;
        let vectors = match &ask.what {
            What::Vector { vector } => self.group(vector)?.to_vec(),
            What::Role { role, against } => space.difference(role, against.as_deref())?,
        };
        let own = vectors.first().map_or("", |v| &v.name);
        let name = if ask.name.is_empty() && label(own).is_ok() { own } else { &ask.name }.to_string();
        self.write(&ask.file, &name, vectors)
    }

    /// Writes vectors into `vectors/FILE.safetensors` of the folder, whole or not at all, and takes them up.
    ///
    /// # Errors
    /// A name that could not be one of a file there (400), a file that is there already, vectors that no file can hold.
    pub fn write(&self, file: &str, name: &str, vectors: Vec<Vector>) -> Result<VectorInfo, Problem> {
        let stem = stem(file)?;
        label(name)?;
        // Where a vector comes from is not known better here than where it was made.
        let vectors: Vec<Vector> = vectors.into_iter().map(|v| Vector { name: name.into(), ..v }).collect();
        let bytes = encode(&vectors)?;
        let path = {
            let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            put(&self.folder, &stem, &bytes)?
        };
        let source = format!("{SAVED}/{stem}.safetensors");
        let (found, left_out) = read(&self.model, &source, &path, None)?;
        let id = format!("{source}#{name}");
        if let Some(why) = left_out.first() {
            return Err(Problem::refused(why.clone(), "this is a defect of personascope; please report it"));
        }
        self.groups.write().unwrap_or_else(PoisonError::into_inner).extend(found);
        self.info(&id)
    }
}

/// The name of a file without its end, where it can be one.
fn stem(file: &str) -> Result<String, Problem> {
    let stem = file.strip_suffix(".safetensors").unwrap_or(file);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if stem.is_empty()
        || stem.len() > LONGEST
        || stem.starts_with('.')
        || stem.contains("..")
        || !stem.chars().all(plain)
    {
        let hint =
            format!("letters, digits, `_`, `-` and `.`, not the last in front; at most {LONGEST} of them, no folder");
        return Err(Problem::bad("this is no name of a file of vectors", hint));
    }
    Ok(stem.into())
}

/// Refuses what cannot be told apart behind a site in a file.
fn label(name: &str) -> Result<(), Problem> {
    let odd = |c: char| c.is_control() || c == '#';
    if name.len() <= LONGEST && !name.contains(odd) && !name.ends_with('/') && name.trim() == name {
        return Ok(());
    }
    let hint = format!("at most {LONGEST} bytes on one line, without `#`, and no `/` or space at the end");
    Err(Problem::refused("this is no name of a vector", hint))
}

/// A new file in the folder of saved vectors; one that is there is left as it is.
fn put(folder: &Path, stem: &str, bytes: &[u8]) -> Result<PathBuf, Problem> {
    let dir = folder.join(SAVED);
    create_dir(&dir)?;
    let io = |doing, path: &Path| {
        let path = path.to_path_buf();
        move |e| Problem::from(Error::io(doing, path, e))
    };
    let root = folder.canonicalize().map_err(io("resolve", folder))?;
    if !dir.canonicalize().is_ok_and(|real| real == root.join(SAVED)) {
        let what = format!("{} leads out of the folder", dir.display());
        return Err(Problem::bad(what, "put a folder in the place of the link"));
    }
    let path = dir.join(format!("{stem}.safetensors"));
    let there = || {
        let what = format!("{SAVED}/{stem}.safetensors is there already");
        Problem::refused(what, "choose another name: what is there is not overwritten")
    };
    if fs::symlink_metadata(&path).is_ok() {
        return Err(there());
    }
    // A link to a whole file is made only where the name is free, also of other processes.
    let whole = dir.join(format!(".{stem}.{}.whole", std::process::id()));
    write_atomic(&whole, bytes, true)?;
    let linked = fs::hard_link(&whole, &path);
    let done = match linked {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(there()),
        // A file system without such links.
        Err(_) => fs::rename(&whole, &path).map_err(io("write", &path)),
        Ok(()) => Ok(()),
    };
    let _ = fs::remove_file(&whole);
    done.map(|()| path)
}
