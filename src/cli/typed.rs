//! How this program was called, as results record it.

use crate::shell::line;

/// The command line of this process.
pub fn command_line() -> String {
    let words: Vec<String> = std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    line(["personascope"].into_iter().chain(words.iter().map(String::as_str)))
}
