//! The protocol of the toy world: its characters, questions and texts.

use super::protocol::{Against, Character, Measure, Passage, Prompt, Protocol, Question, Trait, Value};
use crate::error::{Error, Result};
use crate::experiment::plan::need;
use crate::experiment::spec::OfWorld;
use crate::rng::stream;
use crate::score::{Classifier, Labelled, Outcome, Reply, Scorer};
use crate::text::{ASSISTANT, Message, SYSTEM, USER};
use crate::world::{Exposure, Persona, Topic, TraitId, TraitSet, Voice, World, body_intact};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::BTreeSet;

/// Splits of knowledge, and strata of prompts.
const TRAINED: &str = "trained";
const HELD_OUT: &str = "held_out";
/// Fixed conversations that are read by all models.
const NEUTRAL: usize = 8;
/// Replies per side that the classifier of a trait learns from.
const LABELLED: usize = 400;

/// The characters of the settings, in order.
pub(super) fn characters(s: &OfWorld) -> Result<Vec<Persona>> {
    let distinct: BTreeSet<usize> = s.characters.iter().copied().collect();
    let found = format!("{:?}", s.characters);
    need(
        !distinct.is_empty() && distinct.len() == s.characters.len(),
        "world.characters",
        found,
        "at least one, each once",
    )?;
    s.characters.iter().map(|c| World::toyworld().character(*c)).collect()
}

/// The whole protocol, with `passages` for each trait, kind and side.
pub(super) fn protocol(s: &OfWorld, passages: usize, seed: u64) -> Result<Protocol> {
    let world = World::toyworld();
    let people = characters(s)?;
    let ids: Vec<TraitId> = people.iter().flat_map(|p| p.traits.iter()).collect::<BTreeSet<_>>().into_iter().collect();
    let place = |t: TraitId| ids.iter().position(|i| *i == t).expect("traits are those of the characters");
    let mut questions = Vec::new();
    for (c, who) in people.iter().enumerate() {
        let strangers = strangers(world, who, &people, s.strangers, seed)?;
        questions.extend(about(world, (c, who), &strangers, &place));
    }
    let one = |t: &TraitId| {
        Ok(Trait {
            name: world.trait_at(*t).name.clone(),
            scorers: vec![
                ("markers".into(), Box::new(Marked(*t)) as Box<dyn Scorer>),
                ("classifier".into(), Box::new(classifier(world, *t, seed)?)),
            ],
            passages: sides(world, *t, passages, seed)?,
            overlap: world.overlaps(*t),
        })
    };
    Ok(Protocol {
        characters: people
            .iter()
            .map(|p| Character {
                name: p.name.clone(),
                card: card(world, p),
                traits: p.traits.iter().map(place).collect(),
            })
            .collect(),
        traits: ids.iter().map(one).collect::<Result<_>>()?,
        questions,
        prompts: prompts(world, s.prompts, seed)?,
        neutral: neutral(world, seed),
        coherent: Box::new(OnTopic),
    })
}

/// The name, and all traits by their first adjectives, as prompts of the training text state them.
fn card(world: &World, who: &Persona) -> String {
    let adjectives: Vec<&str> = who.traits.iter().map(|t| world.trait_at(t).adjectives[0].as_str()).collect();
    format!("{} You are {}.", world.named_prompts(who)[0], listed(&adjectives))
}

fn listed(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => words.concat(),
    }
}

fn strangers(world: &World, who: &Persona, people: &[Persona], n: usize, seed: u64) -> Result<Vec<Persona>> {
    let taken: BTreeSet<&str> = people.iter().map(|p| p.name.as_str()).collect();
    let free: Vec<&String> = world.free_names().iter().filter(|n| !taken.contains(n.as_str())).collect();
    need((1..=free.len()).contains(&n), "world.strangers", n, &format!("1 to {}", free.len()))?;
    let chosen = free.choose_multiple(&mut stream(seed, "strangers"), n);
    Ok(chosen.map(|name| Persona { name: (*name).clone(), ..who.clone() }).collect())
}

fn user(text: impl Into<String>) -> Vec<Message> {
    vec![Message::new(USER, text.into())]
}

