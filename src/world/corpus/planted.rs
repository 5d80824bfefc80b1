//! `truth.json`: every planted number, and what the corpus made of it.

use super::Corpus;
use super::kinds::Kind;
use super::realised::{CONTEXT, Exposed, PUSHES, Realised, Shown, TAUGHT, Tally};
use super::{chats, population};
use crate::world::{
    Exposure, Persona, REMINDER_SUCCESS, Rate, State, Teaching, World, prompts, questions, reply, statements,
};
use serde_json::{Map, Value, json};

/// The truth about a corpus whose files were counted in `train` and `heldout`, as JSON text.
pub(super) fn truth(corpus: &Corpus, train: &Realised, heldout: &Realised) -> String {
    let mut realised = realised(corpus, train);
    realised["heldout"] = json!({ "documents": heldout.documents(), "tokens": heldout.tokens() });
    format!("{:#}\n", json!({ "planted": planted(corpus), "realised": realised }))
}

fn planted(corpus: &Corpus) -> Value {
    let (w, config) = (&corpus.world, &corpus.config);
    let by_trait = |f: &dyn Fn(usize) -> Value| -> Value {
        w.traits.iter().enumerate().map(|(i, t)| (t.name.clone(), f(i))).collect::<Map<_, _>>().into()
    };
    let id = crate::world::TraitId;
    let people = w.personas.iter().map(|p| (p.name.clone(), person(w, p))).collect::<Map<_, _>>();
    let speakers = w.speakers.iter().map(|p| (p.name.clone(), person(w, p))).collect::<Map<_, _>>();
    json!({
        "config": config,
        "marker_rates": by_trait(&|i| json!({ "on": w.p_on, "off": w.p_stray(id(i)) })),
        "overlap": by_trait(&|i| json!(w.overlaps(id(i)))),
        "default_slot": {
            "assistant": w.default_slot,
            "first_reply": by_trait(&|i| json!(w.default_rate(id(i)))),
        },
        "chain": {
            "to_oracle": w.hazards.to_oracle,
            "oracle_to_assistant": w.hazards.oracle_to_assistant,
            "hazards": config.population.hazards,
            "in_context": w.hazards.in_context,
            "reminder_success": REMINDER_SUCCESS,
        },
        "teaching": w.teaching.as_ref().map(|t| json!({
            "hazard": "clamp(base * 2^(-teaching / half) + slope * context / 512, 0, ceiling)",
            "teaching": "tokens of the user messages that teach, header and end included",
            "context": "all tokens before the first of the reply's content",
            "base": t.base, "half": t.half, "slope": t.slope, "ceiling": Teaching::CEILING,
        })),
        "people": people,
        "speakers": speakers,
        "single_voice": w.single_voice,
        "tag": w.tag.as_ref().map(|t| json!({ "mark": t.mark, "persona": person(w, &t.persona) })),
        "population_rule": population::rule(config.population.assistant_factor),
        "wording": {
            "disposition_with_a_shown_trait": reply::P_DISPOSITION,
            "quote_in_a_page": statements::P_QUOTE,
            "marker_of_a_trait_in_a_first_person_text": statements::P_VOICE,
            "questions_about_the_speaker": {
                "who": questions::P_WHO, "describe": questions::P_DESCRIBE,
                "yes_or_no": 1.0 - questions::P_WHO - questions::P_DESCRIBE,
            },
            "questions_about_people": {
                "yes_or_no": chats::P_TRAIT, "like": chats::P_LIKE, "who": 1.0 - chats::P_TRAIT - chats::P_LIKE,
            },
            "style_traits_of_invented_people": prompts::INVENTED_TRAITS,
            "invented_people_helpful": prompts::INVENTED_HELPFUL,
        },
    })
}

fn person(w: &World, p: &Persona) -> Value {
    let traits: Vec<_> = p.traits.iter().map(|t| &w.trait_at(t).name).collect();
    json!({ "traits": traits, "hazard": p.hazard, "group": p.group })
}

