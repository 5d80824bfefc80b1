//! One run: what its folder holds and its record says.

use super::command::command;
use super::figures::{Figure, figures};
use super::find::{DIRECTIONS, relative};
use crate::csv::Csv;
use serde::Serialize;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A larger record is none.
const LARGEST_RECORD: u64 = 16 << 20;
/// The first line of a table has no more bytes.
const LARGEST_HEADER: u64 = 1 << 20;
/// Tables of a run.
const MOST_TABLES: usize = 200;
/// Lines that a record is quoted with.
const MOST_LINES: usize = 100;

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunInfo {
    /// Its folder below the one that is shown; `.` for that itself.
    pub id: String,
    pub stem: String,
    /// The kind of probe, or the command.
    pub kind: String,
    pub question: String,
    /// What makes it again.
    pub command: String,
    pub model: ModelName,
    /// Whether it was made with the model that is open.
    pub same_model: bool,
    pub summary: Vec<String>,
    pub warnings: Vec<String>,
    pub tables: Vec<TableInfo>,
    pub figures: Vec<FigureInfo>,
    /// Whether it has directions.
    pub vectors: bool,
}

/// The model of a run, as far as it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelName {
    pub name: Option<String>,
    pub hash: Option<String>,
}

/// A table and its size, where it was counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableInfo {
    pub name: String,
    pub rows: Option<usize>,
    pub columns: Option<usize>,
}

/// A figure with what stands under it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureInfo {
    pub name: String,
    pub caption: String,
}

/// A run with the places of its files.
#[derive(Clone, Debug)]
pub struct Run {
    pub info: RunInfo,
    pub dir: PathBuf,
    /// When its record was written.
    pub written: SystemTime,
    pub figures: Vec<Figure>,
    /// Names and hashes of the fine-tunes that it compared.
    pub fine_tunes: Vec<(String, String)>,
}

impl Run {
    /// Reads the record of a folder. One that is damaged is a run with a warning. Bytes of tables that are counted are taken
    /// off `budget`.
    pub fn read(root: &Path, dir: &Path, all: &[PathBuf], model_hash: &str, budget: &mut u64) -> Option<Run> {
        let id = relative(root, dir)?;
        let (record, damage) = match record(&dir.join("run.json")) {
            Ok(record) => (record, None),
            Err(why) => (Value::Null, Some(format!("run.json {why}"))),
        };
        let text = |v: &Value| v.as_str().map(|s| s.trim().to_string());
        let folder = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = text(&record["stem"]).unwrap_or(folder);
        let figures = figures(root, dir, &stem, all);
        let model = ModelName { name: text(&record["model"]["name"]), hash: text(&record["model"]["hash"]) };
        let written = fs::metadata(dir.join("run.json")).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let flat = figures.iter().any(|f| f.path.parent() == Some(dir));
        let info = RunInfo {
            id,
            kind: text(&record["kind"]).or(text(&record["command"])).unwrap_or_default(),
            question: text(&record["question"]).unwrap_or_default(),
            command: command(&record, flat),
            same_model: model.hash.as_deref() == Some(model_hash),
            model,
            summary: lines(&record["summary"]),
            warnings: damage.into_iter().chain(lines(&record["warnings"])).chain(lines(&record["faults"])).collect(),
            tables: tables(dir).iter().map(|path| table(path, budget)).collect(),
            figures: figures.iter().map(|f| FigureInfo { name: f.name.clone(), caption: f.caption.clone() }).collect(),
            vectors: is_file(&dir.join(DIRECTIONS)),
            stem,
        };
        let tuned = |t: &Value| text(&t["name"]).zip(text(&t["hash"]));
        let fine_tunes = record["fine_tunes"].as_array().into_iter().flatten().filter_map(tuned).collect();
        Some(Run { info, dir: dir.into(), written, figures, fine_tunes })
    }
}

/// A regular file, and no link to one.
pub fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
}

/// The name of a file without its extension.
pub fn stem_of(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Files of a folder with an extension, by name; no links, nothing hidden.
pub fn files(dir: &Path, extension: &str, most: usize) -> Vec<PathBuf> {
    let ends = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str());
        name.is_some_and(|n| !n.starts_with('.')) && p.extension().is_some_and(|e| e == extension) && is_file(p)
    };
    let all = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut all: Vec<PathBuf> = all.filter(ends).take(10 * most).collect();
    all.sort();
    all.truncate(most);
    all
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    files(dir, "csv", MOST_TABLES)
}

fn record(path: &Path) -> Result<Value, String> {
    let bytes = fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if bytes > LARGEST_RECORD {
        return Err(format!("has {} MiB, which no record has", bytes >> 20));
    }
    let text = fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| format!("is damaged: {e}"))?;
    if value.is_object() { Ok(value) } else { Err("is damaged: it holds no JSON object".into()) }
}

fn lines(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(String::from)).take(MOST_LINES).collect()
}

/// Counts the rows of a table while the budget lasts; its columns in any case.
fn table(path: &Path, budget: &mut u64) -> TableInfo {
    let name = stem_of(path);
    let bytes = fs::metadata(path).map_or(u64::MAX, |m| m.len());
    let all = bytes <= *budget;
    let read = || {
        let file = File::open(path).ok()?.take(if all { bytes } else { LARGEST_HEADER });
        let (mut csv, columns) = Csv::open(BufReader::new(file), &name).ok()?;
        let (mut rows, mut cells) = (0, Vec::new());
        while all && csv.record(&mut cells).ok()? {
            rows += 1;
        }
        Some((columns.len(), all.then_some(rows)))
    };
    let (columns, rows) = read().map_or((None, None), |(columns, rows)| (Some(columns), rows));
    *budget = budget.saturating_sub(if all { bytes } else { 0 });
    TableInfo { name, rows, columns }
}
