//! Knowing against feeling.

pub mod course;
pub mod directions;
