//! `bench`: how fast a model of a configuration is on one device, with random weights. What `scripts/gpu-check.sh` puts
//! beside Python's numbers; for a machine as it is used there is `doctor`.

use super::out::say;
use super::{ComputingArgs, read_text};
use crate::axes::Site;
use crate::capture::Collect;
use crate::error::{Error, Result};
use crate::model::generate::{Settings, Start, generate};
use crate::model::sample::Sampling;
use crate::model::{Along, Edit, Example, Filling, Head, Hooks, Lm, Opening, Positions, Rewrite, Rows, forward};
use crate::store::write_atomic;
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, json};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

const EXAMPLES: &str = "Examples:
  personascope bench --config scripts/shapes/llama-1b.json --device cuda --dtype bf16 --json ours.json
  personascope bench --config tests/fixtures/qwen3/config.json --prefill 2x16 --decode 1 --prompt 8 --new 4

Only the configuration is read; weights are noise. Times are medians after one run for warmth. Work is given to the device by
one worker.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// config.json of a model
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Prompts and tokens of each that are read at once
    #[arg(long, value_name = "NxTOKENS", default_value = "16x512", value_parser = times)]
    prefill: (usize, usize),
    /// How many replies are written together
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 8, 64])]
    decode: Vec<usize>,
    /// Tokens before a reply
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..))]
    prompt: u64,
    /// Tokens of a reply
    #[arg(long, value_name = "TOKENS", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    new: u64,
    /// Runs of each kind
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
    /// Write what was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    computing: ComputingArgs,
}

fn times(text: &str) -> std::result::Result<(usize, usize), String> {
    let parsed = text.split_once('x').and_then(|(n, t)| Some((n.parse().ok()?, t.parse().ok()?)));
    parsed.filter(|(n, t)| *n > 0 && *t > 0).ok_or_else(|| format!("`{text}`: write N x TOKENS, such as 16x512"))
}

/// What is timed, and how.
struct Bench {
    lm: Box<dyn Lm>,
    device: Device,
    opening: Opening,
    repeats: usize,
}

/// What is kept of the prompts that are read.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Nothing,
    /// The mean of each prompt at every layer.
    Means,
    /// Every row of every layer.
    Rows,
}

pub fn bench(args: BenchArgs) -> Result<bool> {
    let opening = Opening { filling: Filling::Noise, ..args.computing.opening()? };
    let place = args.config.display().to_string();
    let began = Instant::now();
    let (lm, device) = crate::model::load::untrained(&place, read_text(&args.config)?.as_bytes(), opening)?;
    device.synchronize()?;
    let loading = began.elapsed().as_secs_f64();
    let bench = Bench { lm, device, opening, repeats: args.repeats as usize };
    let parameters: usize = bench.lm.projections().iter().map(|p| p.weight.dims().map_or(0, |(a, b)| a * b)).sum();
    say!(
        "{place}: {:.2} B parameters in products of blocks, {} in {}, made in {loading:.1} s",
        parameters as f64 / 1e9,
        opening.processor,
        opening.dtype
    );

    let peak = bench.products()?;
    say!("{:<28}{:>12.1} TFLOP/s", "products", peak / 1e12);
    let (n, length) = args.prefill;
    let operations = bench.operations(parameters, n, length);
    let mut reading = Map::new();
    for (name, keep) in [("nothing", Keep::Nothing), ("means", Keep::Means), ("rows", Keep::Rows)] {
        let seconds = bench.read(n, length, keep)?;
        let (rate, share) = ((n * length) as f64 / seconds, operations / seconds / peak);
        say!("{:<28}{rate:>12.0} tokens/s{:>8.1} % of products", format!("read, keep {name}"), 100.0 * share);
        reading.insert(name.into(), json!({ "tokens_per_second": rate, "share_of_products": share }));
    }
    let (prompt, new) = (args.prompt as usize, args.new as usize);
    let (mut writing, mut steered) = (Map::new(), Map::new());
    for batch in &args.decode {
        for (kind, steer, rates) in [("write", false, &mut writing), ("write, steered", true, &mut steered)] {
            let (rate, what) = (bench.write(*batch, prompt, new, steer)?, format!("{kind}, {batch} together"));
            match rate {
                Some(rate) => say!("{what:<28}{rate:>12.1} tokens/s"),
                None => say!("{what:<28}{:>12} too short for this clock: more --new", "-"),
            }
            rates.insert(batch.to_string(), rate.into());
        }
    }
    if let Some(path) = &args.json {
        let all = json!({
            "side": "personascope", "version": env!("CARGO_PKG_VERSION"), "config": place,
            "device": opening.processor.to_string(), "dtype": opening.dtype, "parameters_in_blocks": parameters,
            "made_in_seconds": loading, "products_per_second": peak, "prompts": [n, length], "reading": reading,
            "reply": [prompt, new], "writing": writing, "writing_steered": steered,
        });
        write_atomic(path, format!("{all:#}\n").as_bytes(), true)?;
    }
    Ok(true)
}

