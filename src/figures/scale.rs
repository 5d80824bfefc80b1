//! Values to colours, and the colour bar that explains them.

use super::axis::round_ticks;
use super::canvas::{Anchor, Canvas, Pen, Text};
use super::font;
use super::geom::Rect;
use super::theme::{AXIS, LEADING, Rgb, TEXT_PT};

/// The kind of a colour scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ramp {
    /// From light to dark: amounts.
    #[default]
    Sequential,
    /// Blue below 0, white at 0, vermillion above: signed values. The range is made symmetric.
    Diverging,
}

/// A colour scale with its words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shades {
    /// What the colour means, with its unit.
    pub label: String,
    pub ramp: Ramp,
    /// From, to; from the data when absent.
    pub range: Option<(f64, f64)>,
}

const SEQUENTIAL: [Rgb; 4] = [Rgb(240, 246, 250), Rgb(110, 185, 230), Rgb(0, 114, 178), Rgb(6, 38, 84)];
const DIVERGING: [Rgb; 5] =
    [Rgb(0, 72, 130), Rgb(86, 160, 210), Rgb(248, 248, 248), Rgb(236, 150, 90), Rgb(170, 66, 0)];

const BAR: f64 = 8.0;
const BEFORE: f64 = 7.0;

/// A scale with a fixed range.
#[derive(Clone, Debug)]
pub(crate) struct Fitted<'a> {
    label: &'a str,
    stops: &'static [Rgb],
    pub range: (f64, f64),
}

impl Shades {
    /// A scale with its range from the data.
    pub fn new(label: impl Into<String>, ramp: Ramp) -> Shades {
        Shades { label: label.into(), ramp, range: None }
    }
    /// With a fixed range.
    pub fn range(mut self, from: f64, to: f64) -> Shades {
        self.range = Some((from, to));
        self
    }

    pub(crate) fn fit(&self, values: impl Iterator<Item = f64>) -> Fitted<'_> {
        let given = self.range.filter(|(a, b)| a.is_finite() && b.is_finite() && a < b);
        let (lo, hi) = given.unwrap_or_else(|| {
            values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
        });
        let (lo, hi) = if lo > hi { (0.0, 1.0) } else { (lo, hi) };
        let (stops, range): (&[Rgb], _) = match self.ramp {
            Ramp::Sequential if lo < hi => (&SEQUENTIAL, (lo, hi)),
            Ramp::Sequential => (&SEQUENTIAL, (lo - 0.5, hi + 0.5)),
            Ramp::Diverging => {
                let most = lo.abs().max(hi.abs());
                let most = if most > 0.0 { most } else { 1.0 };
                (&DIVERGING, (-most, most))
            }
        };
        Fitted { label: &self.label, stops, range }
    }
}

impl Fitted<'_> {
    /// The colour of a value; values beyond the range take its end.
    pub fn colour(&self, v: f64) -> Rgb {
        let t = ((v - self.range.0) / (self.range.1 - self.range.0)).clamp(0.0, 1.0) * (self.stops.len() - 1) as f64;
        let k = (t as usize).min(self.stops.len() - 2);
        self.stops[k].mix(self.stops[k + 1], t - k as f64)
    }

    fn ticks(&self, h: f64) -> Vec<(f64, String)> {
        round_ticks(self.range.0, self.range.1, ((h / 18.0) as usize).min(7), false)
    }

    fn ticks_width(&self, h: f64) -> f64 {
        self.ticks(h).iter().map(|t| font::width(&t.1, TEXT_PT, false)).fold(0.0, f64::max)
    }

    fn label_lines(&self, h: f64) -> Vec<String> {
        font::wrap(self.label, TEXT_PT, false, h.max(60.0))
    }

    /// The width of the bar with its words beside a plot about `h` tall.
    pub fn width(&self, h: f64) -> f64 {
        let lines = self.label_lines(h).len() as f64;
        BEFORE + BAR + 4.5 + self.ticks_width(h) + if lines > 0.0 { 3.0 + lines * TEXT_PT * LEADING } else { 0.0 }
    }

    /// Draws the bar at the right of `plot`; `h` is what the width was asked for.
    pub fn draw(&self, c: &mut Canvas, plot: Rect, h: f64) {
        let r = Rect::new(plot.x1 + BEFORE, plot.y0, plot.x1 + BEFORE + BAR, plot.y1);
        let steps = 64;
        // Each piece reaches up to the top, under the next ones: no seams between them.
        for i in 0..steps {
            let t = f64::from(i) / f64::from(steps);
            let v = self.range.0 + (t + 0.5 / f64::from(steps)) * (self.range.1 - self.range.0);
            c.rect(Rect { y1: r.y1 - t * r.height(), ..r }, self.colour(v), 1.0);
        }
        let ring: Vec<_> = r.corners().into_iter().chain([(r.x0, r.y0)]).collect();
        c.line(&ring, Pen::new(AXIS, 0.5));
        for (v, text) in self.ticks(h) {
            let y = r.y1 - (v - self.range.0) / (self.range.1 - self.range.0) * r.height();
            c.line(&[(r.x1, y), (r.x1 + 2.0, y)], Pen::new(AXIS, 0.6));
            c.text(Text::centred(r.x1 + 4.5, y, text, TEXT_PT));
        }
        let x = r.x1 + 4.5 + self.ticks_width(h) + 3.0;
        for (i, line) in self.label_lines(h).into_iter().enumerate() {
            let x = x + (i as f64 + 0.8) * TEXT_PT * LEADING;
            let half = font::width(&line, TEXT_PT, false) / 2.0;
            let y = r.centre().1.min(c.height - half - 1.0).max(half + 1.0);
            c.text(Text::new(x, y, line, TEXT_PT).anchor(Anchor::Middle).angle(-90.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diverging_scale_is_white_at_zero_and_symmetric() {
        let s = Shades::new("cos", Ramp::Diverging);
        let f = s.fit([-0.2, 0.8, f64::NAN].into_iter());
        assert_eq!(f.range, (-0.8, 0.8));
        assert_eq!(f.colour(0.0), DIVERGING[2]);
        assert_eq!((f.colour(-9.0), f.colour(9.0)), (DIVERGING[0], DIVERGING[4]));
    }

    #[test]
    fn a_sequential_scale_darkens_all_the_way() {
        let s = Shades::new("rate", Ramp::Sequential).range(0.0, 1.0);
        let f = s.fit(std::iter::empty());
        let dark = |v: f64| super::super::theme::contrast(f.colour(v), Rgb(255, 255, 255));
        assert!((1..=50).all(|i| dark(f64::from(i) / 50.0) > dark(f64::from(i - 1) / 50.0)));
    }

    #[test]
    fn constant_or_absent_values_do_not_divide_by_zero() {
        for values in [vec![], vec![0.0], vec![2.0, 2.0]] {
            for ramp in [Ramp::Sequential, Ramp::Diverging] {
                let s = Shades::new("v", ramp);
                let f = s.fit(values.iter().copied());
                assert!(f.range.0 < f.range.1);
            }
        }
    }
}
