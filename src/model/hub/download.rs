//! Fetching a snapshot into the cache.

use super::{BESIDE, Hub, Snapshot, is_commit};
use crate::error::{Error, Result};
use crate::model::opening::{Loading, Stage, Watch};
use crate::model::{json, shards};
use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// How long the hub may take to say what a repository holds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a file is begun or gone on with.
const TRIES: u32 = 4;

impl Hub {
    /// The snapshot that a revision stands for now, fetched as far as it is not in the cache. Where nobody answers, the
    /// one that the cache has for it.
    pub(super) fn fetch(&self, repo: &str, asked: &str, watch: &mut Watch<'_>) -> Result<Snapshot> {
        let info = match self.info(repo, asked) {
            Ok(info) => info,
            Err(failure) => match failure.status() {
                Some(status @ 400..500) => return Err(self.refusal(repo, asked, status)),
                _ => return self.fallen_back(repo, asked, &failure),
            },
        };
        if !is_commit(&info.sha) {
            let reason = format!("the hub says that `{asked}` of `{repo}` is `{}`, which is no commit", info.sha);
            return Err(Error::format(&self.endpoint, reason, "check HF_ENDPOINT"));
        }
        if let Ok(found) = self.cached(repo, Some(&info.sha)) {
            self.remember(repo, asked, &info.sha)?;
            return Ok(found);
        }
        let has = |name: &str| info.siblings.iter().any(|s| s.rfilename == name);
        refuse_what_is_no_model(repo, asked, &has)?;
        let api = self.api().map_err(|e| Failure::from(e).into_error(self, repo))?;
        let from = api.repo(Repo::with_revision(repo.into(), RepoType::Model, info.sha.clone()));
        let mut get = |name: &str| self.file(&api, &from, (repo, &info.sha, name), watch);
        for name in BESIDE.into_iter().filter(|name| has(name)) {
            get(name)?;
        }
        if has(shards::SINGLE) {
            get(shards::SINGLE)?;
        } else {
            let path = get(shards::INDEX)?;
            let place = path.display().to_string();
            let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
            let files = shards::Index::parse(&place, &json::object(&place, &bytes)?)?.files();
            files.iter().try_for_each(|name| get(name).map(drop))?;
        }
        self.remember(repo, asked, &info.sha)?;
        self.cached(repo, Some(&info.sha))
    }

