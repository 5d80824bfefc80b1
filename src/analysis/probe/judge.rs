//! A probe at a site beside everything it has to be read against.

use super::Loss;
use super::design::Design;
use super::method::{Fitter, Method, Part, Probe, Settings};
use super::plan::Plan;
use super::solver::{Closeness, Problem, solve};
use crate::analysis::interval::Interval;
use crate::analysis::nulls::normal;
use crate::analysis::placed::{Placed, clustered_mean, jackknife};
use crate::analysis::stats::{auroc, cohens_d, mean, pearson, permutation_p, quantile, spearman};
use crate::error::{Error, Result};
use crate::rng::stream;
use ndarray::{Array1, Array2, ArrayView2};

/// Fits that go through the rows together.
const BATCH: usize = 64;

/// A number with what stands beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metric {
    pub name: String,
    pub value: Option<f64>,
    pub interval: Option<Interval>,
    /// Values under the null.
    pub null: Vec<f64>,
    pub p: Option<f64>,
    /// Rows, or draws where the value is a mean over draws.
    pub n: usize,
}

impl Metric {
    fn new(name: &str, value: Option<f64>, n: usize) -> Metric {
        Metric { name: name.into(), value, n, ..Metric::default() }
    }

    fn within(mut self, interval: Option<Interval>) -> Metric {
        self.interval = interval;
        self
    }

    /// With a null of which larger values speak against it.
    fn against(mut self, null: Vec<f64>) -> Metric {
        self.p = self.value.and_then(|v| permutation_p(v, &null));
        self.null = null;
        self
    }
}

/// A method at a site.
#[derive(Clone, Debug)]
pub struct Judged {
    pub method: Method,
    /// Fitted on all rows.
    pub probe: Probe,
    /// Prediction for each row by the fold that did not see it.
    pub held_out: Vec<f64>,
    /// Chance of label 1, of the same.
    pub chance: Option<Vec<f64>>,
    pub metrics: Vec<Metric>,
    /// How much larger the variance of a held-out score is than groups by themselves say; see `shared_training`.
    pub widened: f64,
    pub warnings: Vec<String>,
}

/// Fits and judges a method on the rows of a site, `[row, d_model]` in the order of the plan.
///
/// # Errors
/// Rows that do not belong to the plan, are not finite, or hold nothing that tells the labels apart.
pub fn judge(rows: ArrayView2<f32>, plan: &Plan, methods: &[Method], settings: Settings) -> Result<Vec<Judged>> {
    settings.check()?;
    if rows.nrows() != plan.target.len() {
        let (found, expected) = (vec![rows.nrows()], vec![plan.target.len()]);
        return Err(Error::Shape { place: "a probe".into(), name: "rows".into(), found, expected });
    }
    let design = Design::new(rows)?;
    let fitter = Fitter { design: &design, group: &plan.groups.of_row, settings };
    let random = random_null(&design, plan);
    methods.iter().map(|m| one(&fitter, plan, *m, &random)).collect()
}

