//! The container GGUF, versions 2 and 3: metadata by key, tensors by name.

use crate::error::{Error, Result};
use half::{bf16, f16};
use std::collections::BTreeSet;

/// A file that was read: what of its metadata has a use here, and the tensors of one dimension.
#[derive(Debug)]
pub(super) struct Gguf {
    pub metadata: Vec<(String, Meta)>,
    pub tensors: Vec<Tensor>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meta {
    Text(String),
    U32(u32),
    I32(i32),
    /// Read past; by the number of its type.
    Other(u32),
}

#[derive(Debug)]
pub(super) struct Tensor {
    pub name: String,
    pub dtype: &'static str,
    pub values: Vec<f64>,
}

/// Where tensors begin, unless the file says otherwise.
const ALIGNMENT: usize = 32;
/// Types of values.
const U32: u32 = 4;
const I32: u32 = 5;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl Gguf {
    /// The metadata of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Meta> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Meta::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Parses a file. Lengths are compared with the bytes that are left before anything is made of them.
    ///
    /// # Errors
    /// Another container or version; a damaged file; tensors that are no floating-point vectors; more than `most` tensors.
    pub(super) fn parse(place: &str, bytes: &[u8], most: u64) -> Result<Gguf> {
        let bad =
            |reason: String| Error::format(place, reason, "it is damaged or of another kind; make or fetch it again");
        let mut r = Reader { bytes, at: 0 };
        let cut = || bad(format!("no whole GGUF file: {} bytes are too few for what it announces", bytes.len()));
        if r.take(4) != Some(b"GGUF") {
            return Err(bad("no GGUF file".into()));
        }
        let version = r.u32().ok_or_else(cut)?;
        if version.swap_bytes() < 16 && version >= 16 {
            return Err(bad("a GGUF file with the larger byte first".into()));
        }
        if ![2, 3].contains(&version) {
            return Err(bad(format!("a GGUF file of version {version}; 2 and 3 are known")));
        }
        let (n_tensors, n_keys) = (r.u64().ok_or_else(cut)?, r.u64().ok_or_else(cut)?);
        // The shortest entries have 13 and 24 bytes.
        let room = bytes.len() as u64;
        if n_keys > room / 13 || n_tensors > room / 24 {
            return Err(cut());
        }
        let mut metadata: Vec<(String, Meta)> = Vec::new();
        let (mut alignment, mut keys, mut names) = (ALIGNMENT, BTreeSet::new(), BTreeSet::new());
        for _ in 0..n_keys {
            let key = r.text().ok_or_else(cut)?;
            let kind = r.u32().ok_or_else(cut)?;
            let value = match kind {
                TEXT => Meta::Text(r.text().ok_or_else(cut)?),
                U32 => Meta::U32(r.u32().ok_or_else(cut)?),
                I32 => Meta::I32(r.u32().ok_or_else(cut)? as i32),
                kind => {
                    r.skip(kind, 0).ok_or_else(cut)?;
                    Meta::Other(kind)
                }
            };
            if let ("general.alignment", Meta::U32(n)) = (key.as_str(), &value) {
                alignment = *n as usize;
            }
            if !keys.insert(key.clone()) {
                return Err(bad(format!("`{key}` is there twice")));
            }
            metadata.push((key, value));
        }
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(bad(format!("its tensors begin at multiples of {alignment}")));
        }
        if n_tensors > most {
            return Err(bad(format!("{n_tensors} tensors: more than any control vector has layers")));
        }
        let mut heads = Vec::new();
        for _ in 0..n_tensors {
            let name = r.text().ok_or_else(cut)?;
            let n_dims = r.u32().ok_or_else(cut)?;
            let mut dims = Vec::new();
            for _ in 0..n_dims.min(5) {
                dims.push(r.u64().ok_or_else(cut)?);
            }
            let (kind, offset) = (r.u32().ok_or_else(cut)?, r.u64().ok_or_else(cut)?);
            let [width] = dims.as_slice() else {
                return Err(bad(format!("tensor `{name}` has {n_dims} dimensions, a vector has one")));
            };
            if !names.insert(name.clone()) {
                return Err(bad(format!("two tensors are named `{name}`")));
            }
            heads.push((name, *width, kind, offset));
        }
        let start = r.at.next_multiple_of(alignment);
        let (mut tensors, mut left) = (Vec::new(), bytes.len());
        for (name, width, kind, offset) in heads {
            let (dtype, size) = match kind {
                0 => ("f32", 4),
                1 => ("f16", 2),
                30 => ("bf16", 2),
                28 => ("f64", 8),
                kind => {
                    return Err(bad(format!(
                        "tensor `{name}` is quantised or whole (type {kind}), no floating-point vector"
                    )));
                }
            };
            let from = usize::try_from(offset).ok().and_then(|o| o.checked_add(start));
            let length = usize::try_from(width).ok().and_then(|w| w.checked_mul(size));
            let part = from.zip(length).and_then(|(f, n)| bytes.get(f..f.checked_add(n)?)).ok_or_else(cut)?;
            left = left.checked_sub(part.len()).ok_or_else(|| bad("its tensors overlap".into()))?;
            tensors.push(Tensor { name, dtype, values: part.chunks_exact(size).map(number(kind)).collect() });
        }
        Ok(Gguf { metadata, tensors })
    }
}

