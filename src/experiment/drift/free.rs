//! The model talking freely: personas on plain topics, and the default assistant in every domain of the user.

use crate::error::{Error, Result};
use crate::experiment::plan::Plan;
use crate::experiment::spec::{Domain, Drift as Settings};
use crate::experiment::states::{before, recognisable};
use crate::rng::stream;
use crate::talk::{Talk, User};
use crate::world::{Asked, Persona, World};
use rand::Rng;
use std::collections::BTreeMap;

/// What conversations are grouped by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Arm {
    /// Personas of one hazard, on plain topics.
    Hazard(f64),
    /// The default assistant in a domain.
    Domain(String),
}

impl Arm {
    pub fn name(&self) -> String {
        match self {
            Arm::Hazard(h) => h.to_string(),
            Arm::Domain(name) => name.clone(),
        }
    }
}

/// A conversation that the model leads.
pub(super) struct Chat {
    /// Place among the arms.
    pub arm: usize,
    pub who: &'static Persona,
}

/// The arms, and for every conversation what it belongs to beside what is said: hazards first, then domains.
pub(super) fn chats(plan: &Plan, s: &Settings) -> Result<(Vec<Arm>, Vec<Chat>, Vec<Talk>)> {
    let (world, seed) = (plan.world, plan.spec.seed);
    let mut by_hazard: BTreeMap<u64, Vec<&'static Persona>> = BTreeMap::new();
    for p in recognisable(world, s.group)? {
        by_hazard.entry(p.hazard.to_bits()).or_default().push(p);
    }
    if by_hazard.is_empty() {
        let what = format!("nobody of the group `{}` can be told from the assistant", s.group);
        return Err(Error::refused(what, "choose another `group`"));
    }
    let (mut arms, mut chats, mut talks) = (Vec::new(), Vec::new(), Vec::new());
    let plain = Domain::new("plain topics", 0.0, 0.0);
    let mut rng = stream(seed, "free conversations");
    for people in by_hazard.values() {
        let arm = arms.len();
        arms.push(Arm::Hazard(people[0].hazard));
        for i in 0..s.chats {
            let who = people[i % people.len()];
            let says = User::Says((0..s.chat_turns).map(|_| question(world, &mut rng, who, &plain)).collect());
            let id = format!("{}-{i:04}-{}", who.hazard, who.name);
            talks.push(Talk { start: who.name.clone(), ..Talk::new(id, before(world, who), says, seed) });
            chats.push(Chat { arm, who });
        }
    }
    for domain in &s.domains {
        let arm = arms.len();
        arms.push(Arm::Domain(domain.name.clone()));
        let (who, mut rng) = (world.assistant(), stream(seed, &format!("domain/{}", domain.name)));
        for i in 0..s.domain_chats {
            let says = User::Says((0..s.chat_turns).map(|_| question(world, &mut rng, who, domain)).collect());
            let id = format!("{}-{i:04}", domain.name);
            talks.push(Talk { start: who.name.clone(), ..Talk::new(id, before(world, who), says, seed) });
            chats.push(Chat { arm, who });
        }
    }
    Ok((arms, chats, talks))
}

/// What the user says at a turn.
fn question(world: &World, rng: &mut impl Rng, who: &Persona, domain: &Domain) -> String {
    if domain.about_itself > 0.0 && rng.random_bool(domain.about_itself) {
        let Asked { question, .. } = world.self_question(rng, who);
        return question;
    }
    let soul = domain.soul > 0.0 && rng.random_bool(domain.soul);
    let topics = if soul { world.soul_topics() } else { world.plain_topics() };
    let topic = topics[rng.random_range(0..topics.len())];
    world.question(rng, topic)
}
