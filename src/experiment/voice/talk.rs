//! The conversations: every arm answers the same questions, turn by turn, each with its own replies before it.

use super::instruments::{Instruments, judged, shows};
use super::kept::Value;
use super::{Arm, Cast, Settings, Subject};
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::work::{Work, drawing};
use crate::model::Model;
use crate::persona::strip;
use crate::rng::stream;
use crate::score::quality::repetition;
use crate::text::Message;
use crate::unit::Item;
use crate::world::{Persona, Topic, World, body_intact};
use rand::Rng;
use std::ops::Range;

pub(super) const READ: &str = "conversations";

/// The name of a stage.
pub(super) fn stage(turn: usize) -> String {
    format!("replies, turn {turn}")
}

/// One conversation of one subject.
pub(super) struct Chat {
    /// The same for all subjects that answer its questions.
    pub id: String,
    /// Place in [`Cast::subjects`].
    pub subject: usize,
    pub questions: Vec<(&'static Topic, String)>,
    pub messages: Vec<Message>,
    /// As they were drawn.
    pub replies: Vec<Vec<u32>>,
    pub texts: Vec<String>,
    /// Tokens of the prompt and the reply, by turn.
    pub context: Vec<usize>,
}

/// All conversations at their beginning: subject after subject.
fn chats(plan: &Plan, s: &Settings, cast: &Cast) -> Vec<Chat> {
    let world = World::toyworld();
    let topics: Vec<&'static Topic> =
        world.plain_topics().into_iter().filter(|t| world.heldout_topics().contains(&t.name)).collect();
    let mut all = Vec::new();
    for (subject, Subject { arm, character, .. }) in cast.subjects.iter().enumerate() {
        let who = &cast.characters[*character];
        // The same questions and cards for every arm.
        let mut rng = stream(plan.spec.seed, &format!("voice conversations with {}", who.name));
        for i in 0..s.conversations {
            let card = world.in_context_prompt(&mut rng, who);
            let mut question = || {
                let topic = topics[rng.random_range(0..topics.len())];
                (topic, world.question(&mut rng, topic))
            };
            let questions = (0..s.turns).map(|_| question()).collect();
            let system = arm.has_card().then(|| Message::new("system", card));
            all.push(Chat {
                id: format!("{}/{i:03}", who.name),
                subject,
                questions,
                messages: system.into_iter().collect(),
                replies: Vec::new(),
                texts: Vec::new(),
                context: Vec::new(),
            });
        }
    }
    all
}

impl Chat {
    /// Puts the question of a turn, and gives the prompt to be continued.
    fn ask(&mut self, cast: &Cast, model: &Model, turn: usize, seed: u64) -> Result<Item> {
        self.messages.push(Message::new("user", &self.questions[turn].1));
        let tokens = model.text.chat(&self.messages, true)?.tokens;
        let id = format!("{}/{turn}", self.id);
        let Subject { adapter, seed: own, .. } = cast.subjects[self.subject];
        // Two fine-tunes of one character are two draws.
        let seed = seed.wrapping_add(own.unwrap_or_default());
        Ok(Item { id, prompt_len: tokens.len(), tokens, seed, adapter, ..Item::default() })
    }

