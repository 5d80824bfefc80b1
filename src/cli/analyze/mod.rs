//! `analyze`: the analyses of the shipped probes on a store, and on arrays and tables that another program wrote.

mod drift;
mod map;
mod output;
mod store;

use crate::error::{Error, Result};

#[derive(clap::Args)]
#[command(after_help = store::EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct AnalyzeArgs {
    #[command(subcommand)]
    of: Option<Of>,
    #[command(flatten)]
    store: Option<store::StoreArgs>,
}

/// What is analysed besides stores.
#[derive(clap::Subcommand)]
enum Of {
    /// The shape of persona space from role vectors: components, dimensions, the assistant axis, neighbours
    Map(map::MapArgs),
    /// Drift over turns from projections: rate, alarms, direction of steps, input against state
    Drift(drift::DriftArgs),
}

pub fn analyze(args: AnalyzeArgs) -> Result<bool> {
    match (args.of, args.store) {
        (Some(of), _) => match of {
            Of::Map(args) => map::map(args),
            Of::Drift(args) => drift::drift(args),
        },
        (None, Some(args)) => store::store(args),
        (None, None) => Err(Error::refused(
            "nothing to analyze is named",
            "name a store, or a subcommand: personascope analyze --help",
        )),
    }
}
