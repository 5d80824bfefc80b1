//! States as discs where they lie, and arrows between them as wide as they are likely.

use super::axis::Margins;
use super::canvas::{Anchor, Canvas, Pen, Text};
use super::font;
use super::geom::{Pt, Rect};
use super::page::Draw;
use super::theme::{AXIS, INK, PAPER, Palette, SMALL_PT, TEXT_PT, colour};

/// A state.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    /// Where it lies, in any units: the diagram keeps left and right, above and below.
    pub at: (f64, f64),
    /// 0 to 1: its area.
    pub weight: f64,
    /// A second line inside it.
    pub note: String,
}

/// The chance of going from a state to another, or of staying.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub from: usize,
    pub to: usize,
    /// 0 to 1: its width.
    pub share: f64,
    pub label: String,
}

/// States and the moves between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagram {
    pub nodes: Vec<Node>,
    pub moves: Vec<Move>,
}

/// Largest and smallest radius in points.
const RADII: (f64, f64) = (11.0, 24.0);
/// Room outside the outermost discs, for loops.
const ROOM: f64 = 26.0;

impl Diagram {
    fn radius(&self, n: &Node) -> f64 {
        RADII.0 + (RADII.1 - RADII.0) * n.weight.clamp(0.0, 1.0).sqrt()
    }

    /// Places on the page: on a circle, each in the direction in which its state lies from the middle of all, moved apart
    /// so that none is nearer to the next than an equal share of half the circle.
    fn places(&self, inner: Rect) -> Vec<Pt> {
        let n = self.nodes.len();
        let centre = inner.centre();
        if n < 2 {
            return vec![centre; n];
        }
        let mean = self.nodes.iter().fold((0.0, 0.0), |s, p| (s.0 + p.at.0 / n as f64, s.1 + p.at.1 / n as f64));
        let angle = |p: &Node| {
            let (x, y) = (p.at.0 - mean.0, p.at.1 - mean.1);
            if x.is_finite() && y.is_finite() { (-y).atan2(x) } else { 0.0 }
        };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| angle(&self.nodes[a]).total_cmp(&angle(&self.nodes[b])).then(a.cmp(&b)));
        // Two states lie side by side in the order of their first coordinate.
        let even = std::f64::consts::TAU / n as f64;
        let first = if n == 2 { std::f64::consts::PI } else { angle(&self.nodes[order[0]]) };
        if n == 2 && self.nodes[order[0]].at.0 > self.nodes[order[1]].at.0 {
            order.swap(0, 1);
        }
        let (rx, ry) = (inner.width() / 2.0 - RADII.1 - ROOM, inner.height() / 2.0 - RADII.1 - ROOM * 0.6);
        let mut out = vec![centre; n];
        for (i, &node) in order.iter().enumerate() {
            let a = first + even * i as f64;
            out[node] = (centre.0 + rx.max(4.0) * a.cos(), centre.1 + ry.max(4.0) * a.sin());
        }
        out
    }
}

impl Draw for Diagram {
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn refusal(&self) -> Option<String> {
        let n = self.nodes.len();
        match self.moves.iter().find(|m| m.from >= n || m.to >= n) {
            Some(m) => Some(format!("a move from {} to {} among {n} states", m.from, m.to)),
            None => (n == 0).then(|| "it has no states".into()),
        }
    }

    fn margins(&self, _: (f64, f64), _: &Palette) -> Margins {
        Margins { left: 2.0, right: 2.0, top: 2.0, bottom: 2.0 }
    }

    fn aligned(&self) -> bool {
        false
    }

    fn draw(&self, c: &mut Canvas, _: (f64, f64), inner: Rect, _: &Palette) {
        let at = self.places(inner);
        let middle = inner.centre();
        // Names of states first: labels of moves find room beside them and beside each other.
        let mut taken: Vec<Rect> = (0..at.len()).map(|i| around(at[i], &self.nodes[i].name, TEXT_PT)).collect();
        for m in self.moves.iter().filter(|m| m.share > 0.0) {
            let width = 0.4 + 3.2 * m.share.clamp(0.0, 1.0);
            let (a, b) = (at[m.from], at[m.to]);
            let (ra, rb) = (self.radius(&self.nodes[m.from]), self.radius(&self.nodes[m.to]));
            let line = if m.from == m.to { own(a, ra, middle) } else { between(a, ra, b, rb) };
            stroke(c, &line, width);
            let free = |p: &Pt| {
                let own = around(*p, &m.label, SMALL_PT);
                inner.grow(1.0).holds(&own) && !taken.iter().any(|t| t.overlaps(&own))
            };
            match beside(&line, m.from == m.to, a, middle, &m.label).into_iter().find(free) {
                Some(place) => {
                    taken.push(around(place, &m.label, SMALL_PT));
                    let text = Text::centred(place.0, place.1, m.label.as_str(), SMALL_PT);
                    c.text(text.anchor(Anchor::Middle).halo());
                }
                None => c.dropped.push(m.label.clone()),
            }
        }
        for (i, n) in self.nodes.iter().enumerate() {
            let r = self.radius(n);
            c.disc(at[i], r + 0.8, PAPER, 1.0);
            c.disc(at[i], r, colour(i).0, 0.25);
            let up = if n.note.is_empty() { 0.0 } else { SMALL_PT * 0.55 };
            c.text(Text::centred(at[i].0, at[i].1 - up, n.name.as_str(), TEXT_PT).anchor(Anchor::Middle).bold());
            if !n.note.is_empty() {
                let y = at[i].1 + SMALL_PT * 0.65;
                c.text(Text::centred(at[i].0, y, n.note.as_str(), SMALL_PT).anchor(Anchor::Middle).colour(INK));
            }
        }
    }
}

