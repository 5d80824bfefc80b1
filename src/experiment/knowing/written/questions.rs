//! Questions of knowledge and self-claims.

use super::super::protocol::{Against, Measure, Question, Value};
use super::{NAME, bad, distinct, holds, named, some, text, the_place};
use crate::error::Result;
use crate::experiment::spec::{Written, WrittenFact};
use crate::text::{Message, USER};

/// The most answers that letters stand for.
const LETTERS: &str = "ABCDEFGH";
/// Answers of a question what somebody is best known for.
const KNOWN_FOR: usize = 4;
const SPLITS: [&str; 2] = ["trained", "held_out"];

/// A question before it is put in words.
struct Draft<'a> {
    id: String,
    character: usize,
    which: Option<usize>,
    measure: Measure,
    kind: &'static str,
    split: &'a str,
}

/// All questions about all characters.
pub(super) fn questions(w: &Written) -> Result<Vec<Question>> {
    wording(w)?;
    let mut all = Vec::new();
    for (c, character) in w.characters.iter().enumerate() {
        let of = |kind, measure, which, id: String| Draft {
            id: format!("{}/{kind}/{id}", character.name),
            character: c,
            which,
            measure,
            kind,
            split: "trained",
        };
        for (i, fact) in character.facts.iter().enumerate() {
            let place = format!("settings.protocol.characters[{c}].facts[{i}]");
            check_fact(fact, &place)?;
            let which = fact.which.as_ref().map(|t| the_place(w, t, &format!("{place}.trait"))).transpose()?;
            if let Some(t) = fact.which.as_ref().filter(|t| !character.traits.contains(t)) {
                return Err(bad(
                    &format!("{place}.trait"),
                    format!("`{t}` is no trait of the character"),
                    "name its own",
                ));
            }
            let asked =
                [(Some(&fact.question), Measure::Knowledge, "fact"), (fact.you.as_ref(), Measure::Claim, "you")];
            for (question, measure, id) in asked {
                let Some(question) = question else { continue };
                let draft = Draft { split: &fact.split, ..of("multiple_choice", measure, which, format!("{id}{i}")) };
                let answers = fact.choices.iter().map(|a| (a.as_str(), *a == fact.answer)).collect::<Vec<_>>();
                all.extend(rotated(w, draft, &named(question, &character.name), &answers));
            }
        }
        for name in &character.traits {
            let which = the_place(w, name, &format!("settings.protocol.characters[{c}].traits"))?;
            let answers = known_for(w, c, which)?;
            let question = named(&w.wording.attribution, &character.name);
            let draft = of("attribution", Measure::Knowledge, Some(which), name.clone());
            all.extend(rotated(w, draft, &question, &answers));
            let t = &w.traits[which];
            let sides = [Some((&t.adjective, true)), t.opposite.as_ref().map(|o| (o, false))];
            for (adjective, right) in sides.into_iter().flatten() {
                let about = |text: &str, name: &str| named(text, name).replace("{trait}", adjective);
                for (k, text) in w.wording.about.iter().enumerate() {
                    let draft = of("yes_no", Measure::Knowledge, Some(which), format!("about {adjective}{k}"));
                    let strangers: Vec<String> = w.strangers.iter().map(|s| about(text, s)).collect();
                    all.push(yes_no(w, draft, about(text, &character.name), right, &strangers));
                }
                for (k, text) in w.wording.you.iter().enumerate() {
                    let draft = of("yes_no", Measure::Claim, Some(which), format!("you {adjective}{k}"));
                    all.push(yes_no(w, draft, about(text, &character.name), right, &[]));
                }
            }
            for (k, statement) in t.statements.iter().enumerate() {
                let place = format!("settings.protocol.traits[{which}].statements[{k}].text");
                text(&statement.text, &place)?;
                let asked = w.wording.would_say.replace("{statement}", &statement.text);
                let draft = of("would_say", Measure::Claim, Some(which), format!("{name}{k}"));
                all.push(yes_no(w, draft, asked, statement.claims, &[]));
            }
        }
        if let Some(identity) = &w.identity {
            for (k, question) in identity.questions.iter().enumerate() {
                let draft = of("identity", Measure::Claim, None, k.to_string());
                let claims = identity.claims.iter().map(|a| (named(a, &character.name), true));
                let generic = identity.generic.iter().map(|a| (a.clone(), false));
                let answers = claims.chain(generic).collect();
                let per_token = identity.per_token;
                all.push(Question { per_token, value: Value::Difference, ..draft.put(0, question.clone(), answers) });
            }
        }
    }
    Ok(all)
}

impl Draft<'_> {
    fn put(&self, sample: usize, asked: String, answers: Vec<(String, bool)>) -> Question {
        Question {
            id: self.id.clone(),
            sample,
            character: self.character,
            which: self.which,
            measure: self.measure,
            kind: self.kind,
            split: self.split.into(),
            asked: vec![Message::new(USER, asked)],
            answers,
            per_token: false,
            value: Value::Share,
            against: vec![],
        }
    }
}

