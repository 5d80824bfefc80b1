//! The one worker that has the model: replies of all who ask are drawn in one batch, others' work in between.

mod inside;
mod queue;
mod reading;

pub use reading::{Reading, Readings};

use super::asks::{Asks, shaped};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::generate::{Settings, Start};
use crate::model::kernels::team;
use crate::model::sample::Sampling;
use crate::model::{Did, Ended, Intervention, Model};
use crate::unit::{Item, Outcome, Task};
use inside::Inside;
use ndarray::Array2;
use queue::Queue;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// Arms of one request: they are read together, so that what they share is computed once.
pub struct Party {
    pub starts: Vec<Start>,
    /// `Start::edits` are indices into these.
    pub edits: Vec<Intervention>,
    pub settings: Settings,
    pub reading: Arc<Reading>,
    /// Whether to say how likely each reply is without edits.
    pub judged: bool,
    pub ear: Box<dyn Ear>,
}

/// Whoever waits for a party. It is told from the worker's thread and must not block.
pub trait Ear: Send {
    /// Takes the news.
    fn hear(&mut self, news: News);
    /// A step is over: what was heard may be passed on.
    fn settle(&mut self) {}
    /// Whether nobody listens any more: then the party is let go.
    fn gone(&self) -> bool;
}

/// What becomes of a party; `arm` counts its starts.
#[derive(Debug)]
pub enum News {
    /// Projections of the prompt, `[position][line]`.
    Prompt { arm: usize, z: Vec<Vec<f64>> },
    /// The next token of a reply.
    Token { arm: usize, token: u32 },
    /// Projections of a reply's token, counted from 0, `[line]`.
    Values { arm: usize, at: usize, z: Vec<f64> },
    /// A reply is complete. `nll` in nats per token.
    Ended { arm: usize, ended: Ended, did: Vec<Did>, nll: Option<f64> },
    /// Nothing more comes.
    Failed(Error),
}

/// Work in units, for somebody who waits for all of it.
pub struct Bulk {
    task: Task,
    items: Vec<Item>,
    done: usize,
    so_far: Outcome,
    answer: mpsc::Sender<Result<Outcome>>,
}

/// Waits for the projections of a prompt and for nothing else.
struct Reader {
    send: Option<mpsc::Sender<Result<Vec<Vec<f64>>>>>,
}

impl Ear for Reader {
    fn hear(&mut self, news: News) {
        let said = match news {
            News::Prompt { z, .. } => Ok(z),
            News::Failed(e) => Err(e),
            _ => return,
        };
        if let Some(send) = self.send.take() {
            let _ = send.send(said);
        }
    }

    fn gone(&self) -> bool {
        self.send.is_none()
    }
}

/// The handle of the worker. Cheap to share.
pub struct Worker {
    model: Arc<Model>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the worker on a thread of its own, with `threads - 1` helpers.
    pub fn start(model: Arc<Model>, threads: usize) -> Worker {
        let queue = Arc::new(Queue::default());
        let (of_thread, waiting) = (model.clone(), queue.clone());
        let threads = model.workers(threads).max(1);
        let thread = std::thread::spawn(move || team::with(threads, || Inside::new(&of_thread, &waiting).work()));
        Worker { model, queue, thread: Mutex::new(Some(thread)) }
    }

    /// Hands a party in; how many arms wait before it comes back.
    ///
    /// # Errors
    /// Too many wait already; the server stops.
    pub fn ask(&self, party: Party) -> Result<usize> {
        let mut before = 0;
        let put = self.queue.put(|held| {
            before = held.waiting();
            held.parties.push_back(party);
        });
        put.map_err(|what| Error::refused(what, "try again in a moment"))?;
        Ok(before)
    }

    /// Arms under way, and arms that wait.
    pub fn busy(&self) -> (usize, usize) {
        let held = self.queue.held();
        (held.active, held.waiting())
    }

    /// Ends all work now. What is under way is dropped.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// [`Worker::stop`], and waits for the thread.
    pub fn join(&self) {
        self.stop();
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Projections of every token of a conversation, `[position][line]`: read in pieces, between the replies of others.
    ///
    /// # Errors
    /// Tokens that the model cannot take; a failed pass; the server stops.
    pub fn read(&self, start: Start, reading: Reading) -> Result<Vec<Vec<f64>>> {
        let (send, wait) = mpsc::channel();
        // Nothing is drawn that anybody hears of: who listens is gone once the prompt is read.
        let settings = Settings { max_new_tokens: 1, sampling: Sampling::new(0.0, 1.0)?, stops: vec![] };
        let ear = Box::new(Reader { send: Some(send) });
        let (starts, edits, reading) = (vec![start], vec![], Arc::new(reading));
        self.ask(Party { starts, edits, settings, reading, judged: false, ear })?;
        wait.recv().map_err(|_| Error::refused("the server is stopping", "start it again"))?
    }

    fn bulk(&self, task: Task, items: Vec<Item>) -> Result<Outcome> {
        let (answer, wait) = mpsc::channel();
        let so_far = Outcome::default();
        let put = self.queue.put(|held| held.bulk.push_back(Bulk { task, items, done: 0, so_far, answer }));
        let stopped = || Error::refused("the server is stopping", "start it again");
        put.map_err(|what| Error::refused(what, "try again in a moment"))?;
        wait.recv().map_err(|_| stopped())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.join();
    }
}

impl Asks for Worker {
    fn model(&self) -> &Model {
        &self.model
    }

    fn replies(&self, items: Vec<Item>, settings: &Settings) -> Result<Vec<Vec<u32>>> {
        Ok(self.bulk(Task::Generate(settings.clone()), items)?.replies)
    }

    fn capture(&self, items: Vec<Item>, sites: &[Site]) -> Result<Vec<(Site, Array2<f32>)>> {
        let kept = self.bulk(Task::Capture { sites: sites.to_vec() }, items)?.kept;
        let kept = if kept.is_empty() { sites.iter().map(|s| (*s, vec![])).collect() } else { kept };
        shaped(&self.model, kept)
    }
}

#[cfg(test)]
mod tests;
