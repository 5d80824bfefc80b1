//! Models by their name on the Hugging Face hub, in the cache that its own tools share.
//!
//! The cache of a repository is a folder `models--org--name`: `snapshots/COMMIT/` holds files by name, `refs/NAME` the
//! commit that a branch or tag stood for when it was last asked about. Reading it needs no network and no crate.

#[cfg(feature = "hub")]
mod download;

use super::opening::Watch;
use super::{json, shards};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The branch that is meant where none is named.
const MAIN: &str = "main";
/// Files of a checkpoint beside its weights that are wanted if they are there.
#[cfg(feature = "hub")]
const BESIDE: [&str; 7] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// `org/name` and a revision, from `org/name[@revision]`; `None` where the text cannot be that.
pub(super) fn parse(text: &str) -> Option<(String, Option<String>)> {
    let (repo, revision) = text.split_once('@').map_or((text, None), |(repo, revision)| (repo, Some(revision)));
    let (org, name) = repo.split_once('/')?;
    let file = [".safetensors", ".json", ".jsonl", ".bin", ".gguf", ".toml"].iter().any(|end| name.ends_with(end));
    let fine = plain(org) && plain(name) && !file && revision.is_none_or(|r| r.split('/').all(plain));
    fine.then(|| (repo.into(), revision.map(String::from)))
}

/// A part of a path that stays where it is put.
fn plain(part: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    !part.is_empty() && part.len() <= 96 && part.chars().all(fine) && !part.starts_with('.') && !part.contains("..")
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The hub and its cache, as the environment sets them.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    /// `HF_ENDPOINT`
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    endpoint: String,
    /// `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    cache: PathBuf,
    /// `HF_TOKEN`, else what the token file holds.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    token: Option<String>,
    /// `HF_HUB_OFFLINE`
    offline: bool,
}

/// One commit of a repository on the disk.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    pub dir: PathBuf,
    pub commit: String,
    pub warnings: Vec<String>,
}

