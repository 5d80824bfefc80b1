//! The cache of a decoding batch: one buffer for the keys and one for the values of each layer.
//!
//! Every example of the batch has a slot, `[slot, n_kv, column, d_head]`. All slots that are written in a pass are written
//! at the same columns, so that a step is one copy for the keys and one for the values of a layer. Which position a column
//! holds is kept on the host, for each slot: prompts of different lengths leave columns without one, and the mask, which
//! is uploaded once for a pass, hides these.

use super::super::super::Attention;
use super::super::index;
use super::batch::Layout;
use super::blocks::{HIDDEN, answer, as_rows, heads};
use candle_core::{Device, Result, Tensor};
use std::collections::HashMap;
use std::ops::Range;

/// Columns are added by as many at least.
const STEP: usize = 64;

/// The rows of one example in a pass.
#[derive(Clone, Debug)]
pub struct Newcomers {
    /// Index of the example in its batch.
    pub example: usize,
    pub rows: Range<usize>,
    /// Position of its first row.
    pub first_pos: usize,
}

/// Keys and values of a batch.
#[derive(Debug, Default)]
pub struct Slots {
    /// Of each slot the example, until that is forgotten.
    examples: Vec<Option<usize>>,
    /// Of each slot the position that a column holds.
    positions: Vec<Vec<Option<u32>>>,
    /// Columns that are written.
    used: usize,
    /// Keys and values, `[slot * n_kv, column, d_head]`, by layer.
    layers: Vec<Option<(Tensor, Tensor)>>,
    step: Option<Step>,
}

/// What is the same for all layers of a pass.
#[derive(Debug)]
struct Step {
    /// Columns that it writes, behind those used.
    columns: usize,
    /// The rows of the slots, `slot * columns`; `None` is as they stand.
    gather: Option<Tensor>,
    /// Where the answers are among these.
    back: Option<Tensor>,
    /// Positions of the queries, for each slot.
    queries: Vec<Vec<Option<u32>>>,
    /// Where nothing is cached yet the rows answer each other.
    whole: Option<Layout>,
    masks: HashMap<Option<usize>, Tensor>,
}

impl Slots {
    /// An empty cache for `n_layers` layers.
    pub fn new(n_layers: usize) -> Slots {
        Slots { layers: vec![None; n_layers], ..Slots::default() }
    }

    /// Forgets an example that has finished.
    pub fn forget(&mut self, example: usize) {
        self.examples.iter_mut().filter(|e| **e == Some(example)).for_each(|e| *e = None);
    }

    /// Gives examples what another one holds, as (from, to).
    pub fn fork(&mut self, pairs: &[(usize, usize)]) -> Result<()> {
        self.close_pass();
        let slot = |example: usize| self.examples.iter().position(|e| *e == Some(example));
        let found: Vec<(usize, usize)> = pairs.iter().filter_map(|(from, to)| Some((slot(*from)?, *to))).collect();
        if found.is_empty() {
            return Ok(());
        }
        let n = self.examples.len();
        for buffer in self.layers.iter_mut().flatten().flat_map(|(k, v)| [k, v]) {
            let n_kv = buffer.dim(0)? / n;
            let rows = found.iter().flat_map(|(s, _)| s * n_kv..(s + 1) * n_kv);
            let more = buffer.index_select(&index(rows, buffer.device())?, 0)?;
            *buffer = Tensor::cat(&[&*buffer, &more], 0)?;
        }
        for (slot, to) in found {
            self.examples.push(Some(to));
            self.positions.push(self.positions[slot].clone());
        }
        Ok(())
    }

    /// Ends the pass in progress: what it wrote is held.
    pub fn close_pass(&mut self) {
        if let Some(step) = self.step.take() {
            self.used += step.columns;
        }
    }

