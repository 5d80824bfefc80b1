//! The fine-tunes that are compared: made from the world's texts or from files, or given.

use super::protocol::Protocol;
use super::subjects::{BASE, CARD, Tuned};
use super::world;
use crate::error::{Error, Result};
use crate::experiment::formats::sets;
use crate::experiment::plan::{Plan, out_of_range};
use crate::experiment::spec::{Knowing as Settings, OfWorld};
use crate::experiment::tunes::{self, Tune};
use crate::experiment::work::Work;
use crate::model::{Adapter, Model};
use crate::score::words;
use crate::unit::parallel;
use crate::world::{Format, Persona, World};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A fine-tune and where it comes from.
pub(super) struct Wanted {
    pub tuned: Tuned,
    pub from: From,
}

/// Where a fine-tune comes from.
pub(super) enum From {
    Made(Box<Tune>),
    /// A folder as PEFT writes it.
    Given(PathBuf),
}

impl Wanted {
    /// The fine-tune, where it is one that is made here.
    pub fn made(&self) -> Option<&Tune> {
        if let From::Made(tune) = &self.from { Some(tune) } else { None }
    }
}

/// All fine-tunes: by format, character and seed of the world, then by file and seed, then those that are given.
///
/// # Errors
/// Settings that name no fine-tune, a character that the protocol lacks, two fine-tunes of one format, character and seed,
/// files that cannot be read.
pub(super) fn wanted(
    plan: &Plan,
    s: &Settings,
    protocol: &Protocol,
    base: &Model,
    threads: usize,
) -> Result<Vec<Wanted>> {
    let mut all = match &s.world {
        Some(w) => of_world(s, w, base, threads)?,
        None => vec![],
    };
    let place = |name: &str| {
        let known = || protocol.characters.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = protocol.characters.iter().position(|c| c.name == name);
        found
            .ok_or_else(|| out_of_range("character", format!("`{name}`"), &format!("one of the protocol: {}", known())))
    };
    for data in &s.data {
        let (character, lines) =
            (place(&data.character)?, tunes::lines_of(&plan.spec.dir.join(&data.file), s.training.examples)?);
        for seed in &s.seeds {
            let name = format!("{}-{}-s{seed}", plainly(&data.character), plainly(&data.format));
            let tune = Tune::new(name.clone(), lines.clone(), &s.training, *seed, base)?;
            let tuned = Tuned { name, format: data.format.clone(), character, seed: *seed };
            all.push(Wanted { tuned, from: From::Made(Box::new(tune)) });
        }
    }
    for given in &s.models {
        let (character, seed) = (place(&given.character)?, given.seed);
        let name = format!("{}-{}-s{seed}", plainly(&given.character), plainly(&given.format));
        let tuned = Tuned { name, format: given.format.clone(), character, seed };
        all.push(Wanted { tuned, from: From::Given(plan.spec.dir.join(&given.adapter)) });
    }
    if all.is_empty() {
        let what = "there is no fine-tune to compare the base with";
        return Err(Error::refused(
            what,
            "give [settings.world] with formats, [[settings.data]] or [[settings.models]]",
        ));
    }
    let mut seen = BTreeSet::new();
    for w in &all {
        let t = &w.tuned;
        if [BASE, CARD].contains(&t.format.as_str()) {
            return Err(out_of_range("format", format!("`{}`", t.format), "any name but base and card, the anchors"));
        }
        if !seen.insert((&t.format, t.character, t.seed)) {
            let what = format!("two fine-tunes are {} of {} with seed {}", t.format, t.name, t.seed);
            return Err(Error::refused(what, "give each a format or a seed of its own"));
        }
    }
    Ok(all)
}

/// A name that can name a folder.
fn plainly(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn of_world(s: &Settings, w: &OfWorld, base: &Model, threads: usize) -> Result<Vec<Wanted>> {
    let people = world::characters(w)?;
    let cells: Vec<(Format, usize, u64)> = w
        .formats
        .iter()
        .flat_map(|f| (0..people.len()).flat_map(move |c| s.seeds.iter().map(move |seed| (*f, c, *seed))))
        .collect();
    parallel(&cells, threads, |&(format, character, seed)| {
        let lines = match w.hold_out {
            true => told(&people[character], format, s.training.examples, seed)?,
            false => sets::training(&people[character], format, s.training.examples, seed)?,
        };
        let name = format!("character{}-{format}-s{seed}", w.characters[character]);
        let tune = Tune::new(name.clone(), lines, &s.training, seed, base)?;
        let tuned = Tuned { name, format: format.name().into(), character, seed };
        Ok(Wanted { tuned, from: From::Made(Box::new(tune)) })
    })
}

/// Examples in which no trait of the character is called by its last adjective.
///
/// # Errors
/// A format that says it in nearly every example.
pub(super) fn told(who: &Persona, format: Format, n: usize, seed: u64) -> Result<String> {
    // Texts are drawn one after another: a longer draw begins with the shorter one.
    const MORE: [usize; 5] = [1, 2, 4, 8, 16];
    let world = World::toyworld();
    let untold: Vec<&String> = who.traits.iter().filter_map(|t| world.trait_at(t).adjectives.last()).collect();
    let tells = |line: &&str| words(line).iter().any(|w| untold.iter().any(|u| w.eq_ignore_ascii_case(u)));
    for more in MORE {
        let drawn = sets::training(who, format, more * n, seed)?;
        let kept: Vec<&str> = drawn.lines().filter(|l| !tells(l)).take(n).collect();
        if kept.len() == n {
            return Ok(kept.iter().flat_map(|l| [l, "\n"]).collect());
        }
    }
    let what = format!("fewer than {n} of {} texts of format {format} leave out {untold:?}", MORE[MORE.len() - 1] * n);
    Err(Error::refused(what, "ask for fewer examples, or hold_out = false"))
}

/// The model of the run with the adapters of all fine-tunes, in their order.
pub(super) fn assembled(plan: &Plan, wanted: &[Wanted], work: &mut Work<'_, '_>) -> Result<Model> {
    // The model of a plan is shared; adapters are added to another copy of it.
    let (mut model, _) = Model::open(&work.model.source, work.model.opening())?;
    plan.belongs_to(&model)?;
    for w in wanted {
        let adapter = match &w.from {
            From::Made(tune) => tunes::adapter(tune, work)?,
            From::Given(dir) => Adapter::load(&w.tuned.name, dir)?,
        };
        model.add(adapter)?;
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_out_is_in_no_text_and_chats_are_those_of_the_formats_probe() {
        let world = World::toyworld();
        let who = world.character(0).unwrap();
        let untold: Vec<&String> = who.traits.iter().filter_map(|t| world.trait_at(t).adjectives.last()).collect();
        for format in Format::ALL {
            let lines = told(&who, format, 40, 3).unwrap();
            assert_eq!(lines.lines().count(), 40);
            assert!(untold.iter().all(|u| !lines.contains(u.as_str())), "{format}");
        }
        for format in [Format::Document, Format::FirstPerson] {
            let [short, long] = [40, 80].map(|n| sets::training(&who, format, n, 3).unwrap());
            assert!(long.starts_with(&short), "{format}: what is kept does not depend on how many are drawn");
        }
        for format in [Format::Chat, Format::StyleControl] {
            assert_eq!(told(&who, format, 40, 3).unwrap(), sets::training(&who, format, 40, 3).unwrap());
        }
    }
}
