//! A figure: panels in rows, letters, one palette.

use super::axis::Margins;
use super::bars::Bars;
use super::canvas::{Canvas, Text};
use super::curves::Curves;
use super::diagram::Diagram;
use super::dots::Forest;
use super::field::Field;
use super::figure::Figure;
use super::font;
use super::geom::Rect;
use super::heat::Heat;
use super::map::Scatter;
use super::multiples::Multiples;
use super::theme::{LEADING, Palette, TITLE_PT, Width};
use crate::error::{Error, Result};

/// What a kind of plot can do for the page.
pub(crate) trait Draw {
    /// Names that want a colour.
    fn names(&self) -> Vec<&str>;
    /// Why it cannot be drawn.
    fn refusal(&self) -> Option<String>;
    /// Room for words around the plot, when it has `size` with them.
    fn margins(&self, size: (f64, f64), palette: &Palette) -> Margins;
    /// Whether its axes should stand at the height of its neighbours'.
    fn aligned(&self) -> bool {
        true
    }
    /// Draws with the axes at the edges of `inner`. `size` is the one that the margins were asked for.
    fn draw(&self, c: &mut Canvas, size: (f64, f64), inner: Rect, palette: &Palette);
}

/// One of the kinds of plots.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    Curves(Curves),
    Multiples(Multiples),
    Map(Scatter),
    Forest(Forest),
    Heat(Heat),
    Bars(Bars),
    Field(Field),
    Diagram(Diagram),
}

/// A plot with a title and its share of the row's width.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// May be empty.
    pub title: String,
    pub plot: Plot,
    /// Relative to the other panels of the row.
    pub share: f64,
}

impl Panel {
    /// A panel with a share of 1.
    pub fn new(title: impl Into<String>, plot: Plot) -> Panel {
        Panel { title: title.into(), plot, share: 1.0 }
    }
    /// With another share of the row.
    pub fn share(mut self, share: f64) -> Panel {
        self.share = share;
        self
    }
}

/// A figure to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The stem of its file and the prefix of every id in it.
    pub name: String,
    /// For readers who cannot see it, and for the PDF's title.
    pub title: String,
    /// The caption, in full.
    pub desc: String,
    pub width: Width,
    /// Height in inches and panels.
    pub rows: Vec<(f64, Vec<Panel>)>,
}

const BETWEEN: f64 = 12.0;
const EDGE: f64 = 3.0;
/// Least width and height of a plot without its words.
const LEAST: f64 = 24.0;

impl Page {
    /// An empty figure.
    pub fn new(name: impl Into<String>, title: impl Into<String>, desc: impl Into<String>, width: Width) -> Page {
        Page { name: name.into(), title: title.into(), desc: desc.into(), width, rows: Vec::new() }
    }
    /// With one more row of panels.
    pub fn row(mut self, height_in: f64, panels: Vec<Panel>) -> Page {
        self.rows.push((height_in, panels));
        self
    }

    /// Draws the figure. The same page gives the same bytes.
    ///
    /// # Errors
    /// Refuses a figure or a panel without a finite value, data whose lengths disagree, and panels too small for
    /// their words.
    pub fn draw(&self) -> Result<Figure> {
        self.check()?;
        let panels = || self.rows.iter().flat_map(|r| &r.1);
        let palette = Palette::of_panels(&panels().map(|p| p.plot.kind().names()).collect::<Vec<_>>());
        let height: f64 = self.rows.iter().map(|r| 72.0 * r.0).sum::<f64>() + BETWEEN * (self.rows.len() - 1) as f64;
        let mut c = Canvas::new(72.0 * self.width.inches(), height);
        let lettered = panels().count() > 1;
        let (mut y, mut letter) = (0.0, b'a');
        for (h, row) in &self.rows {
            self.draw_row(&mut c, row, y, 72.0 * h, &palette, lettered.then_some(&mut letter))?;
            y += 72.0 * h + BETWEEN;
        }
        let svg = c.svg(&self.id(), &self.title, &self.desc)?;
        Ok(Figure::new(svg, c, self.title.clone(), self.desc.clone()))
    }

