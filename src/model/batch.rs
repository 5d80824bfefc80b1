//! Replies under way: prompts come in while others are being answered, and go when theirs is done.
//!
//! What a row gives does not depend on the rows beside it, so a reply has the same tokens whoever else is there.

use super::adapter::Adapter;
use super::generate::{Settings, Start, fits};
use super::judge::Judge;
use super::kept::Kept;
use super::kernels::portable::{self, Largest};
use super::pass::{Edit, Hooks, Tap};
use super::prefill::{On, Prefill, example};
use super::receipt::{Did, Receipt};
use super::rewriting::first_edited;
use super::rows::{Example, Rows};
use super::{Cache, Head, Lm, forward};
use crate::error::Result;
use crate::rng::stream;
use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// A tap on all passes of a batch. It is shown every token of a prompt and of a reply once, the last of a reply too.
pub trait Follow: Tap {
    /// Examples whose rows so far are those of another one, as (from, to): they were computed once for both.
    fn forked(&mut self, pairs: &[(usize, usize)]);
    /// Whether the first `rows` rows of a start that has left can stand for those of another one. Where they do, they
    /// are not shown again.
    fn goes_on(&mut self, from: usize, to: usize, rows: usize) -> bool;
}

/// Why a reply is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model drew a token that ends it.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

/// What a step drew for one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Index of the start.
    pub index: usize,
    /// The token; none where it ended the reply.
    pub token: Option<u32>,
    pub ended: Option<Ended>,
}

/// Replies under way on one model.
pub struct Batch<'m> {
    lm: &'m dyn Lm,
    adapters: &'m [Adapter],
    cache: Cache,
    kept: Kept,
    parties: Vec<Party<'m>>,
    /// Logits that wait for a draw, `[start, d_vocab]`, and the starts.
    logits: Vec<(Tensor, Vec<usize>)>,
    next: usize,
    largest: Option<Largest>,
}

/// Starts that came together: their beginnings are shared, and their edits and settings are one list.
struct Party<'m> {
    first: usize,
    starts: Vec<Start>,
    edits: Vec<Box<dyn Edit + 'm>>,
    settings: Settings,
    rngs: Vec<ChaCha8Rng>,
    replies: Vec<Vec<u32>>,
    state: Vec<State>,
    receipts: Vec<Receipt>,
    /// Whether what was read of them is kept when they leave.
    keeps: bool,
    /// Until the prompts are read.
    prefill: Option<Prefill>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its prompt is being read.
    Coming,
    Going,
    /// All is drawn; the last token is still to be shown to whoever follows.
    Closing,
    Gone,
}

impl State {
    /// Whether its next token goes through the model with those of the others.
    fn draws(self) -> bool {
        matches!(self, State::Going | State::Closing)
    }
}

