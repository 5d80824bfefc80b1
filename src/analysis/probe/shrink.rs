//! How far a covariance within classes is drawn towards something simpler, so that it can be inverted.

use super::design::Design;
use super::products::{gram, product};
use ndarray::{Array1, Array2, Axis};

/// What the covariance within classes is shrunk by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shrinkage {
    /// Chosen by the data (Ledoit and Wolf 2004).
    Auto,
    /// This share of it is replaced by its mean variance times the identity.
    Share(f64),
}

/// Scatter within classes, each counting `1 - share`, with a penalty per column: n times the shrunk covariance, over
/// `kept`.
#[derive(Clone, Debug)]
pub(super) struct Shrunk {
    /// Weight of a row of the smaller and of the larger class.
    pub weight: [f64; 2],
    /// On squares of raw weights, `[d_model]`.
    pub penalty: Array1<f64>,
    /// What the whole was divided by.
    pub kept: f64,
    /// The shares, of the smaller and of the larger class.
    pub share: [f64; 2],
}

/// A share this large leaves nothing of the covariance.
const MOST: f64 = 1.0 - 1e-6;

/// The pooled covariance, drawn towards `mean variance x identity`; with `units`, in units of those.
pub(super) fn pooled(
    design: &Design,
    classes: &[Vec<usize>; 2],
    shrinkage: Shrinkage,
    units: Option<&Array1<f64>>,
) -> Shrunk {
    let n = (classes[0].len() + classes[1].len()) as f64;
    let d = design.dim().1 as f64;
    let ones = Array1::ones(design.dim().1);
    let units = units.unwrap_or(&ones);
    let parts: Vec<&[usize]> = classes.iter().map(Vec::as_slice).collect();
    let within = Within::of(design, &parts, units, shrinkage == Shrinkage::Auto);
    let share = match shrinkage {
        Shrinkage::Share(s) => s,
        Shrinkage::Auto => within.share(),
    }
    .min(MOST);
    let kept = 1.0 - share;
    let penalty = units.mapv(|u| n * share * within.trace / d * u * u / kept);
    Shrunk { weight: [1.0; 2], penalty, kept, share: [share; 2] }
}

/// Each class by itself, in units of its own deviations and drawn towards their squares, weighted by its share of the
/// rows: scikit-learn's `LinearDiscriminantAnalysis(shrinkage="auto")`.
pub(super) fn by_class(design: &Design, classes: &[Vec<usize>; 2]) -> Shrunk {
    let d = design.dim().1;
    let n = (classes[0].len() + classes[1].len()) as f64;
    let mut share = [0.0; 2];
    let mut penalty = Array1::<f64>::zeros(d);
    for (k, class) in classes.iter().enumerate() {
        let units = deviations(design, &[class]).mapv(|s| if s > 0.0 { s } else { 1.0 });
        let within = Within::of(design, &[class], &units, true);
        share[k] = within.share().min(MOST);
        let size = class.len() as f64 * share[k] * within.trace / d as f64;
        penalty += &units.mapv(|u| size * u * u);
    }
    let kept = (classes[0].len() as f64 * (1.0 - share[0]) + classes[1].len() as f64 * (1.0 - share[1])) / n;
    penalty /= kept;
    Shrunk { weight: share.map(|s| (1.0 - s) / kept), penalty, kept, share }
}

/// Raw deviations of columns about the mean of each list, n below the line.
pub(super) fn deviations(design: &Design, lists: &[&[usize]]) -> Array1<f64> {
    let x = design.scaled();
    let mut squares = Array1::<f64>::zeros(x.ncols());
    let mut n = 0;
    for list in lists {
        let mean = mean(design, list);
        for &r in *list {
            for ((s, x), m) in squares.iter_mut().zip(x.row(r)).zip(&mean) {
                *s += (f64::from(*x) - m).powi(2);
            }
        }
        n += list.len();
    }
    let mut out = squares.mapv(|s| (s / n.max(1) as f64).sqrt());
    out.iter_mut().zip(design.deviation()).for_each(|(o, s)| *o *= s);
    out
}

/// The mean of some rows in the units of the design.
fn mean(design: &Design, list: &[usize]) -> Array1<f64> {
    let x = design.scaled();
    let mut sum = Array1::<f64>::zeros(x.ncols());
    list.iter().for_each(|&r| sum.zip_mut_with(&x.row(r), |s, x| *s += f64::from(*x)));
    sum / list.len().max(1) as f64
}

