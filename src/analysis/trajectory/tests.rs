use super::*;
use crate::analysis::nulls::normal;
use crate::analysis::testing::repetitions;
use crate::rng::stream;
use crate::table::Table;
use rand::Rng;
use rand::seq::SliceRandom;

/// Runs whose projection is `start + slope * turn` plus unit noise, with a run's own offset.
fn drifting(n: usize, turns: usize, slope: f64, offset: f64, seed: u64) -> Vec<Run> {
    let mut rng = stream(seed, "drifting");
    let mut rows = Vec::new();
    for r in 0..n {
        let own = offset * normal(&mut rng);
        for turn in 0..turns {
            let projection = 3.0 + own + slope * turn as f64 + normal(&mut rng);
            rows.push(TurnRow { run: format!("r{r:04}"), turn, projection, ..TurnRow::default() });
        }
    }
    runs(&rows).unwrap()
}

/// p_(t+1) = a p_t + b u_(t+1) + noise, u of two dimensions of which the first counts.
fn driven(n: usize, turns: usize, a: f64, b: f64, seed: u64) -> Vec<Run> {
    let mut rng = stream(seed, "driven");
    let mut rows = Vec::new();
    for r in 0..n {
        let mut p = normal(&mut rng);
        for turn in 0..turns {
            let input = vec![normal(&mut rng), normal(&mut rng)];
            if turn > 0 {
                p = a * p + b * input[0] + normal(&mut rng);
            }
            rows.push(TurnRow { run: format!("r{r:03}"), turn, projection: p, input, ..TurnRow::default() });
        }
    }
    runs(&rows).unwrap()
}

#[test]
fn turns_rate_and_band_agree_with_hand() {
    let row = |run: &str, turn, projection| TurnRow { run: run.into(), turn, projection, ..TurnRow::default() };
    // Slopes 1 and 2; first turns 0, 2 and 4 with mean 2 and deviation 2; the third run has one turn.
    let rows = [row("a", 0, 0.0), row("b", 1, 4.0), row("a", 1, 1.0), row("b", 0, 2.0), row("c", 0, 4.0)];
    let r = runs(&rows).unwrap();
    let band = Band::first_turns(&r).unwrap();
    assert_eq!((band.mean, band.sd, band.count()), (2.0, 2.0, 3));
    let found = rates(&r, &band, 50, 1);
    // Mean 1.5, deviation sqrt(1/2), error 0.5, t(1) = 12.7062.
    let slope = &found[0];
    assert_eq!((slope.value, slope.in_sd, slope.runs), (Some(1.5), Some(0.75), 2));
    assert!((slope.interval.unwrap().hi - (1.5 + 12.7062 * 0.5)).abs() < 1e-3);
    let t = by_turn(&r, &band);
    assert_eq!((t[0].mean, t[0].runs, t[1].mean, t[1].runs), (2.0, 3, 2.5, 2));
    assert_eq!(turn_table(&t, &band).num(1, "projection"), Some(2.5));
    assert_eq!(band_table(&band).num(0, "sd"), Some(2.0));
    let mut other = rows.to_vec();
    other.shuffle(&mut stream(1, "order"));
    assert_eq!(runs(&other).unwrap(), r);
}

#[test]
fn what_is_no_run_is_refused_by_name() {
    let row = |turn, projection| TurnRow { run: "a".into(), turn, projection, ..TurnRow::default() };
    let said = |rows: &[TurnRow]| runs(rows).unwrap_err().to_string();
    assert!(said(&[]).contains("no turns"));
    assert!(said(&[row(1, 0.0), row(1, 2.0)]).contains("turn 1 of run `a` is there twice"));
    assert!(said(&[row(0, f64::NAN)]).contains("turn 0 of run `a`"));
    let wide = TurnRow { input: vec![1.0], ..row(1, 0.0) };
    assert!(said(&[row(0, 0.0), wide]).contains("turn 1"));
    assert!(Band::first_turns(&runs(&[row(0, 1.0), row(1, 2.0)]).unwrap()).is_err());
}

