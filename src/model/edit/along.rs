//! Interventions along one direction, as one formula.
//!
//! With a unit direction u and c = x . u: `x + (f(c) - c) u`. The four choices of f are kept apart by name, because
//! "project out and add a multiple back" is not the identity at 1.

use super::{Positions, Rewrite};
use crate::axes::Site;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::model::copies::Copies;
use crate::model::kernels::{Move, RowMove, move_rows, portable};
use crate::model::pass::{Edit, How};
use crate::model::rows::Example;
use candle_core::{Device, Tensor};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Rewrites the coordinate along one direction at one site and leaves everything orthogonal to it alone.
#[derive(Clone, Debug)]
pub struct Along {
    site: Site,
    unit: Arc<[f32]>,
    row: Copies,
    rewrite: Rewrite,
    positions: Positions,
    digest: String,
}

impl Along {
    /// An edit at `site` along a vector of unit length.
    ///
    /// # Errors
    /// A vector that is not of unit length within 1e-4, `logits`, an empty clamp, an amount that is not a number.
    pub fn new(site: Site, unit: &[f32], rewrite: Rewrite, positions: Positions) -> Result<Along> {
        let norm = unit.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let what = match () {
            () if (norm - 1.0).abs() > 1e-4 || norm.is_nan() => {
                format!("an edit at {site} needs a unit vector, got length {norm}")
            }
            () if !rewrite.is_sound() => format!("an edit at {site} cannot do {rewrite:?}"),
            () if site == Site::Logits => "logits are read, not edited".into(),
            () => {
                let row = Copies::of(Tensor::from_slice(unit, (1, unit.len()), &Device::Cpu)?);
                let along =
                    Along { site, unit: unit.into(), row, rewrite, positions: Positions::All, digest: String::new() };
                return Ok(along.with(rewrite, positions));
            }
        };
        Err(Error::refused(what, "give a unit vector at a block's site and finite amounts with lo <= hi"))
    }

    /// Steering along a direction where it was fitted; `amount` in activation units.
    pub fn shift(direction: &Direction, amount: f64, positions: Positions) -> Result<Along> {
        let unit = direction.unit.to_vec();
        Along::new(direction.site, &unit, Rewrite::Shift(amount), positions)
    }

    /// The same direction with another amount and at other positions. The numbers of the direction are shared.
    ///
    /// # Errors
    /// An empty clamp, an amount that is not a number.
    pub fn and(&self, rewrite: Rewrite, positions: Positions) -> Result<Along> {
        if !rewrite.is_sound() {
            let what = format!("an edit at {} cannot do {rewrite:?}", self.site);
            return Err(Error::refused(what, "give finite amounts with lo <= hi"));
        }
        Ok(self.with(rewrite, positions))
    }

    fn with(&self, rewrite: Rewrite, positions: Positions) -> Along {
        let mut hash = Sha256::new();
        self.unit.iter().for_each(|v| hash.update(v.to_le_bytes()));
        // Amounts by their bits: a decimal form may round.
        let m = rewrite.as_move();
        let amounts = [m.slope, m.shift, m.lo, m.hi].map(f64::to_bits);
        hash.update(json!([self.site, amounts, positions]).to_string());
        let digest = format!("{:x}", hash.finalize());
        Along { rewrite, positions, digest, ..self.clone() }
    }

    /// All rows of `x [row, d_model]` as it leaves them, wherever they stand.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let by = self.rewrite.as_move();
        let rows = 0..x.dim(0)?;
        if portable::applies(x) {
            let moves: Vec<_> = rows.map(|row| (row, 0, by)).collect();
            return Ok(portable::move_rows(x, &[self.row.on(x.device())?], &moves)?.0);
        }
        let moves: Vec<_> = rows.map(|row| RowMove { row, unit: &self.unit, by }).collect();
        Ok(move_rows(x, &moves)?.0)
    }

    /// The site it rewrites.
    pub fn site(&self) -> Site {
        self.site
    }

    /// What it does to the coordinate.
    pub fn rewrite(&self) -> Rewrite {
        self.rewrite
    }

    /// A digest of everything that decides its effect, for the address of a unit of work.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl Edit for Along {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }

    fn covers(&self, example: &Example, pos: usize) -> bool {
        self.positions.covers(example, pos)
    }

    fn first(&self, prompt_len: usize) -> usize {
        self.positions.first(prompt_len)
    }

    fn how(&self) -> How<'_> {
        How::Along(Line { unit: &self.unit, row: &self.row, by: self.rewrite.as_move() })
    }
}

/// A direction and what becomes of the coordinate along it.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// `[d_model]`, of length 1.
    pub(in crate::model) unit: &'a [f32],
    /// The same `[1, d_model]`, where a pass computes.
    pub(in crate::model) row: &'a Copies,
    pub(in crate::model) by: Move,
}