fn one(fitter: &Fitter, plan: &Plan, method: Method, random: &[f64]) -> Result<Judged> {
    if plan.graded && method != Method::Ridge {
        let what = format!("{method} of graded scores");
        return Err(Error::refused(what, "only ridge follows a score; give labels 0 and 1 to the others"));
    }
    let n = plan.target.len();
    let mut parts = vec![plan.part(|_| true)];
    parts.extend((0..plan.folds).map(|f| plan.part(|r| plan.fold(r) != f)));
    let mut fitted = fitter.fit(method, &parts, Closeness::FULL, None);
    let Some(probe) = fitted[0].take() else {
        let hint = match method {
            Method::Pca => "pca needs groups with rows of both labels, whose differences it takes",
            _ => "both labels have the same mean in every column: leave the site out",
        };
        return Err(Error::refused(format!("{method} finds no direction"), hint));
    };
    let mut warnings = Vec::new();
    let slow = fitted.iter().flatten().filter(|p| !p.converged).count() + usize::from(!probe.converged);
    if slow > 0 {
        warnings.push(format!("{method}: {slow} of {} fits stopped before they had converged", parts.len()));
    }
    let missing = fitted[1..].iter().filter(|f| f.is_none()).count();
    if missing > 0 {
        warnings.push(format!("{method}: {missing} folds had nothing to fit; their rows score 0"));
    }
    let folds: Vec<Option<&Probe>> = fitted[1..].iter().map(Option::as_ref).collect();
    let held_out: Vec<f64> = (0..n).map(|r| folds[plan.fold(r)].map_or(0.0, |p| p.scores[r])).collect();
    let null = null(fitter, plan, method, &parts[0]);
    let (mut metrics, mut chance) = (Vec::new(), None);
    let agreeing = agreement(fitter, plan, method, &probe);
    let reliability = agreeing.first().and_then(|m| m.value);
    let widened = reliability.map_or(1.0, |r| shared_training(r, plan.folds));
    if plan.graded {
        graded(plan, &probe, &held_out, null, &mut metrics);
    } else {
        let of = chances(plan, method, &folds, &held_out);
        labelled(plan, &probe, (&held_out, &of, widened), null, &mut metrics);
        let at_random = Metric::new("random_direction", mean(random), random.len());
        let p = metrics[0].value.and_then(|a| permutation_p(a, random));
        metrics.push(Metric { p, null: random.to_vec(), ..at_random });
        chance = Some(of);
    }
    metrics.extend(agreeing);
    if let Some(share) = probe.explained {
        metrics.push(Metric::new("explained_share", Some(share), n));
    }
    Ok(Judged { method, probe, held_out, chance, metrics, widened, warnings })
}

/// Metrics of labels; the held-out AUROC comes first.
fn labelled(
    plan: &Plan,
    probe: &Probe,
    (held_out, chance, widened): (&[f64], &[f64], f64),
    null: Vec<[f64; 2]>,
    metrics: &mut Vec<Metric>,
) {
    let (n, labels) = (plan.target.len(), plan.labels());
    let (of_row, clusters) = (&plan.groups.of_row, plan.groups.names.len());
    let placed = Placed::new(held_out, &labels, of_row, clusters).map(|p| p.widened(widened));
    let [aurocs, accuracies] = [0, 1].map(|k| null.iter().map(|v| v[k]).collect::<Vec<f64>>());
    let value = placed.as_ref().map(|p| p.auroc);
    let interval = placed.as_ref().and_then(Placed::interval);
    metrics.push(Metric::new("auroc", value, n).within(interval).against(aurocs));
    metrics.push(Metric::new("auroc_train", auroc(&probe.scores, &labels), n));
    let right: Vec<f64> = held_out.iter().zip(&labels).map(|(s, l)| f64::from(u8::from((*s > 0.0) == *l))).collect();
    let (accuracy, interval) = clustered_mean(&right, of_row, clusters, true, widened).unzip();
    metrics.push(Metric::new("accuracy", accuracy, n).within(interval.flatten()).against(accuracies));
    let squares: Vec<f64> = chance.iter().zip(&labels).map(|(c, l)| (c - f64::from(u8::from(*l))).powi(2)).collect();
    let (brier, interval) = clustered_mean(&squares, of_row, clusters, true, widened).unzip();
    let share = mean(&labels.iter().map(|l| f64::from(u8::from(*l))).collect::<Vec<_>>()).unwrap_or(0.5);
    let mut metric = Metric::new("brier", brier, n).within(interval.flatten());
    // What the share of label 1 alone scores.
    metric.null = vec![share * (1.0 - share)];
    metrics.push(metric);
    let effect = |skip: Option<usize>| {
        let of = |class: bool| -> Vec<f64> {
            (0..n).filter(|&r| labels[r] == class && Some(of_row[r]) != skip).map(|r| held_out[r]).collect()
        };
        cohens_d(&of(true), &of(false))
    };
    let value = effect(None);
    let interval = value.filter(|_| clusters <= 2000).and_then(|v| jackknife(v, clusters, |g| effect(Some(g))));
    metrics.push(Metric::new("effect_size", value, n).within(interval));
}

