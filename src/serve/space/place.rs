//! Persona space at one site: its centre, its axes, and where anything lies on them.

use super::cast::Cast;
use crate::analysis::map::vectors::MOST_PAIRED;
use crate::analysis::map::{RoleVectors, cosine};
use crate::analysis::pca::pca;
use crate::axes::Site;
use crate::error::Result;
use crate::experiment::persona_map::trait_directions;
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

/// The line from the mean of the roles to the default assistant.
pub(super) const AXIS_NAME: &str = "assistant_axis";
/// Components that are axes of the map.
const AXES: usize = 3;
/// Distances are taken in as many components as hold this share of the variance of the roles, at most so many.
const SHARE: f64 = 0.9;
const MOST_KEPT: usize = 32;
/// Neighbours of a role that are told.
const NEAR: usize = 5;

/// The space at a site. Rows of `means` are the roles, the default assistant last.
pub(super) struct Layer {
    pub site: Site,
    /// `[d_model]`: the mean of the roles.
    pub centre: Array1<f64>,
    pub axes: Vec<Line>,
    /// `[component, d_model]`: the components in which distances are taken.
    kept: Array2<f64>,
    /// Share of the variance of the roles that they hold.
    pub share: f64,
    /// `[member, d_model]`: means over replies.
    pub means: Array2<f64>,
    /// `[member, component]`.
    scores: Array2<f64>,
    /// By role, nearest first: another role, and the cosine of the two seen from the centre.
    pub neighbours: Vec<Vec<(usize, f64)>>,
    /// Displacements: mean of the roles that have a trait minus mean of the others.
    pub traits: Vec<(String, Array1<f64>)>,
}

/// A line through the centre.
pub(super) struct Line {
    pub name: String,
    /// Larger is more like the default assistant.
    pub unit: Array1<f64>,
    /// Of the assistant axis its length, of a component the standard deviation along it.
    pub length: f64,
    /// Share of the variance of the roles; none of the assistant axis.
    pub ratio: Option<f64>,
}

impl Layer {
    /// The space of some means, `[member, d_model]`.
    ///
    /// # Errors
    /// Roles that do not differ.
    pub fn of(site: Site, means: Array2<f64>, cast: &Cast) -> Result<Layer> {
        let n = cast.roles.len();
        let roles = means.slice(s![..n, ..]).to_owned();
        let centre = roles.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(means.ncols()));
        let points = &roles - &centre;
        let default = &means.row(n) - &centre;
        let mut found = pca(points.view())?;
        found.orient(default.view());
        let length = default.dot(&default).sqrt();
        let mut axes = Vec::new();
        if length > 0.0 {
            axes.push(Line { name: AXIS_NAME.into(), unit: &default / length, length, ratio: None });
        }
        for c in 0..found.components.nrows().min(AXES) {
            axes.push(Line {
                name: format!("PC{}", c + 1),
                unit: found.components.row(c).to_owned(),
                length: found.explained_variance[c].sqrt(),
                ratio: Some(found.explained_variance_ratio[c]),
            });
        }
        let keep = found.dims_for(SHARE).clamp(1, MOST_KEPT);
        let kept = found.components.slice(s![..keep.min(found.components.nrows()), ..]).to_owned();
        let share = found.explained_variance_ratio[..kept.nrows()].iter().sum();
        let scores = (&means - &centre).dot(&kept.t());
        let names: Vec<String> = cast.roles.iter().map(|r| r.name.clone()).collect();
        let neighbours = neighbours(&points);
        let traits = traits(site, roles, names, cast);
        Ok(Layer { site, centre, axes, kept, share, means, scores, neighbours, traits })
    }

    /// The coordinates of a row on the axes: its displacement from the centre along each.
    pub fn at(&self, row: ArrayView1<f64>) -> Vec<(String, f64)> {
        self.along((&row - &self.centre).view())
    }

    /// The coordinates of a displacement.
    pub fn along(&self, displacement: ArrayView1<f64>) -> Vec<(String, f64)> {
        self.axes.iter().map(|l| (l.name.clone(), displacement.dot(&l.unit))).collect()
    }

    /// The members nearest to a row in the components that are kept: index and distance, nearest first.
    pub fn nearest(&self, row: ArrayView1<f64>, most: usize) -> Vec<(usize, f64)> {
        let at = self.kept.dot(&(&row - &self.centre));
        let far = |scores: ArrayView1<f64>| (&scores - &at).mapv(|v| v * v).sum().sqrt();
        let mut all: Vec<(usize, f64)> = self.scores.rows().into_iter().map(far).enumerate().collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }

    /// Components in which distances are taken.
    pub fn components(&self) -> usize {
        self.kept.nrows()
    }
}

/// The roles nearest to each by cosine; of equals the first in the cast. Of very many roles none are told.
fn neighbours(points: &Array2<f64>) -> Vec<Vec<(usize, f64)>> {
    let n = points.nrows();
    if n > MOST_PAIRED {
        return vec![vec![]; n];
    }
    let rows: Vec<Vec<f64>> = points.rows().into_iter().map(|r| r.to_vec()).collect();
    let of = |i: usize| {
        let others = (0..n).filter(|j| *j != i);
        let mut near: Vec<(usize, f64)> = others.filter_map(|j| Some((j, cosine(&rows[i], &rows[j])?))).collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        near.truncate(NEAR);
        near
    };
    (0..n).map(of).collect()
}

/// The directions of planted traits; none where nothing is planted.
fn traits(site: Site, roles: Array2<f64>, names: Vec<String>, cast: &Cast) -> Vec<(String, Array1<f64>)> {
    let Some(world) = cast.world else { return vec![] };
    let d = roles.ncols();
    let mut vectors = RoleVectors {
        site: site.to_string(),
        rows: vec![1; names.len()],
        roles: names,
        vectors: roles,
        default: Array2::zeros((0, d)),
        default_name: String::new(),
        traits: vec![],
        directions: Array2::zeros((0, d)),
    };
    trait_directions(world, &mut vectors);
    let rows: Vec<Array1<f64>> = vectors.directions.rows().into_iter().map(|r| r.to_owned()).collect();
    vectors.traits.into_iter().zip(rows).collect()
}
