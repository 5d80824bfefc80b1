//! Persona space of the model that is open: the default assistant, roles, and whatever else is placed among them.
//!
//! Everybody is asked a few questions; a role is the mean over its replies. Axes are the line from the mean of the roles to
//! the default assistant and the leading components of the roles, all through the mean of the roles: the coordinate of a row
//! on an axis is `(row - centre) . unit`. What goes through an adapter is placed on the axes of the base.

mod cast;
mod compute;
mod page;
mod path;
mod place;
mod vectors;

pub use compute::Tell;
pub use page::{Kept, Neighbour, OtherModel, Placed, Reply, RolePage, RolePlace, SpacePage, TraitPlace};
pub use path::{Near, PathAsk, PathPage, PathTurn};

use super::Problem;
use super::asks::Asks;
use super::cards::CardInfo;
use super::library::default_site;
use crate::axes::Site;
use crate::error::{Error, Result, nearest};
use crate::model::Model;
use crate::vectors::Vector;
use cast::Cast;
use compute::{Heard, hear};
use ndarray::Array2;
use place::Layer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// What vectors of persona space are said to be of.
pub const SOURCE: &str = "persona space";
/// The assistant axis among all vectors.
pub const AXIS: &str = "persona space#assistant axis";
/// Sites that are kept of a deep model, from the first to the last.
const MOST_SITES: usize = 12;

/// Persona space, computed once in the background.
pub struct Space {
    cast: Cast,
    of: Origin,
    state: RwLock<State>,
}

/// What vectors say of the model.
struct Origin {
    name: String,
    hash: String,
    template_hash: Option<String>,
    n_layers: usize,
}

enum State {
    Under(Progress),
    Failed(Problem),
    Ready(Arc<Found>),
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub ready: bool,
    pub stage: String,
    pub done: usize,
    pub of: usize,
}

/// What was computed so far: the base, and then adapter after adapter.
#[derive(Clone)]
struct Found {
    layers: Arc<Vec<Layer>>,
    base: Arc<Heard>,
    others: Vec<Arc<Other>>,
    /// Adapters that failed, and why.
    warnings: Vec<String>,
}

/// The cast through an adapter.
struct Other {
    adapter: String,
    heard: Heard,
    /// By layer and member, the default assistant last: coordinates on the axes of the base.
    at: Vec<Vec<Coordinates>>,
}

/// By axis.
type Coordinates = BTreeMap<String, f64>;

impl Space {
    /// Who will be asked: the roles of a prompt file (as `persona import` writes it), else the people of the model's own
    /// world, else the cards.
    ///
    /// # Errors
    /// A file that is no prompt file of three roles or more.
    pub fn new(model: &Model, cards: &[CardInfo], questions: &[String], roles: Option<&Path>) -> Result<Space> {
        let of = Origin {
            name: model.name.clone(),
            hash: model.hash.clone(),
            template_hash: model.text.template_hash().map(String::from),
            n_layers: model.lm.dims().n_layers,
        };
        let waiting = Progress { stage: "waiting".into(), ..Progress::default() };
        Ok(Space { cast: Cast::of(model, cards, questions, roles)?, of, state: RwLock::new(State::Under(waiting)) })
    }

    /// Asks everybody, the model as it is, and places them at `sites`; of more than twelve sites some between the first and
    /// the last are taken. Behind that there is a map, and `share` has its vectors. Then asks everybody through each adapter
    /// of the model, and places them on the axes of the base; each can be looked at as soon as it is there. An adapter that
    /// fails is a warning of the map. `tell` hears how far it is.
    ///
    /// # Errors
    /// What the base refuses; fewer than three roles, roles that do not differ. It is told to whoever asks for the space,
    /// too.
    pub fn compute(&self, asks: &dyn Asks, sites: &[Site], tell: Tell<'_>, share: &dyn Fn(Vec<Vector>)) -> Result<()> {
        let told = |stage: &str, done: usize, of: usize| {
            self.set(State::Under(Progress { ready: false, stage: stage.into(), done, of }));
            tell(stage, done, of);
        };
        let mut found = self.base(asks, &spread(sites, self.of.n_layers), &told).inspect_err(|e| {
            let problem = Problem { status: 422, what: e.to_string(), hint: e.hint() };
            self.set(State::Failed(problem));
        })?;
        // Whoever sees the map looks for its vectors next.
        share(self.vectors(&found));
        self.set(State::Ready(Arc::new(found.clone())));
        let sites: Vec<Site> = found.layers.iter().map(|l| l.site).collect();
        for (i, adapter) in asks.model().adapters.iter().enumerate() {
            match hear(asks, &self.cast, Some(i), &sites, tell) {
                Ok(heard) => found.others.push(Arc::new(Other::of(&adapter.name, heard, &found.layers))),
                Err(e) => found.warnings.push(format!("the map of {} is missing: {e}", adapter.name)),
            }
            self.set(State::Ready(Arc::new(found.clone())));
        }
        Ok(())
    }

