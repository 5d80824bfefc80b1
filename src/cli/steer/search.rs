//! `steer-search`: layer, place and strength against what the text becomes.

use super::ask::{Written, measured_amounts, read_vectors};
use super::{UNFINISHED, prompted, read_prompts};
use crate::axes::Site;
use crate::cli::adapters::AdapterArgs;
use crate::cli::out::say;
use crate::cli::progress::Bar;
use crate::cli::typed::command_line;
use crate::cli::{ModelArgs, read_text};
use crate::error::{Error, Result};
use crate::model::generate::Settings;
use crate::model::sample::Sampling;
use crate::score::{Classifier, Judge, Labelled, Lexicon, Matching, Measure, Scale, Scorer};
use crate::steer::{Candidate, Costs, Limits, Op, Place, Search, Strength};
use crate::store::{FolderShelf, create_dir, write_atomic};
use crate::unit::{MAX_BATCH_TOKENS, Shelf};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope steer-search --prompts p.jsonl --vector evil.safetensors --sites resid_post.all --strength 0.25n,0.5n,1n \
    --on last_prompt --on all --lexicon markers.toml --group evil --max-new-tokens 40 --out search
  personascope steer-search --prompts p.jsonl --vector axis.safetensors --op cap-floor --strength p10,p25,p50 --on all \
    --classifier labelled.jsonl --label assistant --knowledge questions.jsonl --texts prose.txt --max-new-tokens 40 --out caps

Every site, place and strength is tried, beside random directions of the same length. search.csv has a row for each: the score
of the replies with its interval, the gain over the unsteered reply of the same prompt and seed, perplexity under the unsteered
model, repetition and variety, and with --knowledge and --texts what the edit costs in questions answered and texts understood.
Every other prompt chooses the operating point, the rest reports it."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SearchArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Prompts, one JSON object per line
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// A vector file of any format: the vector at each site is tried there
    #[arg(long, value_name = "FILE")]
    vector: PathBuf,
    #[command(flatten)]
    written: Written,
    /// Sites to try [default: those of the file]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// shift, scale, pin, cap-floor or cap-ceiling
    #[arg(long, value_name = "OP", default_value = "shift")]
    op: Op,
    /// Strengths to try, with commas between
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    strength: String,
    /// Which tokens; may come several times
    #[arg(long = "on", value_name = "TOKENS", required = true)]
    places: Vec<Place>,
    /// Random directions beside each vector
    #[arg(long, value_name = "N", default_value_t = 1)]
    controls: usize,
    /// Score by markers: 1 for a reply that has any
    #[arg(long, value_name = "FILE", group = "by")]
    lexicon: Option<PathBuf>,
    /// The group of markers
    #[arg(long, value_name = "NAME", requires = "lexicon")]
    group: Option<String>,
    /// Score by a classifier trained on labelled texts
    #[arg(long, value_name = "FILE", group = "by", requires = "label")]
    classifier: Option<PathBuf>,
    /// The label whose probability is the score
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Score by a model that judges
    #[arg(long, value_name = "MODEL", group = "by", requires = "judge_prompt")]
    judge: Option<String>,
    /// The judge's prompt, with {question} and {answer}
    #[arg(long, value_name = "FILE")]
    judge_prompt: Option<PathBuf>,
    /// The whole numbers it may answer
    #[arg(long, value_name = "LO..HI", default_value = "0..100")]
    scale: Scale,
    /// Questions with choices that are asked under every edit: {"id", "question", "choices", "answer"} a line
    #[arg(long, value_name = "FILE")]
    knowledge: Option<PathBuf>,
    /// Texts whose perplexity is taken under every edit, one a line
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Perplexity of a recommended point at most, times that of unsteered replies
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    max_perplexity: f64,
    /// Repetition of a recommended point at most, above that of unsteered replies
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    max_repetition: f64,
    /// Tokens drawn at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    max_new_tokens: u64,
    /// 0 takes the most likely token
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,
    /// Seeds of the replies, with commas between
    #[arg(long, value_name = "S,...", value_delimiter = ',', default_value = "0")]
    seed: Vec<u64>,
    /// Resamples of an interval
    #[arg(long, value_name = "N", default_value_t = 1000)]
    bootstrap: usize,
    /// Prompts on which norms and percentiles are measured [default: the prompts]
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tokens a unit of work may hold
    #[arg(long, value_name = "N", default_value_t = 4 * MAX_BATCH_TOKENS as u64, value_parser = clap::value_parser!(u64).range(1..))]
    max_batch_tokens: u64,
}

