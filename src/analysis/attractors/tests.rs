//! Planted dynamics: what is there is found, and what is not there is not.

use super::depth::Dose;
use super::*;
use crate::analysis::nulls::normal;
use crate::analysis::series::Row;
use crate::analysis::testing::repetitions;
use crate::rng::stream;
use ndarray::{Array1, Array2};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The values of repetitions, two at a time.
fn repeated<T: Send>(n: usize, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let half = |odd: u64| (0..n as u64).filter(|i| i % 2 == odd).map(&one).collect::<Vec<T>>();
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1));
        let mut all = half(0);
        all.extend(other.join().unwrap());
        all
    })
}

fn noise(d: usize, rng: &mut ChaCha8Rng) -> Array1<f64> {
    Array1::from_shape_fn(d, |_| normal(rng))
}

/// A random rotation, by Gram and Schmidt.
fn turn(d: usize, rng: &mut ChaCha8Rng) -> Array2<f64> {
    let mut q = Array2::zeros((d, d));
    for i in 0..d {
        let mut row = noise(d, rng);
        for j in 0..i {
            let other: Array1<f64> = q.row(j).to_owned();
            row = &row - &(&other * row.dot(&other));
        }
        q.row_mut(i).assign(&(&row / row.dot(&row).sqrt()));
    }
    q
}

/// Rows of runs whose states come from `state(run, turn, state before, rng)`.
fn rows(
    runs: usize,
    turns: usize,
    rng: &mut ChaCha8Rng,
    state: impl Fn(usize, usize, Option<&Array1<f64>>, &mut ChaCha8Rng) -> Array1<f64>,
) -> Vec<Row> {
    let mut all = Vec::with_capacity(runs * turns);
    for r in 0..runs {
        let mut before: Option<Array1<f64>> = None;
        for t in 0..turns {
            let z = state(r, t, before.as_ref(), rng);
            all.push(Row { run: format!("{r:04}"), turn: t as i64, z: z.to_vec(), ..Row::default() });
            before = Some(z);
        }
    }
    all
}

fn series(rows: Vec<Row>) -> Series {
    Series::of(rows).unwrap().remove(0)
}

fn quick(seed: u64) -> Options {
    Options { resamples: 0, shuffles: 39, seed }
}

fn verdict(rows: Vec<Row>, seed: u64) -> (Found, Verdict) {
    let (mut found, verdict) = attractors(&[series(rows)], quick(seed));
    (found.remove(0), verdict)
}

/// Steps of z' = A z + b + e from states spread over twice the noise.
fn linear(a: &Array2<f64>, b: &Array1<f64>, runs: usize, rng: &mut ChaCha8Rng) -> Vec<Row> {
    rows(runs, 12, rng, |_, _, before, rng| match before {
        None => noise(b.len(), rng) * 2.0,
        Some(z) => a.dot(z) + b + noise(b.len(), rng),
    })
}

/// Least squares by elimination, apart from the code under test: the coefficients `[1 + k, k]`.
fn least_squares(s: &Series) -> Array2<f64> {
    let p = 1 + s.k;
    let mut m = Array2::<f64>::zeros((p, p + s.k));
    for run in &s.runs {
        for pair in run.turns.windows(2) {
            let x: Vec<f64> = [1.0].into_iter().chain(pair[0].z.iter().copied()).collect();
            let all: Vec<f64> = x.iter().chain(&pair[1].z).copied().collect();
            for i in 0..p {
                all.iter().enumerate().for_each(|(j, v)| m[[i, j]] += x[i] * v);
            }
        }
    }
    for i in 0..p {
        let row = m.row(i).to_owned() / m[[i, i]];
        m.row_mut(i).assign(&row);
        for j in (0..p).filter(|j| *j != i) {
            let factor = m[[j, i]];
            m.row_mut(j).zip_mut_with(&row, |v, r| *v -= factor * r);
        }
    }
    m.slice(ndarray::s![.., p..]).to_owned()
}

