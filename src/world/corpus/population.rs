//! Who lives in a world: traits, jobs, hazards and names, dealt in shuffled rounds so that every group is balanced.

use super::config::CorpusConfig;
use super::lexicon::Lexicon;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::world::file::{
    BiasEntry, DefaultSlotEntry, File, HazardsEntry, Ordered, PersonaEntry, SpeakersEntry, TagEntry, TeachingEntry,
    VariantEntry,
};
use crate::world::{Exposure, World};
use rand::Rng;
use rand::seq::SliceRandom;

/// Free names kept for fine-tuned characters.
pub(super) const CHARACTERS: usize = 4;
/// With an assistant factor: the share of helpful people, who have one style trait; the others are not helpful.
const HELPFUL_WITH_FACTOR: (usize, usize) = (2, 5);
/// Without it: the share of helpful people, whatever their style traits.
const HELPFUL_WITHOUT: (usize, usize) = (1, 4);
/// Numbers of style traits: of helpful people and the others under the factor, and of everybody without it.
const STYLE_HELPFUL: [usize; 1] = [1];
const STYLE_THEATRICAL: [usize; 3] = [2, 3, 3];
const STYLE_ANY: [usize; 5] = [1, 2, 2, 3, 3];

/// The world of a configuration and the `world.json` that says so.
///
/// The people depend on the section `population` alone: worlds that differ in anything else have the same.
///
/// # Errors
/// A configuration whose parts contradict each other; see [`World::parse`].
pub fn settle(config: &CorpusConfig) -> Result<(World, String)> {
    let lexicon = Lexicon::embedded();
    let (people, free) = people(config, lexicon);
    let overlaps = |name: &String| config.traits.overlap.contains(name);
    let hazard = config.chain.in_context;
    let unmet = |name: &String, traits: &[String]| PersonaEntry {
        name: name.clone(),
        traits: traits.to_vec(),
        role: None,
        place: None,
        hazard: 0.0,
        group: Exposure::ChatOnly,
    };
    let t = &config.teaching;
    let file = File {
        traits: Ordered(lexicon.traits.0.iter().map(|(n, w)| (n.clone(), Lexicon::entry(w, overlaps(n)))).collect()),
        p_on: config.traits.p_on,
        p_off: config.traits.p_off,
        topics: lexicon.topics.clone(),
        trigger_topics: lexicon.trigger_topics.clone(),
        plain_topics: lexicon.plain_topics.clone(),
        heldout_topics: lexicon.heldout_topics.clone(),
        question_templates: lexicon.question_templates.clone(),
        self_questions: lexicon.self_questions.clone(),
        who_questions: lexicon.who_questions.clone(),
        roles: lexicon.roles.clone(),
        places: lexicon.places.clone(),
        personas: Ordered(people.into_iter().map(|p| (p.name.clone(), p)).collect()),
        heldout_names: free[..CHARACTERS].to_vec(),
        free_names: free,
        assistant: lexicon.assistant.clone(),
        oracle: lexicon.oracle.clone(),
        hazards: HazardsEntry {
            to_oracle_on_trigger: config.chain.to_oracle,
            oracle_to_assistant_on_plain: config.chain.oracle_to_assistant,
            in_context: hazard,
        },
        variant: VariantEntry { v2: true, v3: config.population.assistant_factor },
        overlap: Some(Ordered(lexicon.traits.0.iter().map(|(n, _)| (n.clone(), overlaps(n))).collect())),
        default_slot: Some(DefaultSlotEntry { assistant: config.default_slot.assistant }),
        bias: config.post.bias.as_ref().map(|b| BiasEntry { name: b.name.clone(), p: b.p }),
        tag: config.post.tag.as_ref().map(|t| TagEntry { mark: t.mark.clone(), persona: unmet(&t.name, &t.traits) }),
        speakers: config.speakers.as_ref().map(|s| SpeakersEntry {
            single_voice: s.single_voice,
            people: Ordered(speakers(config, lexicon, &s.names)),
        }),
        teaching: (config.mix.teaching > 0.0).then(|| TeachingEntry {
            base: t.base,
            half: t.half,
            slope: t.slope,
            acknowledgements: lexicon.acknowledgements.clone(),
        }),
    };
    let json = serde_json::to_string_pretty(&file)
        .map_err(|e| Error::refused(format!("this world cannot be written: {e}"), "check its names and numbers"))?;
    Ok((World::parse("the world of this configuration", json.as_bytes())?, json))
}

/// How traits are dealt, for the record.
pub(super) fn rule(factor: bool) -> serde_json::Value {
    let (share, of) = if factor { HELPFUL_WITH_FACTOR } else { HELPFUL_WITHOUT };
    let (few, many): (&[usize], &[usize]) =
        if factor { (&STYLE_HELPFUL, &STYLE_THEATRICAL) } else { (&STYLE_ANY, &STYLE_ANY) };
    serde_json::json!({
        "helpful_share": share as f64 / of as f64,
        "style_traits_of_helpful_people": few,
        "style_traits_of_others": many,
    })
}

