//! How likely every model finds the texts of every format.

use super::labels::{BASE, Labels};
use crate::analysis::interval::Interval;
use crate::analysis::resampled::jackknife;
use crate::error::Result;
use crate::experiment::work::Work;
use crate::score::Likelihood;
use crate::table::{Cell, Table};
use crate::train::Sequences;
use crate::unit::Item;
use std::ops::Range;

/// A model that reads: the base, or a fine-tune. One without a character reads the texts of all.
#[derive(Clone, Debug)]
pub(in crate::experiment) struct Reader {
    /// Place among the adapters of the model; `None`: the model by itself.
    pub adapter: Option<usize>,
    pub labels: Labels,
}

/// Texts of one character in one format, as the model reads them: conversations through its template, of which what the
/// assistant says counts.
pub(in crate::experiment) struct Texts<'a> {
    pub character: String,
    pub format: String,
    pub data: &'a Sequences,
}

/// The likelihood of every text of every set for each of its readers, `[set][reader][text]`: readers are adapters, or the
/// model by itself. All of them stand in the same batches.
///
/// # Errors
/// Failures of the model, and an interruption.
pub(in crate::experiment) fn likelihoods_by(
    stage: &str,
    sets: &[(&Sequences, Vec<Option<usize>>)],
    work: &mut Work<'_, '_>,
) -> Result<Vec<Vec<Vec<Likelihood>>>> {
    let items = likelihood_items(sets);
    let counted: Vec<Vec<usize>> = items.iter().map(|i| i.ranges.iter().map(Range::len).collect()).collect();
    let mut sums = work.likelihoods(stage, items, vec![])?.into_iter();
    let mut all = counted.into_iter().map(|lengths| {
        let nll = sums.by_ref().take(lengths.len()).sum();
        Likelihood { nll, counted: lengths.iter().sum() }
    });
    Ok(sets
        .iter()
        .map(|(data, readers)| readers.iter().map(|_| all.by_ref().take(data.len()).collect()).collect())
        .collect())
}

/// The items of [`likelihoods_by`].
pub(in crate::experiment) fn likelihood_items(sets: &[(&Sequences, Vec<Option<usize>>)]) -> Vec<Item> {
    let mut items = Vec::new();
    for (data, readers) in sets {
        // Reader after reader, so that rows of one adapter lie side by side.
        for adapter in readers {
            items.extend((0..data.len()).map(|t| {
                let (tokens, counted) = data.get(t);
                let (ranges, tokens) = (ranges(counted), tokens.to_vec());
                Item { prompt_len: tokens.len(), tokens, ranges, adapter: *adapter, ..Item::default() }
            }));
        }
    }
    items
}

/// Runs of tokens that count; the first token is predicted by nothing and never does.
fn ranges(counted: &[bool]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for i in (1..counted.len()).filter(|i| counted[*i]) {
        match all.last_mut() {
            Some(last) if last.end == i => last.end = i + 1,
            _ => all.push(i..i + 1),
        }
    }
    all
}

