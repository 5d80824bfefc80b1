//! A character's voice over a conversation: by its card, by a fine-tune on its lines, by both.
//!
//! Every arm is led through the same questions. What is measured by turn: the planted traits that show, a classifier of
//! the words, the projections on the character's own direction, what the model would give for the character's own
//! held-out lines, and how often it says its name before it speaks. The base model is the floor, a fine-tune on the
//! assistant's chats the null, the world's own replies of the character the ceiling.

mod draw;
mod instruments;
mod kept;
mod lines;
mod summary;
mod talk;
#[cfg(test)]
mod tests;
mod tunes;

use super::findings::Parts;
use super::plan::{Plan, QUESTION, Stage, need};
use super::spec::Voice as Settings;
use super::work::{Work, drawing};
use crate::error::Result;
use crate::model::Model;
use crate::talk::Talk;
use crate::unit::Item;
use crate::world::{ConversationOptions, Persona, SystemPrompt, World};

/// What stands between the question and the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    /// The model as it is.
    Base,
    /// A fine-tune on the assistant's own chats.
    Control,
    /// The model under the character's card.
    Card,
    /// A fine-tune on the character's lines.
    Tune,
    /// The fine-tune under the card.
    Both,
}

impl Arm {
    const ALL: [Arm; 5] = [Arm::Base, Arm::Control, Arm::Card, Arm::Tune, Arm::Both];

    fn name(self) -> &'static str {
        match self {
            Arm::Base => "base",
            Arm::Control => "control",
            Arm::Card => "card",
            Arm::Tune => "fine_tune",
            Arm::Both => "fine_tune_card",
        }
    }

    fn has_card(self) -> bool {
        matches!(self, Arm::Card | Arm::Both)
    }

    /// Whether it was trained to begin with the name.
    fn is_script(self) -> bool {
        matches!(self, Arm::Tune | Arm::Both)
    }
}

/// The name of the world's own replies in tables.
const PLANTED: &str = "planted";

/// One model as it is measured on one character.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Subject {
    arm: Arm,
    /// Place in [`Cast::characters`].
    character: usize,
    seed: Option<u64>,
    /// Place of its adapter in the model.
    adapter: Option<usize>,
}

/// Who is measured.
struct Cast {
    characters: Vec<Persona>,
    subjects: Vec<Subject>,
}

impl Cast {
    /// All subjects, in the order of arms; adapters stand in the model as [`tunes::tunes`] has them.
    fn new(s: &Settings) -> Result<Cast> {
        let characters: Vec<Persona> =
            s.characters.iter().map(|c| World::toyworld().character(*c)).collect::<Result<_>>()?;
        let mut subjects = Vec::new();
        for arm in Arm::ALL {
            for character in 0..characters.len() {
                let seeds: Vec<Option<u64>> = match arm {
                    Arm::Base | Arm::Card => vec![None],
                    _ => s.seeds.iter().copied().map(Some).collect(),
                };
                for (i, seed) in seeds.into_iter().enumerate() {
                    let own = character * s.seeds.len() + i;
                    let adapter = match arm {
                        Arm::Base | Arm::Card => None,
                        Arm::Tune | Arm::Both => Some(own),
                        Arm::Control => Some(characters.len() * s.seeds.len() + own),
                    };
                    subjects.push(Subject { arm, character, seed, adapter });
                }
            }
        }
        Ok(Cast { characters, subjects })
    }
}

