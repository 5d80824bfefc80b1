//! Moments at the tap against the rows that they are of.

use crate::disk::Faulty;
use crate::setup::{recording, run};
use personascope::model::{Model, Source};
use personascope::moments::{Along, Scatter, Shape};
use personascope::store::Store;
use personascope::store::moments::Moments;
use personascope::unit::Share;
use std::sync::Arc;

/// Mean and sum of squared deviations of some rows in two passes.
fn two_pass(rows: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let width = rows[0].len();
    let mean: Vec<f64> = (0..width).map(|i| rows.iter().map(|r| r[i]).sum::<f64>() / rows.len() as f64).collect();
    let m2 = (0..width).map(|i| rows.iter().map(|r| (r[i] - mean[i]).powi(2)).sum()).collect();
    (mean, m2)
}

#[test]
fn moments_are_those_of_the_rows_by_group_and_filter_whatever_else_is_kept() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (both, alone) = (dir.path().join("both"), dir.path().join("alone"));
    let with = |rows: bool| {
        let mut r = recording(&model, Share::ALL);
        let width = model.lm.dims().d_model;
        let unit: Vec<f32> = (0..width).map(|i| if i == 3 { 1.0 } else { 0.0 }).collect();
        let m = r.moments.as_mut().unwrap();
        let widths = m.shape.widths().to_vec();
        m.shape = Arc::new(Shape::new(widths, Scatter::Full, vec![Along::new(1, unit)]).unwrap());
        m.directions = vec!["third".into()];
        m.min_count = 20;
        if !rows {
            r.rows = None;
        }
        r
    };
    run(&with(true), &Faulty::new(None, 0), &both, None).unwrap();
    // Interrupted, with another number of workers: the same bytes.
    let lonely = with(false);
    assert!(run(&lonely, &Faulty::new(None, 0), &alone, Some(7)).is_err());
    let mut one = with(false);
    one.threads = 1;
    let (_, found) = run(&one, &Faulty::new(None, 0), &alone, None).unwrap();
    assert!(found.rows > 0, "{found:?}");
    for file in ["moments.safetensors", "groups.csv", "projections.csv"] {
        assert!(std::fs::read(both.join(file)).unwrap() == std::fs::read(alone.join(file)).unwrap(), "{file}");
    }
    assert!(!alone.join("activations.safetensors").exists() && !alone.join("rows.csv").exists());

    let (store, moments) = (Store::open(&both).unwrap(), Moments::read(&both).unwrap());
    let keys = store.keys(None).unwrap();
    let site = store.manifest.sites[2];
    let values = store.read(site.site, 0..store.manifest.rows).unwrap();
    let rows: Vec<Vec<f64>> = values.chunks(site.width).map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect();
    let column = |name: &str| -> Vec<String> {
        let column = keys.column(name).unwrap();
        (0..rows.len()).map(|r| column.text(r).to_string()).collect()
    };
    let (got_mean, got_m2) = (moments.mean(site.site).unwrap(), moments.m2(site.site).unwrap());
    let (persona, score) = (column("persona"), column("score"));
    let mut small = 0;
    assert_eq!(moments.groups.len(), 8, "four personas, all and filtered");
    for g in &moments.groups {
        let is_of =
            |r: &usize| persona[*r] == g.values[0] && (g.variant == "all" || score[*r].parse::<i32>().unwrap() >= 2);
        let mine: Vec<Vec<f64>> = (0..rows.len()).filter(is_of).map(|r| rows[r].clone()).collect();
        assert_eq!(g.count as usize, mine.len());
        let Some(row) = g.row else {
            assert!(mine.len() < 20 && g.variant == "filtered", "{g:?}");
            small += 1;
            continue;
        };
        let (mean, m2) = two_pass(&mine);
        for i in 0..site.width {
            assert!((got_mean[[row, i]] - mean[i]).abs() <= 1e-12 * mean[i].abs().max(m2[i].sqrt()), "{g:?}");
            assert!((got_m2[[row, i]] - m2[i]).abs() <= 1e-12 * m2[i].max(mean[i] * mean[i] * 1e-3), "{g:?} {i}");
        }
    }
    assert!(small < 8, "{small} groups were too small");
}
