//! `import`: activations made elsewhere, into a store.

use super::progress::Bar;
use super::typed::command_line;
use crate::axes::Pick;
use crate::error::Result;
use crate::store::import::{Axes, Convention, Import, import as bring};
use indicatif::HumanBytes;
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope import --acts acts.npz --keys keys.csv --layers resid_post --out store
  personascope import --acts hs.safetensors --keys keys.csv --layers hf --n-layers 32 --axes row,layer,d --out store
  personascope import --acts cache.npz --keys keys.csv --layers tl --pick last_prompt --out store
  personascope import --acts old/activations.safetensors --keys old/rows.csv --layers sites --out store
  personascope analyze store --contrast persona=evil,good --group question --out results

Arrays are [row, d] with a name for each layer (layer_3, hidden_states.3, blocks.3.hook_resid_post), or one with a dimension
of layers and --axes; f16, bf16, f32 or f64. Keys are a CSV file with a header and a line for each row, in their order.

--layers says what the numbers of layers mean; nothing is guessed:
  hf          hidden_states[k]: 0 is resid_pre.0, k is resid_post.(k-1); the last is after the final norm and left out
  resid_post  k is what block k leaves behind, counted from 0
  resid_pre   k is what block k reads
  tl          names of TransformerLens
  sites       names of personascope: resid_post.3, mlp_out.0, logits"#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// Arrays: a .npz or .safetensors file
    #[arg(long, value_name = "FILE")]
    acts: PathBuf,
    /// A CSV file with a line for each row
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// What the numbers or names of layers mean: hf, resid_post, resid_pre, tl, sites
    #[arg(long, value_name = "CONVENTION")]
    layers: Convention,
    /// Order of the dimensions of an array of three: layer,row,d or row,layer,d
    #[arg(long)]
    axes: Option<Axes>,
    /// Arrays that are taken, by name [default: all of two dimensions or more]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    arrays: Option<Vec<String>>,
    /// Blocks of the model; needed for hf
    #[arg(long, value_name = "N")]
    n_layers: Option<usize>,
    /// What a row is: all (a token each), last_prompt, mean_response, each_turn
    #[arg(long)]
    pick: Option<Pick>,
    /// Folder for the store; made here
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn import(args: ImportArgs) -> Result<bool> {
    let ask = Import {
        acts: args.acts,
        keys: args.keys,
        layers: args.layers,
        axes: args.axes,
        arrays: args.arrays,
        n_layers: args.n_layers,
        pick: args.pick,
        out: args.out,
        command_line: command_line(),
    };
    let bar = Bar::bytes("import", std::fs::metadata(&ask.acts).map_or(0, |m| m.len()));
    let done = bring(&ask, &mut |n| bar.forward(n));
    bar.end();
    let done = done?;
    done.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    let sites: Vec<String> = done.sites.iter().map(|w| w.site.to_string()).collect();
    let bytes = done.sites.iter().map(|w| w.width).sum::<usize>() * done.rows * done.dtype.size();
    let name = ask.out.display();
    match done.was_there {
        true => eprintln!("{name} already holds this import; nothing to do"),
        false => eprintln!("{} rows at {} ({}) in {name}", done.rows, sites.join(", "), HumanBytes(bytes as u64)),
    }
    Ok(true)
}
