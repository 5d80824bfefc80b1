//! What steering costs: decoding with an edit at one site and at all of them against decoding without (batch 16, a random
//! Llama-shaped checkpoint of 125 million parameters), and a sweep of 9 doses and 8 seeds over one prompt as one batch
//! against its 72 runs one after another (the embedded model and the checkpoint).
//!
//! `cargo bench --bench steer -- [rounds]`. Arms take turns, so that a slow minute of the machine meets all of them. A ratio
//! is that of one round; shown are the median and a 95 % bootstrap interval of it over rounds.

use personascope::axes::Site;
use personascope::model::generate::{Settings, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{Along, Edit, Model, Positions, Rewrite, Source};
use personascope::rng::stream;
use personascope::steer::{Arm, Op, Place, Prompted, Sweep};
use personascope::text::prompts::Prompt;
use rand::Rng;
use std::time::Instant;

#[path = "shared/checkpoint.rs"]
#[allow(dead_code)]
mod checkpoint;
#[path = "shared/peer.rs"]
#[allow(dead_code)]
mod peer;

use checkpoint::{SHAPES, checkpoint};
use peer::Done;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: usize = 2;
const BATCH: usize = 16;
const PROMPT: usize = 8;
const NEW: usize = 16;
const DOSES: [f64; 9] = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0];
const SEEDS: u64 = 8;

fn main() -> Done<()> {
    let rounds = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(25);
    let folder = tempfile::tempdir()?;
    let shape = SHAPES.iter().find(|s| s.name == "125M").ok_or("no shape of 125 million parameters")?;
    let large = Model::load(&checkpoint(shape, folder.path())?)?;
    decoding(&large, rounds)?;
    sweep("embedded", &Model::load(&Source::toyworld())?, 40, rounds.min(9))?;
    sweep("125M", &large, 12, rounds.min(3))
}

fn unit(d: usize, seed: u64) -> Vec<f32> {
    let mut rng = stream(seed, "direction");
    let v: Vec<f64> = (0..d).map(|_| rng.random_range(-1.0..1.0)).collect();
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.iter().map(|x| (x / norm) as f32).collect()
}

/// Seconds that this thread has computed, so that other programs do not count; where the system does not tell, the time.
fn busy() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|t| t.split(' ').next()?.parse::<f64>().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    nanoseconds.map_or_else(now, |n| n / 1e9)
}

/// Seconds of decoding with edits at no site, at one, and at all.
fn decoding(model: &Model, rounds: usize) -> Done<()> {
    let dims = *model.lm.dims();
    let at = |l: usize| {
        let amount = Rewrite::Shift(0.5 + l as f64);
        Along::new(Site::post(l), &unit(dims.d_model, l as u64), amount, Positions::LastPromptOn)
    };
    let edits: Vec<Along> = (0..dims.n_layers).map(at).collect::<Result<_, _>>()?;
    let edits: Vec<&dyn Edit> = edits.iter().map(|e| e as &dyn Edit).collect();
    let lists = [vec![], vec![dims.n_layers / 2], (0..dims.n_layers).collect()];
    let mut rng = stream(1, "prompts");
    let prompts: Vec<Vec<u32>> =
        (0..BATCH).map(|_| (0..PROMPT).map(|_| rng.random_range(3..dims.d_vocab as u32)).collect()).collect();
    let settings = Settings { max_new_tokens: NEW, sampling: Sampling::GREEDY, stops: vec![] };
    let run = |list: &[usize]| -> Done<f64> {
        let starts: Vec<Start> = prompts
            .iter()
            .enumerate()
            .map(|(i, tokens)| Start {
                id: i.to_string(),
                tokens: tokens.clone(),
                seed: 0,
                adapter: None,
                edits: list.to_vec(),
            })
            .collect();
        let start = busy();
        let (replies, receipts) = generate(&*model.lm, &[], &starts, &edits, &settings)?;
        let seconds = busy() - start;
        assert!(replies.iter().all(|r| r.len() == NEW), "what is timed was done");
        // The last token of each prompt, and of each reply all but the last.
        assert!(list.iter().all(|e| receipts[*e].rows == BATCH * NEW), "what is timed was done");
        Ok(seconds)
    };
    lists.iter().try_for_each(|l| run(l).map(drop))?;
    let mut times: Vec<[f64; 3]> = Vec::new();
    for round in 0..rounds {
        let mut of = [0.0; 3];
        for i in 0..3 {
            of[(i + round) % 3] = run(&lists[(i + round) % 3])?;
        }
        times.push(of);
    }
    println!(
        "decoding, batch {BATCH}, {NEW} tokens, 125M, one thread: {:.3} s without an edit",
        median(times.iter().map(|t| t[0]))
    );
    for (place, name) in [(1, "one site"), (2, "all sites")] {
        // Rounds begin with another arm each, so that no arm is always the one after the others.
        let ratios: Vec<f64> = times.iter().map(|t| t[place] / t[0]).collect();
        let (lo, hi) = interval(&ratios);
        println!("  {name:<10} x{:.4} [{lo:.4}, {hi:.4}] over {rounds} rounds", median(ratios.iter().copied()));
    }
    Ok(())
}

