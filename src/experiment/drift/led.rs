//! What is read of the free conversations: who speaks, by text and by activations, and where the stream lies.

use super::free::{Arm, Chat};
use crate::analysis::pca::pca;
use crate::analysis::trajectory::{self, Run, TurnRow};
use crate::analysis::turns::{TurnValue, fraction_by_turn, mean_by_turn, turn_table};
use crate::axes::{Point, Site};
use crate::direction::Direction;
use crate::error::Result;
use crate::experiment::cells::mean;
use crate::experiment::plan::Plan;
use crate::experiment::spec::Drift as Settings;
use crate::experiment::states::{Chain, Look, Realised, Seer, chain_table, difference_table};
use crate::experiment::work::Work;
use crate::table::{Cell, Table};
use crate::talk::{Part, Talk};
use crate::world::{ConversationOptions, State, SystemPrompt, World};
use ndarray::{Array2, Axis};
use std::collections::BTreeMap;

/// Everything that is read of every turn of every conversation.
pub(super) struct Read {
    /// By conversation and turn.
    pub turns: Vec<Vec<Seen>>,
}

/// One turn.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub text: State,
    pub activation: State,
    /// On the axis, mean over the reply.
    pub projection: f64,
    /// On the axis, token by token.
    pub tokens: Vec<f64>,
    /// What the user said: coordinates of its mean embedding.
    pub user: Vec<f64>,
}

/// Components of the user's mean embeddings that stand for what was said.
const USER: usize = 8;

/// Reads all conversations at the site of the axis.
pub(super) fn read(
    chats: &[Chat],
    talks: &[Talk],
    (seer, axis): (&Seer, &Direction),
    work: &mut Work<'_, '_>,
    world: &World,
) -> Result<Read> {
    let embedding = Site::new(Point::ResidPre, 0);
    let parts = [Part::Question, Part::Tokens];
    // The embeddings are read by themselves: at the other site every token of the replies is kept.
    let (mut said, asked) = work.read("what the user says", talks, &parts[..1], &[embedding])?;
    let (mut kept, places) = work.read("free conversations", talks, &parts[1..], &[axis.site])?;
    let (said, kept) = (said.remove(0).1, kept.remove(0).1);
    let user = coordinates(&said, USER)?;
    let mut users: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for (place, row) in asked.iter().zip(user) {
        users.insert((place.talk, place.turn), row);
    }
    let mut rows: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (r, place) in places.iter().enumerate() {
        rows.entry((place.talk, place.turn)).or_default().push(r);
    }
    let one = |c: usize, turn: usize| {
        let at = rows.get(&(c, turn))?;
        let over = kept.select(Axis(0), at);
        let row = over.mean_axis(Axis(0))?;
        let reply = &talks[c].turns[turn].reply;
        Some(Seen {
            text: world.state_of(world.markers(reply), chats[c].who),
            activation: seer.name(row.view(), chats[c].who),
            projection: axis.project(row.view()),
            tokens: over.rows().into_iter().map(|r| axis.project(r)).collect(),
            user: users.get(&(c, turn)).cloned()?,
        })
    };
    // A turn without a token has no activation: a conversation is read up to the first of these.
    let turns = (0..talks.len()).map(|c| (0..talks[c].turns.len()).map_while(|t| one(c, t)).collect()).collect();
    Ok(Read { turns })
}

/// The first `k` principal coordinates of rows.
fn coordinates(rows: &Array2<f32>, k: usize) -> Result<Vec<Vec<f64>>> {
    let rows = rows.mapv(f64::from);
    let found = pca(rows.view())?;
    let kept = found.components.slice(ndarray::s![..k.min(found.components.nrows()), ..]);
    Ok((&rows - &found.mean).dot(&kept.t()).rows().into_iter().map(|r| r.to_vec()).collect())
}