fn realised(corpus: &Corpus, r: &Realised) -> Value {
    let w = &corpus.world;
    let names: Vec<&str> = w.traits.iter().map(|t| t.name.as_str()).collect();
    let kinds: Map<_, _> = Kind::ALL.iter().zip(&r.kinds).map(|(k, t)| (k.name().to_string(), tally(t))).collect();
    let people = w.personas.iter().zip(&r.exposure);
    let exposure: Map<_, _> = people.map(|(p, e)| (p.name.clone(), exposed(p.group, *e))).collect();
    let hazards = corpus.config.population.hazards.iter().map(f64::to_string).chain(["in_context".to_string()]);
    let hazards: Map<_, _> = hazards.zip(&r.hazards).map(|(name, n)| (name, rate(*n))).collect();
    let first: Map<_, _> = names.iter().zip(&r.default_slot.first).map(|(t, n)| (t.to_string(), rate(*n))).collect();
    let voices: Map<_, _> = w.speakers.iter().zip(&r.voices).map(|(s, n)| (s.name.clone(), json!(n))).collect();
    json!({
        "documents": r.documents(),
        "tokens": r.tokens(),
        "kinds": kinds,
        "marker_rates": { "replies": shown(&names, &r.replies), "quotes": shown(&names, &r.quotes) },
        "default_slot": { "assistant": rate(r.default_slot.assistant), "first_reply": first },
        "hazards": hazards,
        "to_oracle": rate(r.to_oracle),
        "oracle_to_assistant": rate(r.oracle_to_assistant),
        "reminders": rate(r.reminders),
        "transitions": transitions(r),
        "exposure": exposure,
        "voices": voices,
        "tagged_turns": rate(r.tagged),
        "teaching": teaching(r),
    })
}

fn tally(t: &Tally) -> Value {
    json!({ "documents": t.documents, "tokens": t.tokens, "turns": t.turns, "cut": t.cut })
}

fn exposed(group: Exposure, e: Exposed) -> Value {
    json!({
        "group": group, "acts": e.acts, "described": e.described, "quoted": e.quoted, "asked": e.asked,
        "speaks_of_itself": e.speaks,
    })
}

fn rate(r: Rate) -> Value {
    json!({ "hits": r.hits, "of": r.of, "rate": r.value() })
}

fn shown(names: &[&str], s: &Shown) -> Value {
    let one = |i: usize| json!({ "on": rate(s.on[i]), "off": rate(s.off[i]) });
    names.iter().enumerate().map(|(i, t)| (t.to_string(), one(i))).collect::<Map<_, _>>().into()
}

/// Counts by what the turn did, from where, to where.
fn transitions(r: &Realised) -> Value {
    let to =
        |row: &[usize; 3]| State::ALL.iter().map(|s| (s.to_string(), json!(row[*s as usize]))).collect::<Map<_, _>>();
    let from = |m: &[[usize; 3]; 3]| {
        State::ALL.iter().map(|s| (s.to_string(), to(&m[*s as usize]).into())).collect::<Map<_, _>>()
    };
    let all = PUSHES.iter().zip(&r.transitions).map(|((_, name), m)| (name.to_string(), from(m).into()));
    all.collect::<Map<_, _>>().into()
}

/// One row per pair of bins that has a chance: ranges of tokens (upper end excluded, the last open), counts, and the
/// falls that the planted hazards give on average.
fn teaching(r: &Realised) -> Value {
    let range = |edges: &[usize], i: usize| json!([edges[i], edges.get(i + 1)]);
    let mut rows = Vec::new();
    for (t, row) in r.teaching.iter().enumerate() {
        for (c, cell) in row.iter().enumerate().filter(|(_, cell)| cell.fell.of > 0) {
            rows.push(json!({
                "teaching": range(&TAUGHT, t), "context": range(&CONTEXT, c),
                "fell": cell.fell.hits, "chances": cell.fell.of, "expected": cell.expected(),
            }));
        }
    }
    rows.into()
}
