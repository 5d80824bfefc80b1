//! Forest plots: one row per category, a dot with its interval per arm.

use super::axis::{Axis, Frame, Margins};
use super::canvas::{Anchor, Canvas, Pen, Text};
use super::font;
use super::geom::{Rect, clip_segment};
use super::legend::{self, Key};
use super::markers::{Marker, mark};
use super::page::Draw;
use super::reference::{Reference, draw_reference, name_reference};
use super::theme::{FAINT, LEADING, NULL, Palette, Rgb, TEXT_PT, colour};

/// A value with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    /// Low and high end.
    pub interval: Option<(f64, f64)>,
}

/// What an arm stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A finding: filled, in colour.
    #[default]
    Finding,
    /// Something to beat: hollow, in colour.
    Baseline,
    /// A null or control: hollow, grey.
    Null,
}

/// One thing measured in every category: probe, null, wording baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    pub name: String,
    pub role: Role,
    /// One per category; `None` where there is no value.
    pub values: Vec<Option<Estimate>>,
    /// A place in [`super::theme::COLOURS`]; by name order when absent.
    pub color: Option<usize>,
}

/// Rows of dots with intervals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forest {
    pub x: Axis,
    /// From top to bottom.
    pub categories: Vec<String>,
    pub arms: Vec<Arm>,
    /// Vertical lines at values of x.
    pub lines: Vec<Reference>,
}

impl Arm {
    /// An arm of findings.
    pub fn new(name: impl Into<String>, values: Vec<Option<Estimate>>) -> Arm {
        Arm { name: name.into(), values, ..Arm::default() }
    }
    /// In another role.
    pub fn role(mut self, role: Role) -> Arm {
        self.role = role;
        self
    }

    fn colour(&self, palette: &Palette) -> Rgb {
        match self.role {
            Role::Null => NULL,
            _ => colour(self.color.or(palette.index(&self.name)).unwrap_or(0)).0,
        }
    }

    fn finite(&self) -> impl Iterator<Item = (usize, &Estimate)> {
        let values = self.values.iter().enumerate();
        values.filter_map(|(i, v)| v.as_ref().filter(|e| e.value.is_finite()).map(|e| (i, e)))
    }
}

impl Forest {
    fn marker(&self, arm: usize) -> (Marker, bool) {
        (Marker::ARMS[arm % Marker::ARMS.len()], self.arms[arm].role != Role::Finding)
    }

    fn keys(&self, palette: &Palette) -> Vec<Key> {
        let key = |(i, a): (usize, &Arm)| {
            let c = a.colour(palette);
            Key { marker: Some(self.marker(i)), pen: Some(Pen::new(c, 1.0)), ..Key::new(&a.name, c) }
        };
        if self.arms.len() < 2 { Vec::new() } else { self.arms.iter().enumerate().map(key).collect() }
    }

    fn names_lines(&self, w: f64) -> Vec<Vec<String>> {
        self.categories.iter().map(|n| font::wrap(n, TEXT_PT, false, 0.42 * w)).collect()
    }

    fn names_width(&self, w: f64) -> f64 {
        let lines = self.names_lines(w);
        lines.iter().flatten().map(|l| font::width(l, TEXT_PT, false)).fold(0.0, f64::max) + 4.0
    }

    fn frame(&self, size: (f64, f64)) -> Frame {
        let values = self.arms.iter().flat_map(Arm::finite).flat_map(|(_, e)| {
            let interval = e.interval.unwrap_or((e.value, e.value));
            [e.value, interval.0, interval.1]
        });
        let xs = self.x.span(values.chain(self.lines.iter().map(|l| l.at)));
        let y = Axis { ticks: Some(Vec::new()), ..Axis::default() };
        Frame::fit(&self.x, &y, xs, (0.0, 1.0), (size.0 - self.names_width(size.0), size.1))
    }
}

impl Draw for Forest {
    fn names(&self) -> Vec<&str> {
        self.arms.iter().filter(|a| a.role != Role::Null && a.color.is_none()).map(|a| a.name.as_str()).collect()
    }

    fn refusal(&self) -> Option<String> {
        if let Some(a) = self.arms.iter().find(|a| a.values.len() != self.categories.len()) {
            let (n, m) = (a.values.len(), self.categories.len());
            return Some(format!("arm `{}` has {n} values for {m} categories", a.name));
        }
        let empty = self.arms.iter().all(|a| a.finite().next().is_none());
        empty.then(|| format!("none of its values in {} arms is finite", self.arms.len()))
    }

