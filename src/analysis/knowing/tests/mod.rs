mod coverage;

use super::*;
use crate::analysis::nulls::normal;
use crate::rng::stream;
use crate::table::Table;
use coverage::{PLAIN, World};
use rand::Rng;
use rand::seq::SliceRandom;

fn row(model: &str, format: &str, character: &str, seed: &str, item: &str, measure: Measure, value: f64) -> Measured {
    Measured {
        model: model.into(),
        format: format.into(),
        character: character.into(),
        quality: "anxious".into(),
        seed: seed.into(),
        item: item.into(),
        sample: "0".into(),
        measure,
        value: Some(value),
        site: String::new(),
        split: String::new(),
    }
}

/// Measures of a model for one character, a value per item `i0`, `i1`, ...
fn values(model: &str, format: &str, character: &str, measure: Measure, values: &[f64]) -> Vec<Measured> {
    let one = |(i, v): (usize, &f64)| row(model, format, character, "0", &format!("i{i}"), measure, *v);
    values.iter().enumerate().map(one).collect()
}

fn quick() -> Options {
    Options { resamples: 200, ..Options::default() }
}

fn table(found: &Knowing, name: &str) -> Table {
    found.tables().into_iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no table {name}"))
}

/// The number in a column of the row in which other columns have these values.
fn at(t: &Table, of: &[(&str, &str)], column: &str) -> Option<f64> {
    let fits = |r: &usize| of.iter().all(|(c, v)| t.text(*r, c) == *v);
    let r = (0..t.rows.len()).find(fits).unwrap_or_else(|| panic!("no row {of:?} in {}", t.name));
    t.num(r, column)
}

fn word(t: &Table, of: &[(&str, &str)], column: &str) -> String {
    let fits = |r: &usize| of.iter().all(|(c, v)| t.text(*r, c) == *v);
    (0..t.rows.len()).find(fits).map(|r| t.text(r, column)).unwrap_or_else(|| panic!("no row {of:?}"))
}

#[test]
fn an_array_that_was_worked_by_hand_has_its_indices_and_intervals() {
    // Base 0 0 0 0; card 2 4 2 4 (mean 3); model 1 2 2 1 (mean 1.5): K = 0.5.
    // E: base 10, card 20 of 4 items each with 9 11 9 11 and 19 21 21 19, model 12 each: 2 / 10 = 0.2.
    let mut rows = values("", BASE, "c", Measure::K, &[0.0; 4]);
    rows.extend(values("", CARD, "c", Measure::K, &[2.0, 4.0, 2.0, 4.0]));
    rows.extend(values("m", "chat", "c", Measure::K, &[1.0, 2.0, 2.0, 1.0]));
    rows.extend(values("", BASE, "c", Measure::E, &[9.0, 11.0, 9.0, 11.0]));
    rows.extend(values("", CARD, "c", Measure::E, &[19.0, 21.0, 21.0, 19.0]));
    rows.extend(values("m", "chat", "c", Measure::E, &[12.0; 4]));
    let t = table(&knowing(&rows, &quick()).unwrap(), "indices");
    let k = [("model", "m"), ("index", "K")];
    assert_eq!(at(&t, &k, "value"), Some(0.5));
    // n - r d per item: 1, 2, 2, 1 less r (2, 4, 2, 4); variances of the means: n 1/12, d 1/3, together 0; t(3) = 3.182446,
    // its square 10.127964. Fieller: (9 - 3.375988) r^2 - 9 r + 2.25 - 0.843997 = 0, r = 0.5 -+ half of the root over 5.624012.
    let s: f64 = 10.127_964;
    let (a, b, c) = (9.0 - s / 3.0, 4.5, 2.25 - s / 12.0);
    let root = (b * b - a * c).sqrt();
    for (column, want) in [("ci_low", (b - root) / a), ("ci_high", (b + root) / a)] {
        assert!((at(&t, &k, column).unwrap() - want).abs() < 1e-6, "{column}");
    }
    // t = 1.5 / sqrt(1/12) = 5.196152 with 3 degrees of freedom: p = 0.013847 (scipy.stats.t.sf, doubled).
    assert!((at(&t, &k, "p_value").unwrap() - 0.013_847).abs() < 1e-5);
    assert!((at(&t, &[("model", "m"), ("index", "E")], "value").unwrap() - 0.2).abs() < 1e-12);
    assert!((at(&t, &[("model", "m"), ("index", "KE")], "value").unwrap() - 0.3).abs() < 1e-12);
    assert!((at(&t, &[("model", "*"), ("index", "KE")], "value").unwrap() - 0.3).abs() < 1e-12);
    assert_eq!(word(&t, &[("model", "*"), ("index", "K")], "reason"), "one cluster: no interval");
    assert_eq!(word(&t, &[("model", "m"), ("index", "S")], "reason"), "S was not measured");
}

