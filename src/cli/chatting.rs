//! `--chat-template` and `--template-var`: what conversations are rendered with; and what is said about it.

use crate::error::{Error, Result};
use crate::text::{Text, Variables};
use clap::Args;
use serde_json::Value;
use std::collections::HashSet;
use std::path::PathBuf;

/// What conversations are rendered with.
#[derive(Args, Clone, Default)]
pub struct ChatArgs {
    /// Chat template in the place of the checkpoint's own: a Jinja file
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// Variable for the chat template, such as enable_thinking=false; may be given several times
    #[arg(long = "template-var", value_name = "NAME=JSON", value_parser = variable)]
    template_vars: Vec<(String, Value)>,
}

fn variable(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text.split_once('=').ok_or("write NAME=JSON, such as enable_thinking=false")?;
    let value = serde_json::from_str(json).map_err(|e| {
        format!("`{json}` is not JSON ({e}); write a text with its quotes, such as {name}='{}'", Value::from(json))
    })?;
    Ok((name.into(), value))
}

impl ChatArgs {
    /// The options again, word by word.
    #[cfg(feature = "serve")]
    pub fn typed(&self) -> Vec<String> {
        let path = self.chat_template.iter().map(|p| ["--chat-template".into(), p.display().to_string()]);
        let vars = self.template_vars.iter().map(|(k, v)| ["--template-var".into(), format!("{k}={v}")]);
        path.chain(vars).flatten().collect()
    }

    /// Gives template and variables to what renders conversations.
    pub fn apply(&self, text: &mut Text) -> Result<()> {
        if let Some(path) = &self.chat_template {
            let jinja = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
            text.set_template(&path.display().to_string(), &jinja)?;
        }
        let mut variables = Variables::new();
        for (name, value) in &self.template_vars {
            if variables.insert(name.clone(), value.clone()).is_some() {
                let what = format!("--template-var {name} is given twice");
                return Err(Error::refused(what, "give one value; a prompt overrides it with \"template_vars\""));
            }
        }
        warn(text.set_variables(variables)?.iter());
        Ok(())
    }

    /// Adds to a description of a run what these say, if they say anything.
    pub fn describe(&self, text: &Text, all: &mut Value) {
        if self.chat_template.is_some() {
            all["chat_template"] = text.template_place().into();
        }
        if !text.variables().is_empty() {
            all["template_vars"] = text.variables().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        }
    }
}

/// Prints every different warning once, in order, and gives what was printed.
pub fn warn<'a>(warnings: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let new: Vec<String> = warnings.filter(|w| seen.insert(w.as_str())).cloned().collect();
    new.iter().for_each(|w| eprintln!("warning: {w}"));
    new
}
