//! Which array becomes which site, and the copying of its values to their place.

use super::Import;
use super::convention::{Axes, numbered};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::store::formats::sources::{Number, Sources};
use crate::store::manifest::{Stored, Width};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// An array that is taken.
pub(super) struct Taken {
    /// Its place among the arrays of the file.
    pub array: usize,
    pub number: Number,
    pub rows: usize,
    pub width: usize,
    /// Layers in the array, with their order; one for an array `[row, d]`.
    pub in_array: usize,
    pub axes: Option<Axes>,
    /// Layers that have a site.
    pub layers: Vec<(usize, Site)>,
}

impl Taken {
    pub fn sites(&self) -> impl Iterator<Item = Width> + '_ {
        self.layers.iter().map(|(_, site)| Width { site: *site, width: self.width })
    }

    /// Where a layer comes from.
    pub fn words(&self, k: usize, sources: &Sources) -> String {
        let name = &sources.arrays[self.array].name;
        match self.axes {
            None => name.clone(),
            Some(Axes::LayerRow) => format!("{name}[{k}]"),
            Some(Axes::RowLayer) => format!("{name}[:, {k}]"),
        }
    }
}

/// The arrays that are taken, with their sites.
pub(super) fn taken(ask: &Import, sources: &Sources, warnings: &mut Vec<String>) -> Result<Vec<Taken>> {
    let chosen = chosen(ask, sources, warnings)?;
    let stacked = chosen.iter().find(|i| sources.arrays[**i].shape.len() == 3);
    let all = match stacked {
        Some(_) if chosen.len() > 1 => {
            let names: Vec<&str> = chosen.iter().map(|i| sources.arrays[*i].name.as_str()).collect();
            let what = format!("{} with a dimension of layers beside others: {}", ask.acts.display(), names.join(", "));
            return Err(Error::refused(what, "name the one with the layers: --arrays NAME"));
        }
        Some(i) => vec![stack(ask, sources, *i, warnings)?],
        None => named(ask, sources, &chosen, warnings)?,
    };
    let mut sites: Vec<(Site, String)> =
        all.iter().flat_map(|t| t.layers.iter().map(move |(k, s)| (*s, t.words(*k, sources)))).collect();
    sites.sort();
    if let Some(pair) = sites.windows(2).find(|w| w[0].0 == w[1].0) {
        let what = format!("`{}` and `{}` are both {}", pair[0].1, pair[1].1, pair[0].0);
        return Err(Error::refused(what, "take one of them: --arrays NAME,NAME"));
    }
    let Some(first) = all.first() else {
        let what = format!("{} holds no array with a layer that has a site", ask.acts.display());
        return Err(Error::refused(what, "arrays are [row, d] each, or one with a dimension of layers and --axes"));
    };
    if let Some(other) = all.iter().find(|t| t.rows != first.rows) {
        let (a, b) = (&sources.arrays[first.array], &sources.arrays[other.array]);
        let what = format!("`{}` has {} rows and `{}` has {}", a.name, first.rows, b.name, other.rows);
        return Err(Error::format(ask.acts.display().to_string(), what, "all arrays have the same rows in one order"));
    }
    if first.rows == 0 || all.iter().any(|t| t.width == 0) {
        let what = "an array without values";
        return Err(Error::format(ask.acts.display().to_string(), what, "arrays are [row, d], with one row at least"));
    }
    Ok(all)
}