#[test]
fn domains_are_told_apart_for_whole_runs_and_for_single_turns() {
    let mut rows = Vec::new();
    for r in 0..12 {
        for turn in 0..6 {
            let therapy = r % 2 == 0;
            let projection = f64::from(r) * 0.01 - if therapy { turn as f64 } else { 0.0 };
            let domain = if therapy { "therapy" } else { "coding" }.to_string();
            rows.push(TurnRow { run: format!("r{r}"), turn, projection, domain, ..TurnRow::default() });
        }
    }
    let all = runs(&rows).unwrap();
    let band = Band::first_turns(&all).unwrap();
    let found = rates(&all, &band, 100, 1);
    let of = |domain: &str, quantity: &str| {
        found.iter().find(|r| r.domain == domain && r.quantity == quantity).unwrap().value.unwrap()
    };
    assert!((of("therapy", "slope") + 1.0).abs() < 1e-9 && of("coding", "slope").abs() < 1e-9);
    assert!((of(ALL, "slope") + 0.5).abs() < 1e-9 && (of("therapy", "step") + 1.0).abs() < 1e-9);
    assert_eq!(by_turn(&all, &band).len(), 6 + 12);
    // A domain that changes within a run has steps and no slope.
    for (i, row) in rows.iter_mut().enumerate() {
        row.domain = if i % 6 < 3 { "a".into() } else { "b".into() };
    }
    let mixed = rates(&runs(&rows).unwrap(), &band, 100, 1);
    assert!(mixed.iter().all(|r| r.quantity == "step" || r.domain == ALL) && mixed.len() == 4);
}

#[test]
fn the_interval_of_the_rate_covers_and_its_p_keeps_its_level() {
    let n = repetitions(200);
    let (mut covered, mut called) = (0, 0);
    for seed in 0..n as u64 {
        // Runs with their own slopes: what counts is the spread between runs.
        let mut all = drifting(12, 6, 0.0, 1.0, seed);
        let mut rng = stream(seed, "slopes");
        for run in &mut all {
            let own = 0.5 * normal(&mut rng);
            run.steps.iter_mut().for_each(|s| s.projection += own * s.turn as f64);
        }
        let band = Band::first_turns(&all).unwrap();
        let found = &rates(&all, &band, 99, seed)[0];
        let i = found.interval.unwrap();
        covered += usize::from(i.lo <= 0.0 && 0.0 <= i.hi);
        called += usize::from(found.p.unwrap() <= 0.05);
    }
    // 95 % and 5 % within four standard errors of 200 trials (1.5 %).
    let (covered, called) = (covered as f64 / n as f64, called as f64 / n as f64);
    assert!((covered - 0.95).abs() < 0.062 && called < 0.112, "covers {covered}, called {called}");
}