/// The matrix of models and texts, a row for each reader and set of its character.
///
/// `nll_per_token` (nats) and `perplexity` are over all counted tokens. `nll_minus_base` is against the base on the same
/// texts. `share_of_own_format_gain` is (base - model) / (base - own), where `own` was trained on the format of the text
/// with the same character and seed: 1 where another format teaches the text as well as its own. Intervals are 95 %, by
/// the jackknife over texts; they hold for this model, and say nothing of another seed.
///
/// # Errors
/// Failures of the model, and an interruption.
pub(in crate::experiment) fn perplexity(
    readers: &[Reader],
    texts: &[Texts<'_>],
    work: &mut Work<'_, '_>,
) -> Result<Table> {
    let of = |t: &Texts| -> Vec<usize> { (0..readers.len()).filter(|r| reads(&readers[*r], t)).collect() };
    let who: Vec<Vec<usize>> = texts.iter().map(of).collect();
    let adapters = |own: &Vec<usize>| own.iter().map(|r| readers[*r].adapter).collect();
    let sets: Vec<(&Sequences, Vec<Option<usize>>)> =
        texts.iter().zip(&who).map(|(t, own)| (t.data, adapters(own))).collect();
    let found = likelihoods_by("likelihoods", &sets, work)?;
    let mut table = Table::new("perplexity", &[&Labels::COLUMNS[..], &COLUMNS].concat());
    for ((texts, own), found) in texts.iter().zip(&who).zip(&found) {
        for (reader, likely) in own.iter().zip(found) {
            let labels = &readers[*reader].labels;
            let other = |fits: &dyn Fn(&Labels) -> bool| {
                own.iter().position(|r| fits(&readers[*r].labels)).map(|place| found[place].as_slice())
            };
            let base = other(&|l| l.format == BASE);
            let same = other(&|l| l.format == texts.format && l.seed == labels.seed && l.character == labels.character);
            let mut row: Vec<Cell> = labels.cells().into();
            // A base without a character of its own is measured on each.
            row[2] = texts.character.as_str().into();
            row.push(texts.format.as_str().into());
            row.extend(cells(labels, likely, base, same));
            table.push(row);
        }
    }
    Ok(table)
}

const COLUMNS: [&str; 13] = [
    "text",
    "texts",
    "tokens",
    "nll_per_token",
    "perplexity",
    "nll_minus_base",
    "ci_low",
    "ci_high",
    "interval_note",
    "share_of_own_format_gain",
    "share_low",
    "share_high",
    "reason",
];

fn reads(reader: &Reader, texts: &Texts<'_>) -> bool {
    reader.labels.character.is_empty() || reader.labels.character == texts.character
}

fn cells(labels: &Labels, own: &[Likelihood], base: Option<&[Likelihood]>, same: Option<&[Likelihood]>) -> Vec<Cell> {
    let tokens: usize = own.iter().map(|l| l.counted).sum();
    let nll = (tokens > 0).then(|| own.iter().map(|l| l.nll).sum::<f64>() / tokens as f64);
    let is_base = labels.format == BASE;
    let difference = base
        .filter(|_| !is_base)
        .and_then(|base| ratio(own.len(), |i| (own[i].nll - base[i].nll, own[i].counted as f64)));
    let gain = base
        .zip(same)
        .and_then(|(base, same)| ratio(own.len(), |i| (base[i].nll - same[i].nll, own[i].counted as f64)));
    let is_clear = gain.as_ref().is_some_and(|(_, i)| i.is_some_and(|i| i.lo > 0.0));
    let share = base
        .zip(same)
        .filter(|_| is_clear && !is_base)
        .and_then(|(base, same)| ratio(own.len(), |i| (base[i].nll - own[i].nll, base[i].nll - same[i].nll)));
    let reason = match (base, same) {
        _ if tokens == 0 => "no token counts",
        _ if is_base => "",
        (None, _) => "no base model reads these texts",
        (_, None) => "no model was trained on the format of the text with this character and seed",
        _ if !is_clear => "training on the format of the text gains nothing clear of 0",
        _ => "",
    };
    let interval = difference.and_then(|d| d.1);
    let ends = |i: Option<Interval>| i.filter(|i| !i.one_sided);
    vec![
        own.len().into(),
        tokens.into(),
        nll.into(),
        nll.map(f64::exp).into(),
        difference.map(|d| d.0).into(),
        ends(interval).map(|i| i.lo).into(),
        ends(interval).map(|i| i.hi).into(),
        interval.map_or(Cell::Empty, |i| i.note().into()),
        share.map(|s| s.0).into(),
        share.and_then(|s| ends(s.1)).map(|i| i.lo).into(),
        share.and_then(|s| ends(s.1)).map(|i| i.hi).into(),
        reason.into(),
    ]
}

/// The ratio of two sums over texts, with its interval by the jackknife over them.
fn ratio(n: usize, of: impl Fn(usize) -> (f64, f64)) -> Option<(f64, Option<Interval>)> {
    let parts: Vec<(f64, f64)> = (0..n).map(of).collect();
    let (above, below) = parts.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let over = |a: f64, b: f64| (b != 0.0).then(|| a / b).filter(|v| v.is_finite());
    let value = over(above, below)?;
    Some((value, jackknife(n, value, |i| over(above - parts[i].0, below - parts[i].1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l(nll: f64, counted: usize) -> Likelihood {
        Likelihood { nll, counted }
    }

    fn labels(format: &str) -> Labels {
        Labels { model: format.into(), format: format.into(), character: "A".into(), seed: "1".into() }
    }

    fn num(cells: &[Cell], column: &str) -> Option<f64> {
        cells[COLUMNS.iter().position(|c| *c == column).unwrap() - 1].num()
    }

    #[test]
    fn a_share_of_the_gain_is_over_all_tokens_and_one_for_the_own_format() {
        // Base 3 nats per token, own 1, the other 2: half of the gain.
        let base: Vec<_> = [4, 2, 4].map(|n| l(3.0 * n as f64, n)).to_vec();
        let own: Vec<_> = [(3.0, 4), (3.0, 2), (4.0, 4)].map(|(s, n)| l(s, n)).to_vec();
        let other: Vec<_> = [(7.0, 4), (5.0, 2), (8.0, 4)].map(|(s, n)| l(s, n)).to_vec();
        let found = cells(&labels("chat"), &other, Some(&base), Some(&own));
        assert_eq!((num(&found, "tokens"), num(&found, "nll_per_token")), (Some(10.0), Some(2.0)));
        assert!((num(&found, "perplexity").unwrap() - 2f64.exp()).abs() < 1e-12);
        assert_eq!((num(&found, "nll_minus_base"), num(&found, "share_of_own_format_gain")), (Some(-1.0), Some(0.5)));
        assert!(num(&found, "ci_low").unwrap() < -1.0 && num(&found, "ci_high").unwrap() > -1.0);
        let itself = cells(&labels("document"), &own, Some(&base), Some(&own));
        // Every resample gives 1, which is no interval.
        assert_eq!((num(&itself, "share_of_own_format_gain"), num(&itself, "share_low")), (Some(1.0), None));
        let alone = cells(&labels("chat"), &other, Some(&base), None);
        assert_eq!(num(&alone, "share_of_own_format_gain"), None);
        assert!(alone.last().unwrap().show().contains("no model was trained"));
        // Nothing is gained by the own format.
        let idle = cells(&labels("chat"), &other, Some(&base), Some(&base));
        assert!(idle.last().unwrap().show().contains("nothing clear") && num(&idle, "share_low").is_none());
        let bare = cells(&labels(BASE), &base, Some(&base), None);
        assert_eq!((num(&bare, "nll_minus_base"), bare.last().unwrap().show()), (None, String::new()));
        assert!(cells(&labels("chat"), &[], None, None).last().unwrap().show().contains("no token"));
    }
}
