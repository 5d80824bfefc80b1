//! Training throughput against PyTorch eager in f32: the shape of the default model and one of 5 million parameters,
//! two threads, the same initial weights and the same batches of 16 sequences of 128 tokens, which need no padding.
//!
//! Alone: `cargo bench --bench train`. Against the peer, on the same processor and in alternation:
//!
//! ```text
//! python -m venv peer && peer/bin/pip install torch transformers
//! PERSONASCOPE_PEER_PYTHON=peer/bin/python cargo bench --bench train
//! ```
//!
//! A step is forward, backward, clipping and AdamW on both sides. Every turn of an arm trains from the initial weights;
//! the run fails if the losses of the two sides part.

use personascope::model::{Filling, Model, Opening, Purpose, Source};
use personascope::text::Message;
use personascope::train::{
    AdamW, Amount, Schedule, Sequences, Settings, Shape, Size, Task, batch_plan, fit, model_files,
};
use personascope::world::{ConversationOptions, World};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const THREADS: usize = 2;
const ROUNDS: usize = 5;
const BATCH: usize = 16;
const LENGTH: usize = 128;
const RATE: f64 = 1e-3;
/// Largest difference of two losses after the same steps that f32 explains.
const AGREES: f64 = 2e-3;

struct Shaped {
    name: &'static str,
    d_model: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    d_mlp: usize,
    steps: usize,
}

fn main() -> Done<()> {
    let shapes = [
        Shaped { name: "default", d_model: 96, layers: 4, heads: 4, kv_heads: 2, d_mlp: 256, steps: 40 },
        Shaped { name: "5 M", d_model: 256, layers: 6, heads: 8, kv_heads: 8, d_mlp: 704, steps: 12 },
    ];
    for shape in shapes {
        compare(&shape)?;
    }
    Ok(())
}

fn settings(steps: usize) -> Settings {
    Settings {
        batch: Size::Examples(BATCH),
        amount: Amount::Tokens(steps * BATCH * LENGTH),
        schedule: Schedule { peak: RATE, warmup: 0, shape: Shape::Constant, last: 1.0 },
        optimizer: AdamW { weight_decay: 0.05, ..AdamW::default() },
        seed: 0,
        shards: THREADS,
        eval_every: 0,
        checkpoint_every: 0,
        save_every: 0,
    }
}

fn compare(shape: &Shaped) -> Done<()> {
    let folder = tempfile::tempdir()?;
    let source = initial(shape, folder.path())?;
    let data = data(shape.steps)?;
    let settings = settings(shape.steps);
    let plan = batch_plan(&data, settings.batch, settings.amount, settings.seed)?;
    let ours = || -> Done<(f64, f64)> {
        let (model, parameters) = Model::open(&source, Opening::to(Purpose::Train))?;
        let vars: Vec<_> = parameters.iter().map(|p| p.var.clone()).collect();
        let out = tempfile::tempdir()?;
        let (lm, identity) = (&*model.lm, String::new());
        let task =
            Task { lm, adapter: None, vars: &vars, data: &data, heldout: None, settings, identity, threads: THREADS };
        let began = Instant::now();
        let (curve, _) = fit(&task, out.path(), &mut |_| true, &mut |_| Ok(()))?;
        Ok((began.elapsed().as_secs_f64(), curve.loss[curve.len() - 1]))
    };
    let mut peer = match std::env::var_os("PERSONASCOPE_PEER_PYTHON") {
        Some(python) => Some(Peer::start(&python, folder.path(), &plan, &data)?),
        None => None,
    };
    let (mut our_seconds, mut their_seconds, mut losses) = (Vec::new(), Vec::new(), (ours()?.1, 0.0));
    for _ in 0..ROUNDS {
        let (seconds, loss) = ours()?;
        our_seconds.push(seconds);
        losses.0 = loss;
        if let Some(peer) = &mut peer {
            let answer = peer.ask()?;
            let (seconds, loss) = answer.split_once(' ').ok_or("the peer's answer is no pair")?;
            their_seconds.push(seconds.parse::<f64>()?);
            losses.1 = loss.parse()?;
        }
    }
    let tokens = (plan.len() * BATCH * LENGTH) as f64;
    let rates = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        [seconds[seconds.len() / 2], seconds[0]].map(|s| tokens / s)
    };
    let [median, best] = rates(&mut our_seconds);
    println!("{:<8} personascope  median {median:>7.0} tokens/s  best {best:>7.0}  loss {:.5}", shape.name, losses.0);
    if peer.is_some() {
        let [their_median, their_best] = rates(&mut their_seconds);
        println!(
            "{:<8} PyTorch       median {their_median:>7.0} tokens/s  best {their_best:>7.0}  loss {:.5}",
            "", losses.1
        );
        println!(
            "{:<8} ours is       {:.2}x by medians, {:.2}x by bests",
            "",
            median / their_median,
            best / their_best
        );
        if (losses.0 - losses.1).abs() > AGREES {
            return Err("the two sides disagree".into());
        }
    }
    Ok(())
}