#[test]
fn normal_runs_raise_the_stated_share_of_alarms_and_a_shift_is_seen() {
    let n = repetitions(200);
    let count = |false_alarms: &mut f64, runs: &[Run], band: &Band, seed| {
        let o = AlarmOptions { draws: 400, seed, ..AlarmOptions::default() };
        let found = alarms(runs, band, o);
        *false_alarms += found.runs.iter().filter(|a| a.at.is_some()).count() as f64 / found.runs.len() as f64;
        found.runs[0].method
    };
    let (mut simulated, mut of_runs) = (0.0, 0.0);
    for seed in 0..n as u64 {
        let all = drifting(20, 10, 0.0, 0.0, seed);
        let first = Band::first_turns(&all).unwrap();
        assert_eq!(count(&mut simulated, &all, &first, seed), alarms::Method::Simulated);
        // Runs that each have an offset of their own: turns depend on each other, and only runs say so.
        let normal = Band::calibrated(&drifting(39, 10, 0.0, 1.0, seed + 10_000)).unwrap();
        let new = drifting(20, 10, 0.0, 1.0, seed + 20_000);
        assert_eq!(count(&mut of_runs, &new, &normal, seed), alarms::Method::Runs);
    }
    let (simulated, of_runs) = (simulated / n as f64, of_runs / n as f64);
    // What the runs seem to depend on each other by chance makes simulated thresholds a little high.
    assert!((0.02..0.065).contains(&simulated) && (of_runs - 0.05).abs() < 0.025, "{simulated} {of_runs}");
    // A shift of half a deviation per turn is seen in nearly all runs, and upwards.
    let all = drifting(40, 10, 0.5, 0.0, 1);
    let found = alarms(&all, &Band::first_turns(&all).unwrap(), AlarmOptions::default());
    let up = found.runs.iter().filter(|a| a.at.is_some_and(|(t, up)| up && t > 0)).count();
    assert!(up > 35, "{up} of 40");
    let t = alarmed_table(&found);
    assert!(t.num(0, "turn") == Some(1.0) && t.num(8, "share").unwrap() > 0.85 && t.rows.len() == 9);
    assert_eq!(alarm_table(&found).rows.len(), 40);
}

#[test]
fn runs_that_wander_without_drifting_raise_few_alarms() {
    // A stationary autoregression of 0.7: as if turns were independent, more than half of the runs would raise one.
    let (mut raised, mut all) = (0, 0);
    for seed in 0..repetitions(100) as u64 {
        let mut rng = stream(seed, "wander");
        let mut rows = Vec::new();
        for r in 0..30 {
            let mut p = normal(&mut rng);
            for turn in 0..10 {
                rows.push(TurnRow { run: format!("{r:02}"), turn, projection: p, ..TurnRow::default() });
                p = 0.7 * p + (1.0_f64 - 0.49).sqrt() * normal(&mut rng);
            }
        }
        let watched = runs(&rows).unwrap();
        let band = Band::first_turns(&watched).unwrap();
        let found = alarms(&watched, &band, AlarmOptions { draws: 300, seed, ..AlarmOptions::default() });
        assert!((found.dependence - 0.7).abs() < 0.2, "{}", found.dependence);
        raised += found.runs.iter().filter(|a| a.at.is_some()).count();
        all += found.runs.len();
    }
    let share = f64::from(raised as u32) / all as f64;
    assert!((0.03..0.07).contains(&share), "{share}");
}

#[test]
fn a_cusum_agrees_with_hand() {
    // Deviations 1, 2, -1, -4 with k = 0.5: up 0.5, 2, 0.5, 0; down 0, 0, 0.5, 4.
    let values = vec![vec![-1.0, 1.0, 0.0, 0.0, 0.0]];
    let band = Band { source: Source::Calibration, mean: 0.0, sd: 1.0, values, lag1: None };
    let row = |turn, projection| TurnRow { run: "a".into(), turn, projection, ..TurnRow::default() };
    let r = runs(&[row(3, 1.0), row(4, 2.0), row(5, -1.0), row(6, -4.0)]).unwrap();
    let found = alarms(&r, &band, AlarmOptions { draws: 300, ..AlarmOptions::default() });
    assert!((found.runs[0].peak - 4.0).abs() < 1e-12);
    let h = found.runs[0].threshold;
    assert_eq!(found.runs[0].at, if h < 2.0 { Some((4, true)) } else { (h < 4.0).then_some((6, false)) });
}

