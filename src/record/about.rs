//! What moments are of, as it lies beside the blocks of a part for those who join them.

use super::Moments;
use crate::capture::Variant;
use crate::error::Result;
use crate::moments::{Along, Running, Scatter, Shape};
use crate::store::manifest::{Sum, Width};
use crate::store::moments::{Description, GroupLabel, write};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// What moments are of; beside the blocks of a part, for those who join them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    sites: Vec<Width>,
    columns: Vec<String>,
    groups: Vec<(Vec<String>, bool, usize)>,
    min_count: u64,
    scatter: Kind,
    directions: Vec<(String, usize, Vec<f32>, f64)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    None,
    Full,
    Sketch(usize),
}

impl About {
    pub fn new(m: &Moments, sites: &[Width]) -> About {
        let directions = m.directions.iter().zip(m.shape.directions());
        About {
            sites: sites.to_vec(),
            columns: m.grouping.columns.clone(),
            groups: m
                .grouping
                .groups
                .iter()
                .map(|g| (g.values.clone(), g.variant == Variant::Filtered, g.rows))
                .collect(),
            min_count: m.min_count,
            scatter: match m.shape.scatter() {
                Scatter::None => Kind::None,
                Scatter::Full => Kind::Full,
                Scatter::Sketch { rows } => Kind::Sketch(rows),
            },
            directions: directions.map(|(n, a)| (n.clone(), a.site, a.unit.clone(), a.accuracy)).collect(),
        }
    }

    /// What is kept of each group.
    pub fn shape(&self) -> Result<Arc<Shape>> {
        let scatter = match self.scatter {
            Kind::None => Scatter::None,
            Kind::Full => Scatter::Full,
            Kind::Sketch(rows) => Scatter::Sketch { rows },
        };
        let along = |(_, site, unit, accuracy): &(String, usize, Vec<f32>, f64)| Along {
            site: *site,
            unit: unit.clone(),
            accuracy: *accuracy,
        };
        let widths = self.sites.iter().map(|s| s.width).collect();
        Ok(Arc::new(Shape::new(widths, scatter, self.directions.iter().map(along).collect())?))
    }

    /// A label for each group; filtered ones need enough rows.
    pub fn labels(&self) -> Vec<GroupLabel> {
        let label = |(i, (values, filtered, _)): (usize, &(Vec<String>, bool, usize))| {
            let (variant, min_count) = if *filtered { (Variant::Filtered, self.min_count) } else { (Variant::All, 1) };
            GroupLabel { values: values.clone(), variant: variant.name(), index: i as u32, min_count }
        };
        self.groups.iter().enumerate().map(label).collect()
    }

    /// Writes the moments of a whole.
    pub fn write(&self, out: &Path, total: &Running) -> Result<Vec<Sum>> {
        let directions: Vec<String> = self.directions.iter().map(|d| d.0.clone()).collect();
        let what =
            Description { sites: &self.sites, columns: &self.columns, groups: &self.labels(), directions: &directions };
        write(out, total, &what)
    }
}
