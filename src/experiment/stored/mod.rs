//! The analyses of the shipped experiments on any store: captured here, or brought in from elsewhere.
//!
//! Sites are read one after another and let go: memory holds the rows of one site for each thread.

mod contrast;
mod draw;
mod map;

use super::findings::{Findings, Parts};
use crate::analysis::map::MapOptions;
use crate::analysis::sweep::SweepOptions;
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::store::formats::runs;
use crate::store::manifest::Width;
use crate::store::{Keys, Store};
use serde_json::{Value, json};
use std::ops::Range;
use std::str::FromStr;

/// What is asked of a store.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Each is a contrast vector per site, fitted on some groups and scored on others.
    pub contrasts: Vec<Contrast>,
    /// A map of the means of groups.
    pub map: Option<Mapped>,
    /// The column whose values are kept together when rows are split and resampled.
    pub group: String,
    pub sites: Vec<Width>,
    pub pick: Pick,
    pub sweep: SweepOptions,
    pub mapping: MapOptions,
    pub threads: usize,
}

/// Two values of a column; rows with neither have no part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contrast {
    pub column: String,
    pub positive: String,
    pub negative: String,
}

/// The column whose values are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub column: String,
    /// The value that stands apart from the others, such as the default assistant.
    pub default: Option<String>,
    /// The site that is drawn; the middle one of all without it.
    pub drawn: Option<Site>,
}

impl FromStr for Contrast {
    type Err = String;
    fn from_str(s: &str) -> Result<Contrast, String> {
        let parts = s.split_once('=').and_then(|(column, values)| Some((column, values.split_once(',')?)));
        match parts {
            Some((column, (positive, negative)))
                if !column.is_empty() && positive != negative && !negative.contains(',') =>
            {
                let of = str::to_string;
                Ok(Contrast { column: of(column), positive: of(positive), negative: of(negative) })
            }
            _ => Err("COLUMN=POSITIVE,NEGATIVE with two different values, none of which holds a comma".into()),
        }
    }
}

/// Runs the analyses. A pure function of the store, the question and its seed; threads change nothing. `progress` is told
/// of sites as they are done.
///
/// # Errors
/// A part of a store, columns, values or sites that are not there, too few groups to say anything.
pub fn analyse(store: &Store, ask: &Analysis, progress: &(dyn Fn(u64) + Sync)) -> Result<Findings> {
    store.whole()?;
    let mut found = Parts::default();
    if !ask.contrasts.is_empty() {
        contrast::run(store, ask, progress, &mut found)?;
    }
    if let Some(mapped) = &ask.map {
        map::run(store, ask, mapped, progress, &mut found)?;
    }
    if found.tables.is_empty() {
        return Err(Error::refused("nothing is asked of the store", "give --contrast COLUMN=A,B or --map COLUMN"));
    }
    found.findings("analysis", "What do the rows of this store say about their groups?", provenance(store, ask))
}

/// The rows for which `kept` holds, as runs and one by one.
struct Chosen {
    runs: Vec<Range<usize>>,
    rows: Vec<usize>,
}

impl Chosen {
    fn of(kept: &[bool]) -> Chosen {
        Chosen { runs: runs(kept), rows: (0..kept.len()).filter(|r| kept[*r]).collect() }
    }
}

/// Groups are compared in pairs: beyond this many, memory and time grow out of bounds.
const MOST_GROUPS: usize = 10_000;

/// The group of each chosen row.
fn groups_of(keys: &Keys, column: &str, rows: &[usize]) -> Result<Vec<String>> {
    let cells = keys.column(column)?;
    let groups: Vec<String> = rows.iter().map(|r| cells.text(*r).into_owned()).collect();
    if let Some(i) = groups.iter().position(String::is_empty) {
        let what = format!("row {} has no `{column}`, by which rows are grouped", rows[i]);
        return Err(Error::refused(what, "group by a column that every row has: --group COLUMN"));
    }
    let mut names: Vec<&str> = groups.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST_GROUPS {
        let what = format!("{} groups by `{column}`, and {MOST_GROUPS} are the most", names.len());
        return Err(Error::refused(what, "group by a coarser column, such as question or persona: --group COLUMN"));
    }
    Ok(groups)
}

fn provenance(store: &Store, ask: &Analysis) -> Value {
    let (run, m) = (store.run(), &store.manifest);
    let o = &ask.sweep;
    let contrasts: Vec<Value> = ask
        .contrasts
        .iter()
        .map(|c| json!({ "column": c.column, "positive": c.positive, "negative": c.negative }))
        .collect();
    let sites: Vec<String> = ask.sites.iter().map(|w| w.site.to_string()).collect();
    json!({
        "command": "analyze",
        "personascope": env!("CARGO_PKG_VERSION"),
        "store": { "command": run["command"], "plan_hash": m.plan_hash, "rows": m.rows, "dtype": m.dtype,
                   "convention": run["convention"] },
        "model": run["model"],
        "contrasts": contrasts,
        "map": ask.map.as_ref().map(|m| json!({ "column": m.column, "default": m.default })),
        "group": ask.group,
        "sites": sites,
        "pick": ask.pick,
        "seed": o.seed,
        "train_fraction": o.train_fraction,
        "folds": o.folds,
        "bootstrap": o.bootstrap,
        "permutations": o.permutations,
    })
}
