//! The wording baseline: what the words of a row alone say about its label.
//!
//! An activation over a reply contains the reply's words, so a probe of activations has to beat a probe of token counts
//! on the same split before it says anything about an internal state.

use crate::acts::{Activations, RowKey};
use crate::error::{Error, Result};
use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, ShapeBuilder};
use std::collections::BTreeMap;

/// Tokens have to be in this many training rows to count.
const MIN_TRAIN_ROWS: usize = 2;
/// Weight of the L2 penalty, alpha/2 |w|^2 beside the summed loss: scikit-learn's default C = 1.
const ALPHA: f64 = 1.0;

/// How often each token occurs in the text of each row, in the order of the activations' rows.
#[derive(Clone, Debug, Default)]
pub struct TokenCounts {
    pub keys: Vec<RowKey>,
    /// Per row, (token, count), each token at most once.
    pub rows: Vec<Vec<(u32, f32)>>,
}

impl TokenCounts {
    /// Counts the tokens of each row's text.
    ///
    /// # Errors
    /// Key and row counts that differ.
    pub fn of_tokens(keys: Vec<RowKey>, texts: &[Vec<u32>]) -> Result<TokenCounts> {
        if keys.len() != texts.len() {
            let (found, expected) = (vec![texts.len()], vec![keys.len()]);
            return Err(Error::Shape { place: "token counts".into(), name: "rows".into(), found, expected });
        }
        let count = |tokens: &Vec<u32>| {
            let mut counts = BTreeMap::new();
            tokens.iter().for_each(|t| *counts.entry(*t).or_insert(0.0_f32) += 1.0);
            counts.into_iter().collect()
        };
        Ok(TokenCounts { keys, rows: texts.iter().map(count).collect() })
    }

    /// Refuses counts that do not belong, row by row, to the activations they stand beside.
    pub(crate) fn check(&self, acts: &Activations) -> Result<()> {
        let same = |a: &RowKey, b: &RowKey| (&a.id, &a.group, a.turn) == (&b.id, &b.group, b.turn);
        let fit = self.keys.len() == self.rows.len() && self.keys.len() == acts.keys.len();
        if fit && self.keys.iter().zip(&acts.keys).all(|(a, b)| same(a, b)) {
            return Ok(());
        }
        Err(Error::refused(
            format!(
                "token counts ({} rows) do not belong to the {} rows at {}",
                self.rows.len(),
                acts.keys.len(),
                acts.site
            ),
            "make the counts from the same prompts in the same order as the activations",
        ))
    }
}

/// Fits an L2 logistic probe of token counts on the training rows and scores the test rows; larger means positive.
///
/// Counts are standardised by the training rows' mean and deviation (n); tokens in fewer than two training rows are left
/// out. The sign is set after the fit (training positives above training negatives on average), because the fitting
/// library takes the more frequent class, or the first row's, as its positive one.
///
/// # Errors
/// In words, why there are no scores: one class only, nothing that varies, or a failed fit.
pub fn wording_scores(
    counts: &TokenCounts,
    labels: &[bool],
    train: &[usize],
    test: &[usize],
) -> std::result::Result<Vec<f64>, String> {
    let y: Array1<bool> = train.iter().map(|&r| labels[r]).collect();
    if y.iter().all(|l| *l) || !y.iter().any(|l| *l) {
        return Err("one class is missing among the training rows".into());
    }
    let features = Features::fit(counts, train);
    if features.column.is_empty() {
        return Err(CONSTANT.into());
    }
    let x = features.matrix(counts, train);
    let data = DatasetBase::new(x, y);
    let fitted = LogisticRegression::default()
        .alpha(ALPHA)
        .max_iterations(100)
        .gradient_tolerance(1e-3)
        .fit(&data)
        .map_err(|e| format!("the token-count probe could not be fitted: {e}"))?;
    let weights = fitted.params();
    let sign = orientation(&data.records().dot(weights), data.targets());
    Ok(features.matrix(counts, test).dot(weights).iter().map(|s| sign * s).collect())
}

/// The reason given where nothing varies between rows.
pub(crate) const CONSTANT: &str = "constant";

/// +1 if positives score above negatives on average, else -1.
fn orientation(scores: &Array1<f64>, labels: &Array1<bool>) -> f64 {
    let mean = |want: bool| {
        let of_class = scores.iter().zip(labels).filter(|(_, l)| **l == want).map(|(s, _)| *s);
        let (sum, n) = of_class.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
        sum / n
    };
    if mean(true) >= mean(false) { 1.0 } else { -1.0 }
}

/// Which tokens are features, and how they are standardised.
struct Features {
    /// token -> (column, mean, deviation), over the training rows.
    column: BTreeMap<u32, (usize, f64, f64)>,
}

impl Features {
    fn fit(counts: &TokenCounts, train: &[usize]) -> Features {
        // (rows, sum, sum of squares); counts are small whole numbers, so the sums are exact.
        let mut seen: BTreeMap<u32, (usize, f64, f64)> = BTreeMap::new();
        for (token, c) in train.iter().flat_map(|&r| &counts.rows[r]) {
            let (s, c) = (seen.entry(*token).or_default(), f64::from(*c));
            *s = (s.0 + 1, s.1 + c, s.2 + c * c);
        }
        let n = train.len() as f64;
        let kept = seen.into_iter().filter(|(_, s)| s.0 >= MIN_TRAIN_ROWS).filter_map(|(token, (_, sum, squares))| {
            let variance = squares / n - (sum / n).powi(2);
            (variance > 1e-12).then(|| (token, sum / n, variance.sqrt()))
        });
        Features { column: kept.enumerate().map(|(i, (token, m, d))| (token, (i, m, d))).collect() }
    }

