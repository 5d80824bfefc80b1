//! What an unfinished capture already holds: a line for every piece that was written, with the checksum of its rows.
//!
//! A line is believed only if its own checksum is right: a crash may tear the last one. What a line says is believed only
//! if the rows still have that checksum: they may not have reached the disk, or not survived on it.

use super::disk::{Disk, Out};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A journal that is open.
pub struct Journal {
    path: PathBuf,
    out: Box<dyn Out>,
    end: u64,
}

/// What a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Checksums of pieces.
    pub pieces: BTreeMap<usize, u32>,
    /// Lengths and BLAKE3 of whole files.
    pub files: BTreeMap<usize, (u64, String)>,
}

impl Journal {
    /// Opens the journal of a plan and says what it holds; begins one where there is none, or only that of another plan.
    ///
    /// # Errors
    /// Names the file.
    pub fn open(disk: &dyn Disk, path: &Path, plan: &str) -> Result<(Journal, Entries)> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => vec![],
            Err(e) => return Err(Error::io("read", path, e)),
        };
        let first = line(&format!("plan {plan}"));
        let known = bytes.starts_with(first.as_bytes());
        let open = || if known { disk.open(path) } else { disk.create(path) };
        let out = open().map_err(|e| Error::io("write", path, e))?;
        let mut journal = Journal { path: path.into(), out, end: if known { bytes.len() as u64 } else { 0 } };
        // Behind a torn line, the next one must begin on its own.
        journal.append(if known { "\n" } else { &first })?;
        Ok((journal, if known { entries(&bytes[first.len()..]) } else { Entries::default() }))
    }

    /// Notes that a piece was written.
    ///
    /// # Errors
    /// Names the file.
    pub fn piece(&mut self, piece: usize, sum: u32) -> Result<()> {
        self.append(&line(&format!("piece {piece} {sum:08x}")))
    }

    /// Notes that a file is whole, for good.
    ///
    /// # Errors
    /// Names the file.
    pub fn file(&mut self, file: usize, bytes: u64, blake3: &str) -> Result<()> {
        self.append(&line(&format!("file {file} {bytes} {blake3}")))?;
        self.out.sync().map_err(|e| Error::io("write", &self.path, e))
    }

    fn append(&mut self, text: &str) -> Result<()> {
        self.out.write_at(text.as_bytes(), self.end).map_err(|e| Error::io("write", &self.path, e))?;
        self.end += text.len() as u64;
        Ok(())
    }
}

fn line(text: &str) -> String {
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

fn entries(bytes: &[u8]) -> Entries {
    let mut all = Entries::default();
    for text in bytes.split(|b| *b == b'\n').filter_map(|l| std::str::from_utf8(l).ok()) {
        let Some((said, sum)) = text.rsplit_once(' ') else { continue };
        if u32::from_str_radix(sum, 16) != Ok(crc32fast::hash(said.as_bytes())) {
            continue;
        }
        match said.split(' ').collect::<Vec<_>>()[..] {
            ["piece", piece, sum] => {
                if let (Ok(piece), Ok(sum)) = (piece.parse(), u32::from_str_radix(sum, 16)) {
                    all.pieces.insert(piece, sum);
                }
            }
            ["file", file, bytes, blake3] => {
                if let (Ok(file), Ok(bytes)) = (file.parse(), bytes.parse()) {
                    all.files.insert(file, (bytes, blake3.into()));
                }
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::disk::Real;
    use super::*;

    #[test]
    fn what_was_noted_is_there_again_whatever_became_of_the_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, held) = Journal::open(&Real, &path, "p").unwrap();
        assert_eq!(held, Entries::default());
        journal.piece(3, 0xabc).unwrap();
        journal.file(0, 17, "00ff").unwrap();
        journal.piece(4, 1).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..12 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut journal, held) = Journal::open(&Real, &path, "p").unwrap();
            // All but its line break may be there.
            let last = (cut == 1).then_some((4, 1));
            assert_eq!(held.pieces, [(3, 0xabc)].into_iter().chain(last).collect(), "{cut} bytes cut off");
            assert_eq!(held.files, [(0, (17, "00ff".into()))].into());
            journal.piece(5, 2).unwrap();
            let (_, held) = Journal::open(&Real, &path, "p").unwrap();
            assert_eq!(held.pieces.get(&5), Some(&2), "{cut} bytes cut off");
        }
    }

    #[test]
    fn the_journal_of_another_plan_and_a_line_that_was_changed_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::open(&Real, &path, "p").unwrap().0.piece(3, 7).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("piece 3", "piece 2")).unwrap();
        assert_eq!(Journal::open(&Real, &path, "p").unwrap().1, Entries::default());
        std::fs::write(&path, text).unwrap();
        assert_eq!(Journal::open(&Real, &path, "q").unwrap().1, Entries::default());
        assert_eq!(Journal::open(&Real, &path, "p").unwrap().1, Entries::default(), "it began anew");
    }
}
