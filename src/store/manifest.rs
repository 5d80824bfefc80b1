//! `manifest.json`: what a folder of activations holds, with a checksum for every file.

use super::atomic::write_atomic;
use crate::axes::Site;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The name of the file.
pub const MANIFEST: &str = "manifest.json";
/// The keys of the rows: a line for each row of the tensors, in their order, under the names of the columns.
pub const ROWS: &str = "rows.csv";

/// The numbers in which rows are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    #[default]
    F32,
    F16,
    Bf16,
}

impl Stored {
    /// Bytes of one value.
    pub fn size(self) -> usize {
        if self == Stored::F32 { 4 } else { 2 }
    }
}

/// The width of a site's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Width {
    pub site: Site,
    pub width: usize,
}

/// A file and its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub file: String,
    pub bytes: u64,
    /// BLAKE3 of the whole file, as `b3sum` prints it.
    pub blake3: String,
}

/// A file of rows: safetensors with a tensor `[rows, width]` for each site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFile {
    pub first_row: usize,
    pub rows: usize,
    #[serde(flatten)]
    pub sum: Sum,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub format: u32,
    /// Of the plan that made it; that of the whole for a part.
    pub plan_hash: String,
    /// Rows of the tensors; 0 where moments alone were kept.
    pub rows: usize,
    pub dtype: Stored,
    /// Sites in the order of the tensors in the files.
    pub sites: Vec<Width>,
    /// The rows, in order and without gaps.
    pub files: Vec<RowFile>,
    /// Everything else: `rows.csv`, and what moments were written.
    pub tables: Vec<Sum>,
    /// Which part of a plan this is; none for the whole of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// One of the parts that a plan was dealt into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Counted from 0.
    pub index: usize,
    pub of: usize,
    /// Runs of rows of the whole, `[first, count]`, in the order in which this part holds them.
    pub runs: Vec<(usize, usize)>,
    /// Bytes of a file of rows of the whole.
    pub shard_bytes: u64,
}

impl Manifest {
    /// The version that is written.
    pub const FORMAT: u32 = 1;

    /// Reads the manifest of a folder; `None` if there is none.
    ///
    /// # Errors
    /// A file that is no manifest, or one of a later version.
    pub fn read(dir: &Path) -> Result<Option<Manifest>> {
        let path = dir.join(MANIFEST);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        let place = path.display().to_string();
        let manifest: Manifest = serde_json::from_str(&text).map_err(|e| {
            Error::format(&place, format!("no manifest of activations ({e})"), "run the command that made it again")
        })?;
        if manifest.format != Manifest::FORMAT {
            let what =
                format!("a manifest of version {}, and this program knows {}", manifest.format, Manifest::FORMAT);
            return Err(Error::format(place, what, "use the version of personascope that made it"));
        }
        Ok(Some(manifest))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Names the file.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        write_atomic(&dir.join(MANIFEST), text.as_bytes(), true)
    }

    /// All files with their checksums.
    pub fn sums(&self) -> impl Iterator<Item = &Sum> {
        self.files.iter().map(|f| &f.sum).chain(&self.tables)
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    Missing,
    /// Its size now.
    Size(u64),
    /// The size is right, the contents are not.
    Contents,
}

impl Sum {
    /// The checksum of a file as it stands.
    ///
    /// # Errors
    /// Names the file.
    pub fn of(dir: &Path, file: &str) -> Result<Sum> {
        let path = dir.join(file);
        let mut open = File::open(&path).map_err(|e| Error::io("read", &path, e))?;
        let (mut hash, mut bytes) = (blake3::Hasher::new(), 0);
        let mut block = vec![0; 1 << 20];
        loop {
            let n = open.read(&mut block).map_err(|e| Error::io("read", &path, e))?;
            if n == 0 {
                break;
            }
            hash.update(&block[..n]);
            bytes += n as u64;
        }
        Ok(Sum { file: file.into(), bytes, blake3: hash.finalize().to_hex().to_string() })
    }

    /// Compares the file with what it was; its contents are read only if its size is right.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn check(&self, dir: &Path) -> Result<Option<Damage>> {
        let path = dir.join(&self.file);
        let bytes = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Some(Damage::Missing)),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        if bytes != self.bytes {
            return Ok(Some(Damage::Size(bytes)));
        }
        Ok((Sum::of(dir, &self.file)? != *self).then_some(Damage::Contents))
    }

    /// Says what is wrong with it.
    pub fn damaged(&self, damage: &Damage) -> String {
        match damage {
            Damage::Missing => format!("{} is missing", self.file),
            Damage::Size(bytes) => format!("{} has {bytes} bytes, and {} were written", self.file, self.bytes),
            Damage::Contents => format!("{} is not what was written: its checksum differs", self.file),
        }
    }
}
