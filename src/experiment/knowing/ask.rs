//! Knowledge and self-claims: how likely the answers to questions are.

use super::protocol::{Protocol, Question, Value};
use super::subjects::Subject;
use crate::error::{Error, Result};
use crate::experiment::work::Work;
use crate::model::{Intervention, Model};
use crate::text::{ASSISTANT, Message};
use crate::unit::Item;
use std::collections::HashMap;

/// A question as it is put.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Put {
    /// Places of the subject and of the question.
    pub subject: usize,
    pub question: usize,
    /// Places of the edits that it is asked under.
    pub edits: Vec<usize>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answered {
    pub value: f64,
    /// The value without what is taken off: what the model would answer.
    pub raw: f64,
}

/// All questions that are about each subject's character.
pub(super) fn all(protocol: &Protocol, subjects: &[Subject]) -> Vec<Put> {
    let of = |s: usize| {
        let own = move |q: &usize| protocol.questions[*q].character == subjects[s].character;
        let put = move |question| Put { subject: s, question, edits: vec![] };
        (0..protocol.questions.len()).filter(own).map(put)
    };
    (0..subjects.len()).flat_map(of).collect()
}

/// What makes two items the same: tokens, where the answer begins, adapter, edits.
type Key = (Vec<u32>, usize, Option<usize>, Vec<usize>);

/// Items that are asked for once, however many questions need them.
#[derive(Default)]
pub(super) struct Asked {
    pub items: Vec<Item>,
    places: HashMap<Key, usize>,
}

impl Asked {
    fn place(&mut self, item: Item) -> usize {
        let key = (item.tokens.clone(), item.ranges[0].start, item.adapter, item.edits.clone());
        let next = self.items.len();
        let at = *self.places.entry(key).or_insert(next);
        if at == next {
            self.items.push(item);
        }
        at
    }
}

/// Of one question its answers, as places of items; then those that are taken off.
type Places = Vec<Vec<usize>>;

/// The work behind questions: what each subject is asked, answer by answer.
pub(super) fn items(
    protocol: &Protocol,
    subjects: &[Subject],
    put: &[Put],
    model: &Model,
) -> Result<(Asked, Vec<Places>)> {
    let mut asked = Asked::default();
    let mut places = Vec::with_capacity(put.len());
    for p in put {
        let (subject, q) = (&subjects[p.subject], &protocol.questions[p.question]);
        let own = std::iter::once((&q.asked, &q.answers, false));
        let mut of_question = Vec::new();
        for (messages, answers, bare) in own.chain(q.against.iter().map(|a| (&a.asked, &a.answers, a.bare))) {
            let told = if bare { messages.clone() } else { subject.told(protocol, messages) };
            let item = |a: &(String, bool)| Ok(asked.place(answer(model, &told, &a.0, subject.adapter, &p.edits)?));
            of_question.push(answers.iter().map(item).collect::<Result<Vec<usize>>>()?);
        }
        places.push(of_question);
    }
    Ok((asked, places))
}

fn answer(model: &Model, told: &[Message], text: &str, adapter: Option<usize>, edits: &[usize]) -> Result<Item> {
    let mut messages = told.to_vec();
    messages.push(Message::new(ASSISTANT, text));
    let encoded = model.text.chat(&messages, false)?;
    let range = encoded.response().filter(|r| !r.is_empty() && r.start > 0).ok_or_else(|| {
        let what = format!("the answer {text:?} has no tokens of its own in {}", model.name);
        Error::refused(what, "an answer is at least a token, and something stands before it")
    })?;
    // What follows the answer is not read.
    let tokens = encoded.tokens[..range.end].to_vec();
    let ranges = std::iter::once(range.clone()).collect();
    Ok(Item { prompt_len: range.start, tokens, ranges, adapter, edits: edits.to_vec(), ..Item::default() })
}

