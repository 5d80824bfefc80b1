//! Where a row is along the direction of a speaker: 0 at the mean of the others, 1 at the speaker's own.

use super::naming::folds;
use super::{Options, Said, check};
use crate::analysis::interval::Interval;
use crate::analysis::resampled::t_interval;
use crate::analysis::stats::mean;
use crate::error::Result;
use ndarray::{Array1, ArrayView1, ArrayView2};
use std::collections::BTreeMap;

/// Directions of all speakers, each fitted without the fold of conversations that it is used on.
#[derive(Clone, Debug)]
pub struct Directions {
    fold: Vec<usize>,
    /// By fold and speaker: the mean of the others, and the way from it to the speaker's own mean.
    of: Vec<Vec<Option<(Array1<f64>, Array1<f64>)>>>,
}

/// Directions from the mean of the other speakers' means to the speaker's own, over replies.
///
/// # Errors
/// Rows without a speaker, fewer than two speakers or conversations.
pub fn coordinates(rows: ArrayView2<f32>, said: &[Said], speakers: usize, o: Options) -> Result<Directions> {
    check(rows, said, speakers, o)?;
    let fold = folds(said, o);
    let of_fold = |f: usize| {
        let mut sums = vec![(Array1::<f64>::zeros(rows.ncols()), 0.0); speakers];
        for (row, s) in rows.rows().into_iter().zip(said).filter(|(_, s)| fold[s.run] != f) {
            sums[s.speaker].0.zip_mut_with(&row, |m, v| *m += f64::from(*v));
            sums[s.speaker].1 += 1.0;
        }
        let means: Vec<Option<Array1<f64>>> = sums.into_iter().map(|(s, n)| (n > 0.0).then(|| s / n)).collect();
        let direction = |s: usize| {
            let own = means[s].as_ref()?;
            let others: Vec<&Array1<f64>> =
                means.iter().enumerate().filter(|(o, _)| *o != s).filter_map(|(_, m)| m.as_ref()).collect();
            let mut centre = Array1::<f64>::zeros(own.len());
            others.iter().for_each(|m| centre += *m);
            centre /= others.len().max(1) as f64;
            let way = own - &centre;
            (!others.is_empty() && way.dot(&way) > 0.0).then_some((centre, way))
        };
        (0..speakers).map(direction).collect()
    };
    Ok(Directions { of: (0..o.folds.max(2)).map(of_fold).collect(), fold })
}

impl Directions {
    /// The coordinate of a row of a conversation along the direction of a speaker; `None` where it has none.
    pub fn at(&self, row: ArrayView1<f32>, run: usize, speaker: usize) -> Option<f64> {
        let (centre, way) = self.of.get(*self.fold.get(run)?)?.get(speaker)?.as_ref()?;
        let dot: f64 = row.iter().zip(centre).zip(way).map(|((v, c), w)| (f64::from(*v) - c) * w).sum();
        Some(dot / way.dot(way))
    }
}

/// A coordinate, of what and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    /// What is averaged together: `speaking`, `silent`, ...
    pub who: &'static str,
    /// A turn, or a token's place.
    pub at: i64,
    pub run: usize,
    pub value: f64,
}

/// A mean over conversations, each of which counts once.
#[derive(Clone, Debug, PartialEq)]
pub struct By {
    pub who: &'static str,
    pub at: i64,
    pub mean: f64,
    /// 95 %, Student's t over conversations.
    pub interval: Option<Interval>,
    pub runs: usize,
}

/// Means by what and where, in ascending order.
pub fn by(values: &[Coordinate]) -> Vec<By> {
    let mut cells: BTreeMap<(&'static str, i64), BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
    for v in values {
        cells.entry((v.who, v.at)).or_default().entry(v.run).or_default().push(v.value);
    }
    let one = |((who, at), by): ((&'static str, i64), BTreeMap<usize, Vec<f64>>)| {
        let means: Vec<f64> = by.values().filter_map(|v| mean(v)).collect();
        Some(By { who, at, mean: mean(&means)?, interval: t_interval(&means), runs: means.len() })
    };
    cells.into_iter().filter_map(one).collect()
}
