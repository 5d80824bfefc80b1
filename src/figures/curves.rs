//! Lines and points with intervals over one pair of axes.

use super::axis::{Axis, Frame, Map, Margins};
use super::canvas::{Canvas, Pen, Text};
use super::counts::Counts;
use super::font;
use super::geom::{Pt, Rect, clip_line, clip_polygon};
use super::legend::{self, Key, spread};
use super::markers::{Marker, mark};
use super::page::Draw;
use super::reference::{Reference, draw_reference, name_reference};
use super::series::{Sample, Series, Style};
use super::theme::{BAND, INK, Palette, TEXT_PT};

/// Where the names of series stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// In a strip above the plot.
    #[default]
    Legend,
    /// At the right ends of the lines; in a strip when there is no room.
    Direct,
    /// Nowhere: another panel of the figure names them.
    Hidden,
}

/// Curves over shared axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    pub x: Axis,
    pub y: Axis,
    /// Nulls are drawn first, whatever the order.
    pub series: Vec<Series>,
    pub lines: Vec<Reference>,
    pub names: Names,
    /// Numbers below the axis of x.
    pub counts: Option<Counts>,
}

/// Least distance of base lines of names at line ends.
const LINE_GAP: f64 = TEXT_PT * 1.1;
const LEADER: f64 = 9.0;

impl Curves {
    /// Curves with a legend and no reference lines.
    pub fn new(x: Axis, y: Axis, series: Vec<Series>) -> Curves {
        Curves { x, y, series, ..Curves::default() }
    }
    /// With reference lines.
    pub fn lines(mut self, lines: Vec<Reference>) -> Curves {
        self.lines = lines;
        self
    }
    /// With names elsewhere.
    pub fn names_at(mut self, names: Names) -> Curves {
        self.names = names;
        self
    }

    /// With numbers below the axis of x.
    pub fn counts(mut self, counts: Counts) -> Curves {
        self.counts = Some(counts);
        self
    }

    /// Ranges of x and y that show all that is finite.
    pub(crate) fn spans(&self) -> ((f64, f64), (f64, f64)) {
        let (xs, ys) = self.extent();
        (self.x.span(xs.into_iter()), self.y.span(ys.into_iter()))
    }

    /// Every x and every y that should be seen.
    pub(crate) fn extent(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for s in self.series.iter().flat_map(Series::runs).flatten() {
            xs.push(s.x);
            ys.push(s.y);
            ys.extend(s.interval.iter().flat_map(|b| [b.0, b.1]));
        }
        for l in &self.lines {
            if l.vertical { xs.push(l.at) } else { ys.push(l.at) }
        }
        (xs, ys)
    }