impl<'m> Batch<'m> {
    /// An empty batch.
    pub fn new(lm: &'m dyn Lm, adapters: &'m [Adapter]) -> Batch<'m> {
        let cache = Cache::new(lm.dims().n_layers);
        let (kept, parties, logits) = (Kept::default(), vec![], vec![]);
        Batch { lm, adapters, cache, kept, parties, logits, next: 0, largest: None }
    }

    /// With room for `tokens` of conversations that go on, see [`Batch::keep`].
    pub fn keeping(self, tokens: usize) -> Batch<'m> {
        // Where all positions change with the length, nothing that was read is of use later.
        let room = if self.lm.positions_change_at().is_some() { 0 } else { tokens };
        Batch { kept: Kept::new(room), ..self }
    }

    /// When the starts that came with this one leave, what was read of them before the first edited position stays, prompt
    /// and reply, for prompts that begin alike. What was used last is kept longest.
    pub fn keep(&mut self, index: usize) {
        if let Some((p, _)) = self.at(index) {
            self.parties[p].keeps = true;
        }
    }

    /// How many rows of a start are still of use: all while it is here, then those that are kept.
    pub fn rows_of(&self, index: usize) -> usize {
        if self.at(index).is_some() { usize::MAX } else { self.kept.rows(index).unwrap_or(0) }
    }

    /// Takes starts in and reads their prompts at once, as [`Batch::enter`] and [`Batch::read`] do piece by piece.
    ///
    /// # Errors
    /// A prompt that the model cannot take, a failed pass. Then none of them is in.
    pub fn join(
        &mut self,
        starts: Vec<Start>,
        edits: Vec<Box<dyn Edit + 'm>>,
        settings: Settings,
        follow: Option<&mut dyn Follow>,
    ) -> Result<Range<usize>> {
        let indices = self.enter(starts, edits, settings)?;
        self.reading(indices.start, follow, Prefill::whole)?;
        Ok(indices)
    }

    /// Takes starts in; their prompts are still to be read. `edits` of a start are indices into `edits`.
    ///
    /// Gives the indices by which they are known from now on, in their order.
    ///
    /// # Errors
    /// A prompt that the model cannot take. Then none of them is in.
    pub fn enter(
        &mut self,
        starts: Vec<Start>,
        edits: Vec<Box<dyn Edit + 'm>>,
        settings: Settings,
    ) -> Result<Range<usize>> {
        let dims = self.lm.dims();
        for s in &starts {
            fits(&s.id, &s.tokens, settings.max_new_tokens, dims.d_vocab, dims.n_ctx)?;
        }
        let (first, n) = (self.next, starts.len());
        let idle = n == 0 || settings.max_new_tokens == 0;
        let rngs = starts.iter().map(|s| stream(s.seed, &format!("sample {}", s.id))).collect();
        let state = vec![if idle { State::Gone } else { State::Coming }; n];
        let (replies, receipts) = (vec![vec![]; n], vec![Receipt::default(); edits.len()]);
        let (keeps, prefill) = (false, None);
        let mut party = Party { first, starts, edits, settings, rngs, replies, state, receipts, keeps, prefill };
        if !idle {
            let edits: Vec<&dyn Edit> = party.edits.iter().map(|e| &**e).collect();
            let on = On { lm: self.lm, adapters: self.adapters, starts: &party.starts, edits: &edits };
            party.prefill = Some(Prefill::new(first, &on));
        }
        self.parties.push(party);
        self.next += n;
        Ok(first..self.next)
    }

    /// Reads the next piece of the prompts of the starts that came with this one; whether they are read by now.
    ///
    /// # Errors
    /// A failed pass. Then they are out.
    pub fn read(&mut self, index: usize, follow: Option<&mut dyn Follow>) -> Result<bool> {
        self.reading(index, follow, Prefill::piece)
    }

    fn reading(
        &mut self,
        index: usize,
        mut follow: Option<&mut dyn Follow>,
        read: impl FnOnce(&mut Prefill, &On, &mut Cache, Option<&mut dyn Follow>) -> Result<()>,
    ) -> Result<bool> {
        let Some((p, _)) = self.at(index) else { return Ok(true) };
        let party = &mut self.parties[p];
        let Some(mut prefill) = party.prefill.take() else { return Ok(true) };
        let edits: Vec<&dyn Edit> = party.edits.iter().map(|e| &**e).collect();
        let on = On { lm: self.lm, adapters: self.adapters, starts: &party.starts, edits: &edits };
        if prefill.untouched() {
            let follow = follow.as_mut().map(|f| &mut **f as &mut dyn Follow);
            prefill.recall(&on, &mut self.kept, &mut self.cache, follow);
        }
        let done = read(&mut prefill, &on, &mut self.cache, follow).and_then(|()| match prefill.over() {
            true => Ok(Some(prefill.finish()?)),
            false => {
                party.prefill = Some(prefill);
                Ok(None)
            }
        });
        match done {
            Ok(None) => Ok(false),
            Ok(Some((logits, receipts))) => {
                party.receipts = receipts;
                party.state.fill(State::Going);
                self.logits.push((logits, (party.first..party.first + party.starts.len()).collect()));
                Ok(true)
            }
            Err(e) => {
                self.dismiss(index);
                Err(e)
            }
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.logits.is_empty() && self.parties.iter().all(|p| p.prefill.is_none())
    }

    /// Draws a token for every start that waits for one, then passes on what was drawn.
    ///
    /// # Errors
    /// A failed pass.
    pub fn step(&mut self, follow: Option<&mut dyn Follow>) -> Result<Vec<Drawn>> {
        let mut drawn = Vec::new();
        for (logits, indices) in std::mem::take(&mut self.logits) {
            let tokens = self.draw(&logits, &indices)?;
            for (index, token) in indices.into_iter().zip(tokens) {
                drawn.extend(self.take(index, token, follow.is_some()));
            }
        }
        self.pass(follow)?;
        Ok(drawn)
    }

    /// A token for each row of `logits`.
    fn draw(&mut self, logits: &Tensor, indices: &[usize]) -> Result<Vec<u32>> {
        let d_vocab = logits.dim(1)?;
        let greedy = |i: &usize| self.at(*i).is_none_or(|(p, _)| self.parties[p].settings.sampling.temperature == 0.0);
        if portable::applies(logits) && indices.iter().all(greedy) {
            // The same choice without moving a vocabulary for every example.
            let largest = match &mut self.largest {
                Some(largest) => largest,
                none => none.insert(Largest::of(d_vocab, logits.device())?),
            };
            return Ok(largest.first(logits)?);
        }
        let logits = portable::to_host(logits)?;
        let mut one = |(index, row): (&usize, &[f32])| match self.at(*index) {
            Some((p, s)) => {
                let party = &mut self.parties[p];
                party.settings.sampling.draw(row, &mut party.rngs[s])
            }
            None => 0,
        };
        Ok(indices.iter().zip(logits.chunks_exact(d_vocab)).map(&mut one).collect())
    }

    /// Adds a token to a reply; nothing where the start has left.
    fn take(&mut self, index: usize, token: u32, followed: bool) -> Option<Drawn> {
        let (p, s) = self.at(index)?;
        let party = &mut self.parties[p];
        if party.state[s] != State::Going {
            return None;
        }
        if party.settings.stops.contains(&token) {
            self.leave(index);
            return Some(Drawn { index, token: None, ended: Some(Ended::Stop) });
        }
        party.replies[s].push(token);
        let full = party.replies[s].len() == party.settings.max_new_tokens;
        match (full, followed) {
            (true, true) => party.state[s] = State::Closing,
            (true, false) => self.leave(index),
            _ => {}
        }
        Some(Drawn { index, token: Some(token), ended: full.then_some(Ended::Length) })
    }

    /// One pass over the last tokens of all that go on.
    fn pass(&mut self, follow: Option<&mut dyn Follow>) -> Result<()> {
        let (mut parts, mut wanted, mut offset) = (Vec::new(), Vec::new(), 0);
        for party in &self.parties {
            for (s, state) in party.state.iter().enumerate().filter(|(_, state)| state.draws()) {
                let index = party.first + s;
                let (prompt, reply) = (&party.starts[s].tokens, &party.replies[s]);
                let pos = prompt.len() + reply.len() - 1;
                let mut of = |first_pos: usize, tokens: Vec<u32>| {
                    let example = example(party.first, &party.starts, s, first_pos);
                    let edits = example.edits.iter().map(|e| e + offset).collect();
                    parts.push((Example { edits, ..example }, tokens));
                };
                // Where all positions change, what is cached is of no use: the sequence is read again as a whole.
                if self.lm.positions_change_at() == Some(pos + 1) {
                    self.cache.drop_example(index);
                    of(0, [&prompt[..], reply].concat());
                } else {
                    of(pos, reply.last().copied().into_iter().collect());
                }
                wanted.push((index, *state == State::Going));
            }
            offset += party.edits.len();
        }
        if parts.is_empty() {
            return Ok(());
        }
        let mut hooks = Hooks::default().adapters(self.adapters);
        for edit in self.parties.iter().flat_map(|p| &p.edits) {
            hooks = hooks.edit(&**edit);
        }
        if let Some(follow) = follow {
            hooks = hooks.tap(follow);
        }
        let any = wanted.iter().any(|(_, going)| *going);
        let head = if any { Head::LastRows } else { Head::Skip };
        let (logits, done) = forward(self.lm, &Rows::pack(parts), &mut hooks, Some(&mut self.cache), head)?;
        self.note(done);
        for (index, _) in wanted.iter().filter(|(_, going)| !going) {
            self.leave(*index);
        }
        let Some(logits) = logits else { return Ok(()) };
        let rows: Vec<u32> = (0..wanted.len() as u32).filter(|r| wanted[*r as usize].1).collect();
        let logits = if rows.len() == wanted.len() {
            logits
        } else {
            let n = rows.len();
            logits.index_select(&Tensor::from_vec(rows, n, logits.device())?, 0)?
        };
        self.logits.push((logits, wanted.into_iter().filter(|w| w.1).map(|w| w.0).collect()));
        Ok(())
    }

    /// Adds what the edits of a pass did to the receipts of their parties. What they did to a last token, which nothing
    /// was drawn behind, is left out: it is seen by followers alone.
    fn note(&mut self, done: Vec<Receipt>) {
        let mut done = done.into_iter();
        for party in &mut self.parties {
            let closing = |index: usize| party.state.get(index.wrapping_sub(party.first)) == Some(&State::Closing);
            for total in &mut party.receipts {
                let Some(mut one) = done.next() else { return };
                for t in one.touched.iter().filter(|t| closing(t.example)) {
                    one.rows -= 1;
                    one.before -= f64::from(t.before);
                    one.after -= f64::from(t.after);
                }
                one.touched.retain(|t| !closing(t.example));
                total.add(one);
            }
        }
    }

    /// The party of a start and its place there.
    fn at(&self, index: usize) -> Option<(usize, usize)> {
        let p = self.parties.partition_point(|p| p.first <= index).checked_sub(1)?;
        let s = index - self.parties[p].first;
        (s < self.parties[p].starts.len()).then_some((p, s))
    }

    /// Lets a start go, whatever it was doing.
    pub fn leave(&mut self, index: usize) {
        if let Some((p, s)) = self.at(index)
            && std::mem::replace(&mut self.parties[p].state[s], State::Gone) != State::Gone
        {
            self.put_away(p, s);
        }
    }

    /// Keeps or drops what was read of a start that leaves.
    fn put_away(&mut self, p: usize, s: usize) {
        let party = &self.parties[p];
        let index = party.first + s;
        if !party.keeps {
            return self.cache.drop_example(index);
        }
        let edits: Vec<&dyn Edit> = party.edits.iter().map(|e| &**e).collect();
        let read = self.cache.rows_of(index);
        let rows = read.min(first_edited(&edits, &example(party.first, &party.starts, s, 0)));
        if rows < read {
            // No more than is counted.
            self.cache.begin(index, index, rows);
        }
        let start = &party.starts[s];
        let tokens: Vec<u32> = start.tokens.iter().chain(&party.replies[s]).copied().take(rows).collect();
        self.kept.add(index, start.adapter, tokens).into_iter().for_each(|i| self.cache.drop_example(i));
    }

    /// What each edit did to a start so far; `edit` counts in the edits that it came with.
    pub fn did(&self, index: usize) -> Vec<Did> {
        let Some((p, _)) = self.at(index) else { return vec![] };
        let own = |(e, receipt): (usize, &Receipt)| {
            let touched = receipt.touched.iter().filter(|t| t.example == index).copied().collect();
            Did::of(e, &Receipt { touched, ..Receipt::default() })
        };
        self.parties[p].receipts.iter().enumerate().flat_map(own).collect()
    }

    /// How unlikely a reply is so far without the edits of its start, in nats; the prompt is not read again where it is
    /// kept.
    ///
    /// # Errors
    /// A failed pass.
    pub fn nll(&mut self, index: usize) -> Result<f64> {
        let Some((p, s)) = self.at(index) else { return Ok(0.0) };
        let (start, reply) = (&self.parties[p].starts[s], &self.parties[p].replies[s]);
        let example = self.next;
        self.next += 1;
        let mut judge =
            Judge { lm: self.lm, adapters: self.adapters, kept: &mut self.kept, cache: &mut self.cache, example };
        judge.nll(start, reply)
    }

    /// Forgets the starts that came with this one, and gives their replies and the receipts of their edits.
    pub fn dismiss(&mut self, index: usize) -> (Vec<Vec<u32>>, Vec<Receipt>) {
        let Some((p, _)) = self.at(index) else { return Default::default() };
        let first = self.parties[p].first;
        (first..first + self.parties[p].starts.len()).for_each(|i| self.leave(i));
        let party = self.parties.remove(p);
        for (_, indices) in &mut self.logits {
            // Draws are by rows, so a place stays; an index that nobody has is skipped.
            indices.iter_mut().filter(|i| (party.first..party.first + party.starts.len()).contains(i)).for_each(|i| {
                *i = usize::MAX;
            });
        }
        self.logits.retain(|(_, indices)| indices.iter().any(|i| *i != usize::MAX));
        (party.replies, party.receipts)
    }
}
