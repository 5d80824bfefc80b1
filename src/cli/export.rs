//! `export`: a store, or some of its rows and sites, as a file for other programs.

use super::progress::Bar;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::formats::{Format, Selection, export as write, predicted};
use indicatif::HumanBytes;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  personascope export acts --format npz --out acts.npz
  personascope export acts --format npz --sites resid_post.2 --where role=assistant --out replies.npz
  personascope export acts --format safetensors --sites resid_post.all --out acts.safetensors
  personascope export acts --format csv --sites resid_post.2 --out small.csv
  personascope export acts --format parquet --out acts.parquet        of a build with --features parquet

npz: an array per site ([row, width], f16 as it is, bf16 as f32, which is exact) and one per column of the keys: int64, float64
with NaN for an empty cell, or text; `id` is always text. safetensors: tensors as they are stored, and the keys in
OUT.keys.csv. csv: a line per row. parquet: columns of the keys, and a list of f32 per site."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// A folder that `capture` or `import` wrote
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// npz, csv, safetensors, parquet
    #[arg(long)]
    format: Format,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Sites: a list of those that are kept, or resid_post.all [default: all]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// Rows in which a column of rows.csv shows a value; several columns all have to, one column may show any of several
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = cell)]
    cells: Vec<(String, String)>,
    /// Write a CSV file of more than 1 GB
    #[arg(long)]
    force: bool,
}

fn cell(text: &str) -> std::result::Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(column, _)| !column.is_empty());
    parts.map(|(c, v)| (c.into(), v.into())).ok_or("COLUMN=VALUE".into())
}

pub fn export(args: ExportArgs) -> Result<bool> {
    let store = Store::open(&args.store)?;
    let what = Selection::of(&store, args.sites.as_deref(), &args.cells)?;
    outside(&args.store, &args.out)?;
    let bytes = predicted(&store, &what, args.format)?;
    const LARGE: u64 = 1_000_000_000;
    if args.format == Format::Csv && bytes > LARGE && !args.force {
        let said = format!("a CSV file of about {}", HumanBytes(bytes));
        return Err(Error::refused(said, "take npz or safetensors, fewer --sites or rows, or say --force"));
    }
    eprintln!("{} rows at {} sites: about {}", what.count(), what.sites.len(), HumanBytes(bytes));
    let read = (what.count() * what.width() * store.manifest.dtype.size()) as u64;
    let bar = Bar::bytes("export", read);
    let written = write(&store, &what, args.format, &args.out, &mut |n| bar.forward(n))?;
    bar.end();
    for path in written {
        let size = std::fs::metadata(&path).map_or(0, |m| m.len());
        eprintln!("{} ({})", path.display(), HumanBytes(size));
    }
    let logits = what.sites.iter().find(|w| w.site == Site::Logits);
    if logits.is_some() && what.sites.len() > 1 {
        eprintln!("note: logits are among the sites; name others with --sites if they are not wanted");
    }
    Ok(true)
}

/// Refuses a file among those of the store, which it could overwrite.
fn outside(store: &Path, out: &Path) -> Result<()> {
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let same = store.canonicalize().ok().zip(parent.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    if same {
        let what = format!("{} is inside the store", out.display());
        return Err(Error::refused(what, "write it somewhere else: files of a store are never overwritten"));
    }
    Ok(())
}
