//! Plane geometry in points (1/72 inch), y downwards: boxes, clipping, dashes.

/// A place on the page.
pub(crate) type Pt = (f64, f64);

/// An upright box; `y0` is the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub x0: f64,
    pub y0: f64,
    pub x1: f64,
    pub y1: f64,
}

impl Rect {
    pub fn new(x0: f64, y0: f64, x1: f64, y1: f64) -> Rect {
        Rect { x0, y0, x1, y1 }
    }
    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }
    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }
    pub fn centre(&self) -> Pt {
        ((self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0)
    }
    /// The box with `d` more on each side.
    pub fn grow(&self, d: f64) -> Rect {
        Rect::new(self.x0 - d, self.y0 - d, self.x1 + d, self.y1 + d)
    }
    pub fn overlaps(&self, o: &Rect) -> bool {
        self.x0 < o.x1 && o.x0 < self.x1 && self.y0 < o.y1 && o.y0 < self.y1
    }
    pub fn holds(&self, o: &Rect) -> bool {
        self.x0 <= o.x0 && o.x1 <= self.x1 && self.y0 <= o.y0 && o.y1 <= self.y1
    }
    pub fn contains(&self, p: Pt) -> bool {
        self.x0 <= p.0 && p.0 <= self.x1 && self.y0 <= p.1 && p.1 <= self.y1
    }
    /// The point of the box nearest to `p`.
    pub fn nearest(&self, p: Pt) -> Pt {
        (p.0.clamp(self.x0, self.x1), p.1.clamp(self.y0, self.y1))
    }
    pub fn distance(&self, p: Pt) -> f64 {
        let n = self.nearest(p);
        (n.0 - p.0).hypot(n.1 - p.1)
    }
    pub fn corners(&self) -> [Pt; 4] {
        [(self.x0, self.y0), (self.x1, self.y0), (self.x1, self.y1), (self.x0, self.y1)]
    }
}

/// `p` turned by `degrees` (clockwise on the page) about `about`.
pub(crate) fn turn(p: Pt, about: Pt, degrees: f64) -> Pt {
    let (s, c) = degrees.to_radians().sin_cos();
    let (x, y) = (p.0 - about.0, p.1 - about.1);
    (about.0 + c * x - s * y, about.1 + s * x + c * y)
}

#[cfg(test)]
/// Whether two convex quadrilaterals share area (separating axes).
pub(crate) fn quads_overlap(a: &[Pt; 4], b: &[Pt; 4]) -> bool {
    let apart = |p: &[Pt; 4], q: &[Pt; 4]| {
        (0..4).any(|i| {
            let (u, v) = (p[i], p[(i + 1) % 4]);
            let normal = (v.1 - u.1, u.0 - v.0);
            let span = |r: &[Pt; 4]| {
                let d = r.map(|c| c.0 * normal.0 + c.1 * normal.1);
                (d.iter().copied().fold(f64::INFINITY, f64::min), d.iter().copied().fold(f64::NEG_INFINITY, f64::max))
            };
            let ((a0, a1), (b0, b1)) = (span(p), span(q));
            a1 <= b0 + 1e-9 || b1 <= a0 + 1e-9
        })
    };
    !apart(a, b) && !apart(b, a)
}

/// The part of a segment inside a box (Liang and Barsky 1984).
pub(crate) fn clip_segment(a: Pt, b: Pt, r: &Rect) -> Option<(Pt, Pt)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut t0, mut t1) = (0.0f64, 1.0f64);
    for (p, q) in [(-dx, a.0 - r.x0), (dx, r.x1 - a.0), (-dy, a.1 - r.y0), (dy, r.y1 - a.1)] {
        if p == 0.0 {
            if q < 0.0 {
                return None;
            }
        } else if p < 0.0 {
            t0 = t0.max(q / p);
        } else {
            t1 = t1.min(q / p);
        }
    }
    (t0 <= t1).then_some(((a.0 + t0 * dx, a.1 + t0 * dy), (a.0 + t1 * dx, a.1 + t1 * dy)))
}

/// The pieces of a line that lie inside a box.
pub(crate) fn clip_line(points: &[Pt], r: &Rect) -> Vec<Vec<Pt>> {
    let mut out: Vec<Vec<Pt>> = Vec::new();
    for w in points.windows(2) {
        if let Some((a, b)) = clip_segment(w[0], w[1], r) {
            match out.last_mut() {
                Some(run) if run.last() == Some(&a) => run.push(b),
                _ => out.push(vec![a, b]),
            }
        }
    }
    out
}

