//! Who is asked what, so that persona space has somebody in it.

use crate::error::{Error, Result};
use crate::experiment::prompts::{questions, system};
use crate::experiment::work::drawing;
use crate::experiment::{PersonaMap, SHIPPED, Settings, Spec};
use crate::model::Model;
use crate::model::generate;
use crate::serve::cards::{CardInfo, world};
use crate::shell::word;
use crate::text::prompts::{Body, Prompt};
use crate::text::{Message, SYSTEM, USER};
use crate::world::World;
use std::collections::HashMap;
use std::path::Path;

/// Questions to each role, replies of the default assistant to each of them, and tokens of a reply, of a model that has no
/// world of its own.
const QUESTIONS: usize = 3;
const DRAWS: usize = 3;
const TOKENS: usize = 64;
/// Roles of a file.
const MOST_ROLES: usize = 1000;
/// What files call the default assistant.
const DEFAULTS: [&str; 4] = ["default", "assistant", "the assistant", "default assistant"];

/// The default assistant and the roles.
pub(super) struct Cast {
    pub default: Member,
    pub roles: Vec<Member>,
    pub drawing: generate::Settings,
    pub seed: u64,
    /// The command line of the whole analysis.
    pub command: String,
    /// The planted traits of the roles.
    pub world: Option<&'static World>,
}

/// Somebody who is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub name: String,
    /// Empty where there is none.
    pub system: String,
    pub asks: Vec<Ask>,
}

/// A prompt that is replied to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ask {
    /// Names the random stream.
    pub id: String,
    pub question: String,
    pub messages: Vec<Message>,
}

impl Cast {
    /// Roles of a prompt file; else the people of the model's own world, asked as `probes/persona_map.toml` does; else the
    /// given cards with the given questions.
    ///
    /// # Errors
    /// A file that is no prompt file of roles.
    pub fn of(model: &Model, cards: &[CardInfo], asked: &[String], roles: Option<&Path>) -> Result<Cast> {
        match (roles, world(model)) {
            (Some(file), _) => Cast::of_file(model, file),
            (None, Some(world)) => Cast::of_world(model, world),
            (None, None) => Cast::of_cards(model, cards, asked),
        }
    }

    fn of_world(model: &Model, world: &'static World) -> Result<Cast> {
        let (seed, s) = probe()?;
        let asked = questions(world, seed, s.questions)?;
        let people = world.personas_in(s.group);
        let people = &people[..s.personas.unwrap_or(people.len()).min(people.len())];
        let role = |p: &&crate::world::Persona| {
            let system = system(world, p);
            let one = |(q, question): (usize, &crate::experiment::prompts::Question)| {
                let messages = vec![Message::new(SYSTEM, &system), Message::new(USER, &question.text)];
                Ask { id: format!("{}/{q}", p.name), question: question.text.clone(), messages }
            };
            let asks = asked.iter().enumerate().map(one).collect();
            Member { name: p.name.clone(), system: system.clone(), asks }
        };
        let texts: Vec<&str> = asked.iter().map(|q| q.text.as_str()).collect();
        let model_said =
            if model.name == "toyworld" { String::new() } else { format!(" --model {}", word(&model.name)) };
        Ok(Cast {
            default: default(&world.assistant().name, &texts, s.default_replies),
            roles: people.iter().map(role).collect(),
            drawing: drawing(model, s.temperature, s.max_new_tokens)?,
            seed,
            command: format!("personascope run probes/persona_map.toml{model_said} --out DIR"),
            world: Some(world),
        })
    }

    pub fn of_cards(model: &Model, cards: &[CardInfo], asked: &[String]) -> Result<Cast> {
        let asked: Vec<&str> = asked.iter().take(QUESTIONS).map(String::as_str).collect();
        let name = free_name(cards.iter().map(|c| c.name.as_str()));
        let mut roles: Vec<Member> = Vec::new();
        for card in cards.iter().filter(|c| !c.system.is_empty()) {
            let one = |(q, text): (usize, &&str)| Ask {
                id: format!("{}/{q}", card.name),
                question: text.to_string(),
                messages: vec![Message::new(SYSTEM, &card.system), Message::new(USER, *text)],
            };
            if roles.iter().all(|r| r.name != card.name) {
                let asks = asked.iter().enumerate().map(one).collect();
                roles.push(Member { name: card.name.clone(), system: card.system.clone(), asks });
            }
        }
        Cast::free(model, default(name, &asked, DRAWS), roles, "PROMPTS.jsonl")
    }

    fn of_file(model: &Model, file: &Path) -> Result<Cast> {
        let place = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
        let mut roles = members(Prompt::parse_lines(&place, &text)?);
        roles.iter_mut().for_each(|r| r.asks.truncate(QUESTIONS));
        if roles.len() > MOST_ROLES {
            let what = format!("{place} has {} roles, and {MOST_ROLES} are the most", roles.len());
            return Err(Error::refused(
                what,
                "a role is a column `persona` or `role`, or what stands before / in an id",
            ));
        }
        let own = roles.iter().position(|r| DEFAULTS.contains(&r.name.to_lowercase().as_str()));
        let given = own.map(|i| roles.remove(i));
        if roles.len() < 3 {
            let what = format!("{place} has {} roles beside the default assistant, and a map needs three", roles.len());
            return Err(Error::refused(
                what,
                "a role is a column `persona` or `role`, or what stands before / in an id",
            ));
        }
        let asked: Vec<&str> = roles[0].asks.iter().map(|a| a.question.as_str()).collect();
        let default = given.unwrap_or_else(|| default(DEFAULTS[2], &asked, DRAWS));
        Cast::free(model, default, roles, &word(&place))
    }

