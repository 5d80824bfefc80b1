//! Reading `config.json`.

mod rope;

pub use rope::{Rope, Scaling};

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Keys that change nothing in a forward pass, or that the tokenizer, sampling and training read elsewhere.
const HARMLESS: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "label2id",
    "max_length",
    "model_type",
    "pad_token_id",
    "pretraining_tp",
    "resid_pdrop",
    "return_dict",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

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

    /// A whole number that may be 0, or a default.
    pub fn whole_or(&mut self, key: &'static str, default: usize) -> Result<usize> {
        if self.map.get(key) == Some(&Value::from(0)) {
            self.seen.push(key)
        } else {
            return self.count_or(key, default);
        }
        Ok(0)
    }

    /// Whether the key is there, be it null.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
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

    /// A list of whole numbers; empty where it is missing or null.
    pub fn counts(&mut self, key: &'static str) -> Result<Vec<usize>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let list = value.as_array().and_then(|l| l.iter().map(|v| v.as_u64().map(|v| v as usize)).collect());
        list.ok_or_else(|| self.bad(key, format!("{value} is no list of whole numbers")))
    }

    /// A list of texts; `None` where it is missing or null.
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().and_then(|l| l.iter().map(|v| v.as_str().map(String::from)).collect());
        list.map(Some).ok_or_else(|| self.bad(key, format!("{value} is no list of texts")))
    }

    /// A positive number; `None` where it is missing or null.
    pub fn positive(&mut self, key: &'static str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|v| *v > 0.0 && v.is_finite());
        number.map(Some).ok_or_else(|| self.bad(key, format!("{value} is no positive number")))
    }

    /// One of some names; the default where it is missing or null.
    pub fn one_of<T: Copy>(&mut self, key: &'static str, default: T, names: &[(&str, T)]) -> Result<T> {
        let Some(name) = self.text(key)? else { return Ok(default) };
        names.iter().find(|(n, _)| *n == name).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(n, _)| *n).collect();
            self.bad(key, format!("`{name}` is not supported; supported: {}", known.join(", ")))
        })
    }

    /// Refuses every key that was neither read nor is known to change nothing, unless it is null, false or empty.
    ///
    /// `ignored` are keys of this architecture beside those of all.
    pub fn finish(&self, ignored: &[&str]) -> Result<()> {
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let unhandled = self.map.iter().find(|(key, value)| {
            let key = key.as_str();
            let known = self.seen.contains(&key) || ignored.contains(&key) || HARMLESS.contains(&key);
            !known && !says_nothing(value)
        });
        match unhandled {
            Some((key, value)) => Err(self.bad(key, format!("{value} is not handled, and could change the model"))),
            None => Ok(()),
        }
    }
}
