//! Words beside points: placed so that none covers another, a point or a leader line; dropped where there is no room.

use super::geom::{Pt, Rect, cross, hits, off_segment};

/// A name that wants a place near its point.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub at: Pt,
    /// Radius of the point's own mark.
    pub radius: f64,
    /// Width and height of the words.
    pub size: (f64, f64),
    /// Higher is placed first.
    pub priority: i32,
}

/// Where a name went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spot {
    pub rect: Rect,
    /// From the point to the words, when they stand apart.
    pub leader: Option<(Pt, Pt)>,
}

/// Distances of the words from the mark; beyond the first two a leader line is drawn.
const RINGS: [f64; 8] = [1.6, 3.2, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0];
const AIR: f64 = 0.6;

/// Places names by priority, then by how crowded their point is (the lonely ones last: they have room anyway), then in
/// order. `marks` are discs to stay off, `segments` lines to stay off, `bounds` the box to stay in. `None`: no room.
pub(crate) fn place(wants: &[Want], marks: &[(Pt, f64)], segments: &[(Pt, Pt)], bounds: Rect) -> Vec<Option<Spot>> {
    let crowd: Vec<usize> = wants.iter().map(|w| neighbours(w.at, 25.0, marks)).collect();
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|&i| (-i64::from(wants[i].priority), std::cmp::Reverse(crowd[i]), i));
    let mut field = Field { marks, segments, bounds, taken: Vec::new(), leaders: Vec::new() };
    let mut out = vec![None; wants.len()];
    for i in order {
        if let Some(spot) = field.find(&wants[i]) {
            field.taken.push(spot.rect);
            field.leaders.extend(spot.leader);
            out[i] = Some(spot);
        }
    }
    out
}

/// The spot that covers least of `busy` and nothing that is `taken`; the first of equals.
pub(crate) fn quietest(spots: &[Rect], busy: &[Pt], taken: &[Rect]) -> Option<Rect> {
    let free = spots.iter().filter(|s| !taken.iter().any(|t| t.overlaps(s)));
    free.min_by_key(|s| busy.iter().filter(|p| s.grow(1.0).contains(**p)).count()).copied()
}

fn neighbours(at: Pt, radius: f64, marks: &[(Pt, f64)]) -> usize {
    marks.iter().filter(|(p, _)| (p.0 - at.0).hypot(p.1 - at.1) < radius).count()
}

struct Field<'a> {
    marks: &'a [(Pt, f64)],
    segments: &'a [(Pt, Pt)],
    bounds: Rect,
    taken: Vec<Rect>,
    leaders: Vec<(Pt, Pt)>,
}

impl Field<'_> {
    fn find(&self, want: &Want) -> Option<Spot> {
        for (k, &ring) in RINGS.iter().enumerate() {
            let free = candidates(want, ring).into_iter().map(|rect| Spot { rect, leader: leader(want, &rect, k) });
            let free = free.filter(|s| self.is_free(want, s));
            // Near the point take the first; farther out the emptiest side, so that leaders point out of the crowd.
            let best = if k < 2 {
                let mut free = free;
                free.next()
            } else {
                free.min_by_key(|s| neighbours(s.rect.centre(), 0.5 * want.size.0 + 6.0, self.marks))
            };
            if best.is_some() {
                return best;
            }
        }
        None
    }

    fn is_free(&self, want: &Want, s: &Spot) -> bool {
        let room = s.rect.grow(AIR);
        self.bounds.holds(&s.rect)
            && !self.taken.iter().any(|t| t.overlaps(&room))
            && !self.marks.iter().any(|(p, r)| room.distance(*p) < *r)
            && !self.segments.iter().chain(&self.leaders).any(|(a, b)| hits(*a, *b, &room))
            && s.leader.is_none_or(|l| self.leader_is_free(want, l))
    }

    fn leader_is_free(&self, want: &Want, l: (Pt, Pt)) -> bool {
        !self.taken.iter().any(|t| hits(l.0, l.1, &t.grow(AIR)))
            && !self.leaders.iter().chain(self.segments).any(|o| cross(l, *o))
            && !self.marks.iter().any(|(p, r)| *p != want.at && off_segment(*p, l.0, l.1) < *r)
    }
}

