//! The JSON files of a checkpoint, read strictly: what names a key twice says two things.

use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The object that a file holds.
///
/// # Errors
/// No JSON, a key that stands twice in one object, another value than an object.
pub(super) fn object(place: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(_) => Err(Error::format(place, "not a JSON object", "is this the file of a Hugging Face checkpoint?")),
        Err(e) => Err(Error::format(place, e.to_string(), "the file is damaged or cut short; fetch it again")),
    }
}

/// A value in which every key stands once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Strict, D::Error> {
        d.deserialize_any(Reader).map(Strict)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = pairs.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` stands twice in one object")));
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_as_it_stands() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,0.1,"x"],"b":{"c":{}}}"#;
        let read = Value::Object(object("f", text.as_bytes()).unwrap());
        assert_eq!(read.to_string(), text);
    }

    #[test]
    fn a_key_that_stands_twice_at_any_depth_is_refused_by_name() {
        for text in [r#"{"n":1,"n":1}"#, r#"{"a":[{"n":1,"m":2,"n":null}]}"#] {
            let e = object("config.json", text.as_bytes()).unwrap_err().to_string();
            assert!(e.contains("config.json") && e.contains("`n` stands twice"), "{e}");
        }
        assert!(object("f", b"[1]").unwrap_err().to_string().contains("not a JSON object"));
        assert!(object("f", "[".repeat(100_000).as_bytes()).is_err(), "deep nesting ends in an error");
    }
}
