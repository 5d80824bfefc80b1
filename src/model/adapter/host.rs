//! A model with adapters: beside its weights or in them.

use super::Adapter;
use crate::error::{Error, Result};
use crate::model::Model;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

impl Model {
    /// Adds an adapter that examples may go through, and gives its index.
    ///
    /// # Errors
    /// An adapter for another model, or a name that is taken.
    pub fn add(&mut self, adapter: Adapter) -> Result<usize> {
        if self.adapters.iter().any(|a| a.name == adapter.name) {
            let what = format!("two adapters are called `{}`", adapter.name);
            return Err(Error::refused(what, "give each --adapter NAME=DIR a name of its own"));
        }
        adapter.check(&*self.lm, &self.checkpoint)?;
        self.adapters.push(adapter.on(self.device())?);
        Ok(self.adapters.len() - 1)
    }

    /// Adds an adapter to the weights themselves, in f32: `W + scale * A B`. The model's hash becomes another one.
    ///
    /// # Errors
    /// An adapter for another model, a second one, or weights that are being trained.
    pub fn merge(&mut self, adapter: Adapter) -> Result<()> {
        let trained = self.lm.projections().iter().any(|p| p.weight.is_variable());
        if trained || self.merged.is_some() || !self.adapters.is_empty() {
            let what = format!("adapter `{}` cannot be merged: the model is trained or adapted already", adapter.name);
            return Err(Error::refused(what, "merge one adapter alone, into a model as it was loaded"));
        }
        adapter.check(&*self.lm, &self.checkpoint)?;
        for map in self.lm.projections_mut() {
            if let Some(delta) = adapter.delta(map)? {
                map.weight = map.weight.plus(&delta)?;
            }
        }
        for hash in [&mut self.hash, &mut self.checkpoint] {
            let merged = Sha256::new().chain_update(&*hash).chain_update(" merged with ").chain_update(&adapter.hash);
            *hash = format!("{:x}", merged.finalize());
        }
        self.merged = Some(adapter);
        Ok(())
    }

    /// Whether adapters are part of what it computes.
    pub fn is_adapted(&self) -> bool {
        self.merged.is_some() || !self.adapters.is_empty()
    }

    /// The name of the adapter behind the rows of an item; `None` for the base model.
    pub fn adapter_name(&self, adapter: Option<usize>) -> Option<&str> {
        let unmerged = adapter.and_then(|a| self.adapters.get(a));
        unmerged.or(self.merged.as_ref()).map(|a| a.name.as_str())
    }

    /// Its adapters as records hold them.
    pub fn describe_adapters(&self) -> Value {
        let one =
            |a: &Adapter, merged: bool| json!({ "name": a.name, "hash": a.hash, "base": a.base, "merged": merged });
        let unmerged = self.adapters.iter().map(|a| one(a, false));
        unmerged.chain(self.merged.iter().map(|a| one(a, true))).collect()
    }
}
