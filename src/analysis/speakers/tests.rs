use super::*;
use crate::analysis::nulls::normal;
use crate::rng::stream;
use ndarray::Array2;

const O: Options = Options { folds: 4, permutations: 19, seed: 1 };

/// 40 conversations of 6 turns by 4 speakers: unit noise in 8 dimensions, a conversation's own offset, and `far` along the
/// coordinate of the speaker.
fn world(far: f64, seed: u64) -> (Array2<f32>, Vec<Said>, Vec<String>) {
    let mut rng = stream(seed, "speakers");
    let mut said = Vec::new();
    let mut rows = Array2::zeros((240, 8));
    for run in 0..40 {
        let own = normal(&mut rng);
        for turn in 0..6 {
            let speaker = rng.random_range(0..4);
            let r = said.len();
            for c in 0..8 {
                rows[[r, c]] = (own + normal(&mut rng) + if c == speaker { far } else { 0.0 }) as f32;
            }
            said.push(Said { run, turn, speaker });
        }
    }
    (rows, said, (0..4).map(|i| format!("s{i}")).collect())
}

#[test]
fn speakers_that_differ_are_apart_and_named_and_others_are_not() {
    let (rows, said, names) = world(3.0, 1);
    let a = apart(rows.view(), &said, 4, O).unwrap();
    // Between: 9/4 in each of four coordinates, so 9; within: 8 of noise and 8 of the conversations: 9 / 25 = 0.36.
    assert!((a.share.unwrap() - 0.36).abs() < 0.08 && a.p.unwrap() <= 0.05, "{a:?}");
    let i = a.interval.unwrap();
    assert!(i.lo < 0.36 && 0.36 < i.hi && i.hi - i.lo < 0.2, "{i:?}");
    let n = naming(rows.view(), &said, &names, O).unwrap();
    assert!(n.accuracy.unwrap() > 0.8 && n.null_hi.unwrap() < 0.4 && n.chance == 0.25, "{n:?}");
    let (rows, said, names) = world(0.0, 2);
    let a = apart(rows.view(), &said, 4, O).unwrap();
    assert!(a.share.unwrap().abs() < 0.05 && a.p.unwrap() > 0.05, "{a:?}");
    let n = naming(rows.view(), &said, &names, O).unwrap();
    assert!((0.1..0.4).contains(&n.accuracy.unwrap()) && n.p.unwrap() > 0.05, "{n:?}");
}

#[test]
fn a_balanced_share_agrees_with_hand() {
    // Speaker 0 at 0 and 2, speaker 1 at 4 and 6: MSB = 2 (4 + 4) = 16, MSW = (1 + 1 + 1 + 1) / 2 = 2, n0 = 2, so the
    // component is 7 and the share 7/9.
    let rows = ndarray::array![[0.0f32], [2.0], [4.0], [6.0]];
    let said = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(run, speaker)| Said { run, turn: speaker, speaker });
    let a = apart(rows.view(), &said, 2, Options { folds: 2, permutations: 0, seed: 1 }).unwrap();
    assert!((a.share.unwrap() - 7.0 / 9.0).abs() < 1e-9);
    assert_eq!((a.p, a.null_mean), (None, None));
}

#[test]
fn a_coordinate_is_one_at_the_speaker_and_nought_at_the_others() {
    let (rows, said, _) = world(3.0, 3);
    let d = coordinates(rows.view(), &said, 4, O).unwrap();
    let mut all = Vec::new();
    for (row, s) in rows.rows().into_iter().zip(&said) {
        for speaker in 0..4 {
            let who = if speaker == s.speaker { "speaking" } else { "silent" };
            let value = d.at(row, s.run, speaker).unwrap();
            all.push(Coordinate { who, at: s.turn as i64, run: s.run, value });
        }
    }
    let found = by(&all);
    assert_eq!(found.len(), 12);
    for b in &found {
        let want = if b.who == "speaking" { 1.0 } else { 0.0 };
        assert!((b.mean - want).abs() < 0.3 && b.runs <= 40, "{b:?}");
    }
    assert!(d.at(rows.row(0), 99, 0).is_none() && d.at(rows.row(0), 0, 9).is_none());
}

#[test]
fn few_speakers_or_rows_without_one_are_refused_and_a_constant_site_names_nobody() {
    let (rows, mut said, names) = world(1.0, 4);
    let flat = Array2::<f32>::ones((240, 8));
    let n = naming(flat.view(), &said, &names, O).unwrap();
    assert_eq!(n.accuracy, Some(0.0));
    assert!(apart(flat.view(), &said, 4, O).unwrap().share.is_none());
    assert!(apart(rows.view(), &said[1..], 4, O).is_err());
    said.iter_mut().for_each(|s| s.speaker = 0);
    assert!(naming(rows.view(), &said, &names, O).unwrap_err().to_string().contains("1 speakers in 40"));
}
