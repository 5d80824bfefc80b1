//! Keys of rows: the columns of a CSV file, held so that a hundred million rows fit.

use crate::csv::Csv;
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Columns of a table of keys, a cell for every row.
#[derive(Clone, Debug)]
pub struct Keys {
    pub columns: Vec<Column>,
    pub rows: usize,
}

/// A column: whole numbers, or texts each held once.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    cells: Cells,
}

#[derive(Clone, Debug)]
enum Cells {
    /// Whole numbers as a program writes them, and [`NONE`] for an empty cell.
    Ints(Vec<i64>),
    /// The distinct texts in order of appearance, and which of them each row has.
    Texts { texts: Vec<String>, of_row: Vec<u32> },
}

const NONE: i64 = i64::MIN;

impl Keys {
    /// Reads a CSV file; `only` these columns, or all.
    ///
    /// # Errors
    /// A file that is no CSV, or without one of the columns.
    pub fn read(path: &Path, only: Option<&[&str]>) -> Result<Keys> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        Keys::parse(BufReader::with_capacity(1 << 20, file), &path.display().to_string(), only)
    }

    /// Reads CSV text; see [`Keys::read`].
    ///
    /// # Errors
    /// The same.
    pub fn parse(input: impl BufRead, place: &str, only: Option<&[&str]>) -> Result<Keys> {
        let (mut csv, names) = Csv::open(input, place)?;
        let find = |name: &str| names.iter().position(|n| n == name).ok_or_else(|| no_column(place, name, &names));
        let chosen: Vec<usize> = match only {
            None => (0..names.len()).collect(),
            Some(only) => only.iter().map(|name| find(name)).collect::<Result<_>>()?,
        };
        let mut columns: Vec<Growing> = chosen.iter().map(|_| Growing::default()).collect();
        let (mut cells, mut rows) = (Vec::new(), 0);
        while csv.record(&mut cells)? {
            for (column, at) in columns.iter_mut().zip(&chosen) {
                column.push(&cells[*at], rows)?;
            }
            rows += 1;
        }
        let columns = columns.into_iter().zip(&chosen).map(|(c, at)| Column::of(names[*at].clone(), c)).collect();
        Ok(Keys { columns, rows })
    }

    /// The column of a name.
    ///
    /// # Errors
    /// Names those that exist.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let names = || self.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        self.columns.iter().find(|c| c.name == name).ok_or_else(|| no_column("the keys", name, &names()))
    }
}

impl Column {
    /// The cell of a row as it stands in the file.
    pub fn text(&self, row: usize) -> Cow<'_, str> {
        match &self.cells {
            Cells::Ints(v) if v[row] == NONE => Cow::Borrowed(""),
            Cells::Ints(v) => Cow::Owned(v[row].to_string()),
            Cells::Texts { texts, of_row } => Cow::Borrowed(&texts[of_row[row] as usize]),
        }
    }

    /// For each row, whether its cell is `text`.
    pub fn is(&self, text: &str) -> Vec<bool> {
        match &self.cells {
            Cells::Ints(v) => match whole(text) {
                Some(wanted) => v.iter().map(|x| *x == wanted).collect(),
                None => vec![false; v.len()],
            },
            Cells::Texts { texts, of_row } => match texts.iter().position(|t| t == text) {
                Some(wanted) => of_row.iter().map(|x| *x as usize == wanted).collect(),
                None => vec![false; of_row.len()],
            },
        }
    }

    /// The distinct cells, in order of appearance.
    pub fn distinct(&self) -> Vec<String> {
        match &self.cells {
            Cells::Ints(v) => {
                let mut seen = std::collections::HashSet::new();
                (0..v.len()).filter(|r| seen.insert(v[*r])).map(|r| self.text(r).into_owned()).collect()
            }
            Cells::Texts { texts, .. } => texts.clone(),
        }
    }

    /// The numbers of a column of whole numbers, `None` for an empty cell; none where any cell is another text.
    pub fn ints(&self) -> Option<impl Iterator<Item = Option<i64>> + '_> {
        match &self.cells {
            Cells::Ints(v) => Some(v.iter().map(|x| (*x != NONE).then_some(*x))),
            Cells::Texts { .. } => None,
        }
    }

    /// The numbers of a column in which every cell that is not empty is a number as JSON writes it, and one at least is
    /// there.
    pub fn numbers(&self) -> Option<Vec<Option<f64>>> {
        match &self.cells {
            Cells::Ints(v) if v.iter().all(|x| *x == NONE) => None,
            Cells::Ints(v) => Some(v.iter().map(|x| (*x != NONE).then_some(*x as f64)).collect()),
            Cells::Texts { texts, of_row } => {
                let number = |t: &String| match t.as_str() {
                    "" => Some(None),
                    t => serde_json::from_str::<f64>(t).ok().filter(|v| v.is_finite()).map(Some),
                };
                let values: Vec<Option<f64>> = texts.iter().map(number).collect::<Option<_>>()?;
                values.iter().any(Option::is_some).then(|| of_row.iter().map(|x| values[*x as usize]).collect())
            }
        }
    }

    /// Characters of the longest cell.
    pub fn longest(&self) -> usize {
        match &self.cells {
            Cells::Ints(v) => (0..v.len()).map(|r| self.text(r).len()).max().unwrap_or(0),
            Cells::Texts { texts, .. } => texts.iter().map(|t| t.chars().count()).max().unwrap_or(0),
        }
    }

    fn of(name: String, grown: Growing) -> Column {
        let cells = match grown.texts {
            Some(Texts { texts, of_row, .. }) => Cells::Texts { texts, of_row },
            None => Cells::Ints(grown.ints),
        };
        Column { name, cells }
    }
}

