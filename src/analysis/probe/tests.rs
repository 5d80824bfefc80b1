//! Probes against what can be worked out by hand or written out in full.

use super::*;
use crate::acts::RowKey;
use crate::analysis::nulls::normal;
use crate::analysis::split::Groups;
use crate::rng::stream;
use ndarray::{Array1, Array2, Axis, array};
use rand::Rng;
use rand::seq::SliceRandom;

fn fit(rows: &Array2<f32>, target: &[f64], group: &[usize], method: Method, settings: Settings) -> Probe {
    let design = Design::new(rows.view()).unwrap();
    let fitter = Fitter { design: &design, group, settings };
    let part = Part { train: vec![true; target.len()], target: target.to_vec() };
    fitter.fit(method, &[part], Closeness::FULL, None).remove(0).unwrap()
}

/// Two classes whose means differ by `signal` in the first coordinate, in groups of two rows.
fn planted(seed: u64, n: usize, d: usize, signal: f64, within: bool) -> (Array2<f32>, Vec<f64>, Vec<usize>) {
    let mut rng = stream(seed, "probe tests");
    let group: Vec<usize> = (0..n).map(|r| r / 2).collect();
    let target: Vec<f64> = (0..n).map(|r| if (if within { r } else { r / 2 }) % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let rows = Array2::from_shape_fn((n, d), |(r, j)| {
        (normal(&mut rng) * (1 + j % 3) as f64 + if j == 0 { signal * target[r] / 2.0 } else { 3.0 }) as f32
    });
    (rows, target, group)
}

fn plan(target: &[f64], group: &[usize], graded: bool, judging: Judging) -> Plan {
    let key = |g: &usize| RowKey { group: format!("{g:04}"), ..RowKey::default() };
    Plan::new(Groups::of(&group.iter().map(key).collect::<Vec<_>>()), target.to_vec(), graded, judging).unwrap()
}

fn near(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    cosine(a, b).unwrap()
}

#[test]
fn contrast_is_the_unit_difference_of_means_and_scores_from_the_middle() {
    // Means (3, 1) and (0, -3): difference (3, 4), unit (0.6, 0.8); projections of the means 2.6 and -2.4, middle 0.1.
    let rows = array![[2.0_f32, 1.0], [4.0, 1.0], [0.0, -3.0]];
    let p = fit(&rows, &[1.0, 1.0, -1.0], &[0, 1, 2], Method::Contrast, Settings::default());
    assert!((p.weights - array![0.6, 0.8]).iter().all(|e| e.abs() < 1e-6));
    assert!((p.intercept + 0.1).abs() < 1e-6 && (p.distance.unwrap() - 5.0).abs() < 1e-5);
    assert!((p.scores[2] + 2.5).abs() < 1e-6);
}

#[test]
fn mass_mean_and_lda_are_the_inverse_covariance_times_the_difference() {
    for (n, d) in [(60, 5), (20, 30)] {
        let (rows, target, group) = planted(2, n, d, 2.0, false);
        let x = rows.mapv(f64::from);
        let class = |y: f64| (0..n).filter(|&r| target[r] == y).collect::<Vec<_>>();
        let mean = |c: &[usize]| x.select(Axis(0), c).mean_axis(Axis(0)).unwrap();
        let (m1, m0) = (mean(&class(1.0)), mean(&class(-1.0)));
        let mut c = Array2::<f64>::zeros((d, d));
        for (row, t) in x.rows().into_iter().zip(&target) {
            let e = (&row - if *t > 0.0 { &m1 } else { &m0 }).insert_axis(Axis(1));
            c += &(e.dot(&e.t()) / n as f64);
        }
        let share = 0.3;
        let shrunk = &c * (1.0 - share) + Array2::<f64>::eye(d) * (share * c.diag().sum() / d as f64);
        let settings = Settings { shrinkage: Shrinkage::Share(share), ..Settings::default() };
        for method in [Method::MassMean, Method::Lda] {
            let p = fit(&rows, &target, &group, method, settings);
            // The shrunk covariance times the weights is the difference itself, in length too.
            let back = shrunk.dot(&p.weights);
            assert!((&back - &(&m1 - &m0)).iter().all(|e| e.abs() < 1e-3), "{method} {n}x{d}");
            let middle = (&m1 + &m0) / 2.0;
            assert!((p.weights.dot(&middle) + p.intercept).abs() < 1e-3, "even classes, even odds");
        }
        let auto = fit(&rows, &target, &group, Method::MassMean, Settings::default());
        assert!(auto.shrunk.is_some_and(|s| s[0] > 0.0 && s[0] < 1.0));
    }
}

#[test]
fn the_larger_side_is_label_1_whatever_the_order_of_rows_and_however_labels_are_called() {
    let (rows, target, group) = planted(3, 60, 6, 3.0, true);
    let mut order: Vec<usize> = (0..60).collect();
    order.shuffle(&mut stream(1, "order"));
    let shuffled = rows.select(Axis(0), &order);
    let (y, g): (Vec<f64>, Vec<usize>) = order.iter().map(|&r| (target[r], group[r])).unzip();
    let other: Vec<f64> = target.iter().map(|t| -t).collect();
    for method in Method::ALL {
        let p = fit(&rows, &target, &group, method, Settings::default());
        let again = fit(&shuffled, &y, &g, method, Settings::default());
        let flipped = fit(&rows, &other, &group, method, Settings::default());
        assert!(p.weights[0] > 0.0, "{method}");
        assert!(near(&p.weights, &again.weights) > 1.0 - 1e-6, "{method}");
        assert!(near(&p.weights, &flipped.weights) < -1.0 + 1e-6, "{method}");
        let mean = |y: f64| (0..60).filter(|&r| target[r] == y).map(|r| p.scores[r]).sum::<f64>();
        assert!(mean(1.0) > mean(-1.0));
    }
}

#[test]
fn pca_takes_the_differences_of_groups_and_does_not_centre_them() {
    // Differences (2, 0), (2, 0), (0, 1): second moments 8 and 1, so e0 with 8/9 of the squares. Centred, it would be
    // another axis.
    let rows = array![[2.0_f32, 5.0], [0.0, 5.0], [3.0, 1.0], [1.0, 1.0], [4.0, 1.0], [4.0, 0.0]];
    let target = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
    let p = fit(&rows, &target, &[0, 0, 1, 1, 2, 2], Method::Pca, Settings::default());
    assert!((p.weights - array![1.0, 0.0]).iter().all(|e| e.abs() < 1e-6));
    assert!((p.explained.unwrap() - 8.0 / 9.0).abs() < 1e-6);
    let design = Design::new(rows.view()).unwrap();
    let fitter = Fitter { design: &design, group: &[0, 1, 2, 3, 4, 5], settings: Settings::default() };
    let part = Part { train: vec![true; 6], target: target.to_vec() };
    assert!(fitter.fit(Method::Pca, &[part], Closeness::FULL, None)[0].is_none(), "no group has both labels");
}

#[test]
fn with_standardize_the_units_of_a_column_change_no_prediction() {
    let (rows, target, group) = planted(4, 50, 8, 1.5, true);
    let mut other = rows.clone();
    other.column_mut(2).mapv_inplace(|v| v * 512.0);
    let settings = Settings { standardize: true, ..Settings::default() };
    for method in [Method::Contrast, Method::MassMean, Method::Logistic, Method::Svm, Method::Pca, Method::Ridge] {
        let (a, b) = (fit(&rows, &target, &group, method, settings), fit(&other, &target, &group, method, settings));
        // Up to the length of a unit direction.
        let ratio = b.scores[0] / a.scores[0];
        let free = matches!(method, Method::Contrast | Method::Pca);
        assert!(free || (ratio - 1.0).abs() < 1e-3, "{method}: {ratio}");
        assert!(
            a.scores.iter().zip(&b.scores).all(|(x, y)| (x * ratio - y).abs() < 1e-3 * y.abs().max(1.0)),
            "{method}"
        );
    }
    let raw = |rows| fit(rows, &target, &group, Method::Logistic, Settings { alpha: 50.0, ..Settings::default() });
    assert!((raw(&rows).scores[0] - raw(&other).scores[0]).abs() > 1e-3, "without it they do");
}

#[test]
fn a_planted_signal_is_found_beside_its_nulls_and_noise_is_not() {
    let judging = Judging { permutations: 40, random: 50, ..Judging::default() };
    let settings = Settings { alpha: 10.0, ..Settings::default() };
    let metric = |j: &Judged, name: &str| j.metrics.iter().find(|m| m.name == name).cloned().unwrap();
    let (rows, target, group) = planted(5, 120, 10, 5.0, false);
    let p = plan(&target, &group, false, judging);
    for j in judge(rows.view(), &p, &[Method::Contrast, Method::Logistic, Method::Lda], settings).unwrap() {
        // Two normals 5 deviations apart are hardly ever out of order; the other columns blur that.
        let a = metric(&j, "auroc");
        assert!(a.value.unwrap() > 0.9 && a.p.unwrap() < 0.05, "{}: {a:?}", j.method);
        assert!(a.interval.is_some_and(|i| i.lo < a.value.unwrap() && i.hi > a.value.unwrap() && i.lo > 0.8));
        assert!(metric(&j, "random_direction").p.unwrap() < 0.1);
        assert!(metric(&j, "brier").value.unwrap() < 0.15);
        assert!(metric(&j, "selectivity").value.unwrap() > 0.1);
        assert!(metric(&j, "leave_one_group_out_cosine").value.unwrap() > 0.95);
        let r = metric(&j, "reliability").value.unwrap();
        assert!((0.3..1.0).contains(&r) && (1.0..1.7).contains(&j.widened), "{r}");
        assert!((1.5..6.0).contains(&metric(&j, "effect_size").value.unwrap()));
    }
    let mut p_values = Vec::new();
    for seed in 0..30 {
        let (rows, target, group) = planted(100 + seed, 24, 4, 0.0, false);
        let judging = Judging { permutations: 39, random: 0, halvings: 0, controls: 0, seed, ..Judging::default() };
        let j = judge(rows.view(), &plan(&target, &group, false, judging), &[Method::Contrast], settings).unwrap();
        p_values.push(j[0].metrics[0].p.unwrap());
    }
    // Uniform: mean 0.5 with a standard deviation of 0.29 / sqrt 30 = 0.053; and small ones are rare.
    let mean = p_values.iter().sum::<f64>() / 30.0;
    assert!((mean - 0.5).abs() < 0.2, "{mean}");
    assert!(p_values.iter().filter(|p| **p <= 0.1).count() <= 9, "{p_values:?}");
}

#[test]
fn ridge_follows_a_graded_score() {
    let mut rng = stream(6, "graded");
    let rows = Array2::from_shape_fn((80, 6), |_| normal(&mut rng) as f32);
    let score: Vec<f64> = (0..80).map(|r| 50.0 + 10.0 * f64::from(rows[[r, 1]]) + normal(&mut rng)).collect();
    let group: Vec<usize> = (0..80).map(|r| r / 4).collect();
    let p = plan(&score, &group, true, Judging { permutations: 20, ..Judging::default() });
    let j = judge(rows.view(), &p, &[Method::Ridge], Settings::default()).unwrap().remove(0);
    assert_eq!(j.metrics[0].name, "spearman");
    assert!(j.metrics[0].value.unwrap() > 0.95 && j.metrics[0].p.unwrap() < 0.06);
    // Slope 10 drawn in by 80 / (80 + 1), about.
    assert!((j.probe.weights[1] - 9.9).abs() < 0.5 && (j.probe.intercept - 50.0).abs() < 1.0);
    let what = judge(rows.view(), &p, &[Method::Lda], Settings::default()).unwrap_err();
    assert!(what.hint().contains("ridge"), "{what}");
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (rows, target, group) = planted(7, 24, 3, 1.0, true);
    let p = plan(&target, &group, false, Judging { permutations: 0, ..Judging::default() });
    let flat = Array2::<f32>::ones((24, 3));
    for method in [Method::Contrast, Method::Logistic, Method::MassMean] {
        assert!(judge(flat.view(), &p, &[method], Settings::default()).is_err(), "{method}");
    }
    let bad = Settings { alpha: 0.0, ..Settings::default() };
    assert!(judge(rows.view(), &p, &[Method::Logistic], bad).unwrap_err().hint().contains("positive"));
    assert!(judge(rows.slice(ndarray::s![..20, ..]), &p, &[Method::Contrast], Settings::default()).is_err());
    let nan = Array2::from_elem((24, 3), f32::NAN);
    assert!(judge(nan.view(), &p, &[Method::Contrast], Settings::default()).is_err());
}

#[test]
fn calibration_bins_hold_every_row_once() {
    let mut rng = stream(8, "calibration");
    let chance: Vec<f64> = (0..500).map(|_| rng.random()).collect();
    let labels: Vec<bool> = chance.iter().map(|c| rng.random_bool(*c)).collect();
    let bins = calibration(&chance, &labels);
    assert_eq!(bins.iter().map(|b| b.1).sum::<usize>(), 500);
    // 50 rows a bin: deviation 0.07 at most.
    assert!(bins.iter().all(|(_, _, predicted, observed)| (predicted - observed).abs() < 0.25));
    assert_eq!(calibration(&[1.0], &[true]), [(0.9, 1, 1.0, 1.0)]);
}
