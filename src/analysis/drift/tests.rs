use super::*;
use crate::acts::RowKey;
use crate::analysis::nulls::normal;
use crate::analysis::turns::mean_by_turn;

/// 60 conversations of 8 turns that fall back with hazard 0.15 and stay there. Activations are unit noise plus, along
/// e0, `state` where the persona holds, and along e1 `turn` per turn.
fn world(seed: u64, state: f64, turn: f64) -> (Activations, Vec<bool>, TokenCounts) {
    let mut rng = stream(seed, "conversations");
    let (n, turns, d) = (60, 8, 8);
    let mut rows = Array2::zeros((n * turns, d));
    let (mut keys, mut labels) = (Vec::new(), Vec::new());
    for c in 0..n {
        let mut holds = true;
        for t in 0..turns {
            holds &= t == 0 || !rng.random_bool(0.15);
            for j in 0..d {
                let planted = if j == 0 && holds { state } else { 0.0 } + if j == 1 { turn * t as f64 } else { 0.0 };
                rows[[c * turns + t, j]] = (planted + normal(&mut rng)) as f32;
            }
            labels.push(holds);
            keys.push(RowKey { id: format!("c{c}/{t}"), group: format!("c{c}"), turn: Some(t), pos: None });
        }
    }
    let texts: Vec<Vec<u32>> = keys.iter().map(|_| (0..10).map(|_| rng.random_range(0..30)).collect()).collect();
    let counts = TokenCounts::of_tokens(keys.clone(), &texts).unwrap();
    (Activations::new(Site::post(1), Pick::EachTurn, rows, keys).unwrap(), labels, counts)
}

fn options(seed: u64) -> DriftOptions {
    DriftOptions { bootstrap: 200, permutations: 100, seed, ..DriftOptions::default() }
}

#[test]
fn a_planted_state_is_found_above_wording_and_within_turns() {
    let (acts, labels, counts) = world(1, 2.0, 0.0);
    let d = drift(&acts, &labels, &counts, &options(1)).unwrap();
    assert!(d.axis.as_ref().unwrap().unit[0] > 0.95);
    // Two unit normals 2 apart: AUROC = Phi(2 / sqrt 2) = 0.921.
    let (all, within) = (d.held_out.auroc.unwrap(), d.within_turn.auroc.unwrap());
    assert!((all - 0.921).abs() < 0.04 && (within - 0.921).abs() < 0.05, "{all} {within}");
    assert_eq!(d.held_out.p, Some(1.0 / 101.0));
    assert!(d.gain.unwrap().interval.unwrap().lo > 0.2, "{:?}", d.gain);
    // Half of each stratum, rounded.
    assert!(d.train_conversations.len().abs_diff(30) <= 1 && d.test_conversations.len().abs_diff(30) <= 1);
    let turns = mean_by_turn(&d.turn_values(&acts, &|_| "all".into()), 100, 1);
    // The mean falls from 2 (all hold) towards 2 * 0.85^7 = 0.64.
    assert!(turns.len() == 8 && turns[0].mean > 1.5 && turns[7].mean < 1.2, "{turns:?}");
    assert_eq!(drift_table("drift", &[d]).rows.len(), 4);
}

#[test]
fn a_mere_clock_scores_over_all_rows_and_not_within_turns() {
    let (acts, labels, counts) = world(2, 0.0, 1.0);
    let d = drift(&acts, &labels, &counts, &options(1)).unwrap();
    let (all, turn) = (d.held_out.auroc.unwrap(), d.turn_alone.auroc.unwrap());
    assert!(all > 0.7 && turn > 0.7, "{all} {turn}");
    assert!((d.within_turn.auroc.unwrap() - 0.5).abs() < 0.12, "{:?}", d.within_turn);
    // The null keeps the turns, so it stands as high as the score and p is large.
    assert!(d.held_out.null_mean.unwrap() > 0.7 && d.held_out.p.unwrap() > 0.05, "{:?}", d.held_out);
}

#[test]
fn nothing_is_found_in_noise_at_about_the_stated_rate() {
    // p <= 0.05 is expected in 2.5 of 50 trials (sd 1.5).
    let hits = (0..50)
        .filter(|&seed| {
            let (acts, labels, counts) = world(seed, 0.0, 0.0);
            let o = DriftOptions { bootstrap: 1, permutations: 59, ..options(seed) };
            drift(&acts, &labels, &counts, &o).unwrap().within_turn.p.unwrap() <= 0.05
        })
        .count();
    assert!(hits <= 7, "{hits} of 50");
}

#[test]
fn missing_classes_constants_and_rows_without_turns_are_told() {
    let (mut acts, labels, counts) = world(3, 2.0, 0.0);
    let d = drift(&acts, &vec![true; labels.len()], &counts, &options(1)).unwrap();
    assert!(d.axis.is_none() && d.held_out.auroc.is_none());
    assert!(d.held_out.reason.unwrap().contains("fallen back"));
    acts.rows.fill(1.0);
    let d = drift(&acts, &labels, &counts, &options(1)).unwrap();
    assert_eq!((d.held_out.auroc, d.held_out.reason.as_deref()), (Some(0.5), Some("constant")));
    assert!(d.turn_alone.auroc.unwrap() > 0.6);
    let mut other = counts.clone();
    other.keys.swap(0, 9);
    assert!(drift(&acts, &labels, &other, &options(1)).is_err());
    assert!(drift(&acts, &labels[1..], &counts, &options(1)).is_err());
    let mut untimed = counts.clone();
    acts.keys[3].turn = None;
    untimed.keys[3].turn = None;
    assert!(drift(&acts, &labels, &untimed, &options(1)).unwrap_err().to_string().contains("no turn"));
}
