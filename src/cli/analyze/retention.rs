//! `analyze retention`: how long personas are kept.

use super::output::{OutputArgs, columns};
use crate::analysis::survival::{Definition, Options, Retention, Run, retention as analyse};
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::experiment::{Parts, pages};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope analyze retention --in retention.csv --out results
  personascope analyze retention --in retention.csv --horizon 20 --covariates teaching_tokens --out results
  personascope analyze retention --in retention.csv --covariates none --svg-only --out results

Columns: run, group, turns, event (1 the persona broke at that turn, 0 the run ended in persona), and tokens of context where they
are known. Columns `turns@NAME` and `event@NAME` hold the break by another definition (rule, classifier, projection); `mode` names
how it broke. What else is a number is a covariate.

survival.csv: Kaplan-Meier curves with intervals. groups.csv: medians, restricted means. tests.csv: log-rank, Cox, differences of
restricted means, rank correlations, each empty with its reason where events are too few. agreement.csv: definitions compared."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RetentionArgs {
    /// A row per run
    #[arg(long = "in", value_name = "CSV")]
    input: PathBuf,
    /// Where restricted means end, in turns [default: the smallest of the groups' largest times]
    #[arg(long, value_name = "TURNS")]
    horizon: Option<f64>,
    /// The same in tokens
    #[arg(long, value_name = "TOKENS")]
    token_horizon: Option<f64>,
    /// Columns that Cox's model adjusts for: names with commas, or `none` [default: every number that is left]
    #[arg(long, value_name = "LIST")]
    covariates: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn retention(args: RetentionArgs) -> Result<bool> {
    let file = columns(&args.input)?;
    let (input, passed) = read(&file, args.covariates.as_deref())?;
    let options = Options { turns: args.horizon, tokens: args.token_horizon, seed: args.output.seed };
    let found = analyse(&input, &options)?;
    let tables = found.tables();
    let page = pages::retention::page("retention", &tables)?;
    let mut warnings = found.warnings.clone();
    if !passed.is_empty() {
        warnings.push(format!("columns that are no numbers and are passed over: {}", passed.join(", ")));
    }
    let parts = Parts {
        summary: pages::retention::summary(&tables),
        pages: vec![(page, vec!["survival", "groups", "tests"])],
        tables,
        warnings,
        ..Parts::default()
    };
    let record = json!({
        "covariates": input.covariates,
        "definitions": input.definitions.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(),
        "horizon_turns": args.horizon,
        "horizon_tokens": args.token_horizon,
    });
    args.output.finish("retention", "How long is a persona kept?", &[&args.input], parts, record)
}

const OWN: [&str; 6] = ["run", "group", "turns", "tokens", "event", "mode"];

/// The runs of a file, and the columns that are neither known nor numbers.
fn read(file: &Columns, asked: Option<&str>) -> Result<(Retention, Vec<String>)> {
    let (runs, groups, turns, broke) =
        (file.text("run")?, file.text("group")?, positive(file, "turns")?, file.flags("event")?);
    let tokens = if file.has("tokens") { Some(positive(file, "tokens")?) } else { None };
    let other: Vec<&String> = file.names().iter().filter(|n| !OWN.contains(&n.as_str()) && !n.contains('@')).collect();
    let (mut covariates, mut values, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    match asked.map(str::trim) {
        Some("none") => {}
        Some(list) => {
            for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                values.push(file.numbers_or_none(name)?);
                covariates.push(name.to_string());
            }
        }
        None => {
            for name in other {
                match file.numbers_or_none(name) {
                    Ok(column) if column.iter().any(Option::is_some) => {
                        values.push(column);
                        covariates.push(name.clone());
                    }
                    _ => passed.push(name.clone()),
                }
            }
        }
    }
    let modes = file.find("mode");
    let row = |i: usize| Run {
        run: runs[i].clone(),
        group: groups[i].clone(),
        turns: turns[i],
        tokens: tokens.as_ref().map(|t| t[i]),
        broke: broke[i],
        covariates: values.iter().map(|v| v[i]).collect(),
        mode: modes.map(|m| m[i].trim().to_string()).filter(|m| !m.is_empty()),
    };
    let definitions = definitions(file)?;
    Ok((Retention { runs: (0..file.rows()).map(row).collect(), covariates, definitions }, passed))
}

/// Pairs of columns `turns@NAME` and `event@NAME`; a run that a definition did not judge has both cells empty.
fn definitions(file: &Columns) -> Result<Vec<Definition>> {
    let mut found = Vec::new();
    for name in file.names().iter().filter_map(|n| n.strip_prefix("event@")) {
        let events = file.numbers_or_none(&format!("event@{name}"))?;
        let turns = file.numbers_or_none(&format!("turns@{name}"))?;
        let one = |(row, (turns, event)): (usize, (Option<f64>, Option<f64>))| match (turns, event) {
            (None, None) => Ok(None),
            (Some(t), Some(e)) if t > 0.0 && (e == 0.0 || e == 1.0) => Ok(Some((t, e == 1.0))),
            _ => Err(file.bad(
                row,
                &format!("event@{name}"),
                "no break: turns above 0 and an event of 0 or 1 are needed",
                "leave both cells empty where the definition judged nothing",
            )),
        };
        let ended = turns.into_iter().zip(events).enumerate().map(one).collect::<Result<Vec<_>>>()?;
        found.push(Definition { name: name.into(), ended });
    }
    if let Some(lost) =
        file.names().iter().filter_map(|n| n.strip_prefix("turns@")).find(|n| !file.has(&format!("event@{n}")))
    {
        let reason = format!("it has `turns@{lost}` and no `event@{lost}`");
        return Err(Error::format(file.place(), reason, "a definition of a break needs both columns"));
    }
    Ok(found)
}

fn positive(file: &Columns, name: &str) -> Result<Vec<f64>> {
    let values = file.numbers(name)?;
    match values.iter().position(|v| *v <= 0.0) {
        Some(row) => Err(file.bad(
            row,
            name,
            &format!("{} is not positive", values[row]),
            "count from the start of the run: a break at the first turn is at 1",
        )),
        None => Ok(values),
    }
}
