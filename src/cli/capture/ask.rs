//! From what was asked to a recording: prompts in tokens, rows, groups, directions.

use super::super::adapters;
use super::super::chatting::warn;
use super::args::{CaptureArgs, Covariance, Keep, MomentArgs};
use crate::axes::{Pick, Site};
use crate::capture::{Grouping, Names};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::moments::{Along, Scatter, Shape};
use crate::record::{Known, Moments, Recording, RowKeys};
use crate::store::manifest::Width;
use crate::store::moments::check_columns;
use crate::text::prompts::{Body, Prompt};
use crate::unit::{self, Item, Plan, Share, Task};
use crate::vectors::{self, ReadOptions};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// The recording, and what is to be said of its prompts.
pub fn recording<'m>(
    args: &CaptureArgs,
    model: &'m Model,
    mut prompts: Vec<Prompt>,
) -> Result<(Recording<'m>, Vec<String>)> {
    let dims = *model.lm.dims();
    let sites = Site::parse_list(&args.sites, dims.n_layers, model.lm.points())?;
    refuse_contradictions(args)?;
    let through = adapters::through(model, &prompts)?;
    let (selection, names, threads) = (args.selection(), Names::default(), args.model.work.threads());
    let encoded = unit::parallel(&prompts, threads, |p| {
        let encoded = p.encode(&model.text)?;
        let kept = selection.rows(&p.id, &encoded, &names)?;
        let item = Item {
            id: p.id.clone(),
            prompt_len: encoded.last_prompt() + 1,
            ranges: kept.iter().map(|k| k.range()).collect(),
            tokens: encoded.tokens,
            ..Item::default()
        };
        Ok((item, kept, encoded.warnings))
    })?;
    let warnings = warn(encoded.iter().flat_map(|e| &e.2));
    // From here on they are tokens; their texts may be large.
    prompts.iter_mut().for_each(|p| p.body = Body::Tokens(vec![]));

    let mut further: Vec<String> = Vec::new();
    for (key, _) in prompts.iter().flat_map(|p| &p.columns) {
        if !further.contains(key) {
            further.push(key.clone());
        }
    }
    let (mut items, mut known) = (Vec::with_capacity(prompts.len()), Vec::with_capacity(prompts.len()));
    for ((prompt, (mut item, kept, _)), adapter) in prompts.into_iter().zip(encoded).zip(through) {
        item.adapter = adapter;
        let adapter = model.adapter_name(adapter).unwrap_or_default().to_string();
        let mut columns = prompt.columns;
        let mut cell = |key: &String| {
            let place = columns.iter().position(|(k, _)| k == key);
            place.map(|p| columns.swap_remove(p).1).unwrap_or_default()
        };
        let cells = further.iter().map(&mut cell).collect();
        items.push(item);
        known.push(Known { kept, adapter, cells });
    }
    let keys = RowKeys::new(known, &names, further, model.is_adapted());
    let widths: Vec<Width> = sites.iter().map(|s| Width { site: *s, width: dims.width(*s) }).collect();
    let moments = match args.keep {
        Keep::Rows => None,
        _ => {
            let cell = |row: usize, column: &str| keys.cell(&items, row, column);
            Some(moments_over(&args.moments, keys.rows(), &keys.columns(), &widths, cell)?)
        }
    };
    let max_batch_tokens = args.max_batch_tokens as usize;
    let plan = Plan { model, task: Task::Capture { sites }, edits: vec![], items, max_batch_tokens };
    let share = args.shard.unwrap_or(Share::ALL);
    let (rows, shard_bytes) = (args.stored(), args.shard_bytes);
    Ok((Recording { plan, keys, rows, moments, shard_bytes, share, threads }, warnings))
}

fn refuse_contradictions(args: &CaptureArgs) -> Result<()> {
    let positions = !args.selection().positions.0.is_empty();
    let refused = match args.pick {
        Pick::Positions if !positions => ("--pick positions without positions", "say which: --positions 0,-1,3..7"),
        pick if pick != Pick::Positions && positions => ("--positions with another pick", "say --pick positions"),
        _ if args.keep == Keep::Rows && args.moments.is_asked() => (
            "--by, --filter, --weight, --covariance and --project are about moments, and rows alone are kept",
            "say --keep moments, or --keep both",
        ),
        _ => return Ok(()),
    };
    Err(Error::refused(refused.0, refused.1))
}

/// The moments that are asked for, over rows that have the `known` columns; `cell` gives their values.
pub fn moments_over<'a>(
    args: &MomentArgs,
    rows: usize,
    known: &[String],
    sites: &[Width],
    cell: impl Fn(usize, &str) -> Cow<'a, str>,
) -> Result<Moments> {
    let grouping = Grouping::new(rows, &args.by, args.filter.as_ref(), args.weight.as_deref(), known, cell)?;
    let (shape, directions) = shape(args, sites)?;
    check_columns(&args.by, !directions.is_empty())?;
    Ok(Moments { shape: Arc::new(shape), grouping, directions, min_count: args.min_count })
}

