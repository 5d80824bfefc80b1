//! What must not matter: how rows are cut into parts, in which order they come, what weights and offsets they have.

use super::{Along, Running, Scatter, Shape, SiteMoments};
use crate::rng::stream;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// What is promised, relative to M2, to the mean and to the trace.
const PROMISED: f64 = 1e-12;
/// What is kept, but for what the plain sums of the reference lose: a hundred times below.
const KEPT: f64 = 1e-14;

/// A row with its group and weight: `[site][column]`.
#[derive(Clone, Debug)]
struct Row {
    group: u32,
    weight: f64,
    sites: Vec<Vec<f32>>,
}

/// Rows to be made from a seed.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    rows: usize,
    widths: Vec<usize>,
    groups: u32,
    offset: f64,
    spread: f64,
    /// Weights run from 1 to this power of ten, down and up; 0 makes all of them 1.
    decades: f64,
}

fn cases() -> impl Strategy<Value = Case> {
    let widths = prop::collection::vec(1usize..20, 1..4);
    let offset = prop::sample::select(vec![0.0, 1.0, 200.0, -3000.0]);
    let (spread, decades) = (prop::sample::select(vec![0.1, 1.0, 40.0]), prop::sample::select(vec![0.0, 0.5, 6.0]));
    (any::<u64>(), 1usize..160, widths, 1u32..4, offset, spread, decades).prop_map(
        |(seed, rows, widths, groups, offset, spread, decades)| Case {
            seed,
            rows,
            widths,
            groups,
            offset,
            spread,
            decades,
        },
    )
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // Twelve uniform numbers: variance 1, mean 0, near enough to a normal.
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

impl Case {
    fn rows(&self) -> Vec<Row> {
        let mut rng = stream(self.seed, "rows");
        let mut row = |_| {
            let group = 7 * rng.random_range(0..self.groups);
            let weight = 10f64.powf(self.decades * rng.random_range(-1.0..1.0));
            // The first column of a site is the massive one: a mean of up to 30,000 of its spreads.
            let mut value = |c: usize| (if c == 0 { self.offset } else { 0.0 } + self.spread * normal(&mut rng)) as f32;
            let sites = self.widths.iter().map(|w| (0..*w).map(&mut value).collect()).collect();
            Row { group, weight, sites }
        };
        (0..self.rows).map(&mut row).collect()
    }

    fn shape(&self, scatter: Scatter) -> Arc<Shape> {
        let along = Along::new(0, vec![0.5; self.widths[0]]);
        Arc::new(Shape::new(self.widths.clone(), scatter, vec![along]).unwrap())
    }

    /// Cuts rows, in some order, into parts of their own and merges them: one by one, or in blocks.
    fn merged(&self, rows: &[Row], scatter: Scatter) -> Running {
        let mut rng = stream(self.seed, "cuts");
        let mut rows: Vec<&Row> = rows.iter().collect();
        if rng.random() {
            rows.shuffle(&mut rng);
        }
        let shape = self.shape(scatter);
        let longest = rng.random_range(1..=rows.len());
        let mut parts = Vec::new();
        while !rows.is_empty() {
            let rest = rows.split_off(rng.random_range(1..=longest.min(rows.len())));
            parts.push(taken(&shape, rows));
            rows = rest;
        }
        let block = rng.random_range(1..=parts.len());
        let mut total = Running::new(shape.clone());
        for block in parts.chunks(block) {
            let mut sum = Running::new(shape.clone());
            block.iter().for_each(|part| sum.merge(part));
            total.merge(&sum);
        }
        total
    }
}

fn taken(shape: &Arc<Shape>, rows: Vec<&Row>) -> Running {
    let mut part = Running::new(shape.clone());
    for row in rows {
        let sites: Vec<&[f32]> = row.sites.iter().map(Vec::as_slice).collect();
        part.push(row.group, row.weight, &sites);
    }
    part
}

/// Mean, M2 and scatter in two passes, the second of which mends the mean of the first.
struct TwoPass {
    mean: Vec<f64>,
    scatter: Vec<f64>,
}

impl TwoPass {
    fn of(rows: &[(f64, &[f32])]) -> TwoPass {
        let d = rows[0].1.len();
        let weight: f64 = rows.iter().map(|(w, _)| w).sum();
        let about = |centre: &[f64]| -> Vec<f64> {
            let sum = |j: usize| rows.iter().map(|(w, x)| w * (f64::from(x[j]) - centre[j])).sum::<f64>();
            (0..d).map(|j| sum(j) / weight).collect()
        };
        let first = about(&vec![0.0; d]);
        // What the first mean is off by; 0 but for rounding.
        let off = about(&first);
        let scatter = (0..d * d).map(|at| {
            let (i, j) = (at / d, at % d);
            let apart = |x: &[f32], j: usize| f64::from(x[j]) - first[j];
            rows.iter().map(|(w, x)| w * apart(x, i) * apart(x, j)).sum::<f64>() - weight * off[i] * off[j]
        });
        TwoPass { scatter: scatter.collect(), mean: first.iter().zip(&off).map(|(m, o)| m + o).collect() }
    }

    fn m2(&self, j: usize) -> f64 {
        self.scatter[j * (self.mean.len() + 1)]
    }

    fn trace(&self) -> f64 {
        (0..self.mean.len()).map(|j| self.m2(j)).sum()
    }

    /// The worst error of means, of M2 and of the scatter matrix, relative to the mean or the spread, whichever is
    /// larger; to M2; to the trace.
    fn worst(&self, site: &SiteMoments, weight: f64) -> [f64; 3] {
        let relative = |error: f64, to: f64| if error == 0.0 { 0.0 } else { error.abs() / to };
        let mut worst = [0.0f64; 3];
        for (j, (mean, m2)) in site.mean().iter().zip(site.m2()).enumerate() {
            let size = self.mean[j].abs().max((self.m2(j) / weight).sqrt());
            worst[0] = worst[0].max(relative(mean - self.mean[j], size));
            worst[1] = worst[1].max(relative(m2 - self.m2(j), self.m2(j)));
        }
        for (got, want) in site.scatter().iter().flatten().zip(&self.scatter) {
            worst[2] = worst[2].max(relative(got - want, self.trace()));
        }
        worst
    }
}

/// Worst errors of a running sum of these rows.
fn compare(rows: &[Row], moments: &Running) -> Result<[f64; 3], TestCaseError> {
    let mut worst = [0.0f64; 3];
    let mut seen = 0;
    for (index, group) in moments.groups() {
        let of_group: Vec<&Row> = rows.iter().filter(|r| r.group == index).collect();
        prop_assert_eq!(group.count, of_group.len() as u64);
        seen += of_group.len();
        let weight: f64 = of_group.iter().map(|r| r.weight).sum();
        prop_assert!((group.weight() / weight - 1.0).abs() < KEPT * 10.0);
        let squared: f64 = of_group.iter().map(|r| r.weight * r.weight).sum();
        prop_assert!((group.weight_squared() / squared - 1.0).abs() < KEPT * 10.0);
        for (s, site) in group.sites.iter().enumerate() {
            let rows: Vec<(f64, &[f32])> = of_group.iter().map(|r| (r.weight, r.sites[s].as_slice())).collect();
            let errors = TwoPass::of(&rows).worst(site, weight);
            (0..3).for_each(|i| worst[i] = worst[i].max(errors[i]));
        }
    }
    prop_assert_eq!(seen, rows.len(), "every row is in a group");
    Ok(worst)
}

fn check(cases_: u32, property: impl Fn(Case) -> Result<(), TestCaseError>) {
    let config = Config { cases: cases_, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner.run(&cases(), property).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn any_cut_and_order_gives_the_moments_of_two_passes() {
    let worst = std::cell::Cell::new([0.0f64; 3]);
    check(300, |case| {
        let rows = case.rows();
        let found = compare(&rows, &case.merged(&rows, Scatter::Full))?;
        prop_assert!(found.iter().all(|e| *e < PROMISED), "{:?} in {:?}", found, case);
        worst.set(std::array::from_fn(|i| worst.get()[i].max(found[i])));
        Ok(())
    });
    assert!(worst.get().iter().all(|e| *e < 2.0 * KEPT), "worst relative errors {:?}", worst.get());
}

#[test]
fn the_same_parts_in_the_same_order_give_the_same_bits_and_bytes_give_them_back() {
    for scatter in [Scatter::None, Scatter::Full, Scatter::Sketch { rows: 3 }] {
        check(40, |case| {
            let rows = case.rows();
            let (once, again) = (case.merged(&rows, scatter), case.merged(&rows, scatter));
            let bytes = once.to_bytes();
            prop_assert_eq!(&bytes, &again.to_bytes());
            let back = Running::from_bytes(case.shape(scatter), &bytes).expect("its own bytes");
            prop_assert_eq!(&back.to_bytes(), &bytes);
            // And goes on as if it had never been away.
            let (mut on, mut back_on) = (once, back);
            on.merge(&again);
            back_on.merge(&again);
            prop_assert_eq!(on.to_bytes(), back_on.to_bytes());
            Ok(())
        });
    }
}

#[test]
fn projections_are_those_of_the_rows_whatever_their_weights() {
    check(60, |case| {
        let rows = case.rows();
        let moments = case.merged(&rows, Scatter::None);
        for (index, group) in moments.groups() {
            let project = |r: &Row| r.sites[0].iter().map(|x| 0.5 * f64::from(*x)).sum::<f64>();
            let mut exact: Vec<f64> = rows.iter().filter(|r| r.group == index).map(project).collect();
            exact.sort_by(f64::total_cmp);
            let (projected, n) = (&group.projections[0], exact.len());
            let size = exact[0].abs().max(exact[n - 1].abs());
            let mean = exact.iter().sum::<f64>() / n as f64;
            prop_assert!((projected.mean() - mean).abs() <= 1e-13 * size);
            prop_assert!((projected.min - exact[0]).abs() <= 1e-14 * size);
            prop_assert!((projected.max - exact[n - 1]).abs() <= 1e-14 * size);
            for q in [0.01, 0.25, 0.5, 0.9, 0.99] {
                let exact = exact[(q * (n - 1) as f64).floor() as usize];
                let got = projected.quantile(q).unwrap();
                prop_assert!((got - exact).abs() <= 0.001 * exact.abs() + 1e-13 * size, "{} {} {}", q, got, exact);
            }
        }
        Ok(())
    });
}

#[test]
fn sketches_miss_no_more_than_they_say_of_the_centred_rows() {
    check(40, |case| {
        let rows = case.rows();
        let moments = case.merged(&rows, Scatter::Sketch { rows: 4 });
        for (index, group) in moments.groups() {
            let first: Vec<(f64, &[f32])> =
                rows.iter().filter(|r| r.group == index).map(|r| (r.weight, r.sites[0].as_slice())).collect();
            let (exact, sketch) = (TwoPass::of(&first), group.sites[0].sketch().unwrap());
            let d = exact.mean.len();
            // S - B^T B is between 0 and the error in every direction: here along each coordinate and the sum of all.
            let along = |u: &[f64]| {
                let square: f64 = u.iter().map(|v| v * v).sum();
                let s: f64 = (0..d * d).map(|at| u[at / d] * u[at % d] * exact.scatter[at]).sum();
                let b: f64 =
                    sketch.rows.chunks(d).map(|r| r.iter().zip(u).map(|(r, u)| r * u).sum::<f64>().powi(2)).sum();
                (s - b) / square
            };
            let small = 1e-12 * exact.trace();
            for u in (0..d).map(|j| (0..d).map(|i| f64::from(i == j)).collect::<Vec<_>>()).chain([vec![1.0; d]]) {
                let missed = along(&u);
                prop_assert!(missed >= -small && missed <= sketch.error + small, "{} {}", missed, sketch.error);
            }
        }
        Ok(())
    });
}

#[test]
fn a_third_of_a_million_rows_in_one_sum_lose_nothing() {
    // Two values in turn, one in three the upper one, with the weight of 0.1 whose plain sum drifts: the worst case for
    // rounding, which always goes the same way.
    let shape = Arc::new(Shape::new(vec![2], Scatter::None, vec![]).unwrap());
    let mut moments = Running::new(shape);
    let (n, upper) = (331_200u32, 331_200u32 / 3);
    for i in 0..n {
        moments.push(0, 0.1, &[&[if i % 3 == 0 { 200.1 } else { 200.0 }, if i % 3 == 0 { -7.7 } else { 0.3 }]]);
    }
    let (group, weight) = (moments.group(0).unwrap(), 0.1 * f64::from(n));
    assert!((group.weight() / weight - 1.0).abs() < 1e-15);
    // With a share p of the upper value: M2 = weight p (1 - p) (upper - lower)^2.
    let share = f64::from(upper) / f64::from(n);
    for (column, (up, low)) in [(200.1f32, 200.0f32), (-7.7, 0.3)].into_iter().enumerate() {
        let apart = f64::from(up) - f64::from(low);
        let m2 = weight * share * (1.0 - share) * apart * apart;
        let mean = f64::from(low) + share * apart;
        let site = &group.sites[0];
        assert!((site.m2()[column] / m2 - 1.0).abs() < 2e-15, "{:e}", site.m2()[column] / m2 - 1.0);
        assert!((site.mean()[column] / mean - 1.0).abs() < 2e-15, "{:e}", site.mean()[column] / mean - 1.0);
    }
}

#[test]
fn damaged_bytes_and_those_of_another_shape_are_refused() {
    let case = Case { seed: 3, rows: 60, widths: vec![3, 5], groups: 2, offset: 1.0, spread: 1.0, decades: 0.5 };
    for scatter in [Scatter::None, Scatter::Full, Scatter::Sketch { rows: 2 }] {
        let bytes = case.merged(&case.rows(), scatter).to_bytes();
        let read = |bytes: &[u8]| Running::from_bytes(case.shape(scatter), bytes);
        assert!(read(&bytes).is_some());
        assert!((0..bytes.len()).all(|n| read(&bytes[..n]).is_none()), "cut short");
        assert!(read(&[&bytes[..], &[0]].concat()).is_none(), "too long");
        let other = Case { widths: vec![3, 6], ..case.clone() };
        assert!(Running::from_bytes(other.shape(scatter), &bytes).is_none());
        let turned = Shape::new(case.widths.clone(), scatter, vec![Along::new(0, vec![0.5, 0.5, 0.4])]).unwrap();
        assert!(Running::from_bytes(Arc::new(turned), &bytes).is_none());
        // Whatever a byte becomes, nothing panics and nothing huge is asked for.
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            let _ = read(&bytes);
        }
        // The number of groups, and the index of the first.
        for at in [32, 40] {
            let mut bytes = bytes.clone();
            bytes[at] = 255;
            assert!(read(&bytes).is_none(), "byte {at}");
        }
    }
}
