//! A model whose kernels are tensor operations on the CPU too.

use super::kernels::portable::forced;
use super::{Interrupt, Lm, Pass, Projection, Rows, Unembedding, Writer};
use crate::axes::{Dims, Layer, Point};
use crate::error::Result;
use candle_core::Tensor;

/// The model behind it, computed as a GPU would be asked to.
pub struct Portable(pub Box<dyn Lm>);

impl Lm for Portable {
    fn dims(&self) -> &Dims {
        self.0.dims()
    }

    fn trained_len(&self) -> usize {
        self.0.trained_len()
    }

    fn positions_change_at(&self) -> Option<usize> {
        self.0.positions_change_at()
    }

    fn points(&self) -> &[Point] {
        self.0.points()
    }

    fn embed(&self, rows: &Rows) -> Result<Tensor> {
        forced(|| self.0.embed(rows))
    }

    fn block(&self, layer: Layer, x: Tensor, pass: &mut Pass<'_, '_>) -> Result<Tensor, Interrupt> {
        forced(|| self.0.block(layer, x, pass))
    }

    fn final_norm(&self, x: &Tensor) -> Result<Tensor> {
        forced(|| self.0.final_norm(x))
    }

    fn unembedding(&self) -> &Unembedding {
        self.0.unembedding()
    }

    fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        forced(|| self.0.unembed(x))
    }

    fn projections(&self) -> Vec<&Projection> {
        self.0.projections()
    }

    fn writers(&self) -> Vec<Writer<'_>> {
        self.0.writers()
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.0.projections_mut()
    }
}
