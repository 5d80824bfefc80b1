//! Probes end to end at small settings.

use super::*;
use crate::model::Source;
use crate::store::MemoryShelf;
use crate::unit::Tally;
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&Source::toyworld()).unwrap());

fn run_on(shelf: &MemoryShelf, threads: usize, plan: &Plan) -> Findings {
    let mut progress = |_: &str, _: &Tally| true;
    run(plan, &MODEL, &mut Context { shelf, tunes: None, threads, progress: &mut progress }).unwrap()
}

/// The same question with few personas, questions and resamples.
fn small(kind: &str) -> Plan {
    let settings = match kind {
        "trait_layers" => "personas = 16\nquestions = 2\nbootstrap = 20\npermutations = 5",
        "persona_map" => {
            "personas = 16\nquestions = 2\ndefault_replies = 2\nnull_draws = 3\nbootstrap = 20\nneighbours = 2\npermutations = 5\nhalves = 3"
        }
        "drift" => {
            "conversations = 12\nturns = 3\nbootstrap = 20\npermutations = 5\nchats = 4\nchat_turns = 2\ndomain_chats = 3\ndecoder_chats = 2\nchain_bootstrap = 3"
        }
        "retention" => "lessons = [1, 3]\nchats = 6\nturns = 4\nplanted_chats = 12",
        "attractors" => {
            "group = \"fp_only\"\nchats = 1\nturns = 4\nself_talks = 4\ndisturbed = 2\ndisturbed_at = 1\ndoses = [0.0, 4.0]\nfacts = [0, 1]\nbootstrap = 10\nchain_bootstrap = 3\ndecoder_chats = 2\ncomponents = 2"
        }
        _ => {
            "personas = 16\nquestions = 2\ndoses = [0.0, 4.0]\nprompts = 2\nreplies = 4\nsite = \"resid_post.2\"\nbootstrap = 20\ntraits = [\"anxious\", \"odds\"]"
        }
    };
    let text = format!("kind = \"{kind}\"\nquestion = \"Does it run?\"\n[settings]\n{settings}\n");
    Plan::resolve(Spec::parse(&format!("{kind}.toml"), &text).unwrap(), &MODEL).unwrap()
}

/// Everything that has to be the same in every run.
fn bytes(f: &Findings) -> (Vec<String>, Vec<String>, Vec<String>) {
    let tables = f.tables.iter().map(|t| format!("{}\n{}", t.name, t.to_csv())).collect();
    let figures = f.figures.iter().map(|d| format!("{}\n{}\n{}", d.name, d.figure.svg, d.caption)).collect();
    (tables, figures, f.summary.clone())
}

#[test]
fn every_kind_gives_the_same_bytes_with_one_or_two_threads_and_when_resumed() {
    for (kind, _) in SHIPPED {
        let plan = small(kind);
        let (one, two) = (MemoryShelf::default(), MemoryShelf::default());
        let first = run_on(&one, 1, &plan);
        assert!(!first.tables.is_empty() && !first.figures.is_empty() && !first.summary.is_empty(), "{kind}");
        assert!(first.tally.rows_computed > 0 && first.tally.rows_resumed == 0, "{kind}: {:?}", first.tally);
        assert_eq!(bytes(&first), bytes(&run_on(&two, 2, &plan)), "{kind}");
        let again = run_on(&one, 2, &plan);
        assert_eq!(bytes(&first), bytes(&again), "{kind}");
        assert_eq!((again.tally.rows_computed, again.tally.rows_resumed), (0, first.tally.rows_computed), "{kind}");
    }
}

#[test]
fn probes_of_led_conversations_give_the_same_bytes_with_one_or_two_threads_and_when_resumed() {
    for kind in ["retention", "attractors"] {
        let plan = small(kind);
        let shelf = MemoryShelf::default();
        let first = run_on(&shelf, 1, &plan);
        assert!(!first.figures.is_empty() && !first.summary.is_empty(), "{kind}");
        let told = plan.stages.iter().map(|s| s.rows).sum::<usize>();
        assert!(told >= first.tally.rows_computed, "{kind}: {told} for {}", first.tally.rows_computed);
        assert_eq!(bytes(&first), bytes(&run_on(&MemoryShelf::default(), 2, &plan)), "{kind}");
        let again = run_on(&shelf, 2, &plan);
        assert_eq!((bytes(&again), again.tally.rows_computed), (bytes(&first), 0), "{kind}");
    }
}

