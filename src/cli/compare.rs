//! `compare`: what fine-tunes of one base know of a trait, against what they carry and show.

use super::adapters::AdapterArgs;
use super::out::say;
use super::study::{Layout, Running, SetArgs, study};
use super::{ComputingArgs, WorkArgs};
use crate::error::{Error, Result};
use crate::experiment::{self, Exports, Settings};
use crate::store::write_atomic;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  personascope compare probes/knowing.toml --out knowing             the toy world's characters, formats and seeds
  personascope compare probes/recipes/c3po.toml --out c3po           one character on a real model: see the file
  personascope compare probes/recipes/c3po.toml --model DIR --set settings.samples=1 --out try     the same, smaller
  personascope check probes/recipes/c3po.toml                        what it would do, before it does it

DIR gets indices.csv, quadrants.csv, measures.csv and the tables behind them, figures, report.html and run.json. The same
file given to `run` puts tables and figures into folders of their own. Interrupted, the same command goes on where it was:
finished units and fine-tunes are kept in DIR/.personascope.")]
pub struct CompareArgs {
    /// A probe file of kind `knowing`
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    set: SetArgs,
    /// Figures as SVG alone, without PDF and PNG
    #[arg(long)]
    svg_only: bool,
    #[command(flatten)]
    computing: ComputingArgs,
    #[command(flatten)]
    work: WorkArgs,
}

/// Compares a base with its fine-tunes.
pub fn compare(args: CompareArgs) -> Result<bool> {
    let spec = args.set.read(&args.config)?;
    if !matches!(spec.settings, Settings::Knowing(_)) {
        let (config, kind) = (args.config.display(), spec.settings.kind());
        let what = format!("{config} is a probe of kind `{kind}`, and `compare` runs those of kind `knowing`");
        return Err(Error::refused(what, format!("personascope run {config}")));
    }
    let again = format!("personascope compare {} --out DIR{}", args.config.display(), args.set.as_typed());
    let running = Running {
        out: &args.out,
        layout: Layout::Flat,
        exports: if args.svg_only { Exports::SVG } else { Exports::ALL },
        adapters: &AdapterArgs::default(),
        opening: args.computing.opening()?,
        work: args.work,
    };
    let found = study(vec![spec], &running)?;
    let page = experiment::report("Knowing and feeling", &found, &|_| again.clone());
    let report = args.out.join("report.html");
    write_atomic(&report, page.as_bytes(), true)?;
    say!("\n{}", report.display());
    Ok(true)
}
