//! What moments are kept.

use super::{full, site, sketch};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};

/// The relative error of quantiles unless another is asked for.
pub const ACCURACY: f64 = 0.001;

/// What is kept of the scatter matrix, the sum over rows of `weight (x - mean) (x - mean)^T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scatter {
    /// Its diagonal alone, which is M2.
    None,
    /// All of it, `[width, width]`.
    Full,
    /// A sketch of so many rows, with a bound of its error.
    Sketch { rows: usize },
}

/// A direction along which projections are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Along {
    /// Index of the site among those of the shape.
    pub site: usize,
    /// As wide as the site. Projections are in its units: give a unit vector for activation units.
    pub unit: Vec<f32>,
    /// Relative error of the quantiles.
    pub accuracy: f64,
}

impl Along {
    /// With quantiles to [`ACCURACY`].
    pub fn new(site: usize, unit: Vec<f32>) -> Along {
        Along { site, unit, accuracy: ACCURACY }
    }
}

/// What is kept of every group.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    widths: Vec<usize>,
    scatter: Scatter,
    directions: Vec<Along>,
    /// Of all that decides how the bytes of moments are read.
    print: [u8; 32],
}

impl Shape {
    /// For sites of these widths.
    ///
    /// # Errors
    /// A direction that does not fit its site or is not finite, an accuracy outside 0..1, a sketch of no rows, a site of
    /// no columns.
    pub fn new(widths: Vec<usize>, scatter: Scatter, directions: Vec<Along>) -> Result<Shape> {
        if scatter == (Scatter::Sketch { rows: 0 }) {
            return Err(Error::refused("a sketch of 0 rows", "ask for 1 or more: its error falls as rows are added"));
        }
        if let Some(site) = widths.iter().position(|w| *w == 0) {
            return Err(Error::refused(format!("site {site} has no columns"), "leave it out"));
        }
        for (i, along) in directions.iter().enumerate() {
            if widths.get(along.site) != Some(&along.unit.len()) {
                let width = widths.get(along.site).map_or("is not there".into(), |w| format!("has {w} columns"));
                let what = format!("direction {i} has {} numbers, and its site {width}", along.unit.len());
                return Err(Error::refused(what, "use a direction that was fitted at this site of this model"));
            }
            let count = along.unit.iter().filter(|v| !v.is_finite()).count();
            if count > 0 {
                return Err(Error::NotFinite { place: format!("direction {i}"), count });
            }
            if !(along.accuracy >= 1e-6 && along.accuracy < 1.0) {
                let what = format!("quantiles to a relative error of {}", along.accuracy);
                return Err(Error::refused(what, "give a number from 0.000001 up to 1, such as 0.001"));
            }
        }
        let print = print(&widths, scatter, &directions);
        Ok(Shape { widths, scatter, directions, print })
    }

    /// Columns of each site.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// What is kept of the scatter matrices.
    pub fn scatter(&self) -> Scatter {
        self.scatter
    }

    /// The directions on which rows are projected.
    pub fn directions(&self) -> &[Along] {
        &self.directions
    }

    /// Bytes of memory that a group takes once it has many rows. Quantiles are counted as they are for projections that
    /// spread over a factor of 100 on both sides of zero.
    pub fn bytes_of_group(&self) -> usize {
        let scatter = |width: usize| match self.scatter {
            Scatter::None => 0,
            Scatter::Full => full::bytes(width),
            Scatter::Sketch { rows } => sketch::bytes(width, rows),
        };
        let sites: usize = self.widths.iter().map(|w| site::VALUE_BYTES * w + scatter(*w)).sum();
        // Two stores of ln(100) / (2 accuracy) bins; a bin is 12 bytes in nodes that are two thirds full.
        let bins = |accuracy: f64| (100f64.ln() / accuracy) as usize;
        sites + self.directions.iter().map(|a| 18 * bins(a.accuracy)).sum::<usize>()
    }

    /// Tells one shape from another.
    pub fn print(&self) -> &[u8; 32] {
        &self.print
    }
}

fn print(widths: &[usize], scatter: Scatter, directions: &[Along]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"moments 1");
    let mut number = |n: usize| hash.update((n as u64).to_le_bytes());
    number(widths.len());
    widths.iter().for_each(|w| number(*w));
    match scatter {
        Scatter::None => number(0),
        Scatter::Full => number(1),
        Scatter::Sketch { rows } => [2, rows].into_iter().for_each(number),
    }
    for along in directions {
        hash.update((along.site as u64).to_le_bytes());
        hash.update(along.accuracy.to_le_bytes());
        along.unit.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_that_do_not_fit_are_refused() {
        let with = |along: Along| Shape::new(vec![2, 3], Scatter::None, vec![along]);
        assert!(with(Along::new(1, vec![1.0, 0.0, 0.0])).is_ok());
        assert!(with(Along::new(0, vec![1.0, 0.0, 0.0])).is_err());
        assert!(with(Along::new(2, vec![1.0])).is_err() && with(Along::new(2, vec![])).is_err());
        assert!(with(Along::new(0, vec![1.0, f32::NAN])).is_err());
        for accuracy in [0.0, -0.1, 1.0, f64::NAN] {
            assert!(with(Along { accuracy, ..Along::new(0, vec![1.0, 0.0]) }).is_err(), "{accuracy}");
        }
        assert!(Shape::new(vec![2], Scatter::Sketch { rows: 0 }, vec![]).is_err());
        assert!(Shape::new(vec![2, 0], Scatter::Full, vec![]).is_err());
    }

    #[test]
    fn a_group_of_means_takes_24_bytes_a_value() {
        let plain = Shape::new(vec![768; 12], Scatter::None, vec![]).unwrap();
        assert_eq!(plain.bytes_of_group(), 24 * 768 * 12);
    }
}
