//! Activations made elsewhere, brought into a store. What the numbers of their layers mean is stated, never guessed.

mod convention;
mod place;

pub use convention::{Axes, Convention};

use super::Appending;
use super::atomic::{create_dir, write_atomic};
use super::formats::sources::{Float, Sources};
use super::keys::Keys;
use super::layout::head;
use super::manifest::{Manifest, ROWS, RowFile, Stored, Sum, Width};
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::table::quoted;
use place::{Taken, copy, taken};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is imported, and as what.
#[derive(Clone, Debug)]
pub struct Import {
    /// A `.npz` or `.safetensors` file.
    pub acts: PathBuf,
    /// A CSV file with a header and a line for each row.
    pub keys: PathBuf,
    pub layers: Convention,
    /// Of an array of three dimensions.
    pub axes: Option<Axes>,
    /// The arrays that are taken; without a list all of two dimensions or more.
    pub arrays: Option<Vec<String>>,
    /// Blocks of the model.
    pub n_layers: Option<usize>,
    /// What a row is.
    pub pick: Option<Pick>,
    pub out: PathBuf,
    /// How the program was called.
    pub command_line: String,
}

/// What an import has made.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub rows: usize,
    pub sites: Vec<Width>,
    pub dtype: Stored,
    pub warnings: Vec<String>,
    /// The folder held all of it before.
    pub was_there: bool,
}

/// The one file of rows.
const ACTS: &str = "activations.safetensors";

/// Brings arrays and keys into a new store at `ask.out`, which appears whole or not at all. Rows keep the dtype of the
/// arrays where all have the same (f64 is rounded to f32). `progress` is told of bytes as they are read.
///
/// # Errors
/// Arrays whose layers the convention does not name; another number of keys than rows; values that are not finite; files
/// that are damaged; a folder that holds something else.
pub fn import(ask: &Import, progress: &mut dyn FnMut(u64)) -> Result<Imported> {
    let mut sources = Sources::open(&ask.acts)?;
    let mut warnings = Vec::new();
    let all = taken(ask, &sources, &mut warnings)?;
    let rows = all[0].rows;
    let keys = keys(ask, rows)?;
    let dtype = dtype(&all, &mut warnings);
    let mut sites: Vec<Width> = all.iter().flat_map(Taken::sites).collect();
    sites.sort_by_key(|w| w.site);
    let described = describe(ask, &sources, &all, (rows, dtype, &sites, &warnings))?;
    let plan_hash = described["plan_hash"].as_str().unwrap_or_default().to_string();
    let done = |was_there| Imported { rows, sites: sites.clone(), dtype, warnings: warnings.clone(), was_there };
    if is_there(&ask.out, &plan_hash)? {
        return Ok(done(true));
    }

    let folder = Aside::new(&ask.out)?;
    let dir = &folder.aside;
    write(&mut sources, &all, (&sites, rows, dtype), &dir.join(ACTS), progress)?;
    write_keys(&keys, &dir.join(ROWS))?;
    let text = serde_json::to_string_pretty(&described).unwrap_or_default() + "\n";
    write_atomic(&dir.join("run.json"), text.as_bytes(), true)?;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        plan_hash,
        rows,
        dtype,
        sites: sites.clone(),
        files: vec![RowFile { first_row: 0, rows, sum: Sum::of(dir, ACTS)? }],
        tables: vec![Sum::of(dir, ROWS)?],
        part: None,
    };
    manifest.write(dir)?;
    folder.finish()?;
    Ok(done(false))
}

/// A folder that is filled under another name.
struct Aside {
    aside: PathBuf,
    out: PathBuf,
    done: bool,
}

impl Aside {
    fn new(out: &Path) -> Result<Aside> {
        let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.is_empty() {
            let what = format!("{} is no name for a new folder", out.display());
            return Err(Error::refused(what, "give --out a folder that is not there yet"));
        }
        let aside = out.with_file_name(format!(".{name}.import.part"));
        if aside.exists() {
            // What an interrupted import has left.
            std::fs::remove_dir_all(&aside).map_err(|e| Error::io("remove", &aside, e))?;
        }
        create_dir(&aside)?;
        Ok(Aside { aside, out: out.into(), done: false })
    }

    fn finish(mut self) -> Result<()> {
        std::fs::rename(&self.aside, &self.out).map_err(|e| Error::io("write", &self.out, e))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_dir_all(&self.aside);
        }
    }
}

/// Whether the folder is what this import would make; a folder that holds something else is refused.
fn is_there(out: &Path, plan_hash: &str) -> Result<bool> {
    let mut entries = match std::fs::read_dir(out) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(|e| Error::io("read folder", out, e))?,
    };
    if entries.next().is_none() {
        return Ok(false);
    }
    if let Ok(Some(manifest)) = Manifest::read(out)
        && manifest.plan_hash == plan_hash
    {
        for sum in manifest.sums() {
            if let Some(damage) = sum.check(out)? {
                let what = format!("{}: {}", out.display(), sum.damaged(&damage));
                return Err(Error::refused(what, "remove the folder and run the same command again"));
            }
        }
        return Ok(true);
    }
    Err(Error::refused(
        format!("{} holds something else", out.display()),
        "choose another --out, or remove the folder; nothing in it was touched",
    ))
}

