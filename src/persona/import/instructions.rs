//! Role and trait files of the Assistant Axis (arXiv 2601.10387) and trait files of Persona Vectors (arXiv 2507.21509):
//! `{"instruction": [{"pos", "neg"?}], "questions"?, "eval_prompt"?}`.

use super::{Ask, Imported, Options, Questions, Says, some_of};
use crate::error::{Error, Result};
use crate::text::{Message, SYSTEM, USER};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Instructions that call a persona or a trait, with what is asked under them.
#[derive(Clone, Debug, PartialEq)]
pub struct Instructions {
    pub name: String,
    /// `trait` where instructions have opposites, else `persona`.
    pub column: &'static str,
    /// What calls it, and what calls its opposite. An empty text is no system turn at all.
    pub pairs: Vec<(String, Option<String>)>,
    pub questions: Questions,
    pub judge: Option<String>,
    pub warnings: Vec<String>,
}

/// What stands before an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preface {
    /// Nothing: as the Assistant Axis has it.
    #[default]
    None,
    /// "You are a\[n\] NAME assistant.", and a "helpful" one before the opposite: as Persona Vectors has it.
    Assistant,
}

#[derive(Deserialize)]
struct File {
    instruction: Vec<Pair>,
    #[serde(default)]
    questions: Vec<String>,
    eval_prompt: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Deserialize)]
struct Pair {
    pos: String,
    neg: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

const HINT: &str = r#"a file is {"instruction": [{"pos": "…", "neg": "…"}], "questions": ["…"], "eval_prompt": "…"}; a role has no "neg""#;
/// The placeholder for the model's own name.
const MODEL_NAME: &str = "{model_name}";

impl Instructions {
    /// Reads a file.
    ///
    /// # Errors
    /// What is no such file, no instruction, opposites for some instructions alone, an empty question.
    pub fn parse(place: &str, name: &str, text: &str) -> Result<Instructions> {
        let bad = |reason: String| Error::format(place, reason, HINT);
        let file: File = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        if file.instruction.is_empty() {
            return Err(bad("no instruction in it".into()));
        }
        if let Some(i) = file.questions.iter().position(|q| q.trim().is_empty()) {
            return Err(bad(format!("question {i} is empty")));
        }
        let opposed = file.instruction.iter().filter(|p| p.neg.is_some()).count();
        if opposed != 0 && opposed != file.instruction.len() {
            return Err(bad(format!("{opposed} of {} instructions have a `neg`", file.instruction.len())));
        }
        let mut warnings = Vec::new();
        for key in file.more.keys().chain(file.instruction.iter().flat_map(|p| p.more.keys())) {
            warnings.push(format!("{place}: the key `{key}` is not read"));
        }
        let questions = Questions::of(place, &file.questions);
        warnings.extend(questions.warnings.clone());
        let pairs: Vec<(String, Option<String>)> = file.instruction.into_iter().map(|p| (p.pos, p.neg)).collect();
        warnings.extend(alike(&pairs).map(|w| format!("{place}: {w}")));
        if let Some(prompt) = &file.eval_prompt {
            for slot in ["{question}", "{answer}"].iter().filter(|slot| !prompt.contains(**slot)) {
                warnings.push(format!("{place}: `eval_prompt` has no {slot}: a judge would not see it"));
            }
        }
        let column = if opposed > 0 { "trait" } else { "persona" };
        Ok(Instructions { name: name.into(), column, pairs, questions, judge: file.eval_prompt, warnings })
    }

    /// Every question under every instruction.
    ///
    /// Ids are `NAME/pos_p0_q3`: instruction 0, question 3, as the Assistant Axis names its rows.
    ///
    /// # Errors
    /// No question to ask; `{model_name}` in an instruction without a name for it.
    pub fn import(self, place: &str, options: &Options) -> Result<Imported> {
        let mut warnings = self.warnings.clone();
        let questions = options.questions.as_ref().unwrap_or(&self.questions);
        let asked = questions.all.len().min(options.most_questions.unwrap_or(usize::MAX));
        if asked == 0 {
            let what = "it has no questions of its own";
            return Err(Error::format(place, what, "give a list of questions to be asked of everybody (--questions)"));
        }
        let mut asks = Vec::new();
        let taken = self.pairs.len().min(options.instructions.unwrap_or(usize::MAX));
        for (i, (pos, neg)) in self.pairs[..taken].iter().enumerate() {
            for (polarity, text) in [("pos", Some(pos)), ("neg", neg.as_ref())] {
                let Some(text) = text else { continue };
                let text = self.prefaced(&named(place, i, text, options, &mut warnings)?, polarity, options.preface);
                for question in &questions.all[..asked] {
                    let system = (!text.is_empty()).then(|| Message::new(SYSTEM, &text));
                    asks.push(Ask {
                        id: format!("{}/{polarity}_p{i}_q{}", self.name, question.id),
                        says: Says::Messages(system.into_iter().chain([Message::new(USER, &question.text)]).collect()),
                        columns: vec![
                            (self.column, self.name.as_str().into()),
                            ("polarity", polarity.into()),
                            ("instruction", i.into()),
                            ("question", question.id.as_str().into()),
                            ("group", question.group.as_str().into()),
                        ],
                    });
                }
            }
        }
        Ok(Imported { asks, warnings, judge: self.judge })
    }

