//! The numbers of a tensor, gathered from its storage in the order of its dimensions.

use super::container::Pickled;
use super::node::{Held, Node, Number, Strided};
use super::refuse;
use crate::error::Result;
use half::{bf16, f16};

impl Pickled<'_> {
    /// The values of a tensor, in f64: exact.
    ///
    /// # Errors
    /// Whole numbers; a storage whose bytes are not as many as it announces; more values than the file has bytes, which
    /// no file has that holds each once.
    pub(super) fn values(&self, t: &Strided) -> Result<Vec<f64>> {
        let Node::Storage(storage) = &self.nodes[t.storage as usize] else {
            return Err(refuse(&self.place, "a tensor in it has no storage"));
        };
        let (bytes, big): (&[u8], bool) = match &storage.held {
            Held::Beside(key) => {
                let bytes = self.beside.get(key);
                (
                    bytes.ok_or_else(|| refuse(&self.place, format!("the storage `{key}` is not there")))?,
                    self.big_endian,
                )
            }
            Held::Within(id, range, big) => match &self.nodes[*id as usize] {
                Node::Bytes(bytes) => (bytes.get(range.clone()).unwrap_or_default(), *big),
                _ => (&[], *big),
            },
        };
        let (count, size) = (storage.count, storage.number.size());
        if count.checked_mul(size) != Some(bytes.len()) {
            let said = format!("a storage of {count} {} has {} bytes", storage.number.name(), bytes.len());
            return Err(refuse(&self.place, said));
        }
        if let Number::Other(_) = storage.number {
            return Err(refuse(&self.place, "a tensor of it holds whole numbers, no vectors"));
        }
        let wanted: usize = t.size.iter().product();
        let left = self.values.get().checked_sub(wanted).ok_or_else(|| {
            refuse(&self.place, "its tensors show the same values again and again: more of them than it has bytes")
        })?;
        self.values.set(left);
        let mut out = Vec::with_capacity(wanted);
        let mut index = vec![0usize; t.size.len()];
        for _ in 0..wanted {
            // Within bounds: the largest place was compared with the count when the tensor was made.
            let at = index.iter().zip(&t.stride).fold(t.offset, |at, (i, s)| at + i * s);
            out.push(number(storage.number, &bytes[at * size..(at + 1) * size], big));
            for d in (0..index.len()).rev() {
                index[d] += 1;
                if index[d] < t.size[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Ok(out)
    }

    /// The kind of number in a tensor.
    pub(super) fn number(&self, t: &Strided) -> Number {
        match &self.nodes[t.storage as usize] {
            Node::Storage(storage) => storage.number,
            _ => Number::Other(1),
        }
    }
}

fn number(kind: Number, bytes: &[u8], big: bool) -> f64 {
    let mut b = [0u8; 8];
    let n = bytes.len().min(8);
    b[..n].copy_from_slice(&bytes[..n]);
    if big {
        b[..n].reverse();
    }
    match kind {
        Number::F16 => f16::from_le_bytes([b[0], b[1]]).to_f64(),
        Number::Bf16 => bf16::from_le_bytes([b[0], b[1]]).to_f64(),
        Number::F32 => f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Number::F64 => f64::from_le_bytes(b),
        Number::Other(_) => f64::NAN,
    }
}
