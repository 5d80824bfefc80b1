//! The keys of captured rows: where each came from, as a line of `rows.csv`.

use crate::capture::{Kept, Names};
use crate::error::{Error, Result};
use crate::table::quoted;
use crate::unit::Item;
use std::borrow::Cow;
use std::ops::Range;

/// Columns that every table of rows has, in order.
const OWN: [&str; 8] = ["row", "id", "pos", "token_id", "role", "turn", "span", "n_tokens"];

/// What is known of a prompt besides its tokens.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub kept: Vec<Kept>,
    /// The name of its adapter; empty for the model by itself.
    pub adapter: String,
    /// A cell for each of the further columns.
    pub cells: Vec<String>,
}

/// The keys of all rows of a plan.
#[derive(Debug, Default)]
pub struct RowKeys {
    names: Vec<String>,
    /// One for each item of the plan.
    known: Vec<Known>,
    /// The first row of each item, and the number of all rows behind the last.
    first: Vec<usize>,
    has_speakers: bool,
    has_adapters: bool,
    /// Further columns: those of the prompts.
    further: Vec<String>,
}

impl RowKeys {
    /// Of these items, with these further columns; `has_adapters` adds their column.
    pub fn new(known: Vec<Known>, names: &Names, further: Vec<String>, has_adapters: bool) -> RowKeys {
        let mut first = vec![0];
        known.iter().for_each(|k| first.push(first[first.len() - 1] + k.kept.len()));
        let has_speakers = known.iter().flat_map(|k| &k.kept).any(|k| k.speaker.is_some());
        RowKeys { names: names.list(), known, first, has_speakers, has_adapters, further }
    }

    /// Rows of all items.
    pub fn rows(&self) -> usize {
        self.first[self.first.len() - 1]
    }

    /// The rows of some items.
    pub fn rows_of(&self, items: &Range<usize>) -> Range<usize> {
        self.first[items.start]..self.first[items.end]
    }

    /// All columns, in order.
    pub fn columns(&self) -> Vec<String> {
        let speaker = self.has_speakers.then_some("speaker");
        let adapter = self.has_adapters.then_some("adapter");
        let own = OWN.into_iter().chain(speaker).chain(adapter).map(str::to_string);
        own.chain(self.further.iter().cloned()).collect()
    }

    /// The first line of the table.
    pub fn header(&self) -> String {
        self.columns().iter().map(|c| quoted(c)).collect::<Vec<_>>().join(",") + "\n"
    }

    /// The cell of a row in one of the columns but `row` and `token_id`; empty in one that is not there.
    pub fn cell<'a>(&'a self, items: &'a [Item], row: usize, column: &str) -> Cow<'a, str> {
        let item = self.first.partition_point(|f| *f <= row) - 1;
        let (known, kept) = (&self.known[item], &self.known[item].kept[row - self.first[item]]);
        let name = |n: u16| Cow::Borrowed(self.names[n as usize].as_str());
        let number = |n: Option<usize>| Cow::Owned(n.map(|n| n.to_string()).unwrap_or_default());
        match column {
            "id" => Cow::Borrowed(&items[item].id),
            "pos" => number((!kept.is_mean()).then(|| kept.range().start)),
            "token_id" => number((!kept.is_mean()).then(|| items[item].tokens[kept.range().start] as usize)),
            "role" => name(kept.role),
            "turn" => number(kept.turn()),
            "span" => kept.span.map_or(Cow::Borrowed(""), |s| Cow::Owned(s.to_string())),
            "n_tokens" => number(Some(kept.range().len())),
            "speaker" if self.has_speakers => kept.speaker.map_or(Cow::Borrowed(""), name),
            "adapter" if self.has_adapters => Cow::Borrowed(&known.adapter),
            _ => {
                let place = self.further.iter().position(|c| c == column);
                place.map_or(Cow::Borrowed(""), |p| Cow::Borrowed(known.cells[p].as_str()))
            }
        }
    }

    /// Writes the lines of some items, numbered from `number` on; gives the next number.
    ///
    /// # Errors
    /// Those of `write`, which is given one item's lines at a time.
    pub fn lines(
        &self,
        items: &[Item],
        of: Range<usize>,
        mut number: usize,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<usize> {
        let columns = self.columns();
        let mut text = String::new();
        for row in self.rows_of(&of) {
            if self.first.binary_search(&row).is_ok() {
                write(text.as_bytes())?;
                text.clear();
            }
            text += &number.to_string();
            for column in &columns[1..] {
                text.push(',');
                text += &quoted(&self.cell(items, row, column));
            }
            text.push('\n');
            number += 1;
        }
        write(text.as_bytes())?;
        Ok(number)
    }
}

/// The records of a CSV text that is read line by line, quoted line breaks and all; the first field apart from the rest.
pub struct Records<R> {
    from: R,
    place: String,
}

impl<R: std::io::BufRead> Records<R> {
    /// Of a text that begins with a record.
    pub fn new(from: R, place: String) -> Records<R> {
        Records { from, place }
    }

    /// The next record with its line break, as `(first field, the rest from its comma on)`; `None` behind the last.
    ///
    /// # Errors
    /// A text that ends within quotes, or cannot be read.
    pub fn record(&mut self) -> Result<Option<(String, String)>> {
        let mut record = String::new();
        loop {
            let read = self.from.read_line(&mut record).map_err(|e| Error::io("read", &self.place, e))?;
            let open = record.bytes().filter(|b| *b == b'"').count() % 2 == 1;
            match (read, open) {
                (0, false) => break,
                (0, true) => {
                    let hint = "the file is damaged or cut short; make it again";
                    return Err(Error::format(&self.place, "it ends within quotes", hint));
                }
                (_, true) => {}
                (_, false) => break,
            }
        }
        if record.is_empty() {
            return Ok(None);
        }
        let at = record.find(',').unwrap_or(record.len());
        let rest = record.split_off(at);
        Ok(Some((record, rest)))
    }
}
