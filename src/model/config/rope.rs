//! What a configuration says of rotary positions, in both spellings.
//!
//! Checkpoints of the hub have `rope_theta`, `rope_scaling` and `partial_rotary_factor`; transformers 5 writes one object,
//! `rope_parameters`, nested per kind of layer where kinds differ.

use super::Config;
use crate::error::{Error, Result};
use crate::model::kernels::RopeTable;
use serde_json::{Map, Value};
use std::f32::consts::TAU;

/// Rotary positions of one kind of layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Part of a head that turns.
    pub partial: f64,
    pub scaling: Scaling,
    /// Positions before any scaling: what the frequencies were trained on.
    pub trained: usize,
}

/// How frequencies are stretched to reach further than they were trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    None,
    /// Chen et al. 2023: all by one factor.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: long waves by the factor, short ones not, a ramp between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
    },
    /// Peng et al. 2023, "YaRN".
    Yarn {
        factor: f64,
        attention: f64,
        fast: f64,
        slow: f64,
        truncate: bool,
    },
    /// Ding et al. 2024: a factor for every frequency, others in sequences longer than `trained`.
    LongRope {
        short: Vec<f64>,
        long: Vec<f64>,
        attention: f64,
    },
}

/// Tables are sized by positions before weights are seen.
const MOST_POSITIONS: usize = 1 << 24;

/// Keys that belong to all kinds.
const COMMON: &[&str] =
    &["rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"];

impl Config<'_> {
    /// The rotary positions where all layers share them. `theta` and `partial` are the architecture's defaults.
    ///
    /// # Errors
    /// A scaling that is not supported, a key of it that is not, a number that cannot be.
    pub fn rope(&mut self, theta: f64, partial: f64, n_ctx: usize) -> Result<Rope> {
        let theta = self.positive("rope_theta")?.unwrap_or(theta);
        let partial = self.positive("partial_rotary_factor")?.unwrap_or(partial);
        // Phi-3 keeps the length outside of the object.
        let outside = self.count_or("original_max_position_embeddings", 0)?;
        let (key, value) = match self.value("rope_parameters") {
            Some(value) => ("rope_parameters", Some(value)),
            None => ("rope_scaling", self.value("rope_scaling")),
        };
        self.value("rope_scaling");
        let empty = Value::Object(Map::new());
        self.rope_object(key, value.unwrap_or(&empty), theta, partial, n_ctx, outside)
    }

    /// The rotary positions of one kind of layer in nested `rope_parameters`; `None` where they are not nested.
    pub fn nested_rope(&mut self, kind: &str, theta: f64, n_ctx: usize) -> Result<Option<Rope>> {
        let Some(value) = self.value("rope_parameters") else { return Ok(None) };
        let Some(own) = value.get(kind).filter(|v| !v.is_null()) else {
            return Err(self.bad("rope_parameters", format!("has nothing for layers of kind `{kind}`")));
        };
        self.rope_object(&format!("rope_parameters.{kind}"), own, theta, 1.0, n_ctx, 0).map(Some)
    }

    fn rope_object(
        &self,
        key: &str,
        value: &Value,
        theta: f64,
        partial: f64,
        n_ctx: usize,
        outside: usize,
    ) -> Result<Rope> {
        let map = value.as_object().ok_or_else(|| self.bad(key, format!("{value} is no object")))?;
        let o = Object { config: self, key, map };
        let theta = o.positive("rope_theta")?.unwrap_or(theta);
        let partial = o.positive("partial_rotary_factor")?.unwrap_or(partial);
        if partial > 1.0 || theta <= 1.0 {
            return Err(self.bad(key, format!("a base of {theta} on {partial} of a head cannot be")));
        }
        let inside = o.positive("original_max_position_embeddings")?.map(|v| v as usize);
        let trained = if outside > 0 { outside } else { inside.unwrap_or(n_ctx) };
        let kind = map.get("rope_type").or(map.get("type")).filter(|v| !v.is_null());
        let kind = kind.map_or(Some("default"), Value::as_str);
        let (scaling, known): (_, &[&str]) = match kind {
            Some("default") => (Scaling::None, &[]),
            Some("linear") => (Scaling::Linear { factor: o.needed("factor")? }, &["factor"]),
            Some("llama3") => {
                let (factor, low, high) =
                    (o.needed("factor")?, o.needed("low_freq_factor")?, o.needed("high_freq_factor")?);
                (Scaling::Llama3 { factor, low, high }, &["factor", "low_freq_factor", "high_freq_factor"])
            }
            Some("yarn") => (o.yarn(n_ctx, trained)?, YARN),
            Some("longrope" | "su") => (o.longrope(n_ctx, trained)?, LONGROPE),
            _ => {
                let known = "default, linear, llama3, yarn, longrope";
                let kind = map.get("rope_type").or(map.get("type")).unwrap_or(&Value::Null);
                return Err(self.bad(key, format!("rope of type {kind} is not supported; supported: {known}")));
            }
        };
        let other =
            map.iter().find(|(k, v)| !v.is_null() && !known.contains(&k.as_str()) && !COMMON.contains(&k.as_str()));
        let rope = Rope { theta, partial, scaling, trained };
        if rope.reach(n_ctx) > MOST_POSITIONS {
            return Err(self.bad(key, format!("{} positions are more than any model has", rope.reach(n_ctx))));
        }
        match other {
            Some((k, v)) => {
                Err(self.bad(&format!("{key}.{k}"), format!("{v} is not handled, and could change the model")))
            }
            None => Ok(rope),
        }
    }
}

