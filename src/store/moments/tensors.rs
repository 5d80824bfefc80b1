//! `moments.safetensors`, written as it goes: no second copy of the numbers is made.

use super::MOMENTS;
use crate::error::Result;
use crate::moments::{Group, Scatter, Shape, SiteMoments};
use crate::store::atomic::Appending;
use crate::store::manifest::{Sum, Width};
use serde_json::{Map, json};
use std::path::Path;

/// Writes the tensors of some groups, in their order.
pub(super) fn write(dir: &Path, shape: &Shape, groups: &[&Group], sites: &[Width]) -> Result<Sum> {
    let mut out =
        Out { file: Appending::create(&dir.join(MOMENTS))?, hash: blake3::Hasher::new(), bytes: 0, block: Vec::new() };
    out.put(&head(shape, groups.len(), sites))?;
    for group in groups {
        out.put(&(group.count as i64).to_le_bytes())?;
    }
    for of in [Group::weight, Group::weight_squared] {
        groups.iter().try_for_each(|g| out.numbers(&[of(g)]))?;
    }
    for s in 0..sites.len() {
        for of in [SiteMoments::mean, SiteMoments::m2] {
            groups.iter().try_for_each(|g| out.numbers(of(&g.sites[s])))?;
        }
        let mut errors = Vec::new();
        for site in groups.iter().map(|g| &g.sites[s]) {
            if let Some(scatter) = site.scatter() {
                out.numbers(&scatter)?;
            }
            if let Some(sketch) = site.sketch() {
                out.numbers(&sketch.rows)?;
                errors.push(sketch.error);
            }
        }
        out.numbers(&errors)?;
    }
    out.finish()
}

/// Length and text of the header. All tensors have 8 bytes a number.
fn head(shape: &Shape, groups: usize, sites: &[Width]) -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<usize>)> =
        ["count", "weight", "weight_squared"].map(|name| (name.into(), vec![groups])).into();
    for Width { site, width } in sites {
        tensors.push((format!("mean/{site}"), vec![groups, *width]));
        tensors.push((format!("m2/{site}"), vec![groups, *width]));
        match shape.scatter() {
            Scatter::None => {}
            Scatter::Full => tensors.push((format!("scatter/{site}"), vec![groups, *width, *width])),
            Scatter::Sketch { rows } => {
                tensors.push((format!("sketch/{site}"), vec![groups, rows, *width]));
                tensors.push((format!("sketch_error/{site}"), vec![groups]));
            }
        }
    }
    let mut said = Map::new();
    said.insert("format".into(), "pt".into());
    said.insert("producer".into(), concat!("personascope ", env!("CARGO_PKG_VERSION")).into());
    said.insert("variance".into(), "m2 / (weight - weight_squared / weight)".into());
    match shape.scatter() {
        Scatter::None => {}
        Scatter::Full => {
            said.insert("scatter".into(), "sum of weight (x - mean) (x - mean)^T".into());
        }
        Scatter::Sketch { .. } => {
            let text = "rows B: eigenvalues of scatter - B^T B are from 0 to sketch_error";
            said.insert("sketch".into(), text.into());
        }
    }
    let mut map = Map::new();
    map.insert("__metadata__".into(), said.into());
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 8 * shape.iter().product::<usize>();
        let dtype = if name == "count" { "I64" } else { "F64" };
        map.insert(name, json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut text = serde_json::Value::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text);
    head
}

/// A file that is summed up while it is written.
struct Out {
    file: Appending,
    hash: blake3::Hasher,
    bytes: u64,
    /// Bytes on their way to the file.
    block: Vec<u8>,
}

impl Out {
    /// Bytes that are written at once.
    const BLOCK: usize = 1 << 20;

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= Out::BLOCK { self.flush() } else { Ok(()) }
    }

    fn numbers(&mut self, values: &[f64]) -> Result<()> {
        for part in values.chunks(Out::BLOCK / 8) {
            self.block.extend(part.iter().flat_map(|v| v.to_le_bytes()));
            self.put(&[])?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.hash.update(&self.block);
        self.bytes += self.block.len() as u64;
        self.file.append(&self.block)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Sum> {
        self.flush()?;
        self.file.finish()?;
        Ok(Sum { file: MOMENTS.into(), bytes: self.bytes, blake3: self.hash.finalize().to_hex().to_string() })
    }
}