#[test]
fn a_line_has_consistent_steps_a_walk_has_not_and_points_without_order_turn_back() {
    let of = |step: &dyn Fn(usize, &mut rand_chacha::ChaCha8Rng) -> [f64; 3], sum: bool| {
        let mut rng = stream(3, "steps");
        let mut rows = Vec::new();
        for r in 0..60 {
            let mut z = [0.0; 3];
            for turn in 0..8 {
                let s = step(turn, &mut rng);
                z = if sum { [z[0] + s[0], z[1] + s[1], z[2] + s[2]] } else { s };
                rows.push(TurnRow { run: format!("{r:02}"), turn, state: z.to_vec(), ..TurnRow::default() });
            }
        }
        consistency(&runs(&rows).unwrap(), 50, 1)
    };
    let noise = |rng: &mut rand_chacha::ChaCha8Rng| [normal(rng), normal(rng), normal(rng)];
    let line = of(&|_, rng| noise(rng).map(|v| 1.0 + 0.3 * v), true);
    assert!(line[0].value.unwrap() > 0.8 && line[0].p.unwrap() < 0.03 && line.len() == 7);
    let walk = of(&|_, rng| noise(rng), true);
    let i = walk[0].interval.unwrap();
    assert!(i.lo < 0.05 && i.hi > -0.05 && walk[0].value.unwrap().abs() < 0.1, "{:?}", walk[0]);
    // cos(z2 - z1, z1 - z0) of independent points is -1/2 in many dimensions, a little less far in three.
    let cloud = of(&|_, rng| noise(rng), false);
    assert!((-0.55..-0.4).contains(&cloud[0].value.unwrap()) && cloud[0].p.unwrap() > 0.02, "{:?}", cloud[0]);
    let none = consistency(&drifting(3, 4, 0.0, 0.0, 1), 10, 1);
    assert!(none.len() == 1 && none[0].reason.as_ref().unwrap().contains("no states"));
    assert_eq!(consistency_table(&none).text(0, "turn"), "");
}

#[test]
fn input_and_state_are_told_apart() {
    let of = |a: f64, b: f64, seed| {
        let o = RegressionOptions { permutations: 60, seed, ..RegressionOptions::default() };
        let found = regression(&driven(80, 8, a, b, seed), o);
        let of = |model: &str| found.iter().find(|r| r.model == model).unwrap().clone();
        (of("next~input"), of("next~state"), of("state|input"), of("change~input"), of("input|state"))
    };
    // Only the input: R^2 = b^2 / (b^2 + 1) = 0.69 with b = 1.5.
    let (input, state, added, _, rest) = of(0.0, 1.5, 1);
    assert!((input.r2.unwrap() - 0.69).abs() < 0.06 && input.p.unwrap() < 0.02, "{input:?}");
    assert!(state.r2.unwrap() < 0.02 && added.r2.unwrap() < 0.02 && added.p.unwrap() > 0.02, "{state:?} {added:?}");
    assert!((rest.r2.unwrap() - 0.69).abs() < 0.06);
    // Only the state: R^2 of the next is a^2 = 0.64 in the long run, and it is all that is added.
    let (input, state, added, change, _) = of(0.8, 0.0, 2);
    assert!(input.r2.unwrap() < 0.02 && input.p.unwrap() > 0.02, "{input:?}");
    let i = state.interval.unwrap();
    assert!(
        state.r2.unwrap() > 0.45 && i.lo < 0.64 && added.p.unwrap() < 0.02 && change.r2.unwrap() < 0.02,
        "{state:?}"
    );
    // Both: of the variance 1 that the input leaves beside a^2 var(p), the state takes its part.
    let (input, _, added, ..) = of(0.6, 1.0, 3);
    assert!(input.r2.unwrap() > 0.2 && added.r2.unwrap() > 0.2 && added.p.unwrap() < 0.02);
}

#[test]
fn the_null_of_the_state_keeps_its_level() {
    let n = repetitions(40);
    let mut called = 0;
    for seed in 0..n as u64 {
        let o = RegressionOptions { permutations: 39, seed, ..RegressionOptions::default() };
        let found = regression(&driven(20, 6, 0.0, 1.0, 500 + seed), o);
        called += usize::from(found[4].p.unwrap() <= 0.05);
    }
    // 5 % of 40 is 2; four standard errors (1.4 each) above it is 7.5.
    assert!(called as f64 / n as f64 <= 0.05 + 4.0 * (0.0475 / n as f64).sqrt(), "{called} of {n}");
}

