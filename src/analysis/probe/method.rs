//! The methods, and what each makes of some rows and what is said of them.

use super::design::Design;
use super::loss::Loss;
use super::precondition::Preconditioner;
use super::shrink::{Shrinkage, Shrunk, by_class, deviations, means, pooled};
use super::solver::{Closeness, Problem, solve_with};
use crate::error::{Error, Result};
use faer::{Mat, Side};
use ndarray::{Array1, Array2};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How a direction is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Mean of label 1 minus mean of label 0, over rows.
    Contrast,
    /// That, times the inverse of the shrunk covariance within classes (Marks and Tegmark 2023).
    MassMean,
    /// Logistic regression: sum of log-losses + alpha/2 |w|^2.
    Logistic,
    /// Linear discriminant analysis with log-odds as scores.
    Lda,
    /// Linear support vectors: sum of squared hinges + alpha/2 |w|^2.
    Svm,
    /// First component, not centred, of the differences between the classes of each group.
    Pca,
    /// Ridge regression on the label, or on a graded score: half the sum of squares + alpha/2 |w|^2.
    Ridge,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 7] =
        [Method::Contrast, Method::MassMean, Method::Logistic, Method::Lda, Method::Svm, Method::Pca, Method::Ridge];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Method::Contrast => "contrast",
            Method::MassMean => "mass_mean",
            Method::Logistic => "logistic",
            Method::Lda => "lda",
            Method::Svm => "svm",
            Method::Pca => "pca",
            Method::Ridge => "ridge",
        }
    }

    /// Whether its scores are log-odds.
    pub fn is_probability(self) -> bool {
        matches!(self, Method::Logistic | Method::Lda)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;
    fn from_str(s: &str) -> Result<Method, String> {
        let names: Vec<_> = Method::ALL.iter().map(|m| m.name()).collect();
        Method::ALL.into_iter().find(|m| m.name() == s).ok_or(format!("one of {}", names.join(", ")))
    }
}

/// What methods are told besides the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Weight of the penalty of `logistic`, `svm` and `ridge`; positive.
    pub alpha: f64,
    /// Columns in units of their deviation over the rows that are fitted on. The direction is that of raw rows all the
    /// same.
    pub standardize: bool,
    /// Of the covariance of `mass_mean` and `lda`.
    pub shrinkage: Shrinkage,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { alpha: 1.0, standardize: false, shrinkage: Shrinkage::Auto }
    }
}

impl Settings {
    /// # Errors
    /// A penalty that is not positive, a share outside 0..=1.
    pub fn check(&self) -> Result<()> {
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            let hint = "alpha is positive: classes that can be told apart have no solution without a penalty; give a small one, such as 1e-6";
            return Err(Error::refused(format!("a penalty of {}", self.alpha), hint));
        }
        match self.shrinkage {
            Shrinkage::Share(s) if !(0.0..=1.0).contains(&s) => {
                Err(Error::refused(format!("a shrinkage of {s}"), "give a share from 0 to 1, or auto"))
            }
            _ => Ok(()),
        }
    }
}

/// Rows to be fitted on and what is said of them: one of a batch.
#[derive(Clone, Debug)]
pub struct Part {
    pub train: Vec<bool>,
    /// Per row 1 or -1; for `ridge` any score.
    pub target: Vec<f64>,
}

impl Part {
    fn classes(&self) -> [Vec<usize>; 2] {
        let of = |positive: bool| {
            (0..self.target.len()).filter(|&r| self.train[r] && (self.target[r] > 0.0) == positive).collect()
        };
        [of(false), of(true)]
    }
}

/// A fitted probe.
#[derive(Clone, Debug)]
pub struct Probe {
    /// On raw rows, `[d_model]`; larger predictions mean label 1.
    pub weights: Array1<f64>,
    pub intercept: f64,
    /// `row . weights + intercept` for every row of the design, fitted on or not.
    pub scores: Vec<f64>,
    pub converged: bool,
    /// Distance between the mean projections of the two labels where `weights` are of unit length, as those of `contrast`
    /// and `pca`: for `contrast` the length of the difference of means.
    pub distance: Option<f64>,
    /// Share that the covariance was shrunk by, where it was: of label 0 and of label 1.
    pub shrunk: Option<[f64; 2]>,
    /// Share of the squares of the differences that lies along the first component.
    pub explained: Option<f64>,
}