/// The published run (personas research notes, a.3.2): one number per cell.
#[test]
fn the_published_run_has_its_published_indices() {
    let measured = [
        (Measure::S, [-0.29, 0.32, -0.09, 0.33, -0.32]),
        (Measure::E, [16.9, 70.7, 68.7, 39.5, 27.3]),
        (Measure::K, [0.27, 0.60, 0.49, 0.60, 0.29]),
    ];
    let models = [("", BASE), ("", CARD), ("demos", "demos"), ("fp", "first-person"), ("sdf", "documents")];
    let mut rows = Vec::new();
    for (m, cells) in measured {
        for ((model, format), v) in models.iter().zip(cells) {
            rows.extend(values(model, format, "C-3PO", m, &[v]));
        }
    }
    let found = knowing(&rows, &quick()).unwrap();
    let t = table(&found, "indices");
    let expected = [("demos", [0.67, 0.33, 0.96]), ("fp", [1.00, 1.02, 0.42]), ("sdf", [0.06, -0.05, 0.19])];
    for (model, indices) in expected {
        for (index, want) in ["K", "S", "E"].iter().zip(indices) {
            let of = [("model", model), ("index", *index)];
            assert!((at(&t, &of, "value").unwrap() - want).abs() < 0.01, "{model} {index}");
            assert_eq!((at(&t, &of, "ci_low"), word(&t, &of, "reason")), (None, "no standard error".into()));
        }
    }
    // E of demos is high, and whether that is acting or embodying only L could tell; of first-person it is between the
    // thresholds; all of documents is low.
    let q = table(&found, "quadrants");
    let class = |model| word(&q, &[("model", model)], "class");
    assert_eq!(["demos", "fp", "sdf"].map(class), ["undecided", "undecided", "untouched"]);
    assert!(word(&q, &[("model", "demos")], "reason").contains("no index L"));
    assert_eq!(at(&q, &[("model", "sdf")], "share"), None);
    // K - E: demos claim less than they show, first-person knows what it does not show.
    assert!((at(&t, &[("model", "fp"), ("index", "KE")], "value").unwrap() - 0.58).abs() < 0.01);
}

#[test]
fn the_order_of_the_rows_and_nothing_else_is_forgotten() {
    let mut rows = coverage::simulate(World { characters: 2, seeds: 2, items: 6, ..PLAIN }, 9);
    rows.extend(latent(3, 12, 1.0, 0.0));
    let text = |rows: &[Measured], seed| {
        let found = knowing(rows, &Options { seed, ..quick() }).unwrap();
        found.tables().iter().map(Table::to_csv).collect::<String>()
    };
    let first = text(&rows, 0);
    let mut shuffled = rows.clone();
    shuffled.shuffle(&mut stream(1, "order"));
    assert_eq!(first, text(&shuffled, 0));
    assert_ne!(first, text(&rows, 1));
    shuffled[0].value = shuffled[0].value.map(|v| v + 1.0);
    assert_ne!(first, text(&shuffled, 0));
}

