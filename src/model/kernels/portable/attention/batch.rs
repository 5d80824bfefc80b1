//! Attention of packed rows among themselves.

use super::super::super::Attention;
use super::super::index;
use super::SCORE_BYTES;
use super::blocks::{answer, as_rows, causal, heads};
use candle_core::{Device, Result, Tensor};
use std::collections::HashMap;
use std::ops::Range;

/// Which rows stand where in the padded batches of a pass; made once for all its layers.
#[derive(Debug)]
pub struct Layout {
    buckets: Vec<Bucket>,
    /// Where each answer is among those of all buckets; `None` is in this order.
    back: Option<Tensor>,
    answers: usize,
}

/// Examples of like length.
#[derive(Debug)]
struct Bucket {
    n: usize,
    /// Length of the longest.
    keys: usize,
    key_rows: Pick,
    /// The same of the rows that ask, and the position of the first of each example.
    queries: usize,
    query_rows: Pick,
    starts: Vec<usize>,
    masks: HashMap<(Option<usize>, Range<usize>), Tensor>,
}

/// Rows of the packed table.
#[derive(Debug)]
enum Pick {
    Run(Range<usize>),
    Rows(Tensor),
}

/// Masks above this are made anew in every layer.
const KEPT_MASK_BYTES: usize = 32 << 20;

/// A bucket is closed at examples shorter than this part of its longest, and than it by more than [`ANYWAY`].
const LIKE: f64 = 0.75;
/// Rows of padding that are never worth another bucket.
const ANYWAY: usize = 16;
/// Queries of one example that should fit into a block.
const FITTING: usize = 64;

impl Layout {
    /// The layout of the sequences at the row ranges `examples`, of which the rows `asking` are answered (`None`: all).
    pub fn new(
        spec: &Attention,
        examples: &[Range<usize>],
        asking: Option<&[Range<usize>]>,
        device: &Device,
    ) -> Result<Layout> {
        let asking = asking.unwrap_or(examples);
        let mut answers = 0;
        let mut place = |r: &Range<usize>| {
            answers += r.len();
            answers - r.len()
        };
        let places: Vec<usize> = asking.iter().map(&mut place).collect();
        let mut back = vec![0; answers];
        let (mut buckets, mut taken) = (Vec::new(), 0);
        for group in grouped(spec.n_heads, examples, asking) {
            let of = |of: &[Range<usize>]| group.iter().map(|e| of[*e].clone()).collect::<Vec<_>>();
            let (keys, queries) = (of(examples), of(asking));
            let (t, a) = (longest(&keys), longest(&queries));
            for (i, e) in group.iter().enumerate() {
                (0..asking[*e].len()).for_each(|j| back[places[*e] + j] = taken + i * a + j);
            }
            taken += group.len() * a;
            buckets.push(Bucket {
                n: group.len(),
                keys: t,
                key_rows: pick(&keys, t, device)?,
                queries: a,
                query_rows: pick(&queries, a, device)?,
                starts: keys.iter().zip(&queries).map(|(k, q)| q.start - k.start).collect(),
                masks: HashMap::new(),
            });
        }
        let straight = taken == answers && back.iter().enumerate().all(|(i, at)| i == *at);
        let back = if straight { None } else { Some(index(back, device)?) };
        Ok(Layout { buckets, back, answers })
    }

    /// `qkv [row, width]` to `[answer, n_heads * d_head]`.
    pub fn attend(&mut self, qkv: &Tensor, spec: &Attention) -> Result<Tensor> {
        let d_out = spec.n_heads * spec.d_head;
        if self.answers == 0 {
            return Tensor::zeros((0, d_out), qkv.dtype(), qkv.device());
        }
        let mixed = self.buckets.iter_mut().map(|b| b.attend(qkv, spec)).collect::<Result<Vec<_>>>()?;
        let mixed = if let [one] = &mixed[..] { one.clone() } else { Tensor::cat(&mixed, 0)? };
        match &self.back {
            Some(back) => mixed.index_select(back, 0),
            None => Ok(mixed),
        }
    }
}

impl Bucket {
    fn attend(&mut self, qkv: &Tensor, spec: &Attention) -> Result<Tensor> {
        let (n, n_kv, d) = (self.n, spec.n_kv_heads, spec.d_head);
        let (rows, asking) = (self.key_rows.of(qkv)?, self.query_rows.of(qkv)?);
        let part = |first: usize| heads(&rows, n, first, n_kv, d)?.reshape((n * n_kv, self.keys, d));
        let (k, v) = (part(spec.n_heads)?, part(spec.n_heads + n_kv)?);
        let q = heads(&asking, n, 0, spec.n_heads, d)?;
        let q = q.reshape((n, n_kv, spec.n_heads / n_kv, self.queries, d))?;
        as_rows(&answer(spec, &q, &k, &v, |block| self.visible(spec.window, block, qkv.device()))?)
    }

