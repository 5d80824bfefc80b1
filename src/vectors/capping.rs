//! `capping_config.pt` of assistant-axis: vectors by name, each at a layer, and experiments that cap projections along them.

use super::file::File;
use super::format::Format;
use super::pickle::{Plain, View, archive};
use super::rows::{layer, raw};
use super::{About, Vector, key, parse_key};
use crate::axes::Site;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The entry of [`About::more`] that carries the caps of a vector.
const CAPS: &str = "caps";

/// A cap: the projection along the unit vector is kept from rising above a ceiling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cap {
    /// The experiment to which it belongs.
    pub experiment: String,
    /// The key of its vector in the file.
    pub vector: String,
    /// In activation units.
    pub ceiling: f64,
}

pub(super) fn read(root: View<'_, '_>) -> Result<File> {
    let about = About { convention: Some(Format::CappingConfig.facts().convention.into()), ..About::default() };
    let (mut vectors, mut names): (Vec<Vector>, BTreeMap<&str, usize>) = (Vec::new(), BTreeMap::new());
    let all = root.get("vectors").ok_or_else(|| root.not("a dict with `vectors`"))?;
    for (name, entry) in all.entries().ok_or_else(|| all.not("a dict of vectors"))? {
        let name = name.text().ok_or_else(|| name.not("the name of a vector"))?;
        let at = entry.get("layer").and_then(|l| l.number()).filter(|l| l.fract() == 0.0);
        let at = at.ok_or_else(|| entry.not(&format!("a dict with a `layer` for `{name}`")))?;
        let tensor = entry.get("vector").ok_or_else(|| entry.not(&format!("a dict with a `vector` for `{name}`")))?;
        if !matches!(tensor.shape(), Some([n]) if *n > 0) {
            return Err(tensor.not("a tensor [d_model]"));
        }
        if names.insert(name, vectors.len()).is_some() {
            return Err(all.not(&format!("a dict with one `{name}`")));
        }
        let site = Site::post(layer(at as i64, &format!("the vector `{name}`"))?);
        let about = About { dtype: tensor.dtype().map(|d| d.name().into()), ..about.clone() };
        // A file of ours has keys for names, where these alone would not tell vectors apart.
        let own = parse_key(name).filter(|(s, _)| *s == site).map_or(name, |(_, own)| own);
        vectors.push(Vector::new(site, own, &tensor.values()?, about)?);
    }
    let mut warnings = vec![
        "caps are ceilings: h - max(h.u - cap, 0) u keeps the projection along u from rising above `cap`; which way a vector \
         points is not said in the file, so look at it before you trust a side"
            .to_string(),
    ];
    let mut caps: Vec<Vec<Value>> = vec![vec![]; vectors.len()];
    let mut uncapped = 0;
    let experiments = root.get("experiments").map(|e| e.items().ok_or_else(|| e.not("a list of experiments")));
    for experiment in experiments.transpose()?.unwrap_or_default() {
        let id = experiment.get("id").ok_or_else(|| experiment.not("an experiment with an `id`"))?;
        let id =
            id.text().map(String::from).or_else(|| id.whole().map(|n| n.to_string())).ok_or_else(|| id.not("an id"))?;
        let list = experiment.get("interventions").and_then(|i| i.items());
        for one in list.ok_or_else(|| experiment.not("an experiment with `interventions`"))? {
            // What caps nothing is skipped by its own program too.
            let Some(cap) = one.get("cap") else {
                uncapped += 1;
                continue;
            };
            let name =
                one.get("vector").and_then(|v| v.text()).ok_or_else(|| one.not("an intervention with a `vector`"))?;
            let ceiling = cap.number().filter(|c| c.is_finite()).ok_or_else(|| cap.not("a cap"))?;
            let place = names.get(name).copied();
            let place = place.ok_or_else(|| one.not(&format!("a vector of the file, and not `{name}`,")))?;
            caps[place].push(json!({ "experiment": id, "ceiling": ceiling }));
        }
    }
    if uncapped > 0 {
        warnings.push(format!("{uncapped} interventions have no cap: left out"));
    }
    for (v, caps) in vectors.iter_mut().zip(caps) {
        if !caps.is_empty() {
            v.about.more.insert(CAPS.into(), Value::Array(caps));
        }
    }
    Ok(File { warnings, ..File::new(Format::CappingConfig, vectors) })
}

/// The caps that a vector carries.
pub(super) fn caps_of(v: &Vector) -> Vec<Cap> {
    let list = v.about.more.get(CAPS).and_then(Value::as_array);
    let one = |c: &Value| {
        let (experiment, ceiling) = (c["experiment"].as_str()?.to_string(), c["ceiling"].as_f64()?);
        Some(Cap { experiment, vector: v.key(), ceiling })
    };
    list.into_iter().flatten().filter_map(one).collect()
}

/// Vectors under their names, or under their keys where names alone are empty or there twice; with the caps they carry.
pub(super) fn write(vectors: &[&Vector]) -> Result<Vec<u8>> {
    let distinct: BTreeSet<&str> = vectors.iter().map(|v| v.name.as_str()).collect();
    let plain = distinct.len() == vectors.len() && !distinct.contains("");
    let label = |v: &Vector| if plain { v.name.clone() } else { key(v.site, &v.name) };
    let mut entries = Vec::new();
    let mut experiments: Vec<(String, Vec<Plain>)> = Vec::new();
    for v in vectors {
        let at = v.site.layer().ok_or_else(|| Error::refused(format!("{} is in no block", v.site), "leave it out"))?;
        let tensor = Plain::Tensor(vec![v.unit.len()], raw(v));
        let entry = Plain::dict(vec![("layer", Plain::Int(at as i64)), ("vector", tensor)]);
        entries.push((Plain::Text(label(v)), entry));
        for cap in caps_of(v) {
            let one = Plain::dict(vec![("vector", Plain::Text(label(v))), ("cap", Plain::Float(cap.ceiling))]);
            match experiments.iter_mut().find(|(id, _)| *id == cap.experiment) {
                Some((_, list)) => list.push(one),
                None => experiments.push((cap.experiment, vec![one])),
            }
        }
    }
    let experiments = experiments.into_iter();
    let experiments =
        experiments.map(|(id, list)| Plain::dict(vec![("id", Plain::Text(id)), ("interventions", Plain::List(list))]));
    archive(&Plain::dict(vec![("vectors", Plain::Dict(entries)), ("experiments", Plain::List(experiments.collect()))]))
}
