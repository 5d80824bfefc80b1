//! Vectors to read along and to push with: those of files, of the runs in a folder, and of persona space.
//!
//! A *group* is what a page calls a vector: one name of one file, with a unit vector at one site or more. Its id is
//! `SOURCE#NAME`.

mod read;
mod save;

pub use save::{Save, What};

use super::Problem;
use super::runs::find::SAVED;
use crate::axes::{Pick, Point, Site};
use crate::error::nearest;
use crate::model::Model;
use crate::vectors::Vector;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A vector as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorInfo {
    pub id: String,
    pub name: String,
    /// The file it is of, or what it was computed from.
    pub source: String,
    pub sites: Vec<Site>,
    /// Where it is read and applied unless somebody says otherwise: see [`default_site`].
    pub site: Site,
    /// What larger projections mean.
    pub positive: String,
    pub negative: String,
    pub origin: String,
    /// The rows it was fitted on, where all its sites say the same.
    pub pick: Option<Pick>,
    /// By site: its length before it was normalised, in activation units.
    pub raw_norm: BTreeMap<Site, f64>,
    pub warnings: Vec<String>,
    /// Of one that no file has: the name of the file that commands speak of, once it is saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
}

/// All vectors that fit a model. Shared between threads by reference.
pub struct Library {
    model: Fitting,
    folder: PathBuf,
    given: Vec<PathBuf>,
    groups: RwLock<BTreeMap<String, Group>>,
    /// What was left out.
    warnings: RwLock<Vec<String>>,
    /// Held while a file is written.
    writing: Mutex<()>,
}

/// What of a model decides which vectors are its own.
#[derive(Clone, Debug)]
struct Fitting {
    hash: String,
    checkpoint: String,
    d_model: usize,
    n_layers: usize,
    points: Vec<Point>,
}

#[derive(Clone, Debug)]
struct Group {
    source: String,
    name: String,
    /// As it is given to `steer`; `None` where no file has it.
    file: Option<PathBuf>,
    /// By site.
    vectors: Arc<Vec<Vector>>,
    warnings: Vec<String>,
}

impl Library {
    /// The vectors of `files` (`FILE`, or `FILE#NAME` for those of one name) and of the runs below `folder`, and what was
    /// left out: files that cannot be read, vectors of another model or width.
    pub fn open(model: &Model, files: &[PathBuf], folder: &Path) -> (Library, Vec<String>) {
        let dims = model.lm.dims();
        let fitting = Fitting {
            hash: model.hash.clone(),
            checkpoint: model.checkpoint.clone(),
            d_model: dims.d_model,
            n_layers: dims.n_layers,
            points: model.lm.points().to_vec(),
        };
        let (folder, given) = (folder.to_path_buf(), files.to_vec());
        let (groups, warnings) = (RwLock::default(), RwLock::default());
        let library = Library { model: fitting, folder, given, groups, warnings, writing: Mutex::default() };
        library.rescan();
        let warnings = library.warnings();
        (library, warnings)
    }

