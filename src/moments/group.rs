//! The moments of one group of rows.

use super::projected::Projected;
use super::shape::Shape;
use super::site::SiteMoments;
use super::twofold::Twofold;

/// The moments of a group, at every site of the shape and along each of its directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Rows, whatever their weights.
    pub count: u64,
    pub(super) weight: Twofold,
    pub(super) weight_squared: Twofold,
    /// One for each site of the shape.
    pub sites: Vec<SiteMoments>,
    /// One for each direction of the shape. Projections are of rows as such: weights do not enter.
    pub projections: Vec<Projected>,
}

impl Group {
    /// Of no rows.
    pub(super) fn new(shape: &Shape) -> Group {
        Group {
            count: 0,
            weight: Twofold::default(),
            weight_squared: Twofold::default(),
            sites: shape.widths().iter().map(|w| SiteMoments::new(*w, shape.scatter())).collect(),
            projections: shape.directions().iter().map(|a| Projected::new(a.accuracy)).collect(),
        }
    }

    /// The sum of the weights.
    pub fn weight(&self) -> f64 {
        self.weight.high
    }

    /// The sum of the squares of the weights.
    pub fn weight_squared(&self) -> f64 {
        self.weight_squared.high
    }

    /// Rows of equal weight that would give a mean as sure as these do (Kish 1965); the count where weights are equal.
    pub fn n_effective(&self) -> f64 {
        self.weight() * self.weight() / self.weight_squared()
    }

    /// What M2 or a scatter matrix is divided by for an estimate of the variance without bias: `weight - weight_squared /
    /// weight`, which is `count - 1` where all weights are 1.
    pub fn degrees(&self) -> f64 {
        self.weight() - self.weight_squared() / self.weight()
    }

    pub(super) fn push(&mut self, shape: &Shape, weight: f64, rows: &[&[f32]]) {
        let before = self.weight();
        self.count += 1;
        self.weight.add(weight);
        self.weight_squared.add(weight * weight);
        let step = Step::new(before, weight, self.weight());
        for (site, row) in self.sites.iter_mut().zip(rows) {
            site.push(row, step);
        }
        for (projected, along) in self.projections.iter_mut().zip(shape.directions()) {
            projected.push(rows[along.site], &along.unit);
        }
    }

    pub(super) fn merge(&mut self, other: &Group) {
        let before = self.weight();
        self.count += other.count;
        self.weight.add_sum(other.weight);
        self.weight_squared.add_sum(other.weight_squared);
        let step = Step::new(before, other.weight(), self.weight());
        for (ours, theirs) in self.sites.iter_mut().zip(&other.sites) {
            ours.merge(theirs, step);
        }
        for (ours, theirs) in self.projections.iter_mut().zip(&other.projections) {
            ours.merge(theirs);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let sites: usize = self.sites.iter().map(SiteMoments::bytes).sum();
        sites + self.projections.iter().map(Projected::bytes).sum::<usize>() + size_of::<Group>()
    }
}

/// How far what comes moves what is there: with `apart` the new mean less the old one, the mean moves by
/// `share * apart`, and M2 grows by `gain * apart^2` (and by what comes with an M2 of its own).
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub share: f64,
    pub gain: f64,
}

impl Step {
    /// Of weights, `after` being the sum of the others.
    fn new(before: f64, coming: f64, after: f64) -> Step {
        let share = coming / after;
        Step { share, gain: before * share }
    }

    /// Of unweighted rows.
    pub fn of_counts(before: u64, coming: u64) -> Step {
        Step::new(before as f64, coming as f64, (before + coming) as f64)
    }
}
