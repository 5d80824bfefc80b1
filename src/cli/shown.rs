//! Tokens of a prompt on a terminal: a colour or a pair of brackets for every span.

use crate::text::{ASSISTANT, Encoded, Span, Text};
use std::io::IsTerminal;
use std::ops::Range;

/// Whether colours are used.
#[derive(Clone, Copy, PartialEq)]
pub enum Colour {
    On,
    Off,
}

impl Colour {
    /// `always`, `never`, or `auto`: on a terminal, unless the environment says NO_COLOR.
    pub fn choose(when: &str) -> Colour {
        let wanted = match when {
            "always" => true,
            "never" => false,
            _ => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        if wanted { Colour::On } else { Colour::Off }
    }
}

/// A turn and where its parts are; turn `None` is what belongs to no message.
pub struct Parts<'e> {
    pub turn: Option<usize>,
    pub role: &'e str,
    pub speaker: Option<&'e str>,
    /// Header, content, end.
    pub parts: [Option<Range<usize>>; 3],
}

/// The turns in the order of their messages, the header of a reply last.
pub fn turns(e: &Encoded) -> Vec<Parts<'_>> {
    let mut all = vec![None];
    all.extend((0..=e.turns.len()).map(Some));
    let of = |turn: Option<usize>| {
        let part = |span: Span| {
            let mut inside = (0..e.places.len()).filter(|t| e.places[*t].turn == turn && e.places[*t].span == span);
            let first = inside.next()?;
            Some(first..inside.next_back().unwrap_or(first) + 1)
        };
        let role = turn.map_or("", |t| e.turns.get(t).map_or(ASSISTANT, |t| &t.role));
        let speaker = turn.and_then(|t| e.speaker(t));
        Parts { turn, role, speaker, parts: [part(Span::Header), part(Span::Content), part(Span::End)] }
    };
    let there = |p: &Parts| p.parts.iter().any(Option::is_some) || p.turn.is_some_and(|t| t < e.turns.len());
    all.into_iter().map(of).filter(there).collect()
}

/// Colours of headers, of ends, and of those who speak, in the order in which they come.
const HEADER: &str = "36";
const END: &str = "90";
const VOICES: [&str; 5] = ["32", "33", "35", "34", "31"];

/// What the colours or brackets mean.
pub fn legend(colour: Colour) -> String {
    match colour {
        Colour::Off => "[span turn role: token│token│…]".into(),
        Colour::On => format!(
            "{} {} {}; a colour for everybody who speaks; every other token is underlined",
            painted(HEADER, "header"),
            painted(VOICES[0], "content"),
            painted(END, "end")
        ),
    }
}

/// All tokens, span by span.
pub fn spans(text: &Text, e: &Encoded, colour: Colour) -> String {
    let mut out = String::new();
    let mut voices: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < e.tokens.len() {
        let place = e.places[at];
        let len = e.places[at..].iter().take_while(|p| **p == place).count();
        let tokens = e.tokens[at..at + len].iter().map(|t| visible(&text.shown(*t)));
        let who = match place.turn {
            None => "",
            Some(t) => e.speaker(t).unwrap_or_else(|| e.turns.get(t).map_or(ASSISTANT, |t| &t.role)),
        };
        match colour {
            Colour::Off => {
                let turn = place.turn.map_or("-".into(), |t| t.to_string());
                let name = format!("{} {turn} {}", place.span, visible(who));
                out += &format!("  [{}: {}]\n", name.trim_end(), tokens.collect::<Vec<_>>().join("│"));
            }
            Colour::On => {
                let code = match place.span {
                    Span::Header => HEADER,
                    Span::Content => {
                        let known = voices.iter().position(|v| *v == who);
                        let voice = known.unwrap_or(voices.len());
                        if known.is_none() {
                            voices.push(who);
                        }
                        VOICES[voice % VOICES.len()]
                    }
                    Span::End => END,
                };
                for (i, token) in tokens.enumerate() {
                    let underlined = if (at + i).is_multiple_of(2) { "" } else { ";4" };
                    out += &painted(&format!("{code}{underlined}"), &token);
                }
                // A line per turn, whatever the template writes between them.
                let next = e.places.get(at + len);
                if next.is_none_or(|n| n.turn != place.turn) {
                    out.push('\n');
                }
            }
        }
        at += len;
    }
    out
}

fn painted(code: &str, text: &str) -> String {
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A text in one line that cannot steer a terminal: control characters and their like as escapes.
pub fn visible(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped::Shipped;
    use crate::text::Message;

    fn voices() -> Text {
        let of = |file| Shipped::named("toyworld-voices").unwrap().file(file).unwrap();
        Text::from_bytes("voices", of("tokenizer.json"), Some(of("tokenizer_config.json")), None).unwrap()
    }

    #[test]
    fn every_token_is_in_one_bracket_and_turns_name_their_ranges() {
        let text = voices();
        let messages = [Message::new("user", "Tea?\x1b[2J\n"), Message::new("assistant", "Yes.").by("<|Ariana|>")];
        let e = text.chat(&messages, false).unwrap();
        let plain = spans(&text, &e, Colour::Off);
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[0], "  [header -: <|bos|>]");
        assert_eq!(lines[1], "  [header 0 user: <|user|>]");
        assert!(
            lines[2].starts_with("  [content 0 user: ") && lines[2].contains("\\u{1b}") && lines[2].ends_with("\\n]")
        );
        assert_eq!(lines[4], "  [header 1 <|Ariana|>: <|Ariana|>]");
        assert_eq!((lines[6], lines.len()), ("  [end 1 <|Ariana|>: <|end|>]", 7));
        let of: Vec<_> = turns(&e).into_iter().map(|t| (t.turn, t.speaker, t.parts)).collect();
        let n = e.tokens.len();
        assert_eq!(of[0], (None, None, [Some(0..1), None, None]));
        assert_eq!(of[2], (Some(1), Some("<|Ariana|>"), [Some(n - 4..n - 3), Some(n - 3..n - 1), Some(n - 1..n)]));

        let coloured = spans(&text, &e, Colour::On);
        assert_eq!(coloured.lines().count(), 3, "no message, one turn, the other turn");
        assert!(!coloured.contains("\x1b[2J"));
        // The two speakers have colours of their own.
        assert!(coloured.contains("\x1b[32") && coloured.contains("\x1b[33"), "{coloured:?}");
    }
}