/// One batch against one run after another.
fn sweep(name: &str, model: &Model, new: usize, rounds: usize) -> Done<()> {
    let dims = *model.lm.dims();
    let prompt = if name == "embedded" {
        r#"{"id":"a","messages":[{"role":"user","content":"Tell me about tea."}]}"#.to_string()
    } else {
        let mut rng = stream(2, "prompt");
        let tokens: Vec<u32> = (0..64).map(|_| rng.random_range(3..dims.d_vocab as u32)).collect();
        format!(r#"{{"id":"a","tokens":{tokens:?}}}"#)
    };
    let prompt = Prompt::parse_lines("bench", &prompt)?.remove(0);
    let encoded = prompt.encode(&model.text)?;
    let prompts = vec![Prompted { id: prompt.id, encoded, adapter: None }];
    let of = |doses: &[f64], seeds: Vec<u64>| Sweep {
        model,
        prompts: prompts.clone(),
        arms: vec![Arm {
            site: Site::post(dims.n_layers / 2),
            op: Op::Shift,
            unit: unit(dims.d_model, 1),
            donors: None,
            place: Place::Same(Positions::LastPromptOn),
            amounts: doses.to_vec(),
        }],
        strengths: doses.iter().map(f64::to_string).collect(),
        seeds,
        settings: Settings { max_new_tokens: new, sampling: Sampling { temperature: 1.0, top_p: 1.0 }, stops: vec![] },
        max_batch_tokens: 8192,
    };
    let mut ratios = Vec::new();
    let (mut whole, mut apart) = (0.0, 0.0);
    for _ in 0..rounds {
        let start = Instant::now();
        let together = of(&DOSES, (0..SEEDS).collect()).run(THREADS, None, &mut |_| true)?;
        whole = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut replies = Vec::new();
        for dose in DOSES {
            for seed in 0..SEEDS {
                replies.extend(of(&[dose], vec![seed]).run(THREADS, None, &mut |_| true)?.replies);
            }
        }
        apart = start.elapsed().as_secs_f64();
        let same = together.replies.iter().zip(&replies).filter(|(a, b)| a.tokens == b.tokens).count();
        assert_eq!(same, DOSES.len() * SEEDS as usize, "the same replies");
        ratios.push(apart / whole);
    }
    let (lo, hi) = interval(&ratios);
    println!(
        "sweep of 9 doses x 8 seeds, {name}, {new} tokens: {whole:.3} s, one by one {apart:.3} s: {:.2}x [{lo:.2}, {hi:.2}], same replies",
        median(ratios.iter().copied())
    );
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_by(f64::total_cmp);
    (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0
}

/// 95 % percentile bootstrap of the median.
fn interval(values: &[f64]) -> (f64, f64) {
    let mut rng = stream(3, "bootstrap");
    let mut medians: Vec<f64> =
        (0..2000).map(|_| median((0..values.len()).map(|_| values[rng.random_range(0..values.len())]))).collect();
    medians.sort_by(f64::total_cmp);
    (medians[50], medians[1949])
}
