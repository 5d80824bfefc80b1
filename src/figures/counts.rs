//! A table of numbers below the axis of x: how many are still at risk.

use super::axis::Map;
use super::canvas::{Anchor, Canvas, Pen, Text};
use super::theme::{INK, LEADING, LINE, Palette, TEXT_PT, colour};

/// Numbers at some places of x, a row per series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// What is counted; stands above the rows.
    pub title: String,
    pub places: Vec<f64>,
    /// Name of the series whose colour the row takes, and a number per place.
    pub rows: Vec<(String, Vec<String>)>,
}

const GAP: f64 = 4.0;
const ROW: f64 = TEXT_PT * LEADING;

impl Counts {
    /// Room below the axis and its words.
    pub(crate) fn height(&self) -> f64 {
        if self.rows.is_empty() { 0.0 } else { GAP + ROW * (self.rows.len() + 1) as f64 }
    }

    /// Draws below `top`. A place outside the axis and a number that would touch the one before it are left out.
    pub(crate) fn draw(&self, c: &mut Canvas, map: &Map, top: f64, palette: &Palette) {
        if self.rows.is_empty() {
            return;
        }
        let base = top + GAP + TEXT_PT;
        c.text(Text::new(map.rect.x0, base, self.title.as_str(), TEXT_PT).colour(INK));
        for (i, (name, numbers)) in self.rows.iter().enumerate() {
            let own = colour(palette.index(name).unwrap_or(i)).0;
            let y = base + ROW * (i + 1) as f64 - TEXT_PT / 3.0;
            c.line(&[(map.rect.x0 - 16.0, y), (map.rect.x0 - 8.0, y)], Pen::new(own, LINE));
            let mut free = f64::NEG_INFINITY;
            for (place, number) in self.places.iter().zip(numbers) {
                let (x, width) = (map.px(*place), super::font::width(number, TEXT_PT, false));
                let inside = (map.x.0..=map.x.1).contains(place) && x + width / 2.0 <= map.rect.x1 + 12.0;
                if inside && x - width / 2.0 > free {
                    c.text(Text::centred(x, y, number.as_str(), TEXT_PT).anchor(Anchor::Middle).colour(own.for_text()));
                    free = x + width / 2.0 + 3.0;
                }
            }
        }
    }
}
