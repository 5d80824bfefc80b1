//! Maps as tables.

use super::Shape;
use super::density::density_table;
use super::dimension::SHARES;
use super::neighbours::{Neighbours, neighbour_table, neighbours};
use super::place::Place;
use crate::table::{Cell, Table};

/// All tables of maps, with the `near` nearest of everybody: `variance`, `axis`, `place`, `dimension`, `loadings`,
/// `neighbours`, and `density` of the site `drawn` alone.
pub fn map_tables(shapes: &[&Shape], near: usize, drawn: &str) -> Vec<Table> {
    let near: Vec<Vec<Neighbours>> = shapes.iter().map(|s| neighbours(s, near)).collect();
    let near: Vec<(&str, &[Neighbours])> =
        shapes.iter().zip(&near).map(|(s, n)| (s.site.as_str(), n.as_slice())).collect();
    let drawn: Vec<&Shape> = shapes.iter().copied().filter(|s| s.site == drawn).collect();
    vec![
        variance_table(shapes),
        axis_table(shapes),
        place_table(shapes),
        dimension_table(shapes),
        loading_table(shapes),
        neighbour_table(&near),
        density_table(&drawn),
    ]
}

/// One row per site and component: its variance (n - 1 below the line), its share of the total, the sum of shares up to
/// it, and the share that shuffled coordinates give.
pub fn variance_table(shapes: &[&Shape]) -> Table {
    let columns = ["site", "component", "variance", "ratio", "cumulative", "null_mean", "null_95"];
    let mut table = Table::new("variance", &columns);
    for s in shapes {
        let mut sum = 0.0;
        for (c, (v, ratio)) in s.pca.explained_variance.iter().zip(&s.pca.explained_variance_ratio).enumerate() {
            sum += ratio;
            let null = |v: &[f64]| Cell::from(v.get(c).copied());
            let mut row: Vec<Cell> = vec![s.site.clone().into(), Cell::from(c + 1), (*v).into(), (*ratio).into()];
            row.extend([sum.into(), null(&s.null.ratio_mean), null(&s.null.ratio_hi)]);
            table.push(row);
        }
    }
    table
}

/// One row per site and role, the default first: the projection on the assistant axis (not centred, as published; of
/// z-scores where those are asked for) and its place among the other roles. Without a default a single row per site says
/// so.
pub fn axis_table(shapes: &[&Shape]) -> Table {
    let columns = ["site", "role", "is_default", "rows", "projection", "rank_percentile", "range_distance", "reason"];
    let mut table = Table::new("axis", &columns);
    for s in shapes {
        let mut push = |role: &str, is_default: usize, rows: usize, projection: f64, place: Option<Place>| {
            let reason = place.is_none().then_some("the other roles do not differ along the axis");
            let mut row: Vec<Cell> = vec![s.site.clone().into(), role.into(), is_default.into(), rows.into()];
            row.push(projection.into());
            row.extend([place.map(|p| p.rank_percentile), place.map(|p| p.range_distance)].map(Cell::from));
            row.push(reason.into());
            table.push(row);
        };
        match &s.default {
            Some(d) => {
                push(&d.name, 1, d.rows, d.projection, d.place);
                for (i, role) in s.roles.iter().enumerate() {
                    push(role, 0, s.rows[i], d.projections[i], d.places[i]);
                }
            }
            None => {
                let mut row = vec![Cell::Empty; columns.len()];
                (row[0], row[columns.len() - 1]) = (s.site.clone().into(), NO_DEFAULT.into());
                table.push(row);
            }
        }
    }
    table
}

const NO_DEFAULT: &str = "no row is the default, so there is no assistant axis";

