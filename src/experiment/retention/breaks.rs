//! When a persona breaks, by three looks at the same replies, and how.

use super::Identity;
use super::instruments::Instruments;
use super::teach::Taught;
use crate::analysis::survival::{Definition, Retention, Run};
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::spec::Retention as Settings;
use crate::experiment::work::Work;
use crate::table::{Cell, Table};
use crate::talk::{Part, Talk};
use crate::world::{Markers, State, World};
use std::collections::BTreeMap;

/// The looks: markers of the text, a classifier of its words, the projection of its activations. The first one counts.
pub(super) const LOOKS: [&str; 3] = ["rule", "classifier", "projection"];

/// Teaching is counted in tens of tokens: a hazard ratio of one token would not be seen beside 1.
const TENS: f64 = 10.0;

/// Of every reply of a conversation, whether it is the persona's by each look.
pub(super) struct Judged {
    pub own: Vec<[bool; 3]>,
}

/// Judges every reply up to the first empty one.
pub(super) fn judge(
    plan: &Plan,
    s: &Settings,
    taught: &[Taught],
    talks: &[Talk],
    instruments: &Instruments,
    work: &mut Work<'_, '_>,
) -> Result<Vec<Judged>> {
    let (mut kept, places) = work.read("conversations", talks, &[Part::Reply], &[s.site])?;
    let rows = kept.remove(0).1;
    let at: BTreeMap<(usize, usize), usize> = places.iter().enumerate().map(|(r, p)| ((p.talk, p.turn), r)).collect();
    let mut all = Vec::with_capacity(talks.len());
    for (c, talk) in talks.iter().enumerate() {
        let there: Vec<usize> = (0..talk.turns.len()).map_while(|t| at.get(&(c, t)).copied()).collect();
        let texts: Vec<String> = talk.turns[..there.len()].iter().map(|t| t.reply.clone()).collect();
        let by_words = instruments.classify(&texts)?;
        let projection: Vec<f64> = there.iter().map(|r| instruments.axis.project(rows.row(*r))).collect();
        let one = |t: usize| {
            let rule = plan.world.state_of(plan.world.markers(&texts[t]), &taught[c].who) == State::Persona;
            [rule, by_words[t] > 0.5, instruments.is_own(projection[t])]
        };
        all.push(Judged { own: (0..texts.len()).map(one).collect() });
    }
    Ok(all)
}

/// The first of two replies in a row that are not the persona's: its turn from 1 and true; else the turns that were
/// watched and false. A last reply out of persona stands alone and decides nothing. `None` of no replies.
pub(super) fn ended(own: &[bool]) -> Option<(usize, bool)> {
    let broke = own.windows(2).position(|pair| !pair[0] && !pair[1]);
    let watched = own.len() - usize::from(own.last() == Some(&false));
    (!own.is_empty()).then(|| broke.map_or((watched.max(1), false), |t| (t + 1, true)))
}

fn by(judged: &Judged, look: usize) -> Vec<bool> {
    judged.own.iter().map(|o| o[look]).collect()
}

/// The runs as survival analysis takes them.
pub(super) fn retention(
    taught: &[Taught],
    talks: &[Talk],
    judged: &[Judged],
    named: &[Vec<Identity>],
    world: &World,
) -> Retention {
    // The first look is the event itself.
    let other = |name: &&str| Definition { name: name.to_string(), ended: vec![] };
    let mut definitions: Vec<Definition> = LOOKS[1..].iter().map(other).collect();
    let mut runs = Vec::new();
    for (c, talk) in talks.iter().enumerate() {
        let Some((turns, broke)) = ended(&by(&judged[c], 0)) else { continue };
        for (look, definition) in definitions.iter_mut().enumerate() {
            let found = ended(&by(&judged[c], look + 1));
            definition.ended.push(found.map(|(t, b)| (t as f64, b)));
        }
        runs.push(Run {
            run: talk.id.clone(),
            group: taught[c].group(),
            turns: turns as f64,
            tokens: Some(talk.turns[turns - 1].context as f64),
            broke,
            covariates: vec![Some(taught[c].tokens as f64 / TENS)],
            mode: broke.then(|| mode(taught, talk, named, c, turns - 1, world).to_string()),
        });
    }
    Retention { runs, covariates: vec!["ten_teaching_tokens".into()], definitions }
}

/// The same runs twice: by what was taught, as groups; and all together, with what was taught as a number. Both at once
/// would explain the same thing twice.
pub(super) fn apart(input: &Retention) -> (Retention, Retention) {
    let (mut groups, mut teaching) = (input.clone(), input.clone());
    groups.covariates.clear();
    groups.runs.iter_mut().for_each(|r| r.covariates.clear());
    teaching.definitions.clear();
    teaching.runs.iter_mut().for_each(|r| r.group = "all".into());
    (groups, teaching)
}

/// How a persona broke at a turn: what its reply and its answer to the probe question show, the gravest first.
fn mode(taught: &[Taught], talk: &Talk, named: &[Vec<Identity>], c: usize, turn: usize, world: &World) -> &'static str {
    let who = &taught[c].who;
    let shown: Markers = world.markers(&talk.turns[turn].reply);
    let strange = shown.iter().filter(|t| !who.has(*t) && !world.assistant().has(*t));
    let mut strange = strange.collect::<Vec<_>>();
    let biased = world.bias().map(|b| b.trait_id);
    match named[c].get(turn) {
        Some(Identity::Assistant) => "memory loss",
        Some(Identity::Other) => "hallucinated backstory",
        _ if !strange.is_empty() && strange.iter().all(|t| Some(*t) == biased) => "positivity bias",
        _ if strange.drain(..).next().is_some() => "traits never taught",
        _ if shown.is_empty() => "vagueness",
        _ => "assistant's voice under its own name",
    }
}

/// One row per conversation, as `analyze retention` reads them.
pub(super) fn table(
    taught: &[Taught],
    talks: &[Talk],
    judged: &[Judged],
    named: &[Vec<Identity>],
    world: &World,
) -> Table {
    let input = retention(taught, talks, judged, named, world);
    let pairs: Vec<String> = LOOKS[1..].iter().flat_map(|l| [format!("turns@{l}"), format!("event@{l}")]).collect();
    let mut columns = vec!["run", "group", "turns", "tokens", "event", "mode", "ten_teaching_tokens"];
    columns.extend(pairs.iter().map(String::as_str));
    let mut table = Table::new("retention", &columns);
    for (i, run) in input.runs.iter().enumerate() {
        let mut row: Vec<Cell> = vec![run.run.clone().into(), run.group.clone().into(), run.turns.into()];
        row.extend([
            run.tokens.into(),
            usize::from(run.broke).into(),
            run.mode.clone().into(),
            run.covariates[0].into(),
        ]);
        for definition in &input.definitions {
            let found = definition.ended[i];
            row.extend([found.map(|f| f.0).into(), found.map(|f| usize::from(f.1)).into()]);
        }
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::ended;

    #[test]
    fn a_break_is_two_replies_out_of_persona() {
        let of = |s: &str| ended(&s.chars().map(|c| c == 'p').collect::<Vec<_>>());
        assert_eq!(of("ppaapa"), Some((3, true)));
        assert_eq!(of("aapp"), Some((1, true)));
        // One look alone may be wrong; the last one decides nothing.
        assert_eq!((of("papp"), of("pppa")), (Some((4, false)), Some((3, false))));
        assert_eq!((of("a"), of("")), (Some((1, false)), None));
    }
}