#[test]
fn fixed_point_and_half_life_are_as_near_as_least_squares_and_the_radius_is_covered() {
    const D: usize = 16;
    for rho in [0.5, 0.7, 0.9] {
        let n = repetitions(200);
        let all = repeated(n, |seed| {
            let mut rng = stream(seed, &format!("linear {rho}"));
            let a = turn(D, &mut rng) * rho;
            let target = noise(D, &mut rng);
            let b = &target - &a.dot(&target);
            let s = series(linear(&a, &b, 200, &mut rng));
            let steps = Steps::new(&s, |_, r| r.steps().collect());
            let d = dynamics::dynamics(&s, &steps, 0, seed).unwrap();
            // The oracle: least squares, with the largest modulus and the point at which nothing changes.
            let fit = least_squares(&s);
            let own = fit.slice(ndarray::s![1.., ..]).t().to_owned();
            let radius = modes::moduli(&own).unwrap()[0];
            let mut rest = fit.row(0).to_owned();
            let mut sum = rest.clone();
            (0..2000).for_each(|_| {
                rest = own.dot(&rest);
                sum += &rest;
            });
            let away = |z: &Array1<f64>| (z - &target).mapv(|v| v * v).sum();
            let life = |r: f64| -(2.0_f64.ln()) / r.ln();
            let ours = Array1::from_iter(d.fixed_point.iter().map(|v| v.value));
            let error = |v: f64| (v - life(rho)).powi(2);
            let inside = d.radius.lo <= rho && rho <= d.radius.hi;
            (away(&ours), away(&sum), error(d.half_life().0), error(life(radius)), inside)
        });
        type Trial = (f64, f64, f64, f64, bool);
        let mean = |f: &dyn Fn(&Trial) -> f64| all.iter().map(f).sum::<f64>() / n as f64;
        let point = (mean(&|v| v.0) / mean(&|v| v.1)).sqrt();
        let life = (mean(&|v| v.2) / mean(&|v| v.3)).sqrt();
        let covered = mean(&|v| f64::from(u8::from(v.4)));
        assert!(point <= 1.1 && life <= 1.1, "{rho}: {point} {life}");
        // 0.93 to 0.97, and three deviations of a share of n.
        let slack = 3.0 * (0.05 * 0.95 / n as f64).sqrt();
        assert!((0.93 - slack..=0.97 + slack).contains(&covered), "{rho}: {covered} covered");
    }
}

#[test]
fn a_plain_file_of_contracting_runs_gives_a_provisional_fixed_point() {
    for (rho, seed) in [(0.5, 1), (0.7, 2), (0.9, 3)] {
        let mut rng = stream(seed, "plain");
        let a = turn(16, &mut rng) * rho;
        let (found, verdict) = verdict(linear(&a, &Array1::ones(16), 200, &mut rng), seed);
        assert_eq!(verdict, Verdict::ProvisionalFixedPoint, "{:?}", found.conditions);
        assert_eq!(found.basins.unwrap().count(), 1);
    }
}

#[test]
fn what_is_drawn_nowhere_is_rarely_called_a_fixed_point() {
    const D: usize = 4;
    type Draw = fn(&mut ChaCha8Rng) -> Vec<Row>;
    let kinds: [(&str, Draw); 4] = [
        ("random walk", |rng| {
            rows(60, 12, rng, |_, _, before, rng| match before {
                None => noise(D, rng) * 2.0,
                Some(z) => z + noise(D, rng),
            })
        }),
        ("drift", |rng| {
            let by = noise(D, rng) * 0.3;
            rows(60, 12, rng, |_, t, _, rng| &by * t as f64 + noise(D, rng))
        }),
        ("walk with drift", |rng| {
            let by = noise(D, rng) * 0.3;
            rows(60, 12, rng, |_, _, before, rng| match before {
                None => noise(D, rng),
                Some(z) => z + &by + noise(D, rng),
            })
        }),
        ("shuffled", |rng| {
            let a = turn(D, rng) * 0.7;
            let mut all = linear(&a, &Array1::ones(D), 60, rng);
            for run in all.chunks_mut(12) {
                let mut states: Vec<Vec<f64>> = run.iter().map(|r| r.z.clone()).collect();
                states.shuffle(rng);
                run.iter_mut().zip(states).for_each(|(r, z)| r.z = z);
            }
            all
        }),
    ];
    for (name, make) in kinds {
        let n = repetitions(200);
        let called = repeated(n, |seed| {
            let mut rng = stream(seed, name);
            let (_, verdict) = verdict(make(&mut rng), seed);
            matches!(verdict, Verdict::FixedPoint | Verdict::ProvisionalFixedPoint)
        });
        let share = called.iter().filter(|c| **c).count() as f64 / n as f64;
        let slack = 3.0 * (0.05 * 0.95 / n as f64).sqrt();
        assert!(share <= if n >= 2000 { 0.065 } else { 0.05 + slack }, "{name}: {share}");
    }
}

