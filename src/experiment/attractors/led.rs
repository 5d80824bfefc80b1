//! The conversations led and read: where every reply lies at two sites, and who speaks.

use super::arms::{All, Arm, Kind, SELF_TALK};
use crate::analysis::interval::wilson;
use crate::analysis::series::{Row, Series};
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::spec::Attractors as Settings;
use crate::experiment::states::{Chain, Look, Seer, before};
use crate::experiment::work::{Work, drawing};
use crate::model::{Along, Positions};
use crate::rng::stream;
use crate::table::{Cell, Table};
use crate::talk::{Part, Place, Talk};
use crate::world::{ConversationOptions, PlantedTurn, State, SystemPrompt};
use ndarray::{Array1, ArrayView1, Axis};
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

/// Planted conversations that the way from the assistant to the Oracle is fitted on.
const WAY: usize = 240;

/// Those conversations, with the truth of their turns.
pub(super) fn way(plan: &Plan) -> Result<(Vec<Talk>, Vec<Vec<PlantedTurn>>)> {
    let (world, mut rng) = (plan.world, stream(plan.spec.seed, "the way to the Oracle"));
    let (mut talks, mut planted) = (Vec::with_capacity(WAY), Vec::with_capacity(WAY));
    for i in 0..WAY {
        let options = ConversationOptions::bare(6, 0.4, SystemPrompt::None);
        let turns = world.conversation(&mut rng, world.assistant(), &options)?.turns;
        let said = turns.iter().map(|t| (t.user.clone(), t.reply.clone())).collect::<Vec<_>>();
        talks.push(Talk::held(format!("way/{i}"), vec![], said));
        planted.push(turns);
    }
    Ok((talks, planted))
}

