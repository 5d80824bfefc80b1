//! What the models of a comparison are called in tables.

pub(in crate::experiment) use crate::analysis::knowing::BASE;

use crate::table::Cell;

/// A model of the comparison: the base, or a fine-tune.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::experiment) struct Labels {
    pub model: String,
    pub format: String,
    pub character: String,
    /// Empty where there is none.
    pub seed: String,
}

impl Labels {
    /// Names of the columns that [`Labels::cells`] fills.
    pub const COLUMNS: [&str; 4] = ["model", "format", "character", "seed"];

    /// The labels as cells, in the order of [`Labels::COLUMNS`].
    pub fn cells(&self) -> [Cell; 4] {
        [&self.model, &self.format, &self.character, &self.seed].map(|text| text.as_str().into())
    }
}
