//! The map itself.

use super::dimension::{Dimension, dimension};
use super::place::{Place, place, places};
use super::scaling::{Fitted, Scaling};
use super::vectors::RoleVectors;
use super::{MapOptions, cosine};
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::nulls::Reliability;
use crate::analysis::pca::{NullSpectrum, Pca, null_spectrum, pca};
use crate::analysis::stats::{mean, quantile};
use crate::error::{Error, Result};
use crate::rng::stream;
use ndarray::{Array1, Array2, Axis, s};
use rand::seq::SliceRandom;

/// What keeps a projection on an axis of length zero finite, as published.
const EPSILON: f64 = 1e-8;
/// Components in which the cosine of the axis with a resampled PC1 is taken: the rest has no part in a first component.
const RESAMPLED: usize = 40;

/// Persona space at one site.
#[derive(Clone, Debug)]
pub struct Shape {
    pub site: String,
    /// In ascending order.
    pub roles: Vec<String>,
    /// Rows behind each.
    pub rows: Vec<usize>,
    pub scaling: Scaling,
    /// `[role, d_model]`: centred, and scaled as stated.
    pub points: Array2<f64>,
    /// Of the points. The default has no part in it and sets the signs: its coordinates are not negative.
    pub pca: Pca,
    pub null: NullSpectrum,
    pub dimension: Dimension,
    /// The assistant axis first where there is a default, then PC1, PC2, ...
    pub lines: Vec<Line>,
    pub default: Option<DefaultPersona>,
    pub traits: Vec<String>,
    /// `[trait, d_model]`, in the units of dimensions of the points.
    pub directions: Array2<f64>,
}

/// The default persona and the assistant axis.
#[derive(Clone, Debug)]
pub struct DefaultPersona {
    pub name: String,
    pub rows: usize,
    /// Centred and scaled like the roles.
    pub point: Array1<f64>,
    /// mean(default) - mean(roles), neither scaled nor normalised: larger is more like the default.
    pub axis: Array1<f64>,
    /// The same in the units of dimensions of the points.
    pub scaled_axis: Array1<f64>,
    /// <h, a / (|a| + 1e-8)> of each role: not centred, as published; of z-scores where those are asked for.
    pub projections: Vec<f64>,
    pub places: Vec<Option<Place>>,
    pub projection: f64,
    /// Of the default among the roles.
    pub place: Option<Place>,
    /// Cosine of the axis with itself over random halves of roles and of the default's rows; `None` below two of these.
    pub halves: Option<Reliability>,
}

/// A line through the mean of the points, with everybody's coordinate on it.
#[derive(Clone, Debug)]
pub struct Line {
    /// `assistant_axis`, `PC1`, ...
    pub name: String,
    /// With the assistant axis; `None` without a default.
    pub cosine: Option<f64>,
    /// 95 % of the size of the cosine, resampling roles; of PC1 alone.
    pub cosine_interval: Option<Interval>,
    /// In the order of [`Shape::roles`].
    pub role_scores: Vec<f64>,
    pub default_score: Option<f64>,
    /// Of the default among the roles.
    pub place: Option<Place>,
}

/// Maps role vectors.
///
/// # Errors
/// A site where the roles do not differ.
pub fn shape(vectors: &RoleVectors, options: &MapOptions) -> Result<Shape> {
    let fitted = Fitted::on(vectors, options.scaling);
    let points = fitted.points(&vectors.vectors);
    let mut pca = pca(points.view()).map_err(|e| match e {
        Error::Refused { .. } => Error::refused(
            format!("the {} roles do not differ at {}", vectors.roles.len(), vectors.site),
            "there is nothing to map: leave the site out, or choose another pick",
        ),
        other => other,
    })?;
    let default = vectors.default_mean().map(|mean| {
        pca.orient(fitted.point(mean.view()).view());
        default_persona(vectors, &fitted, mean, options)
    });
    let null = null_spectrum(points.view(), options.null_draws, options.seed)?;
    let mut lines = Vec::new();
    if let Some(d) = &default {
        let norm = d.scaled_axis.dot(&d.scaled_axis).sqrt();
        if norm > 0.0 {
            lines.push(line("assistant_axis".into(), &d.scaled_axis / norm, &points, &pca, Some(d)));
        }
    }
    for c in 0..options.components.min(pca.components.nrows()) {
        lines.push(line(format!("PC{}", c + 1), pca.components.row(c).to_owned(), &points, &pca, default.as_ref()));
    }
    if let (Some(d), Some(pc1)) = (&default, lines.iter_mut().find(|l| l.name == "PC1")) {
        pc1.cosine_interval = cosine_interval(&pca, d, options, &vectors.site);
    }
    let mut directions = vectors.directions.clone();
    directions.rows_mut().into_iter().for_each(|mut r| {
        let scaled = fitted.units(r.to_owned());
        r.assign(&scaled);
    });
    Ok(Shape {
        site: vectors.site.clone(),
        roles: vectors.roles.clone(),
        rows: vectors.rows.clone(),
        scaling: options.scaling,
        dimension: dimension(&pca, &null, options.seed),
        points,
        pca,
        null,
        lines,
        default,
        traits: vectors.traits.clone(),
        directions,
    })
}

