//! Axes: ranges, round ticks, and the frame of one plot with the room its words need.

use super::canvas::{Anchor, Canvas, Pen, Text};
use super::font;
use super::geom::{Pt, Rect, turn};
use super::theme::{AXIS, LEADING, TEXT_PT};

const TICK: f64 = 2.6;
const GAP: f64 = 2.2;
/// How far tick labels are turned when they do not fit side by side.
const SLANT: f64 = -40.0;

/// One axis. The label carries the unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What is measured, with its unit: `AUROC on held-out personas`, `projection (z)`.
    pub label: String,
    /// From, to; from the data when absent. What lies outside is cut off.
    pub range: Option<(f64, f64)>,
    /// Ticks at given places with given words; round numbers when absent.
    pub ticks: Option<Vec<(f64, String)>>,
    /// Only whole numbers make sense (turns, layers).
    pub whole: bool,
}

impl Axis {
    /// An axis with range and ticks from the data.
    pub fn new(label: impl Into<String>) -> Axis {
        Axis { label: label.into(), ..Axis::default() }
    }
    /// With a fixed range.
    pub fn range(mut self, from: f64, to: f64) -> Axis {
        self.range = Some((from, to));
        self
    }
    /// With ticks on whole numbers only.
    pub fn whole(mut self) -> Axis {
        self.whole = true;
        self
    }
    /// Names at 0, 1, 2 ...: layers, sites.
    pub fn names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Axis {
        let ticks: Vec<(f64, String)> = names.into_iter().enumerate().map(|(i, n)| (i as f64, n.into())).collect();
        self.range.get_or_insert((-0.3, ticks.len() as f64 - 0.7));
        self.ticks = Some(ticks);
        self
    }

    /// The range to draw: the one given, or that of the values with some air.
    pub(crate) fn span(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if let Some((a, b)) = self.range.filter(|(a, b)| a.is_finite() && b.is_finite() && a < b) {
            return (a, b);
        }
        let (lo, hi) =
            values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if lo > hi {
            return (0.0, 1.0);
        }
        let air = if hi > lo { 0.05 * (hi - lo) } else { (0.1 * lo.abs()).max(0.5) };
        (lo - air, hi + air)
    }

    fn ticks_in(&self, (lo, hi): (f64, f64), most: usize) -> Vec<(f64, String)> {
        match &self.ticks {
            Some(t) => t.iter().filter(|(v, _)| (lo..=hi).contains(v)).cloned().collect(),
            None => round_ticks(lo, hi, most, self.whole),
        }
    }
}

/// At most `most` round numbers in a range, at steps of 1, 2 or 5 times a power of ten, with the minus sign of print.
pub(crate) fn round_ticks(lo: f64, hi: f64, most: usize, whole: bool) -> Vec<(f64, String)> {
    let most = most.max(2) as f64;
    let start = ((hi - lo) / most).log10().floor() as i32 - 1;
    let steps = (start..start + 4).flat_map(|e| [1.0, 2.0, 5.0].map(|m| (m, e)));
    let fits = |(m, e): &(f64, i32)| {
        let step = m * 10f64.powi(*e);
        (!whole || step >= 1.0) && (hi / step + 1e-9).floor() - (lo / step - 1e-9).ceil() < most
    };
    let (m, e) = steps.clone().find(fits).unwrap_or((1.0, start + 4));
    let (step, decimals) = (m * 10f64.powi(e), (-e).max(0) as usize);
    let (first, last) = ((lo / step - 1e-9).ceil() as i64, (hi / step + 1e-9).floor() as i64);
    (first..=last)
        .map(|k| {
            let v = k as f64 * step;
            let text =
                if v.abs() >= 1e6 || (v != 0.0 && decimals > 5) { format!("{v:e}") } else { format!("{v:.decimals$}") };
            (v, text.replace('-', "\u{2212}"))
        })
        .collect()
}

/// Values to places on the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    pub x: (f64, f64),
    pub y: (f64, f64),
    pub rect: Rect,
}

impl Map {
    pub fn px(&self, x: f64) -> f64 {
        self.rect.x0 + (x - self.x.0) / (self.x.1 - self.x.0) * self.rect.width()
    }
    pub fn py(&self, y: f64) -> f64 {
        self.rect.y1 - (y - self.y.0) / (self.y.1 - self.y.0) * self.rect.height()
    }
    pub fn at(&self, (x, y): Pt) -> Pt {
        (self.px(x), self.py(y))
    }
}

/// Room around a plot, in points.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Margins {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

/// Two axes with their ticks and words, fitted to a size.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub x: (f64, f64),
    pub y: (f64, f64),
    pub margins: Margins,
    x_ticks: Vec<(f64, String)>,
    y_ticks: Vec<(f64, String)>,
    slanted: bool,
    x_label: Vec<String>,
    y_label: Vec<String>,
    y_ticks_width: f64,
}

