use super::*;
use crate::model::{Model, Source};
use crate::serve::asks::Alone;
use crate::vectors::About;

fn vector(sign: f32) -> Vector {
    let unit: Vec<f32> = (0..96).map(|i| if i == 0 { sign } else { 0.0 }).collect();
    Vector { site: Site::post(2), name: "x".into(), unit, raw_norm: 1.0, about: About::default() }
}

#[test]
fn a_band_is_of_the_vector_that_is_there_now() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let (asks, known) = (Alone(&model), Calibration::default());
    assert!(known.band(&asks, "x", &[vector(1.0)]).unwrap().is_none(), "nothing is measured yet");
    known.prepare(&asks, &["Tell me about tea.".into()], &[Site::post(2)]).unwrap();
    let band = |v: Vector| known.band(&asks, "x", &[v]).unwrap().unwrap();
    let before = band(vector(1.0));
    assert!(Arc::ptr_eq(&before, &band(vector(1.0))));
    let percentile = |v: Vector| known.amount(&asks, Amount::Percentile(10.0), "x", &v).unwrap();
    let low = percentile(vector(1.0));
    // The file was written anew: the same name, the other way round.
    let after = band(vector(-1.0));
    let (a, b) = (&before.sites[0].token, &after.sites[0].token);
    assert!((a.mean + b.mean).abs() < 1e-9 && (a.quantiles[5] + b.quantiles[95]).abs() < 1e-9);
    let high = known.amount(&asks, Amount::Percentile(90.0), "x", &vector(-1.0)).unwrap();
    assert!((low + high).abs() < 1e-9, "{low} {high}");
}

#[test]
fn whoever_needs_the_default_assistant_is_told_why_there_is_none() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let (asks, known) = (Alone(&model), Calibration::default());
    let norms = || known.amount(&asks, Amount::Norms(0.5), "x", &vector(1.0)).unwrap_err();
    assert!(norms().what.contains("still being measured"));
    known.prepare(&asks, &[], &[Site::post(2)]).unwrap_err();
    assert!(norms().what.contains("there is no question"), "{:?}", norms());
}
