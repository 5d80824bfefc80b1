//! `analyze attractors`: what runs through a space of states are drawn to, from a table that is given.

use super::output::{OutputArgs, columns};
use crate::analysis::attractors::Options;
use crate::analysis::series::{Row, Series};
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::experiment::pages::attractors as pages;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope analyze attractors --in states.csv --out attractors
  personascope analyze attractors --in states.csv --out attractors --seed 1 --shuffles 999

A line of states.csv per run and turn, in any order: run, turn, z0, z1, ... (the state after the turn). Also read where they are
there: u0, u1, ... (the input that led into the turn: z_t = A z_(t-1) + b + B u_t + e), start (where the run began; runs with the same
start are paired), phase (free, driven, pulse, after, up, down), dose (size of a push at the turn; 0 is none), layer (every layer
is looked at by itself, and compared), chars (length of the reply), text_hash (equal where replies are).

Written: dynamics.csv (fixed point, spectral radius, half-life, what the state predicts beyond a shuffle of its run), basins.csv
(centres and weights), markov.csv, depth.csv (share that switched by dose, d50), contraction.csv (runs with one start), loops.csv,
conditions.csv, field.csv and trajectories.csv (first two components), attractors.svg. run.json holds the verdict: fixed_point,
provisional_fixed_point (nothing failed, something could not be tested), cycle, several, none, undecided."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AttractorsArgs {
    /// CSV with a line per run and turn: run, turn, z0.. (, u0.., start, phase, dose, layer, chars, text_hash)
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Resamples of runs behind an interval
    #[arg(long, value_name = "N", default_value_t = 1000)]
    bootstrap: usize,
    /// Shuffles of the turns of every run
    #[arg(long, value_name = "N", default_value_t = 199)]
    shuffles: usize,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn attractors(args: AttractorsArgs) -> Result<bool> {
    if args.shuffles < 19 {
        return Err(Error::refused(
            format!("--shuffles {} cannot give a p of 0.05", args.shuffles),
            "give 19 at least, better 199",
        ));
    }
    let series = read(&columns(&args.input)?)?;
    let options = Options { resamples: args.bootstrap, shuffles: args.shuffles, seed: args.output.seed };
    let (found, verdict) = pages::parts("attractors", &series, options);
    let sites: BTreeMap<String, serde_json::Value> =
        series.iter().map(|s| (s.site.clone(), json!(s.runs.len()))).collect();
    let record = json!({
        "verdict": verdict.verdict.to_string(),
        "verdicts": verdict.sites,
        "runs": sites,
        "states": series[0].k,
        "inputs_per_turn": series[0].m,
        "bootstrap": args.bootstrap,
        "shuffles": args.shuffles,
    });
    args.output.finish("attractors", "What are runs drawn to?", &[&args.input], found, record)
}

/// The rows of a file as series, one per layer.
fn read(c: &Columns) -> Result<Vec<Series>> {
    let (runs, z, u) = (c.text("run")?, c.family("z")?, c.family("u")?);
    if z.first().is_none_or(Vec::is_empty) {
        let hint = format!("its columns are {}", c.names().join(", "));
        return Err(Error::format(c.place(), "it has no states z0, z1, ...", hint));
    }
    let turns = turns(c)?;
    let number = |name: &str| if c.has(name) { c.numbers_or_none(name).map(Some) } else { Ok(None) };
    let (dose, chars) = (number("dose")?, number("chars")?);
    let word = |name: &str, row: usize| {
        let cell = c.find(name).map(|all| all[row].trim())?;
        (!cell.is_empty()).then(|| cell.to_string())
    };
    let mut seen: BTreeMap<(String, String, i64), usize> = BTreeMap::new();
    let mut rows = Vec::with_capacity(c.rows());
    for (i, (z, u)) in z.into_iter().zip(u).enumerate() {
        let site = word("layer", i).unwrap_or_default();
        if runs[i].trim().is_empty() {
            return Err(c.bad(i, "run", "the cell is empty", "name the run of every row"));
        }
        if let Some(first) = seen.insert((site.clone(), runs[i].clone(), turns[i]), i) {
            let what = format!("run `{}` has turn {} a second time (first in row {})", runs[i], turns[i], first + 1);
            return Err(c.bad(i, "turn", &what, "give one row per run, turn and layer"));
        }
        let dose = dose.as_ref().and_then(|d| d[i]);
        if dose.is_some_and(|d| d < 0.0) {
            let hint = "a dose is a size; give pushes in opposite directions as two files";
            return Err(c.bad(i, "dose", "it is below 0", hint));
        }
        rows.push(Row {
            run: runs[i].clone(),
            turn: turns[i],
            z,
            u,
            site,
            start: word("start", i),
            phase: word("phase", i),
            dose,
            chars: chars.as_ref().and_then(|c| c[i]),
            text_hash: word("text_hash", i),
        });
    }
    Series::of(rows)
}

fn turns(c: &Columns) -> Result<Vec<i64>> {
    let whole = |(row, v): (usize, f64)| match v.fract() == 0.0 && v.abs() < 9e15 {
        true => Ok(v as i64),
        false => Err(c.bad(row, "turn", &format!("{v} is no turn"), "number turns with whole numbers")),
    };
    c.numbers("turn")?.into_iter().enumerate().map(whole).collect()
}
