//! Spectrum bars: one bar per component, with the null as a line and a band across them.

use super::axis::{Axis, Frame, Margins};
use super::canvas::{Canvas, Dash, Pen};
use super::geom::{Pt, Rect, clip_line, clip_polygon};
use super::legend::{self, Key};
use super::page::Draw;
use super::theme::{FAINT, INK, LINE, NULL, Palette, colour};

/// Bars at 1, 2, 3 ... against a null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    pub x: Axis,
    pub y: Axis,
    /// What the bars are, for the legend.
    pub name: String,
    pub values: Vec<f64>,
    pub null: Option<NullLine>,
}

/// What the bars would be without structure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NullLine {
    pub name: String,
    /// One value for each bar.
    pub values: Vec<f64>,
    /// Interval (low, high) of every value.
    pub band: Option<Vec<(f64, f64)>>,
}

impl Bars {
    fn keys(&self, palette: &Palette) -> Vec<Key> {
        let bars = Key { bar: true, ..Key::new(&self.name, colour(palette.index(&self.name).unwrap_or(0)).0) };
        let null = self.null.as_ref().map(|n| Key {
            pen: Some(Pen::new(INK, LINE).dash(Dash::Dashed)),
            band: n.band.is_some(),
            ..Key::new(&n.name, NULL)
        });
        std::iter::once(bars).chain(null).filter(|k| !k.name.is_empty()).collect()
    }

    fn frame(&self, size: (f64, f64)) -> Frame {
        let null = self.null.iter().flat_map(|n| &n.values).copied();
        let band = self.null.iter().flat_map(|n| n.band.iter().flatten()).flat_map(|b| [b.0, b.1]);
        let ys = self.y.span(self.values.iter().copied().chain(null).chain(band).chain([0.0]));
        // Bars stand on zero, so there is no air below it.
        let bottom = if self.y.range.is_none() && self.values.iter().all(|v| *v >= 0.0) { 0.0 } else { ys.0 };
        let x = Axis { range: Some((0.4, self.values.len() as f64 + 0.6)), whole: true, ..self.x.clone() };
        Frame::fit(&x, &self.y, x.span(std::iter::empty()), (bottom, ys.1), size)
    }
}

impl Draw for Bars {
    fn names(&self) -> Vec<&str> {
        vec![self.name.as_str()]
    }

    fn refusal(&self) -> Option<String> {
        let n = self.values.len();
        let fits = |l: &NullLine| l.values.len() == n && l.band.as_ref().is_none_or(|b| b.len() == n);
        if let Some(null) = self.null.as_ref().filter(|l| !fits(l)) {
            return Some(format!("the null `{}` does not have one value for each of {n} bars", null.name));
        }
        self.values.iter().all(|v| !v.is_finite()).then(|| format!("none of its {n} values is finite"))
    }

    fn margins(&self, size: (f64, f64), palette: &Palette) -> Margins {
        let mut m = self.frame(size).margins;
        m.top += legend::height(&self.keys(palette), size.0 - m.left);
        m
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, palette: &Palette) {
        let frame = self.frame(size);
        let fill = colour(palette.index(&self.name).unwrap_or(0)).0;
        let plane = super::axis::Map { x: frame.x, y: frame.y, rect: inner };
        for (i, v) in self.values.iter().enumerate() {
            if !v.is_finite() {
                c.skipped += 1;
                continue;
            }
            let (x, half) = (i as f64 + 1.0, 0.36);
            let ring = [(x - half, 0.0), (x - half, *v), (x + half, *v), (x + half, 0.0)].map(|p| plane.at(p));
            c.fill(&clip_polygon(&ring, &inner), fill, 1.0);
        }
        if let Some(null) = &self.null {
            self.draw_null(c, &plane, null);
        }
        frame.draw(c, inner);
        legend::draw(c, &self.keys(palette), inner.x0, inner.y0, size.0 - frame.margins.left);
    }
}

impl Bars {
    fn draw_null(&self, c: &mut Canvas, plane: &super::axis::Map, null: &NullLine) {
        let at = |i: usize, v: f64| plane.at((i as f64 + 1.0, v));
        let finite = |v: &(f64, f64)| v.0.is_finite() && v.1.is_finite();
        let band: Vec<(usize, &(f64, f64))> = null.band.iter().flatten().enumerate().filter(|b| finite(b.1)).collect();
        let upper = band.iter().map(|(i, b)| at(*i, b.1));
        let ring: Vec<Pt> = upper.chain(band.iter().rev().map(|(i, b)| at(*i, b.0))).collect();
        // Grey on white and white on the bars: seen on both.
        c.fill(&clip_polygon(&ring, &plane.rect), FAINT, 0.75);
        let line: Vec<Pt> =
            null.values.iter().enumerate().filter(|v| v.1.is_finite()).map(|(i, v)| at(i, *v)).collect();
        for piece in clip_line(&line, &plane.rect) {
            c.line(&piece, Pen::new(INK, LINE).dash(Dash::Dashed));
        }
        let left_out = null.values.iter().filter(|v| !v.is_finite()).count();
        c.skipped += left_out + null.band.iter().flatten().filter(|b| !finite(b)).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_zero_and_need_a_null_of_their_length() {
        let mut b = Bars { values: vec![0.5, 0.3], name: "observed".into(), ..Bars::default() };
        assert_eq!(b.frame((200.0, 120.0)).y.0, 0.0);
        assert!(b.refusal().is_none());
        b.null = Some(NullLine { name: "shuffled".into(), values: vec![0.2], band: None });
        assert!(b.refusal().unwrap().contains("each of 2 bars"));
        b.values = vec![-0.5, 0.3];
        assert!(b.frame((200.0, 120.0)).y.0 < -0.5);
    }
}
