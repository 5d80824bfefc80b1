use super::*;

fn effect(unit: usize, direction: &str, dose: Option<f64>, change: [f64; 2], coherent: f64) -> Effect {
    Effect {
        format: "chat".into(),
        unit: format!("u{unit}"),
        edit: if dose.is_some() { "add" } else { "ablate" }.into(),
        direction: direction.into(),
        is_control: direction.starts_with("random"),
        dose,
        change: change.map(Some),
        coherent,
        coherent_before: 1.0,
        nats: Some(0.25),
    }
}

/// Small deterministic wiggles whose mean over 8 units is 0.
fn wiggle(unit: usize) -> f64 {
    [0.02, -0.02, 0.01, -0.01, 0.015, -0.015, 0.005, -0.005][unit]
}

fn planted() -> Vec<Effect> {
    let mut all = Vec::new();
    for u in 0..8 {
        for dose in [0.5, 1.0, 2.0] {
            let coherent = if dose > 1.0 { 0.6 } else { 0.95 };
            all.push(effect(u, "feel", Some(dose), [0.4 * dose + wiggle(u), 0.1 + wiggle(u)], coherent));
            all.push(effect(u, "know", Some(dose), [0.1 - wiggle(u), 0.5 + wiggle(u)], coherent));
            // Controls of one strength move both by 0.1: an edit does something by itself.
            all.push(effect(u, "random 0", Some(dose), [0.1, 0.05], 0.97));
            all.push(effect(u, "random 1", Some(dose), [0.1, 0.15], 0.97));
        }
        all.push(effect(u, "feel", None, [-0.3 + wiggle(u), -0.4 - wiggle(u)], 1.0));
        all.push(effect(u, "random 0", None, [0.0, 0.0], 1.0));
    }
    all
}

fn one<'a>(found: &'a [Moved], direction: &str, dose: Option<f64>, measure: &str) -> &'a Moved {
    let is = |m: &&Moved| m.direction == direction && m.dose == dose && m.measure == measure && m.format == "chat";
    found.iter().find(is).unwrap()
}

#[test]
fn effects_are_read_over_controls_at_the_largest_coherent_dose() {
    let found = dissociation(&planted());
    let at = one(&found, "feel", Some(1.0), "E");
    // 0.4 less the controls' 0.1.
    assert!((at.effect - 0.4).abs() < 1e-12 && (at.over.unwrap() - 0.3).abs() < 1e-12);
    assert!(at.is_operating && at.p.unwrap() < 1e-6 && at.units == 8 && at.nats == Some(0.25));
    assert!(!one(&found, "feel", Some(2.0), "E").is_operating, "0.6 of 1.0 coherent");
    assert!(!one(&found, "feel", Some(0.5), "E").is_operating, "a larger dose is fine");
    assert_eq!(at.verdict.as_deref(), Some("moves E and not K"));
    assert_eq!(one(&found, "know", Some(1.0), "K").verdict.as_deref(), Some("moves K and not E"));
    assert_eq!(one(&found, "feel", None, "K").verdict.as_deref(), Some("moves both"));
    let control = one(&found, "random 0", Some(1.0), "E");
    assert!(control.over.is_none() && control.verdict.is_none() && !control.is_operating);
    // One format: the mean over formats is the format.
    let pooled = found.iter().find(|m| m.format == "*" && m.direction == "feel" && m.dose == Some(1.0)).unwrap();
    assert!((pooled.effect - 0.4).abs() < 1e-12 && pooled.is_operating);
    assert!(one(&found, "feel", Some(1.0), "E").q.unwrap() >= at.p.unwrap());
    let table = table("dissociation", &found);
    assert_eq!(table.rows.len(), found.len());
    assert!(table.rows.iter().all(|r| r.len() == table.columns.len()));
}

#[test]
fn incoherent_controls_take_a_dose_out_too() {
    let mut all = planted();
    all.iter_mut().filter(|e| e.is_control && e.dose == Some(1.0)).for_each(|e| e.coherent = 0.5);
    let found = dissociation(&all);
    assert!(!one(&found, "feel", Some(1.0), "E").is_operating);
    assert!(one(&found, "feel", Some(0.5), "E").is_operating);
    all.iter_mut().for_each(|e| e.coherent = 0.0);
    assert!(dissociation(&all).iter().all(|m| !m.is_operating && m.verdict.is_none()), "no dose is coherent");
}

#[test]
fn what_varies_too_much_is_not_shown_and_order_does_not_matter() {
    let mut all = planted();
    // Knowledge changes by up to one half either way.
    for e in all.iter_mut().filter(|e| e.direction == "feel") {
        let u: usize = e.unit[1..].parse().unwrap();
        e.change[1] = Some(25.0 * wiggle(u) + 0.1);
    }
    let found = dissociation(&all);
    assert_eq!(one(&found, "feel", Some(1.0), "E").verdict.as_deref(), Some("moves E; of K not shown"));
    let mut turned = all.clone();
    turned.reverse();
    assert_eq!(dissociation(&turned), found);
}

#[test]
fn one_unit_has_no_interval_and_nothing_gives_nothing() {
    let single: Vec<Effect> = planted().into_iter().filter(|e| e.unit == "u0").collect();
    let found = dissociation(&single);
    let at = one(&found, "feel", Some(1.0), "E");
    assert!(at.interval.is_none() && at.p.is_none() && at.verdict.as_deref() == Some("not shown"));
    let csv = table("d", &found).to_csv();
    assert!(csv.contains("no interval from a single unit") && !csv.contains("NaN"));
    assert!(dissociation(&[]).is_empty());
    let bare = Effect { change: [None, None], ..planted()[0].clone() };
    assert!(dissociation(&[bare]).is_empty());
    let alone: Vec<Effect> = planted().into_iter().filter(|e| !e.is_control).collect();
    let found = dissociation(&alone);
    assert_eq!(one(&found, "feel", Some(2.0), "E").over, None);
    assert!(table("d", &found).to_csv().contains("no control in the same units"));
}

/// Under no effect the interval over controls covers 0, and a verdict that something moves is as rare as it should be.
#[test]
fn edits_that_do_nothing_are_said_to_move_something_as_rarely_as_5_percent() {
    use crate::analysis::nulls::normal;
    use crate::rng::stream;
    let repetitions = crate::analysis::testing::repetitions(200);
    for units in [9, 20] {
        let mut rng = stream(units as u64, "edits that do nothing");
        let (mut covered, mut all) = (0, 0);
        for _ in 0..repetitions {
            let mut effects = Vec::new();
            for u in 0..units {
                // What a unit does under any edit at all.
                let own = 0.2 * normal(&mut rng);
                for direction in ["feel", "random 0", "random 1"] {
                    let change = [own + 0.1 * normal(&mut rng), own + 0.1 * normal(&mut rng)];
                    effects.push(effect(u, direction, Some(1.0), change, 1.0));
                }
            }
            for m in dissociation(&effects).iter().filter(|m| m.is_operating && m.format == "chat") {
                let i = m.over_interval.unwrap();
                covered += usize::from(i.lo <= 0.0 && i.hi >= 0.0);
                all += 1;
            }
        }
        let share = covered as f64 / all as f64;
        // Two measures of each repetition; 4 standard errors.
        let error = (0.95 * 0.05 / all as f64).sqrt();
        assert!((share - 0.95).abs() < 4.0 * error, "{units} units: {share} of {all} intervals cover 0");
    }
}
