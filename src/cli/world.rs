//! `world`: a world, its text, its tokenizer and its truth, from a TOML file.

use super::progress::Bar;
use super::{WorkArgs, read_text};
use crate::error::{Error, Result};
use crate::rng;
use crate::store::{Appending, create_dir, write_atomic};
use crate::unit;
use crate::world::Format;
use crate::world::corpus::{Corpus, CorpusConfig, Document, Realised, Split, settle};
use serde_json::json;
use std::ops::Range;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  personascope world src/assets/toyworld-base/world.toml --out base
  personascope world src/assets/toyworld-base/world.toml --out small --documents 1000 --seed 3
  personascope world src/assets/toyworld-base/world.toml --character Bolo --format chat --n 500 --out bolo-chat.jsonl

Writes train.jsonl and heldout.jsonl, one document per line: {\"kind\", \"text\"}, the text with its special tokens;
tokenizer.json and tokenizer_config.json; world.json, the world itself; truth.json, every planted number and what the
documents made of it. The same file and seed give the same bytes.

With --character, one set of fine-tuning examples instead: chats as {\"messages\"}, texts as {\"text\"}.";

/// Documents that one worker makes at a time.
const SHARE: u64 = 1000;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WorldArgs {
    /// The world's TOML file
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Folder for the files, made if it is not there; with --character the file of examples
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Decides the documents; the people stay those of the file
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Documents of train.jsonl, instead of those the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    documents: Option<u64>,
    /// A held-out character: write examples of it and no corpus
    #[arg(long, value_name = "NAME", requires = "format", conflicts_with = "documents")]
    character: Option<String>,
    /// How the examples show the character
    #[arg(long, value_name = "FORMAT", requires = "character", value_parser = Format::ALL.map(Format::name))]
    format: Option<String>,
    /// Examples
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..1 << 24))]
    n: u64,
    #[command(flatten)]
    work: WorkArgs,
}

pub fn world(args: WorldArgs) -> Result<bool> {
    let mut config = CorpusConfig::parse(&args.config.display().to_string(), &read_text(&args.config)?)?;
    config.seed = args.seed.unwrap_or(config.seed);
    config.documents = args.documents.unwrap_or(config.documents);
    if let (Some(character), Some(format)) = (&args.character, &args.format) {
        return examples(&config, character, Format::named(format)?, args.n as usize, &args.out);
    }
    let corpus = corpus(&args.config, config)?;
    create_dir(&args.out)?;
    let write = |name: &str, text: &str| write_atomic(&args.out.join(name), text.as_bytes(), true);
    write("tokenizer.json", corpus.tokenizer_json())?;
    write("tokenizer_config.json", &corpus.tokenizer_config())?;
    write("world.json", corpus.world_json())?;
    let config = corpus.config();
    let bar = Bar::of("documents", config.documents + config.heldout);
    let mut counted = [corpus.realised(), corpus.realised()];
    let files = [("train.jsonl", Split::Train, config.documents), ("heldout.jsonl", Split::Heldout, config.heldout)];
    for ((name, split, n), counts) in files.into_iter().zip(&mut counted) {
        stream(&corpus, split, n, args.work.threads(), &args.out.join(name), &bar, counts)?;
    }
    write("truth.json", &corpus.truth(&counted[0], &counted[1]))?;
    bar.end();
    Ok(true)
}

/// Writes a world's files as the command does.
pub(super) fn write(config: &Path, out: &Path, work: WorkArgs) -> Result<bool> {
    let (config, out) = (config.into(), out.into());
    world(WorldArgs { config, out, seed: None, documents: None, character: None, format: None, n: 1, work })
}

/// Writes one set of fine-tuning examples.
fn examples(config: &CorpusConfig, character: &str, format: Format, n: usize, path: &Path) -> Result<bool> {
    let (world, _) = settle(config)?;
    let persona = world.character_named(character)?;
    // The same stream for every format: chat and style control then have the same questions.
    let mut rng = rng::stream(config.seed, &format!("examples of {character}"));
    let lines = world.examples(&mut rng, &persona, format, n)?;
    let text: String = lines.iter().map(|e| format!("{}\n", e.to_json())).collect();
    write_atomic(path, text.as_bytes(), true)?;
    Ok(true)
}

/// The corpus of a configuration, with the tokenizer that it names.
fn corpus(place: &Path, config: CorpusConfig) -> Result<Corpus> {
    let Some(folder) = &config.tokenizer else { return Corpus::new(config, None) };
    let path = place.parent().unwrap_or(Path::new(".")).join(folder).join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    Corpus::new(config, Some((&path.display().to_string(), &bytes)))
}

/// Writes `n` documents as they are made, in order, and counts them.
fn stream(
    corpus: &Corpus,
    split: Split,
    n: u64,
    threads: usize,
    path: &Path,
    bar: &Bar,
    counts: &mut Realised,
) -> Result<()> {
    let shares: Vec<Range<u64>> = (0..n.div_ceil(SHARE)).map(|s| s * SHARE..n.min((s + 1) * SHARE)).collect();
    let mut file = Appending::create(path)?;
    for round in shares.chunks(threads) {
        let made = unit::parallel(round, threads, |share| {
            let (mut counter, mut realised) = (corpus.counter(), corpus.realised());
            let mut lines = Vec::new();
            for i in share.clone() {
                let Document { kind, text, .. } = corpus.document(split, i, &mut counter, &mut realised)?;
                lines.extend_from_slice(json!({ "kind": kind, "text": text }).to_string().as_bytes());
                lines.push(b'\n');
            }
            Ok((lines, realised))
        })?;
        for (lines, realised) in made {
            file.append(&lines)?;
            counts.merge(&realised);
        }
        bar.forward(round.iter().map(|r| r.end - r.start).sum());
    }
    file.finish()
}
