//! Which linear maps of a checkpoint make one of a model.

use crate::axes::Layer;
use std::sync::Arc;

/// Linear maps of one layer to be read as one.
#[derive(Clone, Debug)]
pub struct Linear<'a> {
    /// Where the checkpoint keeps its blocks: `model.layers`.
    pub(super) stem: &'a str,
    pub(super) layer: Layer,
    /// Columns of the rows that it reads.
    pub d_in: usize,
    /// Path in the layer and number of outputs of each.
    pub(super) modules: Vec<(&'a str, usize)>,
    pub(super) bias: bool,
    /// The file has `[out, in]`, and not `[in, out]`.
    pub(super) turned: bool,
    pub(super) order: Option<Arc<Vec<u32>>>,
}

impl<'a> Linear<'a> {
    /// Of a layer of the blocks at `stem`, stored `[out, in]` and without biases.
    pub fn at(stem: &'a str, layer: Layer) -> Linear<'a> {
        Linear { stem, layer, d_in: 0, modules: Vec::new(), bias: false, turned: true, order: None }
    }

    /// The same for other modules, given as (path in the layer, number of outputs).
    pub fn of<'b>(&self, d_in: usize, modules: &[(&'b str, usize)]) -> Linear<'b>
    where
        'a: 'b,
    {
        Linear { d_in, modules: modules.to_vec(), order: None, ..self.clone() }
    }

    /// With `{path}.bias [out]` or without.
    pub fn biased(self, bias: bool) -> Self {
        Linear { bias, ..self }
    }

    /// Stored `[out, in]` or not.
    pub fn turned(self, turned: bool) -> Self {
        Linear { turned, ..self }
    }

    /// Output i is the one that the file has at `order[i]`.
    pub fn ordered(self, order: Arc<Vec<u32>>) -> Self {
        Linear { order: Some(order), ..self }
    }
}
