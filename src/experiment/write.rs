//! Findings to files: tables, directions and the record of the run in one folder, figures in another.

use super::findings::Findings;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::store::{create_dir, write_atomic};
use crate::vectors::{Vector, encode};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Which renderings of a figure are written beside its SVG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exports {
    pub pdf: bool,
    /// At 300 dots per inch.
    pub png: bool,
}

impl Exports {
    /// SVG, PDF and PNG.
    pub const ALL: Exports = Exports { pdf: true, png: true };
    /// SVG alone.
    pub const SVG: Exports = Exports { pdf: false, png: false };
}

/// Writes `notebooks/<stem>/*.csv`, `directions.safetensors` and `run.json`, and `figures/<name>.svg` with its caption in
/// `<name>.md`; the paths written come back in order. Entries of `extra` (an object) are added to `run.json`.
///
/// Apart from the counts under `work` in `run.json` the same plan gives the same bytes.
///
/// # Errors
/// A folder or file that cannot be written; files appear whole or not at all.
pub fn write(
    findings: &Findings,
    notebooks: &Path,
    figures: &Path,
    exports: Exports,
    extra: &Value,
) -> Result<Vec<PathBuf>> {
    write_to(findings, &notebooks.join(&findings.stem), figures, exports, extra)
}

/// [`write()`] with the folder of the tables named outright.
///
/// # Errors
/// The same.
pub fn write_to(
    findings: &Findings,
    dir: &Path,
    figures: &Path,
    exports: Exports,
    extra: &Value,
) -> Result<Vec<PathBuf>> {
    create_dir(dir)?;
    create_dir(figures)?;
    let mut written = Vec::new();
    let mut put = |path: PathBuf, bytes: &[u8]| -> Result<()> {
        write_atomic(&path, bytes, true)?;
        written.push(path);
        Ok(())
    };
    for table in &findings.tables {
        put(dir.join(format!("{}.csv", table.name)), table.to_csv().as_bytes())?;
    }
    if !findings.vectors.is_empty() {
        put(dir.join("directions.safetensors"), &directions(findings)?)?;
    }
    for drawn in &findings.figures {
        put(figures.join(format!("{}.svg", drawn.name)), drawn.figure.svg.as_bytes())?;
        put(figures.join(format!("{}.md", drawn.name)), format!("{}\n", drawn.caption).as_bytes())?;
        if exports.pdf {
            put(figures.join(format!("{}.pdf", drawn.name)), &drawn.figure.to_pdf()?)?;
        }
        if exports.png {
            put(figures.join(format!("{}.png", drawn.name)), &drawn.figure.to_png(300.0)?)?;
        }
    }
    // Last, so that a folder with a record is complete.
    let record = record(findings, extra);
    let text = serde_json::to_string_pretty(&record).map_err(|e| defect(&e))?;
    put(dir.join("run.json"), format!("{text}\n").as_bytes())?;
    Ok(written)
}

/// The record of a run: the resolved plan, what it was run on, warnings, and how much was computed or resumed.
pub(super) fn record(findings: &Findings, extra: &Value) -> Value {
    let mut record = findings.provenance.clone();
    record["summary"] = json!(findings.summary);
    record["warnings"] = json!(findings.warnings);
    if let Value::Object(extra) = extra {
        for (key, value) in extra {
            record[key.as_str()] = value.clone();
        }
    }
    let t = &findings.tally;
    // What reads a store does no work in units.
    if t.units > 0 {
        record["work"] = json!({ "units": t.units, "rows_computed": t.rows_computed, "rows_resumed": t.rows_resumed });
    }
    record
}

/// One unit vector per tensor, `site/meaning/pick`, with its provenance in the header.
fn directions(findings: &Findings) -> Result<Vec<u8>> {
    let hash = findings.provenance["model"]["hash"].as_str().map(String::from);
    let model = findings.provenance["model"]["name"].as_str().map(String::from);
    let named = |d: &Direction| {
        let mut vector = Vector::from(d);
        vector.name = format!("{}/{}", d.positive.replace(' ', "_"), d.pick);
        (vector.about.model, vector.about.model_hash) = (model.clone(), hash.clone());
        vector
    };
    encode(&findings.vectors.iter().map(named).collect::<Vec<_>>())
}

fn defect(e: &dyn std::fmt::Display) -> Error {
    let what = format!("findings cannot be written: {e}");
    Error::refused(what, "this is a defect of personascope; please report it")
}
