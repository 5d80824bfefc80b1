//! `score`: numbers for replies.

use super::chatting::warn;
use super::out::say;
use super::{ComputingArgs, WorkArgs, adapters::AdapterArgs, read_text};
use crate::analysis::interval::cluster_bootstrap;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::persona::strip;
use crate::rng::stream;
use crate::score::{
    Classifier, Given, Judge, Labelled, Lexicon, Matching, Measure, Outcome, Reply, Scale, Scorer, Validated, Why,
    agreement, read_replies,
};
use crate::store::write_atomic;
use crate::table::{Cell, Table, number};
use crate::text::prompts::Prompt;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope score --replies replies.jsonl --lexicon markers.toml --measure shown --out scores.csv
  personascope score --replies replies.jsonl --classifier labelled.jsonl --label anxious --out scores.csv
  personascope score --replies replies.jsonl --prompts prompts.jsonl --judge Qwen/Qwen3-4B --judge-prompt calm.txt --out scores.csv
  personascope score --replies replies.jsonl --csv annotators.csv --lexicon markers.toml --agree-at 50 --out scores.csv

Replies are lines {"id", "text"} as `generate` and `steer` write them. scores.csv has a line for each reply and scorer: id, the
other keys of the reply, scorer, score, unscored. A reply that cannot be scored has an empty score and the reason beside it:
`refused` (the judge gives numbers less than --judge-mass of its probability), `unparsable`, `empty`, `missing`, `unknown words`.
The summary counts them. A lexicon is TOML with a list of markers a group, or the card of a persona, or a marker a line."#;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ScoreArgs {
    /// Replies, one JSON object per line: {"id", "text"}
    #[arg(long, value_name = "FILE")]
    replies: PathBuf,
    /// What the replies answer: the prompts they were made from, for a judge that reads the question
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Markers by group
    #[arg(long, value_name = "FILE")]
    lexicon: Option<PathBuf>,
    /// What a marker score is: markers in 100 words, markers, or 1 where there is any
    #[arg(long, value_enum, default_value = "rate")]
    measure: MeasureArg,
    /// Find markers inside words too, as raw substring matching does: for comparison with numbers made so
    #[arg(long)]
    raw_substring: bool,
    /// Labelled texts to train a classifier on: {"text", "label", "group"}
    #[arg(long, value_name = "FILE", requires = "label")]
    classifier: Option<PathBuf>,
    /// The label whose probability is the score
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Longest n-gram of words
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..6))]
    ngrams: u64,
    /// Folds of groups by which the classifier is validated
    #[arg(long, value_name = "K", default_value_t = 5)]
    folds: usize,
    /// A model that judges: toyworld, a folder, or org/name[@revision] on the hub
    #[arg(long, value_name = "MODEL", requires = "judge_prompt")]
    judge: Option<String>,
    /// The judge's prompt, with {question} and {answer}
    #[arg(long, value_name = "FILE")]
    judge_prompt: Option<PathBuf>,
    /// The whole numbers it may answer
    #[arg(long, value_name = "LO..HI", default_value = "0..100")]
    scale: Scale,
    /// Least probability of all numbers together; below it the judge has refused
    #[arg(long, value_name = "P", default_value_t = 0.25)]
    judge_mass: f64,
    /// Scores made elsewhere: a CSV with id and score
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Take this speaker's name off the front of replies, and count how often it stood there; may come several times
    #[arg(long, value_name = "NAME")]
    speaker: Vec<String>,
    /// Kappa of all scorers, each cut into below and at least this score
    #[arg(long, value_name = "SCORE")]
    agree_at: Option<f64>,
    /// Decides folds and resamples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The table of scores
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    computing: ComputingArgs,
    #[command(flatten)]
    adapters: AdapterArgs,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum MeasureArg {
    Rate,
    Count,
    Shown,
}

/// What a scorer gave.
struct Scored {
    name: String,
    outcomes: Vec<Outcome>,
}

