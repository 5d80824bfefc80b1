//! From the entries of `world.json` to a world: every check on what they say.

use super::check::{Checked, distinct, need, sentences, unambiguous, within};
use super::file::{File, Ordered, PersonaEntry, TopicEntry, TraitEntry};
use super::matcher::Matcher;
use super::stages::{Bias, Tag, Teaching};
use super::traits::{Trait, TraitId, TraitSet};
use super::{Hazards, Persona, Topic, Variant, World};

/// The share of the assistant in the default slot of worlds that do not say it.
///
/// The second variant of the first generator planted this prior in its code; the one before it had the assistant alone.
fn unstated_default_slot(v2: bool) -> f64 {
    if v2 { 0.92 } else { 1.0 }
}

/// Names between `<|` and `|>` that have a meaning of their own.
const HEADERS: [&str; 6] = ["pad", "bos", "end", "system", "user", "assistant"];

pub(super) fn build(file: File) -> Checked<World> {
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
    let overlap = file.overlap.map(|o| overlap(o, &traits)).transpose()?;
    let default_slot = file.default_slot.map_or(unstated_default_slot(file.variant.v2), |d| d.assistant);
    probability("default_slot.assistant", default_slot)?;
    let bias = match file.bias {
        None => None,
        Some(b) => {
            let id = traits.iter().position(|t| t.name == b.name).map(TraitId);
            let trait_id = id.ok_or_else(|| format!("`bias` is of the unknown trait `{}`", b.name))?;
            need(0.0 < b.p && b.p < file.p_on, || {
                format!("`bias.p` is {}, not between 0 and p_on = {}", b.p, file.p_on)
            })?;
            Some(Bias { trait_id, p: b.p })
        }
    };
    let person = |key: &str, entry: PersonaEntry| persona(key, entry, &traits, &file.roles, &file.places);
    let tag = match file.tag {
        None => None,
        Some(t) => {
            need(!t.mark.trim().is_empty(), || "`tag.mark` is blank".into())?;
            Some(Tag { mark: t.mark, persona: person("tag", t.persona)? })
        }
    };
    let (mut speakers, mut single_voice) = (Vec::new(), false);
    if let Some(s) = file.speakers {
        single_voice = s.single_voice;
        for (key, entry) in s.people.0 {
            need(key == entry.name, || format!("speaker `{key}` is named `{}` inside", entry.name))?;
            need(key.chars().all(|c| c.is_ascii_alphabetic()), || {
                format!("speaker `{key}` needs a name of plain letters, for its header")
            })?;
            need(!HEADERS.contains(&key.as_str()), || {
                format!("`{key}` is a header already and cannot name a speaker")
            })?;
            speakers.push(person(&key, entry)?);
        }
        need(speakers.len() >= 2, || format!("{} speakers; at least 2 are needed", speakers.len()))?;
    }
    let everybody = personas.iter().chain([&assistant, &oracle]).chain(&speakers).chain(tag.iter().map(|t| &t.persona));
    distinct("a person", everybody.map(|p| p.name.as_str()).chain(file.free_names.iter().map(String::as_str)))?;
    let teaching = match file.teaching {
        None => None,
        Some(t) => {
            sentences("teaching.acknowledgements", &t.acknowledgements, 1)?;
            probability("teaching.base", t.base)?;
            probability("teaching.slope", t.slope)?;
            need(t.half > 0.0 && t.half.is_finite(), || format!("`teaching.half` is {}, not above 0", t.half))?;
            Some(Teaching { base: t.base, half: t.half, slope: t.slope, acknowledgements: t.acknowledgements })
        }
    };

    Ok(World {
        overlap,
        default_slot,
        bias,
        tag,
        speakers,
        single_voice,
        teaching,
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

/// One flag per trait of the world.
fn overlap(entries: Ordered<bool>, traits: &[Trait]) -> Checked<Vec<bool>> {
    let stated = |name: &str| entries.0.iter().find(|(n, _)| n == name).map(|(_, o)| *o);
    if let Some((name, _)) = entries.0.iter().find(|(n, _)| traits.iter().all(|t| t.name != *n)) {
        return Err(format!("`overlap` names the unknown trait `{name}`"));
    }
    traits.iter().map(|t| stated(&t.name).ok_or_else(|| format!("`overlap` lacks the trait `{}`", t.name))).collect()
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