    fn prefaced(&self, text: &str, polarity: &str, preface: Preface) -> String {
        match preface {
            Preface::None => text.into(),
            Preface::Assistant => {
                let name = if polarity == "pos" { self.name.as_str() } else { "helpful" };
                let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
                format!("You are {article} {name} assistant. {text}").trim_end().into()
            }
        }
    }
}

/// Instructions that say the same.
fn alike(pairs: &[(String, Option<String>)]) -> impl Iterator<Item = String> {
    let mut said = Vec::new();
    let mut seen = BTreeSet::new();
    let twice: Vec<usize> = (0..pairs.len()).filter(|i| !seen.insert(&pairs[*i])).collect();
    if !twice.is_empty() {
        said.push(format!("instructions {} stand in it before", some_of(&twice)));
    }
    let same: Vec<usize> = (0..pairs.len()).filter(|i| pairs[*i].1.as_ref() == Some(&pairs[*i].0)).collect();
    if !same.is_empty() {
        said.push(format!("instructions {} are their own opposites", some_of(&same)));
    }
    said.into_iter()
}

/// The text with the model's name in its place; other placeholders stand as they are, and are warned about.
fn named(place: &str, i: usize, text: &str, options: &Options, warnings: &mut Vec<String>) -> Result<String> {
    let text = match (&options.model_name, text.contains(MODEL_NAME)) {
        (_, false) => text.to_string(),
        (Some(name), true) => text.replace(MODEL_NAME, name),
        (None, true) => {
            let what = format!("instruction {i} names the model: `{text}`");
            return Err(Error::format(place, what, "say what the model is called (--model-name)"));
        }
    };
    let word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut slots = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    if let Some(slot) = slots.find(|s| word(s)) {
        let warning = format!("{place}: instruction {i} has `{{{slot}}}`, for which nothing is put in");
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIT: &str = r#"{"instruction":[{"pos":"Be calm.","neg":"Be wild."},{"pos":"Stay even.","neg":"Shout."}],
        "questions":["Why?","How?"],"eval_prompt":"Rate {answer} to {question}."}"#;

    fn read(text: &str) -> Result<Instructions> {
        Instructions::parse("calm.json", "calm", text)
    }

    #[test]
    fn every_question_is_asked_under_every_instruction_and_its_opposite() {
        let all = read(TRAIT).unwrap().import("calm.json", &Options::default()).unwrap();
        assert_eq!((all.asks.len(), all.warnings.len(), all.judge.is_some()), (2 * 2 * 2, 0, true));
        assert_eq!(
            all.asks[3].to_json(),
            r#"{"id":"calm/neg_p0_q1","messages":[{"role":"system","content":"Be wild."},{"role":"user","content":"How?"}],"trait":"calm","polarity":"neg","instruction":0,"question":"1","group":"1"}"#
        );
        let few = Options { instructions: Some(1), most_questions: Some(1), ..Options::default() };
        assert_eq!(read(TRAIT).unwrap().import("calm.json", &few).unwrap().asks.len(), 2);
        let prefaced = Options { preface: Preface::Assistant, ..few };
        let asks = Instructions { name: "evil".into(), ..read(TRAIT).unwrap() }.import("evil", &prefaced).unwrap().asks;
        let system = |i: usize| match &asks[i].says {
            Says::Messages(m) => m[0].content.clone(),
            Says::Text(_) => unreachable!(),
        };
        assert_eq!(system(0), "You are an evil assistant. Be calm.");
        assert_eq!(system(1), "You are a helpful assistant. Be wild.");
    }

    #[test]
    fn a_role_names_the_model_only_by_a_name_that_was_given() {
        let text = r#"{"instruction":[{"pos":""},{"pos":"You are {model_name}."}]}"#;
        let questions = Some(Questions::of("q", &["Who?".into()]));
        let e = read(text).unwrap().import("default.json", &Options::default()).unwrap_err();
        assert!(e.to_string().contains("no questions") && e.hint().contains("--questions"), "{e}");
        let without = Options { questions, ..Options::default() };
        let e = read(text).unwrap().import("default.json", &without).unwrap_err();
        assert!(e.to_string().contains("instruction 1") && e.hint().contains("--model-name"), "{e}");
        let with = Options { model_name: Some("Toy".into()), ..without };
        let found = read(text).unwrap().import("default.json", &with).unwrap();
        // The empty instruction is no system turn, and nothing to warn about.
        assert!(found.warnings.is_empty() && found.asks[0].to_json().contains(r#"[{"role":"user","content":"Who?"}]"#));
        assert!(found.asks[1].to_json().contains("You are Toy.") && found.asks[1].columns[0].0 == "persona");
    }

    #[test]
    fn what_is_odd_about_a_file_is_said() {
        let text = r#"{"instruction":[{"pos":"A {x}","neg":"A {x}"},{"pos":"A {x}","neg":"A {x}","also":1}],"questions":["q","q"],
            "eval_prompt":"rate","extra":1}"#;
        let w = read(text).unwrap().import("f", &Options::default()).unwrap().warnings.join("\n");
        for says in [
            "`extra`",
            "`also`",
            "questions 0 and 1",
            "instructions 1 stand",
            "instructions 0, 1 are their own",
            "{question}",
            "{answer}",
            "`{x}`",
        ] {
            assert!(w.contains(says), "{says}: {w}");
        }
        for (text, says) in [
            (r#"{"instruction":[]}"#, "no instruction"),
            (r#"{"instruction":[{"pos":"a"},{"pos":"b","neg":"c"}]}"#, "1 of 2"),
            (r#"{"instruction":[{"neg":"a"}]}"#, "`pos`"),
            (r#"{"instruction":[{"pos":"a"}],"questions":[" "]}"#, "question 0 is empty"),
        ] {
            let e = read(text).unwrap_err();
            assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{text}: {e}");
        }
    }
}
