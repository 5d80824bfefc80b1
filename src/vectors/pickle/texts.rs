//! Texts of protocol 0, which stand in a line with escapes.

use std::borrow::Cow;

/// A text in quotes, as Python 2 prints it.
pub(super) fn quoted(line: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let quote = text.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'x' => hex(&mut rest, 2)?,
                c @ ('\\' | '\'' | '"') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(Cow::Owned(out))
}

/// A text in which bytes are characters and `\u` escapes those beyond.
pub(super) fn raw_unicode(line: &[u8]) -> Option<Cow<'_, str>> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return std::str::from_utf8(line).ok().map(Cow::Borrowed);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line.iter().map(|b| char::from(*b)).peekable();
    while let Some(c) = rest.next() {
        let wide = match (c, rest.peek()) {
            ('\\', Some('u')) => 4,
            ('\\', Some('U')) => 8,
            _ => 0,
        };
        if wide == 0 {
            out.push(c);
        } else {
            rest.next();
            out.push(hex(&mut rest, wide)?);
        }
    }
    Some(Cow::Owned(out))
}

fn hex(rest: &mut impl Iterator<Item = char>, digits: usize) -> Option<char> {
    let mut code = 0u32;
    for _ in 0..digits {
        code = code.checked_mul(16)? + rest.next()?.to_digit(16)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_protocol_0_are_read_with_their_escapes() {
        assert_eq!(quoted(b"'axis'").unwrap(), "axis");
        assert_eq!(quoted(b"\"a\\x41\\n\\\\\"").unwrap(), "aA\n\\");
        assert_eq!(raw_unicode(b"axis").unwrap(), "axis");
        assert_eq!(raw_unicode(b"caf\xe9 \\u017c\\U0001f600").unwrap(), "caf\u{e9} \u{17c}\u{1f600}");
        for bad in [&b"axis"[..], b"'", b"", b"'\\x4'", b"'\\q'", b"\xff"] {
            assert!(quoted(bad).is_none(), "{bad:?}");
        }
        assert!(raw_unicode(b"\\ud800").is_none() && raw_unicode(b"\\uffffffffff").is_some());
        assert!(raw_unicode(b"\\Uffffffff").is_none());
    }
}
