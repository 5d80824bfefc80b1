//! Keys and values kept between the passes of one batch, by example: examples may leave in any order.

use super::kernels::HeadCache;
use super::kernels::portable::attention::{Newcomers, Slots};
use super::rows::Example;
use crate::axes::Layer;
use crate::error::Result;
use std::collections::HashMap;

/// The cache of a batch. What is kept in what way is decided by the first pass.
#[derive(Debug)]
pub struct Cache {
    n_layers: usize,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Nothing,
    /// `[layer][example] -> heads`
    Heads(Vec<HashMap<usize, Vec<HeadCache<f32>>>>),
    /// Where kernels are tensor operations.
    Slots(Slots),
}

impl Cache {
    /// An empty cache for a model of `n_layers` blocks.
    pub fn new(n_layers: usize) -> Cache {
        Cache { n_layers, held: Held::Nothing }
    }

    /// Begins a pass: what the one before it wrote is held.
    pub(super) fn open_pass(&mut self) {
        if let Held::Slots(slots) = &mut self.held {
            slots.close_pass();
        }
    }

    /// The heads of the given examples at one layer, in their order, each example once.
    pub(super) fn heads(&mut self, layer: Layer, examples: &[Example]) -> Vec<&mut Vec<HeadCache<f32>>> {
        if !matches!(self.held, Held::Heads(_)) {
            self.held = Held::Heads((0..self.n_layers).map(|_| HashMap::new()).collect());
        }
        let Held::Heads(layers) = &mut self.held else { unreachable!("just made") };
        let held = &mut layers[layer.0];
        for e in examples {
            held.entry(e.index).or_default();
        }
        let mut by_index: HashMap<usize, &mut Vec<HeadCache<f32>>> = held.iter_mut().map(|(k, v)| (*k, v)).collect();
        examples.iter().map(|e| by_index.remove(&e.index).expect("an example stands in a pass once")).collect()
    }

    /// The buffers of all layers, and the rows that the given examples add to them.
    pub(super) fn slots(&mut self, examples: &[Example]) -> (&mut Slots, Vec<Newcomers>) {
        if !matches!(self.held, Held::Slots(_)) {
            self.held = Held::Slots(Slots::new(self.n_layers));
        }
        let Held::Slots(slots) = &mut self.held else { unreachable!("just made") };
        let new = |e: &Example| Newcomers { example: e.index, rows: e.rows.clone(), first_pos: e.first_pos };
        (slots, examples.iter().map(new).collect())
    }

    /// Gives examples what another one holds, as (from, to): they go on from the same beginning.
    pub(super) fn fork(&mut self, pairs: &[(usize, usize)]) -> Result<()> {
        match &mut self.held {
            Held::Nothing => {}
            Held::Heads(layers) => {
                for held in layers {
                    for (from, to) in pairs {
                        if let Some(heads) = held.get(from).cloned() {
                            held.insert(*to, heads);
                        }
                    }
                }
            }
            Held::Slots(slots) => slots.fork(pairs)?,
        }
        Ok(())
    }

    /// Whether examples cost nothing in passes that they have no part in: not so with the slots of tensor operations.
    pub(super) fn is_by_example(&self) -> bool {
        matches!(self.held, Held::Heads(_))
    }

    /// How many rows an example holds, where they can be gone on from; none after a pass that failed half-way.
    pub(super) fn rows_of(&self, index: usize) -> usize {
        let Held::Heads(layers) = &self.held else { return 0 };
        let of = |held: &HashMap<usize, Vec<HeadCache<f32>>>| held.get(&index)?.first().map(HeadCache::len);
        let rows = layers.first().and_then(of).unwrap_or(0);
        if layers.iter().all(|held| of(held) == Some(rows)) { rows } else { 0 }
    }

    /// Lets an example begin with the first `rows` rows of another one.
    pub(super) fn begin(&mut self, index: usize, from: usize, rows: usize) {
        let Held::Heads(layers) = &mut self.held else { return };
        for held in layers {
            let Some(heads) = held.get(&from) else { continue };
            let heads = heads.iter().map(|head| head.beginning(rows)).collect();
            held.insert(index, heads);
        }
    }

    /// Forgets an example that has finished.
    pub fn drop_example(&mut self, index: usize) {
        match &mut self.held {
            Held::Nothing => {}
            Held::Heads(layers) => layers.iter_mut().for_each(|held| drop(held.remove(&index))),
            Held::Slots(slots) => slots.forget(index),
        }
    }
}
