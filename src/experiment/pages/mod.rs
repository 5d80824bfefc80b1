//! Figures of analyses, drawn from their tables: by a probe that made the numbers, or by the command that read them.

pub mod attractors;
pub mod bias;
pub mod drift;
pub mod knowing;
pub mod map;
pub mod retention;

use crate::error::Result;
use crate::table::Table;

/// The table of a name.
pub(super) fn table<'a>(tables: &'a [Table], name: &str) -> Result<&'a Table> {
    tables.iter().find(|t| t.name == name).ok_or_else(|| {
        crate::error::Error::refused(
            format!("no table `{name}` to draw"),
            "this is a defect of personascope; please report it",
        )
    })
}
