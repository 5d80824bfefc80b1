//! Running moments: what is kept of rows that stream by. Nothing here knows models or files.
//!
//! Rows come with a group and a weight, one row per site. Of each group and site the weighted mean, the sum of the
//! weighted squared deviations from it (M2) and, where asked, the scatter matrix are kept, and for given directions the
//! spread of the projections with quantiles. Parts made side by side are merged: the same parts merged in the same
//! order give the same bits, and any other cut or order gives the same numbers to within 1e-12 of their size.
//!
//! Means and M2 are carried to twice the precision of f64 (`twofold`), so that this holds for coordinates whose mean is
//! thousands of times their spread, and for any number of rows. Updates are West's (1979), merges those of Chan, Golub and
//! LeVeque (1983), "Algorithms for computing the sample variance".

mod bytes;
mod full;
mod group;
mod projected;
mod quantiles;
mod shape;
mod site;
mod sketch;
mod twofold;

#[cfg(test)]
mod properties;

pub use group::Group;
pub use projected::Projected;
pub use quantiles::Quantiles;
pub use shape::{ACCURACY, Along, Scatter, Shape};
pub use site::SiteMoments;
pub use sketch::Sketched;

use std::collections::BTreeMap;
use std::sync::Arc;

/// The moments of some rows, by group.
#[derive(Clone, Debug)]
pub struct Running {
    shape: Arc<Shape>,
    groups: BTreeMap<u32, Group>,
}

impl Running {
    /// Of no rows.
    pub fn new(shape: Arc<Shape>) -> Running {
        Running { shape, groups: BTreeMap::new() }
    }

    /// What is kept.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Takes a row in: one for every site of the shape, in its order. All values must be finite.
    ///
    /// # Panics
    /// If the rows do not fit the shape or the weight is not a positive number: a defect of the caller.
    pub fn push(&mut self, group: u32, weight: f64, rows: &[&[f32]]) {
        assert!(weight > 0.0 && weight.is_finite(), "a weight of {weight}");
        let fits = rows.iter().map(|r| r.len()).eq(self.shape.widths().iter().copied());
        assert!(fits, "rows do not fit the moments");
        self.groups.entry(group).or_insert_with(|| Group::new(&self.shape)).push(&self.shape, weight, rows);
    }

    /// Takes the rows of another in, as if they had been pushed behind those that are here.
    ///
    /// # Panics
    /// If the shapes differ: a defect of the caller.
    pub fn merge(&mut self, other: &Running) {
        assert!(self.shape == other.shape, "moments of two shapes");
        for (index, theirs) in &other.groups {
            match self.groups.get_mut(index) {
                Some(ours) => ours.merge(theirs),
                None => {
                    self.groups.insert(*index, theirs.clone());
                }
            }
        }
    }

    /// The groups that have rows, by index.
    pub fn groups(&self) -> impl Iterator<Item = (u32, &Group)> {
        self.groups.iter().map(|(index, group)| (*index, group))
    }

    /// A group, if it has rows.
    pub fn group(&self, index: u32) -> Option<&Group> {
        self.groups.get(&index)
    }

    /// Bytes of memory that are held.
    pub fn bytes(&self) -> usize {
        self.groups.values().map(Group::bytes).sum()
    }
}