/// Keys as they will stand in `rows.csv`, which begins with `row` and `id`.
fn keys(ask: &Import, rows: usize) -> Result<Keys> {
    let place = ask.keys.display().to_string();
    let mut keys = Keys::read(&ask.keys, None)?;
    if keys.rows != rows {
        let what = format!("{} lines of keys, and the arrays have {rows} rows", keys.rows);
        return Err(Error::format(place, what, "a header, then one line for each row in the order of the arrays"));
    }
    if let Some(at) = keys.columns.iter().position(|c| c.name == "row") {
        let counts = keys.columns[at].ints().is_some_and(|v| v.zip(0..).all(|(v, i)| v == Some(i)));
        if counts {
            keys.columns.remove(at);
        } else if keys.columns.iter().any(|c| c.name == "source_row") {
            let what = "its column `row` does not count from 0, and `source_row` is taken";
            return Err(Error::format(place, what, "rename the column `row`"));
        } else {
            keys.columns[at].name = "source_row".into();
        }
    }
    if let Some(c) = keys.columns.iter().find(|c| c.name.parse::<Site>().is_ok()) {
        let what = format!("a column is named `{}`, as a site is", c.name);
        return Err(Error::format(place, what, "rename the column"));
    }
    Ok(keys)
}

fn write_keys(keys: &Keys, path: &Path) -> Result<()> {
    let mut file = Appending::create(path)?;
    let id = keys.columns.iter().position(|c| c.name == "id");
    let others = || keys.columns.iter().enumerate().filter(|(i, _)| Some(*i) != id).map(|(_, c)| c);
    let mut text = "row,id".to_string();
    others().for_each(|c| text.push_str(&format!(",{}", quoted(&c.name))));
    text.push('\n');
    for row in 0..keys.rows {
        let own = row.to_string();
        text.push_str(&own);
        text.push(',');
        text.push_str(&id.map_or(own, |at| quoted(&keys.columns[at].text(row))));
        for c in others() {
            text.push(',');
            text.push_str(&quoted(&c.text(row)));
        }
        text.push('\n');
        if text.len() > 1 << 20 {
            file.append(text.as_bytes())?;
            text.clear();
        }
    }
    file.append(text.as_bytes())?;
    file.finish()
}

/// That of the arrays where all have the same; f32 otherwise, which holds all but f64 exactly.
fn dtype(all: &[Taken], warnings: &mut Vec<String>) -> Stored {
    if all.iter().any(|t| t.number.kind == Float::F64) {
        warnings.push("float64 is rounded to float32".into());
    }
    let only = |kind| all.iter().all(|t| t.number.kind == kind);
    match (only(Float::F16), only(Float::Bf16)) {
        (true, _) => Stored::F16,
        (_, true) => Stored::Bf16,
        _ => Stored::F32,
    }
}

fn write(
    sources: &mut Sources,
    all: &[Taken],
    (sites, rows, dtype): (&[Width], usize, Stored),
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let io = |e| Error::io("write", path, e);
    let mut file = File::create(path).map_err(io)?;
    let (head, places) = head(sites, dtype, rows);
    file.write_all(&head).map_err(io)?;
    let starts: Vec<(Site, u64)> = sites.iter().zip(&places).map(|(w, at)| (w.site, *at)).collect();
    let end = places[places.len() - 1];
    file.set_len(end).map_err(io)?;
    for taken in all {
        copy(sources, taken, dtype, &starts, (&mut file, path), progress)?;
    }
    file.sync_all().map_err(io)
}

/// `run.json`. `plan_hash` covers all that decides a byte of the result.
fn describe(
    ask: &Import,
    sources: &Sources,
    all: &[Taken],
    (rows, dtype, sites, warnings): (usize, Stored, &[Width], &[String]),
) -> Result<Value> {
    let sum = |path: &Path| -> Result<Value> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let sum = Sum::of(path.parent().unwrap_or(Path::new("")), &name)?;
        Ok(json!({ "file": sum.file, "bytes": sum.bytes, "blake3": sum.blake3 }))
    };
    let from: serde_json::Map<String, Value> = all
        .iter()
        .flat_map(|t| t.layers.iter().map(move |(k, s)| (s.to_string(), json!(t.words(*k, sources)))))
        .collect();
    let names: Vec<String> = sites.iter().map(|w| w.site.to_string()).collect();
    let mut described = json!({
        "command": "import",
        "personascope": env!("CARGO_PKG_VERSION"),
        "plan_hash": "",
        "source": { "acts": sum(&ask.acts)?, "keys": sum(&ask.keys)? },
        "layers": ask.layers.name(),
        "convention": ask.layers.in_words(),
        "axes": ask.axes.map(Axes::name),
        "n_layers": ask.n_layers,
        "pick": ask.pick,
        "sites": names,
        "from": from,
        "rows": rows,
        "dtype": dtype,
        "warnings": warnings,
    });
    if let Some(n) = ask.n_layers {
        described["sites_in_words"] = sites.iter().map(|w| w.site.in_words(n)).collect();
    }
    described["plan_hash"] = format!("{:x}", Sha256::digest(described.to_string())).into();
    described["command_line"] = ask.command_line.as_str().into();
    Ok(described)
}
