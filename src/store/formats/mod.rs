//! A store, or some of its rows and sites, as files that other programs open. Files appear whole or not at all.

mod csv;
pub mod npy;
mod npz;
#[cfg(feature = "parquet")]
mod parquet;
mod safetensors;
pub mod sources;

use super::keys::{Column, Keys};
use super::manifest::{Stored, Width};
use super::opened::{CHUNK, Store};
use crate::error::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What is exported: sites in forward order, rows in theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    pub sites: Vec<Width>,
    /// Runs of rows, ascending.
    pub rows: Vec<Range<usize>>,
}

impl Selection {
    /// The sites of a list (see [`Store::sites`]), and the rows in which each column named in `cells` shows one of the
    /// values given for it.
    ///
    /// # Errors
    /// A site or column that is not there; a condition that no row fulfils; a store without rows, or a part of one.
    pub fn of(store: &Store, sites: Option<&str>, cells: &[(String, String)]) -> Result<Selection> {
        store.whole()?;
        let sites = store.sites(sites)?;
        let total = store.manifest.rows;
        if cells.is_empty() {
            return Ok(Selection { sites, rows: std::iter::once(0..total).collect() });
        }
        let mut names: Vec<&str> = Vec::new();
        cells.iter().for_each(|(name, _)| {
            if !names.contains(&name.as_str()) {
                names.push(name)
            }
        });
        let keys = store.keys(Some(&names))?;
        let mut kept = vec![true; total];
        for column in &keys.columns {
            let mut any = vec![false; total];
            for (_, value) in cells.iter().filter(|(name, _)| *name == column.name) {
                let hits = column.is(value);
                if !hits.contains(&true) {
                    let few: Vec<String> = column.distinct().into_iter().take(8).collect();
                    let hint = format!("`{}` holds {}, ...", column.name, few.join(", "));
                    return Err(Error::refused(format!("no row has {} = `{value}`", column.name), hint));
                }
                any.iter_mut().zip(hits).for_each(|(a, h)| *a |= h);
            }
            kept.iter_mut().zip(any).for_each(|(k, a)| *k &= a);
        }
        let rows = runs(&kept);
        match rows.is_empty() {
            true => Err(Error::refused("no row fulfils all conditions", "give fewer, or look at rows.csv")),
            false => Ok(Selection { sites, rows }),
        }
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.rows.iter().map(ExactSizeIterator::len).sum()
    }

    /// Values of a row at all sites.
    pub fn width(&self) -> usize {
        self.sites.iter().map(|w| w.width).sum()
    }

    /// The row numbers, in order.
    pub fn each(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().cloned().flatten()
    }

    /// Runs no longer than `most` rows, in order.
    fn pieces(&self, most: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let most = most.max(1);
        self.rows.iter().flat_map(move |r| r.clone().step_by(most).map(move |from| from..r.end.min(from + most)))
    }
}

/// The runs of `true`.
pub(crate) fn runs(kept: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for r in (0..kept.len()).filter(|r| kept[*r]) {
        match runs.last_mut() {
            Some(last) if last.end == r => last.end += 1,
            _ => runs.push(r..r + 1),
        }
    }
    runs
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An array for each site and each column of the keys.
    Npz,
    /// A line for each row: keys, then values.
    Csv,
    /// A tensor for each site, and the keys in a CSV file beside it.
    Safetensors,
    /// A row for each row: columns of the keys, and a list for each site. Behind the cargo feature `parquet`.
    Parquet,
}

impl FromStr for Format {
    type Err = String;
    fn from_str(s: &str) -> Result<Format, String> {
        match s {
            "npz" => Ok(Format::Npz),
            "csv" => Ok(Format::Csv),
            "safetensors" => Ok(Format::Safetensors),
            "parquet" => Ok(Format::Parquet),
            _ => Err("one of npz, csv, safetensors, parquet".into()),
        }
    }
}

