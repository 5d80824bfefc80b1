//! `fit`: probes of labelled rows at every site, each score beside its null, its interval and the wording.

mod labels;
mod tables;

use super::WorkArgs;
use super::out::say;
use super::progress::Bar;
use super::rows::{Named, Rows};
use super::typed::command_line;
use crate::analysis::probe::{Inner, Judged, Judging, Method, Plan, Settings, Shrinkage, inner, judge};
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::store::{create_dir, write_atomic};
use crate::unit::parallel;
use crate::vectors::{About, Vector, encode};
use labels::Labels;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tables::Found;

const EXAMPLES: &str = r#"Examples:
  personascope fit --activations acts --labels labels.csv --method contrast --out probes
  personascope fit --activations acts.npz --labels labels.csv --method logistic --alpha 10 --standardize --out probes
  personascope fit --activations acts --labels labels.csv --method contrast,mass_mean,lda --sites resid_post.all --out probes
  personascope fit --activations acts --labels labels.csv --method logistic --transfer fiction=acts2,labels2.csv --out probes

labels.csv has the columns row (from 0), label (0 or 1) and group; rows that it does not list have no part. Rows of one group
(question, persona, conversation) are never split. With a column `score`, ridge follows it instead of the label.

scores.csv: site, method, metric, value, ci_low, ci_high, null_mean, null_p95, p_value, n. `auroc` is of rows whose group was
held out, `auroc_train` of the rows that the direction was fitted on. Its null refits with labels shuffled at the level at
which they vary; `random_direction` is the AUROC of directions by lot; `gain_over_resid_pre.0` what a probe adds to the words
that stand in its rows: without it clear of 0, or rows that cannot hold the wording, a score says nothing of a state.
--select chooses the site without the fold that is scored: selected.csv is what a paper may say of the best layer.
directions.safetensors: fitted on all rows, unit length, larger = label 1; also folds.csv, held_out.csv, calibration.csv,
wording.csv, transfer.csv, run.json."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FitArgs {
    /// A folder that `capture` or `import` wrote, or a .npz or .safetensors file with one [row, d_model] array per site
    #[arg(long, value_name = "PATH")]
    activations: PathBuf,
    /// CSV with the columns row, label, group
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// contrast, mass_mean, logistic, lda, svm, pca, ridge; a list, or several times
    #[arg(long, value_name = "METHOD", required = true, value_delimiter = ',')]
    method: Vec<Method>,
    /// Penalty of logistic, svm and ridge: sum of losses + (alpha/2)|w|^2
    #[arg(long, value_name = "A", default_value_t = 1.0)]
    alpha: f64,
    /// Columns in units of their deviation over the rows that are fitted on, in every fold anew
    #[arg(long)]
    standardize: bool,
    /// Of the covariance of mass_mean and lda: auto (Ledoit-Wolf), or a share from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "auto", value_parser = shrinkage)]
    shrinkage: Shrinkage,
    /// Folds of groups that are held out in turn
    #[arg(long, value_name = "K", default_value_t = 5)]
    folds: usize,
    /// Shuffles of the null, each refitted in every fold; 0 for none
    #[arg(long, value_name = "P", default_value_t = 100)]
    permutations: usize,
    /// Decides folds, shuffles and directions by lot
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Sites: a list of those that are there [default: all]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// Other labelled rows that the probes are tried on, and theirs on these; may come several times
    #[arg(long, value_name = "NAME=PATH,LABELS")]
    transfer: Vec<Named>,
    /// Choose a site as well, on the training groups of each fold alone, and say what it scores on the fold: selected.csv
    #[arg(long)]
    select: bool,
    /// What larger projections mean, for the file of directions
    #[arg(long, value_name = "WORDS", default_value = "label 1")]
    positive: String,
    /// What smaller projections mean
    #[arg(long, value_name = "WORDS", default_value = "label 0")]
    negative: String,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    work: WorkArgs,
}

fn shrinkage(text: &str) -> std::result::Result<Shrinkage, String> {
    match text {
        "auto" => Ok(Shrinkage::Auto),
        other => other.parse().map(Shrinkage::Share).map_err(|_| "auto, or a share from 0 to 1".into()),
    }
}

/// Rows with what is said of them.
struct Data {
    rows: Rows,
    labels: Labels,
}

impl Data {
    fn open(path: &Path, labels: &Path, sites: Option<&str>) -> Result<Data> {
        let rows = Rows::open(path, sites)?;
        let labels = Labels::read(labels, rows.count)?;
        Ok(Data { rows, labels })
    }
}

