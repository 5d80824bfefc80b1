//! Vectors as arrays by the names of their sites: npz, and safetensors without our header.

use super::file::{File, Source};
use super::format::Format;
use super::rows::raw;
use super::{About, Vector, parse_key};
use crate::error::{Error, Result};
use crate::store::formats::npy::header;
use crate::store::formats::sources::{Float, Sources};
use safetensors::tensor::{Dtype, TensorView};
use std::io::{Cursor, Read, Write};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// More values than this in one array are no vector.
const WIDEST: usize = 1 << 24;

pub(super) fn read(source: &Source<'_>, format: Format) -> Result<File> {
    let mut file = match format {
        Format::Npz => Sources::npz(source.path)?,
        _ => Sources::safetensors(source.path)?,
    };
    let mut vectors = Vec::new();
    for i in 0..file.arrays.len() {
        let array = file.arrays[i].clone();
        let place = file.place(i);
        let (site, name) = parse_key(&array.name).ok_or_else(|| {
            let hint =
                "name arrays as sites, resid_post.14 or resid_post.14/evil: that of block l (from 0) is resid_post.l";
            Error::format(&place, "its name is no site", hint)
        })?;
        let number = array.number.map_err(|(reason, hint)| Error::format(&place, reason, hint))?;
        let width = match array.shape.as_slice() {
            [n] if (1..=WIDEST).contains(n) => *n,
            shape => {
                let hint = "a vector has one dimension, d_model; rows of activations are brought in with `import`";
                return Err(Error::format(place, format!("has the shape {shape:?}"), hint));
            }
        };
        let mut bytes = Vec::new();
        let limit = (width * number.size()) as u64;
        file.reader(i)?.take(limit).read_to_end(&mut bytes).map_err(|e| Error::io("read", source.path, e))?;
        let mut values = Vec::with_capacity(width.min(bytes.len()));
        number.decode(&bytes, &mut values);
        if values.len() != width {
            return Err(Error::format(
                place,
                "it ends before its last value",
                "it is cut short; make or fetch it again",
            ));
        }
        let dtype = match number.kind {
            Float::F16 => "f16",
            Float::Bf16 => "bf16",
            Float::F32 => "f32",
            Float::F64 => "f64",
        };
        let about = About { dtype: Some(dtype.into()), ..About::default() };
        vectors.push(Vector::new(site, name, &values, about)?);
    }
    Ok(File::new(format, vectors))
}

/// An archive that `np.load` opens.
pub(super) fn npz(vectors: &[&Vector]) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut one = |v: &Vector| -> std::io::Result<()> {
        let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::STORE);
        zip.start_file(format!("{}.npy", v.key()), options)?;
        zip.write_all(&header("<f4", &[v.unit.len()]))?;
        zip.write_all(&floats(v))
    };
    let failed = |e: &dyn std::fmt::Display| {
        Error::refused(format!("the archive cannot be written: {e}"), "check that no two vectors have one key")
    };
    vectors.iter().try_for_each(|v| one(v)).map_err(|e| failed(&e))?;
    Ok(zip.finish().map_err(|e| failed(&e))?.into_inner())
}

/// Tensors by key, with no header of ours.
pub(super) fn safetensors(vectors: &[&Vector]) -> Result<Vec<u8>> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::refused(format!("the tensors cannot be written: {e}"), "check that no two vectors have one key")
    };
    let raw: Vec<(String, Vec<u8>)> = vectors.iter().map(|v| (v.key(), floats(v))).collect();
    let mut views = Vec::with_capacity(raw.len());
    for (name, bytes) in &raw {
        views.push((name, TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(|e| failed(&e))?));
    }
    safetensors::serialize(views, None).map_err(|e| failed(&e))
}

fn floats(v: &Vector) -> Vec<u8> {
    raw(v).into_iter().flat_map(f32::to_le_bytes).collect()
}
