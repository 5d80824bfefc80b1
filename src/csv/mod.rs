//! CSV as RFC 4180 has it, record by record: quotes, quoted commas and line breaks, either line end.

mod columns;

pub use columns::Columns;

use crate::error::{Error, Result};
use std::io::BufRead;

/// Reads records of any number of cells. Only one record is in memory at a time.
pub struct Csv<R> {
    input: R,
    place: String,
    /// Lines read so far.
    line: u64,
    /// Columns of the header.
    width: usize,
    bytes: Vec<u8>,
}

impl<R: BufRead> Csv<R> {
    /// Reads the header: names that differ and are not empty. A byte order mark before it is passed over.
    ///
    /// # Errors
    /// An empty input, a name that is missing or there twice, anything that [`Csv::record`] refuses.
    pub fn open(input: R, place: &str) -> Result<(Csv<R>, Vec<String>)> {
        let mut csv = Csv { input, place: place.into(), line: 0, width: 0, bytes: Vec::new() };
        let mut names = Vec::new();
        if !csv.next(&mut names)? {
            return Err(csv.bad("it is empty", "a first line with the names of the columns is needed"));
        }
        if let Some(first) = names.first_mut()
            && let Some(rest) = first.strip_prefix('\u{feff}')
        {
            *first = rest.to_string();
        }
        for (i, name) in names.iter().enumerate() {
            let hint = "give every column a name of its own";
            if name.is_empty() {
                return Err(csv.bad(&format!("column {} has no name", i + 1), hint));
            }
            if names[..i].contains(name) {
                return Err(csv.bad(&format!("two columns are named `{name}`"), hint));
            }
        }
        csv.width = names.len();
        Ok((csv, names))
    }

    /// Reads the next record into `cells`; false at the end. Empty lines are passed over where there is more than one
    /// column: no record looks like that.
    ///
    /// # Errors
    /// Another number of cells than the header has, a quote that is never closed, text behind a closing quote, bytes
    /// that are no UTF-8: each with its line.
    pub fn record(&mut self, cells: &mut Vec<String>) -> Result<bool> {
        loop {
            if !self.next(cells)? {
                return Ok(false);
            }
            if cells.len() == self.width {
                return Ok(true);
            }
            if !matches!(cells.as_slice(), [one] if one.is_empty()) {
                let what = format!("{} cells, and the header has {}", cells.len(), self.width);
                return Err(self.bad(&what, "every line needs a cell for each column; quote cells that hold commas"));
            }
        }
    }

    /// Lines read so far.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn next(&mut self, cells: &mut Vec<String>) -> Result<bool> {
        cells.clear();
        if !self.more()? {
            return Ok(false);
        }
        let began = self.line;
        // The record so far, quotes taken off, and where each cell of it ends.
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        let (mut at, mut quoted) = (0, false);
        loop {
            if at == self.bytes.len() {
                if !quoted {
                    break;
                }
                if !self.more()? {
                    self.line = began;
                    return Err(self.bad("a quote is opened and never closed", "the file may be cut short"));
                }
                at = 0;
                continue;
            }
            let c = self.bytes[at];
            at += 1;
            let starts = text.len() == ends.last().copied().unwrap_or(0);
            match c {
                b'"' if quoted && self.bytes.get(at) == Some(&b'"') => {
                    text.push(b'"');
                    at += 1;
                }
                b'"' if quoted => {
                    quoted = false;
                    if !matches!(self.bytes.get(at..), Some([] | [b',' | b'\n', ..] | [b'\r', b'\n', ..])) {
                        return Err(self.bad("text stands behind a closing quote", "double the quotes inside a cell"));
                    }
                }
                // A quote opens a cell only as its first character, and the character before it is then a comma.
                b'"' if starts && (at == 1 || self.bytes[at - 2] == b',') => quoted = true,
                b',' if !quoted => ends.push(text.len()),
                b'\n' if !quoted => break,
                b'\r' if !quoted && self.bytes.get(at) == Some(&b'\n') => {}
                c => text.push(c),
            }
        }
        ends.push(text.len());
        let text = String::from_utf8(text).map_err(|_| self.bad("not UTF-8", "save the file as UTF-8"))?;
        let mut from = 0;
        for end in ends {
            let cell = text.get(from..end).ok_or_else(|| self.bad("not UTF-8", "save the file as UTF-8"))?;
            cells.push(cell.to_string());
            from = end;
        }
        Ok(true)
    }

    /// Reads a line; false at the end.
    fn more(&mut self) -> Result<bool> {
        self.bytes.clear();
        let n = self.input.read_until(b'\n', &mut self.bytes).map_err(|e| Error::io("read", &self.place, e))?;
        self.line += u64::from(n > 0);
        Ok(n > 0)
    }

    fn bad(&self, what: &str, hint: &str) -> Error {
        Error::format(format!("{}, line {}", self.place, self.line.max(1)), what, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>> {
        let (mut csv, names) = Csv::open(text.as_bytes(), "keys.csv")?;
        let (mut all, mut cells) = (vec![names], Vec::new());
        while csv.record(&mut cells)? {
            all.push(cells.clone());
        }
        Ok(all)
    }

    #[test]
    fn quotes_commas_and_line_breaks_come_back_as_they_were() {
        let all = read("\u{feff}id,said\r\na,\"one, \"\"two\"\"\nthree\"\r\n\n\"\",b\"c\n").unwrap();
        assert_eq!(all, [["id", "said"], ["a", "one, \"two\"\nthree"], ["", "b\"c"]]);
        // A last line without its end, and what `table::quoted` writes.
        let cell = "x,\"y\"\r\nz";
        let text = format!("a,b\n{},é", crate::table::quoted(cell));
        assert_eq!(read(&text).unwrap()[1], [cell, "é"]);
        // With one column an empty line is a row.
        assert_eq!(read("only\n\nx\n").unwrap(), [["only"], [""], ["x"]]);
    }

    #[test]
    fn what_is_no_csv_is_refused_with_its_line() {
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert!(said("").contains("empty"));
        assert!(said("a,b\n1,2\n3\n").contains("line 3: 1 cells, and the header has 2"));
        assert!(said("a,b\n1,\"2\n3,4\n").contains("line 2: a quote is opened"));
        assert!(said("a,b\n1,\"2\" x\n").contains("behind a closing quote"));
        assert!(said("a,a\n").contains("two columns are named `a`"));
        assert!(said("a,\n").contains("column 2 has no name"));
        let (mut csv, _) = Csv::open(&b"a\n\xff\n"[..], "f").unwrap();
        assert!(csv.record(&mut Vec::new()).unwrap_err().to_string().contains("line 2: not UTF-8"));
    }
}
