//! Where a checkpoint comes from, and the bytes of its files.

use super::hub::{self, Hub, Snapshot};
use super::opening::Watch;
use crate::error::{Error, Result};
use crate::shipped::{SHIPPED, Shipped};
use std::path::{Path, PathBuf};

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A model inside the binary.
    Embedded(&'static Shipped),
    /// A folder in Hugging Face layout.
    Dir(PathBuf),
    /// A repository of the hub, and a branch, tag or commit of it; `None` is its main branch.
    Hub { repo: String, revision: Option<String> },
}

impl Source {
    /// The name of a shipped model, a folder, or `org/name[@revision]` on the hub. A folder of that name comes first.
    pub fn parse(text: &str) -> Source {
        if let Some(shipped) = Shipped::named(text) {
            return Source::Embedded(shipped);
        }
        let path = Path::new(text);
        match hub::parse(text) {
            Some((repo, revision)) if !path.exists() => Source::Hub { repo, revision },
            _ => Source::Dir(path.into()),
        }
    }

    /// The default model.
    pub fn toyworld() -> Source {
        Source::Embedded(&SHIPPED[0])
    }

    /// What others call it: without the revision.
    pub fn name(&self) -> String {
        match self {
            Source::Embedded(shipped) => shipped.name.into(),
            Source::Dir(dir) => dir.display().to_string(),
            Source::Hub { repo, .. } => repo.clone(),
        }
    }

    /// The branch, tag or commit on the hub. Of an opened model it is the commit.
    pub fn revision(&self) -> Option<&str> {
        match self {
            Source::Hub { revision, .. } => revision.as_deref(),
            _ => None,
        }
    }

    /// The bytes of a file of the checkpoint; `None` if there is none. Nothing is fetched from the hub.
    ///
    /// # Errors
    /// A file that cannot be read; a repository that is not in the cache.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let files = match self {
            Source::Hub { repo, revision } => {
                let found = Hub::from_env()?.cached(repo, revision.as_deref())?;
                self.files_of(found)
            }
            _ => self.open(&mut |_| ())?,
        };
        Ok(files.file(name)?.map(|bytes| bytes.to_vec()))
    }

    /// The files; those of a repository of the hub are fetched where they are not in the cache.
    pub(super) fn open(&self, watch: &mut Watch<'_>) -> Result<Files> {
        match self {
            Source::Embedded(shipped) => {
                Ok(Files { source: self.clone(), root: Root::Embedded(shipped), warnings: vec![] })
            }
            Source::Dir(dir) => {
                std::fs::read_dir(dir).map_err(|e| Error::io("open model folder", dir, e))?;
                Ok(Files { source: self.clone(), root: Root::Dir(dir.clone()), warnings: vec![] })
            }
            Source::Hub { repo, revision } => {
                Ok(self.files_of(Hub::from_env()?.snapshot(repo, revision.as_deref(), watch)?))
            }
        }
    }

    fn files_of(&self, snapshot: Snapshot) -> Files {
        let source = Source::Hub { repo: self.name(), revision: Some(snapshot.commit) };
        Files { source, root: Root::Dir(snapshot.dir), warnings: snapshot.warnings }
    }
}

enum Root {
    Embedded(&'static Shipped),
    Dir(PathBuf),
}

/// The files of a checkpoint that are at hand.
pub(super) struct Files {
    /// Where they come from, with the commit where that is the hub.
    pub source: Source,
    root: Root,
    /// What is worth saying about where they come from.
    pub warnings: Vec<String>,
}

impl Files {
    /// Their folder, if they are in one.
    pub fn dir(&self) -> Option<&Path> {
        match &self.root {
            Root::Embedded(_) => None,
            Root::Dir(dir) => Some(dir),
        }
    }

    /// What messages call a file.
    pub fn place(&self, file: &str) -> String {
        match &self.root {
            Root::Embedded(shipped) => format!("{}/{file}", shipped.name),
            Root::Dir(dir) => dir.join(file).display().to_string(),
        }
    }

    /// A file; `None` if there is none.
    pub fn file(&self, name: &str) -> Result<Option<Bytes>> {
        match &self.root {
            Root::Embedded(shipped) => Ok(shipped.file(name).map(Bytes::Static)),
            Root::Dir(dir) => Bytes::of(&dir.join(name)),
        }
    }

    /// A file that must be there.
    pub fn needed(&self, name: &str) -> Result<Bytes> {
        self.file(name)?.ok_or_else(|| {
            let reason = "there is no such file";
            let hint = format!(
                "--model takes a folder with config.json, tokenizer.json and model.safetensors, `org/name` on the hub, \
                 or one of {}",
                Shipped::names()
            );
            Error::format(self.place(name), reason, hint)
        })
    }
}

/// The bytes of a file.
pub(super) enum Bytes {
    Static(&'static [u8]),
    Mapped(memmap2::Mmap),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Static(b) => b,
            Bytes::Mapped(m) => m,
        }
    }
}

impl Bytes {
    /// A file in memory as it is on the disk; `None` if there is none.
    fn of(path: &Path) -> Result<Option<Bytes>> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        if length == 0 {
            return Ok(Some(Bytes::Static(&[])));
        }
        // SAFETY: the map is read-only. Another process that truncates the file under us would stop this one with a
        // bus error, as it would any program that maps its weights.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io("map", path, e))?;
        Ok(Some(Bytes::Mapped(map)))
    }

    /// Gives back the memory of a part of the file that was read; it comes again from the file if it is asked for.
    pub fn release(&self, part: &[u8]) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            let from = part.as_ptr() as usize - map.as_ptr() as usize;
            // SAFETY: the map is read-only and of a file, so what is dropped is what the file still holds. That the
            // system may decline changes nothing.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, part.len()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_names_come_first_then_folders_then_the_hub() {
        let hub = |repo: &str, revision: Option<&str>| Source::Hub {
            repo: repo.into(),
            revision: revision.map(String::from),
        };
        assert_eq!(Source::parse("toyworld"), Source::toyworld());
        assert_eq!(Source::parse("org/name"), hub("org/name", None));
        assert_eq!(Source::parse("org/na-me_1.5B@v2"), hub("org/na-me_1.5B", Some("v2")));
        assert_eq!(Source::parse("org/name@refs/pr/3"), hub("org/name", Some("refs/pr/3")));
        // A folder that is there, relative to the package.
        assert_eq!(Source::parse("src/model"), Source::Dir("src/model".into()));
        for dir in
            ["name", "./org/name", "../org/name", "/org/name", "a/b/c", "org/name/", "org/x.safetensors", "a b/c"]
        {
            assert_eq!(Source::parse(dir), Source::Dir(dir.into()));
        }
        assert_eq!(Source::parse("org/name@v2").name(), "org/name");
        assert_eq!(Source::parse("org/name@v2").revision(), Some("v2"));
    }
}
