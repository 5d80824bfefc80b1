//! What fine-tunes wrote into the weights: energy of their updates along directions, and angles between updates.

use super::labels::Labels;
use crate::analysis::stats::{benjamini_hochberg, permutation_p};
use crate::analysis::subspace::{Energy, RandomAngles, Space, Update, angles, random_angles, random_units, unit};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::adapter::Written;
use crate::table::{Cell, Table};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Random pairs of subspaces.
const SUBSPACES: usize = 200;
/// The layer and map of rows over all of them.
pub(in crate::experiment) const ALL: &str = "*";

/// The maps of a layer: where an update stands.
type Place = (usize, String);

/// The updates of one adapter by their places.
struct Tuned<'a> {
    labels: &'a Labels,
    updates: BTreeMap<Place, Update>,
}

/// Two tables about adapters of a model, given by their index with what they are called.
///
/// `weights`: one row per adapter, direction, layer and map that writes to the residual stream, and one over all of
/// them (`*`). `energy_share` is `|v^T dW|^2 / |dW|_F^2`; `null_low`, `null_high`, `percentile` and `p_value` hold it
/// against `random` random unit directions, the same for all updates. `site` is that of the direction: what is written
/// behind it does not reach it. `q_value`: Benjamini-Hochberg over the rows of single maps, and over those of all maps.
///
/// `subspaces`: one row per pair of adapters of one character, layer, map and side (`output`: what updates write;
/// `input`: what they read), with principal angles in degrees beside those of random subspaces of like dimensions.
/// Adapters of one seed may begin with the same `A`, and so with the same inputs: pairs of one format and two seeds
/// are the reference for pairs of two formats and two seeds.
///
/// # Errors
/// An index without an adapter, a direction of another width than the stream, and values that are not finite.
pub(in crate::experiment) fn weights(
    model: &Model,
    adapters: &[(usize, Labels)],
    directions: &[Direction],
    (random, seed): (usize, u64),
) -> Result<(Table, Table)> {
    let tuned = adapters.iter().map(|(index, labels)| tuned(model, *index, labels)).collect::<Result<Vec<_>>>()?;
    Ok((energies(model.lm.dims().d_model, &tuned, directions, (random, seed))?, subspaces(&tuned, seed)?))
}

fn tuned<'a>(model: &Model, index: usize, labels: &'a Labels) -> Result<Tuned<'a>> {
    let adapter = model.adapters.get(index).ok_or_else(|| {
        let what = format!("`{}` is adapter {index}, but the model has {}", labels.model, model.adapters.len());
        Error::refused(what, "add the adapters to the model first")
    })?;
    let update = |w: Written| Ok(((w.layer.0, w.map), Update::new(w.a.view(), w.b.view(), w.scale)?));
    let updates = adapter.written(&*model.lm)?.into_iter().map(update).collect::<Result<_>>()?;
    Ok(Tuned { labels, updates })
}

