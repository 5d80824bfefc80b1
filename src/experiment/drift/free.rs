//! The model talking freely: its own replies, turn by turn, judged by their markers and projected on the axis.

use super::planted::recognisable;
use crate::analysis::turns::{TurnValue, fraction_by_turn, mean_by_turn, turn_table};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::experiment::plan::Plan;
use crate::experiment::prompts::system;
use crate::experiment::spec::Drift as Settings;
use crate::experiment::work::{Work, drawing};
use crate::model::Model;
use crate::rng::stream;
use crate::table::{Cell, Table};
use crate::text::Message;
use crate::unit::Item;
use crate::world::{ConversationOptions, Persona, State, SystemPrompt, World};
use rand::Rng;
use std::collections::BTreeMap;

/// A conversation in which the model writes its own turns.
struct Chat {
    id: String,
    persona: &'static Persona,
    /// The user's words, for all turns.
    questions: Vec<String>,
    messages: Vec<Message>,
    /// Texts of its replies so far.
    replies: Vec<String>,
}

/// The name of a stage.
pub(super) fn stage(turn: usize) -> String {
    format!("free replies, turn {turn}")
}

/// The prompts of the first turn.
pub(super) fn begin(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Item>> {
    chats(plan, s)?.iter_mut().map(|c| c.ask(model, 0, plan.spec.seed)).collect()
}

/// `chats` conversations for each hazard, personas in turn, questions drawn from the plain topics.
fn chats(plan: &Plan, s: &Settings) -> Result<Vec<Chat>> {
    let world = World::toyworld();
    let mut by_hazard: BTreeMap<u64, Vec<&'static Persona>> = BTreeMap::new();
    for p in recognisable(s)? {
        by_hazard.entry(p.hazard.to_bits()).or_default().push(p);
    }
    if by_hazard.is_empty() {
        let what = format!("nobody of the group `{}` can be told from the assistant", s.group);
        return Err(Error::refused(what, "choose another `group`"));
    }
    let mut rng = stream(plan.spec.seed, "free conversations");
    let topics = world.plain_topics();
    let mut all = Vec::new();
    for people in by_hazard.values() {
        for i in 0..s.chats {
            let persona = people[i % people.len()];
            let mut question = || {
                let topic = topics[rng.random_range(0..topics.len())];
                world.question(&mut rng, topic)
            };
            all.push(Chat {
                id: format!("{}-{i:04}-{}", persona.hazard, persona.name),
                persona,
                questions: (0..s.chat_turns).map(|_| question()).collect(),
                messages: vec![Message::new("system", system(world, persona))],
                replies: Vec::new(),
            });
        }
    }
    Ok(all)
}

impl Chat {
    /// Puts the question of a turn, and gives the prompt to be continued.
    fn ask(&mut self, model: &Model, turn: usize, seed: u64) -> Result<Item> {
        self.messages.push(Message::new("user", &self.questions[turn]));
        let encoded = model.text.chat(&self.messages, true)?;
        let id = format!("{}/{turn}", self.id);
        Ok(Item { id, prompt_len: encoded.last_prompt() + 1, tokens: encoded.tokens, seed, ..Item::default() })
    }
}

/// Leads the conversations; gives the table of persona fractions and that of projections by turn.
pub(super) fn run(
    plan: &Plan,
    s: &Settings,
    work: &mut Work<'_, '_>,
    axis: Option<&Direction>,
) -> Result<(Table, Table)> {
    let n_ctx = work.model.lm.dims().n_ctx;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let mut open = chats(plan, s)?;
    let mut closed: Vec<Chat> = Vec::new();
    for turn in 0..s.chat_turns {
        let mut items = Vec::with_capacity(open.len());
        let mut going = Vec::with_capacity(open.len());
        for mut chat in open {
            let item = chat.ask(work.model, turn, plan.spec.seed)?;
            if item.tokens.len() + s.max_new_tokens <= n_ctx {
                items.push(item);
                going.push(chat);
            } else {
                chat.messages.pop();
                closed.push(chat);
            }
        }
        let (replies, _) = work.generate(&stage(turn), items, vec![], &drawing)?;
        for (chat, text) in going.iter_mut().zip(work.texts(&replies)?) {
            chat.messages.push(Message::new("assistant", &text));
            chat.replies.push(text);
        }
        open = going;
    }
    if !closed.is_empty() {
        work.warnings.push(format!(
            "{} free conversations ended early: their next prompt and reply would not fit {n_ctx} positions",
            closed.len()
        ));
    }
    open.extend(closed);
    open.sort_by(|a, b| a.id.cmp(&b.id));
    let fractions = fractions(s, &open)?;
    let projections = match axis {
        Some(axis) => projections(plan, s, work, axis, &open)?,
        None => turn_table("free_projections", "projection_activation", &[]),
    };
    Ok((fractions, projections))
}

fn arm(chat: &Chat) -> String {
    chat.persona.hazard.to_string()
}

/// The share of conversations whose reply is judged to be the persona's, beside what the planted process would give
/// through the same judgement, for the personas that are still talking.
fn fractions(s: &Settings, chats: &[Chat]) -> Result<Table> {
    let world = World::toyworld();
    let mut values = Vec::new();
    // (hazard, turn) -> expected and planted shares of the conversations.
    let mut expected: BTreeMap<(String, usize), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for chat in chats {
        let options = ConversationOptions::bare(s.chat_turns, 0.0, SystemPrompt::Fixed(system(world, chat.persona)));
        let seen = world.observed_shares(chat.persona, &options)?;
        let planted = world.planted_shares(chat.persona, &options)?;
        for (turn, reply) in chat.replies.iter().enumerate() {
            let state = world.state_of(world.markers(reply), chat.persona);
            let value = f64::from(u8::from(state == State::Persona));
            values.push(TurnValue { conversation: chat.id.clone(), arm: arm(chat), turn, value });
            let cell = expected.entry((arm(chat), turn)).or_default();
            cell.0.push(seen[turn].persona);
            cell.1.push(planted[turn].persona);
        }
    }
    let columns = ["hazard_per_turn", "turn", "persona_fraction", "lo", "hi", "expected_fraction", "planted_fraction"];
    let mut table = Table::new("free_turns", &[&columns[..], &["conversations"]].concat());
    for m in fraction_by_turn(&values)? {
        let (seen, planted) = expected.remove(&(m.arm.clone(), m.turn)).unwrap_or_default();
        let mean = |v: &[f64]| crate::experiment::cells::mean(v.iter().copied());
        let mut row: Vec<Cell> = vec![m.arm.into(), m.turn.into(), m.mean.into()];
        row.extend([m.interval.map(|i| i.lo).into(), m.interval.map(|i| i.hi).into()]);
        row.extend([mean(&seen).into(), mean(&planted).into(), m.conversations.into()]);
        table.push(row);
    }
    Ok(table)
}

/// The mean projection of the replies on the axis fitted on planted conversations, by hazard and turn.
fn projections(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>, axis: &Direction, chats: &[Chat]) -> Result<Table> {
    let (mut items, mut rows) = (Vec::new(), Vec::new());
    for chat in chats.iter().filter(|c| !c.replies.is_empty()) {
        let encoded = work.model.text.chat(&chat.messages, false)?;
        let mut ranges = Vec::new();
        for turn in 0..chat.replies.len() {
            let content = encoded.turns[2 + 2 * turn].content.clone();
            if !content.is_empty() {
                ranges.push(content);
                rows.push((chat, turn));
            }
        }
        let prompt_len = encoded.last_prompt() + 1;
        items.push(Item { prompt_len, tokens: encoded.tokens, ranges, ..Item::default() });
    }
    let kept = work.capture("free conversations", items, &[axis.site])?;
    let mut values = Vec::new();
    for ((chat, turn), row) in rows.into_iter().zip(kept[0].1.rows()) {
        let (conversation, value) = (chat.id.clone(), axis.project(row));
        values.push(TurnValue { conversation, arm: arm(chat), turn, value });
    }
    let means = mean_by_turn(&values, s.bootstrap, plan.spec.seed);
    Ok(turn_table("free_projections", "projection_activation", &means))
}
