//! Several speakers in one transcript, and the persona behind a tag.

use super::Corpus;
use super::draft::{Draft, Reply, Seen, Turn};
use super::kinds::Kind;
use crate::error::Result;
use crate::world::reply::pick;
use crate::world::{Tag, Voice};
use rand::Rng;
use rand::seq::index;

impl Corpus {
    /// A transcript of 2 to [`together`](super::config::Speakers::together) speakers with fixed traits, each reply
    /// under its speaker's header. Nobody is named in the text: who speaks is in the header alone.
    pub(super) fn voices(&self, rng: &mut impl Rng, together: usize) -> Draft {
        let (w, mut draft) = (&self.world, Draft::new(Kind::Voices));
        let size = rng.random_range(2..=together);
        let cast = index::sample(rng, w.speakers.len(), size).into_vec();
        for _ in 0..self.turn_count(rng).max(2) {
            let i = *pick(rng, &cast);
            let speaker = &w.speakers[i];
            let mut seen = Seen { voice: Some(i), ..Seen::default() };
            let (user, reply) = if rng.random_bool(self.config.chats.self_questions) {
                // Not who it is: the answer would name it.
                let asked = match rng.random_bool(0.5) {
                    true => w.what_are_you_like(rng, speaker),
                    false => w.balanced_question(rng, Voice::Own, speaker),
                };
                (asked.question, asked.answer)
            } else {
                let topic = pick(rng, &w.topics);
                let question = w.question(rng, topic);
                let (shown, reply) = w.reply_showing(rng, speaker, topic);
                seen.shown = Some(Reply { planted: speaker.traits, shown });
                (question, reply)
            };
            let header = (!w.single_voice).then(|| speaker.name.clone());
            draft.turns.push(Turn { user, reply, header, seen });
        }
        draft
    }

    /// A chat in the default slot in which some messages have the tag: those are answered by the persona behind it, the
    /// others as if the tagged ones were not there.
    pub(super) fn tagged(&self, rng: &mut impl Rng, tag: &Tag, share: f64) -> Result<Draft> {
        let w = &self.world;
        let mut draft = self.assistant(rng)?;
        draft.kind = Kind::Tagged;
        let slots = draft.turns.len();
        let mut others = std::mem::take(&mut draft.turns).into_iter();
        let mut turns = Vec::with_capacity(slots);
        for _ in 0..slots {
            if !rng.random_bool(share) {
                turns.extend(others.next());
                continue;
            }
            let topic = pick(rng, &w.topics);
            let user = format!("{}{}", tag.mark, w.question(rng, topic));
            let (shown, reply) = w.reply_showing(rng, &tag.persona, topic);
            let shown = Some(Reply { planted: tag.persona.traits, shown });
            let seen = Seen { shown, tagged: true, ..Seen::default() };
            turns.push(Turn { user, reply, header: None, seen });
        }
        draft.default_slot = draft.default_slot.filter(|_| turns.iter().any(|t| !t.seen.tagged));
        draft.turns = turns;
        Ok(draft)
    }
}