/// Those of `--arrays`, or all that have two dimensions or more.
fn chosen(ask: &Import, sources: &Sources, warnings: &mut Vec<String>) -> Result<Vec<usize>> {
    let names = || sources.arrays.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ");
    let chosen: Vec<usize> = match &ask.arrays {
        Some(list) => {
            let find = |name: &String| {
                sources.arrays.iter().position(|a| a.name == *name).ok_or_else(|| {
                    let what = format!("no array `{name}` in {}", ask.acts.display());
                    Error::refused(what, format!("arrays are {}", names()))
                })
            };
            list.iter().map(find).collect::<Result<_>>()?
        }
        None => {
            // Objects may hide activations of any shape: they are named, not passed over.
            let objects = |i: &usize| matches!(&sources.arrays[*i].number, Err((what, _)) if what.contains("pickled"));
            let (taken, left): (Vec<usize>, Vec<usize>) =
                (0..sources.arrays.len()).partition(|i| sources.arrays[*i].shape.len() > 1 || objects(i));
            if !left.is_empty() {
                let left: Vec<&str> = left.iter().map(|i| sources.arrays[*i].name.as_str()).collect();
                warnings.push(format!("left out, for they have one dimension: {}", left.join(", ")));
            }
            taken
        }
    };
    for i in &chosen {
        let array = &sources.arrays[*i];
        if let Err((what, hint)) = &array.number {
            return Err(Error::format(sources.place(*i), what, *hint));
        }
        if !(2..=3).contains(&array.shape.len()) {
            let what = format!("has {} dimensions: {:?}", array.shape.len(), array.shape);
            return Err(Error::format(sources.place(*i), what, "arrays are [row, d], or three with --axes"));
        }
    }
    Ok(chosen)
}

fn known(sources: &Sources, i: usize) -> Result<Number> {
    sources.arrays[i].number.clone().map_err(|(what, hint)| Error::format(sources.place(i), what, hint))
}

/// One array with a dimension of layers.
fn stack(ask: &Import, sources: &Sources, i: usize, warnings: &mut Vec<String>) -> Result<Taken> {
    let array = &sources.arrays[i];
    let Some(axes) = ask.axes else {
        let what = format!("has three dimensions, {:?}", array.shape);
        return Err(Error::format(sources.place(i), what, "say which: --axes layer,row,d or --axes row,layer,d"));
    };
    let (in_array, rows) = match axes {
        Axes::LayerRow => (array.shape[0], array.shape[1]),
        Axes::RowLayer => (array.shape[1], array.shape[0]),
    };
    let mut layers = Vec::new();
    for k in 0..in_array {
        // The last first: it is the one that tells a wrong number of layers, or none.
        let k = if k == 0 { in_array - 1 } else { k - 1 };
        match ask.layers.site_of_index(k, ask.n_layers)? {
            Some(site) => layers.push((k, site)),
            None => warnings.push(final_norm(&format!("`{}`, layer {k}", array.name))),
        }
    }
    layers.sort();
    Ok(Taken { array: i, number: known(sources, i)?, rows, width: array.shape[2], in_array, axes: Some(axes), layers })
}

/// Arrays with a name for each layer.
fn named(ask: &Import, sources: &Sources, chosen: &[usize], warnings: &mut Vec<String>) -> Result<Vec<Taken>> {
    if ask.axes.is_some() {
        let what = format!("--axes, and no array of {} has three dimensions", ask.acts.display());
        return Err(Error::refused(what, "leave --axes out for arrays of [row, d]"));
    }
    use super::Convention::{Hf, ResidPost, ResidPre};
    if matches!(ask.layers, Hf | ResidPost | ResidPre) {
        let stem = |i: &usize| numbered(&sources.arrays[*i].name).map(|(stem, _)| stem);
        if let Some(pair) = chosen.windows(2).find(|w| stem(&w[0]).zip(stem(&w[1])).is_some_and(|(a, b)| a != b)) {
            let (a, b) = (&sources.arrays[pair[0]].name, &sources.arrays[pair[1]].name);
            let what = format!("`{a}` and `{b}` are not layers of one thing");
            return Err(Error::refused(what, "take those that are: --arrays NAME,NAME"));
        }
    }
    let mut all = Vec::new();
    for &i in chosen {
        let array = &sources.arrays[i];
        match ask.layers.site_of_name(&array.name, ask.n_layers)? {
            None => warnings.push(final_norm(&format!("`{}`", array.name))),
            Some(site) => all.push(Taken {
                array: i,
                number: known(sources, i)?,
                rows: array.shape[0],
                width: array.shape[1],
                in_array: 1,
                axes: None,
                layers: vec![(0, site)],
            }),
        }
    }
    Ok(all)
}

