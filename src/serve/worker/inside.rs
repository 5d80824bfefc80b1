//! What the worker does: one step of the batch after another, and a little of what others wait for in between.

use super::queue::Queue;
use super::{Bulk, Ear, News, Party, Readings};
use crate::error::{Error, Result};
use crate::model::generate::{Settings, Start};
use crate::model::{Batch, Edit, Ended, Model};
use crate::unit::{Item, Outcome, Plan, Task};
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long prompts are read between two steps of the batch, when more of them wait: everybody else waits for it.
const READ: Duration = Duration::from_millis(30);
/// Tokens of others' work between two steps.
const BULK_TOKENS: usize = 512;
/// Arms of others' work in the batch while somebody waits for a reply, and while nobody does.
const BULK_ARMS: [usize; 2] = [8, 64];
/// Bytes of keys and values that may be held; a single request may need more.
const CACHE_BYTES: usize = 2 << 30;
/// And of conversations that may go on.
const KEPT_BYTES: usize = 1 << 30;

/// The worker's own state.
pub(super) struct Inside<'w> {
    model: &'w Model,
    queue: &'w Queue,
    batch: Batch<'w>,
    readings: Readings,
    talking: Vec<Talking>,
    /// Replies that are complete and wait to be judged, with how they ended.
    unjudged: VecDeque<(usize, Ended)>,
    /// Others' replies that are under way, of the work at the head of its queue.
    bulk: Option<Bulked>,
    /// Bytes that a token takes in the cache.
    token_bytes: usize,
}

/// A party under way.
struct Talking {
    indices: Range<usize>,
    prompts: Vec<usize>,
    /// Whether all of the prompts is.
    read: bool,
    tokens: Vec<Vec<u32>>,
    /// Projections of reply tokens that have been told, by arm.
    told: Vec<usize>,
    over: Vec<bool>,
    room: usize,
    judged: bool,
    ear: Box<dyn Ear>,
}

/// Others' replies under way.
struct Bulked {
    settings: Settings,
    items: Vec<Item>,
    /// Items that have come into the batch.
    begun: usize,
    /// The start of each that is under way, and its item.
    live: Vec<(usize, usize)>,
    replies: Vec<Vec<u32>>,
    answer: mpsc::Sender<Result<Outcome>>,
}

