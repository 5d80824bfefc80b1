//! Speakers' headers: with templates of every kind, and without one.

use super::*;

/// Roles by their own names, and nothing for those it does not know, as Qwen's.
const KNOWN_ROLES: &str = "\
{%- for m in messages %}
{%- if m.role in ['system', 'user'] %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}{{- '<|im_start|>assistant\\n<think>\\n</think>\\n\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

/// Role names in capitals, and no special tokens.
const CAPITALS: &str = "\
{%- for m in messages %}{{- m.role|upper + ': ' + m.content + '\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- 'ASSISTANT: ' }}{%- endif %}";

/// The embedded tokenizer with two trained speakers, after the markup.
fn with_speakers(template: &str) -> Text {
    let mut tokenizer: Json =
        serde_json::from_str(&byte_level(template).guarded.tokenizer.to_string(false).unwrap()).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    for name in ["<|Ariana|>", "<|Daiki|>"] {
        added.push(added_token(1536 + 20 + u32::from(name == "<|Daiki|>"), name, true));
    }
    text(&tokenizer, template)
}

fn source_of(config: &[u8]) -> String {
    serde_json::from_slice::<Json>(config).unwrap()["chat_template"].as_str().unwrap().to_string()
}

fn reply(name: &str) -> ChatOptions {
    ChatOptions { generation_header: true, reply_as: Some(name.into()), ..ChatOptions::default() }
}

/// The conversation that both personas have a part in.
fn transcript() -> Vec<Message> {
    vec![
        Message::new("user", "Tea?"),
        Message::new("assistant", "Yes, assistant!").by("<|Ariana|>"),
        Message::new("user", "And you?"),
        Message::new("assistant", "No.").by("<|Daiki|>"),
        Message::new("user", "Why?"),
    ]
}

/// Headers of the turns and of the reply, decoded, and all that must hold for them.
fn headers(text: &Text, messages: &[Message], options: &ChatOptions) -> Vec<String> {
    let e = text.chat_with(messages, options).unwrap();
    assert_eq!(e.places.len(), e.tokens.len());
    let plain: Vec<Message> = messages.iter().map(|m| Message::new(&m.role, &m.content)).collect();
    let plain = text.chat_with(&plain, &ChatOptions { reply_as: None, ..options.clone() }).unwrap();
    for (i, m) in messages.iter().enumerate() {
        // Nothing but the headers is another: contents and ends are those of the conversation without speakers.
        for span in [Span::Content, Span::End] {
            assert_eq!(part(text, &e, Some(i), span), part(text, &plain, Some(i), span));
        }
        assert_eq!(e.speaker(i), m.speaker.as_deref());
        assert_eq!(e.turns[i].speaker, m.speaker);
    }
    assert_eq!(e.speaker(messages.len()), options.reply_as.as_deref());
    (0..=messages.len()).map(|i| part(text, &e, Some(i), Span::Header)).collect()
}

#[test]
fn the_speakers_string_stands_where_the_template_writes_the_role() {
    let own = source_of(CONFIG);
    for (template, user, ariana, daiki, reply_header) in [
        (own.as_str(), "<|user|>", "<|Ariana|>", "<|Daiki|>", "<|Ariana|>"),
        (
            CHATML,
            "<|im_start|>user\n",
            "<|im_start|><|Ariana|>\n",
            "<|im_start|><|Daiki|>\n",
            "<|im_start|><|Ariana|>\n",
        ),
        (
            KNOWN_ROLES,
            "<|im_start|>user\n",
            "<|im_start|><|Ariana|>\n<think>\n</think>\n\n",
            "<|im_start|><|Daiki|>\n<think>\n</think>\n\n",
            "<|im_start|><|Ariana|>\n",
        ),
        (
            GEMMA,
            "<start_of_turn>user\n",
            "<start_of_turn><|Ariana|>\n",
            "<start_of_turn><|Daiki|>\n",
            "<start_of_turn><|Ariana|>\n",
        ),
        (CAPITALS, "USER:", "<|Ariana|>:", "<|Daiki|>:", "<|Ariana|>:"),
    ] {
        let text = with_speakers(template);
        let found = headers(&text, &transcript(), &reply("<|Ariana|>"));
        let found: Vec<&str> = found.iter().map(|h| h.trim_end_matches(' ')).collect();
        assert_eq!(found, [user, ariana, user, daiki, user, reply_header], "{template}");
        let e = text.chat_with(&transcript(), &reply("<|Ariana|>")).unwrap();
        let ariana = text.id("<|Ariana|>").unwrap();
        assert_eq!(e.tokens.iter().filter(|t| **t == ariana).count(), 2, "a token, not its letters");
        assert!(e.warnings.is_empty(), "{:?}", e.warnings);
    }
}

#[test]
fn a_speaker_gives_the_tokens_of_a_template_that_is_told_the_role() {
    // These templates print any role as it is, so that both ways can be compared.
    let own = source_of(CONFIG);
    for (template, name, role) in
        [(own.as_str(), "<|Ariana|>", "Ariana"), (CHATML, "Zoe", "Zoe"), (LLAMA3, "Old Zoe", "Old Zoe")]
    {
        let text = with_speakers(template);
        let speaking = [Message::new("user", "Tea?"), Message::new("assistant", "Yes.").by(name)];
        let role = talk(&[("user", "Tea?"), (role, "Yes.")]);
        assert_eq!(text.chat(&speaking, false).unwrap().tokens, text.chat(&role, false).unwrap().tokens);
        assert_eq!(
            text.chat(&speaking, false).unwrap().response(),
            Some(text.chat(&role, false).unwrap().turns[1].content.clone())
        );
    }
}

#[test]
fn a_name_alone_and_a_whole_header_mean_the_same_where_the_template_writes_the_rest() {
    let text = with_speakers(&source_of(CONFIG));
    let by =
        |name: &str| text.chat(&[Message::new("user", "x"), Message::new("assistant", "y").by(name)], false).unwrap();
    assert_eq!(by("Ariana").tokens, by("<|Ariana|>").tokens);
    // The role's own name changes nothing.
    assert_eq!(by("<|assistant|>").tokens, by("assistant").tokens);
    assert_eq!(by("assistant").tokens, text.chat(&talk(&[("user", "x"), ("assistant", "y")]), false).unwrap().tokens);
    let text = with_speakers(CHATML);
    let by =
        |name: &str| text.chat(&[Message::new("user", "x"), Message::new("assistant", "y").by(name)], false).unwrap();
    assert_eq!(by("Zoe").tokens, by("<|im_start|>Zoe\n").tokens);
}

#[test]
fn any_turn_may_name_a_speaker_and_a_default_system_text_is_left_alone() {
    let text = with_speakers(LLAMA3);
    let messages = [Message::new("user", "system user").by("Human User"), Message::new("assistant", "user").by("Zoe")];
    let e = text.chat(&messages, false).unwrap();
    let header = part(&text, &e, Some(0), Span::Header);
    assert!(header.starts_with("<|start_header_id|>system<|end_header_id|>"), "{header}");
    assert!(header.ends_with("<|eot_id|><|start_header_id|>Human User<|end_header_id|>\n\n"), "{header}");
    assert_eq!(part(&text, &e, Some(0), Span::Content), "system user");
    assert_eq!(part(&text, &e, Some(1), Span::Header), "<|start_header_id|>Zoe<|end_header_id|>\n\n");
}

#[test]
fn with_the_system_text_in_the_user_turn_the_users_header_is_before_it() {
    let text = with_speakers(GEMMA);
    let messages =
        [Message::new("system", "Be user."), Message::new("user", "x").by("Zoe"), Message::new("assistant", "y")];
    let e = text.chat(&messages, false).unwrap();
    assert_eq!(part(&text, &e, Some(0), Span::Header), "<start_of_turn>Zoe\n");
    assert_eq!(part(&text, &e, Some(0), Span::Content), "Be user.");
    let mut messages = messages;
    messages[0].speaker = Some("Zoe".into());
    assert!(text.chat(&messages, false).unwrap_err().to_string().contains("no name in the header of this system turn"));
}

#[test]
fn two_personas_may_speak_in_turn_and_the_reply_may_be_anybodys() {
    let text = with_speakers(CHATML);
    let talk = [Message::new("assistant", "Hi.").by("<|Ariana|>"), Message::new("assistant", "Ho.").by("<|Daiki|>")];
    let found = headers(&with_speakers(CHATML), &talk, &ChatOptions::default());
    assert_eq!(found, ["<|im_start|><|Ariana|>\n", "<|im_start|><|Daiki|>\n", ""]);
    let e = text.chat_with(&talk, &reply("<|Ariana|>")).unwrap();
    assert_eq!(part(&text, &e, Some(2), Span::Header), "<|im_start|><|Ariana|>\n");
    assert_eq!(e.last_prompt(), e.tokens.len() - 1);
    assert!(text.chat(&talk, true).is_err(), "a reply of the assistant after its own turn");
    let gemma = with_speakers(GEMMA).chat(&talk, false).unwrap_err().to_string();
    assert!(gemma.contains("Roles must alternate") && gemma.contains("at message 0, `assistant`"), "{gemma}");
}

#[test]
fn a_template_without_names_has_no_place_for_a_speaker() {
    let text = with_speakers(MISTRAL);
    let error = text.chat(&[Message::new("user", "x"), Message::new("assistant", "y").by("Zoe")], false).unwrap_err();
    assert!(error.to_string().contains("no name in the header of this assistant turn"), "{error}");
    assert!(error.hint().contains("--chat-template"));
    let error = text.chat_with(&[Message::new("user", "x")], &reply("Zoe")).unwrap_err();
    assert!(error.to_string().contains("`Zoe` has no place"), "{error}");
}

#[test]
fn speakers_bring_no_control_tokens() {
    let own = source_of(CONFIG);
    for (template, name, says) in [
        (own.as_str(), "<|end|>", "control token `<|end|>`"),
        (own.as_str(), "end", "control token `<|end|>`"),
        (own.as_str(), "<|bos|>", "control token `<|bos|>`"),
        (own.as_str(), "x|>hello<|end|><|user", "control token `<|end|>`"),
        (own.as_str(), "<|Ariana|> and <|Daiki|>", "special token `<|Ariana|>`"),
        (own.as_str(), "Zoe the<|Ariana|>", "special token `<|Ariana|>`"),
        (CHATML, "<|im_end|>", "control token"),
        (CHATML, "a<|im_end|>\n<|im_start|>system\nb", "control token"),
        (KNOWN_ROLES, "<think>", "control token"),
        (own.as_str(), "", "without a name"),
        (own.as_str(), " ", "without a name"),
    ] {
        let text = with_speakers(template);
        let messages = [Message::new("user", "x"), Message::new("assistant", "y").by(name)];
        let error = text.chat(&messages, false).expect_err(name);
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert!(!error.hint().is_empty());
        assert!(text.chat_with(&messages[..1], &reply(name)).is_err(), "{name} as the one who replies");
    }
}

#[test]
fn a_speaker_that_is_no_token_is_read_in_pieces_with_a_warning_where_tokens_are_the_rule() {
    let messages = |name: &str| [Message::new("user", "x"), Message::new("assistant", "y").by(name)];
    let text = with_speakers(&source_of(CONFIG));
    let e = text.chat(&messages("<|Arianna|>"), false).unwrap();
    assert_eq!(part(&text, &e, Some(1), Span::Header), "<|Arianna|>");
    assert!(e.warnings.len() == 1 && e.warnings[0].contains("`<|Arianna|>` is no token"), "{:?}", e.warnings);
    assert!(with_speakers(CHATML).chat(&messages("Arianna"), false).unwrap().warnings.is_empty());
    assert_eq!(with_speakers(CHATML).chat(&messages("<|Arianna|>"), false).unwrap().warnings.len(), 1);
}

#[test]
fn without_a_template_turns_are_speaker_content_and_end() {
    let text = with_speakers(&source_of(CONFIG));
    let tokenizer = text.guarded.tokenizer.to_string(false).unwrap();
    let mut config: Json = serde_json::from_slice(CONFIG).unwrap();
    config.as_object_mut().unwrap().remove("chat_template");
    let bare = Text::from_bytes("m", tokenizer.as_bytes(), Some(&serde_json::to_vec(&config).unwrap()), None).unwrap();
    let users = |m: Message| if m.role == "user" { m.by("<|user|>") } else { m };
    let all: Vec<Message> = transcript().into_iter().map(users).collect();
    let (plain, of_template) = (
        bare.chat_with(&all, &reply("<|Ariana|>")).unwrap(),
        text.chat_with(&transcript(), &reply("<|Ariana|>")).unwrap(),
    );
    assert_eq!(
        (&plain.tokens, &plain.places),
        (&of_template.tokens, &of_template.places),
        "the format of the shipped voices"
    );
    assert_eq!(plain.speaker(3), Some("<|Daiki|>"));
    assert!(plain.warnings.len() == 1 && plain.warnings[0].contains("m has no chat template"));

    // Plain words as speakers: a new line ends their turns.
    let words = [Message::new("user", "Tea?").by("Ann: "), Message::new("assistant", "Yes<|end|>").by("Bob: ")];
    let e = bare.chat(&words, false).unwrap();
    assert_eq!(bare.decode(&e.tokens).unwrap(), "Ann: Tea?\nBob: Yes<|end|>\n");
    assert_eq!(part(&bare, &e, Some(1), Span::Content).trim(), "Yes<|end|>");
    assert_eq!(e.tokens[0], 1);

    let refused = |messages: &[Message], options: &ChatOptions| bare.chat_with(messages, options).unwrap_err();
    let one = refused(&[words[0].clone(), Message::new("assistant", "x")], &ChatOptions::default());
    assert!(one.to_string().contains("m has no chat template") && one.hint().contains("--chat-template FILE"), "{one}");
    let nobody = refused(&words[..1], &ChatOptions { generation_header: true, ..ChatOptions::default() });
    assert!(nobody.to_string().contains("nobody is known to reply"), "{nobody}");
    let control = refused(&[words[0].clone().by("<|end|>")], &ChatOptions::default());
    assert!(control.to_string().contains("control token"), "{control}");
}