const YARN: &[&str] = &["factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"];
const LONGROPE: &[&str] = &["factor", "attention_factor", "short_factor", "long_factor"];

/// The object that is being read.
struct Object<'a> {
    config: &'a Config<'a>,
    key: &'a str,
    map: &'a Map<String, Value>,
}

impl Object<'_> {
    fn bad(&self, name: &str, reason: impl std::fmt::Display) -> Error {
        self.config.bad(&format!("{}.{name}", self.key), reason)
    }

    fn positive(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.map.get(name).filter(|v| !v.is_null()) else { return Ok(None) };
        let number = value.as_f64().filter(|v| *v > 0.0 && v.is_finite());
        number.map(Some).ok_or_else(|| self.bad(name, format!("{value} is no positive number")))
    }

    fn needed(&self, name: &str) -> Result<f64> {
        self.positive(name)?.ok_or_else(|| self.bad(name, "is missing"))
    }

    fn factors(&self, name: &str) -> Result<Vec<f64>> {
        let value = self.map.get(name).ok_or_else(|| self.bad(name, "is missing"))?;
        let number = |v: &Value| v.as_f64().filter(|v| *v > 0.0 && v.is_finite());
        let list = value.as_array().and_then(|l| l.iter().map(number).collect());
        list.ok_or_else(|| self.bad(name, "is no list of positive numbers"))
    }

    /// Without a factor it is how much further the model reaches than it was trained.
    fn factor_or_ratio(&self, n_ctx: usize, trained: usize) -> Result<f64> {
        Ok(self.positive("factor")?.unwrap_or(n_ctx as f64 / trained as f64))
    }

    fn yarn(&self, n_ctx: usize, trained: usize) -> Result<Scaling> {
        let factor = self.factor_or_ratio(n_ctx, trained)?;
        let magnitude = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
        let attention =
            match (self.positive("attention_factor")?, self.positive("mscale")?, self.positive("mscale_all_dim")?) {
                (Some(given), ..) => given,
                (None, Some(m), Some(all)) => magnitude(m) / magnitude(all),
                _ => magnitude(1.0),
            };
        let (fast, slow) = (self.positive("beta_fast")?.unwrap_or(32.0), self.positive("beta_slow")?.unwrap_or(1.0));
        let truncate = match self.map.get("truncate") {
            None | Some(Value::Null) => true,
            Some(v) => v.as_bool().ok_or_else(|| self.bad("truncate", format!("{v} is neither true nor false")))?,
        };
        Ok(Scaling::Yarn { factor, attention, fast, slow, truncate })
    }

    fn longrope(&self, n_ctx: usize, trained: usize) -> Result<Scaling> {
        let factor = self.factor_or_ratio(n_ctx, trained)?;
        let given = self.positive("attention_factor")?;
        let attention = given
            .unwrap_or_else(|| if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (trained as f64).ln()).sqrt() });
        Ok(Scaling::LongRope { short: self.factors("short_factor")?, long: self.factors("long_factor")?, attention })
    }
}

impl Rope {
    /// Columns of a head that turn.
    pub fn turned(&self, d_head: usize) -> usize {
        (d_head as f64 * self.partial) as usize
    }

