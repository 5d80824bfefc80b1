//! Units over workers: who starts what when, and in which order outcomes are handed on.

use super::Plan;
use crate::error::Result;
use crate::model::kernels::team::Team;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};

/// In which order outcomes are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// That of the list.
    InOrder,
    /// That in which they are done: for what is put at a place of its own.
    AsDone,
}

/// How many units may be under way or wait for an earlier one, per worker. Bounds memory, changes no result.
const AHEAD: usize = 4;

/// Does `job` for every unit of `todo` on a worker per core and hands what it gives to `take`, on the calling thread.
///
/// The longest units start first, so that no worker is left alone with one at the end; in order, only as far as
/// outcomes may wait for each other. Workers beyond the units help with what the others compute.
///
/// # Errors
/// The first failure in the order of delivery. Units under way are finished and dropped.
pub fn each<T: Send>(
    plan: &Plan<'_>,
    units: &[Range<usize>],
    todo: &[usize],
    threads: usize,
    delivery: Delivery,
    job: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let workers = plan.model.workers(threads).max(1);
    let window = AHEAD * workers;
    let tokens = |place: &usize| plan.items[units[todo[*place]].clone()].iter().map(|i| i.tokens.len()).sum::<usize>();
    let order = starts(todo.len(), delivery, window, tokens);

    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (taken, freed) = (Mutex::new(0usize), Condvar::new());
    let team = Team::new(workers);
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for worker in 0..workers {
            let (send, job, order, next, stop, taken, freed, team) =
                (send.clone(), &job, &order, &next, &stop, &taken, &freed, &team);
            let work = move || {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&place) = order.get(turn) else { return };
                    // Reordered within one window, so an outcome that is due lies at most one window behind.
                    let mut seen = taken.lock().unwrap_or_else(|e| e.into_inner());
                    while turn >= *seen + 2 * window && !stop.load(Ordering::Relaxed) {
                        seen = freed.wait(seen).unwrap_or_else(|e| e.into_inner());
                    }
                    drop(seen);
                    if stop.load(Ordering::Relaxed) || send.send((place, job(todo[place]))).is_err() {
                        return;
                    }
                }
            };
            scope.spawn(move || team.member(worker, work));
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        let mut hand_on = |(place, outcome): (usize, Result<T>)| -> Result<()> {
            waiting.insert(place, outcome);
            loop {
                let ready = match delivery {
                    Delivery::AsDone => waiting.pop_first(),
                    Delivery::InOrder => waiting.remove(&due).map(|outcome| (due, outcome)),
                };
                let Some((place, outcome)) = ready else { return Ok(()) };
                take(todo[place], outcome?)?;
                due += 1;
                *taken.lock().unwrap_or_else(|e| e.into_inner()) = due;
                freed.notify_all();
            }
        };
        let result = receive.into_iter().try_for_each(&mut hand_on);
        stop.store(true, Ordering::Relaxed);
        let _held = taken.lock().unwrap_or_else(|e| e.into_inner());
        freed.notify_all();
        result
    })
}

/// The places of a list in the order in which they start: the longest first, over all of it, or over one window after
/// another.
fn starts(n: usize, delivery: Delivery, window: usize, tokens: impl Fn(&usize) -> usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let run = if delivery == Delivery::AsDone { n } else { window };
    for part in order.chunks_mut(run.max(1)) {
        part.sort_by_key(|place| std::cmp::Reverse(tokens(place)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_start_first_and_equal_ones_keep_their_order() {
        let tokens = [3, 9, 3, 20, 1, 9];
        let by = |delivery, window| starts(6, delivery, window, |p| tokens[*p]);
        assert_eq!(by(Delivery::AsDone, 2), [3, 1, 5, 0, 2, 4]);
        assert_eq!(by(Delivery::InOrder, 4), [3, 1, 0, 2, 5, 4]);
        assert!(starts(0, Delivery::InOrder, 4, |_| 0).is_empty());
    }
}
