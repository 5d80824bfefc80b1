//! The kinds of probes. A kind is a line here, a file of settings in `spec/` and a module with `forecast` and `run`.

use super::findings::Parts;
use super::plan::{Plan, Stage};
use super::spec::{self, Spec};
use super::work::Work;
use crate::error::Result;
use crate::model::Model;
use serde::Serialize;

/// On which models a kind runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worlds {
    /// Those of every shipped model.
    Any,
    /// That of the default model alone, whose people and fine-tunes it needs.
    Default,
    /// None: any model, whatever it was trained on.
    Free,
}

macro_rules! kinds {
    ($($name:literal $kind:ident in $module:ident, $worlds:ident;)*) => {
        /// The settings of one kind of probe.
        // There is one of them in a run.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Settings {
            $($kind(spec::$kind),)*
        }

        /// The kinds of probes, as probe files name them.
        pub(super) const KINDS: &[&str] = &[$($name),*];

        impl Settings {
            /// The kind, as probe files name it.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Settings::$kind(_) => $name,)*
                }
            }

            pub(super) fn worlds(&self) -> Worlds {
                match self {
                    $(Settings::$kind(_) => Worlds::$worlds,)*
                }
            }

            /// The sites that are read in a model of so many layers, as on the command line.
            pub(super) fn sites(&self, n_layers: usize) -> String {
                match self {
                    $(Settings::$kind(s) => s.sites_read(n_layers),)*
                }
            }

            pub(super) fn forecast(&self, plan: &Plan, model: &Model) -> Result<Vec<Stage>> {
                match self {
                    $(Settings::$kind(s) => super::$module::forecast(plan, s, model),)*
                }
            }

            pub(super) fn run(&self, plan: &Plan, work: &mut Work<'_, '_>) -> Result<Parts> {
                match self {
                    $(Settings::$kind(s) => super::$module::run(plan, s, work),)*
                }
            }

            /// The probe file of a kind; `None` of an unknown one.
            pub(super) fn read(kind: &str, place: &str, text: &str) -> Option<Result<Spec>> {
                match kind {
                    $($name => Some(spec::read(place, text, Settings::$kind)),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    "trait_layers" TraitLayers in trait_layers, Default;
    "persona_map" PersonaMap in persona_map, Any;
    "drift" Drift in drift, Any;
    "steering" Steering in steering, Default;
    "formats" Formats in formats, Default;
    "voice" Voice in voice, Default;
    "attractors" Attractors in attractors, Any;
    "authorial_bias" AuthorialBias in authorial_bias, Any;
    "retention" Retention in retention, Any;
    "speakers" Speakers in speakers, Any;
    "knowing" Knowing in knowing, Free;
}
