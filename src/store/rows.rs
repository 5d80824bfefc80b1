//! The rows of a capture on their way to disk: each is written once, at its final place, whenever it comes.
//!
//! A file grows aside, in the folder of unfinished work, and gets its name when all its rows are there, synced, and its
//! checksum is noted. Killed at any moment, what was written is found again by the journal and the checksum of each
//! piece; a finished file that was lost or damaged since is written anew, and the others stay as they are.

use super::atomic::create_dir;
use super::disk::Disk;
use super::journal::Journal;
use super::layout::{Layout, Packed, Piece, head, names, sum};
use super::manifest::{Damage, RowFile, Sum};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The folder of unfinished work, in the folder of the results.
pub const UNFINISHED: &str = ".unfinished";
const JOURNAL: &str = "journal";
/// Files that may be open at once.
const OPEN: usize = 32;

/// Rows that are being written.
pub struct RowWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    layout: Layout,
    names: Vec<String>,
    rows: Vec<usize>,
    pieces: Vec<Piece>,
    /// The pieces of each unit.
    of_unit: Vec<Range<usize>>,
    present: Vec<bool>,
    /// Pieces that each file still lacks.
    lacks: Vec<usize>,
    whole: Vec<Option<Sum>>,
    open: BTreeMap<usize, Box<dyn super::disk::Out>>,
    journal: Journal,
    /// The file that is being synced and summed while others are filled.
    closing: Option<(usize, JoinHandle<Result<Sum>>)>,
}

/// What was there when writing began.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub rows: usize,
    /// What was not as it had been written, in words; its rows are to come again.
    pub damaged: Vec<String>,
}

