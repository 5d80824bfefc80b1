//! `capture-merge`: the parts of a capture that was dealt out, joined.

use super::super::progress::Bar;
use super::super::typed::command_line;
use crate::error::Result;
use crate::record::merge;
use crate::store::disk::Real;
use std::path::PathBuf;
use std::sync::Arc;

const EXAMPLES: &str = "Examples:
  personascope capture --prompts p.jsonl --pick each_turn --shard 0/2 --out part-0
  personascope capture --prompts p.jsonl --pick each_turn --shard 1/2 --out part-1
  personascope capture-merge --out acts part-0 part-1

The result has the bytes that one process would have written. The parts stay as they are. scripts/slurm has the job array.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct MergeArgs {
    /// The folders of all parts, in any order
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// Folder for the whole; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn capture_merge(args: MergeArgs) -> Result<bool> {
    let bar = Bar::bytes("joining", u64::MAX);
    let merged = merge(Arc::new(Real), &args.parts, &args.out, &command_line(), &mut |done, all| bar.reach(done, all))?;
    bar.end();
    let (rows, n, resumed) = (merged.rows, args.parts.len(), merged.rows_resumed);
    eprintln!("{rows} rows of {n} parts in {} ({resumed} resumed)", args.out.display());
    Ok(true)
}