    /// Legend entries, each name once.
    pub(crate) fn keys(&self, palette: &Palette) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for s in self.series.iter().filter(|s| !s.name.is_empty()) {
            if let Some(k) = keys.iter_mut().find(|k| k.name == s.name) {
                // One name for lines of several colours: planted truth beside each of its measurements.
                if k.colour != s.colour(palette) {
                    k.colour = INK;
                    k.pen = k.pen.map(|p| Pen { colour: INK, ..p });
                }
            } else {
                keys.push(Key {
                    pen: s.pen(palette),
                    band: s.band.is_some() && !s.marked(),
                    marker: s.marked().then_some((Marker::Circle, false)),
                    ..Key::new(&s.name, s.colour(palette))
                });
            }
        }
        keys
    }

    fn frame(&self, size: (f64, f64), right: f64) -> Frame {
        let (xs, ys) = self.spans();
        let below = self.counts.as_ref().map_or(0.0, Counts::height);
        Frame::fit(&self.x, &self.y, xs, ys, (size.0 - right, size.1 - self.legend_height(size, right) - below))
    }

    /// About how high the legend will be, before the width left for it is known.
    fn legend_height(&self, size: (f64, f64), right: f64) -> f64 {
        let strip = right == 0.0 && self.names != Names::Hidden;
        if strip { legend::height(&self.keys(&Palette::default()), 0.8 * size.0) } else { 0.0 }
    }

    /// The width that names at line ends need; `None` where they are not wanted or do not fit.
    fn direct(&self, size: (f64, f64)) -> Option<f64> {
        let names: Vec<&Series> = self.named();
        let tall = LINE_GAP * names.len() as f64 > 0.8 * (size.1 - 40.0);
        let widest = names.iter().map(|s| font::width(&s.name, TEXT_PT, false)).fold(0.0, f64::max);
        (self.names == Names::Direct && !tall && widest < 0.4 * size.0).then_some(widest + LEADER + 2.0)
    }

    fn named(&self) -> Vec<&Series> {
        self.series.iter().filter(|s| !s.name.is_empty() && !s.runs().is_empty()).collect()
    }

    /// Everything between the axes.
    pub(crate) fn draw_data(&self, c: &mut Canvas, map: &Map, palette: &Palette, name_lines: bool) {
        let (nulls, rest): (Vec<&Series>, Vec<&Series>) = self.series.iter().partition(|s| s.style == Style::Null);
        let (thin, front): (Vec<&Series>, Vec<&Series>) = rest.into_iter().partition(|s| s.style == Style::Thin);
        let order: Vec<&Series> = nulls.into_iter().chain(thin).chain(front).collect();
        for s in order.iter().filter(|s| !s.marked()) {
            draw_band(c, map, s, palette);
        }
        for l in &self.lines {
            draw_reference(c, map, l);
        }
        let mut busy = Vec::new();
        for s in &order {
            draw_line(c, map, s, palette, &mut busy);
            c.skipped += s.skipped();
        }
        if name_lines {
            let mut taken = Vec::new();
            for l in &self.lines {
                name_reference(c, map, l, &busy, &mut taken);
            }
        }
    }

    fn name_ends(&self, c: &mut Canvas, map: &Map, palette: &Palette) {
        let named = self.named();
        let ends: Vec<Pt> = named
            .iter()
            .filter_map(|s| s.runs().into_iter().flatten().rfind(|p| map.x.0 <= p.x && p.x <= map.x.1))
            .map(|p| (map.px(p.x), map.py(p.y).clamp(map.rect.y0, map.rect.y1)))
            .collect();
        if ends.len() != named.len() {
            return;
        }
        let heights = spread(&ends.iter().map(|e| e.1).collect::<Vec<_>>(), LINE_GAP, map.rect.y0, map.rect.y1);
        for ((s, end), y) in named.iter().zip(ends).zip(heights) {
            let colour = s.colour(palette);
            let x = map.rect.x1 + LEADER;
            c.line(&[(end.0 + 2.0, end.1), (x - 1.5, y)], Pen::new(colour, 0.5).alpha(0.7));
            c.text(Text::centred(x, y, s.name.as_str(), TEXT_PT).colour(colour.for_text()));
        }
    }
}

impl Draw for Curves {
    fn names(&self) -> Vec<&str> {
        self.series.iter().filter_map(Series::wants).collect()
    }

    fn refusal(&self) -> Option<String> {
        for s in &self.series {
            if let Some(b) = s.band.as_ref().filter(|b| b.len() != s.points.len()) {
                return Some(format!("series `{}` has {} points but {} intervals", s.name, s.points.len(), b.len()));
            }
        }
        let points: usize = self.series.iter().map(|s| s.points.len()).sum();
        self.series
            .iter()
            .all(|s| s.runs().is_empty())
            .then(|| format!("none of its {points} points in {} series is finite", self.series.len()))
    }

    fn margins(&self, size: (f64, f64), palette: &Palette) -> Margins {
        let direct = self.direct(size);
        let mut m = self.frame(size, direct.unwrap_or(0.0)).margins;
        match direct {
            Some(w) => m.right = m.right.max(w),
            None if self.names == Names::Hidden => {}
            None => m.top += legend::height(&self.keys(palette), size.0 - m.left),
        }
        m.bottom += self.counts.as_ref().map_or(0.0, Counts::height);
        m
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, palette: &Palette) {
        let direct = self.direct(size);
        let frame = self.frame(size, direct.unwrap_or(0.0));
        let map = frame.draw(c, inner);
        self.draw_data(c, &map, palette, true);
        if let Some(counts) = &self.counts {
            counts.draw(c, &map, inner.y1 + frame.margins.bottom, palette);
        }
        match direct {
            Some(_) => self.name_ends(c, &map, palette),
            None if self.names == Names::Hidden => {}
            None => legend::draw(c, &self.keys(palette), inner.x0, inner.y0, size.0 - frame.margins.left),
        }
    }
}

