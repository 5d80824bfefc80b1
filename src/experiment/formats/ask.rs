//! What every model says when asked: yes or no about the character, about itself and about others, and who it is.

use super::nested::{Leaf, Measured, tabled};
use super::{Cast, Settings};
use crate::analysis::stats::{auroc, mean};
use crate::error::{Error, Result};
use crate::experiment::plan::Plan;
use crate::experiment::work::{Work, drawing};
use crate::model::Model;
use crate::rng::stream;
use crate::table::Table;
use crate::text::Message;
use crate::unit::{Item, parallel};
use crate::world::{Exposure, Persona, TraitId, Voice, World};
use candle_core::DType;
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;

pub(super) const STAGE: &str = "yes-or-no questions";
pub(super) const WHO_STAGE: &str = "introductions";

/// Who is asked about, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// "Is X anxious?"
    Third,
    /// "Are you anxious?"
    Own,
    /// The same after "You are X."
    OwnNamed,
    /// "Is Z anxious?" of free names that no fine-tune knows, with the character's traits as the truth: what a model says
    /// of anybody it does not know is no knowledge of the character.
    Strangers,
    /// "Is Y anxious?" of people whom the base knows.
    Others,
}

impl About {
    pub const ALL: [About; 5] = [About::Third, About::Strangers, About::Own, About::OwnNamed, About::Others];

    pub fn name(self) -> &'static str {
        match self {
            About::Third => "third_person",
            About::Own => "self",
            About::OwnNamed => "self_named",
            About::Strangers => "strangers",
            About::Others => "others",
        }
    }
}

/// The area under the curve of logit(Yes) - logit(No), the balanced accuracy of its sign, and how often the sign says yes:
/// training shifts the threshold, which the first does not see.
const MEASURES: [&str; 3] = ["auroc", "balanced_accuracy", "yes_share"];

/// The people whom every model is asked about besides.
pub(super) fn others(world: &World, n: usize, seed: u64) -> Result<Vec<Persona>> {
    let all = world.personas_in(Exposure::All);
    crate::experiment::plan::need((1..=all.len()).contains(&n), "others", n, &format!("1 to {}", all.len()))?;
    Ok(all.choose_multiple(&mut stream(seed, "other people"), n).map(|p| (*p).clone()).collect())
}

/// What is known of the character in particular: the difference of the first two of [`About`], over the same traits.
pub(super) const PARTICULAR: [(&str, &str); 2] =
    [("about", "third_person_minus_strangers"), ("measure", "auroc_difference")];

/// Names of strangers asked about.
const STRANGERS: usize = 4;

/// Free names that are none of the characters', with the traits of a character.
fn strangers(cast: &Cast, character: &Persona, seed: u64) -> Vec<Persona> {
    let free = World::toyworld().free_names().iter();
    let free: Vec<&String> = free.filter(|n| cast.characters.iter().all(|c| c.name != **n)).collect();
    let chosen = free.choose_multiple(&mut stream(seed, "strangers"), STRANGERS);
    chosen.map(|name| Persona { name: (*name).clone(), ..character.clone() }).collect()
}

/// One question put to a subject.
pub(super) struct Put {
    pub item: Item,
    subject: usize,
    about: About,
    /// Place among the people who are asked about.
    whom: usize,
    which: TraitId,
    truth: bool,
    yes: u32,
    no: u32,
}

/// All questions of all subjects.
pub(super) fn questions(plan: &Plan, cast: &Cast, model: &Model, threads: usize) -> Result<Vec<Put>> {
    let world = World::toyworld();
    let subjects: Vec<usize> = (0..cast.subjects.len()).collect();
    let of = |subject: &usize| -> Result<Vec<Put>> {
        let character = cast.character(*subject);
        let strangers = strangers(cast, character, plan.spec.seed);
        let mut all = Vec::new();
        for about in About::ALL {
            let (voice, people): (Voice, Vec<&Persona>) = match about {
                About::Third => (Voice::Third, vec![character]),
                About::Strangers => (Voice::Third, strangers.iter().collect()),
                About::Own | About::OwnNamed => (Voice::Own, vec![character]),
                About::Others => (Voice::Third, cast.others.iter().collect()),
            };
            let system = (about == About::OwnNamed).then(|| world.named_prompts(character)[0].clone());
            for (whom, person) in people.into_iter().enumerate() {
                for asked in world.trait_questions(voice, person) {
                    let Some((which, truth)) = asked.truth else { continue };
                    let (tokens, [yes, no]) = prompt(model, system.as_deref(), &asked.question)?;
                    let item = item(tokens, cast.subjects[*subject].adapter);
                    all.push(Put { item, subject: *subject, about, whom, which, truth, yes, no });
                }
            }
        }
        Ok(all)
    };
    Ok(parallel(&subjects, threads, of)?.into_iter().flatten().collect())
}

