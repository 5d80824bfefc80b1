//! Where latent measures are read: one site for the indices, all of them for the profile.

use super::index::Index;
use super::input::{Measure, Measured};
use super::sheet;
use super::units::{IndexRow, all, pooled};
use crate::analysis::stats::benjamini_hochberg;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The sites of every measure, those with numbers in their order.
pub(super) type Sites = BTreeMap<Measure, Vec<String>>;

pub(super) fn of(rows: &[Measured]) -> Sites {
    let mut sites: BTreeMap<Measure, BTreeSet<(String, u64, &str)>> = BTreeMap::new();
    for r in rows.iter().filter(|r| !r.site.is_empty()) {
        sites.entry(r.measure).or_default().insert(order(&r.site));
    }
    sites.into_iter().map(|(m, s)| (m, s.into_iter().map(|(_, _, s)| s.to_string()).collect())).collect()
}

/// `resid_post.10` after `resid_post.9`.
fn order(site: &str) -> (String, u64, &str) {
    let stem = site.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.into(), site[stem.len()..].parse().unwrap_or(0), site)
}

/// The site of the latent measures, with what to say where it was not asked for and there are several.
///
/// The middle one is taken then: a choice that no value has a part in.
pub(super) fn choose(sites: &Sites, asked: Option<&str>) -> Result<(Option<String>, Option<String>)> {
    let there: BTreeSet<_> = sites.values().flatten().map(|s| order(s)).collect();
    let there: Vec<&str> = there.into_iter().map(|(_, _, s)| s).collect();
    match (asked, there.as_slice()) {
        (Some(site), all) if all.contains(&site) => Ok((Some(site.into()), None)),
        (Some(site), []) => {
            Err(Error::refused(format!("no site `{site}`"), "no row of the measures names a site: leave it out"))
        }
        (Some(site), all) => {
            Err(Error::refused(format!("no site `{site}`"), format!("sites of the measures are {}", all.join(", "))))
        }
        (None, []) => Ok((None, None)),
        (None, [only]) => Ok((Some((*only).into()), None)),
        (None, all) => {
            let site = all[all.len() / 2];
            let said = format!(
                "latent measures have {} sites: the indices take {site}, the middle one; sites.csv has all",
                all.len()
            );
            Ok((Some(site.into()), Some(said)))
        }
    }
}

/// Whether a row has a part in the indices: a measure that was read at a single site, or at none, always has.
pub(super) fn takes(r: &Measured, site: Option<&str>, sites: &Sites) -> bool {
    r.site.is_empty() || sites.get(&r.measure).is_none_or(|s| s.len() < 2) || Some(r.site.as_str()) == site
}

/// Latent indices by format at every site; nothing where there is one site.
pub(super) fn profile(rows: &[Measured], sites: &Sites) -> Vec<(String, IndexRow)> {
    let latent = |m: Measure| matches!(m, Measure::LFeel | Measure::LKnow | Measure::LSelf);
    let there: BTreeSet<_> = sites.iter().filter(|(m, _)| latent(**m)).flat_map(|(_, s)| s).map(|s| order(s)).collect();
    if there.len() < 2 {
        return Vec::new();
    }
    let mut by_site: BTreeMap<&str, Vec<Measured>> = BTreeMap::new();
    rows.iter().filter(|r| latent(r.measure)).for_each(|r| by_site.entry(&r.site).or_default().push(r.clone()));
    let mut found = Vec::new();
    for (_, _, site) in there {
        let subjects = sheet::subjects(by_site.get(site).map_or(&[][..], Vec::as_slice), |_| true);
        found.extend(pooled(&all(&subjects), &Index::LATENT).into_iter().map(|row| (site.to_string(), row)));
    }
    let q = benjamini_hochberg(&found.iter().map(|(_, r)| r.p).collect::<Vec<_>>());
    found.iter_mut().zip(q).for_each(|((_, r), q)| r.q = q);
    found
}
