//! What has been read of conversations that go on: their next prompt begins with it.
//!
//! Keys and values of a row depend on the tokens up to it and on the adapter alone, bit for bit on the CPU, so that a
//! prompt which begins with what is kept gives what it gives when it is read anew.

use std::cmp::Reverse;

/// Beginnings at most, whatever their length.
const MOST: usize = 16;
/// Shared tokens that are worth a copy.
const LEAST: usize = 32;

/// Beginnings that are kept, each as an example of the cache.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Tokens of all together, at most.
    room: usize,
    /// Least recently used first.
    held: Vec<Beginning>,
}

#[derive(Debug)]
struct Beginning {
    index: usize,
    adapter: Option<usize>,
    tokens: Vec<u32>,
}

impl Kept {
    /// Keeps up to `room` tokens.
    pub fn new(room: usize) -> Kept {
        Kept { room, held: vec![] }
    }

    /// Whether anything is ever kept.
    pub fn keeps(&self) -> bool {
        self.room > 0
    }

    /// How many rows of an example of the cache are kept, if any.
    pub fn rows(&self, index: usize) -> Option<usize> {
        self.held.iter().find(|b| b.index == index).map(|b| b.tokens.len())
    }

    /// Takes a beginning in; gives the examples that are kept no longer, the new one among them where there is no use or
    /// no room for it.
    pub fn add(&mut self, index: usize, adapter: Option<usize>, tokens: Vec<u32>) -> Vec<usize> {
        let covers = |long: &[u32], short: &[u32]| long.starts_with(short);
        let known = self.held.iter().any(|b| b.adapter == adapter && covers(&b.tokens, &tokens));
        if known || tokens.len() < LEAST || tokens.len() > self.room {
            return vec![index];
        }
        // What the new one begins with is kept with it.
        let mut out: Vec<usize> =
            self.held.extract_if(.., |b| b.adapter == adapter && covers(&tokens, &b.tokens)).map(|b| b.index).collect();
        self.held.push(Beginning { index, adapter, tokens });
        let over =
            |held: &[Beginning]| held.len() > MOST || held.iter().map(|b| b.tokens.len()).sum::<usize>() > self.room;
        while over(&self.held) {
            out.push(self.held.remove(0).index);
        }
        out
    }

    /// The example that shares most with `tokens`, and how many; `takes` says whether it will do.
    pub fn find(
        &mut self,
        tokens: &[u32],
        adapter: Option<usize>,
        mut takes: impl FnMut(usize, usize) -> bool,
    ) -> Option<(usize, usize)> {
        let shared = |b: &Beginning| b.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let of = |(at, b): (usize, &Beginning)| (b.adapter == adapter).then(|| (at, shared(b)));
        let mut found: Vec<(usize, usize)> =
            self.held.iter().enumerate().filter_map(of).filter(|(_, n)| *n >= LEAST).collect();
        found.sort_by_key(|(_, n)| Reverse(*n));
        let (at, n) = found.into_iter().find(|(at, n)| takes(self.held[*at].index, *n))?;
        let used = self.held.remove(at);
        let index = used.index;
        self.held.push(used);
        Some((index, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(n: usize, at: u32) -> Vec<u32> {
        (0..n as u32).map(|t| t + at).collect()
    }

    #[test]
    fn the_longest_shared_beginning_of_the_same_adapter_is_found() {
        let mut kept = Kept::new(1000);
        assert!(kept.add(1, None, some(100, 0)).is_empty());
        assert!(kept.add(2, Some(0), some(120, 0)).is_empty());
        let other = [some(60, 0), some(90, 500)].concat();
        assert!(kept.add(3, None, other.clone()).is_empty());
        let find = |kept: &mut Kept, tokens: &[u32], adapter| kept.find(tokens, adapter, |_, _| true);
        assert_eq!(find(&mut kept, &some(110, 0), None), Some((1, 100)));
        assert_eq!(find(&mut kept, &some(70, 0), None), Some((1, 70)));
        assert_eq!(find(&mut kept, &some(110, 0), Some(0)), Some((2, 110)));
        assert_eq!(find(&mut kept, &other[..140], None), Some((3, 140)));
        assert_eq!(find(&mut kept, &some(110, 0), Some(1)), None);
        assert_eq!(find(&mut kept, &some(LEAST - 1, 0), None), None);
        // Whoever looks may refuse one: the next best is taken.
        assert_eq!(kept.find(&some(110, 0), None, |index, _| index != 1), Some((3, 60)));
        assert_eq!(kept.find(&some(110, 0), None, |_, _| false), None);
    }

    #[test]
    fn a_longer_one_takes_the_place_of_what_it_begins_with_and_a_known_one_is_not_kept_twice() {
        let mut kept = Kept::new(1000);
        kept.add(1, None, some(100, 0));
        assert_eq!(kept.add(2, None, some(150, 0)), [1]);
        assert_eq!(kept.add(3, None, some(120, 0)), [3]);
        assert_eq!(kept.add(4, None, some(LEAST - 1, 9)), [4]);
        assert!(kept.add(5, Some(1), some(120, 0)).is_empty());
        assert_eq!([1, 2, 3, 4, 5].map(|i| kept.rows(i)), [None, Some(150), None, None, Some(120)]);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut kept = Kept::new(300);
        (0..3).for_each(|i| assert!(kept.add(i, None, some(100, 1000 * i as u32)).is_empty()));
        assert_eq!(kept.find(&some(100, 0), None, |_, _| true), Some((0, 100)));
        assert_eq!(kept.add(3, None, some(150, 9000)), [1, 2]);
        assert_eq!([kept.rows(0), kept.rows(3)], [Some(100), Some(150)]);
        assert_eq!(kept.add(4, None, some(301, 0)), [4], "more than there is room for");
        let mut many = Kept::new(usize::MAX);
        let gone: Vec<usize> = (0..MOST + 2).flat_map(|i| many.add(i, None, some(40, 100 * i as u32))).collect();
        assert_eq!(gone, [0, 1]);
    }
}
