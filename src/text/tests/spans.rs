//! Where the tokens of a conversation belong.

use super::*;

const LONG: [(&str, &str); 5] = [
    ("system", "You are a wise old owl."),
    ("user", "Hello there, owl!"),
    ("assistant", "Hoo. Déjà vu 😀 again"),
    ("user", "  What\n\nnow?\n"),
    ("assistant", "Sleep."),
];

/// What must hold for every conversation: ids, a cover of the tokens, and contiguous contents in place.
fn check(text: &Text, messages: &[Message], generation: bool) -> Encoded {
    let encoded = text.chat(messages, generation).unwrap();
    assert_eq!(encoded.tokens, whole(text, &rendering(text, messages, generation)));
    assert_eq!(encoded.places.len(), encoded.tokens.len());
    assert_eq!(encoded.turns.len(), messages.len());
    for (t, place) in encoded.places.iter().enumerate() {
        for (i, turn) in encoded.turns.iter().enumerate() {
            let inside = *place == TokenPlace { turn: Some(i), span: Span::Content };
            assert_eq!(inside, turn.content.contains(&t), "token {t}, turn {i}");
        }
    }
    // Per turn: headers, then contents, then ends, without interruption.
    let key = |p: &TokenPlace| (p.turn, p.span);
    let mut runs: Vec<_> = encoded.places.iter().map(key).collect();
    runs.dedup();
    let mut distinct = runs.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(runs.len(), distinct.len(), "a part is interrupted: {runs:?}");
    assert_eq!(encoded.generation_header, generation);
    encoded
}

#[test]
fn the_embedded_model_gets_spans_and_ids_as_its_template_says() {
    let text = embedded();
    let messages = talk(&LONG[..2]);
    let e = check(&text, &messages, true);
    // <|bos|> | <|system|> ... <|end|> | <|user|> ... <|end|> | <|assistant|>
    assert_eq!((e.tokens[0], e.places[0]), (1, TokenPlace { turn: None, span: Span::Header }));
    assert_eq!((e.tokens[1], e.places[1]), (3, TokenPlace { turn: Some(0), span: Span::Header }));
    for (turn, (_, content)) in e.turns.iter().zip(&LONG) {
        assert_eq!(text.decode(&e.tokens[turn.content.clone()]).unwrap(), *content);
        assert_eq!(e.tokens[turn.content.end], 2);
        assert_eq!(e.places[turn.content.end].span, Span::End);
    }
    assert_eq!(e.tokens[e.last_prompt()], 5);
    assert_eq!(e.places[e.last_prompt()], TokenPlace { turn: Some(2), span: Span::Header });
    assert_eq!(e.response(), None);
    assert_eq!(e.tokens.iter().filter(|t| **t == 1).count(), 1);

    let whole_talk = check(&text, &talk(&LONG), false);
    assert_eq!(whole_talk.tokens[whole_talk.last_prompt()], 5);
    let reply = whole_talk.response().unwrap();
    assert_eq!(reply.start, whole_talk.last_prompt() + 1);
    assert_eq!(text.decode(&whole_talk.tokens[reply]).unwrap(), "Sleep.");
}

#[test]
fn a_prompt_and_the_same_prompt_with_its_reply_agree_on_the_last_prompt_token() {
    for template in [CHATML, LLAMA3, GEMMA] {
        let text = byte_level(template);
        let messages = talk(&LONG[1..3]);
        let (asked, answered) = (check(&text, &messages[..1], true), check(&text, &messages, false));
        assert_eq!(asked.last_prompt(), answered.last_prompt());
        assert_eq!(asked.tokens, answered.tokens[..asked.tokens.len()]);
    }
}

#[test]
fn chatml_turns_have_header_content_and_end() {
    let text = byte_level(CHATML);
    let e = check(&text, &talk(&LONG), false);
    for (i, (role, content)) in LONG.iter().enumerate() {
        assert_eq!(part(&text, &e, Some(i), Span::Header), format!("<|im_start|>{role}\n"));
        assert_eq!(part(&text, &e, Some(i), Span::Content), *content);
        assert_eq!(part(&text, &e, Some(i), Span::End), "<|im_end|>\n");
    }
}

