//! A plane with what moves in it: arrows of the mean movement, paths, and the places that things move to.

use super::axis::{Axis, Frame, Margins};
use super::canvas::{Canvas, Pen, Text};
use super::font;
use super::geom::{Pt, Rect, clip_line, clip_segment};
use super::labels::{Want, place};
use super::markers::{Marker, mark};
use super::page::Draw;
use super::theme::{AXIS, INK, NULL, Palette, SMALL_PT, colour};

/// The movement at a place, in data units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flow {
    pub at: (f64, f64),
    pub by: (f64, f64),
}

/// A line through the plane, thin, with a dot where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub points: Vec<(f64, f64)>,
    /// A place in [`super::theme::COLOURS`].
    pub color: usize,
}

/// A place that things move to.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    pub name: String,
    pub at: (f64, f64),
    pub marker: Marker,
    pub color: usize,
}

/// A vector field with paths and named places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    pub x: Axis,
    pub y: Axis,
    pub flows: Vec<Flow>,
    pub paths: Vec<Path>,
    pub spots: Vec<Spot>,
    /// Length of the arrows in movements: 1 draws each as far as it goes. 0: the longest as long as a cell is wide.
    pub stretch: f64,
}

const SPOT: f64 = 4.2;
/// Points that the longest arrow is long, where they are not drawn to scale.
const LONGEST: f64 = 15.0;

fn finite(p: (f64, f64)) -> bool {
    p.0.is_finite() && p.1.is_finite()
}

impl Field {
    fn flowing(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(|f| finite(f.at) && finite(f.by))
    }

    fn frame(&self, size: (f64, f64)) -> Frame {
        let all = || {
            let paths = self.paths.iter().flat_map(|p| p.points.iter().copied()).filter(|p| finite(*p));
            let spots = self.spots.iter().map(|s| s.at).filter(|p| finite(*p));
            paths.chain(spots).chain(self.flowing().map(|f| f.at))
        };
        Frame::fit(&self.x, &self.y, self.x.span(all().map(|p| p.0)), self.y.span(all().map(|p| p.1)), size)
    }
}

impl Draw for Field {
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn refusal(&self) -> Option<String> {
        let paths = self.paths.iter().flat_map(|p| &p.points).any(|p| finite(*p));
        (!paths && self.flowing().next().is_none()).then(|| "nothing in it is finite".into())
    }

    fn margins(&self, size: (f64, f64), _: &Palette) -> Margins {
        let mut m = self.frame(size).margins;
        m.right = m.right.max(3.0);
        m
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, _: &Palette) {
        let plane = self.frame(size).draw(c, inner);
        for path in &self.paths {
            let (pen, _) = (Pen::new(colour(path.color).0, 0.5).alpha(0.45), ());
            let mut run: Vec<Pt> = Vec::new();
            let mut lines = Vec::new();
            for p in &path.points {
                if finite(*p) {
                    run.push(plane.at(*p));
                } else {
                    c.skipped += 1;
                    lines.push(std::mem::take(&mut run));
                }
            }
            lines.push(run);
            for line in lines.iter().filter(|l| !l.is_empty()) {
                for part in clip_line(line, &inner) {
                    c.line(&part, pen);
                }
                if inner.contains(line[0]) {
                    c.disc(line[0], 1.0, colour(path.color).0, 0.7);
                }
            }
        }
        c.skipped += self.flows.len() - self.flowing().count();
        let on_page = |f: &Flow| {
            let (a, b) = (plane.at(f.at), plane.at((f.at.0 + f.by.0, f.at.1 + f.by.1)));
            (a, (b.0 - a.0, b.1 - a.1))
        };
        let longest = self.flowing().map(|f| on_page(f).1).map(|v| v.0.hypot(v.1)).fold(0.0, f64::max);
        let stretch = if self.stretch > 0.0 { self.stretch } else { LONGEST / longest.max(1e-9) };
        for flow in self.flowing() {
            let (at, by) = on_page(flow);
            let to = (at.0 + stretch * by.0, at.1 + stretch * by.1);
            if let Some((from, to)) = clip_segment(at, to, &inner) {
                arrow(c, from, to);
            }
        }
        let spots: Vec<&Spot> = self.spots.iter().filter(|s| finite(s.at) && inner.contains(plane.at(s.at))).collect();
        for s in &spots {
            mark(c, plane.at(s.at), SPOT, s.marker, colour(s.color).0, false);
        }
        let wants: Vec<Want> = spots
            .iter()
            .map(|s| {
                let size = (font::width(&s.name, SMALL_PT, true), SMALL_PT * (font::ASCENT + font::DESCENT));
                Want { at: plane.at(s.at), radius: SPOT, size, priority: 0 }
            })
            .collect();
        let marks: Vec<(Pt, f64)> = spots.iter().map(|s| (plane.at(s.at), SPOT + 0.4)).collect();
        for (spot, s) in place(&wants, &marks, &[], inner.grow(-0.5)).into_iter().zip(&spots) {
            let Some(found) = spot else {
                c.dropped.push(s.name.clone());
                continue;
            };
            if let Some((a, b)) = found.leader {
                c.line(&[a, b], Pen::new(NULL, 0.4));
            }
            let base = found.rect.y1 - font::DESCENT * SMALL_PT;
            c.text(Text::new(found.rect.x0, base, s.name.as_str(), SMALL_PT).halo().bold().colour(INK));
        }
    }
}

fn arrow(c: &mut Canvas, from: Pt, to: Pt) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length < 0.3 {
        return;
    }
    let (u, v) = (dx / length, dy / length);
    let head = 3.2f64.min(length);
    let neck = (to.0 - head * u, to.1 - head * v);
    c.line(&[from, neck], Pen::new(AXIS, 0.7));
    c.fill(&[to, (neck.0 - 1.3 * v, neck.1 + 1.3 * u), (neck.0 + 1.3 * v, neck.1 - 1.3 * u)], AXIS, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Page, Panel, Plot, Width};

    fn drawn(field: Field) -> crate::error::Result<crate::figures::Figure> {
        Page::new("f", "", "", Width::Column).row(2.5, vec![Panel::new("t", Plot::Field(field))]).draw()
    }

    #[test]
    fn spots_are_named_and_what_is_not_finite_is_counted() {
        let field = Field {
            x: Axis::new("z0"),
            y: Axis::new("z1"),
            flows: vec![Flow { at: (0.0, 0.0), by: (1.0, 0.0) }, Flow { at: (f64::NAN, 0.0), by: (1.0, 0.0) }],
            paths: vec![Path { points: vec![(0.0, 0.0), (f64::NAN, 1.0), (2.0, 1.0), (3.0, 2.0)], color: 0 }],
            spots: vec![Spot { name: "basin 0".into(), at: (1.0, 1.0), marker: Marker::Star, color: 1 }],
            stretch: 0.0,
        };
        let f = drawn(field).unwrap();
        assert_eq!(f.skipped, 2);
        assert!(f.texts.iter().any(|t| t.content == "basin 0"));
        assert!(drawn(Field::default()).is_err());
    }
}
