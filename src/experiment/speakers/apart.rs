//! How far the voices are apart: told from activations, as a share of the variance, and by what each shows.

use super::talks::Said;
use super::{Settings, Voices};
use crate::analysis::decoder::Decoder;
use crate::analysis::interval::{cluster_bootstrap, wilson};
use crate::analysis::pca::pca;
use crate::analysis::stats::{mean, quantile};
use crate::axes::Site;
use crate::error::Result;
use crate::rng::stream;
use crate::table::{Cell, Table};
use crate::talk::Part;
use crate::world::World;
use ndarray::{Array1, Array2, Axis};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// Share of the covariance within speakers that is replaced by its mean variance.
const SHRINKAGE: f64 = 0.1;

/// How well speakers are told from rows of one kind.
pub(super) struct Told {
    pub model: String,
    pub site: Site,
    pub part: Part,
    /// Of every reply, whether the fold that did not see its conversation names its speaker.
    pub right: Vec<bool>,
    /// Shares that are right where speakers are shuffled within each conversation.
    null: Vec<f64>,
    speakers: usize,
    /// Why there is nothing to tell.
    reason: Option<String>,
}

fn labels(said: &[Said], voices: &Voices) -> Vec<usize> {
    voices.spoken.replies.iter().map(|p| said[p.talk].speakers[p.turn]).collect()
}

/// Tells speakers apart by folds of conversations, and once more with speakers shuffled within conversations.
pub(super) fn told_apart(
    voices: &Voices,
    site: Site,
    part: Part,
    names: &[&str],
    s: &Settings,
    seed: u64,
) -> Result<Told> {
    let rows = voices.spoken.rows(site, part);
    let labels = labels(&voices.said, voices);
    let talk: Vec<usize> = voices.spoken.replies.iter().map(|p| p.talk).collect();
    let mut told = Told {
        model: voices.model.clone(),
        site,
        part,
        right: vec![],
        null: vec![],
        speakers: names.len(),
        reason: None,
    };
    let score = |labels: &[usize]| folds(rows, labels, &talk, names, s.folds);
    match score(&labels) {
        Ok(right) => told.right = right,
        // Tokens that are all the same tell nothing: the header of the twin at its embedding.
        Err(e) => {
            told.reason = Some(e.to_string());
            return Ok(told);
        }
    }
    let mut rng = stream(seed, &format!("speakers/{}/{site}/{part:?}", voices.model));
    let mut by_talk: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    talk.iter().enumerate().for_each(|(r, t)| by_talk.entry(*t).or_default().push(r));
    for _ in 0..s.permutations {
        let mut shuffled = labels.clone();
        for rows in by_talk.values() {
            let mut own: Vec<usize> = rows.iter().map(|r| labels[*r]).collect();
            own.shuffle(&mut rng);
            rows.iter().zip(own).for_each(|(r, l)| shuffled[*r] = l);
        }
        let right = score(&shuffled)?;
        told.null.push(right.iter().filter(|r| **r).count() as f64 / right.len() as f64);
    }
    Ok(told)
}

fn folds(rows: &Array2<f32>, labels: &[usize], talk: &[usize], names: &[&str], folds: usize) -> Result<Vec<bool>> {
    let mut right = vec![false; labels.len()];
    for fold in 0..folds {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|r| talk[*r] % folds == fold);
        let classes: Vec<String> = train.iter().map(|r| names[labels[*r]].to_string()).collect();
        let decoder = Decoder::fit(rows.select(Axis(0), &train).view(), &classes, SHRINKAGE)?;
        for r in test {
            right[r] = decoder.name(rows.row(r), names).is_some_and(|n| n == labels[r]);
        }
    }
    Ok(right)
}

