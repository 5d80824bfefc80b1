//! `labels.csv`: what is said of which row.

use crate::acts::RowKey;
use crate::analysis::split::Groups;
use crate::csv::Csv;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Labels of rows, in the order of the rows.
pub(super) struct Labels {
    pub name: String,
    pub hash: String,
    /// Rows of the activations, ascending.
    pub rows: Vec<usize>,
    /// 1 or -1; none where there is no such column.
    pub labels: Option<Vec<f64>>,
    pub scores: Option<Vec<f64>>,
    group: Vec<String>,
    pub warnings: Vec<String>,
}

impl Labels {
    /// Reads a file that speaks of some of `count` rows.
    pub fn read(path: &Path, count: usize) -> Result<Labels> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let place = path.display().to_string();
        let mut labels = Labels::parse(&bytes, &place, count)?;
        labels.name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(labels)
    }

    fn parse(bytes: &[u8], place: &str, count: usize) -> Result<Labels> {
        let (mut csv, names) = Csv::open(bytes, place)?;
        let column = |name: &str| names.iter().position(|n| n == name);
        let hint = "its first line is row,label,group; for ridge on a graded score row,score,group";
        let Some(row_at) = column("row") else {
            return Err(Error::format(place, "no column `row`", hint));
        };
        let (label_at, score_at, group_at) = (column("label"), column("score"), column("group"));
        if label_at.is_none() && score_at.is_none() {
            return Err(Error::format(place, "no column `label`", hint));
        }
        // By row: label, score, group, line.
        let mut said: BTreeMap<usize, (f64, f64, String, u64)> = BTreeMap::new();
        let mut cells = Vec::new();
        while csv.record(&mut cells)? {
            let line = csv.line();
            let bad = |reason: String, hint: &str| Err(Error::format(format!("{place}, line {line}"), reason, hint));
            let Ok(row) = cells[row_at].trim().parse::<usize>() else {
                return bad(format!("`{}` is no row", cells[row_at]), "rows are whole numbers, counted from 0");
            };
            if row >= count {
                let reason = format!("row {row}, and the activations have {count}");
                return bad(reason, "rows count from 0: the last one is one less than there are");
            }
            let label = match label_at.map(|at| cells[at].trim()) {
                None => 0.0,
                Some("1" | "1.0") => 1.0,
                Some("0" | "0.0") => -1.0,
                Some(other) => return bad(format!("the label of row {row} is `{other}`"), "labels are 0 or 1"),
            };
            let score = match score_at.map(|at| cells[at].trim()) {
                None => 0.0,
                Some(text) => match text.parse::<f64>() {
                    Ok(v) if v.is_finite() => v,
                    _ => return bad(format!("the score of row {row} is `{text}`"), "scores are finite numbers"),
                },
            };
            let group = group_at.map_or_else(|| format!("row {row}"), |at| cells[at].clone());
            if group.is_empty() {
                return bad(format!("row {row} has no group"), "name the question, persona or conversation it is of");
            }
            if let Some(before) = said.get(&row) {
                return bad(format!("row {row} stands in line {} already", before.3), "give every row one line");
            }
            said.insert(row, (label, score, group, line));
        }
        if said.is_empty() {
            return Err(Error::format(place, "no line but the first", hint));
        }
        let mut warnings = Vec::new();
        if said.len() < count {
            warnings.push(format!("{} of {count} rows are not in the labels and are left out", count - said.len()));
        }
        if group_at.is_none() {
            warnings.push("the labels have no column `group`: every row counts as independent of all others".into());
        }
        Ok(Labels {
            name: String::new(),
            hash: format!("{:x}", Sha256::digest(bytes)),
            rows: said.keys().copied().collect(),
            labels: label_at.map(|_| said.values().map(|v| v.0).collect()),
            scores: score_at.map(|_| said.values().map(|v| v.1).collect()),
            group: said.into_values().map(|v| v.2).collect(),
            warnings,
        })
    }

    pub fn groups(&self) -> Groups {
        Groups::of(&self.keys())
    }

    pub fn keys(&self) -> Vec<RowKey> {
        self.group.iter().map(|g| RowKey { group: g.clone(), ..RowKey::default() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Labels> {
        Labels::parse(text.as_bytes(), "l.csv", 5)
    }

    #[test]
    fn lines_are_put_in_the_order_of_rows_and_what_is_left_out_is_said() {
        let l = parse("label,row,group,more\n1,3,b,x\n0,0,\"a, b\",y\n").unwrap();
        assert_eq!((l.rows, l.labels.unwrap(), l.scores), (vec![0, 3], vec![-1.0, 1.0], None));
        assert_eq!(l.group, ["a, b", "b"]);
        assert!(l.warnings[0].contains("3 of 5 rows"));
        let scored = parse("row,score\n0,2.5\n1,-1e3\n").unwrap();
        assert_eq!(scored.scores.unwrap(), [2.5, -1000.0]);
        assert!(scored.labels.is_none() && scored.warnings[1].contains("`group`"));
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        for (text, part) in [
            ("row,label,group\n0,1,a\n0,0,b\n", "line 3: row 0 stands in line 2"),
            ("row,label,group\n0,2,a\n", "line 2: the label of row 0 is `2`"),
            ("row,label,group\n0,1,a\n\n5,1,a\n", "line 4: row 5"),
            ("row,label,group\n-1,1,a\n", "line 2: `-1` is no row"),
            ("row,label,group\n0,1,\n", "line 2: row 0 has no group"),
            ("row,score,group\n0,nan,a\n", "line 2: the score"),
            ("row,label,group\n", "no line but"),
            ("a,label\n1,1\n", "no column `row`"),
            ("row,group\n1,1\n", "no column `label`"),
        ] {
            let e = parse(text).map(|_| ()).unwrap_err().to_string();
            assert!(e.contains(part), "{text:?}: {e}");
        }
    }
}
