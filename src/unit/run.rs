//! Running all units of a plan over a shelf.

use super::each::{Delivery, each};
use super::{Outcome, Plan};
use crate::error::{Error, Result};

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
    /// How often a unit was cut in two because memory ran out.
    pub splits: usize,
}

impl Tally {
    /// What there is to do for a plan.
    pub fn of(plan: &Plan<'_>) -> Tally {
        let tokens = plan.items.iter().map(|i| i.tokens.len()).sum();
        Tally { units: plan.units().len(), tokens, ..Tally::default() }
    }

    /// That a run was asked to stop.
    pub fn interrupted(&self) -> Error {
        let what = format!("interrupted after {} of {} units", self.units_done, self.units);
        Error::refused(what, "run the same command again: it goes on where it was")
    }
}

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
    let mut tally = Tally::of(plan);
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
    let todo: Vec<usize> = (0..units.len()).collect();
    each(plan, &units, &todo, threads, Delivery::InOrder, one, |u, (outcome, resumed)| {
        let items = &plan.items[units[u].clone()];
        let rows: usize = items.iter().map(|i| plan.rows_of(i)).sum();
        *(if resumed { &mut tally.rows_resumed } else { &mut tally.rows_computed }) += rows;
        tally.units_done += 1;
        tally.tokens_done += items.iter().map(|i| i.tokens.len()).sum::<usize>();
        tally.splits += outcome.splits;
        take(u, outcome)?;
        if progress.step(&tally) { Ok(()) } else { Err(tally.interrupted()) }
    })?;
    Ok(tally)
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
