//! One error for the library. Variants carry values; messages say what was asked, what was found and where.
//! What to do next is in [`Error::hint`], which the command line prints on a line of its own.

use std::path::{Path, PathBuf};

/// A result with the library's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, in the words of somebody who has to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that could not be read, made or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// Text, JSON, TOML or a binary format that is not what it should be.
    #[error("{place}: {reason}")]
    Format { place: String, reason: String, hint: String },
    /// Something that was asked for and cannot be done as asked.
    #[error("{what}")]
    Refused { what: String, hint: String },
    /// A site that the model does not have.
    #[error("no site `{asked}` in this model")]
    Site { asked: String, exist: String },
    /// A site that was wanted and that no pass went through.
    #[error("nothing fired at {sites}: the pass ended before it")]
    Unfired { sites: String, exist: String },
    /// A tensor that the model needs and the file lacks.
    #[error("{place}: tensor `{name}` is missing")]
    MissingTensor { place: String, name: String, have: String },
    /// A tensor with the wrong shape.
    #[error("{place}: `{name}` has shape {found:?}, but {expected:?} is needed")]
    Shape { place: String, name: String, found: Vec<usize>, expected: Vec<usize> },
    /// A token id outside the vocabulary.
    #[error("prompt `{prompt}`: token {token} at position {pos} is outside the vocabulary of {d_vocab}")]
    Vocabulary { prompt: String, token: u32, pos: usize, d_vocab: usize },
    /// A prompt longer than the positions the model was made for.
    #[error("prompt `{prompt}` has {tokens} tokens{more}, but the model has {n_ctx} positions")]
    TooLong { prompt: String, tokens: usize, more: String, n_ctx: usize },
    /// A number that is no number.
    #[error("{place}: {count} values are not finite")]
    NotFinite { place: String, count: usize },
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// A failed file operation; `doing` completes the sentence "cannot ...".
    pub fn io(doing: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Error {
        Error::Io { doing, path: path.as_ref().to_path_buf(), source }
    }

    /// A malformed input at `place`.
    pub fn format(place: impl Into<String>, reason: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Format { place: place.into(), reason: readable(reason.into()), hint: hint.into() }
    }

    /// A refusal with what to do instead.
    pub fn refused(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Refused { what: readable(what.into()), hint: hint.into() }
    }

    /// What to do next, in one sentence; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Error::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => "check the path; nothing was written".into(),
                std::io::ErrorKind::PermissionDenied => {
                    "choose a place you may write to, or change its permissions".into()
                }
                std::io::ErrorKind::StorageFull => {
                    "free some space and run the same command again: finished units are kept".into()
                }
                _ => "nothing that was already complete is lost; mend it and run the same command again".into(),
            },
            Error::Format { hint, .. } | Error::Refused { hint, .. } => hint.clone(),
            Error::Site { exist, .. } | Error::Unfired { exist, .. } => format!("sites are {exist}"),
            Error::MissingTensor { have, .. } => {
                format!("the file holds {have}; is it the checkpoint of this config.json?")
            }
            Error::Shape { .. } => {
                "the weights do not belong to this config.json; check that both come from one checkpoint".into()
            }
            Error::Vocabulary { .. } => {
                "give ids below the vocabulary size, made with this model's own tokenizer".into()
            }
            Error::TooLong { .. } => "shorten the prompt, or ask for fewer new tokens".into(),
            Error::NotFinite { .. } => {
                "a model in half precision may overflow; check the weights with `personascope inspect`".into()
            }
            Error::Tensor(_) => {
                "this is a defect of personascope; please report it with the command that led here".into()
            }
        }
    }
}

/// Text that may quote a file, as a terminal can show it: without control characters, and not without end.
fn readable(text: String) -> String {
    const MOST: usize = 3000;
    let strange = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
    let text = if text.contains(strange) { text.replace(strange, "\u{fffd}") } else { text };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} ... ({} bytes more)", &text[..end], text.len() - end),
        None => text,
    }
}

/// Bytes to insert, remove or change to make one name the other (Levenshtein 1966).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// The name among `known` that was most likely meant: at most a third of its letters off.
pub(crate) fn nearest<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let all = known.into_iter().map(|name| (distance(asked, name), name));
    all.min().filter(|(d, name)| 3 * d <= name.len().max(asked.len())).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_could_have_been_meant() {
        assert_eq!(nearest("scenaro", ["scenario", "speaker"]), Some("scenario"));
        // One letter of two is more than a third.
        assert_eq!((nearest("ab", ["ac"]), nearest("colour", ["speaker"])), (None, None));
    }

    #[test]
    fn what_a_file_says_does_not_steer_or_flood_the_terminal() {
        let said = Error::format("f", format!("`\u{1b}[2J{}` is no number", "é".repeat(5000)), "").to_string();
        assert!(said.starts_with("f: `\u{fffd}[2Jéé") && !said.contains('\u{1b}'), "{said}");
        assert!(said.chars().count() < 3100 && said.ends_with("bytes more)"), "{said}");
        assert_eq!(Error::refused("one\n\ttwo", "").to_string(), "one\n\ttwo");
    }
}