/// One row per site, the assistant axis and the leading components: share of the variance, cosine with the assistant axis
/// (95 % interval of its size over roles for PC1, and the size that 95 % of random directions stay below), where the
/// default sits among the roles, and how far the axis agrees with itself over random halves.
pub fn place_table(shapes: &[&Shape]) -> Table {
    let columns = [
        &["site", "axis", "ratio", "cosine_with_axis", "cosine_low", "cosine_high", "null_cosine_95"][..],
        &["default_score", "default_rank_percentile", "default_range_distance", "axis_norm"],
        &["halves_cosine", "halves_low", "halves_high", "reason"],
    ];
    let mut table = Table::new("place", &columns.concat());
    for s in shapes {
        for line in &s.lines {
            let component = line.name.strip_prefix("PC").and_then(|c| c.parse::<usize>().ok());
            let ratio = component.and_then(|c| s.pca.explained_variance_ratio.get(c - 1).copied());
            // The coordinate of a random unit vector is nearly normal with variance 1/d.
            let chance = line.cosine.map(|_| 1.96 / (s.points.ncols() as f64).sqrt()).filter(|_| component.is_some());
            let axis = s.default.as_ref().filter(|_| component.is_none());
            let halves = axis.and_then(|d| d.halves);
            let reason = match (&s.default, component) {
                (None, _) => Some(NO_DEFAULT),
                (Some(_), None) if halves.is_none() => Some("the default has one row: its axis cannot be halved"),
                _ => None,
            };
            let mut row: Vec<Cell> = vec![s.site.clone().into(), line.name.clone().into(), ratio.into()];
            row.extend([line.cosine.into(), line.cosine_interval.map(|i| i.lo).into()]);
            row.extend([line.cosine_interval.map(|i| i.hi).into(), chance.into(), line.default_score.into()]);
            row.extend([line.place.map(|p| p.rank_percentile), line.place.map(|p| p.range_distance)].map(Cell::from));
            row.push(axis.map(|d| d.axis.dot(&d.axis).sqrt()).into());
            row.extend([halves.map(|h| h.cosine_mean), halves.map(|h| h.cosine_lo)].map(Cell::from));
            row.extend([halves.map(|h| h.cosine_hi).into(), reason.into()]);
            table.push(row);
        }
    }
    table
}

/// One row per site: how many dimensions the roles span, by several counts.
pub fn dimension_table(shapes: &[&Shape]) -> Table {
    let shares = SHARES.map(|s| format!("dims_{:.0}", 100.0 * s));
    let columns = [
        &["site", "roles", "d_model", "scaling"][..],
        &shares.each_ref().map(String::as_str),
        &["elbow", "dims_above_null", "participation_ratio", "participation_ci_low", "participation_ci_high"],
        &["twonn", "twonn_ci_low", "twonn_ci_high", "twonn_points", "reason"],
    ];
    let mut table = Table::new("dimension", &columns.concat());
    for s in shapes {
        let d = &s.dimension;
        let mut row: Vec<Cell> = vec![s.site.clone().into(), s.roles.len().into(), s.points.ncols().into()];
        row.push(s.scaling.name().into());
        row.extend(d.for_share.map(Cell::from));
        row.extend([d.elbow.into(), d.above_null.into(), d.participation_ratio.into()]);
        row.extend([d.participation.map(|i| i.lo).into(), d.participation.map(|i| i.hi).into()]);
        let t = &d.twonn;
        row.extend([t.dimension.into(), t.interval.map(|i| i.lo).into(), t.interval.map(|i| i.hi).into()]);
        row.extend([t.points.into(), t.reason.clone().into()]);
        table.push(row);
    }
    table
}

/// One row per site, line and role, the default included: coordinates relative to the mean of the roles, in the units of
/// the stated scaling.
pub fn loading_table(shapes: &[&Shape]) -> Table {
    let mut table = Table::new("loadings", &["site", "axis", "role", "is_default", "score"]);
    for s in shapes {
        for line in &s.lines {
            let default = s.default.as_ref().zip(line.default_score).map(|(d, v)| (&d.name, v, 1_usize));
            let roles = s.roles.iter().zip(&line.role_scores).map(|(r, v)| (r, *v, 0));
            for (role, score, is_default) in default.into_iter().chain(roles) {
                let mut row: Vec<Cell> = vec![s.site.clone().into(), line.name.clone().into(), role.clone().into()];
                row.extend([is_default.into(), score.into()]);
                table.push(row);
            }
        }
    }
    table
}
