//! Which kind of fine-tune it is, by where its indices lie.
//!
//! With high at or above one threshold and low at or below another, the first line that holds is the class:
//!
//! 1. none, where K or E is missing;
//! 2. `untouched`: all indices that there are are low;
//! 3. `suppresses`: L high, E low;
//! 4. `claims`: S high, E low;
//! 5. `knows`: K high, E low, L low or missing;
//! 6. `acts`: E high, L low;
//! 7. `embodies`: E high, L high;
//! 8. `undecided`.

use crate::error::{Error, Result};
use std::fmt;

/// A class of fine-tunes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Untouched,
    Suppresses,
    Claims,
    Knows,
    Acts,
    Embodies,
    Undecided,
}

impl Class {
    pub const ALL: [Class; 7] = [
        Class::Untouched,
        Class::Suppresses,
        Class::Claims,
        Class::Knows,
        Class::Acts,
        Class::Embodies,
        Class::Undecided,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Class::Untouched => "untouched",
            Class::Suppresses => "suppresses",
            Class::Claims => "claims",
            Class::Knows => "knows",
            Class::Acts => "acts",
            Class::Embodies => "embodies",
            Class::Undecided => "undecided",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where high begins and low ends; written down before a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub high: f64,
    pub low: f64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { high: 0.6, low: 0.3 }
    }
}

impl Thresholds {
    /// # Errors
    /// A threshold that is no number, and high at or below low.
    pub fn check(self) -> Result<()> {
        if self.high.is_finite() && self.low.is_finite() && self.low < self.high {
            return Ok(());
        }
        Err(Error::refused(
            format!("high begins at {} and low ends at {}", self.high, self.low),
            "an index of 0 is the base model and of 1 the card: give low below high, such as 0.3 and 0.6",
        ))
    }

    /// The class of the indices K, S, E, L; `None` without K or E.
    pub fn class(self, [k, s, e, l]: [Option<f64>; 4]) -> Option<Class> {
        // An index that is a threshold but for its last digits is on it.
        const SLACK: f64 = 1e-9;
        let high = |v: Option<f64>| v.is_some_and(|v| v >= self.high - SLACK);
        let low = |v: Option<f64>| v.is_some_and(|v| v <= self.low + SLACK);
        k.and(e)?;
        Some(if [k, s, e, l].iter().all(|v| v.is_none() || low(*v)) {
            Class::Untouched
        } else if high(l) && low(e) {
            Class::Suppresses
        } else if high(s) && low(e) {
            Class::Claims
        } else if high(k) && low(e) && (low(l) || l.is_none()) {
            Class::Knows
        } else if high(e) && low(l) {
            Class::Acts
        } else if high(e) && high(l) {
            Class::Embodies
        } else {
            Class::Undecided
        })
    }
}
