//! Expression: replies to prompts, scored, and whether they are coherent.

use super::protocol::Protocol;
use super::subjects::Subject;
use crate::error::Result;
use crate::experiment::work::Work;
use crate::model::generate::Settings as Drawing;
use crate::model::{Intervention, Model};
use crate::score::Reply;
use crate::unit::Item;

/// A prompt as it is put.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Put {
    /// Places of the subject and of the prompt.
    pub subject: usize,
    pub prompt: usize,
    /// Which of the replies to it.
    pub sample: usize,
    /// Places of the edits that it is answered under.
    pub edits: Vec<usize>,
}

/// A reply with its scores.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub prompt: Vec<u32>,
    pub tokens: Vec<u32>,
    pub text: String,
    pub coherent: bool,
    /// By trait of the protocol: the scores of its scorers, in order; `None` where one has none to give, and for traits
    /// that the character lacks.
    pub scores: Vec<Vec<Option<f64>>>,
}

impl Shown {
    /// What counts as expression of a trait: nothing where the reply is not coherent.
    pub fn expression(&self, which: usize) -> Option<f64> {
        self.scores[which].first().copied().flatten().filter(|_| self.coherent)
    }
}

/// Every prompt put to every subject, so many times.
pub(super) fn all(protocol: &Protocol, subjects: &[Subject], samples: usize) -> Vec<Put> {
    let mut all = Vec::with_capacity(subjects.len() * protocol.prompts.len() * samples);
    for subject in 0..subjects.len() {
        for prompt in 0..protocol.prompts.len() {
            all.extend((0..samples).map(|sample| Put { subject, prompt, sample, edits: vec![] }));
        }
    }
    all
}

/// The items of prompts. Subjects draw with the same random numbers.
pub(super) fn items(
    protocol: &Protocol,
    subjects: &[Subject],
    put: &[Put],
    model: &Model,
    seed: u64,
) -> Result<Vec<Item>> {
    let item = |p: &Put| {
        let (subject, prompt) = (&subjects[p.subject], &protocol.prompts[p.prompt]);
        let tokens = model.text.chat(&subject.told(protocol, &prompt.messages), true)?.tokens;
        let id = format!("{}/{}", prompt.id, p.sample);
        let (prompt_len, adapter, edits) = (tokens.len(), subject.adapter, p.edits.clone());
        Ok(Item { id, tokens, prompt_len, seed, adapter, edits, ..Item::default() })
    };
    put.iter().map(item).collect()
}

/// Draws replies under edits and scores them for the traits of each subject's character.
///
/// # Errors
/// Failures of the model or of a scorer.
pub(super) fn express(
    stage: &str,
    (protocol, subjects): (&Protocol, &[Subject]),
    put: &[Put],
    edits: Vec<Intervention>,
    (drawing, seed): (&Drawing, u64),
    work: &mut Work<'_, '_>,
) -> Result<Vec<Shown>> {
    let items = items(protocol, subjects, put, work.model, seed)?;
    let prompts: Vec<Vec<u32>> = items.iter().map(|i| i.tokens.clone()).collect();
    let (tokens, _) = work.generate(stage, items, edits, drawing)?;
    let texts = work.texts(&tokens)?;
    let asked = |p: &Put| protocol.prompts[p.prompt].messages.last().map(|m| m.content.clone());
    let reply = |(p, text): (&Put, &String)| Reply {
        id: protocol.prompts[p.prompt].id.clone(),
        text: text.clone(),
        question: asked(p),
        columns: vec![],
    };
    let replies: Vec<Reply> = put.iter().zip(&texts).map(reply).collect();
    let coherent = protocol.coherent.score(&replies)?;
    let mut shown: Vec<Shown> = prompts
        .into_iter()
        .zip(tokens)
        .zip(texts)
        .zip(coherent)
        .map(|(((prompt, tokens), text), coherent)| Shown {
            prompt,
            tokens,
            text,
            coherent: coherent.score().is_some_and(|c| c >= 0.5),
            scores: protocol.traits.iter().map(|t| vec![None; t.scorers.len()]).collect(),
        })
        .collect();
    for (which, t) in protocol.traits.iter().enumerate() {
        let has = |p: &Put| protocol.characters[subjects[p.subject].character].traits.contains(&which);
        let own: Vec<usize> = (0..put.len()).filter(|i| has(&put[*i])).collect();
        let theirs: Vec<Reply> = own.iter().map(|i| replies[*i].clone()).collect();
        for (s, (_, scorer)) in t.scorers.iter().enumerate() {
            for (i, outcome) in own.iter().zip(scorer.score(&theirs)?) {
                shown[*i].scores[which][s] = outcome.score();
            }
        }
    }
    Ok(shown)
}
