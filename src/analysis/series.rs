//! Runs through a state space, turn by turn: what dynamics are fitted to.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// One turn of one run at one site, as a table has it; rows may come in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub run: String,
    pub turn: i64,
    /// `[k]`: the state after the turn.
    pub z: Vec<f64>,
    /// `[m]`: the input that led into this turn (the user's message before the reply). May be empty.
    pub u: Vec<f64>,
    /// Where the state was read; empty where there is one place only.
    pub site: String,
    /// The label of where the run began.
    pub start: Option<String>,
    /// `free`, `driven`, `pulse`, `after`, `up`, `down`, or a word of the user's own.
    pub phase: Option<String>,
    /// The size of a perturbation at this turn; 0 is none.
    pub dose: Option<f64>,
    /// Length of the reply.
    pub chars: Option<f64>,
    /// Equal where the texts are.
    pub text_hash: Option<String>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub turn: i64,
    /// `[k]`.
    pub z: Vec<f64>,
    /// `[m]`: the input that led into this turn.
    pub u: Vec<f64>,
    pub phase: Option<String>,
    /// 0 where nothing was done.
    pub dose: f64,
    pub chars: Option<f64>,
    pub text_hash: Option<String>,
}

impl Turn {
    /// Whether the state was pushed at this turn. A phase `pulse` says so; other phases of a run that has such a phase say
    /// that it was not, also where the dose stands in every row of the run.
    fn is_pushed(&self, has_pulse: bool) -> bool {
        match has_pulse {
            true => self.phase.as_deref() == Some("pulse"),
            false => self.dose > 0.0,
        }
    }
}

/// One run, its turns in ascending order. Turns may be missing: a step is a pair of turns that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub name: String,
    pub start: Option<String>,
    pub turns: Vec<Turn>,
    /// Of every turn, whether the state was pushed there.
    pub pushed: Vec<bool>,
}

impl Run {
    /// The largest dose of the run.
    pub fn dose(&self) -> f64 {
        self.turns.iter().map(|t| t.dose).fold(0.0, f64::max)
    }

    /// How many turns there are before the first push.
    pub fn free(&self) -> usize {
        self.pushed.iter().position(|p| *p).unwrap_or(self.turns.len())
    }

    /// Indices of turns that are followed by the next turn, neither of them pushed.
    pub fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        (1..self.turns.len())
            .filter(|&i| self.turns[i - 1].turn.checked_add(1) == Some(self.turns[i].turn))
            .filter(|&i| !self.pushed[i] && !self.pushed[i - 1])
            .map(|i| i - 1)
    }
}

/// All runs at one site, in ascending order of their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub site: String,
    pub runs: Vec<Run>,
    /// Components of the state.
    pub k: usize,
    /// Components of the input; 0 where there is none.
    pub m: usize,
}

impl Series {
    /// Rows by site, run and turn; sites in the order of their layers.
    ///
    /// # Errors
    /// No rows, two rows of one turn, rows of different width, values that are not finite, doses below 0, or a run
    /// with two starts.
    pub fn of(rows: Vec<Row>) -> Result<Vec<Series>> {
        let Some((k, m)) = rows.first().map(|r| (r.z.len(), r.u.len())) else {
            return Err(Error::refused("there are no turns", "give a row per run and turn"));
        };
        if k == 0 {
            return Err(Error::refused("the states have no components", "name their columns z0, z1, ..."));
        }
        let mut sites: BTreeMap<(String, u64), BTreeMap<String, BTreeMap<i64, Row>>> = BTreeMap::new();
        for row in rows {
            check(&row, k, m)?;
            let run = sites.entry(order(&row.site)).or_default().entry(row.run.clone()).or_default();
            let (name, turn) = (row.run.clone(), row.turn);
            if run.insert(turn, row).is_some() {
                return Err(Error::refused(
                    format!("run `{name}` has turn {turn} twice"),
                    "give one row per run, turn and layer",
                ));
            }
        }
        let site = |runs: BTreeMap<String, BTreeMap<i64, Row>>| {
            let name = runs.values().flat_map(|r| r.values()).next().map(|r| r.site.clone()).unwrap_or_default();
            let runs = runs.into_iter().map(|(name, turns)| run(name, turns)).collect::<Result<_>>()?;
            Ok(Series { site: name, runs, k, m })
        };
        sites.into_values().map(site).collect()
    }

    /// Whether any turn was pushed.
    pub fn has_pushes(&self) -> bool {
        self.runs.iter().any(|r| r.pushed.contains(&true))
    }

