//! Proportional hazards (Cox 1972) with ties as Efron (1977) weighs them.

use super::tail::two_sided;

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct Cox {
    /// Logarithm of the hazard ratio per unit of each covariate.
    pub coefficients: Vec<f64>,
    pub standard_errors: Vec<f64>,
    /// Coefficient over standard error.
    pub z: Vec<f64>,
    /// Two-sided, of the normal distribution.
    pub p: Vec<f64>,
    pub log_likelihood: f64,
}

/// One run: its time, whether it broke, and its covariates.
pub type Observed = (f64, bool, Vec<f64>);

const MOST_STEPS: usize = 100;
/// A hazard ratio of e^15 between runs one standard deviation of the covariate apart is no estimate.
const FAR: f64 = 15.0;

/// Fits by Newton's method. The order of the runs does not matter.
///
/// # Errors
/// A reason in words: no events, a covariate that does not vary or that follows from others, or one that separates the
/// runs so that its coefficient has no finite value.
pub fn cox(runs: &[Observed]) -> Result<Cox, String> {
    let p = runs.first().map_or(0, |r| r.2.len());
    if p == 0 || runs.iter().any(|r| r.2.len() != p || !r.2.iter().all(|v| v.is_finite())) {
        return Err("no covariates".into());
    }
    if !runs.iter().any(|r| r.1) {
        return Err("no events".into());
    }
    // Falling times, and below that by value: sums do not depend on the order of the input.
    let mut sorted: Vec<&Observed> = runs.iter().collect();
    let values = |a: &Observed, b: &Observed| {
        a.2.iter().zip(&b.2).map(|(x, y)| x.total_cmp(y)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    };
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then_with(|| values(a, b)));
    let (mean, sd) = scales(&sorted, p);
    if sd.iter().any(|s| *s <= 0.0) {
        return Err("a covariate does not vary".into());
    }
    let scaled: Vec<(f64, bool, Vec<f64>)> =
        sorted.iter().map(|r| (r.0, r.1, (0..p).map(|j| (r.2[j] - mean[j]) / sd[j]).collect())).collect();
    let mut beta = vec![0.0; p];
    let mut now = at(&scaled, &beta);
    let separates = || Err("the covariates separate the runs: no finite hazard ratio".to_string());
    for taken in 0..MOST_STEPS {
        let Some(step) = solve(&now.information, &now.gradient) else {
            // What is singular only far out is a likelihood without a peak.
            return if taken > 0 { separates() } else { Err("a covariate follows from the others".into()) };
        };
        let decrement: f64 = step.iter().zip(&now.gradient).map(|(a, b)| a * b).sum();
        if decrement < 1e-18 * (1.0 + now.value.abs()) {
            return finish(&now, &beta, &sd).map_or_else(separates, Ok);
        }
        // The likelihood is concave: halving the step always leads up in the end.
        let mut share = 1.0;
        loop {
            let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + share * s).collect();
            let there = at(&scaled, &next);
            if there.value.is_finite() && there.value >= now.value - 1e-12 * now.value.abs() {
                (beta, now) = (next, there);
                break;
            }
            share /= 2.0;
            if share < 1e-8 {
                return finish(&now, &beta, &sd).map_or_else(separates, Ok);
            }
        }
        if beta.iter().any(|b| b.abs() > FAR) {
            return separates();
        }
    }
    separates()
}

struct State {
    value: f64,
    gradient: Vec<f64>,
    /// Minus the second derivative.
    information: Vec<Vec<f64>>,
}

