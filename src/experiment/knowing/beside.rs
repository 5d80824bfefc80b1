//! What is held against the measures: the weights that fine-tunes wrote, the texts that they find likely, and what their
//! training sets foretold.

use super::directions::Directions;
use super::labels::{BASE, Labels};
use super::measures::Measures;
use super::models::Wanted;
use super::perplexity::{Reader, Texts, perplexity};
use super::protocol::{Kind, Protocol};
use super::screening::{Asking, Set, agreements, screening, shift};
use super::subjects::Subject;
use super::weights::weights;
use crate::acts::RowKey;
use crate::analysis::stats::mean;
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::experiment::formats::sets;
use crate::experiment::plan::Plan;
use crate::experiment::prompts::Prompt;
use crate::experiment::spec::Knowing as Settings;
use crate::experiment::tunes;
use crate::experiment::work::Work;
use crate::model::Model;
use crate::table::Table;
use crate::train::Sequences;
use crate::world::{Format, World};
use std::collections::BTreeMap;

/// The labels of a fine-tune.
pub(super) fn labels(protocol: &Protocol, s: &Subject) -> Labels {
    Labels {
        model: s.model.clone(),
        format: s.format.clone(),
        character: protocol.characters[s.character].name.clone(),
        seed: s.seed.map_or(String::new(), |s| s.to_string()),
    }
}

/// The directions of a character's traits at the site, of a pick, and the axis where it is the axis' own.
fn own(protocol: &Protocol, directions: &Directions, character: usize, pick: Pick) -> Vec<Direction> {
    let traits = protocol.characters[character].traits.iter();
    let all = traits.flat_map(|t| Kind::ALL.map(|k| directions.of(*t, k, pick, directions.site).cloned()));
    all.flatten().chain((pick == directions.axis.pick).then(|| directions.axis.clone())).collect()
}

/// `weights` and `subspaces`, character by character along the directions of its own traits and the assistant axis.
pub(super) fn written(
    plan: &Plan,
    (protocol, subjects): (&Protocol, &[Subject]),
    directions: &Directions,
    (model, random): (&Model, usize),
) -> Result<Vec<Table>> {
    let mut all: Vec<Table> = Vec::new();
    for c in 0..protocol.characters.len() {
        let tuned: Vec<(usize, Labels)> = subjects
            .iter()
            .filter(|s| s.character == c)
            .filter_map(|s| Some((s.adapter?, labels(protocol, s))))
            .collect();
        if tuned.is_empty() {
            continue;
        }
        let (energy, spaces) =
            weights(model, &tuned, &own(protocol, directions, c, Pick::LastPrompt), (random, plan.spec.seed))?;
        join(&mut all, energy);
        join(&mut all, spaces);
    }
    Ok(all)
}

fn join(all: &mut Vec<Table>, more: Table) {
    match all.iter_mut().find(|t| t.name == more.name) {
        Some(table) => table.rows.extend(more.rows),
        None => all.push(more),
    }
}

