//! Whether enacting, describing and claiming are different directions: over traits, at every site.

use super::directions::Directions;
use super::protocol::Kind;
use crate::analysis::knowing::{
    Auroc, Directions as Compared, Pair, Told as Verdict, apart as compared, apart_table, apart_warning,
};
use crate::analysis::resampled::t_interval;
use crate::analysis::stats::mean;
use crate::axes::Pick;
use crate::table::Table;

/// What can be said.
pub(super) struct Told {
    pub table: Table,
    pub warning: Option<String>,
    /// Whether feeling and knowing are one at the site that is used: nothing follows from their difference then.
    pub same: bool,
}

/// Compares the directions of a pick at every site; cosines and AUROCs are means over traits, with intervals over them.
pub(super) fn apart(directions: &Directions, pick: Pick) -> Told {
    let transfer = directions.table("transfer");
    let place = |name: &str| Kind::ALL.iter().position(|k| k.name() == name);
    let mut sites: Vec<String> = Vec::new();
    let own: Vec<usize> = transfer.where_is("pick", pick.name());
    for r in &own {
        let site = transfer.text(*r, "site");
        if !sites.contains(&site) {
            sites.push(site);
        }
    }
    let all: Vec<Compared> = sites
        .into_iter()
        .map(|site| {
            let mut cells: [[(Vec<f64>, Vec<f64>); 3]; 3] = Default::default();
            for r in own.iter().filter(|r| transfer.text(**r, "site") == site) {
                let of = (place(&transfer.text(*r, "fitted_on")), place(&transfer.text(*r, "tried_on")));
                let (Some(a), Some(b)) = of else { continue };
                cells[a][b].0.extend(transfer.num(*r, "auroc"));
                cells[a][b].1.extend(transfer.num(*r, "cosine"));
            }
            let auroc = |values: &[f64]| {
                // An AUROC ends at 1.
                let interval = t_interval(values).map(|i| (i.lo.max(0.0), i.hi.min(1.0)));
                mean(values).map(|value| Auroc { value, interval })
            };
            Compared {
                site,
                cosines: cells.each_ref().map(|row| row.each_ref().map(|c| mean(&c.1).unwrap_or(f64::NAN))),
                transfer: cells.each_ref().map(|row| row.each_ref().map(|c| auroc(&c.0))),
            }
        })
        .collect();
    let pairs = compared(&all);
    let used = directions.site.to_string();
    let one = |p: &Pair| p.site == used && p.of == (0, 1) && p.told == Verdict::Not;
    Told { same: pairs.iter().any(one), warning: apart_warning(&pairs), table: apart_table(&pairs) }
}
