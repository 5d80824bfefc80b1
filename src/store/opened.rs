//! A store that is read: rows of a site from wherever they stand, keys beside them, nothing held as a whole.

use super::keys::Keys;
use super::manifest::{MANIFEST, Manifest, ROWS, Width};
use super::tensors::TensorFile;
use crate::acts::{Activations, RowKey};
use crate::axes::{Pick, Site};
use crate::csv::Csv;
use crate::error::{Error, Result};
use ndarray::Array2;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of activations with its manifest.
pub struct Store {
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// Columns of `rows.csv`, in order.
    pub columns: Vec<String>,
    /// The files of rows, opened when they are first read.
    files: Vec<OnceLock<TensorFile>>,
}

impl Store {
    /// Reads the manifest and the head of `rows.csv`. Files are neither opened nor verified: see [`Store::verify`].
    ///
    /// # Errors
    /// No store, one of another version, a manifest that contradicts itself.
    pub fn open(dir: &Path) -> Result<Store> {
        let Some(manifest) = Manifest::read(dir)? else { return Err(no_store(dir)) };
        consistent(&manifest, dir)?;
        let columns = match manifest.tables.iter().any(|t| t.file == ROWS) {
            false => Vec::new(),
            true => {
                let path = dir.join(ROWS);
                let file = File::open(&path).map_err(|e| Error::io("read", &path, e))?;
                Csv::open(BufReader::new(file), &path.display().to_string())?.1
            }
        };
        let files = manifest.files.iter().map(|_| OnceLock::new()).collect();
        Ok(Store { dir: dir.into(), manifest, columns, files })
    }

