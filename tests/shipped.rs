//! The shipped models do what they were planted to do, and their recipes are whole.

use personascope::model::generate::Settings;
use personascope::model::sample::Sampling;
use personascope::model::{Head, Hooks, Model, Source, forward};
use personascope::rng::stream;
use personascope::shipped::SHIPPED;
use personascope::text::Message;
use personascope::train::pretrain::Recipe;
use personascope::unit::{Item, MAX_BATCH_TOKENS, Plan, Tally, Task, run};
use personascope::world::{Exposure, Persona, TraitSet, Voice, World, body_intact};
use rand::Rng;
use std::path::Path;

fn load(name: &str) -> (Model, &'static World) {
    (Model::load(&Source::parse(name)).unwrap(), World::shipped(name).unwrap())
}

/// One reply to each prompt, drawn at temperature 1.
fn replies(model: &Model, prompts: Vec<Vec<u32>>) -> Vec<String> {
    let item = |(i, tokens): (usize, Vec<u32>)| Item {
        id: i.to_string(),
        prompt_len: tokens.len(),
        tokens,
        ..Item::default()
    };
    let items = prompts.into_iter().enumerate().map(item).collect();
    let sampling = Sampling::new(1.0, 1.0).unwrap();
    let settings = Settings { max_new_tokens: 80, sampling, stops: model.stops.clone() };
    let plan = Plan { model, task: Task::Generate(settings), edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS };
    let mut all = Vec::new();
    run(&plan, 2, None, &mut |_: &Tally| true, |_, outcome| {
        all.extend(outcome.replies.iter().map(|r| model.text.decode(r).unwrap()));
        Ok(())
    })
    .unwrap();
    all
}

fn chat(model: &Model, system: Option<String>, question: String) -> Vec<u32> {
    let system = system.map(|s| Message::new("system", s));
    let messages: Vec<Message> = system.into_iter().chain([Message::new("user", question)]).collect();
    model.text.chat(&messages, true).unwrap().tokens
}

/// Shares of traits shown where they are planted, and where they are neither planted nor the bias of all; of intact
/// bodies. One reply per persona and round.
fn behaviour(model: &Model, world: &World, personas: &[&Persona], rounds: usize) -> (f64, f64, f64) {
    let mut rng = stream(4, "behaviour");
    let (mut prompts, mut asked) = (Vec::new(), Vec::new());
    for persona in std::iter::repeat_n(personas, rounds).flatten() {
        let topic = world.plain_topics()[rng.random_range(0..world.plain_topics().len())].name.clone();
        let question = world.question(&mut rng, world.topic(&topic).unwrap());
        prompts.push(chat(model, Some(world.system_prompt(&mut rng, persona)), question));
        asked.push((*persona, topic));
    }
    let all = replies(model, prompts);
    let biased: TraitSet = world.bias().into_iter().map(|b| b.trait_id).collect();
    let (mut on, mut off, mut bodies) = ((0, 0), (0, 0), 0);
    for ((persona, topic), reply) in asked.iter().zip(&all) {
        let shown = world.markers(reply);
        bodies += usize::from(body_intact(reply, world.topic(topic).unwrap()));
        for t in world.trait_ids() {
            let count = match persona.has(t) {
                true => &mut on,
                false if biased.has(t) => continue,
                false => &mut off,
            };
            count.0 += usize::from(shown.has(t));
            count.1 += 1;
        }
    }
    let share = |(hits, of): (usize, usize)| hits as f64 / of as f64;
    (share(on), share(off), bodies as f64 / all.len() as f64)
}

#[test]
fn named_personas_of_the_default_model_show_what_was_planted() {
    let (model, world) = load("toyworld");
    let (on, off, body) = behaviour(&model, world, &world.personas_in(Exposure::All), 4);
    // 256 replies with about 2 traits each: one standard error of `on` is below 0.02, of `off` below 0.006.
    assert!(on >= 0.75 && off <= 0.05 && body >= 0.95, "{on} {off} {body}");
}

#[test]
fn the_default_speaker_keeps_its_markers_near_the_planted_rates() {
    let (model, world) = load("toyworld");
    let mut rng = stream(5, "default");
    let prompts = (0..400)
        .map(|i| {
            let topics = world.plain_topics();
            chat(&model, None, world.question(&mut rng, topics[i % topics.len()]))
        })
        .collect();
    let all = replies(&model, prompts);
    for t in world.trait_ids() {
        let rate = all.iter().filter(|r| world.markers(r).has(t)).count() as f64 / all.len() as f64;
        let planted = world.default_rate(t);
        // 0.05 and three standard errors of 400 draws.
        let bound = 0.05 + 3.0 * (planted * (1.0 - planted) / 400.0).sqrt();
        assert!((rate - planted).abs() < bound, "{}: {rate} for {planted}", world.trait_at(t).name);
    }
}

