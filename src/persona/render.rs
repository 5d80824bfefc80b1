//! A card as the text that a model reads.
//!
//! The order of parts is that of models fine-tuned on the lines of a single character (the format of
//! `MythoChizuru-Mini-7b`): the line that says what the model is, the character in its own words, its traits, the scene,
//! the instruction, what was said, and the reply that is wanted.

use super::card::{Card, Said};
use crate::text::{ASSISTANT, Message, SYSTEM, USER};

/// A prompt with the message that its reply belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub messages: Vec<Message>,
    /// The speaker of the reply, where turns have headers of their own.
    pub reply_as: Option<String>,
}

/// The whole prompt as one text, for models without a chat template. `more` is said after the card's own history.
///
/// Ends with `### Response:` and a line break: models of this kind write the speaker's name themselves, and
/// [`strip`](super::strip) takes it off. The scene begins with a space, as in the format it follows.
pub fn completion(card: &Card, more: &[Said]) -> String {
    let mut text = character(card);
    if let Some(scenario) = &card.scenario {
        text += &format!("\n\nScenario:\n {}", scenario.trim());
    }
    text += &format!("\n\n### Instruction:\n{}", instruction(card));
    text += "\n\n### Chat history:\n";
    text += &lines(card.history.iter().chain(more));
    text.truncate(text.trim_end().len());
    text + "\n\n### Response:\n"
}

/// The character, the scene and the instruction: what stands above a conversation.
pub fn system(card: &Card) -> String {
    let scene = card.scenario.as_ref().map_or(String::new(), |s| format!("\n\nScenario: {}", s.trim()));
    format!("{}{scene}\n\n{}", character(card), instruction(card))
}

/// The prompt as messages: the card in the system turn, the history and `more` as turns.
///
/// The character's lines are the assistant's, those of anybody else the user's. With `headers` every turn has its
/// speaker in the place of the role's name, and so has the reply; without, the name of a third speaker stands before
/// its words, since the roles tell only two apart.
pub fn chat(card: &Card, more: &[Said], headers: bool) -> Rendered {
    let mut messages = vec![Message::new(SYSTEM, system(card))];
    for said in card.history.iter().chain(more) {
        let own = said.speaker == card.speaker();
        let role = if own { ASSISTANT } else { USER };
        let message = match headers || own || said.speaker == card.user() {
            true => Message::new(role, said.text.trim()),
            false => Message::new(role, format!("{}: {}", said.speaker, said.text.trim())),
        };
        messages.push(if headers { message.by(&said.speaker) } else { message });
    }
    Rendered { messages, reply_as: headers.then(|| card.speaker().to_string()) }
}

fn character(card: &Card) -> String {
    let name = card.speaker();
    let plain = || {
        format!(
            "You are an expert at playing {}. What is written below is all that is known of {}; reply as {} would, in the scene that is described.",
            card.name, name, name
        )
    };
    let mut text = card.opening.as_ref().map_or_else(plain, |o| o.trim().to_string());
    if let Some(description) = &card.description {
        text += &format!("\n\nCharacter's description:\n{}", description.trim());
    }
    if !card.interview.is_empty() {
        text += "\n\nCharacter's description of their own personality, told in a narrative format:\n\n";
        let of = |a: &super::Answer| format!("{}: {}\n{name}: {}", card.user(), a.user.trim(), a.reply.trim());
        text += &card.interview.iter().map(of).collect::<Vec<_>>().join("\n");
    }
    if !card.traits.is_empty() {
        text += &format!("\n\nTraits list:\n{name}'s persona = [ {} ]", card.traits.join(", "));
    }
    text
}

fn instruction(card: &Card) -> String {
    let plain = || format!("Write one reply of {0}, and only that: {0}'s next words, nobody else's.", card.speaker());
    card.instruction.as_ref().map_or_else(plain, |i| i.trim().to_string())
}

fn lines<'a>(said: impl Iterator<Item = &'a Said>) -> String {
    said.map(|s| format!("{}: {}", s.speaker, s.text.trim())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        let text = r#"
name = "Vell the ferryman"
speaker = "Vell"
opening = "You are Vell."
traits = ["dry", "patient"]
scenario = "A ferry in fog."
instruction = "One reply."
interview = [{ user = "Who are you?", reply = "The one who rows." }]
history = [{ speaker = "User", text = "Is it far?" }, { speaker = "Vell", text = "Farther than it was." }]
"#;
        Card::parse("vell.toml", text).unwrap()
    }

    #[test]
    fn the_parts_of_a_completion_stand_in_the_order_of_the_single_character_format() {
        let more = [Said { speaker: "User".into(), text: "Why?".into() }];
        let expected = "You are Vell.

Character's description of their own personality, told in a narrative format:

User: Who are you?
Vell: The one who rows.

Traits list:
Vell's persona = [ dry, patient ]

Scenario:
 A ferry in fog.

### Instruction:
One reply.

### Chat history:
User: Is it far?
Vell: Farther than it was.
User: Why?

### Response:
";
        assert_eq!(completion(&card(), &more), expected);
        let bare = Card { name: "A".into(), traits: vec!["b".into()], ..Card::default() };
        let text = completion(&bare, &[]);
        assert!(text.ends_with("\n\n### Chat history:\n\n### Response:\n") && !text.contains("Scenario"), "{text}");
    }

    #[test]
    fn a_chat_has_the_card_above_it_and_the_lines_as_turns() {
        let third = [Said { speaker: "Oru".into(), text: "Look!".into() }];
        let Rendered { messages, reply_as } = chat(&card(), &third, false);
        let roles: Vec<&str> = messages.iter().map(|m| m.role.as_str()).collect();
        assert_eq!((roles, reply_as), (vec!["system", "user", "assistant", "user"], None));
        assert!(messages[0].content.ends_with("Scenario: A ferry in fog.\n\nOne reply."));
        assert_eq!((messages[1].content.as_str(), messages[3].content.as_str()), ("Is it far?", "Oru: Look!"));
        let with = chat(&card(), &third, true);
        assert_eq!((with.messages[3].content.as_str(), with.messages[3].speaker.as_deref()), ("Look!", Some("Oru")));
        assert_eq!((with.messages[0].speaker.as_deref(), with.reply_as.as_deref()), (None, Some("Vell")));
    }
}
