//! What a corpus holds, counted while it is written: a corpus is a sample of the planted process, and a model can learn
//! no more than the sample.

use super::draft::{Draft, Fall, Hazard, Reply, Seen, Step};
use super::kinds::Kind;
use crate::world::chain::{Push, State};
use crate::world::{Rate, Teaching};

/// Lower edges of the bins of teaching tokens and of context tokens; the last bin has no upper edge.
pub(super) const TAUGHT: [usize; 7] = [0, 10, 20, 40, 80, 160, 240];
pub(super) const CONTEXT: [usize; 6] = [0, 64, 128, 192, 256, 384];
/// A hazard is summed in whole millionths, so that the sum does not depend on its order.
const MILLIONTHS: f64 = 1e6;

/// Counts over documents. Counts of parts merge to those of the whole, in any order.
#[derive(Clone, Debug, PartialEq)]
pub struct Realised {
    pub(super) kinds: [Tally; Kind::ALL.len()],
    pub(super) replies: Shown,
    pub(super) quotes: Shown,
    pub(super) default_slot: Slot,
    /// Per hazard of the configuration, then people invented in a prompt.
    pub(super) hazards: Vec<Rate>,
    pub(super) to_oracle: Rate,
    pub(super) oracle_to_assistant: Rate,
    pub(super) reminders: Rate,
    /// By what the turn did ([`PUSHES`]), the state before and the state after.
    pub(super) transitions: [[[usize; 3]; 3]; 3],
    /// Per person of the population.
    pub(super) exposure: Vec<Exposed>,
    /// Replies on a topic and about itself, per speaker under a header of its own.
    pub(super) voices: Vec<usize>,
    pub(super) tagged: Rate,
    /// By bin of teaching tokens and bin of context tokens.
    pub(super) teaching: [[Chances; CONTEXT.len()]; TAUGHT.len()],
}

/// How many documents of a kind there are, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub documents: usize,
    pub tokens: usize,
    pub turns: usize,
    /// Documents that were cut to fit.
    pub cut: usize,
}

/// How often each trait showed: where the speaker has it and where it lacks it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub on: Vec<Rate>,
    pub off: Vec<Rate>,
}

/// What was counted of the default slot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    /// Documents that the assistant took.
    pub assistant: Rate,
    /// First replies on a topic, whoever gave them, by trait.
    pub first: Vec<Rate>,
}

/// Documents in which a person appears.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Exposed {
    /// Chats with it.
    pub acts: usize,
    /// Pages about it, and those of them that quote it.
    pub described: usize,
    pub quoted: usize,
    /// Chats in which the assistant is asked about it.
    pub asked: usize,
    /// First-person texts of it.
    pub speaks: usize,
}

/// Chances of a taught persona to be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Chances {
    pub fell: Rate,
    /// Sum of the planted hazards, in millionths.
    pub planted: u64,
}

/// What a turn may do, in the order of [`Realised::transitions`].
pub(super) const PUSHES: [(Push, &str); 3] =
    [(Push::Plain, "plain"), (Push::Soul, "soul"), (Push::Reminder, "reminder")];

impl Realised {
    /// Nothing yet, in a world with so many traits, people, speakers and hazards.
    pub(super) fn new(traits: usize, people: usize, speakers: usize, hazards: usize) -> Realised {
        let none = Rate::default();
        let shown = Shown { on: vec![none; traits], off: vec![none; traits] };
        Realised {
            kinds: Default::default(),
            quotes: shown.clone(),
            replies: shown,
            default_slot: Slot { assistant: none, first: vec![none; traits] },
            hazards: vec![none; hazards + 1],
            to_oracle: none,
            oracle_to_assistant: none,
            reminders: none,
            transitions: Default::default(),
            exposure: vec![Exposed::default(); people],
            voices: vec![0; speakers],
            tagged: none,
            teaching: Default::default(),
        }
    }

    /// Tokens of all documents, special tokens included.
    pub fn tokens(&self) -> usize {
        self.kinds.iter().map(|k| k.tokens).sum()
    }

    /// Documents.
    pub fn documents(&self) -> usize {
        self.kinds.iter().map(|k| k.documents).sum()
    }

    /// Counts a document as it is written: after it was cut to fit.
    pub(super) fn count(&mut self, draft: &Draft, tokens: usize, cut: bool) {
        let tally = &mut self.kinds[draft.kind as usize];
        tally.documents += 1;
        tally.tokens += tokens;
        tally.turns += draft.turns.len();
        tally.cut += usize::from(cut);
        draft.quote.iter().for_each(|q| self.quotes.count(*q));
        if let Some(assistant) = draft.default_slot {
            self.default_slot.assistant.add(assistant);
            let first = draft.turns.iter().find(|t| !t.seen.tagged).and_then(|t| t.seen.shown);
            for (id, rate) in self.default_slot.first.iter_mut().enumerate() {
                first.iter().for_each(|r| rate.add(r.shown.iter().any(|t| t.0 == id)));
            }
        }
        let mut asked: Vec<usize> = draft.turns.iter().filter_map(|t| t.seen.asked).collect();
        asked.sort_unstable();
        asked.dedup();
        asked.into_iter().for_each(|i| self.exposure[i].asked += 1);
        if let Some(i) = draft.person {
            let exposed = &mut self.exposure[i];
            exposed.acts += usize::from(!draft.turns.is_empty());
            let monologue = matches!(draft.kind, Kind::FirstPerson | Kind::FirstPersonChat);
            exposed.speaks += usize::from(monologue);
            exposed.described += usize::from(draft.lead.is_some() && !monologue);
            exposed.quoted += usize::from(draft.quote.is_some());
        }
        for turn in &draft.turns {
            self.turn(&turn.seen, draft.kind);
        }
    }

