//! Chat templates: the ids of transformers, family by family; speakers and `personascope template` through the binary.
//!
//! `tests/fixtures/templates.py` wrote what is expected.

use assert_cmd::Command;
use personascope::text::{ChatOptions, prompts::Prompt};
use personascope::text::{Encoded, Message, Span, Text, TokenPlace, Variables};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/templates")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every family by name, in order.
fn families() -> Vec<(String, Value)> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .filter_map(|e| {
            let name = e.unwrap().file_name().into_string().unwrap();
            Some(name.strip_prefix("family_")?.strip_suffix(".json")?.to_string())
        })
        .collect();
    names.sort();
    names.into_iter().map(|n| (n.clone(), read(&fixtures().join(format!("family_{n}.json"))))).collect()
}

/// Writes the tokenizer of a family, its configuration and its template into a folder, as `templates.py` puts it together.
fn write(dir: &Path, family: &Value) {
    let body = read(&fixtures().join(format!("{}.json", family["body"].as_str().unwrap())));
    let vocab = body["vocab"].as_object().unwrap();
    let mut next = vocab.len() as u64;
    let mut added = Vec::new();
    for token in family["added"].as_array().unwrap() {
        let known = vocab.get(token["content"].as_str().unwrap()).and_then(Value::as_u64);
        let id = known.unwrap_or(next);
        next += u64::from(known.is_none());
        added.push(json!({"id": id, "content": token["content"], "single_word": false, "lstrip": false,
            "rstrip": token["rstrip"], "normalized": false, "special": token["special"]}));
    }
    let mut tokenizer =
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "model": body});
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        tokenizer[part] = family[part].clone();
    }
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = json!({"bos_token": family["bos"], "eos_token": family["eos"]});
    fs::write(dir.join("tokenizer_config.json"), config.to_string()).unwrap();
    if let Some(template) = family["template"].as_str() {
        fs::write(dir.join("chat_template.jinja"), template).unwrap();
    }
}

fn load(family: &Value) -> (tempfile::TempDir, Text) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), family);
    let text = Text::from_dir(dir.path()).unwrap();
    (dir, text)
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn options(case: &Value) -> ChatOptions {
    let variables: Variables = serde_json::from_value(case["variables"].clone()).unwrap();
    ChatOptions { generation_header: case["generation"].as_bool().unwrap(), variables, ..ChatOptions::default() }
}

/// Every token has one place, every part of a turn is one stretch, and contents are where their turns say.
fn partitions(e: &Encoded, of: &str) {
    assert_eq!(e.places.len(), e.tokens.len(), "{of}");
    let mut runs: Vec<TokenPlace> = e.places.clone();
    runs.dedup();
    let mut distinct: Vec<(Option<usize>, Span)> = runs.iter().map(|p| (p.turn, p.span)).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(runs.len(), distinct.len(), "{of}: a part is interrupted: {runs:?}");
    for (t, place) in e.places.iter().enumerate() {
        for (i, turn) in e.turns.iter().enumerate() {
            let inside = *place == TokenPlace { turn: Some(i), span: Span::Content };
            assert_eq!(inside, turn.content.contains(&t), "{of}: token {t}, turn {i}");
        }
    }
}

