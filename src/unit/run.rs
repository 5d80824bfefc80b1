//! Running the units of a plan: a worker per core, outcomes in order.

use super::{Outcome, Plan};
use crate::error::{Error, Result};
use crate::model::kernels::team::Team;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};

/// Where outcomes are kept between runs.
pub trait Shelf: Sync {
    /// The outcome at an address; `None` if there is none or it is damaged.
    fn get(&self, address: &str) -> Result<Option<Outcome>>;
    /// Keeps an outcome, whole or not at all.
    fn put(&self, address: &str, outcome: &Outcome) -> Result<()>;
}

/// Told after every unit; may ask to stop.
pub trait Progress {
    /// Units and tokens finished out of all. Returning false stops the run after the units in flight.
    fn step(&mut self, tally: &Tally) -> bool;
}

impl<F: FnMut(&Tally) -> bool> Progress for F {
    fn step(&mut self, tally: &Tally) -> bool {
        self(tally)
    }
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub units: usize,
    pub units_done: usize,
    pub tokens: usize,
    pub tokens_done: usize,
    /// Rows of units that were run now.
    pub rows_computed: usize,
    /// Rows of units that were already on the shelf.
    pub rows_resumed: usize,
}

/// How many finished units may wait for an earlier one, per worker. Bounds memory, changes no result.
const AHEAD: usize = 4;

/// Runs every unit of a plan that is not on the shelf and hands the outcomes to `take` in order.
///
/// # Errors
/// The first failure, by the order of the units. What is on the shelf by then stays there.
pub fn run(
    plan: &Plan<'_>,
    threads: usize,
    shelf: Option<&dyn Shelf>,
    progress: &mut dyn Progress,
    mut take: impl FnMut(usize, Outcome) -> Result<()>,
) -> Result<Tally> {
    plan.check()?;
    let units = plan.units();
    let tokens_of = |u: usize| plan.items[units[u].clone()].iter().map(|i| i.tokens.len()).sum::<usize>();
    let rows_of = |u: usize| plan.items[units[u].clone()].iter().map(|i| plan.rows_of(i)).sum::<usize>();
    let mut tally = Tally { units: units.len(), tokens: (0..units.len()).map(tokens_of).sum(), ..Tally::default() };

    let one = |u: usize| -> Result<(Outcome, bool)> {
        let Some(shelf) = shelf else { return Ok((plan.execute(&units[u])?, false)) };
        let address = plan.address(&units[u]);
        if let Some(outcome) = shelf.get(&address)? {
            return Ok((outcome, true));
        }
        let outcome = plan.execute(&units[u])?;
        shelf.put(&address, &outcome)?;
        Ok((outcome, false))
    };
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (taken, freed) = (Mutex::new(0usize), Condvar::new());
    // Workers beyond the units help with what the others compute.
    let workers = plan.model.workers(threads).max(1);
    let team = Team::new(workers);
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for worker in 0..workers {
            let (send, one, next, stop, taken, freed, count, team) =
                (send.clone(), &one, &next, &stop, &taken, &freed, units.len(), &team);
            let work = move || {
                loop {
                    let u = next.fetch_add(1, Ordering::Relaxed);
                    if u >= count {
                        return;
                    }
                    let mut seen = taken.lock().unwrap_or_else(|e| e.into_inner());
                    while u >= *seen + AHEAD * workers && !stop.load(Ordering::Relaxed) {
                        seen = freed.wait(seen).unwrap_or_else(|e| e.into_inner());
                    }
                    drop(seen);
                    if stop.load(Ordering::Relaxed) || send.send((u, one(u))).is_err() {
                        return;
                    }
                }
            };
            scope.spawn(move || team.member(worker, work));
        }
        drop(send);
        let halt = || {
            stop.store(true, Ordering::Relaxed);
            let _held = taken.lock().unwrap_or_else(|e| e.into_inner());
            freed.notify_all();
        };
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        let mut result = Ok(());
        for (u, outcome) in receive {
            waiting.insert(u, outcome);
            while let Some(outcome) = waiting.remove(&due) {
                let step = outcome.and_then(|(outcome, resumed)| {
                    *(if resumed { &mut tally.rows_resumed } else { &mut tally.rows_computed }) += rows_of(due);
                    tally.units_done += 1;
                    tally.tokens_done += tokens_of(due);
                    take(due, outcome)?;
                    if progress.step(&tally) { Ok(()) } else { Err(interrupted(&tally)) }
                });
                if let Err(e) = step {
                    result = Err(e);
                    halt();
                    break;
                }
                due += 1;
                *taken.lock().unwrap_or_else(|e| e.into_inner()) = due;
                freed.notify_all();
            }
            if result.is_err() {
                break;
            }
        }
        result
    })?;
    Ok(tally)
}

fn interrupted(tally: &Tally) -> Error {
    let what = format!("interrupted after {} of {} units", tally.units_done, tally.units);
    Error::refused(what, "run the same command again: it goes on where it was")
}

/// Maps items on `threads` threads and keeps their order. For work that is no unit, such as encoding text.
///
/// # Errors
/// The first failure, by the order of the items.
pub fn parallel<T: Sync, R: Send>(items: &[T], threads: usize, f: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let f = &f;
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            items.chunks(share).map(|c| scope.spawn(move || c.iter().map(f).collect::<Result<Vec<R>>>())).collect();
        let mut all = Vec::with_capacity(items.len());
        for part in parts {
            match part.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}