fn graded(plan: &Plan, probe: &Probe, held_out: &[f64], null: Vec<[f64; 2]>, metrics: &mut Vec<Metric>) {
    let n = plan.target.len();
    let clusters = plan.groups.names.len();
    type Statistic = fn(&[f64], &[f64]) -> Option<f64>;
    let all: [(&str, Statistic); 2] = [("spearman", spearman), ("pearson", pearson)];
    for (k, (name, of)) in all.into_iter().enumerate() {
        let without = |skip: Option<usize>| {
            let rows: Vec<usize> = (0..n).filter(|&r| Some(plan.groups.of_row[r]) != skip).collect();
            let take = |v: &[f64]| rows.iter().map(|&r| v[r]).collect::<Vec<_>>();
            of(&take(held_out), &take(&plan.target))
        };
        let value = without(None);
        let interval = value.filter(|_| clusters <= 2000).and_then(|v| jackknife(v, clusters, |g| without(Some(g))));
        let draws = null.iter().map(|v| v[k]).collect();
        metrics.push(Metric::new(name, value, n).within(interval).against(draws));
    }
    metrics.push(Metric::new("spearman_train", spearman(&probe.scores, &plan.target), n));
    let m = mean(&plan.target).unwrap_or_default();
    let total: f64 = plan.target.iter().map(|y| (y - m).powi(2)).sum();
    let left: f64 = plan.target.iter().zip(held_out).map(|(y, s)| (y - s).powi(2)).sum();
    metrics.push(Metric::new("r_squared", Some(1.0 - left / total), n));
}

/// (AUROC, accuracy) of every shuffle, or (Spearman, Pearson) of shuffled scores; each refitted in folds of its own.
fn null(fitter: &Fitter, plan: &Plan, method: Method, whole: &Part) -> Vec<[f64; 2]> {
    let regular = if plan.shuffles.is_empty() { None } else { fitter.regular(method, whole) };
    let per_batch = (BATCH / plan.folds).max(1);
    let mut out = Vec::with_capacity(plan.shuffles.len());
    for batch in plan.shuffles.chunks(per_batch) {
        let mut parts = Vec::with_capacity(batch.len() * plan.folds);
        for s in batch {
            for f in 0..plan.folds {
                let train = plan.groups.of_row.iter().map(|&g| s.fold_of[g] != f).collect();
                parts.push(Part { train, target: s.target.clone() });
            }
        }
        let fitted = fitter.fit(method, &parts, Closeness::DRAW, regular.as_ref());
        for (s, probes) in batch.iter().zip(fitted.chunks(plan.folds)) {
            let scores: Vec<f64> = plan
                .groups
                .of_row
                .iter()
                .enumerate()
                .map(|(r, &g)| probes[s.fold_of[g]].as_ref().map_or(0.0, |p| p.scores[r]))
                .collect();
            if plan.graded {
                let of = |v: Option<f64>| v.unwrap_or(0.0);
                out.push([of(spearman(&scores, &s.target)), of(pearson(&scores, &s.target))]);
            } else {
                let labels: Vec<bool> = s.target.iter().map(|y| *y > 0.0).collect();
                let right = scores.iter().zip(&labels).filter(|(s, l)| (**s > 0.0) == **l).count();
                out.push([auroc(&scores, &labels).unwrap_or(0.5), right as f64 / labels.len() as f64]);
            }
        }
    }
    out
}

