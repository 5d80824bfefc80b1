//! Files to groups.

use super::{Fitting, Group};
use crate::axes::Site;
use crate::error::{Error, Result, nearest};
use crate::serve::runs::find::{find, relative};
use crate::vectors::{self, ReadOptions, Vector};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A larger file that nobody gave by name is passed over.
const LARGEST: u64 = 256 << 20;
/// Groups of all files.
const MOST: usize = 5000;

pub(super) type Groups = BTreeMap<String, Group>;

/// The groups of the files given and of those in a folder, and what was left out.
pub(super) fn all(model: &Fitting, given: &[PathBuf], folder: &Path) -> (Groups, Vec<String>) {
    let found = find(folder);
    let mut warnings = Vec::new();
    let mut groups = Groups::new();
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    for file in given {
        let (path, name) = named(file);
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let source = relative(&found.root, &real).unwrap_or_else(|| path.display().to_string());
        if name.is_none() {
            seen.insert(real);
        }
        match read(model, &source, &path, name.as_deref()) {
            Ok((of_file, said)) => {
                groups.extend(of_file);
                warnings.extend(said);
            }
            Err(e) => warnings.push(format!("{} is left out: {e}", file.display())),
        }
    }
    for path in found.vectors.iter().filter(|p| !seen.contains(*p)) {
        let Some(source) = relative(&found.root, path) else { continue };
        if std::fs::metadata(path).is_ok_and(|m| m.len() > LARGEST) {
            warnings.push(format!("{source} is left out: it has more than {} MiB; give it by name", LARGEST >> 20));
            continue;
        }
        // As it is typed where the page was started.
        match read(model, &source, &folder.join(&source), None) {
            Ok((of_file, said)) => {
                groups.extend(of_file);
                warnings.extend(said);
            }
            Err(e) => warnings.push(format!("{source} is left out: {e}")),
        }
    }
    if groups.len() > MOST {
        warnings.push(format!("there are {} vectors; the first {MOST} are taken", groups.len()));
        groups = groups.into_iter().take(MOST).collect();
    }
    (groups, warnings)
}

/// The groups of one file that fit the model.
pub(super) fn read(model: &Fitting, source: &str, path: &Path, name: Option<&str>) -> Result<(Groups, Vec<String>)> {
    let options = ReadOptions { n_layers: Some(model.n_layers), ..ReadOptions::default() };
    let file = vectors::read(path, None, options)?;
    let mut vectors = file.vectors;
    if let Some(name) = name {
        let names: Vec<String> = vectors.iter().map(|v| v.name.clone()).collect();
        vectors.retain(|v| v.name == name);
        if vectors.is_empty() {
            let what = format!("it has no vector named `{name}`");
            let meant = nearest(name, names.iter().map(String::as_str));
            return Err(Error::refused(what, meant.map_or("see `inspect`".into(), |m| format!("did you mean `{m}`?"))));
        }
    }
    let all = vectors.len();
    let mut other: BTreeMap<String, usize> = BTreeMap::new();
    vectors.retain(|v| match model.lacks(v) {
        None => true,
        Some(why) => {
            *other.entry(why).or_default() += 1;
            false
        }
    });
    let left_out = other.into_iter().map(|(why, n)| format!("{n} of {all} vectors of {source} are left out: {why}"));
    Ok((grouped(source, Some(path), vectors, &file.warnings), left_out.collect()))
}

impl Fitting {
    /// Why a vector is none of this model's.
    fn lacks(&self, v: &Vector) -> Option<String> {
        if v.unit.len() != self.d_model {
            return Some(format!("they have {} values, and d_model is {}", v.unit.len(), self.d_model));
        }
        let there =
            matches!(v.site, Site::Block { layer, point } if layer.0 < self.n_layers && self.points.contains(&point));
        if !there {
            return Some(format!("the model has no site {}", v.site));
        }
        let other = v.about.model_hash.as_ref().filter(|h| **h != self.hash && **h != self.checkpoint);
        other.map(|_| format!("they were made on another model ({})", v.about.model.as_deref().unwrap_or("no name")))
    }
}

/// Vectors by their names, each group by site.
pub(super) fn grouped(source: &str, file: Option<&Path>, vectors: Vec<Vector>, warnings: &[String]) -> Groups {
    let mut by_name: BTreeMap<String, Vec<Vector>> = BTreeMap::new();
    for vector in vectors {
        by_name.entry(vector.name.clone()).or_default().push(vector);
    }
    let group = |(name, mut vectors): (String, Vec<Vector>)| {
        vectors.sort_by_key(|v| v.site);
        vectors.dedup_by_key(|v| v.site);
        let mut warnings = warnings.to_vec();
        if vectors.iter().any(|v| v.about.model_hash.is_none()) {
            warnings.push("the file does not say which model it was made on".into());
        }
        let (source, file) = (source.to_string(), file.map(Path::to_path_buf));
        (format!("{source}#{name}"), Group { source, name, file, vectors: Arc::new(vectors), warnings })
    };
    by_name.into_iter().map(group).collect()
}

/// `FILE#NAME` in its parts; a file that is there by its whole name is that file.
fn named(file: &Path) -> (PathBuf, Option<String>) {
    match file.to_str().and_then(|f| f.rsplit_once('#')).filter(|_| !file.exists()) {
        Some((path, name)) => (PathBuf::from(path), Some(name.to_string())),
        None => (file.to_path_buf(), None),
    }
}
