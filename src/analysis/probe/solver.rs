//! Many fits on the rows of one site at once.
//!
//! Folds, halves and shuffled labels differ in which rows count and in what is said of them, never in the rows. So all
//! of them go through the rows together: an iteration is two products with a matrix that has a column per fit, however
//! many there are. Each fit takes limited-memory BFGS steps (Nocedal and Wright, Numerical Optimization, 7.2) with the
//! shared [`Preconditioner`] in the place of the initial inverse Hessian, and searches along its step by itself: the
//! margins along a line are known, so a search reads no row.

use super::design::Design;
use super::loss::Loss;
use super::precondition::Preconditioner;
use ndarray::{Array1, Array2};
use std::collections::VecDeque;

/// Steps that are remembered.
const MEMORY: usize = 12;
/// Products in f32 do not bring a fit closer than this.
const ROUGH: f64 = 1e-4;
/// Below this many multiplications a product is exact from the start.
const SMALL: usize = 1 << 20;

/// A probe to be fitted: sum of `weight * loss` over rows + the penalty, the intercept free.
#[derive(Clone, Debug)]
pub struct Problem {
    pub loss: Loss,
    /// Per row: 1 or -1, or a graded score.
    pub target: Vec<f64>,
    /// Per row; 0 leaves it out.
    pub weight: Vec<f64>,
    /// Per column, on half the square of the weight in the units of the design; positive.
    pub penalty: Array1<f64>,
}

/// A probe that was fitted, in the units of the design.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub weights: Array1<f64>,
    pub intercept: f64,
    /// Its prediction for every row, fitted or left out.
    pub margins: Vec<f64>,
    pub objective: f64,
    pub iterations: usize,
    pub converged: bool,
}

/// How closely to fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closeness {
    /// Distance from the minimum in the norm of the Hessian, relative to that of the solution.
    pub tolerance: f64,
    pub iterations: usize,
}

impl Closeness {
    /// For what is reported.
    pub const FULL: Closeness = Closeness { tolerance: 1e-5, iterations: 1000 };
    /// For cosines between fits.
    pub const COSINE: Closeness = Closeness { tolerance: 1e-3, iterations: 200 };
    /// For draws of a null.
    pub const DRAW: Closeness = Closeness { tolerance: 2e-2, iterations: 60 };
}

/// Fits all problems; a pure function of the rows and the problems, in this order.
pub fn solve(design: &Design, problems: &[Problem], closeness: Closeness) -> Vec<Fitted> {
    let Some(first) = problems.first() else { return Vec::new() };
    let shared = Preconditioner::new(design, first.loss.typical(), &first.penalty);
    solve_with(design, &shared, problems, closeness)
}

/// [`solve`] with a preconditioner made before.
pub(super) fn solve_with(
    design: &Design,
    shared: &Preconditioner,
    problems: &[Problem],
    closeness: Closeness,
) -> Vec<Fitted> {
    let mut states: Vec<State> = problems.iter().map(|p| State::new(p, design.dim())).collect();
    let (n, d) = design.dim();
    let small = n * d * problems.len() < SMALL;
    if !small {
        let rough = Closeness { tolerance: closeness.tolerance.max(ROUGH), ..closeness };
        descend(design, shared, &mut states, rough, false);
    }
    if small || closeness.tolerance < ROUGH {
        states.iter_mut().for_each(State::again);
        descend(design, shared, &mut states, closeness, true);
    }
    states.into_iter().map(State::fitted).collect()
}

fn descend(design: &Design, shared: &Preconditioner, states: &mut [State], closeness: Closeness, exact: bool) {
    let d = design.dim().1;
    let mut active: Vec<usize> = (0..states.len()).collect();
    // Margins and gradients in the precision of this stage.
    let mut at = gather(&active, states, d, |s| s.u.as_slice());
    let margins = design.times(&at, exact);
    for (k, &i) in active.iter().enumerate() {
        let column: Vec<f64> = margins.column(k).to_vec();
        states[i].place(column);
    }
    loop {
        let residuals = Array2::from_shape_fn((active.len(), design.dim().0), |(k, r)| states[active[k]].residual[r]);
        let gradients = design.transposed(&residuals.reversed_axes(), exact);
        for (k, &i) in active.iter().enumerate() {
            states[i].gradient(gradients.column(k).to_vec());
        }
        at = gather(&active, states, d, |s| &s.g[..d]);
        let solved = shared.apply(design, &at);
        for (k, &i) in active.iter().enumerate() {
            states[i].preconditioned(solved.column(k).to_vec(), closeness);
        }
        active.retain(|i| !states[*i].done);
        if active.is_empty() {
            return;
        }
        for &i in &active {
            states[i].direction();
        }
        at = gather(&active, states, d, |s| &s.p[..d]);
        let along = design.times(&at, exact);
        for (k, &i) in active.iter().enumerate() {
            states[i].step(along.column(k).to_vec());
        }
        active.retain(|i| !states[*i].done);
        if active.is_empty() {
            return;
        }
    }
}

