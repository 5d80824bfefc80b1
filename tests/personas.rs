//! Persona files on the command line: the shipped cards, files in the formats of others, and what is made of them.

use personascope::persona::import::{Options, Questions, import};
use personascope::persona::{Card, completion};
use personascope::score::Lexicon;
use personascope::text::prompts::Prompt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn command(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().expect("it starts")
}

fn ok(out: &Output) {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn stdout(out: &Output) -> String {
    ok(out);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn cards() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/personas");
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == "toml"));
    all.sort();
    all
}

#[test]
fn the_shipped_lexicon_of_failure_modes_has_a_group_for_each_mode_that_words_can_show() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/lexicons/failure_modes.toml");
    let lexicon = Lexicon::parse("failure_modes.toml", &fs::read_to_string(path).unwrap()).unwrap();
    let groups: Vec<&str> = lexicon.groups.keys().map(String::as_str).collect();
    assert_eq!(groups, ["hedging", "memory_loss", "meta_gaming", "positivity_bias", "vagueness"]);
    assert!(lexicon.groups.values().all(|g| g.len() >= 8));
}

#[test]
fn every_shipped_card_is_read_rendered_and_asked_without_a_warning() {
    let stems: Vec<String> = cards().iter().map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let named =
        ["amina", "ariana", "class_representative", "daiki", "elena", "emma", "kaya", "protocol_droid", "theobald"];
    assert_eq!(stems, named);
    for path in cards() {
        let (place, text) = (path.display().to_string(), fs::read_to_string(&path).unwrap());
        let card = Card::parse(&place, &text).unwrap();
        let prompt = completion(&card, &[]);
        let parts = [
            "told in a narrative format:",
            "Traits list:",
            "Scenario:\n ",
            "### Instruction:",
            "### Chat history:",
            "### Response:\n",
        ];
        let at: Vec<usize> =
            parts.iter().map(|p| prompt.find(p).unwrap_or_else(|| panic!("{place}: no {p}"))).collect();
        assert!(at.is_sorted(), "{place}: {at:?}");
        assert!(!prompt.contains("  "), "{place}: two spaces, as a line that was broken badly has them");
        let found = import(&place, &card.name, &text, &Options::default()).unwrap();
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        assert_eq!(found.asks.len(), 2 * card.system.pos.len() * card.questions.len(), "{place}");
        // Markers are of the voice: some stand in what the character says, and none is a word of everybody.
        let said: String = card.interview.iter().map(|a| a.reply.to_lowercase() + "\n").collect();
        let said = said + &card.history.iter().map(|h| h.text.to_lowercase()).collect::<String>();
        let shown = card.markers.iter().filter(|m| said.contains(m.as_str())).count();
        assert!(shown >= 2, "{place}: {shown} of its markers stand in its own words");
        Lexicon::parse(&place, &text).unwrap();
    }
}

#[test]
fn role_and_trait_files_become_prompts_that_capture_takes() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    put(
        "files/calm.json",
        r#"{"instruction":[{"pos":"Be calm.","neg":"Be wild."}],"eval_prompt":"{question} {answer}"}"#,
    );
    put("files/default.json", r#"{"instruction":[{"pos":""},{"pos":"You are {model_name}."}]}"#);
    put(
        "q.jsonl",
        "{\"question\":\"What about tea?\",\"id\":0}\n{\"question\":\"What about rain?\",\"id\":1}\n{\"question\":\"What about tea?\",\"id\":2}\n",
    );
    let run = |args: &[&str]| command(dir.path(), args);
    let import = ["persona", "import", "files", "--questions", "q.jsonl", "--out", "made"];
    let refused = run(&import);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--model-name"));
    let named = run(&[&import[..], &["--model-name", "Toy"]].concat());
    ok(&named);
    let warned = String::from_utf8_lossy(&named.stderr).into_owned();
    // The one thing to be warned about, once for both files.
    assert_eq!(warned.matches("warning:").count(), 1, "{warned}");
    assert!(warned.contains("questions 0 and 2 are the same text"), "{warned}");
    let lines = fs::read_to_string(dir.path().join("made/prompts.jsonl")).unwrap();
    let prompts = Prompt::parse_lines("made", &lines).unwrap();
    assert_eq!(prompts.len(), 2 * 3 + 2 * 3);
    assert_eq!(fs::read_to_string(dir.path().join("made/judges/calm.txt")).unwrap(), "{question} {answer}");
    ok(&run(&[
        "capture",
        "--prompts",
        "made/prompts.jsonl",
        "--sites",
        "resid_post.2",
        "--pick",
        "last_prompt",
        "--out",
        "acts",
    ]));
    let rows = fs::read_to_string(dir.path().join("acts/rows.csv")).unwrap();
    assert!(rows.lines().next().unwrap().contains("polarity") && rows.lines().count() == 13, "{rows}");
}

#[test]
fn cards_are_shown_and_rendered_and_a_typing_mistake_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let card = cards().into_iter().find(|p| p.ends_with("ariana.toml")).unwrap().display().to_string();
    let run = |args: &[&str]| command(dir.path(), args);
    assert!(stdout(&run(&["persona", "show", &card])).contains("interview: 2 answers"));
    let text = stdout(&run(&["persona", "render", &card, "--say", "Still there?"]));
    assert!(text.contains("Daiki: Still there?\n\n### Response:"), "{text}");
    let line = stdout(&run(&["persona", "render", &card, "--chat", "--headers", "--say", "Still there?"]));
    let prompt = &Prompt::parse_lines("line", &line).unwrap()[0];
    assert_eq!(prompt.reply_as.as_deref(), Some("Ariana"));
    fs::write(dir.path().join("bad.toml"), "name = \"A\"\ntrait = [\"x\"]\n").unwrap();
    let bad = run(&["persona", "show", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("line 2: unknown key `trait`; did you mean `traits`?"));
}

