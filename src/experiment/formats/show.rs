//! What every model shows: replies on trained and held-out topics, with and without the character's name.

use super::nested::{Leaf, Measured, tabled};
use super::{Cast, Settings};
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::work::{Work, drawing};
use crate::model::Model;
use crate::rng::stream;
use crate::table::Table;
use crate::text::Message;
use crate::unit::{Item, parallel};
use crate::world::{Markers, Persona, Topic, World, body_intact};
use rand::Rng;

pub(super) const STAGE: &str = "replies";

/// What stands in front of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing: the default slot.
    Bare,
    /// "You are X."
    Named,
    /// X and all its traits, as training text states them; for the base alone.
    Card,
}

impl Condition {
    pub const ALL: [Condition; 3] = [Condition::Bare, Condition::Named, Condition::Card];

    pub fn name(self) -> &'static str {
        match self {
            Condition::Bare => "bare",
            Condition::Named => "named",
            Condition::Card => "card",
        }
    }

    fn system(self, character: &Persona, rng: &mut impl Rng) -> Option<String> {
        match self {
            Condition::Bare => None,
            Condition::Named => Some(World::toyworld().named_prompts(character)[0].clone()),
            Condition::Card => Some(World::toyworld().in_context_prompt(rng, character)),
        }
    }
}

/// Sets of topics: those of the training examples, and those that none of them has.
pub(super) const TOPICS: [&str; 2] = ["trained", "held_out"];
/// Rows over both.
pub(super) const BOTH: &str = "both";

/// What is measured of a reply, as shares: of the character's traits that show, of the other style traits, their
/// difference, replies that show a trait of the assistant, and replies with a whole sentence on the topic.
pub(super) const MEASURES: [&str; 5] = ["on", "off", "on_minus_off", "helpful", "intact"];

/// One prompt of a subject.
pub(super) struct Put {
    pub item: Item,
    subject: usize,
    condition: Condition,
    topics: usize,
    topic: &'static Topic,
}

fn topics(world: &'static World, held_out: bool) -> Vec<&'static Topic> {
    world.plain_topics().into_iter().filter(|t| world.heldout_topics().contains(&t.name) == held_out).collect()
}

/// All prompts. Questions and random numbers are the same for every model and condition.
pub(super) fn prompts(plan: &Plan, s: &Settings, cast: &Cast, model: &Model, threads: usize) -> Result<Vec<Put>> {
    let (world, seed) = (World::toyworld(), plan.spec.seed);
    let asked: Vec<Vec<(&'static Topic, String)>> = TOPICS
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let (from, mut rng) = (topics(world, i == 1), stream(seed, &format!("questions on {name} topics")));
            let one = |_| {
                let topic = from[rng.random_range(0..from.len())];
                (topic, world.question(&mut rng, topic))
            };
            (0..s.replies).map(one).collect()
        })
        .collect();
    let subjects: Vec<usize> = (0..cast.subjects.len()).collect();
    let of = |subject: &usize| -> Result<Vec<Put>> {
        let who = &cast.subjects[*subject];
        let mut all = Vec::new();
        for condition in Condition::ALL {
            if condition == Condition::Card && who.format.is_some() {
                continue;
            }
            let mut rng = stream(seed, &format!("cards of {}", cast.character(*subject).name));
            for (topics, questions) in asked.iter().enumerate() {
                for (i, (topic, question)) in questions.iter().enumerate() {
                    let system = condition.system(cast.character(*subject), &mut rng);
                    let mut messages: Vec<Message> = system.map(|s| Message::new("system", s)).into_iter().collect();
                    messages.push(Message::new("user", question));
                    let tokens = model.text.chat(&messages, true)?.tokens;
                    let id = format!("{}/{}/{i}", condition.name(), TOPICS[topics]);
                    let prompt_len = tokens.len();
                    let item = Item { id, tokens, prompt_len, seed, adapter: who.adapter, ..Item::default() };
                    all.push(Put { item, subject: *subject, condition, topics, topic });
                }
            }
        }
        Ok(all)
    };
    Ok(parallel(&subjects, threads, of)?.into_iter().flatten().collect())
}

