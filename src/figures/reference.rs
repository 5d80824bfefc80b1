//! Reference lines: what the data should be compared with.

use super::axis::Map;
use super::canvas::{Canvas, Dash, Pen, Text};
use super::font;
use super::geom::{Pt, Rect};
use super::labels::quietest;
use super::theme::{AXIS, TEXT_PT};

/// A straight line that says what to compare with: chance, a planted value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub at: f64,
    /// Drawn beside the line; may be empty.
    pub label: String,
    pub vertical: bool,
}

impl Reference {
    /// A line at a value of y.
    pub fn horizontal(at: f64, label: impl Into<String>) -> Reference {
        Reference { at, label: label.into(), vertical: false }
    }
    /// A line at a value of x.
    pub fn vertical(at: f64, label: impl Into<String>) -> Reference {
        Reference { at, label: label.into(), vertical: true }
    }
}

/// Draws a reference line across the plot.
pub(crate) fn draw_reference(c: &mut Canvas, map: &Map, l: &Reference) {
    if let Some((a, b)) = reference_ends(map, l) {
        c.line(&[a, b], Pen::new(AXIS, 0.7).dash(Dash::Dotted));
    }
}

fn reference_ends(map: &Map, l: &Reference) -> Option<(Pt, Pt)> {
    let (range, r) = (if l.vertical { map.x } else { map.y }, map.rect);
    let on = l.at.is_finite() && (range.0..=range.1).contains(&l.at);
    on.then(|| match l.vertical {
        true => ((map.px(l.at), r.y0), (map.px(l.at), r.y1)),
        false => ((r.x0, map.py(l.at)), (r.x1, map.py(l.at))),
    })
}

/// Writes the words of a reference line where they cover least of what is drawn.
pub(crate) fn name_reference(c: &mut Canvas, map: &Map, l: &Reference, busy: &[Pt], taken: &mut Vec<Rect>) {
    let Some((a, b)) = reference_ends(map, l).filter(|_| !l.label.is_empty()) else { return };
    let (w, h) = (font::width(&l.label, TEXT_PT, false), TEXT_PT * (font::ASCENT + font::DESCENT));
    let r = map.rect;
    let mut spots = Vec::new();
    for t in [1.0, 0.0, 0.5, 0.75, 0.25] {
        for side in [-1.0, 1.0] {
            let (x0, y0) = if l.vertical {
                let x = if side > 0.0 { a.0 + 2.5 } else { a.0 - 2.5 - w };
                (x, r.y0 + (1.0 - t) * (r.height() - h))
            } else {
                let y = if side < 0.0 { b.1 - 1.5 - h } else { b.1 + 1.5 };
                (r.x0 + 2.0 + t * (r.width() - w - 4.0), y)
            };
            spots.push(Rect::new(x0, y0, x0 + w, y0 + h));
        }
    }
    spots.retain(|s| s.x0 >= r.x0 - 0.5 && s.x1 <= r.x1 + 0.5 && s.y0 >= r.y0 - h && s.y1 <= r.y1);
    let Some(spot) = quietest(&spots, busy, taken) else { return c.dropped.push(l.label.clone()) };
    let text = Text::new(spot.x0, spot.y0 + font::ASCENT * TEXT_PT, l.label.as_str(), TEXT_PT);
    c.text(text.colour(AXIS).halo());
    taken.push(spot);
}