impl Bench {
    /// Median seconds of `f`, until the device is done.
    fn time(&self, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut once = || {
            self.device.synchronize()?;
            let began = Instant::now();
            f()?;
            self.device.synchronize()?;
            Ok::<f64, Error>(began.elapsed().as_secs_f64())
        };
        once()?;
        let mut seconds = (0..self.repeats).map(|_| once()).collect::<Result<Vec<f64>>>()?;
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }

    /// Operations a second of one large product in the dtype of the model.
    fn products(&self) -> Result<f64> {
        let n = if self.device.is_cpu() { 1024 } else { 8192 };
        let portable = self.opening.is_portable();
        let dtype = if portable { self.opening.dtype.of_tensors() } else { DType::F32 };
        let a = Tensor::rand(-1f32, 1f32, (n, n), &self.device)?.to_dtype(dtype)?;
        let b = Tensor::rand(-1f32, 1f32, (n, n), &self.device)?.to_dtype(dtype)?;
        let together = 8;
        let seconds = self.time(|| {
            for _ in 0..together {
                a.matmul(&b)?;
            }
            Ok(())
        })?;
        Ok(2.0 * (n as f64).powi(3) * together as f64 / seconds)
    }

    /// Operations of reading: two for each weight of a block and row, and those of causal attention.
    fn operations(&self, parameters: usize, n: usize, length: usize) -> f64 {
        let d = self.lm.dims();
        let attention = 2.0 * (d.n_layers * d.n_heads * d.d_head) as f64 * (length * length) as f64;
        2.0 * parameters as f64 * (n * length) as f64 + n as f64 * attention
    }

    fn tokens(&self, seed: usize, length: usize) -> Vec<u32> {
        let d_vocab = self.lm.dims().d_vocab;
        (0..length).map(|i| ((seed * 7919 + i * 104_729) % d_vocab) as u32).collect()
    }

    /// Seconds of a pass over `n` prompts.
    fn read(&self, n: usize, length: usize, keep: Keep) -> Result<f64> {
        let dims = *self.lm.dims();
        let example = |index| {
            let example = Example { index, rows: 0..0, first_pos: 0, prompt_len: length, adapter: None, edits: vec![] };
            (example, self.tokens(index, length))
        };
        let rows = Rows::pack((0..n).map(example));
        let sites: Vec<Site> = (0..dims.n_layers).map(Site::post).collect();
        let whole = 0..length;
        let ranges: Vec<Range<usize>> = match keep {
            Keep::Nothing => vec![],
            Keep::Means => vec![whole],
            Keep::Rows => whole.map(|p| p..p + 1).collect(),
        };
        self.time(|| {
            let mut collect = Collect::new(&sites, vec![&ranges[..]; n], &dims);
            let hooks = Hooks::default();
            let mut hooks = if keep == Keep::Nothing { hooks } else { hooks.tap(&mut collect) };
            forward(&*self.lm, &rows, &mut hooks, None, Head::LastRows)?;
            let kept = collect.into_kept()?;
            let want = if keep == Keep::Nothing { 0 } else { n * ranges.len() * dims.d_model };
            assert!(kept.iter().all(|(_, rows)| rows.len() == want), "what is timed was done");
            Ok(())
        })
    }

    /// Tokens written a second by `batch` replies: the first token of each is not counted, it comes with the prompt. None
    /// where the longer replies took no longer than those of one token: the difference is noise then.
    fn write(&self, batch: usize, prompt: usize, new: usize, steer: bool) -> Result<Option<f64>> {
        let dims = self.lm.dims();
        let start = |i: usize| Start {
            id: i.to_string(),
            tokens: self.tokens(i, prompt),
            seed: 0,
            adapter: None,
            edits: if steer { vec![0] } else { vec![] },
        };
        let starts: Vec<Start> = (0..batch).map(start).collect();
        let mut unit = vec![0.0; dims.d_model];
        unit[0] = 1.0;
        let along = Along::new(Site::post(dims.n_layers / 2), &unit, Rewrite::Shift(1.0), Positions::All)?;
        let edits: &[&dyn Edit] = if steer { &[&along] } else { &[] };
        let seconds = |new: usize| {
            let settings = Settings { max_new_tokens: new, sampling: Sampling::GREEDY, stops: vec![] };
            self.time(|| {
                let (replies, _) = generate(&*self.lm, &[], &starts, edits, &settings)?;
                assert!(replies.iter().all(|r| r.len() == new), "what is timed was done");
                Ok(())
            })
        };
        let writing = seconds(new + 1)? - seconds(1)?;
        Ok((writing > 0.0).then(|| (batch * new) as f64 / writing))
    }
}
