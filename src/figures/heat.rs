//! A matrix of values as shades, with the numbers where there is room.

use super::axis::{Axis, Frame, Margins};
use super::canvas::{Anchor, Canvas, Pen, Text};
use super::font;
use super::geom::Rect;
use super::page::Draw;
use super::scale::{Fitted, Shades};
use super::theme::{INK, MISSING, NULL, PAPER, Palette, SMALL_PT, contrast};

/// A matrix with named rows and columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heat {
    /// What the columns are; may be empty.
    pub x_label: String,
    /// What the rows are; may be empty.
    pub y_label: String,
    pub columns: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<String>,
    /// `[row][column]`; `None` is drawn as a crossed-out grey cell.
    pub values: Vec<Vec<Option<f64>>>,
    pub shades: Shades,
    /// Decimals of the numbers in the cells.
    pub decimals: usize,
}

impl Heat {
    fn finite(&self) -> impl Iterator<Item = f64> {
        self.values.iter().flatten().flatten().copied().filter(|v| v.is_finite())
    }

    fn shading(&self) -> Fitted<'_> {
        self.shades.fit(self.finite())
    }

    fn bar_width(&self, size: (f64, f64)) -> f64 {
        self.shading().width(size.1 - 40.0)
    }

    fn frame(&self, size: (f64, f64)) -> Frame {
        let ticks = |names: &[String], flip: bool| {
            let n = names.len();
            let at = |i: usize| 0.5 + if flip { n - 1 - i } else { i } as f64;
            Some(names.iter().enumerate().map(|(i, t)| (at(i), t.clone())).collect())
        };
        let x = Axis { ticks: ticks(&self.columns, false), ..Axis::new(self.x_label.as_str()) };
        let y = Axis { ticks: ticks(&self.rows, true), ..Axis::new(self.y_label.as_str()) };
        let (xs, ys) = ((0.0, self.columns.len() as f64), (0.0, self.rows.len() as f64));
        Frame::fit(&x, &y, xs, ys, (size.0 - self.bar_width(size), size.1))
    }

    fn number(&self, v: f64) -> String {
        let text = format!("{v:.*}", self.decimals);
        let zero = text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.'));
        if zero { text.trim_start_matches('-').into() } else { text.replace('-', "\u{2212}") }
    }
}

impl Draw for Heat {
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn refusal(&self) -> Option<String> {
        let (r, c) = (self.rows.len(), self.columns.len());
        if self.values.len() != r || self.values.iter().any(|v| v.len() != c) {
            return Some(format!("its values are not a matrix of {r} rows and {c} columns"));
        }
        self.finite().next().is_none().then(|| format!("none of its {} values is finite", r * c))
    }

    fn margins(&self, size: (f64, f64), _: &Palette) -> Margins {
        let mut m = self.frame(size).margins;
        m.right = m.right.max(1.0) + self.bar_width(size);
        m
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, _: &Palette) {
        let shading = self.shading();
        let (w, h) = (inner.width() / self.columns.len() as f64, inner.height() / self.rows.len() as f64);
        let gap = if w.min(h) > 6.0 { 0.4 } else { 0.0 };
        let widest = self.finite().map(|v| font::width(&self.number(v), SMALL_PT, false)).fold(0.0, f64::max);
        let printed = widest + 2.0 < w && SMALL_PT + 1.0 < h;
        let plane = self.frame(size).draw_axes(c, inner, true, true);
        for (i, row) in self.values.iter().enumerate() {
            for (j, v) in row.iter().enumerate() {
                let (x, y) = (plane.rect.x0 + w * j as f64, plane.rect.y0 + h * i as f64);
                let cell = Rect::new(x, y, x + w, y + h).grow(-gap);
                c.skipped += usize::from(v.is_some_and(|v| !v.is_finite()));
                let Some(v) = v.filter(|v| v.is_finite()) else {
                    c.rect(cell, MISSING, 1.0);
                    // A stroke tells a missing value from one near the middle of the scale.
                    c.line(&[(cell.x0, cell.y1), (cell.x1, cell.y0)], Pen::new(NULL, 0.5));
                    continue;
                };
                let shade = shading.colour(v);
                c.rect(cell, shade, 1.0);
                if printed {
                    let ink = if contrast(shade, INK) > contrast(shade, PAPER) { INK } else { PAPER };
                    let (x, y) = cell.centre();
                    c.text(Text::centred(x, y, self.number(v), SMALL_PT).anchor(Anchor::Middle).colour(ink));
                }
            }
        }
        self.frame(size).draw_labels(c, inner);
        shading.draw(c, inner, size.1 - 40.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_minus_sign_of_print_and_no_negative_zero() {
        let h = Heat { decimals: 2, ..Heat::default() };
        assert_eq!((h.number(-0.5), h.number(-0.001), h.number(0.126)), ("−0.50".into(), "0.00".into(), "0.13".into()));
    }

    #[test]
    fn a_ragged_matrix_is_refused() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let values = vec![vec![Some(1.0), None], vec![Some(2.0)]];
        let h = Heat { columns: names(2), rows: names(2), values, ..Heat::default() };
        assert!(h.refusal().unwrap().contains("2 rows and 2 columns"));
    }
}