#[test]
fn ridge_out_of_fold_is_least_squares_where_nothing_is_penalised() {
    // With a free column alone: out of fold, least squares on the training rows.
    let x: Vec<f64> = vec![1.0, 2.0, 3.0, 5.0, 8.0, 13.0];
    let y: Vec<f64> = vec![1.1, 1.9, 3.2, 4.8, 8.1, 12.9];
    let fold = [0, 1, 2, 0, 1, 2];
    let column = ndarray::Array2::from_shape_fn((6, 1), |(i, _)| x[i]);
    let p = ridge::Ridge::new(column, &fold, 3, 1).unwrap().predict(&y);
    // Fold 0 holds rows 0 and 3; the others: x = 2, 3, 8, 13 with mean 6.5, y = 1.9, 3.2, 8.1, 12.9 with mean 6.525;
    // sxx = 77, sxy = 76.25; at 1: 6.525 - 5.5 * 76.25 / 77 = 1.0785714.
    assert!((p.by_fit[0] - 1.078_571_4).abs() < 1e-6 && (p.by_mean[0] - 6.525).abs() < 1e-12, "{:?}", p.by_fit);
}

#[test]
fn what_cannot_be_tested_is_empty_with_a_reason_and_nothing_panics() {
    let few = regression(&drifting(4, 5, 0.0, 0.0, 1), RegressionOptions::default());
    assert!(few.len() == 6 && few.iter().all(|r| r.r2.is_none() && r.reason.as_ref().unwrap().contains("4 runs")));
    let no_input =
        regression(&drifting(12, 5, 0.0, 1.0, 1), RegressionOptions { permutations: 5, ..Default::default() });
    assert!(no_input[0].reason.as_ref().unwrap().contains("no inputs") && no_input[1].r2.is_some());
    let mut same = drifting(12, 5, 0.0, 0.0, 1);
    same.iter_mut().flat_map(|r| &mut r.steps).for_each(|s| s.projection = 2.0);
    assert!(regression(&same, RegressionOptions::default())[1].reason.as_ref().unwrap().contains("does not vary"));
    // One turn each, constant inputs, a copy of an input.
    let single = drifting(12, 1, 0.0, 0.0, 1);
    let band = Band::first_turns(&single).unwrap();
    assert!(rates(&single, &band, 10, 1)[0].reason.is_some());
    assert!(alarm_table(&alarms(&single, &band, AlarmOptions::default())).text(0, "reason").contains("no turn"));
    assert!(regression(&single, RegressionOptions::default())[1].r2.is_none());
    let mut twice = driven(12, 4, 0.5, 1.0, 2);
    twice.iter_mut().flat_map(|r| &mut r.steps).for_each(|s| s.input = vec![s.input[0], s.input[0], 1.0]);
    let found = regression(&twice, RegressionOptions { permutations: 5, ..RegressionOptions::default() });
    let finite = |t: Table| t.rows.iter().flatten().all(|c| c.num().is_none_or(f64::is_finite));
    assert!(found[0].r2.is_some() && finite(regression_table(&found)));
}

#[test]
fn many_inputs_are_reduced_to_their_leading_components() {
    // Columns 0 to 5 are one value with little noise, the others are small: one component holds it.
    let mut rng = stream(4, "wide");
    let value: Vec<f64> = (0..50).map(|_| normal(&mut rng)).collect();
    let x = ndarray::Array2::from_shape_fn((50, 12), |(i, j)| {
        if j < 6 { value[i] + 0.01 * rng.random::<f64>() } else { 0.1 * rng.random::<f64>() }
    });
    let one = ridge::reduced(x.clone(), 1).unwrap();
    assert_eq!(one.dim(), (50, 1));
    assert!(crate::analysis::stats::pearson(&one.column(0).to_vec(), &value).unwrap().abs() > 0.99);
    assert_eq!(ridge::reduced(x.clone(), 12).unwrap(), x);
}
