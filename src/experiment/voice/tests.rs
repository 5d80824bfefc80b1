//! The whole probe at tiny settings.

use super::*;
use crate::experiment::spec::Spec;
use crate::experiment::{APART, Context, Findings, run};
use crate::model::Source;
use crate::store::MemoryShelf;
use crate::unit::Tally;
use std::path::Path;
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&Source::toyworld()).unwrap());

const TINY: &str = "characters = [1]\nseeds = [3]\nexamples = 8\nrank = 2\nepochs = 1\nbatch_size = 4\nconversations = 3\n\
                    turns = 2\nplanted = 4\nbootstrap = 20\npermutations = 20\nmax_new_tokens = 12\n";

fn plan(settings: &str) -> Result<Plan> {
    let text = format!("kind = \"voice\"\nquestion = \"?\"\n[settings]\n{settings}");
    Plan::resolve(Spec::parse("voice.toml", &text).unwrap(), &MODEL)
}

fn run_in(dir: &Path, shelf: &MemoryShelf, threads: usize, most: usize) -> Result<Findings> {
    let mut steps = 0;
    let mut progress = |_: &str, _: &Tally| {
        steps += 1;
        steps <= most
    };
    run(&plan(TINY)?, &MODEL, &mut Context { shelf, tunes: Some(dir), threads, progress: &mut progress })
}

fn bytes(f: &Findings) -> Vec<String> {
    let tables = f.tables.iter().map(|t| format!("{}\n{}", t.name, t.to_csv()));
    let figures = f.figures.iter().map(|d| format!("{}\n{}", d.figure.svg, d.caption));
    tables.chain(figures).chain(f.summary.clone()).collect()
}

#[test]
fn a_run_comes_out_the_same_when_interrupted_and_repeated_and_its_arms_differ() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (MemoryShelf::default(), MemoryShelf::default());
    let first = run_in(one.path(), &a, 1, usize::MAX).unwrap();
    let e = run_in(two.path(), &b, 2, 4).unwrap_err();
    assert!(e.to_string().contains("interrupted"), "{e}");
    let second = run_in(two.path(), &b, 2, usize::MAX).unwrap();
    assert_eq!(bytes(&first), bytes(&second));
    let again = run_in(one.path(), &a, 2, usize::MAX).unwrap();
    assert_eq!(bytes(&first), bytes(&again));
    assert_eq!((again.tally.rows_computed, again.tally.rows_resumed), (0, first.tally.rows_computed));
    let told: usize = plan(TINY).unwrap().stages.iter().map(|s| s.rows).sum();
    // Told beforehand are upper bounds: an empty reply has no rows.
    assert!(first.tally.rows_computed <= told && first.tally.rows_computed * 10 > told * 9, "{told}");

    let turns = &first.tables[0];
    let values = |arm: &str| -> Vec<f64> {
        let own = crate::experiment::cells::rows(turns, &[("arm", arm), ("measure", "line_nll")]);
        own.into_iter().filter_map(|r| turns.num(r, "value")).collect()
    };
    assert_eq!(values("base").len(), 2);
    for arm in Arm::ALL.map(Arm::name) {
        assert!(arm == "base" || values(arm) != values("base"), "{arm} took no part");
    }
    assert!(values(PLANTED).is_empty(), "the world has no likelihoods");
    assert_eq!(first.vectors.len(), 2);
    assert!(first.figures[0].figure.dropped_labels.is_empty() && first.figures[0].figure.missing_glyphs.is_empty());
}

#[test]
fn what_the_shipped_probe_states_is_the_default() {
    let (stem, text) = APART.iter().find(|(stem, _)| *stem == "voice").unwrap();
    let spec = Spec::parse(&format!("probes/{stem}.toml"), text).unwrap();
    let bare = Spec::parse("voice.toml", "kind = \"voice\"\nquestion = \"?\"").unwrap();
    assert_eq!(Spec { question: "?".into(), dir: bare.dir.clone(), ..spec.clone() }, bare);
    let told = Plan::resolve(spec, &MODEL).unwrap().describe();
    assert!(told["total"]["rows"].as_u64().unwrap() > 0);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (settings, names) in [
        ("characters = []", "`characters` is []"),
        ("characters = [99]", "character 99"),
        ("seeds = [1, 1]", "`seeds` is [1, 1]"),
        ("turns = 1", "`turns` is 1"),
        ("planted = 3", "`planted` is 3"),
        ("conversations = 1", "`conversations` is 1"),
        ("examples = 0", "`examples` is 0"),
        ("warmup = 1.0", "`warmup` is 1"),
        ("site = \"resid_post.9\"", "resid_post.9"),
    ] {
        let e = plan(settings).unwrap_err();
        assert!(e.to_string().contains(names) && !e.hint().is_empty(), "{settings}: {e}");
    }
}

#[test]
fn arms_share_questions_and_differ_in_cards_and_adapters() {
    let plan = plan(TINY).unwrap();
    let crate::experiment::Settings::Voice(s) = &plan.spec.settings else { panic!("not voice") };
    let cast = Cast::new(s).unwrap();
    let all: Vec<_> = cast.subjects.iter().map(|s| (s.arm, s.adapter)).collect();
    assert_eq!(
        all,
        [(Arm::Base, None), (Arm::Control, Some(1)), (Arm::Card, None), (Arm::Tune, Some(0)), (Arm::Both, Some(0))]
    );
    let first = |c: &talk::Chat| c.talk.first(&MODEL, s.max_new_tokens).unwrap().unwrap();
    let items: Vec<_> = talk::chats(&plan, s, &cast).iter().map(first).collect();
    let of = |subject: usize| &items[subject * s.conversations..(subject + 1) * s.conversations];
    assert_eq!(of(0)[1].tokens, of(3)[1].tokens, "without a card the prompt is the same");
    assert_eq!(of(2)[1].tokens, of(4)[1].tokens);
    assert!(of(2)[1].tokens.ends_with(&of(0)[1].tokens[1..]), "the card stands before the same question");
}

/// After a change of the model, the world, the probe or the version: src/assets/toyworld/adapters/README.md.
#[test]
fn the_fine_tunes_of_the_shipped_probe_are_shipped() {
    // One of each kind: their data take a moment to make.
    let some = Settings { characters: vec![1], seeds: vec![1], ..Settings::default() };
    for of in tunes::tunes(&some, &MODEL, 2).unwrap() {
        assert!(crate::experiment::tunes::is_shipped(&of.tune), "{} is not shipped: train it again", of.tune.name);
    }
}