    /// Attention of the new rows `qkv [row, width]` to what their examples hold and among themselves; all layers of a pass
    /// are given the same `rows`, in the order of the table.
    pub fn attend(&mut self, layer: usize, spec: &Attention, rows: &[Newcomers], qkv: &Tensor) -> Result<Tensor> {
        if self.step.is_none() {
            self.open_pass(spec, rows, qkv.device())?;
        }
        let step = self.step.as_mut().expect("just made");
        let (n, n_kv, d, columns) = (self.examples.len(), spec.n_kv_heads, spec.d_head, step.columns);
        let qkv = qkv.contiguous()?;
        let padded = step.gather.as_ref().map_or_else(|| Ok(qkv.clone()), |rows| qkv.index_select(rows, 0))?;
        let part = |first: usize| heads(&padded, n, first, n_kv, d)?.reshape((n * n_kv, columns, d));
        let (new_k, new_v) = (part(spec.n_heads)?, part(spec.n_heads + n_kv)?);
        let all = self.used + columns;
        let (k, v) = held(&mut self.layers[layer], &new_k, self.used, all)?;
        k.slice_set(&new_k, 1, self.used)?;
        v.slice_set(&new_v, 1, self.used)?;
        if let Some(whole) = &mut step.whole {
            return whole.attend(&qkv, spec);
        }
        let mask = match step.masks.get(&spec.window) {
            Some(mask) => mask.clone(),
            None => {
                let mask = hidden(spec.window, &step.queries, &self.positions, all, qkv.device())?;
                step.masks.insert(spec.window, mask.clone());
                mask
            }
        };
        let q = heads(&padded, n, 0, spec.n_heads, d)?.reshape((n, n_kv, spec.n_heads / n_kv, columns, d))?;
        let (k, v) = (k.narrow(1, 0, all)?, v.narrow(1, 0, all)?);
        let mixed = answer(spec, &q, &k, &v, |block| Ok((0..all, mask.narrow(2, block.start, block.len())?)))?;
        let mixed = as_rows(&mixed)?;
        step.back.as_ref().map_or_else(|| Ok(mixed.clone()), |back| mixed.index_select(back, 0))
    }

    fn open_pass(&mut self, spec: &Attention, rows: &[Newcomers], device: &Device) -> Result<()> {
        self.compact(device)?;
        let before = self.examples.len();
        let slots = rows.iter().map(|r| self.slot_of(r.example)).collect::<Vec<_>>();
        self.add_slots(before, device)?;
        let (n, columns) = (self.examples.len(), rows.iter().map(|r| r.rows.len()).max().unwrap_or(0));
        let mut queries = vec![vec![None; columns]; n];
        // A slot without rows in this pass computes with any row, and nothing looks at what it gets.
        let mut gather = vec![0; n * columns];
        let mut back = Vec::new();
        for (r, slot) in rows.iter().zip(&slots) {
            for i in 0..r.rows.len() {
                queries[*slot][i] = Some((r.first_pos + i) as u32);
                gather[slot * columns + i] = r.rows.start + i;
                back.push(slot * columns + i);
            }
            let last = r.rows.end.saturating_sub(1);
            gather[slot * columns + r.rows.len()..(slot + 1) * columns].fill(last);
        }
        self.positions.iter_mut().zip(&queries).for_each(|(held, new)| held.extend(new));
        let straight = |places: &[usize]| places.iter().enumerate().all(|(i, at)| i == *at);
        let whole = if self.used == 0 {
            let ranges: Vec<Range<usize>> = rows.iter().map(|r| r.rows.clone()).collect();
            Some(Layout::new(spec, &ranges, None, device)?)
        } else {
            None
        };
        let moved = back.len() != gather.len() || !straight(&gather);
        let gather = if moved { Some(index(gather, device)?) } else { None };
        let back = if moved || !straight(&back) { Some(index(back, device)?) } else { None };
        self.step = Some(Step { columns, gather, back, queries, whole, masks: HashMap::new() });
        Ok(())
    }

