//! One look for every figure: colours, type sizes, page widths. All lengths are points (1/72 inch).

use std::collections::{BTreeMap, BTreeSet};

/// A colour, 8 bits a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// The palette of Okabe and Ito (2008), safe for the common colour blindnesses. Its yellow is left out, being lost
/// on white paper, and its black is kept for means.
pub const COLOURS: [Rgb; 6] = [
    Rgb(0, 114, 178),   // blue
    Rgb(213, 94, 0),    // vermillion
    Rgb(0, 158, 115),   // bluish green
    Rgb(204, 121, 167), // reddish purple
    Rgb(230, 159, 0),   // orange
    Rgb(86, 180, 233),  // sky blue
];
/// The mean of the lines behind it.
pub const MEAN: Rgb = Rgb(0, 0, 0);

/// Text and axes.
pub const INK: Rgb = Rgb(38, 38, 42);
/// Axis lines and ticks.
pub const AXIS: Rgb = Rgb(90, 90, 96);
/// Nulls and controls.
pub const NULL: Rgb = Rgb(128, 128, 134);
/// Light rules and stripes.
pub const FAINT: Rgb = Rgb(226, 226, 230);
/// Paper.
pub const PAPER: Rgb = Rgb(255, 255, 255);
/// A value that is missing.
pub const MISSING: Rgb = Rgb(238, 238, 238);

/// Panel titles and letters.
pub const TITLE_PT: f64 = 9.0;
/// Axis labels, tick labels, legends.
pub const TEXT_PT: f64 = 8.0;
/// Only where dozens of words compete for room: names of points, values in cells.
pub const SMALL_PT: f64 = 7.0;
/// Distance between base lines, as a multiple of the type size.
pub const LEADING: f64 = 1.18;
/// Width of data lines.
pub const LINE: f64 = 1.3;
/// Width of lines that stand behind: single traits behind their mean.
pub const THIN: f64 = 0.7;
/// Opacity of interval bands.
pub const BAND: f64 = 0.22;

/// Fonts in the order a viewer should try them. PNG and PDF use the first, which is embedded.
pub const FONT_FAMILY: &str = "Liberation Sans, Arial, Helvetica, sans-serif";

/// How wide a figure is on paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One column, 3.25 in.
    Column,
    /// Two columns, 6.75 in.
    Page,
}

impl Width {
    /// The width in inches.
    pub fn inches(self) -> f64 {
        match self {
            Width::Column => 3.25,
            Width::Page => 6.75,
        }
    }
}

impl Rgb {
    /// `self` at 0, `other` at 1.
    pub fn mix(self, other: Rgb, t: f64) -> Rgb {
        let m = |a: u8, b: u8| (f64::from(a) + t * (f64::from(b) - f64::from(a))).round() as u8;
        Rgb(m(self.0, other.0), m(self.1, other.1), m(self.2, other.2))
    }

    /// A shade that can be read as type on white.
    pub fn for_text(self) -> Rgb {
        let mut c = self;
        while contrast(c, PAPER) < 4.5 {
            c = c.mix(Rgb(0, 0, 0), 0.08);
        }
        c
    }
}

/// The contrast ratio of two colours (WCAG 2.1), 1 to 21.
pub fn contrast(a: Rgb, b: Rgb) -> f64 {
    let channel = |v: u8| {
        let v = f64::from(v) / 255.0;
        if v <= 0.03928 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    };
    let light = |c: Rgb| 0.2126 * channel(c.0) + 0.7152 * channel(c.1) + 0.0722 * channel(c.2);
    let (x, y) = (light(a), light(b));
    (x.max(y) + 0.05) / (x.min(y) + 0.05)
}

/// Colours by name: the names sorted, then the palette in order. The same set of names always gives the same colours,
/// in whatever order and in whatever figure they appear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Palette(BTreeMap<String, usize>);

impl Palette {
    /// The palette of a set of names.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Palette {
        let names: BTreeSet<&str> = names.into_iter().collect();
        Palette(names.into_iter().enumerate().map(|(i, n)| (n.to_string(), i)).collect())
    }

    /// The palette of several panels. With more names than hues, names that never meet in a panel may share a hue, so
    /// that those that do meet differ.
    pub fn of_panels(panels: &[Vec<&str>]) -> Palette {
        let names: BTreeSet<&str> = panels.iter().flatten().copied().collect();
        if names.len() <= COLOURS.len() {
            return Palette::of(names);
        }
        let mut given: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            let met: BTreeSet<&str> = panels.iter().filter(|p| p.contains(&name)).flatten().copied().collect();
            let taken: Vec<usize> = met.iter().filter_map(|n| given.get(*n).copied()).collect();
            let sharers = |place: usize| taken.iter().filter(|t| *t % COLOURS.len() == place % COLOURS.len()).count();
            let free = (0..COLOURS.len() + taken.len()).filter(|i| !taken.contains(i));
            let place = free.min_by_key(|i| (sharers(*i), *i)).unwrap_or(0);
            given.insert(name.into(), place);
        }
        Palette(given)
    }

    /// The place of a name; give it as `color` to keep a colour in a figure that shows only some of the names.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }
}

/// The colour at a place, and how often the palette was used up before it (those lines are drawn dashed).
pub fn colour(index: usize) -> (Rgb, usize) {
    (COLOURS[index % COLOURS.len()], index / COLOURS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_colour_whatever_the_order() {
        let a = Palette::of(["warm", "brief", "warm", "formal"]);
        let b = Palette::of(["formal", "warm", "brief"]);
        assert_eq!(a, b);
        assert_eq!((a.index("brief"), a.index("warm"), a.index("x")), (Some(0), Some(2), None));
    }

    #[test]
    fn names_that_meet_in_a_panel_differ_even_when_the_hues_run_out() {
        let seven = vec!["b", "c", "d", "e", "f", "g", "h"];
        let p = Palette::of_panels(&[seven.clone(), vec!["a", "h"]]);
        let mut places: Vec<usize> = seven.iter().map(|n| p.index(n).unwrap()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 7);
        // `h` comes last in the first panel, without a hue of its own; beside `a` it must not take that one's.
        assert_ne!(p.index("a").unwrap() % COLOURS.len(), p.index("h").unwrap() % COLOURS.len());
    }

    #[test]
    fn text_shades_are_readable_and_black_stays_black() {
        for c in COLOURS {
            assert!(contrast(c.for_text(), PAPER) >= 4.5);
        }
        assert_eq!(Rgb(0, 0, 0).for_text(), Rgb(0, 0, 0));
        assert!((contrast(Rgb(0, 0, 0), PAPER) - 21.0).abs() < 1e-9);
    }
}
