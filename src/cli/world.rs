//! `world`: a world, its text, its tokenizer and its truth, from a TOML file.

use super::progress::Bar;
use super::{WorkArgs, read_text};
use crate::error::{Error, Result};
use crate::store::{Appending, create_dir, write_atomic};
use crate::unit;
use crate::world::corpus::{Corpus, CorpusConfig, Document, Split};
use serde_json::json;
use std::ops::Range;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  personascope world src/assets/toyworld-base/world.toml --out base
  personascope world src/assets/toyworld-base/world.toml --out small --documents 1000 --seed 3

Writes train.jsonl and heldout.jsonl, one document per line: {\"kind\", \"text\"}, the text with its special tokens;
tokenizer.json and tokenizer_config.json; world.json, the world itself. The same file and seed give the same bytes.";

/// Documents that one worker makes at a time.
const SHARE: u64 = 1000;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WorldArgs {
    /// The world's TOML file
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Folder for the files; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Decides the documents; the people stay those of the file
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Documents of train.jsonl, instead of those the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    documents: Option<u64>,
    #[command(flatten)]
    work: WorkArgs,
}

pub fn world(args: WorldArgs) -> Result<bool> {
    let mut config = CorpusConfig::parse(&args.config.display().to_string(), &read_text(&args.config)?)?;
    config.seed = args.seed.unwrap_or(config.seed);
    config.documents = args.documents.unwrap_or(config.documents);
    let corpus = corpus(&args.config, config)?;
    create_dir(&args.out)?;
    let write = |name: &str, text: &str| write_atomic(&args.out.join(name), text.as_bytes(), true);
    write("tokenizer.json", corpus.tokenizer_json())?;
    write("tokenizer_config.json", &corpus.tokenizer_config())?;
    write("world.json", corpus.world_json())?;
    let config = corpus.config();
    let bar = Bar::of("documents", config.documents + config.heldout);
    for (name, split, n) in
        [("heldout.jsonl", Split::Heldout, config.heldout), ("train.jsonl", Split::Train, config.documents)]
    {
        stream(&corpus, split, n, args.work.threads(), &args.out.join(name), &bar)?;
    }
    bar.end();
    Ok(true)
}

/// Writes a world's files as the command does.
pub(super) fn write(config: &Path, out: &Path, work: WorkArgs) -> Result<bool> {
    world(WorldArgs { config: config.into(), out: out.into(), seed: None, documents: None, work })
}

/// The corpus of a configuration, with the tokenizer that it names.
fn corpus(place: &Path, config: CorpusConfig) -> Result<Corpus> {
    let Some(folder) = &config.tokenizer else { return Corpus::new(config, None) };
    let path = place.parent().unwrap_or(Path::new(".")).join(folder).join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    Corpus::new(config, Some((&path.display().to_string(), &bytes)))
}

/// Writes `n` documents as they are made, in order.
fn stream(corpus: &Corpus, split: Split, n: u64, threads: usize, path: &Path, bar: &Bar) -> Result<()> {
    let shares: Vec<Range<u64>> = (0..n.div_ceil(SHARE)).map(|s| s * SHARE..n.min((s + 1) * SHARE)).collect();
    let mut file = Appending::create(path)?;
    for round in shares.chunks(threads) {
        let made = unit::parallel(round, threads, |share| {
            let mut counter = corpus.counter();
            let mut lines = Vec::new();
            for i in share.clone() {
                let Document { kind, text, .. } = corpus.document(split, i, &mut counter)?;
                lines.extend_from_slice(json!({ "kind": kind, "text": text }).to_string().as_bytes());
                lines.push(b'\n');
            }
            Ok(lines)
        })?;
        for lines in made {
            file.append(&lines)?;
        }
        bar.forward(round.iter().map(|r| r.end - r.start).sum());
    }
    file.finish()
}
