//! `template`: how conversations become tokens, and where each token belongs.

use super::chatting::{ChatArgs, warn};
use super::read_text;
use super::shown::{Colour, legend, spans, turns, visible};
use crate::error::{Error, Result};
use crate::model::Source;
use crate::shipped::TOYWORLD;
use crate::text::prompts::Prompt;
use crate::text::{ASSISTANT, ChatOptions, Encoded, Message, SYSTEM, Text, USER};
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope template --show                                              the embedded model, two short conversations
  personascope template --model toyworld-voices --prompts p.jsonl --show    your prompts, every token in the colour of its span
  personascope template --model DIR --template-var enable_thinking=false    variables of the template
  personascope template --model DIR --chat-template mine.jinja --json       another template; for machines

No weights are read. A prompt line may have "template_vars": {"enable_thinking": false}; a message may have a "speaker", such as
"<|Ariana|>", which stands in its header in the place of the role; a last message {"role":"assistant","speaker":…}
without content is the header of the reply."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TemplateArgs {
    /// A shipped model, or a folder with tokenizer.json
    #[arg(long, value_name = "MODEL", default_value = TOYWORLD)]
    model: String,
    /// Prompts, one JSON object per line [default: a short conversation, with and without a system turn]
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Print the tokens, too, span by span
    #[arg(long)]
    show: bool,
    /// Everything as one JSON object
    #[arg(long, conflicts_with = "show")]
    json: bool,
    /// Colours; without them spans stand in brackets
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    color: String,
    #[command(flatten)]
    chat: ChatArgs,
}

pub fn template(args: TemplateArgs) -> Result<bool> {
    let mut text = tokenizer(&args.model)?;
    args.chat.apply(&mut text)?;
    let prompts = match &args.prompts {
        Some(path) => Prompt::parse_lines(&path.display().to_string(), &read_text(path)?)?,
        None => Prompt::parse_lines("the built-in prompts", if text.has_template() { TALKS } else { TEXTS })?,
    };
    let encoded = prompts.iter().map(|p| Ok((p, p.encode(&text)?))).collect::<Result<Vec<_>>>()?;
    let mut facts = facts(&args.model, &text);
    args.chat.describe(&text, &mut facts);
    let out = match args.json {
        true => {
            facts["prompts"] = encoded.iter().map(|(p, e)| in_json(&text, p, e)).collect();
            serde_json::to_string_pretty(&facts).unwrap_or_default() + "\n"
        }
        false => in_words(&args, &text, &facts, &encoded),
    };
    match std::io::stdout().lock().write_all(out.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => return Err(Error::io("write", "stdout", e)),
        _ => {}
    }
    warn(encoded.iter().flat_map(|(_, e)| &e.warnings));
    Ok(true)
}

const TALKS: &str = r#"{"id":"plain","messages":[{"role":"user","content":"Who are you?"},{"role":"assistant","content":"A friend of tea."},{"role":"user","content":"Tell me more."}]}
{"id":"with system","messages":[{"role":"system","content":"You are a wise old owl."},{"role":"user","content":"Who are you?"}]}"#;
const TEXTS: &str = r#"{"id":"text","text":"Who are you?"}"#;

/// The tokenizer of a model, without its weights.
fn tokenizer(model: &str) -> Result<Text> {
    let source = Source::parse(model);
    if let Source::Dir(dir) = &source {
        std::fs::read_dir(dir).map_err(|e| Error::io("open model folder", dir, e))?;
        return Text::from_dir(dir);
    }
    let file = |name| source.read(name);
    let tokenizer = file("tokenizer.json")?.ok_or_else(|| {
        Error::format(format!("{model}/tokenizer.json"), "there is no such file", "give a model with a tokenizer.json")
    })?;
    let (config, template) = (file("tokenizer_config.json")?, file("chat_template.jinja")?);
    Text::from_bytes(model, &tokenizer, config.as_deref(), template.as_deref())
}

