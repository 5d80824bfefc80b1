//! A map of the means of groups; with a default among them, that of persona space.

use super::{Analysis, Chosen, Mapped, groups_of};
use crate::acts::RowKey;
use crate::analysis::map::{RoleVectors, Shape, map_tables, shape};
use crate::axes::Site;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::experiment::Parts;
use crate::experiment::pages::map as pages;
use crate::store::Store;
use crate::store::manifest::Width;
use crate::unit::parallel;

/// Neighbours of each group that are told.
const NEAR: usize = 5;

pub(super) fn run(
    store: &Store,
    ask: &Analysis,
    mapped: &Mapped,
    progress: &(dyn Fn(u64) + Sync),
    found: &mut Parts,
) -> Result<()> {
    let keys = store.keys(Some(&[&mapped.column]))?;
    let kept: Vec<bool> = keys.column(&mapped.column)?.is("").into_iter().map(|empty| !empty).collect();
    let chosen = Chosen::of(&kept);
    if chosen.rows.len() < kept.len() {
        let n = kept.len() - chosen.rows.len();
        found.warnings.push(format!("{n} rows have no `{}` and are left out of the map", mapped.column));
    }
    let groups = groups_of(&keys, &mapped.column, &chosen.rows)?;
    let row_keys: Vec<RowKey> = groups.into_iter().map(|group| RowKey { group, ..RowKey::default() }).collect();
    let of_site = parallel(&ask.sites, ask.threads, |w: &Width| {
        let acts = store.activations(w.site, ask.pick, &chosen.runs, row_keys.clone())?;
        progress(1);
        let vectors = RoleVectors::of_groups(&acts, mapped.default.as_deref())?;
        // As the embedding of one last token is.
        if vectors.is_flat() { Ok(None) } else { shape(&vectors, &ask.mapping).map(Some) }
    })?;
    let flat: Vec<Site> = ask.sites.iter().zip(&of_site).filter(|(_, m)| m.is_none()).map(|(w, _)| w.site).collect();
    let shapes: Vec<&Shape> = of_site.iter().flatten().collect();
    for s in &shapes {
        let Some(d) = &s.default else { continue };
        let words = (format!("{}={}", mapped.column, d.name), format!("other values of {}", mapped.column));
        let origin = format!("mean({}) - mean of {} groups", d.name, s.roles.len());
        found.vectors.push(Direction::new(s.site.parse()?, ask.pick, &d.axis, &words.0, &words.1, &origin)?);
    }
    let drawn = drawn(ask, mapped, &flat)?.to_string();
    found.warnings.extend(flat.iter().map(|s| format!("at {s} all rows are the same: it is left out of the map")));
    let tables = map_tables(&shapes, NEAR, &drawn);
    if let Some(t) = pages::Tables::among(&tables) {
        let points = format!("values of `{}` (each the mean over its rows)", mapped.column);
        let words = pages::Words { points: &points, group: &|_| None, more: "" };
        found.summary.extend(pages::summary(&drawn, t));
        match pages::page("map", &drawn, t, &words)? {
            Some(page) => found.pages.push((page, pages::Tables::NAMES.to_vec())),
            None => found.warnings.push(format!("the groups lie on a line at {drawn}: no map is drawn")),
        }
    }
    found.tables.extend(tables);
    Ok(())
}

/// The site whose map is drawn: the one asked for, or the middle one of those where rows differ.
fn drawn(ask: &Analysis, mapped: &Mapped, flat: &[Site]) -> Result<Site> {
    let sites: Vec<Site> = ask.sites.iter().map(|w| w.site).filter(|s| !flat.contains(s)).collect();
    let Some(middle) = sites.get(sites.len() / 2) else {
        let what =
            format!("all rows are the same at {}", flat.iter().map(Site::to_string).collect::<Vec<_>>().join(", "));
        return Err(Error::refused(what, "there is nothing to map: choose another site or pick"));
    };
    match mapped.drawn {
        None => Ok(*middle),
        Some(site) if sites.contains(&site) => Ok(site),
        Some(site) => {
            let here: Vec<String> = sites.iter().map(Site::to_string).collect();
            let what = format!("{site} is not among the sites that are mapped");
            Err(Error::refused(what, format!("sites are {}", here.join(", "))))
        }
    }
}
