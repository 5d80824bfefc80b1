//! The same indices within strata of items: neutral and emotional prompts, trained and held-out facts, words that were in
//! the training text and words that were not.

use super::index::Index;
use super::input::{Measure, Measured};
use super::pooled::{Unit, pool};
use super::sheet;
use super::units::{All, IndexRow, all, rows as index_rows};
use std::collections::BTreeSet;

/// An index within a stratum; of a pooled row also the difference of two, named `a - b`.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitRow {
    pub split: String,
    pub row: IndexRow,
}

/// Every measure that has several strata, by stratum. Anchors without one count for all of them.
pub(super) fn splits(rows: &[Measured], takes: impl Fn(&Measured) -> bool) -> Vec<SplitRow> {
    let mut found = Vec::new();
    for index in [Index::K, Index::S, Index::E, Index::L] {
        let measure = index.parts().0;
        let of = rows.iter().filter(|r| r.measure == measure && !r.is_anchor() && !r.split.is_empty());
        let strata: Vec<&str> = of.map(|r| r.split.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        if strata.len() > 1 {
            found.extend(of_index(rows, &takes, index, measure, &strata));
        }
    }
    found
}

fn of_index(
    rows: &[Measured],
    takes: &impl Fn(&Measured) -> bool,
    index: Index,
    measure: Measure,
    strata: &[&str],
) -> Vec<SplitRow> {
    let within = |stratum: &str| {
        let fits = |r: &Measured| r.split == stratum || (r.is_anchor() && r.split.is_empty());
        sheet::subjects(rows, |r| r.measure == measure && fits(r) && takes(r))
    };
    let subjects: Vec<_> = strata.iter().map(|s| within(s)).collect();
    let all: Vec<All> = subjects.iter().map(|s| all(s)).collect();
    let mut found = Vec::new();
    for (stratum, all) in strata.iter().zip(&all) {
        found.extend(index_rows(all, &[index]).into_iter().map(|row| SplitRow { split: stratum.to_string(), row }));
    }
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate().skip(i + 1) {
            let split = format!("{} - {}", strata[i], strata[j]);
            let row = |format| differ(a, b, format, index).map(|row| SplitRow { split: split.clone(), row });
            found.extend(a.formats().into_iter().filter_map(row));
        }
    }
    found
}

/// The difference of two strata over the units of a format.
fn differ(a: &All<'_>, b: &All<'_>, format: &str, index: Index) -> Option<IndexRow> {
    let (of_a, of_b) = (a.units(format, index), b.units(format, index));
    let both = of_a.iter().filter_map(|(key, (a, _))| of_b.get(key).map(|(b, _)| (a, b)));
    let units: Vec<Unit> = both.map(|(a, b)| a.less(b)).collect();
    Some(super::units::of_format(format, index, units.len(), Some(pool(&units)?)))
}