/// Log partial likelihood with its derivatives, for runs by falling time.
fn at(runs: &[Observed], beta: &[f64]) -> State {
    let p = beta.len();
    let mut state = State { value: 0.0, gradient: vec![0.0; p], information: vec![vec![0.0; p]; p] };
    // Sums of e^(beta x), x e^(beta x) and x x' e^(beta x) over the runs at risk, and over those that break now.
    let (mut risk, mut now) = (Sums::new(p), Sums::new(p));
    for tie in runs.chunk_by(|a, b| a.0 == b.0) {
        now.clear();
        let mut events = 0;
        for (_, broke, x) in tie {
            let along: f64 = x.iter().zip(beta).map(|(x, b)| x * b).sum();
            risk.add(x, along.exp());
            if *broke {
                now.add(x, along.exp());
                events += 1;
                state.value += along;
                state.gradient.iter_mut().zip(x).for_each(|(g, x)| *g += x);
            }
        }
        for l in 0..events {
            let share = f64::from(l) / f64::from(events);
            let s0 = risk.zero - share * now.zero;
            state.value -= s0.ln();
            let mean: Vec<f64> = (0..p).map(|j| (risk.one[j] - share * now.one[j]) / s0).collect();
            for i in 0..p {
                state.gradient[i] -= mean[i];
                for j in 0..p {
                    let second = (risk.two[i][j] - share * now.two[i][j]) / s0;
                    state.information[i][j] += second - mean[i] * mean[j];
                }
            }
        }
    }
    state
}

struct Sums {
    zero: f64,
    one: Vec<f64>,
    two: Vec<Vec<f64>>,
}

impl Sums {
    fn new(p: usize) -> Sums {
        Sums { zero: 0.0, one: vec![0.0; p], two: vec![vec![0.0; p]; p] }
    }
    fn clear(&mut self) {
        self.zero = 0.0;
        self.one.fill(0.0);
        self.two.iter_mut().for_each(|r| r.fill(0.0));
    }
    fn add(&mut self, x: &[f64], weight: f64) {
        self.zero += weight;
        for (i, a) in x.iter().enumerate() {
            self.one[i] += weight * a;
            for (j, b) in x.iter().enumerate() {
                self.two[i][j] += weight * a * b;
            }
        }
    }
}

fn finish(state: &State, beta: &[f64], sd: &[f64]) -> Option<Cox> {
    let p = beta.len();
    let unit = |j: usize| (0..p).map(|i| if i == j { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
    let mut standard_errors = Vec::with_capacity(p);
    for (j, sd) in sd.iter().enumerate() {
        let variance = solve(&state.information, &unit(j))?[j];
        standard_errors.push(variance.sqrt() / sd);
    }
    let coefficients: Vec<f64> = beta.iter().zip(sd).map(|(b, s)| b / s).collect();
    let z: Vec<f64> = coefficients.iter().zip(&standard_errors).map(|(c, s)| c / s).collect();
    let p = z.iter().map(|z| two_sided(*z)).collect::<Option<Vec<f64>>>()?;
    let finite = standard_errors.iter().zip(sd).all(|(s, sd)| (1e-300..10.0 * FAR).contains(&(s * sd)));
    finite.then_some(Cox { coefficients, standard_errors, z, p, log_likelihood: state.value })
}

fn scales(runs: &[&Observed], p: usize) -> (Vec<f64>, Vec<f64>) {
    let n = runs.len() as f64;
    let mean: Vec<f64> = (0..p).map(|j| runs.iter().map(|r| r.2[j]).sum::<f64>() / n).collect();
    let spread = |j: usize| (runs.iter().map(|r| (r.2[j] - mean[j]).powi(2)).sum::<f64>() / n).sqrt();
    // Rounding leaves a constant column with a spread of about eps times its size.
    let sd = (0..p).map(|j| Some(spread(j)).filter(|s| *s > 1e-12 * mean[j].abs()).unwrap_or(0.0)).collect();
    (mean, sd)
}

/// The solution of a symmetric positive definite system by Cholesky's decomposition; `None` where it is singular.
pub(super) fn solve(matrix: &[Vec<f64>], right: &[f64]) -> Option<Vec<f64>> {
    let p = right.len();
    let mut l = vec![vec![0.0; p]; p];
    for i in 0..p {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            let rest = matrix[i][j] - dot;
            if i == j {
                // What is left of a direction that the others already hold is rounding.
                if !(rest > 1e-10 * matrix[i][i]) || !rest.is_finite() {
                    return None;
                }
                l[i][i] = rest.sqrt();
            } else {
                l[i][j] = rest / l[j][j];
            }
        }
    }
    let mut x = right.to_vec();
    for i in 0..p {
        let dot: f64 = (0..i).map(|k| l[i][k] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i][i];
    }
    for i in (0..p).rev() {
        let dot: f64 = (i + 1..p).map(|k| l[k][i] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i][i];
    }
    Some(x)
}
