//! Training: pretraining of small models from nothing, and fine-tunes of any supported one.
//!
//! A run is decided by its data, its settings and its seed: the order of the sequences, the way a batch is cut into
//! shards and the order in which their gradients are added are fixed, so that neither the number of threads nor an
//! interruption changes a byte of the weights.
//!
//! [`fit`] is the loop. It knows neither models nor files of models: whoever calls it gives the tensors that are
//! trained, and writes what came out.

mod batches;
mod checkpoint;
mod curve;
mod evaluate;
mod fit;
mod gradient;
mod optimizer;
mod output;
mod schedule;
mod sequences;

pub mod finetune;
pub mod pretrain;

pub use crate::score::Likelihood;
pub use batches::{Amount, Size, plan as batch_plan};
pub use curve::Curve;
pub use evaluate::{likelihoods, mean_nll};
pub use fit::{Progress, Settings, Task, fit};
pub use gradient::rows_and_targets;
pub use optimizer::AdamW;
pub use output::{Folder, model_files};
pub use schedule::{Schedule, Shape};
pub use sequences::{Counted, Sequences};