    fn margins(&self, size: (f64, f64), palette: &Palette) -> Margins {
        let mut m = self.frame(size).margins;
        m.left = m.left.max(3.0) + self.names_width(size.0);
        // Names of vertical lines stand above the plot.
        m.top += legend::height(&self.keys(palette), size.0);
        if self.lines.iter().any(|l| !l.label.is_empty()) {
            m.top += TEXT_PT * LEADING;
        }
        m
    }

    fn aligned(&self) -> bool {
        false
    }

    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, palette: &Palette) {
        let n = self.categories.len() as f64;
        let row = inner.height() / n;
        for i in (1..self.categories.len()).step_by(2) {
            let y = inner.y0 + row * i as f64;
            c.rect(Rect { y0: y, y1: y + row, ..inner }, FAINT, 0.45);
        }
        let plane = self.frame(size).draw(c, inner);
        for (i, lines) in self.names_lines(size.0).iter().enumerate() {
            let middle = inner.y0 + row * (i as f64 + 0.5);
            for (k, line) in lines.iter().enumerate() {
                let y = middle + (k as f64 - (lines.len() - 1) as f64 / 2.0) * TEXT_PT * 1.05;
                c.text(Text::centred(inner.x0 - 5.0, y, line.as_str(), TEXT_PT).anchor(Anchor::End));
            }
        }
        let mut lines_room = 0.0;
        let mut taken = Vec::new();
        for l in self.lines.iter().map(|l| Reference { vertical: true, ..l.clone() }) {
            draw_reference(c, &plane, &l);
            if !l.label.is_empty() {
                lines_room = TEXT_PT * LEADING;
                name_above(c, &plane, &l, &mut taken);
            }
        }
        let left = inner.x0 - self.margins(size, palette).left;
        legend::draw(c, &self.keys(palette), left, inner.y0 - lines_room, size.0);
        let m = self.arms.len() as f64;
        let step = (0.78 * row / m).min(7.0);
        for (k, arm) in self.arms.iter().enumerate() {
            let finite = arm.finite().count();
            c.skipped += arm.values.iter().flatten().count() - finite;
            let (marker, hollow) = self.marker(k);
            let fill = arm.colour(palette);
            for (i, e) in arm.finite() {
                let y = inner.y0 + row * (i as f64 + 0.5) + (k as f64 - (m - 1.0) / 2.0) * step;
                if let Some((lo, hi)) = e.interval.filter(|b| b.0.is_finite() && b.1.is_finite())
                    && let Some((a, b)) = clip_segment((plane.px(lo), y), (plane.px(hi), y), &inner)
                {
                    c.line(&[a, b], Pen::new(fill, 1.1));
                }
                if inner.grow(0.01).contains((plane.px(e.value), y)) {
                    mark(c, (plane.px(e.value), y), 2.3f64.min(0.42 * step.max(4.0)), marker, fill, hollow);
                }
            }
        }
    }
}

/// The name of a vertical line, above its upper end.
fn name_above(c: &mut Canvas, plane: &super::axis::Map, l: &Reference, taken: &mut Vec<Rect>) {
    let half = font::width(&l.label, TEXT_PT, false) / 2.0;
    let x = plane.px(l.at).min(plane.rect.x1 - half).max(plane.rect.x0 + half);
    let text =
        Text::new(x, plane.rect.y0 - 2.5, l.label.as_str(), TEXT_PT).anchor(Anchor::Middle).colour(super::theme::AXIS);
    let r = text.rect();
    if taken.iter().any(|t| t.overlaps(&r)) {
        return name_reference(c, plane, l, &[], taken);
    }
    taken.push(r);
    c.text(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forest(values: Vec<Option<Estimate>>) -> Forest {
        let categories = vec!["formal".into(), "brief".into()];
        Forest { x: Axis::new("AUROC"), categories, arms: vec![Arm::new("probe", values)], lines: vec![] }
    }

    #[test]
    fn arms_that_do_not_fit_the_categories_and_empty_ones_are_refused() {
        let e = Estimate { value: 0.9, interval: None };
        assert!(forest(vec![Some(e)]).refusal().unwrap().contains("1 values for 2 categories"));
        assert!(forest(vec![None, Some(Estimate { value: f64::NAN, interval: None })]).refusal().is_some());
        assert!(forest(vec![None, Some(e)]).refusal().is_none());
    }
}
