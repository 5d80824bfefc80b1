//! The log-rank test (Mantel 1966; Peto and Peto 1972): are the hazards of groups the same?

use super::Ended;
use super::tail::chi_square;

/// Chi-square, degrees of freedom and p-value of the test over all groups; `None` below two groups or without a time at
/// which two groups were at risk.
pub fn log_rank(groups: &[&Ended]) -> Option<(f64, usize, f64)> {
    let k = groups.len();
    let mut all: Vec<(f64, bool, usize)> = Vec::new();
    for (g, ended) in groups.iter().enumerate() {
        all.extend(ended.iter().map(|(t, e)| (*t, *e, g)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut at_risk: Vec<f64> = groups.iter().map(|g| g.len() as f64).collect();
    let mut excess = vec![0.0; k];
    let mut variance = vec![vec![0.0; k]; k];
    for tie in all.chunk_by(|a, b| a.0 == b.0) {
        let d = tie.iter().filter(|t| t.1).count() as f64;
        let n: f64 = at_risk.iter().sum();
        if d > 0.0 {
            tie.iter().filter(|t| t.1).for_each(|t| excess[t.2] += 1.0);
            // Events of a group among those at risk are hypergeometric.
            let spread = if n > 1.0 { d * (n - d) / (n - 1.0) } else { 0.0 };
            for i in 0..k {
                let share = at_risk[i] / n;
                excess[i] -= d * share;
                for j in 0..k {
                    variance[i][j] += spread * share * (f64::from(u8::from(i == j)) - at_risk[j] / n);
                }
            }
        }
        tie.iter().for_each(|t| at_risk[t.2] -= 1.0);
    }
    // The excesses sum to 0: the last group says nothing more.
    let df = k.checked_sub(1).filter(|df| *df > 0)?;
    let solved =
        super::cox::solve(&variance.iter().take(df).map(|r| r[..df].to_vec()).collect::<Vec<_>>(), &excess[..df])?;
    let statistic: f64 = solved.iter().zip(&excess).map(|(a, b)| a * b).sum();
    Some((statistic, df, chi_square(statistic, df)?))
}
