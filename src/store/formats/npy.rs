//! The head of an array as numpy writes it (NEP 1), written and read without running anything.

use crate::error::{Error, Result};
use std::io::Read;

/// An array that a header announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `<f4`, `|O`, ...
    pub descr: String,
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes of the header.
    pub bytes: usize,
}

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The header of a C-ordered array, version 1.0.
pub fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let shape = match shape {
        [one] => format!("({one},)"),
        all => format!("({})", all.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begins at a multiple of 64; a line feed ends the header.
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', padded - text.len() - 1));
    text.push('\n');
    let mut head = MAGIC.to_vec();
    head.extend([1, 0]);
    head.extend((text.len() as u16).to_le_bytes());
    head.extend(text.into_bytes());
    head
}

impl Head {
    /// Reads the header of an array.
    ///
    /// # Errors
    /// No array of numpy, one of an unknown version, a header that is no plain dictionary; arrays of records.
    pub fn read(input: &mut impl Read, place: &str) -> Result<Head> {
        let bad = |reason: &str| {
            Error::format(place, format!("no array as numpy writes it ({reason})"), "write it with numpy.savez again")
        };
        let mut start = [0; 8];
        input.read_exact(&mut start).map_err(|_| bad("it is cut short"))?;
        if &start[..6] != MAGIC {
            return Err(bad("it does not begin as one"));
        }
        let wide = match start[6] {
            1 => 2,
            2 | 3 => 4,
            v => return Err(bad(&format!("version {v}"))),
        };
        let mut length = [0; 4];
        input.read_exact(&mut length[..wide]).map_err(|_| bad("it is cut short"))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > 1 << 20 {
            return Err(bad("its header is larger than a megabyte"));
        }
        let mut text = vec![0; length];
        input.read_exact(&mut text).map_err(|_| bad("it is cut short"))?;
        let text = String::from_utf8(text).map_err(|_| bad("its header is no text"))?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        let mut rest = Words { text: text.trim_end() };
        rest.take('{').ok_or_else(|| bad("its header is no dictionary"))?;
        while rest.take('}').is_none() {
            let key = rest.string().ok_or_else(|| bad("its header is no dictionary"))?;
            rest.take(':').ok_or_else(|| bad("its header is no dictionary"))?;
            let known = match key.as_str() {
                "descr" if rest.sees('[') => return Err(bad("its elements are records")),
                "descr" => (descr = rest.string(), descr.is_some()).1,
                "fortran_order" => (fortran = rest.truth(), fortran.is_some()).1,
                "shape" => (shape = rest.tuple(), shape.is_some()).1,
                _ => false,
            };
            if !known {
                return Err(bad(&format!("`{key}` of its header cannot be read")));
            }
            if rest.take(',').is_none() && !rest.sees('}') {
                return Err(bad("its header is no dictionary"));
            }
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Head { descr, fortran, shape, bytes: 8 + wide + length }),
            _ => Err(bad("its header lacks descr, fortran_order or shape")),
        }
    }
}

/// What is left of a header.
struct Words<'a> {
    text: &'a str,
}

impl Words<'_> {
    fn sees(&mut self, c: char) -> bool {
        self.text = self.text.trim_start();
        self.text.starts_with(c)
    }

    fn take(&mut self, c: char) -> Option<()> {
        self.sees(c).then(|| self.text = &self.text[c.len_utf8()..])
    }

    fn string(&mut self) -> Option<String> {
        let quote = ['\'', '"'].into_iter().find(|q| self.sees(*q))?;
        let (inside, rest) = self.text[1..].split_once(quote)?;
        self.text = rest;
        (!inside.contains('\\')).then(|| inside.to_string())
    }

    fn truth(&mut self) -> Option<bool> {
        self.sees(' ');
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.text.strip_prefix(word) {
                self.text = rest;
                return Some(value);
            }
        }
        None
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.take('(')?;
        let mut all = Vec::new();
        while self.take(')').is_none() {
            let digits = self.text.find(|c: char| !c.is_ascii_digit())?;
            all.push(self.text[..digits].parse().ok()?);
            // Python 2 wrote 3L.
            self.text = self.text[digits..].trim_start_matches('L');
            if self.take(',').is_none() && !self.sees(')') {
                return None;
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, version: u8) -> Result<Head> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((text.len() as u16).to_le_bytes()),
            _ => bytes.extend((text.len() as u32).to_le_bytes()),
        }
        bytes.extend(text.bytes());
        Head::read(&mut bytes.as_slice(), "x.npz, array `a`")
    }

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        for shape in [vec![], vec![7], vec![3, 4, 5]] {
            let bytes = header("<f4", &shape);
            assert_eq!(bytes.len() % 64, 0);
            let head = Head::read(&mut bytes.as_slice(), "a").unwrap();
            assert_eq!((head.descr.as_str(), head.fortran, head.shape, head.bytes), ("<f4", false, shape, bytes.len()));
        }
        // What numpy 2 writes, to the byte but for the padding.
        let h = read("{'descr': '>f8', 'fortran_order': True, 'shape': (3, 4), }          \n", 2).unwrap();
        assert_eq!((h.descr.as_str(), h.fortran, h.shape), (">f8", true, vec![3, 4]));
        assert_eq!(read("{\"shape\": (3L,), 'fortran_order': False, 'descr': '|O'}", 1).unwrap().shape, [3]);
    }

    #[test]
    fn other_headers_are_refused_by_what_is_wrong_with_them() {
        let said = |text: &str, version| read(text, version).unwrap_err().to_string();
        assert!(said("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", 1).contains("records"));
        assert!(said("{'descr': '<f4', 'shape': (3,), }", 1).contains("lacks"));
        assert!(said("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", 1).contains("`shape`"));
        assert!(said("{'descr': '<f4', 'fortran_order': __import__('os'), 'shape': (3,)}", 1).contains("fortran"));
        assert!(said("{'descr': '<f4'", 1).contains("no dictionary"));
        assert!(said("{}", 9).contains("version 9"));
        assert!(Head::read(&mut &b"\x93NUMPY\x01\x00\xff"[..], "a").unwrap_err().to_string().contains("cut short"));
        assert!(Head::read(&mut &b"PK\x03\x04....."[..], "a").unwrap_err().to_string().contains("does not begin"));
    }
}
