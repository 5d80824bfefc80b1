//! Runs of turns, from rows in any order.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// One turn of one run as it comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnRow {
    pub run: String,
    pub turn: usize,
    pub projection: f64,
    /// What led into this turn (an embedding of the message before it); empty where it is not known.
    pub input: Vec<f64>,
    /// Where the run is in a space of several dimensions; empty where it is not known.
    pub state: Vec<f64>,
    /// What the turn is about; empty where nothing is said.
    pub domain: String,
}

/// A run with its turns in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub name: String,
    pub steps: Vec<Step>,
}

/// A turn of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub turn: usize,
    pub projection: f64,
    pub input: Vec<f64>,
    pub state: Vec<f64>,
    pub domain: String,
}

/// Collects rows into runs, by name. The order of the rows changes nothing.
///
/// # Errors
/// No rows, a turn that a run has twice, values that are not finite, rows with different numbers of inputs or states.
pub fn runs(rows: &[TurnRow]) -> Result<Vec<Run>> {
    let Some(first) = rows.first() else {
        return Err(Error::refused("there are no turns", "give a row per run and turn"));
    };
    let mut all: BTreeMap<&str, BTreeMap<usize, Step>> = BTreeMap::new();
    for row in rows {
        let place = || format!("turn {} of run `{}`", row.turn, row.run);
        if (row.input.len(), row.state.len()) != (first.input.len(), first.state.len()) {
            let (found, expected) =
                (vec![row.input.len(), row.state.len()], vec![first.input.len(), first.state.len()]);
            return Err(Error::Shape { place: place(), name: "inputs and states".into(), found, expected });
        }
        let values = std::iter::once(&row.projection).chain(&row.input).chain(&row.state);
        let count = values.filter(|v| !v.is_finite()).count();
        if count > 0 {
            return Err(Error::NotFinite { place: place(), count });
        }
        let step = Step {
            turn: row.turn,
            projection: row.projection,
            input: row.input.clone(),
            state: row.state.clone(),
            domain: row.domain.clone(),
        };
        if all.entry(&row.run).or_default().insert(row.turn, step).is_some() {
            return Err(Error::refused(
                format!("{} is there twice", place()),
                "give one row per run and turn; give every conversation a name of its own",
            ));
        }
    }
    let run =
        |(name, steps): (&str, BTreeMap<usize, Step>)| Run { name: name.into(), steps: steps.into_values().collect() };
    Ok(all.into_iter().map(run).collect())
}

impl Run {
    /// The domain of all turns; `None` where they differ or nothing is said.
    pub fn domain(&self) -> Option<&str> {
        let first = self.steps.first()?.domain.as_str();
        (!first.is_empty() && self.steps.iter().all(|s| s.domain == first)).then_some(first)
    }
}

/// The domains of turns, in ascending order; none where nothing is said.
pub fn domains(runs: &[Run]) -> Vec<&str> {
    let mut all: Vec<&str> =
        runs.iter().flat_map(|r| &r.steps).map(|s| s.domain.as_str()).filter(|d| !d.is_empty()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