/// A column per active fit.
fn gather<'a>(active: &[usize], states: &'a [State], d: usize, of: impl Fn(&'a State<'a>) -> &'a [f64]) -> Array2<f64> {
    let mut flat = Vec::with_capacity(active.len() * d);
    active.iter().for_each(|&i| flat.extend_from_slice(of(&states[i])));
    Array2::from_shape_vec((active.len(), d), flat).unwrap_or_default().reversed_axes()
}

/// A step taken: displacement, change of the gradient, that change preconditioned, and 1 / their product.
struct Step {
    s: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    rho: f64,
}

/// One fit under way. Vectors of `d + 1` hold the intercept last.
struct State<'a> {
    problem: &'a Problem,
    u: Vec<f64>,
    intercept: f64,
    /// Predictions, with the intercept.
    m: Vec<f64>,
    /// Weighted first derivatives of the loss.
    residual: Vec<f64>,
    g: Vec<f64>,
    z: Vec<f64>,
    p: Vec<f64>,
    steps: VecDeque<Step>,
    /// Displacement and old gradients of the step just taken.
    taken: Option<(Vec<f64>, Vec<f64>, Vec<f64>)>,
    objective: f64,
    /// The objective of the best constant prediction.
    start: f64,
    iterations: usize,
    limit: usize,
    converged: bool,
    done: bool,
}

