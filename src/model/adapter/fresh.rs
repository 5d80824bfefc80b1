//! An adapter to be trained, before its first step.

use super::{Adapter, LowRank, Settings, shapes};
use crate::error::{Error, Result};
use crate::model::Lm;
use crate::rng::stream;
use candle_core::{Device, Tensor, Var};
use rand::Rng;
use std::collections::BTreeMap;

impl Adapter {
    /// An adapter on the modules that the settings target, and its factors as variables, by the names that they have
    /// in a file, in the order of the model.
    ///
    /// `A` is uniform within 1 / sqrt(in) and `B` zero, as PEFT begins, so that nothing is changed yet. Values depend
    /// on the seed and the path of the module alone.
    ///
    /// # Errors
    /// A target that no module of the model matches.
    pub fn fresh(
        name: &str,
        lm: &dyn Lm,
        base_hash: &str,
        settings: &Settings,
        seed: u64,
    ) -> Result<(Adapter, Vec<(String, Var)>)> {
        let rules = settings.rules()?;
        let all: Vec<(&str, [usize; 2])> = lm.projections().into_iter().flat_map(shapes).collect();
        let paths: Vec<&str> = all.iter().map(|(path, _)| *path).collect();
        if let Some(target) = rules.unmatched(&paths) {
            let some = paths.iter().take(7).copied().collect::<Vec<_>>().join(", ");
            let what = format!("no module of the model matches the target `{target}`");
            return Err(Error::refused(what, format!("modules are {some} and so on; a target is the end of a path")));
        }
        let (mut modules, mut vars) = (BTreeMap::new(), Vec::new());
        for (path, [d_out, d_in]) in all.into_iter().filter(|(path, _)| rules.targets(path)) {
            let rank = rules.rank(path);
            let a = Var::from_tensor(&uniform(d_in, rank, &mut stream(seed, &format!("adapter {path}")))?)?;
            let b = Var::zeros((rank, d_out), candle_core::DType::F32, &Device::Cpu)?;
            let low_rank = LowRank { a: a.as_tensor().clone(), b: b.as_tensor().clone(), scale: rules.scale(path) };
            modules.insert(path.to_string(), low_rank);
            vars.push((format!("{path}.lora_A.weight"), a));
            vars.push((format!("{path}.lora_B.weight"), b));
        }
        let adapter = Adapter::new(name, modules, settings.base.clone(), Some(base_hash.to_string()))?;
        Ok((adapter, vars))
    }
}

fn uniform(d_in: usize, rank: usize, rng: &mut impl Rng) -> Result<Tensor> {
    let bound = 1.0 / (d_in as f64).sqrt();
    let values = (0..d_in * rank).map(|_| rng.random_range(-bound..bound) as f32).collect::<Vec<_>>();
    Ok(Tensor::from_vec(values, (d_in, rank), &Device::Cpu)?)
}
