//! Prompts into the cache, each beginning that several starts share once.
//!
//! Starts with the same tokens are the same computation up to the first position that one of their own edits covers, and
//! with the same edits up to the end of the prompt. A cut changes no bit on the CPU, so that a text never depends on what
//! it was drawn beside.

use super::adapter::Adapter;
use super::batch::Follow;
use super::generate::Start;
use super::kept::Kept;
use super::pass::{Edit, Hooks};
use super::receipt::{Receipt, Touched};
use super::rewriting::first_edited;
use super::rows::{Example, Rows};
use super::{Cache, Head, Lm, forward};
use crate::error::Result;
use candle_core::Tensor;
use std::collections::HashMap;
use std::ops::Range;

/// Prompt tokens of one start in one pass, where prompts are read in pieces; and of all starts, where there are several.
const PIECE: usize = 128;

/// What prompts are read with.
pub(super) struct On<'a> {
    pub lm: &'a dyn Lm,
    pub adapters: &'a [Adapter],
    pub starts: &'a [Start],
    pub edits: &'a [&'a dyn Edit],
}

/// Prompts that are being read. Starts are known by their place behind `first`, in the cache, to who follows and in the
/// receipts.
pub(super) struct Prefill {
    first: usize,
    /// How many tokens of each start are read without its edits.
    cuts: Vec<usize>,
    /// What is common without edits, and what with them.
    heads: Groups,
    tails: Groups,
    stage: Stage,
    /// Where each leader of the stage goes on.
    at: Vec<usize>,
    /// Logits behind prompts, `[start, d_vocab]`, and the leaders whose they are.
    logits: Vec<(Tensor, Vec<usize>)>,
    receipts: Vec<Receipt>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Heads,
    Tails,
    Over,
}

impl Prefill {
    /// Nothing is read yet.
    pub fn new(first: usize, on: &On) -> Prefill {
        let starts = on.starts;
        let own: Vec<usize> = starts.iter().map(|s| cut(on.lm, s, on.edits)).collect();
        let cuts = cuts(starts, &own);
        let whole = |i: usize| cuts[i] == starts[i].tokens.len();
        let heads =
            Groups::of(starts, |i| (cuts[i] > 0).then(|| (&starts[i].tokens[..cuts[i]], starts[i].adapter, &[][..])));
        let tails = Groups::of(starts, |i| {
            let touched = own[i] < starts[i].tokens.len();
            let edits = if touched { &starts[i].edits[..] } else { &[] };
            (!whole(i)).then(|| (&starts[i].tokens[..], starts[i].adapter, edits))
        });
        let (at, receipts) = (vec![0; heads.leaders.len()], vec![Receipt::default(); on.edits.len()]);
        Prefill { first, cuts, heads, tails, stage: Stage::Heads, at, logits: vec![], receipts }
    }

    /// Begins prompts with what is kept of conversations that they go on from. Before anything is read.
    pub fn recall(&mut self, on: &On, kept: &mut Kept, cache: &mut Cache, mut follow: Option<&mut dyn Follow>) {
        for (l, leader) in self.heads.leaders.iter().enumerate() {
            let (start, index) = (&on.starts[*leader], self.first + leader);
            // The logits come from the last row.
            let end = self.cuts[*leader].min(start.tokens.len() - 1);
            let takes = |from, rows| follow.as_mut().is_none_or(|f| f.goes_on(from, index, rows));
            if let Some((from, rows)) = kept.find(&start.tokens[..end], start.adapter, takes) {
                cache.begin(index, from, rows);
                self.at[l] = rows;
            }
        }
    }

    /// Reads all that is left, in as few passes as can be.
    ///
    /// # Errors
    /// A failed pass.
    pub fn whole(&mut self, on: &On, cache: &mut Cache, mut follow: Option<&mut dyn Follow>) -> Result<()> {
        while !self.over() {
            self.pass(on, usize::MAX, cache, follow.as_mut().map(|f| &mut **f as &mut dyn Follow))?;
        }
        Ok(())
    }

