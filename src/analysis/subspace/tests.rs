use super::*;
use ndarray::array;

fn noise(rows: usize, columns: usize, seed: u64, label: &str) -> Array2<f32> {
    let mut rng = stream(seed, label);
    Array2::from_shape_simple_fn((rows, columns), || normal(&mut rng) as f32)
}

fn random(seed: u64) -> Update {
    Update::new(noise(4, 24, seed, "a").view(), noise(32, 4, seed, "b").view(), 0.5).unwrap()
}

fn energy(update: &Update, v: ArrayView1<f32>, units: &Array2<f64>) -> Judged {
    let along = update.along(unit(v).unwrap().view()).unwrap()[0];
    let null = update.along(units.view()).unwrap();
    Energy { total: update.energy(), along, null }.judged().unwrap()
}

#[test]
fn energies_are_those_of_the_product() {
    let (a, b) = (noise(3, 5, 1, "a"), noise(7, 3, 1, "b"));
    let update = Update::new(a.view(), b.view(), 1.5).unwrap();
    let whole = b.mapv(f64::from).dot(&a.mapv(f64::from)) * 1.5;
    assert!((update.energy() - whole.mapv(|v| v * v).sum()).abs() < 1e-9);
    let v = unit(noise(1, 7, 2, "v").row(0)).unwrap();
    let projected = v.dot(&whole);
    assert!((update.along(v.view()).unwrap()[0] - projected.mapv(|x| x * x).sum()).abs() < 1e-9);
    let other = Update::new(noise(2, 5, 3, "a").view(), noise(7, 2, 3, "b").view(), -2.0).unwrap();
    let theirs = noise(7, 2, 3, "b").mapv(f64::from).dot(&noise(2, 5, 3, "a").mapv(f64::from)) * -2.0;
    let norms = (whole.mapv(|v| v * v).sum() * theirs.mapv(|v| v * v).sum()).sqrt();
    assert!((update.cosine(&other).unwrap() - (&whole * &theirs).sum() / norms).abs() < 1e-12);
    assert!((update.cosine(&update).unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn an_update_along_one_direction_has_all_its_energy_there() {
    let v = noise(1, 32, 5, "v");
    let b = v.t().to_owned();
    let update = Update::new(noise(1, 24, 5, "a").view(), b.view(), 0.1).unwrap();
    let found = energy(&update, v.row(0), &random_units(1000, 32, 0));
    assert!((found.share - 1.0).abs() < 1e-6 && found.percentile == 100.0, "{found:?}");
    assert!((found.p_value - 1.0 / 1001.0).abs() < 1e-12 && found.null_high < 0.25);
}

#[test]
fn percentiles_of_random_updates_are_uniform() {
    // Each decile holds a tenth of 200 percentiles: 20, sd 4.2; the largest of ten deviations is below 3.5 sd in 99.5 %.
    // The mean of 200 uniform percentiles is 50 with sd 2.04.
    let units = random_units(400, 32, 7);
    let v = noise(1, 32, 8, "fixed");
    let all: Vec<f64> = (0..200).map(|seed| energy(&random(seed), v.row(0), &units).percentile).collect();
    let mut deciles = [0; 10];
    all.iter().for_each(|p| deciles[((p / 10.0) as usize).min(9)] += 1);
    assert!(deciles.iter().all(|n| (5..=35).contains(n)), "{deciles:?}");
    let mean = all.iter().sum::<f64>() / 200.0;
    assert!((mean - 50.0).abs() < 7.0, "{mean}");
}

#[test]
fn the_scale_changes_energies_and_no_share_but_those_of_sums() {
    let (a, b) = (noise(4, 24, 1, "a"), noise(32, 4, 1, "b"));
    let of = |scale| Update::new(a.view(), b.view(), scale).unwrap();
    // alpha 8 at rank 4: 2 by LoRA, 4 by rsLoRA: four times the energy.
    let (lora, rslora) = (of(8.0 / 4.0), of(8.0 / 2.0));
    assert!((rslora.energy() / lora.energy() - 4.0).abs() < 1e-12);
    let (v, units) = (noise(1, 32, 2, "v"), random_units(50, 32, 0));
    assert_eq!(energy(&lora, v.row(0), &units).percentile, energy(&rslora, v.row(0), &units).percentile);
    let one = |u: &Update| Energy { total: u.energy(), along: 1.0, null: vec![1.0, 0.0] };
    let mut sum = one(&lora);
    sum.add(&one(&rslora));
    assert!((sum.total - 5.0 * lora.energy()).abs() < 1e-9 && sum.along == 2.0 && sum.null == [2.0, 0.0]);
}

#[test]
fn angles_are_zero_between_equal_spaces_and_right_between_orthogonal_ones() {
    let one = random(1).spaces().unwrap().unwrap();
    // The same spaces by other factors: B M and M^-1 A for M = diag(2, 1/2, 1, 1), and another scale.
    let (mut a, mut b) = (noise(4, 24, 1, "a"), noise(32, 4, 1, "b"));
    for (k, m) in [(0, 2.0f32), (1, 0.5)] {
        b.column_mut(k).mapv_inplace(|v| v * m);
        a.row_mut(k).mapv_inplace(|v| v / m);
    }
    let same = Update::new(a.view(), b.view(), 3.0).unwrap().spaces().unwrap().unwrap();
    for (x, y) in one.iter().zip(&same) {
        let found = angles(x, y).unwrap();
        assert!(found.all.len() == 4 && found.all.iter().all(|t| *t < 1e-6), "{found:?}");
    }
    let at = |rows: [usize; 2]| {
        let b = Array2::from_shape_fn((6, 2), |(i, k)| if i == rows[k] { 1.0 } else { 0.0 });
        Update::new(noise(2, 9, 1, "a").view(), b.view(), 1.0).unwrap().spaces().unwrap().unwrap()[0].clone()
    };
    let right = angles(&at([0, 1]), &at([2, 3])).unwrap();
    assert!(right.all.iter().all(|t| (t - 90.0).abs() < 1e-9), "{right:?}");
    // One shared line, the other at a right angle.
    let half = angles(&at([0, 1]), &at([1, 4])).unwrap();
    assert!(half.first() < 1e-9 && (half.mean() - 45.0).abs() < 1e-9, "{half:?}");
    // A line at 30 degrees to a coordinate, within a plane of 6.
    let b = array![[3f32.sqrt() / 2.0], [0.0], [0.5], [0.0], [0.0], [0.0]];
    let line = Update::new(noise(1, 9, 1, "a").view(), b.view(), 1.0).unwrap().spaces().unwrap().unwrap();
    assert!((angles(&line[0], &at([0, 1])).unwrap().first() - 30.0).abs() < 1e-5);
}

#[test]
fn spaces_have_the_rank_of_the_product_and_nothing_has_none() {
    // B has two equal columns, so the product has rank 1.
    let b = array![[1f32, 1.0], [2.0, 2.0], [0.0, 0.0]];
    let spaces = Update::new(noise(2, 9, 1, "a").view(), b.view(), 1.0).unwrap().spaces().unwrap().unwrap();
    assert_eq!((spaces[0].shape(), spaces[1].shape()), ((1, 3), (1, 9)));
    // A rank above the number of outputs.
    let wide = Update::new(noise(5, 9, 1, "a").view(), noise(3, 5, 1, "b").view(), 1.0).unwrap();
    assert_eq!(wide.spaces().unwrap().unwrap()[1].shape(), (3, 9));
    let fresh = Update::new(noise(2, 9, 1, "a").view(), Array2::zeros((3, 2)).view(), 1.0).unwrap();
    assert!(fresh.spaces().unwrap().is_none() && fresh.cosine(&wide).is_none());
    let none = Energy { total: fresh.energy(), along: 0.0, null: vec![0.0; 10] };
    assert!(none.judged().is_none());
}

#[test]
fn random_spaces_meet_as_those_of_random_updates() {
    // Means over 300 of each kind; the sd of one mean angle is about 3 degrees here, so means agree within 1.
    let null = random_angles(32, (4, 4), 300, 1).unwrap();
    let of = |seed| random(seed).spaces().unwrap().unwrap()[0].clone();
    let found: Vec<f64> = (0..300).map(|s| angles(&of(2 * s), &of(2 * s + 1)).unwrap().mean()).collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert!((mean(&null.mean) - mean(&found)).abs() < 1.0, "{} {}", mean(&null.mean), mean(&found));
    let ends = null.ends().unwrap();
    assert!(ends[0].0 < ends[0].1 && ends[1].1 <= 90.0);
    assert!(random_angles(3, (4, 1), 5, 1).is_err() && random_angles(3, (0, 1), 5, 1).is_err());
}

#[test]
fn what_makes_no_update_is_refused() {
    let (a, b) = (noise(2, 5, 1, "a"), noise(4, 3, 1, "b"));
    assert!(Update::new(a.view(), b.view(), 1.0).unwrap_err().to_string().contains("[2, 5]"));
    let mut bad = noise(4, 2, 1, "b");
    bad[[0, 0]] = f32::NAN;
    assert!(Update::new(a.view(), bad.view(), 1.0).is_err());
    let u = Update::new(a.view(), noise(4, 2, 1, "b").view(), 1.0).unwrap();
    assert!(u.along(Array2::zeros((1, 5)).view()).unwrap_err().to_string().contains('5'));
    assert!(unit(array![0f32, 0.0].view()).is_err() && unit(array![f32::NAN].view()).is_err());
}