/// A bow from the edge of one disc to that of another, to the left of its way, so that there and back do not meet.
fn between(a: Pt, ra: f64, b: Pt, rb: f64) -> Vec<Pt> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx.hypot(dy).max(1e-9);
    let (u, v) = (dx / length, dy / length);
    let bend = 0.2 * length + 6.0;
    let control = ((a.0 + b.0) / 2.0 + bend * v, (a.1 + b.1) / 2.0 - bend * u);
    let curve = bezier(a, control, b);
    let outside = |p: &Pt| (p.0 - a.0).hypot(p.1 - a.1) > ra + 1.5 && (p.0 - b.0).hypot(p.1 - b.1) > rb + 3.0;
    curve.into_iter().filter(outside).collect()
}

/// A loop on the side of the disc that looks away from the middle.
fn own(a: Pt, r: f64, middle: Pt) -> Vec<Pt> {
    let (dx, dy) = (a.0 - middle.0, a.1 - middle.1);
    let length = dx.hypot(dy);
    let (u, v) = if length > 1.0 { (dx / length, dy / length) } else { (0.0, -1.0) };
    let small = 7.0;
    let centre = (a.0 + (r + small * 0.55) * u, a.1 + (r + small * 0.55) * v);
    let begin = (-v).atan2(-u);
    let turn = |t: f64| begin + 0.75 + t * (std::f64::consts::TAU - 1.5);
    (0..=40)
        .map(|i| turn(f64::from(i) / 40.0))
        .map(|t| (centre.0 + small * t.cos(), centre.1 + small * t.sin()))
        .collect()
}

fn bezier(a: Pt, b: Pt, c: Pt) -> Vec<Pt> {
    let at = |t: f64| {
        let (p, q, r) = ((1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t);
        (p * a.0 + q * b.0 + r * c.0, p * a.1 + q * b.1 + r * c.1)
    };
    (0..=80).map(|i| at(f64::from(i) / 80.0)).collect()
}

fn stroke(c: &mut Canvas, line: &[Pt], width: f64) {
    let Some(&tip) = line.last() else { return };
    let head = 4.0 + width;
    let cut = line.iter().rposition(|p| (p.0 - tip.0).hypot(p.1 - tip.1) >= head).unwrap_or(0);
    let neck = line[cut];
    c.line(&line[..=cut], Pen::new(AXIS, width));
    let (dx, dy) = (tip.0 - neck.0, tip.1 - neck.1);
    let length = dx.hypot(dy).max(1e-9);
    let (u, v, half) = (dx / length, dy / length, 1.6 + width * 0.8);
    c.fill(&[tip, (neck.0 - half * v, neck.1 + half * u), (neck.0 + half * v, neck.1 - half * u)], AXIS, 1.0);
}

/// The room of a word around its middle.
fn around(at: Pt, word: &str, size: f64) -> Rect {
    let (w, h) = (font::width(word, size, true) / 2.0 + 1.0, size * 0.62);
    Rect::new(at.0 - w, at.1 - h, at.0 + w, at.1 + h)
}

/// Where the label of a move may stand: outside of its bow, the middle first, then towards either end.
fn beside(line: &[Pt], own: bool, a: Pt, middle: Pt, label: &str) -> Vec<Pt> {
    let Some(&mid) = line.get(line.len() / 2) else { return vec![a] };
    let from = if own {
        a
    } else {
        line.first().zip(line.last()).map_or(middle, |(p, q)| ((p.0 + q.0) / 2.0, (p.1 + q.1) / 2.0))
    };
    let (dx, dy) = (mid.0 - from.0, mid.1 - from.1);
    let length = dx.hypot(dy).max(1e-9);
    let (u, v) = (dx / length, dy / length);
    let away = 3.0 + font::width(label, SMALL_PT, false) / 2.0 * u.abs() + 0.6 * SMALL_PT * v.abs();
    let last = line.len() - 1;
    let along = |share: f64| line[((share * last as f64) as usize).min(last)];
    let shares = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8];
    let places = |sign: f64| shares.map(|s| (along(s).0 + sign * away * u, along(s).1 + sign * away * v));
    if own { vec![(mid.0 + away * u, mid.1 + away * v)] } else { [places(1.0), places(-1.0)].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Page, Panel, Plot, Width};

    fn node(name: &str, at: (f64, f64)) -> Node {
        Node { name: name.into(), at, weight: 0.5, note: "0.50".into() }
    }

    #[test]
    fn states_keep_their_sides_and_moves_their_numbers() {
        let nodes = vec![node("right", (3.0, 0.0)), node("left", (-3.0, 0.0))];
        let moves = vec![
            Move { from: 0, to: 1, share: 0.1, label: "0.10".into() },
            Move { from: 1, to: 0, share: 0.3, label: "0.30".into() },
            Move { from: 1, to: 1, share: 0.7, label: "0.70".into() },
        ];
        let diagram = Diagram { nodes, moves };
        let at = diagram.places(Rect::new(0.0, 0.0, 200.0, 150.0));
        assert!(at[0].0 > at[1].0, "{at:?}");
        let page =
            |d: Diagram| Page::new("d", "", "", Width::Column).row(2.2, vec![Panel::new("t", Plot::Diagram(d))]).draw();
        let f = page(diagram.clone()).unwrap();
        for word in ["left", "right", "0.10", "0.30", "0.70"] {
            assert!(f.texts.iter().any(|t| t.content == word), "{word}");
        }
        let wrong = Diagram { moves: vec![Move { to: 5, ..diagram.moves[0].clone() }], ..diagram };
        assert!(page(wrong).is_err() && page(Diagram::default()).is_err());
    }
}
