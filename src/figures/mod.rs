//! Rows to figures: pure functions from plain data to SVG, and PNG and PDF from the SVG. No statistics here.
//!
//! A [`Page`] holds rows of [`Panel`]s, a panel one [`Plot`]; [`Page::draw`] gives a [`Figure`]. Sizes are those of the
//! printed page (3.25 and 6.75 in wide, type of 7 to 9 pt), so a figure is never scaled in a paper. Words are placed by
//! their measured width: they do not cover each other, and what finds no room is reported, not squeezed.

pub mod font;
pub mod theme;

mod axis;
mod bars;
mod canvas;
mod counts;
mod curves;
mod diagram;
mod dots;
mod field;
mod figure;
#[cfg(test)]
mod gallery;
mod geom;
mod heat;
mod labels;
mod legend;
mod map;
mod markers;
mod multiples;
mod page;
mod reference;
mod scale;
mod series;

pub use axis::Axis;
pub use bars::{Bars, NullLine};
pub use counts::Counts;
pub use curves::{Curves, Names};
pub use diagram::{Diagram, Move, Node};
pub use dots::{Arm, Estimate, Forest, Role};
pub use field::{Field, Flow, Path, Spot};
pub use figure::Figure;
pub use heat::Heat;
pub use map::{Arrow, Dot, Scatter};
pub use markers::Marker;
pub use multiples::Multiples;
pub use page::{Page, Panel, Plot};
pub use reference::Reference;
pub use scale::{Ramp, Shades};
pub use series::{Series, Style};
pub use theme::{Palette, Width};
