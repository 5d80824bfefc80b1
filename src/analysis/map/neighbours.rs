//! Who is near whom: cosines between centred role vectors, and with directions of traits.

use super::vectors::{Kind, MOST_PAIRED};
use super::{Shape, cosine};
use crate::table::{Cell, Table};

/// The nearest of somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    pub name: String,
    pub kind: Kind,
    /// Nearest first: kind, name and cosine.
    pub nearest: Vec<(Kind, String, f64)>,
}

/// The `k` nearest roles, and the `k` nearest traits where there are any, of every role, of the default and of every
/// trait. Roles and the default are relative to the mean of the roles; traits are directions already. Equal cosines
/// stand in the order of their names. Nothing where there are more than [`MOST_PAIRED`] roles.
pub fn neighbours(shape: &Shape, k: usize) -> Vec<Neighbours> {
    if shape.roles.len() > MOST_PAIRED {
        return Vec::new();
    }
    let roles = shape.roles.iter().zip(shape.points.rows()).map(|(n, v)| (Kind::Role, n.as_str(), v.to_vec()));
    let default = shape.default.iter().map(|d| (Kind::Default, d.name.as_str(), d.point.to_vec()));
    let traits = shape.traits.iter().zip(shape.directions.rows()).map(|(n, v)| (Kind::Trait, n.as_str(), v.to_vec()));
    let all: Vec<(Kind, &str, Vec<f64>)> = roles.chain(default).chain(traits).collect();
    let of = |i: usize| {
        let near = |kind: Kind| {
            let mut near: Vec<(Kind, String, f64)> = all
                .iter()
                .enumerate()
                .filter(|(j, other)| *j != i && other.0 == kind)
                .filter_map(|(_, (kind, name, v))| Some((*kind, name.to_string(), cosine(&all[i].2, v)?)))
                .collect();
            near.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.1.cmp(&b.1)));
            near.truncate(k);
            near
        };
        Neighbours { name: all[i].1.into(), kind: all[i].0, nearest: [near(Kind::Role), near(Kind::Trait)].concat() }
    };
    (0..all.len()).map(of).collect()
}

/// One row per neighbour: `kind` and `neighbour_kind` are role, default or trait; `rank` counts from 1.
pub fn neighbour_table(of: &[(&str, &[Neighbours])]) -> Table {
    let columns = ["site", "name", "kind", "neighbour_kind", "rank", "neighbour", "cosine"];
    let mut table = Table::new("neighbours", &columns);
    for (site, all) in of {
        for one in *all {
            let mut rank = (Kind::Default, 0);
            for (kind, name, cosine) in &one.nearest {
                rank = (*kind, if rank.0 == *kind { rank.1 + 1 } else { 1 });
                let mut row: Vec<Cell> = vec![(*site).into(), one.name.clone().into(), word(one.kind).into()];
                row.extend([word(*kind).into(), Cell::from(rank.1), name.clone().into(), (*cosine).into()]);
                table.push(row);
            }
        }
    }
    table
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Role => "role",
        Kind::Default => "default",
        Kind::Trait => "trait",
    }
}