pub fn score(args: ScoreArgs) -> Result<bool> {
    let asked = [args.lexicon.is_some(), args.classifier.is_some(), args.judge.is_some(), args.csv.is_some()];
    if !asked.contains(&true) {
        let hint = "give --lexicon, --classifier, --judge or --csv; several at once are scored side by side";
        return Err(Error::refused("nothing to score by", hint));
    }
    let mut replies = read_replies(&args.replies.display().to_string(), &read_text(&args.replies)?)?;
    let mut said = vec![format!("{} replies", replies.len())];
    let mut warnings = Vec::new();
    stripped(&args, &mut replies, &mut said);
    questions(&args, &mut replies)?;
    let mut all: Vec<Scored> = Vec::new();
    let mut push = |name: String, scorer: &dyn Scorer| -> Result<()> {
        all.push(Scored { name, outcomes: scorer.score(&replies)? });
        Ok(())
    };
    if let Some(path) = &args.lexicon {
        let lexicon = Lexicon::parse(&path.display().to_string(), &read_text(path)?)?;
        let matching = if args.raw_substring { Matching::Substring } else { Matching::Words };
        let measure = match args.measure {
            MeasureArg::Rate => Measure::Rate,
            MeasureArg::Count => Measure::Count,
            MeasureArg::Shown => Measure::Shown,
        };
        for (name, markers) in lexicon.scorers(matching, measure) {
            push(format!("lexicon:{name}"), &markers)?;
        }
    }
    if let (Some(path), Some(label)) = (&args.classifier, &args.label) {
        let texts = Labelled::parse_lines(&path.display().to_string(), &read_text(path)?)?;
        let classifier = Classifier::train(&texts, label, args.ngrams as usize)?;
        let validated = Classifier::validate(&texts, args.ngrams as usize, args.folds, args.seed)?;
        said.push(accuracy(&validated, &classifier, args.seed));
        push(format!("classifier:{label}"), &classifier)?;
    }
    if let (Some(name), Some(path)) = (&args.judge, &args.judge_prompt) {
        let model: Model = args.adapters.load(name, args.computing.opening()?)?;
        let judge = Judge::new(&model, &read_text(path)?, args.scale, args.judge_mass, args.work.threads())?;
        push(format!("judge:{}", model.name), &judge)?;
    }
    if let Some(path) = &args.csv {
        let given = Given::parse(&path.display().to_string(), &read_text(path)?, &replies)?;
        let unused = given.unused(&replies);
        if unused > 0 {
            warnings.push(format!("{}: {unused} lines belong to none of the replies", path.display()));
        }
        push("csv".into(), &given)?;
    }
    write_atomic(&args.out, table(&replies, &all).to_csv().as_bytes(), true)?;
    said.extend(all.iter().map(summary));
    said.extend(args.agree_at.map(|cut| agreeing(&all, cut)));
    warn(warnings.iter());
    said.iter().for_each(|line| say!("{line}"));
    say!("scores in {}", args.out.display());
    Ok(all.iter().all(|s| s.outcomes.iter().any(|o| o.score().is_some())))
}

fn stripped(args: &ScoreArgs, replies: &mut [Reply], said: &mut Vec<String>) {
    let names: Vec<&str> = args.speaker.iter().map(String::as_str).collect();
    if names.is_empty() {
        return;
    }
    let mut named = 0;
    for reply in replies.iter_mut() {
        let found = strip(&reply.text, &names);
        named += usize::from(found.named);
        reply.text = found.text.to_string();
    }
    said.push(format!("a speaker's name stood before {named} of them and was taken off"));
}

/// The questions of the replies, from the prompts they were made from: what the user said last.
fn questions(args: &ScoreArgs, replies: &mut [Reply]) -> Result<()> {
    let Some(path) = &args.prompts else { return Ok(()) };
    let prompts = Prompt::parse_lines(&path.display().to_string(), &read_text(path)?)?;
    let by_id: BTreeMap<&str, Option<&str>> = prompts.iter().map(|p| (p.id.as_str(), p.question())).collect();
    for reply in replies.iter_mut().filter(|r| r.question.is_none()) {
        reply.question = by_id.get(reply.id.as_str()).copied().flatten().map(String::from);
    }
    Ok(())
}