/// Fine-tunes whose E follows `feel` and `know` at the same item and sample, at two sites of which the first is noise.
fn latent(models: usize, items: usize, feel: f64, know: f64) -> Vec<Measured> {
    let mut rng = stream(5, "latent");
    let mut rows = Vec::new();
    for m in 0..models + 2 {
        let (model, format) = match m {
            0 => (String::new(), BASE),
            1 => (String::new(), CARD),
            _ => (format!("tuned {m}"), "tuned"),
        };
        for i in 0..items {
            let common = normal(&mut rng);
            let (f, k) = (common + normal(&mut rng), common + normal(&mut rng));
            let e = feel * f + know * k + normal(&mut rng);
            let level = if m == 1 { 9.0 } else { 0.0 };
            let seed = if m < 2 { String::new() } else { m.to_string() };
            let split = if i % 2 == 0 { "neutral" } else { "stressor" };
            let shown = if m > 1 && i % 2 == 1 { 4.5 } else { 0.0 };
            let mut put = |measure, site: &str, value: f64| {
                let r = row(&model, format, "felt", &seed, &format!("e{i}"), measure, value);
                let split = if measure == Measure::E { split.to_string() } else { String::new() };
                rows.push(Measured { site: site.into(), split, ..r });
            };
            put(Measure::E, "", level + e + shown);
            put(Measure::LFeel, "resid_post.10", level + f);
            put(Measure::LKnow, "resid_post.10", level + k);
            put(Measure::LFeel, "resid_post.9", level + common);
            put(Measure::LKnow, "resid_post.9", level - common);
        }
    }
    rows
}

#[test]
fn the_direction_that_carries_expression_is_told_from_the_one_that_does_not() {
    // Given k, feel has variance 2 - 1/2 = 3/2 left; E = feel + noise of 1: partial R2 of feel 1.5 / 2.5 = 0.6, of know 0.
    let mut rows = latent(8, 40, 1.0, 0.0);
    rows.retain(|r| r.split != "stressor");
    let t = table(&knowing(&rows, &quick()).unwrap(), "partial");
    let of = |of| [("site", "resid_post.10"), ("format", "*"), ("of", of)];
    assert!((at(&t, &of("L_feel"), "partial_r2").unwrap() - 0.6).abs() < 0.12);
    assert!(at(&t, &of("L_feel"), "ci_low").unwrap() > 0.4);
    assert!(at(&t, &of("L_know"), "partial_r2").unwrap() < 0.05);
    // At the other site one is the other with its sign turned: nothing to divide.
    let same = [("site", "resid_post.9"), ("format", "*"), ("of", "L_feel")];
    assert_eq!(at(&t, &same, "partial_r2"), None);
    assert!(word(&t, &same, "reason").contains("the same"));
}

#[test]
fn strata_have_their_own_indices_and_their_difference() {
    // Half of the card's distance is added on stressors alone: E is 0 on neutral items and 0.5 on the others.
    let found = knowing(&latent(4, 60, 0.1, 0.0), &quick()).unwrap();
    let t = table(&found, "splits");
    let of = |split| [("model", "*"), ("format", "tuned"), ("split", split), ("index", "E")];
    assert!(at(&t, &of("neutral"), "value").unwrap().abs() < 0.1);
    assert!((at(&t, &of("stressor"), "value").unwrap() - 0.5).abs() < 0.1);
    let gap = of("neutral - stressor");
    assert!(at(&t, &gap, "ci_high").unwrap() < -0.3);
    assert_eq!(t.columns[4], "split");
}

#[test]
fn of_several_sites_the_one_asked_for_is_taken_or_the_middle_one_and_all_are_told() {
    let rows = latent(3, 20, 1.0, 0.0);
    let site = |asked: Option<&str>| knowing(&rows, &Options { site: asked.map(String::from), ..quick() });
    // In the order of their numbers 9 is before 10, and the second of two is the middle.
    let found = site(None).unwrap();
    assert_eq!(found.site.as_deref(), Some("resid_post.10"));
    assert!(found.warnings.iter().any(|w| w.contains("the middle one")), "{:?}", found.warnings);
    let nine = site(Some("resid_post.9")).unwrap();
    assert!(nine.warnings.iter().all(|w| !w.contains("the middle one")));
    let value = |found: &Knowing| at(&table(found, "leak"), &[("model", "*"), ("index", "L_know")], "value").unwrap();
    assert!(value(&found) != value(&nine));
    let profile = table(&found, "sites");
    assert_eq!((profile.columns[0].as_str(), profile.text(0, "site")), ("site", "resid_post.9".to_string()));
    for (site, own) in [("resid_post.10", &found), ("resid_post.9", &nine)] {
        let there = at(&profile, &[("site", site), ("index", "L_know")], "value").unwrap();
        assert!((there - value(own)).abs() < 1e-9);
    }
    assert!(site(Some("resid_post.3")).unwrap_err().hint().contains("resid_post.9, resid_post.10"));
}

