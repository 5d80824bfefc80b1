//! A map of named points: a plane of persona space.

use super::axis::{Axis, Frame, Map as Plane, Margins};
use super::canvas::{Canvas, Pen, Text};
use super::font;
use super::geom::{Pt, Rect, clip_segment};
use super::labels::{Want, place};
use super::legend::{self, Key};
use super::markers::{Marker, mark, shape};
use super::page::Draw;
use super::reference::{Reference, draw_reference};
use super::scale::{Fitted, Shades};
use super::theme::{AXIS, COLOURS, INK, NULL, Palette, Rgb, SMALL_PT, colour};

/// A point of the map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dot {
    pub name: String,
    pub x: f64,
    pub y: f64,
    /// Colour by category, named in the legend.
    pub group: Option<String>,
    /// Colour by value, where the map has [`Scatter::shades`].
    pub value: Option<f64>,
    pub marker: Marker,
    /// Names of higher priority get their place first.
    pub priority: i32,
    /// Whether the name is written at all.
    pub named: bool,
}

impl Dot {
    /// A named disc.
    pub fn new(name: impl Into<String>, x: f64, y: f64) -> Dot {
        Dot { name: name.into(), x, y, named: true, ..Dot::default() }
    }
}

/// A direction in the plane, from tail to head in data units.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    pub from: (f64, f64),
    pub to: (f64, f64),
    pub label: String,
}

/// Named points in a plane. A name stands beside its point, or apart with a leader line, or is dropped and reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    pub x: Axis,
    pub y: Axis,
    pub dots: Vec<Dot>,
    pub arrows: Vec<Arrow>,
    pub lines: Vec<Reference>,
    /// Thin grey lines behind the points: contours of a density.
    pub contours: Vec<Vec<(f64, f64)>>,
    /// Colours dots by value and draws a colour bar.
    pub shades: Option<Shades>,
    /// One unit is as long on x as on y, so that angles and distances are true.
    pub equal: bool,
}

const RADIUS: f64 = 2.1;
const STAR: f64 = 6.0;

impl Scatter {
    fn finite(&self) -> impl Iterator<Item = &Dot> {
        self.dots.iter().filter(|d| d.x.is_finite() && d.y.is_finite())
    }

    fn keys(&self, palette: &Palette) -> Vec<Key> {
        if self.shades.is_some() {
            return Vec::new();
        }
        let mut groups: Vec<&str> = self.finite().filter_map(|d| d.group.as_deref()).collect();
        groups.sort_unstable();
        groups.dedup();
        let key = |g: &&str| {
            let (c, _) = colour(palette.index(g).unwrap_or(0));
            Key { marker: Some((Marker::Circle, false)), ..Key::new(g, c) }
        };
        groups.iter().map(key).collect()
    }

    fn shading(&self) -> Option<Fitted<'_>> {
        self.shades.as_ref().map(|s| s.fit(self.finite().filter_map(|d| d.value)))
    }

    fn colour(&self, d: &Dot, shading: Option<&Fitted>, palette: &Palette) -> Rgb {
        match (shading, &d.group) {
            _ if d.marker == Marker::Star => INK,
            (Some(s), _) => d.value.filter(|v| v.is_finite()).map_or(NULL, |v| s.colour(v)),
            (None, Some(g)) => colour(palette.index(g).unwrap_or(0)).0,
            (None, None) => COLOURS[0],
        }
    }

    fn bar_width(&self, size: (f64, f64)) -> f64 {
        self.shading().map_or(0.0, |s| s.width(size.1 - 40.0))
    }

    fn frame(&self, size: (f64, f64)) -> Frame {
        let ends = || self.arrows.iter().flat_map(|a| [a.from, a.to]);
        let mut xs = self.x.span(self.finite().map(|d| d.x).chain(ends().map(|p| p.0)));
        let mut ys = self.y.span(self.finite().map(|d| d.y).chain(ends().map(|p| p.1)));
        let room = (size.0 - self.bar_width(size), size.1);
        if self.equal {
            let m = Frame::fit(&self.x, &self.y, xs, ys, room).margins;
            let (w, h) = ((room.0 - m.left - m.right).max(10.0), (room.1 - m.top - m.bottom).max(10.0));
            let unit = ((xs.1 - xs.0) / w).max((ys.1 - ys.0) / h);
            let widen = |s: (f64, f64), to: f64| ((s.0 + s.1 - to) / 2.0, (s.0 + s.1 + to) / 2.0);
            (xs, ys) = (widen(xs, unit * w), widen(ys, unit * h));
        }
        Frame::fit(&self.x, &self.y, xs, ys, room)
    }

    fn name_dots(&self, c: &mut Canvas, plane: &Plane, shafts: &[(Pt, Pt, &str)]) {
        let radius = |d: &Dot| if d.marker == Marker::Star { STAR } else { RADIUS };
        let marks: Vec<(Pt, f64)> = self.finite().map(|d| (plane.at((d.x, d.y)), radius(d) + 0.4)).collect();
        let named: Vec<&Dot> = self.finite().filter(|d| d.named && !d.name.is_empty()).collect();
        let mut wants: Vec<Want> =
            named.iter().map(|d| want(plane.at((d.x, d.y)), radius(d), &d.name, d.priority)).collect();
        wants.extend(shafts.iter().map(|s| want(s.1, 3.0, s.2, i32::MAX)));
        let words = named.iter().map(|d| d.name.as_str()).chain(shafts.iter().map(|s| s.2));
        let segments: Vec<(Pt, Pt)> = shafts.iter().map(|s| (s.0, s.1)).collect();
        let spots = place(&wants, &marks, &segments, plane.rect.grow(-0.5));
        for (i, (spot, word)) in spots.into_iter().zip(words).enumerate() {
            let Some(spot) = spot else {
                c.dropped.push(word.into());
                continue;
            };
            if let Some((a, b)) = spot.leader {
                c.line(&[a, b], Pen::new(NULL, 0.4));
            }
            let strong = i >= named.len() || named[i].marker != Marker::Circle;
            let text = Text::new(spot.rect.x0, spot.rect.y1 - font::DESCENT * SMALL_PT, word, SMALL_PT).halo();
            c.text(if strong { text.bold() } else { text });
        }
    }
}