    /// The slot of an example; a new one gets a place on the table.
    fn slot_of(&mut self, example: usize) -> usize {
        if let Some(slot) = self.examples.iter().position(|e| *e == Some(example)) {
            return slot;
        }
        self.examples.push(Some(example));
        self.positions.push(vec![None; self.used]);
        self.examples.len() - 1
    }

    /// Gives slots that are new on the table their place in the buffers.
    fn add_slots(&mut self, before: usize, device: &Device) -> Result<()> {
        let new = self.examples.len() - before;
        if new == 0 {
            return Ok(());
        }
        for buffer in self.layers.iter_mut().flatten().flat_map(|(k, v)| [k, v]) {
            let (rows, columns, d) = buffer.dims3()?;
            let more = Tensor::zeros((rows / before * new, columns, d), buffer.dtype(), device)?;
            *buffer = Tensor::cat(&[&*buffer, &more], 0)?;
        }
        Ok(())
    }

    /// Gives the memory of forgotten examples back once they are more than half.
    fn compact(&mut self, device: &Device) -> Result<()> {
        let kept: Vec<usize> = (0..self.examples.len()).filter(|s| self.examples[*s].is_some()).collect();
        let n = self.examples.len();
        if kept.len() * 2 >= n {
            return Ok(());
        }
        if kept.is_empty() {
            *self = Slots::new(self.layers.len());
            return Ok(());
        }
        for buffer in self.layers.iter_mut().flatten().flat_map(|(k, v)| [k, v]) {
            let n_kv = buffer.dim(0)? / n;
            let rows = kept.iter().flat_map(|s| s * n_kv..(s + 1) * n_kv);
            *buffer = buffer.index_select(&index(rows, device)?, 0)?;
        }
        self.examples = kept.iter().map(|s| self.examples[*s]).collect();
        self.positions = kept.iter().map(|s| std::mem::take(&mut self.positions[*s])).collect();
        Ok(())
    }
}

/// The buffers of a layer with room for `all` columns, of which `used` hold something.
fn held<'a>(
    buffers: &'a mut Option<(Tensor, Tensor)>,
    new: &Tensor,
    used: usize,
    all: usize,
) -> Result<&'a (Tensor, Tensor)> {
    let (rows, _, d) = new.dims3()?;
    let room = buffers.as_ref().map_or(Ok(0), |(k, _)| k.dim(1))?;
    if room < all {
        let columns = all.max(room + room / 2).next_multiple_of(STEP);
        // Zeros and not whatever was there: a hidden key has weight 0, and 0 times nothing in particular may be no number.
        let grown = |old: Option<&Tensor>| {
            let buffer = Tensor::zeros((rows, columns, d), new.dtype(), new.device())?;
            if let Some(old) = old.filter(|_| used > 0) {
                buffer.slice_set(&old.narrow(1, 0, used)?.contiguous()?, 1, 0)?;
            }
            Ok::<_, candle_core::Error>(buffer)
        };
        let old = buffers.take();
        let (k, v) = old.as_ref().map_or((None, None), |(k, v)| (Some(k), Some(v)));
        *buffers = Some((grown(k)?, grown(v)?));
    }
    Ok(buffers.as_ref().expect("just made"))
}

/// What is added to the scores of each slot, `[slot, 1, query, column]`.
fn hidden(
    window: Option<usize>,
    queries: &[Vec<Option<u32>>],
    positions: &[Vec<Option<u32>>],
    columns: usize,
    device: &Device,
) -> Result<Tensor> {
    let per_slot = queries.first().map_or(0, Vec::len);
    let mut mask = Vec::with_capacity(queries.len() * per_slot * columns);
    for (queries, positions) in queries.iter().zip(positions) {
        for query in queries {
            mask.extend(positions[..columns].iter().map(|key| match (query, key) {
                (Some(i), Some(j)) if j <= i && window.is_none_or(|w| ((i - j) as usize) < w) => 0.0,
                _ => HIDDEN as f32,
            }));
        }
    }
    Tensor::from_vec(mask, (queries.len(), 1, per_slot, columns), device)
}
