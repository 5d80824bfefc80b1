//! `converse`: conversations that a model leads, from given starts with a user of lists, of domains or a model.

use super::chatting::warn;
use super::out::say;
use super::progress::Bar;
use super::steer::ask::{Written, read_vectors};
use super::{ModelArgs, read_text};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::generate::Settings;
use crate::model::sample::Sampling;
use crate::model::{Model, Source};
use crate::rng::stream;
use crate::store::{FolderShelf, create_dir, write_atomic};
use crate::table::{Cell, Table};
use crate::talk::{Ended, Part, Speak, Talk, User, lead, read};
use crate::text::prompts::{Body, Prompt};
use crate::text::{Message, USER};
use crate::unit::{self, Item, MAX_BATCH_TOKENS, Plan, Shelf, Tally, Task};
use crate::vectors::Vector;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  echo '{"id":"bodek","messages":[{"role":"system","content":"You are Bodek."},{"role":"user","content":"Tell me about tea."}]}' > starts.jsonl
  personascope converse --starts starts.jsonl --self --turns 6 --temperature 1 --out alone        # the model is its own user
  personascope converse --starts starts.jsonl --user domains.toml --turns 8 --temperature 1 --out talks
  personascope converse --starts starts.jsonl --user domains.toml --turns 8 --vector 'drift/directions.safetensors#in_persona/mean_response' --sites resid_post.2 --out talks
  personascope analyze drift --in talks/states.csv --out drift

A start is a prompt of messages; a user's message at its end is the first question. domains.toml has a table [[domain]] with a
`name` and `questions` for each way of using the model: every start meets every domain, with questions drawn by the seed.
With --user-model another model plays the user.

DIR/conversations.jsonl holds the conversations, as capture --prompts takes them. With --vector, DIR/states.csv has a row per
reply: the projection of its mean on the first vector, and on all of them as z0, z1, ... Interrupted, the same command goes on."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ConverseArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Where conversations begin, one JSON object per line: {"id", "messages"}
    #[arg(long, value_name = "FILE")]
    starts: PathBuf,
    /// What the user talks about: TOML with a [[domain]] for each kind of questions
    #[arg(long, value_name = "TOML", conflicts_with = "own")]
    user: Option<PathBuf>,
    /// The model plays the user too, in the mirrored conversation
    #[arg(long = "self")]
    own: bool,
    /// Another model plays the user
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["own", "user"])]
    user_model: Option<String>,
    /// System prompt of a user that a model plays
    #[arg(long, value_name = "TEXT")]
    user_system: Option<String>,
    /// What a user that a model plays is told before its first line
    #[arg(long, value_name = "TEXT", default_value = "Hello.")]
    cue: String,
    /// Replies of a conversation
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..10_000))]
    turns: u64,
    /// Conversations from each start and domain
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..1_000_000))]
    copies: u64,
    /// Vectors to project replies on, FILE or FILE#NAME; may come several times
    #[arg(long = "vector", value_name = "FILE")]
    vectors: Vec<PathBuf>,
    /// Sites of the vectors that are used [default: all that a file has]
    #[arg(long, value_name = "SITES", requires = "vectors")]
    sites: Option<String>,
    #[command(flatten)]
    written: Written,
    /// Tokens drawn at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    max_new_tokens: u64,
    /// 0 takes the most likely token, 1 samples from the model's own distribution
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,
    /// Samples from the most likely tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Tokens a unit of work may hold
    #[arg(long, value_name = "N", default_value_t = MAX_BATCH_TOKENS as u64, value_parser = clap::value_parser!(u64).range(1..))]
    max_batch_tokens: u64,
    /// Folder for the conversations; finished work is kept there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What a user talks about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Domains {
    domain: Vec<Domain>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    name: String,
    questions: Vec<String>,
}