/// What shrinking found on real labels, for draws of a null.
pub struct Regular(Shrunk);

/// A site with what all fits on it share.
pub struct Fitter<'a> {
    pub design: &'a Design,
    /// Group of each row.
    pub group: &'a [usize],
    pub settings: Settings,
}

impl Fitter<'_> {
    /// Fits `method` on every part. `None` where a part lacks a class, or its classes cannot be told apart at all.
    ///
    /// With `regular`, the covariance is shrunk by what was found there.
    pub fn fit(
        &self,
        method: Method,
        parts: &[Part],
        closeness: Closeness,
        regular: Option<&Regular>,
    ) -> Vec<Option<Probe>> {
        let whole: Vec<usize> = (0..parts.len()).filter(|&i| self.is_whole(method, &parts[i])).collect();
        let kept: Vec<&Part> = whole.iter().map(|&i| &parts[i]).collect();
        if kept.is_empty() {
            return vec![None; parts.len()];
        }
        let fitted = match method {
            Method::Contrast => self.contrast(&kept, closeness),
            Method::Pca => self.pca(&kept, closeness),
            Method::Logistic => self.penalised(Loss::Logistic, &kept, closeness),
            Method::Svm => self.penalised(Loss::SquaredHinge, &kept, closeness),
            Method::Ridge => self.penalised(Loss::Squared, &kept, closeness),
            Method::MassMean | Method::Lda => self.discriminant(method, &kept, closeness, regular),
        };
        let mut out = vec![None; parts.len()];
        for ((i, part), probe) in whole.into_iter().zip(kept).zip(fitted) {
            out[i] = probe.filter(|p| p.weights.iter().any(|w| *w != 0.0)).map(|p| oriented(p, part));
        }
        out
    }

    /// What shrinking finds on a part.
    pub fn regular(&self, method: Method, part: &Part) -> Option<Regular> {
        matches!(method, Method::MassMean | Method::Lda).then(|| Regular(self.shrunk(method, part)))
    }

    fn is_whole(&self, method: Method, part: &Part) -> bool {
        if method == Method::Ridge {
            let mut of = part.target.iter().zip(&part.train).filter(|(_, t)| **t).map(|(y, _)| *y);
            let first = of.next();
            return of.any(|y| Some(y) != first);
        }
        part.classes().iter().all(|c| !c.is_empty())
    }

    /// Deviations over the rows of a part, relative to those of the design; 1 where there is none.
    fn relative(&self, part: &Part) -> Array1<f64> {
        let rows: Vec<usize> = (0..part.train.len()).filter(|&r| part.train[r]).collect();
        let own = deviations(self.design, &[&rows]) / self.design.deviation();
        own.mapv(|s| if s > 1e-7 { s } else { 1.0 })
    }

    fn penalised(&self, loss: Loss, parts: &[&Part], closeness: Closeness) -> Vec<Option<Probe>> {
        let alpha = self.settings.alpha;
        let raw = self.design.deviation().mapv(|s| alpha / (s * s));
        let problem = |part: &&Part| Problem {
            loss,
            target: part.target.clone(),
            weight: part.train.iter().map(|t| f64::from(u8::from(*t))).collect(),
            penalty: match self.settings.standardize {
                true => self.relative(part).mapv(|s| alpha * s * s),
                false => raw.clone(),
            },
        };
        let problems: Vec<Problem> = parts.iter().map(problem).collect();
        self.solved(&problems, closeness).into_iter().map(Some).collect()
    }

    fn solved(&self, problems: &[Problem], closeness: Closeness) -> Vec<Probe> {
        let Some(first) = problems.first() else { return Vec::new() };
        let shared = Preconditioner::new(self.design, first.loss.typical(), &first.penalty);
        solve_with(self.design, &shared, problems, closeness)
            .into_iter()
            .map(|f| {
                let (weights, intercept) = self.design.raw(&f.weights, f.intercept);
                Probe {
                    weights,
                    intercept,
                    scores: f.margins,
                    converged: f.converged,
                    distance: None,
                    shrunk: None,
                    explained: None,
                }
            })
            .collect()
    }

    fn shrunk(&self, method: Method, part: &Part) -> Shrunk {
        let classes = part.classes();
        if method == Method::Lda && self.settings.shrinkage == Shrinkage::Auto {
            return by_class(self.design, &classes);
        }
        let units = self.settings.standardize.then(|| self.relative(part) * self.design.deviation());
        pooled(self.design, &classes, self.settings.shrinkage, units.as_ref())
    }

    /// By least squares on labels: with S the scatter within classes and D the difference of their means, it ends at a
    /// multiple of (S + penalty)^-1 D, for the scatter between classes lies along D. The multiple is then undone.
    fn discriminant(
        &self,
        method: Method,
        parts: &[&Part],
        closeness: Closeness,
        regular: Option<&Regular>,
    ) -> Vec<Option<Probe>> {
        let shrunk: Vec<Shrunk> =
            parts.iter().map(|p| regular.map_or_else(|| self.shrunk(method, p), |r| r.0.clone())).collect();
        let squares = self.design.deviation().mapv(|s| s * s);
        let problem = |(part, s): (&&Part, &Shrunk)| Problem {
            loss: Loss::Squared,
            target: part.target.clone(),
            weight: part
                .train
                .iter()
                .zip(&part.target)
                .map(|(t, y)| if *t { s.weight[usize::from(*y > 0.0)] } else { 0.0 })
                .collect(),
            // A share of 0 leaves singular what is singular; this much is below what f32 resolves.
            penalty: (&s.penalty / &squares).mapv(|p| p.max(1e-9 * part.target.len() as f64)),
        };
        let problems: Vec<Problem> = parts.iter().zip(&shrunk).map(problem).collect();
        let fitted = self.solved(&problems, closeness);
        fitted.into_iter().zip(parts).zip(&shrunk).map(|((p, part), s)| scaled(p, part, s, method)).collect()
    }

    fn contrast(&self, parts: &[&Part], closeness: Closeness) -> Vec<Option<Probe>> {
        let n = self.design.dim().0;
        let mut weights = Array2::zeros((parts.len(), n)).reversed_axes();
        for (k, part) in parts.iter().enumerate() {
            let classes = part.classes();
            for (class, sign) in classes.iter().zip([-1.0, 1.0]) {
                class.iter().for_each(|&r| weights[[r, k]] = sign / class.len() as f64);
            }
        }
        let exact = closeness == Closeness::FULL;
        let differences = means(self.design, &weights, exact);
        let raw: Vec<Array1<f64>> = differences
            .rows()
            .into_iter()
            .zip(parts)
            .map(|(d, part)| {
                // In the units of the design: the direction of raw rows takes another factor of the deviation.
                let squares = self.design.deviation().mapv(|s| s * s);
                match self.settings.standardize {
                    true => &d / &self.relative(part).mapv(|s| s * s),
                    false => &d * &squares,
                }
            })
            .collect();
        self.plain(raw, parts, exact, vec![None; parts.len()])
    }

    fn pca(&self, parts: &[&Part], closeness: Closeness) -> Vec<Option<Probe>> {
        let exact = closeness == Closeness::FULL;
        let (mut raw, mut explained) = (Vec::new(), Vec::new());
        for part in parts {
            let found = self.component(part, exact);
            explained.push(found.as_ref().map(|f| f.1));
            raw.push(found.map_or_else(|| Array1::zeros(self.design.dim().1), |f| f.0));
        }
        self.plain(raw, parts, exact, explained)
    }

    /// The first component of the differences of a part, in the units of the design, and its share of their squares.
    fn component(&self, part: &Part, exact: bool) -> Option<(Array1<f64>, f64)> {
        let mut groups: BTreeMap<usize, [Vec<usize>; 2]> = BTreeMap::new();
        for r in (0..part.train.len()).filter(|&r| part.train[r]) {
            groups.entry(self.group[r]).or_default()[usize::from(part.target[r] > 0.0)].push(r);
        }
        groups.retain(|_, c| c.iter().all(|c| !c.is_empty()));
        if groups.is_empty() {
            return None;
        }
        let mut weights = Array2::zeros((groups.len(), part.train.len())).reversed_axes();
        for (k, classes) in groups.values().enumerate() {
            for (class, sign) in classes.iter().zip([-1.0, 1.0]) {
                class.iter().for_each(|&r| weights[[r, k]] = sign / class.len() as f64);
            }
        }
        // Raw differences, or in units of deviations.
        let units = match self.settings.standardize {
            true => self.relative(part).mapv(|s| 1.0 / s),
            false => self.design.deviation().clone(),
        };
        let differences = means(self.design, &weights, exact) * &units;
        let (n, d) = differences.dim();
        let gram = if n <= d { differences.dot(&differences.t()) } else { differences.t().dot(&differences) };
        let size = gram.nrows();
        let trace: f64 = gram.diag().sum();
        let eigen = Mat::from_fn(size, size, |i, j| gram[[i, j]]).self_adjoint_eigen(Side::Lower).ok()?;
        let value = *eigen.S().column_vector().iter().last()?;
        let vector = Array1::from_shape_fn(size, |i| eigen.U()[(i, size - 1)]);
        let component = if n <= d { vector.dot(&differences) } else { vector };
        let length = component.dot(&component).sqrt();
        (length > 0.0 && trace > 0.0).then(|| (&component / length * &units, value / trace))
    }

    /// Probes along given directions (in the units of the design, of any length): projections on the unit vector,
    /// relative to the middle between the two means.
    fn plain(
        &self,
        raw: Vec<Array1<f64>>,
        parts: &[&Part],
        exact: bool,
        explained: Vec<Option<f64>>,
    ) -> Vec<Option<Probe>> {
        let d = self.design.dim().1;
        let lengths: Vec<f64> =
            raw.iter().map(|v| (v / self.design.deviation()).iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
        let mut flat = Array2::zeros((raw.len(), d));
        for ((mut to, v), length) in flat.rows_mut().into_iter().zip(&raw).zip(&lengths) {
            if *length > 0.0 {
                to.assign(&(v / *length));
            }
        }
        let flat = flat.reversed_axes();
        let scores = self.design.times(&flat, exact);
        (0..raw.len())
            .map(|k| {
                let unit = flat.column(k).to_owned();
                let (weights, intercept) = self.design.raw(&unit, 0.0);
                let mut probe = Probe {
                    weights,
                    intercept,
                    scores: scores.column(k).to_vec(),
                    converged: true,
                    distance: None,
                    shrunk: None,
                    explained: explained[k],
                };
                let [low, high] = class_means(&probe.scores, parts[k]);
                probe.distance = Some((high - low).abs());
                probe.shift(-(low + high) / 2.0);
                (lengths[k] > 0.0).then_some(probe)
            })
            .collect()
    }
}

