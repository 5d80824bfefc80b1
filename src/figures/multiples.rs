//! Small multiples: the same axes many times, words only at the outer edges, one legend.

use super::axis::{Axis, Frame, Margins};
use super::canvas::{Canvas, Text};
use super::curves::Curves;
use super::geom::Rect;
use super::legend::{self, Key};
use super::page::Draw;
use super::series::Series;
use super::theme::{Palette, TEXT_PT};

/// A grid of plots with shared axes. Axis labels and ticks are those of the first plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Multiples {
    pub columns: usize,
    /// A short title and its curves, row by row.
    pub panels: Vec<(String, Curves)>,
}

const TITLE: f64 = TEXT_PT * 1.5;

impl Multiples {
    /// A grid with a number of columns.
    pub fn new(columns: usize, panels: Vec<(String, Curves)>) -> Multiples {
        Multiples { columns: columns.max(1), panels }
    }

    fn columns(&self) -> usize {
        self.columns.clamp(1, self.panels.len().max(1))
    }

    fn rows(&self) -> usize {
        self.panels.len().div_ceil(self.columns())
    }

    fn keys(&self, palette: &Palette) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for k in self.panels.iter().flat_map(|p| p.1.keys(palette)) {
            if keys.iter().all(|have| have.name != k.name) {
                keys.push(k);
            }
        }
        keys
    }

    /// The shared frame, fitted to one cell, with room for the axis labels along the whole grid.
    fn frame(&self, size: (f64, f64)) -> Frame {
        let (x, y) = self.panels.first().map_or_else(Default::default, |p| (p.1.x.clone(), p.1.y.clone()));
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for (a, b) in self.panels.iter().map(|p| p.1.extent()) {
            xs.extend(a);
            ys.extend(b);
        }
        let (xs, ys) = (x.span(xs.into_iter()), y.span(ys.into_iter()));
        let whole = Frame::fit(&x, &y, xs, ys, size).margins;
        let cell = ((size.0 - whole.left) / self.columns() as f64, (size.1 - whole.bottom - 16.0) / self.rows() as f64);
        // A cell's frame sets aside the words below it, which stand only below the lowest row.
        let cell = (cell.0, cell.1 - TITLE + whole.bottom);
        let bare = |a: &Axis| Axis { label: String::new(), ..a.clone() };
        let ticks = Frame::fit(&bare(&x), &bare(&y), xs, ys, cell);
        Frame::fit(&x, &y, xs, ys, size).with_ticks_of(ticks)
    }

    fn cell(&self, i: usize, inner: Rect, frame: &Frame) -> Rect {
        let (columns, rows) = (self.columns(), self.rows());
        let rough = inner.width() / columns as f64;
        let gap = 7.0 + 2.0 * frame.x_overhang(rough);
        let w = (inner.width() - gap * (columns - 1) as f64) / columns as f64;
        let h = (inner.height() - 4.0 * (rows - 1) as f64) / rows as f64;
        let (x, y) = (inner.x0 + (w + gap) * (i % columns) as f64, inner.y0 + (h + 4.0) * (i / columns) as f64);
        Rect::new(x, y + TITLE, x + w, y + h)
    }
}

impl Draw for Multiples {
    fn names(&self) -> Vec<&str> {
        self.panels.iter().flat_map(|p| &p.1.series).filter_map(Series::wants).collect()
    }

    fn refusal(&self) -> Option<String> {
        if self.panels.is_empty() {
            return Some("it has no small panels".into());
        }
        self.panels.iter().find_map(|(title, c)| c.refusal().map(|why| format!("small panel `{title}`: {why}")))
    }

    fn margins(&self, size: (f64, f64), palette: &Palette) -> Margins {
        let mut m = self.frame(size).margins;
        m.top += legend::height(&self.keys(palette), size.0 - m.left);
        m
    }

    fn aligned(&self) -> bool {
        false
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, palette: &Palette) {
        let frame = self.frame(size);
        legend::draw(c, &self.keys(palette), inner.x0, inner.y0, size.0 - frame.margins.left);
        for (i, (title, curves)) in self.panels.iter().enumerate() {
            let r = self.cell(i, inner, &frame);
            let lowest = i + self.columns() >= self.panels.len();
            let map = frame.draw_axes(c, r, lowest, i % self.columns() == 0);
            curves.draw_data(c, &map, palette, i == 0);
            c.text(Text::new(r.x0 + 2.0, r.y0 - 0.35 * TEXT_PT, title.as_str(), TEXT_PT).bold());
        }
        frame.draw_labels(c, inner);
    }
}
