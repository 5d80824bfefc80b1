//! Capture against what else there is: `mean_response` at `resid_post.all` of the same ids, f32, two threads.
//!
//! Alone, which tells what capture costs over the same passes: `cargo bench --bench capture -- toyworld 125M`. Against the
//! peers, on the same processor and in alternation:
//!
//! ```text
//! python -m venv peer && peer/bin/pip install torch transformers transformer_lens nnsight
//! PERSONASCOPE_PEER_PYTHON=peer/bin/python cargo bench --bench capture -- toyworld 125M
//! ```
//!
//! A model is `toyworld` (2,000 conversations), a shape of random weights (25M, 125M, 500M) or a folder in Hugging Face
//! layout; `--prompts=N` takes fewer, `--rounds=N` another number of rounds. On a machine that others use, `--patience=S`
//! waits up to S seconds in all for them: runs begin when they are quiet, and one in which they took more than a twentieth
//! of the machine is repeated.
//!
//! Every kind of peer is a process of its own, ours too. Each of its arms runs once; those near its fastest then take turns
//! with ours, so that a slow minute of the machine meets all of them. Memory is the peak of a fresh process that loads
//! the model and runs one arm once, the results included. The run fails if means differ.

#[path = "shared/checkpoint.rs"]
mod checkpoint;
#[path = "capture/job.rs"]
mod job;
#[path = "capture/machine.rs"]
mod machine;
#[path = "capture/ours.rs"]
mod ours;
#[path = "shared/peer.rs"]
mod peer;
#[path = "capture/side.rs"]
mod side;

use peer::Done;
use side::{Arm, Side, Sides};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: usize = 2;
const ROUNDS: usize = 3;
/// Runs of ours with and without capture in a round.
const PAIRS: usize = 3;
/// Kinds of peers, as `peer_capture.py` knows them.
const PEERS: [&str; 4] = ["hooks", "published", "TransformerLens", "nnsight"];
/// Largest difference of a mean that two orders of f32 summation explain, and as a share of the largest mean of its layer.
const AGREES: [f32; 2] = [5e-5, 1e-5];

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [side, file] = &arguments[..]
        && side == "--side"
    {
        return ours::serve(file);
    }
    let number = |name: &str| -> Option<usize> { arguments.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()) };
    let (prompts, rounds) = (number("--prompts="), number("--rounds=").unwrap_or(ROUNDS));
    let patience = Duration::from_secs(number("--patience=").unwrap_or(0) as u64);
    let mut models: Vec<&str> = arguments.iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
    if models.is_empty() {
        models.push("toyworld");
    }
    models.into_iter().try_for_each(|model| compare(model, prompts, rounds, patience))
}

fn compare(model: &str, prompts: Option<usize>, rounds: usize, patience: Duration) -> Done<()> {
    let folder = tempfile::tempdir()?;
    let job = job::job(model, folder.path(), prompts, THREADS)?;
    let lengths = || job.ids.iter().map(Vec::len);
    let (tokens, count) = (lengths().sum::<usize>(), job.ids.len());
    let (least, most) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    println!("{model}: {count} prompts of {least} to {most} tokens, {tokens} in all; load {}", load());
    let sides = Sides::new(folder.path(), &job, patience)?;

    let mut ours = Side::start(&sides, "personascope")?;
    ours.time(0)?;
    let (means, _) = ours.written(folder.path())?;
    ours.time(1)?;
    ours.arms.iter_mut().for_each(Arm::forget); // that was for warmth
    let mut others = Vec::new();
    for kind in PEERS.into_iter().filter(|_| sides.python.is_some()) {
        match Side::start(&sides, kind) {
            Ok(side) => others.push(side),
            Err(e) => println!("{kind} is left out: {e}"),
        }
    }
    let mut worst = 0.0f32;
    for side in &mut others {
        for arm in 0..side.arms.len() {
            side.time(arm)?;
            let (theirs, layers) = side.written(folder.path())?;
            worst = worst.max(difference(&means, &theirs, layers, &side.arms[arm].name)?);
        }
        side.keep_the_fastest();
    }
    for round in 0..rounds {
        for pair in 0..PAIRS {
            let first = (round + pair) % 2;
            ours.time(first)?;
            ours.time(1 - first)?;
        }
        others.iter_mut().try_for_each(Side::round)?;
    }
    println!("{model}: load {} at the end", load());
    let arms = |side: &Side| side.arms.clone();
    let (ours, others) = (arms(&ours), others.iter().map(arms).collect::<Vec<_>>()); // the processes end
    table(&sides, tokens, &ours, &others)?;
    overhead(&ours);
    if !others.is_empty() {
        println!("  largest difference of a mean: {worst:.1e}");
    }
    Ok(())
}

