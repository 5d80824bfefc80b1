//! What chat templates expect of Python and minijinja does not bring: `tojson` and `strftime_now`.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;

/// `tojson` as transformers defines it: `json.dumps` with `ensure_ascii=False`, and no HTML escapes.
pub(super) fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let mut json = serde_json::to_value(&value).map_err(|e| invalid(e.to_string()))?;
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    if options.get::<Option<bool>>("sort_keys")?.unwrap_or(false) {
        json.sort_all_objects();
    }
    options.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".into(), ": ".into()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(invalid("separators of tojson must be a pair".into())),
    };
    let mut out = String::new();
    Writer { indent, item, key }.write(&json, 0, &mut out);
    if ascii {
        out = escape_non_ascii(&out);
    }
    Ok(Value::from_safe_string(out))
}

struct Writer {
    indent: Option<usize>,
    item: String,
    key: String,
}

impl Writer {
    fn write(&self, json: &Json, depth: usize, out: &mut String) {
        match json {
            Json::Array(items) if !items.is_empty() => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    self.between(n, depth, out);
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push(']');
            }
            Json::Object(entries) if !entries.is_empty() => {
                out.push('{');
                for (n, (name, item)) in entries.iter().enumerate() {
                    self.between(n, depth, out);
                    out.push_str(&Json::String(name.clone()).to_string());
                    out.push_str(&self.key);
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push('}');
            }
            other => out.push_str(&other.to_string()),
        }
    }

    fn between(&self, n: usize, depth: usize, out: &mut String) {
        if n > 0 {
            out.push_str(&self.item);
        }
        self.line(depth + 1, out);
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(width) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(width * depth));
        }
    }
}

fn escape_non_ascii(text: &str) -> String {
    let mut units = [0; 2];
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => c.encode_utf16(&mut units).iter().for_each(|u| out.push_str(&format!("\\u{u:04x}"))),
        }
    }
    out
}

/// `strftime_now`, at Friday 26 July 2024, midnight, always: a rendering must not depend on the day it is made.
/// The day is the one that the Llama 3 templates name when nobody gives a date.
pub(super) fn strftime_now(format: String) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut code = chars.next();
        // `%-d` is `%d` without the leading zero.
        let bare = code == Some('-');
        if bare {
            code = chars.next();
        }
        let text = match code {
            Some('d') => "26",
            Some('m') if bare => "7",
            Some('m') => "07",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'M' | 'S') if bare => "0",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            Some('%') => "%",
            _ => {
                let what = format!("strftime_now does not know `{format}`");
                return Err(Error::new(ErrorKind::InvalidOperation, what));
            }
        };
        out.push_str(text);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::Environment;

    fn render(source: &str) -> String {
        let mut env = Environment::new();
        env.add_filter("tojson", tojson);
        env.add_function("strftime_now", strftime_now);
        env.render_str(source, minijinja::context! { v => serde_json::json!({"b": ["é<'", 1], "a": {}}) }).unwrap()
    }

    #[test]
    fn tojson_writes_as_pythons_json_dumps_does() {
        // Expected strings are json.dumps(..., ensure_ascii=False, ...) of the same value in CPython.
        assert_eq!(render("{{ v|tojson }}"), r#"{"b": ["é<'", 1], "a": {}}"#);
        assert_eq!(render("{{ v|tojson(sort_keys=true) }}"), r#"{"a": {}, "b": ["é<'", 1]}"#);
        assert_eq!(render("{{ v|tojson(separators=[',',':']) }}"), r#"{"b":["é<'",1],"a":{}}"#);
        assert_eq!(render("{{ '😀'|tojson(ensure_ascii=true) }}"), r#""\ud83d\ude00""#);
        assert_eq!(render("{{ v|tojson(indent=2) }}"), "{\n  \"b\": [\n    \"é<'\",\n    1\n  ],\n  \"a\": {}\n}");
    }

    #[test]
    fn the_date_is_frozen_and_unknown_codes_are_refused() {
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024");
        assert_eq!(render("{{ strftime_now('%A, %B %-d; %Y-%m-%d %%') }}"), "Friday, July 26; 2024-07-26 %");
        assert!(strftime_now("%Q".into()).is_err());
        assert!(strftime_now("100%".into()).is_err());
    }
}