#[test]
fn trimmed_contents_and_default_texts_are_told_apart() {
    let text = byte_level(LLAMA3);
    let e = check(&text, &talk(&LONG[1..4]), true);
    assert_eq!(part(&text, &e, None, Span::Header), "<|bos|>");
    // Without a system message the template writes its own; that belongs to the header of the first message.
    let header = part(&text, &e, Some(0), Span::Header);
    assert!(header.starts_with("<|start_header_id|>system") && header.contains("26 Jul 2024"), "{header}");
    assert_eq!(part(&text, &e, Some(2), Span::Content), "What\n\nnow?");
    assert_eq!(part(&text, &e, Some(2), Span::End), "<|eot_id|>");
    assert_eq!(part(&text, &e, Some(3), Span::Header), "<|start_header_id|>assistant<|end_header_id|>\n\n");
    let e = check(&text, &talk(&LONG), false);
    assert_eq!(part(&text, &e, Some(0), Span::Content), LONG[0].1);
}

#[test]
fn a_template_that_refuses_a_conversation_is_quoted() {
    let text = byte_level(GEMMA);
    let refused = |turns: &[(&str, &str)]| text.chat(&talk(turns), false).unwrap_err().to_string();
    let words = refused(&[LONG[1], LONG[1]]);
    assert!(words.contains("Roles must alternate") && words.contains("line 3"), "{words}");
    assert!(words.ends_with("(at message 1, `user`)"), "{words}");
    assert!(refused(&[LONG[0]]).contains("System role not supported"), "no user turn could take it");
    // Also with the system text in the user's turn this is refused: then for the reason given first.
    assert!(refused(&[LONG[0], LONG[1], LONG[1]]).contains("System role not supported"));
    let e = check(&text, &talk(&LONG[1..3]), false);
    assert_eq!(part(&text, &e, Some(1), Span::Header), "<start_of_turn>model\n");
    assert_eq!(part(&text, &e, Some(1), Span::End), "<end_of_turn>\n");
}

#[test]
fn a_system_turn_that_is_refused_or_dropped_stands_before_the_first_user_turn() {
    for (template, says) in [(GEMMA, "System role not supported"), (DROPS, "drops the system turn")] {
        let text = byte_level(template);
        for (n, generation) in [(2, true), (3, false), (4, true), (5, false)] {
            let e = text.chat(&talk(&LONG[..n]), generation).unwrap();
            assert!(e.warnings.len() == 1 && e.warnings[0].contains(says), "{:?}", e.warnings);
            let joined = format!("{}\n\n{}", LONG[0].1, LONG[1].1);
            let folded = [&[("user", joined.as_str())], &LONG[2..n]].concat();
            let plain = text.chat(&talk(&folded), generation).unwrap();
            assert!(plain.warnings.is_empty());
            assert_eq!(e.tokens, plain.tokens, "as if it had been written so");
            // The tokenizer may read a space in front of it with its first word.
            assert_eq!(part(&text, &e, Some(0), Span::Content).trim_start(), LONG[0].1);
            assert_eq!(part(&text, &e, Some(0), Span::End), "");
            assert_eq!(part(&text, &e, Some(1), Span::Header), "\n\n");
            assert_eq!(part(&text, &e, Some(1), Span::Content), LONG[1].1);
            assert_eq!(e.turns[0].content.start, plain.turns[0].content.start);
            assert_eq!(e.turns[1].content.end, plain.turns[0].content.end);
            for (turn, other) in e.turns[2..].iter().zip(&plain.turns[1..]) {
                assert_eq!(turn, other);
            }
        }
        let empty = text.chat(&talk(&[("system", " "), LONG[1]]), true).unwrap();
        assert_eq!(empty.tokens, text.chat(&talk(&[LONG[1]]), true).unwrap().tokens);
        assert!(empty.turns[0].content.is_empty());
    }
    // Where nothing is printed of the user's turn either, there is no place for it.
    let e = byte_level("x").chat(&talk(&LONG[..2]), false).unwrap();
    assert_eq!(e.tokens.len(), 1);
    assert!(e.warnings.len() == 2 && e.warnings.iter().all(|w| w.contains("prints nothing of a")), "{:?}", e.warnings);
    // What the template accepts is left as it is.
    assert!(byte_level(CHATML).chat(&talk(&LONG), false).unwrap().warnings.is_empty());
}

