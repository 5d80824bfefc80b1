//! What a curve is made of: points, intervals and a look.

use super::canvas::{Dash, Pen};
use super::theme::{LINE, MEAN, NULL, Palette, Rgb, THIN, colour};

/// How a series is drawn. Bands go with lines, error bars with points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A line, with a band.
    #[default]
    Solid,
    /// A dashed line, with a band: baselines.
    Dashed,
    /// A dotted line, with a band: planted truth.
    Dotted,
    /// A thin line that stands behind the others.
    Thin,
    /// Points with error bars.
    Points,
    /// A line through points with error bars.
    Marked,
    /// The mean of thin lines: black, with a band.
    Mean,
    /// A null or control: grey, dashed, with a grey band.
    Null,
    /// A line that keeps its height until the next point, with a band that does: survival curves.
    Steps,
    /// A short upright tick at each point, without a line: censored observations.
    Ticks,
}

/// One named curve. Values that are not finite are left out, counted, and break the line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Interval (low, high) of every point.
    pub band: Option<Vec<(f64, f64)>>,
    pub style: Style,
    /// A place in [`super::theme::COLOURS`]; by name order when absent.
    pub color: Option<usize>,
}

impl Series {
    /// A solid line.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), points, ..Series::default() }
    }
    /// With an interval (low, high) for every point.
    pub fn band(mut self, band: Vec<(f64, f64)>) -> Series {
        self.band = Some(band);
        self
    }
    /// In another style.
    pub fn style(mut self, style: Style) -> Series {
        self.style = style;
        self
    }
    /// In a fixed colour.
    pub fn color(mut self, index: usize) -> Series {
        self.color = Some(index);
        self
    }

    /// The name that wants a colour of the palette.
    pub(crate) fn wants(&self) -> Option<&str> {
        let own = matches!(self.style, Style::Null | Style::Mean) || self.color.is_some() || self.name.is_empty();
        (!own).then_some(self.name.as_str())
    }

    pub(crate) fn colour(&self, palette: &Palette) -> Rgb {
        match self.style {
            Style::Null => NULL,
            Style::Mean => MEAN,
            // Single cases behind their mean belong to no category.
            Style::Thin if self.name.is_empty() && self.color.is_none() => NULL,
            _ => colour(self.color.or(palette.index(&self.name)).unwrap_or(0)).0,
        }
    }

    /// The pen of the line, where the style has one.
    pub(crate) fn pen(&self, palette: &Palette) -> Option<Pen> {
        let again = colour(self.color.or(palette.index(&self.name)).unwrap_or(0)).1;
        let solid = if again > 0 { Dash::Dashed } else { Dash::Solid };
        let pen = Pen::new(self.colour(palette), LINE);
        match self.style {
            Style::Solid | Style::Marked | Style::Steps => Some(pen.dash(solid)),
            Style::Dashed | Style::Null => Some(pen.dash(Dash::Dashed)),
            Style::Dotted => Some(pen.dash(Dash::Dotted)),
            Style::Mean => Some(Pen { width: 1.4 * LINE, ..pen }),
            Style::Thin => Some(Pen { width: THIN, ..pen.dash(solid) }),
            Style::Points | Style::Ticks => None,
        }
    }

    pub(crate) fn marked(&self) -> bool {
        matches!(self.style, Style::Points | Style::Marked)
    }

    /// The finite points with their finite intervals, in runs without gaps.
    pub(crate) fn runs(&self) -> Vec<Vec<Sample>> {
        let mut out: Vec<Vec<Sample>> = vec![Vec::new()];
        for (i, &(x, y)) in self.points.iter().enumerate() {
            if !(x.is_finite() && y.is_finite()) {
                out.push(Vec::new());
                continue;
            }
            let interval = self.band.as_ref().and_then(|b| b.get(i)).copied();
            let interval = interval.filter(|b| b.0.is_finite() && b.1.is_finite());
            out.last_mut().expect("starts with one run").push(Sample { x, y, interval });
        }
        out.retain(|r| !r.is_empty());
        if self.style == Style::Steps { out.into_iter().map(stairs).collect() } else { out }
    }

    /// How many points and intervals are left out because they are not finite.
    pub(crate) fn skipped(&self) -> usize {
        let bad = |p: &&(f64, f64)| !(p.0.is_finite() && p.1.is_finite());
        self.points.iter().filter(bad).count() + self.band.iter().flatten().filter(bad).count()
    }
}

/// Every height once more at the place where the next one begins.
fn stairs(run: Vec<Sample>) -> Vec<Sample> {
    let mut out = Vec::with_capacity(2 * run.len());
    for (i, p) in run.iter().enumerate() {
        out.push(*p);
        out.extend(run.get(i + 1).map(|next| Sample { x: next.x, ..*p }));
    }
    out
}

/// One finite point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub x: f64,
    pub y: f64,
    pub interval: Option<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_breaks_the_line_and_is_counted() {
        let s = Series::new("a", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0), (3.0, 3.0)]).band(vec![
            (0.0, 2.0),
            (f64::NAN, 1.0),
            (1.0, f64::INFINITY),
            (2.0, 4.0),
        ]);
        let runs = s.runs();
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((runs[1][0].interval, runs[1][1].interval), (None, Some((2.0, 4.0))));
        assert_eq!(s.skipped(), 3); // one point, two intervals
    }

    #[test]
    fn steps_keep_their_height_until_the_next_point() {
        let s = Series::new("a", vec![(0.0, 1.0), (2.0, 0.5), (3.0, 0.2)]).style(Style::Steps);
        let at: Vec<(f64, f64)> = s.runs().concat().iter().map(|p| (p.x, p.y)).collect();
        assert_eq!(at, [(0.0, 1.0), (2.0, 1.0), (2.0, 0.5), (3.0, 0.5), (3.0, 0.2)]);
    }

    #[test]
    fn nulls_are_grey_whatever_colour_is_asked() {
        let s = Series::new("n", vec![]).style(Style::Null).color(2);
        assert_eq!(s.colour(&Palette::default()), NULL);
        let seventh = Series::new("x", vec![]).color(6).pen(&Palette::default()).unwrap();
        assert_eq!(seventh.dash, Dash::Dashed); // the palette has six colours, so the seventh line is told apart by dashes
    }
}
