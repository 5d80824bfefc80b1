//! Persona space at one site: role vectors, their principal components, the assistant axis and where the default sits.

use super::contrast::group_means;
use super::interval::{Interval, cluster_bootstrap};
use super::pca::{NullSpectrum, Pca, null_spectrum, pca};
use super::score::interval_cells;
use super::stats::{pearson, permutation_p, spearman};
use crate::acts::Activations;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use ndarray::{Array1, Array2, Axis};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// How much of a map is kept and drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapOptions {
    /// Components kept.
    pub components: usize,
    /// Draws of the null spectrum.
    pub null_draws: usize,
    pub bootstrap: usize,
    pub permutations: usize,
    pub seed: u64,
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions { components: 10, null_draws: 50, bootstrap: 1000, permutations: 500, seed: 0 }
    }
}

/// Persona space at one site and pick.
#[derive(Clone, Debug)]
pub struct PersonaMap {
    pub site: Site,
    pub pick: Pick,
    /// The roles (all groups but the default), in ascending order.
    pub roles: Vec<String>,
    pub default: String,
    /// `[role, d_model]`: mean over each role's rows.
    pub role_vectors: Array2<f64>,
    /// `[d_model]`.
    pub default_vector: Array1<f64>,
    /// Of the role vectors; the default has no part in it, and only sets the signs: its coordinates are not negative.
    pub pca: Pca,
    pub null: NullSpectrum,
    /// mean(default) - mean(roles): larger is more assistant-like.
    pub axis: Direction,
    /// The kept axes of the map: the assistant axis first, then PC1, PC2, ...
    pub axes: Vec<MapAxis>,
}

/// One axis of a map with everything projected on it, relative to the mean of the roles.
#[derive(Clone, Debug)]
pub struct MapAxis {
    /// `assistant_axis`, `PC1`, ...
    pub name: String,
    /// Cosine with the assistant axis.
    pub cosine_with_assistant: f64,
    /// In the order of [`PersonaMap::roles`].
    pub role_scores: Vec<f64>,
    pub default_score: f64,
    pub place: Place,
}

/// Where a point sits among others on a line. The two numbers can disagree, so both are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Share of the others below it, ties as half: 0 is the lowest, 1 the highest.
    pub rank_percentile: f64,
    /// Distance to the nearer end of the others' range, over the range: 0 at an end, 0.5 in the middle, negative
    /// beyond an end.
    pub range_distance: f64,
}

/// Where `value` sits among `others`; `None` where they do not span a range.
pub fn place(value: f64, others: &[f64]) -> Option<Place> {
    let (lo, hi) = others.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let below = others
        .iter()
        .map(|v| {
            if *v < value {
                1.0
            } else if *v == value {
                0.5
            } else {
                0.0
            }
        })
        .sum::<f64>();
    (hi > lo).then(|| Place {
        rank_percentile: below / others.len() as f64,
        range_distance: (value - lo).min(hi - value) / (hi - lo),
    })
}