#[test]
fn ids_and_spans_of_every_family_are_those_of_transformers() {
    let mut seen = 0;
    for (name, family) in families() {
        let (_dir, text) = load(&family);
        for case in family["cases"].as_array().unwrap() {
            let of = format!("{name}, {}, {}, generation {}", case["name"], case["variables"], case["generation"]);
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let e = text.chat_with(&messages, &options(case)).unwrap_or_else(|e| panic!("{of}: {e}"));
            assert_eq!(e.tokens, ids(&case["tokens"]), "{of}");
            partitions(&e, &of);
            assert_eq!(e.turns.len(), messages.len(), "{of}");
            for (turn, says) in e.turns.iter().zip(case["says"].as_array().unwrap()) {
                // Templates trim, and piece tokenizers put a space in front of the first word.
                let said = text.decode(&e.tokens[turn.content.clone()]).unwrap();
                assert_eq!(said.trim(), says.as_str().unwrap().trim(), "{of}: {turn:?}");
            }
            // Every turn is closed, but for system texts that stand in a user's turn.
            for (i, turn) in e.turns.iter().enumerate() {
                let inside = turn.role == "system"
                    && ["gemma", "mistral", "llama2"].iter().any(|family| name.starts_with(family));
                let end = TokenPlace { turn: Some(i), span: Span::End };
                assert_eq!(e.places.contains(&end), !inside, "{of}: turn {i}");
            }
            match case["refuses"].as_str() {
                Some(why) => {
                    assert!(e.warnings.len() == 1 && e.warnings[0].contains(why), "{of}: {:?}", e.warnings);
                    assert!(e.warnings[0].contains("chat_template.jinja, line "), "{:?}", e.warnings);
                }
                None => assert!(e.warnings.is_empty(), "{of}: {:?}", e.warnings),
            }
            seen += 1;
        }
        for raw in family["raw"].as_array().unwrap() {
            let e = text.raw(raw["text"].as_str().unwrap()).unwrap();
            let mut expected = ids(&raw["tokens"]);
            // The one place where we differ: no second beginning-of-sequence token.
            if expected.len() > 1 && expected[0] == expected[1] && Some(expected[0]) == text.bos() {
                expected.remove(0);
            }
            assert_eq!(e.tokens, expected, "{name}: {}", raw["text"]);
        }
        assert_eq!(text.has_template(), name != "none");
    }
    assert!(seen >= 8 * 2 * 2 * 2, "{seen} cases");
}