/// The share of conversations in persona by turn, as text and as activations tell it, beside what the planted process
/// would give through the errors of the text.
pub(super) fn fractions(plan: &Plan, s: &Settings, arms: &[Arm], chats: &[Chat], read: &Read) -> Result<Table> {
    let columns = ["hazard_per_turn", "look", "turn", "persona_fraction", "lo", "hi", "expected_fraction"];
    let mut table = Table::new("free_turns", &[&columns[..], &["planted_fraction", "conversations"]].concat());
    for look in Look::ALL {
        let mut values = Vec::new();
        // (hazard, turn) -> expected and planted shares of the conversations.
        let mut expected: BTreeMap<(String, usize), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for (c, chat) in chats.iter().enumerate() {
            let Arm::Hazard(_) = arms[chat.arm] else { continue };
            let arm = arms[chat.arm].name();
            let fixed = SystemPrompt::Fixed(String::new());
            let options = ConversationOptions::bare(s.chat_turns, 0.0, fixed);
            let (seen, planted) =
                (plan.world.observed_shares(chat.who, &options)?, plan.world.planted_shares(chat.who, &options)?);
            for (turn, found) in read.turns[c].iter().enumerate() {
                let state = if look == Look::Text { found.text } else { found.activation };
                let value = f64::from(u8::from(state == State::Persona));
                values.push(TurnValue { conversation: c.to_string(), arm: arm.clone(), turn, value });
                let cell = expected.entry((arm.clone(), turn)).or_default();
                cell.0.push(seen[turn].persona);
                cell.1.push(planted[turn].persona);
            }
        }
        for m in fraction_by_turn(&values)? {
            let (seen, planted) = expected.remove(&(m.arm.clone(), m.turn)).unwrap_or_default();
            let of = |v: Vec<f64>| mean(v);
            let mut row: Vec<Cell> = vec![m.arm.into(), look.name().into(), m.turn.into(), m.mean.into()];
            row.extend([m.interval.map(|i| i.lo).into(), m.interval.map(|i| i.hi).into()]);
            // The expected share is that of the text's errors.
            row.push(if look == Look::Text { of(seen).into() } else { Cell::Empty });
            row.extend([of(planted).into(), m.conversations.into()]);
            table.push(row);
        }
    }
    Ok(table)
}

/// Both looks at every arm in which replies have markers.
pub(super) fn looks(seer: &Seer, arms: &[Arm], chats: &[Chat], read: &Read) -> Vec<Chain> {
    let mut all = Vec::new();
    for (a, arm) in arms.iter().enumerate().filter(|(_, arm)| matches!(arm, Arm::Hazard(_))) {
        for look in Look::ALL {
            let state = |seen: &Seen| if look == Look::Text { seen.text } else { seen.activation };
            let of = (0..chats.len()).filter(|c| chats[*c].arm == a);
            let talks = of.map(|c| (chats[c].who, read.turns[c].iter().map(state).collect()));
            all.push(Chain::of(&arm.name(), look, seer, talks));
        }
    }
    all
}

