//! Threads that have nothing of their own to do take parts of what others compute.
//!
//! Work is split over units first: one worker a unit, nothing shared. Where there are fewer units than workers, at the
//! end of a run or in the decoding of one small batch, a worker without a unit helps those that have one. The cut of a
//! product into parts never changes a bit of it, so neither does who computes which part.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};

/// Turns of an idle helper before it sleeps: about the time between two products of a small model.
const SPINS: usize = 4000;
/// Turns of a leader that waits for the last part before it lets another thread have the core.
const PATIENCE: usize = 2000;

/// The workers of one run.
pub struct Team {
    /// What is being shared, a place for every member.
    places: Vec<Place>,
    /// Members that still have work of their own.
    leading: AtomicUsize,
    /// Members that wait for parts.
    idle: AtomicUsize,
    /// Counts shared pieces of work and members that finish.
    news: AtomicUsize,
    asleep: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

#[derive(Default)]
struct Place {
    /// Null while nothing is shared.
    work: AtomicPtr<Work>,
    /// Helpers that may be looking at `work`.
    inside: AtomicUsize,
}

struct Work {
    part: *const (dyn Fn(usize) + Sync),
    parts: usize,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Work {
    /// Computes parts until none is left.
    fn take_parts(&self) {
        loop {
            let i = self.next.fetch_add(1, SeqCst);
            if i >= self.parts {
                return;
            }
            // SAFETY: the leader keeps the closure alive until every helper has left its place.
            unsafe { (*self.part)(i) }
        }
    }
}

thread_local! {
    /// The team and the place of a member that has work of its own.
    static PLACE: Cell<Option<(*const Team, usize)>> = const { Cell::new(None) };
}

/// Puts back what was there, also when the work panics.
struct Restore(Option<(*const Team, usize)>);

impl Drop for Restore {
    fn drop(&mut self) {
        PLACE.set(self.0);
    }
}

/// Computes all parts, `0..parts`, in any order, with whoever of the caller's team is idle.
///
/// # Panics
/// If a part panics.
pub fn each(parts: usize, part: &(dyn Fn(usize) + Sync)) {
    match PLACE.get() {
        // SAFETY: a place is only set while its team is borrowed by `member`.
        Some((team, place)) if parts > 1 && hands() > 1 => unsafe { (*team).share(place, parts, part) },
        _ => (0..parts).for_each(part),
    }
}

/// How many threads would compute parts now: the caller and the idle members of its team.
pub fn hands() -> usize {
    // SAFETY: as above.
    PLACE.get().map_or(1, |(team, _)| 1 + unsafe { (*team).idle.load(SeqCst) })
}

/// Runs `f` with `threads - 1` helpers.
pub fn with<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    if threads < 2 {
        return f();
    }
    let team = Team::new(threads);
    std::thread::scope(|scope| {
        let team = &team;
        (1..threads).for_each(|i| drop(scope.spawn(move || team.member(i, || ()))));
        team.member(0, f)
    })
}

impl Team {
    /// A team of `members`, each of which must call [`Team::member`] once.
    pub fn new(members: usize) -> Team {
        Team {
            places: (0..members).map(|_| Place::default()).collect(),
            leading: AtomicUsize::new(members),
            idle: AtomicUsize::new(0),
            news: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Does the own work of member `index`, then helps the others until all have finished theirs.
    ///
    /// # Panics
    /// If the index is none of the team's.
    pub fn member<R>(&self, index: usize, own: impl FnOnce() -> R) -> R {
        assert!(index < self.places.len(), "member {index} of a team of {}", self.places.len());
        let done = catch_unwind(AssertUnwindSafe(|| {
            let _restore = Restore(PLACE.replace(Some((self, index))));
            own()
        }));
        self.leading.fetch_sub(1, SeqCst);
        self.tell();
        if done.is_ok() {
            self.help();
        }
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn share(&self, place: usize, parts: usize, part: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; `Shown` does not let go of the work before every helper has left it.
        let part = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(part) };
        let work = Work { part, parts, next: AtomicUsize::new(0), failed: AtomicBool::new(false) };
        let failed = {
            // A part that shares again is computed by the thread that has it.
            let _restore = Restore(PLACE.replace(None));
            let _shown = Shown::new(&self.places[place], &work);
            self.tell();
            work.take_parts();
            &work.failed
        };
        assert!(!failed.load(SeqCst), "a part of a shared computation panicked");
    }

    fn tell(&self) {
        self.news.fetch_add(1, SeqCst);
        if self.asleep.load(SeqCst) > 0 {
            let _held = self.lock.lock().unwrap_or_else(|e| e.into_inner());
            self.wake.notify_all();
        }
    }

    /// Takes parts of what others share until nobody has work of his own.
    fn help(&self) {
        self.idle.fetch_add(1, SeqCst);
        let mut turns = 0;
        while self.leading.load(SeqCst) > 0 {
            let news = self.news.load(SeqCst);
            self.places.iter().for_each(Place::help);
            while self.news.load(SeqCst) == news && turns < SPINS {
                std::hint::spin_loop();
                turns += 1;
            }
            if turns == SPINS {
                self.sleep(news);
            }
            turns = 0;
        }
        self.idle.fetch_sub(1, SeqCst);
    }

    fn sleep(&self, news: usize) {
        let mut held = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        self.asleep.fetch_add(1, SeqCst);
        while self.news.load(SeqCst) == news {
            held = self.wake.wait(held).unwrap_or_else(|e| e.into_inner());
        }
        self.asleep.fetch_sub(1, SeqCst);
    }
}

impl Place {
    fn help(&self) {
        if self.work.load(SeqCst).is_null() {
            return;
        }
        // Whoever says that he is inside before he looks is waited for.
        self.inside.fetch_add(1, SeqCst);
        let work = self.work.load(SeqCst);
        if !work.is_null() {
            // SAFETY: `Shown` waits until nobody is inside before the work goes.
            let work = unsafe { &*work };
            if catch_unwind(AssertUnwindSafe(|| work.take_parts())).is_err() {
                work.failed.store(true, SeqCst);
            }
        }
        self.inside.fetch_sub(1, SeqCst);
    }
}

/// Work while helpers can see it.
struct Shown<'a>(&'a Place);

impl<'a> Shown<'a> {
    fn new(place: &'a Place, work: &Work) -> Shown<'a> {
        place.work.store(ptr::from_ref(work).cast_mut(), SeqCst);
        Shown(place)
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.work.store(ptr::null_mut(), SeqCst);
        let mut turns = 0;
        while self.0.inside.load(SeqCst) > 0 {
            turns += 1;
            if turns < PATIENCE { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_part_is_computed_once_by_any_number_of_threads() {
        for threads in 1..5 {
            with(threads, || {
                for parts in [0, 1, 2, 7, 300] {
                    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    each(parts, &|i| counts[i].store(counts[i].load(SeqCst) + 1, SeqCst));
                    assert!(counts.iter().all(|c| c.load(SeqCst) == 1), "{threads} threads, {parts} parts");
                }
            });
        }
    }

    #[test]
    fn parts_run_side_by_side() {
        with(2, || {
            while hands() < 2 {
                std::thread::yield_now();
            }
            // Each of the two parts waits for the other: one thread alone would never end.
            let met = AtomicUsize::new(0);
            each(2, &|_| {
                met.fetch_add(1, SeqCst);
                while met.load(SeqCst) < 2 {
                    std::thread::yield_now();
                }
            });
        });
        assert_eq!(hands(), 1, "outside a team there is the caller alone");
    }

    #[test]
    fn members_without_work_help_several_leaders_and_parts_may_share_again() {
        let (team, sum) = (Team::new(4), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for i in 0..4 {
                let (team, sum) = (&team, &sum);
                scope.spawn(move || {
                    team.member(i, || {
                        for round in 0..if i < 2 { 200 } else { 0 } {
                            each(8, &|part| {
                                each(2, &|half| {
                                    sum.fetch_add(round * (part + half) as u64, SeqCst);
                                });
                            });
                        }
                    })
                });
            }
        });
        // Two leaders; a round adds round * (2 * 28 + 8), and the rounds 0 to 199 sum to 19900.
        assert_eq!(sum.load(SeqCst), 2 * 19900 * 64);
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_leader_and_ends_the_team() {
        for threads in [1, 3] {
            let caught = catch_unwind(|| with(threads, || each(50, &|i| assert!(i != 13, "unlucky"))));
            assert!(caught.is_err(), "{threads} threads");
        }
    }

    #[test]
    fn a_sleeping_helper_is_woken() {
        with(2, || {
            while hands() < 2 {
                std::thread::yield_now();
            }
            for _ in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(20));
                let met = AtomicUsize::new(0);
                each(2, &|_| {
                    met.fetch_add(1, SeqCst);
                    while met.load(SeqCst) < 2 {
                        std::thread::yield_now();
                    }
                });
            }
        });
    }
}