/// The largest difference over the layers that both have; refuses what f32 does not explain.
fn difference(ours: &[f32], theirs: &[f32], layers: usize, name: &str) -> Done<f32> {
    if theirs.is_empty() || theirs.len() > ours.len() || !theirs.len().is_multiple_of(layers) {
        return Err(format!("{name}: the means have another size").into());
    }
    let (mut worst, layer) = (0.0f32, theirs.len() / layers);
    for (a, b) in ours.chunks(layer).zip(theirs.chunks(layer)) {
        let largest = b.iter().fold(0.0f32, |l, x| l.max(x.abs()));
        let differs = a.iter().zip(b).fold(0.0f32, |w, (a, b)| w.max((a - b).abs()));
        // A NaN is above nothing.
        if !(differs <= AGREES[0] || differs <= AGREES[1] * largest) || b.iter().any(|x| x.is_nan()) {
            return Err(format!("{name}: a mean differs by {differs:.1e}, and the largest is {largest:.1e}").into());
        }
        worst = worst.max(differs);
    }
    Ok(worst)
}

fn table(sides: &Sides, tokens: usize, ours: &[Arm], others: &[Vec<Arm>]) -> Done<()> {
    let rate = |seconds: f64| tokens as f64 / seconds;
    let names = ["runs", "median", "ours is", "best", "ours is", "others %", "peak MB", "loaded"];
    let [runs, rest @ ..] = names;
    println!("  {:<46}{runs:>5}{}", "tokens/s", rest.map(|n| format!("{n:>10}")).concat());
    let base = [ours[0].median(), ours[0].best()];
    for arms in std::iter::once(ours).chain(others.iter().map(Vec::as_slice)) {
        let fastest = arms.iter().map(Arm::median).fold(f64::INFINITY, f64::min);
        for arm in arms {
            let ([median, best], busy) = ([arm.median(), arm.best()], 100.0 * arm.others);
            let by = [median / base[0], best / base[1]].map(|by| format!("{by:.2}x"));
            let [a, b] = [rate(median), rate(best)];
            let memory = match arm.kind == "published" || arm.kind == "personascope" || median == fastest {
                true => sides.memory(arm)?.map(|kb| format!("{:>10}", kb / 1024)).concat(),
                false => String::new(),
            };
            let (name, runs) = (format!("{} {}", arm.kind, arm.name), arm.seconds.len());
            println!("  {name:<46}{runs:>5}{a:>10.0}{:>10}{b:>10.0}{:>10}{busy:>10.0}{memory}", by[0], by[1]);
        }
    }
    let fastest = others.iter().flatten().filter(|a| a.in_rounds).min_by(|a, b| a.median().total_cmp(&b.median()));
    if let Some(arm) = fastest {
        let by = arm.median() / base[0];
        println!("  the fastest of the others is {} {}: ours is {by:.2} times as fast", arm.kind, arm.name);
    }
    Ok(())
}

/// What keeping means costs over the same passes: pairs of runs that follow each other.
fn overhead(ours: &[Arm]) {
    let mut ratios: Vec<f64> = ours[0].seconds.iter().zip(&ours[1].seconds).map(|(m, n)| m / n - 1.0).collect();
    ratios.sort_by(f64::total_cmp);
    let of_best = 100.0 * (ours[0].best() / ours[1].best() - 1.0);
    let [low, median, high] = [0, ratios.len() / 2, ratios.len() - 1].map(|i| 100.0 * ratios[i]);
    println!(
        "  keeping means costs {median:.1} % (median of {} pairs from {low:.1} to {high:.1}; of the best runs {of_best:.1})",
        ratios.len()
    );
}

/// What else runs on this machine: the average of the last minute, where the system tells.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|t| !t.is_empty()).unwrap_or("unknown").to_string()
}