impl Frame {
    /// Chooses ticks for a plot that has `w` by `h` points, words included, and breaks labels to its length.
    pub fn fit(x: &Axis, y: &Axis, x_span: (f64, f64), y_span: (f64, f64), (w, h): (f64, f64)) -> Frame {
        let one = font::wrap(&y.label, TEXT_PT, false, f64::INFINITY);
        let rough = Frame::fit_once(x, y, (x_span, y_span), (w, h), one).margins;
        let plot = h - rough.top - rough.bottom;
        let lines = font::wrap(&y.label, TEXT_PT, false, plot.max(50.0));
        Frame::fit_once(x, y, (x_span, y_span), (w, plot), lines)
    }

    fn fit_once(
        x: &Axis,
        y: &Axis,
        (x_span, y_span): ((f64, f64), (f64, f64)),
        (w, h): (f64, f64),
        y_label: Vec<String>,
    ) -> Frame {
        let y_ticks = y.ticks_in(y_span, ((h / 14.0) as usize).min(8));
        let y_ticks_width = y_ticks.iter().map(|t| font::width(&t.1, TEXT_PT, false)).fold(0.0, f64::max);
        let line = TEXT_PT * LEADING;
        let words = if y_ticks.is_empty() { 0.0 } else { y_ticks_width + GAP };
        let mut left = TICK + words + if y_label.is_empty() { 0.0 } else { GAP + line * y_label.len() as f64 };
        let room = (w - left - 4.0).max(20.0);
        let place = |v: f64| (v - x_span.0) / (x_span.1 - x_span.0) * room;
        let fits = |ticks: &[(f64, String)]| {
            ticks.windows(2).all(|t| {
                let half = |s: &str| font::width(s, TEXT_PT, false) / 2.0;
                place(t[1].0) - place(t[0].0)
                    > half(&t[0].1) + half(&t[1].1) + if x.ticks.is_some() { 4.0 } else { 8.0 }
            })
        };
        let x_ticks = (3..=(room / 13.0).max(3.0) as usize)
            .rev()
            .map(|most| x.ticks_in(x_span, most))
            .find(|t| fits(t))
            .unwrap_or_else(|| x.ticks_in(x_span, 2));
        let slanted = !fits(&x_ticks);
        let (mut right, mut down) = (3.0, if x_ticks.is_empty() { 0.0 } else { TEXT_PT });
        for (v, t) in &x_ticks {
            let text = x_tick(t, slanted).quad();
            let past = |f: fn(f64, f64) -> f64, i: fn(&Pt) -> f64| text.iter().map(i).reduce(f).unwrap_or(0.0);
            right = f64::max(right, place(*v) + past(f64::max, |p| p.0) - room + 1.0);
            left = f64::max(left, 1.0 - place(*v) - past(f64::min, |p| p.0));
            if slanted {
                down = f64::max(down, past(f64::max, |p| p.1));
            }
        }
        let x_label = font::wrap(&x.label, TEXT_PT, false, (room * 1.1).max(60.0));
        let words = if x_label.is_empty() { 0.0 } else { GAP + line * x_label.len() as f64 };
        let margins = Margins { left, right, top: 3.0, bottom: TICK + GAP + down + words };
        Frame { x: x_span, y: y_span, margins, x_ticks, y_ticks, slanted, x_label, y_label, y_ticks_width }
    }

    /// The same labels with the ticks of a frame that was fitted to one cell of a grid.
    pub fn with_ticks_of(mut self, cell: Frame) -> Frame {
        let line = TEXT_PT * LEADING;
        let words = |n: usize| if n == 0 { 0.0 } else { GAP + line * n as f64 };
        self.margins.left = cell.margins.left + words(self.y_label.len());
        self.margins.bottom = cell.margins.bottom + words(self.x_label.len());
        self.margins.right = cell.margins.right;
        Frame { x_label: self.x_label, y_label: self.y_label, margins: self.margins, ..cell }
    }

    /// Draws axes and words around `rect`.
    pub fn draw(&self, c: &mut Canvas, rect: Rect) -> Map {
        let map = self.draw_axes(c, rect, true, true);
        self.draw_labels(c, rect);
        map
    }

    /// Draws lines and ticks, with the words of either axis or without.
    pub fn draw_axes(&self, c: &mut Canvas, rect: Rect, x_words: bool, y_words: bool) -> Map {
        let map = Map { x: self.x, y: self.y, rect };
        let pen = Pen::new(AXIS, 0.6);
        c.line(&[(rect.x0, rect.y0), (rect.x0, rect.y1), (rect.x1, rect.y1)], pen);
        for (v, text) in &self.x_ticks {
            let x = map.px(*v);
            c.line(&[(x, rect.y1), (x, rect.y1 + TICK)], pen);
            if x_words {
                let mut t = x_tick(text, self.slanted);
                t.x += x;
                t.y += rect.y1 + TICK + GAP;
                c.text(t);
            }
        }
        for (v, text) in &self.y_ticks {
            let y = map.py(*v);
            c.line(&[(rect.x0 - TICK, y), (rect.x0, y)], pen);
            if y_words {
                c.text(Text::centred(rect.x0 - TICK - GAP, y, text.as_str(), TEXT_PT).anchor(Anchor::End));
            }
        }
        map
    }

