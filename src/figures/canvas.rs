//! A page in points. Marks go through plotters' SVG backend on a grid of 1/100 pt, so that its whole-pixel coordinates
//! do not show; text is written beside it, because plotters neither knows points nor the embedded font.

use super::font;
use super::geom::{Pt, Rect, dashes, turn};
use super::theme::{FONT_FAMILY, INK, Rgb};
use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::fmt::Write as _;

/// Grid units of the backend in one point.
const FINE: f64 = 100.0;

/// How a line is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dash {
    Solid,
    Dashed,
    Dotted,
}

/// A line's look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    pub colour: Rgb,
    pub width: f64,
    pub alpha: f64,
    pub dash: Dash,
}

impl Pen {
    pub fn new(colour: Rgb, width: f64) -> Pen {
        Pen { colour, width, alpha: 1.0, dash: Dash::Solid }
    }
    pub fn dash(mut self, dash: Dash) -> Pen {
        self.dash = dash;
        self
    }
    pub fn alpha(mut self, alpha: f64) -> Pen {
        self.alpha = alpha;
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text; `y` is its base line, `angle` turns it clockwise about (x, y).
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub x: f64,
    pub y: f64,
    pub content: String,
    pub size: f64,
    pub anchor: Anchor,
    pub bold: bool,
    pub angle: f64,
    pub colour: Rgb,
    /// A white edge, for text that stands on marks.
    pub halo: bool,
}

impl Text {
    pub fn new(x: f64, y: f64, content: impl Into<String>, size: f64) -> Text {
        let content = content.into();
        Text { x, y, content, size, anchor: Anchor::Start, bold: false, angle: 0.0, colour: INK, halo: false }
    }
    /// Text whose lower-case letters are centred on `y`.
    pub fn centred(x: f64, y: f64, content: impl Into<String>, size: f64) -> Text {
        Text::new(x, y + font::MIDDLE * size, content, size)
    }
    pub fn anchor(mut self, anchor: Anchor) -> Text {
        self.anchor = anchor;
        self
    }
    pub fn bold(mut self) -> Text {
        self.bold = true;
        self
    }
    pub fn angle(mut self, degrees: f64) -> Text {
        self.angle = degrees;
        self
    }
    pub fn colour(mut self, colour: Rgb) -> Text {
        self.colour = colour;
        self
    }
    pub fn halo(mut self) -> Text {
        self.halo = true;
        self
    }
    /// The box of the text before it is turned.
    pub fn rect(&self) -> Rect {
        let w = font::width(&self.content, self.size, self.bold);
        let x0 = match self.anchor {
            Anchor::Start => self.x,
            Anchor::Middle => self.x - w / 2.0,
            Anchor::End => self.x - w,
        };
        Rect::new(x0, self.y - font::ASCENT * self.size, x0 + w, self.y + font::DESCENT * self.size)
    }
    /// The corners of the box on the page.
    pub fn quad(&self) -> [Pt; 4] {
        self.rect().corners().map(|p| turn(p, (self.x, self.y), self.angle))
    }
}

enum Mark {
    Line(Vec<Pt>, Pen),
    Fill(Vec<Pt>, Rgb, f64),
    Disc(Pt, f64, Rgb, f64),
}

/// What is drawn, in drawing order; text lies on top.
pub(crate) struct Canvas {
    pub width: f64,
    pub height: f64,
    marks: Vec<Mark>,
    pub texts: Vec<Text>,
    /// Values that were left out because they are not finite.
    pub skipped: usize,
    /// Names of points that found no room.
    pub dropped: Vec<String>,
}

impl Canvas {
    pub fn new(width: f64, height: f64) -> Canvas {
        Canvas { width, height, marks: Vec::new(), texts: Vec::new(), skipped: 0, dropped: Vec::new() }
    }
    pub fn line(&mut self, points: &[Pt], pen: Pen) {
        if points.len() < 2 {
            return;
        }
        let pattern: &[f64] = match pen.dash {
            Dash::Solid => return self.marks.push(Mark::Line(points.to_vec(), pen)),
            Dash::Dashed => &[3.6, 2.0],
            Dash::Dotted => &[1.1, 1.6],
        };
        self.marks.extend(dashes(points, pattern).into_iter().map(|d| Mark::Line(d, pen)));
    }
    pub fn fill(&mut self, points: &[Pt], colour: Rgb, alpha: f64) {
        if points.len() > 2 {
            self.marks.push(Mark::Fill(points.to_vec(), colour, alpha));
        }
    }
    pub fn rect(&mut self, r: Rect, colour: Rgb, alpha: f64) {
        self.fill(&r.corners(), colour, alpha);
    }
    pub fn disc(&mut self, centre: Pt, radius: f64, colour: Rgb, alpha: f64) {
        self.marks.push(Mark::Disc(centre, radius, colour, alpha));
    }
    pub fn text(&mut self, text: Text) {
        if !text.content.trim().is_empty() {
            self.texts.push(text);
        }
    }

