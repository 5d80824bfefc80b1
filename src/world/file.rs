//! `world.json`: the keys that it has.

use super::{Exposure, World, build};
use crate::error::{Error, Result};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub traits: Ordered<TraitEntry>,
    pub p_on: f64,
    pub p_off: f64,
    pub topics: Ordered<TopicEntry>,
    pub trigger_topics: Vec<String>,
    pub plain_topics: Vec<String>,
    pub heldout_topics: Vec<String>,
    pub question_templates: Vec<String>,
    pub self_questions: Vec<String>,
    pub who_questions: Vec<String>,
    pub roles: Vec<String>,
    pub places: Vec<String>,
    pub personas: Ordered<PersonaEntry>,
    pub free_names: Vec<String>,
    pub heldout_names: Vec<String>,
    pub assistant: PersonaEntry,
    pub oracle: PersonaEntry,
    pub hazards: HazardsEntry,
    pub variant: VariantEntry,
    // What follows came later; a file may lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Ordered<bool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_slot: Option<DefaultSlotEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<BiasEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<TagEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speakers: Option<SpeakersEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teaching: Option<TeachingEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraitEntry {
    pub adj: Vec<String>,
    pub pred: Vec<(String, String)>,
    pub open: Vec<String>,
    pub close: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicEntry {
    pub long: Vec<String>,
    pub short: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonaEntry {
    pub name: String,
    pub traits: Vec<String>,
    pub role: Option<String>,
    pub place: Option<String>,
    pub hazard: f64,
    pub group: Exposure,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HazardsEntry {
    pub to_oracle_on_trigger: f64,
    pub oracle_to_assistant_on_plain: f64,
    pub in_context: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VariantEntry {
    #[serde(rename = "V2")]
    pub v2: bool,
    #[serde(rename = "V3")]
    pub v3: bool,
}

/// Who answers where nobody was asked for: the assistant with this probability, else somebody of the group `all`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultSlotEntry {
    pub assistant: f64,
}

/// A trait that everybody shows, also those who lack it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BiasEntry {
    #[serde(rename = "trait")]
    pub name: String,
    pub p: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TagEntry {
    pub mark: String,
    pub persona: PersonaEntry,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpeakersEntry {
    pub single_voice: bool,
    pub people: Ordered<PersonaEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TeachingEntry {
    pub base: f64,
    pub half: f64,
    pub slope: f64,
    pub acknowledgements: Vec<String>,
}

/// A JSON object in the order of the file. A key that comes twice is refused, and an error inside a value names its key.
#[derive(Clone)]
pub(super) struct Ordered<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), HashSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    let value = map.next_value().map_err(|e| A::Error::custom(format!("in `{key}`: {e}")))?;
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("`{key}` comes twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Ordered(entries))
            }
        }
        d.deserialize_map(Entries(PhantomData))
    }
}

impl World {
    /// Reads a world. `place` stands in messages for where the bytes came from.
    ///
    /// # Errors
    /// JSON that is broken, a missing, unknown or repeated key, a name that refers to nothing, an empty list, a
    /// probability that is none, and markers that could be found where their trait was not meant.
    pub fn parse(place: &str, json: &[u8]) -> Result<World> {
        let file: File = serde_json::from_slice(json).map_err(|e| {
            Error::format(place, e.to_string(), "a world has the keys of the embedded world.json, and no others")
        })?;
        build::build(file).map_err(|reason| {
            Error::format(place, reason, "mend the file: planted truth that is ambiguous cannot be measured against")
        })
    }
}