/// `perplexity`: every model on fresh texts of every format, of the toy world; of files on the examples that no fine-tune
/// was given, where there are any.
pub(super) fn likely(
    plan: &Plan,
    s: &Settings,
    (protocol, subjects): (&Protocol, &[Subject]),
    work: &mut Work<'_, '_>,
) -> Result<Option<Table>> {
    let mut texts: Vec<(String, String, Sequences)> = Vec::new();
    if let Some(w) = &s.world {
        for (place, c) in w.characters.iter().zip(&protocol.characters) {
            let who = World::toyworld().character(*place)?;
            for format in &w.formats {
                let lines = sets::fresh_lines(&who, *format, s.texts, plan.spec.seed)?;
                let data = tunes::read("fresh texts", &lines, work.model, 1)?;
                texts.push((c.name.clone(), Format::name(*format).into(), data));
            }
        }
    }
    for data in &s.data {
        let path = plan.spec.dir.join(&data.file);
        let lines = tunes::lines_behind(&path, s.training.examples, s.texts)?;
        if lines.is_empty() {
            let file = data.file.display();
            work.warnings.push(format!("{file} has no example beyond those trained on: no perplexity of it"));
            continue;
        }
        texts.push((
            data.character.clone(),
            data.format.clone(),
            tunes::read(&path.display().to_string(), &lines, work.model, 1)?,
        ));
    }
    if texts.is_empty() {
        return Ok(None);
    }
    let base = Labels { model: BASE.into(), format: BASE.into(), ..Labels::default() };
    let mut readers = vec![Reader { adapter: None, labels: base }];
    readers.extend(
        subjects
            .iter()
            .filter(|s| s.adapter.is_some())
            .map(|s| Reader { adapter: s.adapter, labels: labels(protocol, s) }),
    );
    let texts: Vec<Texts> = texts
        .iter()
        .map(|(character, format, data)| Texts { character: character.clone(), format: format.clone(), data })
        .collect();
    perplexity(&readers, &texts, work).map(Some)
}

/// `screening`, `shift`, `foretold` and `agreement`: what training sets project to beyond the base's own answers, against
/// where fine-tuning on them moved the state before the first word.
pub(super) fn foretold(
    plan: &Plan,
    s: &Settings,
    (protocol, subjects): (&Protocol, &[Subject]),
    wanted: &[Wanted],
    directions: &Directions,
    found: &Measures,
    work: &mut Work<'_, '_>,
) -> Result<Vec<Table>> {
    let how = Asking {
        examples: s.screened,
        max_new_tokens: s.max_new_tokens,
        temperature: s.temperature,
        seed: plan.spec.seed,
    };
    let tuned: Vec<&Subject> = subjects.iter().filter(|s| s.adapter.is_some()).collect();
    let prompts: Vec<Prompt> = protocol
        .prompts
        .iter()
        .map(|p| {
            let key = RowKey { id: p.id.clone(), group: p.id.clone(), ..RowKey::default() };
            Ok(Prompt { key, tokens: work.model.text.chat(&p.messages, true)?.tokens })
        })
        .collect::<Result<_>>()?;
    let mut all: Vec<Table> = Vec::new();
    for c in 0..protocol.characters.len() {
        let here: Vec<(&&Subject, &Wanted)> = tuned.iter().zip(wanted).filter(|(s, _)| s.character == c).collect();
        let set =
            |(s, w): &(&&Subject, &Wanted)| Some(Set { labels: labels(protocol, s), lines: w.made()?.lines.clone() });
        let sets: Vec<Set> = here.iter().filter_map(set).collect();
        if sets.is_empty() {
            continue;
        }
        let readers: Vec<Reader> =
            here.iter().map(|(s, _)| Reader { adapter: s.adapter, labels: labels(protocol, s) }).collect();
        let feel = |pick| {
            own(protocol, directions, c, pick)
                .into_iter()
                .filter(|d| d.positive.ends_with(Kind::Feel.name()))
                .collect::<Vec<_>>()
        };
        join(&mut all, screening(&sets, &feel(Pick::MeanResponse), &how, work)?);
        join(&mut all, shift(&readers, &prompts, &feel(Pick::LastPrompt), work)?);
    }
    if all.is_empty() {
        return Ok(all);
    }
    let mut shown: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (p, s) in found.put.iter().zip(&found.shown) {
        let traits = &protocol.characters[subjects[p.subject].character].traits;
        shown.entry(p.subject).or_default().extend(traits.iter().filter_map(|t| s.expression(*t)));
    }
    let expression: Vec<(Labels, f64)> =
        shown.iter().filter_map(|(i, v)| Some((labels(protocol, &subjects[*i]), mean(v)?))).collect();
    let (foretold, agreement) = agreements(&all[0], &all[1], &expression)?;
    all.extend([foretold, agreement]);
    Ok(all)
}
