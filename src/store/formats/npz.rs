//! An archive of numpy arrays: one for each site, one for each column of the keys.

use super::npy::header;
use super::{Kind, Selection};
use crate::error::{Error, Result};
use crate::store::Appending;
use crate::store::keys::{Column, Keys};
use crate::store::manifest::Stored;
use crate::store::opened::{CHUNK, Store};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use zip::write::{SimpleFileOptions, ZipWriter};

/// Sites are `<f4` or `<f2` (numpy has no bf16: it becomes f32, which is exact); keys are int64, float64 with NaN where a
/// cell is empty, or text of the width of the longest. Nothing is compressed: `np.load` reads it at the speed of the disk.
pub(super) fn write(
    store: &Store,
    what: &Selection,
    keys: &Keys,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<PathBuf>> {
    let aside = Appending::create(out)?;
    let Some(file) = aside.file() else { return Ok(vec![]) };
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 20, file));
    let failed = |e: std::io::Error| Error::io("write", out, e);
    let half = store.manifest.dtype == Stored::F16;
    let (descr, size) = if half { ("<f2", 2) } else { ("<f4", 4) };
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for w in &what.sites {
        begin(&mut zip, &w.site.to_string(), descr, &[what.count(), w.width], size).map_err(failed)?;
        for rows in what.pieces(CHUNK / (w.width * store.manifest.dtype.size())) {
            bytes.clear();
            store.read_bytes(w.site, rows, &mut bytes)?;
            progress(bytes.len() as u64);
            if store.manifest.dtype == Stored::Bf16 {
                values.clear();
                Stored::Bf16.decode(&bytes, &mut values);
                bytes.clear();
                Stored::F32.encode_all(&values, &mut bytes);
            }
            zip.write_all(&bytes).map_err(failed)?;
        }
    }
    for column in &keys.columns {
        put(&mut zip, what, column).map_err(failed)?;
    }
    let mut file = zip.finish().map_err(|e| failed(e.into()))?;
    file.flush().map_err(failed)?;
    drop(file);
    aside.finish()?;
    Ok(vec![out.into()])
}

type Zip<'a> = ZipWriter<BufWriter<&'a std::fs::File>>;

fn begin(zip: &mut Zip<'_>, name: &str, descr: &str, shape: &[usize], size: usize) -> std::io::Result<()> {
    let head = header(descr, shape);
    let bytes = shape.iter().product::<usize>() as u64 * size as u64 + head.len() as u64;
    let options = SimpleFileOptions::DEFAULT
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(bytes >= u64::from(u32::MAX));
    zip.start_file(format!("{name}.npy"), options)?;
    zip.write_all(&head)
}

fn put(zip: &mut Zip<'_>, what: &Selection, column: &Column) -> std::io::Result<()> {
    let (kind, rows) = (Kind::of(column), [what.count()]);
    let mut bytes = Vec::new();
    let flush = |zip: &mut Zip<'_>, bytes: &mut Vec<u8>, least: usize| -> std::io::Result<()> {
        if bytes.len() >= least {
            zip.write_all(bytes)?;
            bytes.clear();
        }
        Ok(())
    };
    match kind {
        Kind::Int | Kind::Float => {
            let descr = if kind == Kind::Int { "<i8" } else { "<f8" };
            begin(zip, &column.name, descr, &rows, 8)?;
            let ints: Option<Vec<Option<i64>>> = column.ints().map(Iterator::collect);
            let floats = if kind == Kind::Float { column.numbers() } else { None };
            for row in what.each() {
                match (&floats, &ints) {
                    (Some(v), _) => bytes.extend(v[row].unwrap_or(f64::NAN).to_le_bytes()),
                    (None, Some(v)) => bytes.extend(v[row].unwrap_or_default().to_le_bytes()),
                    (None, None) => {}
                }
                flush(zip, &mut bytes, CHUNK)?;
            }
        }
        Kind::Text(width) => {
            begin(zip, &column.name, &format!("<U{width}"), &rows, 4 * width)?;
            for row in what.each() {
                let text = column.text(row);
                let written = text.chars().map(|c| bytes.extend((c as u32).to_le_bytes())).count();
                bytes.extend(std::iter::repeat_n(0, 4 * (width - written)));
                flush(zip, &mut bytes, CHUNK)?;
            }
        }
    }
    flush(zip, &mut bytes, 0)
}
