//! The whole probe at tiny settings.

use super::*;
use crate::experiment::spec::Spec;
use crate::experiment::{Context, Findings, run};
use crate::model::Source;
use crate::store::MemoryShelf;
use crate::unit::Tally;
use std::path::Path;
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&Source::toyworld()).unwrap());

const TINY: &str = "characters = [1]\nformats = [\"chat\", \"document\"]\nseeds = [3]\nexamples = 8\nrank = 2\nepochs = 1\nbatch_size = 4\n\
                    texts = 3\nreplies = 2\nothers = 2\nbootstrap = 20\nmax_new_tokens = 12\n";

fn plan(settings: &str) -> Result<Plan> {
    let text = format!("kind = \"formats\"\nquestion = \"?\"\n[settings]\n{settings}");
    Plan::resolve(Spec::parse("formats.toml", &text).unwrap(), &MODEL)
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
fn a_run_trains_measures_and_comes_out_the_same_when_interrupted_and_repeated() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (MemoryShelf::default(), MemoryShelf::default());
    let first = run_in(one.path(), &a, 1, usize::MAX).unwrap();
    // Interrupted inside the only epoch of the first fine-tune, then taken up with other threads.
    let e = run_in(two.path(), &b, 2, 0).unwrap_err();
    assert!(e.to_string().contains("interrupted while fine-tuning character1-chat-s3"), "{e}");
    let second = run_in(two.path(), &b, 2, usize::MAX).unwrap();
    assert_eq!(bytes(&first), bytes(&second));
    let again = run_in(one.path(), &a, 2, usize::MAX).unwrap();
    assert_eq!(bytes(&first), bytes(&again));
    assert_eq!((again.tally.rows_computed, again.tally.rows_resumed), (0, first.tally.rows_computed));
    let told: usize = plan(TINY).unwrap().stages.iter().map(|s| s.rows).sum();
    assert_eq!(told, first.tally.rows_computed);

    let folders = std::fs::read_dir(one.path()).unwrap().count();
    assert_eq!(folders, 2, "one folder per fine-tune");
    let training = table(&first.tables, "training");
    assert_eq!(training.where_is("model", "chat").len(), 1);
    assert!(training.num(0, "counted_tokens").unwrap() < training.num(0, "tokens").unwrap(), "of chats some count");
    let found = table(&first.tables, "perplexity");
    let delta = |model: &str| {
        found.num(
            crate::experiment::cells::row(found, &[("model", model), ("text", "chat"), ("measure", likely::DELTA)])
                .unwrap(),
            "value",
        )
    };
    assert_eq!(delta(BASE), Some(0.0));
    assert!(delta("chat").unwrap() != 0.0 && delta("document").unwrap() != 0.0, "adapters took part");
    assert!(first.figures[0].figure.dropped_labels.is_empty() && first.figures[0].figure.missing_glyphs.is_empty());
}

#[test]
fn a_fine_tune_that_is_not_shipped_needs_a_folder() {
    let shelf = MemoryShelf::default();
    let mut progress = |_: &str, _: &Tally| true;
    let mut ctx = Context { shelf: &shelf, tunes: None, threads: 1, progress: &mut progress };
    let e = run(&plan(TINY).unwrap(), &MODEL, &mut ctx).unwrap_err();
    assert!(e.to_string().contains("`character1-chat-s3` is not shipped") && !e.hint().is_empty(), "{e}");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (settings, names) in [
        ("characters = []", "`characters` is []"),
        ("characters = [1, 1]", "`characters` is [1, 1]"),
        ("characters = [99]", "character 99"),
        ("formats = []", "`formats` is []"),
        ("formats = [\"chat\", \"chat\"]", "`formats`"),
        ("seeds = []", "`seeds` is []"),
        ("examples = 0", "`examples` is 0"),
        ("rank = 0", "`rank` is 0"),
        ("alpha = -1.0", "`alpha` is -1"),
        ("learning_rate = 0.0", "`learning_rate` is 0"),
        ("warmup = 1.0", "`warmup` is 1"),
        ("replies = 0", "`replies` is 0"),
        ("others = 0", "`others` is 0"),
        ("others = 1000", "`others` is 1000"),
        ("temperature = -1.0", "temperature"),
    ] {
        let e = plan(settings).unwrap_err();
        assert!(e.to_string().contains(names) && !e.hint().is_empty(), "{settings}: {e}");
    }
    let text = "kind = \"formats\"\nquestion = \"?\"\n[settings]\nformats = [\"chant\"]\n";
    let e = Spec::parse("formats.toml", text).unwrap_err();
    assert!(e.to_string().contains("line 4") && e.to_string().contains("chant"), "{e}");
}