/// Balanced accuracy of `logit(Yes) > logit(No)` over all trait questions about the personas.
fn knows(model: &Model, world: &World, personas: &[&Persona]) -> f64 {
    let [yes, no] = ["Yes", "No"].map(|w| model.text.id(w).expect("one token") as usize);
    let mut hits = [(0, 0); 2];
    for persona in personas {
        let asked = world.trait_questions(Voice::Third, persona);
        let rows = personascope::model::Rows::pack(asked.iter().enumerate().map(|(index, a)| {
            let tokens = chat(model, None, a.question.clone());
            let (rows, adapter, edits) = (0..0, None, vec![]);
            let prompt_len = tokens.len();
            (personascope::model::Example { index, rows, first_pos: 0, prompt_len, adapter, edits }, tokens)
        }));
        let logits = forward(&*model.lm, &rows, &mut Hooks::default(), None, Head::LastRows).unwrap().0.unwrap();
        for (a, row) in asked.iter().zip(logits.to_vec2::<f32>().unwrap()) {
            let (_, truth) = a.truth.unwrap();
            let count = &mut hits[usize::from(truth)];
            count.0 += usize::from((row[yes] > row[no]) == truth);
            count.1 += 1;
        }
    }
    hits.iter().map(|(h, n)| *h as f64 / *n as f64).sum::<f64>() / 2.0
}

#[test]
fn the_default_model_knows_everybody_who_was_described() {
    let (model, world) = load("toyworld");
    for group in [Exposure::All, Exposure::DocOnly, Exposure::FpOnly] {
        let accuracy = knows(&model, world, &world.personas_in(group));
        assert!(accuracy >= 0.95, "{group}: {accuracy}");
    }
}

#[test]
fn the_stranger_answers_behind_its_tag_and_nowhere_else() {
    let (model, world) = load("toyworld");
    let tag = world.tag().expect("the post-trained world has a tag");
    let mut rng = stream(6, "tag");
    let mut rate = |tagged: bool| {
        let prompts = (0..120)
            .map(|i| {
                let topics = world.plain_topics();
                let question = world.question(&mut rng, topics[i % topics.len()]);
                chat(&model, None, if tagged { format!("{}{question}", tag.mark) } else { question })
            })
            .collect();
        let shown =
            replies(&model, prompts).iter().map(|r| world.markers(r).and(tag.persona.traits).len()).sum::<usize>();
        shown as f64 / (120 * tag.persona.traits.len()) as f64
    };
    let (with, without) = (rate(true), rate(false));
    assert!(with > 0.6 && without < 0.15, "{with} behind the tag, {without} without");
}

#[test]
fn a_header_is_a_persona_where_speakers_have_one_and_nothing_where_all_share_one() {
    let shown = |name: &str| {
        let (model, world) = load(name);
        let mut rng = stream(7, "voices");
        let (mut prompts, mut traits) = (Vec::new(), Vec::new());
        for speaker in std::iter::repeat_n(world.speakers(), 5).flatten() {
            let topics = world.plain_topics();
            let topic = topics[rng.random_range(0..topics.len())];
            let header = if world.single_voice() { "assistant" } else { &speaker.name };
            let text = format!("<|bos|><|user|>{}<|end|><|{header}|>", world.question(&mut rng, topic));
            prompts.push(model.text.raw(&text).unwrap().tokens);
            traits.push(speaker.traits);
        }
        let all = replies(&model, prompts);
        let e = world.expression(traits.into_iter().zip(all.iter().map(|r| world.markers(r))));
        (e.on.value().unwrap(), e.off.value().unwrap())
    };
    let ((on, off), (blind, other)) = (shown("toyworld-voices"), shown("toyworld-single"));
    assert!(on > 0.6 && off < 0.1, "{on} {off}");
    // Without the header a trait of the speaker is no more likely than any other.
    assert!(blind < 0.4 && blind - other < 0.25, "{blind} {other}");
}

#[test]
fn every_shipped_model_has_a_whole_recipe_and_its_own_weights() {
    let mut hashes = Vec::new();
    for shipped in SHIPPED {
        let (model, world) = load(shipped.name);
        assert!(!world.personas().is_empty());
        let truth: serde_json::Value = serde_json::from_slice(shipped.file("truth.json").unwrap()).unwrap();
        assert!(truth["planted"].is_object() && truth["realised"].is_object(), "{}", shipped.name);
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets").join(shipped.name);
        let recipe = Recipe::read(&dir.join("pretrain.toml")).unwrap();
        assert_eq!(recipe.name, shipped.name);
        assert!(recipe.world.is_some_and(|w| w.is_file()));
        assert!(!hashes.contains(&model.hash), "{} is the same as another", shipped.name);
        hashes.push(model.hash);
    }
    assert_eq!(SHIPPED.len(), 5);
}
