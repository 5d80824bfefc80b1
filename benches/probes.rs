//! Logistic probes of a sweep against scikit-learn: sites of 4,000 rows and 2,048 columns, 5 folds and all rows, two
//! threads on both sides, down to the same minimum.
//!
//! Alone: `cargo bench --bench probes`. Against the peer, on the same processor and in alternation:
//!
//! ```text
//! python -m venv peer && peer/bin/pip install scikit-learn
//! PERSONASCOPE_PEER_PYTHON=peer/bin/python cargo bench --bench probes
//! ```
//!
//! `SITES=32` takes as many sites as a sweep of a large model; without it 4, timed one pair after another. scikit-learn
//! fits site after site with its products on two threads, in f32 and in f64; here two sites are fitted side by side. The
//! run fails where directions part.

use ndarray::Array2;
use personascope::acts::RowKey;
use personascope::analysis::probe::{Closeness, Design, Fitter, Judging, Method, Part, Plan, Probe, Settings};
use personascope::analysis::split::Groups;
use personascope::rng::stream;
use personascope::unit::parallel;
use rand::Rng;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

#[path = "shared/peer.rs"]
#[allow(dead_code)]
mod peer;
use peer::{Done, Peer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: usize = 2;
const ROWS: usize = 4000;
const COLUMNS: usize = 2048;
const FOLDS: usize = 5;
/// Rows of a group.
const GROUP: usize = 20;
const ALPHA: f64 = 10.0;
/// scikit-learn's, on its largest gradient: its default ends elsewhere.
const TOLERANCE: f64 = 1e-6;
/// Cosine of directions at the same minimum.
const AGREES: f64 = 0.9995;

fn main() -> Done<()> {
    let sites: usize = std::env::var("SITES").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    let folder = tempfile::tempdir()?;
    let files: Vec<_> = (0..sites).map(|s| folder.path().join(format!("{s}.bin"))).collect();
    let target: Vec<f64> = (0..ROWS).map(|r| if (r / GROUP).is_multiple_of(2) { 1.0 } else { -1.0 }).collect();
    for (s, file) in files.iter().enumerate() {
        let bytes: Vec<u8> = rows(s as u64, &target).iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(file, bytes)?;
    }
    let key = |r: usize| RowKey { group: format!("{:04}", r / GROUP), ..RowKey::default() };
    let groups = Groups::of(&(0..ROWS).map(key).collect::<Vec<_>>());
    let judging = Judging { folds: FOLDS, permutations: 0, halvings: 0, controls: 0, ..Judging::default() };
    let plan = Plan::new(groups, target.clone(), false, judging)?;
    let folds: Vec<usize> = (0..ROWS).map(|r| plan.fold(r)).collect();

    let weights = folder.path().join("weights.bin");
    let mut peer = match std::env::var_os("PERSONASCOPE_PEER_PYTHON") {
        None => None,
        Some(python) => {
            let labels: Vec<u8> = target.iter().map(|y| u8::from(*y > 0.0)).collect();
            let job = serde_json::json!({ "rows": ROWS, "columns": COLUMNS, "alpha": ALPHA, "labels": labels,
                "folds": folds, "files": files, "weights": weights, "threads": THREADS, "tolerance": TOLERANCE });
            let file = folder.path().join("job.json");
            std::fs::write(&file, job.to_string())?;
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_probes.py");
            let mut command = Command::new(python);
            Some(Peer::bare(command.arg(script).arg(&file))?)
        }
    };
    let (mut ours, mut theirs, mut worst) = (0.0, [0.0; 2], 1.0_f64);
    for pair in (0..sites).collect::<Vec<_>>().chunks(THREADS) {
        let began = Instant::now();
        let fitted = parallel(pair, THREADS, |&s| Ok(sweep(&files[s], &target, &folds)))?;
        ours += began.elapsed().as_secs_f64();
        let Some(peer) = &mut peer else { continue };
        for (&s, own) in pair.iter().zip(&fitted) {
            for (k, kind) in ["float32", "float64"].iter().enumerate() {
                let answer = peer.ask(&format!("{s} {kind}"))?;
                let (seconds, objective) = answer.split_once(' ').ok_or("the peer's answer is no pair")?;
                theirs[k] += seconds.parse::<f64>()?;
                let bytes = std::fs::read(&weights)?;
                let w =
                    bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
                let w = ndarray::Array1::from_iter(w);
                let cosine = w.dot(&own.weights) / (w.dot(&w) * own.weights.dot(&own.weights)).sqrt();
                worst = worst.min(cosine);
                let (objective, mine) = (objective.parse::<f64>()?, objective_of(&files[s], &target, own)?);
                println!("site {s} {kind}: cosine {cosine:.6}, objective {objective:.5} and ours {mine:.5}");
            }
        }
    }
    println!("{sites} sites of {ROWS} x {COLUMNS}, {FOLDS} folds and all rows: {ours:.2} s");
    if peer.is_some() {
        println!("scikit-learn in f32 {:.2} s, {:.2} times as long", theirs[0], theirs[0] / ours);
        println!("scikit-learn in f64 {:.2} s, {:.2} times as long", theirs[1], theirs[1] / ours);
        if worst < AGREES {
            return Err(format!("the two sides part: cosine {worst}").into());
        }
    }
    Ok(())
}

/// 64 shared factors, noise of its own in every column, and a little of the label in every sixteenth.
fn rows(site: u64, target: &[f64]) -> Array2<f32> {
    const FACTORS: usize = 64;
    let mut rng = stream(site, "probe bench");
    let mut normal = move || {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    let loadings = Array2::from_shape_fn((FACTORS, COLUMNS), |_| normal());
    let factors = Array2::from_shape_fn((ROWS, FACTORS), |_| normal());
    let mut x = factors.dot(&loadings);
    for ((r, c), v) in x.indexed_iter_mut() {
        *v += 2.0 * normal() + if c % 16 == 0 { 0.2 * target[r] as f32 } else { 0.0 };
    }
    x
}

fn read(file: &Path) -> Array2<f32> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Array2::from_shape_vec((ROWS, COLUMNS), values).unwrap_or_default()
}

/// The probe of all rows, fitted together with those of the folds.
fn sweep(file: &Path, target: &[f64], folds: &[usize]) -> Probe {
    let rows = read(file);
    let design = Design::new(rows.view()).expect("finite rows");
    let part = |skip: usize| Part { train: folds.iter().map(|f| *f != skip).collect(), target: target.to_vec() };
    let parts: Vec<Part> = std::iter::once(usize::MAX).chain(0..FOLDS).map(part).collect();
    let settings = Settings { alpha: ALPHA, ..Settings::default() };
    let fitter = Fitter { design: &design, group: folds, settings };
    let mut fitted = fitter.fit(Method::Logistic, &parts, Closeness::FULL, None);
    fitted.swap_remove(0).expect("two classes")
}

fn objective_of(file: &Path, target: &[f64], probe: &Probe) -> Done<f64> {
    let x = read(file).mapv(f64::from);
    let margins = x.dot(&probe.weights) + probe.intercept;
    let loss: f64 = margins.iter().zip(target).map(|(m, y)| (-(y * m)).max(0.0) + (-(y * m).abs()).exp().ln_1p()).sum();
    Ok(loss + ALPHA / 2.0 * probe.weights.dot(&probe.weights))
}
