//! Tests over whole conversations, with tokenizers and templates of the common kinds.

mod guarding;
mod loading;
mod spans;
mod speaking;

use super::*;
use serde_json::{Value as Json, json};
use std::ops::Range;

const TOKENIZER: &[u8] = include_bytes!("../../assets/toyworld/tokenizer.json");
const CONFIG: &[u8] = include_bytes!("../../assets/toyworld/tokenizer_config.json");

const CHATML: &str = "\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif -%}";

/// Headers with ids around the role, contents trimmed, and a default text in front of the first one.
const LLAMA3: &str = "\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + strftime_now('%d %b %Y') + '\\n\\n' + system + '<|eot_id|>' }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}";

/// No system message, strict alternation, and another name for the assistant.
const GEMMA: &str = "\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}";

/// Prints the system message in the last user turn, out of order, and ends only the assistant's turns.
const MISTRAL: &str = "\
{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message.role == 'user' %}
        {%- if loop.last and system is defined %}{{- '[INST] ' + system + '\\n\\n' + message.content + '[/INST]' }}
        {%- else %}{{- '[INST] ' + message.content + '[/INST]' }}{%- endif %}
    {%- else %}{{- ' ' + message.content|trim + eos_token }}{%- endif %}
{%- endfor %}";

/// Drops system messages and notes without a word, and writes the last end mark only where no more follows.
const DROPS: &str = "\
{%- for m in messages if m.role not in ['system', 'note'] -%}
{{- m.role + ': ' + m.content -}}{%- if not loop.last -%}{{- '\\n' -}}{%- else -%}{{- eos_token -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'assistant: ' -}}{%- endif -%}";

/// Closes the conversation, and not the turn, where no reply is asked for, as Phi-3's.
const CLOSES: &str = "\
{%- for m in messages %}{{- '<|' + m.role + '|>\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{% else %}{{- '<|eot_id|>' }}{% endif %}";

/// Reasoning is cut out of earlier replies and printed apart in the last one.
const REASONS: &str = "\
{%- for message in messages %}
{%- set content = message.content %}
{%- if message.role == 'assistant' %}
    {%- set reasoning = '' %}
    {%- if '</think>' in content %}
        {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if loop.last %}{{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content }}
    {%- else %}{{- '<|im_start|>assistant\\n' + content }}{%- endif %}
    {{- '<|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

/// The embedded tokenizer with more added tokens, and a configuration with the given template.
fn byte_level(template: &str) -> Text {
    let mut tokenizer: Json = serde_json::from_slice(TOKENIZER).unwrap();
    let markup = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];
    let more = ["<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"];
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    for (n, content) in markup.into_iter().chain(more).chain(["<think>", "</think>", "\n\n"]).enumerate() {
        let special = !content.contains("think") && content != "\n\n";
        added.push(added_token(1536 + n as u32, content, special));
    }
    // As the Llama 3 files have it: it trims offsets, which must not reach the spans.
    tokenizer["post_processor"] =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    text(&tokenizer, template)
}

/// A piece vocabulary with `▁` for spaces and bytes for what it lacks, as SentencePiece models have.
fn pieces(template: &str, metaspace: bool) -> Text {
    let mut vocab = serde_json::Map::new();
    let mut add = |token: String| {
        let id = vocab.len();
        vocab.entry(token).or_insert(json!(id));
    };
    ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"].into_iter().for_each(|t| add(t.into()));
    (0..=255u8).for_each(|b| add(format!("<0x{b:02X}>")));
    (' '..='~').for_each(|c| add(c.to_string()));
    let merges = [("▁", "h"), ("h", "i"), ("▁", "hi"), ("t", "h"), ("▁", "th"), ("o", "u")];
    add("▁".into());
    merges.iter().for_each(|(a, b)| add(format!("{a}{b}")));
    let spaces = [
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
    ];
    let added: Vec<Json> = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
        .into_iter()
        .enumerate()
        .map(|(id, content)| added_token(id as u32, content, true))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "added_tokens": added,
        "normalizer": if metaspace { Json::Null } else { json!({"type": "Sequence", "normalizers": spaces}) },
        "pre_tokenizer": if metaspace {
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})
        } else { Json::Null },
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": merges},
    });
    text(&tokenizer, template)
}

fn added_token(id: u32, content: &str, special: bool) -> Json {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": special})
}

fn text(tokenizer: &Json, template: &str) -> Text {
    let of_pieces = tokenizer["model"]["byte_fallback"] == json!(true);
    let (bos, eos) = if of_pieces { ("<s>", "</s>") } else { ("<|bos|>", "<|end|>") };
    let config = json!({"bos_token": bos, "eos_token": {"content": eos, "special": true}, "chat_template": template});
    let bytes = |j: &Json| serde_json::to_vec(j).unwrap();
    Text::from_bytes("test", &bytes(tokenizer), Some(&bytes(&config)), None).unwrap()
}

fn embedded() -> Text {
    Text::from_bytes("embedded", TOKENIZER, Some(CONFIG), None).unwrap()
}

fn talk(turns: &[(&str, &str)]) -> Vec<Message> {
    turns.iter().map(|(role, content)| Message::new(*role, *content)).collect()
}

/// The rendering that the ids must be the encoding of.
fn rendering(text: &Text, messages: &[Message], generation: bool) -> String {
    text.template.as_ref().unwrap().open(Variables::new()).unwrap().render(messages, generation).unwrap()
}

/// The tokenizer's own encoding of the whole rendering, nothing added, as transformers encodes it.
fn whole(text: &Text, rendered: &str) -> Vec<u32> {
    text.guarded.tokenizer.encode(rendered, false).unwrap().get_ids().to_vec()
}

fn spelt(text: &Text, encoded: &Encoded, range: Range<usize>) -> Vec<String> {
    encoded.tokens[range].iter().map(|t| text.token(*t).unwrap()).collect()
}

/// The tokens of one span of one turn, decoded with their special tokens.
fn part(text: &Text, encoded: &Encoded, turn: Option<usize>, span: Span) -> String {
    let place = TokenPlace { turn, span };
    let ids: Vec<u32> =
        encoded.tokens.iter().zip(&encoded.places).filter(|(_, p)| **p == place).map(|(t, _)| *t).collect();
    text.guarded.tokenizer.decode(&ids, false).unwrap()
}