#[test]
fn replies_are_scored_by_several_scorers_at_once_and_what_is_unscored_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put(
        "replies.jsonl",
        "{\"id\":\"a\",\"seed\":1,\"text\":\"Ana: Oh dear! I worry.\"}\n{\"id\":\"a\",\"seed\":2,\"text\":\"All is well.\"}\n{\"id\":\"b\",\"seed\":1,\"text\":\"\"}\n",
    );
    put("markers.toml", "anxious = [\"oh dear\", \"worry\"]\n");
    let train: String = (0..10)
        .map(|i| {
            format!(
                "{{\"text\":\"{}\",\"label\":\"{}\"}}\n",
                ["oh dear me", "all is well"][i % 2],
                ["anxious", "calm"][i % 2]
            )
        })
        .collect();
    put("train.jsonl", &train);
    put("given.csv", "id,seed,score\na,1,80\na,2,no idea\n");
    put("judge.txt", "Rate from 0 to 9: {answer}");
    let found = command(
        dir.path(),
        &[
            "score",
            "--replies",
            "replies.jsonl",
            "--lexicon",
            "markers.toml",
            "--measure",
            "shown",
            "--classifier",
            "train.jsonl",
            "--label",
            "anxious",
            "--csv",
            "given.csv",
            "--judge",
            "toyworld",
            "--judge-prompt",
            "judge.txt",
            "--scale",
            "0..9",
            "--judge-mass",
            "0",
            "--speaker",
            "Ana",
            "--agree-at",
            "0.5",
            "--out",
            "scores.csv",
        ],
    );
    let said = stdout(&found);
    for says in [
        "a speaker's name stood before 1 of them",
        "lexicon:anxious: mean 0.5 over 2 of 3; unscored: empty 1",
        "csv: mean 80 over 1 of 3; unscored: unparsable 1, missing 1",
        "accuracy 1",
        // Below one half: of equally many texts, a fold takes one label more out of the rest.
        "the most frequent label 0.3",
        "Fleiss' kappa of 4 scorers",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    let table = fs::read_to_string(dir.path().join("scores.csv")).unwrap();
    assert!(table.starts_with("id,seed,scorer,score,unscored\na,1,lexicon:anxious,1,\n"), "{table}");
    assert!(table.contains("a,2,csv,,unparsable: no idea\n") && table.contains("b,1,csv,,missing\n"), "{table}");
    assert_eq!(table.lines().count(), 1 + 3 * 4);
    // Nothing scored at all: it ran, and failed.
    put("none.csv", "id,score\nz,1\n");
    let none =
        command(dir.path(), &["score", "--replies", "replies.jsonl", "--csv", "none.csv", "--out", "none_scores.csv"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("1 lines belong to none"));
}

/// The published files, where they are: PERSONASCOPE_PERSONA_DATA is a folder with `assistant-axis` and `anthropic-evals`.
#[test]
fn published_files_are_imported_without_a_warning_that_is_not_true() {
    let Some(data) = std::env::var_os("PERSONASCOPE_PERSONA_DATA").map(PathBuf::from) else {
        eprintln!("skipped: PERSONASCOPE_PERSONA_DATA names no folder of published files");
        return;
    };
    let axis = data.join("assistant-axis/data");
    let asked = axis.join("extraction_questions.jsonl");
    let questions = Questions::parse("extraction_questions.jsonl", &fs::read_to_string(asked).unwrap()).unwrap();
    // Two of the 240 have one text, and that is all there is to be warned about.
    assert_eq!((questions.all.len(), questions.distinct(), questions.warnings.len()), (240, 239, 1));
    assert!(questions.warnings[0].contains("questions 7 and 227"), "{:?}", questions.warnings);
    let own = Options { model_name: Some("Toy".into()), ..Options::default() };
    let shared = Options { questions: Some(questions), ..own.clone() };
    for (kind, files, sides) in [("roles", 276, 1), ("traits", 240, 2)] {
        let dir = axis.join(kind).join("instructions");
        let mut n = 0;
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let (place, name) = (path.display().to_string(), path.file_stem().unwrap().to_string_lossy().into_owned());
            let text = fs::read_to_string(&path).unwrap();
            let found = import(&place, &name, &text, &shared).unwrap();
            assert_eq!((found.warnings, found.asks.len()), (Vec::<String>::new(), sides * 5 * 240), "{place}");
            if name != "default" {
                let found = import(&place, &name, &text, &own).unwrap();
                assert_eq!((found.warnings, found.asks.len()), (Vec::<String>::new(), sides * 5 * 40), "{place}");
                assert!(found.judge.is_some());
            }
            n += 1;
        }
        assert_eq!(n, files, "{kind}");
    }
    for name in ["agreeableness", "neuroticism"] {
        let path = data.join(format!("anthropic-evals/{name}.jsonl"));
        let found = import(&path.display().to_string(), name, &fs::read_to_string(&path).unwrap(), &own).unwrap();
        assert_eq!((found.warnings, found.asks.len()), (Vec::<String>::new(), 2000), "{name}");
    }
}