    /// Positions that exist: those of the model, or as far as the scaling reaches.
    pub fn reach(&self, n_ctx: usize) -> usize {
        let factor = match self.scaling {
            Scaling::Linear { factor } | Scaling::Yarn { factor, .. } | Scaling::Llama3 { factor, .. } => factor,
            Scaling::None | Scaling::LongRope { .. } => 1.0,
        };
        n_ctx.max((self.trained as f64 * factor) as usize)
    }

    /// The table for heads of `d_head` and these many positions.
    ///
    /// Frequencies are rounded to f32 where the reference implementation rounds them.
    ///
    /// # Errors
    /// Factors that do not fit the head, or a number of turning columns that is odd.
    pub fn table(&self, config: &Config, d_head: usize, positions: usize) -> Result<RopeTable> {
        let turned = self.turned(d_head);
        if turned == 0 || !turned.is_multiple_of(2) {
            return Err(
                config.bad("head_dim", format!("rotary positions turn pairs, but {turned} of {d_head} columns turn"))
            );
        }
        let frequencies = base_frequencies(turned, self.theta);
        Ok(match &self.scaling {
            Scaling::None => RopeTable::from_frequencies(frequencies, 1.0, positions),
            Scaling::Linear { factor } => {
                let slower = frequencies.into_iter().map(|f| f / *factor as f32).collect();
                RopeTable::from_frequencies(slower, 1.0, positions)
            }
            Scaling::Llama3 { factor, low, high } => {
                let bent = frequencies.into_iter().map(|f| llama3(f, *factor, *low, *high, self.trained)).collect();
                RopeTable::from_frequencies(bent, 1.0, positions)
            }
            Scaling::Yarn { factor, attention, fast, slow, truncate } => {
                let range = self.yarn_range(turned, *fast, *slow, *truncate);
                let bent = yarn(turned, self.theta, *factor, range);
                RopeTable::from_frequencies(bent, *attention, positions)
            }
            Scaling::LongRope { short, long, attention } => {
                if [short, long].iter().any(|f| f.len() != turned / 2) {
                    let reason = format!("{} and {} factors for {} frequencies", short.len(), long.len(), turned / 2);
                    return Err(config.bad("rope_scaling", reason));
                }
                let by = |factors: &[f64]| -> Vec<f32> {
                    let powers = (0..turned / 2).map(|i| power(self.theta, i, turned));
                    factors.iter().zip(powers).map(|(f, p)| 1.0 / (*f as f32 * p)).collect()
                };
                RopeTable::from_frequencies(by(short), *attention, positions).with_long(by(long), self.trained)
            }
        })
    }

    /// Between which frequencies the ramp of YaRN lies (equation 17 and the text below it).
    fn yarn_range(&self, turned: usize, fast: f64, slow: f64, truncate: bool) -> (f64, f64) {
        let d = turned as f64;
        let at =
            |turns: f64| d * (self.trained as f64 / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.theta.ln());
        let (low, high) = (at(fast), at(slow));
        let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
        (low.max(0.0), high.min(d - 1.0))
    }
}

/// `theta^(2 i / d)`.
fn power(theta: f64, i: usize, d: usize) -> f32 {
    (theta as f32).powf(2.0 * i as f32 / d as f32)
}

fn base_frequencies(d: usize, theta: f64) -> Vec<f32> {
    (0..d / 2).map(|i| 1.0 / power(theta, i, d)).collect()
}

fn llama3(f: f32, factor: f64, low: f64, high: f64, trained: usize) -> f32 {
    let (length, factor, low, high) = (trained as f32, factor as f32, low as f32, high as f32);
    let wave = TAU / f;
    match () {
        () if wave < length / high => f,
        () if wave > length / low => f / factor,
        () => {
            let smooth = (length / wave - low) / (high - low);
            (1.0 - smooth) * f / factor + smooth * f
        }
    }
}

fn yarn(d: usize, theta: f64, factor: f64, (low, high): (f64, f64)) -> Vec<f32> {
    // Equal ends would divide by nothing.
    let high = if low == high { high + 0.001 } else { high };
    let one = |i: usize| {
        let keep = 1.0 - ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        let p = power(theta, i, d);
        1.0 / (factor as f32 * p) * (1.0 - keep) + 1.0 / p * keep
    };
    (0..d / 2).map(one).collect()
}
