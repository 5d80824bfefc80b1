//! Running moments as files: `moments.safetensors`, `groups.csv` and, where directions were given, `projections.csv`.
//!
//! A tensor has a row for each group that has enough rows; `groups.csv` has a line for every group that was asked for and
//! says which row is its own, or why it has none. All numbers are F64 but `count`, which is I64:
//!
//! | tensor | shape | |
//! |---|---|---|
//! | `count`, `weight`, `weight_squared` | `[groups]` | rows, sum of their weights, of the squares of these |
//! | `mean/SITE`, `m2/SITE` | `[groups, width]` | weighted mean, sum of `weight (x - mean)^2` |
//! | `scatter/SITE` | `[groups, width, width]` | sum of `weight (x - mean) (x - mean)^T`, where all of it was kept |
//! | `sketch/SITE` | `[groups, l, width]` | rows `B`, zeros behind the last, where a sketch of the scatter `S` was kept |
//! | `sketch_error/SITE` | `[groups]` | bound of the spectral norm of `S - B^T B`, which has no negative eigenvalue |
//!
//! The variance is `m2 / (weight - weight_squared / weight)`, which is `m2 / (count - 1)` where all weights are 1.

mod read;
mod tables;
mod tensors;
#[cfg(test)]
mod tests;

pub use read::{GroupRow, Moments};

use super::manifest::{Sum, Width};
use crate::error::{Error, Result};
use crate::moments::{Group, Running, Scatter, Shape};
use std::path::Path;

/// The tensors.
pub const MOMENTS: &str = "moments.safetensors";
/// The groups: a line each.
pub const GROUPS: &str = "groups.csv";
/// The spread of each group along each direction.
pub const PROJECTIONS: &str = "projections.csv";

/// What the numbers of a [`Running`] stand for.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// In the order of the shape.
    pub sites: &'a [Width],
    /// Names of the columns that groups are told apart by.
    pub columns: &'a [String],
    /// The groups in the order in which they are written, those without rows too.
    pub groups: &'a [GroupLabel],
    /// Names of the directions, in the order of the shape.
    pub directions: &'a [String],
}

/// A group that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLabel {
    /// One for each of the columns.
    pub values: Vec<String>,
    /// Which rows were taken: `all`, or `filtered`.
    pub variant: &'static str,
    /// Its index in the [`Running`].
    pub index: u32,
    /// Rows below which no tensor has it; never fewer than 1.
    pub min_count: u64,
}

/// Writes moments into a folder that exists; each file appears whole or not at all.
///
/// # Errors
/// Columns that [`check_columns`] refuses; files that cannot be written.
///
/// # Panics
/// If the description does not fit the moments: a defect of the caller.
pub fn write(dir: &Path, moments: &Running, what: &Description) -> Result<Vec<Sum>> {
    let shape = moments.shape();
    check_columns(what.columns, !shape.directions().is_empty())?;
    let widths: Vec<usize> = what.sites.iter().map(|s| s.width).collect();
    assert_eq!(widths, shape.widths(), "sites of the description and of the shape");
    assert_eq!(what.directions.len(), shape.directions().len(), "directions of the description and of the shape");
    assert!(what.groups.iter().all(|g| g.values.len() == what.columns.len()), "a value for each column");

    let kept: Vec<&Group> = what.groups.iter().filter_map(|label| enough(moments, label)).collect();
    let mut sums = vec![tensors::write(dir, shape, &kept, what.sites)?, tables::groups(dir, moments, what)?];
    if !shape.directions().is_empty() {
        sums.push(tables::projections(dir, moments, what)?);
    }
    Ok(sums)
}

/// Refuses names of columns that the tables have for something else, or twice.
///
/// # Errors
/// Names the column.
pub fn check_columns(columns: &[String], projections: bool) -> Result<()> {
    let own = tables::own_columns(projections);
    for (i, column) in columns.iter().enumerate() {
        if own.contains(&column.as_str()) || columns[..i].contains(column) {
            return Err(Error::refused(
                format!("groups cannot be told apart by a column named `{column}`: the table of groups has one"),
                "give the column of the prompts another name",
            ));
        }
    }
    Ok(())
}

/// Bytes of the tensors for so many groups.
pub fn bytes(shape: &Shape, groups: usize) -> u64 {
    let scatter = |width: usize| match shape.scatter() {
        Scatter::None => 0,
        Scatter::Full => width * width,
        Scatter::Sketch { rows } => rows * width + 1,
    };
    let values: usize = shape.widths().iter().map(|w| 2 * w + scatter(*w)).sum();
    8 * (3 + values as u64) * groups as u64
}

/// The group of a label, if it has rows enough.
fn enough<'a>(moments: &'a Running, label: &GroupLabel) -> Option<&'a Group> {
    moments.group(label.index).filter(|g| g.count >= label.min_count.max(1))
}