/// Boxes around the mark at one distance: right, left, above, below and between.
fn candidates(want: &Want, gap: f64) -> Vec<Rect> {
    let ((x, y), (w, h), r) = (want.at, want.size, want.radius + gap);
    // Direction of the words from the point, in the order in which a reader expects them.
    const WAYS: [(f64, f64); 16] = [
        (1.0, 0.0),
        (1.0, -0.7),
        (1.0, 0.7),
        (-1.0, 0.0),
        (-1.0, -0.7),
        (-1.0, 0.7),
        (0.0, -1.0),
        (0.0, 1.0),
        (0.5, -1.0),
        (0.5, 1.0),
        (-0.5, -1.0),
        (-0.5, 1.0),
        (1.0, -0.35),
        (1.0, 0.35),
        (-1.0, -0.35),
        (-1.0, 0.35),
    ];
    WAYS.iter()
        .map(|&(u, v)| {
            let length = f64::hypot(u, v);
            let (px, py) = (x + r * u / length, y + r * v / length);
            // The words touch the circle at the side that faces the point.
            let x0 = if u.abs() == 1.0 { px - if u < 0.0 { w } else { 0.0 } } else { px - w * (0.5 - 0.4 * u) };
            let y0 = if v.abs() == 1.0 { py - if v < 0.0 { h } else { 0.0 } } else { py - h * (0.5 - 0.5 * v) };
            Rect::new(x0, y0, x0 + w, y0 + h)
        })
        .collect()
}

fn leader(want: &Want, rect: &Rect, ring: usize) -> Option<(Pt, Pt)> {
    let end = rect.nearest(want.at);
    let length = (end.0 - want.at.0).hypot(end.1 - want.at.1);
    let t = (want.radius + 0.4) / length;
    let start = (want.at.0 + t * (end.0 - want.at.0), want.at.1 + t * (end.1 - want.at.1));
    (ring >= 2 && t < 1.0).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng;

    const PAGE: Rect = Rect { x0: 0.0, y0: 0.0, x1: 400.0, y1: 250.0 };

    fn random(seed: u64, n: usize) -> Vec<Want> {
        let mut r = stream(seed, "labels");
        (0..n)
            .map(|i| Want {
                at: (r.random_range(5.0..395.0), r.random_range(5.0..245.0)),
                radius: 2.2,
                size: (r.random_range(15.0..60.0), 7.0),
                priority: i32::from(i % 10 == 0),
            })
            .collect()
    }

    #[test]
    fn names_never_cover_names_points_lines_or_the_edge() {
        for seed in 0..40 {
            let wants = random(seed, 10 + 3 * seed as usize);
            let marks: Vec<_> = wants.iter().map(|w| (w.at, w.radius)).collect();
            let line = [((0.0, 0.0), (400.0, 250.0))];
            let spots = place(&wants, &marks, &line, PAGE);
            let placed: Vec<Spot> = spots.iter().flatten().copied().collect();
            for (i, a) in placed.iter().enumerate() {
                assert!(PAGE.holds(&a.rect));
                assert!(!hits(line[0].0, line[0].1, &a.rect));
                assert!(marks.iter().all(|(p, r)| a.rect.distance(*p) >= *r - 1e-9));
                for b in &placed[..i] {
                    assert!(!a.rect.overlaps(&b.rect), "seed {seed}");
                    assert!(b.leader.is_none_or(|l| !hits(l.0, l.1, &a.rect)), "seed {seed}");
                    assert!(a.leader.is_none_or(|l| !hits(l.0, l.1, &b.rect)), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn few_names_all_find_a_place_and_many_lose_the_least_important_first() {
        let few = random(1, 30);
        let marks: Vec<_> = few.iter().map(|w| (w.at, w.radius)).collect();
        assert!(place(&few, &marks, &[], PAGE).iter().all(Option::is_some));
        let mut wants = random(2, 400);
        wants[7].priority = 5;
        let marks: Vec<_> = wants.iter().map(|w| (w.at, w.radius)).collect();
        let spots = place(&wants, &marks, &[], PAGE);
        let kept = |p: bool| {
            let of: Vec<bool> =
                (0..400).filter(|i| (wants[*i].priority > 0) == p).map(|i| spots[i].is_some()).collect();
            of.iter().filter(|k| **k).count() as f64 / of.len() as f64
        };
        assert!(spots[7].is_some() && kept(true) > kept(false), "{} {}", kept(true), kept(false));
        assert!(spots.iter().any(Option::is_none)); // 400 names of 37 x 7 pt fill the page more than once
    }

    #[test]
    fn a_lonely_point_has_its_name_at_its_right_without_a_leader() {
        let want = Want { at: (100.0, 100.0), radius: 2.0, size: (30.0, 7.0), priority: 0 };
        let spot = place(&[want], &[((100.0, 100.0), 2.0)], &[], PAGE)[0].unwrap();
        assert_eq!(spot.leader, None);
        assert!((spot.rect.x0 - 103.6).abs() < 1e-9 && (spot.rect.centre().1 - 100.0).abs() < 1e-9); // 2 + 1.6 away
    }

    #[test]
    fn the_quietest_spot_is_the_emptiest_free_one() {
        let spots = [0.0, 20.0, 40.0].map(|x| Rect::new(x, 0.0, x + 10.0, 10.0));
        let busy = [(5.0, 5.0), (6.0, 5.0), (25.0, 5.0)];
        assert_eq!(quietest(&spots, &busy, &[]), Some(spots[2]));
        assert_eq!(quietest(&spots, &busy, &[spots[2]]), Some(spots[1]));
        assert_eq!(quietest(&spots, &busy, &spots), None);
    }
}