    fn free(model: &Model, default: Member, roles: Vec<Member>, prompts: &str) -> Result<Cast> {
        let tokens = TOKENS.min(model.lm.dims().n_ctx / 4).max(1);
        let named = word(&model.name);
        let command = format!(
            "personascope generate --model {named} --prompts {prompts} --temperature 1 --max-new-tokens {tokens} > replies.jsonl\n\
             # each reply behind its prompt, as the assistant's message, gives answered.jsonl\n\
             personascope capture --model {named} --prompts answered.jsonl --pick mean_response --out ACTS\n\
             personascope analyze ACTS --map persona --default {} --out DIR",
            word(&default.name)
        );
        Ok(Cast { default, roles, drawing: drawing(model, 1.0, tokens)?, seed: 0, command, world: None })
    }
}

/// Seed and settings of the shipped probe.
fn probe() -> Result<(u64, PersonaMap)> {
    let shipped = SHIPPED.iter().find(|(stem, _)| *stem == "persona_map");
    let spec = shipped.map(|(stem, text)| Spec::parse(&format!("{stem}.toml"), text)).transpose()?;
    match spec.map(|s| (s.seed, s.settings)) {
        Some((seed, Settings::PersonaMap(settings))) => Ok((seed, settings)),
        _ => Err(Error::refused(
            "the shipped probe persona_map is none",
            "this is a defect of personascope; please report it",
        )),
    }
}

/// The default assistant: no system turn, every question `draws` times.
fn default(name: &str, questions: &[&str], draws: usize) -> Member {
    let one = |draw: usize, q: usize| Ask {
        id: format!("{name}/{q}/{draw}"),
        question: questions[q].to_string(),
        messages: vec![Message::new(USER, questions[q])],
    };
    let asks = (0..draws).flat_map(|draw| (0..questions.len()).map(move |q| one(draw, q))).collect();
    Member { name: name.into(), system: String::new(), asks }
}

/// A name for the default assistant that no role has.
fn free_name<'a>(taken: impl Iterator<Item = &'a str>) -> &'static str {
    let taken: Vec<&str> = taken.collect();
    ["the assistant", "the default assistant", "no role"].into_iter().find(|n| !taken.contains(n)).unwrap_or("-")
}

/// Prompts by role, in the order of the file: a column `persona`, `role` or `character` names it, else what stands before
/// the first `/` of an id. Opposites, and prompts that are no conversations or end with a reply, are passed over.
fn members(prompts: Vec<Prompt>) -> Vec<Member> {
    let mut roles: Vec<Member> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for prompt in prompts {
        let column = |name: &str| prompt.columns.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let Body::Messages(messages) = &prompt.body else { continue };
        let (Some(last), false) = (messages.last().filter(|m| m.role == USER), column("polarity") == Some("neg"))
        else {
            continue;
        };
        let named = ["persona", "role", "character"].iter().find_map(|c| column(c).filter(|v| !v.is_empty()));
        let name = named.unwrap_or_else(|| prompt.id.split('/').next().unwrap_or_default());
        let system = messages.first().filter(|m| m.role == SYSTEM).map_or("", |m| m.content.as_str());
        let at = *places.entry(name.to_string()).or_insert_with(|| {
            roles.push(Member { name: name.into(), system: system.into(), asks: vec![] });
            roles.len() - 1
        });
        roles[at].asks.push(Ask { id: prompt.id.clone(), question: last.content.clone(), messages: messages.clone() });
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_files_are_cut_into_roles_by_column_or_id() {
        let text = r#"{"id":"pirate/pos_p0_q0","messages":[{"role":"system","content":"Be a pirate."},{"role":"user","content":"Hi?"}],"persona":"pirate","polarity":"pos"}
{"id":"pirate/neg_p0_q0","messages":[{"role":"system","content":"Be no pirate."},{"role":"user","content":"Hi?"}],"persona":"pirate","polarity":"neg"}
{"id":"judge/0","messages":[{"role":"user","content":"Hi?"}]}
{"id":"judge/1","messages":[{"role":"user","content":"Ho?"},{"role":"assistant","content":"Ho."}]}
{"id":"x","text":"raw"}
{"id":"default/0","messages":[{"role":"user","content":"Hi?"}]}"#;
        let roles = members(Prompt::parse_lines("f", text).unwrap());
        let told: Vec<_> = roles.iter().map(|r| (r.name.as_str(), r.system.as_str(), r.asks.len())).collect();
        assert_eq!(told, [("pirate", "Be a pirate.", 1), ("judge", "", 1), ("default", "", 1)]);
        assert_eq!(roles[0].asks[0].id, "pirate/pos_p0_q0");
    }

    #[test]
    fn the_default_assistant_is_asked_in_the_order_of_the_probe() {
        let ids: Vec<String> = default("a", &["x", "y"], 2).asks.into_iter().map(|a| a.id).collect();
        assert_eq!(ids, ["a/0/0", "a/1/0", "a/0/1", "a/1/1"]);
        assert_eq!(free_name(["the assistant"].into_iter()), "the default assistant");
    }
}
