//! The states of led conversations, and how they follow each other.

use super::Seer;
use crate::analysis::hidden::{Run, intervals, moves, paired};
use crate::error::Result;
use crate::table::{Cell, Table};
use crate::unit::parallel;
use crate::world::{Persona, State};
use ndarray::Array2;

/// Which look at the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::experiment) enum Look {
    Text,
    Activation,
}

impl Look {
    pub const ALL: [Look; 2] = [Look::Text, Look::Activation];

    pub fn name(self) -> &'static str {
        match self {
            Look::Text => "text",
            Look::Activation => "activation",
        }
    }
}

/// Conversations that belong together, as one look sees them.
pub(in crate::experiment) struct Chain {
    pub arm: String,
    pub look: Look,
    runs: Vec<Run>,
}

impl Chain {
    /// `talks`: who each began with, and the state named at each turn.
    pub fn of<'a>(
        arm: &str,
        look: Look,
        seer: &Seer,
        talks: impl IntoIterator<Item = (&'a Persona, Vec<State>)>,
    ) -> Chain {
        let one = |(who, named): (&Persona, Vec<State>)| {
            let likely = |s: State| match look {
                Look::Text => seer.read(s, who),
                Look::Activation => seer.seen(s, who),
            };
            let start = seer.world.start(who);
            Run {
                first: State::ALL.iter().map(|s| f64::from(u8::from(*s == start))).collect(),
                likelihoods: named.into_iter().map(likely).collect(),
            }
        };
        Chain { arm: arm.into(), look, runs: talks.into_iter().filter(|t| t.1.len() > 1).map(one).collect() }
    }

    /// Probabilities of the next state, `[from, to]`, with the expected number of steps out of each.
    pub fn moves(&self) -> (Array2<f64>, Vec<f64>) {
        let found = moves(&self.runs.iter().collect::<Vec<_>>(), State::ALL.len());
        (found.probability, found.steps)
    }
}

/// One row per chain and move: probability with its interval over conversations. `planted` gives the probability in the
/// world where there is one.
pub(in crate::experiment) fn chain_table(
    name: &str,
    chains: &[Chain],
    (bootstrap, seed, threads): (usize, u64, usize),
    planted: &dyn Fn(&str, State, State) -> Option<f64>,
) -> Result<Table> {
    let columns =
        ["arm", "look", "from", "to", "probability", "lo", "hi", "planted", "steps", "conversations", "reason"];
    let mut table = Table::new(name, &columns);
    let ranges = parallel(chains, threads, |chain| {
        let label = format!("{}/{}", chain.arm, chain.look.name());
        Ok(intervals(&chain.runs, State::ALL.len(), bootstrap, seed, &label))
    })?;
    for (chain, interval) in chains.iter().zip(ranges) {
        let (probability, steps) = chain.moves();
        for (from, to) in State::ALL.iter().flat_map(|f| State::ALL.iter().map(move |t| (*f, *t))) {
            let (f, t) = (from as usize, to as usize);
            // A row that was hardly ever left is the start of the search and no finding.
            let enough = steps[f] >= 5.0;
            let range = interval[f][t].filter(|_| enough);
            let mut row: Vec<Cell> = vec![chain.arm.clone().into(), chain.look.name().into()];
            row.extend([from.name().into(), to.name().into()]);
            row.push(enough.then_some(probability[[f, t]]).into());
            row.extend([range.map(|i| i.lo).into(), range.map(|i| i.hi).into()]);
            row.extend([planted(&chain.arm, from, to).into(), steps[f].into(), chain.runs.len().into()]);
            row.push((!enough).then_some("fewer than 5 steps out of this state").into());
            table.push(row);
        }
    }
    Ok(table)
}

/// One row per arm and move: how much more often activations make it than the text of the same conversations does, with
/// the interval over conversations. `chains` holds both looks of every arm, one after the other, in the order of
/// [`Look::ALL`].
pub(in crate::experiment) fn difference_table(
    name: &str,
    chains: &[Chain],
    (bootstrap, seed, threads): (usize, u64, usize),
) -> Result<Table> {
    let columns = ["arm", "from", "to", "difference", "lo", "hi", "conversations", "reason"];
    let mut table = Table::new(name, &columns);
    let pairs: Vec<&[Chain]> = chains.chunks_exact(Look::ALL.len()).collect();
    let all = parallel(&pairs, threads, |pair| {
        Ok(paired(&pair[1].runs, &pair[0].runs, State::ALL.len(), bootstrap, seed, &pair[0].arm))
    })?;
    for (pair, ranges) in pairs.into_iter().zip(all) {
        let [text, activation] = [&pair[0], &pair[1]];
        let ((of_text, left), (of_activation, gone)) = (text.moves(), activation.moves());
        for (from, to) in State::ALL.iter().flat_map(|f| State::ALL.iter().map(move |t| (*f, *t))) {
            let (f, t) = (from as usize, to as usize);
            let enough = left[f].min(gone[f]) >= 5.0;
            let range = ranges[f][t].filter(|_| enough);
            let mut row: Vec<Cell> = vec![text.arm.clone().into(), from.name().into(), to.name().into()];
            row.push(enough.then_some(of_activation[[f, t]] - of_text[[f, t]]).into());
            row.extend([range.map(|i| i.lo).into(), range.map(|i| i.hi).into(), text.runs.len().into()]);
            row.push((!enough).then_some("fewer than 5 steps out of this state").into());
            table.push(row);
        }
    }
    Ok(table)
}
