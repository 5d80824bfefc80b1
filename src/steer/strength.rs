//! How strong an edit is, as it is written.

use std::fmt;
use std::str::FromStr;

/// An amount, its unit and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Strength {
    pub amount: Amount,
    written: String,
}

/// An amount in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// As it is: activation units for a shift, a pin and a cap, a factor for a scale, a share for a patch.
    Plain(f64),
    /// Times the mean norm of the stream at the site.
    Norms(f64),
    /// The projection below which this percentage of tokens lies, unsteered.
    Percentile(f64),
}

impl FromStr for Strength {
    type Err = String;
    fn from_str(text: &str) -> Result<Strength, String> {
        let text = text.trim();
        let bad =
            || format!("`{text}`: write a number, such as 4, 0.5n (mean norms of the stream) or p25 (a percentile)");
        let number = |s: &str| s.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(bad);
        let amount = match (text.strip_suffix('n'), text.strip_prefix('p')) {
            (Some(norms), _) => Amount::Norms(number(norms)?),
            (_, Some(percent)) => Amount::Percentile(number(percent)?),
            _ => Amount::Plain(number(text)?),
        };
        match amount {
            Amount::Percentile(p) if !(0.0..=100.0).contains(&p) => Err(format!("`{text}`: percentiles are 0 to 100")),
            _ => Ok(Strength { amount, written: text.into() }),
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Strength {
    /// Several as numbers on an axis, and its label: in their own unit where it is one, else by their places.
    pub fn axis(all: &[Strength]) -> (&'static str, Vec<f64>) {
        let plain = all.iter().map(|s| if let Amount::Plain(v) = s.amount { Some(v) } else { None });
        let norms = all.iter().map(|s| if let Amount::Norms(v) = s.amount { Some(v) } else { None });
        let percent = all.iter().map(|s| if let Amount::Percentile(v) = s.amount { Some(v) } else { None });
        if let Some(values) = plain.collect() {
            ("strength", values)
        } else if let Some(values) = norms.collect() {
            ("strength (mean norms)", values)
        } else if let Some(values) = percent.collect() {
            ("threshold (percentile)", values)
        } else {
            ("strength (place in the list)", (0..all.len()).map(|i| i as f64).collect())
        }
    }

    /// Several of one edit: `0,0.5n,1n`.
    ///
    /// # Errors
    /// In words, what is no strength.
    pub fn list(text: &str) -> Result<Vec<Strength>, String> {
        text.split(',').map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_are_read_with_their_unit_and_shown_as_they_were_written() {
        let list = Strength::list("0, -0.5n,p25,1e2").unwrap();
        let amounts: Vec<Amount> = list.iter().map(|s| s.amount).collect();
        let want = [Amount::Plain(0.0), Amount::Norms(-0.5), Amount::Percentile(25.0), Amount::Plain(100.0)];
        assert_eq!(amounts, want);
        assert_eq!(list.iter().map(Strength::to_string).collect::<Vec<_>>(), ["0", "-0.5n", "p25", "1e2"]);
        for bad in ["", "n", "1x", "nan", "inf", "p101", "p-1", "0,,1", "1nn"] {
            assert!(Strength::list(bad).is_err(), "{bad}");
        }
    }
}