fn final_norm(which: &str) -> String {
    format!("{which} is after the final norm, which is no site here, and is left out")
}

/// Bytes that are read at once.
const CHUNK: usize = 4 << 20;

/// Copies an array to the places of its sites.
pub(super) fn copy(
    sources: &mut Sources,
    taken: &Taken,
    dtype: Stored,
    starts: &[(Site, u64)],
    out: (&mut File, &Path),
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let (place, path) = (sources.place(taken.array), sources.path.clone());
    let size = taken.number.size();
    let start = |site: Site| starts.iter().find(|(s, _)| *s == site).map_or(0, |(_, at)| *at);
    let mut target = Target { out, dtype, width: taken.width, bytes: Vec::new() };
    let mut from = sources.reader(taken.array)?;
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    let mut next = |count: usize, values: &mut Vec<f64>| -> Result<()> {
        bytes.resize(count * size, 0);
        from.read_exact(&mut bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Error::format(&place, e.to_string(), "make or fetch the file again")
            }
            _ => Error::io("read", &path, e),
        })?;
        values.clear();
        taken.number.decode(&bytes, values);
        progress((count * size) as u64);
        Ok(())
    };
    let (rows, width, in_array) = (taken.rows, taken.width, taken.in_array);
    let site_of = |k: usize| taken.layers.iter().find(|(l, _)| *l == k).map(|(_, s)| *s);
    let words = |k: usize| if taken.axes.is_some() { format!("{place}, layer {k}") } else { place.clone() };
    if taken.axes == Some(Axes::RowLayer) {
        let at_once = (CHUNK / (in_array * width * size)).max(1);
        let mut one = Vec::new();
        for row in (0..rows).step_by(at_once) {
            let n = at_once.min(rows - row);
            next(n * in_array * width, &mut values)?;
            for k in 0..in_array {
                let Some(site) = site_of(k) else { continue };
                one.clear();
                let of_layer = |i: usize| &values[(i * in_array + k) * width..(i * in_array + k + 1) * width];
                (0..n).for_each(|i| one.extend_from_slice(of_layer(i)));
                target.put(&one, start(site), row, &|| words(k))?;
            }
        }
        return Ok(());
    }
    let at_once = (CHUNK / (width * size)).max(1);
    for k in 0..in_array {
        for row in (0..rows).step_by(at_once) {
            next(at_once.min(rows - row) * width, &mut values)?;
            if let Some(site) = site_of(k) {
                target.put(&values, start(site), row, &|| words(k))?;
            }
        }
    }
    Ok(())
}

/// Where values go.
struct Target<'a> {
    out: (&'a mut File, &'a Path),
    dtype: Stored,
    width: usize,
    bytes: Vec<u8>,
}

impl Target<'_> {
    fn put(&mut self, values: &[f64], start: u64, row: usize, place: &dyn Fn() -> String) -> Result<()> {
        let narrow: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        if let Some(i) = narrow.iter().position(|v| !v.is_finite()) {
            let what = if values[i].is_finite() { "does not fit float32" } else { "is not finite" };
            let place = format!("{}, row {}, column {}", place(), row + i / self.width, i % self.width);
            return Err(Error::format(place, format!("{} {what}", values[i]), "leave such rows out, keys too"));
        }
        self.bytes.clear();
        self.dtype.encode_all(&narrow, &mut self.bytes);
        let at = start + (row * self.width * self.dtype.size()) as u64;
        let (file, path) = &mut self.out;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(&self.bytes))
            .map_err(|e| Error::io("write", path, e))
    }
}
