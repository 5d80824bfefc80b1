//! Vectors in files: signed displacements at sites, with what is known of how each came to be.
//!
//! In memory a vector is a unit vector and the length that it had, always at a [`Site`]. The numbering of other programs
//! lives in the reader and the writer of their format and nowhere else.

mod arrays;
mod assistant_axis;
mod capping;
mod file;
mod format;
mod gguf;
mod llamacpp;
mod native;
mod persona_vectors;
pub mod pickle;
mod recognise;
mod rows;
mod steering_vectors;
mod svec;
mod words;
mod written;

pub use capping::Cap;
pub use file::{File, ReadOptions, read};
pub use format::{Facts, Format, Producer, Sites};
pub use native::{decode, encode};
pub use words::place;
pub use written::{WriteOptions, write};

use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A vector at a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    pub site: Site,
    /// Tells vectors at one site apart; empty where there is one.
    pub name: String,
    /// Unit length, `[d_model]`. Larger projections mean [`About::positive`].
    pub unit: Vec<f32>,
    /// Length before normalising, in activation units.
    pub raw_norm: f64,
    pub about: About,
}

/// Where a vector comes from. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The rows it was fitted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pick: Option<Pick>,
    /// What larger projections mean, in words.
    #[serde(rename = "larger_projection_means")]
    pub positive: String,
    /// What smaller projections mean, in words.
    #[serde(rename = "smaller_projection_means")]
    pub negative: String,
    /// Method and data.
    pub origin: String,
    /// The producer's own numbering and scale, in words, where it is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convention: Option<String>,
    /// Mean length of the residual stream at the site, over the rows it was fitted on. A strength in `n` is measured anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_norm: Option<f64>,
    /// What the numbers were stored as by their producer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Blocks of the model: what tells the last one, after which Hugging Face norms, from the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_layers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_hash: Option<String>,
    /// Rows with the larger and with the smaller label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<[usize; 2]>,
    /// Anything else that a producer or a later version says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Vector {
    /// Normalises `raw`, in activation units, in f64.
    ///
    /// # Errors
    /// A vector that is zero or not finite.
    pub fn new(site: Site, name: &str, raw: &[f64], about: About) -> Result<Vector> {
        let raw_norm = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
        if !(raw_norm > 0.0 && raw_norm.is_finite()) {
            let what = format!("the vector `{}` has length {raw_norm}", key(site, name));
            return Err(Error::refused(what, "a direction needs a length: leave it out, or make it again"));
        }
        let unit = raw.iter().map(|v| (v / raw_norm) as f32).collect();
        Ok(Vector { site, name: name.into(), unit, raw_norm, about })
    }

    /// Its name in files: the site, and behind a slash what tells it from others there.
    pub fn key(&self) -> String {
        key(self.site, &self.name)
    }

    /// The vector as long as it was, in activation units.
    pub fn raw(&self) -> Vec<f64> {
        self.unit.iter().map(|v| f64::from(*v) * self.raw_norm).collect()
    }
}

impl From<&Direction> for Vector {
    fn from(d: &Direction) -> Vector {
        let about = About {
            pick: Some(d.pick),
            positive: d.positive.clone(),
            negative: d.negative.clone(),
            origin: d.origin.clone(),
            ..About::default()
        };
        Vector { site: d.site, name: String::new(), unit: d.unit.to_vec(), raw_norm: d.raw_norm, about }
    }
}

/// The name of a vector in files.
pub fn key(site: Site, name: &str) -> String {
    if name.is_empty() { site.to_string() } else { format!("{site}/{name}") }
}

/// The site and the name of such a key; `None` where it begins with no site.
pub fn parse_key(key: &str) -> Option<(Site, &str)> {
    let (site, name) = key.split_once('/').unwrap_or((key, ""));
    Some((site.parse().ok()?, name)).filter(|_| !key.ends_with('/'))
}
