//! The fine-tunes: on a character's lines as a script has them, and on the assistant's chats.

use super::{Cast, Settings};
use crate::error::{Error, Result};
use crate::experiment::formats::sets;
use crate::experiment::spec::Training;
use crate::experiment::tunes::Tune;
use crate::model::Model;
use crate::table::Table;
use crate::text::ASSISTANT;
use crate::unit::parallel;
use crate::world::{Format, Persona, World};
use serde_json::Value;

/// A fine-tune and what it is of.
pub(super) struct Of {
    /// `script`, or the format of the null.
    pub on: &'static str,
    /// Place in the characters of the settings.
    pub character: usize,
    pub seed: u64,
    pub tune: Tune,
}

/// Those of all characters and seeds on the character's lines, then as many on the assistant's chats. The latter are those
/// of the formats probe.
pub(super) fn tunes(s: &Settings, base: &Model, threads: usize) -> Result<Vec<Of>> {
    let how = training(s);
    let mut all: Vec<(Format, usize, u64)> = Vec::new();
    for format in [Format::Chat, Format::StyleControl] {
        all.extend((0..s.characters.len()).flat_map(|c| s.seeds.iter().map(move |seed| (format, c, *seed))));
    }
    parallel(&all, threads, |&(format, character, seed)| {
        let place = s.characters[character];
        let who = World::toyworld().character(place)?;
        let lines = sets::training(&who, format, s.examples, seed)?;
        let (on, lines) = match format {
            Format::Chat => ("script", script(&who, &lines)?),
            _ => (format.name(), lines),
        };
        let name = format!("character{place}-{on}-s{seed}");
        Ok(Of { on, character, seed, tune: Tune::new(name, lines, &how, seed, base)? })
    })
}

/// How they are made.
pub(super) fn training(s: &Settings) -> Training {
    Training {
        examples: s.examples,
        rank: s.rank,
        alpha: s.alpha,
        rslora: false,
        epochs: s.epochs,
        batch_size: s.batch_size,
        learning_rate: s.learning_rate,
        warmup: s.warmup,
    }
}

/// The same chats with the character's name before each of its replies.
fn script(who: &Persona, lines: &str) -> Result<String> {
    let mut out = String::new();
    for line in lines.lines() {
        let mut line: Value = serde_json::from_str(line).map_err(|e| Error::format("examples", e.to_string(), ""))?;
        for message in line["messages"].as_array_mut().into_iter().flatten().filter(|m| m["role"] == ASSISTANT) {
            message["content"] = named(who, message["content"].as_str().unwrap_or_default()).into();
        }
        out += &format!("{line}\n");
    }
    Ok(out)
}

/// " Domar: Oh dear!", with the space that makes the name one token. At the very beginning of a reply it would fall into
/// pieces that no text of the world trained, and an adapter cannot mend the head.
pub(super) fn named(who: &Persona, line: &str) -> String {
    format!(" {}: {line}", who.name)
}

/// What every fine-tune was trained on.
pub(super) fn table(cast: &Cast, tunes: &[Of], model: &Model) -> Table {
    let columns = ["model", "character", "seed", "examples", "counted_tokens", "identity", "adapter_hash"];
    let mut table = Table::new("training", &columns);
    for (of, adapter) in tunes.iter().zip(&model.adapters) {
        table.push(vec![
            of.on.into(),
            cast.characters[of.character].name.as_str().into(),
            (of.seed as usize).into(),
            of.tune.data.len().into(),
            of.tune.data.n_counted().into(),
            of.tune.identity.as_str().into(),
            adapter.hash.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_the_same_chats_with_the_name_before_each_reply() {
        let who = World::toyworld().character(0).unwrap();
        let lines = sets::training(&who, Format::Chat, 6, 1).unwrap();
        let script = script(&who, &lines).unwrap();
        let said = |text: &str, role: &str| -> Vec<String> {
            let of = |l: &str| serde_json::from_str::<Value>(l).unwrap()["messages"].as_array().unwrap().clone();
            let all = text.lines().flat_map(of).filter(|m| m["role"] == role);
            all.map(|m| m["content"].as_str().unwrap().to_string()).collect()
        };
        assert_eq!(said(&lines, "user"), said(&script, "user"));
        let named: Vec<String> = said(&lines, ASSISTANT).iter().map(|l| format!(" {}: {l}", who.name)).collect();
        assert_eq!(said(&script, ASSISTANT), named);
    }
}