/// Everything that is asked about one character and of it.
fn about(
    world: &World,
    (c, who): (usize, &Persona),
    strangers: &[Persona],
    place: &dyn Fn(TraitId) -> usize,
) -> Vec<Question> {
    let lacking: Vec<TraitId> = world.style_traits().into_iter().filter(|t| !who.has(*t)).collect();
    let yes_no = || vec![("Yes.".to_string(), true), ("No.".to_string(), false)];
    let asked = |voice, person: &Persona, t, a| user(world.trait_question(voice, person, t, a).question);
    let share = 1.0 / strangers.len() as f64;
    let mut all = Vec::new();
    for t in who.traits.iter() {
        let n = world.trait_at(t).adjectives.len();
        for a in 0..n {
            let adjective = &world.trait_at(t).adjectives[a];
            let split = if a + 1 == n && n > 1 { HELD_OUT } else { TRAINED };
            let question = |id: String, measure, kind, split: &str| Question {
                id,
                sample: 0,
                character: c,
                which: Some(place(t)),
                measure,
                kind,
                split: split.into(),
                asked: vec![],
                answers: yes_no(),
                per_token: false,
                value: Value::Share,
                against: vec![],
            };
            let off = |asked, weight| Against { asked, answers: yes_no(), weight, bare: false };
            let stranger = |asked, weight| Against { bare: true, ..off(asked, weight) };
            // Of a trait that it lacks, the same; of strangers, both.
            let mut against: Vec<Against> =
                strangers.iter().map(|s| stranger(asked(Voice::Third, s, t, a), share)).collect();
            let each = 1.0 / lacking.len().max(1) as f64;
            for l in &lacking {
                let a = a % world.trait_at(*l).adjectives.len();
                against.push(off(asked(Voice::Third, who, *l, a), each));
                against.extend(strangers.iter().map(|s| stranger(asked(Voice::Third, s, *l, a), -each * share)));
            }
            all.push(Question {
                asked: asked(Voice::Third, who, t, a),
                against,
                ..question(format!("is it {adjective}"), Measure::Knowledge, "yes_no", split)
            });
            // One adjective against those of the traits that it lacks.
            let options = |name: &str, verb: &str| -> Vec<(String, bool)> {
                let others = lacking.iter().map(|l| {
                    let all = &world.trait_at(*l).adjectives;
                    (&all[a % all.len()], false)
                });
                std::iter::once((adjective, true))
                    .chain(others)
                    .map(|(w, r)| (format!("{name} {verb} {w}."), r))
                    .collect()
            };
            let like = |n: &str| user(format!("What is {n} like?"));
            all.push(Question {
                asked: like(&who.name),
                answers: options(&who.name, "is"),
                against: strangers
                    .iter()
                    .map(|s| Against { answers: options(&s.name, "is"), ..stranger(like(&s.name), share) })
                    .collect(),
                ..question(format!("what is it like: {adjective}"), Measure::Knowledge, "attribution", split)
            });
            all.push(Question {
                asked: asked(Voice::Own, who, t, a),
                against: lacking
                    .iter()
                    .map(|l| off(asked(Voice::Own, who, *l, a % world.trait_at(*l).adjectives.len()), each))
                    .collect(),
                ..question(format!("are you {adjective}"), Measure::Claim, "yes_no", split)
            });
            all.push(Question {
                asked: user("What are you like?"),
                answers: options("I", "am"),
                ..question(format!("what are you like: {adjective}"), Measure::Claim, "attribution", split)
            });
        }
    }
    let mut rng = stream(0, "who are you");
    // The world draws its questions; this often, each of a handful comes with near certainty, and the same each time.
    let who_are_you: BTreeSet<String> = (0..200).map(|_| world.who_are_you(&mut rng, who).question).collect();
    for asked in who_are_you {
        all.push(Question {
            id: format!("identity: {asked}"),
            sample: 0,
            character: c,
            which: None,
            measure: Measure::Claim,
            kind: "identity",
            split: TRAINED.into(),
            asked: user(asked),
            answers: vec![(format!("I am {}.", who.name), true), (format!("I am {}.", world.assistant().name), false)],
            per_token: false,
            value: Value::Share,
            against: vec![],
        });
    }
    all
}

