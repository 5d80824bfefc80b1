//! Where unit outcomes wait: in a folder, or in memory.

use super::atomic::{create_dir, write_atomic};
use crate::error::{Error, Result};
use crate::unit::{Outcome, Shelf};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A folder with one file per unit, named by its address.
#[derive(Debug)]
pub struct FolderShelf {
    dir: PathBuf,
}

impl FolderShelf {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(dir: &Path) -> Result<FolderShelf> {
        create_dir(dir)?;
        Ok(FolderShelf { dir: dir.to_path_buf() })
    }

    fn path(&self, address: &str) -> PathBuf {
        self.dir.join(format!("{address}.unit"))
    }

    /// Forgets everything: the folder goes.
    pub fn clear(self) -> Result<()> {
        std::fs::remove_dir_all(&self.dir).map_err(|e| Error::io("remove", &self.dir, e))
    }
}

/// Bytes of the checksum in front of an outcome.
const SUM: usize = 32;

impl Shelf for FolderShelf {
    fn get(&self, address: &str) -> Result<Option<Outcome>> {
        let path = self.path(address);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        // A file that is damaged counts as none: its unit is run again and written over.
        let whole = bytes.len() >= SUM && Sha256::digest(&bytes[SUM..])[..] == bytes[..SUM];
        Ok(if whole { Outcome::from_bytes(&bytes[SUM..]) } else { None })
    }

    fn put(&self, address: &str, outcome: &Outcome) -> Result<()> {
        let body = outcome.to_bytes()?;
        let mut bytes = Sha256::digest(&body).to_vec();
        bytes.extend(body);
        write_atomic(&self.path(address), &bytes, false)
    }
}

/// A shelf that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryShelf {
    held: Mutex<HashMap<String, Outcome>>,
}

impl Shelf for MemoryShelf {
    fn get(&self, address: &str) -> Result<Option<Outcome>> {
        Ok(self.held.lock().unwrap_or_else(|e| e.into_inner()).get(address).cloned())
    }

    fn put(&self, address: &str, outcome: &Outcome) -> Result<()> {
        self.held.lock().unwrap_or_else(|e| e.into_inner()).insert(address.into(), outcome.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_outcomes_and_takes_damaged_files_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = FolderShelf::open(&dir.path().join("units")).unwrap();
        let outcome = Outcome { replies: vec![vec![1, 2, 3]], ..Outcome::default() };
        assert_eq!(shelf.get("a").unwrap(), None);
        shelf.put("a", &outcome).unwrap();
        assert_eq!(shelf.get("a").unwrap(), Some(outcome));
        let path = shelf.path("a");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(shelf.get("a").unwrap(), None, "a flipped bit");
        std::fs::write(&path, &bytes[..10]).unwrap();
        assert_eq!(shelf.get("a").unwrap(), None, "cut short");
    }
}