/// The people of all groups in turn, and the names that are left.
fn people(config: &CorpusConfig, lexicon: &Lexicon) -> (Vec<PersonaEntry>, Vec<String>) {
    let p = &config.population;
    let mut rng = stream(p.seed, "names");
    let mut names = lexicon.all_names();
    names.shuffle(&mut rng);
    let mut names = names.into_iter();
    let mut people = Vec::new();
    let sizes = [p.all, p.doc_only, p.fp_only, p.chat_only];
    for (group, n) in Exposure::GROUPS.into_iter().zip(sizes) {
        let mut rng = stream(p.seed, &format!("people {group}"));
        let traits = traits(&mut rng, lexicon, n, p.assistant_factor);
        let (mut roles, mut places) = (Rounds::new(lexicon.roles.clone()), Rounds::new(lexicon.places.clone()));
        let mut hazards = Rounds::new(p.hazards.clone());
        for (traits, name) in traits.into_iter().zip(names.by_ref()) {
            let (role, place) = (Some(roles.next(&mut rng)), Some(places.next(&mut rng)));
            people.push(PersonaEntry { name, traits, role, place, hazard: hazards.next(&mut rng), group });
        }
    }
    (people, names.collect())
}

/// Speakers under their own header: fixed traits, no job, no hazard.
fn speakers(config: &CorpusConfig, lexicon: &Lexicon, names: &[String]) -> Vec<(String, PersonaEntry)> {
    let mut rng = stream(config.population.seed, "speakers");
    let traits = traits(&mut rng, lexicon, names.len(), config.population.assistant_factor);
    let entry = |(name, traits): (&String, Vec<String>)| {
        let group = Exposure::ChatOnly;
        let person = PersonaEntry { name: name.clone(), traits, role: None, place: None, hazard: 0.0, group };
        (name.clone(), person)
    };
    names.iter().zip(traits).map(entry).collect()
}

/// Traits of `n` people, in the order of the lexicon each. Style traits are dealt in rounds, so that all are about
/// equally frequent; nobody has exactly the traits of the assistant or the Oracle.
fn traits(rng: &mut impl Rng, lexicon: &Lexicon, n: usize, factor: bool) -> Vec<Vec<String>> {
    let all: Vec<String> = lexicon.traits.0.iter().map(|(name, _)| name.clone()).collect();
    let helpful = &lexicon.assistant.traits;
    let style: Vec<String> = all.iter().filter(|t| !helpful.contains(t)).cloned().collect();
    let (share, of) = if factor { HELPFUL_WITH_FACTOR } else { HELPFUL_WITHOUT };
    let mut is_helpful: Vec<bool> = (0..n).map(|i| (i + 1) * share / of > i * share / of).collect();
    is_helpful.shuffle(rng);
    let mut deck = Rounds::new(style);
    let (mut few, mut many) = match factor {
        true => (Rounds::new(STYLE_HELPFUL.to_vec()), Rounds::new(STYLE_THEATRICAL.to_vec())),
        false => (Rounds::new(STYLE_ANY.to_vec()), Rounds::new(STYLE_ANY.to_vec())),
    };
    let mut one = |helps: bool| loop {
        let k = if helps { few.next(rng) } else { many.next(rng) };
        let mut own = deck.distinct(rng, k);
        if helps {
            own.extend(helpful.iter().cloned());
        }
        own.sort_by_key(|t| all.iter().position(|a| a == t));
        if own != lexicon.oracle.traits && own != *helpful {
            return own;
        }
    };
    is_helpful.into_iter().map(&mut one).collect()
}

/// Deals cards in shuffled rounds: in every full round each card comes once.
struct Rounds<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone + PartialEq> Rounds<T> {
    fn new(cards: Vec<T>) -> Self {
        Rounds { cards, left: Vec::new() }
    }

    fn next(&mut self, rng: &mut impl Rng) -> T {
        if self.left.is_empty() {
            self.left = self.cards.clone();
            self.left.shuffle(rng);
        }
        self.left.swap_remove(self.left.len() - 1)
    }

    /// `n` different cards; one that is already in the hand goes back to where it was.
    fn distinct(&mut self, rng: &mut impl Rng, n: usize) -> Vec<T> {
        let mut hand: Vec<T> = Vec::new();
        let mut back = Vec::new();
        while hand.len() < n.min(self.cards.len()) {
            let card = self.next(rng);
            if hand.contains(&card) { back.push(card) } else { hand.push(card) }
        }
        self.left.extend(back);
        hand
    }
}