/// What the template does, seen by asking it.
fn facts(model: &str, text: &Text) -> Value {
    let mut all = json!({
        "model": model,
        "template": text.template_place(),
        "template_hash": text.template_hash(),
        "tokenizer_hash": text.tokenizer_hash(),
    });
    if !text.has_template() {
        return all;
    }
    let ask = |messages: &[Message], reply_as: Option<&str>| {
        let options =
            ChatOptions { generation_header: true, reply_as: reply_as.map(String::from), ..Default::default() };
        text.chat_with(messages, &options)
    };
    let user = Message::new(USER, "x");
    all["system_turn"] = match ask(&[Message::new(SYSTEM, "y"), user.clone()], None) {
        Ok(e) => e.warnings.first().map_or("as the template writes it".into(), |w| json!(w)),
        Err(e) => json!(format!("refused: {e}")),
    };
    let header = |e: Encoded| {
        let of_reply = e.tokens.iter().zip(&e.places).filter(|(_, p)| p.turn == Some(e.turns.len()));
        json!(of_reply.map(|(t, _)| text.shown(*t)).collect::<String>())
    };
    all["reply_header"] = ask(std::slice::from_ref(&user), None).map_or_else(|e| json!(e.to_string()), header);
    let named = ask(std::slice::from_ref(&user), Some("NAME"));
    all["reply_header_of_a_speaker"] = named.map_or(Value::Null, header);
    all
}

/// The parts of a turn, as half-open ranges of tokens: header, content, end.
fn in_json(text: &Text, prompt: &Prompt, e: &Encoded) -> Value {
    let tokens: Vec<Value> = e
        .tokens
        .iter()
        .zip(&e.places)
        .map(|(t, p)| json!({ "id": t, "text": text.shown(*t), "turn": p.turn, "span": p.span }))
        .collect();
    let turns: Vec<Value> = turns(e)
        .into_iter()
        .map(|t| {
            let range = |r: &Option<std::ops::Range<usize>>| r.as_ref().map(|r| [r.start, r.end]);
            let [header, content, end] = [range(&t.parts[0]), range(&t.parts[1]), range(&t.parts[2])];
            json!({ "turn": t.turn, "role": t.role, "speaker": t.speaker, "header": header, "content": content, "end": end })
        })
        .collect();
    json!({
        "id": prompt.id,
        "tokens": tokens,
        "turns": turns,
        "generation_header": e.generation_header,
        "last_prompt": e.last_prompt(),
        "warnings": e.warnings,
    })
}

fn in_words(args: &TemplateArgs, text: &Text, facts: &Value, encoded: &[(&Prompt, Encoded)]) -> String {
    let colour = Colour::choose(&args.color);
    let fact = |key: &str| match &facts[key] {
        Value::String(s) if s.is_empty() => "nothing".into(),
        Value::String(s) => visible(s),
        Value::Null => "none".into(),
        other => other.to_string(),
    };
    let mut out = String::new();
    let mut line = |name: &str, what: String| out += &format!("{name:<16} {what}\n");
    line("model", fact("model"));
    line("chat template", fact("template"));
    if text.has_template() {
        line("hash", fact("template_hash"));
        if !text.variables().is_empty() {
            line("variables", fact("template_vars"));
        }
        line("system turn", fact("system_turn"));
        line("reply header", fact("reply_header"));
        let speaker = match facts["reply_header_of_a_speaker"].is_null() {
            true => "not possible: the template writes no name there".into(),
            false => fact("reply_header_of_a_speaker"),
        };
        line("of a speaker", speaker);
    } else {
        line("", "only \"text\" and \"tokens\" prompts, and transcripts in which every message has a speaker".into());
    }
    if args.show {
        out += &format!("\n{}\n", legend(colour));
    }
    for (prompt, e) in encoded {
        let kind = if e.generation_header { ", ending with the header of a reply" } else { "" };
        out += &format!("\nprompt `{}`: {} tokens{kind}\n", visible(&prompt.id), e.tokens.len());
        if args.show {
            out += &spans(text, e, colour);
        }
        out += &format!(
            "  {:<5} {:<10} {:<14} {:>9} {:>9} {:>9}\n",
            "turn", "role", "speaker", "header", "content", "end"
        );
        for t in turns(e) {
            let range = |r: &Option<std::ops::Range<usize>>| {
                r.as_ref().map_or("-".into(), |r| format!("{}..{}", r.start, r.end))
            };
            let [header, content, end] = [range(&t.parts[0]), range(&t.parts[1]), range(&t.parts[2])];
            let turn = t.turn.map_or("-".into(), |t| t.to_string());
            let role = if t.turn == Some(e.turns.len()) { format!("({ASSISTANT})") } else { visible(t.role) };
            let speaker = visible(t.speaker.unwrap_or_default());
            out += &format!("  {turn:<5} {role:<10} {speaker:<14} {header:>9} {content:>9} {end:>9}\n");
        }
    }
    out
}
