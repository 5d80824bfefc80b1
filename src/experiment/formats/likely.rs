//! How likely every model finds fresh texts of every format.

use super::nested::{Leaf, Measured, tabled};
use super::sets::Fresh;
use super::{Cast, Settings};
use crate::error::Result;
use crate::experiment::knowing::{likelihood_items, likelihoods_by};
use crate::experiment::plan::Plan;
use crate::experiment::work::Work;
use crate::table::Table;
use crate::train::{Likelihood, Sequences};
use crate::unit::Item;

/// Measures of the table: per token, in nats but for the perplexity. The difference is that to the base on the same texts.
pub(super) const NLL: &str = "nll_nats_per_token";
pub(super) const PERPLEXITY: &str = "perplexity";
pub(super) const DELTA: &str = "delta_nll_nats_per_token";

/// All that are measured on a character read its texts at once.
fn readers(cast: &Cast, fresh: &[Fresh]) -> Vec<Vec<usize>> {
    let of = |f: &Fresh| (0..cast.subjects.len()).filter(|i| cast.subjects[*i].character == f.character).collect();
    fresh.iter().map(of).collect()
}

fn sets<'f>(cast: &Cast, fresh: &'f [Fresh], readers: &[Vec<usize>]) -> Vec<(&'f Sequences, Vec<Option<usize>>)> {
    let adapters = |own: &Vec<usize>| own.iter().map(|i| cast.subjects[*i].adapter).collect();
    fresh.iter().zip(readers).map(|(f, own)| (&f.data, adapters(own))).collect()
}

/// What is read, for a forecast.
pub(super) fn items(cast: &Cast, fresh: &[Fresh]) -> Vec<Item> {
    likelihood_items(&sets(cast, fresh, &readers(cast, fresh)))
}

/// The matrix of models and texts. Intervals resample texts, seeds and characters.
pub(super) fn measure(
    plan: &Plan,
    s: &Settings,
    cast: &Cast,
    fresh: &[Fresh],
    work: &mut Work<'_, '_>,
) -> Result<Table> {
    let readers = readers(cast, fresh);
    let sets = sets(cast, fresh, &readers);
    let found = likelihoods_by("likelihoods", &sets, work)?;
    // By subject, then by format.
    let mut all: Vec<Vec<Vec<Likelihood>>> = vec![vec![Vec::new(); s.formats.len()]; cast.subjects.len()];
    for ((f, own), found) in fresh.iter().zip(&readers).zip(found) {
        let Some(format) = s.formats.iter().position(|format| *format == f.format) else { continue };
        own.iter().zip(found).for_each(|(subject, likely)| all[*subject][format] = likely);
    }
    let mut measured = Vec::new();
    for model in cast.models() {
        for (f, format) in s.formats.iter().enumerate() {
            for measure in [NLL, PERPLEXITY, DELTA] {
                let leaf = |subject: usize| {
                    let own = &all[subject][f];
                    // The base of a character stands at the character's place.
                    leaf(measure, own, &all[cast.subjects[subject].character][f])
                };
                let tree = cast.tree(model).into_iter().map(|seeds| seeds.into_iter().map(leaf).collect()).collect();
                measured.push(Measured { model, keys: vec![format.name().into()], measure, tree });
            }
        }
    }
    Ok(tabled("perplexity", &["text"], cast, &measured, (s.bootstrap, plan.spec.seed)))
}

fn leaf<'a>(measure: &str, own: &'a [Likelihood], base: &'a [Likelihood]) -> Leaf<'a> {
    let per_token = |of: &[Likelihood], sample: &[usize]| {
        let (nll, n) = sample.iter().fold((0.0, 0), |(sum, n), i| (sum + of[*i].nll, n + of[*i].counted));
        (n > 0).then(|| nll / n as f64)
    };
    match measure {
        PERPLEXITY => Leaf::over(own.len(), move |s| per_token(own, s).map(f64::exp)),
        DELTA => Leaf::over(own.len(), move |s| Some(per_token(own, s)? - per_token(base, s)?)),
        _ => Leaf::over(own.len(), move |s| per_token(own, s)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_is_over_tokens_and_the_difference_over_the_same_texts() {
        let l = |nll, counted| Likelihood { nll, counted };
        // 6 nats over 4 tokens against 10 over the same.
        let (own, base) = ([l(2.0, 1), l(4.0, 3)], [l(4.0, 1), l(6.0, 3)]);
        let value = |m| (leaf(m, &own, &base).value)(&[0, 1]).unwrap();
        assert!((value(NLL) - 1.5).abs() < 1e-12 && (value(PERPLEXITY) - 1.5_f64.exp()).abs() < 1e-12);
        assert!((value(DELTA) + 1.0).abs() < 1e-12);
        // The second text twice: 8 / 6 - 12 / 6.
        assert!(((leaf(DELTA, &own, &base).value)(&[1, 1]).unwrap() + 4.0 / 6.0).abs() < 1e-12);
    }
}
