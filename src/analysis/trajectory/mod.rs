//! Drift over the turns of conversations, from projections on an axis: how fast it goes, when it leaves what is normal,
//! whether its steps have a direction, and whether the state adds to what the input says.

pub mod alarms;
pub mod band;
pub mod consistency;
pub mod rate;
pub mod regression;
mod ridge;
pub mod runs;
pub mod turns;

pub use alarms::{Alarm, AlarmOptions, Alarms, alarm_table, alarmed_table, alarms};
pub use band::{Band, Source, band_table};
pub use consistency::{Consistency, consistency, consistency_table};
pub use rate::{Rate, rate_table, rates};
pub use regression::{Regression, RegressionOptions, regression, regression_table};
pub use runs::{Run, Step, TurnRow, runs};
pub use turns::{Turn, by_turn, turn_table};

/// What stands in the domain column for all runs together.
pub const ALL: &str = "all";

#[cfg(test)]
mod tests;
