//! A model and nine adapters of it as rows of the same batches, against ten runs one after another: prefill of equal prompts
//! with every `resid_post` kept, and greedy decoding. Two threads for either side; the start of the process and loading
//! take no part.
//!
//! `cargo bench --bench adapters -- [rounds] [25M] [125M]`. Arms take turns, so that a slow minute of the machine meets both.
//! Shown are medians over the rounds, and of the ratios within rounds the median with a 95 % bootstrap interval. The run
//! fails where the two sides do not give the same numbers and tokens.

use personascope::axes::Site;
use personascope::model::adapter::{Settings as Lora, Targets};
use personascope::model::generate::Settings;
use personascope::model::sample::Sampling;
use personascope::model::{Adapter, Model, Source};
use personascope::rng::stream;
use personascope::unit::{Item, MAX_BATCH_TOKENS, Outcome, Plan, Tally, Task, run};
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
const ADAPTERS: usize = 9;
const RANK: usize = 8;
/// Tokens of a prompt, and of its reply.
const PROMPT: usize = 64;
const NEW: usize = 64;
/// Prompts that every model is given: to be read, and to be continued.
const READ: usize = 16;
const CONTINUED: [usize; 2] = [1, 4];

fn main() -> Done<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let rounds = asked.iter().find_map(|a| a.parse().ok()).unwrap_or(9);
    let named: Vec<&str> = asked.iter().map(String::as_str).filter(|a| a.parse::<usize>().is_err()).collect();
    compare("embedded", Model::load(&Source::toyworld())?, rounds)?;
    for shape in SHAPES.iter().filter(|s| if named.is_empty() { s.name == "25M" } else { named.contains(&s.name) }) {
        let folder = tempfile::tempdir()?;
        compare(shape.name, Model::load(&checkpoint(shape, folder.path())?)?, rounds)?;
    }
    Ok(())
}

fn compare(name: &str, mut model: Model, rounds: usize) -> Done<()> {
    let lora = Lora::new(RANK, 16.0, Targets::AllLinear);
    for i in 0..ADAPTERS {
        let (mut adapter, _) = Adapter::fresh(&format!("a{i}"), &*model.lm, &model.hash, &lora, i as u64)?;
        for (path, module) in &mut adapter.modules {
            let mut rng = stream(i as u64, path);
            let b: Vec<f32> = (0..module.b.elem_count()).map(|_| rng.random_range(-0.02..0.02)).collect();
            module.b = candle_core::Tensor::from_vec(b, module.b.shape(), &candle_core::Device::Cpu)?;
            module.a = module.a.detach();
        }
        model.add(Adapter::new(format!("a{i}"), adapter.modules, None, None)?)?;
    }
    let dims = *model.lm.dims();
    let mut rng = stream(1, "adapters bench");
    let mut prompt = || -> Vec<u32> { (0..PROMPT).map(|_| rng.random_range(3..dims.d_vocab as u32)).collect() };
    let prompts: Vec<Vec<u32>> = (0..READ).map(|_| prompt()).collect();
    let sites: Vec<Site> = (0..dims.n_layers).map(Site::post).collect();
    versus(&format!("{name}, prefill of {READ} prompts"), &model, &Task::Capture { sites }, &prompts, rounds, 0.9)?;
    for n in CONTINUED {
        let task = Task::Generate(Settings { max_new_tokens: NEW, sampling: Sampling::GREEDY, stops: vec![] });
        let title = format!("{name}, decoding {NEW} tokens after {n} prompt{}", if n == 1 { "" } else { "s" });
        versus(&title, &model, &task, &prompts[..n], rounds, 2.0)?;
    }
    Ok(())
}

/// Times all models at once against one after another.
fn versus(title: &str, model: &Model, task: &Task, prompts: &[Vec<u32>], rounds: usize, bar: f64) -> Done<()> {
    let readers: Vec<Option<usize>> = std::iter::once(None).chain((0..ADAPTERS).map(Some)).collect();
    let together = plan(model, task, prompts, &readers);
    let apart: Vec<Plan> = readers.iter().map(|r| plan(model, task, prompts, &[*r])).collect();
    let all_apart = || -> Done<(f64, Vec<Outcome>)> {
        let (began, mut all) = (Instant::now(), Vec::new());
        for plan in &apart {
            all.extend(outcomes(plan)?.1);
        }
        Ok((began.elapsed().as_secs_f64(), all))
    };
    same(&outcomes(&together)?.1, &all_apart()?.1)?; // warms up
    let mut times: Vec<[f64; 2]> = Vec::new();
    for round in 0..rounds {
        let mut of = [0.0; 2];
        for arm in [round % 2, (round + 1) % 2] {
            of[arm] = if arm == 0 { outcomes(&together)?.0 } else { all_apart()?.0 };
        }
        times.push(of);
    }
    let ratios: Vec<f64> = times.iter().map(|t| t[1] / t[0]).collect();
    let (lo, hi) = interval(&ratios);
    let [one, ten] = [0, 1].map(|arm| median(times.iter().map(|t| t[arm])));
    let found = median(ratios.iter().copied());
    let said = if found >= bar { "reached" } else { "missed" };
    println!(
        "{title} each, base + {ADAPTERS} adapters: one batch {one:.4} s, ten runs {ten:.4} s: {found:.2}x [{lo:.2}, {hi:.2}] over \
         {rounds} rounds (bar {bar}x {said})"
    );
    Ok(())
}

/// Every model on every prompt, model after model.
fn plan<'m>(model: &'m Model, task: &Task, prompts: &[Vec<u32>], readers: &[Option<usize>]) -> Plan<'m> {
    let item = |(i, tokens): (usize, &Vec<u32>), adapter: Option<usize>| {
        let kept = matches!(task, Task::Capture { .. }).then(|| 0..tokens.len());
        let ranges = kept.into_iter().collect();
        let id = format!("{i}/{adapter:?}");
        Item { id, tokens: tokens.clone(), prompt_len: tokens.len(), ranges, adapter, ..Item::default() }
    };
    let items = readers.iter().flat_map(|r| prompts.iter().enumerate().map(move |p| item(p, *r))).collect();
    Plan { model, task: task.clone(), edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS }
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

/// Refuses to report a speed of something else.
fn same(a: &[Outcome], b: &[Outcome]) -> Done<()> {
    let replies = |o: &[Outcome]| o.iter().flat_map(|o| o.replies.clone()).collect::<Vec<_>>();
    let kept = |o: &[Outcome]| -> Vec<f32> {
        let n = o.first().map_or(0, |o| o.kept.len());
        (0..n).flat_map(|s| o.iter().flat_map(move |o| o.kept[s].1.clone())).collect()
    };
    let (x, y) = (kept(a), kept(b));
    let worst = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0f32, f32::max);
    if replies(a) != replies(b) || x.len() != y.len() || worst.is_nan() || worst >= 1e-5 {
        return Err("one batch and ten runs give different results".into());
    }
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