/// One row per model, site and pick.
pub(super) fn classification_table(told: &[Told]) -> Table {
    let columns =
        ["model", "site", "pick", "accuracy", "lo", "hi", "null_mean", "null_95", "chance", "replies", "reason"];
    let mut table = Table::new("classification", &columns);
    for t in told {
        let (k, n) = (t.right.iter().filter(|r| **r).count(), t.right.len());
        let range = wilson(k, n, 0.95);
        let pick = if t.part == Part::Before { "before" } else { "reply" };
        let mut row: Vec<Cell> = vec![t.model.clone().into(), t.site.to_string().into(), pick.into()];
        row.push((n > 0).then_some(k as f64 / n as f64).into());
        row.extend([range.map(|i| i.lo).into(), range.map(|i| i.hi).into()]);
        row.extend([mean(&t.null).into(), quantile(&t.null, 0.95).into(), (1.0 / t.speakers as f64).into()]);
        row.extend([n.into(), t.reason.clone().into()]);
        table.push(row);
    }
    table
}

/// The share of the variance of reply means that lies between speakers: the component between over both components, of
/// one-way analysis of variance summed over dimensions, so that noise alone gives 0 and not a share.
pub(super) fn share_table(all: &[Voices; 2], sites: &[Site], s: &Settings, seed: u64) -> Result<Table> {
    let columns = ["model", "site", "between_share", "lo", "hi", "replies", "reason"];
    let mut table = Table::new("shares", &columns);
    for voices in all {
        let labels = labels(&voices.said, voices);
        let mut by_talk: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        voices.spoken.replies.iter().enumerate().for_each(|(r, p)| by_talk.entry(p.talk).or_default().push(r));
        let talks: Vec<Vec<usize>> = by_talk.into_values().collect();
        for site in sites {
            let rows = voices.spoken.rows(*site, Part::Reply).mapv(f64::from);
            let all_rows: Vec<usize> = (0..labels.len()).collect();
            let share = between(&rows, &labels, &all_rows);
            let mut rng = stream(seed, &format!("speakers/share/{}/{site}", voices.model));
            let resampled = |sample: &[usize]| {
                let chosen: Vec<usize> = sample.iter().flat_map(|t| talks[*t].iter().copied()).collect();
                between(&rows, &labels, &chosen)
            };
            let range = cluster_bootstrap(talks.len(), s.bootstrap, &mut rng, resampled);
            let mut row: Vec<Cell> = vec![voices.model.clone().into(), site.to_string().into(), share.into()];
            row.extend([range.map(|i| i.lo).into(), range.map(|i| i.hi).into(), labels.len().into()]);
            row.push(share.is_none().then_some("replies do not vary").into());
            table.push(row);
        }
    }
    Ok(table)
}

fn between(rows: &Array2<f64>, labels: &[usize], chosen: &[usize]) -> Option<f64> {
    let d = rows.ncols();
    let mut sums: BTreeMap<usize, (Array1<f64>, f64)> = BTreeMap::new();
    let (mut total, mut squares) = (Array1::<f64>::zeros(d), 0.0);
    for r in chosen {
        let (sum, n) = sums.entry(labels[*r]).or_insert_with(|| (Array1::zeros(d), 0.0));
        *sum += &rows.row(*r);
        *n += 1.0;
        total += &rows.row(*r);
        squares += rows.row(*r).dot(&rows.row(*r));
    }
    let (n, k) = (chosen.len() as f64, sums.len() as f64);
    if k < 2.0 || n <= k {
        return None;
    }
    let explained: f64 = sums.values().map(|(sum, n)| sum.dot(sum) / n).sum();
    let (among, within) = (explained - total.dot(&total) / n, squares - explained);
    let (ms_among, ms_within) = (among / (k - 1.0), within / (n - k));
    let per_group = (n - sums.values().map(|(_, m)| m * m).sum::<f64>() / n) / (k - 1.0);
    let component = (ms_among - ms_within) / per_group;
    let whole = component + ms_within;
    (whole > 0.0).then_some(component / whole)
}