impl Probe {
    fn shift(&mut self, by: f64) {
        self.intercept += by;
        self.scores.iter_mut().for_each(|s| *s += by);
    }

    fn stretch(&mut self, by: f64) {
        self.weights *= by;
        self.intercept *= by;
        self.scores.iter_mut().for_each(|s| *s *= by);
    }
}

/// Mean score of the training rows of either class.
fn class_means(scores: &[f64], part: &Part) -> [f64; 2] {
    part.classes().map(|c| c.iter().map(|&r| scores[r]).sum::<f64>() / c.len().max(1) as f64)
}

/// Brings a solution of least squares on labels to the length of the discriminant, and its zero between the means; for
/// `lda`, where the odds are even.
fn scaled(mut probe: Probe, part: &Part, s: &Shrunk, method: Method) -> Option<Probe> {
    let [n0, n1] = part.classes().map(|c| c.len() as f64);
    let [low, high] = class_means(&probe.scores, part);
    let (w0, w1) = (n0 * s.weight[0], n1 * s.weight[1]);
    let between = w0 * w1 / (w0 + w1);
    // Classes that are told apart without fail have labels that are met exactly: what is left is then rounding.
    let left = (between * (2.0 - (high - low))).max(1e-9 * between);
    if !left.is_finite() {
        return None;
    }
    probe.shift(-(low + high) / 2.0);
    // Solved were the equations of n covariance / kept.
    probe.stretch((n0 + n1) / s.kept / left);
    if method == Method::Lda {
        probe.shift((n1 / n0).ln());
    }
    probe.shrunk = Some(s.share);
    Some(probe)
}

/// Turned so that label 1 scores above label 0, or a larger score above a smaller, on the rows it was fitted on.
fn oriented(mut probe: Probe, part: &Part) -> Probe {
    let n = part.train.iter().filter(|t| **t).count() as f64;
    let mean = part.train.iter().zip(&part.target).filter(|(t, _)| **t).map(|(_, y)| y).sum::<f64>() / n;
    let along: f64 =
        (0..part.train.len()).filter(|&r| part.train[r]).map(|r| probe.scores[r] * (part.target[r] - mean)).sum();
    if along < 0.0 {
        probe.stretch(-1.0);
    }
    probe
}
