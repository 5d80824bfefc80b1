//! How fast products, memory and a model are here. One short run each: orders of magnitude, not a benchmark.

use crate::axes::Site;
use crate::error::Result;
use crate::model::Model;
use crate::model::generate::Settings;
use crate::model::kernels::{self, Packed};
use crate::model::sample::Sampling;
use crate::rng::stream;
use crate::unit::{self, Item, MAX_BATCH_TOKENS, Plan, Tally, Task};
use candle_core::{DType, Device, Tensor};
use rand::Rng;
use serde::Serialize;
use std::time::Instant;

/// What was measured.
#[derive(Serialize)]
pub struct Speed {
    /// Billions of f32 operations a second in products, on all threads.
    pub gflops: f64,
    /// What all threads read from memory together.
    pub gigabytes_per_second: f64,
    /// Tokens of prompts read a second, with every `resid_post` kept.
    pub prefill: f64,
    /// Tokens written a second, by how many replies are written together.
    pub decoding: Vec<(usize, f64)>,
}

/// Longest prompt.
const PROMPT: usize = 256;
/// Tokens written to each prompt.
const NEW: usize = 24;

/// Measures on these many threads.
pub fn measure(model: &Model, threads: usize) -> Result<Speed> {
    let mut decoding = Vec::new();
    for batch in [1, 8] {
        decoding.push((batch, write(model, threads, batch)?));
    }
    Ok(Speed {
        gflops: products(threads)?,
        gigabytes_per_second: memory(threads),
        prefill: read(model, threads)?,
        decoding,
    })
}

/// Seconds that `f` takes, at its best of a few.
fn best<T>(times: usize, mut f: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..times {
        let began = Instant::now();
        std::hint::black_box(f()?);
        least = least.min(began.elapsed().as_secs_f64());
    }
    Ok(least)
}

fn products(threads: usize) -> Result<f64> {
    let (m, k, n) = (512, 1024, 1024);
    let all: Vec<usize> = (0..threads).collect();
    let one = |_: &usize| -> Result<()> {
        let a = Tensor::ones((m, k), DType::F32, &Device::Cpu)?;
        let b = Packed::of(DType::F32, &Tensor::ones((k, n), DType::F32, &Device::Cpu)?)?;
        for _ in 0..8 {
            std::hint::black_box(kernels::linear_packed(&a, &b)?);
        }
        Ok(())
    };
    let seconds = best(3, || unit::parallel(&all, threads, one))?;
    Ok(8.0 * 2.0 * (m * k * n * threads) as f64 / seconds / 1e9)
}

fn memory(threads: usize) -> f64 {
    // More than any cache of a core, and together more than most caches.
    let numbers = 32 << 20;
    let data = vec![1.0f32; numbers * threads];
    let parts: Vec<&[f32]> = data.chunks(numbers).collect();
    let sum = |part: &&[f32]| {
        let mut lanes = [0.0f32; 64];
        part.chunks_exact(64).for_each(|c| lanes.iter_mut().zip(c).for_each(|(l, x)| *l += x));
        Ok(lanes.iter().sum::<f32>())
    };
    let seconds = best(3, || unit::parallel(&parts, threads, sum)).unwrap_or(f64::INFINITY);
    (4 * data.len()) as f64 / seconds / 1e9
}

/// Prompts of random tokens with their last token kept.
fn items(model: &Model, n: usize, length: usize) -> Vec<Item> {
    let d_vocab = model.lm.dims().d_vocab as u32;
    let mut rng = stream(0, "doctor, speed");
    let one = |i: usize| {
        let tokens: Vec<u32> = (0..length).map(|_| rng.random_range(0..d_vocab)).collect();
        let last = length - 1..length;
        let adapter = model.default_adapter;
        Item { id: format!("{i}"), tokens, prompt_len: length, ranges: vec![last], adapter, ..Item::default() }
    };
    (0..n).map(one).collect()
}

fn run(model: &Model, task: Task, items: Vec<Item>, threads: usize) -> Result<f64> {
    let plan = Plan { model, task, edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS };
    best(2, || unit::run(&plan, threads, None, &mut |_: &Tally| true, |_, _| Ok(())))
}

fn read(model: &Model, threads: usize) -> Result<f64> {
    let (dims, n) = (model.lm.dims(), 8 * threads);
    let length = PROMPT.min(dims.n_ctx);
    let sites = (0..dims.n_layers).map(Site::post).collect();
    let seconds = run(model, Task::Capture { sites }, items(model, n, length), threads)?;
    Ok((n * length) as f64 / seconds)
}

fn write(model: &Model, threads: usize, batch: usize) -> Result<f64> {
    let n_ctx = model.lm.dims().n_ctx;
    let new = NEW.min(n_ctx - 1);
    let settings = Settings { max_new_tokens: new, sampling: Sampling::GREEDY, stops: vec![] };
    let seconds = run(model, Task::Generate(settings), items(model, batch, 16.min(n_ctx - new)), threads)?;
    Ok((batch * new) as f64 / seconds)
}
