//! A drawn figure, and its PNG and PDF, made from the SVG with nothing but the embedded font.

use super::canvas::Canvas;
use super::font;
use crate::error::{Error, Result};
use krilla::geom::Size;
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};
use std::sync::{Arc, OnceLock};

/// A figure as SVG, with what the reader of a log should know about it.
#[derive(Clone, Debug)]
pub struct Figure {
    /// A stand-alone SVG. Several can stand in one HTML page: every id starts with the figure's name.
    pub svg: String,
    pub width_in: f64,
    pub height_in: f64,
    /// Values that were left out because they are not finite.
    pub skipped: usize,
    /// Names of points and lines that found no room, in drawing order.
    pub dropped_labels: Vec<String>,
    /// Characters that the embedded font lacks; they show as empty boxes.
    pub missing_glyphs: String,
    /// Where every word stands.
    #[cfg(test)]
    pub(crate) texts: Vec<super::canvas::Text>,
    title: String,
    desc: String,
}

impl Figure {
    pub(crate) fn new(svg: String, canvas: Canvas, title: String, desc: String) -> Figure {
        let mut lacking: Vec<char> = canvas.texts.iter().flat_map(|t| font::missing(&t.content)).collect();
        lacking.sort_unstable();
        lacking.dedup();
        Figure {
            svg,
            width_in: canvas.width / 72.0,
            height_in: canvas.height / 72.0,
            skipped: canvas.skipped,
            dropped_labels: canvas.dropped,
            missing_glyphs: lacking.into_iter().collect(),
            #[cfg(test)]
            texts: canvas.texts,
            title,
            desc,
        }
    }

    /// The figure as PNG at `dpi` dots per inch (300 for print, 144 for a screen).
    ///
    /// # Errors
    /// Refuses a resolution outside 10 to 2400.
    pub fn to_png(&self, dpi: f64) -> Result<Vec<u8>> {
        if !(10.0..=2400.0).contains(&dpi) {
            return Err(Error::refused(
                format!("cannot draw at {dpi} dots per inch"),
                "use 10 to 2400; 300 is usual in print",
            ));
        }
        let tree = self.tree()?;
        let (w, h) = ((self.width_in * dpi).round() as u32, (self.height_in * dpi).round() as u32);
        let mut pixels = Pixmap::new(w.max(1), h.max(1)).ok_or_else(|| broken("no room for the pixels"))?;
        let scale = Transform::from_scale(w as f32 / tree.size().width(), h as f32 / tree.size().height());
        resvg::render(&tree, scale, &mut pixels.as_mut());
        pixels.encode_png().map_err(broken)
    }

    /// The figure as a one-page vector PDF with the font embedded. No clock: the same figure gives the same bytes.
    ///
    /// # Errors
    /// Only when the PDF library refuses the drawing.
    pub fn to_pdf(&self) -> Result<Vec<u8>> {
        let tree = self.tree()?;
        let (w, h) = ((72.0 * self.width_in) as f32, (72.0 * self.height_in) as f32);
        let settings = PageSettings::from_wh(w, h).ok_or_else(|| broken("no such page size"))?;
        let size = Size::from_wh(w, h).ok_or_else(|| broken("no such page size"))?;
        let mut document = krilla::Document::new();
        document.set_metadata(
            Metadata::new().title(self.title.clone()).description(self.desc.clone()).language("en".into()),
        );
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        surface.draw_svg(&tree, size, SvgSettings::default()).ok_or_else(|| broken("the drawing is not valid"))?;
        surface.finish();
        page.finish();
        document.finish().map_err(|e| broken(format!("{e:?}")))
    }

    /// The SVG with its text shaped by the embedded font.
    pub(crate) fn tree(&self) -> Result<Tree> {
        let options = Options { fontdb: fonts(), font_family: "Liberation Sans".into(), ..Options::default() };
        Tree::from_str(&self.svg, &options).map_err(broken)
    }
}

/// The embedded faces and no other: a figure looks the same on a machine without fonts.
fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    FONTS
        .get_or_init(|| {
            let mut db = fontdb::Database::new();
            db.load_font_data(font::REGULAR.to_vec());
            db.load_font_data(font::BOLD.to_vec());
            db.set_sans_serif_family("Liberation Sans");
            Arc::new(db)
        })
        .clone()
}

fn broken(why: impl std::fmt::Display) -> Error {
    Error::refused(
        format!("the figure could not be exported: {why}"),
        "report it with the SVG; the SVG itself is complete",
    )
}
