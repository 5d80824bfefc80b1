//! Whether activations tell who speaks.

use super::{Options, Said, check, runs, shuffled};
use crate::analysis::decoder::Decoder;
use crate::analysis::interval::Interval;
use crate::analysis::resampled::jackknife;
use crate::analysis::stats::{mean, permutation_p, quantile};
use crate::error::Result;
use crate::rng::stream;
use ndarray::{ArrayView2, Axis};
use rand::seq::SliceRandom;

/// Share of the covariance within speakers that is replaced by its mean variance.
const SHRINKAGE: f64 = 0.1;

/// How often the speaker is named, in conversations that nothing was fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Naming {
    /// Mean over speakers of the share of their replies that is named right.
    pub accuracy: Option<f64>,
    /// 95 %, jackknife over conversations; the fits are taken as they are.
    pub interval: Option<Interval>,
    pub null_mean: Option<f64>,
    pub null_hi: Option<f64>,
    pub p: Option<f64>,
    /// One over the speakers.
    pub chance: f64,
}

/// The fold of each conversation, by lot.
pub(super) fn folds(said: &[Said], o: Options) -> Vec<usize> {
    let mut order: Vec<usize> = (0..runs(said)).collect();
    order.shuffle(&mut stream(o.seed, "speakers/folds"));
    let mut of_run = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, run)| of_run[*run] = place % o.folds.max(2));
    of_run
}

/// Linear discriminants between all speakers, fitted on the other folds of conversations. The null deals speakers anew
/// within conversations and refits.
///
/// # Errors
/// Rows without a speaker, fewer than two speakers or conversations.
pub fn naming(rows: ArrayView2<f32>, said: &[Said], names: &[String], o: Options) -> Result<Naming> {
    check(rows, said, names.len(), o)?;
    let fold = folds(said, o);
    let hits = named(rows, said, names, &fold, o)?;
    // Right and all, by speaker, of every conversation.
    let mut of_run = vec![vec![(0.0, 0.0); names.len()]; runs(said)];
    for (s, hit) in said.iter().zip(&hits) {
        let cell = &mut of_run[s.run][s.speaker];
        *cell = (cell.0 + f64::from(u8::from(*hit)), cell.1 + 1.0);
    }
    let total = |without: Option<usize>| {
        let kept = || of_run.iter().enumerate().filter(|(r, _)| Some(*r) != without).map(|(_, c)| c);
        let shares = (0..names.len()).filter_map(|s| {
            let (k, n) = kept().fold((0.0, 0.0), |t, c| (t.0 + c[s].0, t.1 + c[s].1));
            (n > 0.0).then(|| k / n)
        });
        mean(&shares.collect::<Vec<_>>())
    };
    let accuracy = total(None);
    let mut rng = stream(o.seed, "speakers/naming");
    let mut null = Vec::with_capacity(o.permutations);
    for _ in 0..o.permutations {
        let dealt = shuffled(said, &mut rng);
        let hits = named(rows, &dealt, names, &fold, o)?;
        null.extend(balanced(&dealt, &hits, names.len()));
    }
    let interval = accuracy.and_then(|v| jackknife(of_run.len(), v, |run| total(Some(run))));
    Ok(Naming {
        accuracy,
        interval: interval.map(|i| Interval { lo: i.lo.max(0.0), hi: i.hi.min(1.0), ..i }),
        null_mean: mean(&null),
        null_hi: quantile(&null, 0.95),
        p: accuracy.and_then(|v| permutation_p(v, &null)),
        chance: 1.0 / names.len() as f64,
    })
}

/// Whether each row is named right by a decoder that has not seen its conversation.
fn named(rows: ArrayView2<f32>, said: &[Said], names: &[String], fold: &[usize], o: Options) -> Result<Vec<bool>> {
    let candidates: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut hits = vec![false; said.len()];
    for f in 0..o.folds.max(2) {
        let (held, train): (Vec<usize>, Vec<usize>) = (0..said.len()).partition(|r| fold[said[*r].run] == f);
        let classes: Vec<String> = train.iter().map(|r| names[said[*r].speaker].clone()).collect();
        // A site where nothing varies names nobody.
        let Ok(decoder) = Decoder::fit(rows.select(Axis(0), &train).view(), &classes, SHRINKAGE) else { continue };
        for r in held {
            hits[r] = decoder.name(rows.row(r), &candidates) == Some(said[r].speaker);
        }
    }
    Ok(hits)
}

fn balanced(said: &[Said], hits: &[bool], speakers: usize) -> Option<f64> {
    let mut cells = vec![(0.0, 0.0); speakers];
    for (s, hit) in said.iter().zip(hits) {
        cells[s.speaker] = (cells[s.speaker].0 + f64::from(u8::from(*hit)), cells[s.speaker].1 + 1.0);
    }
    mean(&cells.iter().filter(|c| c.1 > 0.0).map(|c| c.0 / c.1).collect::<Vec<_>>())
}