    fn draw_row(
        &self,
        c: &mut Canvas,
        row: &[Panel],
        y: f64,
        h: f64,
        palette: &Palette,
        mut letter: Option<&mut u8>,
    ) -> Result<()> {
        let shares: f64 = row.iter().map(|p| p.share).sum();
        let room = c.width - 2.0 * EDGE - BETWEEN * (row.len() - 1) as f64;
        let widths: Vec<f64> = row.iter().map(|p| room * p.share / shares).collect();
        let titles: Vec<Vec<String>> = row.iter().zip(&widths).map(|(p, w)| title_lines(p, *w)).collect();
        let most = titles.iter().map(Vec::len).max().unwrap_or(0).max(usize::from(letter.is_some()));
        let head = most as f64 * TITLE_PT * LEADING + if most > 0 { 4.0 } else { 0.0 };
        let mut sizes: Vec<(f64, f64)> = widths.iter().map(|w| (*w, h - head)).collect();
        let fit = |sizes: &[(f64, f64)]| -> Vec<Margins> {
            row.iter().zip(sizes).map(|(p, s)| p.plot.kind().margins(*s, palette)).collect()
        };
        let own = fit(&sizes);
        let in_line = || row.iter().zip(&own).filter(|(p, _)| p.plot.kind().aligned()).map(|(_, m)| m);
        let top = in_line().map(|m| m.top).fold(0.0, f64::max);
        let bottom = in_line().map(|m| m.bottom).fold(0.0, f64::max);
        // A panel that gives way to its neighbours' words is lower: its labels and ticks are fitted to that height.
        for ((size, m), _) in sizes.iter_mut().zip(&own).zip(row).filter(|(_, p)| p.plot.kind().aligned()) {
            size.1 -= (top - m.top) + (bottom - m.bottom);
        }
        let margins = fit(&sizes);
        let mut x = EDGE;
        for (((panel, size), m), lines) in row.iter().zip(&sizes).zip(&margins).zip(&titles) {
            let w = size.0;
            let (top, bottom) = if panel.plot.kind().aligned() { (top, bottom) } else { (m.top, m.bottom) };
            let inner = Rect::new(x + m.left, y + head + top, x + w - m.right, y + h - bottom);
            if inner.width() < LEAST || inner.height() < LEAST {
                let (iw, ih) = (inner.width().max(0.0), inner.height().max(0.0));
                return Err(Error::refused(
                    format!(
                        "figure `{}`, panel `{}`: its words leave {iw:.0} by {ih:.0} pt for data",
                        self.name, panel.title
                    ),
                    "give the row more height, the panel a larger share, or shorten its labels",
                ));
            }
            let mut indent = 0.0;
            if let Some(l) = letter.as_deref_mut() {
                c.text(Text::new(x, y + TITLE_PT, (*l as char).to_string(), TITLE_PT).bold());
                *l += 1;
                indent = LETTER;
            }
            for (i, line) in lines.iter().enumerate() {
                let base = y + TITLE_PT + i as f64 * TITLE_PT * LEADING;
                c.text(Text::new(x + indent, base, line.as_str(), TITLE_PT));
            }
            panel.plot.kind().draw(c, *size, inner, palette);
            x += w + BETWEEN;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: String, hint: &str| Err(Error::refused(format!("figure `{}`: {what}", self.name), hint));
        if self.rows.is_empty() || self.rows.iter().any(|r| r.1.is_empty()) {
            return refuse("it has no panels".into(), "give every row at least one panel");
        }
        if self.rows.iter().map(|r| r.1.len()).sum::<usize>() > 26 {
            return refuse("it has more panels than there are letters".into(), "split it in two");
        }
        for (h, row) in &self.rows {
            if !(0.3..=30.0).contains(h) || row.iter().any(|p| !(p.share.is_finite() && p.share > 0.0)) {
                return refuse(
                    format!("a row of {h} in with these shares cannot be drawn"),
                    "use 0.3 to 30 in and positive shares",
                );
            }
        }
        for p in self.rows.iter().flat_map(|r| &r.1) {
            if let Some(why) = p.plot.kind().refusal() {
                return refuse(
                    format!("panel `{}` cannot be drawn: {why}", p.title),
                    "look at the table it is drawn from: empty cells and their reasons are there",
                );
            }
        }
        Ok(())
    }

    /// The name as an XML id.
    fn id(&self) -> String {
        let safe: String = self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        if safe.starts_with(|c: char| c.is_ascii_alphabetic()) { safe } else { format!("fig-{safe}") }
    }
}

const LETTER: f64 = 11.0;

fn title_lines(p: &Panel, w: f64) -> Vec<String> {
    font::wrap(&p.title, TITLE_PT, false, w - LETTER)
}

impl Plot {
    fn kind(&self) -> &dyn Draw {
        match self {
            Plot::Curves(p) => p,
            Plot::Multiples(p) => p,
            Plot::Map(p) => p,
            Plot::Forest(p) => p,
            Plot::Heat(p) => p,
            Plot::Bars(p) => p,
            Plot::Field(p) => p,
            Plot::Diagram(p) => p,
        }
    }
}