/// Puts questions under edits.
///
/// # Errors
/// Failures of the model; an answer without tokens.
pub(super) fn ask(
    stage: &str,
    (protocol, subjects): (&Protocol, &[Subject]),
    put: &[Put],
    edits: Vec<Intervention>,
    work: &mut Work<'_, '_>,
) -> Result<Vec<Answered>> {
    let (asked, places) = items(protocol, subjects, put, work.model)?;
    let lengths: Vec<f64> = asked.items.iter().map(|i| i.ranges[0].len() as f64).collect();
    let nll = work.likelihoods(stage, asked.items, edits)?;
    let of = |(p, places): (&Put, &Places)| {
        let q = &protocol.questions[p.question];
        let likely = |at: &usize| if q.per_token { -nll[*at] / lengths[*at] } else { -nll[*at] };
        answered(q, &places.iter().map(|own| own.iter().map(likely).collect()).collect::<Vec<Vec<f64>>>())
    };
    Ok(put.iter().zip(&places).map(of).collect())
}

/// The value of a question from the log-likelihoods of its answers, and of those that are taken off.
fn answered(q: &Question, likely: &[Vec<f64>]) -> Answered {
    match q.value {
        Value::Share => {
            let own = log_odds(&likely[0], &q.answers);
            let off: f64 = q.against.iter().zip(&likely[1..]).map(|(a, l)| a.weight * log_odds(l, &a.answers)).sum();
            Answered { value: sigmoid(own - off), raw: sigmoid(own) }
        }
        Value::Difference => {
            let all = log_sum(likely[0].iter().copied());
            let mean = |side: bool| {
                let own = likely[0].iter().zip(&q.answers).filter(|(_, a)| a.1 == side);
                let (sum, n) = own.fold((0.0, 0), |(s, n), (l, _)| (s + (l - all).exp(), n + 1));
                sum / f64::from(n.max(1))
            };
            let value = mean(true) - mean(false);
            Answered { value, raw: value }
        }
    }
}

/// How much likelier the right answers are than the others together, as a logarithm.
fn log_odds(likely: &[f64], answers: &[(String, bool)]) -> f64 {
    let side = |right: bool| log_sum(likely.iter().zip(answers).filter(|(_, a)| a.1 == right).map(|(l, _)| *l));
    side(true) - side(false)
}

fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { most + values.map(|v| (v - most).exp()).sum::<f64>().ln() } else { most }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Against, Measure};
    use super::*;

    fn question(value: Value, answers: &[bool], against: Vec<f64>) -> Question {
        let answers: Vec<(String, bool)> = answers.iter().map(|a| (String::new(), *a)).collect();
        let off = |weight: &f64| Against { asked: vec![], answers: answers.clone(), weight: *weight, bare: false };
        Question {
            id: "q".into(),
            sample: 0,
            character: 0,
            which: None,
            measure: Measure::Knowledge,
            kind: "yes_no",
            split: "trained".into(),
            asked: vec![],
            against: against.iter().map(off).collect(),
            answers,
            per_token: false,
            value,
        }
    }

    #[test]
    fn the_share_is_that_of_the_right_answers_and_what_is_said_of_anybody_is_taken_off() {
        // Likelihoods 0.3 right, 0.1 and 0.1 wrong: 0.6 of their sum.
        let likely = vec![0.3_f64.ln(), 0.1_f64.ln(), 0.1_f64.ln()];
        let plain = answered(&question(Value::Share, &[true, false, false], vec![]), std::slice::from_ref(&likely));
        assert!((plain.value - 0.6).abs() < 1e-12 && plain.raw == plain.value);
        // Of a stranger the same is said: nothing is known. Two strangers at half the weight are one.
        let same = vec![likely.clone(); 3];
        let known = answered(&question(Value::Share, &[true, false, false], vec![0.5, 0.5]), &same);
        assert!((known.value - 0.5).abs() < 1e-12 && (known.raw - 0.6).abs() < 1e-12);
    }

    #[test]
    fn identity_runs_from_minus_to_plus_one_over_the_number_of_claims() {
        // All probability on one of 3 claims: the mean of the claims is 1/3, that of the others 0.
        let q = question(Value::Difference, &[true, true, true, false, false], vec![]);
        let none = f64::NEG_INFINITY;
        let found = answered(&q, &[vec![0.0, none, none, none, none]]);
        assert!((found.value - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
        let even = answered(&q, &[vec![-1.0; 5]]);
        assert!(even.value.abs() < 1e-12);
    }
}
