//! What a unit gives.

use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::Receipt;
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
        let text = |v: serde_json::Result<String>| v.map_err(|e| defect(&e));
        let header = HashMap::from([
            ("replies".to_string(), text(serde_json::to_string(&self.replies))?),
            ("receipts".to_string(), text(serde_json::to_string(&self.receipts))?),
            ("order".to_string(), text(serde_json::to_string(&self.kept.iter().map(|k| k.0).collect::<Vec<_>>()))?),
        ]);
        serialize(views, Some(header)).map_err(|e| defect(&e))
    }

    /// Reads [`Outcome::to_bytes`] back; `None` if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Outcome> {
        let file = SafeTensors::deserialize(bytes).ok()?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
        let header = metadata.metadata().as_ref()?;
        let order: Vec<Site> = serde_json::from_str(header.get("order")?).ok()?;
        let floats = |site: &Site| {
            let view = file.tensor(&site.to_string()).ok()?;
            let whole = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Some((*site, whole.collect()))
        };
        Some(Outcome {
            kept: order.iter().map(floats).collect::<Option<_>>()?,
            replies: serde_json::from_str(header.get("replies")?).ok()?,
            receipts: serde_json::from_str(header.get("receipts")?).ok()?,
        })
    }
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
        let outcome = Outcome {
            kept: vec![(Site::post(1), vec![1.0, -0.0, 3.5e-39]), (Site::Logits, vec![])],
            replies: vec![vec![7, 8], vec![]],
            receipts: vec![Receipt { rows: 3, before: 0.1, after: -7.25 }],
        };
        let bytes = outcome.to_bytes().unwrap();
        assert_eq!(Outcome::from_bytes(&bytes).unwrap(), outcome);
        for cut in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            assert!(Outcome::from_bytes(&bytes[..cut]).is_none(), "{cut} bytes");
        }
    }
}