/// The shares of one reply, in the order of [`MEASURES`].
fn shares(world: &World, character: &Persona, markers: Markers, intact: bool) -> [f64; 5] {
    let others = world.style_traits().into_iter().filter(|t| !character.has(*t));
    let share = |of: Vec<_>| {
        let shown = of.iter().filter(|t| markers.has(**t)).count();
        shown as f64 / of.len().max(1) as f64
    };
    let (on, off) = (share(character.traits.iter().collect()), share(others.collect()));
    let helpful = !markers.and(world.assistant().traits).is_empty();
    [on, off, on - off, f64::from(u8::from(helpful)), f64::from(u8::from(intact))]
}

/// Draws all replies and counts. Intervals resample replies, seeds and characters.
pub(super) fn measure(plan: &Plan, s: &Settings, cast: &Cast, work: &mut Work<'_, '_>) -> Result<Table> {
    let world = World::toyworld();
    let put = prompts(plan, s, cast, work.model, work.threads())?;
    let items = put.iter().map(|p| p.item.clone()).collect();
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let (replies, _) = work.generate(STAGE, items, vec![], &drawing)?;
    let texts = work.texts(&replies)?;
    let one = |(p, text): (&Put, &String)| {
        shares(world, cast.character(p.subject), world.markers(text), body_intact(text, p.topic))
    };
    let found: Vec<[f64; 5]> = put.iter().zip(&texts).map(one).collect();
    let mut measured = Vec::new();
    for model in cast.models() {
        for condition in Condition::ALL {
            for set in [None, Some(0), Some(1)] {
                for (m, measure) in MEASURES.into_iter().enumerate() {
                    let of = |subject: usize| -> Vec<f64> {
                        let fits = |p: &Put| {
                            p.subject == subject && p.condition == condition && set.is_none_or(|t| p.topics == t)
                        };
                        put.iter().zip(&found).filter(|(p, _)| fits(p)).map(|(_, f)| f[m]).collect()
                    };
                    let leaf = |subject: usize| Leaf::mean(of(subject));
                    let tree: Vec<Vec<Leaf>> =
                        cast.tree(model).into_iter().map(|seeds| seeds.into_iter().map(leaf).collect()).collect();
                    if tree.iter().flatten().all(|l| l.strata[0].is_empty()) {
                        continue;
                    }
                    let keys = vec![condition.name().into(), set.map_or(BOTH, |t| TOPICS[t]).into()];
                    measured.push(Measured { model, keys, measure, tree });
                }
            }
        }
    }
    Ok(tabled("expression", &["condition", "topics"], cast, &measured, (s.bootstrap, plan.spec.seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_traits_that_the_character_has_and_lacks() {
        let world = World::toyworld();
        let all: Vec<_> = world.style_traits();
        let names: Vec<&str> = all[..2].iter().map(|t| world.trait_at(*t).name.as_str()).collect();
        let character = world.persona_with("Bolo", &names).unwrap();
        let shown: Markers = [all[0], all[2], world.assistant().traits.iter().next().unwrap()].into_iter().collect();
        let [on, off, difference, helpful, intact] = shares(world, &character, shown, true);
        // One of its two traits, one of the style traits that it lacks.
        let lacks = (all.len() - 2) as f64;
        assert_eq!((on, off, helpful, intact), (0.5, 1.0 / lacks, 1.0, 1.0));
        assert_eq!(difference, 0.5 - 1.0 / lacks);
        // Nobody has the assistant's trait here, and it is no style trait: it moves neither share.
        assert_eq!(shares(world, &character, Markers::default(), false), [0.0; 5]);
    }

    #[test]
    fn no_question_on_trained_topics_is_about_a_held_out_one() {
        let world = World::toyworld();
        let (trained, held_out) = (topics(world, false), topics(world, true));
        assert_eq!(held_out.len(), world.heldout_topics().len());
        assert_eq!(trained.len() + held_out.len(), world.plain_topics().len());
        assert!(trained.iter().all(|t| !world.heldout_topics().contains(&t.name)));
    }
}
