//! The row table of a pass: which example and position each row is, and what applies to it.
//!
//! A pass runs over *packed* rows: the tokens of all sequences one after another. Prefill, one decoding step and a
//! single prompt are the same thing, and no pad token exists that could leak.

use std::ops::Range;
use std::sync::Arc;

/// The rows of one example in a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Index of the example in its batch: the same in every pass over it, and the key of its cache.
    pub index: usize,
    /// Its rows in this pass.
    pub rows: Range<usize>,
    /// Absolute position of its first row.
    pub first_pos: usize,
    /// Positions below this are the prompt; those from it on are the reply.
    pub prompt_len: usize,
    /// The adapter that its rows go through; `None` is the base model.
    pub adapter: Option<usize>,
    /// Indices into the edits of the pass that apply to it.
    pub edits: Vec<usize>,
}

impl Example {
    /// Absolute position of a row of this example.
    pub fn pos(&self, row: usize) -> usize {
        self.first_pos + row - self.rows.start
    }
}

/// All rows of a pass.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    tokens: Vec<u32>,
    examples: Vec<Example>,
    ranges: Arc<Vec<Range<usize>>>,
    positions: Arc<Vec<u32>>,
}

impl Rows {
    /// Joins examples, given as `(example without rows, tokens)`, in order.
    pub fn pack(parts: impl IntoIterator<Item = (Example, Vec<u32>)>) -> Rows {
        let mut rows = Rows::default();
        let (mut ranges, mut positions) = (Vec::new(), Vec::new());
        for (mut example, tokens) in parts {
            let from = rows.tokens.len();
            example.rows = from..from + tokens.len();
            positions.extend((0..tokens.len()).map(|i| (example.first_pos + i) as u32));
            rows.tokens.extend(tokens);
            ranges.push(example.rows.clone());
            rows.examples.push(example);
        }
        rows.ranges = Arc::new(ranges);
        rows.positions = Arc::new(positions);
        rows
    }

    /// The table of some rows: one range of these rows for every example, within the example.
    pub(super) fn narrowed(&self, ranges: &[Range<usize>]) -> Rows {
        let parts = self.examples.iter().zip(ranges).map(|(example, range)| {
            let first_pos = example.pos(range.start);
            (Example { first_pos, ..example.clone() }, self.tokens[range.clone()].to_vec())
        });
        Rows::pack(parts)
    }

    /// Token ids, one a row.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The examples, in row order.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Row ranges of the examples.
    pub fn ranges(&self) -> &Arc<Vec<Range<usize>>> {
        &self.ranges
    }

    /// Absolute position of every row.
    pub fn positions(&self) -> &Arc<Vec<u32>> {
        &self.positions
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
