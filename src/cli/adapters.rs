//! `--adapter`, `--merge-adapters`, `--random-weights` and the chat template: what a model is run with.

use super::chatting::ChatArgs;
use super::progress::Arriving;
use crate::error::{Error, Result};
use crate::model::{Adapter, Filling, Model, Opening, Source};
use crate::text::prompts::{Prompt, Through};
use clap::Args;
use std::path::PathBuf;

/// What stands beside the weights of the model, or in their place; and how it is talked to.
#[derive(Args, Clone, Default)]
pub struct AdapterArgs {
    /// LoRA adapter: a folder as Python's PEFT writes it, and a name for it; may be given several times
    #[arg(long = "adapter", value_name = "NAME=DIR", value_parser = named)]
    adapters: Vec<(String, PathBuf)>,
    /// Add the adapter to the weights themselves, in f32; for one adapter
    #[arg(long, requires = "adapters")]
    merge_adapters: bool,
    /// Run a model of the same shape with random weights of this seed: the null of a measurement
    #[arg(long, value_name = "SEED")]
    random_weights: Option<u64>,
    #[command(flatten)]
    pub chat: ChatArgs,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, dir) = text.split_once('=').ok_or("write NAME=DIR, such as warm=adapters/warm")?;
    let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("`{name}` cannot name an adapter: use letters, digits, `_`, `-` and `.`"));
    }
    if dir.is_empty() {
        return Err("no folder behind the `=`".into());
    }
    Ok((name.into(), dir.into()))
}

impl AdapterArgs {
    /// The options again, word by word.
    #[cfg(feature = "serve")]
    pub fn typed(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (name, dir) in &self.adapters {
            all.extend(["--adapter".into(), format!("{name}={}", dir.display())]);
        }
        if self.merge_adapters {
            all.push("--merge-adapters".into());
        }
        if let Some(seed) = self.random_weights {
            all.extend(["--random-weights".into(), seed.to_string()]);
        }
        all.extend(self.chat.typed());
        all
    }

    /// Loads the model with its adapters. A single one is the default of everything.
    pub fn load(&self, model: &str, opening: Opening) -> Result<Model> {
        if self.merge_adapters && self.adapters.len() > 1 {
            let what = format!("--merge-adapters with {} adapters", self.adapters.len());
            return Err(Error::refused(
                what,
                "merge one, or leave the option out: rows then go through their own adapter",
            ));
        }
        let filling = self.random_weights.map_or(Filling::Stored, Filling::Random);
        let mut arriving = Arriving::new();
        let opening = Opening { filling, ..opening };
        let opened = Model::open_watched(&Source::parse(model), opening, &mut |at| arriving.step(at));
        arriving.end();
        let (mut model, _) = opened?;
        model.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
        for (name, dir) in &self.adapters {
            let adapter = Adapter::load(name, dir)?;
            if self.merge_adapters {
                model.merge(adapter)?;
            } else {
                model.add(adapter)?;
            }
        }
        self.chat.apply(&mut model.text)?;
        model.default_adapter = (model.adapters.len() == 1).then_some(0);
        Ok(model)
    }

    /// Refuses more than one adapter, for commands whose prompts cannot say which.
    pub fn at_most_one(&self) -> Result<()> {
        if self.adapters.len() < 2 {
            return Ok(());
        }
        let what = format!("{} adapters for a probe, whose prompts cannot say which", self.adapters.len());
        Err(Error::refused(what, "run the probe once for each adapter, with different --out"))
    }
}

/// The adapter of each prompt, by index: what its line says; where no line says anything, the only adapter there is.
pub fn through(model: &Model, prompts: &[Prompt]) -> Result<Vec<Option<usize>>> {
    let said = prompts.iter().any(|p| p.adapter != Through::Unsaid);
    if !said && model.adapters.len() > 1 {
        let what = format!("{} adapters, but no prompt says which it goes through", model.adapters.len());
        return Err(Error::refused(what, format!("add \"adapter\": NAME to its line, where NAME is {}", names(model))));
    }
    let of = |p: &Prompt| match (&p.adapter, &model.merged) {
        (Through::Unsaid, _) if !said => Ok(model.default_adapter),
        (Through::Unsaid, _) => Ok(None),
        (Through::Named(name), Some(merged)) if *name == merged.name => Ok(None),
        (_, Some(merged)) => {
            let what = format!("prompt `{}` asks for a model without adapter `{}`", p.id, merged.name);
            Err(Error::refused(what, "leave out --merge-adapters, which adds it to the weights of all prompts"))
        }
        (Through::Base, None) => Ok(None),
        (Through::Named(name), None) => {
            let found = model.adapters.iter().position(|a| a.name == *name).map(Some);
            found.ok_or_else(|| {
                let what = format!("prompt `{}` asks for adapter `{name}`, which was not given", p.id);
                Error::refused(what, format!("give it as --adapter {name}=DIR; given are: {}", names(model)))
            })
        }
    };
    let through = prompts.iter().map(of).collect::<Result<Vec<_>>>()?;
    for (i, adapter) in model.adapters.iter().enumerate().filter(|(i, _)| !through.contains(&Some(*i))) {
        eprintln!("warning: no prompt goes through adapter {} (`{}`)", i + 1, adapter.name);
    }
    Ok(through)
}

fn names(model: &Model) -> String {
    let names: Vec<String> = model.adapters.iter().map(|a| format!("`{}`", a.name)).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
