//! Knowing against feeling: what fine-tunes of one base know of a trait, claim, carry in their activations and show.

mod ask;
mod express;
mod protocol;
mod subjects;
mod written;

use super::findings::Parts;
use super::plan::{Plan, Stage};
use super::spec::Knowing as Settings;
use super::work::Work;
use crate::error::Result;
use crate::model::Model;

/// The stages and their sizes.
pub(super) fn forecast(_plan: &Plan, _s: &Settings, _model: &Model) -> Result<Vec<Stage>> {
    Ok(vec![])
}

pub(super) fn run(_plan: &Plan, _s: &Settings, _work: &mut Work<'_, '_>) -> Result<Parts> {
    Ok(Parts::default())
}