    fn api(&self) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_user_agent("personascope", env!("CARGO_PKG_VERSION"))
            .build()
    }

    /// What the hub says of a revision. A network that neither answers nor fails counts as failed.
    fn info(&self, repo: &str, asked: &str) -> Result<RepoInfo, Failure> {
        let from = Repo::with_revision(repo.into(), RepoType::Model, asked.into());
        let (hub, (tell, told)) = (self.clone(), mpsc::channel());
        std::thread::spawn(move || {
            let info = hub.api().and_then(|api| api.repo(from).info());
            let _ = tell.send(info.map_err(Failure::from));
        });
        told.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(Failure { status: None, reason: format!("no answer within {} seconds", PATIENCE.as_secs()) })
        })
    }

    /// One file of a commit: from the cache, or fetched, going on where an interrupted download stopped.
    fn file(
        &self,
        api: &Api,
        from: &ApiRepo,
        (repo, commit, name): (&str, &str, &str),
        watch: &mut Watch<'_>,
    ) -> Result<PathBuf> {
        let pointer = self.folder(repo).join("snapshots").join(commit).join(name);
        if pointer.is_file() {
            return Ok(pointer);
        }
        // It may point to what is not there any more, and would stay.
        let _ = std::fs::remove_file(&pointer);
        let mut failure = Failure { status: None, reason: "it arrived damaged".into() };
        for attempt in 1..=TRIES {
            let total = Cell::new(0);
            match from.download_with_progress(name, Told { name, done: 0, total: &total, watch }) {
                Ok(path) if is_whole(&path, total.get())? => return Ok(path),
                Ok(path) => remove(&path),
                Err(e) => {
                    let (begun_is_bad, locked) = (is_bad_part(&e), matches!(e, ApiError::LockAcquisition(_)));
                    failure = Failure::from(e);
                    if begun_is_bad {
                        self.remove_part(api, from, repo, name);
                    } else if locked || failure.status().is_some_and(|s| (400..500).contains(&s)) {
                        break;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(100) * attempt);
        }
        match failure.status() {
            Some(status @ 400..500) => Err(self.refusal(repo, commit, status)),
            _ => Err(Error::refused(
                format!("`{name}` of `{repo}` cannot be fetched: {}", failure.reason),
                "run the same command again: it goes on with what has arrived",
            )),
        }
    }

    /// Notes the commit of a branch or tag for the next time without a network. Only whole snapshots are noted.
    fn remember(&self, repo: &str, asked: &str, commit: &str) -> Result<()> {
        let refs = self.folder(repo).join("refs");
        if asked != commit {
            let cache = Cache::new(self.cache.clone());
            let noted = cache.repo(Repo::with_revision(repo.into(), RepoType::Model, asked.into())).create_ref(commit);
            noted.map_err(|e| Error::io("write", refs.join(asked), e))?;
        }
        // The crate notes the commit under its own name with every file; the hub's own tools do not.
        let _ = std::fs::remove_file(refs.join(commit));
        Ok(())
    }

    fn fallen_back(&self, repo: &str, asked: &str, failure: &Failure) -> Result<Snapshot> {
        match self.cached(repo, Some(asked)) {
            Ok(mut found) => {
                let warning = format!(
                    "the hub cannot be reached ({}): `{repo}` is the snapshot {} in the cache, which may be old",
                    failure.reason, found.commit
                );
                found.warnings.push(warning);
                Ok(found)
            }
            Err(cached) => {
                let what = format!("the hub {} cannot be reached ({}), and {cached}", self.endpoint, failure.reason);
                Err(Error::refused(
                    what,
                    "check the network and HF_ENDPOINT; a folder of that name would be read without",
                ))
            }
        }
    }

    fn refusal(&self, repo: &str, asked: &str, status: u16) -> Error {
        let page = format!("{}/{repo}", self.endpoint);
        let token = if self.token.is_some() { "the token that was sent may not read it" } else { "no token was sent" };
        match status {
            401 | 403 => Error::refused(
                format!("the hub does not give `{repo}` ({status}): {token}"),
                format!(
                    "if the name is right, the model is private or gated: accept its licence at {page} and set HF_TOKEN \
                     to a token of that account"
                ),
            ),
            404 => Error::refused(
                format!("the hub has no `{repo}` at `{asked}` ({status}), and there is no such folder here"),
                format!("check the spelling, and the branches and tags at {page}"),
            ),
            _ => Error::refused(
                format!("the hub does not give `{repo}` at `{asked}` ({status})"),
                format!("look at {page}; 429 means to wait"),
            ),
        }
    }

    /// Removes what an earlier download of a file left behind.
    fn remove_part(&self, api: &Api, from: &ApiRepo, repo: &str, name: &str) {
        if let Ok(file) = api.metadata(&from.url(name)) {
            let _ = std::fs::remove_file(self.folder(repo).join("blobs").join(file.etag()).with_extension("part"));
        }
    }
}

/// Refuses a repository before a byte of it is fetched.
fn refuse_what_is_no_model(repo: &str, asked: &str, has: &dyn Fn(&str) -> bool) -> Result<()> {
    let refuse = |lacks: &str, hint: &str| Err(Error::refused(format!("`{repo}` at `{asked}` has no {lacks}"), hint));
    let convert = "save it again with transformers, from_pretrained(...).save_pretrained(FOLDER), and give the folder";
    if !has("config.json") {
        return refuse("config.json", "is it an adapter, a GGUF file or a data set? --model takes a whole checkpoint");
    }
    if !has(shards::SINGLE) && !has(shards::INDEX) {
        let old = ["pytorch_model.bin", "pytorch_model.bin.index.json"].into_iter().any(has);
        let of = if old { "safetensors, only a pytorch_model.bin, which can run code" } else { "safetensors" };
        return refuse(of, &format!("{convert}; some repositories have a branch `refs/pr/N` with safetensors"));
    }
    if !has("tokenizer.json") {
        return refuse("tokenizer.json", convert);
    }
    Ok(())
}

/// Whether a file has the size that was promised, and the content where its name in the cache is its SHA-256.
fn is_whole(path: &Path, size: u64) -> Result<bool> {
    let blob = std::fs::canonicalize(path).map_err(|e| Error::io("read", path, e))?;
    let mut file = std::fs::File::open(&blob).map_err(|e| Error::io("read", &blob, e))?;
    if file.metadata().map_err(|e| Error::io("read", &blob, e))?.len() != size {
        return Ok(false);
    }
    let name = blob.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if name.len() != 64 || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(|e| Error::io("read", &blob, e))?;
    Ok(format!("{:x}", hash.finalize()) == name.to_lowercase())
}

/// Removes a file of a snapshot and what it points to.
fn remove(path: &Path) {
    let blob = std::fs::canonicalize(path);
    for path in blob.as_deref().into_iter().chain([path]) {
        let _ = std::fs::remove_file(path);
    }
}

/// Whether what an earlier download left behind is longer than the file, or as long and yet not its end.
fn is_bad_part(e: &ApiError) -> bool {
    matches!(e, ApiError::InvalidResume) || status(e) == Some(416)
}

/// The HTTP status of a request that was answered.
fn status(e: &ApiError) -> Option<u16> {
    let ApiError::RequestError(e) = e else { return None };
    e.to_string().strip_prefix("http status: ")?.parse().ok()
}

/// A request that came to nothing.
struct Failure {
    status: Option<u16>,
    reason: String,
}

impl Failure {
    fn status(&self) -> Option<u16> {
        self.status
    }

    fn into_error(self, hub: &Hub, repo: &str) -> Error {
        let what = format!("`{repo}` cannot be fetched from {}: {}", hub.endpoint, self.reason);
        Error::refused(what, "check the network and HF_ENDPOINT")
    }
}

impl From<ApiError> for Failure {
    fn from(e: ApiError) -> Failure {
        Failure { status: status(&e), reason: e.to_string() }
    }
}

/// Passes on what the crate says of a download.
struct Told<'t, 'w> {
    name: &'t str,
    done: u64,
    total: &'t Cell<u64>,
    watch: &'t mut Watch<'w>,
}

impl Told<'_, '_> {
    fn tell(&mut self) {
        (self.watch)(Loading { stage: Stage::Fetch(self.name), done: self.done, total: self.total.get() });
    }
}

impl hf_hub::api::Progress for Told<'_, '_> {
    fn init(&mut self, size: usize, _: &str) {
        self.total.set(size as u64);
        self.done = 0;
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.tell();
    }

    fn finish(&mut self) {}
}
