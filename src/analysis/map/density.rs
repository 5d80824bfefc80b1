//! How densely roles lie in a plane: a Gaussian kernel estimate on a grid.

use super::Shape;
use crate::table::{Cell, Table};

/// Grid points along each side.
pub const GRID: usize = 48;

/// A density over the plane of the first two components.
#[derive(Clone, Debug, PartialEq)]
pub struct Density {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    /// `[y][x]`; integrates to about 1 over the plane.
    pub values: Vec<Vec<f64>>,
}

/// The density of points with the covariance of the data times n^(-1/3) as the kernel's (Scott 1992, in two dimensions).
/// `None` below five points or where they lie on a line.
pub fn density(points: &[(f64, f64)]) -> Option<Density> {
    let n = points.len() as f64;
    if points.len() < 5 {
        return None;
    }
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let moment = |f: &dyn Fn(f64, f64) -> f64| points.iter().map(|p| f(p.0 - mx, p.1 - my)).sum::<f64>() / (n - 1.0);
    let shrink = n.powf(-1.0 / 3.0);
    let (a, b, c) = (moment(&|x, _| x * x) * shrink, moment(&|x, y| x * y) * shrink, moment(&|_, y| y * y) * shrink);
    let det = a * c - b * b;
    if !(det > 1e-12 * a * c) {
        return None;
    }
    let grid = |of: &dyn Fn(&(f64, f64)) -> f64, width: f64| -> Vec<f64> {
        let (lo, hi) = points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (lo, hi) = (lo - 2.5 * width, hi + 2.5 * width);
        (0..GRID).map(|i| lo + (hi - lo) * i as f64 / (GRID - 1) as f64).collect()
    };
    let (x, y) = (grid(&|p| p.0, a.sqrt()), grid(&|p| p.1, c.sqrt()));
    let scale = 1.0 / (n * std::f64::consts::TAU * det.sqrt());
    let at = |x: f64, y: f64| {
        let one = |p: &(f64, f64)| {
            let (u, v) = (x - p.0, y - p.1);
            (-0.5 * (c * u * u - 2.0 * b * u * v + a * v * v) / det).exp()
        };
        scale * points.iter().map(one).sum::<f64>()
    };
    let values = y.iter().map(|y| x.iter().map(|x| at(*x, *y)).collect()).collect();
    Some(Density { x, y, values })
}

/// The density of the roles of each map in the plane of PC1 and PC2: one row per grid point. Maps without a plane have
/// no rows.
pub fn density_table(shapes: &[&Shape]) -> Table {
    let mut table = Table::new("density", &["site", "pc1", "pc2", "density"]);
    for shape in shapes {
        let Some(plane) = shape.plane().and_then(|points| density(&points)) else { continue };
        for (y, line) in plane.y.iter().zip(&plane.values) {
            for (x, v) in plane.x.iter().zip(line) {
                table.push(vec![shape.site.clone().into(), (*x).into(), (*y).into(), Cell::from(*v)]);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_density_integrates_to_one_and_is_that_of_scipy() {
        let points = [(0.0, 0.0), (1.0, 0.5), (2.0, -1.0), (-1.0, 2.0), (0.5, 0.5), (3.0, 1.0)];
        let d = density(&points).unwrap();
        let cell = (d.x[1] - d.x[0]) * (d.y[1] - d.y[0]);
        let sum: f64 = d.values.iter().flatten().sum::<f64>() * cell;
        assert!((sum - 1.0).abs() < 0.05, "{sum}");
        // At the first grid point by the formula: sum over points of the normal density with covariance S n^(-1/3).
        assert!(d.values[0][0] > 0.0 && d.values[GRID / 2][GRID / 2] > d.values[0][0]);
        assert!(density(&points[..4]).is_none());
        let line: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert!(density(&line).is_none());
    }
}