impl<'a> State<'a> {
    fn new(problem: &'a Problem, (n, d): (usize, usize)) -> State<'a> {
        let mut state = State {
            problem,
            u: vec![0.0; d],
            intercept: constant(problem),
            m: vec![0.0; n],
            residual: vec![0.0; n],
            g: vec![0.0; d + 1],
            z: vec![],
            p: vec![],
            steps: VecDeque::new(),
            taken: None,
            objective: 0.0,
            start: 0.0,
            iterations: 0,
            limit: 0,
            converged: false,
            done: false,
        };
        state.place(vec![0.0; n]);
        state.start = state.objective;
        state
    }

    /// Goes on in another precision.
    fn again(&mut self) {
        (self.done, self.converged, self.taken, self.limit) = (false, false, None, 0);
    }

    /// Takes predictions without the intercept, and what follows from them.
    fn place(&mut self, mut m: Vec<f64>) {
        m.iter_mut().for_each(|v| *v += self.intercept);
        self.m = m;
        self.derive();
    }

    fn derive(&mut self) {
        let p = self.problem;
        let mut sum = 0.0;
        for (r, m) in self.m.iter().enumerate() {
            let w = p.weight[r];
            self.residual[r] = 0.0;
            if w > 0.0 {
                let (value, first, _) = p.loss.at(*m, p.target[r]);
                sum += w * value;
                self.residual[r] = w * first;
            }
        }
        self.objective = sum + self.u.iter().zip(&p.penalty).map(|(u, l)| l * u * u).sum::<f64>() / 2.0;
    }

    fn gradient(&mut self, of_loss: Vec<f64>) {
        let d = self.u.len();
        let old = std::mem::take(&mut self.g);
        self.g = of_loss;
        for ((g, u), l) in self.g.iter_mut().zip(&self.u).zip(&self.problem.penalty) {
            *g += l * u;
        }
        self.g.push(self.residual.iter().sum());
        debug_assert_eq!(self.g.len(), d + 1);
        if let Some((_, g, _)) = &mut self.taken {
            *g = old;
        }
    }

    /// Takes the preconditioned gradient, remembers the last step, and looks whether the minimum is near.
    fn preconditioned(&mut self, mut solved: Vec<f64>, closeness: Closeness) {
        let curvature = self.problem.loss.typical() * self.problem.weight.iter().sum::<f64>();
        solved.push(self.g[self.u.len()] / curvature.max(1e-300));
        self.z = solved;
        if let Some((s, g, z)) = self.taken.take() {
            let y = minus(&self.g, &g);
            let z = minus(&self.z, &z);
            let product = dot(&s, &y);
            if product > 1e-14 * dot(&s, &s).sqrt() * dot(&y, &y).sqrt() && product > 0.0 {
                if self.steps.len() == MEMORY {
                    self.steps.pop_front();
                }
                self.steps.push_back(Step { s, y, z, rho: 1.0 / product });
            }
        }
        let left = self.scale() * dot(&self.g, &self.z);
        let gained = (self.start - self.objective).max(1e-12 * self.start.abs()).max(1e-300);
        self.limit += 1;
        self.converged = left <= 2.0 * closeness.tolerance.powi(2) * gained;
        self.done = self.converged || self.limit > closeness.iterations;
    }

    /// How much larger the inverse Hessian is than the preconditioner, by the last step.
    fn scale(&self) -> f64 {
        self.steps.back().map_or(1.0, |l| 1.0 / (l.rho * dot(&l.y, &l.z)).max(1e-300))
    }

    fn direction(&mut self) {
        // The preconditioned q is followed beside q, so one application serves both.
        let mut q = self.g.clone();
        let mut z = self.z.clone();
        let mut alphas = Vec::with_capacity(self.steps.len());
        for step in self.steps.iter().rev() {
            let alpha = step.rho * dot(&step.s, &q);
            subtract(&mut q, alpha, &step.y);
            subtract(&mut z, alpha, &step.z);
            alphas.push(alpha);
        }
        let scale = self.scale();
        z.iter_mut().for_each(|v| *v *= scale);
        for (step, alpha) in self.steps.iter().zip(alphas.iter().rev()) {
            let beta = step.rho * dot(&step.y, &z);
            subtract(&mut z, beta - alpha, &step.s);
        }
        if dot(&z, &self.g) <= 0.0 {
            // Rounding has spoilt the memory.
            self.steps.clear();
            z = self.z.clone();
        }
        z.iter_mut().for_each(|v| *v = -*v);
        self.p = z;
    }

    /// Goes along the direction, whose predictions without the intercept are `along`.
    fn step(&mut self, mut along: Vec<f64>) {
        let d = self.u.len();
        along.iter_mut().for_each(|v| *v += self.p[d]);
        let t = self.search(&along);
        if t == 0.0 {
            self.done = true;
            return;
        }
        let s: Vec<f64> = self.p.iter().map(|p| t * p).collect();
        self.u.iter_mut().zip(&s).for_each(|(u, s)| *u += s);
        self.intercept += s[d];
        self.m.iter_mut().zip(&along).for_each(|(m, a)| *m += t * a);
        self.derive();
        self.taken = Some((s, vec![], std::mem::take(&mut self.z)));
        self.iterations += 1;
    }

    /// The step length: Newton's method on the derivative along the line, which rises, kept between its bounds.
    fn search(&self, along: &[f64]) -> f64 {
        let p = self.problem;
        let (mut linear, mut square) = (0.0, 0.0);
        for ((u, v), l) in self.u.iter().zip(&self.p).zip(&p.penalty) {
            linear += l * u * v;
            square += l * v * v;
        }
        let slope = |t: f64| {
            let (mut first, mut second) = (linear + t * square, square);
            for (r, a) in along.iter().enumerate() {
                if p.weight[r] > 0.0 {
                    let (_, f, s) = p.loss.at(self.m[r] + t * a, p.target[r]);
                    first += p.weight[r] * f * a;
                    second += p.weight[r] * s * a * a;
                }
            }
            (first, second)
        };
        let (begin, _) = slope(0.0);
        if begin.is_nan() || begin >= 0.0 {
            return 0.0;
        }
        let (mut lo, mut hi, mut t) = (0.0, f64::INFINITY, 1.0);
        for _ in 0..40 {
            let (first, second) = slope(t);
            if first.abs() <= 0.1 * begin.abs() {
                return t;
            }
            if first < 0.0 {
                lo = t
            } else {
                hi = t
            }
            let newton = t - first / second;
            let inside = newton > lo && newton < hi && newton.is_finite() && newton < 20.0 * t.max(1e-300);
            t = if inside {
                newton
            } else if hi.is_finite() {
                (lo + hi) / 2.0
            } else {
                4.0 * t
            };
        }
        lo
    }

    fn fitted(self) -> Fitted {
        Fitted {
            weights: Array1::from(self.u),
            intercept: self.intercept,
            margins: self.m,
            objective: self.objective,
            iterations: self.iterations,
            converged: self.converged,
        }
    }
}

/// The best prediction without weights, where it has a formula; for the hinge about that.
fn constant(p: &Problem) -> f64 {
    let sum: f64 = p.weight.iter().sum();
    let mean = p.weight.iter().zip(&p.target).map(|(w, y)| w * y).sum::<f64>() / sum.max(1e-300);
    match p.loss {
        Loss::Logistic => ((1.0 + mean) / (1.0 - mean)).ln().clamp(-20.0, 20.0),
        Loss::SquaredHinge | Loss::Squared => mean,
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums side by side, so that the order does not hold up the addition.
    let mut sums = [0.0; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a4.zip(b4) {
        for k in 0..4 {
            sums[k] += x[k] * y[k];
        }
    }
    sums[0] + sums[1] + sums[2] + sums[3] + rest
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x - y).collect()
}

fn subtract(a: &mut [f64], times: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(x, y)| *x -= times * y);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::rng::stream;
    use rand::Rng;

    fn noise(seed: u64, n: usize, d: usize) -> (Array2<f32>, Vec<f64>) {
        let mut rng = stream(seed, "solver");
        let target: Vec<f64> = (0..n).map(|_| if rng.random_bool(0.3) { 1.0 } else { -1.0 }).collect();
        // Columns of very different size that share a factor.
        let rows = Array2::from_shape_fn((n, d), |(i, j)| (i, j)).mapv(|(i, j)| {
            let own = normal(&mut rng);
            ((own + if j % 2 == 0 { 0.7 * target[i] } else { 0.0 }) * 10f64.powi(j as i32 % 4 - 1) + 5.0) as f32
        });
        (rows, target)
    }

    /// The gradient at the solution, relative to that at zero, in raw units and f64.
    fn optimality(rows: &Array2<f32>, p: &Problem, design: &Design, fit: &Fitted, alpha: f64) -> f64 {
        let (w, b) = design.raw(&fit.weights, fit.intercept);
        let x = rows.mapv(f64::from);
        let residual = |m: &Array1<f64>| -> Array1<f64> {
            (0..m.len()).map(|r| p.weight[r] * p.loss.at(m[r], p.target[r]).1).collect()
        };
        let at = residual(&(x.dot(&w) + b));
        let zero = residual(&Array1::zeros(x.nrows()));
        let own = x.t().dot(&at) + w.mapv(|v| alpha * v);
        let size = |g: &Array1<f64>| (0..g.len()).map(|j| (g[j] / design.deviation()[j]).powi(2)).sum::<f64>().sqrt();
        (size(&own) + at.sum().abs()) / size(&x.t().dot(&zero))
    }

    #[test]
    fn every_loss_ends_where_its_gradient_vanishes_with_more_rows_and_with_more_columns() {
        for (n, d) in [(120, 6), (40, 90)] {
            let (rows, target) = noise(3, n, d);
            let design = Design::new(rows.view()).unwrap();
            let alpha = 0.5;
            let penalty = design.deviation().mapv(|s| alpha / (s * s));
            for loss in [Loss::Logistic, Loss::SquaredHinge, Loss::Squared] {
                let weight: Vec<f64> = (0..n).map(|r| if r % 5 == 0 { 0.0 } else { 1.0 }).collect();
                let part = Problem { loss, target: target.clone(), weight, penalty: penalty.clone() };
                let whole = Problem { weight: vec![1.0; n], ..part.clone() };
                let both = [whole, part];
                for (p, fit) in both.iter().zip(solve(&design, &both, Closeness::FULL)) {
                    assert!(fit.converged, "{loss:?} {n}x{d}: {} iterations", fit.iterations);
                    let off = optimality(&rows, p, &design, &fit, alpha);
                    assert!(off < 1e-4, "{loss:?} {n}x{d}: gradient {off}");
                }
            }
        }
    }

    #[test]
    fn a_fit_does_not_depend_on_those_beside_it_nor_a_row_left_out_on_what_it_says() {
        let (rows, target) = noise(4, 60, 8);
        let design = Design::new(rows.view()).unwrap();
        let weight: Vec<f64> = (0..60).map(|r| if r < 10 { 0.0 } else { 1.0 }).collect();
        let one = Problem { loss: Loss::Logistic, target, weight, penalty: Array1::ones(8) };
        let mut other = one.clone();
        (0..10).for_each(|r| other.target[r] = -other.target[r]);
        let alone = &solve(&design, std::slice::from_ref(&one), Closeness::FULL)[0];
        let beside = solve(&design, &[one.clone(), other], Closeness::FULL);
        for fit in &beside {
            assert!((&fit.weights - &alone.weights).iter().all(|e| e.abs() < 1e-9));
        }
    }
}