    /// Places of the reply of a turn among the messages.
    pub fn message(&self, turn: usize) -> usize {
        self.messages.len() - 2 * self.texts.len() + 2 * turn + 1
    }
}

/// The prompts of the first turn.
pub(super) fn begin(plan: &Plan, s: &Settings, cast: &Cast, model: &Model) -> Result<Vec<Item>> {
    chats(plan, s, cast).iter_mut().map(|c| c.ask(cast, model, 0, plan.spec.seed)).collect()
}

/// Leads all conversations to their end, or as far as the model's positions go.
pub(super) fn lead(plan: &Plan, s: &Settings, cast: &Cast, work: &mut Work<'_, '_>) -> Result<Vec<Chat>> {
    let n_ctx = work.model.lm.dims().n_ctx;
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let (mut open, mut closed) = (chats(plan, s, cast), Vec::new());
    for turn in 0..s.turns {
        let (mut items, mut going) = (Vec::new(), Vec::new());
        for mut chat in open {
            let item = chat.ask(cast, work.model, turn, plan.spec.seed)?;
            if item.tokens.len() + s.max_new_tokens <= n_ctx {
                chat.context.push(item.tokens.len());
                items.push(item);
                going.push(chat);
            } else {
                chat.messages.pop();
                closed.push(chat);
            }
        }
        let (replies, _) = work.generate(&stage(turn), items, vec![], &drawing)?;
        let texts = work.texts(&replies)?;
        for ((chat, reply), text) in going.iter_mut().zip(replies).zip(texts) {
            chat.messages.push(Message::new("assistant", &text));
            chat.context[turn] += reply.len();
            chat.replies.push(reply);
            chat.texts.push(text);
        }
        open = going;
    }
    if !closed.is_empty() {
        let all = closed.len() + open.len();
        work.warnings.push(format!(
            "{} of {all} conversations ended early: their next prompt and reply would not fit {n_ctx} positions",
            closed.len()
        ));
    }
    open.extend(closed);
    open.sort_by(|a, b| (a.subject, &a.id).cmp(&(b.subject, &b.id)));
    Ok(open)
}

/// The content without the name before it: from the first token behind the colon.
pub(super) fn behind_name(
    model: &Model,
    tokens: &[u32],
    content: &Range<usize>,
    who: &Persona,
) -> Result<Range<usize>> {
    if strip(&model.text.decode(&tokens[content.clone()])?, &[&who.name]).named {
        for end in content.start + 1..content.end {
            if model.text.decode(&tokens[content.start..end])?.trim_end().ends_with(':') {
                return Ok(end..content.end);
            }
        }
    }
    Ok(content.clone())
}

/// What every reply shows, and where it lies.
pub(super) fn measure(
    cast: &Cast,
    instruments: &[Instruments],
    chats: &[Chat],
    work: &mut Work<'_, '_>,
) -> Result<Vec<Value>> {
    let world = World::toyworld();
    let mut values = Vec::new();
    let (mut items, mut places) = (Vec::new(), Vec::new());
    for (c, chat) in chats.iter().enumerate().filter(|(_, c)| !c.texts.is_empty()) {
        let Subject { character, adapter, .. } = cast.subjects[chat.subject];
        let who = &cast.characters[character];
        let encoded = work.model.text.chat(&chat.messages, false)?;
        let mut ranges = Vec::new();
        for (turn, text) in chat.texts.iter().enumerate() {
            let found = strip(text, &[&who.name]);
            let mut push = |measure, value| values.push(value_of(cast, chat, turn, measure, value));
            push("markers", shows(world, who, found.text));
            push("judged", judged(world, who, found.text));
            push("named", f64::from(u8::from(found.named)));
            push("intact", f64::from(u8::from(body_intact(found.text, chat.questions[turn].0))));
            push("context_tokens", chat.context[turn] as f64);
            if let Some(p) = instruments[character].words(found.text)? {
                push("classifier", p);
            }
            if let Some(share) = repetition(&chat.replies[turn], 3) {
                push("repetition", share);
            }
            let content = encoded.turns[chat.message(turn)].content.clone();
            let said = behind_name(work.model, &encoded.tokens, &content, who)?;
            if !said.is_empty() {
                ranges.extend([content.start - 1..content.start, said]);
                places.push((c, turn));
            }
        }
        let (id, tokens) = (chat.id.clone(), encoded.tokens);
        items.push(Item { id, prompt_len: tokens.len(), tokens, ranges, adapter, ..Item::default() });
    }
    let site = instruments[0].over.site;
    let kept = work.capture(READ, items, &[site])?;
    let rows = &kept[0].1;
    for (i, (c, turn)) in places.into_iter().enumerate() {
        let chat = &chats[c];
        let own = &instruments[cast.subjects[chat.subject].character];
        let found = own.project(rows.row(2 * i), rows.row(2 * i + 1));
        for (measure, value) in ["latent_before", "latent_reply"].into_iter().zip(found) {
            values.push(value_of(cast, chat, turn, measure, value));
        }
    }
    Ok(values)
}

/// A value of a turn of a conversation.
pub(super) fn value_of(cast: &Cast, chat: &Chat, turn: usize, measure: &'static str, value: f64) -> Value {
    let Subject { arm, seed, .. } = cast.subjects[chat.subject];
    Value { arm: Arm::name(arm), conversation: chat.id.clone(), seed, turn, measure, value }
}
