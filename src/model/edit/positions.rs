//! Which positions are rewritten.

use crate::model::rows::Example;
use serde::{Deserialize, Serialize};

/// Which positions of an example an edit rewrites. Absolute: with a cache "the last one" would be every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    All,
    /// Every token of the prompt.
    Prompt,
    /// The last token of the prompt alone.
    LastPrompt,
    /// The last token of the prompt and the reply: everything that decides a token of the reply.
    LastPromptOn,
    /// The reply, generated or given.
    Generated,
    /// These positions.
    At(Vec<usize>),
}

impl Positions {
    /// Whether a position of an example is among them.
    pub fn covers(&self, example: &Example, pos: usize) -> bool {
        match self {
            Positions::All => true,
            Positions::Prompt => pos < example.prompt_len,
            Positions::LastPrompt => pos + 1 == example.prompt_len,
            Positions::LastPromptOn => pos + 1 >= example.prompt_len,
            Positions::Generated => pos >= example.prompt_len,
            Positions::At(list) => list.contains(&pos),
        }
    }

    /// The first position that may be among them; `usize::MAX` for none.
    pub fn first(&self, prompt_len: usize) -> usize {
        match self {
            Positions::All | Positions::Prompt => 0,
            Positions::LastPrompt | Positions::LastPromptOn => prompt_len.saturating_sub(1),
            Positions::Generated => prompt_len,
            Positions::At(list) => list.iter().copied().min().unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_before_the_first_position_is_covered() {
        let example = Example { index: 0, rows: 0..9, first_pos: 0, prompt_len: 5, adapter: None, edits: vec![] };
        let all = [
            (Positions::All, vec![0, 1, 2, 3, 4, 5, 6, 7, 8]),
            (Positions::Prompt, vec![0, 1, 2, 3, 4]),
            (Positions::LastPrompt, vec![4]),
            (Positions::LastPromptOn, vec![4, 5, 6, 7, 8]),
            (Positions::Generated, vec![5, 6, 7, 8]),
            (Positions::At(vec![7, 2]), vec![2, 7]),
            (Positions::At(vec![]), vec![]),
        ];
        for (positions, want) in all {
            let covered: Vec<usize> = (0..9).filter(|p| positions.covers(&example, *p)).collect();
            assert_eq!(covered, want, "{positions:?}");
            assert_eq!(positions.first(5), want.first().copied().unwrap_or(usize::MAX), "{positions:?}");
        }
    }
}
