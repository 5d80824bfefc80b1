//! Three directions of every trait, fitted on the base alone: enacting, describing, claiming; and whether they differ.

use super::axis::axis;
use super::protocol::{Kind, Protocol};
use super::rows::{PICKS, Set};
use crate::analysis::placed::Placed;
use crate::analysis::probe::{FittedOn, Judging, Method, Plan as Probing, Settings as Probes, Tried, judge, transfer};
use crate::analysis::split::Groups;
use crate::analysis::stats::mean;
use crate::analysis::wording::wording_scores;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::table::{Cell, Table};
use crate::unit::parallel;
use ndarray::{Array1, Array2};

/// Directions by trait, kind, pick and site, and what they were judged by.
pub(super) struct Directions {
    all: Vec<(usize, Kind, Direction)>,
    /// Where latent measures are taken and edits are made.
    pub site: Site,
    /// The assistant axis at the site.
    pub axis: Direction,
    /// `transfer` and `wording`; `site_choice` where there was one.
    pub tables: Vec<Table>,
}

const FOLDS: usize = 5;

impl Directions {
    /// The direction of a trait; `None` where both sides have one mean there.
    pub fn of(&self, which: usize, kind: Kind, pick: Pick, site: Site) -> Option<&Direction> {
        let found = |(w, k, d): &&(usize, Kind, Direction)| (*w, *k, d.pick, d.site) == (which, kind, pick, site);
        self.all.iter().find(found).map(|(_, _, d)| d)
    }

    /// A table of the fit.
    pub fn table(&self, name: &str) -> &Table {
        self.tables.iter().find(|t| t.name == name).expect("the tables are made together")
    }

    /// All of them, with the places of their traits.
    pub fn iter(&self) -> impl Iterator<Item = &(usize, Kind, Direction)> {
        self.all.iter()
    }

    /// Fits on all passages, and on the default's own last prompt tokens by site; and judges on them: half of the groups choose the site, the other half is reported; with a
    /// given site all are reported.
    ///
    /// # Errors
    /// No direction at any site.
    pub fn fit(
        protocol: &Protocol,
        (sets, default): (&[Set], &[(Site, Array2<f32>)]),
        sites: &[Site],
        (given, latent): (Option<Site>, Pick),
        (seed, threads): (u64, usize),
    ) -> Result<Directions> {
        let mut all = Vec::new();
        for set in sets {
            for (p, pick) in PICKS.into_iter().enumerate() {
                for site in sites {
                    let t = &protocol.traits[set.which].name;
                    all.extend(direction(set, t, p, pick, *site).map(|d| (set.which, set.kind, d)));
                }
            }
        }
        let chosen = given.is_none();
        let trial = |keep: bool| move |g: usize| !chosen || g.is_multiple_of(2) == keep;
        let mut tables = Vec::new();
        let site = match given {
            Some(site) => site,
            None => {
                let pick = PICKS.iter().position(|p| *p == latent).unwrap_or(0);
                let scored = parallel(sites, threads, |site| Ok((*site, own(sets, pick, *site, &trial(true), seed))))?;
                let mut table = Table::new("site_choice", &["site", "pick", "held_out_auroc", "used"]);
                let best = scored.iter().filter(|s| s.1.is_some()).max_by(|a, b| {
                    // Of equals the first.
                    a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0)).then(b.0.cmp(&a.0))
                });
                let best = best.map(|b| b.0).ok_or_else(|| {
                    let what = "no site tells any trait's passages apart";
                    Error::refused(what, "give more passages or other sites, or the `site` outright")
                })?;
                for (site, auroc) in &scored {
                    let used = usize::from(*site == best);
                    table.push(vec![site.to_string().into(), latent.name().into(), (*auroc).into(), used.into()]);
                }
                tables.push(table);
                best
            }
        };
        let places: Vec<(usize, usize, Site)> = (0..protocol.traits.len())
            .flat_map(|t| (0..PICKS.len()).flat_map(move |p| sites.iter().map(move |s| (t, p, *s))))
            .collect();
        let found = parallel(&places, threads, |&(t, p, site)| Ok(tried(sets, t, p, site, &trial(false), seed)))?;
        tables.push(moved(protocol, &places, &found));
        tables.push(wording(protocol, sets, seed));
        let default = default
            .iter()
            .find(|(s, _)| *s == site)
            .ok_or_else(|| Error::refused(format!("{site} is not read"), "choose a site of `sites`"))?;
        Ok(Directions { all, axis: axis(&default.1, sets, site)?, site, tables })
    }
}

fn direction(set: &Set, name: &str, p: usize, pick: Pick, site: Site) -> Option<Direction> {
    let rows = set.at(p, site)?;
    let mean = |side: bool| {
        let own: Vec<usize> = (0..set.labels.len()).filter(|r| set.labels[*r] == side).collect();
        let mut sum = Array1::<f64>::zeros(rows.ncols());
        own.iter().for_each(|r| sum.zip_mut_with(&rows.row(*r), |s, x| *s += f64::from(*x)));
        (!own.is_empty()).then(|| sum / own.len() as f64)
    };
    let raw = mean(true)? - mean(false)?;
    let kind = set.kind.name();
    let origin = format!("difference of means over {} passages of the base", set.labels.len());
    Direction::new(site, pick, &raw, &format!("{name} {kind}"), &format!("not {name} {kind}"), &origin).ok()
}

