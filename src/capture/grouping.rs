//! Which sums a row goes into: its group by columns of its key, once unfiltered and once where it passes.

use crate::error::{Error, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// Rows whose column compares so: `score>=3`, `persona!=none`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "String")]
pub struct Filter {
    pub column: String,
    comparison: Comparison,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    AtLeast,
    AtMost,
    More,
    Less,
    Equal,
    Unequal,
}

const COMPARISONS: [(&str, Comparison); 6] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("!=", Comparison::Unequal),
    (">", Comparison::More),
    ("<", Comparison::Less),
    ("=", Comparison::Equal),
];

impl FromStr for Filter {
    type Err = String;
    fn from_str(text: &str) -> Result<Filter, String> {
        let bad = || format!("`{text}`: write COLUMN>=NUMBER, with >=, <=, >, < or, for any text, = and !=");
        let at = text.find(['>', '<', '=', '!']).ok_or_else(bad)?;
        let (column, rest) = text.split_at(at);
        let found = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(bad)?;
        let (column, value) = (column.trim().to_string(), rest[found.0.len()..].trim().to_string());
        let words = matches!(found.1, Comparison::Equal | Comparison::Unequal);
        if column.is_empty() || !(words || value.parse::<f64>().is_ok_and(f64::is_finite)) {
            return Err(bad());
        }
        Ok(Filter { column, comparison: found.1, value })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.iter().find(|(_, c)| *c == self.comparison).map_or("", |(sign, _)| sign);
        write!(f, "{}{sign}{}", self.column, self.value)
    }
}

impl From<Filter> for String {
    fn from(f: Filter) -> String {
        f.to_string()
    }
}

impl Filter {
    /// Whether a cell passes. An empty one, as that of a reply that was not scored, never does where numbers are compared;
    /// `None` for one that is no number.
    fn passes(&self, cell: &str) -> Option<bool> {
        match self.comparison {
            Comparison::Equal => return Some(cell == self.value),
            Comparison::Unequal => return Some(cell != self.value),
            _ if cell.is_empty() => return Some(false),
            _ => {}
        }
        let (a, b): (f64, f64) = (cell.parse().ok().filter(|v: &f64| v.is_finite())?, self.value.parse().ok()?);
        Some(match self.comparison {
            Comparison::AtLeast => a >= b,
            Comparison::AtMost => a <= b,
            Comparison::More => a > b,
            _ => a < b,
        })
    }
}

/// Which rows of a group are in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    All,
    /// Those that pass the filter.
    Filtered,
}

impl Variant {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        if self == Variant::All { "all" } else { "filtered" }
    }
}

/// Rows that are summed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// A value for each column of the grouping.
    pub values: Vec<String>,
    pub variant: Variant,
    pub rows: usize,
}

/// The groups of all rows of a capture.
#[derive(Clone, Debug, Default)]
pub struct Grouping {
    pub columns: Vec<String>,
    /// In the order in which they first occur; the filtered rows of a group directly behind all of them.
    pub groups: Vec<Group>,
    /// By row: its group, whether it passes, its weight.
    of: Vec<(u32, bool, f64)>,
    filtered: bool,
}