    /// One pass over the next pieces: how much of a prompt it reads does not depend on who else is there.
    ///
    /// # Errors
    /// A failed pass.
    pub fn piece(&mut self, on: &On, cache: &mut Cache, follow: Option<&mut dyn Follow>) -> Result<()> {
        // There rotary positions depend on the length of what is read at once.
        let piece = if on.lm.positions_change_at().is_some() { usize::MAX } else { PIECE };
        self.pass(on, piece, cache, follow)
    }

    /// Whether nothing is read yet.
    pub fn untouched(&self) -> bool {
        self.stage == Stage::Heads && self.at.iter().all(|at| *at == 0)
    }

    /// Whether all is read.
    pub fn over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn pass(&mut self, on: &On, piece: usize, cache: &mut Cache, mut follow: Option<&mut dyn Follow>) -> Result<()> {
        let mut due = self.due(on, piece);
        while due.is_empty() && !self.over() {
            self.close(cache, &mut follow)?;
            due = self.due(on, piece);
        }
        if self.over() {
            return Ok(());
        }
        self.read(on, &due, cache, &mut follow)?;
        while !self.over() && self.due(on, piece).is_empty() {
            self.close(cache, &mut follow)?;
        }
        Ok(())
    }

    /// The next piece of each leader of the stage, as many as fit in a pass: its place among the leaders, and positions.
    fn due(&self, on: &On, piece: usize) -> Vec<(usize, Range<usize>)> {
        let mut rows = 0;
        let next = |(l, leader): (usize, &usize)| {
            let (from, end) = (self.at[l], self.end(on, *leader));
            let to = (from / piece + 1).saturating_mul(piece).min(end);
            (from < end).then_some((l, from..to))
        };
        let fits = |(_, range): &(usize, Range<usize>)| {
            rows += range.len();
            rows == range.len() || rows <= piece
        };
        self.leaders().iter().enumerate().filter_map(next).take_while(fits).collect()
    }

    fn leaders(&self) -> &[usize] {
        match self.stage {
            Stage::Heads => &self.heads.leaders,
            Stage::Tails => &self.tails.leaders,
            Stage::Over => &[],
        }
    }

    /// Up to which position a leader is read in this stage.
    fn end(&self, on: &On, leader: usize) -> usize {
        if self.stage == Stage::Heads { self.cuts[leader] } else { on.starts[leader].tokens.len() }
    }

    fn read(
        &mut self,
        on: &On,
        due: &[(usize, Range<usize>)],
        cache: &mut Cache,
        follow: &mut Option<&mut dyn Follow>,
    ) -> Result<()> {
        let edited = self.stage == Stage::Tails;
        let leaders: Vec<usize> = due.iter().map(|(l, _)| self.leaders()[*l]).collect();
        let rows = Rows::pack(due.iter().zip(&leaders).map(|((_, range), leader)| {
            let mut example = example(self.first, on.starts, *leader, range.start);
            if !edited {
                example.edits.clear();
            }
            (example, on.starts[*leader].tokens[range.clone()].to_vec())
        }));
        let ends = |at: &usize| due[*at].1.end == on.starts[leaders[*at]].tokens.len();
        let ending: Vec<usize> = (0..due.len()).filter(ends).collect();
        let hooks = Hooks::default().adapters(on.adapters);
        let hooks = if edited { on.edits.iter().fold(hooks, |h, e| h.edit(*e)) } else { hooks };
        let head = if ending.is_empty() { Head::Skip } else { Head::LastRows };
        let (logits, done) = forward(on.lm, &rows, &mut listened(hooks, follow), Some(cache), head)?;
        if let Some(logits) = logits {
            self.logits.push((picked(logits, &ending)?, ending.iter().map(|at| leaders[*at]).collect()));
        }
        self.note(done);
        due.iter().for_each(|(l, range)| self.at[*l] = range.end);
        Ok(())
    }

    /// What the edits did to a row that several starts share they did to one of each.
    fn note(&mut self, done: Vec<Receipt>) {
        let members = self.tails.members();
        for (all, one) in self.receipts.iter_mut().zip(done) {
            for touched in one.touched {
                for example in members[&(touched.example - self.first)].iter().map(|m| self.first + m) {
                    let (before, after) = (f64::from(touched.before), f64::from(touched.after));
                    all.push(Touched { example, ..touched }, before, after);
                }
            }
        }
    }