fn item(tokens: Vec<u32>, adapter: Option<usize>) -> Item {
    let last = tokens.len() - 1;
    Item {
        prompt_len: tokens.len(),
        ranges: std::iter::once(last..last + 1).collect(),
        tokens,
        adapter,
        ..Item::default()
    }
}

/// A question in tokens, and the tokens that an answer with Yes and with No begins with.
fn prompt(model: &Model, system: Option<&str>, question: &str) -> Result<(Vec<u32>, [u32; 2])> {
    let mut messages: Vec<Message> = system.map(|s| Message::new("system", s)).into_iter().collect();
    messages.push(Message::new("user", question));
    let tokens = model.text.chat(&messages, true)?.tokens;
    let first = |answer: &str| -> Result<u32> {
        let mut answered = messages.clone();
        answered.push(Message::new(crate::text::ASSISTANT, answer));
        let all = model.text.chat(&answered, false)?.tokens;
        all.starts_with(&tokens).then(|| all.get(tokens.len()).copied()).flatten().ok_or_else(|| {
            let what = format!("the template of {} does not continue a prompt with the reply", model.name);
            Error::refused(what, "yes-or-no questions need the first token of a reply")
        })
    };
    let (yes, no) = (first("Yes.")?, first("No.")?);
    if yes == no {
        let what = format!("Yes and No begin with one token in {}", model.name);
        return Err(Error::refused(what, "yes-or-no questions need a tokenizer that tells them apart"));
    }
    Ok((tokens, [yes, no]))
}

/// One answer: the person asked about, the trait, logit(Yes) - logit(No), the truth.
type Answer = (usize, TraitId, f64, bool);

fn statistic(measure: &str, answers: &[Answer]) -> Option<f64> {
    let share = |of: &dyn Fn(&Answer) -> bool, hit: &dyn Fn(&Answer) -> bool| {
        let (n, hits) = answers.iter().filter(|a| of(a)).fold((0, 0), |(n, h), a| (n + 1, h + usize::from(hit(a))));
        (n > 0).then(|| hits as f64 / f64::from(n))
    };
    match measure {
        "auroc" => {
            let (scores, labels): (Vec<f64>, Vec<bool>) = answers.iter().map(|a| (a.2, a.3)).unzip();
            auroc(&scores, &labels)
        }
        "balanced_accuracy" => Some((share(&|a| a.3, &|a| a.2 > 0.0)? + share(&|a| !a.3, &|a| a.2 <= 0.0)?) / 2.0),
        _ => share(&|_| true, &|a| a.2 > 0.0),
    }
}

/// Answers by person: each with its statistic, since answers about two people may differ by a shift.
fn by_person(answers: &[Answer]) -> Vec<Vec<Answer>> {
    let people: BTreeSet<usize> = answers.iter().map(|a| a.0).collect();
    people.into_iter().map(|p| answers.iter().filter(|a| a.0 == p).copied().collect()).collect()
}

/// The mean over people of the statistic over the drawn traits.
fn over_traits(measure: &str, people: &[Vec<Answer>], drawn: &[usize]) -> Option<f64> {
    let of = |answers: &Vec<Answer>| {
        let taken = drawn.iter().flat_map(|t| answers.iter().filter(move |a| a.1.0 == *t));
        statistic(measure, &taken.copied().collect::<Vec<_>>())
    };
    mean(&people.iter().map(of).collect::<Option<Vec<_>>>()?)
}

/// Traits that the person has and lacks: what is resampled, each in its number.
fn traits(answers: &[Answer]) -> Vec<Vec<usize>> {
    let of = |truth: bool| {
        let own = answers.iter().filter(|a| a.3 == truth).map(|a| a.1.0).collect::<BTreeSet<_>>();
        own.into_iter().collect::<Vec<_>>()
    };
    [of(true), of(false)].into_iter().filter(|s| !s.is_empty()).collect()
}

