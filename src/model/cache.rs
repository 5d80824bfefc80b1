//! Keys and values kept between the passes of one batch, by example: examples may leave in any order.

use super::kernels::HeadCache;
use super::rows::Example;
use crate::axes::Layer;
use std::collections::HashMap;

/// The cache of a batch, `[layer][example] -> heads`.
#[derive(Debug, Default)]
pub struct Cache {
    layers: Vec<HashMap<usize, Vec<HeadCache<f32>>>>,
}

impl Cache {
    /// An empty cache for a model of `n_layers` blocks.
    pub fn new(n_layers: usize) -> Cache {
        Cache { layers: (0..n_layers).map(|_| HashMap::new()).collect() }
    }

    /// The heads of the given examples at one layer, in their order, each example once.
    pub(super) fn heads(&mut self, layer: Layer, examples: &[Example]) -> Vec<&mut Vec<HeadCache<f32>>> {
        let held = &mut self.layers[layer.0];
        for e in examples {
            held.entry(e.index).or_default();
        }
        let mut by_index: HashMap<usize, &mut Vec<HeadCache<f32>>> = held.iter_mut().map(|(k, v)| (*k, v)).collect();
        examples.iter().map(|e| by_index.remove(&e.index).expect("an example stands in a pass once")).collect()
    }

    /// Forgets an example that has finished.
    pub fn drop_example(&mut self, index: usize) {
        self.layers.iter_mut().for_each(|held| drop(held.remove(&index)));
    }
}
