//! The command line that draws the same reply.

use super::arms::Resolved;
use super::ask::Ask;
use crate::shell::word;
use crate::text::ASSISTANT;
use serde_json::json;
use std::fmt::Write as _;

/// For one arm. `model` is how its model is given to this program, as options.
pub fn command(ask: &Ask, edits: &[Resolved], model: &str) -> String {
    let mut line = json!({ "id": ask.item(), "messages": ask.messages });
    if let (Some(speaker), Some(list)) = (&ask.reply_as, line["messages"].as_array_mut()) {
        list.push(json!({ "role": ASSISTANT, "speaker": speaker }));
    }
    let mut text = format!("printf '%s\\n' {} > p.jsonl\npersonascope ", word(&line.to_string()));
    text += if edits.is_empty() { "generate" } else { "steer" };
    text += model;
    text += " --prompts p.jsonl";
    for e in edits {
        let _ = write!(
            text,
            " --vector {} --site {} --op {} --on {} --strength={}",
            word(&e.file),
            e.site,
            e.op,
            word(&e.on),
            e.amount
        );
    }
    let _ = write!(text, " --max-new-tokens {} --temperature {}", ask.max_new_tokens, ask.temperature);
    if ask.top_p < 1.0 {
        let _ = write!(text, " --top-p {}", ask.top_p);
    }
    let _ = write!(text, " --seed {}", ask.seed);
    if !edits.is_empty() {
        text += " --out steered";
    }
    text
}