/// The chance of label 1 of every row by the fold that did not see it: of log-odds directly, of other scores by a
/// logistic curve fitted on the fold's training rows.
fn chances(plan: &Plan, method: Method, folds: &[Option<&Probe>], held_out: &[f64]) -> Vec<f64> {
    let curve = |odds: f64| 1.0 / (1.0 + (-odds).exp());
    if method.is_probability() {
        return held_out.iter().map(|s| curve(*s)).collect();
    }
    let lines: Vec<(f64, f64)> = folds
        .iter()
        .enumerate()
        .map(|(f, probe)| probe.and_then(|p| line(&p.scores, plan, f)).unwrap_or((0.0, 0.0)))
        .collect();
    (0..held_out.len()).map(|r| lines[plan.fold(r)]).zip(held_out).map(|((a, b), s)| curve(a * s + b)).collect()
}

/// Slope and intercept of the log-odds in a score, fitted on the training rows of a fold.
fn line(scores: &[f64], plan: &Plan, fold: usize) -> Option<(f64, f64)> {
    let column = Array2::from_shape_fn((scores.len(), 1), |(r, _)| scores[r] as f32);
    let design = Design::new(column.view()).ok()?;
    let problem = Problem {
        loss: Loss::Logistic,
        target: plan.target.clone(),
        weight: (0..scores.len()).map(|r| f64::from(u8::from(plan.fold(r) != fold))).collect(),
        // Scores that tell all training rows apart would have an endless slope.
        penalty: Array1::ones(1),
    };
    let fitted = solve(&design, &[problem], Closeness::FULL).pop()?;
    let (slope, intercept) = design.raw(&fitted.weights, fitted.intercept);
    Some((slope[0], intercept))
}

/// Whether directions from other rows agree, and what the probe makes of labels that mean nothing.
fn agreement(fitter: &Fitter, plan: &Plan, method: Method, probe: &Probe) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut parts: Vec<Part> = plan.halves.iter().flatten().cloned().collect();
    parts.extend(plan.left_out.iter().map(|&g| plan.part(|r| plan.groups.of_row[r] != g)));
    let from = parts.len();
    let mut tasks: Vec<&[f64]> = Vec::new();
    if !plan.controls.is_empty() {
        tasks.push(&plan.target);
        tasks.extend(plan.controls.iter().map(Vec::as_slice));
    }
    for target in &tasks {
        for f in 0..plan.folds {
            let train = plan.row_folds.iter().map(|&of| of != f).collect();
            parts.push(Part { train, target: target.to_vec() });
        }
    }
    let mut fitted: Vec<Option<Probe>> = Vec::with_capacity(parts.len());
    for batch in parts.chunks(BATCH) {
        fitted.extend(fitter.fit(method, batch, Closeness::COSINE, None));
    }
    let halves = 2 * plan.halves.len();
    let cosines: Vec<f64> = fitted[..halves]
        .chunks(2)
        .filter_map(|pair| cosine(&pair[0].as_ref()?.weights, &pair[1].as_ref()?.weights))
        .collect();
    metrics.push(Metric::new("reliability", mean(&cosines), cosines.len()));
    let cosines: Vec<f64> =
        fitted[halves..from].iter().filter_map(|f| cosine(&f.as_ref()?.weights, &probe.weights)).collect();
    metrics.push(Metric::new("leave_one_group_out_cosine", mean(&cosines), cosines.len()));
    let least = cosines.iter().copied().reduce(f64::min);
    metrics.push(Metric::new("leave_one_group_out_cosine_min", least, cosines.len()));
    let scored: Vec<f64> = fitted[from..]
        .chunks(plan.folds)
        .zip(&tasks)
        .filter_map(|(folds, target)| {
            let score = |(r, f): (usize, &usize)| folds[*f].as_ref().map_or(0.0, |p| p.scores[r]);
            let scores: Vec<f64> = plan.row_folds.iter().enumerate().map(score).collect();
            auroc(&scores, &target.iter().map(|y| *y > 0.0).collect::<Vec<_>>())
        })
        .collect();
    if let [real, control @ ..] = scored.as_slice()
        && let Some(mean) = mean(control)
    {
        metrics.push(Metric::new("control_auroc", Some(mean), control.len()));
        metrics.push(Metric::new("selectivity", Some(real - mean), control.len()));
    }
    metrics
}

