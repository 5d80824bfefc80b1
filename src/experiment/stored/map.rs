//! A map of the means of groups; with a default among them, that of persona space.

use super::{Analysis, Chosen, Mapped, Parts, draw, groups_of};
use crate::acts::{Activations, RowKey};
use crate::analysis::contrast::is_constant;
use crate::analysis::group_map::{group_axes_table, group_dimensions_table, group_map, group_scores_table};
use crate::analysis::map::{map_table, persona_map, scores_table, spectrum_table};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::experiment::cells::{num, round, row};
use crate::store::Store;
use crate::store::manifest::Width;
use crate::table::Table;
use crate::unit::parallel;

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
    let acts = |w: &Width| store.activations(w.site, ask.pick, &chosen.runs, row_keys.clone());
    let (tables, flat) = match &mapped.default {
        None => {
            let all = parallel(&ask.sites, ask.threads, |w| {
                let acts = acts(w)?;
                progress(1);
                varied(&acts, || group_map(&acts, &ask.mapping))
            })?;
            let (maps, flat) = parted(all, &ask.sites);
            let tables = [
                group_axes_table("axes", &maps),
                group_dimensions_table("dimensions", &maps),
                group_scores_table("scores", &maps),
            ];
            (tables, flat)
        }
        Some(default) => {
            let all = parallel(&ask.sites, ask.threads, |w| {
                let acts = acts(w)?;
                progress(1);
                varied(&acts, || persona_map(&acts, default, &ask.mapping))
            })?;
            let (mut maps, flat) = parted(all, &ask.sites);
            for m in &mut maps {
                m.axis.positive = format!("{}={default}", mapped.column);
                m.axis.negative = format!("other values of {}", mapped.column);
                found.vectors.push(m.axis.clone());
            }
            ([map_table("axes", &maps), spectrum_table("dimensions", &maps), scores_table("scores", &maps)], flat)
        }
    };
    let drawn = drawn(ask, mapped, &flat)?;
    found.warnings.extend(flat.iter().map(|s| format!("at {s} all rows are the same: it is left out of the map")));
    let site = drawn.to_string();
    found.summary.push(sentence(&site, mapped, &tables));
    match row(&tables[0], &[("site", &site), ("axis", "PC2")]) {
        Some(_) => found.pages.push((draw::map(&site, mapped, &tables)?, vec!["axes", "dimensions", "scores"])),
        None => found.warnings.push(format!("the groups lie on a line at {site}: no map is drawn")),
    }
    found.tables.extend(tables);
    Ok(())
}

/// The map of a site; none where all rows are the same, as the embedding of one last token is.
fn varied<T>(acts: &Activations, map: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    if is_constant(acts) { Ok(None) } else { map().map(Some) }
}

/// The maps there are, and the sites without one.
fn parted<T>(all: Vec<Option<T>>, sites: &[Width]) -> (Vec<T>, Vec<Site>) {
    let flat = sites.iter().zip(&all).filter(|(_, m)| m.is_none()).map(|(w, _)| w.site).collect();
    (all.into_iter().flatten().collect(), flat)
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

fn sentence(site: &str, mapped: &Mapped, [axes, dimensions, _]: &[Table; 3]) -> String {
    let pc1 = row(axes, &[("site", site), ("axis", "PC1")]);
    let of = |column: &str| pc1.map_or("none".into(), |r| round(num(axes, r, column)));
    let dims = row(dimensions, &[("site", site)]);
    let above = dims.map_or(String::new(), |r| dimensions.text(r, "dims_above_null"));
    let groups =
        dims.map_or(String::new(), |r| dimensions.text(r, if mapped.default.is_some() { "roles" } else { "groups" }));
    let place = mapped
        .default
        .as_ref()
        .map_or(String::new(), |d| format!(" On PC1 {d} is above {} of the others.", of("default_rank_percentile")));
    format!(
        "At {site} PC1 of {groups} values of `{}` holds {} of the variance (shuffled coordinates {}, 95 %: {}); {above} \
         components are above chance.{place}",
        mapped.column,
        of("variance_share"),
        of("null_share_mean"),
        of("null_share_95"),
    )
}
