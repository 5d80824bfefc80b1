//! Spearman's correlation with the p-value of all orders: what is left to ask of a handful of runs.

use crate::analysis::stats::{pearson, permutation_p, ranks};
use crate::rng::stream;
use rand::seq::SliceRandom;

/// With up to this many pairs every order is looked at: 9! of them.
const ALL_ORDERS: usize = 9;
/// With more, this many random ones.
const SHUFFLES: usize = 9999;

/// The correlation of ranks and its two-sided p-value under exchangeable pairs: the share of orders whose correlation is
/// at least as far from 0, the one that was seen among them. `None` below three pairs or where a side does not vary.
pub fn exact_spearman(x: &[f64], y: &[f64], seed: u64, label: &str) -> Option<(f64, f64)> {
    let (rx, ry) = (ranks(x), ranks(y));
    let rho = pearson(&rx, &ry).filter(|_| x.len() > 2)?;
    // With the ranks given only the sum of products changes from one order to another.
    let n = rx.len() as f64;
    let centre = n * ((n + 1.0) / 2.0).powi(2);
    let product = |y: &[f64]| (rx.iter().zip(y).map(|(a, b)| a * b).sum::<f64>() - centre).abs();
    let observed = product(&ry);
    // Ties in rank sums are exact multiples of a quarter; half of that is slack enough.
    let as_far = |y: &[f64]| product(y) >= observed - 0.125;
    if rx.len() > ALL_ORDERS {
        let mut order = ry.clone();
        // The order of the rows must not matter: shuffles start from the sorted ranks of pairs.
        let mut pairs: Vec<(f64, f64)> = rx.iter().copied().zip(ry.iter().copied()).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        order.iter_mut().zip(&pairs).for_each(|(o, p)| *o = p.1);
        let xs: Vec<f64> = pairs.iter().map(|p| p.0).collect();
        let of = |y: &[f64]| (xs.iter().zip(y).map(|(a, b)| a * b).sum::<f64>() - centre).abs();
        let mut rng = stream(seed, &format!("spearman/{label}"));
        let null: Vec<f64> = (0..SHUFFLES)
            .map(|_| {
                order.shuffle(&mut rng);
                of(&order)
            })
            .collect();
        return Some((rho, permutation_p(observed - 0.125, &null)?));
    }
    let (mut far, mut all) = (0usize, 0usize);
    let mut order = ry;
    each_order(&mut order, &mut |y| {
        all += 1;
        far += usize::from(as_far(y));
    });
    Some((rho, far as f64 / all as f64))
}

/// Calls back with every order of the values (Heap 1963).
fn each_order(values: &mut [f64], see: &mut dyn FnMut(&[f64])) {
    let n = values.len();
    let mut counters = vec![0; n];
    see(values);
    let mut i = 1;
    while i < n {
        if counters[i] < i {
            values.swap(if i % 2 == 0 { 0 } else { counters[i] }, i);
            see(values);
            counters[i] += 1;
            i = 1;
        } else {
            counters[i] = 0;
            i += 1;
        }
    }
}