    /// The keys that a block of queries sees any of, and their mask.
    fn visible(
        &mut self,
        window: Option<usize>,
        block: &Range<usize>,
        device: &Device,
    ) -> Result<(Range<usize>, Tensor)> {
        let (low, high) = self.starts.iter().fold((usize::MAX, 0), |(l, h), s| (l.min(*s), h.max(*s)));
        let end = (high + block.end).min(self.keys);
        let start = window.map_or(0, |w| (low + block.start + 1).saturating_sub(w)).min(end - 1);
        let keys = start..end;
        let key = (window, block.clone());
        if let Some(mask) = self.masks.get(&key) {
            return Ok((keys, mask.clone()));
        }
        let starts = if low == high { &self.starts[..1] } else { &self.starts[..] };
        let queries: Vec<Vec<usize>> = starts.iter().map(|s| block.clone().map(|q| s + q).collect()).collect();
        let mask = causal(window, &queries, &keys, device)?;
        if mask.elem_count() * 4 <= KEPT_MASK_BYTES {
            self.masks.insert(key, mask.clone());
        }
        Ok((keys, mask))
    }
}

impl Pick {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Pick::Run(run) => x.narrow(0, run.start, run.len()),
            Pick::Rows(rows) => x.contiguous()?.index_select(rows, 0),
        }
    }
}

fn longest(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(Range::len).max().unwrap_or(0)
}

/// The rows of ranges that are padded to `length` with rows of the table that nothing will look at.
fn pick(ranges: &[Range<usize>], length: usize, device: &Device) -> Result<Pick> {
    let full = ranges.iter().all(|r| r.len() == length);
    if full && ranges.windows(2).all(|w| w[0].end == w[1].start) {
        return Ok(Pick::Run(ranges[0].start..ranges[ranges.len() - 1].end));
    }
    let padded = |r: &Range<usize>| {
        let (start, last) = (r.start, r.len().saturating_sub(1));
        (0..length).map(move |i| start + i.min(last))
    };
    Ok(Pick::Rows(index(ranges.iter().flat_map(padded), device)?))
}

/// Examples that are answered at all in groups of like length, longest first, each small enough for its scores.
fn grouped(n_heads: usize, examples: &[Range<usize>], asking: &[Range<usize>]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples.len()).filter(|e| !asking[*e].is_empty()).collect();
    // Equal lengths stay in the order of the rows, so that examples of one length need no gathering.
    order.sort_by_key(|e| std::cmp::Reverse(examples[*e].len()));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for e in order {
        let length = examples[e].len();
        if let Some(group) = groups.last_mut() {
            let longest = examples[group[0]].len();
            let like = length as f64 >= LIKE * longest as f64 || longest - length <= ANYWAY;
            let bytes = (group.len() + 1) * n_heads * longest * longest.min(FITTING) * 4;
            if like && bytes <= SCORE_BYTES {
                group.push(e);
                continue;
            }
        }
        groups.push(vec![e]);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn groups_hold_like_lengths_and_every_example_that_asks_once() {
        let ranges = |lengths: &[usize]| {
            let ends = lengths.iter().scan(0, |end, l| {
                *end += l;
                Some(*end)
            });
            ends.zip(lengths).map(|(end, l)| end - l..end).collect::<Vec<_>>()
        };
        let examples = ranges(&[100, 3, 100, 80, 74, 10, 1000]);
        // 74 < 75, but only by 26 rows: its own group; 10 and 3 are within 16 of each other.
        assert_eq!(grouped(4, &examples, &examples), [vec![6], vec![0, 2, 3], vec![4], vec![5, 1]]);
        let mut asking = examples.clone();
        asking[2] = asking[2].start..asking[2].start;
        assert_eq!(grouped(4, &examples, &asking), [vec![6], vec![0, 3], vec![4], vec![5, 1]]);
        // 32 heads x 4096 keys x 64 queries x 4 bytes = 32 MiB each: 8 of them fill the bound.
        let long = ranges(&[4096; 9]);
        assert_eq!(grouped(32, &long, &long).iter().map(Vec::len).collect::<Vec<_>>(), [8, 1]);
    }
}
