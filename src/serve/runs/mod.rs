//! The results that lie in a folder: runs with their tables and figures, and the way to a file of one of them.
//!
//! A name from outside is looked up in what the folder was found to hold and never joined to a path unseen.

mod command;
mod figures;
pub mod filter;
pub mod find;
mod page;
mod record;

pub use page::{TableAsk, TablePage};
pub use record::{FigureInfo, ModelName, RunInfo, TableInfo};

use super::Problem;
use crate::error::nearest;
use record::Run;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Bytes of tables whose rows are counted in one search.
const COUNTED: u64 = 128 << 20;

/// The runs of a folder.
pub struct Runs {
    folder: PathBuf,
    model_hash: String,
    all: RwLock<Seen>,
}

#[derive(Default)]
struct Seen {
    root: PathBuf,
    runs: Vec<Run>,
    warnings: Vec<String>,
}

impl Runs {
    /// Looks for runs below a folder; `model_hash` tells those of the model that is open.
    pub fn open(folder: &Path, model_hash: &str) -> Runs {
        let runs = Runs { folder: folder.into(), model_hash: model_hash.into(), all: RwLock::default() };
        runs.rescan();
        runs
    }

    /// Looks anew; gives how many there are.
    pub fn rescan(&self) -> usize {
        let found = find::find(&self.folder);
        let mut budget = COUNTED;
        let read = |dir: &PathBuf| Run::read(&found.root, dir, &found.runs, &self.model_hash, &mut budget);
        let runs: Vec<Run> = found.runs.iter().filter_map(read).collect();
        let count = runs.len();
        let seen = Seen { root: found.root, runs, warnings: found.warnings };
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = seen;
        count
    }

    /// All runs, in the order of their folders.
    pub fn list(&self) -> Vec<RunInfo> {
        self.seen(|seen| seen.runs.iter().map(|r| r.info.clone()).collect())
    }

    /// What was left out of the search.
    pub fn warnings(&self) -> Vec<String> {
        self.seen(|seen| seen.warnings.clone())
    }

    /// A page of a table, named with or without `.csv`.
    ///
    /// # Errors
    /// A run or table that is not there; what [`TableAsk`] asks for and the table has not.
    pub fn table(&self, run: &str, table: &str, ask: &TableAsk) -> Result<TablePage, Problem> {
        plain(table)?;
        let name = table.strip_suffix(".csv").unwrap_or(table);
        let (path, _) = self.file(run, &format!("{name}.csv"))?;
        page::page(&path, &format!("{name}.csv"), ask)
    }

    /// The SVG file of a figure, named with or without `.svg`.
    ///
    /// # Errors
    /// As [`Runs::file`].
    pub fn figure(&self, run: &str, name: &str) -> Result<PathBuf, Problem> {
        plain(name)?;
        let name = name.strip_suffix(".svg").unwrap_or(name);
        Ok(self.file(run, &format!("{name}.svg"))?.0)
    }

    /// A file of a run and its media type: its record, directions, a table (`NAME.csv`) or a figure (`NAME.svg`).
    ///
    /// # Errors
    /// A name that could lead out of the folder (400); a run or file that is not among those listed, or that leads out of
    /// the folder by a link (404).
    pub fn file(&self, run: &str, name: &str) -> Result<(PathBuf, &'static str), Problem> {
        plain(name)?;
        inside(run)?;
        self.seen(|seen| {
            let run = seen.run(run)?;
            let known = run.files();
            let (_, path, mime) = known.iter().find(|(known, ..)| known == name).ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|k| k.0.as_str()).collect();
                let hint = match nearest(name, names.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("it has {}", names.join(", ")),
                };
                Problem::missing(format!("run `{}` has no file `{name}`", run.info.id), hint)
            })?;
            let real = path.canonicalize().ok().filter(|real| real.starts_with(&seen.root) && real.is_file());
            let gone = || Problem::missing(format!("`{name}` is not there any more"), "look for results anew");
            Ok((real.ok_or_else(gone)?, *mime))
        })
    }

    /// The newest run that has all these tables, and the paths of the tables.
    pub(super) fn newest_with(&self, tables: &[&str]) -> Option<(Run, Vec<PathBuf>)> {
        let has = |run: &&Run| tables.iter().all(|t| run.info.tables.iter().any(|known| known.name == *t));
        self.seen(|seen| {
            let newest = |a: &&Run, b: &&Run| (a.written, &b.info.id).cmp(&(b.written, &a.info.id));
            let run = seen.runs.iter().filter(has).max_by(newest)?;
            let paths = tables.iter().map(|t| run.dir.join(format!("{t}.csv"))).collect();
            Some((run.clone(), paths))
        })
    }

    fn seen<T>(&self, of: impl FnOnce(&Seen) -> T) -> T {
        of(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn run(&self, id: &str) -> Result<&Run, Problem> {
        self.runs.iter().find(|r| r.info.id == id).ok_or_else(|| {
            let hint = match nearest(id, self.runs.iter().map(|r| r.info.id.as_str())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "look for results anew; the list of runs says which there are".into(),
            };
            Problem::missing(format!("there is no run `{id}`"), hint)
        })
    }
}

impl Run {
    /// What may be downloaded: name, path, media type.
    fn files(&self) -> Vec<(String, PathBuf, &'static str)> {
        let tables = self.info.tables.iter().map(|t| format!("{}.csv", t.name));
        let tables = tables.map(|name| (name.clone(), self.dir.join(name), "text/csv; charset=utf-8"));
        let figures = self.figures.iter().map(|f| (format!("{}.svg", f.name), f.path.clone(), "image/svg+xml"));
        let mut all: Vec<_> = tables.chain(figures).collect();
        all.push(("run.json".into(), self.dir.join("run.json"), "application/json"));
        if self.info.vectors {
            all.push((find::DIRECTIONS.into(), self.dir.join(find::DIRECTIONS), "application/octet-stream"));
        }
        all
    }
}

/// Refuses what is no name of a file.
fn plain(name: &str) -> Result<(), Problem> {
    let leads_away = name.contains(['/', '\\', '\0']) || name.contains("..") || name.is_empty() || name.len() > 255;
    if !leads_away {
        return Ok(());
    }
    Err(Problem::bad("this is no name of a file of a run", "files are named as in the list of runs, without folders"))
}

/// Refuses what is no path below a folder.
fn inside(id: &str) -> Result<(), Problem> {
    let parts = || id.split('/');
    let away = id.contains(['\\', '\0']) || id.len() > 4096 || parts().any(|p| p == ".." || p.is_empty());
    if !away {
        return Ok(());
    }
    Err(Problem::bad("this is no run", "runs are named as in the list of runs"))
}

#[cfg(test)]
mod tests;
