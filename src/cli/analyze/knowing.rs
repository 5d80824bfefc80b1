//! `analyze knowing`: what fine-tunes know of a trait against what they show of it, from measures that are given.

use super::output::{OutputArgs, columns};
use crate::analysis::knowing::{Measure, Measured, Options, Planned, Thresholds, fault, knowing as analyse, planned};
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::experiment::pages::knowing as pages;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope analyze knowing --in measures.csv --out knowing
  personascope analyze knowing --in measures.csv --site resid_post.12 --planned document-chat:K,chat-document:E --out knowing
  personascope analyze knowing --in measures.csv --high 0.7 --low 0.2 --svg-only --out knowing

A line of measures.csv per value: model, format, character, trait, seed, item, sample, measure, value, and where they are there site
and split. Measures are K (knowledge, asked in third person), S (what the model says of itself), E (what its replies show),
L_feel, L_know, L_self (latent, along the direction of enacting, describing and claiming the trait). Rows of format `base` (the
model as it was) and `card` (the same with the character's card as its prompt) are the anchors of their character; all others are
fine-tunes. An empty value is missing. Items of one name are the same item for all models.

Each measure is put between its anchors: 0 is the base model, 1 the card. L is L_feel; KE is K - E (known, not shown), SE is S - E,
LE is L - E. There is no index where card and base are within 3 standard errors of each other. Intervals of a fine-tune are over
items (Fieller); those of a format (model `*`) by Student's t over characters, of each the mean of its seeds. `few clusters`: fewer
than 6 characters with a seed.

Written: indices.csv, quadrants.csv (knows, claims, suppresses, acts, embodies, untouched, undecided, with the share of resamples
that agree), contrasts.csv (formats against each other; planned ones first), power.csv, raw.csv (means before anchoring), and where
there is something to tell leak.csv (L_feel, L_know, L_self and L_feel - L_know), splits.csv, sites.csv (latent measures at every site)
and partial.csv (what either latent value tells of E beyond the other); knowing_indices.svg, knowing_plane.svg."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct KnowingArgs {
    /// CSV with a line per value: model, format, character, trait, seed, item, sample, measure, value (, site, split)
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// An index from here on is high
    #[arg(long, value_name = "INDEX", default_value_t = Thresholds::default().high)]
    high: f64,
    /// An index up to here is low
    #[arg(long, value_name = "INDEX", default_value_t = Thresholds::default().low, allow_negative_numbers = true)]
    low: f64,
    /// The site of the latent measures [default: the middle one]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Contrasts that were planned: A-B:INDEX with commas
    /// [default: of document-chat:K, chat-document:E, document-control:KE those whose formats there are]
    #[arg(long, value_name = "LIST")]
    planned: Option<String>,
    /// Resamples behind the share of a class
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn knowing(args: KnowingArgs) -> Result<bool> {
    if !(100..=1_000_000).contains(&args.resamples) {
        return Err(Error::refused(format!("--resamples is {}", args.resamples), "give 100 to 1000000"));
    }
    let file = columns(&args.input)?;
    let rows = read(&file)?;
    let formats: BTreeSet<&str> = rows.iter().filter(|r| !r.is_anchor()).map(|r| r.format.as_str()).collect();
    let formats: Vec<&str> = formats.into_iter().collect();
    let options = Options {
        thresholds: Thresholds { high: args.high, low: args.low },
        site: args.site,
        planned: args.planned.map(|text| planned(&text, &formats)).transpose()?,
        resamples: args.resamples,
        seed: args.output.seed,
    };
    let found = analyse(&rows, &options)?;
    let parts = pages::parts("knowing", &found)?;
    let contrast = |p: &Planned| format!("{}-{}:{}", p.a, p.b, p.index);
    let record = json!({
        "rows": rows.len(),
        "formats": formats,
        "site": found.site,
        "high": args.high,
        "low": args.low,
        "planned": options.planned.as_ref().map(|all| all.iter().map(contrast).collect::<Vec<_>>()),
        "resamples": args.resamples,
    });
    args.output.finish("knowing", "Do fine-tunes know a trait or feel it?", &[&args.input], parts, record)
}

/// The rows of a file, with the line of the first that cannot stand.
fn read(file: &Columns) -> Result<Vec<Measured>> {
    let text = |name: &str| file.text(name);
    let (model, format, character) = (text("model")?, text("format")?, text("character")?);
    let (quality, seed, item, sample) = (text("trait")?, text("seed")?, text("item")?, text("sample")?);
    let (measure, value) = (text("measure")?, file.numbers_or_none("value")?);
    let (site, split) = (file.find("site"), file.find("split"));
    let trimmed = |cells: &[String], r: usize| cells[r].trim().to_string();
    let row = |r: usize| {
        let name = measure[r].trim();
        let Some(measure) = Measure::of(name) else {
            let all = Measure::ALL.map(Measure::name).join(", ");
            return Err(file.bad(r, "measure", &format!("`{name}` is no measure"), &format!("measures are {all}")));
        };
        Ok(Measured {
            model: trimmed(model, r),
            format: trimmed(format, r),
            character: trimmed(character, r),
            quality: trimmed(quality, r),
            seed: trimmed(seed, r),
            item: trimmed(item, r),
            sample: trimmed(sample, r),
            measure,
            value: value[r],
            site: site.map_or_else(String::new, |s| trimmed(s, r)),
            split: split.map_or_else(String::new, |s| trimmed(s, r)),
        })
    };
    let rows = (0..file.rows()).map(row).collect::<Result<Vec<Measured>>>()?;
    match fault(&rows) {
        Some(f) => Err(file.bad(f.row, f.column, &f.what, f.hint)),
        None => Ok(rows),
    }
}
