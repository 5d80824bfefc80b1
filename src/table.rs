//! Tidy tables: what analysis returns, figures draw and files hold.
//!
//! Column names carry units. A missing value is an empty cell with the reason in another column, never NaN.

use crate::error::{Error, Result};
use std::fmt::Write as _;

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Int(i64),
    Num(f64),
    /// A number that other programs compare to the last digits: 12 of them are written.
    Exact(f64),
    /// No value; the row says why in its `reason` column.
    Empty,
}

impl From<&str> for Cell {
    fn from(s: &str) -> Cell {
        Cell::Text(s.into())
    }
}
impl From<String> for Cell {
    fn from(s: String) -> Cell {
        Cell::Text(s)
    }
}
impl From<f64> for Cell {
    /// A number that is not finite becomes an empty cell.
    fn from(v: f64) -> Cell {
        if v.is_finite() { Cell::Num(v) } else { Cell::Empty }
    }
}
impl From<usize> for Cell {
    fn from(v: usize) -> Cell {
        Cell::Int(v as i64)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(v: Option<T>) -> Cell {
        v.map_or(Cell::Empty, Into::into)
    }
}

impl Cell {
    /// A number written with 12 significant digits; empty where it is not finite.
    pub fn exact(v: impl Into<Option<f64>>) -> Cell {
        v.into().filter(|v| v.is_finite()).map_or(Cell::Empty, Cell::Exact)
    }

    /// The number in the cell.
    pub fn num(&self) -> Option<f64> {
        match self {
            Cell::Num(v) | Cell::Exact(v) => Some(*v),
            Cell::Int(v) => Some(*v as f64),
            _ => None,
        }
    }

    /// The cell as it stands in a file: up to 6 significant digits (12 if exact), the shortest that is the same number.
    pub fn show(&self) -> String {
        match self {
            Cell::Text(s) => s.clone(),
            Cell::Int(v) => v.to_string(),
            Cell::Num(v) => number(*v),
            Cell::Exact(v) => digits(*v, 12),
            Cell::Empty => String::new(),
        }
    }
}

/// A number with 6 significant digits and no trailing zeros, the same on every machine.
pub fn number(v: f64) -> String {
    digits(v, 6)
}

fn digits(v: f64, significant: usize) -> String {
    if v == 0.0 {
        return "0".into();
    }
    let rounded: f64 = format!("{v:.*e}", significant - 1).parse().unwrap_or(v);
    if (1e-5..1e9).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// Named columns and rows of cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The stem of the file it is written to.
    pub name: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub fn new(name: &str, columns: &[&str]) -> Table {
        Table { name: name.into(), columns: columns.iter().map(|c| c.to_string()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the row is not as wide as the table: a defect of the caller.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.columns.len(), "row of table {} does not fit its columns", self.name);
        self.rows.push(row);
    }

    /// The index of a column.
    ///
    /// # Errors
    /// Names the columns that exist.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|c| c == name).ok_or_else(|| {
            Error::refused(
                format!("table `{}` has no column `{name}`", self.name),
                format!("columns are {}", self.columns.join(", ")),
            )
        })
    }

    /// The number at a row and column, if there is one.
    pub fn num(&self, row: usize, column: &str) -> Option<f64> {
        self.rows[row][self.column(column).ok()?].num()
    }

    /// The text at a row and column as it would stand in a file.
    pub fn text(&self, row: usize, column: &str) -> String {
        self.column(column).map(|c| self.rows[row][c].show()).unwrap_or_default()
    }

    /// The indices of the rows whose `column` shows `value`.
    pub fn where_is(&self, column: &str, value: &str) -> Vec<usize> {
        (0..self.rows.len()).filter(|&r| self.text(r, column) == value).collect()
    }

    /// The table as CSV (RFC 4180, `\n` line ends).
    pub fn to_csv(&self) -> String {
        let mut out = String::new();
        let line = |cells: Vec<String>| cells.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(",");
        let _ = writeln!(out, "{}", line(self.columns.clone()));
        for row in &self.rows {
            let _ = writeln!(out, "{}", line(row.iter().map(Cell::show).collect()));
        }
        out
    }
}

/// A CSV field, quoted where it has to be.
pub fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_needs_it_and_leaves_missing_values_empty() {
        let mut t = Table::new("t", &["name", "auroc", "reason"]);
        t.push(vec!["a,\"b\"".into(), f64::NAN.into(), "constant".into()]);
        t.push(vec!["c".into(), 0.123456789.into(), Cell::Empty]);
        assert_eq!(t.to_csv(), "name,auroc,reason\n\"a,\"\"b\"\"\",,constant\nc,0.123457,\n");
        assert!(t.column("nope").unwrap_err().hint().contains("auroc"));
    }

    #[test]
    fn numbers_are_short_and_stable() {
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert_eq!(number(1234567.0), "1234570");
        assert_eq!(number(1.5e-9), "1.5e-9");
        assert_eq!(number(-2.0), "-2");
        assert_eq!(Cell::exact(1234567.123456789).show(), "1234567.12346");
        assert_eq!((Cell::exact(f64::NAN), Cell::exact(None)), (Cell::Empty, Cell::Empty));
    }
}
