//! The persona card: one character in a TOML file.

use crate::error::{Error, Result, nearest};
use serde::{Deserialize, Serialize};

/// A character as it is written down. Only the name is needed; a card has to say something besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What the character is called in tables.
    pub name: String,
    /// What stands before its lines; the name where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// What stands before the lines of whoever talks to it, in the interview too; `User` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The first line: what the model is to be. A plain one is made from the name where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<String>,
    /// The character in prose, as others see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The character in its own words: what it is asked, and what it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interview: Vec<Answer>,
    /// Single words and short phrases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traits: Vec<String>,
    /// Where the conversation takes place, and what has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// What the model is to do; one reply of the character alone where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// What was said already, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Said>,
    /// Short instructions that call the character, and their opposites: for contrasts.
    #[serde(default, skip_serializing_if = "System::is_empty")]
    pub system: System,
    /// What to ask it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<String>,
    /// Words and phrases that give its voice away, for scoring replies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub markers: Vec<String>,
}

/// One turn of the interview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What it is asked.
    pub user: String,
    /// What it says.
    pub reply: String,
}

/// One line of a chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub speaker: String,
    pub text: String,
}

/// Variants of a system instruction. The i-th of both sides belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct System {
    pub pos: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neg: Vec<String>,
}

impl System {
    fn is_empty(&self) -> bool {
        self.pos.is_empty() && self.neg.is_empty()
    }
}

const HINT: &str = "a card is TOML: name = \"…\", then traits, interview, scenario and so on; see probes/personas/";

impl Card {
    /// Reads a card; `place` is its name, for messages.
    ///
    /// # Errors
    /// Text that is no TOML or has an unknown key, with the line and the key that was likely meant; a card that says
    /// nothing of its character, an empty text, a speaker's name that cannot stand before a colon, and opposites that are
    /// not as many as what they are the opposites of.
    pub fn parse(place: &str, text: &str) -> Result<Card> {
        let card: Card = toml::from_str(text).map_err(|e| explain(place, text, &e))?;
        card.check().map_err(|reason| Error::format(place, reason, HINT))?;
        Ok(card)
    }

    /// What stands before the character's lines.
    pub fn speaker(&self) -> &str {
        self.speaker.as_deref().unwrap_or(&self.name)
    }

    /// What stands before the lines of whoever talks to it.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("User")
    }

    fn check(&self) -> Result<(), String> {
        for (key, name) in [("name", self.name.as_str()), ("speaker", self.speaker()), ("user", self.user())] {
            one_line(key, name)?;
            if key != "name" && name.contains(':') {
                return Err(format!("`{key}` is `{name}`: lines are cut after the first colon, so a name has none"));
            }
        }
        if self.speaker() == self.user() {
            return Err(format!("`speaker` and `user` are both `{}`", self.user()));
        }
        let optional = [
            ("opening", &self.opening),
            ("description", &self.description),
            ("scenario", &self.scenario),
            ("instruction", &self.instruction),
        ];
        let lists = [
            ("traits", &self.traits),
            ("questions", &self.questions),
            ("markers", &self.markers),
            ("system.pos", &self.system.pos),
            ("system.neg", &self.system.neg),
        ];
        let texts = optional.iter().filter_map(|(key, text)| Some((*key, text.as_ref()?)));
        let texts = texts.chain(lists.iter().flat_map(|(key, list)| list.iter().map(move |text| (*key, text))));
        let texts = texts.chain(self.interview.iter().flat_map(|a| [("interview", &a.user), ("interview", &a.reply)]));
        let texts = texts.chain(self.history.iter().flat_map(|s| [("history", &s.speaker), ("history", &s.text)]));
        for (key, text) in texts {
            if text.trim().is_empty() {
                return Err(format!("`{key}` has an empty text"));
            }
        }
        if let Some(other) = self.history.iter().find(|s| ![self.speaker(), self.user()].contains(&s.speaker.as_str()))
        {
            one_line("history.speaker", &other.speaker)?;
        }
        let (pos, neg) = (self.system.pos.len(), self.system.neg.len());
        if neg > 0 && neg != pos {
            return Err(format!(
                "`system` has {pos} pos and {neg} neg: each instruction needs the opposite of its own"
            ));
        }
        let says = self.description.is_some()
            || self.scenario.is_some()
            || !self.interview.is_empty()
            || !self.traits.is_empty()
            || pos > 0;
        if says { Ok(()) } else { Err("it says nothing of its character".into()) }
    }
}

