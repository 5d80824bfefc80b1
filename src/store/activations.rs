//! Captured rows as safetensors, written row by row at their final place: nothing is held in memory.

use super::atomic::aside;
use super::manifest::Stored;
use crate::axes::Site;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What is written: a tensor `[row, width]` per site, rows in order, in shards of a stated size.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Sites with their widths.
    pub sites: Vec<(Site, usize)>,
    pub rows: usize,
    pub shard_bytes: u64,
}

impl Layout {
    /// Rows of each shard.
    pub fn shards(&self) -> Vec<usize> {
        let row_bytes: u64 = self.sites.iter().map(|(_, w)| 4 * *w as u64).sum();
        let per_shard = (self.shard_bytes / row_bytes.max(1)).max(1) as usize;
        let mut left = self.rows;
        let mut shards = Vec::new();
        while left > 0 {
            shards.push(left.min(per_shard));
            left -= left.min(per_shard);
        }
        shards
    }

    /// File names of the shards: one file is simply `activations.safetensors`.
    pub fn names(&self) -> Vec<String> {
        match self.shards().len() {
            0 | 1 => vec!["activations.safetensors".into()],
            n => (0..n).map(|i| format!("activations-{i:05}.safetensors")).collect(),
        }
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.sites.iter().map(|(_, w)| 4 * *w as u64).sum::<u64>() * self.rows as u64
    }
}

/// Writes the rows of a [`Layout`] in order. Files get their names when they are whole; dropped before
/// [`Writer::finish`], nothing is left behind.
pub struct Writer {
    dir: PathBuf,
    layout: Layout,
    shards: Vec<usize>,
    /// The shard that is being filled, and rows in it.
    current: usize,
    filled: usize,
    file: Option<Shard>,
    done: Vec<PathBuf>,
}

struct Shard {
    file: File,
    aside: PathBuf,
    path: PathBuf,
    /// Where each site's tensor begins.
    starts: Vec<u64>,
}

impl Writer {
    /// Starts writing into a folder that exists.
    pub fn new(dir: &Path, layout: Layout) -> Writer {
        let shards = layout.shards();
        Writer { dir: dir.into(), layout, shards, current: 0, filled: 0, file: None, done: Vec::new() }
    }

