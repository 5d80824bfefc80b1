//! `analyze DIR`: the shipped analyses on a store, captured or imported.

use crate::analysis::map::MapOptions;
use crate::analysis::sweep::SweepOptions;
use crate::axes::{Pick, Site};
use crate::cli::WorkArgs;
use crate::cli::out::say;
use crate::cli::progress::Bar;
use crate::cli::typed::command_line;
use crate::error::{Error, Result};
use crate::experiment::{Analysis, Contrast, Exports, Mapped, analyse as run, write_to};
use crate::store::{Store, create_dir};
use serde_json::json;
use std::path::{Path, PathBuf};

pub const EXAMPLES: &str = r#"Examples:
  personascope analyze acts --contrast persona=evil,good --group question --out results
  personascope analyze acts --contrast persona=evil,good --sites resid_post.10..20 --out results
  personascope analyze acts --map persona --out map
  personascope analyze acts --map persona --default assistant --site resid_post.14 --out map

--contrast fits a contrast vector per site on some groups and scores it on others, beside shuffled labels, with an interval:
layers.csv, contrast.svg, directions.safetensors. Groups are kept together when rows are split and resampled: name the column
whose values are independent (--group question where every question was asked under both instructions). --map: components of
the means by a column, with their null, as `analyze map` does of given vectors: variance.csv, place.csv, dimension.csv,
loadings.csv, neighbours.csv, map.svg."#;

#[derive(clap::Args)]
pub struct StoreArgs {
    /// A folder that `capture` or `import` wrote
    #[arg(value_name = "DIR")]
    store: Option<PathBuf>,
    /// Rows whose column shows the first value against rows where it shows the second; may come several times
    #[arg(long, value_name = "COLUMN=POSITIVE,NEGATIVE")]
    contrast: Vec<Contrast>,
    /// Map the means by this column
    #[arg(long, value_name = "COLUMN")]
    map: Option<String>,
    /// The value of that column that stands apart: the default assistant
    #[arg(long, value_name = "VALUE", requires = "map")]
    default: Option<String>,
    /// The site whose map is drawn [default: the middle one]
    #[arg(long, requires = "map")]
    site: Option<Site>,
    /// Rows with the same value here are never split, and are resampled together
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    group: String,
    /// Sites: a list of those that are kept, or resid_post.all [default: all]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// What a row is, where the store does not say: all (a token each), last_prompt, mean_response, each_turn
    #[arg(long)]
    pick: Option<Pick>,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Decides splits, resamples and shuffles
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Share of each class's groups that vectors are fitted on
    #[arg(long, value_name = "SHARE", default_value_t = 0.625)]
    train_fraction: f64,
    /// Folds of the training groups, by which the site is chosen
    #[arg(long, value_name = "N", default_value_t = 5)]
    folds: usize,
    /// Resamples of an interval
    #[arg(long, value_name = "N", default_value_t = 1000)]
    bootstrap: usize,
    /// Shuffles of the null
    #[arg(long, value_name = "N", default_value_t = 200)]
    permutations: usize,
    /// Figures as SVG alone, without PDF and PNG
    #[arg(long)]
    svg_only: bool,
    #[command(flatten)]
    work: WorkArgs,
}

pub fn store(args: StoreArgs) -> Result<bool> {
    // A subcommand has neither, so clap cannot ask for them.
    let Some(path) = args.store else {
        let hint = "name a store, or a subcommand: personascope analyze --help";
        return Err(Error::refused("nothing to analyze is named", hint));
    };
    let Some(out) = args.out else {
        return Err(Error::refused("there is no folder for the results", "say where they go: --out DIR"));
    };
    if args.contrast.is_empty() && args.map.is_none() {
        return Err(Error::refused("nothing is asked of the store", "give --contrast COLUMN=A,B or --map COLUMN"));
    }
    let store = Store::open(&path)?;
    store.whole()?;
    refuse_inside(&path, &out)?;
    let pick = args.pick.or_else(|| store.pick()).ok_or_else(|| {
        let what = format!("{} does not say what its rows are", path.display());
        Error::refused(what, "say it: --pick all, last_prompt, mean_response or each_turn")
    })?;
    if let Some(other) = store.pick().filter(|own| *own != pick) {
        let what = format!("--pick {pick}, and the store says {other}");
        return Err(Error::refused(
            what,
            "leave --pick out; directions fitted at different picks are different things",
        ));
    }
    let (seed, bootstrap, permutations) = (args.seed, args.bootstrap, args.permutations);
    let ask = Analysis {
        contrasts: args.contrast,
        map: args.map.map(|column| Mapped { column, default: args.default, drawn: args.site }),
        group: args.group,
        sites: store.sites(args.sites.as_deref())?,
        pick,
        sweep: SweepOptions { train_fraction: args.train_fraction, folds: args.folds, bootstrap, permutations, seed },
        mapping: MapOptions { bootstrap, permutations, seed, ..MapOptions::default() },
        threads: args.work.threads(),
    };
    let runs = ask.contrasts.len() + usize::from(ask.map.is_some());
    let bar = Bar::of("sites", (ask.sites.len() * runs) as u64);
    let found = run(&store, &ask, &|n| bar.forward(n));
    bar.end();
    let found = found?;
    create_dir(&out)?;
    let exports = if args.svg_only { Exports::SVG } else { Exports::ALL };
    write_to(&found, &out, &out, exports, &json!({ "command_line": command_line() }))?;
    found.summary.iter().for_each(|line| say!("{line}"));
    found.warnings.iter().for_each(|line| eprintln!("warning: {line}"));
    eprintln!("results in {}", out.display());
    Ok(true)
}

/// Results have a `run.json` of their own, which must not take the place of the store's.
fn refuse_inside(store: &Path, out: &Path) -> Result<()> {
    let same = store.canonicalize().ok().zip(out.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    match same {
        true => Err(Error::refused("--out is the store itself", "give a folder of its own to the results")),
        false => Ok(()),
    }
}