#[test]
fn template_variables_come_from_the_text_or_from_the_prompt_which_goes_first() {
    let source = "{% for m in messages %}{{ m.content }}{% endfor %}{{ mood | default('none') }}";
    let mut text = byte_level(source);
    let with = |text: &Text, pairs: &[(&str, Json)]| {
        let variables = pairs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        text.chat_with(&talk(&[("user", "x")]), &ChatOptions { variables, ..ChatOptions::default() }).unwrap()
    };
    let words = |text: &Text, e: &Encoded| text.decode(&e.tokens).unwrap();
    assert_eq!(words(&text, &with(&text, &[])), "xnone");
    assert!(text.set_variables(Variables::from([("mood".into(), json!("calm"))])).unwrap().is_empty());
    assert_eq!(words(&text, &with(&text, &[])), "xcalm");
    assert_eq!(words(&text, &with(&text, &[("mood", json!(3))])), "x3");
    let e = with(&text, &[("moood", json!(3))]);
    assert!(e.warnings.len() == 1 && e.warnings[0].contains("`moood`"), "{:?}", e.warnings);
    assert_eq!(text.set_variables(Variables::from([("moood".into(), json!("calm"))])).unwrap().len(), 1);
    for name in ["messages", "add_generation_prompt", "a b", "", "1a"] {
        assert!(text.set_variables(Variables::from([(name.into(), json!(1))])).is_err(), "{name}");
    }
}

#[test]
fn contents_printed_out_of_order_keep_their_messages() {
    for text in [byte_level(MISTRAL), pieces(MISTRAL, false), pieces(MISTRAL, true)] {
        let e = check(&text, &talk(&LONG[..4]), true);
        assert!(e.turns[1].content.end <= e.turns[2].content.start);
        assert!(e.turns[2].content.end <= e.turns[0].content.start, "the system message comes late");
        assert!(e.turns[0].content.end <= e.turns[3].content.start);
        assert_eq!(part(&text, &e, Some(0), Span::Content).trim(), LONG[0].1);
        assert_eq!(part(&text, &e, Some(2), Span::Content).trim(), LONG[2].1);
        assert_eq!(part(&text, &e, Some(1), Span::End).trim(), "[/INST]");
        // This template writes no generation header: the prompt ends with the user's end.
        assert_eq!(e.last_prompt(), e.tokens.len() - 1);
        assert_eq!(e.places.last().unwrap(), &TokenPlace { turn: Some(3), span: Span::End });
    }
}

#[test]
fn byte_fallback_pieces_of_a_character_stay_in_its_turn() {
    let text = pieces(CHATML, false);
    let e = check(&text, &talk(&[("user", "😀"), ("assistant", "é")]), false);
    // 😀 is four bytes, é is two; each byte is a token with the offsets of the whole character.
    assert_eq!(spelt(&text, &e, e.turns[0].content.clone()), ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]);
    assert_eq!(spelt(&text, &e, e.turns[1].content.clone()), ["<0xC3>", "<0xA9>"]);
}

#[test]
fn a_dropped_message_has_no_tokens_and_an_unstable_end_goes_to_the_next_header() {
    let text = byte_level(DROPS);
    let e = check(&text, &talk(&[("note", LONG[0].1), LONG[1], LONG[2]]), false);
    assert!(e.turns[0].content.is_empty());
    assert!(e.warnings.len() == 1 && e.warnings[0].contains("nothing of a note turn"), "{:?}", e.warnings);
    assert!(e.places.iter().all(|p| p.turn != Some(0)));
    assert_eq!(part(&text, &e, Some(1), Span::Content).trim(), LONG[1].1);
    // Alone the turn would end with <|end|>, here a newline follows, so the newline opens the next turn.
    assert_eq!(part(&text, &e, Some(1), Span::End), "");
    assert_eq!(part(&text, &e, Some(2), Span::Header), "\nassistant:");
    assert_eq!(part(&text, &e, Some(2), Span::End), "<|end|>");
    let only = check(&text, &talk(&[("note", "x")]), true);
    assert_eq!(part(&text, &only, Some(1), Span::Header), "assistant: ");
}

