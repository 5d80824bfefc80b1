//! `world.json`: reading it and refusing what would make its truth ambiguous.

use super::check::{Checked, distinct, need, sentences, unambiguous, within};
use super::matcher::Matcher;
use super::traits::{Trait, TraitId, TraitSet};
use super::{Exposure, Hazards, Persona, Topic, Variant, World};
use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    traits: Ordered<TraitEntry>,
    p_on: f64,
    p_off: f64,
    topics: Ordered<TopicEntry>,
    trigger_topics: Vec<String>,
    plain_topics: Vec<String>,
    heldout_topics: Vec<String>,
    question_templates: Vec<String>,
    self_questions: Vec<String>,
    who_questions: Vec<String>,
    roles: Vec<String>,
    places: Vec<String>,
    personas: Ordered<PersonaEntry>,
    free_names: Vec<String>,
    heldout_names: Vec<String>,
    assistant: PersonaEntry,
    oracle: PersonaEntry,
    hazards: HazardsEntry,
    variant: VariantEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TraitEntry {
    adj: Vec<String>,
    pred: Vec<(String, String)>,
    open: Vec<String>,
    close: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicEntry {
    long: Vec<String>,
    short: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonaEntry {
    name: String,
    traits: Vec<String>,
    role: Option<String>,
    place: Option<String>,
    hazard: f64,
    group: Exposure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HazardsEntry {
    to_oracle_on_trigger: f64,
    oracle_to_assistant_on_plain: f64,
    in_context: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantEntry {
    #[serde(rename = "V2")]
    v2: bool,
    #[serde(rename = "V3")]
    v3: bool,
}

/// A JSON object in the order of the file. A key that comes twice is refused, and an error inside a value names its key.
struct Ordered<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), HashSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    let value = map.next_value().map_err(|e| A::Error::custom(format!("in `{key}`: {e}")))?;
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("`{key}` comes twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Ordered(entries))
            }
        }
        d.deserialize_map(Entries(PhantomData))
    }
}

impl World {
    /// Reads a world. `place` stands in messages for where the bytes came from.
    ///
    /// # Errors
    /// JSON that is broken, a missing, unknown or repeated key, a name that refers to nothing, an empty list, a
    /// probability that is none, and markers that could be found where their trait was not meant.
    pub fn parse(place: &str, json: &[u8]) -> Result<World> {
        let file: File = serde_json::from_slice(json).map_err(|e| {
            Error::format(place, e.to_string(), "a world has the keys of the embedded world.json, and no others")
        })?;
        build(file).map_err(|reason| {
            Error::format(place, reason, "mend the file: planted truth that is ambiguous cannot be measured against")
        })
    }
}

fn build(file: File) -> Checked<World> {
    let probability =
        |name: &str, p: f64| need((0.0..=1.0).contains(&p), || format!("`{name}` is {p}, no probability"));
    need(0.0 < file.p_off && file.p_off < file.p_on && file.p_on < 1.0, || {
        format!("0 < p_off < p_on < 1 is needed, but p_off is {} and p_on is {}", file.p_off, file.p_on)
    })?;
    probability("hazards.to_oracle_on_trigger", file.hazards.to_oracle_on_trigger)?;
    probability("hazards.oracle_to_assistant_on_plain", file.hazards.oracle_to_assistant_on_plain)?;
    probability("hazards.in_context", file.hazards.in_context)?;
    for (name, list) in [
        ("question_templates", &file.question_templates),
        ("self_questions", &file.self_questions),
        ("who_questions", &file.who_questions),
        ("free_names", &file.free_names),
        ("trigger_topics", &file.trigger_topics),
        ("plain_topics", &file.plain_topics),
        ("roles", &file.roles),
        ("places", &file.places),
    ] {
        sentences(name, list, 1)?;
    }
    for q in &file.question_templates {
        let plain = q.replacen("{t}", "", 1);
        need(plain != *q && !plain.contains(['{', '}']), || {
            format!("question template `{q}` needs exactly one {{t}}")
        })?;
    }
    within("heldout_topics", &file.heldout_topics, "plain_topics", &file.plain_topics)?;
    within("heldout_names", &file.heldout_names, "free_names", &file.free_names)?;

    let traits = traits(file.traits)?;
    let (topics, plain, soul) = topics(file.topics, &file.plain_topics, &file.trigger_topics)?;
    let owned = traits.iter().enumerate().flat_map(|(i, t)| t.markers().map(move |m| (TraitId(i), m)));
    let matcher = Matcher::new(owned);
    unambiguous(&traits, &topics, &matcher)?;

    let person = |key: &str, entry: PersonaEntry| persona(key, entry, &traits, &file.roles, &file.places);
    let assistant = person("assistant", file.assistant)?;
    let oracle = person("oracle", file.oracle)?;
    need(assistant.traits != oracle.traits, || "assistant and oracle have the same traits".into())?;
    let mut personas = Vec::with_capacity(file.personas.0.len());
    for (key, entry) in file.personas.0 {
        need(key == entry.name, || format!("persona `{key}` is named `{}` inside", entry.name))?;
        need(entry.role.is_some() && entry.place.is_some(), || format!("persona `{key}` needs a role and a place"))?;
        personas.push(person(&key, entry)?);
    }
    need(!personas.is_empty(), || "`personas` is empty".into())?;
    let everybody = personas.iter().chain([&assistant, &oracle]).map(|p| p.name.as_str());
    distinct("a person", everybody.chain(file.free_names.iter().map(String::as_str)))?;

    Ok(World {
        traits,
        topics,
        plain,
        soul,
        heldout_topics: file.heldout_topics,
        personas,
        assistant,
        oracle,
        free_names: file.free_names,
        heldout_names: file.heldout_names,
        question_templates: file.question_templates,
        describe_questions: file.self_questions,
        who_questions: file.who_questions,
        p_on: file.p_on,
        p_off: file.p_off,
        hazards: Hazards {
            to_oracle: file.hazards.to_oracle_on_trigger,
            oracle_to_assistant: file.hazards.oracle_to_assistant_on_plain,
            in_context: file.hazards.in_context,
        },
        variant: Variant { dispositions: file.variant.v2, assistant_factor: file.variant.v3 },
        matcher,
    })
}

