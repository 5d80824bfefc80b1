//! Activation patching: rows of one run put, whole or in part, into another.

use super::Positions;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::pass::{Edit, How, Replace, Seen};
use crate::model::rows::Example;
use candle_core::{DType, Tensor};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Rows to put at the positions of one example.
#[derive(Clone, Debug, PartialEq)]
pub enum Donor {
    /// One row, `[d_model]`, for every position.
    One(Vec<f32>),
    /// Rows by their positions, ascending. Positions without a row are left alone.
    Each(Vec<(usize, Vec<f32>)>),
}

/// Replaces activations: `x + s (row - x)`, with s = 1 the stored row, with s = 0 nothing.
#[derive(Clone, Debug)]
pub struct Patch {
    site: Site,
    donor: Arc<Donor>,
    strength: f64,
    positions: Positions,
    digest: String,
}

impl Patch {
    /// An edit at `site` for the example that lists it.
    ///
    /// # Errors
    /// `logits`, a strength that is no number, a row that is zero or not finite.
    pub fn new(site: Site, donor: Arc<Donor>, strength: f64, positions: Positions) -> Result<Patch> {
        let rows: Vec<(Option<usize>, &Vec<f32>)> = match &*donor {
            Donor::One(row) => vec![(None, row)],
            Donor::Each(rows) => rows.iter().map(|(pos, row)| (Some(*pos), row)).collect(),
        };
        let length = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let bad = rows.iter().any(|(_, r)| !(length(r) > 0.0 && length(r).is_finite()));
        let what = match () {
            () if site == Site::Logits => "logits are read, not edited".into(),
            () if !strength.is_finite() => format!("a patch at {site} of strength {strength}"),
            () if bad || rows.is_empty() => format!("a patch at {site} with no row, or one that is zero or not finite"),
            () => {
                let mut hash = Sha256::new();
                hash.update(json!(["patch", site, strength.to_bits(), positions]).to_string());
                for (pos, row) in rows {
                    hash.update(json!(pos).to_string());
                    row.iter().for_each(|v| hash.update(v.to_le_bytes()));
                }
                let digest = format!("{:x}", hash.finalize());
                return Ok(Patch { site, donor, strength, positions, digest });
            }
        };
        Err(Error::refused(what, "give finite rows of a block's site; strength 1 is the whole row"))
    }

    /// The site it rewrites.
    pub fn site(&self) -> Site {
        self.site
    }

    /// A digest of everything that decides its effect.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    fn row(&self, pos: usize) -> Option<&[f32]> {
        match &*self.donor {
            Donor::One(row) => Some(row),
            Donor::Each(rows) => rows.binary_search_by_key(&pos, |r| r.0).ok().map(|at| &rows[at].1[..]),
        }
    }

    /// The rows for some positions, `[row, d_model]` in f32, where `x` is.
    fn rows(&self, positions: &[usize], x: &Tensor) -> Result<Tensor> {
        let (n, d) = x.dims2()?;
        let mut all = Vec::with_capacity(n * d);
        for pos in positions {
            let row = self.row(*pos).unwrap_or_default();
            if row.len() != d {
                let (found, expected) = (vec![row.len()], vec![d]);
                return Err(Error::Shape { place: self.site.to_string(), name: "patch".into(), found, expected });
            }
            all.extend_from_slice(row);
        }
        Ok(Tensor::from_vec(all, (n, d), x.device())?)
    }
}

impl Edit for Patch {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }

    fn covers(&self, example: &Example, pos: usize) -> bool {
        self.positions.covers(example, pos) && self.row(pos).is_some()
    }

    fn first(&self, prompt_len: usize) -> usize {
        self.positions.first(prompt_len)
    }

    fn how(&self) -> How<'_> {
        How::Rows(self)
    }
}

impl Replace for Patch {
    /// The coordinate of its receipt is the one along the stored row itself, so that it ends at that row's length.
    fn replace(&self, positions: &[usize], x: &Tensor) -> Result<(Tensor, Seen)> {
        let (full, rows) = (x.to_dtype(DType::F32)?, self.rows(positions, x)?);
        let after = match self.strength {
            0.0 => x.clone(),
            // The whole row, to the bit: x + (row - x) would round.
            1.0 => rows.to_dtype(x.dtype())?,
            s => (&full + ((&rows - &full)? * s)?)?.to_dtype(x.dtype())?,
        };
        let length = rows.sqr()?.sum(1)?.sqrt()?;
        let along = |x: &Tensor| x.to_dtype(DType::F32)?.mul(&rows)?.sum(1)?.div(&length);
        let before = along(x)?;
        let wanted = (&before + ((&length - &before)? * self.strength)?)?;
        let seen = Seen { before, after: along(&after)?, wanted, sizes: [lengths(x)?, lengths(&after)?] };
        Ok((after, seen))
    }
}

/// The length of each row, in f32.
fn lengths(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F32)?.sqr()?.sum(1)?.sqrt()?)
}
