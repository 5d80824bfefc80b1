//! Who the model may be asked to be, and what it may be asked: suggestions of the page.

use super::Problem;
use crate::error::{Error, Result};
use crate::model::{Model, Source};
use crate::persona::{Card, system};
use crate::rng::stream;
use crate::text::{Message, SYSTEM, USER};
use crate::world::{Exposure, World};
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A persona card as a conversation begins with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CardInfo {
    pub name: String,
    pub source: String,
    /// The system turn.
    pub system: String,
    /// What the card says to ask.
    pub questions: Vec<String>,
}

/// A longer file is no card.
const LARGEST: u64 = 1 << 20;
/// People of the toy world that are offered.
const PEOPLE: usize = 12;
/// Topics that questions are about: plain ones, and of the soul.
const PLAIN: usize = 10;
const SOUL: usize = 2;

macro_rules! shipped {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("../../probes/personas/", $name, ".toml")))),*] };
}

/// The cards inside the binary: stem and text.
pub(super) const SHIPPED: [(&str, &str); 9] = shipped!(
    "amina" "ariana" "class_representative" "daiki" "elena" "emma" "kaya" "protocol_droid" "theobald"
);

/// Questions that anybody can be asked.
const NEUTRAL: [&str; 14] = [
    "What did you notice first this morning?",
    "How would you explain to a child why it rains?",
    "Which meal would you cook for guests, and why that one?",
    "What makes a room feel like home?",
    "How do you decide when two friends disagree?",
    "What would you pack for a week by the sea?",
    "Which sound do you like best?",
    "What is a good way to learn something hard?",
    "What do you think about getting up early?",
    "How should one say no to a favour?",
    "What is worth repairing, and what is not?",
    "Which story have you told more than once?",
    "What would you change about your street?",
    "Who are you?",
];

/// The planted world of a model inside the binary; of any other there is none.
pub fn world(model: &Model) -> Option<&'static World> {
    match &model.source {
        Source::Embedded(shipped) => World::shipped(shipped.name),
        _ => None,
    }
}

/// Cards to choose from: those of the files, people of the toy world where the model knows them, and the shipped ones that
/// leave room in the model's positions.
///
/// # Errors
/// A file that is no card, or whose card is too long for the model.
pub fn all(model: &Model, files: &[PathBuf]) -> Result<Vec<CardInfo>> {
    let mut all = files.iter().map(|path| read(model, path)).collect::<Result<Vec<CardInfo>>>()?;
    if let Some(world) = world(model) {
        let person = |p: &&crate::world::Persona| CardInfo {
            name: p.name.clone(),
            source: "toy world".into(),
            system: world.named_prompts(p)[0].clone(),
            questions: vec![],
        };
        all.extend(world.personas_in(Exposure::All).iter().take(PEOPLE).map(person));
    }
    let shipped = SHIPPED.iter().filter_map(|(stem, text)| {
        let source = format!("probes/personas/{stem}.toml");
        Card::parse(&source, text).ok().map(|card| info(&card, &source))
    });
    all.extend(shipped.filter(|card| fits(model, card)));
    Ok(all)
}

/// A card that was written on the page; `place` is its name in errors.
///
/// # Errors
/// What [`Card::parse`] refuses, with the line.
pub fn parse(place: &str, toml: &str) -> Result<CardInfo, Problem> {
    Ok(info(&Card::parse(place, toml)?, "pasted"))
}

/// What to ask: of an embedded model what its world talks about, of any other questions of our own.
pub fn questions(model: &Model) -> Vec<String> {
    let Some(world) = world(model) else { return NEUTRAL.map(String::from).to_vec() };
    let mut rng = stream(0, "questions of the page");
    let (plain, soul) = (world.plain_topics(), world.soul_topics());
    let topics = plain.iter().take(PLAIN).chain(soul.iter().take(SOUL));
    let mut all: Vec<String> = topics
        .enumerate()
        .filter_map(|(i, topic)| {
            let asked = world.questions(topic);
            asked.get(i % asked.len().max(1)).cloned()
        })
        .collect();
    all.push(world.who_are_you(&mut rng, world.assistant()).question);
    all.push(world.what_are_you_like(&mut rng, world.assistant()).question);
    all
}