pub fn steer_search(args: SearchArgs) -> Result<bool> {
    if args.op == Op::Patch {
        return Err(Error::refused("a search over patches", "use `steer`; patches have no direction to compare with"));
    }
    let strengths =
        Strength::list(&args.strength).map_err(|e| Error::refused(format!("--strength {e}"), "see --help"))?;
    let sampling = Sampling::new(args.temperature, 1.0)?;
    let model = args.model.load()?;
    let threads = args.model.work.threads();
    let asked = read_prompts(&args.prompts)?;
    let questions = asked.iter().map(|p| p.question().map(String::from)).collect();
    let prompts = prompted(asked, &model, threads)?;
    let vectors = read_vectors(&args.vector, args.sites.as_deref(), &args.written, &model)?;
    let calibration = match &args.calibrate {
        Some(path) => prompted(read_prompts(path)?, &model, threads)?,
        None => prompts.clone(),
    };
    let sites: Vec<(Site, Vec<f32>)> = vectors.into_iter().map(|v| (v.site, v.unit)).collect();
    let amounts = measured_amounts(&model, args.op, &strengths, &sites, &calibration, threads)?;
    let one = |((site, unit), amounts): ((Site, Vec<f32>), Vec<f64>)| Candidate { site, unit, amounts };
    let candidates: Vec<Candidate> = sites.into_iter().zip(amounts).map(one).collect();
    let mut costs = Costs::default();
    if let Some(path) = &args.knowledge {
        costs.questions = Costs::questions(&path.display().to_string(), &read_text(path)?, &model.text)?;
    }
    if let Some(path) = &args.texts {
        costs.texts = Costs::texts(&path.display().to_string(), &read_text(path)?, &model.text)?;
    }
    // The judge is a model by itself, whatever the steered one goes through.
    let judge_model =
        args.judge.as_ref().map(|name| AdapterArgs::default().load(name, args.model.computing.opening()?));
    let judge_model = judge_model.transpose()?;
    let (scorer, scored_by) = scorer(&args, judge_model.as_ref(), threads)?;
    let search = Search {
        model: &model,
        prompts,
        questions,
        op: args.op,
        candidates,
        places: args.places.clone(),
        strengths: strengths.iter().map(Strength::to_string).collect(),
        controls: args.controls,
        seeds: args.seed.clone(),
        settings: Settings { max_new_tokens: args.max_new_tokens as usize, sampling, stops: model.stops.clone() },
        max_batch_tokens: args.max_batch_tokens as usize,
        costs,
        limits: Limits { perplexity: args.max_perplexity, repetition: args.max_repetition },
        bootstrap: args.bootstrap,
        seed: args.seed.first().copied().unwrap_or_default(),
    };
    create_dir(&args.out)?;
    let shelf = FolderShelf::open(&args.out.join(UNFINISHED))?;
    let bar = Bar::of("cells", search.cells() as u64);
    let all = search.cells() as u64;
    let found = search.run(&*scorer, threads, Some(&shelf as &dyn Shelf), &mut |done| {
        bar.reach(done as u64, all);
        true
    });
    bar.end();
    let found = found?;
    write_atomic(&args.out.join("search.csv"), found.table(&search.strengths).to_csv().as_bytes(), false)?;
    let (figure, caption) = found.figure(&strengths, &scored_by)?;
    write_atomic(&args.out.join("search.svg"), figure.svg.as_bytes(), false)?;
    write_atomic(&args.out.join("search.png"), &figure.to_png(200.0)?, false)?;
    write_atomic(&args.out.join("search.md"), format!("{caption}\n").as_bytes(), false)?;
    let sentences = found.sentences(&search.strengths);
    let chosen = found.chosen.as_ref().ok().map(|i| &found.cells[*i]).map(|c| {
        json!({ "site": c.site, "on": c.place.as_ref().map(|p| p.to_string()), "strength": c.strength.map(|s| &search.strengths[s]), "amount": c.amount })
    });
    let run = json!({
        "command": "steer-search",
        "command_line": command_line(),
        "model": { "name": model.name, "hash": model.hash },
        "vector": args.vector.display().to_string(),
        "op": args.op.name(),
        "scored_by": scored_by,
        "seeds": args.seed,
        "limits": { "perplexity": args.max_perplexity, "repetition": args.max_repetition },
        "held_out": found.held_out,
        "recommended": chosen,
        "summary": sentences,
    });
    let text = serde_json::to_string_pretty(&run).unwrap_or_default();
    write_atomic(&args.out.join("run.json"), format!("{text}\n").as_bytes(), false)?;
    let _ = std::fs::remove_dir_all(args.out.join(UNFINISHED));
    sentences.iter().for_each(|line| say!("{line}"));
    eprintln!("results in {}", args.out.display());
    Ok(found.cells.iter().all(|c| c.faults.is_empty()))
}

/// What scores replies, and its name.
fn scorer<'m>(
    args: &SearchArgs,
    judge: Option<&'m crate::model::Model>,
    threads: usize,
) -> Result<(Box<dyn Scorer + 'm>, String)> {
    if let Some(path) = &args.lexicon {
        let lexicon = Lexicon::parse(&path.display().to_string(), &read_text(path)?)?;
        let mut all = lexicon.scorers(Matching::Words, Measure::Shown);
        let names: Vec<String> = all.iter().map(|(name, _)| name.to_string()).collect();
        let wanted = args.group.as_ref().or(names.first().filter(|_| names.len() == 1));
        let at = wanted.and_then(|w| names.iter().position(|n| n == w)).ok_or_else(|| {
            let what = format!("{} has the groups {}", path.display(), names.join(", "));
            Error::refused(what, "name the one to score by with --group")
        })?;
        return Ok((Box::new(all.swap_remove(at).1), format!("markers of {}", names[at])));
    }
    if let (Some(path), Some(label)) = (&args.classifier, &args.label) {
        let texts = Labelled::parse_lines(&path.display().to_string(), &read_text(path)?)?;
        return Ok((Box::new(Classifier::train(&texts, label, 2)?), format!("a classifier of {label}")));
    }
    if let (Some(model), Some(path)) = (judge, &args.judge_prompt) {
        let judge = Judge::new(model, &read_text(path)?, args.scale, 0.25, threads)?;
        return Ok((Box::new(judge), format!("{} as a judge", model.name)));
    }
    Err(Error::refused("nothing to score by", "give --lexicon, --classifier or --judge"))
}
