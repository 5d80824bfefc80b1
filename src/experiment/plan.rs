//! A probe checked and completed, and what it will do, told beforehand.

use super::kinds::Worlds;
use super::prompts::{Prompt, persona_prompts, personas, questions};
use super::spec::Spec;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::{Model, Source};
use crate::shipped::{Shipped, TOYWORLD};
use crate::talk::{self, Talk};
use crate::unit::{self, Item, Task};
use crate::world::{Exposure, World};
use serde::Serialize;
use serde_json::{Value, json};

/// One stage of a plan: how much it will do. Where it waits for replies of an earlier stage, its tokens and units are
/// those of replies of full length: upper bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    pub name: String,
    pub units: usize,
    /// Rows kept, or replies.
    pub rows: usize,
    /// Tokens of prompts, and of replies at full length.
    pub tokens: usize,
    /// Bytes of the outcomes on the shelf, without file headers: f32 activations, or token ids.
    pub bytes: usize,
    /// Whether the numbers are upper bounds.
    pub at_most: bool,
}

/// A probe that can be run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub spec: Spec,
    pub stages: Vec<Stage>,
    /// Sites that are read, in forward order.
    pub(super) sites: Vec<Site>,
    /// The planted truth of the model. A kind that runs on any model may use it only where its settings ask for the toy
    /// world, which they may on its model alone.
    pub(super) world: &'static World,
    model_hash: String,
    provenance: Value,
}

impl Plan {
    /// Checks a spec against the model that it will run on, and fills in every default.
    ///
    /// # Errors
    /// A model without the toy world's planted truth, a site that the model does not have, a setting out of range.
    pub fn resolve(spec: Spec, model: &Model) -> Result<Plan> {
        let world = world_of(&spec, model)?;
        let n_layers = model.lm.dims().n_layers;
        let sites = Site::parse_list(&spec.settings.sites(n_layers), n_layers, model.lm.points())?;
        if sites.contains(&Site::Logits) {
            return Err(out_of_range("sites", "logits", "sites of blocks: resid_pre.0,resid_post.all"));
        }
        if spec.max_batch_tokens == 0 {
            return Err(out_of_range("max_batch_tokens", 0, "at least 1; 2048 is the default"));
        }
        let mut plan = Plan {
            world,
            provenance: provenance(&spec, &sites, model),
            model_hash: identity(model),
            spec,
            sites,
            stages: Vec::new(),
        };
        plan.stages = plan.spec.settings.forecast(&plan, model)?;
        Ok(plan)
    }

    /// The resolved plan with every default filled in, and what it will do.
    pub fn describe(&self) -> Value {
        let sum = |f: &dyn Fn(&Stage) -> usize| self.stages.iter().map(f).sum::<usize>();
        let mut all = self.provenance.clone();
        all["stages"] = json!(self.stages);
        all["total"] = json!({
            "units": sum(&|s| s.units),
            "rows": sum(&|s| s.rows),
            "tokens": sum(&|s| s.tokens),
            "bytes": sum(&|s| s.bytes),
            "at_most": self.stages.iter().any(|s| s.at_most),
        });
        all
    }

    /// What findings record of the plan: the question, the settings, and what they were run on.
    pub(super) fn provenance(&self) -> &Value {
        &self.provenance
    }

    pub(super) fn belongs_to(&self, model: &Model) -> Result<()> {
        if identity(model) == self.model_hash {
            return Ok(());
        }
        let what = format!("the plan of `{}` was resolved for another model than {}", self.spec.stem, model.name);
        Err(Error::refused(what, "resolve the plan again for this model"))
    }

    /// The prompts that personas are asked, as several kinds of probe share them.
    pub(super) fn persona_prompts(
        &self,
        model: &Model,
        of: (Exposure, Option<usize>),
        n_questions: usize,
        threads: usize,
    ) -> Result<Vec<Prompt>> {
        let world = self.world;
        let people = personas(world, of.0, of.1)?;
        if people.len() < 8 {
            return Err(out_of_range("personas", people.len(), "at least 8, so that both sides of a split have some"));
        }
        persona_prompts(model, world, &people, &questions(world, self.spec.seed, n_questions)?, threads)
    }

    /// The stage that captures these items.
    pub(super) fn captures(&self, name: &str, model: &Model, items: Vec<Item>, at_most: bool) -> Stage {
        let width: usize = self.sites.iter().map(|s| model.lm.dims().width(*s)).sum();
        self.forecast(name, model, Task::Capture { sites: self.sites.clone() }, items, 4 * width, at_most)
    }

    /// The stage that asks how likely ranges of these items are.
    pub(super) fn likelihoods(&self, name: &str, model: &Model, items: Vec<Item>) -> Stage {
        self.forecast(name, model, Task::Likelihood, items, 4, false)
    }

    /// The stage that continues these items.
    pub(super) fn replies(
        &self,
        name: &str,
        model: &Model,
        items: Vec<Item>,
        drawing: crate::model::generate::Settings,
        at_most: bool,
    ) -> Stage {
        let bytes = 4 * drawing.max_new_tokens;
        self.forecast(name, model, Task::Generate(drawing), items, bytes, at_most)
    }