/// One row per model and speaker: how often it shows its own traits and others', how widely its replies lie about their
/// mean, and how far that is from the nearest other speaker's.
pub(super) fn voices_table(all: &[Voices; 2], world: &World, site: Site) -> Result<Table> {
    let columns = ["model", "speaker", "own_rate", "own_lo", "own_hi", "stray_rate", "stray_lo", "stray_hi"];
    let mut table =
        Table::new("voices", &[&columns[..], &["radius", "nearest", "distance_in_radii", "replies"]].concat());
    for voices in all {
        let labels = labels(&voices.said, voices);
        let rows = voices.spoken.rows(site, Part::Reply).mapv(f64::from);
        let of = |i: usize| -> Vec<usize> { (0..labels.len()).filter(|r| labels[*r] == i).collect() };
        let centre = |i: usize| rows.select(Axis(0), &of(i)).mean_axis(Axis(0));
        for (i, who) in world.speakers().iter().enumerate() {
            let mine = of(i);
            let Some(own) = centre(i) else { continue };
            let (mut shown, mut could, mut strayed, mut others) = (0, 0, 0, 0);
            for r in &mine {
                let place = voices.spoken.replies[*r];
                let found = world.markers(&voices.said[place.talk].replies[place.turn]);
                for t in world.trait_ids() {
                    let hit = usize::from(found.has(t));
                    if who.has(t) {
                        (shown, could) = (shown + hit, could + 1)
                    } else {
                        (strayed, others) = (strayed + hit, others + 1)
                    }
                }
            }
            let squared = |r: &usize| (&rows.row(*r) - &own).mapv(|v| v * v).sum();
            let radius = mean(&mine.iter().map(squared).collect::<Vec<f64>>()).unwrap_or_default().sqrt();
            let near = world.speakers().iter().enumerate().filter(|(j, _)| *j != i);
            let near = near.filter_map(|(j, p)| Some((&p.name, (&centre(j)? - &own).mapv(|v| v * v).sum().sqrt())));
            let near = near.min_by(|a, b| a.1.total_cmp(&b.1));
            let rate = |k: usize, n: usize| -> [Cell; 3] {
                let range = wilson(k, n, 0.95);
                [(n > 0).then_some(k as f64 / n as f64).into(), range.map(|i| i.lo).into(), range.map(|i| i.hi).into()]
            };
            let mut row: Vec<Cell> = vec![voices.model.clone().into(), who.name.clone().into()];
            row.extend(rate(shown, could));
            row.extend(rate(strayed, others));
            row.extend([
                radius.into(),
                near.map(|n| n.0.clone()).into(),
                near.map(|n| n.1 / radius).into(),
                mine.len().into(),
            ]);
            table.push(row);
        }
    }
    Ok(table)
}

/// Every reply in the plane of its model's first two components.
pub(super) fn map_table(all: &[Voices; 2], site: Site) -> Result<Table> {
    let mut table = Table::new("map", &["model", "conversation", "turn", "speaker", "pc1", "pc2"]);
    for voices in all {
        let labels = labels(&voices.said, voices);
        let rows = voices.spoken.rows(site, Part::Reply).mapv(f64::from);
        let found = pca(rows.view())?;
        for (r, place) in voices.spoken.replies.iter().enumerate() {
            let at = |c: usize| (&rows.row(r) - &found.mean).dot(&found.components.row(c));
            let mut row: Vec<Cell> = vec![voices.model.clone().into(), place.talk.into(), place.turn.into()];
            row.extend([labels[r].into(), ((at(0) * 1e3).round() / 1e3).into(), ((at(1) * 1e3).round() / 1e3).into()]);
            table.push(row);
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_between_is_that_of_the_planted_components_and_none_of_noise() {
        use crate::rng::stream;
        use rand::Rng;
        let mut rng = stream(4, "between");
        let mut u = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let (labels, chosen): (Vec<usize>, Vec<usize>) = (0..2000).map(|r| (r % 40, r)).unzip();
        // Speakers differ with variance 1, their replies with variance 3: a share of 1/4; 40 speakers leave about 0.04.
        let centres: Vec<[f64; 2]> = (0..40).map(|_| [u(), u()]).collect();
        let planted = Array2::from_shape_fn((2000, 2), |(r, c)| centres[labels[r]][c] + 3f64.sqrt() * u());
        let share = between(&planted, &labels, &chosen).unwrap();
        assert!((share - 0.25).abs() < 0.09, "{share}");
        let noise = Array2::from_shape_fn((2000, 2), |_| u());
        assert!(between(&noise, &labels, &chosen).unwrap().abs() < 0.01);
        assert_eq!(between(&noise, &vec![0; 2000], &chosen), None);
    }
}
