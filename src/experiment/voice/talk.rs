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
use crate::talk::{Talk, User};
use crate::text::Message;
use crate::unit::Item;
use crate::world::{Persona, Topic, World, body_intact};
use rand::Rng;
use std::ops::Range;

pub(super) const READ: &str = "conversations";

/// One conversation of one subject. Its id is the same for all subjects that answer its questions.
pub(super) struct Chat {
    /// Place in [`Cast::subjects`].
    pub subject: usize,
    /// What is asked about, by turn.
    pub topics: Vec<&'static Topic>,
    pub talk: Talk,
}

/// All conversations at their beginning: subject after subject.
pub(super) fn chats(plan: &Plan, s: &Settings, cast: &Cast) -> Vec<Chat> {
    let world = World::toyworld();
    let topics: Vec<&'static Topic> =
        world.plain_topics().into_iter().filter(|t| world.heldout_topics().contains(&t.name)).collect();
    let mut all = Vec::new();
    for (subject, Subject { arm, character, adapter, seed }) in cast.subjects.iter().enumerate() {
        let who = &cast.characters[*character];
        // The same questions and cards for every arm.
        let mut rng = stream(plan.spec.seed, &format!("voice conversations with {}", who.name));
        for i in 0..s.conversations {
            let card = world.in_context_prompt(&mut rng, who);
            let mut question = || {
                let topic = topics[rng.random_range(0..topics.len())];
                (topic, world.question(&mut rng, topic))
            };
            let (topics, said) = (0..s.turns).map(|_| question()).unzip();
            let system = arm.has_card().then(|| Message::new("system", card));
            // Two fine-tunes of one character are two draws.
            let seed = plan.spec.seed.wrapping_add(seed.unwrap_or_default());
            let id = format!("{}/{i:03}", who.name);
            let talk = Talk::new(id, system.into_iter().collect(), User::Says(said), seed);
            all.push(Chat { subject, topics, talk: Talk { adapter: *adapter, ..talk } });
        }
    }
    all
}

/// Leads all conversations to their end, or as far as the model's positions go.
pub(super) fn lead(plan: &Plan, s: &Settings, cast: &Cast, work: &mut Work<'_, '_>) -> Result<Vec<Chat>> {
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let mut chats = chats(plan, s, cast);
    let mut talks: Vec<Talk> = chats.iter_mut().map(|c| std::mem::take(&mut c.talk)).collect();
    work.lead("", &mut talks, s.turns, vec![], &drawing)?;
    chats.iter_mut().zip(talks).for_each(|(chat, talk)| chat.talk = talk);
    chats.sort_by(|a, b| (a.subject, &a.talk.id).cmp(&(b.subject, &b.talk.id)));
    Ok(chats)
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
    for (c, chat) in chats.iter().enumerate().filter(|(_, c)| !c.talk.turns.is_empty()) {
        let Subject { character, adapter, .. } = cast.subjects[chat.subject];
        let who = &cast.characters[character];
        let encoded = work.model.text.chat(&chat.talk.messages, false)?;
        let mut ranges = Vec::new();
        for (turn, said) in chat.talk.turns.iter().enumerate() {
            let found = strip(&said.reply, &[&who.name]);
            let mut push = |measure, value| values.push(value_of(cast, chat, turn, measure, value));
            push("markers", shows(world, who, found.text));
            push("judged", judged(world, who, found.text));
            push("named", f64::from(u8::from(found.named)));
            push("intact", f64::from(u8::from(body_intact(found.text, chat.topics[turn]))));
            push("context_tokens", (said.context + said.tokens.len()) as f64);
            if let Some(p) = instruments[character].words(found.text)? {
                push("classifier", p);
            }
            if let Some(share) = repetition(&said.tokens, 3) {
                push("repetition", share);
            }
            let content = encoded.turns[chat.talk.reply_at(turn)].content.clone();
            let said = behind_name(work.model, &encoded.tokens, &content, who)?;
            if !said.is_empty() {
                ranges.extend([content.start - 1..content.start, said]);
                places.push((c, turn));
            }
        }
        let (id, tokens) = (chat.talk.id.clone(), encoded.tokens);
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
    Value { arm: Arm::name(arm), conversation: chat.talk.id.clone(), seed, turn, measure, value }
}