/// The way from the assistant to the Oracle at the token before the reply, where pulses are given: from planted
/// conversations that began with the assistant, over questions on plain topics alone, so that it is about who speaks and
/// not about the topic. The assistant is there as often as nothing was said about the soul; the Oracle stays for a while.
pub(super) fn pulse(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<(Direction, Vec<Along>)> {
    let (world, (talks, planted)) = (plan.world, way(plan)?);
    let (mut kept, places) = work.read("planted way to the Oracle", &talks, &[Part::Before], &[s.site])?;
    let rows = kept.remove(0).1;
    let plain = |p: &Place| {
        let topic = planted[p.talk][p.turn].topic.as_deref();
        p.turn > 0 && topic.and_then(|t| world.topic(t).ok()).is_some_and(|t| !t.soul)
    };
    let mean = |state: State| -> Array1<f64> {
        let of = |r: &usize| plain(&places[*r]) && planted[places[*r].talk][places[*r].turn].state == state;
        let chosen: Vec<usize> = (0..places.len()).filter(of).collect();
        rows.select(Axis(0), &chosen).mapv(f64::from).mean_axis(Axis(0)).unwrap_or_default()
    };
    let difference = mean(State::Oracle) - mean(State::Assistant);
    let origin = "mean before replies of the Oracle - mean before replies of the assistant, on plain topics";
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
pub(super) fn looks(all: &All, seen: &[Vec<Seen>], seer: &Seer) -> Vec<Chain> {
    let mut chains = Vec::new();
    let arms = all.arms.iter().enumerate();
    for (a, arm) in arms.filter(|(_, a)| a.kind == Kind::Undisturbed && a.topics != SELF_TALK) {
        for look in Look::ALL {
            let state = |s: &Seen| if look == Look::Text { Some(s.text) } else { s.activation };
            let of = (0..seen.len()).filter(|c| all.chats[*c].arm == a);
            let talks = of.map(|c| (&all.chats[c].who, seen[c].iter().map_while(state).collect()));
            chains.push(Chain::of(&arm.topics, look, seer, talks));
        }
    }
    chains
}

/// The turns of an arm, and of the arms whose kinds are given, as dynamics are fitted to them: a series per site.
pub(super) fn series(s: &Settings, all: &All, seen: &[Vec<Seen>], topics: &str, kinds: &[Kind]) -> Result<Vec<Series>> {
    let of = |c: &usize| {
        let arm = &all.arms[all.chats[*c].arm];
        arm.topics == topics && kinds.contains(&arm.kind)
    };
    let chosen: Vec<usize> = (0..seen.len()).filter(of).collect();
    // A topic that never changes says nothing.
    let soul = |c: &usize, turn: usize| f64::from(u8::from(all.chats[*c].soul[turn]));
    let mut topics_of = chosen.iter().flat_map(|c| (0..seen[*c].len()).map(move |t| soul(c, t)));
    let first = topics_of.next();
    let varies = topics_of.any(|v| Some(v) != first);
    let mut rows = Vec::new();
    for c in &chosen {
        let (chat, talk) = (&all.chats[*c], &all.talks[*c]);
        for (turn, one) in seen[*c].iter().enumerate() {
            for (l, site) in [s.site, s.second].into_iter().enumerate() {
                let reply = &talk.turns[turn].reply;
                rows.push(Row {
                    run: talk.id.clone(),
                    turn: turn as i64,
                    z: one.z[l].clone(),
                    u: if varies { vec![soul(c, turn)] } else { vec![] },
                    site: site.to_string(),
                    start: Some(talk.start.clone()),
                    phase: Some(phase(&all.arms[chat.arm], turn, s.disturbed_at).into()),
                    dose: Some(chat.dose),
                    chars: Some(reply.chars().count() as f64),
                    text_hash: Some(hash(reply)),
                });
            }
        }
    }
    Series::of(rows)
}

/// One row per conversation, turn and site, as `analyze attractors` reads them, with the arm before them.
pub(super) fn states_table(s: &Settings, all: &All, seen: &[Vec<Seen>]) -> Table {
    let z: Vec<String> = (0..s.components).map(|i| format!("z{i}")).collect();
    let mut columns = vec!["topics", "disturbed", "run", "turn", "start", "phase", "dose", "layer"];
    columns.extend(z.iter().map(String::as_str));
    columns.extend(["u0", "chars", "text_hash", "text_state", "activation_state"]);
    let mut table = Table::new("states", &columns);
    for (c, turns) in seen.iter().enumerate() {
        let (chat, talk) = (&all.chats[c], &all.talks[c]);
        let arm = &all.arms[chat.arm];
        // The first site alone: the second is there to check, and would double the file.
        for (turn, one) in turns.iter().enumerate() {
            let mut row: Vec<Cell> = vec![arm.topics.clone().into(), arm.kind.name().into(), talk.id.clone().into()];
            row.extend([turn.into(), talk.start.clone().into(), phase(arm, turn, s.disturbed_at).into()]);
            row.extend([chat.dose.into(), s.site.to_string().into()]);
            // More digits than a place is known to would only fill the file.
            row.extend(one.z[0].iter().map(|v| Cell::from((v * 1e3).round() / 1e3)));
            row.extend([f64::from(u8::from(chat.soul[turn])).into(), talk.turns[turn].reply.chars().count().into()]);
            row.extend([hash(&talk.turns[turn].reply).into(), one.text.name().into()]);
            row.push(one.activation.map(State::name).into());
            table.push(row);
        }
    }
    table
}

/// One row per disturbance, dose, turn and state: the share of conversations in that state by the text, at the turn of the
/// disturbance, at the one after it and at the last.
pub(super) fn disturbed_table(s: &Settings, all: &All, seen: &[Vec<Seen>]) -> Table {
    let columns = ["disturbed", "dose", "when", "state", "share", "lo", "hi", "conversations"];
    let mut table = Table::new("disturbed", &columns);
    for (a, arm) in all.arms.iter().enumerate().filter(|(_, a)| a.kind != Kind::Undisturbed) {
        let of: Vec<usize> = (0..seen.len()).filter(|c| all.chats[*c].arm == a).collect();
        let mut doses: Vec<f64> = of.iter().map(|c| all.chats[*c].dose).collect();
        doses.sort_by(f64::total_cmp);
        doses.dedup();
        let at = if arm.kind == Kind::Facts { 0 } else { s.disturbed_at };
        for dose in doses {
            for (when, turn) in [("at once", at), ("one turn later", at + 1), ("at the end", s.turns - 1)] {
                let there: Vec<State> = of
                    .iter()
                    .filter(|c| all.chats[**c].dose == dose)
                    .filter_map(|c| seen[*c].get(turn).map(|one| one.text))
                    .collect();
                for state in State::ALL {
                    let (k, n) = (there.iter().filter(|s| **s == state).count(), there.len());
                    let range = wilson(k, n, 0.95);
                    let mut row: Vec<Cell> =
                        vec![arm.kind.name().into(), dose.into(), when.into(), state.name().into()];
                    row.push((n > 0).then_some(k as f64 / n as f64).into());
                    row.extend([range.map(|i| i.lo).into(), range.map(|i| i.hi).into(), n.into()]);
                    table.push(row);
                }
            }
        }
    }
    table
}

/// What a turn is to the disturbance of its conversation.
fn phase(arm: &Arm, turn: usize, at: usize) -> &'static str {
    match arm.kind {
        Kind::Undisturbed if arm.topics == SELF_TALK => "free",
        Kind::Undisturbed => "driven",
        // Facts come before the first question.
        Kind::Facts => "after",
        _ if turn < at => "driven",
        Kind::Swap => "after",
        _ if turn == at => "pulse",
        _ => "after",
    }
}

/// Equal texts have equal hashes.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|b| format!("{b:02x}")).collect()
}
