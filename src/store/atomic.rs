//! Files that appear whole: written aside, synced, renamed.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Makes a folder and those above it.
///
/// # Errors
/// Names the folder that could not be made.
pub fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| Error::io("make folder", dir, e))
}

/// Writes a file whole or not at all. With `sync` it also survives a power cut.
///
/// # Errors
/// Names the file; whatever stood there before is still there.
pub fn write_atomic(path: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let aside = aside(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&aside, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&aside);
        Error::io("write", path, e)
    })
}

/// A file that is written in parts and appears whole when it is finished.
pub struct Appending {
    path: PathBuf,
    aside: PathBuf,
    file: Option<File>,
}

impl Appending {
    /// Begins a file.
    ///
    /// # Errors
    /// Names the file.
    pub fn create(path: &Path) -> Result<Appending> {
        let aside = aside(path);
        let file = File::create(&aside).map_err(|e| Error::io("write", path, e))?;
        Ok(Appending { path: path.to_path_buf(), aside, file: Some(file) })
    }

    /// Writes on.
    ///
    /// # Errors
    /// Names the file; what stood there before is still there.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|e| Error::io("write", &self.path, e)),
            None => Ok(()),
        }
    }

    /// The file itself, for what is not written in order; none once it is finished.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Puts the whole file in its place; it survives a power cut.
    ///
    /// # Errors
    /// Names the file; what stood there before is still there.
    pub fn finish(mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let done = file.sync_all().and_then(|()| fs::rename(&self.aside, &self.path));
        done.map_err(|e| {
            let _ = fs::remove_file(&self.aside);
            Error::io("write", &self.path, e)
        })
    }
}

impl Drop for Appending {
    /// An unfinished file leaves nothing behind.
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// The name under which a file is written before it is whole: beside it, and unlike that of any other process.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.{:?}.part", std::process::id(), std::thread::current().id()))
}
