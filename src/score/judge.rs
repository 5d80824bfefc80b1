//! A judge: the number that a model would answer, as the mean over the numbers that it could.
//!
//! The score is `sum p n / sum p` over the tokens that are whole numbers of the scale, at the place where the answer begins
//! (Persona Vectors, arXiv 2507.21509). Where these tokens have little probability together, the model does not mean to
//! answer with a number, and there is no score.

use super::{Outcome, Reply, Scorer, Why};
use crate::error::{Error, Result};
use crate::model::{Example, Head, Hooks, Model, Rows, forward};
use crate::text::{Encoded, Message, USER};
use crate::unit::parallel;
use candle_core::DType;
use std::fmt;
use std::str::FromStr;

/// Prompt tokens that are judged together, about.
const ROWS: usize = 2048;

/// The whole numbers that a judge may answer, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub lo: u32,
    pub hi: u32,
}

impl FromStr for Scale {
    type Err = Error;

    fn from_str(text: &str) -> Result<Scale> {
        let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match ends {
            Some((lo, hi)) if lo < hi && hi <= 1000 => Ok(Scale { lo, hi }),
            _ => Err(Error::refused(
                format!("`{text}` is no scale"),
                "write the smallest and the largest, such as 0..100",
            )),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.lo, self.hi)
    }
}

/// A judge that can be asked.
pub struct Judge<'m> {
    model: &'m Model,
    template: String,
    /// (token, number).
    numbers: Vec<(u32, f64)>,
    min_mass: f64,
    threads: usize,
}

impl<'m> Judge<'m> {
    /// A judge whose prompt has `{question}` and `{answer}` filled in. It goes through the model's chat template as what
    /// the user says, or as raw text where there is no template. Replies get no score where numbers have less than
    /// `min_mass` of the probability.
    ///
    /// # Errors
    /// A prompt without `{answer}`; a mass outside 0 to 1; a number of the scale that is no single token of the model.
    pub fn new(model: &'m Model, template: &str, scale: Scale, min_mass: f64, threads: usize) -> Result<Judge<'m>> {
        if !template.contains("{answer}") {
            let what = "the judge's prompt has no {answer}";
            return Err(Error::refused(
                what,
                "write {answer} where the reply is to stand, and {question} if it is needed",
            ));
        }
        if !(0.0..=1.0).contains(&min_mass) {
            return Err(Error::refused(
                format!("a least mass of {min_mass}"),
                "give a probability from 0 to 1, such as 0.25",
            ));
        }
        let vocabulary = model.lm.dims().d_vocab as u32;
        let text = |t: u32| model.text.decode(&[t]).unwrap_or_default();
        let numbers = numbers((0..vocabulary).map(|t| (t, text(t))), scale).map_err(|lost| {
            let what = format!("{} has no single token for the answer {lost}", model.name);
            Error::refused(what, "take a scale of single digits, such as 0..9, and say so in the judge's prompt")
        })?;
        Ok(Judge { model, template: template.into(), numbers, min_mass, threads })
    }

    /// What the judge reads of a reply.
    ///
    /// # Errors
    /// A reply without a question where the prompt needs one.
    pub fn prompt(&self, reply: &Reply) -> Result<String> {
        let question = match (&reply.question, self.template.contains("{question}")) {
            (Some(q), true) => q.as_str(),
            (None, true) => {
                let what =
                    format!("nothing says what reply `{}` answers, and the judge's prompt has {{question}}", reply.id);
                return Err(Error::refused(what, "give the prompts that the replies were made from (--prompts)"));
            }
            (_, false) => "",
        };
        // In one pass over the template: a reply that holds `{question}` itself stays as it is.
        let filled = |part: &str| part.replace("{question}", question);
        let parts: Vec<String> = self.template.split("{answer}").map(filled).collect();
        Ok(parts.join(&reply.text))
    }

    fn encode(&self, reply: &Reply) -> Result<Vec<u32>> {
        let text = self.prompt(reply)?;
        let Encoded { tokens, .. } = match self.model.text.has_template() {
            true => self.model.text.chat(&[Message::new(USER, text)], true)?,
            false => self.model.text.raw(&text)?,
        };
        let n_ctx = self.model.lm.dims().n_ctx;
        match tokens.len() > n_ctx {
            true => Err(Error::TooLong { prompt: reply.id.clone(), tokens: tokens.len(), more: String::new(), n_ctx }),
            false => Ok(tokens),
        }
    }

    /// Scores one group of prompts in one pass.
    fn pass(&self, prompts: &[Vec<u32>]) -> Result<Vec<Outcome>> {
        let adapter = self.model.default_adapter;
        let rows = Rows::pack(prompts.iter().enumerate().map(|(index, tokens)| {
            let prompt_len = tokens.len();
            (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits: Vec::new() }, tokens.clone())
        }));
        let mut hooks = Hooks::default().adapters(&self.model.adapters);
        let (logits, _) = forward(&*self.model.lm, &rows, &mut hooks, None, Head::LastRows)?;
        let logits = logits.ok_or_else(|| Error::refused("the pass gave no logits", ""))?;
        let logits = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        Ok(logits.iter().map(|row| expected(row, &self.numbers, self.min_mass)).collect())
    }
}