#[test]
fn a_probe_of_any_world_runs_on_the_world_of_its_model_and_others_are_refused() {
    let flat = Model::load(&Source::parse("toyworld-flat")).unwrap();
    let spec = |kind: &str, settings: &str| {
        let text = format!("kind = \"{kind}\"\nquestion = \"?\"\nmodel = \"toyworld-flat\"\n[settings]\n{settings}");
        Spec::parse(&format!("{kind}.toml"), &text).unwrap()
    };
    assert!(Plan::resolve(spec("retention", "chats = 2\nlessons = [1]\nturns = 3"), &flat).is_ok());
    let e = Plan::resolve(spec("steering", ""), &flat).unwrap_err();
    assert!(e.hint().contains("toyworld") && e.to_string().contains("toyworld-flat"), "{e}");
    let single = Model::load(&Source::parse("toyworld-single")).unwrap();
    let e = Plan::resolve(spec("retention", ""), &single).unwrap_err();
    assert!(e.to_string().contains("teaches nobody"), "{e}");
}

#[test]
fn every_shipped_probe_parses_resolves_and_states_the_defaults() {
    for (stem, text) in SHIPPED {
        let spec = Spec::parse(&format!("probes/{stem}.toml"), text).unwrap();
        assert_eq!((spec.stem.as_str(), spec.settings.kind()), (*stem, *stem));
        let bare = Spec::parse(&format!("{stem}.toml"), &format!("kind = \"{stem}\"\nquestion = \"?\"")).unwrap();
        assert_eq!(
            Spec { question: "?".into(), dir: bare.dir.clone(), ..spec.clone() },
            bare,
            "what {stem}.toml states is the default"
        );
        let told = Plan::resolve(spec, &MODEL).unwrap().describe();
        assert!(told["total"]["rows"].as_u64().unwrap() > 0 && told["stages"].as_array().unwrap().len() >= 2, "{told}");
    }
}

#[test]
fn the_rows_that_are_told_beforehand_are_those_of_the_run() {
    for (kind, _) in SHIPPED {
        let plan = small(kind);
        let tally = run_on(&MemoryShelf::default(), 2, &plan).tally;
        let told = plan.stages.iter().map(|s| s.rows).sum::<usize>();
        // Of led conversations every token is kept, and nobody knows beforehand how many there will be.
        match kind == &"drift" {
            true => assert!(told >= tally.rows_computed, "{kind}: {told} for {}", tally.rows_computed),
            // Replies that end at once would have no mean; at these settings there are none.
            false => assert_eq!(told, tally.rows_computed, "{kind}"),
        }
    }
}

#[test]
fn what_is_wrong_with_a_probe_file_is_named_with_its_line() {
    let parse = |text: &str| Spec::parse("my.toml", text).unwrap_err();
    let e = parse("kind = \"drift\"\nquestion = \"?\"\n[settings]\nturns = 3\nturn = 4\n");
    assert!(e.to_string().starts_with("my.toml, line 5: unknown key `turn`"), "{e}");
    assert!(e.hint().contains("`chat_turns`") && e.hint().contains("`least_hazard`"), "{}", e.hint());
    let e = parse("kind = \"drift\"\nquestion = \"?\"\nsead = 1\n");
    assert!(e.to_string().contains("line 3: unknown key `sead`") && e.hint().contains("`seed`"), "{e}");
    let e = parse("kind = \"dirft\"\nquestion = \"?\"\n");
    assert!(e.to_string().contains("line 1: unknown kind `dirft`") && e.hint().contains("steering"), "{e}");
    assert!(parse("kind = \"drift\"\n").to_string().contains("missing key `question`"));
    assert!(parse("kind = drift").to_string().contains("line 1"));
    let e = parse("kind = \"steering\"\nquestion = \"?\"\n[settings]\nsite = \"resid_past.2\"\n");
    assert!(e.to_string().contains("line 4") && e.to_string().contains("resid_past.2"), "{e}");
}

#[test]
fn settings_out_of_range_are_refused_before_anything_runs() {
    let resolve = |kind: &str, settings: &str| {
        let text = format!("kind = \"{kind}\"\nquestion = \"?\"\n[settings]\n{settings}\n");
        Plan::resolve(Spec::parse("x.toml", &text).unwrap(), &MODEL).unwrap_err()
    };
    for (kind, settings, names) in [
        ("trait_layers", "questions = 19", "19 questions"),
        ("trait_layers", "personas = 3", "`personas` is 3"),
        ("trait_layers", "train_fraction = 1.0", "`train_fraction` is 1"),
        ("trait_layers", "sites = \"resid_post.9\"", "resid_post.9"),
        ("trait_layers", "sites = \"logits\"", "`sites` is logits"),
        ("trait_layers", "temperature = -1.0", "temperature"),
        ("persona_map", "site = \"resid_mid.0\"", "`site` is resid_mid.0"),
        ("drift", "turns = 1", "`turns` is 1"),
        ("drift", "least_hazard = 0.9", "0.9"),
        ("steering", "traits = [\"angry\"]", "`angry`"),
        ("steering", "doses = [1.0, 2.0]", "`doses`"),
        ("steering", "replies = 9", "`replies` is 9"),
    ] {
        let e = resolve(kind, settings);
        assert!(e.to_string().contains(names) && !e.hint().is_empty(), "{settings}: {e}");
    }
}