/// A column while it is read: whole numbers until the first cell that is none.
#[derive(Default)]
struct Growing {
    ints: Vec<i64>,
    texts: Option<Texts>,
}

#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    of_row: Vec<u32>,
    /// The place of each text in `texts`.
    places: HashMap<String, u32>,
}

impl Growing {
    fn push(&mut self, cell: &str, row: usize) -> Result<()> {
        if self.texts.is_none() {
            if let Some(v) = whole(cell) {
                self.ints.push(v);
                return Ok(());
            }
            self.texts = Some(Texts::default());
            for v in std::mem::take(&mut self.ints) {
                self.text(&if v == NONE { String::new() } else { v.to_string() }, row)?;
            }
        }
        self.text(cell, row)
    }

    fn text(&mut self, cell: &str, row: usize) -> Result<()> {
        let Some(Texts { texts, of_row, places }) = &mut self.texts else { return Ok(()) };
        let place = match places.get(cell) {
            Some(place) => *place,
            None => {
                let place = u32::try_from(texts.len()).map_err(|_| {
                    Error::refused(format!("more distinct texts than 2^32 up to row {row}"), "split the table")
                })?;
                texts.push(cell.into());
                places.insert(cell.into(), place);
                place
            }
        };
        of_row.push(place);
        Ok(())
    }
}

/// A whole number written as a program writes it; `007` and `+7` are texts. The empty cell is [`NONE`].
fn whole(cell: &str) -> Option<i64> {
    if cell.is_empty() {
        return Some(NONE);
    }
    let plain = cell.strip_prefix('-').unwrap_or(cell);
    let fine = plain.bytes().all(|b| b.is_ascii_digit()) && !plain.starts_with('0') || cell == "0";
    cell.parse().ok().filter(|v| fine && *v != NONE)
}

fn no_column(place: &str, name: &str, names: &[String]) -> Error {
    Error::refused(format!("{place}: no column `{name}`"), format!("columns are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::parse(text.as_bytes(), "keys.csv", None).unwrap()
    }

    #[test]
    fn cells_come_back_as_they_stand_whatever_kind_their_column_is() {
        let text = "id,n,score,code\na,1,0.5,007\n\"b,c\",,1e-3,12\na,-3,2,7\n";
        let k = keys(text);
        let back: Vec<Vec<String>> =
            (0..3).map(|r| k.columns.iter().map(|c| c.text(r).into_owned()).collect()).collect();
        assert_eq!(back, [["a", "1", "0.5", "007"], ["b,c", "", "1e-3", "12"], ["a", "-3", "2", "7"]]);
        let n = k.column("n").unwrap();
        assert_eq!(n.ints().unwrap().collect::<Vec<_>>(), [Some(1), None, Some(-3)]);
        assert_eq!(n.is(""), [false, true, false]);
        assert_eq!(n.is("01"), [false; 3]);
        assert_eq!(k.column("score").unwrap().numbers().unwrap(), [Some(0.5), Some(0.001), Some(2.0)]);
        assert!(k.column("score").unwrap().ints().is_none());
        // 007 is no JSON number: the column is text.
        assert!(k.column("code").unwrap().numbers().is_none());
        let id = k.column("id").unwrap();
        assert_eq!((id.distinct(), id.longest()), (vec!["a".into(), "b,c".into()], 3));
        assert_eq!(id.is("a"), [true, false, true]);
        assert!(k.column("nope").unwrap_err().hint().contains("id, n, score, code"));
    }

    #[test]
    fn only_the_columns_asked_for_are_held() {
        let text = "row,a,b\n0,x,1\n1,y,2\n";
        let k = Keys::parse(text.as_bytes(), "f", Some(&["b"])).unwrap();
        assert_eq!((k.rows, k.columns.len(), k.columns[0].name.as_str()), (2, 1, "b"));
        let e = Keys::parse(text.as_bytes(), "f", Some(&["c"])).unwrap_err();
        assert!(e.to_string().contains("no column `c`") && e.hint().contains("row, a, b"));
        assert_eq!(i64::MIN.to_string().parse::<i64>().ok().and_then(|_| whole("-9223372036854775808")), None);
    }
}
