//! `moments`: means, variances and projections of stored rows by group.

use super::capture::{MomentArgs, moments_over};
use super::progress::Bar;
use super::typed::command_line;
use crate::error::{Error, Result};
use crate::record::moments_of;
use crate::store::Store;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  personascope moments acts --by persona --out by-persona
  personascope moments acts --by role,turn --filter 'score>=3' --min-count 10 --sites resid_post.2 --out enacted

DIR is what `capture` or `import` wrote. The result is what `capture --keep moments` gives while it runs.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct MomentsArgs {
    /// A folder of rows
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// Sites [default: all that are there]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    moments: MomentArgs,
}

pub fn moments(args: MomentsArgs) -> Result<bool> {
    let store = Store::open(&args.store)?;
    store.whole()?;
    let sites = store.sites(args.sites.as_deref())?;
    let keys = store.keys(None)?;
    let known: Vec<String> = keys.columns.iter().map(|c| c.name.clone()).collect();
    let place = |name: &str| keys.columns.iter().find(|c| c.name == name);
    let moments = moments_over(&args.moments, keys.rows, &known, &sites, |row, column| {
        place(column).map_or("".into(), |c| c.text(row))
    })?;
    if args.out.exists() && args.out.canonicalize().ok() == args.store.canonicalize().ok() {
        let what = format!("--out {} is the folder of the rows", args.out.display());
        return Err(Error::refused(what, "give the moments a folder of their own"));
    }
    let mut described = json!({
        "command": "moments",
        "personascope": env!("CARGO_PKG_VERSION"),
        "plan_hash": "",
        "source": { "command": store.run()["command"], "plan_hash": store.manifest.plan_hash, "rows": store.manifest.rows },
        "model": store.run()["model"],
        "pick": store.run()["pick"],
        "sites": sites.iter().map(|s| s.site.to_string()).collect::<Vec<_>>(),
        "moments": args.moments.describe(&moments),
    });
    let directions: Vec<u8> = match &args.moments.project {
        Some(path) => std::fs::read(path).map_err(|e| Error::io("read", path, e))?,
        None => vec![],
    };
    let hash = Sha256::new().chain_update(described.to_string()).chain_update(directions).finalize();
    described["plan_hash"] = format!("{hash:x}").into();
    described["command_line"] = command_line().into();
    let bar = Bar::of("rows", store.manifest.rows as u64);
    moments_of(&store, &sites, &moments, &args.out, &described, &mut |done, all| bar.reach(done, all))?;
    bar.end();
    let (groups, rows) = (moments.grouping.groups.len(), store.manifest.rows);
    eprintln!("{rows} rows in {groups} groups at {} sites in {}", sites.len(), args.out.display());
    Ok(true)
}
