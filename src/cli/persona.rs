//! `persona`: cards and persona files of others, as prompts.

use super::chatting::warn;
use super::out::say;
use super::progress::Bar;
use super::read_text;
use crate::error::{Error, Result};
use crate::persona::import::{Imported, Options, Placed, Preface, Questions, import};
use crate::persona::{Card, Rendered, Said, chat, completion};
use crate::store::{create_dir, write_atomic};
use crate::table::Table;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  personascope persona show probes/personas/elena.toml
  personascope persona render probes/personas/elena.toml --say "How was your day?"           # one text
  personascope persona render probes/personas/elena.toml --say "How was your day?" --chat    # a line for --prompts
  personascope persona import roles/instructions --questions extraction_questions.jsonl --model-name Qwen --out roles
  personascope persona import traits/instructions/calm.json --out calm
  personascope capture --prompts calm/prompts.jsonl --sites resid_post.all --pick last_prompt --out acts
  personascope analyze acts --contrast polarity=pos,neg --group group --out results

`import` knows a file by what is in it: role and trait files of the Assistant Axis and of Persona Vectors, yes/no statement
sets, pairs (JSON lines or CSV with pos, neg and group) and cards. It writes DIR/prompts.jsonl, whose lines have the columns
`persona` or `trait`, `polarity` and `group`; DIR/personas.csv, one line a file; and DIR/judges/NAME.txt, the judge's prompt of
each file that has one, for `score --judge-prompt`."#;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct PersonaArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what a card holds
    Show(ShowArgs),
    /// Write a card as the text that a model reads
    Render(RenderArgs),
    /// Turn persona files of others, or cards, into prompts
    Import(ImportArgs),
}

#[derive(Args)]
struct ShowArgs {
    /// A persona card
    #[arg(value_name = "CARD.toml")]
    card: PathBuf,
}

#[derive(Args)]
struct RenderArgs {
    /// A persona card
    #[arg(value_name = "CARD.toml")]
    card: PathBuf,
    /// What is said last, after the card's own history; several times: in turn, the last by the user
    #[arg(long, value_name = "TEXT")]
    say: Vec<String>,
    /// A line for --prompts, to go through a chat template; else one text in the single-character format
    #[arg(long)]
    chat: bool,
    /// With --chat: every turn, and the reply, under its speaker's name
    #[arg(long, requires = "chat")]
    headers: bool,
}

