//! From a pick and the place of every token to the rows that are kept.

use crate::axes::Pick;
use crate::error::{Error, Result};
use crate::text::{ASSISTANT, Encoded, Span};
use serde::Serialize;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Mutex;

/// Which rows of a prompt are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selection {
    pub pick: Pick,
    /// For [`Pick::Positions`].
    pub positions: Positions,
    /// Only turns of this role.
    pub role: Option<String>,
    /// Only turns of this speaker.
    pub speaker: Option<String>,
    /// With the tokens that no one said: BOS, what the template writes, ends of turns.
    pub template_tokens: bool,
}

impl From<Pick> for Selection {
    fn from(pick: Pick) -> Selection {
        Selection { pick, positions: Positions(vec![]), role: None, speaker: None, template_tokens: false }
    }
}

/// Positions of tokens: `0`, `-1` for the last, `3..7` for 3 to 7, both with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Positions(pub Vec<(isize, isize)>);

impl FromStr for Positions {
    type Err = String;
    fn from_str(text: &str) -> Result<Positions, String> {
        let bad = || format!("`{text}`: write positions such as 0,-1,3..7");
        let one = |part: &str| {
            let (a, b) = part.split_once("..").unwrap_or((part, part));
            let (a, b) = (a.trim().parse().ok()?, b.trim().parse().ok()?);
            // A range whose ends count from different sides may be empty or not; that shows with the prompt.
            ((a < 0) != (b < 0) || a <= b).then_some((a, b))
        };
        text.split(',').map(|part| one(part).ok_or_else(bad)).collect::<Result<_, _>>().map(Positions)
    }
}

/// The names of roles and speakers: a capture has few of them and many rows.
#[derive(Debug, Default)]
pub struct Names(Mutex<Vec<String>>);

impl Names {
    /// The number of a name.
    fn of(&self, name: &str) -> u16 {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let known = all.iter().position(|n| n == name);
        let place = known.unwrap_or_else(|| {
            all.push(name.into());
            all.len() - 1
        });
        u16::try_from(place).expect("fewer than 65,536 roles and speakers")
    }

    /// The names by their numbers.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

/// One kept row: a token, or the mean over a range of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    first: u32,
    len: u32,
    turn: Option<u32>,
    /// By its number in [`Names`].
    pub role: u16,
    /// Whose turn it is, where the turn names its speaker; by its number in [`Names`].
    pub speaker: Option<u16>,
    /// Which part of its turn a token is; `None` for a mean.
    pub span: Option<Span>,
}

impl Kept {
    /// Positions that are averaged; one position for a token.
    pub fn range(&self) -> Range<usize> {
        self.first as usize..(self.first + self.len) as usize
    }

    /// The turn it belongs to; `None` for what belongs to no message.
    pub fn turn(&self) -> Option<usize> {
        self.turn.map(|t| t as usize)
    }

    /// Whether it is a mean over tokens, be it over one.
    pub fn is_mean(&self) -> bool {
        self.span.is_none()
    }
}

impl Selection {
    /// The rows that are kept of a prompt.
    ///
    /// No BOS, no template tokens and no end of turn is among them or in a mean, unless they are asked for. Raw text and
    /// exact tokens count as one turn.
    ///
    /// # Errors
    /// A prompt without the rows that were asked for, named by `id`.
    pub fn rows(&self, id: &str, encoded: &Encoded, names: &Names) -> Result<Vec<Kept>> {
        if encoded.tokens.is_empty() {
            return Err(Error::refused(
                format!("prompt `{id}` is empty"),
                "give it at least one token, or leave the line out",
            ));
        }
        let of = Of { selection: self, encoded, names };
        let rows = match self.pick {
            Pick::All => of.tokens(),
            Pick::LastPrompt => of.last_prompt(),
            Pick::MeanResponse => of.response(),
            Pick::EachTurn => (0..encoded.turns.len()).filter_map(|t| of.mean(t)).collect(),
            Pick::Positions => of.positions(id)?,
        };
        if rows.is_empty() {
            return Err(self.nothing(id));
        }
        Ok(rows)
    }

    fn nothing(&self, id: &str) -> Error {
        let of = match (&self.role, &self.speaker) {
            (None, None) => String::new(),
            (Some(role), None) => format!(" of the role `{role}`"),
            (None, Some(speaker)) => format!(" of the speaker `{speaker}`"),
            (Some(role), Some(speaker)) => format!(" of the role `{role}` by the speaker `{speaker}`"),
        };
        if !of.is_empty() {
            let what = format!("prompt `{id}` has no turn with content{of}");
            return Error::refused(what, "leave the line out, or choose by another role or speaker");
        }
        match self.pick {
            Pick::MeanResponse => Error::refused(
                format!("prompt `{id}` does not end with a reply, so it has no mean over one"),
                "end its messages with an assistant turn, or use --pick last_prompt or all",
            ),
            Pick::Positions => Error::refused(format!("prompt `{id}`: no positions were given"), "say --positions"),
            _ => Error::refused(format!("prompt `{id}` has no turn with content"), "give it a message with some text"),
        }
    }
}

