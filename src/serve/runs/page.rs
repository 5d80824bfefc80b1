//! A page of a table: some of its rows, filtered and sorted.

use super::filter::{Filter, number};
use crate::csv::Csv;
use crate::error::{Error, nearest};
use crate::serve::Problem;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Larger tables are not looked through on the page.
const LARGEST: u64 = 200 << 20;
/// Rows of a page.
const MOST_ROWS: usize = 1000;

/// Which rows are wanted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct TableAsk {
    /// A column; the order of the file where there is none.
    pub sort: Option<String>,
    pub desc: bool,
    /// See [`Filter::parse`].
    pub filter: String,
    /// Rows that are passed over of those that remain.
    pub offset: usize,
    pub limit: usize,
}

impl Default for TableAsk {
    fn default() -> TableAsk {
        TableAsk { sort: None, desc: false, filter: String::new(), offset: 0, limit: 100 }
    }
}

/// Rows of a table as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TablePage {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Rows of the whole table.
    pub total: usize,
    /// Rows that pass the filter, of which a page is shown.
    pub shown: usize,
}

/// What a row is sorted by: numbers before texts before nothing.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    Number(f64),
    Text(String),
    Empty,
}

/// Reads a page of a CSV file, which is called `place` in errors. No more than a page of rows and a key for each are in
/// memory.
///
/// # Errors
/// A file that is too large or no CSV; a column that it does not have.
pub fn page(path: &Path, place: &str, ask: &TableAsk) -> Result<TablePage, Problem> {
    let bytes = std::fs::metadata(path).map_err(|e| Error::io("read", place, e))?.len();
    if bytes > LARGEST {
        let what = format!("{place} has {} MiB; tables of at most {} MiB are shown", bytes >> 20, LARGEST >> 20);
        return Err(Problem::refused(what, "download it, and look at it with another program"));
    }
    let open = || -> Result<_, Problem> {
        let file = File::open(path).map_err(|e| Error::io("read", place, e))?;
        Ok(Csv::open(BufReader::new(file), place)?)
    };
    let (mut csv, columns) = open()?;
    let filter = Filter::parse(&ask.filter, &columns);
    let by = ask.sort.as_deref().filter(|s| !s.is_empty()).map(|s| column(&columns, s)).transpose()?;
    let limit = ask.limit.min(MOST_ROWS);
    let wanted = ask.offset..ask.offset.saturating_add(limit);
    let (mut rows, mut keys, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    let (mut total, mut shown) = (0, 0);
    while csv.record(&mut cells)? {
        if filter.passes(&cells) {
            match by {
                Some(c) => keys.push((Key::of(&cells[c]), total)),
                None if wanted.contains(&shown) => rows.push(std::mem::take(&mut cells)),
                None => {}
            }
            shown += 1;
        }
        total += 1;
    }
    if by.is_some() {
        keys.sort_by(|a, b| a.0.compare(&b.0, ask.desc).then(a.1.cmp(&b.1)));
        let page = keys.iter().skip(ask.offset).take(limit).map(|k| k.1);
        rows = pick(open()?.0, page.collect(), &mut cells)?;
    }
    Ok(TablePage { columns, rows, total, shown })
}

/// The rows of these numbers, in their order.
fn pick(
    mut csv: Csv<impl std::io::BufRead>,
    numbers: Vec<usize>,
    cells: &mut Vec<String>,
) -> Result<Vec<Vec<String>>, Problem> {
    let places: HashMap<usize, usize> = numbers.iter().enumerate().map(|(place, row)| (*row, place)).collect();
    let mut rows = vec![Vec::new(); numbers.len()];
    let (mut number, mut found) = (0, 0);
    while found < rows.len() && csv.record(cells)? {
        if let Some(place) = places.get(&number) {
            rows[*place] = std::mem::take(cells);
            found += 1;
        }
        number += 1;
    }
    Ok(rows)
}

fn column(columns: &[String], name: &str) -> Result<usize, Problem> {
    columns.iter().position(|c| c == name).ok_or_else(|| {
        let meant = nearest(name, columns.iter().map(String::as_str))
            .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        Problem::refused(
            format!("the table has no column `{name}`{meant}"),
            format!("columns are {}", columns.join(", ")),
        )
    })
}

impl Key {
    fn of(cell: &str) -> Key {
        match number(cell) {
            Some(v) => Key::Number(v),
            None if cell.trim().is_empty() => Key::Empty,
            None => Key::Text(cell.to_lowercase()),
        }
    }

    /// Empty cells are last in either order.
    fn compare(&self, other: &Key, desc: bool) -> Ordering {
        let turned = |o: Ordering| if desc { o.reverse() } else { o };
        match (self, other) {
            (Key::Empty, Key::Empty) => Ordering::Equal,
            (Key::Empty, _) => Ordering::Greater,
            (_, Key::Empty) => Ordering::Less,
            (Key::Number(a), Key::Number(b)) => turned(a.total_cmp(b)),
            (Key::Text(a), Key::Text(b)) => turned(a.cmp(b)),
            (Key::Number(_), Key::Text(_)) => turned(Ordering::Less),
            (Key::Text(_), Key::Number(_)) => turned(Ordering::Greater),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "name,value\nb,10\na,9\n\"c, \"\"d\"\"\",\ne,-1e-3\nf,n/a\ng,10\n";

    fn ask(text: &str, ask: TableAsk) -> Result<TablePage, Problem> {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        page(&path, "t.csv", &ask)
    }

    fn names(page: &TablePage) -> Vec<&str> {
        page.rows.iter().map(|r| r[0].as_str()).collect()
    }

    #[test]
    fn numbers_sort_as_numbers_and_empty_cells_are_last_in_either_order() {
        let by = |desc| ask(TABLE, TableAsk { sort: Some("value".into()), desc, ..TableAsk::default() }).unwrap();
        let up = by(false);
        assert_eq!(names(&up), ["e", "a", "b", "g", "f", "c, \"d\""]);
        assert_eq!((up.total, up.shown, up.columns.join(" ")), (6, 6, "name value".into()));
        assert_eq!(names(&by(true)), ["f", "b", "g", "a", "e", "c, \"d\""]);
    }

    #[test]
    fn a_page_is_cut_from_what_passes_the_filter() {
        let plain = TableAsk { filter: "value>=9".into(), offset: 1, limit: 1, ..TableAsk::default() };
        let page = ask(TABLE, plain.clone()).unwrap();
        assert_eq!((names(&page), page.total, page.shown), (vec!["a"], 6, 3));
        let sorted = ask(TABLE, TableAsk { sort: Some("name".into()), desc: true, ..plain.clone() }).unwrap();
        assert_eq!((names(&sorted), sorted.shown), (vec!["b"], 3));
        let beyond = ask(TABLE, TableAsk { offset: usize::MAX, limit: usize::MAX, ..TableAsk::default() }).unwrap();
        assert!(beyond.rows.is_empty() && beyond.shown == 6);
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        let of = |text: &str, column: &str| {
            ask(text, TableAsk { sort: Some(column.into()), ..TableAsk::default() }).unwrap_err()
        };
        let e = of(TABLE, "valve");
        assert!(e.status == 422 && e.what.contains("did you mean `value`") && e.hint.contains("name, value"), "{e:?}");
        assert!(of("a,b\n1\n", "a").what.contains("t.csv, line 2"));
        assert!(of("", "a").what.contains("empty"));
    }
}
