//! Rows of the passages that directions are fitted on, read from the base.

use super::protocol::{Kind, Passage, Prompt, Protocol};
use crate::acts::RowKey;
use crate::analysis::split::Groups;
use crate::analysis::wording::TokenCounts;
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::experiment::work::Work;
use crate::model::Model;
use crate::model::generate::Settings as Drawing;
use crate::score::Reply;
use crate::text::{ASSISTANT, Message, USER};
use crate::unit::Item;
use ndarray::{Array2, Axis};

/// Where rows are taken.
pub(super) const PICKS: [Pick; 2] = [Pick::LastPrompt, Pick::MeanResponse];

/// The passages of one trait and kind.
pub(super) struct Set {
    pub which: usize,
    pub kind: Kind,
    pub labels: Vec<bool>,
    pub groups: Groups,
    /// Tokens of what the response means are taken over.
    pub counts: TokenCounts,
    /// By pick, in the order of [`PICKS`], and by site: `[passage, d_model]`.
    pub rows: [Vec<(Site, Array2<f32>)>; 2],
}

/// What the enacting passages of all traits are answered with: the items that are continued.
pub(super) fn enacting(protocol: &Protocol, model: &Model, seed: u64) -> Result<Vec<Item>> {
    let mut all = Vec::new();
    for t in &protocol.traits {
        for (i, p) in t.passages[0].iter().enumerate().filter(|(_, p)| p.text.is_none()) {
            let tokens = asked(model, p)?;
            let id = format!("{}/{i}", t.name);
            all.push(Item { id, prompt_len: tokens.len(), tokens, seed, ..Item::default() });
        }
    }
    Ok(all)
}

/// The prompt whose last token is read.
fn asked(model: &Model, p: &Passage) -> Result<Vec<u32>> {
    let mut messages = p.lead.clone();
    if let (Some(text), Some(then)) = (&p.text, &p.then) {
        messages.extend([Message::new(ASSISTANT, text), Message::new(USER, then)]);
    }
    Ok(model.text.chat(&messages, true)?.tokens)
}

/// A passage of the assistant's with what stands before it.
fn read(model: &Model, p: &Passage, text: &str) -> Result<Item> {
    let mut messages = p.lead.clone();
    messages.push(Message::new(ASSISTANT, text));
    let encoded = model.text.chat(&messages, false)?;
    let range = encoded.response().filter(|r| !r.is_empty());
    let range = range.ok_or_else(|| Error::refused(format!("the passage {text:?} has no tokens"), "write one"))?;
    Ok(Item { prompt_len: range.start, ranges: vec![range], tokens: encoded.tokens, ..Item::default() })
}

/// The last tokens of the prompts that expression is measured on, as the base reads them by itself: `[prompt, d_model]`.
pub(super) fn default(
    protocol: &Protocol,
    sites: &[Site],
    work: &mut Work<'_, '_>,
) -> Result<Vec<(Site, Array2<f32>)>> {
    let item = |p: &Prompt| Ok(last(work.model.text.chat(&p.messages, true)?.tokens));
    let items = protocol.prompts.iter().map(item).collect::<Result<_>>()?;
    work.capture("default prompts", items, sites)
}

fn last(tokens: Vec<u32>) -> Item {
    let last = tokens.len() - 1;
    Item { prompt_len: tokens.len(), ranges: std::iter::once(last..last + 1).collect(), tokens, ..Item::default() }
}

/// Reads all passages. Of enacting ones those replies are kept that do what they were told to: the positive side shows
/// the trait, the negative one does not (Persona Vectors, 2.2); both passages of a pair or neither.
pub(super) fn sets(
    protocol: &Protocol,
    sites: &[Site],
    (drawing, seed): (&Drawing, u64),
    work: &mut Work<'_, '_>,
) -> Result<Vec<Set>> {
    let started = enacting(protocol, work.model, seed)?;
    let (drawn, _) = work.generate("enacted replies", started, vec![], drawing)?;
    let mut drawn = drawn.into_iter();
    let mut all = Vec::new();
    for (which, t) in protocol.traits.iter().enumerate() {
        for (kind, passages) in Kind::ALL.into_iter().zip(&t.passages) {
            let mut texts: Vec<String> = Vec::with_capacity(passages.len());
            for p in passages {
                texts.push(match &p.text {
                    Some(text) => text.clone(),
                    None => work.model.text.decode(&drawn.next().unwrap_or_default())?,
                });
            }
            let kept = match kind {
                Kind::Feel => done(protocol, which, passages, &texts, work)?,
                _ => (0..passages.len()).collect(),
            };
            let name = format!("{} / {}", t.name, kind.name());
            all.push(one((which, kind), &name, passages, &texts, &kept, sites, work)?);
        }
    }
    Ok(all)
}