/// Maps the groups of `acts`, one of which is the default persona.
///
/// # Errors
/// No such group, fewer than three roles, or a site where they do not vary.
pub fn persona_map(acts: &Activations, default: &str, options: &MapOptions) -> Result<PersonaMap> {
    let (names, means) = group_means(acts);
    let Some(at) = names.iter().position(|n| n == default) else {
        return Err(Error::refused(
            format!("no rows of the default persona `{default}` among {} personas at {}", names.len(), acts.site),
            format!("personas are {}, ...", names.iter().take(5).cloned().collect::<Vec<_>>().join(", ")),
        ));
    };
    let others: Vec<usize> = (0..names.len()).filter(|&i| i != at).collect();
    if others.len() < 3 {
        return Err(Error::refused(
            format!("{} roles are too few for a map", others.len()),
            "capture at least three roles beside the default persona",
        ));
    }
    let (role_vectors, default_vector) = (means.select(Axis(0), &others), means.row(at).to_owned());
    let mut pca = pca(role_vectors.view())?;
    pca.orient(default_vector.view());
    let null = null_spectrum(role_vectors.view(), options.null_draws, options.seed)?;
    let raw = &default_vector - &pca.mean;
    let origin = format!("mean({default}) - mean of {} roles", others.len());
    let axis = Direction::new(acts.site, acts.pick, &raw, "like the default assistant", "like a role", &origin)?;

    let line = |name: String, unit: Array1<f64>| -> Result<MapAxis> {
        let role_scores: Vec<f64> = role_vectors.axis_iter(Axis(0)).map(|v| (&v - &pca.mean).dot(&unit)).collect();
        let default_score = raw.dot(&unit);
        let place = place(default_score, &role_scores).ok_or_else(|| {
            Error::refused(format!("no role differs along {name} at {}", acts.site), "choose another site or pick")
        })?;
        Ok(MapAxis { name, cosine_with_assistant: unit.dot(&raw) / axis.raw_norm, role_scores, default_score, place })
    };
    let mut axes = vec![line("assistant_axis".into(), &raw / axis.raw_norm)?];
    for c in 0..options.components.min(pca.components.nrows()) {
        axes.push(line(format!("PC{}", c + 1), pca.components.row(c).to_owned())?);
    }
    Ok(PersonaMap {
        site: acts.site,
        pick: acts.pick,
        roles: others.iter().map(|&i| names[i].clone()).collect(),
        default: default.into(),
        role_vectors,
        default_vector,
        pca,
        null,
        axis,
        axes,
    })
}

/// What is known about the personas from elsewhere: a planted trait (0 or 1), a count, a rating.
#[derive(Clone, Debug, PartialEq)]
pub struct Covariate {
    pub name: String,
    /// By persona; those without a value are left out.
    pub values: BTreeMap<String, f64>,
}

/// A correlation between an axis and a covariate over the roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    pub axis: String,
    pub covariate: String,
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
    /// 95 % of Pearson's r, resampling personas.
    pub interval: Option<Interval>,
    /// Two-sided, shuffling the covariate over personas. Not corrected for the number of axes and covariates.
    pub p: Option<f64>,
    pub personas: usize,
    pub reason: Option<String>,
}

/// Correlates every axis of the map with every covariate.
pub fn correlate(map: &PersonaMap, covariates: &[Covariate], options: &MapOptions) -> Vec<Correlation> {
    let mut found = Vec::new();
    for covariate in covariates {
        let known: Vec<(usize, f64)> =
            map.roles.iter().enumerate().filter_map(|(i, r)| Some((i, *covariate.values.get(r)?))).collect();
        let y: Vec<f64> = known.iter().map(|(_, v)| *v).collect();
        for axis in &map.axes {
            let x: Vec<f64> = known.iter().map(|(i, _)| axis.role_scores[*i]).collect();
            let mut rng = stream(options.seed, &format!("correlate/{}/{}", axis.name, covariate.name));
            let r = pearson(&x, &y);
            let resampled = |s: &[usize]| {
                let pick = |v: &[f64]| s.iter().map(|&i| v[i]).collect::<Vec<_>>();
                pearson(&pick(&x), &pick(&y))
            };
            let interval = r.and_then(|_| cluster_bootstrap(x.len(), options.bootstrap, &mut rng, resampled));
            let mut shuffled = y.clone();
            let mut draw = || {
                shuffled.shuffle(&mut rng);
                pearson(&x, &shuffled).map(f64::abs)
            };
            let null: Vec<f64> = (0..options.permutations).filter_map(|_| draw()).collect();
            found.push(Correlation {
                axis: axis.name.clone(),
                covariate: covariate.name.clone(),
                pearson: r,
                spearman: spearman(&x, &y),
                interval,
                p: r.and_then(|r| permutation_p(r.abs(), &null)),
                personas: x.len(),
                reason: r.is_none().then(|| "the covariate does not vary over the roles".into()),
            });
        }
    }
    found
}

