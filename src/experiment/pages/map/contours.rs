//! Lines of equal density, from a table of values on a grid.

use crate::experiment::cells::{num, rows};
use crate::table::Table;

/// Shares of the highest density at which lines are drawn.
const LEVELS: [f64; 4] = [0.1, 0.3, 0.5, 0.8];

/// A grid of values, `[y][x]`, each axis ascending.
struct Grid {
    x: Vec<f64>,
    y: Vec<f64>,
    values: Vec<Vec<f64>>,
}

/// The contours of the density of a site as pieces of lines; none where the table has no grid of it.
pub(super) fn contours(density: &Table, site: &str) -> Vec<Vec<(f64, f64)>> {
    let Some(grid) = grid(density, site) else { return Vec::new() };
    let top = grid.values.iter().flatten().fold(0.0_f64, |m, v| m.max(*v));
    LEVELS.iter().flat_map(|l| level(&grid, l * top)).collect()
}

fn grid(density: &Table, site: &str) -> Option<Grid> {
    let at = rows(density, &[("site", site)]);
    let first = num(density, *at.first()?, "pc2");
    let width = at.iter().take_while(|r| num(density, **r, "pc2") == first).count();
    let x: Vec<f64> = at[..width].iter().map(|r| num(density, *r, "pc1")).collect();
    let y: Vec<f64> = at.chunks(width).map(|line| num(density, line[0], "pc2")).collect();
    let values: Vec<Vec<f64>> =
        at.chunks(width).map(|line| line.iter().map(|r| num(density, *r, "density")).collect()).collect();
    values.iter().all(|line| line.len() == width).then_some(Grid { x, y, values })
}

/// Marching squares: in every cell, pieces of the line between its edges where the values pass the level.
fn level(grid: &Grid, at: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = Vec::new();
    for j in 1..grid.y.len() {
        for i in 1..grid.x.len() {
            let corner =
                |di: usize, dj: usize| (grid.x[i - 1 + di], grid.y[j - 1 + dj], grid.values[j - 1 + dj][i - 1 + di]);
            let corners = [corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1)];
            let crossed = |k: usize| {
                let (a, b) = (corners[k], corners[(k + 1) % 4]);
                ((a.2 < at) != (b.2 < at)).then(|| {
                    let t = (at - a.2) / (b.2 - a.2);
                    (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1))
                })
            };
            let points: Vec<(f64, f64)> = (0..4).filter_map(crossed).collect();
            pieces.extend(points.chunks_exact(2).map(<[_]>::to_vec));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contour_of_a_cone_is_a_circle() {
        // Height 2 - distance from (0.3, -0.2): at half of the top the radius is about 1 wherever it is cut.
        let mut t = Table::new("density", &["site", "pc1", "pc2", "density"]);
        for j in -20..=20 {
            for i in -20..=20 {
                let (x, y) = (f64::from(i) / 10.0, f64::from(j) / 10.0);
                let v = (2.0 - (x - 0.3).hypot(y + 0.2)).max(0.0);
                t.push(vec!["s".into(), x.into(), y.into(), v.into()]);
            }
        }
        let found = level(&grid(&t, "s").unwrap(), 1.0);
        assert!(found.len() > 40 && found.iter().all(|p| p.len() == 2));
        assert!(found.iter().flatten().all(|(x, y)| ((x - 0.3).hypot(y + 0.2) - 1.0).abs() < 0.02));
        assert!(contours(&t, "other").is_empty());
    }
}
