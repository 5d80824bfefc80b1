//! Planted shares.

use super::*;
use crate::analysis::nulls::normal;
use crate::rng::stream;
use rand::Rng;

fn quick() -> Options {
    Options { permutations: 9, splits: 3, bootstrap: 5, seed: 0 }
}

struct Planted {
    roles: usize,
    models: usize,
    prompts: usize,
    d: usize,
    /// Share of rows that are missing.
    gaps: f64,
    /// persona, model, interaction, of the prompt alone, and of a row.
    variances: [f64; 5],
}

/// Effects that sum to zero and have exactly the planted mean squares; normal noise.
fn planted(of: &Planted, seed: u64) -> (Vec<Label>, Array2<f32>) {
    let mut rng = stream(seed, "planted shares");
    let mut draw = |n: usize, d: usize| Array2::from_shape_fn((n, d), |_| normal(&mut rng));
    let (r, m, d) = (of.roles, of.models, of.d);
    let centred = |mut x: Array2<f64>, ms: f64| {
        let mean = x.mean_axis(ndarray::Axis(0)).unwrap();
        x -= &mean;
        let now = x.iter().map(|v| v * v).sum::<f64>() / x.nrows() as f64;
        x.mapv(|v| v * (ms / now).sqrt())
    };
    let persona = centred(draw(r, d), of.variances[0]);
    let model = centred(draw(m, d), of.variances[1]);
    let mut inter = draw(r * m, d);
    let by = |x: &Array2<f64>, keep: &dyn Fn(usize) -> bool| {
        let rows: Vec<usize> = (0..x.nrows()).filter(|i| keep(*i)).collect();
        x.select(ndarray::Axis(0), &rows).mean_axis(ndarray::Axis(0)).unwrap()
    };
    for role in 0..r {
        let mean = by(&inter, &|i| i / m == role);
        (0..m).for_each(|k| inter.row_mut(role * m + k).zip_mut_with(&mean, |a, b| *a -= b));
    }
    for k in 0..m {
        let mean = by(&inter, &|i| i % m == k);
        (0..r).for_each(|role| inter.row_mut(role * m + k).zip_mut_with(&mean, |a, b| *a -= b));
    }
    let inter = centred(inter, of.variances[2]);
    let prompt = draw(of.prompts, d);
    let noise = draw(r * m * of.prompts, d);
    let scale = |v: f64| (v / d as f64).sqrt();
    let (mut labels, mut rows) = (Vec::new(), Vec::new());
    let mut rng = stream(seed, "gaps");
    for i in 0..r * m * of.prompts {
        let (c, p) = (i / of.prompts, i % of.prompts);
        if rng.random::<f64>() < of.gaps {
            continue;
        }
        labels.push(Label {
            model: format!("m{}", c % m),
            role: format!("r{}", c / m),
            prompt: format!("p{p}"),
            is_default: c / m == 0,
        });
        rows.extend((0..d).map(|j| {
            (3.0 + persona[[c / m, j]]
                + model[[c % m, j]]
                + inter[[c, j]]
                + scale(of.variances[3]) * prompt[[p, j]]
                + scale(of.variances[4]) * noise[[i, j]]) as f32
        }));
    }
    let rows = Array2::from_shape_vec((labels.len(), d), rows).unwrap();
    (labels, rows)
}

#[test]
#[ignore]
fn simulate() {
    let reps: u64 = std::env::var("REPS").ok().and_then(|v| v.parse().ok()).unwrap_or(200);
    let base = Planted { roles: 8, models: 2, prompts: 16, d: 16, gaps: 0.0, variances: [0.4, 0.0, 0.1, 0.0, 0.5] };
    let cases = [
        ("balanced, model 0", Planted { ..base }),
        ("gaps .3", Planted { gaps: 0.3, ..base }),
        ("gaps .3 prompts", Planted { gaps: 0.3, variances: [0.3, 0.0, 0.1, 0.3, 0.3], ..base }),
        ("interaction 0", Planted { gaps: 0.2, variances: [0.3, 0.2, 0.0, 0.0, 0.5], ..base }),
        ("noisy", Planted { gaps: 0.2, variances: [0.1, 0.05, 0.0, 0.0, 0.85], ..base }),
        ("small", Planted { gaps: 0.2, variances: [0.1, 0.01, 0.05, 0.0, 0.84], ..base }),
        ("d 4", Planted { gaps: 0.2, d: 4, ..base }),
        ("d 64", Planted { gaps: 0.2, d: 64, ..base }),
        ("8 prompts", Planted { gaps: 0.1, prompts: 8, ..base }),
        ("40 prompts", Planted { gaps: 0.3, prompts: 40, ..base }),
        ("3 models 4 roles", Planted { gaps: 0.2, models: 3, roles: 4, ..base }),
    ];
    for (name, of) in cases {
        let v = of.variances;
        let total: f64 = v.iter().sum();
        let truth = [v[0] / total, v[1] / total, v[2] / total, (v[3] + v[4]) / total];
        let (mut covered, mut sum, mut worst, mut n) = ([0; 4], [0.0; 4], [0.0_f64; 4], 0.0);
        for seed in 0..reps {
            let (labels, rows) = planted(&of, seed);
            let Ok(design) = Design::of(&labels, None, 0) else { continue };
            if design.roles.len() < of.roles {
                continue;
            }
            let found = site("s", &design, rows.view(), &quick()).unwrap();
            n += 1.0;
            for k in 0..4 {
                let (lo, hi) = found.shares[k].interval.unwrap();
                covered[k] += usize::from(lo <= truth[k] && truth[k] <= hi);
                sum[k] += found.shares[k].value - truth[k];
                worst[k] += (found.shares[k].value - truth[k]).powi(2);
            }
        }
        let p = |f: &dyn Fn(usize) -> f64| (0..4).map(|k| format!("{:8.4}", f(k))).collect::<Vec<_>>().join(" ");
        println!(
            "{name:20} n {n} cover {} bias {} rmse {}",
            p(&|k| covered[k] as f64 / n),
            p(&|k| sum[k] / n),
            p(&|k| (worst[k] / n).sqrt())
        );
    }
}
