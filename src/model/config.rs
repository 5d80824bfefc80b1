//! Reading `config.json`.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Reads a `config.json` and refuses what nobody handled: a key that is skipped is a wrong model of the right shape.
pub struct Config<'a> {
    place: String,
    map: &'a Map<String, Value>,
    seen: Vec<&'static str>,
}

impl<'a> Config<'a> {
    /// Starts reading.
    pub fn new(place: &str, map: &'a Map<String, Value>) -> Config<'a> {
        Config { place: place.into(), map, seen: Vec::new() }
    }

    /// An error about one key.
    pub fn bad(&self, key: &str, reason: impl std::fmt::Display) -> Error {
        Error::format(
            &self.place,
            format!("`{key}`: {reason}"),
            "check the file against the checkpoint's own config.json",
        )
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.seen.push(key);
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// A value of any kind; `None` where it is missing or null.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.get(key)
    }

    /// Text; `None` where it is missing or null.
    ///
    /// # Errors
    /// A value that is no text.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(|s| Some(s.into())).ok_or_else(|| self.bad(key, format!("{value} is no text")))
    }

    /// An object whose values are read one by one, in its order; empty where it is missing.
    ///
    /// # Errors
    /// A value that is no object, or one in it that `read` does not take.
    pub fn object<T>(&mut self, key: &'static str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<(String, T)>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let object = value.as_object().ok_or_else(|| self.bad(key, format!("{value} is no object")))?;
        let one = |(name, value): (&String, &Value)| {
            let read = read(value).ok_or_else(|| self.bad(&format!("{key}.{name}"), format!("{value} cannot be")));
            Ok((name.clone(), read?))
        };
        object.iter().map(one).collect()
    }

    /// A positive whole number.
    pub fn count(&mut self, key: &'static str) -> Result<usize> {
        let value = self.get(key).ok_or_else(|| self.bad(key, "is missing"))?;
        let count = value.as_u64().filter(|v| (1..1 << 32).contains(v));
        Ok(count.ok_or_else(|| self.bad(key, format!("{value} is no positive whole number")))? as usize)
    }

    /// The same, or a default where it is missing or null.
    pub fn count_or(&mut self, key: &'static str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.count(key) } else { Ok(default) }
    }

    /// A number, or a default.
    pub fn number_or(&mut self, key: &'static str, default: f64) -> Result<f64> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_f64().ok_or_else(|| self.bad(key, format!("{value} is no number")))
    }

    /// A flag, or a default.
    pub fn flag_or(&mut self, key: &'static str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.bad(key, format!("{value} is neither true nor false")))
    }

    /// A key that may only have one of these values where it is there at all.
    pub fn must_be(&mut self, key: &'static str, allowed: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !allowed.contains(value) => Err(self.bad(key, format!("{value} is not supported"))),
            _ => Ok(()),
        }
    }

    /// The base of the rotary frequencies, in both spellings: `rope_theta`, or `rope_parameters` of transformers 5.
    pub fn rope_theta(&mut self, default: f64) -> Result<f64> {
        let old = self.number_or("rope_theta", default)?;
        let Some(value) = self.get("rope_parameters") else { return Ok(old) };
        let nested = value.as_object().ok_or_else(|| self.bad("rope_parameters", "is no object"))?;
        for (key, value) in nested {
            let fine = match key.as_str() {
                "rope_type" => value == "default",
                "rope_theta" => value.is_number(),
                _ => value.is_null(),
            };
            if !fine {
                return Err(self.bad(&format!("rope_parameters.{key}"), format!("{value} is not supported")));
            }
        }
        Ok(nested.get("rope_theta").and_then(Value::as_f64).unwrap_or(old))
    }

    /// Refuses every key that was neither read nor is in `ignored`, unless it is null or false.
    pub fn finish(&self, ignored: &[&str]) -> Result<()> {
        let unhandled = self.map.iter().find(|(key, value)| {
            let known = self.seen.contains(&key.as_str()) || ignored.contains(&key.as_str());
            !known && !value.is_null() && **value != Value::Bool(false)
        });
        match unhandled {
            Some((key, value)) => Err(self.bad(key, format!("{value} is not handled, and could change the model"))),
            None => Ok(()),
        }
    }
}