#[test]
fn findings_are_written_the_same_each_time_and_the_page_needs_nothing_else() {
    let plan = small("steering");
    let shelf = MemoryShelf::default();
    let (first, again) = (run_on(&shelf, 2, &plan), run_on(&shelf, 1, &plan));
    let dir = tempfile::tempdir().unwrap();
    let put = |f: &Findings, to: &str| {
        let (a, b) = (dir.path().join(to).join("data"), dir.path().join(to).join("figures"));
        write(f, &a, &b, Exports::ALL, &serde_json::json!({ "command": "x" })).unwrap()
    };
    let (a, b) = (put(&first, "a"), put(&again, "b"));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        let (x, y) = (std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
        if a.ends_with("run.json") {
            let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
            let (mut x, mut y) = (read(&x), read(&y));
            assert_eq!((&x["work"]["rows_resumed"], &y["work"]["rows_computed"]), (&0.into(), &0.into()));
            assert!(
                x["settings"]["doses"].is_array() && x["command"] == "x" && x["model"]["tokenizer_hash"].is_string()
            );
            (x["work"], y["work"]) = (serde_json::Value::Null, serde_json::Value::Null);
            assert_eq!(x, y);
        } else {
            assert!(x == y && !x.is_empty(), "{}", a.display());
        }
    }
    let bytes = std::fs::read(dir.path().join("a/data/steering/directions.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names().len(), first.vectors.len());
    let page = report("demo", &[first], &|stem| format!("personascope run probes/{stem}.toml"));
    assert!(
        page.contains("personascope run probes/steering.toml") && page.contains("<svg") && page.contains("<details>")
    );
    assert!(!page.contains("<script") && !page.contains("<link") && !page.contains("<img") && !page.contains("<?xml"));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"));
}

#[test]
fn everything_in_a_run_goes_through_the_default_adapter_and_the_record_says_so() {
    use crate::model::adapter::{Adapter, Settings, Targets};
    let plan = small("steering");
    let shelf = MemoryShelf::default();
    let base = run_on(&shelf, 2, &plan);
    let settings = Settings::new(2, 2.0, Targets::Names(vec!["down_proj".into()]));
    // A fresh adapter adds exactly nothing; one with a `B` of 0.1 does.
    for b in [0.0, 0.1] {
        let mut model = Model::load(&Source::toyworld()).unwrap();
        let (fresh, _) = Adapter::fresh("mine", &*model.lm, &model.hash, &settings, 0).unwrap();
        let mut modules = fresh.modules;
        modules.values_mut().for_each(|m| m.b = (m.b.ones_like().unwrap() * b).unwrap());
        model.default_adapter = Some(model.add(Adapter::new("mine", modules, None, None).unwrap()).unwrap());
        let mut progress = |_: &str, _: &Tally| true;
        let mut ctx = Context { shelf: &shelf, tunes: None, threads: 2, progress: &mut progress };
        assert!(run(&plan, &model, &mut ctx).unwrap_err().to_string().contains("another model"));
        let own = Plan::resolve(plan.spec.clone(), &model).unwrap();
        let found = run(&own, &model, &mut ctx).unwrap();
        assert_eq!(
            (found.tally.rows_resumed, found.provenance["model"]["adapters"][0]["name"].as_str()),
            (0, Some("mine"))
        );
        assert_eq!(found.tables == base.tables, b == 0.0);
    }
    assert!(base.provenance["model"]["adapters"].is_null());
}

#[test]
fn an_interrupted_run_says_so_and_goes_on_where_it_was() {
    let plan = small("drift");
    let shelf = MemoryShelf::default();
    let mut left = 3;
    let mut stop = |_: &str, _: &Tally| {
        left -= 1;
        left > 0
    };
    let e =
        run(&plan, &MODEL, &mut Context { shelf: &shelf, tunes: None, threads: 1, progress: &mut stop }).unwrap_err();
    assert!(e.to_string().contains("interrupted") && e.hint().contains("again"), "{e}");
    let resumed = run_on(&shelf, 1, &plan);
    assert!(resumed.tally.rows_resumed > 0 && resumed.tally.rows_computed > 0, "{:?}", resumed.tally);
    assert_eq!(bytes(&resumed), bytes(&run_on(&MemoryShelf::default(), 2, &plan)));
}
