//! Activations: points in a model's space, with a key per row that says where each came from.

use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, Axis};

/// Where one row of an [`Activations`] came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowKey {
    /// The prompt's id.
    pub id: String,
    /// The unit over which rows are independent: persona, or conversation. Splits and bootstraps go by it.
    pub group: String,
    /// The turn, counted from 0 over the messages of the prompt.
    pub turn: Option<usize>,
    /// Absolute position of the token; `None` where the row is a mean.
    pub pos: Option<usize>,
}

/// Activations at one site and pick, `[row, d_model]`, f32 as they leave the model.
#[derive(Clone, Debug)]
pub struct Activations {
    pub site: Site,
    pub pick: Pick,
    pub rows: Array2<f32>,
    pub keys: Vec<RowKey>,
}

impl Activations {
    /// Joins rows and keys.
    ///
    /// # Errors
    /// Row and key counts that differ, or values that are not finite.
    pub fn new(site: Site, pick: Pick, rows: Array2<f32>, keys: Vec<RowKey>) -> Result<Activations> {
        if rows.nrows() != keys.len() {
            let (found, expected) = (vec![rows.nrows(), rows.ncols()], vec![keys.len(), rows.ncols()]);
            return Err(Error::Shape { place: site.to_string(), name: "activations".into(), found, expected });
        }
        let count = rows.iter().filter(|v| !v.is_finite()).count();
        if count > 0 {
            return Err(Error::NotFinite { place: format!("activations at {site}"), count });
        }
        Ok(Activations { site, pick, rows, keys })
    }

    /// The mean of the rows with the given indices, in f64.
    pub fn mean(&self, rows: &[usize]) -> Array1<f64> {
        let mut sum = Array1::<f64>::zeros(self.rows.ncols());
        for &r in rows {
            sum.zip_mut_with(&self.rows.index_axis(Axis(0), r), |s, x| *s += f64::from(*x));
        }
        sum / rows.len().max(1) as f64
    }

    /// The distinct groups, in order of first appearance, each with its rows.
    pub fn groups(&self) -> Vec<(String, Vec<usize>)> {
        let mut place = std::collections::HashMap::new();
        let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
        for (r, key) in self.keys.iter().enumerate() {
            let g = *place.entry(key.group.clone()).or_insert_with(|| {
                groups.push((key.group.clone(), Vec::new()));
                groups.len() - 1
            });
            groups[g].1.push(r);
        }
        groups
    }
}
