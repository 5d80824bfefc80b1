//! Where a point sits among others on a line.

/// A place, told in two ways because they can disagree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Share of the others below it, ties as half: 0 is the lowest, 1 the highest.
    pub rank_percentile: f64,
    /// Distance to the nearer end of the others' range, over the range: 0 at an end, 0.5 in the middle, negative
    /// beyond an end.
    pub range_distance: f64,
}

/// Where `value` sits among `others`; `None` where they do not span a range.
pub fn place(value: f64, others: &[f64]) -> Option<Place> {
    let (lo, hi) = others.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let below = |v: &f64| {
        if *v < value {
            1.0
        } else if *v == value {
            0.5
        } else {
            0.0
        }
    };
    (hi > lo).then(|| Place {
        rank_percentile: others.iter().map(below).sum::<f64>() / others.len() as f64,
        range_distance: (value - lo).min(hi - value) / (hi - lo),
    })
}

/// The place of each value among all others.
pub fn places(values: &[f64]) -> Vec<Option<Place>> {
    let others = |i: usize| values.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, v)| *v).collect::<Vec<_>>();
    values.iter().enumerate().map(|(i, v)| place(*v, &others(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_as_rank_and_as_distance() {
        // Among 0, 1, 10: 9 is above two of three, and 0.1 of the range below the top.
        let p = place(9.0, &[0.0, 1.0, 10.0]).unwrap();
        assert!((p.rank_percentile - 2.0 / 3.0).abs() < 1e-12 && (p.range_distance - 0.1).abs() < 1e-12);
        assert_eq!(place(1.0, &[0.0, 1.0, 10.0]).unwrap().rank_percentile, 0.5);
        assert!((place(12.0, &[0.0, 1.0, 10.0]).unwrap().range_distance + 0.2).abs() < 1e-12);
        assert_eq!(place(1.0, &[2.0, 2.0]), None);
        let ranks: Vec<f64> = places(&[5.0, 1.0, 3.0]).iter().map(|p| p.unwrap().rank_percentile).collect();
        assert_eq!(ranks, [1.0, 0.0, 0.5]);
    }
}
