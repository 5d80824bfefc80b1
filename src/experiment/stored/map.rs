//! A map of the means of groups; with a default among them, that of persona space.

use super::{Analysis, Chosen, Mapped, Parts, draw, groups_of};
use crate::acts::RowKey;
use crate::analysis::group_map::{group_axes_table, group_dimensions_table, group_map, group_scores_table};
use crate::analysis::map::{map_table, persona_map, scores_table, spectrum_table};
use crate::error::{Error, Result};
use crate::experiment::cells::{num, round, row};
use crate::store::Store;
use crate::table::Table;
use crate::unit::parallel;

pub(super) fn run(
    store: &Store,
    ask: &Analysis,
    mapped: &Mapped,
    progress: &(dyn Fn(u64) + Sync),
    found: &mut Parts,
) -> Result<()> {
    let drawn = match mapped.drawn {
        Some(site) if !ask.sites.iter().any(|w| w.site == site) => {
            let here: Vec<String> = ask.sites.iter().map(|w| w.site.to_string()).collect();
            let what = format!("{site} is not among the sites that are mapped");
            return Err(Error::refused(what, format!("sites are {}", here.join(", "))));
        }
        Some(site) => site,
        None => ask.sites[ask.sites.len() / 2].site,
    };
    let keys = store.keys(Some(&[&mapped.column]))?;
    let kept: Vec<bool> = keys.column(&mapped.column)?.is("").into_iter().map(|empty| !empty).collect();
    let chosen = Chosen::of(&kept);
    if chosen.rows.len() < kept.len() {
        let n = kept.len() - chosen.rows.len();
        found.warnings.push(format!("{n} rows have no `{}` and are left out of the map", mapped.column));
    }
    let groups = groups_of(&keys, &mapped.column, &chosen.rows)?;
    let row_keys: Vec<RowKey> = groups.into_iter().map(|group| RowKey { group, ..RowKey::default() }).collect();
    let tables = match &mapped.default {
        None => {
            let maps = parallel(&ask.sites, ask.threads, |w| {
                let acts = store.activations(w.site, ask.pick, &chosen.runs, row_keys.clone())?;
                let map = group_map(&acts, &ask.mapping)?;
                progress(1);
                Ok(map)
            })?;
            [
                group_axes_table("axes", &maps),
                group_dimensions_table("dimensions", &maps),
                group_scores_table("scores", &maps),
            ]
        }
        Some(default) => {
            let maps = parallel(&ask.sites, ask.threads, |w| {
                let acts = store.activations(w.site, ask.pick, &chosen.runs, row_keys.clone())?;
                let mut map = persona_map(&acts, default, &ask.mapping)?;
                map.axis.positive = format!("{}={default}", mapped.column);
                map.axis.negative = format!("other values of {}", mapped.column);
                progress(1);
                Ok(map)
            })?;
            found.vectors.extend(maps.iter().map(|m| m.axis.clone()));
            [map_table("axes", &maps), spectrum_table("dimensions", &maps), scores_table("scores", &maps)]
        }
    };
    let site = drawn.to_string();
    found.summary.push(sentence(&site, mapped, &tables));
    match row(&tables[0], &[("site", &site), ("axis", "PC2")]) {
        Some(_) => found.pages.push((draw::map(&site, mapped, ask, &tables)?, vec!["axes", "dimensions", "scores"])),
        None => found.warnings.push(format!("the groups lie on a line at {site}: no map is drawn")),
    }
    found.tables.extend(tables);
    Ok(())
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
