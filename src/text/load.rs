//! Reading a tokenizer and its chat template from the files of a checkpoint.

use super::Text;
use super::guard::Guarded;
use super::template::ChatTemplate;
use crate::error::{Error, Result};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use tokenizers::{AddedToken, Tokenizer};

/// What to do about a tokenizer that does not work.
pub(super) const MEND: &str = "take tokenizer.json from the checkpoint again; it must be the file that Hugging Face \
                               `tokenizers` writes";

const TEMPLATE_FILE: &str = "chat_template.jinja";

impl Text {
    /// Reads a folder in the layout of Hugging Face: `tokenizer.json`, and if they are there `tokenizer_config.json`
    /// and `chat_template.jinja`, which comes before the template in the configuration.
    ///
    /// # Errors
    /// No or broken `tokenizer.json`, other files that cannot be read, and templates with syntax errors.
    pub fn from_dir(dir: &Path) -> Result<Text> {
        let optional = |name: &str| match std::fs::read(dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", dir.join(name), e)),
        };
        let Some(tokenizer) = optional("tokenizer.json")? else {
            if ["tokenizer.model", "vocab.json", "vocab.txt"].iter().any(|f| dir.join(f).exists()) {
                return Err(Error::refused(
                    format!("{} has only an old-style tokenizer and no tokenizer.json", dir.display()),
                    "convert it once: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) in transformers",
                ));
            }
            return Err(Error::io("read", dir.join("tokenizer.json"), ErrorKind::NotFound.into()));
        };
        let (config, template) = (optional("tokenizer_config.json")?, optional(TEMPLATE_FILE)?);
        Text::from_bytes(&dir.display().to_string(), &tokenizer, config.as_deref(), template.as_deref())
    }

    /// As [`Text::from_dir`], from the contents of the files; `place` names their folder in messages.
    ///
    /// # Errors
    /// As [`Text::from_dir`].
    pub fn from_bytes(
        place: &str,
        tokenizer_json: &[u8],
        tokenizer_config_json: Option<&[u8]>,
        chat_template_jinja: Option<&[u8]>,
    ) -> Result<Text> {
        let mut tokenizer = read_tokenizer(&format!("{place}/tokenizer.json"), tokenizer_json)?;
        let config = Config::read(format!("{place}/tokenizer_config.json"), tokenizer_config_json)?;
        config.mark_special(&mut tokenizer).map_err(|e| cannot_encode(&e))?;
        let source = match chat_template_jinja {
            Some(bytes) => Some((
                format!("{place}/{TEMPLATE_FILE}"),
                utf8(&format!("{place}/{TEMPLATE_FILE}"), bytes)?.to_string(),
            )),
            None => config.chat_template()?,
        };
        let named = config.named();
        let id = |name: &str| named.get(name).and_then(|token| tokenizer.token_to_id(token));
        let (bos, eos) = (id("bos_token"), id("eos_token"));
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let special: BTreeSet<u32> = added.iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let guarded = Guarded::new(tokenizer, "")?;
        let mut text = Text {
            guarded,
            template: None,
            variables: BTreeMap::new(),
            control: BTreeSet::new(),
            named,
            bos,
            eos,
            special: special.into_iter().collect(),
            place: place.into(),
            tokenizer_hash: sha256(tokenizer_json),
            template_hash: None,
        };
        text.take_template(source)?;
        Ok(text)
    }

    /// Puts another chat template in the place of the checkpoint's; `place` names it in messages.
    ///
    /// # Errors
    /// A syntax error, with the line; text that is not UTF-8.
    pub fn set_template(&mut self, place: &str, jinja: &[u8]) -> Result<()> {
        self.take_template(Some((place.to_string(), utf8(place, jinja)?.to_string())))
    }

    fn take_template(&mut self, source: Option<(String, String)>) -> Result<()> {
        let source = source.as_ref().map(|(name, source)| (name.as_str(), source.as_str()));
        self.template = source.map(|(name, source)| ChatTemplate::new(name, source, self.named.clone())).transpose()?;
        self.template_hash = source.map(|(_, source)| sha256(source.as_bytes()));
        let source = source.map_or("", |(_, source)| source);
        self.guarded = Guarded::new(self.guarded.tokenizer.clone(), source)?;
        let added = self.guarded.tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let used = added.iter().filter(|(id, token)| {
            let named = self.named.values().any(|n| *n == token.content);
            named || self.guarded.is_markup(**id) && source.contains(&token.content)
        });
        self.control = used.map(|(id, _)| *id).collect();
        Ok(())
    }
}