pub fn fit(args: FitArgs) -> Result<bool> {
    let settings = Settings { alpha: args.alpha, standardize: args.standardize, shrinkage: args.shrinkage };
    settings.check()?;
    let mut methods = args.method.clone();
    methods.sort_unstable();
    methods.dedup();
    let data = Data::open(&args.activations, &args.labels, args.sites.as_deref())?;
    if args.out.canonicalize().ok().is_some_and(|o| args.activations.canonicalize().ok() == Some(o)) {
        return Err(Error::refused("--out is the folder of the activations", "give the results a folder of their own"));
    }
    let judging = Judging { folds: args.folds, permutations: args.permutations, seed: args.seed, ..Judging::default() };
    let plans = plans(&data, &methods, judging)?;
    let mut warnings = data.rows.warnings.clone();
    warnings.extend(data.labels.warnings.clone());
    plans.iter().for_each(|(plan, _)| warnings.extend(plan.warnings.clone()));
    warnings.sort();
    warnings.dedup();

    let bar = Bar::of("sites", data.rows.sites.len() as u64);
    let judged = parallel(&data.rows.sites, args.work.threads(), |site| {
        let rows = data.rows.load(*site, &data.labels.rows)?;
        let at = |e: Error| Error::refused(format!("at {site}: {e}"), e.hint());
        let mut all = Vec::new();
        for (plan, methods) in &plans {
            match judge(rows.view(), plan, methods, settings) {
                Ok(found) => all.extend(found),
                Err(e) if flat(&rows) => return Ok((*site, Vec::new(), 0.0, Some(e.to_string()), None)),
                Err(e) => return Err(at(e)),
            }
        }
        let labelled = plans.iter().find(|(plan, _)| args.select && !plan.graded);
        let inner = labelled.map(|(plan, methods)| inner(rows.view(), plan, methods, settings)).transpose()?;
        bar.forward(1);
        Ok((*site, all, tables::mean_norm(&rows), None, inner))
    });
    bar.end();
    let mut found = Found::default();
    let mut inners: Vec<Option<Inner>> = Vec::new();
    for (site, all, norm, missing, inner) in judged? {
        inners.push(inner);
        if missing.is_some() {
            warnings.push(format!("at {site} all rows are the same: AUROC 0.5 by construction, and no direction"));
        }
        for j in &all {
            warnings.extend(j.warnings.iter().map(|w| format!("at {site}: {w}")));
        }
        found.sites.push((site, all, norm));
    }
    if found.sites.iter().all(|(_, all, _)| all.is_empty()) {
        return Err(Error::refused("all rows are the same at every site", "give activations that differ between rows"));
    }
    let plan = &plans[0].0;
    let tokens = data.rows.tokens(&data.labels.rows)?;
    let others = args
        .transfer
        .iter()
        .map(|t| Ok((t.name.clone(), Data::open(&t.path, &t.labels, args.sites.as_deref())?)))
        .collect::<Result<Vec<_>>>()?;
    let mut all = tables::all(&found, &plans, &methods, &data.labels, tokens.as_ref(), &mut warnings)?;
    let (selected, chosen) = tables::selected::table(&found, &plans, &inners);
    if args.select {
        all.push(selected);
    }
    if !others.is_empty() {
        all.push(tables::transfer::table(&data, &others, &found, &plans, settings, args.work.threads())?);
    }
    create_dir(&args.out)?;
    let vectors = vectors(&args, &data, plan, &found, &methods)?;
    write_atomic(&args.out.join("directions.safetensors"), &encode(&vectors)?, true)?;
    for table in &all {
        write_atomic(&args.out.join(format!("{}.csv", table.name)), table.to_csv().as_bytes(), true)?;
    }
    let described = described(&args, &data, &plans, &methods, &warnings);
    let text = serde_json::to_string_pretty(&described).unwrap_or_default() + "\n";
    write_atomic(&args.out.join("run.json"), text.as_bytes(), true)?;
    tables::summary(&found, &methods).iter().chain(&chosen).for_each(|line| say!("{line}"));
    warnings.iter().for_each(|line| eprintln!("warning: {line}"));
    eprintln!("scores and directions in {}", args.out.display());
    Ok(true)
}

/// Whether all rows are the same, as the embedding of one last token is.
fn flat(rows: &ndarray::Array2<f32>) -> bool {
    crate::analysis::probe::Design::new(rows.view()).is_ok_and(|d| d.is_constant())
}

