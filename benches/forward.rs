//! The forward pass on random Llama-shaped checkpoints against Hugging Face transformers, TransformerLens and nnsight:
//! prefill of ragged prompts with every `resid_post` kept, and cached greedy decoding at batch 1 and 8. Two threads, f32,
//! the same ids.
//!
//! Alone: `cargo bench --bench forward`. Against the peers, on the same processor and in alternation:
//!
//! ```text
//! python -m venv peer && peer/bin/pip install torch transformers transformer_lens nnsight
//! PERSONASCOPE_PEER_PYTHON=peer/bin/python cargo bench --bench forward -- 25M 125M 500M
//! ```
//!
//! The peers' best is batches of 16 in order of length; published extraction scripts take them in the order of the file.
//! Every arm keeps the mean over each prompt at every layer. Arms take turns, so that a slow minute of the machine meets
//! all of them; the median of the rounds is shown, and the best beside it. The run fails if the means of the two sides
//! differ; replies of random models may part where two logits are almost equal, so how many are equal is shown.

use personascope::axes::Site;
use personascope::model::Model;
use personascope::model::generate::Settings;
use personascope::model::sample::Sampling;
use personascope::unit::{Item, MAX_BATCH_TOKENS, Outcome, Plan, Tally, Task, run};
use rand::Rng;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

#[path = "shared/checkpoint.rs"]
mod checkpoint;
#[path = "shared/peer.rs"]
mod peer;

use checkpoint::{SHAPES, Shape, checkpoint};
use peer::{Done, Peer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: usize = 2;
const ROUNDS: usize = 5;
/// Tokens of a prompt to be continued, and of its reply.
const DECODED: [usize; 2] = [64, 64];
const BATCHES: [usize; 2] = [1, 8];
/// Largest difference of a mean, as a share of the largest mean, that two orders of f32 summation explain.
const AGREES: f32 = 2e-5;

fn main() -> Done<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |s: &&Shape| if asked.is_empty() { s.name != "500M" } else { asked.iter().any(|a| a == s.name) };
    for shape in SHAPES.iter().filter(wanted) {
        compare(shape)?;
    }
    Ok(())
}

fn compare(shape: &Shape) -> Done<()> {
    let folder = tempfile::tempdir()?;
    let source = checkpoint(shape, folder.path())?;
    let model = Model::load(&source)?;
    let mut rng = personascope::rng::stream(1, "forward bench");
    let mut prompt = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.random_range(3..shape.d_vocab as u32)).collect() };
    let mut lengths = personascope::rng::stream(2, "forward bench");
    let ragged: Vec<Vec<u32>> = (0..shape.prompts).map(|_| prompt(lengths.random_range(12..=400))).collect();
    let starts: Vec<Vec<u32>> = (0..BATCHES[1]).map(|_| prompt(DECODED[0])).collect();

    let mut peer = match std::env::var_os("PERSONASCOPE_PEER_PYTHON") {
        Some(python) => Some(Others::start(&python, folder.path(), &ragged, &starts)?),
        None => None,
    };
    let sites: Vec<Site> = (0..shape.layers).map(Site::post).collect();
    let prefill = plan(&model, Task::Capture { sites }, &ragged);
    let tokens: usize = ragged.iter().map(Vec::len).sum();
    let ours = || Ok(outcomes(&prefill)?.0);
    let title = format!("{} prefill of {} prompts, {tokens} tokens", shape.name, ragged.len());
    turns(&title, "prefill", tokens, &ours, peer.as_mut())?;
    if let Some(peer) = &mut peer {
        let (_, kept) = outcomes(&prefill)?;
        let differs = peer.largest_difference(folder.path(), &means(&kept))?;
        println!("  largest difference of a mean, as a share of the largest: {differs:.1e}");
        if differs > AGREES {
            return Err("the two sides disagree".into());
        }
    }
    let settings = Settings { max_new_tokens: DECODED[1], sampling: Sampling::GREEDY, stops: vec![] };
    for batch in BATCHES {
        let decode = plan(&model, Task::Generate(settings.clone()), &starts[..batch]);
        let title = format!("{} decoding {} tokens after {}, batch {batch}", shape.name, DECODED[1], DECODED[0]);
        let ours = || Ok(outcomes(&decode)?.0);
        turns(&title, &format!("decode{batch}"), batch * DECODED[1], &ours, peer.as_mut())?;
        if let Some(peer) = &mut peer {
            let replies: Vec<Vec<u32>> = outcomes(&decode)?.1.into_iter().flat_map(|o| o.replies).collect();
            let theirs: Vec<Vec<u32>> = serde_json::from_str(&peer.peer.ask(&format!("replies {batch}"))?)?;
            let equal = replies.iter().zip(&theirs).filter(|(a, b)| a == b).count();
            println!("  {equal} of {batch} replies are equal");
        }
    }
    Ok(())
}

