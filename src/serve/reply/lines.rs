//! Which lines of a reading belong to which vector.

use super::event::shown;
use crate::axes::Site;
use crate::serve::app::Group;
use crate::serve::worker::Reading;
use serde_json::{Map, Value, json};

/// Vectors at their sites, one line after another.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    groups: Vec<(String, Vec<Site>)>,
}

impl Lines {
    /// Of groups of vectors, each with its id.
    pub fn of(groups: &[Group]) -> (Lines, Reading) {
        let lines = groups.iter().flat_map(|(_, g)| g.iter().map(|v| (v.site, v.unit.clone().into()))).collect();
        let groups = groups.iter().map(|(id, g)| (id.clone(), g.iter().map(|v| v.site).collect())).collect();
        (Lines { groups }, Reading { lines })
    }

    /// The sites of each vector.
    pub fn sites(&self) -> Value {
        self.groups.iter().map(|(id, sites)| (id.clone(), json!(sites))).collect::<Map<_, _>>().into()
    }

    /// Values by line as `{id: [by site]}`.
    pub fn row(&self, z: &[f64]) -> Value {
        self.each(|line| json!(z.get(line).map(|z| shown(*z))))
    }

    /// Values by position and line as `{id: [by site [by position]]}`.
    pub fn columns(&self, z: &[Vec<f64>]) -> Value {
        self.each(|line| z.iter().map(|row| row.get(line).map(|z| shown(*z))).collect::<Vec<_>>().into())
    }

    fn each(&self, of: impl Fn(usize) -> Value) -> Value {
        let mut line = 0;
        let mut next = || {
            line += 1;
            of(line - 1)
        };
        self.groups.iter().map(|(id, s)| (id.clone(), s.iter().map(|_| next()).collect())).collect::<Map<_, _>>().into()
    }
}

/// Means over positions, by line; none of no position.
pub fn means(z: &[Vec<f64>]) -> Vec<f64> {
    let Some(first) = z.first() else { return vec![] };
    (0..first.len()).map(|line| z.iter().map(|row| row[line]).sum::<f64>() / z.len() as f64).collect()
}
