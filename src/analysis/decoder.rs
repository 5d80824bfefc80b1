//! Who speaks, told from activations: one Gaussian per class around its mean, with a covariance that all share (linear
//! discriminant analysis with many classes, of which a row is compared to those that come into question).

use crate::error::{Error, Result};
use faer::Mat;
use faer::linalg::solvers::Solve;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use std::collections::BTreeMap;

/// Classes by name.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The inverse covariance times the mean, and half the squared length of the mean in its metric, by class.
    classes: BTreeMap<String, (Array1<f64>, f64)>,
}

impl Decoder {
    /// Fits class means and the covariance within classes over rows `[row, d_model]`. `share` (above 0, at most 1) of the
    /// covariance is replaced by its mean variance times the identity.
    ///
    /// # Errors
    /// Rows and classes that do not match, fewer than two classes, rows that do not vary within their classes.
    pub fn fit(rows: ArrayView2<'_, f32>, classes: &[String], share: f64) -> Result<Decoder> {
        let (n, d) = rows.dim();
        let refused = |what: String| Err(Error::refused(what, "give rows of two classes or more, several of each"));
        if n != classes.len() {
            return refused(format!("{n} rows and {} classes", classes.len()));
        }
        let mut sums: BTreeMap<&str, (Array1<f64>, f64)> = BTreeMap::new();
        for (row, class) in rows.rows().into_iter().zip(classes) {
            let (sum, count) = sums.entry(class).or_insert_with(|| (Array1::zeros(d), 0.0));
            sum.zip_mut_with(&row, |s, v| *s += f64::from(*v));
            *count += 1.0;
        }
        if sums.len() < 2 || n <= sums.len() {
            return refused(format!("{n} rows of {} classes", sums.len()));
        }
        let means: BTreeMap<&str, Array1<f64>> = sums.iter().map(|(c, (sum, n))| (*c, sum / *n)).collect();
        let mut within = Array2::<f64>::zeros((n, d));
        for ((mut to, row), class) in within.rows_mut().into_iter().zip(rows.rows()).zip(classes) {
            let mean = &means[class.as_str()];
            to.iter_mut().zip(row).zip(mean).for_each(|((to, v), m)| *to = f64::from(*v) - m);
        }
        let covariance = within.t().dot(&within) / (n - sums.len()) as f64;
        let mean_variance = covariance.diag().sum() / d as f64;
        if mean_variance.is_nan() || mean_variance <= 0.0 {
            return refused("the rows of every class are all the same".into());
        }
        let at =
            |i: usize, j: usize| (1.0 - share) * covariance[[i, j]] + if i == j { share * mean_variance } else { 0.0 };
        let Ok(factor) = Mat::from_fn(d, d, at).llt(faer::Side::Lower) else {
            return refused("the covariance within classes has no inverse".into());
        };
        let solve = |mean: &Array1<f64>| {
            let x = factor.solve(&Mat::from_fn(d, 1, |i, _| mean[i]));
            let weight: Array1<f64> = (0..d).map(|i| x[(i, 0)]).collect();
            let half = weight.dot(mean) / 2.0;
            (weight, half)
        };
        Ok(Decoder { classes: means.iter().map(|(c, m)| (c.to_string(), solve(m))).collect() })
    }

    /// The log-likelihood of a row under a class, up to a constant of the row; `None` for an unknown class.
    pub fn score(&self, row: ArrayView1<'_, f32>, class: &str) -> Option<f64> {
        let (weight, half) = self.classes.get(class)?;
        Some(row.iter().zip(weight).map(|(v, w)| f64::from(*v) * w).sum::<f64>() - half)
    }

    /// The place of the most likely class among `candidates`; the first of equals, `None` where none is known.
    pub fn name(&self, row: ArrayView1<'_, f32>, candidates: &[&str]) -> Option<usize> {
        let scores = candidates.iter().enumerate().filter_map(|(i, c)| Some((i, self.score(row, c)?)));
        scores
            .fold(None, |best: Option<(usize, f64)>, (i, s)| match best {
                Some((_, b)) if b >= s => best,
                _ => Some((i, s)),
            })
            .map(|(i, _)| i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng;

    /// Three classes at (4, 0), (-4, 0) and (0, 4), noise that is wide along (1, 1).
    fn rows(n: usize) -> (Array2<f32>, Vec<String>) {
        let mut rng = stream(3, "rows");
        let mut x = Array2::zeros((3 * n, 2));
        let mut classes = Vec::new();
        for i in 0..3 * n {
            let (cx, cy) = [(4.0, 0.0), (-4.0, 0.0), (0.0, 4.0)][i % 3];
            let mut u = || rng.random::<f32>() + rng.random::<f32>() + rng.random::<f32>() - 1.5;
            let (wide, narrow) = (4.0 * u(), u());
            x[[i, 0]] = cx + wide + narrow;
            x[[i, 1]] = cy + wide - narrow;
            classes.push(["a", "b", "c"][i % 3].to_string());
        }
        (x, classes)
    }

    #[test]
    fn classes_are_told_apart_in_the_metric_of_what_varies_within_them() {
        let (x, classes) = rows(200);
        let d = Decoder::fit(x.view(), &classes, 0.01).unwrap();
        let named = |r: usize| d.name(x.row(r), &["a", "b", "c"]).map(|i| ["a", "b", "c"][i]);
        let right = |class: &str| (0..600).filter(|r| classes[*r] == class && named(*r) == Some(class)).count();
        // a lies across the wide direction, 5.7 away where the noise has 0.7; b and c lie along it, 5.7 apart where it has
        // 2.8: a share of 16 % of each is beyond the middle.
        assert!(right("a") == 200 && (310..362).contains(&(right("b") + right("c"))), "{} {}", right("b"), right("c"));
        // Of two candidates the nearer one is named, whatever the third would say.
        assert_eq!(d.name(x.row(0), &["b", "c"]).map(|i| i < 2), Some(true));
        assert_eq!(d.name(x.row(0), &["nobody"]), None);
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let (x, classes) = rows(5);
        assert!(Decoder::fit(x.view(), &classes[1..], 0.1).is_err());
        assert!(Decoder::fit(x.view(), &vec!["a".to_string(); 15], 0.1).is_err());
        assert!(Decoder::fit(Array2::zeros((15, 2)).view(), &classes, 0.1).is_err());
    }
}
