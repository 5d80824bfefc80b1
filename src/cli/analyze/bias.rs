//! `analyze bias`: persona and authorial bias told apart.

use super::output::{OutputArgs, columns};
use crate::analysis::shares::{Design, Label, Options, Site, site, tables};
use crate::cli::rows::Rows;
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::experiment::{Parts, pages};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope analyze bias --in vectors.npz --labels vectors.csv --out results
  personascope analyze bias --in vectors.npz --labels vectors.csv --sites resid_post.12..20 --before base --out results

vectors.npz holds an array [row, d_model] per site, named by it (resid_post.3). vectors.csv: a line per row in the same order, with
model, role, prompt; `row` (0, 1, ...) is checked where it is there, `is_default` (0 or 1) marks the default persona. A prompt is the
same one under all roles and models that have it.

shares.csv: of the variance of rows, the shares of the persona, of the model whoever speaks (its authorial bias), of what a model
does to one persona, and of prompts and noise; effects without their noise, so that a share of zero may come out slightly below.
shift.csv: the common shift of all personas between two models. sharpening.csv: the default persona under each model."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BiasArgs {
    /// Arrays by site: npz, npy or safetensors
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// A line per row of the arrays
    #[arg(long, value_name = "CSV")]
    labels: PathBuf,
    /// Sites: a list of those that are there, or resid_post.all [default: all]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// The model that shifts start from [default: the first by name]
    #[arg(long, value_name = "MODEL")]
    before: Option<String>,
    /// Random sign flips behind p-values, where there are too many for all of them
    #[arg(long, value_name = "N", default_value_t = 1999)]
    permutations: usize,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn bias(args: BiasArgs) -> Result<bool> {
    let rows = Rows::open(&args.input, args.sites.as_deref())?;
    let labels = labels(&columns(&args.labels)?)?;
    if labels.len() != rows.count {
        let reason = format!("it labels {} rows, and the arrays have {}", labels.len(), rows.count);
        return Err(Error::format(args.labels.display().to_string(), reason, "give a line per row, in the same order"));
    }
    let options = Options { permutations: args.permutations, seed: args.output.seed, ..Options::default() };
    let design = Design::of(&labels, args.before.as_deref(), options.seed)?;
    let all: Vec<usize> = (0..rows.count).collect();
    let mut found: Vec<Site> = Vec::new();
    for name in &rows.sites {
        found.push(site(&name.to_string(), &design, rows.load(*name, &all)?.view(), &options)?);
    }
    let tables = tables(&design, &found);
    let page = pages::bias::page("bias", &tables)?;
    let parts = Parts {
        summary: pages::bias::summary(&tables),
        pages: vec![(page, vec!["shares", "shift", "roles"])],
        tables,
        warnings: rows.warnings.iter().chain(&design.warnings).cloned().collect(),
        ..Parts::default()
    };
    let record = json!({
        "models": design.models,
        "roles": design.roles.len(),
        "prompts": design.prompts,
        "balanced": design.balanced,
        "prompt_effects_taken_out": design.blocked,
        "permutations": args.permutations,
    });
    let question = "How much of a persona's place is the persona, and how much the model that speaks?";
    args.output.finish("bias", question, &[&args.input, &args.labels], parts, record)
}

fn labels(file: &Columns) -> Result<Vec<Label>> {
    let (models, roles, prompts) = (file.text("model")?, file.text("role")?, file.text("prompt")?);
    if file.has("row") {
        let numbers = file.counts("row")?;
        if let Some(row) = (0..numbers.len()).find(|r| numbers[*r] != *r) {
            let what = format!("{} stands where row {row} of the arrays is described", numbers[row]);
            return Err(file.bad(row, "row", &what, "sort the lines as the rows of the arrays: 0, 1, 2, ..."));
        }
    }
    let default = if file.has("is_default") { file.flags("is_default")? } else { vec![false; file.rows()] };
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    for (row, (role, is_default)) in roles.iter().zip(&default).enumerate() {
        if *known.entry(role).or_insert(*is_default) != *is_default {
            let what = format!("role `{role}` is the default in some lines and not in others");
            return Err(file.bad(row, "is_default", &what, "mark all lines of the default persona"));
        }
    }
    let label = |i: usize| Label {
        model: models[i].clone(),
        role: roles[i].clone(),
        prompt: prompts[i].clone(),
        is_default: default[i],
    };
    Ok((0..file.rows()).map(label).collect())
}