/// A polygon cut to a box (Sutherland and Hodgman 1974).
pub(crate) fn clip_polygon(points: &[Pt], r: &Rect) -> Vec<Pt> {
    type Side = (fn(Pt, &Rect) -> f64, fn(Pt, Pt, f64) -> Pt);
    let mix: fn(Pt, Pt, f64) -> Pt = |a, b, t| (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
    let sides: [Side; 4] =
        [(|p, r| p.0 - r.x0, mix), (|p, r| r.x1 - p.0, mix), (|p, r| p.1 - r.y0, mix), (|p, r| r.y1 - p.1, mix)];
    let mut poly = points.to_vec();
    for (inside, mix) in sides {
        let before = std::mem::take(&mut poly);
        for i in 0..before.len() {
            let (a, b) = (before[i], before[(i + 1) % before.len()]);
            let (da, db) = (inside(a, r), inside(b, r));
            if da >= 0.0 {
                poly.push(a);
            }
            if (da >= 0.0) != (db >= 0.0) {
                poly.push(mix(a, b, da / (da - db)));
            }
        }
    }
    poly
}

/// Cuts a line into dashes; `pattern` is on, off, on, off ... in points.
pub(crate) fn dashes(points: &[Pt], pattern: &[f64]) -> Vec<Vec<Pt>> {
    let mut out = Vec::new();
    let (mut k, mut left, mut run) = (0, pattern[0], Vec::new());
    for w in points.windows(2) {
        let (mut a, b) = (w[0], w[1]);
        if run.is_empty() && k % 2 == 0 {
            run.push(a);
        }
        loop {
            let length = (b.0 - a.0).hypot(b.1 - a.1);
            if length <= left {
                left -= length;
                if k % 2 == 0 {
                    run.push(b);
                }
                break;
            }
            let t = left / length;
            a = (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
            if k % 2 == 0 {
                run.push(a);
                out.push(std::mem::take(&mut run));
            } else {
                run = vec![a];
            }
            k = (k + 1) % pattern.len();
            left = pattern[k];
        }
    }
    if run.len() > 1 {
        out.push(run);
    }
    out
}

/// Whether a segment touches a box.
pub(crate) fn hits(a: Pt, b: Pt, r: &Rect) -> bool {
    clip_segment(a, b, r).is_some()
}

/// Whether two segments cross.
pub(crate) fn cross(a: (Pt, Pt), b: (Pt, Pt)) -> bool {
    let side = |p: Pt, q: Pt, r: Pt| (q.0 - p.0) * (r.1 - p.1) - (q.1 - p.1) * (r.0 - p.0);
    side(a.0, a.1, b.0) * side(a.0, a.1, b.1) < 0.0 && side(b.0, b.1, a.0) * side(b.0, b.1, a.1) < 0.0
}

/// The distance from a point to a segment.
pub(crate) fn off_segment(p: Pt, a: Pt, b: Pt) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let l2 = dx * dx + dy * dy;
    let t = if l2 > 0.0 { (((p.0 - a.0) * dx + (p.1 - a.1) * dy) / l2).clamp(0.0, 1.0) } else { 0.0 };
    (p.0 - a.0 - t * dx).hypot(p.1 - a.1 - t * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Rect = Rect { x0: 0.0, y0: 0.0, x1: 10.0, y1: 10.0 };

    #[test]
    fn a_line_that_leaves_and_returns_is_cut_in_two() {
        // Out through the right side half way along the first segment, back in half way along the second.
        let pieces = clip_line(&[(5.0, 2.0), (15.0, 2.0), (5.0, 4.0)], &BOX);
        assert_eq!(pieces, vec![vec![(5.0, 2.0), (10.0, 2.0)], vec![(10.0, 3.0), (5.0, 4.0)]]);
        assert!(clip_line(&[(-5.0, -1.0), (20.0, -1.0)], &BOX).is_empty());
    }

    #[test]
    fn a_polygon_larger_than_the_box_becomes_the_box() {
        let mut p = clip_polygon(&[(-5.0, -5.0), (20.0, -5.0), (20.0, 20.0), (-5.0, 20.0)], &BOX);
        p.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(p, vec![(0.0, 0.0), (0.0, 10.0), (10.0, 0.0), (10.0, 10.0)]);
    }

    #[test]
    fn dashes_go_round_corners_and_keep_their_length() {
        // 3 on, 1 off along an L of length 4 + 4: on 0..3, off 3..4, on 4..7, off 7..8.
        let d = dashes(&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)], &[3.0, 1.0]);
        assert_eq!(d[0], vec![(0.0, 0.0), (3.0, 0.0)]);
        let lengths: Vec<f64> =
            d.iter().map(|r| r.windows(2).map(|w| (w[1].0 - w[0].0).hypot(w[1].1 - w[0].1)).sum()).collect();
        assert_eq!(lengths.len(), 2);
        assert!((lengths[1] - 3.0).abs() < 1e-12, "{lengths:?}");
    }

    #[test]
    fn turned_boxes_overlap_only_where_they_do() {
        let a = BOX.corners();
        let far = BOX.corners().map(|p| turn((p.0 + 11.0, p.1), (16.0, 5.0), 45.0));
        let near = BOX.corners().map(|p| turn((p.0 + 8.0, p.1), (13.0, 5.0), 45.0));
        // The turned square's half diagonal is 7.07: its left corner is at 16 - 7.07 = 8.93 < 10, so it does overlap.
        assert!(quads_overlap(&a, &near) && quads_overlap(&a, &far));
        let gone = BOX.corners().map(|p| turn((p.0 + 13.0, p.1), (18.0, 5.0), 45.0));
        assert!(!quads_overlap(&a, &gone)); // 18 - 7.07 = 10.93 > 10
    }
}
