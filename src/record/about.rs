//! What moments are of, as it lies beside the blocks of a part for those who join them.

use super::Moments;
use crate::capture::{Group, Variant};
use crate::error::Result;
use crate::moments::{Along, Scatter, Shape};
use crate::store::manifest::Width;
use serde::{Deserialize, Serialize};
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

    fn shape(&self) -> Result<Arc<Shape>> {
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

    pub fn description(&self) -> crate::store::moments::Description<'_> {
        let label = |(i, g): (usize, Group)| crate::store::moments::GroupLabel {
            values: g.values,
            variant: g.variant.name(),
            index: i as u32,
        };
        crate::store::moments::Description {
            sites: &self.sites,
            columns: &self.columns,
            groups: self.groups().into_iter().enumerate().map(label).collect(),
            min_count: self.min_count,
            directions: self.directions.iter().map(|d| d.0.clone()).collect(),
        }
    }

    fn groups(&self) -> Vec<Group> {
        let variant = |filtered: bool| if filtered { Variant::Filtered } else { Variant::All };
        let of = |(values, filtered, rows): &(Vec<String>, bool, usize)| Group {
            values: values.clone(),
            variant: variant(*filtered),
            rows: *rows,
        };
        self.groups.iter().map(of).collect()
    }
}