    /// `run.json`: how it was made; null where it says nothing.
    pub fn run(&self) -> Value {
        let text = std::fs::read(self.dir.join("run.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    /// What its rows are, where `run.json` says so in a word that is known.
    pub fn pick(&self) -> Option<Pick> {
        self.run()["pick"].as_str()?.parse().ok()
    }

    /// The sites of a comma-separated list (with ranges, `resid_post.all`, `all`), or all there are.
    ///
    /// # Errors
    /// A site that is not kept here.
    pub fn sites(&self, list: Option<&str>) -> Result<Vec<Width>> {
        let Some(list) = list else { return Ok(self.manifest.sites.clone()) };
        let here = || {
            let names: Vec<String> = self.manifest.sites.iter().map(|w| w.site.to_string()).collect();
            format!("kept here are {}", names.join(", "))
        };
        let layers = self.manifest.sites.iter().filter_map(|w| w.site.layer()).max().map_or(1, |l| l + 1);
        let mut chosen = Vec::new();
        for item in list.split(',').map(str::trim) {
            let asked = Site::parse_list(item, layers, &crate::axes::Point::ALL)
                .map_err(|_| Error::refused(format!("no site `{item}` in {}", self.dir.display()), here()))?;
            // `all` means all that there are; a site by its name has to be there.
            let broad = item == "all" || item.ends_with(".all");
            let found: Vec<Width> = self.manifest.sites.iter().filter(|w| asked.contains(&w.site)).copied().collect();
            if found.is_empty() || (!broad && found.len() < asked.len()) {
                return Err(Error::refused(format!("no site `{item}` in {}", self.dir.display()), here()));
            }
            chosen.extend(found);
        }
        let mut sites = self.manifest.sites.clone();
        sites.retain(|w| chosen.contains(w));
        Ok(sites)
    }

    /// Columns of the keys: `only` these, or all.
    ///
    /// # Errors
    /// No such column; another number of lines than the store has rows.
    pub fn keys(&self, only: Option<&[&str]>) -> Result<Keys> {
        let path = self.dir.join(ROWS);
        let keys = Keys::read(&path, only)?;
        if keys.rows != self.manifest.rows {
            let what = format!("{} lines of keys for {} rows", keys.rows, self.manifest.rows);
            return Err(Error::format(path.display().to_string(), what, self.mend()));
        }
        Ok(keys)
    }

    /// Rows of a site, `[row, width]`, exact in f32 whatever they are stored in.
    ///
    /// # Errors
    /// A site or rows that are not there; a file that is missing, cut short, or not what the manifest says.
    pub fn read(&self, site: Site, rows: Range<usize>) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        let mut bytes = Vec::new();
        self.read_bytes(site, rows, &mut bytes)?;
        self.manifest.dtype.decode(&bytes, &mut values);
        Ok(values)
    }

    /// Rows of a site as they are stored, little-endian, appended to `out`.
    ///
    /// # Errors
    /// The same as [`Store::read`].
    pub fn read_bytes(&self, site: Site, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let Some(width) = self.manifest.sites.iter().find(|w| w.site == site) else {
            return self.sites(Some(&site.to_string())).map(|_| ());
        };
        if rows.end > self.manifest.rows || rows.start > rows.end {
            let what = format!("rows {}..{} of a store with {}", rows.start, rows.end, self.manifest.rows);
            return Err(Error::refused(what, "ask for rows that are there"));
        }
        let row_bytes = width.width * self.manifest.dtype.size();
        for (i, file) in self.manifest.files.iter().enumerate() {
            let from = rows.start.max(file.first_row);
            let to = rows.end.min(file.first_row + file.rows);
            if from >= to {
                continue;
            }
            let open = self.file(i)?;
            let at =
                open.tensor(&site.to_string()).map_or(0, |t| t.start) + ((from - file.first_row) * row_bytes) as u64;
            let begin = out.len();
            out.resize(begin + (to - from) * row_bytes, 0);
            open.read_at(at, &mut out[begin..])?;
        }
        Ok(())
    }

    /// The given rows of a site with their keys, one for each row.
    ///
    /// # Errors
    /// Those of [`Store::read`], and values that are not finite.
    pub fn activations(&self, site: Site, pick: Pick, rows: &[Range<usize>], keys: Vec<RowKey>) -> Result<Activations> {
        let width = self.sites(Some(&site.to_string()))?[0].width;
        let mut values = Vec::with_capacity(keys.len() * width);
        let mut bytes = Vec::new();
        let at_once = (CHUNK / (width * self.manifest.dtype.size()).max(1)).max(1);
        for run in rows {
            for from in run.clone().step_by(at_once) {
                bytes.clear();
                self.read_bytes(site, from..run.end.min(from + at_once), &mut bytes)?;
                self.manifest.dtype.decode(&bytes, &mut values);
            }
        }
        let (found, expected) = (vec![values.len()], vec![keys.len(), width]);
        let shape = (keys.len(), width);
        let array = Array2::from_shape_vec(shape, values).map_err(|_| Error::Shape {
            place: "rows and keys".into(),
            name: site.to_string(),
            found,
            expected,
        })?;
        Activations::new(site, pick, array, keys)
    }

    /// Refuses what no analysis may look at: a part of a plan, or a store without rows.
    ///
    /// # Errors
    /// Says what to do instead.
    pub fn whole(&self) -> Result<()> {
        let name = self.dir.display();
        if let Some(part) = &self.manifest.part {
            return Err(Error::refused(
                format!("{name} is part {} of {} of a plan", part.index + 1, part.of),
                "join the parts first: personascope capture-merge",
            ));
        }
        if self.manifest.rows == 0 || self.manifest.sites.is_empty() {
            return Err(Error::refused(
                format!("{name} holds no rows{}", if self.manifest.tables.is_empty() { "" } else { ", only tables" }),
                "capture with rows, not with moments alone",
            ));
        }
        Ok(())
    }

    /// What makes a damaged store whole again.
    pub fn mend(&self) -> String {
        match self.run()["command"].as_str() {
            Some("import") => "remove the folder and run the same `personascope import` again".into(),
            _ => "run the same `personascope capture` again: it computes just what is damaged or missing".into(),
        }
    }

    /// A file of rows, checked against the manifest when it is first opened.
    pub(super) fn file(&self, i: usize) -> Result<&TensorFile> {
        if let Some(open) = self.files[i].get() {
            return Ok(open);
        }
        let entry = &self.manifest.files[i];
        let path = self.dir.join(&entry.sum.file);
        let open = TensorFile::open(&path)?;
        if let Some(what) = unlike(&open, &self.manifest, entry.rows) {
            return Err(Error::format(path.display().to_string(), what, self.mend()));
        }
        Ok(self.files[i].get_or_init(|| open))
    }
}

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 4 << 20;

/// How a file differs from what the manifest says of it.
fn unlike(file: &TensorFile, manifest: &Manifest, rows: usize) -> Option<String> {
    for w in &manifest.sites {
        let Some(t) = file.tensor(&w.site.to_string()) else { return Some(format!("it has no tensor `{}`", w.site)) };
        if t.dtype != manifest.dtype.tag() {
            return Some(format!("`{}` is {}, and the manifest says {}", t.name, t.dtype, manifest.dtype.tag()));
        }
        if t.shape != [rows, w.width] {
            return Some(format!("`{}` is {:?}, and the manifest says {:?}", t.name, t.shape, [rows, w.width]));
        }
    }
    let extra = file.tensors.iter().find(|t| !manifest.sites.iter().any(|w| w.site.to_string() == t.name));
    extra.map(|t| format!("it has a tensor `{}`, of which the manifest knows nothing", t.name))
}

/// Refuses a manifest whose numbers cannot all be true, or that names files outside its folder.
fn consistent(m: &Manifest, dir: &Path) -> Result<()> {
    let place = dir.join(MANIFEST).display().to_string();
    let bad = |what: String| Err(Error::format(&place, what, "run the command that made it again"));
    if let Some(sum) = m.sums().find(|s| s.file.contains(['/', '\\']) || s.file.starts_with('.') || s.file.is_empty()) {
        return bad(format!("`{}` is no name of a file in this folder", sum.file));
    }
    let mut names: Vec<&str> = m.sums().map(|s| s.file.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
        return bad(format!("`{}` is listed twice", pair[0]));
    }
    for (i, w) in m.sites.iter().enumerate() {
        if m.sites[..i].iter().any(|o| o.site == w.site) {
            return bad(format!("two tensors are named `{}`", w.site));
        }
        if w.width == 0 {
            return bad(format!("`{}` has no columns", w.site));
        }
    }
    let mut next = 0usize;
    for f in &m.files {
        if f.first_row != next {
            return bad(format!("{} begins at row {}, and row {next} comes next", f.sum.file, f.first_row));
        }
        next = match next.checked_add(f.rows) {
            Some(next) => next,
            None => return bad("more rows than can be counted".into()),
        };
    }
    if next != m.rows {
        return bad(format!("{next} rows in the files, and {} in all", m.rows));
    }
    if m.rows > 0 && !m.tables.iter().any(|t| t.file == ROWS) {
        return bad(format!("rows without {ROWS}"));
    }
    Ok(())
}

fn no_store(dir: &Path) -> Error {
    let place = dir.display().to_string();
    let there = |name: &str| dir.join(name).is_file();
    if there("activations.safetensors") || there("activations-00000.safetensors") {
        let hint = "run the same `personascope capture` with another --out, or bring it in: personascope import --acts \
                    DIR/activations.safetensors --keys DIR/rows.csv --layers sites --out NEW";
        return Error::format(place, format!("no {MANIFEST}: an older version wrote it, without checksums"), hint);
    }
    let hint = "give a folder that `personascope capture` or `personascope import` wrote";
    match dir.is_dir() {
        true => Error::format(place, format!("no {MANIFEST} in it"), hint),
        false => Error::format(place, "no such folder", hint),
    }
}

#[cfg(test)]
mod tests;
