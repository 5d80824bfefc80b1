//! A map of any groups at one site: their means, the components of these, and the spectrum that chance would give.
//! Where one group is the default persona, [`super::map`] says more.

use super::contrast::group_means;
use super::map::MapOptions;
use super::pca::{NullSpectrum, Pca, null_spectrum, pca};
use super::split::Groups;
use crate::acts::Activations;
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::table::{Cell, Table};

/// Groups at one site and pick.
#[derive(Clone, Debug)]
pub struct GroupMap {
    pub site: Site,
    pub pick: Pick,
    /// In ascending order.
    pub groups: Vec<String>,
    /// Rows of each.
    pub rows: Vec<usize>,
    /// Of the means of the groups; every group weighs the same however many rows it has.
    pub pca: Pca,
    pub null: NullSpectrum,
    /// Components that are told.
    pub components: usize,
}

/// Maps the groups of `acts`.
///
/// # Errors
/// Fewer than three groups, or a site where they do not vary.
pub fn group_map(acts: &Activations, options: &MapOptions) -> Result<GroupMap> {
    let (groups, means) = group_means(acts);
    if groups.len() < 3 {
        return Err(Error::refused(
            format!("{} groups are too few for a map: {}", groups.len(), groups.join(", ")),
            "a map needs at least three",
        ));
    }
    let found = pca(means.view())?;
    Ok(GroupMap {
        site: acts.site,
        pick: acts.pick,
        rows: Groups::of(&acts.keys).rows.iter().map(Vec::len).collect(),
        null: null_spectrum(means.view(), options.null_draws, options.seed)?,
        components: options.components.min(found.components.nrows()),
        groups,
        pca: found,
    })
}

/// One row per site and component: its share of the variance, with that of shuffled coordinates.
pub fn group_axes_table(name: &str, maps: &[GroupMap]) -> Table {
    let columns = ["site", "layer", "pick", "groups", "axis", "variance_share", "variance_share_cumulative"];
    let mut table = Table::new(name, &[&columns[..], &["null_share_mean", "null_share_95"]].concat());
    for m in maps {
        let ratio = &m.pca.explained_variance_ratio;
        for c in 0..m.components {
            let mut row: Vec<Cell> = vec![m.site.to_string().into(), m.site.layer().into(), m.pick.name().into()];
            row.extend([m.groups.len().into(), format!("PC{}", c + 1).into(), ratio[c].into()]);
            row.push(ratio[..=c].iter().sum::<f64>().into());
            row.extend([m.null.ratio_mean.get(c).copied().into(), m.null.ratio_hi.get(c).copied().into()]);
            table.push(row);
        }
    }
    table
}

/// One row per site: how many dimensions the groups span.
pub fn group_dimensions_table(name: &str, maps: &[GroupMap]) -> Table {
    let columns = ["dims_70", "dims_80", "dims_90", "dims_95", "dims_above_null", "participation_ratio"];
    let mut table = Table::new(name, &[&["site", "layer", "pick", "groups"][..], &columns].concat());
    for m in maps {
        let ratio = &m.pca.explained_variance_ratio;
        let above = ratio.iter().zip(&m.null.ratio_hi).take_while(|(r, n)| r > n).count();
        let mut row: Vec<Cell> = vec![m.site.to_string().into(), m.site.layer().into(), m.pick.name().into()];
        row.push(m.groups.len().into());
        row.extend([0.7, 0.8, 0.9, 0.95].map(|s| Cell::from(m.pca.dims_for(s))));
        row.extend([above.into(), m.pca.participation_ratio().into()]);
        table.push(row);
    }
    table
}

/// One row per site, group and component: coordinates in activation units, relative to the mean of the groups.
pub fn group_scores_table(name: &str, maps: &[GroupMap]) -> Table {
    let columns = ["site", "layer", "pick", "persona", "rows", "is_default", "axis", "score_activation"];
    let mut table = Table::new(name, &columns);
    for m in maps {
        for c in 0..m.components {
            for (g, group) in m.groups.iter().enumerate() {
                let mut row: Vec<Cell> = vec![m.site.to_string().into(), m.site.layer().into(), m.pick.name().into()];
                row.extend([group.clone().into(), m.rows[g].into(), 0_usize.into()]);
                row.extend([format!("PC{}", c + 1).into(), m.pca.scores[[g, c]].into()]);
                table.push(row);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::map::persona_map;
    use crate::analysis::testing::planted;
    use ndarray::Axis;

    #[test]
    fn a_map_of_groups_is_that_of_personas_without_the_default() {
        let all = planted(4, 21, 4, 6, 6.0);
        let options = MapOptions { null_draws: 10, components: 4, ..MapOptions::default() };
        let personas = persona_map(&all, "p20", &options).unwrap();
        let rest: Vec<usize> = (0..all.keys.len()).filter(|r| all.keys[*r].group != "p20").collect();
        let keys = rest.iter().map(|r| all.keys[*r].clone()).collect();
        let rest = Activations::new(all.site, all.pick, all.rows.select(Axis(0), &rest), keys).unwrap();
        let groups = group_map(&rest, &options).unwrap();
        assert_eq!(groups.groups, personas.roles);
        assert_eq!(groups.pca.explained_variance_ratio, personas.pca.explained_variance_ratio);
        assert_eq!(groups.null.ratio_hi, personas.null.ratio_hi);
        // Signs may differ: the default sets those of the other map.
        for c in 0..4 {
            for (a, b) in groups.pca.scores.column(c).iter().zip(&personas.axes[c + 1].role_scores) {
                assert!((a.abs() - b.abs()).abs() < 1e-9);
            }
        }
        let maps = [groups];
        assert_eq!(group_axes_table("axes", &maps).rows.len(), 4);
        assert_eq!(group_scores_table("scores", &maps).rows.len(), 4 * 20);
        assert_eq!(group_dimensions_table("dimensions", &maps).num(0, "groups"), Some(20.0));
    }

    #[test]
    fn too_few_groups_are_refused_by_name() {
        let e = group_map(&planted(1, 2, 3, 4, 1.0), &MapOptions::default()).unwrap_err();
        assert!(e.to_string().contains("2 groups are too few for a map: p0, p1"), "{e}");
    }
}