fn one_line(key: &str, name: &str) -> Result<(), String> {
    match name.trim().is_empty() || name.trim() != name || name.contains(['\n', '\r']) {
        true => Err(format!("`{key}` is {name:?}, not a name on one line without space around it")),
        false => Ok(()),
    }
}

/// The place with its line, and for an unknown key the one that was meant.
fn explain(place: &str, text: &str, e: &toml::de::Error) -> Error {
    let line = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let here = e.span().map_or(place.to_string(), |s| format!("{place}, line {}", line(s.start)));
    let message = e.message().trim().replace("unknown field", "unknown key").replace("missing field", "missing key");
    let Some((reason, keys)) = message.split_once(", expected ").filter(|(r, _)| r.starts_with("unknown key")) else {
        return Error::format(here, message, HINT);
    };
    // "`a` or `b`", "one of `a`, `b`": every second piece between backticks is a name.
    let known: Vec<&str> = keys.split('`').skip(1).step_by(2).collect();
    let asked = reason.split('`').nth(1).unwrap_or_default();
    let meant = nearest(asked, known.iter().copied()).map_or(String::new(), |m| format!("; did you mean `{m}`?"));
    Error::format(here, format!("{reason}{meant}"), format!("keys that exist here are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_comes_back_as_it_was_written() {
        let text = r#"
name = "Vell"
user = "Guest"
traits = ["dry", "patient"]
scenario = "A ferry in fog."

[[interview]]
user = "Who are you?"
reply = "The one who rows."

[[history]]
speaker = "Guest"
text = "Is it far?"

[system]
pos = ["You are Vell."]
neg = ["You are nobody in particular."]
"#;
        let card = Card::parse("vell.toml", text).unwrap();
        assert_eq!((card.speaker(), card.user(), card.interview.len()), ("Vell", "Guest", 1));
        let again = Card::parse("again", &toml::to_string(&card).unwrap()).unwrap();
        assert_eq!(card, again);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_key_that_was_meant() {
        let e = Card::parse("c.toml", "name = \"A\"\nscenaro = \"x\"\n").unwrap_err();
        assert!(e.to_string().starts_with("c.toml, line 2: unknown key `scenaro`; did you mean `scenario`?"), "{e}");
        let e = Card::parse("c.toml", "name = \"A\"\ntraits = [\"x\"]\n[system]\nposs = []\n").unwrap_err();
        assert!(e.to_string().contains("line 4: unknown key `poss`; did you mean `pos`?"), "{e}");
        let e = Card::parse("c.toml", "name = \"A\"\ncolour = \"x\"\n").unwrap_err();
        assert!(!e.to_string().contains("did you mean") && e.hint().contains("interview"), "{e}: {}", e.hint());
    }

    #[test]
    fn a_card_that_cannot_be_played_is_refused() {
        for (text, says) in [
            ("traits = [\"x\"]", "missing key `name`"),
            ("name = \"\"\ntraits = [\"x\"]", "`name`"),
            ("name = \"A: B\"\ntraits = [\"x\"]", "colon"),
            ("name = \"User\"\ntraits = [\"x\"]", "both `User`"),
            ("name = \"A\"", "nothing of its character"),
            ("name = \"A\"\ntraits = [\" \"]", "`traits` has an empty text"),
            ("name = \"A\"\n[system]\npos = [\"a\", \"b\"]\nneg = [\"c\"]", "2 pos and 1 neg"),
            ("name = \"A\"\ntraits = [\"x\"]\nhistory = [{ speaker = \"B\" }]", "missing key `text`"),
            ("name = ", "line 1"),
        ] {
            let e = Card::parse("c.toml", text).unwrap_err();
            assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{text}: {e}");
        }
    }
}
