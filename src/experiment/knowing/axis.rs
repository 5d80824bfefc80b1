//! The assistant axis of the base: from the people that it was told to be to what it is by itself.

use super::protocol::Kind;
use super::rows::{PICKS, Set};
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::Result;
use ndarray::{Array1, Array2};

/// The mean of the default's last prompt tokens less that of all enacting passages, both sides of all traits: larger is
/// more assistant-like (The Assistant Axis, arXiv 2601.10387).
pub(super) fn axis(default: &Array2<f32>, sets: &[Set], site: Site) -> Result<Direction> {
    let pick = PICKS.iter().position(|p| *p == Pick::LastPrompt).unwrap_or(0);
    let enacting = sets.iter().filter(|s| s.kind == Kind::Feel).filter_map(|s| s.at(pick, site));
    let (mut sum, mut n) = (Array1::<f64>::zeros(default.ncols()), 0.0);
    for row in enacting.flat_map(|rows| rows.rows()) {
        sum.zip_mut_with(&row, |s, x| *s += f64::from(*x));
        n += 1.0;
    }
    let mut own = Array1::<f64>::zeros(default.ncols());
    default.rows().into_iter().for_each(|r| own.zip_mut_with(&r, |s, x| *s += f64::from(*x)));
    let raw = own / default.nrows().max(1) as f64 - sum / f64::max(n, 1.0);
    let origin = format!("difference of means: {} default prompts, {n} of people", default.nrows());
    Direction::new(site, Pick::LastPrompt, &raw, "the assistant", "somebody else", &origin)
}