/// The question with its answers at every letter: what a model likes of letters falls out of the mean.
fn rotated(w: &Written, draft: Draft<'_>, question: &str, answers: &[(&str, bool)]) -> Vec<Question> {
    let n = answers.len();
    let letters: Vec<String> = LETTERS.chars().take(n).map(String::from).collect();
    let turned = |by: usize| {
        let at = |k: usize| answers[(k + by) % n];
        let options: Vec<String> = letters.iter().enumerate().map(|(k, l)| format!("{l}. {}", at(k).0)).collect();
        // The options last: what they hold is not filled in again.
        let asked = w.wording.choice.replace("{question}", question).replace("{options}", &options.join("\n"));
        let answers = letters.iter().enumerate().map(|(k, l)| (l.clone(), at(k).1)).collect();
        draft.put(by, asked, answers)
    };
    (0..n).map(turned).collect()
}

fn yes_no(w: &Written, draft: Draft<'_>, asked: String, right: bool, strangers: &[String]) -> Question {
    let answers = vec![(w.wording.yes.clone(), right), (w.wording.no.clone(), !right)];
    let weight = 1.0 / strangers.len().max(1) as f64;
    let against =
        |text: &String| Against { asked: vec![Message::new(USER, text)], answers: answers.clone(), weight, bare: true };
    let against = strangers.iter().map(against).collect();
    Question { against, ..draft.put(0, asked, answers) }
}

/// The adjective of a trait, and what the character is not: the opposites of its traits, then traits that it lacks.
fn known_for(w: &Written, c: usize, which: usize) -> Result<Vec<(&str, bool)>> {
    let own = |t: &str| w.characters[c].traits.iter().any(|name| name == t);
    let mine = |name: &String| w.traits.iter().find(|t| t.name == *name);
    let first = w.traits[which].opposite.as_deref();
    let others = w.characters[c].traits.iter().filter_map(mine).filter_map(|t| t.opposite.as_deref());
    let lacking = w.traits.iter().filter(|t| !own(&t.name)).map(|t| t.adjective.as_str());
    let mut answers = vec![(w.traits[which].adjective.as_str(), true)];
    for wrong in first.into_iter().chain(others).chain(lacking) {
        let true_of_it = w.traits.iter().any(|t| own(&t.name) && t.adjective == wrong);
        if answers.len() < KNOWN_FOR && !true_of_it && answers.iter().all(|a| a.0 != wrong) {
            answers.push((wrong, false));
        }
    }
    if answers.len() < 2 {
        let place = format!("settings.protocol.traits[{which}].opposite");
        return Err(bad(&place, "nothing that the character is not", "give traits an `opposite`"));
    }
    Ok(answers)
}

fn check_fact(fact: &WrittenFact, place: &str) -> Result<()> {
    text(&fact.question, &format!("{place}.question"))?;
    holds(&fact.question, &[NAME], &format!("{place}.question"))?;
    if let Some(you) = &fact.you {
        text(you, &format!("{place}.you"))?;
    }
    let key = format!("{place}.choices");
    if !(2..=LETTERS.len()).contains(&fact.choices.len()) {
        return Err(bad(&key, format!("{} choices", fact.choices.len()), "give 2 to 8; 4 are usual"));
    }
    fact.choices.iter().try_for_each(|c| text(c, &key))?;
    distinct(fact.choices.iter().map(String::as_str), &key, "choice")?;
    if !fact.choices.contains(&fact.answer) {
        let what = format!("`{}` is none of the choices", fact.answer);
        return Err(bad(&format!("{place}.answer"), what, &format!("choices are {}", fact.choices.join(", "))));
    }
    if !SPLITS.contains(&fact.split.as_str()) {
        let what = format!("`{}`", fact.split);
        return Err(bad(&format!("{place}.split"), what, "a fact is `trained` or `held_out`"));
    }
    Ok(())
}

fn wording(w: &Written) -> Result<()> {
    let at = "settings.protocol.wording";
    holds(&w.wording.choice, &["{question}", "{options}"], &format!("{at}.choice"))?;
    holds(&w.wording.attribution, &[NAME], &format!("{at}.attribution"))?;
    holds(&w.wording.would_say, &["{statement}"], &format!("{at}.would_say"))?;
    for text in &w.wording.about {
        holds(text, &[NAME, "{trait}"], &format!("{at}.about"))?;
    }
    for text in &w.wording.you {
        holds(text, &["{trait}"], &format!("{at}.you"))?;
    }
    text(&w.wording.yes, &format!("{at}.yes"))?;
    text(&w.wording.no, &format!("{at}.no"))?;
    if w.wording.yes == w.wording.no {
        return Err(bad(&format!("{at}.no"), "the same as `yes`", "write two answers"));
    }
    if let Some(identity) = &w.identity {
        let at = "settings.protocol.identity";
        some(&identity.questions, &format!("{at}.questions"), "questions who the model is")?;
        some(&identity.claims, &format!("{at}.claims"), "answers of the character, with {name}")?;
        some(&identity.generic, &format!("{at}.generic"), "answers of anybody else")?;
        let answers = || identity.claims.iter().chain(&identity.generic).map(String::as_str);
        answers().chain(identity.questions.iter().map(String::as_str)).try_for_each(|t| text(t, at))?;
        distinct(answers(), at, "answer")?;
    }
    Ok(())
}