#[test]
fn an_end_of_the_conversation_is_told_from_the_end_of_a_turn() {
    let text = byte_level(CLOSES);
    let e = check(&text, &talk(&LONG[..4]), true);
    for (i, (role, _)) in LONG[..4].iter().enumerate() {
        assert_eq!(part(&text, &e, Some(i), Span::Header), format!("<|{role}|>\n"));
        assert_eq!(part(&text, &e, Some(i), Span::End), "<|im_end|>\n");
    }
    assert_eq!(part(&text, &e, Some(4), Span::Header), "<|assistant|>\n");
    let e = check(&text, &talk(&LONG[..3]), false);
    assert_eq!(part(&text, &e, Some(1), Span::End), "<|im_end|>\n");
    assert_eq!(part(&text, &e, Some(2), Span::End), "<|im_end|>\n<|eot_id|>");
}

#[test]
fn reasoning_that_the_template_moves_is_found_all_the_same() {
    let text = byte_level(REASONS);
    let reply = "<think>\nthey ask\n</think>\n\nHoo.";
    let e = check(&text, &talk(&[LONG[1], ("assistant", reply)]), false);
    assert_eq!(part(&text, &e, Some(1), Span::Header), "<|im_start|>assistant\n");
    assert_eq!(part(&text, &e, Some(1), Span::Content), reply);
    // In an earlier turn only the answer is printed.
    let e = check(&text, &talk(&[LONG[1], ("assistant", reply), LONG[3]]), true);
    assert_eq!(part(&text, &e, Some(1), Span::Content), "Hoo.");
    assert_eq!(part(&text, &e, Some(1), Span::End), "<|im_end|>\n");
    // Without reasoning the template's empty one is header.
    let e = check(&text, &talk(&[LONG[1], LONG[4]]), false);
    assert_eq!(part(&text, &e, Some(1), Span::Header), "<|im_start|>assistant\n<think>\n\n</think>\n\n");
    assert_eq!(part(&text, &e, Some(1), Span::Content), "Sleep.");
}

#[test]
fn empty_and_blank_contents_have_a_place_and_no_more() {
    for (template, blank) in [(CHATML, "  "), (LLAMA3, "")] {
        let text = byte_level(template);
        let e = check(&text, &talk(&[("user", ""), ("assistant", "  "), ("user", "x")]), true);
        assert!(e.turns[0].content.is_empty());
        assert_eq!(part(&text, &e, Some(1), Span::Content), blank);
        assert_eq!(part(&text, &e, Some(2), Span::Content), "x");
        // The empty content lies between its header and its end.
        assert_eq!(e.places[e.turns[0].content.start], TokenPlace { turn: Some(0), span: Span::End });
    }
}

#[test]
fn equal_contents_and_contents_that_look_like_headers_are_not_confused() {
    let text = byte_level(CHATML);
    let e = check(&text, &talk(&[("user", "user"), ("assistant", "user"), ("user", "assistant\n")]), true);
    assert_eq!(part(&text, &e, Some(0), Span::Header), "<|im_start|>user\n");
    assert_eq!(part(&text, &e, Some(0), Span::Content), "user");
    assert_eq!(part(&text, &e, Some(1), Span::Content), "user");
    assert_eq!(part(&text, &e, Some(2), Span::Content), "assistant\n");
}

#[test]
fn private_use_characters_in_a_content_do_no_harm() {
    let text = byte_level(CHATML);
    let content = "\u{e000}\u{e001} and \u{e002}";
    let e = check(&text, &talk(&[("user", content)]), true);
    assert_eq!(part(&text, &e, Some(0), Span::Content), content);
}

