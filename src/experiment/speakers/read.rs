//! What is heard of the speakers: their coordinates turn by turn and token by token, and their markers.

use super::super::spec::Speakers as Settings;
use super::super::work::Work;
use super::Cast;
use crate::analysis::interval::Interval;
use crate::analysis::resampled::jackknife;
use crate::analysis::speakers::{By, Coordinate, Options, Said, by, coordinates};
use crate::axes::Site;
use crate::error::Result;
use crate::table::{Cell, Table};
use crate::talk::{Part, Place};
use crate::world::World;
use ndarray::Array2;

/// Tokens of a reply that are told apart from its beginning.
const OFFSETS: usize = 24;

/// Coordinates and markers under one model.
pub(super) struct Heard {
    /// By turn: `speaking` and `silent` members of the cast.
    pub turns: Vec<By>,
    /// By token of the reply (-1: the last of its header): the speaker after a switch (`new`), the one before it
    /// (`previous`), and a speaker who goes on (`same`).
    pub offsets: Vec<By>,
    pub voices: Vec<Voice>,
}

/// One speaker's replies.
pub(super) struct Voice {
    name: String,
    replies: usize,
    /// How often a trait of the speaker shows in a reply, and one that it lacks.
    own: Rate,
    other: Rate,
    /// Length of the spread of its replies over the distance of its mean from the mean of all.
    range: Option<f64>,
}

#[derive(Default)]
struct Rate {
    value: Option<f64>,
    /// 95 %, jackknife over conversations.
    interval: Option<Interval>,
}

/// Who spoke the rows.
pub(super) fn said(places: &[Place], schedule: &[Vec<usize>]) -> Vec<Said> {
    places.iter().map(|p| Said { run: p.talk, turn: p.turn, speaker: schedule[p.talk][p.turn] }).collect()
}

pub(super) fn heard(
    s: &Settings,
    world: &World,
    work: &mut Work<'_, '_>,
    cast: &Cast,
    (layers, said): (&[(Site, Array2<f32>)], &[Said]),
    options: Options,
    stage: &str,
) -> Result<Heard> {
    let speakers = world.speakers().len();
    let rows = &layers.iter().find(|(site, _)| *site == s.site).expect("the plan has checked it").1;
    let directions = coordinates(rows.view(), said, speakers, options)?;
    let mut turns = Vec::new();
    for (row, at) in rows.rows().into_iter().zip(said) {
        let mut together = cast.schedule[at.run].clone();
        together.sort_unstable();
        together.dedup();
        for speaker in together {
            let who = if speaker == at.speaker { "speaking" } else { "silent" };
            let value = directions.at(row, at.run, speaker);
            turns.extend(value.map(|value| Coordinate { who, at: at.turn as i64, run: at.run, value }));
        }
    }
    let (tokens, places) =
        work.read(&format!("{stage}tokens"), &cast.talks, &[Part::Before, Part::Tokens], &[s.site])?;
    let mut offsets = Vec::new();
    for (row, p) in tokens[0].1.rows().into_iter().zip(&places).filter(|(_, p)| p.turn > 0 && p.offset < OFFSETS) {
        let (now, last) = (cast.schedule[p.talk][p.turn], cast.schedule[p.talk][p.turn - 1]);
        let at = if p.part == Part::Before { -1 } else { p.offset as i64 };
        let both = if now == last { vec![("same", now)] } else { vec![("new", now), ("previous", last)] };
        for (who, speaker) in both {
            let value = directions.at(row, p.talk, speaker);
            offsets.extend(value.map(|value| Coordinate { who, at, run: p.talk, value }));
        }
    }
    Ok(Heard { turns: by(&turns), offsets: by(&offsets), voices: voices(world, cast, rows, said) })
}

fn voices(world: &World, cast: &Cast, rows: &Array2<f32>, said: &[Said]) -> Vec<Voice> {
    let d = rows.ncols();
    let mean = |of: &dyn Fn(&Said) -> bool| {
        let (mut sum, mut n) = (ndarray::Array1::<f64>::zeros(d), 0.0);
        for (row, _) in rows.rows().into_iter().zip(said).filter(|(_, s)| of(s)) {
            sum.zip_mut_with(&row, |m, v| *m += f64::from(*v));
            n += 1.0;
        }
        (sum / f64::max(n, 1.0), n)
    };
    let (grand, _) = mean(&|_| true);
    let one = |(i, person): (usize, &crate::world::Persona)| {
        let (own_mean, n) = mean(&|s| s.speaker == i);
        let spread: f64 = rows
            .rows()
            .into_iter()
            .zip(said)
            .filter(|(_, s)| s.speaker == i)
            .map(|(row, _)| row.iter().zip(&own_mean).map(|(v, m)| (f64::from(*v) - m).powi(2)).sum::<f64>())
            .sum();
        let way = &own_mean - &grand;
        let distance = way.dot(&way);
        // Shown and possible, of own traits and of others, by conversation.
        let mut counts = vec![[(0.0, 0.0); 2]; cast.talks.len()];
        let mut replies = 0;
        for (talk, (schedule, counts)) in cast.talks.iter().zip(cast.schedule.iter().zip(&mut counts)) {
            for (turn, _) in talk.turns.iter().zip(schedule).filter(|(_, who)| **who == i) {
                replies += 1;
                let shown = world.markers(&turn.reply);
                for id in world.trait_ids() {
                    let cell = &mut counts[usize::from(!person.has(id))];
                    *cell = (cell.0 + f64::from(u8::from(shown.has(id))), cell.1 + 1.0);
                }
            }
        }
        let rate = |k: usize| {
            let total = |without: Option<usize>| {
                let kept = counts.iter().enumerate().filter(|(r, _)| Some(*r) != without);
                let (hits, all) = kept.fold((0.0, 0.0), |t, (_, c)| (t.0 + c[k].0, t.1 + c[k].1));
                (all > 0.0).then(|| hits / all)
            };
            let value = total(None);
            let interval = value.and_then(|v| jackknife(counts.len(), v, |r| total(Some(r))));
            let interval = interval.map(|i| Interval { lo: i.lo.max(0.0), hi: i.hi.min(1.0), ..i });
            Rate { value, interval }
        };
        Voice {
            name: person.name.clone(),
            replies,
            own: rate(0),
            other: rate(1),
            range: (n > 1.0 && distance > 0.0).then(|| (spread / (n - 1.0) / distance).sqrt()),
        }
    };
    world.speakers().iter().enumerate().map(one).collect()
}

/// One row per model and speaker.
pub(super) fn voices_table<'a>(world: &World, of: impl Iterator<Item = (&'a str, &'a Heard)>) -> Table {
    let columns = ["model", "speaker", "replies", "own_rate", "own_low", "own_high", "other_rate", "other_low"];
    let more = ["other_high", "planted_own", "planted_other", "range", "reason"];
    let mut table = Table::new("voices", &[&columns[..], &more].concat());
    for (model, heard) in of {
        for v in &heard.voices {
            let mut row: Vec<Cell> = vec![model.into(), v.name.clone().into(), v.replies.into()];
            for rate in [&v.own, &v.other] {
                row.extend([rate.value.into(), rate.interval.map(|i| i.lo).into()]);
                row.push(rate.interval.map(|i| i.hi).into());
            }
            row.extend([world.p_on().into(), world.p_off().into(), v.range.into()]);
            row.push((v.replies == 0).then_some("never spoke").into());
            table.push(row);
        }
    }
    table
}
