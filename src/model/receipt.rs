//! The proof that an edit did something, and what it did.

use serde::{Deserialize, Serialize};

/// What an edit did in a pass, or in all passes of a generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Rows rewritten.
    pub rows: usize,
    /// Sum over those rows of the coordinate before, and after.
    pub before: f64,
    pub after: f64,
    /// Each of these rows.
    #[serde(skip)]
    pub touched: Vec<Touched>,
}

/// What an edit did to one row, measured on the rows themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Touched {
    /// The example, by its index in the batch.
    pub example: usize,
    /// The coordinate before and after, in activation units.
    pub before: f32,
    pub after: f32,
    /// What the coordinate was to become.
    pub wanted: f32,
    /// The length of the row before and after.
    pub lengths: [f32; 2],
}

impl Receipt {
    /// Adds a row.
    pub(super) fn push(&mut self, touched: Touched, before: f64, after: f64) {
        self.rows += 1;
        self.before += before;
        self.after += after;
        self.touched.push(touched);
    }

    /// Adds what another pass did.
    pub fn add(&mut self, other: Receipt) {
        self.rows += other.rows;
        self.before += other.before;
        self.after += other.after;
        self.touched.extend(other.touched);
    }
}

impl Touched {
    /// How far the coordinate is from what it was to become, in lengths of the row (of the longest involved).
    pub fn off(&self) -> f64 {
        let off = f64::from(self.after) - f64::from(self.wanted);
        let size = self.lengths.iter().fold(f64::from(self.wanted.abs()), |m, l| m.max(f64::from(*l)));
        if off == 0.0 { 0.0 } else { off.abs() / size.max(f64::MIN_POSITIVE) }
    }
}

/// The middle and the ends of a coordinate over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    pub mean: f64,
    /// 5 % and 95 % quantiles, interpolated between order statistics.
    pub p05: f64,
    pub p95: f64,
}

/// What one edit did to one item of work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Did {
    /// The item, and the edit, by their indices.
    pub item: usize,
    pub edit: usize,
    /// Rows that it covered, and of these how many changed.
    pub rows: usize,
    pub changed: usize,
    /// The coordinate in activation units.
    pub before: Spread,
    pub after: Spread,
    /// Mean over the rows of their length after, over their length before.
    pub norm_ratio: f64,
    /// The largest of [`Touched::off`].
    pub off: f64,
}

impl Did {
    /// What a receipt says of each example, in the order of their indices.
    pub fn of(edit: usize, receipt: &Receipt) -> Vec<Did> {
        let mut touched = receipt.touched.clone();
        touched.sort_by_key(|t| t.example);
        let one = |rows: &[Touched]| {
            let n = rows.len() as f64;
            let ratio = |t: &Touched| f64::from(t.lengths[1]) / f64::from(t.lengths[0]).max(f64::MIN_POSITIVE);
            Did {
                item: rows[0].example,
                edit,
                rows: rows.len(),
                changed: rows.iter().filter(|t| t.before != t.after || t.lengths[0] != t.lengths[1]).count(),
                before: Spread::of(rows.iter().map(|t| f64::from(t.before))),
                after: Spread::of(rows.iter().map(|t| f64::from(t.after))),
                norm_ratio: rows.iter().map(ratio).sum::<f64>() / n,
                // A NaN must not slip through a maximum.
                off: rows.iter().map(Touched::off).fold(0.0, |m, o| if o <= m { m } else { o }),
            }
        };
        touched.chunk_by(|a, b| a.example == b.example).map(one).collect()
    }

    /// Its numbers by their bits, for files: decimal forms need not come back to the last bit.
    pub fn to_bits(self) -> [u64; 12] {
        let Did { item, edit, rows, changed, before, after, norm_ratio, off } = self;
        let [b, a] = [before, after].map(|s| [s.mean, s.p05, s.p95].map(f64::to_bits));
        let counts = [item, edit, rows, changed].map(|n| n as u64);
        let mut all = [0; 12];
        let parts = counts.into_iter().chain(b).chain(a).chain([norm_ratio, off].map(f64::to_bits));
        all.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        all
    }

    /// [`Did::to_bits`] read back.
    pub fn from_bits(bits: [u64; 12]) -> Did {
        let n = |i: usize| bits[i] as usize;
        let f = |i: usize| f64::from_bits(bits[i]);
        let spread = |i: usize| Spread { mean: f(i), p05: f(i + 1), p95: f(i + 2) };
        Did {
            item: n(0),
            edit: n(1),
            rows: n(2),
            changed: n(3),
            before: spread(4),
            after: spread(7),
            norm_ratio: f(10),
            off: f(11),
        }
    }
}

impl Spread {
    /// Of at least one value.
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.collect();
        // The sum does not depend on the order in which rows came.
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let at = |q: f64| {
            let place = q * (sorted.len() - 1) as f64;
            let (low, part) = (sorted[place.floor() as usize], place.fract());
            low + part * (sorted[place.ceil() as usize] - low)
        };
        Spread { mean, p05: at(0.05), p95: at(0.95) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(example: usize, before: f32, after: f32) -> Touched {
        Touched { example, before, after, wanted: 2.0, lengths: [4.0, 5.0] }
    }

    #[test]
    fn what_was_done_is_told_for_each_example() {
        let mut receipt = Receipt::default();
        for (example, before) in [(1, 0.0), (0, 3.0), (1, 1.0), (1, 0.5)] {
            receipt.push(touched(example, before, 2.0), f64::from(before), 2.0);
        }
        let did = Did::of(7, &receipt);
        assert_eq!((did.len(), did[0].item, did[1].item, did[1].edit), (2, 0, 1, 7));
        // 0, 0.5, 1: position 0.05 * 2 = 0.1 between 0 and 0.5.
        let b = did[1].before;
        assert!((b.mean - 0.5).abs() < 1e-12 && (b.p05 - 0.05).abs() < 1e-12 && (b.p95 - 0.95).abs() < 1e-12);
        assert_eq!((did[1].rows, did[1].norm_ratio, did[1].off), (3, 1.25, 0.0));
        assert_eq!(Did::from_bits(did[1].to_bits()), did[1]);
    }

    #[test]
    fn a_row_that_missed_its_goal_is_told_in_lengths_of_the_row() {
        // 2.5 instead of 2 in rows of length 5.
        assert!((touched(0, 0.0, 2.5).off() - 0.1).abs() < 1e-6);
        let mut receipt = Receipt::default();
        receipt.push(touched(0, 0.0, f32::NAN), 0.0, f64::NAN);
        assert!(Did::of(0, &receipt)[0].off.is_nan());
    }
}
