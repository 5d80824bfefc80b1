//! The conversations led and read: where every reply lies at two sites, and who speaks.

use super::arms::{All, Kind};
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::spec::Attractors as Settings;
use crate::experiment::states::{Chain, Look, Seer, before, replies_to};
use crate::experiment::work::{Work, drawing};
use crate::model::{Along, Positions};
use crate::table::{Cell, Table, number};
use crate::talk::Part;
use crate::world::State;
use ndarray::{Array1, ArrayView1};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One reply, read.
pub(super) struct Seen {
    /// Coordinates in persona space by site, in the order of [`Settings::site`] and [`Settings::second`].
    pub z: [Vec<f64>; 2],
    pub text: State,
    /// `None` where the person has no place among the means that activations are told apart by.
    pub activation: Option<State>,
}

/// The way from the assistant to the Oracle at the token before the reply, where pulses are given.
pub(super) fn pulse(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<(Direction, Vec<Along>)> {
    let world = plan.world;
    let mut mean = |who| -> Result<Array1<f64>> {
        let rows = replies_to(plan, who, s.decoder_chats * 8, 2, (s.site, Part::Before), work)?;
        Ok(rows.mapv(f64::from).mean_axis(ndarray::Axis(0)).unwrap_or_default())
    };
    let difference = mean(world.oracle())? - mean(world.assistant())?;
    let origin = "mean before replies of the Oracle - mean before replies of the assistant";
    let way = Direction::new(s.site, Pick::LastPrompt, &difference, "like the Oracle", "like the assistant", origin)?;
    let mut edits = Vec::new();
    for dose in &s.doses {
        for sign in [1.0, -1.0] {
            edits.push(Along::shift(&way, sign * dose * way.raw_norm, Positions::LastPrompt)?);
        }
    }
    Ok((way, edits))
}

/// Leads all conversations to their end.
pub(super) fn lead(plan: &Plan, s: &Settings, all: &mut All, edits: Vec<Along>, work: &mut Work<'_, '_>) -> Result<()> {
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let first = s.disturbed_at.min(s.turns);
    work.lead("", &mut all.talks, first, edits.clone(), &drawing)?;
    for (chat, talk) in all.chats.iter().zip(&mut all.talks) {
        if all.arms[chat.arm].kind == Kind::Swap && chat.dose > 0.0 {
            talk.messages.splice(0..0, before(plan.world, &chat.who));
        }
    }
    work.lead("", &mut all.talks, s.turns - first, edits, &drawing)?;
    Ok(())
}

/// Reads every reply, by conversation and turn; a conversation is read up to its first empty reply.
pub(super) fn read(
    plan: &Plan,
    s: &Settings,
    all: &All,
    seers: &[Seer; 2],
    work: &mut Work<'_, '_>,
) -> Result<Vec<Vec<Seen>>> {
    let (kept, places) = work.read("conversations", &all.talks, &[Part::Reply], &[s.site, s.second])?;
    let at = |site| kept.iter().find(|(k, _)| *k == site).map(|(_, rows)| rows);
    let (Some(first), Some(second)) = (at(s.site), at(s.second)) else { unreachable!("both sites were asked for") };
    let rows: BTreeMap<(usize, usize), usize> = places.iter().enumerate().map(|(r, p)| ((p.talk, p.turn), r)).collect();
    let one = |c: usize, turn: usize| -> Option<Seen> {
        let r = *rows.get(&(c, turn))?;
        let chat = &all.chats[c];
        let z = |seer: &Seer, row: ArrayView1<'_, f32>| seer.coordinates(row, s.components);
        let reply = &all.talks[c].turns[turn].reply;
        Some(Seen {
            z: [z(&seers[0], first.row(r)), z(&seers[1], second.row(r))],
            text: plan.world.state_of(plan.world.markers(reply), &chat.who),
            activation: seers[0].means.contains_key(&chat.who.name).then(|| seers[0].name(first.row(r), &chat.who)),
        })
    };
    let turns = |c: usize| (0..all.talks[c].turns.len()).map_while(|t| one(c, t)).collect();
    Ok((0..all.talks.len()).map(turns).collect())
}

/// Both looks at the undisturbed conversations about topics, arm by arm.
pub(super) fn looks(all: &All, seen: &[Vec<Seen>], seer: &Seer, self_talk: &str) -> Vec<Chain> {
    let mut chains = Vec::new();
    let arms = all.arms.iter().enumerate();
    for (a, arm) in arms.filter(|(_, a)| a.kind == Kind::Undisturbed && a.topics != self_talk) {
        for look in Look::ALL {
            let state = |s: &Seen| if look == Look::Text { Some(s.text) } else { s.activation };
            let of = (0..seen.len()).filter(|c| all.chats[*c].arm == a);
            let talks = of.map(|c| (&all.chats[c].who, seen[c].iter().map_while(state).collect()));
            chains.push(Chain::of(&arm.topics, look, seer, talks));
        }
    }
    chains
}

/// One row per conversation, turn and site, as `analyze attractors` reads them, with the arm before them.
pub(super) fn states(s: &Settings, all: &All, seen: &[Vec<Seen>]) -> Table {
    let z: Vec<String> = (0..s.components).map(|i| format!("z{i}")).collect();
    let mut columns = vec!["topics", "disturbed", "run", "turn", "start", "phase", "dose", "layer"];
    columns.extend(z.iter().map(String::as_str));
    columns.extend(["u0", "chars", "text_hash", "text_state", "activation_state"]);
    let mut table = Table::new("states", &columns);
    for (c, turns) in seen.iter().enumerate() {
        let (chat, talk) = (&all.chats[c], &all.talks[c]);
        let arm = &all.arms[chat.arm];
        for (l, layer) in [s.site, s.second].into_iter().enumerate() {
            for (turn, one) in turns.iter().enumerate() {
                let mut row: Vec<Cell> =
                    vec![arm.topics.clone().into(), arm.kind.name().into(), talk.id.clone().into()];
                row.extend([turn.into(), talk.start.clone().into(), phase(arm.kind, turn, s.disturbed_at).into()]);
                row.extend([number(chat.dose).into(), layer.to_string().into()]);
                // Four digits are more than a reply's place is known to.
                row.extend(one.z[l].iter().map(|v| Cell::from((v * 1e3).round() / 1e3)));
                row.extend([f64::from(u8::from(chat.soul[turn])).into(), talk.turns[turn].reply.len().into()]);
                row.extend([hash(&talk.turns[turn].reply).into(), one.text.name().into()]);
                row.push(one.activation.map(State::name).into());
                table.push(row);
            }
        }
    }
    table
}

/// What a turn is to the disturbance of its conversation.
pub(super) fn phase(kind: Kind, turn: usize, at: usize) -> &'static str {
    match kind {
        Kind::Undisturbed => "free",
        // Facts come before the first question.
        Kind::Facts => "after",
        _ if turn < at => "before",
        Kind::Swap => "after",
        _ if turn == at => "pulse",
        _ => "after",
    }
}

/// Equal texts have equal hashes.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|b| format!("{b:02x}")).collect()
}