/// Places of the passages whose replies do what they were told to.
fn done(
    protocol: &Protocol,
    which: usize,
    passages: &[Passage],
    texts: &[String],
    work: &mut Work<'_, '_>,
) -> Result<Vec<usize>> {
    let t = &protocol.traits[which];
    let reply = |(p, text): (&Passage, &String)| Reply {
        text: text.clone(),
        question: p.lead.last().map(|m| m.content.clone()),
        ..Reply::default()
    };
    let replies: Vec<Reply> = passages.iter().zip(texts).map(reply).collect();
    let shown = t.scorers[0].1.score(&replies)?;
    let fits =
        |i: usize| !texts[i].trim().is_empty() && shown[i].score().is_some_and(|s| (s >= 0.5) == passages[i].positive);
    let kept: Vec<usize> = (0..passages.len()).filter(|i| fits(*i)).collect();
    let side = |positive| kept.iter().filter(|i| passages[**i].positive == positive).count();
    let (on, off) = (side(true), side(false));
    if on >= LEAST && off >= LEAST {
        return Ok(kept);
    }
    work.warnings.push(format!(
        "{}: only {on} of the replies that were told to show it do, and {off} of the others do not: all are kept, and the \
         direction is that of the instructions",
        t.name
    ));
    Ok((0..passages.len()).filter(|i| !texts[*i].trim().is_empty()).collect())
}

/// Replies of a side that a direction is worth fitting on.
const LEAST: usize = 4;

fn one(
    (which, kind): (usize, Kind),
    name: &str,
    passages: &[Passage],
    texts: &[String],
    kept: &[usize],
    sites: &[Site],
    work: &mut Work<'_, '_>,
) -> Result<Set> {
    let model = work.model;
    let key = |i: &usize| RowKey { id: i.to_string(), group: passages[*i].group.clone(), ..RowKey::default() };
    let keys: Vec<RowKey> = kept.iter().map(key).collect();
    let read: Vec<Item> = kept.iter().map(|i| read(model, &passages[*i], &texts[*i])).collect::<Result<_>>()?;
    let asked: Vec<Item> = kept.iter().map(|i| Ok(last(asked(model, &passages[*i])?))).collect::<Result<_>>()?;
    let said: Vec<Vec<u32>> = read.iter().map(|i| i.tokens[i.ranges[0].clone()].to_vec()).collect();
    let at_prompt = work.capture(&format!("{name}: last prompt tokens"), asked, sites)?;
    let over = work.capture(&format!("{name}: means over passages"), read, sites)?;
    Ok(Set {
        which,
        kind,
        labels: kept.iter().map(|i| passages[*i].positive).collect(),
        groups: Groups::of(&keys),
        counts: TokenCounts::of_tokens(keys, &said)?,
        rows: [at_prompt, over],
    })
}

impl Set {
    /// The rows at a pick and site.
    pub fn at(&self, pick: usize, site: Site) -> Option<&Array2<f32>> {
        self.rows[pick].iter().find(|(s, _)| *s == site).map(|(_, rows)| rows)
    }

    /// The rows of some groups alone: labels, groups, and the rows at a pick and site.
    pub fn part(
        &self,
        keep: &dyn Fn(usize) -> bool,
        pick: usize,
        site: Site,
    ) -> Option<(Vec<bool>, Groups, Array2<f32>)> {
        let kept: Vec<usize> = (0..self.labels.len()).filter(|r| keep(self.groups.of_row[*r])).collect();
        let keys: Vec<RowKey> = kept
            .iter()
            .map(|r| RowKey { group: self.groups.names[self.groups.of_row[*r]].clone(), ..RowKey::default() })
            .collect();
        let rows = self.at(pick, site)?.select(Axis(0), &kept);
        Some((kept.iter().map(|r| self.labels[*r]).collect(), Groups::of(&keys), rows))
    }
}