#[test]
fn thinking_is_a_variable_of_the_command_or_of_the_prompt() {
    let (_, family) = families().into_iter().find(|(n, _)| n == "qwen3").unwrap();
    let (_dir, mut text) = load(&family);
    let case = |thinking: Value| {
        let wanted =
            |c: &&Value| c["name"] == "no system, 1 turns" && c["generation"] == true && c["variables"] == thinking;
        ids(&family["cases"].as_array().unwrap().iter().find(wanted).unwrap()["tokens"])
    };
    let (plain, off) = (case(json!({})), case(json!({"enable_thinking": false})));
    assert_eq!(plain, case(json!({"enable_thinking": true})));
    assert!(off.len() > plain.len() && off.starts_with(&plain), "off is an empty thought behind the same header");
    let line = |more: &str| {
        format!(r#"{{"id":"a","messages":[{{"role":"user","content":{}}}]{more}}}"#, family["cases"][0]["says"][0])
    };
    let encode = |text: &Text, more: &str| Prompt::parse_lines("p", &line(more)).unwrap()[0].encode(text).unwrap();
    assert_eq!(encode(&text, "").tokens, plain);
    let e = encode(&text, r#","template_vars":{"enable_thinking":false}"#);
    assert_eq!(e.tokens, off);
    assert!(e.places[plain.len()..].iter().all(|p| *p == TokenPlace { turn: Some(1), span: Span::Header }));
    text.set_variables(Variables::from([("enable_thinking".into(), json!(false))])).unwrap();
    assert_eq!(encode(&text, "").tokens, off);
    assert_eq!(encode(&text, r#","template_vars":{"enable_thinking":true}"#).tokens, plain);
}

#[test]
fn a_speaker_has_a_header_in_every_family_whose_template_writes_names() {
    for (name, family) in families() {
        let (_dir, text) = load(&family);
        let messages = [Message::new("user", "Who?"), Message::new("assistant", "I, assistant.").by("Zoe")];
        let header = match name.as_str() {
            "llama3" => "<|start_header_id|>Zoe<|end_header_id|>\n\n",
            "qwen2.5" | "chatml" => "<|im_start|>Zoe\n",
            "qwen3" => "<|im_start|>Zoe\n<think>\n\n</think>\n\n",
            "gemma2" | "gemma3" => "<start_of_turn>Zoe\n",
            "phi3" => "<|Zoe|>\n",
            "zephyr" => "<|Zoe|>\n",
            "none" | "llama2" | "mistral_first" | "mistral_system_first" | "mistral_system_last" => {
                let e = text.chat(&messages, false).unwrap_err();
                assert!(e.hint().contains("--chat-template"), "{name}: {e}");
                continue;
            }
            other => panic!("what does {other} write?"),
        };
        let e = text.chat(&messages, false).unwrap();
        partitions(&e, &name);
        let shown = |e: &Encoded, turn| -> String {
            let wanted = TokenPlace { turn: Some(turn), span: Span::Header };
            let tokens = e.tokens.iter().zip(&e.places).filter(|(_, p)| **p == wanted);
            tokens.map(|(t, _)| text.shown(*t)).collect()
        };
        // After a special token, piece tokenizers put a space in front.
        assert_eq!(shown(&e, 1).trim_start(), header, "{name}");
        let said = text.decode(&e.tokens[e.turns[1].content.clone()]).unwrap();
        assert_eq!(said.trim(), "I, assistant.", "{name}");
        let reply = ChatOptions { generation_header: true, reply_as: Some("Zoe".into()), ..ChatOptions::default() };
        let asked = text.chat_with(&messages[..1], &reply).unwrap();
        assert!(header.starts_with(shown(&asked, 1).trim()), "{name}: {}", shown(&asked, 1));
        assert!(shown(&asked, 1).contains("Zoe"), "{name}");
    }
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_personascope"));
    let out = command.current_dir(dir).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// Runs; exit code 0 is expected.
fn done(dir: &Path, args: &[&str]) -> (String, String) {
    let (code, out, err) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {err}");
    (out, err)
}

fn refused(dir: &Path, args: &[&str], says: &[&str]) {
    let (code, out, err) = run(dir, args);
    assert!(code == 2 && out.is_empty(), "{args:?}: {code} {err}");
    for word in says.iter().chain(&["hint: "]) {
        assert!(err.contains(word), "{args:?} should say `{word}`: {err}");
    }
}

#[test]
fn template_shows_every_token_in_its_span() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let (plain, err) = done(d, &["template", "--model", "toyworld", "--show"]);
    assert!(err.is_empty(), "{err}");
    assert!(
        plain.contains("\n  [header 0 user: <|user|>]\n") && !plain.contains('\x1b'),
        "a pipe is no terminal: {plain}"
    );
    assert!(
        plain.contains("reply header     <|assistant|>\n") && plain.contains("[header 3 assistant: <|assistant|>]")
    );
    let (colours, _) = done(d, &["template", "--show", "--color", "always"]);
    assert!(colours.contains("\x1b[36m<|bos|>\x1b[0m"), "{colours}");
    let (brief, _) = done(d, &["template"]);
    assert!(!brief.contains("[header") && brief.contains("prompt `with system`"), "{brief}");

    let (json, _) = done(d, &["template", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["template_hash"].as_str().unwrap().len(), 64);
    for prompt in json["prompts"].as_array().unwrap() {
        let n = prompt["tokens"].as_array().unwrap().len();
        let mut covered = vec![0; n];
        for turn in prompt["turns"].as_array().unwrap() {
            for part in ["header", "content", "end"] {
                if let Some([from, to]) = turn[part].as_array().map(|r| [0, 1].map(|i| r[i].as_u64().unwrap() as usize))
                {
                    covered[from..to].iter_mut().for_each(|c| *c += 1);
                    for token in &prompt["tokens"].as_array().unwrap()[from..to] {
                        assert_eq!((&token["span"], &token["turn"]), (&json!(part), &turn["turn"]));
                    }
                }
            }
        }
        assert!(covered.iter().all(|c| *c == 1), "{covered:?}");
        assert_eq!(prompt["last_prompt"], n - 1);
    }
}

#[test]
fn template_says_what_a_family_does_and_warns_once() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    for (name, family) in families() {
        fs::create_dir(d.join(&name)).unwrap();
        write(&d.join(&name), &family);
    }
    let talk = |id: &str| {
        format!(
            r#"{{"id":"{id}","messages":[{{"role":"system","content":"Be calm."}},{{"role":"user","content":"Hi."}}]}}"#
        )
    };
    fs::write(d.join("p.jsonl"), [talk("a"), talk("b")].join("\n")).unwrap();
    let (out, err) = done(d, &["template", "--model", "gemma2", "--prompts", "p.jsonl", "--show"]);
    assert_eq!(err.matches("System role not supported").count(), 1, "{err}");
    assert!(out.contains("system turn      gemma2/chat_template.jinja, line 2"), "{out}");
    assert!(out.contains("of a speaker     <start_of_turn>NAME\\n"), "{out}");
    assert!(out.contains("[content 0 system: "), "{out}");
    let (out, _) = done(d, &["template", "--model", "mistral_system_last"]);
    assert!(out.contains("of a speaker     not possible"), "{out}");
    let (out, err) = done(d, &["template", "--model", "none", "--show"]);
    assert!(out.contains("chat template    none") && out.contains("[content 0 text: "), "{out}");
    assert!(err.is_empty(), "{err}");
    refused(
        d,
        &["template", "--model", "none", "--prompts", "p.jsonl"],
        &["`a`", "no chat template", "--chat-template FILE"],
    );

    // Another template, and a variable for it.
    fs::write(d.join("mine.jinja"), "{% for m in messages %}{{ m.role ~ tone ~ m.content }}{% endfor %}").unwrap();
    let mine = ["template", "--model", "none", "--prompts", "p.jsonl", "--chat-template", "mine.jinja", "--json"];
    let (out, _) = done(d, &[&mine[..], &["--template-var", "tone=\": \"", "--template-var", "typo=1"]].concat());
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["template"], &json["template_vars"]), (&json!("mine.jinja"), &json!({"tone": ": ", "typo": 1})));
    let words: String =
        json["prompts"][0]["tokens"].as_array().unwrap().iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert_eq!(words, "system: Be calm.user: Hi.");
    let (_, err) = done(d, &[&mine[..], &["--template-var", "typo=1"]].concat());
    assert!(err.contains("mine.jinja: the template does not use the variable `typo`"), "{err}");
}

#[test]
fn bad_templates_and_prompts_are_named_with_line_and_message() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let put = |name: &str, text: &str| fs::write(d.join(name), text).unwrap();
    put("p.jsonl", r#"{"id":"a","messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}]}"#);
    put("syntax.jinja", "a\n{% for m in messages %}\n{% endif %}");
    put(
        "undefined.jinja",
        "{% for m in messages %}\n{{ m.content }}{% if loop.index0 == 1 %}\n{{ m.tool.name }}{% endif %}{% endfor %}",
    );
    put(
        "alternate.jinja",
        "{% for m in messages %}\n\n{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no') }}{% endif %}{% endfor %}",
    );
    put("filter.jinja", "{{ messages | shout }}");
    put("endless.jinja", "{% for i in range(100000000000) %}{{ i }}{% endfor %}");
    let with = |file: &'static str| ["template", "--prompts", "p.jsonl", "--chat-template", file];
    refused(d, &with("syntax.jinja"), &["syntax.jinja, line 3"]);
    refused(d, &with("undefined.jinja"), &["prompt `a`", "undefined.jinja, line 3", "undefined", "message 1, `user`"]);
    refused(d, &with("alternate.jinja"), &["alternate.jinja, line 3", ": no", "message 1, `user`"]);
    refused(d, &with("filter.jinja"), &["filter.jinja, line 1", "shout"]);
    refused(d, &with("endless.jinja"), &["endless.jinja, line 1"]);
    refused(d, &with("nowhere.jinja"), &["nowhere.jinja"]);
    for (var, says) in
        [("enable_thinking", "NAME=JSON"), ("a=yes", "a='\"yes\"'"), ("messages=[]", "`messages`"), ("=1", "``")]
    {
        let (code, _, err) = run(d, &["template", "--template-var", var]);
        assert!(code == 2 && err.contains(says), "{var}: {err}");
    }
    refused(d, &["template", "--template-var", "a=1", "--template-var", "a=2"], &["given twice"]);
    refused(d, &["template", "--model", "nowhere"], &["nowhere"]);
    put(
        "speakers.jsonl",
        r#"{"id":"a","messages":[{"role":"user","content":"x"},{"role":"assistant","speaker":"<|end|>"}]}"#,
    );
    refused(d, &["template", "--prompts", "speakers.jsonl"], &["prompt `a`", "control token `<|end|>`"]);
}

/// A transcript of two speakers of `toyworld-voices`, and the same with the speakers as roles.
fn transcript(reply_as: &str) -> (String, String) {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let by =
        |name: &str, content: &str| json!({"role": "assistant", "speaker": format!("<|{name}|>"), "content": content});
    let id = format!("as {reply_as}");
    let asked = turn("user", "What do you think of gardens?");
    let mut speakers = vec![turn("user", "Tell me about tea."), by("Ariana", "Tea should steep."), asked.clone()];
    speakers.push(by("Daiki", "A garden needs water."));
    speakers.push(turn("user", "And boats?"));
    let mut roles: Vec<Value> = speakers.clone();
    for message in &mut roles {
        let map: &mut Map<String, Value> = message.as_object_mut().unwrap();
        if let Some(Value::String(name)) = map.remove("speaker") {
            map["role"] = json!(name.trim_matches(['<', '|', '>']));
        }
    }
    speakers.push(json!({"role": "assistant", "speaker": format!("<|{reply_as}|>")}));
    (json!({"id": id, "messages": speakers}).to_string(), json!({"id": id, "messages": roles}).to_string())
}

#[test]
fn several_speakers_share_a_transcript_from_prompt_to_rows_and_replies() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let (ariana, roles) = transcript("Ariana");
    let (daiki, _) = transcript("Daiki");
    fs::write(d.join("speakers.jsonl"), [ariana.clone(), daiki].join("\n")).unwrap();
    fs::write(d.join("ariana.jsonl"), ariana).unwrap();
    fs::write(d.join("roles.jsonl"), roles).unwrap();
    let capture = |prompts: &str, pick: &str, out: &str| {
        let sites = ["--sites", "resid_post.3", "--pick", pick, "--out", out];
        done(d, &[&["capture", "--model", "toyworld-voices", "--prompts", prompts][..], &sites].concat());
        let csv = fs::read_to_string(d.join(out).join("rows.csv")).unwrap();
        let lines: Vec<Vec<String>> = csv.lines().map(|l| l.split(',').map(String::from).collect()).collect();
        (lines, fs::read(d.join(out).join("activations.safetensors")).unwrap())
    };
    let (rows, values) = capture("ariana.jsonl", "each_turn", "a");
    let column = rows[0].iter().position(|c| c == "speaker").expect("a column of speakers");
    let speakers: Vec<&str> = rows[1..].iter().map(|r| r[column].as_str()).collect();
    assert_eq!(speakers, ["", "<|Ariana|>", "", "<|Daiki|>", ""]);
    // A prompt that says the same by its roles has the same activations, and no such column.
    let (of_roles, same) = capture("roles.jsonl", "each_turn", "r");
    assert!(values == same && !of_roles[0].contains(&"speaker".to_string()));
    let (last, _) = capture("speakers.jsonl", "last_prompt", "l");
    let said: Vec<(&str, &str)> = last[1..].iter().map(|r| (r[4].as_str(), r[column].as_str())).collect();
    assert_eq!(said, [("assistant", "<|Ariana|>"), ("assistant", "<|Daiki|>")]);

    let generate = ["generate", "--model", "toyworld-voices", "--prompts", "speakers.jsonl", "--max-new-tokens", "30"];
    let (out, err) = done(d, &generate);
    assert!(err.is_empty(), "{err}");
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!([&lines[0]["speaker"], &lines[1]["speaker"]], ["<|Ariana|>", "<|Daiki|>"]);
    assert!(lines[0]["text"] != lines[1]["text"], "the header alone says who replies: {}", lines[0]["text"]);
    assert!(!lines[0]["text"].as_str().unwrap().is_empty());
}

#[test]
fn runs_record_template_variables_and_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let prompt = r#"{"id":"a","messages":[{"role":"system","content":"Be calm."},{"role":"user","content":"Tea?"}]}"#;
    fs::write(d.join("p.jsonl"), prompt).unwrap();
    let template = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                    {{ m.role ~ mood ~ m.content }}{% endfor %}";
    fs::write(d.join("mine.jinja"), template).unwrap();
    let base = ["capture", "--prompts", "p.jsonl", "--sites", "resid_post.0", "--chat-template", "mine.jinja", "--out"];
    let (_, err) = done(d, &[&base[..], &["o", "--template-var", "mood=\" calm: \""]].concat());
    assert_eq!(err.matches("no system").count(), 1, "{err}");
    let run_json = read(&d.join("o/run.json"));
    assert_eq!(
        (&run_json["chat_template"], &run_json["template_vars"]),
        (&json!("mine.jinja"), &json!({"mood": " calm: "}))
    );
    assert!(run_json["warnings"][0].as_str().unwrap().contains("no system"), "{}", run_json["warnings"]);
    // Another value of a variable is another plan.
    refused(d, &[&base[..], &["o", "--template-var", "mood=\" wild: \""]].concat(), &["another plan"]);
    done(d, &["capture", "--prompts", "p.jsonl", "--sites", "resid_post.0", "--out", "plain"]);
    let plain = read(&d.join("plain/run.json"));
    assert!(plain.get("chat_template").is_none() && plain.get("template_vars").is_none());
    assert_ne!(plain["template_hash"], run_json["template_hash"]);
}
