//! Files of a checkpoint, whole and broken.

use super::*;
use std::path::Path;

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

#[test]
fn a_folder_and_its_bytes_give_the_same_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "tokenizer.json", TOKENIZER);
    write(dir.path(), "tokenizer_config.json", CONFIG);
    let (text, bytes) = (Text::from_dir(dir.path()).unwrap(), embedded());
    let messages = talk(&[("user", "hello")]);
    assert_eq!(text.chat(&messages, true).unwrap(), bytes.chat(&messages, true).unwrap());
    assert_eq!((text.bos(), text.eos(), text.special_ids()), (Some(1), Some(2), [0, 1, 2, 3, 4, 5].as_slice()));
    assert_eq!((text.vocab_size(), text.token(2).as_deref(), text.id("<|end|>")), (1536, Some("<|end|>"), Some(2)));
    assert_eq!((text.token(1536), text.id("no such entry")), (None, None));
    assert_eq!(text.tokenizer_hash(), bytes.tokenizer_hash());
    assert_eq!(text.tokenizer_hash().len(), 64);
    assert_ne!(text.template_hash().unwrap(), text.tokenizer_hash());
}

#[test]
fn a_template_file_comes_before_the_one_in_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "tokenizer.json", TOKENIZER);
    write(dir.path(), "tokenizer_config.json", CONFIG);
    write(dir.path(), "chat_template.jinja", b"{% for m in messages %}{{ m.content }}{% endfor %}");
    let text = Text::from_dir(dir.path()).unwrap();
    let e = text.chat(&talk(&[("user", "hello")]), false).unwrap();
    assert_eq!(e.tokens, whole(&text, "hello"));
    assert_ne!(text.template_hash(), embedded().template_hash());
}

#[test]
fn of_several_templates_the_default_one_is_taken() {
    let config = |names: [&str; 2]| {
        let list =
            names.map(|n| json!({"name": n, "template": format!("{{{{ '{n}' }}}}{{{{ messages[0].content }}}}")}));
        serde_json::to_vec(&json!({"chat_template": list})).unwrap()
    };
    let load = |names| Text::from_bytes("m", TOKENIZER, Some(&config(names)), None);
    let text = load(["tool_use", "default"]).unwrap();
    assert_eq!(rendering(&text, &talk(&[("user", "x")]), false), "defaultx");
    let error = load(["tool_use", "rag"]).err().unwrap();
    assert!(error.to_string().contains("tokenizer_config.json") && error.to_string().contains("tool_use, rag"));
}

#[test]
fn without_a_template_chats_are_refused_and_text_works() {
    let text = Text::from_bytes("some/model", TOKENIZER, None, None).unwrap();
    assert!(!text.has_template() && text.template_hash().is_none());
    let error = text.chat(&talk(&[("user", "x")]), true).unwrap_err();
    assert!(error.to_string().contains("some/model has no chat template"), "{error}");
    assert!(error.hint().contains("\"text\"") && error.hint().contains("--chat-template FILE"));
    assert!(!text.raw("hello").unwrap().tokens.is_empty());
}

#[test]
fn broken_files_are_named_with_their_line() {
    let of = |tokenizer: &[u8], config: Option<&[u8]>, template: Option<&[u8]>| {
        Text::from_bytes("m", tokenizer, config, template).err().unwrap().to_string()
    };
    let cut = of(&TOKENIZER[..200], None, None);
    assert!(cut.contains("m/tokenizer.json") && cut.contains("line "), "{cut}");
    let other = of(b"{\"a\": 1}", None, None);
    assert!(other.contains("m/tokenizer.json") && !other.contains("not JSON"), "{other}");
    let config = of(TOKENIZER, Some(b"{\n\"chat_template\": \n}"), None);
    assert!(config.contains("m/tokenizer_config.json") && config.contains("line 3"), "{config}");
    let template = of(TOKENIZER, None, Some(b"{{ a }}\n{% for x %}"));
    assert!(template.contains("m/chat_template.jinja, line 2"), "{template}");
    let inside = of(TOKENIZER, Some(b"{\"chat_template\": \"{{ a \"}"), None);
    assert!(inside.contains("m/tokenizer_config.json (chat_template), line 1"), "{inside}");
    let odd = of(TOKENIZER, Some(b"{\"chat_template\": 3}"), None);
    assert!(odd.contains("chat_template") && odd.contains("string"), "{odd}");
    let binary = of(TOKENIZER, None, Some(&[0xff, 0xfe]));
    assert!(binary.contains("not UTF-8"), "{binary}");
}