/// `moves`, `looks` and `hazards`: how states follow each other, how far the two looks differ, and the hazard of every arm
/// beside what was planted and what the training corpus made of it.
pub(super) fn hazards(
    plan: &Plan,
    s: &Settings,
    chains: &[Chain],
    truth: &Realised,
    threads: usize,
) -> Result<[Table; 3]> {
    let planted = |arm: &str, from: State, to: State| -> Option<f64> {
        let hazard: f64 = arm.parse().ok()?;
        Some(match (from, to) {
            (State::Persona, State::Persona) => 1.0 - hazard,
            (State::Persona, State::Assistant) => hazard,
            (State::Oracle, State::Assistant) => plan.world.hazards().oracle_to_assistant,
            (State::Oracle, State::Oracle) => 1.0 - plan.world.hazards().oracle_to_assistant,
            (from, to) => f64::from(u8::from(from == to)),
        })
    };
    let resamples = (s.chain_bootstrap, plan.spec.seed, threads);
    let moves = chain_table("moves", chains, resamples, &planted)?;
    let differences = difference_table("looks", chains, resamples)?;
    let columns = ["hazard_per_turn", "look", "hazard", "lo", "hi", "planted", "realised", "off_realised", "steps"];
    let mut table = Table::new("hazards", &[&columns[..], &["conversations", "reason"]].concat());
    for r in 0..moves.rows.len() {
        if moves.text(r, "from") != State::Persona.name() || moves.text(r, "to") != State::Assistant.name() {
            continue;
        }
        let arm = moves.text(r, "arm");
        let realised = arm.parse().ok().and_then(|h| truth.hazard(h));
        let found = moves.num(r, "probability");
        let cell = |column: &str| moves.rows[r][moves.column(column).unwrap_or_default()].clone();
        let mut row = vec![cell("arm"), cell("look"), cell("probability"), cell("lo"), cell("hi"), cell("planted")];
        row.extend([realised.into(), found.zip(realised).map(|(f, r)| (f - r).abs()).into()]);
        row.extend([cell("steps"), cell("conversations"), cell("reason")]);
        table.push(row);
    }
    Ok([moves, differences, table])
}

/// One row per conversation and turn, as `analyze drift` reads them.
pub(super) fn states(arms: &[Arm], chats: &[Chat], talks: &[Talk], read: &Read) -> Table {
    let users: Vec<String> = (0..USER).map(|i| format!("u{i}")).collect();
    let mut columns = vec!["run", "domain", "turn", "projection", "text_state", "activation_state", "context"];
    columns.extend(users.iter().map(String::as_str));
    let mut table = Table::new("states", &columns);
    for (c, chat) in chats.iter().enumerate() {
        for (turn, seen) in read.turns[c].iter().enumerate() {
            let mut row: Vec<Cell> = vec![talks[c].id.clone().into(), arms[chat.arm].name().into(), turn.into()];
            row.extend([seen.projection.into(), seen.text.name().into(), seen.activation.name().into()]);
            row.push(talks[c].turns[turn].context.into());
            row.extend((0..USER).map(|i| Cell::from(seen.user.get(i).copied())));
            table.push(row);
        }
    }
    table
}

/// The conversations as drift is analysed: what leads into a turn is what the user said before it.
pub(super) fn runs(arms: &[Arm], chats: &[Chat], talks: &[Talk], read: &Read) -> Result<Vec<Run>> {
    let mut rows = Vec::new();
    for (c, chat) in chats.iter().enumerate() {
        for (turn, seen) in read.turns[c].iter().enumerate() {
            rows.push(TurnRow {
                run: talks[c].id.clone(),
                turn,
                projection: seen.projection,
                input: seen.user.clone(),
                state: Vec::new(),
                domain: arms[chat.arm].name(),
            });
        }
    }
    trajectory::runs(&rows)
}

/// The mean projection of every token by its place in the reply, for the first and the last turn.
pub(super) fn tokens(plan: &Plan, s: &Settings, arms: &[Arm], chats: &[Chat], read: &Read) -> Table {
    let mut tokens = Vec::new();
    for (c, chat) in chats.iter().enumerate() {
        for (turn, word) in [(0, "first turn"), (s.chat_turns - 1, "last turn")] {
            let Some(seen) = read.turns[c].get(turn) else { continue };
            for (offset, value) in seen.tokens.iter().enumerate().take(TOKENS) {
                let arm = format!("{}/{word}", arms[chat.arm].name());
                tokens.push(TurnValue { conversation: c.to_string(), arm, turn: offset, value: *value });
            }
        }
    }
    let means = mean_by_turn(&tokens, s.bootstrap, plan.spec.seed);
    super::split_arm(&turn_table("token_projections", "projection_activation", &means), ["arm", "of"])
}

/// Tokens of a reply that are told one by one.
const TOKENS: usize = 24;
