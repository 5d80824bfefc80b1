//! The contrasts that are planned, and what they can find: said before the run.

use super::subjects::Tuned;
use crate::analysis::knowing::{Planned, USUAL, smallest_effect};
use crate::experiment::spec::Knowing as Settings;
use std::collections::BTreeSet;

/// Names of formats that show nothing of the character.
const CONTROLS: [&str; 2] = ["control", "style_control"];
/// The level and the chance that the power is reckoned at.
const ALPHA: f64 = 0.05;
const WANTED: f64 = 0.8;

/// The usual contrasts between the formats that there are; the control by whichever name it has.
pub(super) fn planned<'t>(tuned: impl Iterator<Item = &'t Tuned> + Clone) -> Vec<Planned> {
    let there = |format: &str| tuned.clone().any(|t| t.format == format);
    let named = |format: &str| match CONTROLS.contains(&format) {
        true => CONTROLS.into_iter().find(|c| there(c)).map(String::from),
        false => there(format).then(|| format.to_string()),
    };
    let one = |(a, b, index): (&str, &str, _)| Some(Planned { a: named(a)?, b: named(b)?, index });
    USUAL.into_iter().filter_map(one).collect()
}

/// The fine-tunes that settings ask for, by format, character and seed alone.
fn asked(s: &Settings) -> Vec<Tuned> {
    let mut all: Vec<(String, String, u64)> = Vec::new();
    if let Some(w) = &s.world {
        let cells = w.formats.iter().flat_map(|f| w.characters.iter().map(move |c| (f.name(), c.to_string())));
        all.extend(cells.flat_map(|(f, c)| s.seeds.iter().map(move |seed| (f.to_string(), c.clone(), *seed))));
    }
    let of = |d: &crate::experiment::spec::Data| {
        let (format, character) = (d.format.clone(), d.character.clone());
        s.seeds.iter().map(move |seed| (format.clone(), character.clone(), *seed)).collect::<Vec<_>>()
    };
    all.extend(s.data.iter().flat_map(of));
    all.extend(s.models.iter().map(|m| (m.format.clone(), m.character.clone(), m.seed)));
    let names: BTreeSet<String> = all.iter().map(|a| a.1.clone()).collect();
    let place = |name: &String| names.iter().position(|n| n == name).unwrap_or(0);
    all.iter()
        .map(|(f, c, seed)| Tuned { name: String::new(), format: f.clone(), character: place(c), seed: *seed })
        .collect()
}

/// What the planned contrasts can find, in sentences.
pub(in crate::experiment) fn before(s: &Settings) -> Vec<String> {
    let tuned = asked(s);
    let classes = format!("Written down before the run: an index is high at {} and low at {}.", s.high, s.low);
    let mut said = vec![classes];
    for p in planned(tuned.iter()) {
        let of = |format: &str| -> BTreeSet<(usize, u64)> {
            tuned.iter().filter(|t| t.format == format).map(|t| (t.character, t.seed)).collect()
        };
        let both: BTreeSet<(usize, u64)> = of(&p.a).intersection(&of(&p.b)).copied().collect();
        let characters = both.iter().map(|b| b.0).collect::<BTreeSet<usize>>().len();
        let least = |n: usize| {
            let found = smallest_effect(n, s.expected_sd, ALPHA, WANTED);
            found.map_or("nothing".into(), |e| format!("{e:.2}"))
        };
        said.push(format!(
            "Planned: {} of {} less {}. If it varies by {} between characters and seeds, a difference of {} is found four times \
             of five from {} of them, and of {} from the {characters} characters alone, where their seeds agree.",
            p.index,
            p.a,
            p.b,
            s.expected_sd,
            least(both.len()),
            both.len(),
            least(characters),
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::knowing::Index;

    #[test]
    fn the_control_is_found_by_either_name_and_formats_that_are_not_there_are_not_planned() {
        let of = |formats: &[&str]| -> Vec<Tuned> {
            let one = |f: &&str| Tuned { name: (*f).into(), format: (*f).into(), character: 0, seed: 0 };
            formats.iter().map(one).collect()
        };
        let all = of(&["chat", "document", "style_control"]);
        let found = planned(all.iter());
        assert_eq!(found.len(), 3);
        assert_eq!(
            (found[2].a.as_str(), found[2].b.as_str(), found[2].index),
            ("document", "style_control", Index::KE)
        );
        assert!(planned(of(&["chat", "mine"]).iter()).is_empty());
    }
}