    /// The drawing as a stand-alone SVG. `name` prefixes every id.
    pub fn svg(&self, name: &str, title: &str, desc: &str) -> Result<String> {
        let (w, h) = (number(self.width), number(self.height));
        let (wi, hi) = (number(self.width / 72.0), number(self.height / 72.0));
        let mut out = String::new();
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wi}in\" height=\"{hi}in\" viewBox=\"0 0 {w} {h}\" \
             role=\"img\" aria-labelledby=\"{name}-title {name}-desc\">\n<title id=\"{name}-title\">{}</title>\n\
             <desc id=\"{name}-desc\">{}</desc>\n<rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n\
             <g transform=\"scale({})\" stroke-linejoin=\"round\">",
            escape(title),
            escape(desc),
            1.0 / FINE,
        );
        out.push_str(&self.marks()?);
        let _ = writeln!(out, "</g>\n<g font-family=\"{FONT_FAMILY}\">");
        for t in &self.texts {
            write_text(&mut out, t);
        }
        out.push_str("</g>\n</svg>\n");
        Ok(out)
    }

    /// The marks as plotters writes them, without its own `<svg>` element.
    fn marks(&self) -> Result<String> {
        let mut out = String::new();
        let size = ((self.width * FINE).round() as u32, (self.height * FINE).round() as u32);
        {
            let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
            draw(&root, &self.marks, (self.width, self.height), size).map_err(|e| {
                Error::refused(format!("the drawing library failed: {e}"), "report it with the table that was drawn")
            })?;
        }
        let body = out.find('\n').map_or("", |at| &out[at + 1..]);
        Ok(body.trim_end().trim_end_matches("</svg>").to_string())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(root: &Area, marks: &[Mark], (w, h): (f64, f64), size: (u32, u32)) -> Result<(), Box<dyn std::error::Error>> {
    type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;
    let area = root.apply_coord_spec(Plane::new(0.0..w, 0.0..h, (0..size.0 as i32, 0..size.1 as i32)));
    let style = |c: Rgb, alpha: f64, width: f64| ShapeStyle {
        color: RGBAColor(c.0, c.1, c.2, alpha),
        filled: true,
        stroke_width: (width * FINE).round() as u32,
    };
    for mark in marks {
        match mark {
            Mark::Line(points, pen) => {
                area.draw(&PathElement::new(points.clone(), style(pen.colour, pen.alpha, pen.width)))?;
            }
            Mark::Fill(points, c, alpha) => area.draw(&Polygon::new(points.clone(), style(*c, *alpha, 0.0)))?,
            Mark::Disc(p, r, c, alpha) => {
                area.draw(&Circle::new(*p, (r * FINE).round() as i32, style(*c, *alpha, 0.0)))?;
            }
        }
    }
    root.present()?;
    Ok(())
}

fn write_text(out: &mut String, t: &Text) {
    let (x, y) = (number(t.x), number(t.y));
    let Rgb(r, g, b) = t.colour;
    let _ = write!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"#{r:02x}{g:02x}{b:02x}\"", number(t.size));
    match t.anchor {
        Anchor::Start => {}
        Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
        Anchor::End => out.push_str(" text-anchor=\"end\""),
    }
    if t.bold {
        out.push_str(" font-weight=\"bold\"");
    }
    if t.angle != 0.0 {
        let _ = write!(out, " transform=\"rotate({} {x} {y})\"", number(t.angle));
    }
    if t.halo {
        out.push_str(" stroke=\"#ffffff\" stroke-width=\"1.8\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
    }
    let _ = writeln!(out, ">{}</text>", escape(&t.content));
}

/// At most three decimals, no trailing zeros, no negative zero.
fn number(v: f64) -> String {
    let v = (v * 1000.0).round() / 1000.0;
    format!("{}", if v == 0.0 { 0.0 } else { v })
}

/// Text as XML 1.0 allows it: markup escaped, forbidden control characters as spaces.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_gives_valid_xml_that_reads_back() {
        let mut c = Canvas::new(100.0, 50.0);
        c.text(Text::new(10.0, 20.0, "a<b & \"c\" >\u{1}'d'", 8.0));
        c.line(&[(0.0, 0.0), (100.0, 50.0)], Pen::new(INK, 1.0));
        let svg = c.svg("f", "t & t", "]]> <desc>").unwrap();
        let doc = resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
        let text = doc.descendants().find(|n| n.has_tag_name("text")).unwrap();
        assert_eq!(text.text(), Some("a<b & \"c\" > 'd'"));
        assert_eq!(doc.descendants().find(|n| n.has_tag_name("desc")).unwrap().text(), Some("]]> <desc>"));
    }

    #[test]
    fn marks_land_where_they_are_put_to_a_hundredth_of_a_point() {
        let mut c = Canvas::new(234.0, 100.0);
        c.line(&[(0.0, 0.0), (123.45, 67.89)], Pen::new(INK, 0.6));
        let svg = c.svg("f", "", "").unwrap();
        let doc = resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
        let line = doc.descendants().find(|n| n.has_tag_name("polyline")).unwrap();
        let numbers: Vec<f64> =
            line.attribute("points").unwrap().split([',', ' ']).filter_map(|v| v.parse().ok()).collect();
        assert!((numbers[2] - 12345.0).abs() <= 1.0 && (numbers[3] - 6789.0).abs() <= 1.0, "{numbers:?}");
        assert_eq!(line.attribute("stroke-width"), Some("60"));
    }

    #[test]
    fn a_turned_text_has_a_turned_box() {
        // 90 degrees anticlockwise: what was to the right of the anchor is above it.
        let t = Text::new(50.0, 50.0, "mmmm", 8.0).angle(-90.0);
        let w = t.rect().width();
        let top = t.quad().iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        assert!((top - (50.0 - w)).abs() < 1e-9);
    }
}