impl Shape {
    /// The line of a name.
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|l| l.name == name)
    }

    /// Coordinates of the roles on PC1 and PC2; `None` with a single component.
    pub fn plane(&self) -> Option<Vec<(f64, f64)>> {
        let (a, b) = (self.line("PC1")?, self.line("PC2")?);
        Some(a.role_scores.iter().copied().zip(b.role_scores.iter().copied()).collect())
    }
}

fn line(name: String, unit: Array1<f64>, points: &Array2<f64>, pca: &Pca, default: Option<&DefaultPersona>) -> Line {
    let at = |p: ndarray::ArrayView1<f64>| (&p - &pca.mean).dot(&unit);
    let role_scores: Vec<f64> = points.rows().into_iter().map(at).collect();
    let default_score = default.map(|d| at(d.point.view()));
    Line {
        name,
        cosine: default.and_then(|d| cosine(&unit.to_vec(), &d.scaled_axis.to_vec())),
        cosine_interval: None,
        place: default_score.and_then(|v| place(v, &role_scores)),
        role_scores,
        default_score,
    }
}

fn default_persona(vectors: &RoleVectors, fitted: &Fitted, mean: Array1<f64>, o: &MapOptions) -> DefaultPersona {
    let roles_mean = vectors.vectors.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(mean.len()));
    let axis = &mean - &roles_mean;
    let scaled_axis = fitted.units(axis.clone());
    let unit = &scaled_axis / (scaled_axis.dot(&scaled_axis).sqrt() + EPSILON);
    let projections: Vec<f64> = vectors.vectors.rows().into_iter().map(|v| fitted.projected(v).dot(&unit)).collect();
    let projection = fitted.projected(mean.view()).dot(&unit);
    DefaultPersona {
        name: vectors.default_name.clone(),
        rows: vectors.default.nrows(),
        point: fitted.point(mean.view()),
        places: places(&projections),
        place: place(projection, &projections),
        projections,
        projection,
        halves: halves(vectors, fitted, o),
        axis,
        scaled_axis,
    }
}

/// The axis of one half of the roles and of the default's rows against that of the others, `halves` times.
fn halves(vectors: &RoleVectors, fitted: &Fitted, o: &MapOptions) -> Option<Reliability> {
    if vectors.default.nrows() < 2 || o.halves == 0 {
        return None;
    }
    let mut rng = stream(o.seed, &format!("map halves/{}", vectors.site));
    let mut half = |rows: &Array2<f64>| {
        let mut order: Vec<usize> = (0..rows.nrows()).collect();
        order.shuffle(&mut rng);
        let (a, b) = order.split_at(rows.nrows() / 2);
        [a, b].map(|of| rows.select(Axis(0), of).mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(rows.ncols())))
    };
    let mut cosines = Vec::with_capacity(o.halves);
    for _ in 0..o.halves {
        let ([d0, d1], [r0, r1]) = (half(&vectors.default), half(&vectors.vectors));
        let (a, b) = (fitted.units(d0 - r0), fitted.units(d1 - r1));
        cosines.extend(cosine(&a.to_vec(), &b.to_vec()));
    }
    Some(Reliability {
        cosine_mean: mean(&cosines)?,
        cosine_lo: quantile(&cosines, 0.025)?,
        cosine_hi: quantile(&cosines, 0.975)?,
        splits: cosines.len(),
    })
}

/// The interval of |cos(axis, PC1)|, resampling roles; the default is taken as it is.
fn cosine_interval(pca: &Pca, default: &DefaultPersona, o: &MapOptions, site: &str) -> Option<Interval> {
    let k = pca.components.nrows().min(RESAMPLED);
    let scores = pca.scores.slice(s![.., ..k]).to_owned();
    let axis = pca.components.slice(s![..k, ..]).dot(&default.scaled_axis);
    // What of the axis lies outside these components counts for its length alone.
    let outside = (default.scaled_axis.dot(&default.scaled_axis) - axis.dot(&axis)).max(0.0);
    let l2 = o.scaling.l2;
    let mut rng = stream(o.seed, &format!("map cosine/{site}"));
    cluster_bootstrap(scores.nrows(), o.bootstrap, &mut rng, |sample| {
        let drawn = scores.select(Axis(0), sample);
        let mean = drawn.mean_axis(Axis(0))?;
        let covariance = (&drawn - &mean).t().dot(&(&drawn - &mean));
        let first = leading(&covariance)?;
        // Points that were brought to unit length have a mean that is not that of the roles.
        let raw = if l2 { axis.clone() } else { &axis - &mean };
        Some((first.dot(&raw) / (raw.dot(&raw) + outside).sqrt()).abs())
    })
}

/// The leading eigenvector of a symmetric matrix.
fn leading(m: &Array2<f64>) -> Option<Array1<f64>> {
    let eigen =
        faer::Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[[i, j]]).self_adjoint_eigen(faer::Side::Lower).ok()?;
    let last = m.nrows().checked_sub(1)?;
    Some((0..m.nrows()).map(|i| eigen.U()[(i, last)]).collect())
}
