//! Persona space as a page shows it.

use super::place::Layer;
use super::{Coordinates, Found, Other, Progress, Space};
use crate::axes::Site;
use crate::serve::Problem;
use ndarray::ArrayView1;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Replies of a role that are shown.
const MOST_REPLIES: usize = 20;

/// The map at a site.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpacePage {
    pub ready: bool,
    pub site: Site,
    pub sites: Vec<Site>,
    /// The assistant axis first.
    pub axes: Vec<String>,
    /// By component: its share of the variance of the roles.
    pub variance: BTreeMap<String, f64>,
    pub default: Placed,
    pub roles: Vec<RolePlace>,
    pub traits: Vec<TraitPlace>,
    /// The same through each adapter, in the coordinates of the base.
    pub models: Vec<OtherModel>,
    pub kept: Kept,
    /// The command line of the whole analysis.
    pub command: String,
    pub warnings: Vec<String>,
}

/// Somebody on the map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Placed {
    pub name: String,
    pub at: Coordinates,
}

/// A role with the roles that are most like it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolePlace {
    pub name: String,
    pub at: Coordinates,
    pub neighbours: Vec<Neighbour>,
}

/// The cosine of two roles seen from the mean of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    pub name: String,
    pub cosine: f64,
}

/// A trait: a displacement, drawn as an arrow from the centre.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraitPlace {
    pub name: String,
    pub at: Coordinates,
}

/// The cast through an adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherModel {
    pub adapter: String,
    pub default: Placed,
    pub roles: Vec<Placed>,
}

/// The components in which distances are taken, and the share of the variance that they hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kept {
    pub components: usize,
    pub share: f64,
}

/// A role with what it was asked and said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolePage {
    pub name: String,
    pub system: String,
    pub prompts: Vec<String>,
    pub replies: Vec<Reply>,
}

/// What was said to a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    pub question: String,
    pub reply: String,
}

impl Space {
    /// The map at a site, or at the default one; how far it is while it is computed.
    ///
    /// # Errors
    /// A site without a map; why there is none at all.
    pub fn page(&self, site: Option<&str>) -> Result<Result<SpacePage, Progress>, Problem> {
        let found = match self.ready()? {
            Ok(found) => found,
            Err(progress) => return Ok(Err(progress)),
        };
        let place = found.place(site, self.of.n_layers)?;
        let layer = &found.layers[place];
        let (cast, at) = (&self.cast, |row: ArrayView1<f64>| layer.at(row).into_iter().collect::<Coordinates>());
        let placed = |name: &str, row: ArrayView1<f64>| Placed { name: name.into(), at: at(row) };
        let role = |(r, member): (usize, &super::cast::Member)| RolePlace {
            name: member.name.clone(),
            at: at(layer.means.row(r)),
            neighbours: layer.neighbours[r]
                .iter()
                .map(|(j, cosine)| Neighbour { name: cast.roles[*j].name.clone(), cosine: *cosine })
                .collect(),
        };
        let n = cast.roles.len();
        let other = |other: &Arc<Other>| {
            let mut at = other.at[place].iter().cloned();
            let roles = cast.roles.iter().zip(&mut at).map(|(m, at)| Placed { name: m.name.clone(), at }).collect();
            let default = Placed { name: cast.default.name.clone(), at: at.next()? };
            Some(OtherModel { adapter: other.adapter.clone(), default, roles })
        };
        Ok(Ok(SpacePage {
            ready: true,
            site: layer.site,
            sites: found.layers.iter().map(|l| l.site).collect(),
            axes: layer.axes.iter().map(|l| l.name.clone()).collect(),
            variance: layer.axes.iter().filter_map(|l| Some((l.name.clone(), l.ratio?))).collect(),
            default: placed(&cast.default.name, layer.means.row(n)),
            roles: cast.roles.iter().enumerate().map(role).collect(),
            traits: layer.traits.iter().map(|(name, v)| arrow(layer, name, v.view())).collect(),
            models: found.others.iter().filter_map(other).collect(),
            kept: Kept { components: layer.components(), share: layer.share },
            command: cast.command.clone(),
            warnings: warnings(&found),
        }))
    }

    /// What a role (or the default assistant) was asked, and some of its replies; through an adapter or none.
    ///
    /// # Errors
    /// A role or adapter that is not there (404), a space that is not computed.
    pub fn role(&self, name: &str, adapter: Option<&str>) -> Result<RolePage, Problem> {
        let m = self.member(name).map_err(|p| Problem { status: 404, ..p })?;
        let member = if m < self.cast.roles.len() { &self.cast.roles[m] } else { &self.cast.default };
        let found =
            self.ready()?.map_err(|_| Problem::refused("persona space is not computed yet", "wait a moment"))?;
        let heard = match adapter.filter(|a| !a.is_empty()) {
            None => &*found.base,
            Some(asked) => {
                let known = found.others.iter().find(|o| o.adapter == asked);
                let names: Vec<&str> = found.others.iter().map(|o| o.adapter.as_str()).collect();
                let hint =
                    if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
                &known.ok_or_else(|| Problem::missing("there is no such adapter, or it is not asked yet", hint))?.heard
            }
        };
        let reply = |(question, reply): &(String, String)| Reply { question: question.clone(), reply: reply.clone() };
        let mut prompts: Vec<String> = Vec::new();
        for ask in &member.asks {
            if !prompts.contains(&ask.question) {
                prompts.push(ask.question.clone());
            }
        }
        let replies = heard.replies[m].iter().take(MOST_REPLIES).map(reply).collect();
        Ok(RolePage { name: member.name.clone(), system: member.system.clone(), prompts, replies })
    }
}

fn arrow(layer: &Layer, name: &str, displacement: ArrayView1<f64>) -> TraitPlace {
    TraitPlace { name: name.into(), at: layer.along(displacement).into_iter().collect() }
}

fn warnings(found: &Found) -> Vec<String> {
    let others = found.others.iter().flat_map(|o| &o.heard.warnings);
    found.base.warnings.iter().chain(others).chain(&found.warnings).cloned().collect()
}
