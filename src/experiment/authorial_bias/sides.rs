//! One side of the comparison: a model that answers the prompts of everybody.

use super::Settings;
use crate::acts::Activations;
use crate::error::{Error, Result};
use crate::experiment::plan::Plan;
use crate::experiment::prompts::{Prompt, default_prompts, questions};
use crate::experiment::trait_layers::{last_prompts, reply_means};
use crate::experiment::work::{Work, drawing};
use crate::model::{Model, Source};
use crate::shipped::Shipped;
use crate::table::Table;
use crate::unit::parallel;
use crate::world::{TraitSet, World};
use ndarray::{Array1, Array2};

/// What a model gave.
pub(super) struct Side {
    /// Role and question of each reply.
    pub rows: Vec<(String, String)>,
    /// Means over the replies, one per site.
    pub replies: Vec<Activations>,
    /// The last tokens of all prompts, one per site.
    pub last: Vec<Activations>,
    /// The traits that the speaker has, and those that the reply shows.
    pub shown: Vec<(TraitSet, TraitSet)>,
}

impl Side {
    /// The mean of each role's rows at a site, `[role, d_model]`.
    pub fn means(&self, site: usize, roles: &[&String]) -> Array2<f64> {
        let acts = &self.replies[site];
        let mut means = Array2::zeros((roles.len(), acts.rows.ncols()));
        for (i, role) in roles.iter().enumerate() {
            let of: Vec<usize> = (0..self.rows.len()).filter(|r| self.rows[*r].0 == **role).collect();
            if !of.is_empty() {
                means.row_mut(i).assign(&acts.mean(&of));
            }
        }
        means
    }

    /// From the mean of the roles to the default assistant at the last prompt token of a site, not scaled, and the mean of
    /// the roles.
    pub fn axis(&self, site: usize, assistant: &str) -> (Array1<f64>, Array1<f64>) {
        let acts = &self.last[site];
        let of = |is: &dyn Fn(&str) -> bool| {
            let rows: Vec<usize> = (0..acts.keys.len()).filter(|r| is(&acts.keys[*r].group)).collect();
            acts.mean(&rows)
        };
        let roles = of(&|group| group != assistant);
        (of(&|group| group == assistant) - &roles, roles)
    }
}

/// The planted truth of the other model.
pub(super) fn world_of(name: &str) -> Result<&'static World> {
    World::shipped(name).ok_or_else(|| {
        let hint = format!("`before` may be {}", Shipped::names());
        Error::refused(format!("no planted truth about a model `{name}`"), hint)
    })
}

/// The other model, opened as this one is.
pub(super) fn open(s: &Settings, model: &Model) -> Result<Model> {
    world_of(&s.before)?;
    let before = Model::open(&Source::parse(&s.before), model.opening())?.0;
    let same = before.text.tokenizer_hash() == model.text.tokenizer_hash()
        && before.text.template_hash() == model.text.template_hash()
        && before.lm.dims().d_model == model.lm.dims().d_model
        && before.lm.dims().n_layers == model.lm.dims().n_layers;
    if !same {
        let what = format!("{} and {} have other tokens, templates or shapes", before.name, model.name);
        return Err(Error::refused(what, "`before` is the model that this one was trained from"));
    }
    Ok(before)
}

/// Everybody under "You are X.", and the default assistant without a system prompt, asked the same questions.
pub(super) fn prompts(plan: &Plan, s: &Settings, model: &Model, threads: usize) -> Result<Vec<Prompt>> {
    let mut all = plan.persona_prompts(model, (s.group, s.personas), s.questions, threads)?;
    let asked = questions(plan.world, plan.spec.seed, s.questions)?;
    all.extend(default_prompts(model, &plan.world.assistant().name, &asked, 1)?);
    Ok(all)
}

pub(super) fn side(plan: &Plan, s: &Settings, work: &mut Work<'_, '_>, prompts: &[Prompt], seed: u64) -> Result<Side> {
    let drawing = drawing(work.model, s.temperature, s.max_new_tokens)?;
    let (last, _) = last_prompts(plan, work, prompts)?;
    let replies = work.replies("replies", prompts, seed, &drawing)?;
    let answered = work.answered(prompts.to_vec(), replies);
    let (means, _) = reply_means(plan, work, &answered)?;
    let texts = parallel(&answered, work.threads(), |(_, r)| work.model.text.decode(r))?;
    let assistant = plan.world.assistant();
    let traits = |name: &str| {
        if name == assistant.name { Ok(assistant.traits) } else { plan.world.persona(name).map(|p| p.traits) }
    };
    let mut shown = Vec::with_capacity(texts.len());
    for ((prompt, _), text) in answered.iter().zip(&texts) {
        shown.push((traits(&prompt.key.group)?, plan.world.markers(text)));
    }
    // "Domar/3" and "the Assistant/3/0": the number of the question stands after the first slash.
    let question = |id: &str| id.split('/').nth(1).unwrap_or_default().to_string();
    let rows = answered.iter().map(|(p, _)| (p.key.group.clone(), question(&p.key.id))).collect();
    Ok(Side { rows, replies: means, last, shown })
}

/// How often each trait shows in replies of those who lack it, beside what each world plants.
pub(super) fn expression(after: &World, before: &World, sides: [(&str, &Side); 2]) -> Result<Table> {
    let columns = ["model", "trait", "rate_without", "replies_without", "planted_without", "rate_with", "replies_with"];
    let mut table = Table::new("expression", &columns);
    for ((model, side), world) in sides.into_iter().zip([before, after]) {
        let all = after.expression(side.shown.iter().copied());
        for rates in &all.per_trait {
            let name = &after.trait_at(rates.id).name;
            let id = world.trait_named(name)?;
            // What is planted in the reply of somebody without the trait.
            let nobody = crate::world::Persona { traits: TraitSet::default(), ..world.assistant().clone() };
            table.push(vec![
                model.into(),
                name.as_str().into(),
                rates.off.value().into(),
                rates.off.of.into(),
                world.p_show(&nobody, id).into(),
                rates.on.value().into(),
                rates.on.of.into(),
            ]);
        }
    }
    Ok(table)
}
