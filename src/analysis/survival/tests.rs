//! Against numbers of another program, by hand, and where it must refuse.

use super::*;
use crate::table::Table;

/// 120 runs in three groups with ties and censoring, from the linear congruential generator 1103515245 x + 12345 modulo
/// 2^31 that starts at 12345. Every expected number below that cites lifelines is what its version 0.30.3 gives for the
/// same rows (KaplanMeierFitter, multivariate_logrank_test, CoxPHFitter with precision 1e-14).
fn synthetic() -> Retention {
    let mut state = 12345_u64;
    let mut u = || {
        state = (state * 1103515245 + 12345) % 2147483648;
        state as f64 / 2147483648.0
    };
    let mut runs = Vec::new();
    for i in 0..120 {
        let words = (u() * 5.0).floor();
        let scale = 8.0 * (1.0 + (i % 3) as f64 * 0.5) / (1.0 + 0.15 * words);
        let time = (-(1.0 - u()).ln() * scale).floor() + 1.0;
        let end = (u() * 25.0).floor() + 3.0;
        runs.push(Run {
            run: format!("r{i}"),
            group: ["a", "b", "c"][i % 3].into(),
            turns: time.min(end),
            tokens: None,
            broke: time <= end,
            covariates: vec![Some(words)],
            mode: None,
        });
    }
    Retention { runs, covariates: vec!["words".into()], definitions: vec![] }
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

fn table<'a>(tables: &'a [Table], name: &str) -> &'a Table {
    tables.iter().find(|t| t.name == name).unwrap()
}

#[test]
fn curves_agree_with_lifelines() {
    let found = retention(&synthetic(), &Options::default()).unwrap();
    let a = &found.groups[0].curve;
    let want = [
        (0.0, 40, 0, 0, 1.0, 1.0, 1.0),
        (1.0, 40, 7, 0, 0.825, 0.667656226355, 0.912465082220),
        (2.0, 33, 6, 0, 0.675, 0.506986527132, 0.796582980138),
        (3.0, 27, 6, 2, 0.525, 0.361271386857, 0.665109113167),
        (4.0, 19, 2, 1, 0.469736842105, 0.309268149701, 0.614787580288),
        (6.0, 16, 2, 0, 0.411019736842, 0.255534893207, 0.560237460819),
        (7.0, 14, 2, 2, 0.352302631579, 0.204830824810, 0.503364225297),
        (8.0, 10, 2, 0, 0.281842105263, 0.144727853700, 0.436165983824),
        (9.0, 8, 0, 3, 0.281842105263, 0.144727853700, 0.436165983824),
        (10.0, 5, 1, 0, 0.225473684211, 0.093451629075, 0.392168118956),
        (11.0, 4, 1, 0, 0.169105263158, 0.052930477826, 0.341370212266),
        (12.0, 3, 0, 1, 0.169105263158, 0.052930477826, 0.341370212266),
        (13.0, 2, 0, 1, 0.169105263158, 0.052930477826, 0.341370212266),
        (17.0, 1, 1, 0, 0.0, 0.0, 0.0),
    ];
    assert_eq!(a.points.len(), want.len());
    for (p, w) in a.points.iter().zip(want) {
        assert_eq!((p.time, p.at_risk, p.events, p.censored), (w.0, w.1, w.2, w.3));
        close(p.survival, w.4);
        close(p.ci_low, w.5);
        close(p.ci_high, w.6);
    }
    assert_eq!(a.median(), (Some(4.0), Some(3.0), Some(8.0)));
    let medians: Vec<_> = found.groups.iter().map(|g| g.curve.median()).collect();
    assert_eq!(medians[1..], [(Some(7.0), Some(3.0), Some(11.0)), (Some(9.0), Some(6.0), Some(12.0))]);
    // restricted_mean_survival_time(t=20) of lifelines, whose upper sum differs in the last digits at most.
    for (g, mean) in found.groups.iter().zip([6.531585526316, 8.603602272727, 9.723954448701]) {
        close(g.curve.restricted_mean(20.0).unwrap().mean, mean);
    }
}