    /// Draws the axis labels, centred along `rect`.
    pub fn draw_labels(&self, c: &mut Canvas, rect: Rect) {
        let line = TEXT_PT * LEADING;
        let x = rect.centre().0.clamp(0.0, c.width);
        for (i, text) in self.x_label.iter().enumerate() {
            let y = rect.y1 + self.margins.bottom - line * (self.x_label.len() - 1 - i) as f64 - 0.22 * TEXT_PT;
            let half = font::width(text, TEXT_PT, false) / 2.0;
            let x = x.min(c.width - half - 1.0).max(half + 1.0);
            c.text(Text::new(x, y, text.as_str(), TEXT_PT).anchor(Anchor::Middle));
        }
        let right = rect.x0 - TICK - if self.y_ticks.is_empty() { 0.0 } else { self.y_ticks_width + GAP } - GAP;
        for (i, text) in self.y_label.iter().enumerate() {
            let x = right - line * (self.y_label.len() - 1 - i) as f64 - 0.22 * TEXT_PT;
            let half = font::width(text, TEXT_PT, false) / 2.0;
            let y = rect.centre().1.min(c.height - half - 1.0).max(half + 1.0);
            c.text(Text::new(x, y, text.as_str(), TEXT_PT).anchor(Anchor::Middle).angle(-90.0));
        }
    }

    /// How far the words of the first and last x tick reach beyond the ends of a plot of width `w`.
    pub fn x_overhang(&self, w: f64) -> f64 {
        let place = |v: f64| (v - self.x.0) / (self.x.1 - self.x.0) * w;
        let reach = |(v, t): &(f64, String)| {
            let half = if self.slanted { 4.0 } else { font::width(t, TEXT_PT, false) / 2.0 };
            (half - place(*v)).max(half - (w - place(*v))).max(0.0)
        };
        self.x_ticks.iter().map(reach).fold(0.0, f64::max)
    }
}

/// The words of a tick below the origin.
fn x_tick(text: &str, slanted: bool) -> Text {
    if slanted {
        // The end of the text's middle line points at the tick.
        let at = turn((0.0, font::MIDDLE * TEXT_PT), (0.0, 0.0), SLANT);
        Text::new(at.0, at.1 + 0.3 * TEXT_PT, text, TEXT_PT).anchor(Anchor::End).angle(SLANT)
    } else {
        Text::new(0.0, font::ASCENT * TEXT_PT, text, TEXT_PT).anchor(Anchor::Middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng;

    fn words(t: &[(f64, String)]) -> Vec<&str> {
        t.iter().map(|t| t.1.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_with_as_many_decimals_as_the_step() {
        // 0.45 to 1.0 with at most 6: step 0.1 gives 0.5 .. 1.0.
        assert_eq!(words(&round_ticks(0.45, 1.0, 6, false)), ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]);
        assert_eq!(words(&round_ticks(-1.0, 1.0, 5, false)), ["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(words(&round_ticks(1.0, 4.0, 20, true)), ["1", "2", "3", "4"]);
        assert_eq!(words(&round_ticks(0.0, 4000.0, 3, false)), ["0", "2000", "4000"]);
    }

    #[test]
    fn ticks_stay_in_range_and_are_never_too_many() {
        let mut r = stream(1, "ticks");
        for _ in 0..2000 {
            let scale = 10f64.powf(r.random_range(-4.0..5.0));
            let lo = r.random_range(-1.0..1.0) * scale;
            let (hi, most) = (lo + r.random_range(0.01..2.0) * scale, r.random_range(2..12));
            let t = round_ticks(lo, hi, most, false);
            let slack = 1e-6 * (hi - lo);
            assert!(
                t.len() <= most && t.iter().all(|t| t.0 >= lo - slack && t.0 <= hi + slack),
                "{lo} {hi} {most} {t:?}"
            );
        }
    }

    #[test]
    fn a_constant_or_empty_column_still_has_a_range() {
        let a = Axis::new("x");
        assert_eq!(a.span([3.0, f64::NAN].into_iter()), (2.5, 3.5));
        assert_eq!(a.span(std::iter::empty()), (0.0, 1.0));
        assert_eq!(a.clone().range(0.0, 2.0).span([9.0].into_iter()), (0.0, 2.0));
    }

    #[test]
    fn names_that_do_not_fit_are_slanted() {
        let x =
            Axis::new("site").names(["resid_pre.0", "resid_post.0", "resid_post.1", "resid_post.2", "resid_post.3"]);
        let y = Axis::new("AUROC");
        let fit = |w: f64| Frame::fit(&x, &y, (-0.3, 4.3), (0.0, 1.0), (w, 150.0));
        assert!(fit(180.0).slanted && !fit(480.0).slanted);
        assert!(fit(180.0).margins.bottom > fit(480.0).margins.bottom + 10.0);
    }
}