/// The stages and their sizes.
pub(super) fn forecast(plan: &Plan, s: &Settings, model: &Model) -> Result<Vec<Stage>> {
    check(s)?;
    let cast = Cast::new(s)?;
    let units = 2 * cast.characters.len() * s.seeds.len();
    let training =
        Stage { name: "fine-tunes that are not there yet".into(), units, rows: 0, tokens: 0, bytes: 0, at_most: true };
    let planted = instruments::Planted::make(plan, s, &cast, model, 1)?;
    let mut stages = vec![training, plan.captures(instruments::STAGE, model, planted.items(), false)];
    // Before there are adapters, prompts go to the base: as many, and as long.
    let talks: Vec<Talk> = talk::chats(plan, s, &cast).into_iter().map(|c| Talk { adapter: None, ..c.talk }).collect();
    let drawing = drawing(model, s.temperature, s.max_new_tokens)?;
    stages.extend(plan.led(model, &talks, s.turns, &drawing)?);
    let mut whole = Vec::with_capacity(talks.len());
    for talk in &talks {
        let mut tokens = talk.first(model, s.max_new_tokens)?.map(|i| i.tokens).unwrap_or_default();
        tokens.resize(tokens.len() + s.turns * (s.max_new_tokens + QUESTION), 0);
        whole.push(Item { tokens, ranges: vec![0..1; 2 * s.turns], ..Item::default() });
    }
    stages.push(plan.captures(talk::READ, model, whole, true));
    Ok(stages)
}

fn check(s: &Settings) -> Result<()> {
    fn distinct<T: PartialEq>(all: &[T]) -> bool {
        !all.is_empty() && (1..all.len()).all(|i| !all[..i].contains(&all[i]))
    }
    need(distinct(&s.characters), "characters", format!("{:?}", s.characters), "at least one, each once")?;
    super::tunes::check_seeds(&s.seeds)?;
    super::tunes::check(&tunes::training(s))?;
    need(s.max_new_tokens > 0, "max_new_tokens", s.max_new_tokens, "at least 1")?;
    need(s.conversations >= 2, "conversations", s.conversations, "at least 2")?;
    need(s.turns >= 2, "turns", s.turns, "at least 2: a change by turn needs two")?;
    need(s.planted >= 4, "planted", s.planted, "at least 4, so that both halves hold two")?;
    let world = World::toyworld();
    for c in &s.characters {
        let character = world.character(*c)?;
        need(world.tells_apart(&character), "characters", c, "those whose markers tell them from the assistant")?;
    }
    need(!world.heldout_topics().is_empty(), "topics", 0, "some that fine-tunes never meet")
}

/// The share of conversations in the character's voice by turn, if it falls back as people of a prompt do in the text that
/// the model learnt from: through the same judgement by markers, over all characters.
fn chain(s: &Settings, cast: &Cast) -> Result<Vec<f64>> {
    let world = World::toyworld();
    let options = ConversationOptions::bare(s.turns, 0.0, SystemPrompt::None);
    let mut all = vec![0.0; s.turns];
    for who in &cast.characters {
        let falls = Persona { hazard: world.hazards().in_context, ..who.clone() };
        for (sum, seen) in all.iter_mut().zip(world.observed_shares(&falls, &options)?) {
            *sum += seen.persona / cast.characters.len() as f64;
        }
    }
    Ok(all)
}

pub(super) fn run(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>) -> Result<Parts> {
    let cast = Cast::new(s)?;
    let planted = instruments::Planted::make(plan, s, &cast, work.model, work.threads())?;
    let (instruments, tested, ceiling) = instruments::fit(plan, s, &cast, &planted, work)?;
    let tunes = tunes::tunes(s, work.model, work.threads())?;
    let model = super::tunes::tuned(plan, tunes.iter().map(|of| &of.tune), work)?;
    let training = tunes::table(&cast, &tunes, &model);
    let mut values = ceiling;
    work.on(&model, |work| -> Result<()> {
        let chats = talk::lead(plan, s, &cast, work)?;
        values.extend(talk::measure(&cast, &instruments, &chats, work)?);
        values.extend(lines::measure(plan, s, &cast, &chats, work)?);
        Ok(())
    })?;
    let turns = kept::by_turn(s, plan.spec.seed, &values, &chain(s, &cast)?);
    let over = kept::over_base(s, plan.spec.seed, &values);
    let held = kept::held(s, plan.spec.seed, &values);
    let tables = vec![turns, over, held, tested, training];
    let page = draw::page(&plan.spec.stem, s, &cast, &tables);
    Ok(Parts {
        vectors: instruments.into_iter().flat_map(|i| [i.before, i.over]).collect(),
        summary: summary::summary(s, &cast, &tables),
        pages: vec![(page, vec!["turns", "over_base", "held", "instruments"])],
        tables,
        ..Parts::default()
    })
}
