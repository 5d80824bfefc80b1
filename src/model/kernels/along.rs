//! Rewriting coordinates of rows along directions, each row along its own.

use super::{Kernel, Real, by_type, read, vectorised};
use candle_core::{Result, Tensor};
use pulp::Simd;

/// What becomes of a coordinate c: it moves by `slope * c + shift`, and then no further than into `[lo, hi]`.
///
/// Written as a distance, so that a shift by a is a shift by a however large c is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    pub slope: f64,
    pub shift: f64,
    pub lo: f64,
    pub hi: f64,
}

impl Move {
    /// No move at all.
    pub const NOTHING: Move = Move { slope: 0.0, shift: 0.0, lo: f64::NEG_INFINITY, hi: f64::INFINITY };

    /// Whether it moves nothing, whatever the coordinate.
    pub fn is_nothing(self) -> bool {
        self == Move::NOTHING
    }

    /// How far a coordinate moves.
    #[inline(always)]
    pub fn of(self, c: f64) -> f64 {
        (self.slope * c + self.shift).max(self.lo - c).min(self.hi - c)
    }
}

/// One row and what happens to it.
pub struct RowMove<'a> {
    pub row: usize,
    pub unit: &'a [f32],
    pub by: Move,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moved {
    /// The coordinate before, after, and as it was to be.
    pub before: f64,
    pub after: f64,
    pub wanted: f64,
    /// The length of the row before and after.
    pub lengths: [f64; 2],
}

/// `x [row, d]` with some rows moved, each at most once, and what happened to these. Rows that do not move keep their bits;
/// where none moves there is no new tensor. Coordinates are summed in f64 and what is reported is measured on the result.
pub fn move_rows(x: &Tensor, moves: &[RowMove<'_>]) -> Result<(Tensor, Vec<Moved>)> {
    let x = x.contiguous()?;
    let (n, d) = x.dims2()?;
    if let Some(bad) = moves.iter().find(|m| m.unit.len() != d || m.row >= n) {
        candle_core::bail!("row {} of {n} along {} numbers in rows of {d}", bad.row, bad.unit.len())
    }
    let idle = moves.iter().all(|m| m.by.is_nothing());
    by_type!(x.dtype(), "move_rows", T => {
        if idle {
            let moved = read::<T, _>(&x, |x| Ok(moves.iter().map(|m| look(&x[m.row * d..][..d], m.unit)).collect()))?;
            return Ok((x, moved));
        }
        let mut out = read::<T, _>(&x, |x| Ok(x.to_vec()))?;
        let moved = moves.iter().map(|m| vectorised(Along { row: &mut out[m.row * d..][..d], unit: m.unit, by: m.by }));
        let moved = moved.collect();
        Ok((Tensor::from_vec(out, (n, d), x.device())?, moved))
    })
}

/// A row that stays as it is.
fn look<T: Real>(row: &[T], unit: &[f32]) -> Moved {
    let (c, square) = vectorised(Measure { row, unit });
    Moved { before: c, after: c, wanted: c, lengths: [square.sqrt(); 2] }
}

/// The coordinate of a row, and its squared length.
struct Measure<'a, T> {
    row: &'a [T],
    unit: &'a [f32],
}

/// Partial sums of a dot product in f64.
const LANES: usize = 8;

impl<T: Real> Kernel for Measure<'_, T> {
    type Out = (f64, f64);
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (f64, f64) {
        measure(self.row, self.unit)
    }
}

#[inline(always)]
fn measure<T: Real>(row: &[T], unit: &[f32]) -> (f64, f64) {
    let (mut dot, mut square) = ([0.0f64; LANES], [0.0f64; LANES]);
    let whole = row.len() / LANES * LANES;
    for (x, u) in row[..whole].chunks_exact(LANES).zip(unit[..whole].chunks_exact(LANES)) {
        for i in 0..LANES {
            let (x, u) = (x[i].to_f64(), f64::from(u[i]));
            dot[i] = x.mul_add(u, dot[i]);
            square[i] = x.mul_add(x, square[i]);
        }
    }
    for (i, (x, u)) in row[whole..].iter().zip(&unit[whole..]).enumerate() {
        let (x, u) = (x.to_f64(), f64::from(*u));
        dot[i] = x.mul_add(u, dot[i]);
        square[i] = x.mul_add(x, square[i]);
    }
    let sum = |l: [f64; LANES]| ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]));
    (sum(dot), sum(square))
}

