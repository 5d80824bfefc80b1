//! What waits for the worker, and how it is told to stop.

use super::{Bulk, Party};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Arms that may wait; more are refused, so that nobody waits without end.
const WAITING: usize = 1024;

/// Shared between the worker and those who ask.
#[derive(Default)]
pub struct Queue {
    held: Mutex<Held>,
    news: Condvar,
}

/// What is in it.
#[derive(Default)]
pub struct Held {
    pub parties: VecDeque<Party>,
    pub bulk: VecDeque<Bulk>,
    /// Arms under way.
    pub active: usize,
    pub stopping: bool,
}

impl Held {
    /// Arms that wait.
    pub fn waiting(&self) -> usize {
        self.parties.iter().map(|p| p.starts.len()).sum()
    }
}

impl Queue {
    /// Its content. A thread that failed while it held it left it whole.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Puts something in, or says why not.
    ///
    /// # Errors
    /// Too many wait already; the server stops.
    pub fn put(&self, put: impl FnOnce(&mut Held)) -> Result<(), &'static str> {
        let mut held = self.held();
        if held.stopping {
            return Err("the server is stopping");
        }
        if held.waiting() >= WAITING {
            return Err("too many requests wait already");
        }
        put(&mut held);
        self.news.notify_all();
        Ok(())
    }

    /// Tells the worker to stop, and lets go of all that waits.
    pub fn stop(&self) {
        let mut held = self.held();
        held.stopping = true;
        let dropped = (std::mem::take(&mut held.parties), std::mem::take(&mut held.bulk));
        self.news.notify_all();
        // Whoever listens may ask for the queue when it hears of it.
        drop(held);
        drop(dropped);
    }

    /// Waits for news while there is nothing to do.
    pub fn wait(&self) {
        let held = self.held();
        if held.parties.is_empty() && held.bulk.is_empty() && !held.stopping {
            drop(self.news.wait_timeout(held, Duration::from_millis(500)));
        }
    }
}