    /// Appends rows, `[row, width]` for every site of the layout in its order.
    ///
    /// # Errors
    /// Values that are not finite; a disk that is full.
    pub fn push(&mut self, kept: &[(Site, Vec<f32>)]) -> Result<()> {
        let rows = kept.first().map_or(0, |(_, v)| v.len() / self.layout.sites[0].1);
        for ((site, width), (got, values)) in self.layout.sites.iter().zip(kept) {
            let count = values.iter().filter(|v| !v.is_finite()).count();
            if count > 0 {
                return Err(Error::NotFinite { place: format!("activations at {site}"), count });
            }
            assert!(site == got && values.len() == rows * width, "an outcome fits its plan");
        }
        let mut at = 0;
        while at < rows {
            if self.file.is_none() {
                self.file = Some(self.open()?);
            }
            let n = (rows - at).min(self.shards[self.current] - self.filled);
            let shard = self.file.as_mut().expect("just opened");
            for (i, (_, width)) in self.layout.sites.iter().enumerate() {
                let bytes: Vec<u8> =
                    kept[i].1[at * width..(at + n) * width].iter().flat_map(|v| v.to_le_bytes()).collect();
                let place = shard.starts[i] + (self.filled * width * 4) as u64;
                let written = shard.file.seek(SeekFrom::Start(place)).and_then(|_| shard.file.write_all(&bytes));
                written.map_err(|e| Error::io("write", &shard.path, e))?;
            }
            (at, self.filled) = (at + n, self.filled + n);
            if self.filled == self.shards[self.current] {
                self.close()?;
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<Shard> {
        let path = self.dir.join(&self.layout.names()[self.current]);
        let aside = aside(&path);
        let header = header(&self.layout.sites, self.shards[self.current], Stored::F32);
        let mut starts = Vec::new();
        let mut end = header.len() as u64;
        for (_, width) in &self.layout.sites {
            starts.push(end);
            end += (self.shards[self.current] * width * 4) as u64;
        }
        let make = || -> std::io::Result<File> {
            let mut file = File::create(&aside)?;
            file.write_all(&header)?;
            file.set_len(end)?;
            Ok(file)
        };
        let file = make().map_err(|e| Error::io("write", &path, e))?;
        Ok(Shard { file, aside, path, starts })
    }

    fn close(&mut self) -> Result<()> {
        let shard = self.file.take().expect("a shard is open");
        let named = shard.file.sync_all().and_then(|()| std::fs::rename(&shard.aside, &shard.path));
        if let Err(e) = named {
            let _ = std::fs::remove_file(&shard.aside);
            return Err(Error::io("write", &shard.path, e));
        }
        self.done.push(shard.path);
        (self.current, self.filled) = (self.current + 1, 0);
        Ok(())
    }

    /// Ends writing: the files, in order.
    ///
    /// # Errors
    /// Rows that never came.
    pub fn finish(mut self) -> Result<Vec<PathBuf>> {
        if self.current < self.shards.len() {
            let got = self.shards[..self.current].iter().sum::<usize>() + self.filled;
            let what = format!("{got} rows came of {}", self.layout.rows);
            return Err(Error::refused(what, "this is a defect of personascope; please report it"));
        }
        Ok(std::mem::take(&mut self.done))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let open = self.file.take().map(|s| s.aside);
        for path in open.iter().chain(&self.done) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The head of a safetensors file: 8 bytes of length, then JSON padded with spaces to a multiple of 8.
pub(crate) fn header(sites: &[(Site, usize)], rows: usize, dtype: Stored) -> Vec<u8> {
    let mut map = Map::new();
    map.insert(
        "__metadata__".into(),
        json!({ "format": "pt", "producer": concat!("personascope ", env!("CARGO_PKG_VERSION")) }),
    );
    let mut at = 0usize;
    for (site, width) in sites {
        let end = at + rows * width * dtype.size();
        let entry = json!({ "dtype": dtype.tag(), "shape": [rows, width], "data_offsets": [at, end] });
        map.insert(site.to_string(), entry);
        at = end;
    }
    let mut text = Value::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn layout(rows: usize, shard_bytes: u64) -> Layout {
        Layout { sites: vec![(Site::post(0), 3), (Site::Logits, 2)], rows, shard_bytes }
    }

    fn part(from: usize, n: usize) -> Vec<(Site, Vec<f32>)> {
        let values = |w: usize| (from * w..(from + n) * w).map(|i| i as f32).collect();
        vec![(Site::post(0), values(3)), (Site::Logits, values(2))]
    }

    #[test]
    fn shards_hold_the_rows_in_order_and_other_readers_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        // 5 values of 4 bytes a row: 65 bytes hold 3 rows, so 7 rows make shards of 3, 3 and 1.
        let mut writer = Writer::new(dir.path(), layout(7, 65));
        for (from, n) in [(0, 2), (2, 4), (6, 1)] {
            writer.push(&part(from, n)).unwrap();
        }
        let files = writer.finish().unwrap();
        assert_eq!(files.len(), 3);
        let mut rows = Vec::new();
        for file in &files {
            let bytes = std::fs::read(file).unwrap();
            let read = SafeTensors::deserialize(&bytes).unwrap();
            let t = read.tensor("resid_post.0").unwrap();
            rows.extend(t.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())));
            assert_eq!(read.tensor("logits").unwrap().shape()[1], 2);
        }
        assert_eq!(rows, (0..21).map(|i| i as f32).collect::<Vec<_>>());
    }

    #[test]
    fn an_unfinished_writer_leaves_nothing_behind_and_refuses_numbers_that_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(dir.path(), layout(7, 65));
        writer.push(&part(0, 4)).unwrap();
        let nan = vec![(Site::post(0), vec![f32::NAN; 3]), (Site::Logits, vec![0.0; 2])];
        assert!(matches!(writer.push(&nan), Err(Error::NotFinite { count: 3, .. })));
        assert!(writer.finish().is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