pub fn converse(args: ConverseArgs) -> Result<bool> {
    let sampling = Sampling::new(args.temperature, args.top_p)?;
    let starts = Prompt::parse_lines(&args.starts.display().to_string(), &read_text(&args.starts)?)?;
    let (mut talks, domains) = begin(&args, &starts)?;
    let model = args.model.load()?;
    let through = super::adapters::through(&model, &starts)?;
    let copies = talks.len() / starts.len();
    talks.iter_mut().enumerate().for_each(|(i, t)| t.adapter = through[i / copies]);
    let vectors: Vec<Vector> = args
        .vectors
        .iter()
        .map(|file| read_vectors(file, args.sites.as_deref(), &args.written, &model))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let other = match &args.user_model {
        Some(name) => Some(Model::open(&Source::parse(name), args.model.computing.opening()?)?.0),
        None => None,
    };
    create_dir(&args.out)?;
    let shelf = FolderShelf::open(&args.out.join(".personascope"))?;
    let settings = Settings { max_new_tokens: args.max_new_tokens as usize, sampling, stops: model.stops.clone() };
    let mut bar = Bar::new("");
    let common = (&shelf, args.model.work.threads(), args.max_batch_tokens as usize);
    let mut speaker = Drawing { model: &model, settings: settings.clone(), common, bar: &mut bar, note: vec![] };
    match &other {
        Some(other) => {
            let mut second = Bar::new("");
            let settings = Settings { stops: other.stops.clone(), ..settings };
            let mut user = Drawing { model: other, settings, common, bar: &mut second, note: vec![] };
            lead(&mut talks, args.turns as usize, &mut speaker, Some(&mut user))?;
            warn(user.note.iter());
            second.end();
        }
        None => lead(&mut talks, args.turns as usize, &mut speaker, None)?,
    }
    warn(speaker.note.iter());
    let states = if vectors.is_empty() { None } else { Some(states(&talks, &domains, &vectors, &mut speaker)?) };
    bar.end();
    let mut lines = String::new();
    for (talk, domain) in talks.iter().zip(&domains) {
        let line = json!({ "id": talk.id, "start": talk.start, "domain": domain, "messages": talk.messages });
        lines += &format!("{line}\n");
    }
    write_atomic(&args.out.join("conversations.jsonl"), lines.as_bytes(), true)?;
    if let Some(states) = states {
        write_atomic(&args.out.join("states.csv"), states.to_csv().as_bytes(), true)?;
    }
    let short = talks.iter().filter(|t| t.ended == Some(Ended::NoRoom)).count();
    if short > 0 {
        eprintln!("warning: {short} conversations ended early: the next turn would not fit the model's positions");
    }
    let replies: usize = talks.iter().map(|t| t.turns.len()).sum();
    say!("{} conversations, {replies} replies: {}", talks.len(), args.out.join("conversations.jsonl").display());
    Ok(true)
}

/// The conversations, start after start, and the domain of each.
fn begin(args: &ConverseArgs, starts: &[Prompt]) -> Result<(Vec<Talk>, Vec<String>)> {
    let domains = match &args.user {
        Some(path) => {
            let place = path.display().to_string();
            let read: Domains = toml::from_str(&read_text(path)?).map_err(|e| {
                let hint = "write [[domain]] tables, each with a name and a list of questions";
                Error::format(&place, e.message().to_string(), hint)
            })?;
            if let Some(empty) = read.domain.iter().find(|d| d.questions.is_empty()) {
                return Err(Error::format(
                    &place,
                    format!("domain `{}` asks nothing", empty.name),
                    "give it questions",
                ));
            }
            read.domain
        }
        None => vec![],
    };
    let played = args.own || args.user_model.is_some();
    if domains.is_empty() && !played {
        let hint = "give --user DOMAINS.toml, --self or --user-model MODEL";
        return Err(Error::refused("nobody plays the user", hint));
    }
    let (mut talks, mut of) = (Vec::new(), Vec::new());
    for start in starts {
        let Body::Messages(messages) = &start.body else {
            let what = format!("start `{}` is no conversation", start.id);
            return Err(Error::refused(what, "give it as \"messages\""));
        };
        let mut before = messages.clone();
        let opener: Option<String> = (before.last().is_some_and(|m: &Message| m.role == USER))
            .then(|| before.pop().map(|m| m.content))
            .flatten();
        let seed = start.seed.unwrap_or(args.seed);
        let mut push = |id: String, user: User, domain: &str| {
            let talk = Talk::new(id, before.clone(), user, seed);
            let reply_as = start.reply_as.iter().cycle().take(args.turns as usize).cloned().collect();
            talks.push(Talk { start: start.id.clone(), reply_as, ..talk });
            of.push(domain.to_string());
        };
        for copy in 0..args.copies {
            let suffix = if args.copies > 1 { format!("/{copy:04}") } else { String::new() };
            for domain in &domains {
                let id = format!("{}/{}{suffix}", start.id, domain.name);
                let mut rng = stream(seed, &format!("user/{id}"));
                let mut said: Vec<String> = opener.iter().cloned().collect();
                while said.len() < args.turns as usize {
                    let mut round = domain.questions.clone();
                    round.shuffle(&mut rng);
                    said.extend(round);
                }
                said.truncate(args.turns as usize);
                push(id, User::Says(said), &domain.name);
            }
            if played {
                let Some(opener) = &opener else {
                    let what = format!("start `{}` has no first question, and a model is to go on from it", start.id);
                    return Err(Error::refused(what, "end its messages with one of the user"));
                };
                let mut user = User::plays(&args.cue, opener);
                if let User::Plays(player) = &mut user {
                    player.system = args.user_system.clone();
                }
                push(format!("{}{suffix}", start.id), user, if args.own { "self" } else { "user model" });
            }
        }
    }
    Ok((talks, of))
}