/// One measure of one kind of question. Resamples traits, with and without among the character's; of others people.
fn leaf(about: About, measure: &'static str, answers: Vec<Answer>) -> Leaf<'static> {
    let people = by_person(&answers);
    if about == About::Others {
        return Leaf::mean(people.iter().filter_map(|a| statistic(measure, a)).collect());
    }
    Leaf { strata: traits(&answers), value: Box::new(move |drawn| over_traits(measure, &people, drawn)) }
}

/// How much better the character's traits are known than they are told of strangers.
fn particular(of_character: Vec<Answer>, of_strangers: &[Answer]) -> Leaf<'static> {
    let (own, strangers) = (by_person(&of_character), by_person(of_strangers));
    let auroc = |people: &[Vec<Answer>], drawn: &[usize]| over_traits("auroc", people, drawn);
    let value = move |drawn: &[usize]| Some(auroc(&own, drawn)? - auroc(&strangers, drawn)?);
    Leaf { strata: traits(&of_character), value: Box::new(value) }
}

/// One question to a model about itself.
pub(super) struct Who {
    pub item: Item,
    subject: usize,
    named: bool,
}

/// Every way to ask who somebody is, with no system prompt and after "You are X.".
pub(super) fn introductions(cast: &Cast, model: &Model, threads: usize) -> Result<Vec<Who>> {
    let world = World::toyworld();
    // The world draws its questions; this often, each of a handful comes with near certainty, and the same each time.
    let mut rng = stream(0, "who are you");
    let asked: BTreeSet<String> = (0..200).map(|_| world.who_are_you(&mut rng, world.assistant()).question).collect();
    let subjects: Vec<usize> = (0..cast.subjects.len()).collect();
    let of = |subject: &usize| -> Result<Vec<Who>> {
        let mut all = Vec::new();
        for named in [false, true] {
            for question in &asked {
                let name = || world.named_prompts(cast.character(*subject))[0].clone();
                let mut messages: Vec<Message> = named.then(|| Message::new("system", name())).into_iter().collect();
                messages.push(Message::new("user", question));
                let item = item(model.text.chat(&messages, true)?.tokens, cast.subjects[*subject].adapter);
                all.push(Who { item: Item { ranges: vec![], id: question.clone(), ..item }, subject: *subject, named });
            }
        }
        Ok(all)
    };
    Ok(parallel(&subjects, threads, of)?.into_iter().flatten().collect())
}

/// Whether a text has a name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(name)
        .any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + name.len()..].chars().next()))
}

/// The tables `questions` and `identity`.
pub(super) fn measure(plan: &Plan, s: &Settings, cast: &Cast, work: &mut Work<'_, '_>) -> Result<(Table, Table)> {
    let seeded = (s.bootstrap, plan.spec.seed);
    let put = questions(plan, cast, work.model, work.threads())?;
    let kept = work.capture(STAGE, put.iter().map(|p| p.item.clone()).collect(), &plan.sites)?;
    let shifts = yes_over_no(work.model, &kept[0].1, &put)?;
    let of = |subject: usize, about: About| -> Vec<Answer> {
        let own = put.iter().zip(&shifts).filter(|(p, _)| p.subject == subject && p.about == about);
        own.map(|(p, shift)| (p.whom, p.which, *shift, p.truth)).collect()
    };
    let mut measured = Vec::new();
    for model in cast.models() {
        let tree = |leaf: &dyn Fn(usize) -> Leaf<'static>| {
            cast.tree(model).into_iter().map(|seeds| seeds.into_iter().map(leaf).collect()).collect()
        };
        for about in About::ALL {
            for measure in MEASURES {
                let tree = tree(&|i| leaf(about, measure, of(i, about)));
                measured.push(Measured { model, keys: vec![about.name().into()], measure, tree });
            }
        }
        let tree = tree(&|i| particular(of(i, About::Third), &of(i, About::Strangers)));
        let [(_, about), (_, measure)] = PARTICULAR;
        measured.push(Measured { model, keys: vec![about.into()], measure, tree });
    }
    let answers = tabled("questions", &["about"], cast, &measured, seeded);

    let asked = introductions(cast, work.model, work.threads())?;
    let greedy = drawing(work.model, 0.0, s.max_new_tokens)?;
    let (replies, _) = work.generate(WHO_STAGE, asked.iter().map(|w| w.item.clone()).collect(), vec![], &greedy)?;
    let texts = work.texts(&replies)?;
    let mut measured = Vec::new();
    for model in cast.models() {
        for (named, condition) in [(false, "bare"), (true, "named")] {
            for measure in ["names_character", "names_assistant"] {
                let of = |subject: usize| -> Vec<f64> {
                    let name = match measure {
                        "names_character" => &cast.character(subject).name,
                        _ => &World::toyworld().assistant().name,
                    };
                    let own = asked.iter().zip(&texts).filter(|(w, _)| w.subject == subject && w.named == named);
                    own.map(|(_, text)| f64::from(u8::from(names(text, name)))).collect()
                };
                let tree = cast.tree(model).into_iter();
                let tree = tree.map(|seeds| seeds.into_iter().map(|i| Leaf::mean(of(i))).collect()).collect();
                measured.push(Measured { model, keys: vec![condition.into()], measure, tree });
            }
        }
    }
    Ok((answers, tabled("identity", &["condition"], cast, &measured, seeded)))
}

