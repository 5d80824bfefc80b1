//! Prompts into the cache, each beginning that several starts share once.
//!
//! Starts with the same tokens are the same computation up to the first position that one of their own edits covers, and
//! with the same edits up to the end of the prompt. Where a start is cut depends on the start alone and a cut changes no
//! bit on the CPU, so that a text never depends on what it was drawn beside.

use super::adapter::Adapter;
use super::batch::Follow;
use super::generate::Start;
use super::pass::{Edit, Hooks};
use super::receipt::{Receipt, Touched};
use super::rewriting::first_edited;
use super::rows::{Example, Rows};
use super::{Cache, Head, Lm, forward};
use crate::error::Result;
use candle_core::Tensor;
use std::collections::HashMap;

/// The logits behind each prompt, `[start, d_vocab]`, and what the edits did on the way: to a row that several starts share
/// as to one of each. Starts are known by their place behind `first`, in the cache, to who follows and in the receipts.
pub(super) fn prefill(
    lm: &dyn Lm,
    adapters: &[Adapter],
    (first_index, starts): (usize, &[Start]),
    edits: &[&dyn Edit],
    cache: &mut Cache,
    mut follow: Option<&mut dyn Follow>,
) -> Result<(Tensor, Vec<Receipt>)> {
    let mut receipts = vec![Receipt::default(); edits.len()];
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let cuts: Vec<usize> = starts.iter().map(|s| cut(lm, s, edits)).collect();
    let heads =
        Groups::of(starts, |i| (cuts[i] > 0).then(|| (&starts[i].tokens[..cuts[i]], starts[i].adapter, &[][..])));
    let whole = |i: usize| cuts[i] == starts[i].tokens.len();
    if !heads.leaders.is_empty() {
        let rows = |&i: &usize| {
            let example = Example { edits: vec![], ..example(first_index, starts, i, 0) };
            (example, starts[i].tokens[..cuts[i]].to_vec())
        };
        let rows = Rows::pack(heads.leaders.iter().map(rows));
        let head = if heads.leaders.iter().any(|i| whole(*i)) { Head::LastRows } else { Head::Skip };
        let mut hooks = listened(Hooks::default().adapters(adapters), &mut follow);
        let (logits, _) = forward(lm, &rows, &mut hooks, Some(cache), head)?;
        first.extend(logits);
    }
    let tails =
        Groups::of(starts, |i| (!whole(i)).then(|| (&starts[i].tokens[..], starts[i].adapter, &starts[i].edits[..])));
    let forks = |groups: &Groups, wanted: &dyn Fn(usize) -> bool| -> Vec<(usize, usize)> {
        let of = groups.leader.iter().enumerate().filter_map(|(i, l)| Some((l.filter(|l| *l != i)?, i)));
        of.filter(|(_, i)| wanted(*i)).map(|(l, i)| (first_index + l, first_index + i)).collect()
    };
    cache.fork(&forks(&heads, &|i| whole(i) || tails.leaders.contains(&i)))?;
    if let Some(follow) = &mut follow {
        follow.forked(&forks(&heads, &|_| true));
    }
    if !tails.leaders.is_empty() {
        let rows = |&i: &usize| (example(first_index, starts, i, cuts[i]), starts[i].tokens[cuts[i]..].to_vec());
        let rows = Rows::pack(tails.leaders.iter().map(rows));
        let hooks = edits.iter().fold(Hooks::default().adapters(adapters), |h, e| h.edit(*e));
        let mut hooks = listened(hooks, &mut follow);
        let (logits, done) = forward(lm, &rows, &mut hooks, Some(cache), Head::LastRows)?;
        second.extend(logits);
        let members = tails.members();
        for (all, one) in receipts.iter_mut().zip(done) {
            for touched in one.touched {
                for example in members[&(touched.example - first_index)].iter().map(|m| first_index + m) {
                    let (before, after) = (f64::from(touched.before), f64::from(touched.after));
                    all.push(Touched { example, ..touched }, before, after);
                }
            }
        }
        cache.fork(&forks(&tails, &|_| true))?;
        if let Some(follow) = &mut follow {
            follow.forked(&forks(&tails, &|_| true));
        }
    }
    let behind = if first.is_empty() { 0 } else { heads.leaders.len() };
    let place = |i: usize| -> u32 {
        let at = |groups: &Groups| groups.leaders.iter().position(|l| Some(*l) == groups.leader[i]).unwrap_or(0);
        (if whole(i) { at(&heads) } else { behind + at(&tails) }) as u32
    };
    let places: Vec<u32> = (0..starts.len()).map(place).collect();
    let all: Vec<Tensor> = first.into_iter().chain(second).collect();
    let all = if all.len() == 1 { all[0].clone() } else { Tensor::cat(&all, 0)? };
    if places.len() == all.dim(0)? && places.iter().enumerate().all(|(i, p)| i as u32 == *p) {
        return Ok((all, receipts));
    }
    let places = Tensor::from_vec(places, starts.len(), all.device())?;
    Ok((all.index_select(&places, 0)?, receipts))
}

/// With whoever follows among those that listen.
fn listened<'h>(hooks: Hooks<'h>, follow: &'h mut Option<&mut dyn Follow>) -> Hooks<'h> {
    match follow {
        Some(follow) => hooks.tap(&mut **follow),
        None => hooks,
    }
}

/// The rows of a start from a position on; starts are counted from `first_index`.
pub(super) fn example(first_index: usize, starts: &[Start], place: usize, first_pos: usize) -> Example {
    let s = &starts[place];
    let (index, prompt_len) = (first_index + place, s.tokens.len());
    Example { index, rows: 0..0, first_pos, prompt_len, adapter: s.adapter, edits: s.edits.clone() }
}

/// How many tokens of a prompt its own edits cannot have touched.
fn cut(lm: &dyn Lm, start: &Start, edits: &[&dyn Edit]) -> usize {
    // There the rotary positions of a prompt depend on its length: it is computed as a whole.
    if lm.positions_change_at().is_some() && !start.edits.is_empty() {
        return 0;
    }
    first_edited(edits, &example(0, std::slice::from_ref(start), 0, 0)).min(start.tokens.len())
}

/// What starts share.
type Shared<'a> = (&'a [u32], Option<usize>, &'a [usize]);

/// Starts that share something: the first of them stands for all.
struct Groups {
    leaders: Vec<usize>,
    /// Who stands for each start; `None` where it takes no part.
    leader: Vec<Option<usize>>,
}

impl Groups {
    fn of<'a>(starts: &[Start], shared: impl Fn(usize) -> Option<Shared<'a>>) -> Groups {
        let (mut known, mut leaders): (HashMap<Shared, usize>, Vec<usize>) = Default::default();
        let leader = (0..starts.len()).map(|i| {
            Some(*known.entry(shared(i)?).or_insert_with(|| {
                leaders.push(i);
                i
            }))
        });
        let leader = leader.collect();
        Groups { leaders, leader }
    }

    /// The starts that each stands for.
    fn members(&self) -> HashMap<usize, Vec<usize>> {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        for (i, leader) in self.leader.iter().enumerate() {
            leader.iter().for_each(|l| members.entry(*l).or_default().push(i));
        }
        members
    }
}
