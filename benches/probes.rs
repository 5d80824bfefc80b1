use ndarray::Array2;
use personascope::analysis::probe::{Closeness, Design, Loss, Problem, solve};
use rand::Rng;
use std::time::Instant;

fn main() {
    let (n, d) = (4000usize, 2048usize);
    let mut rng = personascope::rng::stream(1, "bench");
    let mut normal = move || {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let k = 64;
    let load = Array2::from_shape_fn((k, d), |_| normal() as f32);
    let fac = Array2::from_shape_fn((n, k), |_| normal() as f32);
    let y: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let mut x = fac.dot(&load);
    for i in 0..n {
        for j in 0..d {
            x[[i, j]] += (normal() * 2.0 + if j % 16 == 0 { 0.2 * y[i] } else { 0.0 }) as f32;
        }
    }
    std::fs::write("/tmp/pr/x.bin", x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    for _ in 0..2 {
        let t = Instant::now();
        let design = Design::new(x.view()).unwrap();
        println!("design {:.3}", t.elapsed().as_secs_f64());
        for alpha in [1.0, 100.0] {
            let penalty = design.deviation().mapv(|s| alpha / (s * s));
            let problems: Vec<Problem> = (0..6)
                .map(|f| Problem {
                    loss: Loss::Logistic,
                    target: y.clone(),
                    weight: (0..n).map(|r| if f < 5 && (r / 10) % 5 == f { 0.0 } else { 1.0 }).collect(),
                    penalty: penalty.clone(),
                })
                .collect();
            for tol in [1e-2, 1e-3, 1e-4, 1e-6] {
                let t = Instant::now();
                let fits = solve(&design, &problems, Closeness { tolerance: tol, iterations: 1000 });
                let (w, b) = (&fits[5].weights / design.deviation(), 0.0);
                if tol == 1e-6 {
                    std::fs::write(
                        format!("/tmp/pr/w{alpha}.bin"),
                        w.iter().flat_map(|v: &f64| v.to_le_bytes()).collect::<Vec<u8>>(),
                    )
                    .unwrap();
                }
                println!(
                    "alpha {alpha} tol {tol} {:.3} s, its {:?} obj {:.6} {:?} {b}",
                    t.elapsed().as_secs_f64(),
                    fits.iter().map(|f| f.iterations).collect::<Vec<_>>(),
                    fits[5].objective,
                    fits[5].converged
                );
            }
        }
    }
}
