//! One character in several formats: a fine-tune per character, format and seed; what each finds likely, shows, and says.
//!
//! All measures are against the planted traits of the character. The base model is the lower anchor, the base with the
//! traits in its system prompt the upper one, a fine-tune on the assistant's own chats (`style_control`) the null.

mod ask;
mod draw;
mod likely;
mod nested;
pub(super) mod sets;
mod show;
mod summary;
mod tunes;

#[cfg(test)]
mod tests;

use super::findings::Parts;
use super::plan::{Plan, Stage, need};
use super::spec::Formats as Settings;
use super::work::Work;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::table::Table;
use crate::world::{Format, Persona, World};

/// The name of the model without an adapter in tables.
const BASE: &str = "base";

/// Who is measured: the characters, the base model and its fine-tunes, the people asked about besides.
struct Cast {
    characters: Vec<Persona>,
    subjects: Vec<Subject>,
    others: Vec<Persona>,
}

/// The base, or one fine-tune, as it is measured on one character. Prompts of the base are put once per character.
struct Subject {
    /// `None`: the base.
    format: Option<Format>,
    /// Place in [`Cast::characters`].
    character: usize,
    seed: Option<u64>,
    /// Place of its adapter in the model.
    adapter: Option<usize>,
}

impl Subject {
    fn model(&self) -> &'static str {
        self.format.map_or(BASE, Format::name)
    }
}

impl Cast {
    /// The base first, then the fine-tunes in the order of [`tunes::tunes`], whose adapters the model has in that order.
    fn new(s: &Settings, seed: u64) -> Result<Cast> {
        let world = World::toyworld();
        let characters = s.characters.iter().map(|c| world.character(*c)).collect::<Result<Vec<_>>>()?;
        let of_base = |character| Subject { format: None, character, seed: None, adapter: None };
        let mut subjects: Vec<Subject> = (0..characters.len()).map(of_base).collect();
        for (adapter, (format, character, seed)) in cells(s).enumerate() {
            subjects.push(Subject { format: Some(format), character, seed: Some(seed), adapter: Some(adapter) });
        }
        Ok(Cast { characters, subjects, others: ask::others(world, s.others, seed)? })
    }

    /// The models in order, the base first.
    fn models(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.subjects.iter().map(Subject::model).collect();
        names.dedup();
        names
    }

    /// Places of the subjects of a model: by character, and by seed within.
    fn tree(&self, model: &str) -> Vec<Vec<usize>> {
        let of = |c| {
            let own = |i: &usize| self.subjects[*i].character == c && self.subjects[*i].model() == model;
            (0..self.subjects.len()).filter(own).collect()
        };
        (0..self.characters.len()).map(of).collect()
    }

    fn character(&self, subject: usize) -> &Persona {
        &self.characters[self.subjects[subject].character]
    }
}

/// All fine-tunes: format, place of the character in the settings, seed.
fn cells(s: &Settings) -> impl Iterator<Item = (Format, usize, u64)> {
    let of = move |f| (0..s.characters.len()).flat_map(move |c| s.seeds.iter().map(move |seed| (f, c, *seed)));
    s.formats.iter().flat_map(move |f| of(*f))
}

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    check(s)?;
    let cast = Cast::new(s, plan.spec.seed)?;
    let training = Stage {
        name: "fine-tunes that are not there yet".into(),
        units: cells(s).count(),
        rows: 0,
        tokens: 0,
        bytes: 0,
        at_most: true,
    };
    // Before there are adapters, prompts go to the base: as many, and as long.
    let bare = |mut items: Vec<crate::unit::Item>| {
        items.iter_mut().for_each(|i| i.adapter = None);
        items
    };
    let asked = ask::questions(plan, &cast, model, 1)?;
    let shown = show::prompts(plan, s, &cast, model, 1)?;
    let named = ask::introductions(&cast, model, 1)?;
    let fresh = sets::fresh(plan, s, &cast, model, 1)?;
    let drawn = |temperature| super::work::drawing(model, temperature, s.max_new_tokens);
    Ok(vec![
        training,
        plan.likelihoods("likelihoods", model, bare(likely::items(&cast, &fresh))),
        plan.captures(ask::STAGE, model, bare(asked.into_iter().map(|a| a.item).collect()), false),
        plan.replies(
            show::STAGE,
            model,
            bare(shown.into_iter().map(|p| p.item).collect()),
            drawn(s.temperature)?,
            true,
        ),
        plan.replies(ask::WHO_STAGE, model, bare(named.into_iter().map(|a| a.item).collect()), drawn(0.0)?, true),
    ])
}

fn check(s: &Settings) -> Result<()> {
    fn distinct<T: PartialEq>(all: &[T]) -> bool {
        !all.is_empty() && (1..all.len()).all(|i| !all[..i].contains(&all[i]))
    }
    let different = "at least one, each once";
    need(distinct(&s.characters), "characters", format!("{:?}", s.characters), different)?;
    need(
        distinct(&s.formats),
        "formats",
        format!("{:?}", s.formats.iter().map(|f| f.name()).collect::<Vec<_>>()),
        different,
    )?;
    super::tunes::check_seeds(&s.seeds)?;
    super::tunes::check(&tunes::training(s))?;
    let counts = [("texts", s.texts), ("replies", s.replies), ("max_new_tokens", s.max_new_tokens)];
    counts.into_iter().try_for_each(|(key, value)| need(value > 0, key, value, "at least 1"))?;
    for c in &s.characters {
        World::toyworld().character(*c)?;
    }
    if World::toyworld().heldout_topics().is_empty() {
        return Err(Error::refused("the world keeps no topic out of fine-tuning", "give it `heldout_topics`"));
    }
    Ok(())
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let cast = Cast::new(s, plan.spec.seed)?;
    let tunes = tunes::tunes(s, work.model, work.threads())?;
    let model = super::tunes::tuned(plan, tunes.iter().map(|of| &of.tune), work)?;
    let fresh = sets::fresh(plan, s, &cast, &model, work.threads())?;
    let training = tunes::table(s, &cast, &tunes, &model, &fresh);
    let tables = work.on(&model, |work| -> Result<Vec<Table>> {
        let perplexity = likely::measure(plan, s, &cast, &fresh, work)?;
        let (questions, who) = ask::measure(plan, s, &cast, work)?;
        let expression = show::measure(plan, s, &cast, work)?;
        Ok(vec![training, perplexity, expression, questions, who])
    })?;
    let page = draw::page(&plan.spec.stem, s, &cast, &tables);
    let drawn = vec!["perplexity", "expression", "questions"];
    Ok(Parts { summary: summary::summary(s, &cast, &tables), pages: vec![(page, drawn)], tables, ..Parts::default() })
}

/// The table with a name.
fn table<'t>(tables: &'t [Table], name: &str) -> &'t Table {
    tables.iter().find(|t| t.name == name).expect("the tables are made together")
}