#[test]
fn chats_and_the_style_control_ask_the_same_questions() {
    let who = World::toyworld().character(0).unwrap();
    let of = |format| sets::training(&who, format, 20, 5).unwrap();
    let asked = |lines: &str| -> Vec<String> {
        let all = lines.lines().flat_map(|l| {
            let line: serde_json::Value = serde_json::from_str(l).unwrap();
            line["messages"].as_array().unwrap().clone()
        });
        all.filter(|m| m["role"] == "user").map(|m| m["content"].to_string()).collect()
    };
    let (chat, control) = (of(Format::Chat), of(Format::StyleControl));
    assert_eq!(asked(&chat), asked(&control));
    assert_ne!(chat, control);
    assert_ne!(chat, sets::training(&who, Format::Chat, 20, 6).unwrap(), "another seed has other examples");
}

#[test]
fn the_cast_has_the_base_first_and_adapters_in_order() {
    let s = Settings::default();
    let cast = Cast::new(&s, 0).unwrap();
    assert_eq!(cast.models()[0], BASE);
    assert_eq!(cast.models().len(), 1 + s.formats.len());
    // Two characters by two seeds: the adapters of the second format are 4 to 7.
    assert_eq!(cast.tree(BASE), [vec![0], vec![1]]);
    let adapters = |model| -> Vec<Vec<usize>> {
        cast.tree(model).iter().map(|t| t.iter().map(|i| cast.subjects[*i].adapter.unwrap()).collect()).collect()
    };
    assert_eq!(adapters(s.formats[1].name()), [[4, 5], [6, 7]]);
}

#[test]
fn what_the_shipped_probe_states_is_the_default() {
    let (stem, text) = crate::experiment::APART.iter().find(|(stem, _)| *stem == "formats").unwrap();
    let spec = Spec::parse(&format!("probes/{stem}.toml"), text).unwrap();
    let bare = Spec::parse("formats.toml", "kind = \"formats\"\nquestion = \"?\"").unwrap();
    assert_eq!(Spec { question: "?".into(), dir: bare.dir.clone(), ..spec.clone() }, bare);
    assert!(Plan::resolve(spec, &MODEL).unwrap().describe()["total"]["rows"].as_u64().unwrap() > 0);
}

/// After a change of the model, the world, the probe or the version: src/assets/toyworld/adapters/README.md.
#[test]
fn the_shipped_adapters_are_the_fine_tunes_of_the_shipped_probe() {
    // One of each format: their data take a moment to make.
    let some = Settings { characters: vec![1], seeds: vec![1], ..Settings::default() };
    let asked = tunes::tunes(&some, &MODEL, 2).unwrap();
    let shipped = crate::experiment::tunes::about_shipped();
    for tune in asked.iter().map(|of| &of.tune) {
        let has = |key: &str, value: &str| shipped.iter().any(|about| about[key].as_str() == Some(value));
        assert!(has("base_hash", &MODEL.hash), "the shipped adapters are of another model: train them again");
        assert!(has("identity", &tune.identity), "{} is not shipped: train it again", tune.name);
    }
    assert_eq!(shipped.len(), cells(&Settings::default()).count());
}