#[test]
fn a_content_printed_twice_counts_where_it_stands_first() {
    let twice = "{% for m in messages %}{{ m.content + '<|im_end|>' + m.content + '<|im_start|>' }}{% endfor %}";
    let text = byte_level(twice);
    let e = check(&text, &talk(&[("user", "abc")]), false);
    assert_eq!(part(&text, &e, Some(0), Span::Content), "abc");
    assert_eq!(part(&text, &e, Some(0), Span::End), "<|im_end|>abc<|im_start|>");
    assert_eq!(e.turns[0].content.start, 0);
}

#[test]
fn a_template_that_rewrites_contents_is_refused() {
    let counts = "{% for m in messages %}{{ m.content|length ~ ': ' ~ m.content ~ m.content|length }}{% endfor %}";
    let error = byte_level(counts).chat(&talk(&[("user", "abc")]), false).unwrap_err();
    assert!(error.to_string().contains("message 0 (`user`) cannot be located"), "{error}");
    assert!(error.hint().contains("\"text\""));
    // A middle part without either edge could be anywhere.
    let middle = "{% for m in messages %}{{ m.content.split('|')[1] }}{% endfor %}";
    assert!(byte_level(middle).chat(&talk(&[("user", "a|b|c")]), false).is_err());
}

#[test]
fn what_makes_no_sense_to_ask_is_refused() {
    let text = embedded();
    assert!(text.chat(&[], true).is_err());
    let error = text.chat(&talk(&LONG), true).unwrap_err();
    assert!(error.to_string().contains("generation header"), "{error}");
    let error = text.chat(&talk(&[("user<|end|>", "x")]), true).unwrap_err();
    assert!(error.to_string().contains("`<|end|>`"), "{error}");
}

#[test]
fn raw_text_and_exact_tokens_have_one_turn() {
    let text = embedded();
    let raw = text.raw("Hello there").unwrap();
    assert_eq!(raw.tokens, whole(&text, "Hello there"));
    assert_eq!(raw.turns, [Turn { role: "text".into(), speaker: None, content: 0..raw.tokens.len() }]);
    assert_eq!((raw.last_prompt(), raw.response()), (raw.tokens.len() - 1, None));
    let exact = text.exact(&[7, 1, 9]);
    assert_eq!((exact.tokens.as_slice(), exact.turns[0].role.as_str()), ([7, 1, 9].as_slice(), "tokens"));
    assert!(exact.places.iter().all(|p| *p == TokenPlace { turn: Some(0), span: Span::Content }));
    assert_eq!(text.raw("").unwrap().last_prompt(), 0);
}

#[test]
fn there_is_never_a_second_beginning_of_sequence_token() {
    // This tokenizer's post-processor puts <s> (id 1) in front.
    let text = pieces(MISTRAL, false);
    let (plain, typed) = (text.raw("hi").unwrap(), text.raw("<s>hi").unwrap());
    for raw in [&plain, &typed] {
        assert_eq!(raw.tokens.iter().filter(|t| **t == 1).count(), 1);
        assert_eq!(raw.places[0], TokenPlace { turn: None, span: Span::Header });
        assert_eq!(raw.turns[0].content, 1..raw.tokens.len());
    }
    assert_eq!(plain.tokens, typed.tokens);
    let chat = text.chat(&talk(&[("user", "hi")]), true).unwrap();
    assert_eq!(chat.tokens.iter().filter(|t| **t == 1).count(), 1);
    assert!(chat.warnings.is_empty());
    // A template that writes two is obeyed, but not silently.
    let doubled = pieces("{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", false);
    let chat = doubled.chat(&talk(&[("user", "hi")]), false).unwrap();
    assert!(chat.warnings.len() == 1 && chat.warnings[0].contains("two beginning-of-sequence"), "{:?}", chat.warnings);
    // The file asks for truncation at 8 tokens; a prompt is not cut.
    assert!(text.raw("hi there hi there").unwrap().tokens.len() > 8);
}
