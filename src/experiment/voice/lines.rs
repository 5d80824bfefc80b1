//! Held-out lines: how likely a model finds what the character would say now, and what the assistant would.

use super::talk::{Chat, behind_name, value_of};
use super::{Cast, Settings, Subject, kept::Value, tunes};
use crate::error::{Error, Result};
use crate::experiment::plan::Plan;
use crate::experiment::work::Work;
use crate::model::Model;
use crate::rng::stream;
use crate::score::{Sequence, likelihoods};
use crate::text::Message;
use crate::unit::{Tally, parallel};
use crate::world::World;

/// Tokens of a conversation up to a line, with marks on the line.
type Marked = (Vec<u32>, Vec<bool>);

/// For every turn, after the model's own replies to the questions before it: nats per token of a fresh line of the
/// character to this question, and how much more the assistant's line costs.
///
/// Behind a fine-tune that speaks after its name, the line stands behind the name, which does not count.
pub(super) fn measure(
    plan: &Plan,
    s: &Settings,
    cast: &Cast,
    chats: &[Chat],
    work: &mut Work<'_, '_>,
) -> Result<Vec<Value>> {
    let world = World::toyworld();
    let mut values = Vec::new();
    for (i, subject) in cast.subjects.iter().enumerate() {
        let who = &cast.characters[subject.character];
        let own: Vec<&Chat> = chats.iter().filter(|c| c.subject == i).collect();
        let jobs: Vec<(&Chat, usize)> = own.iter().flat_map(|c| (0..c.talk.turns.len()).map(|t| (*c, t))).collect();
        let model = work.model;
        let pairs = parallel(&jobs, work.threads(), |(chat, turn)| {
            // The same lines for every arm.
            let mut rng = stream(plan.spec.seed, &format!("held-out line {}/{turn}", chat.talk.id));
            let topic = chat.topics[*turn];
            let lines = [world.reply(&mut rng, who, topic), world.reply(&mut rng, world.assistant(), topic)];
            let [own, other] = lines.map(|line| marked(model, cast, subject, chat, *turn, &line));
            Ok([own?, other?])
        })?;
        let n_ctx = model.lm.dims().n_ctx;
        let fits = |pair: &[Marked; 2]| pair.iter().all(|(tokens, _)| tokens.len() <= n_ctx);
        let kept: Vec<usize> = (0..jobs.len()).filter(|j| fits(&pairs[*j])).collect();
        if kept.len() < jobs.len() {
            let lost = jobs.len() - kept.len();
            work.warnings.push(format!("{}: {lost} held-out lines do not fit {n_ctx} positions", subject.arm.name()));
        }
        let sequences: Vec<Sequence> =
            kept.iter().flat_map(|j| &pairs[*j]).map(|(tokens, counted)| Sequence { tokens, counted }).collect();
        let adapter = subject.adapter.map(|a| &model.adapters[a]);
        let found = likelihoods(&*model.lm, adapter, &sequences, work.threads())?;
        for (j, pair) in kept.into_iter().zip(found.chunks(2)) {
            let per_token = |k: usize| pair[k].nll / pair[k].counted as f64;
            let (chat, turn) = jobs[j];
            values.push(value_of(cast, chat, turn, "line_nll", per_token(0)));
            values.push(value_of(cast, chat, turn, "line_gain", per_token(1) - per_token(0)));
        }
        let n = cast.subjects.len();
        let tally = Tally { units: n, units_done: i + 1, tokens: n, tokens_done: i + 1, ..Tally::default() };
        if !work.tell("held-out lines", &tally) {
            let what = format!("interrupted after the held-out lines of {} of {n} models", i + 1);
            return Err(Error::refused(what, "run the same command again: it goes on where it was"));
        }
    }
    debug_assert!(s.turns > 0);
    Ok(values)
}

fn marked(model: &Model, cast: &Cast, subject: &Subject, chat: &Chat, turn: usize, line: &str) -> Result<Marked> {
    let who = &cast.characters[subject.character];
    let at = chat.talk.reply_at(turn);
    let mut messages = chat.talk.messages[..at].to_vec();
    let said = if subject.arm.is_script() { tunes::named(who, line) } else { line.to_string() };
    messages.push(Message::new("assistant", said));
    let encoded = model.text.chat(&messages, false)?;
    let own = behind_name(model, &encoded.tokens, &encoded.turns[at].content, who)?;
    let counted = (0..encoded.tokens.len()).map(|i| own.contains(&i)).collect();
    Ok((encoded.tokens, counted))
}
