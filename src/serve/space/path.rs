//! A conversation as a path through persona space.

use super::page::Kept;
use super::{Coordinates, Space};
use crate::axes::Site;
use crate::model::Model;
use crate::serve::Problem;
use crate::serve::asks::Asks;
use crate::text::{ASSISTANT, Message};
use crate::unit::Item;
use ndarray::Axis;
use serde::{Deserialize, Serialize};

/// Neighbours of a turn that are told.
const NEAR: usize = 3;

/// A conversation that is to be placed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PathAsk {
    pub messages: Vec<Message>,
    #[serde(default)]
    pub adapter: Option<String>,
    /// The default site where none is said.
    #[serde(default)]
    pub site: Option<String>,
}

/// The replies of a conversation on the map, in their order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathPage {
    pub site: Site,
    pub turns: Vec<PathTurn>,
    pub kept: Kept,
}

/// The mean over a reply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathTurn {
    /// Replies before it.
    pub turn: usize,
    pub at: Coordinates,
    /// Roles and the default assistant by their distance in the components that are kept.
    pub nearest: Vec<Near>,
}

/// Somebody near.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    pub name: String,
    /// In activation units.
    pub distance: f64,
}

impl Space {
    /// Places the replies of a conversation, read as a whole through the adapter. Empty replies, and those behind the model's
    /// positions, are left out.
    ///
    /// # Errors
    /// A conversation that the chat template refuses, an adapter or site that is not there, a failed pass.
    pub fn path(&self, asks: &dyn Asks, ask: &PathAsk) -> Result<PathPage, Problem> {
        let found =
            self.ready()?.map_err(|_| Problem::refused("persona space is not computed yet", "wait a moment"))?;
        let layer = found.layer(ask.site.as_deref(), self.of.n_layers)?;
        let kept = Kept { components: layer.components(), share: layer.share };
        let (item, turns) = read(asks.model(), ask)?;
        let mut page = PathPage { site: layer.site, turns: vec![], kept };
        if turns.is_empty() {
            return Ok(page);
        }
        let rows = asks.capture(vec![item], &[layer.site])?.into_iter().next().map(|(_, rows)| rows);
        let place = |(turn, row): (usize, ndarray::ArrayView1<f32>)| {
            let row = row.mapv(f64::from);
            let at = layer.at(row.view()).into_iter().collect();
            let near = layer.nearest(row.view(), NEAR).into_iter();
            let nearest = near.map(|(m, distance)| Near { name: self.name(m).into(), distance }).collect();
            PathTurn { turn, at, nearest }
        };
        let rows = rows.ok_or_else(|| Problem::refused("nothing was read", "try again"))?;
        page.turns = turns.into_iter().zip(rows.axis_iter(Axis(0))).map(place).collect();
        Ok(page)
    }

    fn name(&self, member: usize) -> &str {
        self.cast.roles.get(member).map_or(&self.cast.default.name, |m| &m.name)
    }
}

/// The conversation with the ranges of its replies, and which replies these are.
fn read(model: &Model, ask: &PathAsk) -> Result<(Item, Vec<usize>), Problem> {
    let adapter = match ask.adapter.as_deref().filter(|a| !a.is_empty()) {
        None => None,
        Some(name) => Some(model.adapters.iter().position(|a| a.name == name).ok_or_else(|| {
            let names: Vec<&str> = model.adapters.iter().map(|a| a.name.as_str()).collect();
            let hint =
                if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
            Problem::refused("there is no such adapter", hint)
        })?),
    };
    if ask.messages.is_empty() {
        return Ok((Item::default(), vec![]));
    }
    let mut encoded = model.text.chat(&ask.messages, false)?;
    let n_ctx = model.lm.dims().n_ctx;
    let replies = encoded.turns.iter().filter(|t| t.role == ASSISTANT).map(|t| t.content.clone()).enumerate();
    let (turns, ranges): (Vec<usize>, Vec<_>) = replies.filter(|(_, r)| !r.is_empty() && r.end <= n_ctx).unzip();
    let prompt_len = (encoded.last_prompt() + 1).min(n_ctx);
    encoded.tokens.truncate(n_ctx);
    let id = "path".to_string();
    Ok((Item { id, prompt_len, tokens: encoded.tokens, ranges, adapter, ..Item::default() }, turns))
}