#[test]
fn tests_of_groups_agree_with_lifelines() {
    let found = retention(&synthetic(), &Options::default()).unwrap();
    let row = |test: &str, group: &str, against: &str| {
        let is = |t: &&Test| (t.test, t.group.as_str(), t.against.as_str()) == (test, group, against);
        found.tests.iter().find(is).unwrap().clone()
    };
    let all = row("log_rank", "all", "");
    close(all.statistic.unwrap(), 4.466963680532);
    close(all.p.unwrap(), 0.107154684357);
    assert_eq!((all.df, all.n, all.events), (Some(2), 120, 88));
    for (a, b, x, p) in [
        ("a", "b", 1.716220317251, 0.190180301007),
        ("a", "c", 4.688039554451, 0.0303732824695),
        ("b", "c", 0.359245349802, 0.548925647863),
    ] {
        close(row("log_rank", b, a).statistic.unwrap(), x);
        close(row("log_rank", b, a).p.unwrap(), p);
    }
    // Benjamini and Hochberg over the three pairs: 3 * 0.03037; the largest p stays as it is.
    close(row("log_rank", "c", "a").q.unwrap(), 3.0 * 0.0303732824695);
    close(row("log_rank", "c", "b").q.unwrap(), 0.548925647863);
    for (test, group, against, coefficient, se, p) in [
        ("cox", "b", "a", -0.380751827623, 0.263885408413, 0.149057641801),
        ("cox", "c", "a", -0.544999092928, 0.267345059415, 0.041493905276),
        ("cox_adjusted", "b", "a", -0.375523072852, 0.263858213580, 0.154678116114),
        ("cox_adjusted", "c", "a", -0.525180559716, 0.269029339262, 0.050922633020),
        ("cox_adjusted", "words", "per unit", 0.047795858984, 0.080270230507, 0.551551451391),
    ] {
        let t = row(test, group, against);
        close(t.estimate.unwrap().ln(), coefficient);
        close(t.statistic.unwrap(), coefficient / se);
        close(t.p.unwrap(), p);
        close(t.interval.unwrap().0.ln(), coefficient - 1.959963984540 * se);
    }
    assert!(row("spearman", "words", "").reason.contains("32 of 120 runs are censored"));
}

#[test]
fn the_likelihood_is_that_of_lifelines() {
    let runs: Vec<_> = synthetic()
        .runs
        .iter()
        .map(|r| {
            let dummy = |g: &str| f64::from(u8::from(r.group == g));
            (r.turns, r.broke, vec![dummy("b"), dummy("c"), r.covariates[0].unwrap()])
        })
        .collect();
    close(cox(&runs).unwrap().log_likelihood, -352.239637281680);
}

#[test]
fn without_censoring_the_restricted_mean_is_the_mean_with_its_standard_error() {
    // Times 1 to 4: mean 2.5, variance (n below the line) 1.25, so the standard error is sqrt(1.25 / 4). Up to 3 the times
    // are 1, 2, 3, 3: mean 2.25, variance 0.6875.
    let curve = Curve::of(&[(4.0, true), (1.0, true), (3.0, true), (2.0, true)]);
    for (horizon, mean, variance) in [(4.0, 2.5, 1.25), (3.0, 2.25, 0.6875), (9.0, 2.5, 1.25)] {
        let r = curve.restricted_mean(horizon).unwrap();
        close(r.mean, mean);
        close(r.standard_error, (variance / 4.0_f64).sqrt());
    }
    // The last run was still watched at 4 and is not known to last until 5.
    assert!(Curve::of(&[(1.0, true), (4.0, false)]).restricted_mean(5.0).is_none());
}

#[test]
fn the_order_of_the_rows_changes_nothing() {
    let input = synthetic();
    let mut turned = input.clone();
    turned.runs.reverse();
    turned.runs.swap(3, 77);
    let tables = |r: &Retention| retention(r, &Options::default()).unwrap();
    assert_eq!(tables(&input), tables(&turned));
}

#[test]
fn too_few_events_are_refused_by_name_and_curves_are_drawn_all_the_same() {
    let mut input = synthetic();
    for run in input.runs.iter_mut().filter(|r| r.group == "c") {
        run.broke = run.run == "r2";
    }
    let found = retention(&input, &Options::default()).unwrap();
    let reason = |test: &str, group: &str| {
        found.tests.iter().find(|t| t.test == test && t.group == group).unwrap().reason.clone()
    };
    assert_eq!(reason("log_rank", "all"), "too few events: 1 in `c`, at least 5 are needed");
    assert!(reason("cox", "c").contains("1 in `c`") && reason("restricted_mean", "c").contains("1 in `c`"));
    assert_eq!(reason("log_rank", "b"), "");
    assert!(found.tests.iter().all(|t| t.p.is_some() == t.reason.is_empty()));
    let c = found.groups.iter().find(|g| g.name == "c").unwrap();
    assert_eq!((c.curve.counts(), c.curve.median().0), ((40, 1), None));
}