#[test]
fn a_cycle_is_named_with_its_period() {
    const D: usize = 4;
    for (seed, in_step) in [(1, true), (2, false)] {
        let mut rng = stream(seed, "cycle");
        let (a, b) = (noise(D, &mut rng) * 2.0, noise(D, &mut rng) * 2.0);
        let two = rows(40, 12, &mut rng, |r, t, _, rng| {
            let odd = (t + if in_step { 0 } else { r }) % 2 == 1;
            (if odd { &a } else { &b }) + &(noise(D, rng) * 0.5)
        });
        let (found, of_two) = verdict(two, seed);
        let period = found.dynamics.unwrap().persistent.unwrap().period();
        assert!(of_two == Verdict::Cycle && (period - 2.0).abs() < 0.05, "{of_two} {period}");
        let three = rows(40, 12, &mut rng, |r, t, _, rng| {
            let angle = std::f64::consts::TAU * ((t + r % 3) as f64) / 3.0;
            &a * angle.cos() + &b * angle.sin() + noise(D, rng) * 0.3
        });
        let (found, of_three) = verdict(three, seed);
        let period = found.dynamics.unwrap().persistent.unwrap().period();
        assert!(of_three == Verdict::Cycle && (period - 3.0).abs() < 0.05, "{of_three} {period}");
    }
    // Alternation that dies away is a way of coming to a fixed point.
    let mut rng = stream(3, "damped");
    let damped = rows(120, 12, &mut rng, |_, _, before, rng| match before {
        None => noise(D, rng) * 3.0,
        Some(z) => z * -0.6 + noise(D, rng),
    });
    let (found, verdict) = verdict(damped, 3);
    assert_eq!(verdict, Verdict::ProvisionalFixedPoint);
    assert!((found.dynamics.unwrap().period().unwrap() - 2.0).abs() < 0.2);
}

#[test]
fn noise_of_measurement_does_not_make_a_random_walk_return() {
    let mut rng = stream(1, "measured");
    let mut all = rows(150, 12, &mut rng, |_, _, before, rng| match before {
        None => noise(3, rng) * 2.0,
        Some(z) => z + noise(3, rng) * 0.5,
    });
    for row in &mut all {
        row.z.iter_mut().for_each(|v| *v += normal(&mut rng));
    }
    let (found, verdict) = verdict(all, 1);
    let d = found.dynamics.unwrap();
    assert!(d.radius.hi < 1.0, "least squares says that it returns: {:?}", d.radius);
    assert!(d.lagged.unwrap().interval.1 >= 1.0);
    assert_ne!(verdict, Verdict::ProvisionalFixedPoint);
}

/// Two wells at -3 and +3 along a direction, with the boundary at 0; 70 % of the starts are on the left. Two thirds of the runs
/// are pushed at turn 12 towards the other well. A run needs a push of 3 on average (with a spread of 15 % between runs).
/// The second layer is a rotation of the first.
fn wells(k: usize, seed: u64) -> Vec<Row> {
    let mut rng = stream(seed, "wells");
    let along = turn(k, &mut rng).row(0).to_owned();
    let layer = turn(k, &mut rng);
    const DOSES: [f64; 9] = [0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0];
    let mut all = Vec::new();
    for run in 0..300 {
        let start = run % 30;
        let side = if start < 21 { -1.0 } else { 1.0 };
        let mut x: f64 = side * rng.random_range(1.2..8.0);
        let mut other = noise(k, &mut rng) * 2.0;
        let dose = if run >= 100 { DOSES[run % 9] } else { 0.0 };
        let needed = 3.0 * (0.15 * normal(&mut rng)).exp();
        for t in 0..20 {
            let pushed = t == 12 && dose > 0.0;
            if pushed {
                x -= x.signum() * dose * 3.0 / needed;
            } else if t > 0 {
                x = 3.0 * x.signum() + 0.6 * (x - 3.0 * x.signum()) + 0.35 * normal(&mut rng);
            }
            other = &other * 0.6 + noise(k, &mut rng) * 0.35;
            let z = &along * (x - along.dot(&other)) + &other;
            let row = Row {
                run: format!("{run:03}"),
                turn: t,
                start: Some(format!("s{start}")),
                phase: Some(
                    if pushed {
                        "pulse"
                    } else if t > 12 && dose > 0.0 {
                        "after"
                    } else {
                        "free"
                    }
                    .into(),
                ),
                dose: Some(if pushed { dose } else { 0.0 }),
                chars: Some((200.0 + 50.0 * normal(&mut rng)).round()),
                text_hash: Some(format!("{run}/{t}")),
                ..Row::default()
            };
            let seen = layer.dot(&z) * 2.0 + 1.0 + noise(k, &mut rng) * 0.05;
            all.push(Row { site: "resid_post.5".into(), z: seen.to_vec(), ..row.clone() });
            all.push(Row { site: "resid_post.3".into(), z: z.to_vec(), ..row });
        }
    }
    all.shuffle(&mut rng);
    all
}