/// One row per site and axis: variance with its null, cosine with the assistant axis, place of the default persona.
pub fn map_table(name: &str, maps: &[PersonaMap]) -> Table {
    let mut table = Table::new(
        name,
        &[
            "site",
            "layer",
            "pick",
            "axis",
            "variance_share",
            "variance_share_cumulative",
            "null_share_mean",
            "null_share_95",
            "cosine_with_assistant_axis",
            "default_score_activation",
            "default_rank_percentile",
            "default_range_distance",
            "reason",
        ],
    );
    for m in maps {
        for (i, a) in m.axes.iter().enumerate() {
            let ratio = &m.pca.explained_variance_ratio;
            let at = |v: &[f64]| Cell::from(i.checked_sub(1).and_then(|c| v.get(c).copied()));
            let mut row: Vec<Cell> = vec![m.site.to_string().into(), m.site.layer().into(), m.pick.name().into()];
            row.extend([a.name.clone().into(), at(ratio)]);
            row.push(if i == 0 { Cell::Empty } else { ratio[..i].iter().sum::<f64>().into() });
            row.extend([at(&m.null.ratio_mean), at(&m.null.ratio_hi), a.cosine_with_assistant.into()]);
            row.extend([a.default_score, a.place.rank_percentile, a.place.range_distance].map(Cell::from));
            row.push(if i == 0 { "a contrast has no share of the variance".into() } else { Cell::Empty });
            table.push(row);
        }
    }
    table
}

/// One row per site: how many dimensions the roles span.
pub fn spectrum_table(name: &str, maps: &[PersonaMap]) -> Table {
    let columns = ["dims_70", "dims_80", "dims_90", "dims_95", "dims_above_null", "participation_ratio"];
    let mut table = Table::new(name, &[&["site", "layer", "pick", "roles"][..], &columns].concat());
    for m in maps {
        let ratio = &m.pca.explained_variance_ratio;
        let above = ratio.iter().zip(&m.null.ratio_hi).take_while(|(r, n)| r > n).count();
        let mut row: Vec<Cell> = vec![m.site.to_string().into(), m.site.layer().into(), m.pick.name().into()];
        row.push(m.roles.len().into());
        row.extend([0.7, 0.8, 0.9, 0.95].map(|s| Cell::from(m.pca.dims_for(s))));
        row.extend([above.into(), m.pca.participation_ratio().into()]);
        table.push(row);
    }
    table
}

/// One row per site, persona and axis, the default included: coordinates in activation units.
pub fn scores_table(name: &str, maps: &[PersonaMap]) -> Table {
    let mut table = Table::new(name, &["site", "layer", "pick", "persona", "is_default", "axis", "score_activation"]);
    for m in maps {
        for a in &m.axes {
            let default = std::iter::once((&m.default, a.default_score, 1_usize));
            let roles = m.roles.iter().zip(&a.role_scores).map(|(r, s)| (r, *s, 0));
            for (persona, score, is_default) in default.chain(roles) {
                table.push(vec![
                    m.site.to_string().into(),
                    m.site.layer().into(),
                    m.pick.name().into(),
                    persona.clone().into(),
                    is_default.into(),
                    a.name.clone().into(),
                    score.into(),
                ]);
            }
        }
    }
    table
}

