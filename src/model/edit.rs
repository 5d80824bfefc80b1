//! Interventions along one direction, as one formula.
//!
//! With a unit direction u and c = x . u: `x + (f(c) - c) u`. The four choices of f are kept apart by name, because
//! "project out and add a multiple back" is not the identity at 1. c and f(c) are f32 whatever the stream is.

use super::copies::Copies;
use super::pass::Edit;
use super::rows::Example;
use crate::axes::Site;
use crate::direction::Direction;
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
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
    /// c kept within [lo, hi]: a cap.
    Clamp { lo: f64, hi: f64 },
}

impl Rewrite {
    fn is_nothing(self) -> bool {
        match self {
            Rewrite::Shift(a) => a == 0.0,
            Rewrite::Scale(k) => k == 1.0,
            Rewrite::Pin(_) => false,
            Rewrite::Clamp { lo, hi } => lo == f64::NEG_INFINITY && hi == f64::INFINITY,
        }
    }
}

/// Which positions of an example an edit rewrites. Absolute: with a cache "the last one" would be every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    All,
    /// Every token of the prompt.
    Prompt,
    /// The last token of the prompt alone.
    LastPrompt,
    /// The reply, generated or given.
    Generated,
    /// These positions.
    At(Vec<usize>),
}

impl Positions {
    fn covers(&self, example: &Example, pos: usize) -> bool {
        match self {
            Positions::All => true,
            Positions::Prompt => pos < example.prompt_len,
            Positions::LastPrompt => pos + 1 == example.prompt_len,
            Positions::Generated => pos >= example.prompt_len,
            Positions::At(list) => list.contains(&pos),
        }
    }
}

/// Rewrites the coordinate along one direction at one site and leaves everything orthogonal to it alone.
#[derive(Clone, Debug)]
pub struct Along {
    site: Site,
    unit: Vec<f32>,
    column: Copies,
    rewrite: Rewrite,
    positions: Positions,
}

impl Along {
    /// An edit at `site` along a vector of unit length.
    ///
    /// # Errors
    /// A vector that is not of unit length within 1e-4, `logits`, an empty clamp, an amount that is not a number.
    pub fn new(site: Site, unit: &[f32], rewrite: Rewrite, positions: Positions) -> Result<Along> {
        let norm = unit.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let bad = match rewrite {
            Rewrite::Shift(a) | Rewrite::Scale(a) | Rewrite::Pin(a) => !a.is_finite(),
            Rewrite::Clamp { lo, hi } => lo.is_nan() || hi.is_nan() || lo > hi,
        };
        let what = match () {
            () if (norm - 1.0).abs() > 1e-4 || norm.is_nan() => {
                format!("an edit at {site} needs a unit vector, got length {norm}")
            }
            () if bad => format!("an edit at {site} cannot do {rewrite:?}"),
            () if site == Site::Logits => "logits are read, not edited".into(),
            () => {
                let column = Copies::of(Tensor::from_slice(unit, (unit.len(), 1), &Device::Cpu)?);
                return Ok(Along { site, unit: unit.to_vec(), column, rewrite, positions });
            }
        };
        Err(Error::refused(what, "give a unit vector at a block's site and finite amounts with lo <= hi"))
    }

    /// Steering along a direction where it was fitted; `amount` in activation units.
    pub fn shift(direction: &Direction, amount: f64, positions: Positions) -> Result<Along> {
        let unit = direction.unit.to_vec();
        Along::new(direction.site, &unit, Rewrite::Shift(amount), positions)
    }

    /// The site it rewrites.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Everything that decides its effect, for the address of a unit of work.
    pub fn describe(&self) -> serde_json::Value {
        let bits: Vec<u32> = self.unit.iter().map(|v| v.to_bits()).collect();
        serde_json::json!({ "site": self.site, "unit_bits": bits, "rewrite": format!("{:?}", self.rewrite), "positions": self.positions })
    }
}

impl Edit for Along {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }

    fn covers(&self, example: &Example, pos: usize) -> bool {
        self.positions.covers(example, pos)
    }

    fn apply(&self, _: Site, x: &Tensor) -> Result<Tensor> {
        if self.rewrite.is_nothing() {
            return Ok(x.clone());
        }
        let full = x.to_dtype(DType::F32)?;
        let column = self.column.on(x.device())?;
        let c = full.contiguous()?.matmul(&column)?; // [row, 1]
        let moved = match self.rewrite {
            Rewrite::Shift(a) => (c.zeros_like()? + a)?,
            Rewrite::Scale(k) => (&c * (k - 1.0))?,
            Rewrite::Pin(m) => (m - &c)?,
            // candle's clamp takes infinities, but 0 * inf inside it would not.
            Rewrite::Clamp { lo, hi } => {
                (c.maximum(lo.max(f64::from(f32::MIN)) as f32)?.minimum(hi.min(f64::from(f32::MAX)) as f32)? - &c)?
            }
        };
        Ok((full + moved.broadcast_mul(&column.t()?)?)?.to_dtype(x.dtype())?)
    }

    fn coordinate(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let column = self.column.on(x.device())?;
        Ok(Some(x.to_dtype(DType::F32)?.contiguous()?.matmul(&column)?.flatten_all()?))
    }
}