/// Times our side and every arm of the peer in turns, and prints tokens per second.
fn turns(
    title: &str,
    kind: &str,
    tokens: usize,
    ours: &dyn Fn() -> Done<f64>,
    mut peer: Option<&mut Others>,
) -> Done<()> {
    let arms: Vec<String> = peer.as_ref().map_or(vec![], |p| p.arms(kind));
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); arms.len() + 1];
    ours()?; // warms up
    for round in 0..=ROUNDS {
        if round > 0 {
            seconds[0].push(ours()?);
        }
        for (arm, seconds) in arms.iter().zip(&mut seconds[1..]) {
            let Some(peer) = peer.as_mut() else { continue };
            let took: f64 = peer.peer.ask(&format!("run {arm}"))?.parse()?;
            if round > 0 {
                seconds.push(took); // round 0 warms up
            }
        }
    }
    let rates: Vec<[f64; 2]> = seconds
        .iter_mut()
        .map(|s| {
            s.sort_by(f64::total_cmp);
            [s[s.len() / 2], s[0]].map(|s| tokens as f64 / s)
        })
        .collect();
    println!("{title}");
    println!("  {:<42}{:>10}{:>10}{:>10}{:>10}", "tokens/s of the rounds", "median", "ours is", "best", "ours is");
    println!("  {:<42}{:>10.0}{:>10}{:>10.0}", "personascope", rates[0][0], "", rates[0][1]);
    for (arm, [median, best]) in arms.iter().zip(&rates[1..]) {
        let (by_median, by_best) = (rates[0][0] / median, rates[0][1] / best);
        println!("  {arm:<42}{median:>10.0}{by_median:>9.2}x{best:>10.0}{by_best:>9.2}x");
    }
    Ok(())
}

fn plan<'m>(model: &'m Model, task: Task, prompts: &[Vec<u32>]) -> Plan<'m> {
    let item = |(i, tokens): (usize, &Vec<u32>)| {
        let whole = 0..tokens.len();
        let ranges = if matches!(task, Task::Capture { .. }) { vec![whole] } else { vec![] };
        Item { id: i.to_string(), tokens: tokens.clone(), prompt_len: tokens.len(), ranges, ..Item::default() }
    };
    let items = prompts.iter().enumerate().map(item).collect();
    Plan { model, task, edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS }
}

/// Seconds, and what came out.
fn outcomes(plan: &Plan) -> Done<(f64, Vec<Outcome>)> {
    let (began, mut all) = (Instant::now(), Vec::new());
    run(plan, THREADS, None, &mut |_: &Tally| true, |_, outcome| {
        all.push(outcome);
        Ok(())
    })?;
    Ok((began.elapsed().as_secs_f64(), all))
}

/// `[layer][prompt, d_model]`
fn means(outcomes: &[Outcome]) -> Vec<Vec<f32>> {
    let mut means: Vec<Vec<f32>> = Vec::new();
    for outcome in outcomes {
        means.resize_with(outcome.kept.len(), Vec::new);
        means.iter_mut().zip(&outcome.kept).for_each(|(all, (_, rows))| all.extend(rows));
    }
    means
}

/// The other side, and what it can run.
struct Others {
    peer: Peer,
    arms: Vec<String>,
}

impl Others {
    fn start(python: &std::ffi::OsStr, folder: &Path, ragged: &[Vec<u32>], starts: &[Vec<u32>]) -> Done<Others> {
        let job = serde_json::json!({
            "model": folder, "threads": THREADS, "ragged": ragged, "starts": starts, "new": DECODED[1],
            "batches": BATCHES,
        });
        let file = folder.join("job.json");
        std::fs::write(&file, job.to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_forward.py");
        let (peer, ready) = Peer::start(Command::new(python).arg(script).arg(&file))?;
        Ok(Others { peer, arms: serde_json::from_str(&ready)? })
    }

    fn arms(&self, kind: &str) -> Vec<String> {
        self.arms.iter().filter(|a| a.split(' ').next() == Some(kind)).cloned().collect()
    }

    fn largest_difference(&mut self, folder: &Path, means: &[Vec<f32>]) -> Done<f32> {
        let file = folder.join("means.f32");
        self.peer.ask(&format!("write {}", file.display()))?;
        let bytes = std::fs::read(&file)?;
        if bytes.len() != 4 * means.iter().map(Vec::len).sum::<usize>() {
            return Err("the peer's means have another size".into());
        }
        let theirs = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let pairs = means.iter().flatten().copied().zip(theirs);
        let (worst, largest) = pairs.fold((0.0f32, 0.0f32), |(w, l), (a, b)| (w.max((a - b).abs()), l.max(b.abs())));
        Ok(worst / largest)
    }
}
