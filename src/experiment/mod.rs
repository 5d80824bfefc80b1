//! Experiments: a probe file is parsed to a [`Spec`], checked and completed to a [`Plan`], run to [`Findings`], written.
//!
//! One stem runs through everything: `probes/X.toml` gives `notebooks-data/X/` and `figures/X*.svg`. All model work goes
//! through units of work, so a rerun with the same shelf resumes; everything behind it is a pure function of the
//! outcomes and of seeds that the plan states. Figures and captions are drawn from the tables and from nothing else.

mod attractors;
mod authorial_bias;
mod cells;
mod drift;
mod findings;
mod formats;
mod kinds;
mod knowing;
pub mod pages;
pub(crate) mod persona_map;
mod plan;
pub(crate) mod prompts;
mod report;
mod retention;
mod speakers;
mod spec;
mod states;
mod steering;
mod stored;
mod trait_layers;
mod tunes;
mod voice;
pub(crate) mod work;
mod write;

pub use findings::{Drawn, Findings, Parts};
pub use kinds::Settings;
pub use plan::{Plan, Stage};
pub use report::report;
pub use spec::{
    Attractors, AuthorialBias, Domain, Drift, Formats, Knowing, PersonaMap, Retention, Set, Speakers, Spec, Steering,
    TraitLayers, Voice,
};
pub use stored::{Analysis, Contrast, Mapped, analyse};
pub use work::Context;
pub use write::{Exports, write, write_to};

use crate::error::Result;
use crate::model::Model;

/// The probe files inside the binary, (stem, text), in the order in which they are best read.
pub const SHIPPED: &[(&str, &str)] = &[
    ("trait_layers", include_str!("../../probes/trait_layers.toml")),
    ("persona_map", include_str!("../../probes/persona_map.toml")),
    ("drift", include_str!("../../probes/drift.toml")),
    ("steering", include_str!("../../probes/steering.toml")),
];

/// Probe files that are no part of the demo, (stem, text).
pub const APART: &[(&str, &str)] = &[
    ("attractors", include_str!("../../probes/attractors.toml")),
    ("authorial_bias", include_str!("../../probes/authorial_bias.toml")),
    ("retention", include_str!("../../probes/retention.toml")),
    ("speakers", include_str!("../../probes/speakers.toml")),
    ("formats", include_str!("../../probes/formats.toml")),
    ("voice", include_str!("../../probes/voice.toml")),
    ("knowing", include_str!("../../probes/knowing.toml")),
];

/// Runs a plan to its findings. Finished units are kept on the context's shelf, so an interrupted run goes on where it
/// was; the findings do not depend on threads, on the shelf or on interruptions, the tally alone does.
///
/// # Errors
/// Failures of the model or of the shelf, and an interruption asked for by the context's progress.
pub fn run(plan: &Plan, model: &Model, ctx: &mut Context<'_>) -> Result<Findings> {
    plan.belongs_to(model)?;
    let mut work = work::Work::new(model, ctx, plan.spec.max_batch_tokens);
    let found = plan.spec.settings.run(plan, &mut work)?;
    findings::assemble(plan, found, work)
}

/// What is worth knowing of a plan before it is run: what it can find at all.
pub fn before(plan: &Plan) -> Vec<String> {
    match &plan.spec.settings {
        Settings::Knowing(s) => knowing::before(s),
        _ => vec![],
    }
}

#[cfg(test)]
mod tests;
