//! Words as a shell takes them, for command lines that are shown and recorded.

/// A word: quoted where it has to be.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A line of words, with a blank between each two.
pub fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_that_were_written() {
        let words = ["a", "", "two words", "it's", "$HOME", "*", "x;rm", "~", "!", "a\nb", "--set=k=\"v\"", "é", "#"];
        let out = std::process::Command::new("sh").arg("-c").arg(format!("printf '%s\\0' {}", line(words))).output();
        let out = out.unwrap();
        let read: Vec<&str> = std::str::from_utf8(&out.stdout).unwrap().split_terminator('\0').collect();
        assert_eq!(read, words);
        assert_eq!(line(["run", "probes/drift.toml", "--set", "a=1,b"]), "run probes/drift.toml --set a=1,b");
    }
}
