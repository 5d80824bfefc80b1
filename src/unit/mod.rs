//! The unit of work: the one execution contract of the program.
//!
//! A plan cuts its prompts into units by itself alone: prompts in order, a stated budget of tokens. Free memory, what
//! is already done, shards and threads never change the cut, so they never change a byte of the result. A unit is
//! addressed by its content, its outcome is kept whole or not at all, a worker per core runs units, and outcomes are
//! joined in the order of the units. Resume, identical reruns and a cache across commands follow from that.

mod blocks;
mod each;
mod outcome;
mod plan;
mod run;

pub use blocks::{Share, blocks};
pub use each::{Delivery, each};
pub use outcome::Outcome;
pub use plan::{Item, MAX_BATCH_TOKENS, Plan, Task};
pub use run::{Progress, Shelf, Tally, parallel, run};
