//! Kaplan and Meier's curve with Greenwood's variance, its median and its restricted mean.

use crate::analysis::interval::normal_quantile;

/// What happened at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub time: f64,
    /// Runs that were still watched just before.
    pub at_risk: usize,
    pub events: usize,
    pub censored: usize,
    /// The share that is estimated to survive this time.
    pub survival: f64,
    pub ci_low: f64,
    pub ci_high: f64,
    /// Greenwood's sum of d / (n (n - d)) up to here: the variance of the curve over its square. The step to a survival
    /// of 0, where it has no value, is left out.
    pub greenwood: f64,
}

/// A step function that falls at the times of events. The first point is time 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub points: Vec<Point>,
}

/// The area under a curve up to a horizon: the mean time until the break, when no run counts for more than the horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestrictedMean {
    pub mean: f64,
    pub standard_error: f64,
}

impl Curve {
    /// The curve of (time, event) pairs with positive times.
    ///
    /// Intervals are exponential Greenwood ones: log(-log S) plus and minus 1.96 of its standard error (Kalbfleisch and
    /// Prentice 1980), so they stay within 0 and 1. Where nothing happened yet, or nobody is left, both ends are the curve.
    pub fn of(ended: &[(f64, bool)]) -> Curve {
        let mut sorted = ended.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut at_risk = sorted.len();
        let start = Point {
            time: 0.0,
            at_risk,
            events: 0,
            censored: 0,
            survival: 1.0,
            ci_low: 1.0,
            ci_high: 1.0,
            greenwood: 0.0,
        };
        let (mut points, mut now) = (vec![start], start);
        let z = normal_quantile(0.975);
        for tie in sorted.chunk_by(|a, b| a.0 == b.0) {
            let events = tie.iter().filter(|t| t.1).count();
            let (n, d) = (at_risk as f64, events as f64);
            now = Point { time: tie[0].0, at_risk, events, censored: tie.len() - events, ..now };
            now.survival = if events == at_risk { 0.0 } else { now.survival * (1.0 - d / n) };
            now.greenwood += if events < at_risk { d / (n * (n - d)) } else { 0.0 };
            (now.ci_low, now.ci_high) = interval(now.survival, now.greenwood, z);
            points.push(now);
            at_risk -= tie.len();
        }
        Curve { points }
    }

    /// Runs, and how many of them broke.
    pub fn counts(&self) -> (usize, usize) {
        (self.points[0].at_risk, self.points.iter().map(|p| p.events).sum())
    }

    /// The first time at which the curve is at or below one half, with the same for the ends of its interval. `None` where
    /// that is not reached: more than half survive what was watched.
    pub fn median(&self) -> (Option<f64>, Option<f64>, Option<f64>) {
        let first = |of: &dyn Fn(&Point) -> f64| self.points.iter().find(|p| of(p) <= 0.5).map(|p| p.time);
        (first(&|p| p.survival), first(&|p| p.ci_low), first(&|p| p.ci_high))
    }

    /// The area under the curve up to the horizon. Its variance is the sum over events before the horizon of
    /// A^2 d / (n (n - d)), with A the area from the event to the horizon (Klein and Moeschberger 2003, section 4.5).
    /// `None` where the last run was censored before the horizon, so that the curve is not known up to it.
    pub fn restricted_mean(&self, horizon: f64) -> Option<RestrictedMean> {
        let last = self.points.last()?;
        if !(horizon > 0.0 && (last.time >= horizon || last.survival == 0.0)) {
            return None;
        }
        let end = |i: usize| self.points.get(i + 1).map_or(horizon, |p| p.time.min(horizon));
        let (mut area, mut variance) = (0.0, 0.0);
        // From the right, so that the area behind a point is at hand.
        for (i, p) in self.points.iter().enumerate().rev().filter(|(_, p)| p.time < horizon) {
            area += (end(i) - p.time) * p.survival;
            let (n, d) = (p.at_risk as f64, p.events as f64);
            if p.events < p.at_risk {
                variance += area * area * d / (n * (n - d));
            }
        }
        Some(RestrictedMean { mean: area, standard_error: variance.sqrt() })
    }
}

fn interval(survival: f64, greenwood: f64, z: f64) -> (f64, f64) {
    if survival <= 0.0 || survival >= 1.0 {
        return (survival, survival);
    }
    let v = survival.ln();
    let half = z * greenwood.sqrt() / v.abs();
    let at = |sign: f64| (-((-v).ln() + sign * half).exp()).exp();
    (at(1.0), at(-1.0))
}