/// One row per correlation.
pub fn correlation_table(name: &str, of: &[(&PersonaMap, &[Correlation])]) -> Table {
    let mut columns = vec!["site", "layer", "pick", "axis", "covariate", "pearson_r", "pearson_lo", "pearson_hi"];
    columns.extend(["interval_note", "spearman_rho", "p_value", "personas", "reason"]);
    let mut table = Table::new(name, &columns);
    for (m, correlations) in of {
        for c in *correlations {
            let mut row: Vec<Cell> = vec![m.site.to_string().into(), m.site.layer().into(), m.pick.name().into()];
            row.extend([c.axis.clone().into(), c.covariate.clone().into(), c.pearson.into()]);
            row.extend(interval_cells(c.interval));
            row.extend([c.spearman.into(), c.p.into(), c.personas.into(), c.reason.clone().into()]);
            table.push(row);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{planted, positive};

    /// 40 roles with a signal of 6 along e0 for every third; the last group is renamed to the default and moved to
    /// 9 along e0.
    fn world() -> Activations {
        let mut a = planted(4, 41, 8, 12, 6.0);
        for (r, k) in a.keys.iter_mut().enumerate().filter(|(_, k)| k.group == "p40") {
            k.group = "assistant".into();
            a.rows.row_mut(r).fill(0.0);
            a.rows[[r, 0]] = 9.0;
        }
        a
    }

    fn trait_of(map: &PersonaMap) -> Covariate {
        let value = |r: &String| (r.clone(), f64::from(u8::from(positive(r))));
        Covariate { name: "planted".into(), values: map.roles.iter().map(value).collect() }
    }

    #[test]
    fn a_planted_assistant_factor_is_the_first_component_and_the_default_sits_at_its_end() {
        let options = MapOptions { null_draws: 20, ..MapOptions::default() };
        let m = persona_map(&world(), "assistant", &options).unwrap();
        assert_eq!((m.roles.len(), m.axes.len()), (40, 11));
        let pc1 = &m.axes[1];
        // e0 carries 6^2 * (1/3)(2/3) = 8 plus noise 1.1 against 1.1 elsewhere.
        assert!(m.pca.components[[0, 0]] > 0.95 && pc1.cosine_with_assistant > 0.9, "{pc1:?}");
        assert!((m.axes[0].cosine_with_assistant - 1.0).abs() < 1e-9);
        assert!(pc1.place.rank_percentile > 0.9 && pc1.place.range_distance < 0.1, "{:?}", pc1.place);
        let c = correlate(&m, &[trait_of(&m)], &options);
        let (axis, first, second) = (&c[0], &c[1], &c[2]);
        assert!(first.pearson.unwrap() > 0.85 && first.p.unwrap() < 0.01, "{first:?}");
        assert!(axis.pearson.unwrap() > 0.7 && axis.interval.unwrap().lo > 0.5, "{axis:?}");
        assert!(second.p.unwrap() > 0.01, "{second:?}");
    }

    #[test]
    fn a_place_is_told_as_rank_and_as_distance() {
        // Among 0, 1, 10: 9 is above two of three, and 0.1 of the range below the top.
        let p = place(9.0, &[0.0, 1.0, 10.0]).unwrap();
        assert!((p.rank_percentile - 2.0 / 3.0).abs() < 1e-12 && (p.range_distance - 0.1).abs() < 1e-12);
        assert_eq!(place(1.0, &[0.0, 1.0, 10.0]).unwrap().rank_percentile, 0.5);
        assert!((place(12.0, &[0.0, 1.0, 10.0]).unwrap().range_distance + 0.2).abs() < 1e-12);
        assert_eq!(place(1.0, &[2.0, 2.0]), None);
    }

    #[test]
    fn tables_hold_every_axis_and_persona() {
        let options = MapOptions { components: 3, null_draws: 5, bootstrap: 50, permutations: 20, seed: 1 };
        let m = persona_map(&world(), "assistant", &options).unwrap();
        let c = correlate(&m, &[trait_of(&m), Covariate { name: "none".into(), values: BTreeMap::new() }], &options);
        let maps = [m];
        let t = map_table("map", &maps);
        assert_eq!(t.rows.len(), 4);
        assert_eq!(t.num(0, "variance_share"), None);
        assert!((t.num(2, "variance_share_cumulative").unwrap() - t.num(1, "variance_share").unwrap()) > 0.0);
        assert_eq!(scores_table("scores", &maps).rows.len(), 4 * 41);
        assert_eq!(spectrum_table("spectrum", &maps).num(0, "roles"), Some(40.0));
        let t = correlation_table("correlations", &[(&maps[0], &c)]);
        assert_eq!(t.rows.len(), 8);
        assert!(t.text(7, "pearson_r").is_empty() && t.text(7, "reason").contains("does not vary"));
    }

    #[test]
    fn an_absent_default_and_too_few_roles_are_refused() {
        let options = MapOptions::default();
        assert!(persona_map(&world(), "nobody", &options).unwrap_err().to_string().contains("`nobody`"));
        assert!(persona_map(&planted(1, 3, 2, 4, 1.0), "p0", &options).unwrap_err().to_string().contains("too few"));
    }
}
