//! What models carry: projections of what they read and write on the base's directions, in deviations of the base.

use super::directions::Directions;
use super::express::{Put, Shown};
use super::protocol::{Kind, Protocol};
use super::subjects::{BASE, Subject};
use crate::analysis::stats::{mean, variance};
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::experiment::work::Work;
use crate::model::Model;
use crate::unit::Item;
use ndarray::Array2;

/// Where a row was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Before any word of the reply.
    LastPrompt,
    /// Mean over the model's own reply: its words are in it.
    Reply,
    /// Mean over a fixed text, the same tokens for all models.
    Neutral,
}

impl Place {
    pub const ALL: [Place; 3] = [Place::LastPrompt, Place::Reply, Place::Neutral];

    pub fn name(self) -> &'static str {
        match self {
            Place::LastPrompt => "last_prompt",
            Place::Reply => "reply",
            Place::Neutral => "neutral_text",
        }
    }

    /// The pick of the directions that fit it.
    pub fn pick(self) -> Pick {
        match self {
            Place::LastPrompt => Pick::LastPrompt,
            Place::Reply | Place::Neutral => Pick::MeanResponse,
        }
    }
}

/// A value: one row on one direction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Carried {
    pub subject: usize,
    pub place: Place,
    pub item: String,
    pub sample: Option<usize>,
    pub site: Site,
    pub which: usize,
    pub kind: Kind,
    /// In deviations of the base over its rows at the place, from their mean.
    pub z: f64,
}

/// A row that is read.
struct Read {
    subject: usize,
    item: String,
    sample: Option<usize>,
}

/// The rows of a place: what is captured, and whose it is.
fn rows(
    place: Place,
    (protocol, subjects): (&Protocol, &[Subject]),
    shown: (&[Put], &[Shown]),
    model: &Model,
) -> Result<(Vec<Item>, Vec<Read>)> {
    let (mut items, mut reads) = (Vec::new(), Vec::new());
    let mut add = |tokens: Vec<u32>, prompt_len, range, adapter, read| {
        items.push(Item { tokens, prompt_len, ranges: vec![range], adapter, ..Item::default() });
        reads.push(read);
    };
    match place {
        Place::LastPrompt => {
            for (p, s) in shown.0.iter().zip(shown.1).filter(|(p, _)| p.sample == 0) {
                let n = s.prompt.len();
                let read = Read { subject: p.subject, item: protocol.prompts[p.prompt].id.clone(), sample: None };
                add(s.prompt.clone(), n, n - 1..n, subjects[p.subject].adapter, read);
            }
        }
        Place::Reply => {
            for (p, s) in shown.0.iter().zip(shown.1).filter(|(_, s)| !s.tokens.is_empty()) {
                let n = s.prompt.len();
                let (item, sample) = (protocol.prompts[p.prompt].id.clone(), Some(p.sample));
                let read = Read { subject: p.subject, item, sample };
                let whole = [&s.prompt[..], &s.tokens].concat();
                let range = n..whole.len();
                add(whole, n, range, subjects[p.subject].adapter, read);
            }
        }
        Place::Neutral => {
            for (i, subject) in subjects.iter().enumerate() {
                for (n, conversation) in protocol.neutral.iter().enumerate() {
                    let encoded = model.text.chat(&subject.told(protocol, conversation), false)?;
                    let range = encoded.response().filter(|r| !r.is_empty()).ok_or_else(|| {
                        Error::refused(format!("neutral conversation {n} has no reply"), "end it with the assistant's")
                    })?;
                    let read = Read { subject: i, item: format!("neutral {n}"), sample: None };
                    add(encoded.tokens, range.start, range, subject.adapter, read);
                }
            }
        }
    }
    Ok((items, reads))
}

/// A last prompt token on the assistant axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub subject: usize,
    /// From the mean of the base, in deviations of the base over prompts; larger is more assistant-like.
    pub z: f64,
}

/// Everything that is carried, at all sites; and where last prompt tokens lie on the axis, at its own.
pub(super) fn latent(
    name: &str,
    (protocol, subjects): (&Protocol, &[Subject]),
    shown: (&[Put], &[Shown]),
    directions: &Directions,
    sites: &[Site],
    work: &mut Work<'_, '_>,
) -> Result<(Vec<Carried>, Vec<Placed>)> {
    let (mut all, mut placed) = (Vec::new(), Vec::new());
    for place in Place::ALL {
        let (items, reads) = rows(place, (protocol, subjects), shown, work.model)?;
        let kept = work.capture(&format!("{name}carried, {}", place.name().replace('_', " ")), items, sites)?;
        for (site, rows) in &kept {
            project(place, *site, rows, &reads, (protocol, subjects), directions, &mut all);
            if place == Place::LastPrompt && *site == directions.axis.site {
                let of = |r: usize| (r, directions.axis.project(rows.row(r)));
                let found = standard((0..reads.len()).map(of).collect(), &reads, subjects).unwrap_or_default();
                placed.extend(found.into_iter().map(|(r, z)| Placed { subject: reads[r].subject, z }));
            }
        }
    }
    Ok((all, placed))
}

/// Projections of rows in deviations of those of the base, from their mean; `None` where the base does not vary.
fn standard(own: Vec<(usize, f64)>, reads: &[Read], subjects: &[Subject]) -> Option<Vec<(usize, f64)>> {
    let base = |r: &&(usize, f64)| subjects[reads[r.0].subject].format == BASE;
    let of_base: Vec<f64> = own.iter().filter(base).map(|r| r.1).collect();
    let (m, v) = (mean(&of_base)?, variance(&of_base)?);
    (v > 0.0).then(|| own.into_iter().map(|(r, p)| (r, (p - m) / v.sqrt())).collect())
}

fn project(
    place: Place,
    site: Site,
    rows: &Array2<f32>,
    reads: &[Read],
    (protocol, subjects): (&Protocol, &[Subject]),
    directions: &Directions,
    all: &mut Vec<Carried>,
) {
    for which in 0..protocol.traits.len() {
        for kind in Kind::ALL {
            let Some(d) = directions.of(which, kind, place.pick(), site) else { continue };
            let has = |r: &Read| protocol.characters[subjects[r.subject].character].traits.contains(&which);
            let own: Vec<(usize, f64)> =
                (0..reads.len()).filter(|r| has(&reads[*r])).map(|r| (r, d.project(rows.row(r)))).collect();
            let Some(own) = standard(own, reads, subjects) else { continue };
            all.extend(own.into_iter().map(|(r, z)| Carried {
                subject: reads[r].subject,
                place,
                item: reads[r].item.clone(),
                sample: reads[r].sample,
                site,
                which,
                kind,
                z,
            }));
        }
    }
}
