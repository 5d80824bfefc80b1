//! `convert`: vectors from the format of one program to that of another.

use crate::axes::{Point, Site};
use crate::error::{Error, Result};
use crate::store::write_atomic;
use crate::vectors::{File, Format, Producer, ReadOptions, Vector, WriteOptions, read, write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  personascope convert directions.safetensors --from personascope --to llamacpp-gguf --out evil.gguf
  personascope convert evil_response_avg_diff.pt --from persona-vectors --to personascope --out evil.safetensors
  personascope convert cv.gguf --from llamacpp-gguf --producer cvector-generator --to npz --out cv.npz
  personascope convert vectors.npz --to capping-config --out capping_config.pt
  personascope convert directions.safetensors --to persona-vectors --name evil --n-layers 28 --out evil.pt

Formats, and what a row is there (blocks count from 0; resid_post.l is what block l leaves behind):
  personascope      our own safetensors: unit vectors with length, sign in words and provenance
  llamacpp-gguf     control vectors of llama.cpp; direction.l is resid_post.l as repeng numbers, resid_post.(l-1) as
                    cvector-generator does. Written as repeng does; there is no layer 0
  persona-vectors   tensor [n_layers + 1, d]: row 0 is resid_pre.0, row k resid_post.(k-1), the last row is after the final norm
  assistant-axis    tensor [n_layers, d], {"axis"} or {"vector", "type", "role"}: row i is resid_post.i
  capping-config    capping_config.pt: vectors by name at a layer, caps as ceilings
  steering-vectors  a pickled SteeringVector, where the library is installed: for torch.load if PATH ends in .pt, else for
                    pickle.load
  svec              JSON of activation-steering: directions.l is resid_post.l
  npz, safetensors  an array per site, named by it (resid_post.14, resid_post.14/evil), as long as it was

Pickles are parsed and never run; an object that is no tensor is refused by name. What the format cannot hold is left out
with a warning. Without --from the file is recognised by what is in it, where that tells."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ConvertArgs {
    /// The file to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Its format [default: what its content says]
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// The format to write
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// The file to write
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Who wrote a control vector for llama.cpp: repeng or cvector-generator [default: what the file says]
    #[arg(long)]
    producer: Option<Producer>,
    /// Blocks of the model, where a format needs them and the file does not say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..65536))]
    n_layers: Option<u64>,
    /// Take the vectors of this name alone
    #[arg(long)]
    name: Option<String>,
    /// Take the vectors at these sites alone: resid_post.14, resid_post.10..20, resid_post.all
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// The model type that control vectors name, such as llama or qwen2 [default: what the file says]
    #[arg(long, value_name = "TYPE")]
    model_type: Option<String>,
    /// Keep the last row of persona_vectors, which is after the final norm, as `post_norm` at the last block
    #[arg(long)]
    keep_post_norm: bool,
}

pub fn convert(args: ConvertArgs) -> Result<bool> {
    apart(&args.input, &args.out)?;
    let n_layers = args.n_layers.map(|n| n as usize);
    let options = ReadOptions { producer: args.producer, n_layers, post_norm: args.keep_post_norm };
    let file = read(&args.input, args.from, options)?;
    file.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    if let Some(producer) = args.producer.filter(|_| file.format != Format::LlamacppGguf) {
        unneeded(producer, args.to)?;
    }
    let vectors = chosen(&file, args.name.as_deref(), args.sites.as_deref())?;
    let torch = args.out.extension().is_some_and(|e| e == "pt" || e == "pth");
    let options = WriteOptions { n_layers: file.n_layers, model_type: args.model_type, torch };
    let (bytes, warnings) = write(&vectors, args.to, &options)?;
    warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    let facts = args.to.facts();
    if args.out.extension().is_none_or(|e| e != facts.extension) && !(torch && args.to == Format::SteeringVectors) {
        eprintln!("note: names of such files end in .{}", facts.extension);
    }
    write_atomic(&args.out, &bytes, true)?;
    eprintln!("{} ({}, {} bytes)", args.out.display(), facts.words, bytes.len());
    Ok(true)
}

/// The vectors that were asked for.
fn chosen(file: &File, name: Option<&str>, sites: Option<&str>) -> Result<Vec<Vector>> {
    let layers = file.vectors.iter().filter_map(|v| v.site.layer()).max().map_or(1, |l| l + 1);
    let n_layers = file.n_layers.unwrap_or(layers);
    let mut wanted: Vec<Site> = Vec::new();
    for item in sites.iter().flat_map(|s| s.split(',')) {
        let found = Site::parse_list(item.trim(), n_layers, &Point::ALL)?;
        // A site that was asked for and is not there must not go unnoticed.
        if !found.iter().any(|s| file.vectors.iter().any(|v| v.site == *s)) {
            file.at(found.first().copied(), name)?;
        }
        wanted.extend(found);
    }
    let of_site = |v: &&Vector| sites.is_none() || wanted.contains(&v.site);
    let picked: Vec<Vector> =
        file.vectors.iter().filter(of_site).filter(|v| name.is_none_or(|n| v.name == n)).cloned().collect();
    if picked.is_empty() {
        file.at(None, name)?;
        return Err(Error::refused(
            "no vector has that name at those sites",
            "look at them with `personascope inspect`",
        ));
    }
    Ok(picked)
}

/// `--producer` is of the file that is read. What is written is numbered as repeng does, and saying so does no harm.
fn unneeded(producer: Producer, to: Format) -> Result<()> {
    let (what, hint) = match (to, producer) {
        (Format::LlamacppGguf, Producer::Repeng) => return Ok(()),
        (Format::LlamacppGguf, Producer::CvectorGenerator) => (
            "control vectors are written with repeng's numbering, at which llama.cpp adds them where they were made",
            "leave --producer out: it says who wrote the file that is read",
        ),
        _ => ("--producer, and no control vector of llama.cpp", "leave it out: other formats number layers in one way"),
    };
    Err(Error::refused(what, hint))
}

/// Refuses to write over the file that is read.
fn apart(input: &Path, out: &Path) -> Result<()> {
    let same = input.canonicalize().ok().zip(out.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    if same {
        return Err(Error::refused("--out is the file that is read", "give the new file a name of its own"));
    }
    if out.is_dir() {
        return Err(Error::refused(format!("{} is a folder", out.display()), "give the name of a file"));
    }
    Ok(())
}
