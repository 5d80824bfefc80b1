//! What a unit gives.

use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::{Did, Receipt};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use std::collections::HashMap;

/// Kept rows by site, or replies, and a receipt per edit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// `[row, width]`, row after row, by site.
    pub kept: Vec<(Site, Vec<f32>)>,
    /// Tokens of each reply.
    pub replies: Vec<Vec<u32>>,
    pub receipts: Vec<Receipt>,
    /// What each edit did to each item that it touched; items are counted from the first of the unit.
    pub did: Vec<Did>,
    /// How often the unit was cut in two because memory ran out; forgotten on a shelf.
    pub splits: usize,
}

impl Outcome {
    /// The outcome of both, the items of the other behind those of this one.
    pub fn join(mut self, other: Outcome) -> Outcome {
        if self.kept.is_empty() {
            self.kept = other.kept;
        } else {
            self.kept.iter_mut().zip(other.kept).for_each(|((_, all), (_, more))| all.extend(more));
        }
        self.replies.extend(other.replies);
        self.receipts.iter_mut().zip(other.receipts).for_each(|(all, more)| all.add(more));
        self.did.extend(other.did);
        self.splits += other.splits;
        self
    }
}

/// The key of the header's only entry.
const HEADER: &str = "outcome";

/// What an outcome holds besides its rows.
#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    order: Vec<Site>,
    replies: Vec<Vec<u32>>,
    /// Rows, and the bits of the sums: decimal numbers need not come back to the last bit.
    receipts: Vec<(usize, u64, u64)>,
    did: Vec<[u64; 12]>,
}

impl Outcome {
    /// The outcome as bytes: safetensors, with replies and receipts in the header. Read back exactly.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let raw: Vec<(String, Vec<u8>)> =
            self.kept.iter().map(|(s, v)| (s.to_string(), v.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
        let views: Vec<(&str, TensorView)> = raw
            .iter()
            .map(|(name, bytes)| {
                let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
                view.map(|v| (name.as_str(), v)).map_err(|e| defect(&e))
            })
            .collect::<Result<_>>()?;
        let order = self.kept.iter().map(|k| k.0).collect();
        let receipts = self.receipts.iter().map(|r| (r.rows, r.before.to_bits(), r.after.to_bits())).collect();
        let did = self.did.iter().map(|d| d.to_bits()).collect();
        let rest = Header { order, replies: self.replies.clone(), receipts, did };
        // One entry alone: the format writes several in the order of a hash map, another one in each process.
        let header = (HEADER.to_string(), serde_json::to_string(&rest).map_err(|e| defect(&e))?);
        serialize(views, Some(HashMap::from([header]))).map_err(|e| defect(&e))
    }

    /// Reads [`Outcome::to_bytes`] back; `None` if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Outcome> {
        let file = SafeTensors::deserialize(bytes).ok()?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
        let header: Header = serde_json::from_str(metadata.metadata().as_ref()?.get(HEADER)?).ok()?;
        let floats = |site: &Site| {
            let view = file.tensor(&site.to_string()).ok()?;
            let whole = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Some((*site, whole.collect()))
        };
        Some(Outcome {
            kept: header.order.iter().map(floats).collect::<Option<_>>()?,
            replies: header.replies,
            receipts: header.receipts.into_iter().map(receipt).collect(),
            did: header.did.into_iter().map(Did::from_bits).collect(),
            splits: 0,
        })
    }
}

fn receipt((rows, before, after): (usize, u64, u64)) -> Receipt {
    Receipt { rows, before: f64::from_bits(before), after: f64::from_bits(after), touched: vec![] }
}

fn defect(e: &dyn std::fmt::Display) -> Error {
    Error::refused(
        format!("a unit's outcome cannot be written: {e}"),
        "this is a defect of personascope; please report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_comes_back_as_it_was_and_nothing_else_is_taken_for_one() {
        // Many digits: a decimal form that is nearly exact would lose the last bit of some.
        let sums: Vec<f64> = (1..500).map(|i| f64::from(i).sqrt() * 100.0).chain([f64::INFINITY, -0.0]).collect();
        let receipts = sums.iter().map(|s| Receipt { rows: 3, before: *s, after: -s, touched: vec![] }).collect();
        let outcome = Outcome {
            kept: vec![(Site::post(1), vec![1.0, -0.0, 3.5e-39]), (Site::Logits, vec![])],
            replies: vec![vec![7, 8], vec![]],
            receipts,
            did: vec![Did { item: 1, off: f64::INFINITY, norm_ratio: 0.1, ..Did::default() }],
            splits: 0,
        };
        let bytes = outcome.to_bytes().unwrap();
        (0..20).for_each(|_| assert!(outcome.to_bytes().unwrap() == bytes, "the same bytes every time"));
        assert_eq!(Outcome::from_bytes(&bytes).unwrap(), outcome);
        for cut in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            assert!(Outcome::from_bytes(&bytes[..cut]).is_none(), "{cut} bytes");
        }
    }
}