/// What the formula of Ledoit and Wolf takes of rows centred by class, n below the line.
struct Within {
    n: f64,
    d: f64,
    trace: f64,
    /// Squared Frobenius norm of the covariance.
    frobenius: f64,
    /// Mean of the fourth powers of the rows' lengths.
    fourth: f64,
}

impl Within {
    fn of(design: &Design, lists: &[&[usize]], units: &Array1<f64>, whole: bool) -> Within {
        let x = design.scaled();
        let rows: usize = lists.iter().map(|l| l.len()).sum();
        let factor = design.deviation() / units;
        let mut centred = Array2::<f32>::zeros((rows, x.ncols()));
        let mut places = centred.axis_iter_mut(Axis(0));
        let (mut trace, mut fourth) = (0.0, 0.0);
        for list in lists {
            let mean = mean(design, list);
            for (&r, mut to) in list.iter().zip(places.by_ref()) {
                let mut square = 0.0;
                for (((to, x), m), f) in to.iter_mut().zip(x.row(r)).zip(&mean).zip(&factor) {
                    let v = (f64::from(*x) - m) * f;
                    square += v * v;
                    *to = v as f32;
                }
                trace += square;
                fourth += square * square;
            }
        }
        let n = rows as f64;
        let lower = match (whole, rows < x.ncols()) {
            (false, _) => Array2::zeros((0, 0)),
            (true, true) => gram(centred.t()),
            (true, false) => gram(centred.view()),
        };
        let mut squares = 0.0;
        for i in 0..lower.nrows() {
            let off: f64 = lower.row(i).iter().take(i).map(|v| f64::from(*v).powi(2)).sum();
            squares += 2.0 * off + f64::from(lower[[i, i]]).powi(2);
        }
        Within { n, d: x.ncols() as f64, trace: trace / n, frobenius: squares / (n * n), fourth: fourth / n }
    }

    fn share(&self) -> f64 {
        let mean = self.trace / self.d;
        let distance = self.frobenius - self.d * mean * mean;
        let error = ((self.fourth - self.frobenius) / self.n).min(distance);
        if error <= 0.0 { 0.0 } else { error / distance }
    }
}

/// Means of rows by weights, in the units of the design: `[list, column]` for `[row, list]`.
pub(super) fn means(design: &Design, weights: &Array2<f64>, exact: bool) -> Array2<f64> {
    if exact {
        return design.transposed(weights, true).reversed_axes();
    }
    product(weights.mapv(|w| w as f32).t(), design.scaled()).mapv(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::rng::stream;

    #[test]
    fn the_share_is_that_of_the_formula_written_out() {
        let mut rng = stream(1, "shrink");
        for (n, d) in [(30, 4), (8, 12)] {
            let rows = Array2::from_shape_fn((n, d), |(_, j)| (normal(&mut rng) * (j + 1) as f64) as f32);
            let design = Design::new(rows.view()).unwrap();
            let classes = [(0..n / 2).collect::<Vec<_>>(), (n / 2..n).collect()];
            let shrunk = pooled(&design, &classes, Shrinkage::Auto, None);
            // Directly: rows centred by class, their covariance, and how far each row's outer product is from it.
            let mut x = rows.mapv(f64::from);
            for class in &classes {
                let m = x.select(Axis(0), class).mean_axis(Axis(0)).unwrap();
                class.iter().for_each(|&r| x.row_mut(r).zip_mut_with(&m, |v, m| *v -= m));
            }
            let c = x.t().dot(&x) / n as f64;
            let mu = c.diag().sum() / d as f64;
            let distance = (&c - &(Array2::<f64>::eye(d) * mu)).iter().map(|v| v * v).sum::<f64>();
            let error: f64 = (0..n)
                .map(|r| {
                    let row = x.row(r).insert_axis(Axis(1));
                    (&row.dot(&row.t()) - &c).iter().map(|v| v * v).sum::<f64>()
                })
                .sum::<f64>()
                / (n * n) as f64;
            let expected = (error / distance).min(1.0);
            assert!((shrunk.share[0] - expected).abs() < 1e-5, "{} and {expected}", shrunk.share[0]);
            let penalty = n as f64 * shrunk.share[0] * mu / shrunk.kept;
            assert!((shrunk.penalty[0] / penalty - 1.0).abs() < 1e-5);
        }
    }
}