#[test]
fn cells_without_an_index_say_why_and_their_raw_values_stay() {
    // K: base 0 2 0 2, card 1 1 3 1: the difference 1 -1 3 -1 has mean 0.5 and error 0.957.
    let mut rows = values("", BASE, "c", Measure::K, &[0.0, 2.0, 0.0, 2.0]);
    rows.extend(values("", CARD, "c", Measure::K, &[1.0, 1.0, 3.0, 1.0]));
    rows.extend(values("m", "chat", "c", Measure::K, &[5.0; 4]));
    // E without a card; S constant everywhere; L without a single value.
    rows.extend(values("", BASE, "c", Measure::E, &[1.0, 2.0]));
    rows.extend(values("m", "chat", "c", Measure::E, &[1.0, 2.0]));
    for (model, format) in [("", BASE), ("", CARD), ("m", "chat")] {
        rows.extend(values(model, format, "c", Measure::S, &[1.0; 3]));
        rows.push(Measured { value: None, ..row(model, format, "c", "0", "i0", Measure::LFeel, 0.0) });
    }
    // Only the card has another trait.
    rows.extend(values("m", "chat", "d", Measure::K, &[1.0]));
    rows.extend(values("", BASE, "d", Measure::K, &[0.0]));
    rows.push(row("", CARD, "d", "", "another", Measure::K, 1.0));
    let found = knowing(&rows, &quick()).unwrap();
    let (i, raw) = (table(&found, "indices"), table(&found, "raw"));
    for (character, index, why) in [
        ("c", "K", "anchors overlap"),
        ("c", "E", "no rows of the card"),
        ("c", "S", "anchors overlap"),
        ("c", "L", "all values are missing of the fine-tune"),
        ("c", "KE", "K: anchors overlap"),
        ("d", "K", "no items in common with the anchors"),
    ] {
        let of = [("model", "m"), ("character", character), ("index", index)];
        assert_eq!((at(&i, &of, "value"), word(&i, &of, "reason")), (None, why.to_string()), "{index}");
    }
    let k = [("character", "c"), ("measure", "K")];
    assert_eq!(
        (at(&raw, &k, "mean"), at(&raw, &k, "base"), at(&raw, &k, "distance")),
        (Some(5.0), Some(1.0), Some(0.5))
    );
    assert!((at(&raw, &k, "distance_error").unwrap() - 0.957_427).abs() < 1e-5);
    let q = table(&found, "quadrants");
    assert_eq!(
        (word(&q, &[("model", "*")], "class"), word(&q, &[("model", "*")], "reason")),
        (String::new(), "no index K and E".into())
    );
    assert!(found.warnings.iter().any(|w| w.starts_with("3 of ")), "{:?}", found.warnings);
}

#[test]
fn samples_are_averaged_within_items_before_items_are() {
    // Item i0 has four samples 0 0 0 1 and item i1 one sample 1: (0.25 + 1) / 2, not 2 / 5.
    let mut rows = values("", BASE, "c", Measure::K, &[0.0, 0.0]);
    rows.extend(values("", CARD, "c", Measure::K, &[1.0, 1.0]));
    for (sample, v) in [0.0, 0.0, 0.0, 1.0].into_iter().enumerate() {
        rows.push(Measured { sample: sample.to_string(), ..row("m", "chat", "c", "0", "i0", Measure::K, v) });
    }
    rows.push(row("m", "chat", "c", "0", "i1", Measure::K, 1.0));
    let found = knowing(&rows, &quick()).unwrap();
    assert_eq!(found.indices[0].value, Some(0.625));
    assert_eq!((found.raw[0].items, found.raw[0].samples), (2, 5));
}