impl<'w> Inside<'w> {
    pub fn new(model: &'w Model, queue: &'w Queue) -> Inside<'w> {
        let dims = model.lm.dims();
        let token_bytes = 2 * dims.n_layers * dims.n_kv_heads * dims.d_head * size_of::<f32>();
        Inside {
            model,
            queue,
            batch: batch(model, token_bytes),
            readings: Readings::default(),
            talking: vec![],
            unjudged: VecDeque::new(),
            bulk: None,
            token_bytes,
        }
    }

    /// Works until the queue says stop.
    pub fn work(mut self) {
        loop {
            if self.queue.held().stopping {
                return;
            }
            // A defect in one request must not take the others' server away.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            let failed = match turn {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some(e.to_string()),
                Err(panic) => Some(words(&*panic)),
            };
            if let Some(what) = failed {
                self.fail(&what);
            }
            self.queue.held().active = self.talking.iter().map(|t| t.over.iter().filter(|o| !**o).count()).sum();
        }
    }

    /// Everybody who is under way is told, and a new batch begins.
    fn fail(&mut self, what: &str) {
        let error = || Error::refused(format!("the worker failed: {what}"), "try again; please report it");
        for mut talking in std::mem::take(&mut self.talking) {
            talking.ear.hear(News::Failed(error()));
        }
        if let Some(bulk) = self.bulk.take() {
            let _ = bulk.answer.send(Err(error()));
        }
        self.unjudged.clear();
        self.batch = batch(self.model, self.token_bytes);
        self.readings = Readings::default();
    }

    fn turn(&mut self) -> Result<()> {
        self.let_go();
        self.admit();
        self.read();
        let judged = self.judge();
        self.others()?;
        if self.batch.is_idle() {
            // Whoever was judged last is still to be let go.
            if !judged {
                self.queue.wait();
            }
            return Ok(());
        }
        let drawn = self.batch.step(Some(&mut self.readings))?;
        for d in &drawn {
            self.hear(d.index, d.token, d.ended);
        }
        self.tell();
        for d in drawn.iter().filter(|d| d.ended.is_some()) {
            self.end(d.index, d.ended.unwrap_or(Ended::Stop));
        }
        Ok(())
    }

    /// Those nobody listens to any more make room.
    fn let_go(&mut self) {
        for t in self.talking.extract_if(.., |t| t.ear.gone() || t.over.iter().all(|o| *o)) {
            self.batch.dismiss(t.indices.start);
            self.readings.only(|i| self.batch.rows_of(i));
        }
        self.queue.held().parties.retain(|p| !p.ear.gone());
    }

    /// Takes in who waits, oldest first, as long as there is room.
    fn admit(&mut self) {
        loop {
            let held_tokens: usize = self.talking.iter().map(Talking::tokens_held).sum();
            let party = {
                let mut held = self.queue.held();
                let Some(next) = held.parties.front() else { return };
                let new = tokens_of(next);
                let full = (held_tokens + new) * self.token_bytes > CACHE_BYTES && !self.talking.is_empty();
                if full || held.stopping {
                    return;
                }
                // At no moment is it neither waiting nor under way.
                held.active += next.starts.len();
                held.parties.pop_front()
            };
            if let Some(party) = party {
                self.join(party);
            }
        }
    }

    fn join(&mut self, party: Party) {
        let Party { starts, edits, settings, reading, judged, mut ear } = party;
        let (n, room) = (starts.len(), settings.max_new_tokens);
        let prompts = starts.iter().map(|s| s.tokens.len()).collect();
        let edits = edits.into_iter().map(|e| Box::new(e) as Box<dyn Edit>).collect();
        match self.batch.enter(starts, edits, settings) {
            Ok(indices) => {
                self.batch.keep(indices.start);
                indices.clone().for_each(|i| self.readings.expect(i, &reading));
                let (tokens, told, over) = (vec![vec![]; n], vec![0; n], vec![false; n]);
                let read = false;
                self.talking.push(Talking { indices, prompts, read, tokens, told, over, room, judged, ear });
            }
            Err(e) => ear.hear(News::Failed(e)),
        }
    }

    /// Reads prompts piece by piece, of whoever came first, as long as the others can wait.
    fn read(&mut self) {
        let began = Instant::now();
        while let Some(at) = self.talking.iter().position(|t| !t.read) {
            let talking = &mut self.talking[at];
            match self.batch.read(talking.indices.start, Some(&mut self.readings)) {
                Ok(false) => {}
                Ok(true) => {
                    talking.read = true;
                    for (arm, index) in talking.indices.clone().enumerate() {
                        let z = self.readings.of(index).to_vec();
                        if !z.is_empty() {
                            talking.ear.hear(News::Prompt { arm, z });
                        }
                    }
                }
                Err(e) => {
                    let mut talking = self.talking.remove(at);
                    self.readings.only(|i| self.batch.rows_of(i));
                    talking.ear.hear(News::Failed(e));
                }
            }
            if began.elapsed() > READ {
                return;
            }
        }
    }

    /// The party and the arm of a start.
    fn find(&mut self, index: usize) -> Option<(&mut Talking, usize)> {
        let talking = self.talking.iter_mut().find(|t| t.indices.contains(&index))?;
        let arm = index - talking.indices.start;
        Some((talking, arm))
    }

    /// A token that was drawn.
    fn hear(&mut self, index: usize, token: Option<u32>, ended: Option<Ended>) {
        if let Some((talking, arm)) = self.find(index) {
            if let Some(token) = token {
                talking.tokens[arm].push(token);
                talking.ear.hear(News::Token { arm, token });
            }
            return;
        }
        let Some(bulk) = &mut self.bulk else { return };
        let Some(at) = bulk.live.iter().position(|(i, _)| *i == index) else { return };
        bulk.replies[bulk.live[at].1].extend(token);
        if ended.is_some() {
            bulk.live.remove(at);
            self.batch.dismiss(index);
        }
    }

    /// Projections of tokens that have gone through the model by now.
    fn tell(&mut self) {
        for talking in &mut self.talking {
            for (arm, index) in talking.indices.clone().enumerate() {
                let z = self.readings.of(index);
                while let Some(values) = z.get(talking.prompts[arm] + talking.told[arm]) {
                    let at = talking.told[arm];
                    talking.ear.hear(News::Values { arm, at, z: values.clone() });
                    talking.told[arm] += 1;
                }
            }
            talking.ear.settle();
        }
    }

    /// A reply is complete.
    fn end(&mut self, index: usize, ended: Ended) {
        let Some((talking, arm)) = self.find(index) else { return };
        if talking.judged && !talking.tokens[arm].is_empty() {
            self.unjudged.push_back((index, ended));
        } else {
            self.conclude(index, ended, None);
        }
    }

    /// Says how likely one reply is without edits: one between two steps, for it may be a whole prompt to read. Whether
    /// there was one.
    fn judge(&mut self) -> bool {
        let Some((index, ended)) = self.unjudged.pop_front() else { return false };
        let Some((talking, arm)) = self.find(index) else { return true };
        let n = talking.tokens[arm].len() as f64;
        // A reply is one without this number too.
        let nll = self.batch.nll(index).ok().map(|nats| nats / n);
        self.conclude(index, ended, nll);
        true
    }

    fn conclude(&mut self, index: usize, ended: Ended, nll: Option<f64>) {
        let did = self.batch.did(index);
        let Some((talking, arm)) = self.find(index) else { return };
        talking.over[arm] = true;
        talking.ear.hear(News::Ended { arm, ended, did, nll });
    }

    /// A little of what others wait for.
    fn others(&mut self) -> Result<()> {
        if self.bulk.is_none() {
            let next = self.queue.held().bulk.pop_front();
            match next {
                Some(Bulk { task: Task::Generate(settings), items, answer, .. }) => {
                    let replies = vec![vec![]; items.len()];
                    self.bulk = Some(Bulked { settings, items, begun: 0, live: vec![], replies, answer });
                }
                Some(bulk) => self.unit(bulk),
                None => {}
            }
        }
        let Some(bulk) = &mut self.bulk else { return Ok(()) };
        let most = BULK_ARMS[usize::from(self.talking.is_empty())];
        let (mut starts, mut read) = (Vec::new(), 0);
        while bulk.live.len() + starts.len() < most
            && read < BULK_TOKENS
            && bulk.begun + starts.len() < bulk.items.len()
        {
            let item = &bulk.items[bulk.begun + starts.len()];
            read += item.tokens.len();
            starts.push(Start {
                id: item.id.clone(),
                tokens: item.tokens.clone(),
                seed: item.seed,
                adapter: item.adapter,
                edits: vec![],
            });
        }
        for start in starts {
            // Each by itself, so that each can be dismissed when it is done.
            match self.batch.join(vec![start], vec![], bulk.settings.clone(), None) {
                Ok(indices) if bulk.settings.max_new_tokens > 0 => bulk.live.push((indices.start, bulk.begun)),
                Ok(_) => {}
                Err(e) => {
                    let live: Vec<usize> = bulk.live.iter().map(|l| l.0).collect();
                    let _ = bulk.answer.send(Err(e));
                    self.bulk = None;
                    live.into_iter().for_each(|i| drop(self.batch.dismiss(i)));
                    return Ok(());
                }
            }
            bulk.begun += 1;
        }
        if bulk.begun == bulk.items.len() && bulk.live.is_empty() {
            let done = Outcome { replies: std::mem::take(&mut bulk.replies), ..Outcome::default() };
            let _ = bulk.answer.send(Ok(done));
            self.bulk = None;
        }
        Ok(())
    }

    /// The next unit of a capture; what is left of it goes back to the head of the queue.
    fn unit(&self, mut bulk: Bulk) {
        let items = std::mem::take(&mut bulk.items);
        let plan =
            Plan { model: self.model, task: bulk.task.clone(), edits: vec![], items, max_batch_tokens: BULK_TOKENS };
        let units = plan.units();
        let done = match (bulk.done, units.get(bulk.done)) {
            (0, _) if plan.check().is_err() => plan.check().map(|()| Outcome::default()),
            (_, Some(unit)) => plan.execute(unit),
            (_, None) => Ok(Outcome::default()),
        };
        match done {
            Err(e) => drop(bulk.answer.send(Err(e))),
            Ok(outcome) => {
                bulk.so_far = std::mem::take(&mut bulk.so_far).join(outcome);
                bulk.done += 1;
                if bulk.done >= units.len() {
                    let _ = bulk.answer.send(Ok(bulk.so_far));
                    return;
                }
                bulk.items = plan.items;
                let mut held = self.queue.held();
                if !held.stopping {
                    held.bulk.push_front(bulk);
                }
            }
        }
    }
}

impl Talking {
    /// Tokens that it may come to hold in the cache.
    fn tokens_held(&self) -> usize {
        self.prompts.iter().map(|p| p + self.room).sum()
    }
}

/// An empty batch that keeps what was read of conversations.
fn batch(model: &Model, token_bytes: usize) -> Batch<'_> {
    Batch::new(&*model.lm, &model.adapters).keeping(KEPT_BYTES / token_bytes)
}

/// Tokens that a party may come to hold.
fn tokens_of(party: &Party) -> usize {
    party.starts.iter().map(|s| s.tokens.len() + party.settings.max_new_tokens).sum()
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "for no reason that is known".into())
}
