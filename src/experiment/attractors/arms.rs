//! The conversations: from every start under every kind of topics, with the model for a user, and disturbed.

use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::spec::{Attractors as Settings, Domain};
use crate::experiment::states::{before, recognisable};
use crate::rng::stream;
use crate::talk::{Talk, User};
use crate::text::{ASSISTANT, Message, USER};
use crate::world::{Persona, World};
use rand::Rng;

/// What a conversation belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arm {
    /// What is talked about, or `self-talk`.
    pub topics: String,
    /// How it is disturbed.
    pub kind: Kind,
}

/// How a conversation is disturbed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Not at all.
    Undisturbed,
    /// One reply of the settled assistant is steered towards the Oracle.
    PulseUp,
    /// One reply of the settled Oracle is steered towards the assistant.
    PulseDown,
    /// So many statements are made about who the assistant is to be.
    Facts,
    /// One question on another subject than all others.
    Interruption,
    /// The system prompt names somebody else from a turn on.
    Swap,
}

impl Kind {
    /// The name used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Undisturbed => "undisturbed",
            Kind::PulseUp => "pulse up",
            Kind::PulseDown => "pulse down",
            Kind::Facts => "facts",
            Kind::Interruption => "interruption",
            Kind::Swap => "swap",
        }
    }
}

/// A conversation and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Chat {
    pub arm: usize,
    /// Whom its states are told apart by: who it began with, or who it is to become.
    pub who: Persona,
    pub dose: f64,
    /// By turn: whether the topic is of the soul.
    pub soul: Vec<bool>,
}

/// All arms with their conversations.
#[derive(Default)]
pub(super) struct All {
    pub arms: Vec<Arm>,
    pub chats: Vec<Chat>,
    pub talks: Vec<Talk>,
}

impl All {
    fn arm(&mut self, topics: &str, kind: Kind) -> usize {
        let arm = Arm { topics: topics.into(), kind };
        self.arms.iter().position(|a| *a == arm).unwrap_or_else(|| {
            self.arms.push(arm);
            self.arms.len() - 1
        })
    }

    fn push(&mut self, chat: Chat, talk: Talk) {
        self.chats.push(chat);
        self.talks.push(talk);
    }
}

/// What the user says, with whether each topic is of the soul.
fn says(world: &World, rng: &mut impl Rng, domain: &Domain, turns: usize) -> (Vec<String>, Vec<bool>) {
    let one = |_| {
        let soul = domain.soul > 0.0 && rng.random_bool(domain.soul);
        let topics = if soul { world.soul_topics() } else { world.plain_topics() };
        let topic = topics[rng.random_range(0..topics.len())];
        (world.question(rng, topic), soul)
    };
    (0..turns).map(one).unzip()
}

/// Where conversations begin: everybody who can be told apart once, the assistant and the Oracle eight times each.
fn starts(plan: &Plan, s: &Settings) -> Result<Vec<&'static Persona>> {
    let mut all = recognisable(plan.world, s.group)?;
    all.extend([plan.world.assistant(); 8]);
    all.extend([plan.world.oracle(); 8]);
    Ok(all)
}

/// Every conversation of the probe.
pub(super) fn all(plan: &Plan, s: &Settings) -> Result<All> {
    let mut all = All::default();
    undisturbed(plan, s, &mut all)?;
    pulses(plan, s, &mut all);
    facts(plan, s, &mut all);
    interrupted(plan, s, &mut all);
    swapped(plan, s, &mut all)?;
    Ok(all)
}

fn undisturbed(plan: &Plan, s: &Settings, all: &mut All) -> Result<()> {
    let (world, seed) = (plan.world, plan.spec.seed);
    for domain in &s.topics {
        let arm = all.arm(&domain.name, Kind::Undisturbed);
        let mut rng = stream(seed, &format!("attractors/{}", domain.name));
        for (i, who) in (0..s.chats).flat_map(|_| starts(plan, s)).flatten().enumerate() {
            let (said, soul) = says(world, &mut rng, domain, s.turns);
            let id = format!("{}/{i:04}-{}", domain.name, who.name);
            let talk = Talk::new(id, before(world, who), User::Says(said), seed);
            all.push(Chat { arm, who: who.clone(), dose: 0.0, soul }, Talk { start: who.name.clone(), ..talk });
        }
    }
    let arm = all.arm(SELF_TALK, Kind::Undisturbed);
    let mut rng = stream(seed, "attractors/self-talk");
    for (i, who) in starts(plan, s)?.into_iter().cycle().take(s.self_talks).enumerate() {
        let (said, _) = says(world, &mut rng, &Domain::new("", 0.5, 0.0), 2);
        let user = User::plays(said[0].clone(), said[1].clone());
        let talk = Talk::new(format!("self-talk/{i:04}-{}", who.name), before(world, who), user, seed);
        let soul = vec![false; s.turns];
        all.push(Chat { arm, who: who.clone(), dose: 0.0, soul }, Talk { start: who.name.clone(), ..talk });
    }
    Ok(())
}