fn want(at: Pt, radius: f64, name: &str, priority: i32) -> Want {
    // Bold is wider: its width leaves room for either.
    let size = (font::width(name, SMALL_PT, true), SMALL_PT * (font::ASCENT + font::DESCENT));
    Want { at, radius, size, priority }
}

impl Draw for Scatter {
    fn names(&self) -> Vec<&str> {
        if self.shades.is_some() { Vec::new() } else { self.dots.iter().filter_map(|d| d.group.as_deref()).collect() }
    }

    fn refusal(&self) -> Option<String> {
        let none = self.finite().next().is_none();
        none.then(|| format!("none of its {} points is finite", self.dots.len()))
    }

    fn margins(&self, size: (f64, f64), palette: &Palette) -> Margins {
        let mut m = self.frame(size).margins;
        m.right = m.right.max(3.0) + self.bar_width(size);
        m.top += legend::height(&self.keys(palette), size.0 - m.left);
        m
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, palette: &Palette) {
        let frame = self.frame(size);
        let plane = frame.draw(c, inner);
        legend::draw(c, &self.keys(palette), inner.x0, inner.y0, size.0 - frame.margins.left);
        let shading = self.shading();
        if let Some(s) = &shading {
            s.draw(c, inner, size.1 - 40.0);
        }
        for l in &self.lines {
            draw_reference(c, &plane, l);
        }
        for line in &self.contours {
            for ends in line.windows(2) {
                if let Some((a, b)) = clip_segment(plane.at(ends[0]), plane.at(ends[1]), &inner) {
                    c.line(&[a, b], Pen::new(NULL, 0.5));
                }
            }
        }
        let mut order: Vec<&Dot> = self.finite().collect();
        order.sort_by_key(|d| (d.marker == Marker::Star, d.priority));
        c.skipped += self.dots.len() - order.len();
        c.skipped += self.dots.iter().filter(|d| d.value.is_some_and(|v| !v.is_finite())).count();
        let mut shafts = Vec::new();
        for a in &self.arrows {
            if let Some((from, to)) = clip_segment(plane.at(a.from), plane.at(a.to), &inner) {
                draw_arrow(c, from, to);
                shafts.push((from, to, a.label.as_str()));
            }
        }
        for d in order.iter().filter(|d| inner.contains(plane.at((d.x, d.y)))) {
            let fill = self.colour(d, shading.as_ref(), palette);
            let r = if d.marker == Marker::Star { STAR } else { RADIUS };
            if shading.is_some() && d.marker != Marker::Star {
                // Light shades need an edge on white paper.
                mark(c, plane.at((d.x, d.y)), r + 0.45, d.marker, AXIS, false);
                shape(c, plane.at((d.x, d.y)), r, d.marker, fill);
            } else {
                mark(c, plane.at((d.x, d.y)), r, d.marker, fill, false);
            }
        }
        self.name_dots(c, &plane, &shafts);
    }
}

fn draw_arrow(c: &mut Canvas, from: Pt, to: Pt) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length < 1e-9 {
        return;
    }
    let (u, v) = (dx / length, dy / length);
    let head = 6.0f64.min(length);
    let neck = (to.0 - head * u, to.1 - head * v);
    c.line(&[from, neck], Pen::new(INK, 1.4));
    c.fill(&[to, (neck.0 - 2.4 * v, neck.1 + 2.4 * u), (neck.0 + 2.4 * v, neck.1 - 2.4 * u)], INK, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_an_equal_map_a_unit_is_as_long_on_both_axes() {
        let dots = vec![Dot::new("a", 0.0, 0.0), Dot::new("b", 10.0, 1.0)];
        let s = Scatter { dots, equal: true, x: Axis::new("PC1"), y: Axis::new("PC2"), ..Scatter::default() };
        let size = (300.0, 200.0);
        let f = s.frame(size);
        let (w, h) = (size.0 - f.margins.left - f.margins.right, size.1 - f.margins.top - f.margins.bottom);
        let ratio = (w / (f.x.1 - f.x.0)) / (h / (f.y.1 - f.y.0));
        assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    }

    #[test]
    fn a_map_without_a_finite_point_is_refused() {
        let s = Scatter { dots: vec![Dot::new("a", f64::NAN, 0.0)], ..Scatter::default() };
        assert!(s.refusal().unwrap().contains("none of its 1 points"));
    }
}