    /// Standardised counts, `[row, token]`, column-major: the gradient of the fit walks down columns.
    fn matrix(&self, counts: &TokenCounts, rows: &[usize]) -> Array2<f64> {
        let mut x = Array2::zeros((rows.len(), self.column.len()).f());
        for &(i, mean, deviation) in self.column.values() {
            x.column_mut(i).fill(-mean / deviation);
        }
        for (r, &row) in rows.iter().enumerate() {
            for (token, c) in &counts.rows[row] {
                if let Some(&(i, _, deviation)) = self.column.get(token) {
                    x[[r, i]] += f64::from(*c) / deviation;
                }
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::auroc;
    use crate::rng::stream;
    use rand::Rng;
    use rand::seq::SliceRandom;

    /// 200 rows of 20 tokens out of 50; in positive rows token 7 is twice as likely as elsewhere.
    fn planted(seed: u64) -> (TokenCounts, Vec<bool>) {
        let mut rng = stream(seed, "wording");
        let labels: Vec<bool> = (0..200).map(|i| i % 2 == 0).collect();
        let mut text = |l: &bool| -> Vec<u32> {
            (0..20).map(|_| if *l && rng.random_bool(0.1) { 7 } else { rng.random_range(0..50) }).collect()
        };
        let texts: Vec<Vec<u32>> = labels.iter().map(&mut text).collect();
        (TokenCounts::of_tokens(vec![RowKey::default(); 200], &texts).unwrap(), labels)
    }

    #[test]
    fn a_word_of_the_trait_is_found_and_absent_words_score_chance() {
        let (counts, labels) = planted(1);
        let (train, test): (Vec<usize>, Vec<usize>) = ((0..120).collect(), (120..200).collect());
        let truth: Vec<bool> = test.iter().map(|&r| labels[r]).collect();
        let a = auroc(&wording_scores(&counts, &labels, &train, &test).unwrap(), &truth).unwrap();
        assert!(a > 0.75, "{a}");
        // Labels that have nothing to do with the text.
        let other: Vec<bool> = (0..200).map(|i| (i / 2) % 2 == 0).collect();
        let truth: Vec<bool> = test.iter().map(|&r| other[r]).collect();
        let a = auroc(&wording_scores(&counts, &other, &train, &test).unwrap(), &truth).unwrap();
        // sd of an AUROC of 40 against 40: about sqrt(81 / (12 * 1600)) = 0.065.
        assert!((a - 0.5).abs() < 0.2, "{a}");
    }

    #[test]
    fn the_order_of_rows_does_not_flip_the_sign() {
        // Balanced classes: the library takes the class of the first row as positive.
        let (counts, labels) = planted(2);
        let mut train: Vec<usize> = (0..120).collect();
        let test: Vec<usize> = (120..200).collect();
        let first = wording_scores(&counts, &labels, &train, &test).unwrap();
        for seed in 0..6 {
            train.shuffle(&mut stream(seed, "order"));
            train.swap(0, 1 + seed as usize % 2);
            let again = wording_scores(&counts, &labels, &train, &test).unwrap();
            let worst = first.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-2, "scores of about 1 moved by {worst}");
        }
    }

    #[test]
    fn the_library_itself_still_flips_with_the_first_row() {
        // The trap that `orientation` is there for. If this fails, the library was mended and the note can go.
        let x = ndarray::array![[1.0], [2.0], [-1.0], [-2.0]];
        let fit = |order: [usize; 4]| -> f64 {
            let rows = x.select(ndarray::Axis(0), &order);
            let y: Array1<bool> = order.iter().map(|&i| i < 2).collect();
            LogisticRegression::default().fit(&DatasetBase::new(rows, y)).unwrap().params()[0]
        };
        let (positive_first, negative_first) = (fit([0, 1, 2, 3]), fit([2, 3, 0, 1]));
        assert!(positive_first > 0.1 && (positive_first + negative_first).abs() < 1e-6);
    }

    #[test]
    fn no_score_without_variation_or_without_both_classes() {
        let texts = vec![vec![1, 2, 2]; 6];
        let counts = TokenCounts::of_tokens(vec![RowKey::default(); 6], &texts).unwrap();
        let labels = [true, false, true, false, true, false];
        assert_eq!(wording_scores(&counts, &labels, &[0, 1, 2, 3], &[4, 5]).unwrap_err(), "constant");
        assert!(wording_scores(&counts, &labels, &[0, 2], &[4, 5]).unwrap_err().contains("one class"));
        // Each token in one training row only: nothing to learn from.
        let alone = TokenCounts::of_tokens(vec![RowKey::default(); 6], &[0, 1, 2, 3, 4, 5].map(|t| vec![t])).unwrap();
        assert_eq!(wording_scores(&alone, &labels, &[0, 1, 2, 3], &[4, 5]).unwrap_err(), "constant");
        assert!(TokenCounts::of_tokens(vec![], &texts).is_err());
    }

    #[test]
    fn training_columns_have_mean_0_and_deviation_1() {
        let (counts, _) = planted(3);
        let train: Vec<usize> = (0..120).collect();
        let x = Features::fit(&counts, &train).matrix(&counts, &train);
        assert!(x.ncols() > 45);
        for c in x.columns() {
            assert!(c.mean().unwrap().abs() < 1e-9 && (c.std(0.0) - 1.0).abs() < 1e-9);
        }
    }
}
