//! The file operations that a store is made of. Tests put a disk in their place that is full, or that a crash takes away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// A file that is open for writing at any place.
pub trait Out: Send {
    /// Writes all bytes at a place.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes the file so long; new bytes are zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Returns when what was written would survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a folder is changed with.
pub trait Disk: Send + Sync {
    /// An empty file, whatever stood there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>>;
    /// A file that is there, to write on.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Out>>;
    /// Gives a file its name, whatever had it before.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk as it is.
pub struct Real;

struct RealFile(File);

impl Out for RealFile {
    #[cfg(unix)]
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, at)
    }

    #[cfg(not(unix))]
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        use std::io::{Seek, SeekFrom, Write};
        self.0.seek(SeekFrom::Start(at))?;
        self.0.write_all(bytes)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        Ok(Box::new(RealFile(File::create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        Ok(Box::new(RealFile(OpenOptions::new().write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
