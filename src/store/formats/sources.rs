//! Arrays that another program wrote, npz or safetensors: listed first, then read in order, without running anything.

use super::npy::Head;
use crate::error::{Error, Result};
use crate::store::tensors::TensorFile;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use half::{bf16, f16};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use zip::{CompressionMethod, ZipArchive};

/// A file of arrays.
pub struct Sources {
    pub path: PathBuf,
    /// In the order of the file.
    pub arrays: Vec<Array>,
    held: Held,
}

enum Held {
    /// With the place of each array in the archive.
    Npz(Box<ZipArchive<BufReader<File>>>, Vec<usize>),
    Tensors(TensorFile),
}

/// An array of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
    /// What its elements are; otherwise why it cannot be read, and what to do.
    pub number: std::result::Result<Number, (String, &'static str)>,
}

/// A kind of number, with the larger byte first or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub kind: Float,
    pub big_endian: bool,
}

/// Floating-point numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Sources {
    /// Lists the arrays of a `.npz` or `.safetensors` file.
    ///
    /// # Errors
    /// Another kind of file; one that is damaged, cut short, or has two arrays of one name.
    pub fn open(path: &Path) -> Result<Sources> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => Sources::npz(path),
            Some("safetensors") => Sources::safetensors(path),
            _ => Err(Error::format(
                path.display().to_string(),
                "neither .npz nor .safetensors",
                "save the arrays with numpy.savez or safetensors; pickles (.pt, .npy of objects) are never read",
            )),
        }
    }

    /// Lists the arrays of an archive of numpy, whatever its name.
    ///
    /// # Errors
    /// See [`Sources::open`].
    pub fn npz(path: &Path) -> Result<Sources> {
        npz(path)
    }

    /// Lists the tensors of a safetensors file, whatever its name.
    ///
    /// # Errors
    /// See [`Sources::open`].
    pub fn safetensors(path: &Path) -> Result<Sources> {
        let file = TensorFile::open(path)?;
        let array = |t: &crate::store::tensors::Tensor| Array {
            name: t.name.clone(),
            shape: t.shape.clone(),
            number: match t.dtype.as_str() {
                "F16" => Ok(Number { kind: Float::F16, big_endian: false }),
                "BF16" => Ok(Number { kind: Float::Bf16, big_endian: false }),
                "F32" => Ok(Number { kind: Float::F32, big_endian: false }),
                "F64" => Ok(Number { kind: Float::F64, big_endian: false }),
                other => Err((format!("holds {other}, no floating-point numbers"), FLOATS)),
            },
        };
        let arrays = file.tensors.iter().map(array).collect();
        Ok(Sources { path: path.into(), arrays, held: Held::Tensors(file) })
    }

    /// The place of an array in messages.
    pub fn place(&self, array: usize) -> String {
        format!("{}, array `{}`", self.path.display(), self.arrays[array].name)
    }

    /// A reader of the elements of an array, in C order. At its end the checksum of the archive has been compared.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn reader(&mut self, array: usize) -> Result<Box<dyn Read + '_>> {
        let place = self.place(array);
        match &mut self.held {
            Held::Tensors(file) => Ok(Box::new(file.reader(&file.tensors[array])?)),
            Held::Npz(zip, places) => {
                let mut entry = inflated(zip, places[array], &self.path)?;
                Head::read(&mut entry, &place)?;
                Ok(entry)
            }
        }
    }
}

impl Number {
    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self.kind {
            Float::F16 | Float::Bf16 => 2,
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }

    /// Appends the values of bytes, in f64: exact.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f64>) {
        fn each<const N: usize>(bytes: &[u8], big: bool, out: &mut Vec<f64>, f: impl Fn([u8; N]) -> f64) {
            out.extend(bytes.chunks_exact(N).map(|b| {
                let mut one = [0; N];
                one.copy_from_slice(b);
                if big {
                    one.reverse();
                }
                f(one)
            }));
        }
        let big = self.big_endian;
        match self.kind {
            Float::F16 => each(bytes, big, out, |b| f16::from_le_bytes(b).to_f64()),
            Float::Bf16 => each(bytes, big, out, |b| bf16::from_le_bytes(b).to_f64()),
            Float::F32 => each(bytes, big, out, |b| f64::from(f32::from_le_bytes(b))),
            Float::F64 => each(bytes, big, out, f64::from_le_bytes),
        }
    }
}