fn table(replies: &[Reply], all: &[Scored]) -> Table {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in replies.iter().flat_map(|r| &r.columns) {
        if !keys.contains(&key.as_str()) && !["scorer", "score", "unscored", "mass"].contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let mut table = Table::new("scores", &[&["id"], &keys[..], &["scorer", "score", "unscored"]].concat());
    for (r, reply) in replies.iter().enumerate() {
        for scored in all {
            let own = |key: &&str| reply.columns.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
            let mut row: Vec<Cell> = vec![reply.id.as_str().into()];
            row.extend(keys.iter().map(|k| Cell::from(own(k))));
            let why = match &scored.outcomes[r] {
                Outcome::Score(_) => String::new(),
                Outcome::Unscored(why @ Why::Refused(mass)) => {
                    format!("{}: numbers have {}", why.name(), number(*mass))
                }
                Outcome::Unscored(why @ Why::Unparsable(text)) => format!("{}: {text}", why.name()),
                Outcome::Unscored(why) => why.name().into(),
            };
            row.extend([scored.name.as_str().into(), scored.outcomes[r].score().into(), why.into()]);
            table.push(row);
        }
    }
    table
}

/// "lexicon:anxiety: mean 1.2 over 40 of 48; refused 5, empty 3".
fn summary(scored: &Scored) -> String {
    let values: Vec<f64> = scored.outcomes.iter().filter_map(Outcome::score).collect();
    let mean = match values.len() {
        0 => "none".into(),
        n => number(values.iter().sum::<f64>() / n as f64),
    };
    let count = |name: &&str| {
        let has = |o: &&Outcome| matches!(o, Outcome::Unscored(why) if why.name() == *name);
        scored.outcomes.iter().filter(has).count()
    };
    let lost: Vec<String> = Why::NAMES.iter().filter(|n| count(n) > 0).map(|n| format!("{n} {}", count(n))).collect();
    let lost = if lost.is_empty() { String::new() } else { format!("; unscored: {}", lost.join(", ")) };
    format!("{}: mean {mean} over {} of {}{lost}", scored.name, values.len(), scored.outcomes.len())
}

fn accuracy(v: &Validated, classifier: &Classifier, seed: u64) -> String {
    let groups = v.group.iter().max().map_or(0, |g| g + 1);
    let mut of_group = vec![(0.0, 0.0); groups];
    for (right, g) in v.right.iter().zip(&v.group) {
        of_group[*g].0 += f64::from(u8::from(*right == Some(true)));
        of_group[*g].1 += 1.0;
    }
    let share = |sample: &[usize]| {
        let (hits, n) = sample.iter().fold((0.0, 0.0), |(h, n), g| (h + of_group[*g].0, n + of_group[*g].1));
        (n > 0.0).then(|| hits / n)
    };
    let found = cluster_bootstrap(groups, 1000, &mut stream(seed, "accuracy of a classifier"), share);
    let found = found.map(|i| i.bounded(groups, 0.0, 1.0));
    let interval = found.map_or(String::new(), |i| format!(" [{}, {}]", number(i.lo), number(i.hi)));
    format!(
        "classifier of {}: accuracy {}{interval} over {} folds of {groups} groups, the most frequent label {}",
        classifier.labels().join(", "),
        number(v.accuracy()),
        v.folds,
        number(v.baseline()),
    )
}

/// Kappa over the replies that every scorer has a score for.
fn agreeing(all: &[Scored], cut: f64) -> String {
    let n = all.first().map_or(0, |s| s.outcomes.len());
    let row = |r: usize| -> Option<Vec<usize>> {
        all.iter().map(|s| Some(usize::from(s.outcomes[r].score()? >= cut))).collect()
    };
    let rows: Vec<Vec<usize>> = (0..n).filter_map(row).collect();
    let said = |k: Option<f64>| k.map_or("none: no two categories".into(), number);
    let of = |i: usize| rows.iter().map(|r| r[i]).collect::<Vec<_>>();
    let kappa = match all.len() {
        0 | 1 => return "agreement: it takes two scorers".into(),
        2 => format!("Cohen's kappa {}", said(agreement::cohen(&of(0), &of(1)))),
        k => format!("Fleiss' kappa of {k} scorers {}", said(agreement::fleiss(&rows))),
    };
    format!("agreement at {}: {kappa} over {} replies that all scored", number(cut), rows.len())
}
