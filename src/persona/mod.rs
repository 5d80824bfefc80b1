//! Personas as files: our own cards, the instruction files and statement sets of others, and what becomes of them as
//! prompts.
//!
//! A [`Card`] describes one character; [`completion`] and [`chat`] write it as the text that a model reads. What others
//! publish goes through [`import`] to lines of a prompt file. Everything here is a function of text alone.

mod card;
pub mod import;
mod render;
mod strip;

pub use card::{Answer, Card, Said, System};
pub use render::{Rendered, chat, completion, system};
pub use strip::{Stripped, strip};
