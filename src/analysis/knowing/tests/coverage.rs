//! Intervals, signs and classes against what was planted.

use super::*;
use crate::analysis::testing::repetitions;

/// What is planted in [`simulate`].
#[derive(Clone, Copy)]
pub(super) struct World {
    pub characters: usize,
    pub seeds: usize,
    pub items: usize,
    /// K and E of the documents, E of chat being K of the documents and the reverse.
    pub known: f64,
    pub shown: f64,
    /// Standard deviations of true indices over characters and over seeds.
    pub spread: (f64, f64),
    /// Distance of the anchors in standard errors of their difference.
    pub distance: f64,
    pub binary: bool,
}

pub(super) const PLAIN: World = World {
    characters: 3,
    seeds: 3,
    items: 12,
    known: 0.9,
    shown: 0.1,
    spread: (0.0, 0.1),
    distance: 10.0,
    binary: false,
};

/// Items with difficulties of their own (shared by all models), anchors that all formats and seeds of a character share,
/// and noise of 1 per item.
pub(super) fn simulate(w: World, seed: u64) -> Vec<Measured> {
    let mut rng = stream(seed, "knowing and feeling");
    let mut rows = Vec::new();
    for c in 0..w.characters {
        let character = format!("c{c}");
        for (measure, planted) in [(Measure::K, [w.known, w.shown]), (Measure::E, [w.shown, w.known])] {
            let difficulty: Vec<f64> = (0..w.items).map(|_| normal(&mut rng)).collect();
            // The error of a difference of two means of n items with noise 1 is sqrt(2 / n).
            let far = w.distance * (2.0 / w.items as f64).sqrt();
            let mut put = |model: &str, format: &str, seed: &str, index: f64, rng: &mut rand_chacha::ChaCha8Rng| {
                for (i, hard) in difficulty.iter().enumerate() {
                    let v = if w.binary {
                        f64::from(u8::from(rng.random::<f64>() < (0.15 + 0.7 * index).clamp(0.0, 1.0)))
                    } else {
                        hard + index * far + normal(rng)
                    };
                    rows.push(row(model, format, &character, seed, &format!("i{i}"), measure, v));
                }
            };
            put("", BASE, "", 0.0, &mut rng);
            put("", CARD, "", 1.0, &mut rng);
            for (format, index) in ["document", "chat"].iter().zip(planted) {
                let own = index + w.spread.0 * normal(&mut rng);
                for s in 0..w.seeds {
                    let index = own + w.spread.1 * normal(&mut rng);
                    put(&format!("{format}-{c}-{s}"), format, &s.to_string(), index, &mut rng);
                }
            }
        }
    }
    rows
}

/// How often the 95 % intervals of documents' K, E, KE and of the planned difference in K hold what was planted, and how
/// often a sign of the last is stated.
fn coverage(w: World, repetitions: u64) -> [f64; 5] {
    let (mut held, mut there) = ([0.0; 5], [0.0; 5]);
    for seed in 0..repetitions {
        let rows = simulate(w, seed);
        let subjects = sheet::subjects(&rows, |_| true);
        let all = units::all(&subjects);
        let pooled = units::pooled(&all, &[Index::K, Index::E, Index::KE]);
        let planned = contrasts::plan(&all, None).unwrap();
        let contrast = contrasts::contrasts(&all, &planned[..1]).swap_remove(0);
        let of = |index| pooled.iter().find(|r| r.format == "document" && r.index == index).unwrap().interval;
        let truth = [(Index::K, w.known), (Index::E, w.shown), (Index::KE, w.known - w.shown)];
        let difference = (contrast.found.as_ref().and_then(|f| f.interval), w.known - w.shown);
        let intervals = truth.map(|(index, v)| (of(index), v)).into_iter().chain([difference]);
        for (k, (interval, v)) in intervals.enumerate() {
            // Weak anchors may leave too few characters for an interval.
            let Some((lo, hi)) = interval else { continue };
            there[k] += 1.0;
            held[k] += f64::from(u8::from(lo <= v && v <= hi));
        }
        there[4] += 1.0;
        held[4] += f64::from(u8::from(contrast.verdict() != "not shown"));
    }
    [0, 1, 2, 3, 4].map(|k| held[k] / there[k])
}

