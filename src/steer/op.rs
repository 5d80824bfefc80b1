//! What an edit does, as it is written.

use crate::error::{Error, Result};
use crate::model::Rewrite;
use std::fmt;
use std::str::FromStr;

/// What an edit does with its strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds the strength to the projection.
    Shift,
    /// Multiplies the projection: 0 ablates.
    Scale,
    /// Sets the projection.
    Pin,
    /// Keeps the projection from falling below the strength.
    CapFloor,
    /// Keeps the projection from rising above the strength.
    CapCeiling,
    /// Goes this share of the way to rows of another run.
    Patch,
}

impl Op {
    /// All of them with their names and what they do.
    pub const ALL: [(Op, &'static str, &'static str); 6] = [
        (Op::Shift, "shift", "adds the strength to the projection"),
        (Op::Scale, "scale", "multiplies the projection; 0 ablates, 1 is nothing"),
        (Op::Pin, "pin", "sets the projection to the strength"),
        (Op::CapFloor, "cap-floor", "lifts projections below the strength to it"),
        (Op::CapCeiling, "cap-ceiling", "lowers projections above the strength to it"),
        (Op::Patch, "patch", "goes this share of the way to stored rows; 1 replaces, 0 is nothing"),
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        Op::ALL.iter().find(|o| o.0 == self).map_or("", |o| o.1)
    }

    /// Whether it keeps projections on one side of a threshold.
    pub fn is_cap(self) -> bool {
        matches!(self, Op::CapFloor | Op::CapCeiling)
    }

    /// What becomes of a projection.
    ///
    /// # Errors
    /// `patch`, which is along no direction.
    pub fn rewrite(self, amount: f64) -> Result<Rewrite> {
        Ok(match self {
            Op::Shift => Rewrite::Shift(amount),
            Op::Scale => Rewrite::Scale(amount),
            Op::Pin => Rewrite::Pin(amount),
            Op::CapFloor => Rewrite::Clamp { lo: amount, hi: f64::INFINITY },
            Op::CapCeiling => Rewrite::Clamp { lo: f64::NEG_INFINITY, hi: amount },
            Op::Patch => return Err(Error::refused("a patch is along no direction", "give it a folder of rows")),
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Op {
    type Err = String;
    fn from_str(text: &str) -> Result<Op, String> {
        let names: Vec<&str> = Op::ALL.iter().map(|o| o.1).collect();
        let cap = if text == "cap" { "; a cap says its side: cap-floor or cap-ceiling" } else { "" };
        let found = Op::ALL.iter().find(|o| o.1 == text).map(|o| o.0);
        found.ok_or_else(|| format!("one of {}{cap}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_a_cap_without_a_side_is_told_both() {
        for (op, name, _) in Op::ALL {
            assert_eq!((name.parse::<Op>().unwrap(), op.to_string().as_str()), (op, name));
        }
        assert!("cap".parse::<Op>().unwrap_err().contains("cap-floor or cap-ceiling"));
        assert_eq!(Op::CapFloor.rewrite(2.0).unwrap(), Rewrite::Clamp { lo: 2.0, hi: f64::INFINITY });
        assert!(Op::Patch.rewrite(1.0).is_err());
    }
}
