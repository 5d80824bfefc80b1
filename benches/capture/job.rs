//! What every side is given: a model, token ids, and the range of each prompt whose mean is wanted.

use crate::checkpoint::{SHAPES, checkpoint};
use crate::peer::Done;
use personascope::axes::Pick;
use personascope::capture::{Names, Selection};
use personascope::model::{Model, Source};
use personascope::text::Message;
use personascope::world::{ConversationOptions, SystemPrompt, World};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
pub struct Job {
    /// As `--model` takes it.
    pub source: String,
    /// The folder of the same model.
    pub model: PathBuf,
    pub threads: usize,
    pub ids: Vec<Vec<u32>>,
    /// One for each prompt.
    pub ranges: Vec<(usize, usize)>,
}

/// Prompts have up to this many tokens.
const LONGEST: usize = 400;
const CONVERSATIONS: usize = 2000;
/// Prompts for a model of somebody's folder.
const OF_A_FOLDER: usize = 64;

/// The job for `toyworld`, a shape of random weights (made in `folder`), or a model's folder.
pub fn job(name: &str, folder: &Path, prompts: Option<usize>, threads: usize) -> Done<Job> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if name == "toyworld" {
        let (ids, ranges) = conversations(prompts.unwrap_or(CONVERSATIONS))?;
        let model = root.join("src/assets/toyworld");
        return Ok(Job { source: name.into(), model, threads, ids, ranges });
    }
    let (model, count) = match SHAPES.iter().find(|s| s.name == name) {
        Some(shape) => {
            checkpoint(shape, folder)?;
            (folder.to_path_buf(), shape.prompts)
        }
        None => (PathBuf::from(name).canonicalize()?, OF_A_FOLDER),
    };
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(model.join("config.json"))?)?;
    let d_vocab = config["vocab_size"].as_u64().ok_or("config.json has no vocab_size")? as u32;
    let (ids, ranges) = random(prompts.unwrap_or(count), d_vocab);
    Ok(Job { source: model.display().to_string(), model, threads, ids, ranges })
}

type Prompts = (Vec<Vec<u32>>, Vec<(usize, usize)>);

/// Random tokens; the reply begins somewhere in the middle half.
fn random(count: usize, d_vocab: u32) -> Prompts {
    let mut rng = personascope::rng::stream(1, "capture bench, random tokens");
    let mut prompt = |_| {
        let n = rng.random_range(12..=LONGEST);
        let ids = (0..n).map(|_| rng.random_range(3..d_vocab)).collect();
        (ids, (rng.random_range(n / 4..=3 * n / 4), n))
    };
    (0..count).map(&mut prompt).unzip()
}

/// Conversations of the embedded model's world, cut after the last reply that ends within a length drawn from 12 to 400
/// tokens.
fn conversations(count: usize) -> Done<Prompts> {
    let model = Model::load(&Source::toyworld())?;
    let world = World::toyworld();
    let mut rng = personascope::rng::stream(1, "capture bench");
    let mut all = Prompts::default();
    for i in 0..count {
        let persona = &world.personas()[i % world.personas().len()];
        let system = if i % 2 == 0 { SystemPrompt::None } else { SystemPrompt::Named };
        let talk =
            world.conversation(&mut rng, persona, &ConversationOptions { turns: 24, system, ..Default::default() })?;
        let messages: Vec<Message> = talk.lines().into_iter().map(|l| Message::new(l.role, l.content)).collect();
        let wanted = rng.random_range(12..=LONGEST);
        let whole = model.text.chat(&messages, false)?;
        let fits = |t: &usize| whole.turns[*t].role == "assistant" && whole.turns[*t].content.end < wanted;
        let first = whole.turns.iter().position(|t| t.role == "assistant").ok_or("nobody replies")?;
        let last = (0..messages.len()).rev().find(fits).unwrap_or(first);
        let encoded = model.text.chat(&messages[..=last], false)?;
        let kept: Vec<Range<usize>> = Selection::from(Pick::MeanResponse)
            .rows(&i.to_string(), &encoded, &Names::default())?
            .iter()
            .map(|k| k.range())
            .collect();
        let [range] = &kept[..] else { return Err(format!("conversation {i} has {} ranges", kept.len()).into()) };
        all.1.push((range.start, range.end));
        all.0.push(encoded.tokens);
    }
    Ok(all)
}
