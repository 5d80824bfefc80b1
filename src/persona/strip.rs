//! A speaker's own name before its reply.

/// A reply without the name that stood before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripped<'a> {
    pub text: &'a str,
    /// Whether a name stood there: the quirk of models that were trained on scripts.
    pub named: bool,
}

/// The text after the first colon, where what stands before the colon is one of the names; the reply as it is otherwise.
///
/// Space around the name, and asterisks or quotes about it (`**Ana:** hello`), do not count; a name has its own
/// capitals. Only the first name goes: a model that says its name twice is not mended to say it once.
pub fn strip<'a>(reply: &'a str, names: &[&str]) -> Stripped<'a> {
    let around = |c: char| c.is_whitespace() || ['*', '"', '_'].contains(&c);
    match reply.split_once(':') {
        Some((before, after)) if names.contains(&before.trim_matches(around)) => {
            // Marks that were opened before the name close behind the colon.
            let marks = before.trim_start().chars().take_while(|c| ['*', '_'].contains(c)).count();
            let closed = (0..marks).fold(after, |rest, _| rest.strip_prefix(['*', '_']).unwrap_or(rest));
            Stripped { text: closed.trim_start(), named: true }
        }
        _ => Stripped { text: reply, named: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_speaker_s_own_name_goes() {
        let s = |reply| {
            let Stripped { text, named } = strip(reply, &["Ana", "Ana Ruz"]);
            (text, named)
        };
        assert_eq!(s("Ana: Good: very good."), ("Good: very good.", true));
        assert_eq!(s("\n Ana Ruz:\nHello"), ("Hello", true));
        assert_eq!(s("**Ana:** Hello **you**"), ("Hello **you**", true));
        assert_eq!(s("Ana: Ana: Hello"), ("Ana: Hello", true));
        for kept in ["Note: wait.", "ana: Hello", "Anabel: Hello", "Hello Ana", ""] {
            assert_eq!(s(kept), (kept, false));
        }
    }
}
