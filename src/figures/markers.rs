//! Marks for points: discs, squares, diamonds, triangles, stars.

use super::canvas::Canvas;
use super::geom::Pt;
use super::theme::{PAPER, Rgb};
use std::f64::consts::PI;

/// The shape of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marker {
    #[default]
    Circle,
    Square,
    Diamond,
    Triangle,
    /// For the one point that everything is compared with, such as the default assistant.
    Star,
}

impl Marker {
    /// In the order in which arms of a plot use them.
    pub const ARMS: [Marker; 4] = [Marker::Circle, Marker::Square, Marker::Diamond, Marker::Triangle];
}

/// Draws a mark with a thin white edge. A hollow one has a white heart.
pub(crate) fn mark(c: &mut Canvas, at: Pt, r: f64, marker: Marker, colour: Rgb, hollow: bool) {
    shape(c, at, r + 0.5, marker, PAPER);
    shape(c, at, r, marker, colour);
    if hollow {
        shape(c, at, r - 1.0, marker, PAPER);
    }
}

/// Draws a mark without an edge.
pub(crate) fn shape(c: &mut Canvas, at: Pt, r: f64, marker: Marker, colour: Rgb) {
    let ring = |n: usize, first: f64, radius: &dyn Fn(usize) -> f64| -> Vec<Pt> {
        (0..n)
            .map(|i| {
                let a = first + 2.0 * PI * i as f64 / n as f64;
                (at.0 + radius(i) * a.cos(), at.1 + radius(i) * a.sin())
            })
            .collect()
    };
    let points = match marker {
        Marker::Circle => return c.disc(at, r, colour, 1.0),
        Marker::Square => ring(4, PI / 4.0, &|_| r * 1.25),
        Marker::Diamond => ring(4, 0.0, &|_| r * 1.3),
        Marker::Triangle => ring(3, -PI / 2.0, &|_| r * 1.35),
        // The inner radius of a regular five-pointed star is 0.382 of the outer; a little more reads better when small.
        Marker::Star => ring(10, -PI / 2.0, &|i| if i % 2 == 0 { r } else { 0.45 * r }),
    };
    c.fill(&points, colour, 1.0);
}
