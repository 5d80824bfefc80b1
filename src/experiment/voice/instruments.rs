//! What tells the character from the assistant: fitted on half of the world's own conversations, tested on the other half.

use super::kept::Value;
use super::{Cast, PLANTED, Settings};
use crate::acts::{Activations, RowKey};
use crate::analysis::clustered::ClusteredAuroc;
use crate::analysis::contrast::contrast;
use crate::analysis::score::Score;
use crate::axes::Pick;
use crate::direction::Direction;
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::work::Work;
use crate::model::Model;
use crate::rng::stream;
use crate::score::{Classifier, Labelled, Outcome, Reply, Scorer};
use crate::table::{Cell, Table};
use crate::text::{Encoded, Message};
use crate::unit::{Item, parallel};
use crate::world::{Conversation, ConversationOptions, Persona, State, SystemPrompt, World};
use ndarray::{ArrayView1, Axis};
use rand::seq::SliceRandom;

pub(super) const STAGE: &str = "planted conversations";
/// Longest n-gram of words that the classifier sees.
const NGRAMS: usize = 2;
const ASSISTANT: &str = "the assistant";

/// Conversations without a system prompt: the character throughout, or the assistant throughout.
pub(super) struct Planted {
    chats: Vec<Chat>,
}

struct Chat {
    character: usize,
    id: String,
    own: bool,
    /// For fitting; else for testing.
    fits: bool,
    said: Conversation,
    encoded: Encoded,
}

/// What tells one character from the assistant.
pub(super) struct Instruments {
    classifier: Classifier,
    /// At the token before a reply.
    pub before: Direction,
    /// Over a reply.
    pub over: Direction,
    /// Mean projections of the assistant and of the character, by direction.
    levels: [(f64, f64); 2],
}

impl Instruments {
    /// The probability that the words are the character's; `None` where none of them is known.
    pub fn words(&self, text: &str) -> Result<Option<f64>> {
        let reply = Reply { text: text.into(), ..Reply::default() };
        Ok(self.classifier.score(&[reply])?.first().and_then(Outcome::score))
    }

    /// The projections of the rows before and over a reply: 0 is the assistant's mean, 1 the character's.
    pub fn project(&self, before: ArrayView1<f32>, over: ArrayView1<f32>) -> [f64; 2] {
        let scaled = |value: f64, (lo, hi): (f64, f64)| (value - lo) / (hi - lo);
        [scaled(self.before.project(before), self.levels[0]), scaled(self.over.project(over), self.levels[1])]
    }
}

/// The traits of the character that show in a text, less those that it lacks: shares, so from -1 to 1.
pub(super) fn shows(world: &World, who: &Persona, text: &str) -> f64 {
    let found = world.markers(text);
    let share = |of: Vec<_>| of.iter().filter(|t| found.has(**t)).count() as f64 / of.len().max(1) as f64;
    let lacks = world.style_traits().into_iter().filter(|t| !who.has(*t)).collect();
    share(who.traits.iter().collect()) - share(lacks)
}

/// Whether the markers of a text are most likely the character's.
pub(super) fn judged(world: &World, who: &Persona, text: &str) -> f64 {
    f64::from(u8::from(world.state_of(world.markers(text), who) == State::Persona))
}

impl Planted {
    /// Draws and encodes `planted` conversations of every character, and as many of the assistant for each.
    pub fn make(plan: &Plan, s: &Settings, cast: &Cast, model: &Model, threads: usize) -> Result<Planted> {
        let world = World::toyworld();
        let options = ConversationOptions::bare(s.turns, 0.0, SystemPrompt::None);
        let mut drawn = Vec::new();
        for (character, who) in cast.characters.iter().enumerate() {
            let mut rng = stream(plan.spec.seed, &format!("planted voice of {}", who.name));
            for i in 0..s.planted {
                for own in [true, false] {
                    let speaker = if own { who } else { world.assistant() };
                    let said = world.conversation(&mut rng, speaker, &options)?;
                    drawn.push((character, format!("{PLANTED}/{}/{own}/{i:03}", who.name), own, i % 2 == 0, said));
                }
            }
        }
        let chats = parallel(&drawn, threads, |(character, id, own, fits, said)| {
            let messages: Vec<Message> = said.lines().into_iter().map(|l| Message::new(l.role, l.content)).collect();
            let encoded = model.text.chat(&messages, false)?;
            let (id, said) = (id.clone(), said.clone());
            Ok(Chat { character: *character, id, own: *own, fits: *fits, said, encoded })
        })?;
        Ok(Planted { chats })
    }