#[test]
fn hazards_that_have_no_finite_ratio_are_refused() {
    // Everybody with x = 1 breaks before anybody with x = 0.
    let runs: Vec<_> = (0..20).map(|i| (f64::from(i + 1), true, vec![f64::from(u8::from(i < 10))])).collect();
    assert!(cox(&runs).unwrap_err().contains("separate"), "{:?}", cox(&runs));
    let twice: Vec<_> = (0..20).map(|i| (f64::from(i + 1), true, vec![f64::from(i % 3), f64::from(i % 3)])).collect();
    assert!(cox(&twice).unwrap_err().contains("follows from"));
    let flat: Vec<_> = (0..20).map(|i| (f64::from(i + 1), true, vec![0.1])).collect();
    assert!(cox(&flat).unwrap_err().contains("does not vary"));
    assert!(cox(&[]).is_err());
}

#[test]
fn all_orders_of_five_pairs_are_looked_at() {
    // One swap from perfect: 1 - 6 * 2 / (5 * 24) = 0.9. As far from 0 are the order itself, 4 neighbouring swaps, and
    // their mirror images: 10 of 120.
    let (rho, p) = exact_spearman(&[1., 2., 3., 4., 5.], &[10., 20., 30., 50., 40.], 0, "x").unwrap();
    close(rho, 0.9);
    close(p, 10.0 / 120.0);
    // Twelve perfect pairs: the smallest p that 9,999 shuffles can give.
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    close(exact_spearman(&x, &x, 0, "x").unwrap().1, 1.0 / 10000.0);
    assert!(exact_spearman(&[1., 2.], &[1., 2.], 0, "x").is_none());
    assert!(exact_spearman(&[1., 1., 1.], &[1., 2., 3.], 0, "x").is_none());
}

#[test]
fn definitions_are_compared_by_kappa_and_turns() {
    let mut input = synthetic();
    input.runs.truncate(20);
    // The rule agrees with the input on 9 breaks and 5 ends, calls 2 breaks that it has not, and misses 4.
    for (i, run) in input.runs.iter_mut().enumerate() {
        run.broke = i < 13;
    }
    let rule = |i: usize, r: &Run| (r.turns + 2.0, !(9..18).contains(&i));
    let ended = input.runs.iter().enumerate().map(|(i, r)| Some(rule(i, r))).collect();
    input.definitions.push(Definition { name: "rule".into(), ended });
    let found = retention(&input, &Options::default()).unwrap();
    let a = &found.agreement[0];
    assert_eq!((a.n, a.both, a.only_a, a.only_b, a.neither), (20, 9, 4, 2, 5));
    // Seen 14/20; chance 13/20 * 11/20 + 7/20 * 9/20 = 0.515: (0.7 - 0.515) / 0.485.
    close(a.kappa.unwrap(), 0.185 / 0.485);
    close(a.difference.unwrap(), 2.0);
    assert!(a.interval.unwrap().lo < a.kappa.unwrap());
    assert_eq!(table(&found.tables(), "agreement").text(0, "b"), "rule");
}

#[test]
fn runs_that_cannot_be_are_refused() {
    let one = synthetic().runs[0].clone();
    let with = |change: &dyn Fn(&mut Run)| {
        let mut run = one.clone();
        change(&mut run);
        let runs = vec![synthetic().runs[1].clone(), run];
        retention(&Retention { runs, covariates: vec!["words".into()], definitions: vec![] }, &Options::default())
    };
    assert!(with(&|_| {}).is_ok());
    assert!(with(&|r| r.turns = 0.0).is_err());
    assert!(with(&|r| r.turns = f64::NAN).is_err());
    assert!(with(&|r| r.tokens = Some(5.0)).unwrap_err().to_string().contains("1 of 2 runs have tokens"));
    assert!(with(&|r| r.covariates.clear()).is_err());
    assert!(with(&|r| (r.run, r.group) = ("r1".into(), "b".into())).unwrap_err().to_string().contains("twice"));
    assert!(retention(&Retention::default(), &Options::default()).is_err());
    let single = Retention { runs: vec![one], covariates: vec!["words".into()], definitions: vec![] };
    let found = retention(&single, &Options::default()).unwrap();
    assert!(found.tests.iter().all(|t| t.p.is_none() && !t.reason.is_empty()), "{:?}", found.tests);
    assert!(!found.tables().is_empty());
    let far = Options { turns: Some(f64::NAN), ..Options::default() };
    assert!(retention(&single, &far).is_err());
}
