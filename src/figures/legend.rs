//! Names of series: a strip above the plot, or words at the ends of the lines.

use super::canvas::{Canvas, Pen, Text};
use super::font;
use super::geom::Rect;
use super::markers::{Marker, mark};
use super::theme::{BAND, LEADING, Rgb, TEXT_PT};

const SWATCH: f64 = 15.0;
const AFTER_SWATCH: f64 = 3.5;
const BETWEEN: f64 = 11.0;
const ROW: f64 = TEXT_PT * LEADING + 1.5;

/// One entry of a legend.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub name: String,
    pub colour: Rgb,
    pub pen: Option<Pen>,
    pub band: bool,
    pub marker: Option<(Marker, bool)>,
    pub bar: bool,
}

impl Key {
    pub fn new(name: &str, colour: Rgb) -> Key {
        Key { name: name.into(), colour, pen: None, band: false, marker: None, bar: false }
    }
    /// Points and bars need less room than lines.
    fn swatch(&self) -> f64 {
        if self.pen.is_none() && !self.band { 7.0 } else { SWATCH }
    }
    fn width(&self) -> f64 {
        self.swatch() + AFTER_SWATCH + font::width(&self.name, TEXT_PT, false)
    }
}

/// The keys in rows no wider than `w`.
fn rows(keys: &[Key], w: f64) -> Vec<Vec<&Key>> {
    let mut rows: Vec<Vec<&Key>> = Vec::new();
    let mut x = 0.0;
    for k in keys {
        if rows.is_empty() || x + k.width() > w {
            rows.push(Vec::new());
            x = 0.0;
        }
        x += k.width() + BETWEEN;
        rows.last_mut().expect("just made").push(k);
    }
    rows
}

/// The height of a legend strip of width `w`, with the air below it.
pub(crate) fn height(keys: &[Key], w: f64) -> f64 {
    let n = rows(keys, w).len();
    if n == 0 { 0.0 } else { ROW * n as f64 + 3.0 }
}

/// Draws a legend strip that ends at `bottom`.
pub(crate) fn draw(c: &mut Canvas, keys: &[Key], x0: f64, bottom: f64, w: f64) {
    let rows = rows(keys, w);
    let top = bottom - ROW * rows.len() as f64 - 3.0;
    for (i, row) in rows.iter().enumerate() {
        let (mut x, y) = (x0, top + ROW * (i as f64 + 0.5));
        for k in row {
            swatch(c, k, x, y);
            c.text(Text::centred(x + k.swatch() + AFTER_SWATCH, y, k.name.as_str(), TEXT_PT));
            x += k.width() + BETWEEN;
        }
    }
}

fn swatch(c: &mut Canvas, k: &Key, x: f64, y: f64) {
    let x1 = x + k.swatch();
    if k.band {
        c.rect(Rect::new(x, y - 3.2, x1, y + 3.2), k.colour, BAND);
    }
    if k.bar {
        c.rect(Rect::new(x, y - 3.2, x1, y + 3.2), k.colour, 1.0);
    }
    if let Some(pen) = k.pen {
        c.line(&[(x, y), (x1, y)], pen);
    }
    if let Some((m, hollow)) = k.marker {
        mark(c, ((x + x1) / 2.0, y), 2.6, m, k.colour, hollow);
    }
}

/// Moves wanted heights apart until neighbours are `gap` apart, as little as possible, within `lo..hi`.
/// Returns the new heights in the order of the wanted ones.
pub(crate) fn spread(wanted: &[f64], gap: f64, lo: f64, hi: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]).then(a.cmp(&b)));
    // Pool neighbours that are too close: least squares under the order (Kruskal 1964, on wanted - k gap).
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (k, &i) in order.iter().enumerate() {
        pools.push((wanted[i] - k as f64 * gap, 1));
        while let [.., a, b] = pools[..] {
            if a.0 <= b.0 {
                break;
            }
            pools.truncate(pools.len() - 2);
            let n = a.1 + b.1;
            pools.push(((a.0 * a.1 as f64 + b.0 * b.1 as f64) / n as f64, n));
        }
    }
    let last = hi - gap * wanted.len().saturating_sub(1) as f64;
    let level = pools.iter().flat_map(|&(v, n)| std::iter::repeat_n(v, n));
    let mut out = vec![0.0; wanted.len()];
    for (k, (&i, v)) in order.iter().zip(level).enumerate() {
        out[i] = v.min(last).max(lo) + k as f64 * gap;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng;

    #[test]
    fn spread_names_keep_their_order_their_distance_and_the_page() {
        let mut r = stream(4, "spread");
        for _ in 0..500 {
            let n = r.random_range(1..10);
            let wanted: Vec<f64> = (0..n).map(|_| r.random_range(0.0..100.0)).collect();
            let got = spread(&wanted, 9.0, 0.0, 100.0);
            for a in 0..n {
                assert!((-1e-9..=100.0 + 1e-9).contains(&got[a]), "{wanted:?} {got:?}");
                for b in 0..n {
                    assert!(a == b || (got[a] - got[b]).abs() > 9.0 - 1e-9, "{wanted:?} {got:?}");
                    assert!(wanted[a] >= wanted[b] || got[a] < got[b]);
                }
            }
        }
    }

    #[test]
    fn names_with_room_stay_where_they_are() {
        assert_eq!(spread(&[50.0, 10.0, 80.0], 9.0, 0.0, 100.0), vec![50.0, 10.0, 80.0]);
        // Two at one height go up and down by half the distance.
        assert_eq!(spread(&[50.0, 50.0], 8.0, 0.0, 100.0), vec![46.0, 54.0]);
    }

    #[test]
    fn a_legend_breaks_into_rows_that_fit() {
        let keys: Vec<Key> = ["probe", "shuffled labels", "wording baseline"].map(|n| Key::new(n, Rgb(0, 0, 0))).into();
        assert!(height(&keys, 100.0) > height(&keys, 400.0));
        for row in rows(&keys, 120.0) {
            assert!(row.iter().map(|k| k.width()).sum::<f64>() + BETWEEN * (row.len() - 1) as f64 <= 120.0);
        }
    }
}