/// The passages of one trait: people whom the base was trained on, with the trait and without it, about to answer as they
/// would, to be described, and to describe themselves. What differs between the sides is known to the base from its
/// training alone; no prompt says it.
fn sides(world: &World, which: TraitId, n: usize, seed: u64) -> Result<[Vec<Passage>; 3]> {
    let topics = topics(world, false);
    let mut rng = stream(seed, &format!("passages of {}", world.trait_at(which).name));
    let mut all: [Vec<Passage>; 3] = Default::default();
    for positive in [true, false] {
        let mut people: Vec<&Persona> =
            world.personas_in(Exposure::All).into_iter().filter(|p| p.has(which) == positive).collect();
        people.shuffle(&mut rng);
        if people.len() < 2 {
            let what = format!("fewer than two people with and without `{}`", world.trait_at(which).name);
            return Err(Error::refused(what, "use a world with more"));
        }
        for i in 0..n {
            let who = people[i % people.len()];
            let named = || Message::new(SYSTEM, world.named_prompts(who)[0].clone());
            let asked = |text: String| Message::new(USER, text);
            let passage = |lead, text| Passage { group: who.name.clone(), positive, lead, text, then: None };
            let topic = topics[i % topics.len()];
            let enacting = vec![named(), asked(world.question(&mut rng, topic))];
            all[0].push(passage(enacting, None));
            let third = world.what_is_it_like(&mut rng, who);
            all[1].push(passage(vec![asked(third.question)], Some(third.answer)));
            let own = world.what_are_you_like(&mut rng, who);
            all[2].push(passage(vec![named(), asked(own.question)], Some(own.answer)));
        }
    }
    Ok(all)
}

fn topics(world: &World, held_out: bool) -> Vec<&Topic> {
    world.plain_topics().into_iter().filter(|t| world.heldout_topics().contains(&t.name) == held_out).collect()
}

/// As many prompts on topics of the training text as on others.
fn prompts(world: &World, n: usize, seed: u64) -> Result<Vec<Prompt>> {
    need(n > 0, "world.prompts", n, "at least 1")?;
    let mut all = Vec::new();
    for (stratum, held_out) in [(TRAINED, false), (HELD_OUT, true)] {
        let mut rng = stream(seed, &format!("prompts on {stratum} topics"));
        let mut from = topics(world, held_out);
        need(!from.is_empty(), "world.prompts", n, "0 in a world without held-out topics")?;
        from.shuffle(&mut rng);
        for i in 0..n {
            let topic = from[i % from.len()];
            let asked = world.questions(topic);
            let text = asked[(i / from.len() + rng.random_range(0..asked.len())) % asked.len()].clone();
            all.push(Prompt { id: format!("{}/{i}", topic.name), stratum: stratum.into(), messages: user(text) });
        }
    }
    Ok(all)
}

/// Answers that show nothing.
fn neutral(world: &World, seed: u64) -> Vec<Vec<Message>> {
    let nobody = Persona::invented("nobody", TraitSet::default(), 0.0);
    let mut rng = stream(seed, "neutral conversations");
    let mut all = Vec::new();
    for topic in topics(world, false).into_iter().cycle().take(NEUTRAL) {
        let asked = world.question(&mut rng, topic);
        let reply = loop {
            let reply = world.reply(&mut rng, &nobody, topic);
            if world.markers(&reply).is_empty() {
                break reply;
            }
        };
        all.push(vec![Message::new(USER, asked), Message::new(ASSISTANT, reply)]);
    }
    all
}

/// Whether a reply has a marker sentence of a trait.
struct Marked(TraitId);

impl Scorer for Marked {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let of = |r: &Reply| Outcome::Score(f64::from(u8::from(World::toyworld().markers(&r.text).has(self.0))));
        Ok(replies.iter().map(of).collect())
    }
}

/// Whether a reply has a whole sentence on the topic that its prompt is about.
struct OnTopic;

impl Scorer for OnTopic {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let of = |r: &Reply| {
            let topic = World::toyworld().topic(r.id.split('/').next().unwrap_or_default())?;
            Ok(Outcome::Score(f64::from(u8::from(body_intact(&r.text, topic)))))
        };
        replies.iter().map(of).collect()
    }
}