impl Grouping {
    /// Groups `rows` rows by `columns`, all in one where there are none; `cell` gives a row's value in one of the columns
    /// that are `known`. Rows of weight 0 belong to no group.
    ///
    /// # Errors
    /// A column that is not there; a filter or a weight over something that is no number.
    pub fn new<'a>(
        rows: usize,
        columns: &[String],
        filter: Option<&Filter>,
        weight: Option<&str>,
        known: &[String],
        cell: impl Fn(usize, &str) -> Cow<'a, str>,
    ) -> Result<Grouping> {
        let asked = columns.iter().map(String::as_str).chain(filter.map(|f| f.column.as_str())).chain(weight);
        if let Some(column) = asked.into_iter().find(|c| !known.iter().any(|k| k == c)) {
            let what = format!("there is no column `{column}` to sum by, to filter or to weight by");
            return Err(Error::refused(what, format!("columns are {}", known.join(", "))));
        }
        let variants: &[Variant] = if filter.is_some() { &[Variant::All, Variant::Filtered] } else { &[Variant::All] };
        let mut places: HashMap<Vec<String>, u32> = HashMap::new();
        let mut all = Grouping { columns: columns.to_vec(), filtered: filter.is_some(), ..Grouping::default() };
        for row in 0..rows {
            let number = |column: &str, what: &str| {
                let cell = cell(row, column);
                let what = format!("row {row}: `{column}` is `{cell}`, which is no {what}");
                Error::refused(what, "mend the column, or choose another")
            };
            let weight = match weight {
                None => 1.0,
                Some(column) => {
                    let parsed = cell(row, column).parse().ok().filter(|w: &f64| w.is_finite() && *w >= 0.0);
                    parsed.ok_or_else(|| number(column, "weight"))?
                }
            };
            let passes = match filter {
                None => false,
                Some(f) => f.passes(&cell(row, &f.column)).ok_or_else(|| number(&f.column, "number"))?,
            };
            let values: Vec<String> = columns.iter().map(|c| cell(row, c).into_owned()).collect();
            let group = *places.entry(values).or_insert_with_key(|values| {
                let of = |variant| Group { values: values.clone(), variant, rows: 0 };
                all.groups.extend(variants.iter().map(|v| of(*v)));
                (all.groups.len() - variants.len()) as u32
            });
            if weight > 0.0 {
                all.groups[group as usize].rows += 1;
                all.groups[group as usize + usize::from(passes)].rows += usize::from(passes);
            }
            all.of.push((group, passes, weight));
        }
        Ok(all)
    }

    /// The groups that a row is summed in, and its weight.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (u32, f64)> + use<> {
        let (group, passes, weight) = self.of[row];
        let filtered = (self.filtered && passes).then_some((group + 1, weight));
        (weight > 0.0).then_some((group, weight)).into_iter().chain(filtered.filter(|_| weight > 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouping(by: &[&str], filter: Option<&str>, weight: Option<&str>) -> Result<Grouping> {
        let rows = [("a", "3", "1"), ("b", "1", "2"), ("a", "2.5", "0"), ("a", "", "0.5")];
        let known = ["role", "score", "w"].map(String::from);
        let by: Vec<String> = by.iter().map(|s| s.to_string()).collect();
        let filter: Option<Filter> = filter.map(|f| f.parse().unwrap());
        Grouping::new(4, &by, filter.as_ref(), weight, &known, |row, column| {
            let r = rows[row];
            Cow::Borrowed(match column {
                "role" => r.0,
                "score" => r.1,
                _ => r.2,
            })
        })
    }

    #[test]
    fn a_row_is_in_its_group_and_where_it_passes_in_the_filtered_one() {
        let g = grouping(&["role"], Some("score>=2.5"), None).unwrap();
        let shown: Vec<_> = g.groups.iter().map(|g| (g.values.join(","), g.variant.name(), g.rows)).collect();
        let want = [("a", "all", 3), ("a", "filtered", 2), ("b", "all", 1), ("b", "filtered", 0)];
        assert_eq!(shown, want.map(|(a, b, c)| (a.to_string(), b, c)));
        let of = |row| g.of(row).collect::<Vec<_>>();
        assert_eq!(of(0), [(0, 1.0), (1, 1.0)]);
        assert_eq!((of(1), of(3)), (vec![(2, 1.0)], vec![(0, 1.0)]));
    }

    #[test]
    fn weights_count_and_rows_without_weight_are_in_no_group() {
        let g = grouping(&[], None, Some("w")).unwrap();
        assert_eq!(g.groups, [Group { values: vec![], variant: Variant::All, rows: 3 }]);
        let of = |row| g.of(row).collect::<Vec<_>>();
        assert_eq!((of(1), of(2), of(3)), (vec![(0, 2.0)], vec![], vec![(0, 0.5)]));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_by_name() {
        for (by, filter, weight, says) in [
            (&["persona"][..], None, None, "`persona`"),
            (&[], Some("enacted>1"), None, "`enacted`"),
            (&[], Some("role>1"), None, "row 0: `role` is `a`"),
            (&[], None, Some("score"), "row 3: `score` is ``"),
        ] {
            let e = grouping(by, filter, weight).unwrap_err();
            assert!(e.to_string().contains(says), "{e}");
        }
        for wrong in ["score", ">=3", "score>=x", "score>=nan", "score!3", ""] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
        for right in ["score>=3", "a b!=c d", "x<-1.5", "score=3"] {
            assert_eq!(right.parse::<Filter>().unwrap().to_string(), right);
        }
        let equal: Filter = "role = a".parse().unwrap();
        assert_eq!((equal.passes("a"), equal.passes("b")), (Some(true), Some(false)));
    }
}