/// Those of [`questions`] that lead nowhere in particular: what the default assistant is measured by.
pub fn plain(model: &Model) -> Vec<String> {
    questions(model).into_iter().take(PLAIN).collect()
}

/// Speakers that have headers of their own in what the model was trained on.
pub fn speakers(model: &Model) -> Vec<String> {
    world(model).map_or(vec![], |w| w.speakers().iter().map(|p| format!("<|{}|>", p.name)).collect())
}

fn info(card: &Card, source: &str) -> CardInfo {
    CardInfo { name: card.name.clone(), source: source.into(), system: system(card), questions: card.questions.clone() }
}

fn read(model: &Model, path: &Path) -> Result<CardInfo> {
    let file = std::fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
    let (mut text, place) = (String::new(), path.display().to_string());
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::refused(format!("{place} has more than {LARGEST} bytes"), "a card is a page of text"));
    }
    let card = info(&Card::parse(&place, &text)?, &place);
    if !fits(model, &card) {
        let what = format!("the card {place} takes more than half of the model's {} positions", model.lm.dims().n_ctx);
        return Err(Error::refused(what, "shorten it, or take a model with more positions"));
    }
    Ok(card)
}

/// Whether a conversation under the card has at least as much room as the card takes.
fn fits(model: &Model, card: &CardInfo) -> bool {
    let messages = [Message::new(SYSTEM, &card.system), Message::new(USER, "Hello.")];
    let read = model.text.chat(&messages, true).or_else(|_| model.text.raw(&card.system));
    read.is_ok_and(|read| 2 * read.tokens.len() <= model.lm.dims().n_ctx)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::load(&Source::toyworld()).unwrap()
    }

    #[test]
    fn every_shipped_card_is_one_and_all_files_are_shipped() {
        for (stem, text) in SHIPPED {
            let card = Card::parse(stem, text).unwrap();
            assert!(info(&card, stem).system.contains(card.speaker()) && !card.questions.is_empty(), "{stem}");
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/personas");
        let files = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
        let mut stems: Vec<String> = files
            .filter(|p| p.extension().is_some_and(|e| e == "toml"))
            .map(|p| p.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        stems.sort();
        assert_eq!(stems, SHIPPED.map(|s| s.0));
    }

    #[test]
    fn the_toy_world_offers_its_people_and_topics_and_files_come_first() {
        let tmp = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(tmp.path().join(name), text).unwrap();
            tmp.path().join(name)
        };
        let model = model();
        let found = all(&model, &[put("vell.toml", "name = \"Vell\"\ntraits = [\"dry\"]\n")]).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].questions.len()), ("Vell", 0));
        assert!(found[0].system.contains("Vell's persona = [ dry ]"));
        let people: Vec<&CardInfo> = found.iter().filter(|c| c.source == "toy world").collect();
        assert_eq!(people.len(), PEOPLE);
        assert_eq!(people[0].system, format!("You are {}.", people[0].name));
        let long = format!("name = \"Long\"\ndescription = \"{}\"\n", "tea ".repeat(2000));
        for (file, says) in [
            (put("bad.toml", "name = \"Vell\"\ntrait = [\"dry\"]\n"), "line 2"),
            (put("long.toml", &long), "more than half"),
            (tmp.path().join("none.toml"), "none.toml"),
        ] {
            let e = all(&model, &[file]).unwrap_err();
            assert!(e.to_string().contains(says), "{e}");
        }
        let asked = questions(&model);
        assert!(asked.len() == PLAIN + SOUL + 2 && asked.iter().any(|q| q.contains("tea")), "{asked:?}");
    }

    #[test]
    fn a_pasted_card_is_refused_with_its_line() {
        let e = parse("card", "name = \"A\"\n\nscenaro = \"x\"\n").unwrap_err();
        assert!(e.status == 422 && e.what.starts_with("card, line 3") && e.what.contains("scenario"), "{e:?}");
        let card = parse("card", "name = \"<script>\"\ntraits = [\"x\"]\nquestions = [\"Who?\"]").unwrap();
        assert_eq!((card.name.as_str(), card.source.as_str(), card.questions.len()), ("<script>", "pasted", 1));
    }
}
