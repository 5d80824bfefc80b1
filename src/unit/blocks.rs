//! Blocks of units: what is dealt to the processes that share a plan, and what sums are taken over.
//!
//! They are cut by the plan alone, so a sum over blocks in their order is the same number whoever computed each.

use super::Plan;
use super::plan::cut;
use std::ops::Range;
use std::str::FromStr;

/// About how many blocks a plan is cut into, if it has as many units.
const BLOCKS: usize = 128;

/// Consecutive units of about the same number of tokens.
pub fn blocks(plan: &Plan<'_>, units: &[Range<usize>]) -> Vec<Range<usize>> {
    let tokens = units.iter().map(|u| plan.items[u.clone()].iter().map(|i| i.tokens.len()).sum::<usize>());
    let all: usize = tokens.clone().sum();
    cut(tokens, all.div_ceil(BLOCKS))
}

/// One share of a plan that is dealt out: `i/n`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub index: usize,
    pub of: usize,
}

impl Share {
    /// The whole.
    pub const ALL: Share = Share { index: 0, of: 1 };

    /// Whether a block belongs to it.
    pub fn has(self, block: usize) -> bool {
        block % self.of == self.index
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Share, String> {
        let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let found = parsed.map(|(index, of)| Share { index, of }).filter(|s| s.index < s.of);
        found.ok_or_else(|| format!("`{text}`: write I/N with I from 0 to N-1, such as 0/4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_every_block_belongs_to_one() {
        assert_eq!("2/7".parse(), Ok(Share { index: 2, of: 7 }));
        for wrong in ["", "1", "7/7", "-1/2", "1/0", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Share>().unwrap_err().contains("0/4"), "{wrong}");
        }
        for n in 1..9 {
            for block in 0..30 {
                assert_eq!((0..n).filter(|i| Share { index: *i, of: n }.has(block)).count(), 1);
            }
        }
    }
}