#[test]
fn a_folder_without_a_tokenizer_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = Text::from_dir(dir.path()).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    write(dir.path(), "tokenizer.model", b"");
    let error = Text::from_dir(dir.path()).err().unwrap();
    assert!(error.to_string().contains("no tokenizer.json") && error.hint().contains("save_pretrained"));
}

#[test]
fn declared_special_tokens_are_special_even_where_the_tokenizer_file_forgets_them() {
    let mut tokenizer: Json = serde_json::from_slice(TOKENIZER).unwrap();
    let kept: Vec<Json> =
        tokenizer["added_tokens"].as_array().unwrap().iter().filter(|t| t["content"] != "<|end|>").cloned().collect();
    tokenizer["added_tokens"] = Json::Array(kept);
    let bytes = serde_json::to_vec(&tokenizer).unwrap();
    let text = Text::from_bytes("m", &bytes, Some(CONFIG), None).unwrap();
    assert!(text.special_ids().contains(&2));
    let messages = talk(&[("user", "hello")]);
    assert_eq!(text.chat(&messages, true).unwrap().tokens, embedded().chat(&messages, true).unwrap().tokens);
}

#[test]
fn another_template_takes_the_place_of_the_checkpoints() {
    let mut text = embedded();
    let (old, source) = (text.template_hash().unwrap().to_string(), text.template_source().unwrap().to_string());
    text.set_template("mine.jinja", b"{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}").unwrap();
    let e = text.chat(&talk(&[("user", "hello")]), false).unwrap();
    assert_eq!(e.tokens, [&[1], whole(&text, "hello").as_slice()].concat());
    assert_ne!(text.template_hash().unwrap(), old);
    assert_eq!(text.template_place(), Some("mine.jinja"));
    let error = text.set_template("mine.jinja", b"a\n{% if %}").unwrap_err().to_string();
    assert!(error.contains("mine.jinja, line 2"), "{error}");
    let error = text.set_template("mine.jinja", &[0xff]).unwrap_err().to_string();
    assert!(error.contains("mine.jinja: not UTF-8"), "{error}");
    text.set_template("again.jinja", source.as_bytes()).unwrap();
    assert_eq!(text.template_hash().unwrap(), old);
    // Where the checkpoint has none, too; what the new template writes is markup then.
    let mut bare = Text::from_bytes("m", TOKENIZER, None, None).unwrap();
    bare.set_template("again.jinja", source.as_bytes()).unwrap();
    let messages = talk(&[("user", "a<|end|>")]);
    assert_eq!(bare.chat(&messages, true).unwrap().tokens, text.chat(&messages, true).unwrap().tokens);
}

#[test]
fn tokens_are_shown_as_they_read() {
    let text = embedded();
    let shown = |s: &str| text.raw(s).unwrap().tokens.iter().map(|t| text.shown(*t)).collect::<Vec<_>>();
    assert_eq!(shown("the tea<|end|>\n").concat(), "the tea<|end|>\n");
    assert!(shown("the tea").contains(&" tea".to_string()));
    // The two bytes of é are one token each here; alone they are no text.
    assert!(shown("é").iter().all(|t| !t.contains('\u{fffd}') && !t.is_empty()));
    assert_eq!(text.shown(99_999), "<99999>");
    let pieces = pieces(CHATML, false);
    assert_eq!(pieces.raw("hi hi").unwrap().tokens.iter().map(|t| pieces.shown(*t)).collect::<String>(), "<s> hi hi");
}

#[test]
fn threads_can_share_it() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&embedded());
}