fn number(kind: u32) -> impl Fn(&[u8]) -> f64 {
    move |b| match (kind, b) {
        (0, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (1, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
        (30, &[a, b]) => bf16::from_le_bytes([a, b]).to_f64(),
        (_, b) => b.try_into().map_or(f64::NAN, f64::from_le_bytes),
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let end = self.at.checked_add(n)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let n = usize::try_from(self.u64()?).ok()?;
        Some(String::from_utf8_lossy(self.take(n)?).into_owned())
    }

    /// Reads past a value of a type; arrays may hold arrays, a few deep.
    fn skip(&mut self, kind: u32, depth: usize) -> Option<()> {
        let size = |kind: u32| match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        };
        if let Some(n) = size(kind) {
            return self.take(n).map(drop);
        }
        match kind {
            TEXT => {
                let n = usize::try_from(self.u64()?).ok()?;
                self.take(n).map(drop)
            }
            ARRAY if depth < 4 => {
                let (inner, count) = (self.u32()?, self.u64()?);
                if let Some(n) = size(inner) {
                    return self.take(usize::try_from(count).ok()?.checked_mul(n)?).map(drop);
                }
                // Each text or array has bytes of its own.
                (count <= self.bytes.len() as u64).then_some(())?;
                (0..count).try_for_each(|_| self.skip(inner, depth + 1))
            }
            _ => None,
        }
    }
}

/// A file of version 3 with f32 vectors.
pub(super) fn build(metadata: &[(&str, Meta)], tensors: &[(String, Vec<f32>)]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    let known = |m: &&(&str, Meta)| !matches!(m.1, Meta::Other(_));
    out.extend((metadata.iter().filter(known).count() as u64).to_le_bytes());
    let text = |out: &mut Vec<u8>, t: &str| {
        out.extend((t.len() as u64).to_le_bytes());
        out.extend(t.as_bytes());
    };
    for (key, value) in metadata.iter().filter(known) {
        text(&mut out, key);
        match value {
            Meta::Text(t) => {
                out.extend(TEXT.to_le_bytes());
                text(&mut out, t);
            }
            Meta::U32(n) => [U32, *n].iter().for_each(|x| out.extend(x.to_le_bytes())),
            Meta::I32(n) => [I32, *n as u32].iter().for_each(|x| out.extend(x.to_le_bytes())),
            Meta::Other(_) => {}
        }
    }
    let mut offset = 0u64;
    for (name, values) in tensors {
        text(&mut out, name);
        out.extend(1u32.to_le_bytes());
        out.extend((values.len() as u64).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += (values.len() * 4).next_multiple_of(ALIGNMENT) as u64;
    }
    for (_, values) in tensors {
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let meta = [("a", Meta::Text("é".into())), ("b", Meta::U32(7)), ("c", Meta::I32(-7))];
        build(&meta, &[("x".into(), vec![1.0, 2.0, 3.0]), ("y".into(), vec![0.5])])
    }

    #[test]
    fn what_is_built_is_parsed_and_aligned() {
        let bytes = file();
        assert_eq!(bytes.len() % 32, 0);
        let g = Gguf::parse("f", &bytes, 10).unwrap();
        assert_eq!((g.text("a"), g.get("b"), g.get("c")), (Some("é"), Some(&Meta::U32(7)), Some(&Meta::I32(-7))));
        assert_eq!(g.tensors[0].values, [1.0, 2.0, 3.0]);
        assert_eq!((g.tensors[1].name.as_str(), g.tensors[1].values.as_slice()), ("y", &[0.5][..]));
        assert!(Gguf::parse("f", &bytes, 1).unwrap_err().to_string().contains("2 tensors"));
    }

    #[test]
    fn a_file_cut_anywhere_or_with_wrong_lengths_is_refused() {
        let bytes = file();
        // Behind the last value there is only padding.
        let end = bytes.len() - 28;
        assert!((0..end).all(|n| Gguf::parse("f", &bytes[..n], 10).is_err()));
        assert!(Gguf::parse("f", &bytes[..end], 10).is_ok());
        for at in 4..bytes.len() - 64 {
            for value in [0xff, 0x7f, 0x80] {
                let mut wrong = bytes.clone();
                wrong[at] = value;
                let _ = Gguf::parse("f", &wrong, 10);
            }
        }
        let mut huge = bytes.clone();
        huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Gguf::parse("f", &huge, u64::MAX).is_err());
    }

    #[test]
    fn arrays_in_the_metadata_are_read_past() {
        let mut bytes = b"GGUF\x02\0\0\0".to_vec();
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        // A list of two lists: of three u16 each.
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'k', 9, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        for _ in 0..2 {
            bytes.extend([2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0]);
        }
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'n', 4, 0, 0, 0, 9, 0, 0, 0]);
        let g = Gguf::parse("f", &bytes, 1).unwrap();
        assert_eq!((g.get("k"), g.get("n")), (Some(&Meta::Other(9)), Some(&Meta::U32(9))));
    }
}
