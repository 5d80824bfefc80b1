//! Figures of analyses, drawn from their tables: by a probe that made the numbers, or by the command that read them.

pub mod drift;
pub mod map;