/// About how many bytes a file will have: close for arrays, an upper estimate for text.
///
/// # Errors
/// Keys that cannot be read.
pub fn predicted(store: &Store, what: &Selection, format: Format) -> Result<u64> {
    let (rows, width) = (what.count() as u64, what.width() as u64);
    let keys = store.manifest.tables.iter().find(|t| t.file == super::manifest::ROWS).map_or(0, |t| t.bytes);
    let keys = (keys as f64 * rows as f64 / store.manifest.rows.max(1) as f64) as u64;
    let size = store.manifest.dtype.size() as u64;
    Ok(match format {
        Format::Csv => rows * width * 13 + keys,
        Format::Safetensors => rows * width * size + keys,
        Format::Parquet => rows * width * 4 + keys,
        Format::Npz => {
            let values = if store.manifest.dtype == Stored::Bf16 { 4 } else { size };
            let table = store.keys(None)?;
            let keys: u64 = table.columns.iter().map(|c| Kind::of(c).size() as u64).sum();
            rows * (width * values + keys)
        }
    })
}

/// Writes the file (and for safetensors its keys beside it); the paths come back. `progress` is told of bytes of the
/// store as they are read.
///
/// # Errors
/// A format that was not compiled in, damaged files of the store, a disk that is full. Nothing is left half-written.
pub fn export(
    store: &Store,
    what: &Selection,
    format: Format,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<PathBuf>> {
    let keys = store.keys(None)?;
    let clash = keys.columns.iter().find(|c| what.sites.iter().any(|w| w.site.to_string() == c.name));
    if let Some(c) = clash.filter(|_| format != Format::Safetensors) {
        let what = format!("a column of the keys is named `{}`, as a site is", c.name);
        return Err(Error::refused(what, "export as safetensors, where keys are in a file of their own"));
    }
    match format {
        Format::Npz => npz::write(store, what, &keys, out, progress),
        Format::Csv => csv::write(store, what, &keys, out, progress),
        Format::Safetensors => safetensors::write(store, what, &keys, out, progress),
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::write(store, what, &keys, out, progress),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Err(Error::refused(
            "this build cannot write parquet: it was made without the feature `parquet`",
            "build with `cargo build --release --features parquet`, or export as npz",
        )),
    }
}

/// What a column of keys becomes where columns have types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Whole numbers, none of them missing.
    Int,
    /// Numbers; a missing one is NaN.
    Float,
    /// Text of so many characters at most.
    Text(usize),
}

impl Kind {
    /// `id` is text whatever it looks like: it is what joins rows to prompts.
    fn of(column: &Column) -> Kind {
        const EXACT: f64 = 9.007_199_254_740_992e15;
        if column.name != "id" {
            if column.ints().is_some_and(|mut v| v.all(|x| x.is_some())) {
                return Kind::Int;
            }
            if column.numbers().is_some_and(|v| v.iter().flatten().all(|x| x.abs() < EXACT)) {
                return Kind::Float;
            }
        }
        Kind::Text(column.longest().max(1))
    }

    /// Bytes of a cell in an array of numpy.
    fn size(self) -> usize {
        match self {
            Kind::Int | Kind::Float => 8,
            Kind::Text(n) => 4 * n,
        }
    }
}

/// Rows read at once, so that all sites of them stay in bounds.
fn rows_at_once(store: &Store, what: &Selection) -> usize {
    (CHUNK / (what.width() * store.manifest.dtype.size()).max(1)).max(1)
}

/// The lines of keys of the chosen rows, as CSV.
fn key_lines(keys: &Keys, rows: Range<usize>, out: &mut String) {
    for row in rows {
        key_line(keys, row, out);
        out.push('\n');
    }
}

fn key_line(keys: &Keys, row: usize, out: &mut String) {
    for (i, column) in keys.columns.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&crate::table::quoted(&column.text(row)));
    }
}

fn head_line(keys: &Keys) -> String {
    keys.columns.iter().map(|c| crate::table::quoted(&c.name)).collect::<Vec<_>>().join(",")
}