/// How much larger the variance of a score over folds is than that of one on rows that nothing was fitted on.
///
/// A group is scored by directions that other groups made, and has a part in the directions that score them. Of two
/// groups in different folds the score so holds the product of their deviations twice; where the direction is all noise
/// that doubles the variance, and where it is all signal it adds nothing. `reliability` is the cosine of directions from
/// halves: it says how much of the square of a direction from a fold's training rows is signal.
fn shared_training(reliability: f64, folds: usize) -> f64 {
    let r = reliability.clamp(0.0, 1.0);
    // A direction from more groups than half has less noise, in proportion.
    let noise = (1.0 - r) * 0.5 / (1.0 - 1.0 / folds as f64);
    let signal = if r > 0.0 { r / (r + noise) } else { 0.0 };
    2.0 - signal
}

/// Held-out AUROC of directions by lot, each turned on the training rows of every fold.
fn random_null(design: &Design, plan: &Plan) -> Vec<f64> {
    if plan.graded || plan.judging.random == 0 {
        return Vec::new();
    }
    let labels = plan.labels();
    let mut rng = stream(plan.judging.seed, "probe/random directions");
    let raw = Array2::from_shape_fn((plan.judging.random, design.dim().1), |_| normal(&mut rng)) * design.deviation();
    let scores = design.times(&raw.reversed_axes(), false);
    let turned = |column: ndarray::ArrayView1<f64>| {
        let folds: Vec<(f64, f64)> = (0..plan.folds)
            .map(|f| {
                let of = |class: bool| {
                    let rows = (0..labels.len()).filter(|&r| labels[r] == class && plan.fold(r) != f);
                    mean(&rows.map(|r| column[r]).collect::<Vec<_>>()).unwrap_or_default()
                };
                let (high, low) = (of(true), of(false));
                (if high >= low { 1.0 } else { -1.0 }, (high + low) / 2.0)
            })
            .collect();
        let scores: Vec<f64> = (0..labels.len())
            .map(|r| {
                let (sign, middle) = folds[plan.fold(r)];
                sign * (column[r] - middle)
            })
            .collect();
        auroc(&scores, &labels)
    };
    scores.columns().into_iter().filter_map(turned).collect()
}

/// The cosine of two directions.
pub fn cosine(a: &Array1<f64>, b: &Array1<f64>) -> Option<f64> {
    let lengths = (a.dot(a) * b.dot(b)).sqrt();
    (lengths > 0.0).then(|| (a.dot(b) / lengths).clamp(-1.0, 1.0))
}

/// Predicted and observed shares of label 1 by tenths of the predicted: (lower end, rows, mean predicted, observed).
pub fn calibration(chance: &[f64], labels: &[bool]) -> Vec<(f64, usize, f64, f64)> {
    let bin = |c: f64| ((c * 10.0).floor() as usize).min(9);
    (0..10)
        .filter_map(|b| {
            let rows: Vec<usize> = (0..chance.len()).filter(|&r| bin(chance[r]) == b).collect();
            let predicted = mean(&rows.iter().map(|&r| chance[r]).collect::<Vec<_>>())?;
            let observed = rows.iter().filter(|&&r| labels[r]).count() as f64 / rows.len() as f64;
            Some((b as f64 / 10.0, rows.len(), predicted, observed))
        })
        .collect()
}

/// Cells of a null: its mean and 95 % quantile.
pub fn null_cells(null: &[f64]) -> (Option<f64>, Option<f64>) {
    match null {
        // A single value is a reference, not a distribution.
        [one] => (Some(*one), None),
        all => (mean(all), quantile(all, 0.95)),
    }
}
