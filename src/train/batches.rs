//! Which sequences make which step.

use super::Sequences;
use crate::error::{Error, Result};
use crate::rng::stream;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// How large a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// At most so many tokens; a longer sequence is a batch by itself.
    Tokens(usize),
    /// So many sequences; the last batch of an epoch may have fewer.
    Examples(usize),
}

/// How long training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// Every sequence so many times.
    Epochs(usize),
    /// Until so many tokens were seen, over as many epochs as that takes.
    Tokens(usize),
}

/// The batches of a whole run, in order; each epoch is shuffled anew.
///
/// # Errors
/// Nothing to train on, or a size of 0.
pub fn plan(data: &Sequences, size: Size, amount: Amount, seed: u64) -> Result<Vec<Vec<usize>>> {
    if data.is_empty() {
        return Err(Error::refused("no sequence to train on", "give data with at least one example"));
    }
    let (Size::Tokens(limit) | Size::Examples(limit)) = size;
    let (Amount::Epochs(goal) | Amount::Tokens(goal)) = amount;
    if limit == 0 || goal == 0 {
        return Err(Error::refused("a batch or a run of size 0", "give numbers of at least 1"));
    }
    let weight = |i: usize| if matches!(size, Size::Tokens(_)) { data.length(i) } else { 1 };
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut seen = 0;
    for epoch in 0.. {
        if matches!(amount, Amount::Epochs(n) if epoch == n) {
            break;
        }
        let mut order: Vec<usize> = (0..data.len()).collect();
        order.shuffle(&mut stream(seed, &format!("order of epoch {epoch}")));
        let (mut batch, mut load) = (Vec::new(), 0);
        for i in order {
            if !batch.is_empty() && load + weight(i) > limit {
                batches.push(std::mem::take(&mut batch));
                load = 0;
                if matches!(amount, Amount::Tokens(n) if seen >= n) {
                    return Ok(batches);
                }
            }
            batch.push(i);
            load += weight(i);
            seen += data.length(i);
        }
        batches.push(batch);
        if matches!(amount, Amount::Tokens(n) if seen >= n) {
            break;
        }
    }
    Ok(batches)
}

/// Cuts a batch into at most `n` shards of about equal tokens, by lengths alone: the longest goes to the lightest.
pub fn shards(data: &Sequences, batch: &[usize], n: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..batch.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(data.length(batch[*i])), *i));
    let mut shards = vec![(0usize, Vec::new()); n.clamp(1, batch.len().max(1))];
    for i in order {
        let lightest = (0..shards.len()).min_by_key(|s| (shards[*s].0, *s)).unwrap_or(0);
        shards[lightest].0 += data.length(batch[i]);
        shards[lightest].1.push(i);
    }
    let members = |mut own: Vec<usize>| {
        own.sort_unstable();
        own.into_iter().map(|i| batch[i]).collect()
    };
    shards.into_iter().map(|(_, own)| members(own)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(lengths: &[usize]) -> Sequences {
        let mut data = Sequences::default();
        lengths.iter().for_each(|n| data.push(&vec![1; *n], |_| true));
        data
    }

    #[test]
    fn every_epoch_holds_every_sequence_once_in_another_order() {
        let data = data(&[3; 10]);
        let plan = plan(&data, Size::Examples(4), Amount::Epochs(2), 1).unwrap();
        assert_eq!(plan.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2, 4, 4, 2]);
        let epoch = |k: usize| plan[3 * k..3 * k + 3].concat();
        for k in 0..2 {
            let mut sorted = epoch(k);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(epoch(0), epoch(1));
    }

    #[test]
    fn a_budget_of_tokens_is_kept_and_the_goal_is_reached() {
        let data = data(&[5, 40, 7, 9, 30, 11, 2, 16]);
        let plan = plan(&data, Size::Tokens(32), Amount::Tokens(300), 3).unwrap();
        let load = |b: &Vec<usize>| b.iter().map(|i| data.length(*i)).sum::<usize>();
        // The sequence of 40 tokens is the only one that may stand alone above the budget.
        assert!(plan.iter().all(|b| load(b) <= 32 || b == &[1]));
        let seen: usize = plan.iter().map(load).sum();
        // The last batch is filled before the run ends.
        assert!((300..332).contains(&seen), "{seen}");
    }

    #[test]
    fn shards_hold_the_batch_and_weigh_about_the_same() {
        let data = data(&[50, 40, 30, 20, 10]);
        let cut = shards(&data, &[4, 3, 2, 1, 0], 2);
        // 50, then 40 and 30 to the other, 20 to the first, 10 to either (a tie goes to the first): 80 and 70.
        assert_eq!(cut, [vec![4, 3, 0], vec![2, 1]]);
        assert_eq!(shards(&data, &[2], 2), [vec![2]]);
    }

    #[test]
    fn nothing_to_train_on_is_refused() {
        assert!(plan(&data(&[]), Size::Tokens(8), Amount::Epochs(1), 0).is_err());
        assert!(plan(&data(&[3]), Size::Tokens(0), Amount::Epochs(1), 0).is_err());
    }
}