#[test]
fn intervals_cover_what_was_planted_whether_characters_differ_or_not() {
    let n = repetitions(200) as u64;
    // Three standard errors of a share of 95 % around 93 to 97 %.
    let slack = 3.0 * (0.95 * 0.05 / n as f64).sqrt();
    let worlds = [
        World { spread: (0.0, 0.0), ..PLAIN },
        World { spread: (0.2, 0.1), known: 0.5, shown: 0.5, ..PLAIN },
        World { characters: 9, seeds: 1, ..PLAIN },
        World { characters: 1, seeds: 9, ..PLAIN },
        World { characters: 20, seeds: 1, items: 10, binary: true, spread: (0.0, 0.0), ..PLAIN },
    ];
    for w in worlds {
        let found = coverage(w, n);
        for held in &found[..4] {
            assert!((0.93 - slack..=0.97 + slack).contains(held), "{} x {}: {found:?}", w.characters, w.seeds);
        }
        // Where nothing was planted a sign is stated no oftener than the level allows, elsewhere it is.
        let signs = if w.known == w.shown { 0.0..=0.07 + slack } else { 0.8..=1.0 };
        assert!(signs.contains(&found[4]), "{found:?}");
    }
}

#[test]
fn three_clusters_are_few_and_nine_are_not() {
    let note = |w| {
        let found = knowing(&simulate(w, 1), &quick()).unwrap();
        word(&table(&found, "indices"), &[("model", "*"), ("format", "document"), ("index", "KE")], "note")
    };
    assert_eq!(note(World { characters: 3, seeds: 1, ..PLAIN }), "few clusters");
    assert_eq!(note(World { characters: 1, seeds: 3, ..PLAIN }), "few clusters");
    assert_eq!(note(PLAIN), "");
    assert_eq!(note(World { characters: 1, seeds: 7, ..PLAIN }), "one character: seeds of it alone");
}

#[test]
fn what_was_planted_is_told_with_its_sign_its_class_and_its_power() {
    let found = knowing(&simulate(World { spread: (0.05, 0.05), ..PLAIN }, 4), &quick()).unwrap();
    let (c, q, p) = (table(&found, "contrasts"), table(&found, "quadrants"), table(&found, "power"));
    assert_eq!(word(&c, &[("planned", "planned"), ("index", "K")], "verdict"), "document above chat");
    assert_eq!(word(&c, &[("planned", "planned"), ("index", "E")], "verdict"), "chat above document");
    // Planned ones are not repeated among the others: 2 of 7 are planned (there is no control).
    assert_eq!((c.where_is("planned", "planned").len(), c.where_is("planned", "other").len()), (2, 5));
    let document = [("model", "*"), ("format", "document")];
    assert_eq!(word(&q, &document, "class"), "knows");
    assert!(at(&q, &document, "share").unwrap() > 0.9);
    assert_eq!(word(&q, &[("model", "*"), ("format", "chat")], "class"), "undecided");
    assert!(at(&p, &[("index", "K")], "power").unwrap() > 0.8);
    // The smallest effect has power 0.8 by the same function.
    let number = |column| at(&p, &[("index", "K")], column).unwrap();
    let again = power(number("independent") as usize, number("sd"), number("smallest_effect_at_0.8"), 0.05).unwrap();
    assert!((again - 0.8).abs() < 1e-3);
    // Each family of tests has its own q: at least p, and at most 1.
    let i = table(&found, "indices");
    for r in 0..i.rows.len() {
        if let Some((p, q)) = i.num(r, "p_value").zip(i.num(r, "q_value")) {
            assert!(p <= q && q <= 1.0);
        }
    }
}
