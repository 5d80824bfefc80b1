//! The hooked forward pass: packed rows, taps and edits, the only loop over layers.
//!
//! One function walks the residual stream: [`forward`]. A model gives it three things, `embed`, `block` and `unembed`;
//! what is read and what is rewritten on the way are arguments of the pass, never state of the model.

pub mod adapter;
pub mod arch;
pub mod batch;
pub mod cache;
pub mod config;
mod convert;
mod copies;
mod digest;
pub mod edit;
pub mod generate;
mod hub;
mod json;
mod judge;
mod kept;
pub mod kernels;
pub mod linear;
pub mod load;
mod missing;
mod opening;
pub mod pass;
mod portable;
mod prefill;
pub mod processor;
pub mod projection;
pub mod receipt;
mod rewriting;
pub mod rows;
pub mod sample;
mod shards;
mod source;
pub mod weight;
pub mod weights;

pub use adapter::{Adapter, LowRank};
pub use batch::{Batch, Drawn, Ended, Follow};
pub use cache::Cache;
pub use edit::{Along, Donor, Intervention, Patch, Positions, Rewrite};
pub use load::{Dtype, Filling, Loading, Model, Opening, Purpose, Source, Stage};
pub use pass::{At, Edit, Hooks, How, Interrupt, Next, Pass, Replace, Seen, Tap};
pub use processor::{Kernels, Processor};
pub use projection::{Module, Parameter, Projection, Unembedding, Writer};
pub use receipt::{Did, Receipt, Spread, Touched};
pub use rows::{Example, Rows};
pub use weight::{Embedding, Weight};

use crate::axes::{Dims, Layer, Point, Site};
use crate::error::Result;
use candle_core::Tensor;

/// A language model as the pass sees it.
pub trait Lm: Send + Sync {
    fn dims(&self) -> &Dims;
    /// Positions that it was trained on, before any scaling of its rotary positions; `n_ctx` may be larger.
    fn trained_len(&self) -> usize;
    /// The length from which on a sequence has other rotary positions, also in its first tokens: what was cached before
    /// is of no use behind it.
    fn positions_change_at(&self) -> Option<usize> {
        None
    }
    /// The points that its blocks fire, in forward order.
    fn points(&self) -> &[Point];
    /// Whether its blocks fire the site.
    fn has(&self, site: Site) -> bool {
        self.dims().has(site) && !matches!(site, Site::Block { point, .. } if !self.points().contains(&point))
    }
    /// What block 0 reads, `[row, d_model]`.
    fn embed(&self, rows: &Rows) -> Result<Tensor>;
    /// One block. It calls [`Pass::at`] once for each of its inner points.
    fn block(&self, layer: Layer, x: Tensor, pass: &mut Pass<'_, '_>) -> Result<Tensor, Interrupt>;
    /// What the head reads: the last norm over `[row, d_model]`.
    fn final_norm(&self, x: &Tensor) -> Result<Tensor>;
    /// The head.
    fn unembedding(&self) -> &Unembedding;
    /// The linear maps that blocks take through [`Pass::linear`], in forward order: what adapters may change.
    fn projections(&self) -> Vec<&Projection>;
    /// Those of them whose outputs are added to the residual stream, in forward order; none where it is not said.
    fn writers(&self) -> Vec<Writer<'_>> {
        Vec::new()
    }
    /// [`Lm::projections`], to be changed.
    fn projections_mut(&mut self) -> Vec<&mut Projection>;
    /// Final norm and head: `[row, d_model]` to `[row, d_vocab]`.
    fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        self.unembedding().logits(&self.final_norm(x)?)
    }
}

/// Which rows are unembedded at the end of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// None: nothing behind the last tap is computed.
    Skip,
    /// The last row of each example, `[example, d_vocab]`: what decoding needs.
    LastRows,
    /// Every row; also what a tap on `logits` sees.
    AllRows,
    /// Not the logits but what the head reads, of every row, `[row, d_model]`: what a loss starts from.
    Normed,
}

/// The only function that walks the residual stream.
///
/// Gives the logits that `head` asks for, and a receipt per edit.
///
/// # Errors
/// Failures of the model, of a tap or of an edit; a wanted site that never fired; an edit that nothing behind it reads.
pub fn forward(
    lm: &dyn Lm,
    rows: &Rows,
    hooks: &mut Hooks<'_>,
    cache: Option<&mut Cache>,
    head: Head,
) -> Result<(Option<Tensor>, Vec<Receipt>)> {
    let n_layers = lm.dims().n_layers;
    let mut pass = Pass::new(rows, hooks, cache, head != Head::Skip, lm.dims(), lm.points())?;
    let logits = match walk(lm, &mut pass, head) {
        Ok(logits) => logits,
        Err(Interrupt::Stopped) => None,
        Err(Interrupt::Failed(e)) => return Err(e),
    };
    Ok((logits, pass.close(n_layers)?))
}

fn walk(lm: &dyn Lm, pass: &mut Pass<'_, '_>, head: Head) -> Result<Option<Tensor>, Interrupt> {
    let mut x = lm.embed(pass.rows())?;
    for layer in (0..lm.dims().n_layers).map(Layer) {
        x = pass.at(layer, Point::ResidPre, x)?;
        x = lm.block(layer, x, pass)?;
        x = pass.at(layer, Point::ResidPost, x)?;
    }
    match head {
        Head::Skip => Ok(None),
        Head::Normed => Ok(Some(lm.final_norm(&x)?)),
        Head::AllRows => Ok(Some(pass.visit(Site::Logits, lm.unembed(&x)?)?)),
        Head::LastRows => {
            let last: Vec<u32> = pass.rows().ranges().iter().map(|r| (r.end - 1) as u32).collect();
            let last = Tensor::from_vec(last, pass.rows().ranges().len(), x.device())?;
            Ok(Some(lm.unembed(&x.index_select(&last, 0)?)?))
        }
    }
}
