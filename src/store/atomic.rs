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

/// The name under which a file is written before it is whole: beside it, and unlike that of any other process.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.{:?}.part", std::process::id(), std::thread::current().id()))
}