    /// The stages of conversations that the model leads: replies of full length, turn by turn.
    pub(super) fn led(
        &self,
        model: &Model,
        talks: &[Talk],
        turns: usize,
        drawing: &crate::model::generate::Settings,
    ) -> Result<Vec<Stage>> {
        let mut stages = Vec::new();
        let mut longest = Vec::with_capacity(talks.len());
        for talk in talks {
            longest.extend(talk.first(model, drawing.max_new_tokens)?);
        }
        for turn in 0..turns {
            stages.push(self.replies(&talk::stage(turn), model, longest.clone(), drawing.clone(), true));
            // A reply of full length, and a question of usual length after it.
            longest.iter_mut().for_each(|i| i.tokens.resize(i.tokens.len() + drawing.max_new_tokens + QUESTION, 0));
            longest.retain(|i| i.tokens.len() + drawing.max_new_tokens <= model.lm.dims().n_ctx);
        }
        Ok(stages)
    }

    /// The stage that reads led conversations back: `per_turn` rows of every turn, of conversations of full length.
    pub(super) fn read_back(
        &self,
        name: &str,
        model: &Model,
        talks: &[Talk],
        (turns, per_turn): (usize, usize),
        max_new_tokens: usize,
    ) -> Result<Stage> {
        let mut items = Vec::with_capacity(talks.len());
        for talk in talks {
            let first = talk.first(model, max_new_tokens)?.map_or(0, |i| i.tokens.len());
            let whole = (first + turns * (max_new_tokens + QUESTION)).min(model.lm.dims().n_ctx);
            items.push(Item { tokens: vec![0; whole], ranges: vec![0..1; turns * per_turn], ..Item::default() });
        }
        Ok(self.captures(name, model, items, true))
    }

    fn forecast(
        &self,
        name: &str,
        model: &Model,
        task: Task,
        items: Vec<Item>,
        per_row: usize,
        at_most: bool,
    ) -> Stage {
        let more = if let Task::Generate(s) = &task { s.max_new_tokens } else { 0 };
        let work = unit::Plan { model, task, edits: vec![], items, max_batch_tokens: self.spec.max_batch_tokens };
        Stage {
            name: name.into(),
            units: work.units().len(),
            rows: work.rows(),
            tokens: work.items.iter().map(|i| i.tokens.len() + more).sum(),
            bytes: work.rows() * per_row,
            at_most: at_most || more > 0,
        }
    }
}

/// Tokens of a question with its header, for a forecast.
pub(super) const QUESTION: usize = 24;

/// Checks that a number is what a setting may be.
pub(super) fn need(holds: bool, key: &str, found: impl std::fmt::Display, may: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(out_of_range(key, found, may)) }
}

pub(super) fn out_of_range(key: &str, found: impl std::fmt::Display, may: &str) -> Error {
    Error::refused(format!("`{key}` is {found}"), format!("`{key}` may be {may}"))
}

/// The world of a shipped model, where this kind of probe knows its way.
fn world_of(spec: &Spec, model: &Model) -> Result<&'static World> {
    let (stem, kind) = (&spec.stem, spec.settings.kind());
    let refused =
        |why: String| Err(Error::refused(format!("probe `{stem}` ({kind}) cannot run on {}", model.name), why));
    if spec.settings.worlds() == Worlds::Free {
        return Ok(World::toyworld());
    }
    let Source::Embedded(shipped) = &model.source else {
        let names = Shipped::names();
        return refused(format!("this kind compares with planted truth, which only shipped models have: {names}"));
    };
    match World::shipped(shipped.name) {
        Some(world) if spec.settings.worlds() == Worlds::Any || model.source == Source::toyworld() => Ok(world),
        _ => refused(format!("this kind needs the people of the embedded model: model = \"{TOYWORLD}\"")),
    }
}

/// What decides the model's part of a result: its weights, and the adapter that everything goes through.
fn identity(model: &Model) -> String {
    let adapter = model.default_adapter.and_then(|a| model.adapters.get(a));
    adapter.map_or(model.hash.clone(), |adapter| format!("{} through {}", model.hash, adapter.hash))
}

fn provenance(spec: &Spec, sites: &[Site], model: &Model) -> Value {
    let mut all = json!({
        "stem": spec.stem,
        "kind": spec.settings.kind(),
        "question": spec.question,
        "crate_version": env!("CARGO_PKG_VERSION"),
        "model": {
            "name": model.name,
            "hash": model.hash,
            "tokenizer_hash": model.text.tokenizer_hash(),
            "template_hash": model.text.template_hash(),
            "dims": model.lm.dims(),
        },
        "seed": spec.seed,
        "max_batch_tokens": spec.max_batch_tokens,
        "device": model.processor.to_string(),
        "dtype": model.dtype,
        "settings": spec.settings,
        "sites_read": sites,
    });
    if model.is_adapted() {
        all["model"]["adapters"] = model.describe_adapters();
    }
    all
}