/// An error of the tokenizer while it encodes.
pub(super) fn cannot_encode(e: &tokenizers::Error) -> Error {
    Error::refused(format!("the tokenizer cannot encode this text: {e}"), MEND)
}

fn read_tokenizer(place: &str, bytes: &[u8]) -> Result<Tokenizer> {
    // The tokenizer's own reader loses the line of a syntax error, and panics on some; a plain JSON reader does not.
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
        .map_err(|e| Error::format(place, format!("not JSON: {e}"), MEND))?;
    let read = std::panic::catch_unwind(|| Tokenizer::from_bytes(bytes));
    let read = read.map_err(|_| Error::format(place, "the tokenizer's reader breaks off at what it says", MEND))?;
    let mut tokenizer = read.map_err(|e| Error::format(place, e.to_string(), MEND))?;
    // A prompt is never cut or filled up behind the user's back.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| Error::format(place, e.to_string(), MEND))?;
    Ok(tokenizer)
}

fn utf8<'a>(place: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| Error::format(place, format!("not UTF-8: {e}"), "save the file as UTF-8"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// `tokenizer_config.json`, as far as it matters here.
struct Config {
    place: String,
    json: Json,
}

impl Config {
    fn read(place: String, bytes: Option<&[u8]>) -> Result<Config> {
        let hint = "take tokenizer_config.json from the checkpoint again";
        let json = match bytes {
            None => Json::Null,
            Some(b) => serde_json::from_slice(b).map_err(|e| Error::format(&place, format!("not JSON: {e}"), hint))?,
        };
        if !(json.is_object() || json.is_null()) {
            return Err(Error::format(place, "not a JSON object", hint));
        }
        Ok(Config { place, json })
    }

    /// The template and where it stands. Of several, the one named `default`.
    fn chat_template(&self) -> Result<Option<(String, String)>> {
        let place = format!("{} (chat_template)", self.place);
        let named = |entry: &Json| Some((entry["name"].as_str()?.to_string(), entry["template"].as_str()?.to_string()));
        match &self.json["chat_template"] {
            Json::Null => Ok(None),
            Json::String(source) => Ok(Some((place, source.clone()))),
            Json::Array(entries) => {
                let all: Vec<_> = entries.iter().filter_map(named).collect();
                if let Some((_, source)) = all.iter().find(|(name, _)| name == "default") {
                    return Ok(Some((place, source.clone())));
                }
                let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
                Err(Error::format(
                    place,
                    format!("no template is named `default`; there are: {}", names.join(", ")),
                    format!("write the template that you want into {TEMPLATE_FILE} beside it"),
                ))
            }
            _ => Err(Error::format(place, "neither a string nor a list of {name, template}", "mend the entry")),
        }
    }

    /// The named special tokens, which templates see as variables.
    fn named(&self) -> BTreeMap<String, String> {
        ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]
            .into_iter()
            .filter_map(|name| Some((name.to_string(), text_of(&self.json[name])?)))
            .collect()
    }

    /// Makes special the tokens that the configuration declares to be, where they are plain vocabulary so far, as
    /// transformers does. Tokens that the vocabulary lacks stay unknown: the model has no row for them.
    fn mark_special(&self, tokenizer: &mut Tokenizer) -> tokenizers::Result<()> {
        let mut declared: Vec<String> = self.named().into_values().collect();
        for list in ["additional_special_tokens", "extra_special_tokens"] {
            match &self.json[list] {
                Json::Array(tokens) => declared.extend(tokens.iter().filter_map(text_of)),
                Json::Object(tokens) => declared.extend(tokens.values().filter_map(text_of)),
                _ => {}
            }
        }
        let added = tokenizer.get_added_vocabulary().get_vocab().clone();
        declared.retain(|t| !added.contains_key(t) && tokenizer.token_to_id(t).is_some());
        tokenizer.add_special_tokens(declared.into_iter().map(|t| AddedToken::from(t, true)))?;
        Ok(())
    }
}

/// A token given as a string, or as an object with `content`.
fn text_of(token: &Json) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_string)
}