fn energies(
    d_model: usize,
    tuned: &[Tuned<'_>],
    directions: &[Direction],
    (random, seed): (usize, u64),
) -> Result<Table> {
    let numbers = ["energy_share", "null_low", "null_high", "percentile", "p_value", "q_value", "energy", "reason"];
    let columns = [&["site"][..], &Labels::COLUMNS, &["direction", "layer", "map"], &numbers].concat();
    let mut table = Table::new("weights", &columns);
    let units = random_units(random, d_model, seed);
    for one in tuned {
        // The null of an update is the same for every direction.
        let nulls: Vec<Vec<f64>> = one.updates.values().map(|u| u.along(units.view())).collect::<Result<_>>()?;
        for direction in directions {
            let v = unit(direction.unit.view())?;
            let mut sum = Energy::default();
            let mut push = |layer: Cell, map: &str, energy: &Energy| {
                let found = energy.judged();
                let mut row: Vec<Cell> = vec![direction.site.to_string().into()];
                row.extend(one.labels.cells());
                row.extend([direction.positive.as_str().into(), layer, map.into()]);
                let number = |f: fn(&crate::analysis::subspace::Judged) -> f64| found.as_ref().map(f).into();
                row.extend([
                    number(|f| f.share),
                    number(|f| f.null_low),
                    number(|f| f.null_high),
                    number(|f| f.percentile),
                    number(|f| f.p_value),
                    Cell::Empty,
                    energy.total.into(),
                    found.is_none().then_some("the update is zero").into(),
                ]);
                table.push(row);
            };
            for (((layer, map), update), null) in one.updates.iter().zip(&nulls) {
                let along = update.along(v.view())?[0];
                let energy = Energy { total: update.energy(), along, null: null.clone() };
                push((*layer).into(), map, &energy);
                sum.add(&energy);
            }
            push(ALL.into(), ALL, &sum);
        }
    }
    let whole = |row: &[Cell], at: usize| row[at] == Cell::from(ALL);
    let layer = table.column("layer")?;
    for wanted in [false, true] {
        let rows: Vec<usize> = (0..table.rows.len()).filter(|r| whole(&table.rows[*r], layer) == wanted).collect();
        correct(&mut table, &rows)?;
    }
    Ok(table)
}

/// Fills `q_value` of some rows, which are one family of tests.
fn correct(table: &mut Table, rows: &[usize]) -> Result<()> {
    let p: Vec<Option<f64>> = rows.iter().map(|r| table.num(*r, "p_value")).collect();
    let q = table.column("q_value")?;
    rows.iter().zip(benjamini_hochberg(&p)).for_each(|(r, value)| table.rows[*r][q] = value.into());
    Ok(())
}

/// The sides of an update, as [`Update::spaces`] gives them.
const SIDES: [&str; 2] = ["output", "input"];

fn subspaces(tuned: &[Tuned<'_>], seed: u64) -> Result<Table> {
    let pair = ["model_a", "format_a", "seed_a", "model_b", "format_b", "seed_b"];
    let numbers = ["dimensions", "first_angle_deg", "mean_angle_deg"];
    let null = ["null_first_low", "null_first_high", "null_mean_low", "null_mean_high", "p_value", "q_value"];
    let columns = [&["character", "layer", "map", "side"][..], &pair, &numbers, &null, &["update_cosine", "reason"]];
    let mut table = Table::new("subspaces", &columns.concat());
    let places: BTreeSet<&Place> = tuned.iter().flat_map(|t| t.updates.keys()).collect();
    let mut nulls: BTreeMap<(usize, usize, usize), RandomAngles> = BTreeMap::new();
    // One place at a time: the bases of all layers of a large model would not be small.
    for place in places {
        let held: Vec<(&Labels, &Update, Option<[Space; 2]>)> = tuned
            .iter()
            .filter_map(|t| Some((t.labels, t.updates.get(place)?)))
            .map(|(labels, update)| Ok((labels, update, update.spaces()?)))
            .collect::<Result<_>>()?;
        for (i, (a, left, spaces_a)) in held.iter().enumerate() {
            for (b, right, spaces_b) in held[i + 1..].iter().filter(|(b, ..)| b.character == a.character) {
                for (s, side) in SIDES.iter().enumerate() {
                    let mut row: Vec<Cell> =
                        vec![a.character.as_str().into(), place.0.into(), place.1.as_str().into(), (*side).into()];
                    row.extend([&a.model, &a.format, &a.seed, &b.model, &b.format, &b.seed].map(|t| t.as_str().into()));
                    let both = spaces_a.as_ref().zip(spaces_b.as_ref()).map(|(x, y)| (&x[s], &y[s]));
                    match both {
                        Some((x, y)) => row.extend(between(x, y, &mut nulls, seed)?),
                        None => row.extend(vec![Cell::Empty; 9]),
                    }
                    let reason = both.is_none().then_some("an update is zero");
                    row.extend([left.cosine(right).into(), reason.into()]);
                    table.push(row);
                }
            }
        }
    }
    let all: Vec<usize> = (0..table.rows.len()).collect();
    correct(&mut table, &all)?;
    Ok(table)
}

/// Dimensions, angles, null and p-value of a pair; the cell of the q-value empty.
fn between(
    x: &Space,
    y: &Space,
    nulls: &mut BTreeMap<(usize, usize, usize), RandomAngles>,
    seed: u64,
) -> Result<Vec<Cell>> {
    let ((k, d), (l, _)) = (x.shape(), y.shape());
    let found = angles(x, y)?;
    let key = (d, k.min(l), k.max(l));
    let null = match nulls.entry(key) {
        Entry::Occupied(held) => held.into_mut(),
        Entry::Vacant(place) => place.insert(random_angles(d, (k, l), SUBSPACES, seed)?),
    };
    // Closer than chance is small.
    let closer: Vec<f64> = null.mean.iter().map(|m| -m).collect();
    let p = permutation_p(-found.mean(), &closer);
    let ends = null.ends();
    let of = |i: usize, high: bool| -> Cell { ends.map(|e| if high { e[i].1 } else { e[i].0 }).into() };
    Ok(vec![
        k.min(l).into(),
        found.first().into(),
        found.mean().into(),
        of(0, false),
        of(0, true),
        of(1, false),
        of(1, true),
        p.into(),
        Cell::Empty,
    ])
}
