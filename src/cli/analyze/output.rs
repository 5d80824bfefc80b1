//! Where an analysis of given files goes, and how it is told.

use crate::cli::out::say;
use crate::cli::typed::command_line;
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::experiment::{Exports, Parts, write_to};
use crate::store::create_dir;
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct OutputArgs {
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Decides resamples and shuffles
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Figures as SVG alone, without PDF and PNG
    #[arg(long)]
    svg_only: bool,
}

impl OutputArgs {
    /// Writes tables, figures and `run.json`, and says what was found. `record` is what `run.json` holds besides: inputs,
    /// options, the verdict.
    pub fn finish(self, subject: &str, question: &str, inputs: &[&Path], found: Parts, record: Value) -> Result<bool> {
        let mut provenance = json!({
            "command": format!("analyze {subject}"),
            "command_line": command_line(),
            "personascope": env!("CARGO_PKG_VERSION"),
            "inputs": inputs.iter().map(|p| input(p)).collect::<Result<Vec<_>>>()?,
            "seed": self.seed,
        });
        if let Value::Object(record) = record {
            record.into_iter().for_each(|(key, value)| provenance[key] = value);
        }
        let found = found.findings(subject, question, provenance)?;
        create_dir(&self.out)?;
        let exports = if self.svg_only { Exports::SVG } else { Exports::ALL };
        write_to(&found, &self.out, &self.out, exports, &json!({}))?;
        found.summary.iter().for_each(|line| say!("{line}"));
        found.warnings.iter().for_each(|line| eprintln!("warning: {line}"));
        eprintln!("results in {}", self.out.display());
        Ok(true)
    }
}

/// The name of a file and the sum of its bytes: what was analysed can be told later.
fn input(path: &Path) -> Result<Value> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    if path.is_dir() {
        return Ok(json!({ "folder": name }));
    }
    let mut sum = blake3::Hasher::new();
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    sum.update_reader(file).map_err(|e| Error::io("read", path, e))?;
    Ok(json!({ "file": name, "blake3": sum.finalize().to_hex().to_string() }))
}

/// A CSV file as columns.
pub fn columns(path: &Path) -> Result<Columns> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    Columns::read(BufReader::new(file), &path.display().to_string())
}