/// A probe of one set on some of its groups.
struct Judged {
    plan: Probing,
    rows: Array2<f32>,
    judged: crate::analysis::probe::Judged,
}

fn judged(set: &Set, p: usize, site: Site, keep: &dyn Fn(usize) -> bool, seed: u64) -> Option<Judged> {
    let (labels, groups, rows) = set.part(keep, p, site)?;
    let target = labels.iter().map(|l| if *l { 1.0 } else { -1.0 }).collect();
    let judging = Judging { folds: FOLDS, permutations: 0, random: 0, halvings: 10, controls: 0, seed };
    let plan = Probing::new(groups, target, false, judging).ok()?;
    let found = judge(rows.view(), &plan, &[Method::Contrast], Probes::default()).ok()?.remove(0);
    Some(Judged { plan, rows, judged: found })
}

/// The mean held-out AUROC over traits and kinds.
fn own(sets: &[Set], p: usize, site: Site, keep: &dyn Fn(usize) -> bool, seed: u64) -> Option<f64> {
    let one = |set: &Set| judged(set, p, site, keep, seed)?.judged.metrics.first()?.value;
    mean(&sets.iter().filter_map(one).collect::<Vec<_>>())
}

/// Of a trait at a pick and site the kinds that can be fitted, and each on each.
fn tried(
    sets: &[Set],
    which: usize,
    p: usize,
    site: Site,
    keep: &dyn Fn(usize) -> bool,
    seed: u64,
) -> (Vec<Kind>, Vec<Tried>) {
    let of = |set: &Set| Some((set.kind, judged(set, p, site, keep, seed)?));
    let own: Vec<(Kind, Judged)> = sets.iter().filter(|s| s.which == which).filter_map(of).collect();
    let fitted: Vec<FittedOn> =
        own.iter().map(|(_, j)| FittedOn { rows: j.rows.view(), plan: &j.plan, judged: &j.judged }).collect();
    (own.iter().map(|o| o.0).collect(), transfer(&fitted, Probes::default()).unwrap_or_default())
}

/// One row per trait, pick, site and ordered pair of kinds; on the diagonal the held-out score.
fn moved(protocol: &Protocol, places: &[(usize, usize, Site)], found: &[(Vec<Kind>, Vec<Tried>)]) -> Table {
    let columns =
        ["site", "pick", "trait", "fitted_on", "tried_on", "auroc", "ci_low", "ci_high", "n", "cosine", "reason"];
    let mut table = Table::new("transfer", &columns);
    for ((t, p, site), (kinds, tried)) in places.iter().zip(found) {
        for one in tried {
            let i = one.interval;
            let mut row: Vec<Cell> = vec![site.to_string().into(), PICKS[*p].name().into()];
            row.push(protocol.traits[*t].name.as_str().into());
            row.extend([kinds[one.from].name().into(), kinds[one.to].name().into(), one.auroc.into()]);
            row.extend([i.map(|i| i.lo).into(), i.map(|i| i.hi).into(), one.n.into(), one.cosine.into()]);
            row.push(i.map_or("one class, or one group", |i| i.note()).into());
            table.push(row);
        }
    }
    table
}

/// How well the words of the passages alone tell the sides apart: what a mean over a response is read against.
fn wording(protocol: &Protocol, sets: &[Set], seed: u64) -> Table {
    let columns = ["trait", "kind", "pick", "wording_auroc", "ci_low", "ci_high", "n", "reason"];
    let mut table = Table::new("wording", &columns);
    for set in sets {
        let mut row: Vec<Cell> = vec![protocol.traits[set.which].name.as_str().into(), set.kind.name().into()];
        row.push(Pick::MeanResponse.name().into());
        let found = words(set, seed);
        let placed = found.as_ref().ok();
        let i = placed.and_then(Placed::interval);
        row.extend([placed.map(|p| p.auroc).into(), i.map(|i| i.lo).into(), i.map(|i| i.hi).into()]);
        row.extend([set.labels.len().into(), found.as_ref().err().cloned().unwrap_or_default().into()]);
        table.push(row);
    }
    table
}

fn words(set: &Set, seed: u64) -> std::result::Result<Placed, String> {
    let Groups { names, of_row, .. } = &set.groups;
    let mut scores = vec![0.0; set.labels.len()];
    let judging = Judging { folds: FOLDS, permutations: 0, random: 0, halvings: 0, controls: 0, seed };
    let target = set.labels.iter().map(|l| if *l { 1.0 } else { -1.0 }).collect();
    let plan = Probing::new(set.groups.clone(), target, false, judging).map_err(|e| e.to_string())?;
    for fold in 0..plan.folds {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..scores.len()).partition(|r| plan.fold_of[of_row[*r]] == fold);
        let found = wording_scores(&set.counts, &set.labels, &train, &test)?;
        test.iter().zip(found).for_each(|(r, s)| scores[*r] = s);
    }
    Placed::new(&scores, &set.labels, of_row, names.len()).ok_or_else(|| "one class alone".into())
}