fn draw_band(c: &mut Canvas, map: &Map, s: &Series, palette: &Palette) {
    for run in s.runs() {
        for piece in run.split(|p| p.interval.is_none()) {
            let edge = |f: fn((f64, f64)) -> f64| {
                piece.iter().filter_map(move |p| p.interval.map(|b| map.at((p.x, f(b))))).collect::<Vec<Pt>>()
            };
            let mut ring = edge(|b| b.1);
            ring.extend(edge(|b| b.0).into_iter().rev());
            c.fill(&clip_polygon(&ring, &map.rect), s.colour(palette), BAND);
        }
    }
}

/// Draws line, error bars and points, and adds what it covers to `busy`.
fn draw_line(c: &mut Canvas, map: &Map, s: &Series, palette: &Palette, busy: &mut Vec<Pt>) {
    let colour = s.colour(palette);
    for run in s.runs() {
        let line: Vec<Pt> = run.iter().map(|p| map.at((p.x, p.y))).collect();
        if let Some(pen) = s.pen(palette) {
            for piece in clip_line(&line, &map.rect) {
                busy.extend(along(&piece));
                c.line(&piece, pen);
            }
        }
        if s.style == Style::Ticks {
            for p in run.iter().filter(|p| map.rect.grow(0.01).contains(map.at((p.x, p.y)))) {
                let (x, y) = map.at((p.x, p.y));
                c.line(&[(x, y - 2.6), (x, y + 2.6)], Pen::new(colour, 0.8));
                busy.push((x, y));
            }
            continue;
        }
        // A lone point would be invisible as a line.
        if s.marked() || run.len() == 1 {
            for p in run.iter().filter(|p| map.rect.grow(0.01).contains(map.at((p.x, p.y)))) {
                error_bar(c, map, p, Pen::new(colour, 0.9));
                busy.push(map.at((p.x, p.y)));
                mark(c, map.at((p.x, p.y)), 2.2, Marker::Circle, colour, false);
            }
        }
    }
}

fn error_bar(c: &mut Canvas, map: &Map, p: &Sample, pen: Pen) {
    let Some((lo, hi)) = p.interval else { return };
    let x = map.px(p.x);
    for piece in clip_line(&[(x, map.py(lo)), (x, map.py(hi))], &map.rect) {
        c.line(&piece, pen);
    }
    for end in [lo, hi].into_iter().filter(|v| (map.y.0..=map.y.1).contains(v)) {
        c.line(&[(x - 1.6, map.py(end)), (x + 1.6, map.py(end))], pen);
    }
}

/// Points every two points of length along a line.
fn along(line: &[Pt]) -> Vec<Pt> {
    let step = |w: &[Pt]| {
        let n = (((w[1].0 - w[0].0).hypot(w[1].1 - w[0].1)) / 2.0).ceil().max(1.0) as usize;
        let (a, b) = (w[0], w[1]);
        (0..=n).map(move |i| {
            let t = i as f64 / n as f64;
            (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1))
        })
    };
    line.windows(2).flat_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_reference_lines_belong_to_the_range() {
        let c = Curves::new(
            Axis::new("x"),
            Axis::new("y"),
            vec![Series::new("a", vec![(0.0, 1.0), (1.0, 2.0)]).band(vec![(0.0, 1.5), (1.0, 3.0)])],
        )
        .lines(vec![Reference::horizontal(4.0, "planted")]);
        // x: 0..1 and y: 0..4, each with 5 % of air.
        let (x, y) = c.spans();
        assert!((x.0 + 0.05).abs() < 1e-12 && (y.0 + 0.2).abs() < 1e-12 && (y.1 - 4.2).abs() < 1e-12);
    }

    #[test]
    fn a_band_of_another_length_and_data_without_numbers_are_refused() {
        let curves = |s: Series| Curves::new(Axis::new("x"), Axis::new("y"), vec![s]).refusal();
        assert!(curves(Series::new("a", vec![(0.0, 1.0)]).band(vec![])).unwrap().contains("1 points but 0 intervals"));
        assert!(curves(Series::new("a", vec![(0.0, f64::NAN)])).unwrap().contains("none of its 1 points"));
        assert!(curves(Series::new("a", vec![(0.0, 1.0)])).is_none());
    }
}
