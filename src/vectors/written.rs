//! Vectors into a file of any format, and what is lost on the way, in words.

use super::format::{Format, Sites};
use super::{
    Vector, arrays, assistant_axis, capping, encode, llamacpp, persona_vectors, place, steering_vectors, svec,
};
use crate::axes::{Point, Site};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is known beside the vectors.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Blocks of the model; otherwise what the vectors say.
    pub n_layers: Option<usize>,
    /// The `model_type` of its config.json, where a format names it; otherwise what the vectors say.
    pub model_type: Option<String>,
    /// Write a SteeringVector as `torch.save` does, for `torch.load`, and not as `pickle.dump`, for `pickle.load`.
    pub torch: bool,
}

/// The bytes of a file of a format, and warnings that name what it cannot hold.
///
/// # Errors
/// Two vectors at a site where the format holds one; vectors of different widths; none that the format can hold.
pub fn write(vectors: &[Vector], format: Format, options: &WriteOptions) -> Result<(Vec<u8>, Vec<String>)> {
    let facts = format.facts();
    let n_layers = options.n_layers.or_else(|| vectors.iter().find_map(|v| v.about.n_layers));
    let mut warnings = Vec::new();
    let mut point = Point::ResidPost;
    let (mut kept, mut lost): (Vec<&Vector>, Vec<&Vector>) = vectors.iter().partition(|v| {
        let back = format == Format::PersonaVectors && persona_vectors::is_post_norm(v, n_layers);
        back || facts.sites.has(v.site, n_layers)
    });
    if facts.sites == Sites::OneOutput {
        point = most_common(&kept).unwrap_or(point);
        let (own, other): (Vec<&Vector>, Vec<&Vector>) =
            kept.into_iter().partition(|v| matches!(v.site, Site::Block { point: p, .. } if p == point));
        kept = own;
        lost.extend(other);
    }
    warnings.extend(left_out(&lost, format, n_layers));
    let Some(first) = kept.first() else {
        let why = if warnings.is_empty() { "there is none".into() } else { warnings.join("; ") };
        let what = format!("no vector that {} can hold: {why}", format.name());
        return Err(Error::refused(
            what,
            "choose other vectors or another format; npz and safetensors hold every site",
        ));
    };
    if let Some(v) = kept.iter().find(|v| v.unit.len() != first.unit.len()) {
        let what = format!("`{}` has {} values, `{}` {}", v.key(), v.unit.len(), first.key(), first.unit.len());
        return Err(Error::refused(what, "all vectors of a file belong to one model"));
    }
    if !facts.names {
        one_per_site(&kept, format)?;
    }
    let top = kept.iter().filter_map(|v| v.site.layer()).max().unwrap_or(0);
    let known = |need: usize, warnings: &mut Vec<String>| {
        n_layers.unwrap_or_else(|| {
            warnings.push(format!(
                "how many blocks the model has is not known: the tensor is written for {need}, enough to hold them; say \
                 --n-layers N for its own number"
            ));
            need
        })
    };
    let model_type =
        options.model_type.clone().or_else(|| said(&kept, "model_type")).unwrap_or_else(|| "unknown".into());
    let bytes = match format {
        Format::Personascope => {
            let mut all = vectors.to_vec();
            all.iter_mut().for_each(|v| v.about.n_layers = v.about.n_layers.or(n_layers));
            encode(&all)?
        }
        Format::LlamacppGguf => llamacpp::write(&kept, &model_type, n_layers),
        // The row behind the last block is none for a vector before the norm.
        Format::PersonaVectors => persona_vectors::write(&kept, known(top + 2, &mut warnings))?,
        Format::AssistantAxis => assistant_axis::write(&kept, known(top + 1, &mut warnings))?,
        Format::CappingConfig => capping::write(&kept)?,
        Format::SteeringVectors => steering_vectors::write(&kept, point, options.torch)?,
        Format::Svec => svec::write(&kept, &model_type),
        Format::Npz => arrays::npz(&kept)?,
        Format::Safetensors => arrays::safetensors(&kept)?,
    };
    warnings.extend(lost_words(&kept, format));
    Ok((bytes, warnings))
}

/// What to say of vectors at sites that a format does not have, a line for each site.
fn left_out(lost: &[&Vector], format: Format, n_layers: Option<usize>) -> Vec<String> {
    let mut by_site: BTreeMap<Site, Vec<&str>> = BTreeMap::new();
    lost.iter().for_each(|v| by_site.entry(v.site).or_default().push(&v.name));
    let line = |(site, names): (&Site, &Vec<&str>)| {
        let which = match names.as_slice() {
            [""] => String::new(),
            [name] => format!(", `{name}`"),
            names => format!(", {} vectors", names.len()),
        };
        let (words, holds) = (place(*site, n_layers), format.facts().sites.in_words());
        format!("{site} ({words}{which}) is left out: {} holds {holds}", format.name())
    };
    by_site.iter().map(line).collect()
}

fn one_per_site(kept: &[&Vector], format: Format) -> Result<()> {
    let mut seen: BTreeMap<Site, &Vector> = BTreeMap::new();
    for v in kept {
        if let Some(other) = seen.insert(v.site, v) {
            let what = format!("`{}` and `{}`: {} holds one vector at a site", other.key(), v.key(), format.name());
            return Err(Error::refused(what, "choose one name with --name, and write a file for each"));
        }
    }
    Ok(())
}

/// The point at which most vectors are; in forward order where two have as many.
fn most_common(vectors: &[&Vector]) -> Option<Point> {
    let count = |p: Point| vectors.iter().filter(|v| matches!(v.site, Site::Block { point, .. } if point == p)).count();
    let best = Point::ALL.into_iter().map(count).max()?;
    Point::ALL.into_iter().find(|p| count(*p) == best && best > 0)
}

fn said(vectors: &[&Vector], key: &str) -> Option<String> {
    vectors.iter().find_map(|v| v.about.more.get(key).and_then(Value::as_str).map(String::from))
}

/// What a format does not keep of what the vectors say.
fn lost_words(kept: &[&Vector], format: Format) -> Vec<String> {
    let facts = format.facts();
    let mut out = Vec::new();
    let mut names: Vec<&str> = kept.iter().map(|v| v.name.as_str()).filter(|n| !n.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    if !facts.names && !facts.about && !names.is_empty() {
        out.push(format!("{} keeps no names: `{}` is not in the file", format.name(), names.join("`, `")));
    }
    let mut signs: Vec<&str> = kept.iter().map(|v| v.about.positive.as_str()).filter(|p| !p.is_empty()).collect();
    signs.sort_unstable();
    signs.dedup();
    if !facts.about && !signs.is_empty() {
        let what = if let [one] = signs.as_slice() { format!(" (`{one}`)") } else { String::new() };
        out.push(format!("{} keeps no words: what larger projections mean{what} is not in the file", format.name()));
    }
    let caps: usize = kept.iter().map(|v| capping::caps_of(v).len()).sum();
    if caps > 0 && !facts.about && format != Format::CappingConfig {
        out.push(format!("{} keeps no caps: {caps} are not in the file", format.name()));
    }
    out
}