impl RowWriter {
    /// Begins or goes on writing into a folder that exists; `done` are the checksums of a finished run of this plan.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        layout: Layout,
        plan: &str,
        done: &[Sum],
    ) -> Result<(RowWriter, Found)> {
        let unfinished = dir.join(UNFINISHED);
        create_dir(&unfinished)?;
        let (journal, held) = Journal::open(&*disk, &unfinished.join(JOURNAL), plan)?;
        let (rows, pieces) = (layout.files(), layout.pieces());
        let names = names(rows.len());
        let mut of_unit = vec![0..0; layout.units.len()];
        for (i, p) in pieces.iter().enumerate() {
            let range = &mut of_unit[p.unit];
            *range = if range.start == range.end { i..i + 1 } else { range.start..i + 1 };
        }
        let mut lacks = vec![0; rows.len()];
        pieces.iter().for_each(|p| lacks[p.file] += 1);
        let mut writer = RowWriter {
            disk,
            dir: dir.into(),
            present: vec![false; pieces.len()],
            whole: vec![None; rows.len()],
            open: BTreeMap::new(),
            closing: None,
            journal,
            layout,
            names,
            rows,
            pieces,
            of_unit,
            lacks,
        };
        let mut found = Found::default();
        for file in 0..writer.rows.len() {
            let name = &writer.names[file];
            let noted = held.files.get(&file).map(|(bytes, blake3)| Sum {
                file: name.clone(),
                bytes: *bytes,
                blake3: blake3.clone(),
            });
            let known: Vec<Sum> = noted.into_iter().chain(done.iter().find(|s| s.file == *name).cloned()).collect();
            if !writer.find_whole(file, &known, &mut found)? {
                writer.find_pieces(file, &held.pieces, &mut found)?;
            }
        }
        found.rows = writer.pieces.iter().zip(&writer.present).filter(|(_, there)| **there).map(|(p, _)| p.rows).sum();
        Ok((writer, found))
    }

    /// Whether rows of a unit are still to come.
    pub fn lacks(&self, unit: usize) -> bool {
        self.of_unit[unit].clone().any(|p| !self.present[p])
    }

    /// Rows of a unit that are there.
    pub fn rows_of(&self, unit: usize) -> usize {
        self.of_unit[unit].clone().filter(|p| self.present[*p]).map(|p| self.pieces[p].rows).sum()
    }

    /// The pieces of a unit.
    pub fn pieces(&self, unit: usize) -> &[Piece] {
        &self.pieces[self.of_unit[unit].clone()]
    }

    /// The shape of what is written.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes the rows of a unit, those of them that are not there.
    ///
    /// # Errors
    /// A disk that is full or gone. What was written before stays, and is found again.
    pub fn put(&mut self, unit: usize, packed: &Packed) -> Result<()> {
        let pieces = self.of_unit[unit].clone();
        for (i, sum) in pieces.zip(&packed.sums) {
            if self.present[i] {
                continue;
            }
            let piece = self.pieces[i];
            let path = self.aside(piece.file);
            let (head, starts) = head(&self.layout.sites, self.layout.dtype, self.rows[piece.file]);
            let size = self.layout.dtype.size();
            let out = self.opened(piece.file, &head, starts[starts.len() - 1])?;
            let widths: Vec<usize> = self.layout.sites.iter().map(|s| s.width * size).collect();
            let out = self.open.get_mut(&out).expect("just opened");
            for ((row, start), bytes) in widths.iter().zip(&starts).zip(&packed.bytes) {
                let part = &bytes[piece.of_unit * row..(piece.of_unit + piece.rows) * row];
                out.write_at(part, start + (piece.of_file * row) as u64).map_err(|e| Error::io("write", &path, e))?;
            }
            self.journal.piece(i, *sum)?;
            self.present[i] = true;
            self.lacks[piece.file] -= 1;
            if self.lacks[piece.file] == 0 {
                self.close(piece.file)?;
            }
        }
        Ok(())
    }

    /// Ends writing: the files, in order.
    ///
    /// # Errors
    /// Rows that never came; a file that cannot be finished.
    pub fn finish(&mut self) -> Result<Vec<RowFile>> {
        self.closed()?;
        let mut first_row = 0;
        let mut files = Vec::with_capacity(self.rows.len());
        for (rows, whole) in self.rows.iter().zip(&self.whole) {
            let Some(sum) = whole.clone() else {
                let got: usize = self.pieces.iter().zip(&self.present).filter(|p| *p.1).map(|p| p.0.rows).sum();
                let what = format!("{got} rows came of {}", self.layout.rows());
                return Err(Error::refused(what, "this is a defect of personascope; please report it"));
            };
            files.push(RowFile { first_row, rows: *rows, sum });
            first_row += rows;
        }
        Ok(files)
    }

    fn aside(&self, file: usize) -> PathBuf {
        self.dir.join(UNFINISHED).join(&self.names[file])
    }

    /// Opens the file that grows aside, and makes it where it is not there.
    fn opened(&mut self, file: usize, head: &[u8], len: u64) -> Result<usize> {
        if self.open.contains_key(&file) {
            return Ok(file);
        }
        if self.open.len() >= OPEN {
            self.open.pop_first();
        }
        let path = self.aside(file);
        let begin = || {
            if std::fs::metadata(&path).is_ok_and(|m| m.len() == len) {
                return self.disk.open(&path);
            }
            let mut out = self.disk.create(&path)?;
            out.write_at(head, 0)?;
            out.set_len(len)?;
            Ok(out)
        };
        let out = begin().map_err(|e| Error::io("write", &path, e))?;
        self.open.insert(file, out);
        Ok(file)
    }

    /// Gives a file its last sync and its checksum on a thread of its own, while others are filled.
    fn close(&mut self, file: usize) -> Result<()> {
        self.closed()?;
        let (disk, path) = (self.disk.clone(), self.aside(file));
        let (dir, name, open) = (self.dir.join(UNFINISHED), self.names[file].clone(), self.open.remove(&file));
        let last = move || {
            let sync = || open.map_or_else(|| disk.open(&path), Ok)?.sync();
            sync().map_err(|e| Error::io("write", &path, e))?;
            Sum::of(&dir, &name)
        };
        self.closing = Some((file, std::thread::spawn(last)));
        Ok(())
    }

    /// Waits for the file that is being closed and gives it its name.
    fn closed(&mut self) -> Result<()> {
        let Some((file, thread)) = self.closing.take() else { return Ok(()) };
        let sum = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // Noted first: a file that has its name is one whose checksum is known.
        self.journal.file(file, sum.bytes, &sum.blake3)?;
        self.name(file, sum)
    }

    fn name(&mut self, file: usize, sum: Sum) -> Result<()> {
        let path = self.dir.join(&self.names[file]);
        self.disk.rename(&self.aside(file), &path).map_err(|e| Error::io("write", path, e))?;
        self.whole[file] = Some(sum);
        Ok(())
    }

    /// Whether a file is there as a whole, under its name or about to get it. One that is not what it was goes.
    fn find_whole(&mut self, file: usize, known: &[Sum], found: &mut Found) -> Result<bool> {
        let unfinished = self.dir.join(UNFINISHED);
        let mut damage = None;
        for sum in known {
            match sum.check(&self.dir)? {
                None => self.whole[file] = Some(sum.clone()),
                Some(d) => damage = Some((sum, d)),
            }
            if self.whole[file].is_none() && sum.check(&unfinished)?.is_none() {
                self.name(file, sum.clone())?;
            }
            if self.whole[file].is_some() {
                self.lacks[file] = 0;
                let of = |p: &Piece| p.file == file;
                self.pieces.iter().zip(&mut self.present).filter(|(p, _)| of(p)).for_each(|(_, there)| *there = true);
                return Ok(true);
            }
        }
        if let Some((sum, damage)) = damage {
            found.damaged.push(sum.damaged(&damage));
        }
        let path = self.dir.join(&self.names[file]);
        if path.exists() {
            // Nothing says what it should be: it must not pass for what is about to be written.
            self.disk.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        Ok(false)
    }

    /// Marks the pieces of an unfinished file that are as they were written.
    fn find_pieces(&mut self, file: usize, noted: &BTreeMap<usize, u32>, found: &mut Found) -> Result<()> {
        let path = self.aside(file);
        let (head, starts) = head(&self.layout.sites, self.layout.dtype, self.rows[file]);
        let Ok(aside) = File::open(&path) else { return Ok(()) };
        let mut first = vec![0; head.len()];
        let len = aside.metadata().map_err(|e| Error::io("read", &path, e))?.len();
        if len != starts[starts.len() - 1] || read_at(&aside, &mut first, 0).is_err() || first != head {
            drop(aside);
            return self.disk.remove(&path).map_err(|e| Error::io("remove", &path, e));
        }
        let mut lost = 0;
        for (i, piece) in self.pieces.iter().enumerate().filter(|(_, p)| p.file == file) {
            let Some(noted) = noted.get(&i) else { continue };
            let mut bytes = Vec::with_capacity(starts.len());
            for (site, start) in self.layout.sites.iter().zip(&starts) {
                let row = site.width * self.layout.dtype.size();
                let mut part = vec![0; piece.rows * row];
                read_at(&aside, &mut part, start + (piece.of_file * row) as u64)
                    .map_err(|e| Error::io("read", &path, e))?;
                bytes.push(part);
            }
            self.present[i] = sum(&self.layout.sites, self.layout.dtype, &bytes, 0..piece.rows) == *noted;
            if self.present[i] {
                self.lacks[file] -= 1;
            } else {
                lost += piece.rows;
            }
        }
        if lost > 0 {
            found.damaged.push(format!("{lost} rows of the unfinished {} did not survive", self.names[file]));
        }
        if self.lacks[file] == 0 {
            self.close(file)?;
        }
        Ok(())
    }
}

impl Drop for RowWriter {
    /// Waits for what still writes; all that was noted is found again.
    fn drop(&mut self) {
        if let Some((_, thread)) = self.closing.take() {
            let _ = thread.join();
        }
    }
}

/// Fills `bytes` from a place of a file.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, bytes, at);
    #[cfg(not(unix))]
    {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = file;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(bytes)
    }
}

/// What is wrong with the files of a finished run: those that are as they were written are not named.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn damages<'a>(dir: &Path, sums: impl Iterator<Item = &'a Sum>) -> Result<Vec<(&'a Sum, Damage)>> {
    sums.filter_map(|s| s.check(dir).map(|d| d.map(|d| (s, d))).transpose()).collect()
}
