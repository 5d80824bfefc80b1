//! Whether a store is what was written: every byte is read once, for its checksum and for its values.

use super::manifest::{Damage, ROWS, RowFile, Sum};
use super::opened::{CHUNK, Store};
use super::tensors::{Tensor, TensorFile};
use crate::axes::Site;
use crate::csv::Csv;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::BufReader;

/// What a look at every byte has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verified {
    /// In the order of the files; empty if all is sound.
    pub damages: Vec<Damaged>,
    /// In the order of the manifest.
    pub sites: Vec<SiteCheck>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// A file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    pub file: String,
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// The values of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteCheck {
    pub site: Site,
    pub width: usize,
    /// Rows that could be read.
    pub rows: usize,
    /// Over the rows in which every value is a number.
    pub mean_norm: f64,
    pub non_finite: usize,
    /// Rows in which a value is no number.
    pub bad_rows: usize,
    /// Row of the first value that is not finite.
    pub first: Option<usize>,
}

impl Store {
    /// Reads every file once, in order, and compares sizes, checksums, shapes, dtypes, the number of keys and the values
    /// with the manifest. `progress` is told of bytes as they are read. Memory does not grow with the store.
    ///
    /// # Errors
    /// A file that is there and cannot be read. Damage is no error: it is in the result.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Verified> {
        let empty = |w: &super::manifest::Width| SiteCheck {
            site: w.site,
            width: w.width,
            rows: 0,
            mean_norm: 0.0,
            non_finite: 0,
            bad_rows: 0,
            first: None,
        };
        let mut found = Verified { sites: self.manifest.sites.iter().map(empty).collect(), ..Verified::default() };
        for (i, file) in self.manifest.files.iter().enumerate() {
            let what = self.check_rows(i, file, &mut found, progress)?;
            self.note(&mut found, &file.sum.file, what);
        }
        for s in &mut found.sites {
            s.mean_norm /= (s.rows - s.bad_rows).max(1) as f64;
        }
        for sum in &self.manifest.tables {
            let what = match sum.check(&self.dir)? {
                Some(damage) => Some(sum.damaged(&damage)),
                None if sum.file == ROWS => self.check_keys()?,
                None if sum.file.ends_with(".safetensors") => {
                    TensorFile::open(&self.dir.join(&sum.file)).err().map(|e| e.to_string())
                }
                None => None,
            };
            progress(sum.bytes);
            found.bytes += sum.bytes;
            self.note(&mut found, &sum.file, what);
        }
        Ok(found)
    }

    fn note(&self, found: &mut Verified, file: &str, what: Option<String>) {
        if let Some(what) = what {
            found.damages.push(Damaged { file: file.into(), what, next: self.mend() });
        }
    }

    /// What is wrong with a file of rows.
    fn check_rows(
        &self,
        i: usize,
        entry: &RowFile,
        found: &mut Verified,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<String>> {
        let sum = &entry.sum;
        let path = self.dir.join(&sum.file);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() != sum.bytes => return Ok(Some(sum.damaged(&Damage::Size(meta.len())))),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Some(sum.damaged(&Damage::Missing))),
            Err(e) => return Err(Error::io("read", path, e)),
        }
        let file = match self.file(i) {
            Ok(file) => file,
            Err(Error::Format { reason, .. }) => return Ok(Some(format!("{}: {reason}", sum.file))),
            Err(e) => return Err(e),
        };
        let mut hash = blake3::Hasher::new();
        let mut bytes = vec![0; file.data_start() as usize];
        file.read_at(0, &mut bytes)?;
        hash.update(&bytes);
        progress(bytes.len() as u64);
        for tensor in &file.tensors {
            self.check_tensor(file, tensor, entry.first_row, &mut hash, found, progress)?;
        }
        found.bytes += sum.bytes;
        let now = Sum { file: sum.file.clone(), bytes: sum.bytes, blake3: hash.finalize().to_hex().to_string() };
        Ok((now != *sum).then(|| sum.damaged(&Damage::Contents)))
    }

    fn check_tensor(
        &self,
        file: &TensorFile,
        tensor: &Tensor,
        first_row: usize,
        hash: &mut blake3::Hasher,
        found: &mut Verified,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let Some(check) = found.sites.iter_mut().find(|s| s.site.to_string() == tensor.name) else { return Ok(()) };
        let row_bytes = check.width * self.manifest.dtype.size();
        let at_once = (CHUNK / row_bytes).max(1) * row_bytes;
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        let (mut at, mut row) = (tensor.start, first_row);
        while at < tensor.end {
            bytes.resize(at_once.min((tensor.end - at) as usize), 0);
            file.read_at(at, &mut bytes)?;
            hash.update(&bytes);
            values.clear();
            self.manifest.dtype.decode(&bytes, &mut values);
            for values in values.chunks_exact(check.width) {
                let squares: f64 = values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
                if squares.is_finite() {
                    check.mean_norm += squares.sqrt();
                } else {
                    check.non_finite += values.iter().filter(|v| !v.is_finite()).count();
                    check.bad_rows += 1;
                    check.first.get_or_insert(row);
                }
                row += 1;
            }
            at += bytes.len() as u64;
            progress(bytes.len() as u64);
        }
        check.rows += row - first_row;
        Ok(())
    }

    /// What is wrong with the keys, whose checksum is right.
    fn check_keys(&self) -> Result<Option<String>> {
        let path = self.dir.join(ROWS);
        let file = File::open(&path).map_err(|e| Error::io("read", &path, e))?;
        let (mut csv, names) = match Csv::open(BufReader::with_capacity(1 << 20, file), ROWS) {
            Ok(open) => open,
            Err(e) => return Ok(Some(e.to_string())),
        };
        let numbered = names.first().is_some_and(|n| n == "row") && self.manifest.part.is_none();
        let (mut cells, mut rows) = (Vec::new(), 0usize);
        loop {
            match csv.record(&mut cells) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => return Ok(Some(e.to_string())),
            }
            if numbered && cells[0] != rows.to_string() {
                return Ok(Some(format!("{ROWS}, line {}: row {}, and {rows} comes next", csv.line(), cells[0])));
            }
            rows += 1;
        }
        let expected = self.manifest.rows;
        Ok((rows != expected).then(|| format!("{ROWS} has {rows} lines of keys, and the tensors {expected} rows")))
    }
}

impl Verified {
    /// Nothing is damaged, and every value is a number.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty() && self.sites.iter().all(|s| s.non_finite == 0)
    }
}

#[cfg(test)]
mod tests;