/// Up to this width a covariance is kept whole by `auto`.
const FULL: usize = 1024;
/// Rows of the sketch that `auto` keeps beyond it.
const SKETCHED: usize = 64;

/// What is kept at these sites, and the names of the directions.
fn shape(args: &MomentArgs, sites: &[Width]) -> Result<(Shape, Vec<String>)> {
    let widest = sites.iter().map(|s| s.width).max().unwrap_or(0);
    let scatter = match args.covariance {
        Covariance::None => Scatter::None,
        Covariance::Full => Scatter::Full,
        Covariance::Auto if widest <= FULL => Scatter::Full,
        Covariance::Auto => Scatter::Sketch { rows: SKETCHED },
        Covariance::Sketch(rows) => Scatter::Sketch { rows },
    };
    if scatter != Scatter::None && sites.iter().any(|s| s.site == Site::Logits) {
        let what = "a covariance of logits would be a matrix of the vocabulary by itself";
        return Err(Error::refused(what, "leave logits out of --sites, or --covariance"));
    }
    let (mut names, mut along) = (Vec::new(), Vec::new());
    if let Some(path) = &args.project {
        for (name, direction) in directions(path, sites)? {
            names.push(name);
            along.push(direction);
        }
    }
    Ok((Shape::new(sites.iter().map(|s| s.width).collect(), scatter, along)?, names))
}

/// The directions of a vector file of another program.
fn foreign(path: &Path, sites: &[Width]) -> Result<Vec<(String, Along)>> {
    let file = vectors::read(path, None, ReadOptions::default())?;
    warn(file.warnings.iter());
    let mut all = Vec::new();
    for v in file.vectors {
        let Some(at) = sites.iter().position(|s| s.site == v.site) else { continue };
        if v.unit.len() != sites[at].width {
            let (n, width) = (v.unit.len(), sites[at].width);
            let what = format!("`{}` of {} has {n} values, and rows have {width}", v.key(), path.display());
            return Err(Error::refused(what, "it was made on another model: take one of this model"));
        }
        let name = if v.name.is_empty() { "direction".into() } else { v.name };
        all.push((at, name, Along::new(at, v.unit)));
    }
    if all.is_empty() {
        let what = format!("{} has no direction at a site that is captured", path.display());
        return Err(Error::refused(what, "add its sites to --sites"));
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(all.into_iter().map(|(_, name, along)| (name, along)).collect())
}

const NAMES: &str = "name tensors SITE, SITE/NAME or NAME/SITE, such as resid_post.2/warm";

/// The site that a tensor names at its front or its end, and the rest of the name.
fn placed(name: &str) -> Option<(Site, &str)> {
    let front = || name.split_once('/').and_then(|(site, rest)| Some((site.parse().ok()?, rest)));
    let back = || name.rsplit_once('/').and_then(|(rest, site)| Some((site.parse().ok()?, rest)));
    name.parse().ok().map(|site| (site, "")).or_else(front).or_else(back)
}

/// The directions of a file, each made a unit vector, by name and order of the sites.
fn directions(path: &Path, sites: &[Width]) -> Result<Vec<(String, Along)>> {
    let place = path.display().to_string();
    let bad = |reason: String, hint: &str| Error::format(&place, reason, hint);
    // Matrices of directions are a thing of safetensors alone.
    if path.extension().is_none_or(|e| e != "safetensors") {
        return foreign(path, sites);
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| bad(format!("not a whole safetensors file ({e})"), "make or fetch it again"))?;
    let mut all = Vec::new();
    for (name, view) in file.tensors() {
        let (site, own) = placed(&name).ok_or_else(|| bad(format!("the tensor `{name}` names no site"), NAMES))?;
        let Some(at) = sites.iter().position(|s| s.site == site) else {
            return Err(bad(format!("`{name}` is a direction at a site that is not captured"), "add it to --sites"));
        };
        let (width, shape) = (sites[at].width, view.shape());
        if view.dtype() != Dtype::F32 || shape.last() != Some(&width) || shape.len() > 2 {
            let what = format!("`{name}` is {:?} {shape:?}; needed is F32 [{width}] or [k, {width}]", view.dtype());
            return Err(bad(what, "convert it, or choose the directions of this model"));
        }
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        for (k, row) in values.chunks_exact(width).enumerate() {
            let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            if !norm.is_finite() || norm < 1e-12 {
                return Err(bad(format!("row {k} of `{name}` has length {norm}"), "leave it out: it is no direction"));
            }
            let unit = row.iter().map(|v| (f64::from(*v) / norm) as f32).collect();
            let title = if own.is_empty() { "direction" } else { own };
            let title = if shape.len() == 2 { format!("{title}.{k}") } else { title.into() };
            all.push((at, title, Along::new(at, unit)));
        }
    }
    if all.is_empty() {
        return Err(bad("no tensor in it".into(), NAMES));
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(all.into_iter().map(|(_, name, along)| (name, along)).collect())
}
