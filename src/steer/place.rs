//! Which tokens are edited, as it is written: `last_prompt+generated`, `positions:0,-1`, `turns:1,3`.

use crate::capture;
use crate::error::{Error, Result};
use crate::model::Positions;
use crate::text::Encoded;
use std::fmt;
use std::str::FromStr;

/// Which tokens of a prompt and its reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The same for every prompt.
    Same(Positions),
    /// Positions in the prompt, from its beginning or, below 0, from its end.
    Positions(capture::Positions),
    /// Whole messages of the prompt, template and all, counted from 0.
    Turns(Vec<usize>),
}

const NAMED: [(&str, Positions); 5] = [
    ("all", Positions::All),
    ("prompt", Positions::Prompt),
    ("last_prompt", Positions::LastPrompt),
    ("last_prompt+generated", Positions::LastPromptOn),
    ("generated", Positions::Generated),
];

impl FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Place, String> {
        if let Some((_, positions)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Place::Same(positions.clone()));
        }
        if let Some(list) = text.strip_prefix("positions:") {
            return list.parse().map(Place::Positions);
        }
        let turn = |t: &str| t.trim().parse().map_err(|_| format!("`{text}`: write turns such as turns:0,2"));
        if let Some(list) = text.strip_prefix("turns:") {
            return list.split(',').map(turn).collect::<Result<_, _>>().map(Place::Turns);
        }
        let names: Vec<&str> = NAMED.iter().map(|n| n.0).collect();
        Err(format!("one of {}, positions:0,-1,3..7 or turns:0,2", names.join(", ")))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |all: Vec<String>| all.join(",");
        match self {
            Place::Same(p) => f.write_str(NAMED.iter().find(|n| n.1 == *p).map_or("positions", |n| n.0)),
            Place::Positions(p) => {
                let one = |(a, b): &(isize, isize)| if a == b { a.to_string() } else { format!("{a}..{b}") };
                write!(f, "positions:{}", joined(p.0.iter().map(one).collect()))
            }
            Place::Turns(t) => write!(f, "turns:{}", joined(t.iter().map(usize::to_string).collect())),
        }
    }
}

impl Place {
    /// Whether it says the same of every prompt.
    pub fn is_same(&self) -> bool {
        matches!(self, Place::Same(_))
    }

    /// The positions in one prompt.
    ///
    /// # Errors
    /// A position or a turn that the prompt does not have.
    pub fn of(&self, id: &str, encoded: &Encoded) -> Result<Positions> {
        let n = encoded.tokens.len();
        match self {
            Place::Same(positions) => Ok(positions.clone()),
            Place::Positions(list) => {
                let mut at = Vec::new();
                for (first, last) in &list.0 {
                    let place = |p: isize| if p < 0 { p + n as isize } else { p };
                    let (first, last) = (place(*first), place(*last));
                    if first < 0 || last >= n as isize {
                        let what = format!("prompt `{id}` has {n} tokens, and {self} asks for others");
                        return Err(Error::refused(what, "choose positions that every prompt has"));
                    }
                    at.extend((first..=last).map(|p| p as usize));
                }
                at.sort_unstable();
                at.dedup();
                Ok(Positions::At(at))
            }
            Place::Turns(turns) => {
                let of = |turn: &usize| (0..n).filter(|p| encoded.places[*p].turn == Some(*turn)).collect::<Vec<_>>();
                if let Some(none) = turns.iter().find(|t| of(t).is_empty()) {
                    let what = format!("prompt `{id}` has no turn {none}: it has {} messages", encoded.turns.len());
                    return Err(Error::refused(
                        what,
                        "messages are counted from 0; choose turns that every prompt has",
                    ));
                }
                let mut at: Vec<usize> = turns.iter().flat_map(of).collect();
                at.sort_unstable();
                Ok(Positions::At(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Span, TokenPlace};

    #[test]
    fn places_are_read_shown_and_found_in_a_prompt() {
        let turns = [None, Some(0), Some(0), Some(1), Some(1), Some(2)];
        let encoded = Encoded {
            tokens: vec![1; 6],
            places: turns.map(|turn| TokenPlace { turn, span: Span::Content }).to_vec(),
            turns: vec![],
            generation_header: true,
            reply_as: None,
            warnings: vec![],
        };
        let of = |text: &str| text.parse::<Place>().unwrap().of("p", &encoded);
        assert_eq!(of("positions:-1,0..2").unwrap(), Positions::At(vec![0, 1, 2, 5]));
        assert_eq!(of("turns:1,2").unwrap(), Positions::At(vec![3, 4, 5]));
        assert_eq!(of("last_prompt+generated").unwrap(), Positions::LastPromptOn);
        assert!(of("positions:6").unwrap_err().to_string().contains("6 tokens"));
        assert!(of("turns:3").unwrap_err().to_string().contains("no turn 3"));
        for text in
            ["all", "prompt", "last_prompt", "last_prompt+generated", "generated", "positions:0,3..-1", "turns:2"]
        {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for bad in ["", "everywhere", "positions:x", "turns:", "turns:-1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
