//! `--adapter`, `--merge-adapters`, `--random-weights` and the chat template: what a model is run with.

use super::chatting::ChatArgs;
use super::progress::Arriving;
use crate::error::{Error, Result, nearest};
use crate::model::{Adapter, Filling, Model, Opening, Source};
use crate::shipped::{ADAPTERS, ShippedAdapter};
use crate::text::prompts::{Prompt, Through};
use clap::Args;
use std::path::PathBuf;

/// What stands beside the weights of the model, or in their place; and how it is talked to.
#[derive(Args, Clone, Default)]
pub struct AdapterArgs {
    /// LoRA adapter: a folder as Python's PEFT writes it, and a name for it; the name alone of one that is inside the
    /// program, such as character0-chat-s0; may be given several times
    #[arg(long = "adapter", value_name = "NAME=DIR", value_parser = named)]
    adapters: Vec<Named>,
    /// Add the adapter to the weights themselves, in f32; for one adapter
    #[arg(long, requires = "adapters")]
    merge_adapters: bool,
    /// Run a model of the same shape with random weights of this seed: the null of a measurement
    #[arg(long, value_name = "SEED")]
    random_weights: Option<u64>,
    #[command(flatten)]
    pub chat: ChatArgs,
}

/// An adapter and where it is from.
#[derive(Clone)]
struct Named {
    name: String,
    from: From,
}

#[derive(Clone)]
enum From {
    Folder(PathBuf),
    Shipped(&'static ShippedAdapter),
}

fn named(text: &str) -> Result<Named, String> {
    let Some((name, dir)) = text.split_once('=') else {
        let shipped = ShippedAdapter::named(text).ok_or_else(|| {
            let meant = nearest(text, ADAPTERS.iter().map(|a| a.name));
            let meant =
                meant.map_or(String::new(), |m| format!("; or did you mean `{m}`, which is inside the program?"));
            format!("write NAME=DIR, such as warm=adapters/warm{meant}")
        })?;
        return Ok(Named { name: text.into(), from: From::Shipped(shipped) });
    };
    let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("`{name}` cannot name an adapter: use letters, digits, `_`, `-` and `.`"));
    }
    if dir.is_empty() {
        return Err("no folder behind the `=`".into());
    }
    Ok(Named { name: name.into(), from: From::Folder(dir.into()) })
}

impl AdapterArgs {
    /// Gives shipped fine-tunes to a model of which nothing was said: all formats of the first character.
    #[cfg(feature = "serve")]
    pub fn or_shipped(&mut self) {
        if self.adapters.is_empty() && !self.merge_adapters && self.random_weights.is_none() {
            let first = |a: &&ShippedAdapter| a.name.starts_with("character0-") && a.name.ends_with("-s0");
            let from = |a: &'static ShippedAdapter| Named { name: a.name.into(), from: From::Shipped(a) };
            self.adapters = ADAPTERS.iter().filter(first).map(from).collect();
        }
    }

    /// The options of each adapter again, word by word.
    #[cfg(feature = "serve")]
    pub fn typed_adapters(&self) -> Vec<[String; 2]> {
        let one = |Named { name, from }: &Named| match from {
            From::Folder(dir) => ["--adapter".into(), format!("{name}={}", dir.display())],
            From::Shipped(_) => ["--adapter".into(), name.clone()],
        };
        self.adapters.iter().map(one).collect()
    }

    /// The other options again; those of an adapter that is merged, too.
    #[cfg(feature = "serve")]
    pub fn typed(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.merge_adapters {
            all.extend(self.typed_adapters().into_iter().flatten());
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
        for Named { name, from } in &self.adapters {
            let adapter = match from {
                From::Folder(dir) => Adapter::load(name, dir)?,
                From::Shipped(files) => Adapter::shipped(name, files)?,
            };
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