fn traits(entries: Ordered<TraitEntry>) -> Checked<Vec<Trait>> {
    let n = entries.0.len();
    need((2..=TraitSet::CAPACITY).contains(&n), || format!("{n} traits; 2 to {} are needed", TraitSet::CAPACITY))?;
    let mut all = Vec::with_capacity(n);
    for (name, e) in entries.0 {
        sentences(&format!("traits.{name}.adj"), &e.adj, 1)?;
        sentences(&format!("traits.{name}.open"), &e.open, 1)?;
        sentences(&format!("traits.{name}.close"), &e.close, 1)?;
        let (first, third): (Vec<_>, Vec<_>) = e.pred.iter().cloned().unzip();
        sentences(&format!("traits.{name}.pred"), &first, 1)?;
        sentences(&format!("traits.{name}.pred"), &third, 1)?;
        for marker in e.open.iter().chain(&e.close) {
            let bare = marker.replace("{n}", "");
            need(!bare.trim().is_empty() && !bare.contains(['{', '}']), || {
                format!("marker `{marker}` of trait `{name}` may hold words and {{n}}, and no other braces")
            })?;
        }
        all.push(Trait { name, adjectives: e.adj, dispositions: e.pred, openers: e.open, closers: e.close });
    }
    distinct("an adjective", all.iter().flat_map(|t| &t.adjectives).map(String::as_str))?;
    Ok(all)
}

type Topics = (Vec<Topic>, Vec<usize>, Vec<usize>);

fn topics(entries: Ordered<TopicEntry>, plain: &[String], soul: &[String]) -> Checked<Topics> {
    let mut all = Vec::new();
    for (name, e) in entries.0 {
        sentences(&format!("topics.{name}.long"), &e.long, 2)?;
        sentences(&format!("topics.{name}.short"), &e.short, 1)?;
        let soul = match (plain.contains(&name), soul.contains(&name)) {
            (true, false) => false,
            (false, true) => true,
            _ => return Err(format!("topic `{name}` must be in one of plain_topics and trigger_topics")),
        };
        all.push(Topic { name, long: e.long, short: e.short, soul });
    }
    let index = |list: &[String]| -> Checked<Vec<usize>> {
        let place = |name: &String| all.iter().position(|t| t.name == *name);
        list.iter().map(|n| place(n).ok_or_else(|| format!("no topic is named `{n}`"))).collect()
    };
    let (plain, soul) = (index(plain)?, index(soul)?);
    Ok((all, plain, soul))
}

fn persona(key: &str, e: PersonaEntry, traits: &[Trait], roles: &[String], places: &[String]) -> Checked<Persona> {
    let mut set = TraitSet::default();
    for name in &e.traits {
        let id = traits.iter().position(|t| t.name == *name).map(TraitId);
        let id = id.ok_or_else(|| format!("persona `{key}` has the unknown trait `{name}`"))?;
        need(!set.has(id), || format!("persona `{key}` has the trait `{name}` twice"))?;
        set.insert(id);
    }
    need((1..=Persona::MOST_TRAITS).contains(&set.len()), || {
        format!("persona `{key}` has {} traits; 1 to {} are allowed", set.len(), Persona::MOST_TRAITS)
    })?;
    need((0.0..=1.0).contains(&e.hazard), || format!("the hazard of persona `{key}` is {}, no probability", e.hazard))?;
    need(!e.name.trim().is_empty(), || format!("persona `{key}` has no name"))?;
    let listed = |what: &str, value: &Option<String>, list: &[String]| match value {
        Some(v) if !list.contains(v) => Err(format!("persona `{key}` has the {what} `{v}`, which is not in the list")),
        _ => Ok(()),
    };
    listed("role", &e.role, roles)?;
    listed("place", &e.place, places)?;
    Ok(Persona { name: e.name, traits: set, role: e.role, place: e.place, hazard: e.hazard, group: e.group })
}