struct Along<'a, T> {
    row: &'a mut [T],
    unit: &'a [f32],
    by: Move,
}

impl<T: Real> Kernel for Along<'_, T> {
    type Out = Moved;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Moved {
        let Along { row, unit, by } = self;
        let (before, square) = measure(row, unit);
        let way = by.of(before);
        let (wanted, length) = (before + way, square.sqrt());
        // A coordinate inside its bounds keeps the bits of its row.
        if way == 0.0 {
            return Moved { before, after: before, wanted, lengths: [length; 2] };
        }
        for (x, u) in row.iter_mut().zip(unit) {
            *x = T::of(way.mul_add(f64::from(*u), x.to_f64()));
        }
        let (after, square) = measure(row, unit);
        Moved { before, after, wanted, lengths: [length, square.sqrt()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Rows of 19: not a multiple of the lanes.
    fn rows(n: usize) -> Tensor {
        let values = super::super::testing::values(3, n * 19).iter().map(|v| 50.0 * *v as f32).collect::<Vec<f32>>();
        Tensor::from_vec(values, (n, 19), &Device::Cpu).unwrap()
    }

    fn unit(seed: u64) -> Vec<f32> {
        let v = super::super::testing::values(seed, 19);
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter().map(|x| (x / norm) as f32).collect()
    }

    #[test]
    fn rows_move_along_their_own_directions_and_others_keep_their_bits() {
        let (x, a, b) = (rows(4), unit(1), unit(2));
        let moves = [
            RowMove { row: 3, unit: &a, by: Move { shift: 2.5, ..Move::NOTHING } },
            RowMove { row: 0, unit: &b, by: Move { slope: -1.0, shift: 7.0, ..Move::NOTHING } },
            RowMove { row: 2, unit: &a, by: Move { hi: 1e6, ..Move::NOTHING } },
        ];
        let (y, moved) = move_rows(&x, &moves).unwrap();
        let (x, y): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (x.to_vec2().unwrap(), y.to_vec2().unwrap());
        assert!(x[1] == y[1] && x[2] == y[2] && x[0] != y[0] && x[3] != y[3]);
        // Values reach 50 and are rounded to 24 bits: 3e-6 each.
        assert!((moved[0].after - moved[0].before - 2.5).abs() < 1e-5 && (moved[1].after - 7.0).abs() < 1e-5);
        assert!(moved[0].wanted == moved[0].before + 2.5 && moved[2].after == moved[2].before);
        for (i, at) in [(0, 3), (1, 0)] {
            let length = |r: &[f32]| r.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            assert!((moved[i].lengths[0] - length(&x[at])).abs() < 1e-9);
            assert!((moved[i].lengths[1] - length(&y[at])).abs() < 1e-9);
        }
        // What is orthogonal to the direction stays: the change is a multiple of it.
        for i in 0..19 {
            assert!((y[3][i] - x[3][i] - 2.5 * a[i]).abs() < 1e-5);
        }
    }

    #[test]
    fn bounds_are_met_from_either_side_and_nothing_is_nothing() {
        let bound = Move { lo: -1.0, hi: 2.0, ..Move::NOTHING };
        assert_eq!([-3.0, 0.5, 5.0].map(|c| c + bound.of(c)), [-1.0, 0.5, 2.0]);
        assert!(Move { slope: 0.0, ..Move::NOTHING }.is_nothing() && !bound.is_nothing());
        let (x, u) = (rows(2), unit(1));
        let (y, moved) = move_rows(&x, &[RowMove { row: 1, unit: &u, by: Move::NOTHING }]).unwrap();
        assert_eq!(x.id(), y.id());
        assert!(moved[0].before == moved[0].after && moved[0].before != 0.0);
        assert!(move_rows(&x, &[RowMove { row: 2, unit: &u, by: Move::NOTHING }]).is_err());
        assert!(move_rows(&x, &[RowMove { row: 0, unit: &u[1..], by: Move::NOTHING }]).is_err());
    }
}