    fn base(&self, asks: &dyn Asks, sites: &[Site], tell: Tell<'_>) -> Result<Found> {
        if self.cast.roles.len() < 3 {
            let what = format!("{} roles are too few for a map", self.cast.roles.len());
            return Err(Error::refused(what, "give a prompt file of roles, or three persona cards or more"));
        }
        let mut base = hear(asks, &self.cast, None, sites, tell)?;
        let of = |(site, means): (Site, Array2<f64>)| Layer::of(site, means, &self.cast);
        let all: Vec<Result<Layer>> = std::mem::take(&mut base.means).into_iter().map(of).collect();
        // At some sites, such as the embedding of a last token, roles need not differ; there has to be one where they do.
        let (layers, mut failed): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
        let layers: Vec<Layer> = layers.into_iter().flatten().collect();
        if layers.is_empty() {
            return Err(failed.pop().and_then(Result::err).unwrap_or_else(|| Error::refused("no site to map", "")));
        }
        Ok(Found { layers: Arc::new(layers), base: Arc::new(base), others: vec![], warnings: vec![] })
    }

    /// What was computed, or how far it is.
    fn ready(&self) -> Result<Result<Arc<Found>, Progress>, Problem> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(found) => Ok(Ok(found.clone())),
            State::Under(progress) => Ok(Err(progress.clone())),
            State::Failed(problem) => Err(problem.clone()),
        }
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The place of somebody among the means.
    fn member(&self, name: &str) -> Result<usize, Problem> {
        let names = || self.cast.roles.iter().chain([&self.cast.default]).map(|m| m.name.as_str());
        names().position(|n| n == name).ok_or_else(|| {
            let hint = match nearest(name, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "roles are those of the map".into(),
            };
            let shown: String = name.chars().take(200).collect();
            Problem::refused(format!("there is no role `{shown}`"), hint)
        })
    }
}

impl Other {
    fn of(adapter: &str, mut heard: Heard, layers: &[Layer]) -> Other {
        // Means of a large model are large; what is shown of them are coordinates.
        let means = std::mem::take(&mut heard.means);
        let at = |layer: &Layer| {
            let rows = means.iter().filter(|(site, _)| *site == layer.site).flat_map(|(_, rows)| rows.rows());
            rows.map(|row| layer.at(row).into_iter().collect()).collect()
        };
        Other { adapter: adapter.into(), at: layers.iter().map(at).collect(), heard }
    }
}

impl Found {
    /// The layer of a site; of the default one where none is said.
    fn layer(&self, site: Option<&str>, n_layers: usize) -> Result<&Layer, Problem> {
        Ok(&self.layers[self.place(site, n_layers)?])
    }

    /// The same by its place.
    fn place(&self, site: Option<&str>, n_layers: usize) -> Result<usize, Problem> {
        let sites = || self.layers.iter().map(|l| l.site).collect::<Vec<Site>>();
        let asked = match site.filter(|s| !s.is_empty()) {
            Some(site) => site.parse::<Site>()?,
            None => default_site(&sites(), n_layers).unwrap_or(Site::Logits),
        };
        self.layers.iter().position(|l| l.site == asked).ok_or_else(|| {
            let there: Vec<String> = sites().iter().map(Site::to_string).collect();
            Problem::refused(format!("there is no map at {asked}"), format!("maps are at {}", there.join(", ")))
        })
    }
}

/// At most twelve sites, evenly from the first to the last, with the one that is shown first.
fn spread(sites: &[Site], n_layers: usize) -> Vec<Site> {
    let n = sites.len();
    if n <= MOST_SITES {
        return sites.to_vec();
    }
    let mut kept: Vec<Site> = (0..MOST_SITES - 1).map(|i| sites[i * (n - 1) / (MOST_SITES - 2)]).collect();
    kept.extend(default_site(sites, n_layers));
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests;