/// A plan for the methods that take labels, and one for a method that follows scores.
fn plans(data: &Data, methods: &[Method], judging: Judging) -> Result<Vec<(Plan, Vec<Method>)>> {
    let (graded, labelled): (Vec<Method>, Vec<Method>) =
        methods.iter().partition(|m| **m == Method::Ridge && data.labels.scores.is_some());
    let mut plans = Vec::new();
    if !labelled.is_empty() {
        let Some(labels) = &data.labels.labels else {
            let what = format!("{} needs labels, and there is no column `label`", labelled[0]);
            return Err(Error::refused(what, "give 0 or 1 to every row, or use ridge, which follows `score`"));
        };
        plans.push((Plan::new(data.labels.groups(), labels.clone(), false, judging)?, labelled));
    }
    if let (Some(scores), false) = (&data.labels.scores, graded.is_empty()) {
        plans.push((Plan::new(data.labels.groups(), scores.clone(), true, judging)?, graded));
    }
    Ok(plans)
}

/// A direction per site; with several methods, named by them.
fn vectors(args: &FitArgs, data: &Data, plan: &Plan, found: &Found, methods: &[Method]) -> Result<Vec<Vector>> {
    let mut out = Vec::new();
    let counts = data.labels.labels.as_ref().map(|l| {
        let positive = l.iter().filter(|y| **y > 0.0).count();
        [positive, l.len() - positive]
    });
    let run = data.rows.run();
    let text = |v: &Value| v.as_str().map(str::to_string);
    for (site, all, norm) in &found.sites {
        for j in all {
            let mut more = Map::new();
            more.insert("method".into(), j.method.name().into());
            more.insert("intercept".into(), j.probe.intercept.into());
            let score = if j.probe.distance.is_some() { "" } else { " * raw_norm" };
            more.insert("score".into(), format!("projection{score} + intercept").into());
            more.insert("groups".into(), plan.groups.names.len().into());
            let about = About {
                pick: data.rows.pick(),
                positive: args.positive.clone(),
                negative: args.negative.clone(),
                origin: format!("{}, {}", j.method, tables::said(j, args.alpha, args.standardize)),
                residual_norm: Some(*norm),
                dtype: data.rows.dtype(*site),
                model: text(&run["model"]["name"]),
                model_hash: text(&run["model"]["hash"]),
                template_hash: text(&run["template_hash"]),
                prompts_hash: text(&run["prompts_hash"]),
                counts,
                more,
                ..About::default()
            };
            let name = if methods.len() > 1 { j.method.name() } else { "" };
            let mut vector = Vector::new(*site, name, &j.probe.weights.to_vec(), about)?;
            if let Some(distance) = j.probe.distance.filter(|d| *d > 0.0) {
                vector.raw_norm = distance;
            }
            out.push(vector);
        }
    }
    Ok(out)
}

fn described(
    args: &FitArgs,
    data: &Data,
    plans: &[(Plan, Vec<Method>)],
    methods: &[Method],
    warnings: &[String],
) -> Value {
    let plan = &plans[0].0;
    let sites: Vec<String> = data.rows.sites.iter().map(Site::to_string).collect();
    let shrinkage = match args.shrinkage {
        Shrinkage::Auto => json!("auto"),
        Shrinkage::Share(s) => json!(s),
    };
    json!({
        "command": "fit",
        "command_line": command_line(),
        "personascope": env!("CARGO_PKG_VERSION"),
        "activations": data.rows.describe(),
        "labels": { "file": data.labels.name, "sha256": data.labels.hash, "rows": data.labels.rows.len(),
                    "left_out": data.rows.count - data.labels.rows.len(), "groups": plan.groups.names.len() },
        "model": data.rows.run()["model"],
        "pick": data.rows.pick().map(Pick::name),
        "sites": sites,
        "methods": methods.iter().map(|m| m.name()).collect::<Vec<_>>(),
        "alpha": args.alpha,
        "standardize": args.standardize,
        "shrinkage": shrinkage,
        "folds": plan.folds,
        "permutations": args.permutations,
        "shuffled": plan.level.in_words(),
        "interval": "95 %, clustered by group: Obuchowski's variance, Student's t, logit scale",
        "seed": args.seed,
        "larger_projection_means": args.positive,
        "smaller_projection_means": args.negative,
        "transfer": args.transfer.iter().map(|t| t.name.clone()).collect::<Vec<_>>(),
        "warnings": warnings,
    })
}

/// Probes at one site.
type Site3 = (Site, Vec<Judged>, f64);