impl Hub {
    /// As `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` say.
    ///
    /// # Errors
    /// Nothing says where the cache is.
    pub fn from_env() -> Result<Hub> {
        Hub::from_variables(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(get: &dyn Fn(&str) -> Option<String>) -> Result<Hub> {
        let user = get("HOME").or_else(|| get("USERPROFILE")).map(PathBuf::from);
        let path = |text: String| match (text.strip_prefix("~/"), &user) {
            (Some(rest), Some(user)) => user.join(rest),
            _ => PathBuf::from(text),
        };
        let cache_home = get("XDG_CACHE_HOME").map(path).or_else(|| user.as_ref().map(|u| u.join(".cache")));
        let home = get("HF_HOME").map(path).or_else(|| cache_home.map(|c| c.join("huggingface")));
        let own = get("HF_HUB_CACHE").or_else(|| get("HUGGINGFACE_HUB_CACHE")).map(path);
        let Some(cache) = own.or_else(|| home.as_ref().map(|h| h.join("hub"))) else {
            return Err(Error::refused("nothing says where models of the hub are kept", "set HF_HOME to a folder"));
        };
        let file = get("HF_TOKEN_PATH").map(path).or_else(|| home.map(|h| h.join("token")));
        let stored = || file.and_then(|f| std::fs::read_to_string(f).ok());
        let token = get("HF_TOKEN").or_else(|| get("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        let token = token.map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
        let endpoint = get("HF_ENDPOINT").unwrap_or("https://huggingface.co".into()).trim_end_matches('/').into();
        let on = |name: &str| get(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&&*v.to_lowercase()));
        let offline = on("HF_HUB_OFFLINE") || on("TRANSFORMERS_OFFLINE");
        Ok(Hub { endpoint, cache, token, offline })
    }

    /// The snapshot of a revision: fetched if the hub can be asked and has another one, else the one in the cache.
    ///
    /// # Errors
    /// A repository that the hub refuses or does not know; no way to the hub and nothing in the cache.
    pub fn snapshot(&self, repo: &str, revision: Option<&str>, watch: &mut Watch<'_>) -> Result<Snapshot> {
        let asked = revision.unwrap_or(MAIN);
        if self.offline {
            return self.cached(repo, revision);
        }
        // A commit never changes: one that is here whole needs no question.
        if is_commit(asked)
            && let Ok(found) = self.cached(repo, revision)
        {
            return Ok(found);
        }
        self.fetch(repo, asked, watch)
    }

    #[cfg(not(feature = "hub"))]
    fn fetch(&self, repo: &str, asked: &str, _: &mut Watch<'_>) -> Result<Snapshot> {
        self.cached(repo, Some(asked)).map_err(|e| {
            let hint = "this build reads the cache alone: build with the feature `hub`, or give a folder";
            Error::refused(e.to_string(), hint)
        })
    }

    /// The snapshot of a revision that the cache holds whole.
    ///
    /// # Errors
    /// There is none, or files of it are missing.
    pub fn cached(&self, repo: &str, revision: Option<&str>) -> Result<Snapshot> {
        let asked = revision.unwrap_or(MAIN);
        let folder = self.folder(repo);
        let refs = folder.join("refs").join(asked);
        let commit = match std::fs::read_to_string(&refs) {
            Ok(text) => text.trim().to_string(),
            Err(_) => asked.to_string(),
        };
        let dir = folder.join("snapshots").join(&commit);
        let why = if self.offline { "HF_HUB_OFFLINE is set, and " } else { "" };
        if !plain(&commit) || !dir.is_dir() {
            let what = format!("{why}`{repo}` at `{asked}` is not in the cache {}", self.cache.display());
            let hint =
                "run once with a network, give a folder that holds the model, or set HF_HOME to the cache that does";
            return Err(Error::refused(what, hint));
        }
        let missing = missing(&dir)?;
        if !missing.is_empty() {
            let what = format!("{why}`{repo}` at `{asked}` is in the cache in part: {} not there", missing.join(", "));
            return Err(Error::refused(what, "run once with a network: what is there is not fetched again"));
        }
        Ok(Snapshot { dir, commit, warnings: vec![] })
    }

    fn folder(&self, repo: &str) -> PathBuf {
        self.cache.join(format!("models--{}", repo.replace('/', "--")))
    }
}

/// Files without which a snapshot is no model.
fn missing(dir: &Path) -> Result<Vec<String>> {
    let there = |name: &str| dir.join(name).is_file();
    let mut wanted: Vec<String> = vec!["config.json".into(), "tokenizer.json".into()];
    let index = dir.join(shards::INDEX);
    if there(shards::SINGLE) || !index.is_file() {
        wanted.push(shards::SINGLE.into());
    } else {
        let bytes = std::fs::read(&index).map_err(|e| Error::io("read", &index, e))?;
        let place = index.display().to_string();
        wanted.extend(shards::Index::parse(&place, &json::object(&place, &bytes)?)?.files());
    }
    wanted.retain(|name| !there(name));
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Hub::from_variables(&get).unwrap()
    }

    #[test]
    fn variables_of_the_hub_say_what_they_say_to_its_own_tools() {
        let at = |variables: &[(&str, &str)]| hub(variables).cache.display().to_string();
        assert_eq!(at(&[("HOME", "/u")]), "/u/.cache/huggingface/hub");
        assert_eq!(at(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(at(&[("HOME", "/u"), ("HF_HOME", "~/hf")]), "/u/hf/hub");
        assert_eq!(at(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), "/c");
        let nowhere = Hub::from_variables(&|_| None).unwrap_err();
        assert!(nowhere.hint().contains("HF_HOME"), "{nowhere}");

        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", path)]).token, None);
        std::fs::write(home.path().join("token"), " hf_file\n").unwrap();
        assert_eq!(hub(&[("HF_HOME", path)]).token.as_deref(), Some("hf_file"));
        assert_eq!(hub(&[("HF_HOME", path), ("HF_TOKEN", "hf_set")]).token.as_deref(), Some("hf_set"));

        let offline = |value: &str| hub(&[("HOME", "/u"), ("HF_HUB_OFFLINE", value)]).offline;
        assert!(offline("1") && offline("True") && offline("ON") && !offline("0") && !offline("no"));
        assert_eq!(hub(&[("HOME", "/u")]).endpoint, "https://huggingface.co");
        assert_eq!(hub(&[("HOME", "/u"), ("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    }

    #[test]
    fn names_that_would_leave_the_cache_are_no_names() {
        for text in
            ["../x", "a/..", "a/b@../../etc", "a/b@", "a/", "/b", "a/b@x//y", "a/b@.hidden", "a/b c", "a/b\u{e9}"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("meta-llama/Llama-3.2-1B@main").is_some());
    }

    #[test]
    fn a_ref_that_points_outside_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let hub = hub(&[("HF_HUB_CACHE", home.path().to_str().unwrap())]);
        let refs = hub.folder("a/b").join("refs");
        std::fs::create_dir_all(&refs).unwrap();
        std::fs::write(refs.join("main"), "../../../..").unwrap();
        let e = hub.cached("a/b", None).unwrap_err();
        assert!(e.to_string().contains("`a/b` at `main` is not in the cache"), "{e}");
    }
}