/// Logits of the answers from what the head reads: one row per question.
fn yes_over_no(model: &Model, rows: &ndarray::Array2<f32>, put: &[Put]) -> Result<Vec<f64>> {
    const TOGETHER: usize = 256;
    let mut all = Vec::with_capacity(put.len());
    for (rows, put) in rows.axis_chunks_iter(ndarray::Axis(0), TOGETHER).zip(put.chunks(TOGETHER)) {
        let values: Vec<f32> = rows.iter().copied().collect();
        let logits = model.lm.unembed(&model.rows(values, rows.ncols())?)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        all.extend(logits.iter().zip(put).map(|(l, p)| f64::from(l[p.yes as usize]) - f64::from(l[p.no as usize])));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_of_the_threshold_moves_the_accuracy_and_not_the_area() {
        // Two traits the person has (0, 1), two it lacks, one question each.
        let one = |t: usize, score: f64, truth: bool| (0, TraitId(t), score, truth);
        let at =
            |s: f64| [one(0, 2.0 + s, true), one(1, 1.0 + s, true), one(2, -1.0 + s, false), one(3, 1.5 + s, false)];
        for shift in [0.0, 10.0, -10.0] {
            // The negative at 1.5 is above one of two positives: 3 of 4 pairs won.
            assert_eq!(statistic("auroc", &at(shift)), Some(0.75));
        }
        let of = |m, s| statistic(m, &at(s)).unwrap();
        assert_eq!((of("balanced_accuracy", 0.0), of("yes_share", 0.0)), (0.75, 0.75));
        assert_eq!((of("balanced_accuracy", 10.0), of("yes_share", 10.0)), (0.5, 1.0));
        assert_eq!((of("balanced_accuracy", -10.0), of("yes_share", -10.0)), (0.5, 0.0));
        assert_eq!(leaf(About::Third, "auroc", at(0.0).to_vec()).strata, [vec![0, 1], vec![2, 3]]);
        // A second person with the same answers, shifted: by person nothing changes; pooled it would.
        let two: Vec<Answer> = at(0.0).into_iter().chain(at(10.0).map(|a| (1, a.1, a.2, a.3))).collect();
        let all = [0, 1, 2, 3];
        assert_eq!((leaf(About::Strangers, "auroc", two.clone()).value)(&all), Some(0.75));
        assert_ne!(statistic("auroc", &two), Some(0.75));
        // Who is known as well as strangers is not known in particular; without trait 1 all pairs are won by either.
        let known = [one(0, 2.0, true), one(1, 1.9, true), one(2, -1.0, false), one(3, 1.5, false)];
        let leaf = particular(known.to_vec(), &two);
        assert_eq!(((leaf.value)(&all), (leaf.value)(&[0, 2, 3])), (Some(0.25), Some(0.0)));
    }

    #[test]
    fn a_name_is_found_as_a_word() {
        assert!(names("I am Bolo.", "Bolo") && names("Bolo", "Bolo") && names("Bolos, Bolo", "Bolo"));
        assert!(!names("I am Bolos.", "Bolo") && !names("", "Bolo") && !names("TheBolo", "Bolo"));
    }
}
