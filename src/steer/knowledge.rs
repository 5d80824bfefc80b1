//! What an edit costs: knowledge questions answered, and how likely given texts still are.

use super::sweep::Arm;
use crate::analysis::interval::{Interval, wilson};
use crate::error::{Error, Result};
use crate::model::{Edit, Intervention, Model};
use crate::score::{Under, likelihoods_under};
use crate::text::{ASSISTANT, Message, Text};
use serde_json::Value;

/// A question with its answers, of which one is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub id: String,
    /// For each answer the whole conversation in tokens, and where the answer begins and ends.
    answers: Vec<(Vec<u32>, std::ops::Range<usize>)>,
    right: usize,
}

/// A text in tokens, and from which on they count.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    tokens: Vec<u32>,
    from: usize,
}

/// What is asked of a model besides its replies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    pub questions: Vec<Question>,
    pub texts: Vec<Read>,
}

/// What it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paid {
    /// Share of the questions whose right answer is the likeliest by nats per token, with Wilson's interval.
    pub knowledge: Option<(f64, Interval)>,
    /// Perplexity of the texts, read under the edit.
    pub perplexity: Option<f64>,
}

const HINT: &str = r#"a line is {"id": "…", "question": "…", "choices": ["…", "…"], "answer": 0}"#;

impl Costs {
    /// Reads questions: JSON lines with `id`, `question`, `choices` and `answer`, the index of the right one.
    ///
    /// # Errors
    /// A line that is none, named by its number; one without two choices.
    pub fn questions(place: &str, lines: &str, text: &Text) -> Result<Vec<Question>> {
        let mut all = Vec::new();
        for (number, line) in lines.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let bad = |reason: &str| Error::format(format!("{place}:{}", number + 1), reason, HINT);
            let value: Value = serde_json::from_str(line).map_err(|e| bad(&format!("not JSON ({e})")))?;
            let question = value["question"].as_str().ok_or_else(|| bad("no `question`"))?;
            let choices: Option<Vec<&str>> =
                value["choices"].as_array().and_then(|c| c.iter().map(Value::as_str).collect());
            let choices = choices.filter(|c| c.len() > 1).ok_or_else(|| bad("no two `choices`"))?;
            let right = value["answer"].as_u64().map(|a| a as usize).filter(|a| *a < choices.len());
            let right = right.ok_or_else(|| bad("`answer` is not the index of a choice"))?;
            let id = value["id"].as_str().map_or_else(|| number.to_string(), String::from);
            let answer = |choice: &&str| {
                let chat = [Message::new("user", question), Message::new(ASSISTANT, *choice)];
                let encoded = text.chat(&chat, false)?;
                let content = encoded.response().ok_or_else(|| bad("a choice without tokens"))?;
                Ok((encoded.tokens, content))
            };
            all.push(Question { id, answers: choices.iter().map(answer).collect::<Result<_>>()?, right });
        }
        if all.is_empty() { Err(Error::format(place, "no question in it", HINT)) } else { Ok(all) }
    }

    /// Reads texts, a line each; every token but the first counts.
    ///
    /// # Errors
    /// No line with two tokens.
    pub fn texts(place: &str, lines: &str, text: &Text) -> Result<Vec<Read>> {
        let one = |line: &str| Ok(Read { tokens: text.raw(line)?.tokens, from: 1 });
        let all = lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(one).collect::<Result<Vec<_>>>()?;
        let all: Vec<Read> = all.into_iter().filter(|t| t.tokens.len() > 1).collect();
        match all.is_empty() {
            true => Err(Error::format(place, "no text in it", "write one text per line")),
            false => Ok(all),
        }
    }

    /// Asks and reads under the first strength of each arm; under none, the model by itself.
    ///
    /// # Errors
    /// A failed pass; a place that says something else of every prompt.
    pub(super) fn pay(&self, model: &Model, arms: &[Arm], threads: usize) -> Result<Paid> {
        if self.questions.is_empty() && self.texts.is_empty() {
            return Ok(Paid::default());
        }
        let edits = arms.iter().map(edit).collect::<Result<Vec<Intervention>>>()?;
        let edits: Vec<&dyn Edit> = edits.iter().map(|e| e as &dyn Edit).collect();
        let list: Vec<usize> = (0..edits.len()).collect();
        let answers: Vec<&(Vec<u32>, std::ops::Range<usize>)> =
            self.questions.iter().flat_map(|q| &q.answers).collect();
        let of = |tokens: &[u32], counted: std::ops::Range<usize>| Under {
            tokens: tokens.to_vec(),
            prompt_len: counted.start,
            counted: (0..tokens.len()).map(|i| counted.contains(&i)).collect(),
            adapter: model.default_adapter,
            edits: list.clone(),
        };
        let asked = answers.iter().map(|(t, r)| of(t, r.clone()));
        let read = self.texts.iter().map(|t| of(&t.tokens, t.from..t.tokens.len()));
        let sequences: Vec<Under> = asked.chain(read).collect();
        let found = likelihoods_under(&*model.lm, &model.adapters, &edits, &sequences, model.workers(threads))?;
        let (asked, read) = found.split_at(answers.len());
        let mut at = 0;
        let mut right = 0;
        for q in &self.questions {
            let own = &asked[at..at + q.answers.len()];
            at += q.answers.len();
            let mean = |i: usize| own[i].nll / own[i].counted.max(1) as f64;
            let best = (0..own.len()).fold(0, |b, i| if mean(i) < mean(b) { i } else { b });
            right += usize::from(best == q.right);
        }
        let n = self.questions.len();
        let (sum, tokens) = read.iter().fold((0.0, 0), |(s, n), l| (s + l.nll, n + l.counted));
        Ok(Paid {
            knowledge: wilson(right, n, 0.95).map(|i| (right as f64 / n as f64, i)),
            perplexity: (tokens > 0).then(|| (sum / tokens as f64).exp()),
        })
    }
}

fn edit(arm: &Arm) -> Result<Intervention> {
    use super::place::Place;
    use crate::model::{Along, Positions};
    let positions = match &arm.place {
        // A question is read with its answer: its last token is what every answer hangs on.
        Place::Same(positions) => positions.clone(),
        _ => Positions::All,
    };
    Ok(Along::new(arm.site, &arm.unit, arm.op.rewrite(arm.amounts[0])?, positions)?.into())
}