impl Scorer for Judge<'_> {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Unscored(Why::Empty); replies.len()];
        let said: Vec<usize> = (0..replies.len()).filter(|i| !replies[*i].text.trim().is_empty()).collect();
        let prompts = parallel(&said, self.threads, |i| self.encode(&replies[*i]))?;
        let (mut groups, mut from, mut load) = (Vec::new(), 0, 0);
        for (i, prompt) in prompts.iter().enumerate() {
            if load > 0 && load + prompt.len() > ROWS {
                groups.push(&prompts[from..i]);
                (from, load) = (i, 0);
            }
            load += prompt.len();
        }
        if !prompts.is_empty() {
            groups.push(&prompts[from..]);
        }
        let found = parallel(&groups, self.model.workers(self.threads), |group| self.pass(group))?;
        said.into_iter().zip(found.into_iter().flatten()).for_each(|(i, outcome)| outcomes[i] = outcome);
        Ok(outcomes)
    }
}

/// The tokens that are numbers of the scale, with or without space about them; or the first number that no token is.
fn numbers(vocabulary: impl Iterator<Item = (u32, String)>, scale: Scale) -> Result<Vec<(u32, f64)>, u32> {
    let mut found = Vec::new();
    for (token, text) in vocabulary {
        let text = text.trim();
        // `07` and `+7` are no answers; `²` is no digit.
        let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        let number = if plain { text.parse::<u32>().ok().filter(|n| n.to_string() == text) } else { None };
        found.extend(number.filter(|n| (scale.lo..=scale.hi).contains(n)).map(|n| (token, f64::from(n))));
    }
    match (scale.lo..=scale.hi).find(|n| found.iter().all(|(_, of)| *of != f64::from(*n))) {
        Some(lost) => Err(lost),
        None => Ok(found),
    }
}

/// The expected number under the softmax of the logits, given that it is one.
fn expected(logits: &[f32], numbers: &[(u32, f64)], min_mass: f64) -> Outcome {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |l: f32| f64::from(l - most).exp();
    let all: f64 = logits.iter().map(|l| weight(*l)).sum();
    let (mut mass, mut sum) = (0.0, 0.0);
    for (token, n) in numbers {
        let p = weight(logits[*token as usize]) / all;
        mass += p;
        sum += p * n;
    }
    // Also where a logit is no number.
    if mass > 0.0 && mass >= min_mass { Outcome::Score(sum / mass) } else { Outcome::Unscored(Why::Refused(mass)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;

    #[test]
    fn the_score_is_the_mean_over_number_tokens_and_none_below_the_mass() {
        // Probabilities 0.1 (no number), 0.2 (of 1), 0.3 (of 3), 0.4 (no number): (0.2 + 0.9) / 0.5.
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].iter().map(|p| p.ln() + 5.0).collect();
        let numbers = [(1, 1.0), (2, 3.0)];
        let near = |o: Outcome, v: f64| (o.score().unwrap() - v).abs() < 1e-6;
        assert!(near(expected(&logits, &numbers, 0.25), 2.2) && near(expected(&logits, &numbers, 0.49), 2.2));
        let Outcome::Unscored(Why::Refused(mass)) = expected(&logits, &numbers, 0.8) else { panic!("scored") };
        assert!((mass - 0.5).abs() < 1e-6);
        assert!(expected(&[f32::NAN, 0.0], &[(1, 1.0)], 0.0).score().is_none());
    }

    #[test]
    fn only_plain_whole_numbers_of_the_scale_are_answers() {
        let of = |texts: &[&str], scale: &str| {
            let all = texts.iter().enumerate().map(|(i, t)| (i as u32, t.to_string()));
            numbers(all, scale.parse().unwrap())
        };
        let found = of(&["0", " 1", "01", "2", "²", "1\n", "3", "+1", "x", ""], "0..2").unwrap();
        assert_eq!(found, [(0, 0.0), (1, 1.0), (3, 2.0), (5, 1.0)]);
        assert_eq!(of(&["0", "2"], "0..2"), Err(1));
        assert_eq!("0..100".parse::<Scale>().unwrap().to_string(), "0..100");
        for text in ["0", "5..1", "a..b", "0..5000", "-1..4"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_model_judges_each_reply_by_itself() {
        let model = Model::load(&Source::toyworld()).unwrap();
        let scale = "0..9".parse().unwrap();
        let judge = Judge::new(&model, "{question} {answer} {answer}: from 0 to 9?", scale, 0.0, 2).unwrap();
        let reply =
            |text: &str| Reply { id: "a".into(), text: text.into(), question: Some("Tea?".into()), ..Reply::default() };
        assert_eq!(
            judge.prompt(&reply("I say {question}.")).unwrap(),
            "Tea? I say {question}. I say {question}.: from 0 to 9?"
        );
        let all = judge.score(&[reply("Oh dear!"), reply(" "), reply("The chance is 40 percent.")]).unwrap();
        assert_eq!(all[1], Outcome::Unscored(Why::Empty));
        assert!(all[0].score().is_some_and(|s| (0.0..=9.0).contains(&s)), "{all:?}");
        assert_eq!(judge.score(&[reply("Oh dear!")]).unwrap()[0], all[0], "whatever stands beside it");
        // A model of a toy world does not answer with numbers.
        let strict = Judge::new(&model, "{answer}", scale, 0.8, 1).unwrap();
        assert!(matches!(strict.score(&[reply("Oh dear!")]).unwrap()[0], Outcome::Unscored(Why::Refused(_))));
        let said =
            |template: &str, scale: &str, mass| match Judge::new(&model, template, scale.parse().unwrap(), mass, 1) {
                Err(e) => format!("{e}; {}", e.hint()),
                Ok(_) => "none".into(),
            };
        assert!(said("{question}", "0..9", 0.5).contains("{answer}"));
        assert!(said("{answer}", "0..100", 0.5).contains("0..9"));
        assert!(said("{answer}", "0..9", 1.5).contains("1.5"));
        let bare = Reply { question: None, ..reply("x") };
        assert!(judge.score(&[bare]).unwrap_err().hint().contains("--prompts"));
    }
}
