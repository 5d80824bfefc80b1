//! What becomes of a coordinate.

use crate::model::kernels::Move;
use serde::{Deserialize, Serialize};

/// What happens to the coordinate c of an activation along a unit direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// c + a: steering. In activation units.
    Shift(f64),
    /// c * k: 0 ablates, 1 is nothing.
    Scale(f64),
    /// m: mean ablation, or a value from another run.
    Pin(f64),
    /// c kept within [lo, hi]: a cap. A floor is a finite `lo` alone, a ceiling a finite `hi` alone.
    Clamp { lo: f64, hi: f64 },
}

impl Rewrite {
    /// Whether it changes nothing, whatever the activation.
    pub fn is_nothing(self) -> bool {
        self.as_move().is_nothing()
    }

    /// Whether its amounts are numbers, and its ends in order.
    pub(super) fn is_sound(self) -> bool {
        match self {
            Rewrite::Shift(a) | Rewrite::Scale(a) | Rewrite::Pin(a) => a.is_finite(),
            Rewrite::Clamp { lo, hi } => lo <= hi && lo < f64::INFINITY && hi > f64::NEG_INFINITY,
        }
    }

    /// The same as arithmetic.
    pub fn as_move(self) -> Move {
        match self {
            Rewrite::Shift(a) => Move { shift: a, ..Move::NOTHING },
            Rewrite::Scale(k) => Move { slope: k - 1.0, ..Move::NOTHING },
            Rewrite::Pin(m) => Move { slope: -1.0, shift: m, ..Move::NOTHING },
            Rewrite::Clamp { lo, hi } => Move { lo, hi, ..Move::NOTHING },
        }
    }
}