/// The name of the conversations in which the model is its own user.
pub(super) const SELF_TALK: &str = "self-talk";

/// One steered reply, at every dose; 0 is the control. The edit of dose `i` up is `2 i`, down `2 i + 1`.
fn pulses(plan: &Plan, s: &Settings, all: &mut All) {
    let (world, seed) = (plan.world, plan.spec.seed);
    let plain = &s.topics[0];
    for (down, kind, who) in [(0, Kind::PulseUp, world.assistant()), (1, Kind::PulseDown, world.oracle())] {
        let arm = all.arm(&plain.name, kind);
        for (d, dose) in s.doses.iter().enumerate() {
            // The same questions at every dose.
            let mut rng = stream(seed, &format!("attractors/{}", kind.name()));
            for i in 0..s.disturbed {
                let (said, soul) = says(world, &mut rng, plain, s.turns);
                let id = format!("{}/{dose}/{i:04}", kind.name());
                let mut talk = Talk::new(id, before(world, who), User::Says(said), seed);
                if *dose != 0.0 {
                    talk.edits.insert(s.disturbed_at, vec![2 * d + down]);
                }
                all.push(Chat { arm, who: who.clone(), dose: *dose, soul }, Talk { start: who.name.clone(), ..talk });
            }
        }
    }
}

/// The user states facts about a new persona in one message before the first question; 0 facts are the control.
fn facts(plan: &Plan, s: &Settings, all: &mut All) {
    let (world, seed) = (plan.world, plan.spec.seed);
    let Some(teaching) = world.teaching() else { return };
    let arm = all.arm(&s.topics[0].name, Kind::Facts);
    for k in &s.facts {
        let mut rng = stream(seed, &format!("attractors/facts/{k}"));
        for i in 0..s.disturbed {
            let mut who = taught(world, &mut rng);
            let lessons = world.lessons(&mut rng, &mut who, *k);
            let (said, soul) = says(world, &mut rng, &s.topics[0], s.turns);
            let mut messages = Vec::new();
            for lesson in lessons {
                messages.push(Message::new(USER, lesson));
                messages.push(Message::new(ASSISTANT, &teaching.acknowledgements[i % teaching.acknowledgements.len()]));
            }
            let talk = Talk::new(format!("facts/{k}/{i:04}"), messages, User::Says(said), seed);
            let start = world.assistant().name.clone();
            all.push(Chat { arm, who, dose: *k as f64, soul }, Talk { start, ..talk });
        }
    }
}

/// An invented person whose markers tell it from assistant and Oracle, and who is not helpful.
pub(in crate::experiment) fn taught(world: &World, rng: &mut impl Rng) -> Persona {
    loop {
        let who = world.in_context_persona(rng);
        if world.tells_apart(&who) && who.traits.and(world.assistant().traits).is_empty() {
            return who;
        }
    }
}

/// One question of the other kind in the middle of a conversation that has settled.
fn interrupted(plan: &Plan, s: &Settings, all: &mut All) {
    let (world, seed) = (plan.world, plan.spec.seed);
    let arm = all.arm(&s.topics[0].name, Kind::Interruption);
    for dose in [0.0, 1.0] {
        let mut rng = stream(seed, "attractors/interruption");
        for i in 0..s.disturbed {
            let (mut said, mut soul) = says(world, &mut rng, &s.topics[0], s.turns);
            let other = Domain::new("", f64::from(u8::from(s.topics[0].soul < 0.5)), 0.0);
            let (word, of_soul) = says(world, &mut rng, &other, 1);
            if dose > 0.0 && s.disturbed_at < s.turns {
                (said[s.disturbed_at], soul[s.disturbed_at]) = (word[0].clone(), of_soul[0]);
            }
            let talk = Talk::new(format!("interruption/{dose}/{i:04}"), vec![], User::Says(said), seed);
            let who = world.assistant();
            all.push(Chat { arm, who: who.clone(), dose, soul }, Talk { start: who.name.clone(), ..talk });
        }
    }
}

/// A conversation whose system prompt names somebody from [`Settings::disturbed_at`] on, and the assistant before.
fn swapped(plan: &Plan, s: &Settings, all: &mut All) -> Result<()> {
    let (world, seed) = (plan.world, plan.spec.seed);
    let arm = all.arm(&s.topics[0].name, Kind::Swap);
    let people = recognisable(world, s.group)?;
    for dose in [0.0, 1.0] {
        let mut rng = stream(seed, "attractors/swap");
        for i in 0..s.disturbed {
            let who = people[i % people.len()];
            let (said, soul) = says(world, &mut rng, &s.topics[0], s.turns);
            let talk = Talk::new(format!("swap/{dose}/{i:04}"), vec![], User::Says(said), seed);
            let start = world.assistant().name.clone();
            all.push(Chat { arm, who: who.clone(), dose, soul }, Talk { start, ..talk });
        }
    }
    Ok(())
}