    /// Reads files and folder anew; gives how many vectors there are. Those that no file has stay.
    pub fn rescan(&self) -> usize {
        let (found, warnings) = read::all(&self.model, &self.given, &self.folder);
        *self.warnings.write().unwrap_or_else(PoisonError::into_inner) = warnings;
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, g| g.file.is_none());
        groups.extend(found);
        groups.len()
    }

    /// What was left out: files that cannot be read, vectors of another model or width.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All vectors: those that no file has first, then by file and name.
    pub fn list(&self) -> Vec<VectorInfo> {
        self.seen(|groups| {
            let mut all: Vec<_> = groups.iter().collect();
            all.sort_by_key(|(id, g)| (g.file.is_some(), *id));
            all.into_iter().map(|(id, g)| g.info(id, self.model.n_layers)).collect()
        })
    }

    /// What is told of one.
    ///
    /// # Errors
    /// No such vector.
    pub fn info(&self, id: &str) -> Result<VectorInfo, Problem> {
        self.seen(|groups| Ok(find(groups, id)?.info(id, self.model.n_layers)))
    }

    /// All vectors of a group, by site.
    ///
    /// # Errors
    /// No such vector.
    pub fn group(&self, id: &str) -> Result<Arc<Vec<Vector>>, Problem> {
        self.seen(|groups| Ok(find(groups, id)?.vectors.clone()))
    }

    /// The vector for a site: the one that is there; of a group with a single one that, moved to the site from wherever it
    /// was made, as `steer` has it.
    ///
    /// # Errors
    /// No such vector; none at the site.
    pub fn at(&self, id: &str, site: Site) -> Result<Vector, Problem> {
        let group = self.group(id)?;
        match (group.iter().find(|v| v.site == site), &group[..]) {
            (Some(vector), _) | (None, [vector]) => Ok(Vector { site, ..vector.clone() }),
            _ => {
                let sites: Vec<String> = group.iter().map(|v| v.site.to_string()).collect();
                let what = format!("the vector `{id}` has nothing at {site}");
                Err(Problem::refused(what, format!("it is at {}", sites.join(", "))))
            }
        }
    }

    /// The vector as the command line takes it, `FILE#NAME`. Of one that no file has yet it is where it would be saved
    /// under its own name; an unknown id stays as it is.
    pub fn file(&self, id: &str) -> String {
        self.seen(|groups| {
            let Some(group) = groups.get(id) else { return id.to_string() };
            let name = if group.name.is_empty() { String::new() } else { format!("#{}", group.name) };
            let own = || self.folder.join(SAVED).join(format!("{}.safetensors", group.stem()));
            let file = group.file.clone().unwrap_or_else(own);
            format!("{}{name}", file.display())
        })
    }

    /// Takes vectors that no file has in the place of all that `source` gave before.
    pub fn put(&self, source: &str, vectors: Vec<Vector>) {
        let found = read::grouped(source, None, vectors, &[]);
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, g| g.source != source || g.file.is_some());
        groups.extend(found);
    }

    fn seen<T>(&self, of: impl FnOnce(&BTreeMap<String, Group>) -> T) -> T {
        of(&self.groups.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Group {
    /// The file that it would be saved in, without its end.
    fn stem(&self) -> String {
        self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    fn info(&self, id: &str, n_layers: usize) -> VectorInfo {
        let sites: Vec<Site> = self.vectors.iter().map(|v| v.site).collect();
        let about = self.vectors.first().map(|v| v.about.clone()).unwrap_or_default();
        let name = [&self.name, &about.positive, &self.source].into_iter().find(|n| !n.is_empty());
        VectorInfo {
            id: id.into(),
            name: name.cloned().unwrap_or_default(),
            source: self.source.clone(),
            site: default_site(&sites, n_layers).unwrap_or(Site::Logits),
            sites,
            pick: about.pick.filter(|p| self.vectors.iter().all(|v| v.about.pick == Some(*p))),
            positive: about.positive,
            negative: about.negative,
            origin: about.origin,
            raw_norm: self.vectors.iter().map(|v| (v.site, v.raw_norm)).collect(),
            warnings: self.warnings.clone(),
            unsaved: self.file.is_none().then(|| self.stem()),
        }
    }
}

/// Of some sites the one to begin with: nearest to two thirds of the depth (layer `2 n / 3`, rounded down), where
/// directions of personas are clearest and edits still reach what follows; `resid_post` before other points, and of two as
/// near the later.
pub fn default_site(sites: &[Site], n_layers: usize) -> Option<Site> {
    let far = |site: &Site| {
        let off = site.layer().map_or(usize::MAX, |l| l.abs_diff(2 * n_layers / 3));
        (off, !matches!(site, Site::Block { point: Point::ResidPost, .. }), Reverse(*site))
    };
    sites.iter().copied().min_by_key(far)
}

fn find<'g>(groups: &'g BTreeMap<String, Group>, id: &str) -> Result<&'g Group, Problem> {
    groups.get(id).ok_or_else(|| {
        let hint = match nearest(id, groups.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "the list of vectors says which there are; look for them anew if it was just written".into(),
        };
        // An id comes from outside, and may be of any length.
        let shown: String = id.chars().take(200).collect();
        Problem::refused(format!("there is no vector `{shown}`"), hint)
    })
}

#[cfg(test)]
mod tests;