#[derive(Args)]
struct ImportArgs {
    /// Files, or folders of them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Questions for everybody: JSON lines {"question"} or plain lines [default: each file's own]
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,
    /// What {model_name} in an instruction stands for
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// Take the first so many instructions, or pairs, of each file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    instructions: Option<u64>,
    /// Take the first so many questions, or statements
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    most_questions: Option<u64>,
    /// What stands before instructions: nothing, or "You are a[n] NAME assistant." as Persona Vectors has it
    #[arg(long, value_enum, default_value = "none")]
    preface: PrefaceArg,
    /// Where the texts of pairs stand: as raw text, as what the user says, as system turns
    #[arg(long, value_enum, default_value = "text")]
    pairs_as: PlacedArg,
    /// Leave the replies to yes/no statements open, for `generate`
    #[arg(long)]
    open: bool,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrefaceArg {
    None,
    Assistant,
}

#[derive(Clone, Copy, ValueEnum)]
enum PlacedArg {
    Text,
    User,
    System,
}

pub fn persona(args: PersonaArgs) -> Result<bool> {
    match args.command {
        Command::Show(args) => show(&args),
        Command::Render(args) => render(&args),
        Command::Import(args) => import_files(&args),
    }
}

fn card(path: &Path) -> Result<Card> {
    Card::parse(&path.display().to_string(), &read_text(path)?)
}

fn show(args: &ShowArgs) -> Result<bool> {
    let card = card(&args.card)?;
    say!("{}: speaks as `{}`, to `{}`", card.name, card.speaker(), card.user());
    let words = |text: &str| text.split_whitespace().count();
    for (part, text) in [
        ("opening", &card.opening),
        ("description", &card.description),
        ("scenario", &card.scenario),
        ("instruction", &card.instruction),
    ] {
        if let Some(text) = text {
            say!("  {part}: {} words", words(text));
        }
    }
    let interview: usize = card.interview.iter().map(|a| words(&a.reply)).sum();
    let lists = [
        (format!("interview: {} answers, {interview} words", card.interview.len()), card.interview.len()),
        (format!("traits: {}", card.traits.join(", ")), card.traits.len()),
        (format!("history: {} lines", card.history.len()), card.history.len()),
        (
            format!("system: {} instructions, {} of them opposed", card.system.pos.len(), card.system.neg.len()),
            card.system.pos.len(),
        ),
        (format!("questions: {}", card.questions.len()), card.questions.len()),
        (format!("markers: {}", card.markers.join(", ")), card.markers.len()),
    ];
    lists.iter().filter(|(_, n)| *n > 0).for_each(|(line, _)| say!("  {line}"));
    say!("  as one text: {} words", words(&completion(&card, &[])));
    Ok(true)
}

fn render(args: &RenderArgs) -> Result<bool> {
    let card = card(&args.card)?;
    let n = args.say.len();
    // The last is the user's, the one before it the character's, and so on back.
    let speaker = |i: usize| if (n - i) % 2 == 1 { card.user() } else { card.speaker() };
    let said = |(i, text): (usize, &String)| Said { speaker: speaker(i).into(), text: text.clone() };
    let more: Vec<Said> = args.say.iter().enumerate().map(said).collect();
    if !args.chat {
        say!("{}", completion(&card, &more).trim_end_matches('\n'));
        return Ok(true);
    }
    if card.history.iter().chain(&more).all(|s| s.speaker == card.speaker()) {
        let what = "nobody says anything to the character, and a chat template needs a turn of the user";
        return Err(Error::refused(what, "give --say, or a history in the card"));
    }
    let Rendered { messages, reply_as } = chat(&card, &more, args.headers);
    let mut messages = json!(messages);
    if let (Some(speaker), Some(list)) = (reply_as, messages.as_array_mut()) {
        list.push(json!({ "role": "assistant", "speaker": speaker }));
    }
    say!("{}", json!({ "id": card.name, "messages": messages, "persona": card.name }));
    Ok(true)
}

fn import_files(args: &ImportArgs) -> Result<bool> {
    let files = listed(&args.files)?;
    let questions = match &args.questions {
        Some(path) => Some(Questions::parse(&path.display().to_string(), &read_text(path)?)?),
        None => None,
    };
    let options = Options {
        questions,
        model_name: args.model_name.clone(),
        instructions: args.instructions.map(|n| n as usize),
        most_questions: args.most_questions.map(|n| n as usize),
        preface: match args.preface {
            PrefaceArg::None => Preface::None,
            PrefaceArg::Assistant => Preface::Assistant,
        },
        placed: match args.pairs_as {
            PlacedArg::Text => Placed::Text,
            PlacedArg::User => Placed::User,
            PlacedArg::System => Placed::System,
        },
        open: args.open,
    };
    let mut warnings: Vec<String> = options.questions.iter().flat_map(|q| q.warnings.clone()).collect();
    let mut table = Table::new("personas", &["name", "file", "prompts", "pos", "neg", "judge", "warnings"]);
    let (mut lines, mut judges) = (String::new(), Vec::new());
    let bar = Bar::of("files", files.len() as u64);
    for (name, path) in &files {
        let place = path.display().to_string();
        let Imported { asks, warnings: own, judge } = import(&place, name, &read_text(path)?, &options)?;
        let side = |p: &str| asks.iter().filter(|a| a.columns.contains(&("polarity", p.into()))).count();
        let judged = if judge.is_some() { "yes" } else { "no" };
        table.push(vec![
            name.as_str().into(),
            place.into(),
            asks.len().into(),
            side("pos").into(),
            side("neg").into(),
            judged.into(),
            own.len().into(),
        ]);
        for ask in &asks {
            lines += &ask.to_json();
            lines.push('\n');
        }
        judges.extend(judge.map(|text| (name.clone(), text)));
        warnings.extend(own);
        bar.forward(1);
    }
    bar.end();
    create_dir(&args.out)?;
    if !judges.is_empty() {
        let folder = args.out.join("judges");
        create_dir(&folder)?;
        for (name, text) in &judges {
            write_atomic(&folder.join(format!("{name}.txt")), text.as_bytes(), false)?;
        }
    }
    write_atomic(&args.out.join("personas.csv"), table.to_csv().as_bytes(), true)?;
    write_atomic(&args.out.join("prompts.jsonl"), lines.as_bytes(), true)?;
    warn(warnings.iter());
    say!("{} files, {} prompts, {} judges in {}", files.len(), lines.lines().count(), judges.len(), args.out.display());
    Ok(true)
}

/// The files by the name of their stems, those of folders in the order of their names.
fn listed(paths: &[PathBuf]) -> Result<Vec<(String, PathBuf)>> {
    let known = |p: &Path| p.extension().is_some_and(|e| ["json", "jsonl", "csv", "toml"].iter().any(|k| e == *k));
    let mut all: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let read = std::fs::read_dir(path).map_err(|e| Error::io("read folder", path, e))?;
        let mut found = Vec::new();
        for entry in read {
            let entry = entry.map_err(|e| Error::io("read folder", path, e))?.path();
            found.extend(Some(entry).filter(|p| p.is_file() && known(p)));
        }
        if found.is_empty() {
            let what = format!("{} holds no persona file", path.display());
            return Err(Error::refused(
                what,
                "give files that end in .json, .jsonl, .csv or .toml, or a folder of them",
            ));
        }
        found.sort();
        all.extend(found);
    }
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    let stem = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    for path in &all {
        if let Some(other) = names.insert(stem(path), path.clone()) {
            let what = format!("{} and {} have the same name", other.display(), path.display());
            return Err(Error::refused(what, "import them into folders of their own: ids go by the name"));
        }
    }
    Ok(all.into_iter().map(|p| (stem(&p), p)).collect())
}