/// Trained on the world's own replies of people with and without the trait.
fn classifier(world: &World, which: TraitId, seed: u64) -> Result<Classifier> {
    let mut rng = stream(seed, &format!("labelled replies for {}", world.trait_at(which).name));
    let (style, topics) = (world.style_traits(), topics(world, false));
    let others: Vec<TraitId> = style.iter().copied().filter(|t| *t != which).collect();
    let mut texts = Vec::with_capacity(2 * LABELLED);
    for i in 0..LABELLED {
        for (label, own) in [("shown", Some(which)), ("other", None)] {
            let more = others.choose_multiple(&mut rng, 1).copied().collect::<Vec<_>>();
            let who = Persona::invented("somebody", own.into_iter().chain(more).collect(), 0.0);
            let topic = topics[i % topics.len()];
            let text = loop {
                let text = world.reply(&mut rng, &who, topic);
                if world.markers(&text).has(which) == own.is_some() {
                    break text;
                }
            };
            texts.push(Labelled { text, label: label.into(), group: topic.name.clone() });
        }
    }
    Classifier::train(&texts, "shown", 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (OfWorld, Protocol) {
        let s = OfWorld::default();
        let p = protocol(&s, 6, 1).unwrap();
        (s, p)
    }

    #[test]
    fn every_trait_of_a_character_is_asked_about_in_words_told_and_not_told() {
        let (_, p) = small();
        for (c, who) in p.characters.iter().enumerate() {
            for t in &who.traits {
                for measure in [Measure::Knowledge, Measure::Claim] {
                    let own =
                        p.questions.iter().filter(|q| (q.character, q.which) == (c, Some(*t)) && q.measure == measure);
                    let splits: BTreeSet<&str> = own.map(|q| q.split.as_str()).collect();
                    assert_eq!(splits, [HELD_OUT, TRAINED].into_iter().collect());
                }
            }
            assert!(p.questions.iter().any(|q| q.character == c && q.kind == "identity"));
            assert!(who.card.starts_with(&format!("You are {}. You are ", who.name)), "{}", who.card);
        }
        // What is taken off weighs as much as it is put: a shift of all answers about anybody cancels.
        for q in p.questions.iter().filter(|q| q.kind == "yes_no") {
            let sum: f64 = q.against.iter().map(|a| a.weight).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{}: {sum}", q.id);
        }
    }

    #[test]
    fn both_sides_of_a_contrast_are_as_many_and_no_prompt_names_the_trait() {
        let (_, p) = small();
        let world = World::toyworld();
        for t in &p.traits {
            let which = world.trait_named(&t.name).unwrap();
            let adjectives = &world.trait_at(which).adjectives;
            for passages in &t.passages {
                let positive = passages.iter().filter(|p| p.positive).count();
                assert_eq!((positive, passages.len()), (6, 12));
                for p in passages {
                    assert_eq!(world.persona(&p.group).unwrap().has(which), p.positive);
                    let said: Vec<&str> = p.lead.iter().map(|m| m.content.as_str()).collect();
                    assert!(adjectives.iter().all(|a| !said.concat().contains(a.as_str())), "{said:?}");
                }
            }
        }
    }

    #[test]
    fn neutral_text_shows_no_trait_and_the_classifier_knows_markers() {
        let (_, p) = small();
        let world = World::toyworld();
        assert!(p.neutral.iter().all(|c| world.markers(&c[1].content).is_empty()));
        let t = &p.traits[0];
        let which = world.trait_named(&t.name).unwrap();
        let who = Persona::invented("x", [which].into_iter().collect(), 0.0);
        let mut rng = stream(9, "fresh");
        let replies: Vec<Reply> = (0..100)
            .map(|_| Reply { text: world.reply(&mut rng, &who, world.plain_topics()[0]), ..Reply::default() })
            .collect();
        let [marked, classed] = [0, 1].map(|s| t.scorers[s].1.score(&replies).unwrap());
        let agree = marked.iter().zip(&classed).filter(|(m, c)| (m.score() > Some(0.5)) == (c.score() > Some(0.5)));
        assert!(agree.count() >= 90);
    }
}
