//! Capture on the embedded model against Hugging Face transformers with hooks: `mean_response` at `resid_post.all` of
//! 2,000 conversations, two threads, the same ids.
//!
//! Alone: `cargo bench --bench capture`. Against the peer, on the same processor and in alternation:
//!
//! ```text
//! python -m venv peer && peer/bin/pip install torch transformers
//! PERSONASCOPE_PEER_PYTHON=peer/bin/python cargo bench --bench capture
//! ```
//!
//! The peer's best is batches of 16 in order of length; what published extraction scripts do is batches of 16 in the
//! order of the file. Attention is timed as `sdpa` and as `eager`, and the faster counts. Arms take turns, so that a
//! slow minute of the machine meets all of them; where medians and bests disagree, something else was running. The run
//! fails if the two sides disagree.

use personascope::axes::{Pick, Site};
use personascope::capture::select;
use personascope::model::{Model, Source};
use personascope::text::{Encoded, Message};
use personascope::unit::{Item, Plan, Tally, Task, run};
use personascope::world::{ConversationOptions, SystemPrompt, World};
use rand::Rng;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const CONVERSATIONS: usize = 2000;
const THREADS: usize = 2;
const ROUNDS: usize = 3;
/// Largest difference of a mean that two orders of f32 summation explain.
const AGREES: f32 = 5e-5;

fn main() -> Done<()> {
    let model = Model::load(&Source::toyworld())?;
    let items = items(&model)?;
    let tokens: usize = items.iter().map(|i| i.tokens.len()).sum();
    let lengths = || items.iter().map(|i| i.tokens.len());
    println!(
        "{} conversations of {} to {} tokens, {tokens} in all",
        items.len(),
        lengths().min().unwrap_or(0),
        lengths().max().unwrap_or(0)
    );
    let layers = model.lm.dims().n_layers;
    let plan = Plan {
        model: &model,
        task: Task::Capture { sites: (0..layers).map(Site::post).collect() },
        edits: vec![],
        items,
        max_batch_tokens: personascope::unit::MAX_BATCH_TOKENS,
    };
    let folder = tempfile::tempdir()?;
    let mut peer = match std::env::var_os("PERSONASCOPE_PEER_PYTHON") {
        Some(python) => Some(Peer::start(&python, folder.path(), &plan)?),
        None => None,
    };
    let arms = [("sorted", "sdpa"), ("sorted", "eager"), ("file", "sdpa"), ("file", "eager")];
    let (mut ours, mut theirs) = (Vec::new(), [const { Vec::new() }; 4]);
    let mut means = capture(&plan)?; // warms up
    for _ in 0..ROUNDS {
        let began = Instant::now();
        means = capture(&plan)?;
        ours.push(began.elapsed().as_secs_f64());
        if let Some(peer) = &mut peer {
            for ((order, attention), seconds) in arms.iter().zip(&mut theirs) {
                seconds.push(peer.ask(&format!("{order} {attention}"))?.parse()?);
            }
        }
    }
    let rates = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        [seconds[seconds.len() / 2], seconds[0]].map(|s| tokens as f64 / s)
    };
    let [our_median, our_best] = rates(&mut ours);
    println!("{:<28}{:>10}{:>10}{:>10}{:>10}", "tokens/s of the rounds", "median", "ours is", "best", "ours is");
    println!("{:<28}{our_median:>10.0}{:>10}{our_best:>10.0}", "personascope", "");
    let Some(mut peer) = peer else { return Ok(()) };
    for ((order, attention), seconds) in arms.iter().zip(&mut theirs) {
        let ([median, best], name) = (rates(seconds), format!("transformers {order} {attention}"));
        let (by_median, by_best) = (our_median / median, our_best / best);
        println!("{name:<28}{median:>10.0}{by_median:>9.2}x{best:>10.0}{by_best:>9.2}x");
    }
    let differs = peer.largest_difference(folder.path(), &means)?;
    println!("largest difference of a mean: {differs:.1e}");
    if differs < AGREES { Ok(()) } else { Err("the two sides disagree".into()) }
}

