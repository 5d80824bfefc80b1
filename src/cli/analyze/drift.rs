//! `analyze drift`: trajectories of conversations on an axis, from a table that is given.

use super::output::{OutputArgs, columns};
use crate::analysis::trajectory::{AlarmOptions, Band, RegressionOptions, TurnRow, runs};
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::experiment::pages::drift as pages;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  personascope analyze drift --in states.csv --out drift
  personascope analyze drift --in states.csv --calibration normal.csv --false-alarms 0.01 --out drift

A line of states.csv per run and turn: run, turn, projection. Also read where they are there: u0, u1, ... (what led into this
turn, such as an embedding of the message before it), z0, z1, ... (where the run is in a space of several dimensions), domain
(what the turn is about), calibration (1 for runs that are known to be normal, and that are then not looked at).

Normal is what calibration runs are, or else the first turn of every run. A run raises an alarm where a two-sided CUSUM in
deviations of that passes a threshold that the stated share of normal runs of the same length passes: by the calibration runs
themselves where enough of them are as long, by simulation as if turns were independent otherwise.

Written: turns.csv (means with 95 % bands), band.csv, rate.csv (slope and step per turn), alarms.csv (a line per run),
alarmed.csv (share of runs with an alarm by turn), consistency.csv (cosine of a step with the one before it), regression.csv
(the next projection by input, by state and by both, out of fold by run, beside a shuffled null), drift.svg."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DriftArgs {
    /// CSV with a line per run and turn: run, turn, projection (, u0.., z0.., domain, calibration)
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// CSV of the same kind with runs that are known to be normal
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Share of normal runs that may raise an alarm over their whole length
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    false_alarms: f64,
    /// Reference of the CUSUM in standard deviations: half of the shift that should be seen soonest
    #[arg(long, value_name = "K", default_value_t = 0.5)]
    reference: f64,
    /// Folds of runs behind the regressions
    #[arg(long, value_name = "K", default_value_t = 5)]
    folds: usize,
    /// Shuffles of a null
    #[arg(long, value_name = "N", default_value_t = 200)]
    permutations: usize,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn drift(args: DriftArgs) -> Result<bool> {
    check(&args)?;
    let given = Given::read(&args.input)?;
    let mut warnings = Vec::new();
    let (watched, normal) = match &args.calibration {
        None => given.split()?,
        Some(path) => {
            if given.calibration.iter().any(|c| *c) {
                return Err(Error::refused(
                    "runs are marked as calibration, and --calibration names others",
                    "leave one of the two out",
                ));
            }
            (given.rows, Given::read(path)?.rows)
        }
    };
    let all = runs(&watched)?;
    let band = if normal.is_empty() { Band::first_turns(&all)? } else { Band::calibrated(&runs(&normal)?)? };
    if let Some(r) = band.lag1.filter(|r| *r > 0.2) {
        warnings
            .push(format!("turns of calibration runs depend on each other (correlation {r:.2} with the one before)"));
    }
    let seed = args.output.seed;
    let alarming =
        AlarmOptions { reference: args.reference, false_alarms: args.false_alarms, seed, ..AlarmOptions::default() };
    let judging = RegressionOptions { folds: args.folds, permutations: args.permutations, seed };
    let mut found = pages::parts("drift", &all, &band, (alarming, judging), "projection");
    found.warnings.extend(warnings);
    let record = json!({
        "runs": all.len(),
        "turns": watched.len(),
        "calibration_turns": normal.len(),
        "false_alarms": args.false_alarms,
        "reference": args.reference,
        "folds": args.folds,
        "permutations": args.permutations,
        "seed": seed,
    });
    let inputs: Vec<&Path> =
        [Some(&args.input), args.calibration.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    args.output.finish("drift", "Do conversations drift, and does the state add to the input?", &inputs, found, record)
}

fn check(args: &DriftArgs) -> Result<()> {
    if !(args.false_alarms > 0.0 && args.false_alarms < 1.0) {
        return Err(Error::refused(format!("--false-alarms is {}", args.false_alarms), "give a share between 0 and 1"));
    }
    if !(args.reference >= 0.0 && args.reference.is_finite()) {
        return Err(Error::refused(
            format!("--reference is {}", args.reference),
            "give a number of standard deviations",
        ));
    }
    if args.folds < 3 {
        return Err(Error::refused(
            format!("--folds is {}", args.folds),
            "penalties are chosen inside folds: 3 at least",
        ));
    }
    Ok(())
}

/// A table of turns as it is read.
struct Given {
    rows: Vec<TurnRow>,
    /// Whether the run of a row is marked as normal.
    calibration: Vec<bool>,
}

impl Given {
    fn read(path: &Path) -> Result<Given> {
        let table = columns(path)?;
        let names = table.text("run")?;
        let (turns, projections) = (table.counts("turn")?, table.numbers("projection")?);
        let (inputs, states) = (table.family("u")?, table.family("z")?);
        let domains = table.find("domain");
        let rows = (0..table.rows()).map(|r| TurnRow {
            run: names[r].clone(),
            turn: turns[r],
            projection: projections[r],
            input: inputs[r].clone(),
            state: states[r].clone(),
            domain: domains.map_or_else(String::new, |d| d[r].clone()),
        });
        let calibration =
            if table.has("calibration") { table.flags("calibration")? } else { vec![false; table.rows()] };
        let given = Given { rows: rows.collect(), calibration };
        given.check(&table)?;
        Ok(given)
    }

    fn check(&self, table: &Columns) -> Result<()> {
        let mut kinds = std::collections::BTreeMap::new();
        for (row, (r, calibration)) in self.rows.iter().zip(&self.calibration).enumerate() {
            if r.run.is_empty() {
                return Err(table.bad(row, "run", "the cell is empty", "name the run of every row"));
            }
            if *kinds.entry(r.run.as_str()).or_insert(*calibration) != *calibration {
                let what = format!("run `{}` is calibration in some rows only", r.run);
                return Err(table.bad(row, "calibration", &what, "mark all turns of a run the same"));
            }
        }
        Ok(())
    }

    /// Runs that are watched, and runs that are known to be normal.
    fn split(self) -> Result<(Vec<TurnRow>, Vec<TurnRow>)> {
        let (normal, watched): (Vec<_>, Vec<_>) = self.rows.into_iter().zip(self.calibration).partition(|(_, c)| *c);
        let rows = |of: Vec<(TurnRow, bool)>| of.into_iter().map(|(r, _)| r).collect::<Vec<_>>();
        if watched.is_empty() {
            return Err(Error::refused("all runs are marked as calibration", "mark those that are known to be normal"));
        }
        Ok((rows(watched), rows(normal)))
    }
}