#[test]
fn two_basins_have_their_weights_depth_and_all_conditions() {
    for (k, seed) in [(2, 1), (6, 2)] {
        let all = Series::of(wells(k, seed)).unwrap();
        let (found, verdict) = attractors(&all, Options { resamples: 100, shuffles: 39, seed });
        for f in &found {
            let basins = f.basins.as_ref().unwrap();
            assert_eq!(basins.count(), 2, "{}", basins.choice.reason);
            for (w, planted) in basins.weights.iter().zip([0.7, 0.3]) {
                assert!((w.share - planted).abs() <= 0.05 && w.lo <= planted && planted <= w.hi, "{w:?}");
            }
            let d50 = &f.pushes.as_ref().unwrap().depths[0].d50;
            let Ok(Dose::At { value, lo: Some(lo), hi: Some(hi) }) = *d50 else { panic!("{d50:?}") };
            assert!((value / 3.0 - 1.0).abs() <= 0.15 && lo < value && value < hi, "{value} [{lo}, {hi}]");
            let failed: Vec<_> = f.conditions.iter().filter(|c| c.outcome != Outcome::Passed).collect();
            assert!(failed.is_empty() && f.conditions.len() == 6, "{failed:?}");
            // The wells are as far from the boundary on either side.
            let place = f.boundary.as_ref().unwrap().place;
            assert!((place - 0.5).abs() < 0.15, "{place}");
            // 0.6 of a displacement is left after a turn.
            for d in &f.within {
                let r = &d.as_ref().unwrap().radius;
                assert!(r.lo <= 0.64 && r.hi >= 0.56, "{r:?}");
            }
            let (life, _, runs) = f.pushes.as_ref().unwrap().half_life.unwrap();
            assert!(runs > 40 && (0.8..2.2).contains(&life), "{life} of {runs}");
        }
        assert_eq!(verdict, Verdict::Several);
    }
}

#[test]
fn doses_that_move_nobody_leave_the_depth_open() {
    let all: Vec<Row> = wells(2, 3).into_iter().filter(|r| r.site == "resid_post.3").collect();
    let largest =
        |rows: &[Row], run: &str| rows.iter().filter(|r| r.run == run).filter_map(|r| r.dose).fold(0.0_f64, f64::max);
    let weak: Vec<Row> = all.iter().filter(|r| largest(&all, &r.run) <= 1.0).cloned().collect();
    let (found, _) = verdict(weak, 1);
    let pushes = found.pushes.unwrap();
    assert_eq!(pushes.depths[0].d50, Ok(Dose::Above(1.0)));
    // They came back all the same.
    let returns = found.conditions.iter().find(|c| c.name == "returns").unwrap();
    assert_eq!(returns.outcome, Outcome::Passed);
}

#[test]
fn results_do_not_depend_on_the_order_of_rows() {
    let mut rng = stream(5, "order");
    let a = turn(3, &mut rng) * 0.6;
    let rows = linear(&a, &Array1::ones(3), 30, &mut rng);
    let mut mixed = rows.clone();
    mixed.shuffle(&mut rng);
    let all = |rows: Vec<Row>| {
        let s = Series::of(rows).unwrap();
        let o = Options { resamples: 20, ..quick(1) };
        let (found, _) = attractors(&s, o);
        tables(&s, &found, o).iter().map(|t| t.to_csv()).collect::<String>()
    };
    assert_eq!(all(rows), all(mixed));
}

#[test]
fn poor_data_are_undecided_and_break_nothing() {
    let row = |run: &str, turn: i64, z: Vec<f64>| Row { run: run.into(), turn, z, ..Row::default() };
    let cases: Vec<Vec<Row>> = vec![
        vec![row("a", 0, vec![1.0])],
        (0..40).map(|t| row("a", t, vec![t as f64, 1.0])).collect(),
        (0..40).flat_map(|r| (0..9).map(move |t| row(&format!("{r}"), t, vec![2.0, 1.0]))).collect(),
        (0..40).flat_map(|r| (0..9).map(move |t| row(&format!("{r}"), 2 * t, vec![t as f64]))).collect(),
        (0..4).flat_map(|r| (0..5).map(move |t| row(&format!("{r}"), t, vec![f64::from(r); 20]))).collect(),
        (0..30)
            .flat_map(|r| (0..9).map(move |t| row(&format!("{r}"), t, vec![1e150 * f64::from(r * t as i32)])))
            .collect(),
        (0..30).flat_map(|r| (0..9).map(move |t| row(&format!("{r}"), t, vec![0.5_f64.powi(t as i32)]))).collect(),
        (0..30).flat_map(|r| [i64::MIN, i64::MAX].map(|t| row(&format!("{r}"), t, vec![f64::from(r)]))).collect(),
    ];
    for (i, rows) in cases.into_iter().enumerate() {
        let s = Series::of(rows).unwrap();
        let o = Options { resamples: 10, ..quick(1) };
        let (found, verdict) = attractors(&s, o);
        assert!(!matches!(verdict, Verdict::FixedPoint | Verdict::Cycle | Verdict::Several), "case {i}: {verdict}");
        for t in tables(&s, &found, o) {
            assert!(!t.to_csv().contains("NaN") && !t.to_csv().contains("inf"), "{}", t.to_csv());
        }
    }
}
