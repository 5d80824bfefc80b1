//! Words of a text.

/// The words, in lower case: runs of letters and digits, with apostrophes inside them. Both apostrophes are one.
///
/// Everything else parts words, hyphens too. For scripts that write no spaces a word is a whole run of letters: match
/// those by substring.
pub fn words(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(word) = all.last_mut() else { break };
        let apostrophe = ['\'', '\u{2019}'].contains(&c);
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if apostrophe && !word.is_empty() && chars.peek().is_some_and(|next| next.is_alphanumeric()) {
            word.push('\'');
        } else if !word.is_empty() {
            all.push(String::new());
        }
    }
    all.retain(|w| !w.is_empty());
    all
}

/// How often `phrase` stands in `text`, word for word; one occurrence may begin inside another.
pub(super) fn occurrences(text: &[String], phrase: &[String]) -> usize {
    if phrase.is_empty() { 0 } else { text.windows(phrase.len()).filter(|w| *w == phrase).count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_and_in_lower_case() {
        assert_eq!(words("“I’m AFRAID”—so, 'tis Sir-like!"), ["i'm", "afraid", "so", "tis", "sir", "like"]);
        assert_eq!(words("Straße ÉTÉ 42nd rock'"), ["straße", "été", "42nd", "rock"]);
        assert!(words(" ,.' ").is_empty());
    }

    #[test]
    fn phrases_are_found_word_for_word() {
        let text = words("Oh my, oh my oh my: the customer said 'custom'.");
        assert_eq!(occurrences(&text, &words("oh my")), 3);
        assert_eq!(occurrences(&text, &words("custom")), 1);
        assert_eq!((occurrences(&text, &words("")), occurrences(&[], &words("oh"))), (0, 0));
    }
}
