//! Low-rank adapters (LoRA, Hu et al. 2021): what fine-tuning adds to linear maps, kept apart from the weights.
//!
//! A module with weight `W [in, out]` computes `x W + scale * (x A) B`. Files are those of Python's PEFT. Adapters are
//! applied in the pass, to the rows of the examples that ask for one, or merged into the weights of a model.

mod apply;
mod fresh;
mod host;
mod load;
mod save;
mod settings;
mod written;

pub(super) use apply::{linear, runs};
pub use load::{CONFIG, WEIGHTS};
pub use save::Stored;
pub use settings::{Rules, Settings, Targets};
pub use written::Written;

use super::Lm;
use super::projection::Projection;
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What an adapter adds to one module.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// `[in, rank]`: `lora_A` of the file, turned.
    pub a: Tensor,
    /// `[rank, out]`: `lora_B`, turned.
    pub b: Tensor,
    /// alpha / rank, or alpha / sqrt(rank).
    pub scale: f64,
}

impl LowRank {
    /// The rank.
    pub fn rank(&self) -> usize {
        self.b.dims().first().copied().unwrap_or(0)
    }

    /// Numbers in both factors.
    pub fn size(&self) -> usize {
        self.a.elem_count() + self.b.elem_count()
    }

    /// The weight of a module that it fits, as the file of a checkpoint has it: `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.b.dims().get(1).copied().unwrap_or(0), self.a.dims().first().copied().unwrap_or(0)]
    }
}

/// A low-rank adapter.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// What prompts call it.
    pub name: String,
    /// By path of the module: `model.layers.0.self_attn.q_proj`.
    pub modules: BTreeMap<String, LowRank>,
    /// The base model, as `base_model_name_or_path` has it.
    pub base: Option<String>,
    /// [`super::Model::hash`] of the base model, where whoever wrote the adapter said it.
    pub base_hash: Option<String>,
    /// SHA-256 over the modules: their paths, shapes, scales and values as f32.
    pub hash: String,
}

impl Adapter {
    /// An adapter of these modules. Its hash is that of the values as they are now.
    pub fn new(
        name: impl Into<String>,
        modules: BTreeMap<String, LowRank>,
        base: Option<String>,
        base_hash: Option<String>,
    ) -> Result<Adapter> {
        let mut hash = Sha256::new();
        for (path, module) in &modules {
            hash.update(format!("{path} {:?} {:?} {:x}\n", module.a.dims(), module.b.dims(), module.scale.to_bits()));
            for tensor in [&module.a, &module.b] {
                let values = tensor.flatten_all()?.to_vec1::<f32>()?;
                values.iter().for_each(|v| hash.update(v.to_le_bytes()));
            }
        }
        Ok(Adapter { name: name.into(), modules, base, base_hash, hash: format!("{:x}", hash.finalize()) })
    }

    /// Numbers in all modules.
    pub fn size(&self) -> usize {
        self.modules.values().map(LowRank::size).sum()
    }

    /// The smallest and the largest rank; `None` for an adapter without modules.
    pub fn ranks(&self) -> Option<(usize, usize)> {
        let ranks = || self.modules.values().map(LowRank::rank);
        ranks().min().zip(ranks().max())
    }

    /// Whether it belongs to a model with this hash.
    ///
    /// # Errors
    /// A module that the model lacks, or of another shape; another base model than the file names.
    pub fn check(&self, lm: &dyn Lm, model_hash: &str) -> Result<()> {
        let found = lm.projections().into_iter().flat_map(shapes).collect::<BTreeMap<_, _>>();
        for (path, module) in &self.modules {
            let Some(shape) = found.get(path.as_str()) else {
                let some: Vec<&str> = found.keys().take(2).copied().collect();
                let what = format!("adapter `{}` is for another base: the model has no module `{path}`", self.name);
                let hint = format!("modules that an adapter may change are {} and so on", some.join(", "));
                return Err(Error::refused(what, hint));
            };
            if *shape != module.shape() {
                let what = format!(
                    "adapter `{}` is for another base: its `{path}` fits a weight {:?}, but the model's is {shape:?}",
                    self.name,
                    module.shape()
                );
                return Err(Error::refused(what, self.base_hint()));
            }
        }
        match &self.base_hash {
            Some(hash) if hash != model_hash => {
                let short = |hash: &str| hash.chars().take(12).collect::<String>();
                let (trained, given) = (short(hash), short(model_hash));
                let what = format!("adapter `{}` was trained on another model: {trained}, not {given}", self.name);
                Err(Error::refused(what, self.base_hint()))
            }
            _ => Ok(()),
        }
    }

    /// The same with its factors, in f32, on a device.
    pub(super) fn on(mut self, device: &Device) -> Result<Adapter> {
        if !device.is_cpu() {
            for module in self.modules.values_mut() {
                (module.a, module.b) = (module.a.to_device(device)?, module.b.to_device(device)?);
            }
        }
        Ok(self)
    }

    fn base_hint(&self) -> String {
        let base = self.base.as_ref().map_or(String::new(), |base| format!(", `{base}`"));
        format!("give --model the model that it was trained on{base}")
    }

    /// What it adds to the weight of a linear map, `[in, out]` in f32; `None` if it has none of the map's modules.
    pub(super) fn delta(&self, map: &Projection) -> Result<Option<Tensor>> {
        let (_, d_out) = map.weight.dims()?;
        let mut sum: Option<Tensor> = None;
        for module in &map.modules {
            let Some(low_rank) = self.modules.get(&module.path) else { continue };
            let b = match &module.order {
                Some(order) => crate::model::kernels::columns(&low_rank.b.detach(), order)?,
                None => low_rank.b.detach(),
            };
            let part = (low_rank.a.detach().matmul(&b)? * low_rank.scale)?;
            let part = part.pad_with_zeros(1, module.columns.start, d_out - module.columns.end)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        Ok(sum)
    }
}

/// Module paths of a linear map with their shapes `[out, in]`.
fn shapes(map: &Projection) -> impl Iterator<Item = (&str, [usize; 2])> {
    let d_in = map.weight.d_in();
    map.modules.iter().map(move |m| (m.path.as_str(), [m.columns.len(), d_in]))
}