    /// Gives what the leaders of a stage have read to those they stand for.
    fn close(&mut self, cache: &mut Cache, follow: &mut Option<&mut dyn Follow>) -> Result<()> {
        let heads = self.stage == Stage::Heads;
        let groups = if heads { &self.heads } else { &self.tails };
        // The tail of a start without one of its own is another's.
        let goes_on = |i: usize| !heads || self.tails.leader[i].is_none_or(|l| l == i);
        let of = groups.leader.iter().enumerate().filter_map(|(i, l)| Some((l.filter(|l| *l != i)?, i)));
        let all: Vec<(usize, usize)> = of.map(|(l, i)| (self.first + l, self.first + i)).collect();
        let read: Vec<(usize, usize)> = all.iter().copied().filter(|(_, i)| goes_on(i - self.first)).collect();
        cache.fork(&read)?;
        if let Some(follow) = follow {
            follow.forked(&all);
        }
        self.stage = if heads { Stage::Tails } else { Stage::Over };
        self.at = self.leaders().iter().map(|l| self.cuts[*l]).collect();
        Ok(())
    }

    /// The logits behind each prompt, `[start, d_vocab]`, and what the edits did on the way.
    ///
    /// # Errors
    /// Tensors that cannot be joined.
    pub fn finish(self) -> Result<(Tensor, Vec<Receipt>)> {
        let order: Vec<usize> = self.logits.iter().flat_map(|(_, leaders)| leaders.iter().copied()).collect();
        let row: HashMap<usize, usize> = order.iter().enumerate().map(|(row, leader)| (*leader, row)).collect();
        let all: Vec<Tensor> = self.logits.into_iter().map(|(logits, _)| logits).collect();
        let all = if all.len() == 1 { all[0].clone() } else { Tensor::cat(&all, 0)? };
        let leader = |i: usize| self.tails.leader[i].or(self.heads.leader[i]).unwrap_or(i);
        let places: Vec<usize> = (0..self.cuts.len()).map(|i| row[&leader(i)]).collect();
        Ok((picked(all, &places)?, self.receipts))
    }
}

/// Rows of a tensor; the tensor itself where these are all of them in their order.
fn picked(all: Tensor, rows: &[usize]) -> Result<Tensor> {
    if rows.len() == all.dim(0)? && rows.iter().enumerate().all(|(i, row)| i == *row) {
        return Ok(all);
    }
    let rows: Vec<u32> = rows.iter().map(|r| *r as u32).collect();
    let n = rows.len();
    Ok(all.index_select(&Tensor::from_vec(rows, n, all.device())?, 0)?)
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

/// How many tokens of each prompt are read without edits: as many as its own cannot have touched. Of a prompt that none
/// touches, as many as of the same prompt where some do, so that the two share them.
fn cuts(starts: &[Start], own: &[usize]) -> Vec<usize> {
    let mut edited: HashMap<Shared, usize> = HashMap::new();
    let whole = |s: &Start, cut: usize| cut == s.tokens.len();
    for (s, cut) in starts.iter().zip(own).filter(|(s, cut)| !whole(s, **cut) && **cut > 0) {
        let most = edited.entry(plain(s)).or_default();
        *most = (*most).max(*cut);
    }
    let of = |(s, own): (&Start, &usize)| match edited.get(&plain(s)) {
        Some(shared) if whole(s, *own) => *shared,
        _ => *own,
    };
    starts.iter().zip(own).map(of).collect()
}

/// How many tokens of a prompt its own edits cannot have touched.
fn cut(lm: &dyn Lm, start: &Start, edits: &[&dyn Edit]) -> usize {
    // There the rotary positions of a prompt depend on its length: it is computed as a whole.
    if lm.positions_change_at().is_some() && !start.edits.is_empty() {
        return 0;
    }
    first_edited(edits, &example(0, std::slice::from_ref(start), 0, 0)).min(start.tokens.len())
}

/// A prompt as it is without edits.
fn plain(start: &Start) -> Shared<'_> {
    (&start.tokens, start.adapter, &[])
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