    /// Distinct starts, in ascending order.
    pub fn starts(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.runs.iter().filter_map(|r| r.start.as_deref()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn run(name: String, turns: BTreeMap<i64, Row>) -> Result<Run> {
    let mut starts: Vec<&String> = turns.values().filter_map(|r| r.start.as_ref()).collect();
    starts.sort_unstable();
    starts.dedup();
    if starts.len() > 1 {
        return Err(Error::refused(
            format!("run `{name}` began both at `{}` and at `{}`", starts[0], starts[1]),
            "give every run one start; runs that began at the same place share it",
        ));
    }
    let start = starts.first().map(|s| s.to_string());
    let one = |(turn, row): (i64, Row)| Turn {
        turn,
        z: row.z,
        u: row.u,
        phase: row.phase,
        dose: row.dose.unwrap_or(0.0),
        chars: row.chars,
        text_hash: row.text_hash,
    };
    let turns: Vec<Turn> = turns.into_iter().map(one).collect();
    let has_pulse = turns.iter().any(|t| t.phase.as_deref() == Some("pulse"));
    let mut pushed: Vec<bool> = turns.iter().map(|t| t.is_pushed(has_pulse)).collect();
    // A dose at every turn and no word on when: it stands for the run, which was pushed as it began.
    if !has_pulse && pushed.len() > 1 && pushed.iter().all(|p| *p) && turns.iter().all(|t| t.dose == turns[0].dose) {
        pushed[1..].fill(false);
    }
    Ok(Run { name, start, turns, pushed })
}

fn check(row: &Row, k: usize, m: usize) -> Result<()> {
    let place = || format!("run `{}`, turn {}", row.run, row.turn);
    if (row.z.len(), row.u.len()) != (k, m) {
        let what = format!("{}: {} states and {} inputs, not {k} and {m}", place(), row.z.len(), row.u.len());
        return Err(Error::refused(what, "every turn needs the same columns"));
    }
    let numbers = row.z.iter().chain(&row.u).chain(&row.chars).chain(&row.dose);
    let count = numbers.filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(Error::NotFinite { place: place(), count });
    }
    if row.dose.is_some_and(|d| d < 0.0) {
        return Err(Error::refused(
            format!("{}: a dose below 0", place()),
            "a dose is a size; give pulses in opposite directions as two files",
        ));
    }
    Ok(())
}

/// Sites that end in a number are in the order of the numbers.
fn order(site: &str) -> (String, u64) {
    let stem = site.trim_end_matches(|c: char| c.is_ascii_digit());
    match site[stem.len()..].parse() {
        Ok(number) => (stem.into(), number),
        Err(_) => (site.into(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(site: &str, run: &str, turn: i64) -> Row {
        Row { site: site.into(), run: run.into(), turn, z: vec![turn as f64], ..Row::default() }
    }

    #[test]
    fn rows_in_any_order_become_runs_in_order_and_a_gap_is_no_step() {
        let rows = vec![row("l.10", "b", 3), row("l.2", "a", 1), row("l.2", "b", 0), row("l.2", "b", 1)];
        let rows = [rows, vec![row("l.2", "b", 3), row("l.2", "b", 4)]].concat();
        let series = Series::of(rows).unwrap();
        assert_eq!(series.iter().map(|s| s.site.as_str()).collect::<Vec<_>>(), ["l.2", "l.10"]);
        assert_eq!(series[0].runs.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        // Turns 0, 1, 3, 4: steps from 0 and from 3.
        assert_eq!(series[0].runs[1].steps().collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn what_cannot_be_a_series_is_refused() {
        let said = |rows: Vec<Row>| Series::of(rows).unwrap_err().to_string();
        assert!(said(vec![]).contains("no turns"));
        assert!(said(vec![Row::default()]).contains("no components"));
        assert!(said(vec![row("", "a", 1), row("", "a", 1)]).contains("turn 1 twice"));
        assert!(said(vec![row("", "a", 1), Row { z: vec![1.0, 2.0], ..row("", "a", 2) }]).contains("2 states"));
        assert!(said(vec![Row { z: vec![f64::NAN], ..row("", "a", 1) }]).contains("not finite"));
        assert!(said(vec![Row { dose: Some(-1.0), ..row("", "a", 1) }]).contains("below 0"));
        let start = |s: &str, turn| Row { start: Some(s.into()), ..row("", "a", turn) };
        assert!(said(vec![start("x", 0), start("y", 1)]).contains("both at `x` and at `y`"));
    }

    #[test]
    fn a_push_is_where_the_dose_or_the_phase_says() {
        let turn = |turn, dose, phase: Option<&str>| Row {
            dose: Some(dose),
            phase: phase.map(String::from),
            ..row("", "a", turn)
        };
        let of = |rows| Series::of(rows).unwrap()[0].runs[0].clone();
        let once = of(vec![turn(0, 0.0, None), turn(1, 2.0, None), turn(2, 0.0, None), turn(3, 0.0, None)]);
        assert_eq!((once.pushed.clone(), once.free(), once.dose()), (vec![false, true, false, false], 1, 2.0));
        assert_eq!(once.steps().collect::<Vec<_>>(), [2]);
        // The dose of the run in every row, the phase says when.
        let phases = of(vec![turn(0, 2.0, Some("free")), turn(1, 2.0, Some("pulse")), turn(2, 2.0, Some("after"))]);
        assert_eq!(phases.pushed, [false, true, false]);
        let whole = of(vec![turn(0, 2.0, None), turn(1, 2.0, None)]);
        assert_eq!((whole.pushed.clone(), whole.free()), (vec![true, false], 0));
    }
}