/// A model that draws replies, with finished units on a shelf.
struct Drawing<'a> {
    model: &'a Model,
    settings: Settings,
    /// Shelf, workers, tokens of a unit.
    common: (&'a FolderShelf, usize, usize),
    bar: &'a mut Bar,
    note: Vec<String>,
}

impl Drawing<'_> {
    fn run(&mut self, stage: &str, task: Task, items: Vec<Item>, mut take: impl FnMut(unit::Outcome)) -> Result<()> {
        let (shelf, threads, max_batch_tokens) = self.common;
        let plan = Plan { model: self.model, task, edits: vec![], items, max_batch_tokens };
        self.note.extend(plan.beyond_training());
        self.bar.stage(stage);
        let bar = &mut *self.bar;
        unit::run(&plan, threads, Some(shelf as &dyn Shelf), &mut |t: &Tally| bar.step(t), |_, outcome| {
            take(outcome);
            Ok(())
        })?;
        Ok(())
    }
}

impl Speak for Drawing<'_> {
    fn model(&self) -> &Model {
        self.model
    }

    fn room(&self) -> usize {
        self.settings.max_new_tokens
    }

    fn replies(&mut self, stage: &str, items: Vec<Item>) -> Result<Vec<Vec<u32>>> {
        let mut all = Vec::with_capacity(items.len());
        self.run(stage, Task::Generate(self.settings.clone()), items, |outcome| all.extend(outcome.replies))?;
        Ok(all)
    }
}

/// One row per reply: its mean projected on every vector.
fn states(talks: &[Talk], domains: &[String], vectors: &[Vector], speaker: &mut Drawing<'_>) -> Result<Table> {
    let mut sites: Vec<Site> = vectors.iter().map(|v| v.site).collect();
    sites.sort_unstable();
    sites.dedup();
    let (items, places) = read(talks, speaker.model, &[Part::Reply])?;
    let mut kept: Vec<Vec<f32>> = vec![Vec::new(); sites.len()];
    speaker.run("means over replies", Task::Capture { sites: sites.clone() }, items, |outcome| {
        for (site, rows) in outcome.kept {
            if let Some(at) = sites.iter().position(|s| *s == site) {
                kept[at].extend(rows);
            }
        }
    })?;
    let width = speaker.model.lm.dims().d_model;
    let z: Vec<String> = (0..vectors.len()).map(|i| format!("z{i}")).collect();
    let mut columns = vec!["run", "start", "domain", "turn", "context", "chars", "text_hash", "projection"];
    columns.extend(z.iter().map(String::as_str));
    let mut table = Table::new("states", &columns);
    for (r, place) in places.iter().enumerate() {
        let (talk, domain) = (&talks[place.talk], &domains[place.talk]);
        let turn = &talk.turns[place.turn];
        let mut row: Vec<Cell> = vec![talk.id.clone().into(), talk.start.clone().into(), domain.clone().into()];
        row.extend([place.turn.into(), turn.context.into(), turn.reply.chars().count().into()]);
        row.push(Sha256::digest(&turn.reply).iter().take(8).map(|b| format!("{b:02x}")).collect::<String>().into());
        let on = |v: &Vector| {
            let at = sites.iter().position(|s| *s == v.site).unwrap_or_default();
            let row = &kept[at][r * width..(r + 1) * width];
            row.iter().zip(&v.unit).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum::<f64>()
        };
        row.push(on(&vectors[0]).into());
        row.extend(vectors.iter().map(|v| Cell::from(on(v))));
        table.push(row);
    }
    Ok(table)
}