/// One prompt and what is wanted of it.
struct Of<'a> {
    selection: &'a Selection,
    encoded: &'a Encoded,
    names: &'a Names,
}

impl Of<'_> {
    fn role(&self, turn: usize) -> &str {
        // The header that opens a reply stands behind the last message.
        self.encoded.turns.get(turn).map_or(ASSISTANT, |t| &t.role)
    }

    fn wants(&self, turn: Option<usize>) -> bool {
        let (s, of) = (self.selection, |t| (self.role(t), self.encoded.speaker(t)));
        let (role, speaker) = turn.map_or((None, None), |t| (Some(of(t).0), of(t).1));
        s.role.as_deref().is_none_or(|r| role == Some(r)) && s.speaker.as_deref().is_none_or(|p| speaker == Some(p))
    }

    fn kept(&self, range: Range<usize>, turn: Option<usize>, span: Option<Span>) -> Kept {
        Kept {
            first: range.start as u32,
            len: range.len() as u32,
            turn: turn.map(|t| t as u32),
            role: self.names.of(turn.map_or("", |t| self.role(t))),
            speaker: turn.and_then(|t| self.encoded.speaker(t)).map(|s| self.names.of(s)),
            span,
        }
    }

    fn token(&self, pos: usize) -> Kept {
        let place = &self.encoded.places[pos];
        self.kept(pos..pos + 1, place.turn, Some(place.span))
    }

    fn tokens(&self) -> Vec<Kept> {
        let wanted = |pos: &usize| {
            let place = &self.encoded.places[*pos];
            (self.selection.template_tokens || place.span == Span::Content) && self.wants(place.turn)
        };
        (0..self.encoded.tokens.len()).filter(wanted).map(|pos| self.token(pos)).collect()
    }

    /// The last token before the reply; before the last turn of the role or speaker where one is asked for.
    fn last_prompt(&self) -> Vec<Kept> {
        if self.selection.role.is_none() && self.selection.speaker.is_none() {
            return vec![self.token(self.encoded.last_prompt())];
        }
        let turns = &self.encoded.turns;
        if self.encoded.generation_header && self.wants(Some(turns.len())) {
            return vec![self.token(self.encoded.tokens.len() - 1)];
        }
        let last = (0..turns.len()).rev().find(|t| self.wants(Some(*t)) && turns[*t].content.start > 0);
        last.map(|t| self.token(turns[t].content.start - 1)).into_iter().collect()
    }

    fn response(&self) -> Vec<Kept> {
        let (s, turns) = (self.selection, &self.encoded.turns);
        if s.role.is_some() || s.speaker.is_some() {
            return (0..turns.len()).rev().find_map(|t| self.mean(t)).into_iter().collect();
        }
        let whole = turns.len() == 1 && ["text", "tokens"].contains(&turns[0].role.as_str());
        let ends = whole || self.encoded.response().is_some();
        let last = ends.then(|| self.mean(turns.len() - 1)).flatten();
        last.into_iter().collect()
    }

    /// The mean over what was said in a turn; with what the template wrote around it where that is asked for.
    fn mean(&self, turn: usize) -> Option<Kept> {
        let content = &self.encoded.turns[turn].content;
        if content.is_empty() || !self.wants(Some(turn)) {
            return None;
        }
        let of_turn = |pos: &usize| self.encoded.places[*pos].turn == Some(turn);
        let range = if self.selection.template_tokens {
            let before = (0..content.start).rev().take_while(of_turn).last().unwrap_or(content.start);
            let behind = (content.end..self.encoded.places.len()).take_while(of_turn).last();
            before..behind.map_or(content.end, |p| p + 1)
        } else {
            content.clone()
        };
        Some(self.kept(range, Some(turn), None))
    }

    fn positions(&self, id: &str) -> Result<Vec<Kept>> {
        let n = self.encoded.tokens.len();
        let place = |at: isize| {
            let pos = if at < 0 { n.checked_add_signed(at) } else { Some(at as usize) };
            pos.filter(|p| *p < n).ok_or_else(|| {
                let what = format!("prompt `{id}` has {n} tokens and no position {at}");
                Error::refused(what, format!("positions go from 0 to {} or from -{n} to -1", n - 1))
            })
        };
        let mut rows = Vec::new();
        for &(from, to) in &self.selection.positions.0 {
            let wanted = |pos: &usize| self.wants(self.encoded.places[*pos].turn);
            rows.extend((place(from)?..=place(to)?).filter(wanted).map(|pos| self.token(pos)));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{TokenPlace, Turn};

    /// BOS, a user turn by Zoe, a reply by Ada, a user turn, and the header of a reply. Each turn has one header token,
    /// two of content and one end.
    fn talk(generation_header: bool) -> Encoded {
        let mut places = vec![TokenPlace { turn: None, span: Span::Header }];
        let mut turns = Vec::new();
        for (t, (role, speaker)) in
            [("user", Some("Zoe")), (ASSISTANT, Some("Ada")), ("user", None)].into_iter().enumerate()
        {
            let at = |span| TokenPlace { turn: Some(t), span };
            let first = places.len() + 1;
            places.extend([Span::Header, Span::Content, Span::Content, Span::End].map(at));
            let content = first..first + 2;
            turns.push(Turn { role: role.into(), speaker: speaker.map(str::to_string), content });
        }
        if generation_header {
            places.push(TokenPlace { turn: Some(3), span: Span::Header });
        }
        let tokens = (0..places.len() as u32).collect();
        Encoded { tokens, places, turns, generation_header, reply_as: None, warnings: vec![] }
    }

    fn rows(selection: &Selection) -> Vec<(usize, usize)> {
        let kept = selection.rows("x", &talk(true), &Names::default()).unwrap();
        kept.iter().map(|k| (k.range().start, k.range().end)).collect()
    }

    #[test]
    fn rows_are_of_what_was_said_unless_more_is_asked_for() {
        let all = Selection::from(Pick::All);
        assert_eq!(rows(&all), [(2, 3), (3, 4), (6, 7), (7, 8), (10, 11), (11, 12)]);
        let every = Selection { template_tokens: true, ..all.clone() };
        assert_eq!(rows(&every), (0..14).map(|p| (p, p + 1)).collect::<Vec<_>>());
        let each = Selection::from(Pick::EachTurn);
        assert_eq!(rows(&each), [(2, 4), (6, 8), (10, 12)]);
        assert_eq!(rows(&Selection { template_tokens: true, ..each }), [(1, 5), (5, 9), (9, 13)]);
        assert_eq!(rows(&Pick::LastPrompt.into()), [(13, 14)]);
    }

    #[test]
    fn turns_are_chosen_by_role_and_by_speaker() {
        let role = |pick, role: &str| Selection { role: Some(role.into()), ..Selection::from(pick) };
        let by = |pick, speaker: &str| Selection { speaker: Some(speaker.into()), ..Selection::from(pick) };
        assert_eq!(rows(&role(Pick::EachTurn, "user")), [(2, 4), (10, 12)]);
        assert_eq!(rows(&by(Pick::All, "Zoe")), [(2, 3), (3, 4)]);
        assert_eq!(rows(&by(Pick::MeanResponse, "Ada")), [(6, 8)]);
        assert_eq!(rows(&by(Pick::LastPrompt, "Ada")), [(5, 6)]);
        assert_eq!(rows(&role(Pick::LastPrompt, ASSISTANT)), [(13, 14)], "the header that opens a reply is its own");
        assert_eq!(rows(&role(Pick::LastPrompt, "user")), [(9, 10)]);
        let e = by(Pick::EachTurn, "Nobody").rows("x", &talk(false), &Names::default()).unwrap_err();
        assert!(e.to_string().contains("`Nobody`") && e.to_string().contains("`x`"), "{e}");
        let e = Selection::from(Pick::MeanResponse).rows("x", &talk(false), &Names::default()).unwrap_err();
        assert!(e.to_string().contains("does not end with a reply"), "{e}");
    }

    #[test]
    fn positions_count_from_both_ends_and_none_beyond_is_invented() {
        let at = |text: &str| Selection { positions: text.parse().unwrap(), ..Selection::from(Pick::Positions) };
        assert_eq!(rows(&at("0,-1,3..5")), [(0, 1), (13, 14), (3, 4), (4, 5), (5, 6)]);
        assert_eq!(rows(&at("-2..-1")), [(12, 13), (13, 14)]);
        for (text, says) in [("14", "no position 14"), ("-15", "no position -15")] {
            let e = at(text).rows("x", &talk(true), &Names::default()).unwrap_err();
            assert!(e.to_string().contains(says) && e.to_string().contains("14 tokens"), "{e}");
        }
        for wrong in ["", "a", "3..1", "1...2", "-1..-3"] {
            assert!(wrong.parse::<Positions>().is_err(), "{wrong}");
        }
    }
}
