//! `analyze`: the analyses of the shipped probes on a store, and on arrays and tables that another program wrote.

mod attractors;
mod bias;
mod drift;
mod knowing;
mod map;
mod output;
mod retention;
mod store;

use crate::error::Result;

#[derive(clap::Args)]
#[command(after_help = store::EXAMPLES, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct AnalyzeArgs {
    #[command(subcommand)]
    of: Option<Of>,
    #[command(flatten)]
    store: store::StoreArgs,
}

/// What is analysed besides stores.
#[derive(clap::Subcommand)]
enum Of {
    /// How long personas are kept: survival of runs until their break
    Retention(retention::RetentionArgs),
    /// Two effects told apart: the persona, and the model that speaks through it
    Bias(bias::BiasArgs),
    /// The shape of persona space from role vectors: components, dimensions, the assistant axis, neighbours
    Map(map::MapArgs),
    /// Drift over turns from projections: rate, alarms, direction of steps, input against state
    Drift(drift::DriftArgs),
    /// What runs are drawn to: return dynamics, basins, a chain over them, depth, and the conditions of an attractor
    Attractors(attractors::AttractorsArgs),
    /// Knowing a trait against feeling it: indices, gaps, contrasts and classes of fine-tunes from measures
    Knowing(knowing::KnowingArgs),
}

pub fn analyze(args: AnalyzeArgs) -> Result<bool> {
    match (args.of, args.store) {
        (Some(Of::Retention(args)), _) => retention::retention(args),
        (Some(Of::Bias(args)), _) => bias::bias(args),
        (Some(Of::Map(args)), _) => map::map(args),
        (Some(Of::Drift(args)), _) => drift::drift(args),
        (Some(Of::Attractors(args)), _) => attractors::attractors(args),
        (Some(Of::Knowing(args)), _) => knowing::knowing(args),
        (None, args) => store::store(args),
    }
}