    fn turn(&mut self, seen: &Seen, kind: Kind) {
        seen.shown.iter().for_each(|r| self.replies.count(*r));
        seen.voice.iter().for_each(|i| self.voices[*i] += 1);
        seen.step.iter().for_each(|s| self.step(*s));
        seen.fall.iter().for_each(|f| self.teaching[bin(&TAUGHT, f.taught)][bin(&CONTEXT, f.context)].count(*f));
        if kind == Kind::Tagged {
            self.tagged.add(seen.tagged);
        }
    }

    fn step(&mut self, Step { push, from, to, start, hazard }: Step) {
        let place = PUSHES.iter().position(|(p, _)| *p == push).unwrap_or_default();
        self.transitions[place][from as usize][to as usize] += 1;
        match (push, from) {
            (Push::Reminder, _) if from != start => self.reminders.add(to == start),
            (Push::Plain, State::Oracle) => self.oracle_to_assistant.add(to == State::Assistant),
            (Push::Soul, State::Persona | State::Assistant) => self.to_oracle.add(to == State::Oracle),
            _ => {}
        }
        // The hazard is met on plain topics, and on those of the soul wherever the Oracle was not called.
        if from == State::Persona && push != Push::Reminder && to != State::Oracle {
            let class = match hazard {
                Hazard::Population(i) => i,
                Hazard::InContext => self.hazards.len() - 1,
                Hazard::None => return,
            };
            self.hazards[class].add(to == State::Assistant);
        }
    }

    /// Adds the counts of other documents of the same world.
    pub fn merge(&mut self, other: &Realised) {
        for (a, b) in self.kinds.iter_mut().zip(&other.kinds) {
            a.documents += b.documents;
            a.tokens += b.tokens;
            a.turns += b.turns;
            a.cut += b.cut;
        }
        for (a, b) in [(&mut self.replies, &other.replies), (&mut self.quotes, &other.quotes)] {
            join(&mut a.on, &b.on);
            join(&mut a.off, &b.off);
        }
        self.default_slot.assistant.join(other.default_slot.assistant);
        join(&mut self.default_slot.first, &other.default_slot.first);
        join(&mut self.hazards, &other.hazards);
        self.to_oracle.join(other.to_oracle);
        self.oracle_to_assistant.join(other.oracle_to_assistant);
        self.reminders.join(other.reminders);
        let cells = self.transitions.iter_mut().flatten().flatten();
        cells.zip(other.transitions.iter().flatten().flatten()).for_each(|(a, b)| *a += b);
        for (a, b) in self.exposure.iter_mut().zip(&other.exposure) {
            a.acts += b.acts;
            a.described += b.described;
            a.quoted += b.quoted;
            a.asked += b.asked;
            a.speaks += b.speaks;
        }
        self.voices.iter_mut().zip(&other.voices).for_each(|(a, b)| *a += b);
        self.tagged.join(other.tagged);
        for (a, b) in self.teaching.iter_mut().flatten().zip(other.teaching.iter().flatten()) {
            a.fell.join(b.fell);
            a.planted += b.planted;
        }
    }
}

impl Shown {
    fn count(&mut self, reply: Reply) {
        for id in 0..self.on.len() {
            let id = crate::world::TraitId(id);
            let rates = if reply.planted.has(id) { &mut self.on } else { &mut self.off };
            rates[id.0].add(reply.shown.has(id));
        }
    }
}

impl Chances {
    fn count(&mut self, fall: Fall) {
        self.fell.add(fall.fell);
        self.planted += (fall.hazard * MILLIONTHS).round() as u64;
    }

    /// How many would fall on average by the planted hazards.
    pub(super) fn expected(self) -> f64 {
        self.planted as f64 / MILLIONTHS
    }
}

fn join(to: &mut [Rate], from: &[Rate]) {
    to.iter_mut().zip(from).for_each(|(a, b)| a.join(*b));
}

/// The last bin whose lower edge is not above `n`.
fn bin(edges: &[usize], n: usize) -> usize {
    edges.iter().rposition(|e| *e <= n).unwrap_or_default()
}

// The table of teaching covers every context that a hazard is defined on.
const _: () = assert!(CONTEXT[CONTEXT.len() - 1] < Teaching::CONTEXT as usize);