const FLOATS: &str = "save it as float16, float32 or float64, or leave it out with --arrays";

fn npz(path: &Path) -> Result<Sources> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut zip = ZipArchive::new(BufReader::with_capacity(1 << 20, file)).map_err(|e| broken(path, &e))?;
    if zip.has_duplicate_names() {
        let reason = "two arrays in it have the same name";
        return Err(Error::format(path.display().to_string(), reason, "write it with numpy.savez again"));
    }
    let (mut arrays, mut places) = (Vec::new(), Vec::new());
    for i in 0..zip.len() {
        let (name, size) = {
            let entry = zip.by_index_raw(i).map_err(|e| broken(path, &e))?;
            let name = entry.name().map_err(|e| broken(path, &e))?.into_owned();
            (name, entry.size())
        };
        let Some(name) = name.strip_suffix(".npy") else { continue };
        let place = format!("{}, array `{name}`", path.display());
        let head = Head::read(&mut inflated(&mut zip, i, path)?, &place)?;
        let number = number(&head);
        let count = head.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
        if let Ok(number) = &number {
            let expected = count.and_then(|n| n.checked_mul(number.size() as u64)?.checked_add(head.bytes as u64));
            if expected != Some(size) {
                let reason = format!("{} {:?} does not fit its {size} bytes", head.descr, head.shape);
                return Err(Error::format(place, reason, "it is damaged or cut short; make or fetch it again"));
            }
        }
        arrays.push(Array { name: name.into(), shape: head.shape, number });
        places.push(i);
    }
    Ok(Sources { path: path.into(), arrays, held: Held::Npz(Box::new(zip), places) })
}

/// What the elements of an array are.
fn number(head: &Head) -> std::result::Result<Number, (String, &'static str)> {
    let descr = head.descr.as_str();
    if descr.contains('O') {
        let hint =
            "save numbers and text, not objects (for ids: numpy.array(ids, dtype=str)), or leave it out with --arrays";
        return Err(("holds pickled Python objects, which can run code and are never read".into(), hint));
    }
    let kind = match descr.get(1..) {
        Some("f2") => Float::F16,
        Some("f4") => Float::F32,
        Some("f8") => Float::F64,
        _ => return Err((format!("holds `{descr}`, no floating-point numbers"), FLOATS)),
    };
    if head.fortran && head.shape.len() > 1 {
        let hint = "save numpy.ascontiguousarray(it)";
        return Err(("is in Fortran order, columns one after another".into(), hint));
    }
    match &descr[..1] {
        "<" => Ok(Number { kind, big_endian: false }),
        ">" => Ok(Number { kind, big_endian: true }),
        _ => Err((format!("holds `{descr}`, which does not say its byte order"), FLOATS)),
    }
}

/// The bytes of an entry, inflated, with the archive's checksum compared at the end.
fn inflated<'a>(zip: &'a mut ZipArchive<BufReader<File>>, i: usize, path: &Path) -> Result<Box<dyn Read + 'a>> {
    let entry = zip.by_index_raw(i).map_err(|e| broken(path, &e))?;
    let (expected, left) = (entry.crc32(), entry.size());
    match entry.compression() {
        CompressionMethod::STORE => Ok(Box::new(Checked { inner: entry, crc: Crc::new(), expected, left })),
        CompressionMethod::DEFLATE => {
            Ok(Box::new(Checked { inner: DeflateDecoder::new(entry), crc: Crc::new(), expected, left }))
        }
        other => {
            let reason = format!("an entry is compressed as {other}");
            Err(Error::format(path.display().to_string(), reason, "write it with numpy.savez or savez_compressed"))
        }
    }
}

/// Reads as many bytes as were announced, and compares their checksum behind the last.
struct Checked<R> {
    inner: R,
    crc: Crc,
    expected: u32,
    left: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut out[..most])?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before its last value"));
        }
        self.crc.update(&out[..n]);
        self.left -= n as u64;
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum differs: it is damaged"));
        }
        Ok(n)
    }
}

fn broken(path: &Path, e: &dyn std::fmt::Display) -> Error {
    let reason = format!("not a whole npz archive ({e})");
    Error::format(path.display().to_string(), reason, "it is damaged or cut short; make or fetch it again")
}
