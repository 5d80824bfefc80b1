//! What came out, in sentences.

use crate::table::Table;

/// Sentences with the numbers of the tables.
pub(super) fn summary(tables: &[Table]) -> Vec<String> {
    let rows = |name: &str| tables.iter().find(|t| t.name == name).map_or(0, |t| t.rows.len());
    vec![format!("{} measured values, {} indices.", rows("measures"), rows("indices"))]
}