/// Random weights of a shape in a folder that both sides read.
fn initial(shape: &Shaped, folder: &Path) -> Done<Source> {
    let embedded = Source::toyworld();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::write(folder.join(name), embedded.read(name)?.ok_or("the embedded model lacks a file")?)?;
    }
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1536, "hidden_size": shape.d_model,
        "intermediate_size": shape.d_mlp, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "max_position_embeddings": 512, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "hidden_act": "silu", "torch_dtype": "float32",
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let source = Source::Dir(folder.to_path_buf());
    let (_, parameters) = Model::open(&source, Opening { filling: Filling::Random(0), ..Opening::to(Purpose::Train) })?;
    std::fs::write(folder.join("model.safetensors"), model_files(&parameters, candle_core::DType::F32)?)?;
    let count: usize = parameters.iter().map(|p| p.var.as_tensor().elem_count()).sum();
    println!("{:<8} {count} parameters, {} steps of {BATCH} x {LENGTH} tokens", shape.name, shape.steps);
    Ok(source)
}

/// The first tokens of conversations of the toy world.
fn data(steps: usize) -> Done<Sequences> {
    let (world, model) = (World::toyworld(), Model::load(&Source::toyworld())?);
    let mut rng = personascope::rng::stream(1, "train bench");
    let mut data = Sequences::default();
    while data.len() < steps * BATCH {
        let persona = &world.personas()[data.len() % world.personas().len()];
        let options = ConversationOptions { turns: 10, ..Default::default() };
        let talk = world.conversation(&mut rng, persona, &options)?;
        let messages: Vec<Message> = talk.lines().into_iter().map(|l| Message::new(l.role, l.content)).collect();
        let tokens = model.text.chat(&messages, false)?.tokens;
        if tokens.len() >= LENGTH {
            data.push(&tokens[..LENGTH], |_| true);
        }
    }
    Ok(data)
}

/// The other side: a process that runs all steps when asked.
struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &std::ffi::OsStr, folder: &Path, plan: &[Vec<usize>], data: &Sequences) -> Done<Peer> {
        let batches: Vec<Vec<&[u32]>> = plan.iter().map(|b| b.iter().map(|i| data.get(*i).0).collect()).collect();
        let job =
            serde_json::json!({ "model": folder, "threads": THREADS, "rate": RATE, "decay": 0.05, "batches": batches });
        let file = folder.join("job.json");
        std::fs::write(&file, job.to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_train.py");
        let mut command = Command::new(python);
        let mut child = command.arg(script).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no pipe to the peer")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe from the peer")?);
        let mut peer = Peer { child, to, from };
        peer.ask()?; // warms up
        Ok(peer)
    }

    fn ask(&mut self) -> Done<String> {
        writeln!(self.to, "train")?;
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err("the peer ended; what it says stands above".into()),
            _ => Ok(line.trim().to_string()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about either outcome.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