#[test]
fn rows_that_cannot_stand_are_refused_by_name() {
    let good = {
        let mut rows = values("", BASE, "c", Measure::K, &[0.0, 1.0]);
        rows.extend(values("m", "chat", "c", Measure::K, &[0.0, 1.0]));
        rows
    };
    assert_eq!(fault(&good), None);
    let bad = |change: &dyn Fn(&mut Vec<Measured>), row: usize, column: &str, says: &str| {
        let mut rows = good.clone();
        change(&mut rows);
        let f = fault(&rows).unwrap();
        assert!(f.row == row && f.column == column && f.what.contains(says), "{f:?}");
        assert!(knowing(&rows, &quick()).unwrap_err().to_string().contains(says));
    };
    bad(&|r| r[3].value = Some(f64::NAN), 3, "value", "no finite number");
    bad(&|r| r[3].item = "i0".into(), 3, "item", "twice (first in row 3)");
    bad(&|r| r[3].format = "document".into(), 3, "format", "`chat` and of `document`");
    bad(&|r| r[2].character = "d".into(), 2, "format", "no rows of format `base`");
    bad(&|r| r[2].model = " ".into(), 2, "model", "empty");
    let only_anchors = &good[..2];
    assert!(knowing(only_anchors, &quick()).unwrap_err().to_string().contains("none of a fine-tune"));
    assert!(knowing(&[], &quick()).is_err());
    let thresholds = |high, low| Options { thresholds: Thresholds { high, low }, ..quick() };
    assert!(knowing(&good, &thresholds(0.3, 0.3)).is_err() && knowing(&good, &thresholds(f64::NAN, 0.3)).is_err());
}

#[test]
fn classes_follow_from_one_list() {
    let t = Thresholds::default();
    let of = |k: f64, s: f64, e: f64, l: f64| {
        let there = |v: f64| v.is_finite().then_some(v);
        t.class([there(k), there(s), there(e), there(l)]).map(Class::name)
    };
    let no = f64::NAN;
    assert_eq!(of(0.1, 0.1, 0.3, 0.1), Some("untouched"));
    assert_eq!(of(0.1, no, 0.1 + 0.2, no), Some("untouched")); // 0.30000000000000004
    assert_eq!(of(0.9, 0.9, 0.1, 0.9), Some("suppresses"));
    assert_eq!(of(0.9, 0.9, 0.1, 0.1), Some("claims"));
    assert_eq!(of(0.6, 0.5, 0.3, 0.3), Some("knows"));
    assert_eq!(of(0.9, no, 0.1, no), Some("knows"));
    assert_eq!(of(0.9, 0.1, 0.1, 0.45), Some("undecided"));
    assert_eq!(of(0.9, 0.9, 0.9, 0.1), Some("acts"));
    assert_eq!(of(0.1, 0.1, 0.9, 0.9), Some("embodies"));
    assert_eq!(of(0.9, 0.9, 0.9, no), Some("undecided"));
    assert_eq!(of(0.5, 0.5, 0.5, 0.5), Some("undecided"));
    assert_eq!((of(no, 0.9, 0.9, 0.9), of(0.9, 0.9, no, 0.9)), (None, None));
}

#[test]
fn planned_contrasts_are_read_though_names_hold_hyphens() {
    let formats = ["chat", "document", "first-person"];
    let p = planned("first-person-chat:K, document-first-person:KE", &formats).unwrap();
    assert_eq!((p[0].a.as_str(), p[0].b.as_str(), p[0].index), ("first-person", "chat", Index::K));
    assert_eq!((p[1].a.as_str(), p[1].b.as_str(), p[1].index), ("document", "first-person", Index::KE));
    for (text, says) in [
        ("document-chat", "no index is named"),
        ("document-chat:Q", "no index `Q`"),
        ("document-poem:K", "no pair of formats"),
        ("chat-chat:K", "no pair of formats"),
        ("document-chat:K,document-chat:K", "twice"),
    ] {
        assert!(planned(text, &formats).unwrap_err().to_string().contains(says), "{text}");
    }
}
