//! A safetensors file whose values are read where they stand: the header is in memory, the tensors are not.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An open file with the list of what it holds.
#[derive(Debug)]
pub struct TensorFile {
    pub path: PathBuf,
    file: File,
    /// Bytes of the file.
    pub bytes: u64,
    /// In the order in which they stand in the file; they fill it from the end of the header on.
    pub tensors: Vec<Tensor>,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// As the header has it: `F32`, `BF16`, ...
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Where it begins and ends in the file.
    pub start: u64,
    pub end: u64,
}

/// Larger headers are refused, as the format's own library does.
const LARGEST_HEADER: u64 = 100_000_000;

impl TensorFile {
    /// Reads the header, and checks it against the size of the file.
    ///
    /// # Errors
    /// A file that is cut short or damaged, tensors that overlap or leave gaps, a name that is there twice, a shape that
    /// does not fit its bytes.
    pub fn open(path: &Path) -> Result<TensorFile> {
        let io = |e| Error::io("read", path, e);
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let bad = |reason: String| {
            let reason = format!("not a whole safetensors file of {bytes} bytes ({reason})");
            Error::format(path.display().to_string(), reason, "it is damaged or cut short; make or fetch it again")
        };
        if bytes < 8 {
            return Err(bad("it has no header".into()));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > LARGEST_HEADER || length + 8 > bytes {
            return Err(bad(format!("its header says it is {length} bytes long")));
        }
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text).map_err(io)?;
        let Header(entries) = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        let data = 8 + length;
        let mut tensors = Vec::with_capacity(entries.len());
        for (name, Entry { dtype, shape, data_offsets: (from, to) }) in entries {
            let long = |n: u64| n.checked_add(data).filter(|end| *end <= bytes);
            let (start, end) = (long(from), long(to).filter(|_| from <= to));
            let Some((start, end)) = start.zip(end) else {
                return Err(bad(format!("`{name}` ends at byte {to} of the data, which the file does not have")));
            };
            let count = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
            let size = size_of(&dtype).zip(count).and_then(|(size, n)| n.checked_mul(size));
            if size.is_some_and(|size| size != end - start) || count.is_none() {
                return Err(bad(format!("`{name}` is {dtype} {shape:?} and has {} bytes", end - start)));
            }
            tensors.push(Tensor { name, dtype, shape, start, end });
        }
        tensors.sort_by(|a: &Tensor, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        let mut at = data;
        for t in &tensors {
            if t.start != at {
                return Err(bad(format!("`{}` does not begin where the tensor before it ends", t.name)));
            }
            at = t.end;
        }
        if at != bytes {
            return Err(bad(format!("{} bytes stand behind the last tensor", bytes - at)));
        }
        let mut names: Vec<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(bad(format!("two tensors are named `{}`", pair[0])));
        }
        Ok(TensorFile { path: path.into(), file, bytes, tensors })
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// Where the header ends and the first tensor begins.
    pub fn data_start(&self) -> u64 {
        self.tensors.first().map_or(self.bytes, |t| t.start)
    }

    /// Fills `out` from byte `at` of the file on.
    ///
    /// # Errors
    /// A file that cannot be read, or ends before.
    pub fn read_at(&self, at: u64, out: &mut [u8]) -> Result<()> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_exact_at(&self.file, out, at);
        // Elsewhere a handle has one position, which threads would share.
        #[cfg(not(unix))]
        let read = File::open(&self.path).and_then(|mut f| f.seek(SeekFrom::Start(at)).and_then(|_| f.read_exact(out)));
        read.map_err(|e| Error::io("read", &self.path, e))
    }

    /// A reader of the bytes of one tensor, in order.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn reader(&self, tensor: &Tensor) -> Result<impl Read + use<>> {
        let mut file = File::open(&self.path).map_err(|e| Error::io("read", &self.path, e))?;
        file.seek(SeekFrom::Start(tensor.start)).map_err(|e| Error::io("read", &self.path, e))?;
        Ok(std::io::BufReader::with_capacity(1 << 20, file).take(tensor.end - tensor.start))
    }
}

/// Bytes of a value; `None` for types this program does not know.
fn size_of(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "BOOL" | "I8" | "U8" => 1,
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The entries of a header, those of the same name too, which a map would hide.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Header, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        all.push((name, map.next_value()?));
                    }
                }
                Ok(Header(all))
            }
        }
        d.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this header and so many bytes of data.
    fn file(header: &str, data: usize) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.extend((0..data).map(|i| i as u8));
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn said(header: &str, data: usize) -> String {
        let (_dir, path) = file(header, data);
        TensorFile::open(&path).unwrap_err().to_string()
    }

    #[test]
    fn tensors_are_read_where_they_stand() {
        let header = r#"{"__metadata__":{"a":"b"},"b":{"dtype":"F16","shape":[3],"data_offsets":[4,10]},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
        let (_dir, path) = file(header, 10);
        let f = TensorFile::open(&path).unwrap();
        assert_eq!(f.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let b = f.tensor("b").unwrap();
        let mut two = [0; 2];
        f.read_at(b.start + 2, &mut two).unwrap();
        assert_eq!(two, [6, 7]);
        let mut all = Vec::new();
        f.reader(b).unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn files_that_lie_about_themselves_are_refused() {
        let one = |dtype: &str, shape: &str, to: u64| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{to}]}}}}"#)
        };
        assert!(said(&one("F32", "[2]", 8), 7).contains("`a` ends at byte 8"));
        assert!(said(&one("F32", "[2]", 8), 9).contains("1 bytes stand behind"));
        assert!(said(&one("F32", "[3]", 8), 8).contains("`a` is F32 [3] and has 8 bytes"));
        assert!(said(&one("F32", "[4294967296,4294967296,4294967296]", 8), 8).contains("and has 8 bytes"));
        assert!(said(&one("F32", "[2]", u64::MAX), 8).contains("does not have"));
        let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        assert!(said(twice, 8).contains("two tensors are named `a`"));
        let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
        assert!(said(overlap, 6).contains("`b` does not begin where"));
        assert!(said("{]", 0).contains("not a whole safetensors file"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("short");
        std::fs::write(&path, [255, 255, 255, 255, 255, 255, 255, 127, 0]).unwrap();
        assert!(TensorFile::open(&path).unwrap_err().to_string().contains("its header says"));
        std::fs::write(&path, [1, 2]).unwrap();
        assert!(TensorFile::open(&path).unwrap_err().to_string().contains("no header"));
    }
}