/// Conversations cut after the last reply that ends within a length drawn from 12 to 400 tokens.
fn items(model: &Model) -> Done<Vec<Item>> {
    let world = World::toyworld();
    let mut rng = personascope::rng::stream(1, "capture bench");
    let mut items = Vec::with_capacity(CONVERSATIONS);
    for i in 0..CONVERSATIONS {
        let persona = &world.personas()[i % world.personas().len()];
        let system = if i % 2 == 0 { SystemPrompt::None } else { SystemPrompt::Named };
        let talk =
            world.conversation(&mut rng, persona, &ConversationOptions { turns: 24, system, ..Default::default() })?;
        let messages: Vec<Message> = talk.lines().into_iter().map(|l| Message::new(l.role, l.content)).collect();
        let wanted = rng.random_range(12..=400);
        let whole = model.text.chat(&messages, false)?;
        let fits = |t: &usize| whole.turns[*t].role == "assistant" && whole.turns[*t].content.end < wanted;
        let first = whole.turns.iter().position(|t| t.role == "assistant").ok_or("nobody replies")?;
        let last = (0..messages.len()).rev().find(fits).unwrap_or(first);
        let encoded: Encoded = model.text.chat(&messages[..=last], false)?;
        let ranges = select(Pick::MeanResponse, &i.to_string(), &encoded)?.into_iter().map(|k| k.range).collect();
        let prompt_len = encoded.last_prompt() + 1;
        items.push(Item { id: i.to_string(), tokens: encoded.tokens, prompt_len, ranges, ..Item::default() });
    }
    Ok(items)
}

/// The means, `[layer][conversation, d_model]`.
fn capture(plan: &Plan) -> Done<Vec<Vec<f32>>> {
    let mut means: Vec<Vec<f32>> = Vec::new();
    run(plan, THREADS, None, &mut |_: &Tally| true, |_, outcome| {
        means.resize_with(outcome.kept.len(), Vec::new);
        means.iter_mut().zip(outcome.kept).for_each(|(all, (_, rows))| all.extend(rows));
        Ok(())
    })?;
    Ok(means)
}

/// The other side: a process that runs one arm at a time.
struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &std::ffi::OsStr, folder: &std::path::Path, plan: &Plan) -> Done<Peer> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let job = serde_json::json!({
            "model": root.join("src/assets/toyworld"),
            "threads": THREADS,
            "ids": plan.items.iter().map(|i| &i.tokens).collect::<Vec<_>>(),
            "ranges": plan.items.iter().map(|i| [i.ranges[0].start, i.ranges[0].end]).collect::<Vec<_>>(),
        });
        let file = folder.join("job.json");
        std::fs::write(&file, job.to_string())?;
        let mut command = Command::new(python);
        command.arg(root.join("benches/peer_capture.py")).arg(&file);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no pipe to the peer")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe from the peer")?);
        let mut peer = Peer { child, to, from };
        peer.answer()?;
        peer.ask("sorted sdpa")?; // warms up
        Ok(peer)
    }

    fn answer(&mut self) -> Done<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err("the peer ended; what it says stands above".into()),
            _ => Ok(line.trim().to_string()),
        }
    }

    fn ask(&mut self, line: &str) -> Done<String> {
        writeln!(self.to, "{line}")?;
        self.answer()
    }

    fn largest_difference(&mut self, folder: &std::path::Path, means: &[Vec<f32>]) -> Done<f32> {
        let file = folder.join("means.f32");
        self.ask(&format!("write {}", file.display()))?;
        let bytes = std::fs::read(&file)?;
        let theirs = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        if bytes.len() != 4 * means.iter().map(Vec::len).sum::<usize>() {
            return Err("the peer's means have another size".into());
        }
        Ok(means.iter().flatten().zip(theirs).fold(0.0, |worst, (a, b)| f32::max(worst, (a - b).abs())))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about either outcome.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
