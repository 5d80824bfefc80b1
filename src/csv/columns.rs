//! A whole CSV file as named columns, with the line of every row for what is said about it.

use super::Csv;
use crate::error::{Error, Result};
use std::io::BufRead;

/// The columns of a file, as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    place: String,
    names: Vec<String>,
    /// One per column, each with one cell per row.
    cells: Vec<Vec<String>>,
    /// The line on which each row ends.
    lines: Vec<u64>,
}

impl Columns {
    /// Reads all of an input; `place` names it in errors.
    ///
    /// # Errors
    /// What [`Csv`] refuses, and a file without rows.
    pub fn read(input: impl BufRead, place: &str) -> Result<Columns> {
        let (mut csv, names) = Csv::open(input, place)?;
        let mut cells = vec![Vec::new(); names.len()];
        let (mut lines, mut record) = (Vec::new(), Vec::new());
        while csv.record(&mut record)? {
            cells.iter_mut().zip(&mut record).for_each(|(column, cell)| column.push(std::mem::take(cell)));
            lines.push(csv.line());
        }
        if lines.is_empty() {
            return Err(Error::format(place, "it has a header and no rows", "give it a row per observation"));
        }
        Ok(Columns { place: place.into(), names, cells, lines })
    }

    /// The names of the columns, in the order of the file.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is such a column.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// The cells of a column as text; `None` without the column.
    pub fn find(&self, name: &str) -> Option<&[String]> {
        self.names.iter().position(|n| n == name).map(|c| self.cells[c].as_slice())
    }

    /// The cells of a column as text.
    ///
    /// # Errors
    /// Names the columns that exist.
    pub fn text(&self, name: &str) -> Result<&[String]> {
        self.find(name).ok_or_else(|| {
            let hint = format!("its columns are {}", self.names.join(", "));
            Error::format(&self.place, format!("it has no column `{name}`"), hint)
        })
    }

    /// Finite numbers, with `None` where a cell is empty.
    ///
    /// # Errors
    /// No such column; a cell that is no finite number, with its line.
    pub fn numbers_or_none(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let parse = |(row, cell): (usize, &String)| match cell.trim() {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(v) if v.is_finite() => Ok(Some(v)),
                _ => Err(self.bad(
                    row,
                    name,
                    &format!("`{text}` is no finite number"),
                    "leave the cell empty if it is missing",
                )),
            },
        };
        self.text(name)?.iter().enumerate().map(parse).collect()
    }

    /// Finite numbers.
    ///
    /// # Errors
    /// No such column; a cell that is empty or no finite number, with its line.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let all = self.numbers_or_none(name)?;
        let there = |(row, v): (usize, Option<f64>)| {
            v.ok_or_else(|| self.bad(row, name, "the cell is empty", "every row needs a number here"))
        };
        all.into_iter().enumerate().map(there).collect()
    }

    /// Whole numbers from 0.
    ///
    /// # Errors
    /// No such column; a cell that is no whole number, with its line.
    pub fn counts(&self, name: &str) -> Result<Vec<usize>> {
        let whole = |(row, v): (usize, f64)| match v >= 0.0 && v.fract() == 0.0 && v < 9e15 {
            true => Ok(v as usize),
            false => Err(self.bad(row, name, &format!("{v} is no count"), "give whole numbers from 0")),
        };
        self.numbers(name)?.into_iter().enumerate().map(whole).collect()
    }

    /// 0 or 1, `false` or `true`.
    ///
    /// # Errors
    /// No such column; a cell that is neither, with its line.
    pub fn flags(&self, name: &str) -> Result<Vec<bool>> {
        let flag = |(row, cell): (usize, &String)| match cell.trim().to_ascii_lowercase().as_str() {
            "1" | "1.0" | "true" => Ok(true),
            "0" | "0.0" | "false" => Ok(false),
            other => Err(self.bad(row, name, &format!("`{other}` is neither 0 nor 1"), "give 0 or 1")),
        };
        self.text(name)?.iter().enumerate().map(flag).collect()
    }

    /// The columns `z0`, `z1`, ... of a prefix `z`, in the order of their numbers: values `[row][i]`; no columns give rows
    /// without values.
    ///
    /// # Errors
    /// A number that is left out between two that are there; a cell that is no finite number.
    pub fn family(&self, prefix: &str) -> Result<Vec<Vec<f64>>> {
        let number = |n: &String| n.strip_prefix(prefix)?.parse::<usize>().ok();
        let count = self.names.iter().filter(|n| number(n).is_some()).count();
        let mut rows = vec![Vec::with_capacity(count); self.rows()];
        for i in 0..count {
            let name = format!("{prefix}{i}");
            if !self.has(&name) {
                let reason = format!("{count} columns are named {prefix} and a number, and `{name}` is not among them");
                return Err(Error::format(&self.place, reason, format!("number them from {prefix}0 without a gap")));
            }
            rows.iter_mut().zip(self.numbers(&name)?).for_each(|(row, v)| row.push(v));
        }
        Ok(rows)
    }

    /// An error about a cell, with its line and column.
    pub fn bad(&self, row: usize, column: &str, what: &str, hint: &str) -> Error {
        let line = self.lines.get(row).copied().unwrap_or_default();
        Error::format(format!("{}, line {line}, column `{column}`", self.place), what, hint)
    }

    /// What the file is called in errors.
    pub fn place(&self) -> &str {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Result<Columns> {
        Columns::read(text.as_bytes(), "states.csv")
    }

    #[test]
    fn columns_come_out_as_what_they_are() {
        let c = columns("run,turn,z0,z1,event\na,0,0.5,-1,1\nb,3,2,1e-3,0\n").unwrap();
        assert_eq!((c.rows(), c.text("run").unwrap()), (2, &["a".to_string(), "b".to_string()][..]));
        assert_eq!(c.counts("turn").unwrap(), [0, 3]);
        assert_eq!(c.family("z").unwrap(), [[0.5, -1.0], [2.0, 1e-3]]);
        assert_eq!(c.family("u").unwrap(), [[0.0; 0], [0.0; 0]]);
        assert_eq!(c.flags("event").unwrap(), [true, false]);
        assert!(c.find("dose").is_none() && !c.has("dose"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_line_and_column() {
        let said = |e: Error| format!("{e} {}", e.hint());
        let c = columns("a,z0,z2\n1,NaN,2\n,1.5,3\n").unwrap();
        assert!(said(c.numbers("z0").unwrap_err()).contains("line 2, column `z0`: `NaN` is no finite number"));
        assert!(said(c.numbers("a").unwrap_err()).contains("line 3, column `a`: the cell is empty"));
        assert_eq!(c.numbers_or_none("a").unwrap(), [Some(1.0), None]);
        let gap = columns("z0,z2\n1,2\n").unwrap();
        assert!(said(gap.family("z").unwrap_err()).contains("`z1` is not among them"));
        assert!(said(c.text("b").unwrap_err()).contains("a, z0, z2"));
        assert!(said(columns("a,b\n").unwrap_err()).contains("no rows"));
        let c = columns("n\n1.5\n").unwrap();
        assert!(said(c.counts("n").unwrap_err()).contains("1.5 is no count"));
        assert!(said(c.flags("n").unwrap_err()).contains("neither 0 nor 1"));
    }
}
