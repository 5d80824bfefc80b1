//! Steps of runs as rows of a regression, and the sums of products by run that every fit is made of.

use crate::analysis::series::{Run, Series};
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// Steps z_t to z_{t+1} of one site in units of each component's standard deviation.
#[derive(Clone, Debug)]
pub struct Steps {
    /// `[step, 1 + k + m]`: 1, the state, the input that leads into the next turn.
    pub x: Array2<f64>,
    /// `[step, k]`: the next state.
    pub y: Array2<f64>,
    /// The run of every step: ranges of rows, one per run that has steps.
    pub runs: Vec<std::ops::Range<usize>>,
    /// The index among the series' runs of each of them.
    pub names: Vec<usize>,
    /// The index, in its run, of the turn that each step starts from.
    pub at: Vec<usize>,
    /// `[k]`: what was subtracted from the state, and divided by.
    pub centre: Array1<f64>,
    pub scale: Array1<f64>,
    /// `[m]`: what was subtracted from the input.
    pub input: Array1<f64>,
    pub k: usize,
}

impl Steps {
    /// The steps of the runs for which `of` gives indices of turns, in order.
    pub fn new(series: &Series, of: impl Fn(usize, &Run) -> Vec<usize>) -> Steps {
        let (k, m) = (series.k, series.m);
        let mut at: Vec<(usize, Vec<usize>)> = series.runs.iter().enumerate().map(|(r, run)| (r, of(r, run))).collect();
        at.retain(|(_, steps)| !steps.is_empty());
        let n: usize = at.iter().map(|a| a.1.len()).sum();
        let (mut x, mut y) = (Array2::ones((n, 1 + k + m)), Array2::zeros((n, k)));
        let (mut runs, mut row) = (Vec::with_capacity(at.len()), 0);
        for (r, steps) in &at {
            let turns = &series.runs[*r].turns;
            runs.push(row..row + steps.len());
            for &t in steps {
                x.slice_mut(s![row, 1..=k]).assign(&Array1::from(turns[t].z.clone()));
                x.slice_mut(s![row, k + 1..]).assign(&Array1::from(turns[t + 1].u.clone()));
                y.row_mut(row).assign(&Array1::from(turns[t + 1].z.clone()));
                row += 1;
            }
        }
        let centre = mean(x.slice(s![.., 1..=k]));
        let mut scale = x.slice(s![.., 1..=k]).std_axis(Axis(0), 0.0);
        // A component that stays where it is keeps its place whatever its unit.
        scale.iter_mut().zip(&centre).filter(|(s, c)| **s <= 1e-12 * c.abs()).for_each(|(s, _)| *s = 1.0);
        scale.iter_mut().filter(|s| !(**s > 0.0)).for_each(|s| *s = 1.0);
        let input = mean(x.slice(s![.., k + 1..]));
        let mut spread = x.slice(s![.., k + 1..]).std_axis(Axis(0), 0.0);
        spread.iter_mut().filter(|s| !(**s > 0.0)).for_each(|s| *s = 1.0);
        let mut states = x.slice_mut(s![.., 1..=k]);
        states -= &centre;
        states /= &scale;
        let mut inputs = x.slice_mut(s![.., k + 1..]);
        inputs -= &input;
        inputs /= &spread;
        y = (y - &centre) / &scale;
        let names = at.iter().map(|a| a.0).collect();
        let at = at.into_iter().flat_map(|a| a.1).collect();
        Steps { x, y, runs, names, at, centre, scale, input, k }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty)] // a fit to no steps is refused before
    pub fn len(&self) -> usize {
        self.y.nrows()
    }

    /// Coefficients per equation.
    pub fn coefficients(&self) -> usize {
        self.x.ncols()
    }

    /// Sums of products by run.
    pub fn sums(&self) -> Vec<Sums> {
        self.runs.iter().map(|r| Sums::of(self.x.slice(s![r.clone(), ..]), self.y.slice(s![r.clone(), ..]))).collect()
    }
}

fn mean(values: ArrayView2<f64>) -> Array1<f64> {
    values.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(values.ncols()))
}

/// X'X `[p, p]` and X'Y `[p, k]`.
#[derive(Clone, Debug)]
pub struct Sums {
    pub xx: Array2<f64>,
    pub xy: Array2<f64>,
}

impl Sums {
    pub fn of(x: ArrayView2<f64>, y: ArrayView2<f64>) -> Sums {
        Sums { xx: x.t().dot(&x), xy: x.t().dot(&y) }
    }

    /// The weighted sum.
    pub fn weighted(all: &[Sums], weights: impl Iterator<Item = f64>) -> Option<Sums> {
        let first = all.first()?;
        let mut sum = Sums { xx: Array2::zeros(first.xx.dim()), xy: Array2::zeros(first.xy.dim()) };
        for (one, w) in all.iter().zip(weights).filter(|(_, w)| *w != 0.0) {
            sum.xx.scaled_add(w, &one.xx);
            sum.xy.scaled_add(w, &one.xy);
        }
        Some(sum)
    }

    /// What is left without another part.
    pub fn without(&self, part: &Sums) -> Sums {
        Sums { xx: &self.xx - &part.xx, xy: &self.xy - &part.xy }
    }

    /// Least squares coefficients `[p, k]`.
    pub fn fit(&self) -> Option<Array2<f64>> {
        Factor::new(&self.xx)?.solve(&self.xy)
    }
}

/// A Cholesky factor of X'X with a ridge of a billionth of its trace, which only directions without data feel.
pub struct Factor(faer::linalg::solvers::Llt<f64>);

impl Factor {
    pub fn new(xx: &Array2<f64>) -> Option<Factor> {
        let p = xx.nrows();
        let ridge = 1e-9 * xx.diag().sum() / p as f64;
        let m = Mat::from_fn(p, p, |i, j| xx[[i, j]] + if i == j { ridge } else { 0.0 });
        m.llt(Side::Lower).ok().map(Factor)
    }

    /// The solution of X'X s = `right`; `None` where it is not finite.
    pub fn solve(&self, right: &Array2<f64>) -> Option<Array2<f64>> {
        let (p, k) = right.dim();
        let s = self.0.solve(Mat::from_fn(p, k, |i, j| right[[i, j]]));
        let s = Array2::from_shape_fn((p, k), |(i, j)| s[(i, j)]);
        s.iter().all(|v| v.is_finite()).then_some(s)
    }
}