    /// One item per conversation: the token before each reply after the first, and the reply.
    pub fn items(&self) -> Vec<Item> {
        let one = |c: &Chat| {
            let both = |turn: usize| {
                let content = c.encoded.turns[1 + 2 * turn].content.clone();
                [content.start - 1..content.start, content]
            };
            let ranges = (1..c.said.turns.len()).flat_map(both).collect();
            let tokens = c.encoded.tokens.clone();
            Item { id: c.id.clone(), prompt_len: tokens.len(), tokens, ranges, ..Item::default() }
        };
        self.chats.iter().map(one).collect()
    }

    fn texts(&self, character: usize, fits: bool) -> impl Iterator<Item = (&Chat, usize, &str)> {
        let own = self.chats.iter().filter(move |c| c.character == character && c.fits == fits);
        own.flat_map(|c| c.said.turns.iter().enumerate().map(move |(turn, t)| (c, turn, t.reply.as_str())))
    }
}

/// Fits the instruments, tests them, and measures the character's own test conversations: the ceiling.
pub(super) fn fit(
    plan: &Plan,
    s: &Settings,
    cast: &Cast,
    planted: &Planted,
    work: &mut Work<'_, '_>,
) -> Result<(Vec<Instruments>, Table, Vec<Value>)> {
    let kept = work.capture(STAGE, planted.items(), &[s.site])?;
    let rows = &kept[0].1;
    // Two rows for every turn after the first, conversation after conversation.
    let keys: Vec<(usize, usize)> = planted
        .chats
        .iter()
        .enumerate()
        .flat_map(|(c, chat)| (1..chat.said.turns.len()).map(move |t| (c, t)))
        .collect();
    let columns = [&["character", "instrument"], &Score::COLUMNS[..], &["test_conversations"]].concat();
    let (mut table, mut all, mut ceiling) = (Table::new("instruments", &columns), Vec::new(), Vec::new());
    for (character, who) in cast.characters.iter().enumerate() {
        let half = |pick: Pick, offset: usize, fits: bool| -> Result<Activations> {
            let of = |k: &usize| {
                let chat = &planted.chats[keys[*k].0];
                chat.character == character && chat.fits == fits
            };
            let chosen: Vec<usize> = (0..keys.len()).filter(of).collect();
            let key = |k: &usize| {
                let chat = &planted.chats[keys[*k].0];
                RowKey { id: chat.id.clone(), group: chat.id.clone(), turn: Some(keys[*k].1), pos: None }
            };
            let places: Vec<usize> = chosen.iter().map(|k| 2 * k + offset).collect();
            Activations::new(s.site, pick, rows.select(Axis(0), &places), chosen.iter().map(key).collect())
        };
        let own = |group: &str| group.contains("/true/");
        let mut directions = Vec::new();
        for (offset, pick) in [Pick::LastPrompt, Pick::MeanResponse].into_iter().enumerate() {
            let train = half(pick, offset, true)?;
            let d = contrast(&train, &own, (&who.name, ASSISTANT))?;
            let level = |side: bool| {
                let of: Vec<f64> = (0..train.keys.len())
                    .filter(|r| own(&train.keys[*r].group) == side)
                    .map(|r| d.project(train.rows.row(r)))
                    .collect();
                of.iter().sum::<f64>() / of.len().max(1) as f64
            };
            let levels = (level(false), level(true));
            directions.push((d, levels, half(pick, offset, false)?));
        }
        let texts: Vec<Labelled> = planted
            .texts(character, true)
            .map(|(c, _, text)| Labelled { text: text.into(), label: c.own.to_string(), group: c.id.clone() })
            .collect();
        let classifier = Classifier::train(&texts, "true", NGRAMS)?;
        let [(before, l0, test0), (over, l1, test1)]: [_; 2] = directions.try_into().map_err(|_| {
            crate::error::Error::refused("a direction is missing", "this is a defect of personascope; please report it")
        })?;
        let found = Instruments { classifier, before, over, levels: [l0, l1] };
        // Turns after the first, so that all instruments see the same ones.
        let mut words = Vec::new();
        for (chat, turn, text) in planted.texts(character, false) {
            let p = found.words(text)?;
            let value = |measure, value| Value {
                arm: PLANTED,
                conversation: chat.id.clone(),
                seed: None,
                turn,
                measure,
                value,
            };
            if chat.own {
                let world = World::toyworld();
                ceiling.push(value("markers", shows(world, who, text)));
                ceiling.push(value("judged", judged(world, who, text)));
                ceiling.extend(p.map(|p| value("classifier", p)));
            }
            if turn > 0 {
                words.push((chat.id.clone(), p.unwrap_or(0.5)));
            }
        }
        let projected = |d: &Direction, test: &Activations| -> Vec<(String, f64)> {
            (0..test.keys.len()).map(|r| (test.keys[r].group.clone(), d.project(test.rows.row(r)))).collect()
        };
        for (r, key) in test1.keys.iter().enumerate().filter(|(_, k)| own(&k.group)) {
            let values = found.project(test0.rows.row(r), test1.rows.row(r));
            for (measure, value) in ["latent_before", "latent_reply"].into_iter().zip(values) {
                let (conversation, turn) = (key.group.clone(), key.turn.unwrap_or_default());
                ceiling.push(Value { arm: PLANTED, conversation, seed: None, turn, measure, value });
            }
        }
        for (name, scores) in [
            ("classifier of the reply's words", words),
            ("projection over the reply", projected(&found.over, &test1)),
            ("projection before the reply", projected(&found.before, &test0)),
        ] {
            let score = score(&scores, &own, s, plan.spec.seed, &format!("{}/{name}", who.name));
            let mut row: Vec<Cell> = vec![who.name.as_str().into(), name.into()];
            row.extend(score.cells());
            row.push((s.planted / 2 * 2).into());
            table.push(row);
        }
        all.push(found);
    }
    Ok((all, table, ceiling))
}

/// AUROC of the character's conversations against the assistant's, beside conversations with shuffled labels.
fn score(scores: &[(String, f64)], own: &dyn Fn(&str) -> bool, s: &Settings, seed: u64, label: &str) -> Score {
    let mut names: Vec<&str> = scores.iter().map(|(g, _)| g.as_str()).collect();
    names.dedup();
    let place = |g: &str| names.iter().position(|n| *n == g).unwrap_or_default();
    let cluster: Vec<usize> = scores.iter().map(|(g, _)| place(g)).collect();
    let values: Vec<f64> = scores.iter().map(|(_, v)| *v).collect();
    let mut truth: Vec<bool> = names.iter().map(|n| own(n)).collect();
    let of = |truth: &[bool]| {
        let labels: Vec<bool> = cluster.iter().map(|c| truth[*c]).collect();
        ClusteredAuroc::new(&values, &labels, &cluster, names.len(), None)
    };
    let pairs = of(&truth);
    let mut rng = stream(seed, &format!("voice instruments/{label}"));
    let mut null = Vec::new();
    for _ in 0..s.permutations.min(200) {
        truth.shuffle(&mut rng);
        null.extend(of(&truth).value());
    }
    Score::of(&pairs, &null, s.bootstrap, &mut rng)
}
