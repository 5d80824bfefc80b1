//! The six measures of all subjects as rows: what the analysis takes, and `measures.csv`.

use super::ask::{self, Answered};
use super::directions::Directions;
use super::express::{self, Shown};
use super::latent::{Carried, Place, Placed, latent};
use super::protocol::{self, Kind, Protocol};
use super::subjects::{BASE, Subject};
use crate::analysis::knowing::{Measure, Measured};
use crate::axes::{Pick, Site};
use crate::error::Result;
use crate::experiment::work::Work;
use crate::model::generate::Settings as Drawing;
use crate::table::{Cell, Table};

/// How subjects are measured.
#[derive(Clone)]
pub(super) struct Asking {
    pub samples: usize,
    pub drawing: Drawing,
    pub seed: u64,
    /// Knowledge items that the base gets with at least this value are left out.
    pub known: f64,
    /// What L is read from; `None`: there is no L.
    pub latent: Option<Place>,
    /// Where the stream is read.
    pub sites: Vec<Site>,
}

/// Everything that was measured.
pub(super) struct Measures {
    /// With L at the directions' site and the place of the settings.
    pub rows: Vec<Measured>,
    pub asked: Vec<(ask::Put, Answered)>,
    pub put: Vec<express::Put>,
    pub shown: Vec<Shown>,
    pub carried: Vec<Carried>,
    pub placed: Vec<Placed>,
    /// Places of the knowledge items that the base has already, by character.
    pub known: Vec<usize>,
}

/// The place that a pick of the settings stands for.
pub(super) fn place(pick: Pick) -> Place {
    if pick == Pick::MeanResponse { Place::Reply } else { Place::LastPrompt }
}

/// Measures all subjects, the anchors among them.
pub(super) fn measure(
    name: &str,
    of: (&Protocol, &[Subject]),
    directions: &Directions,
    how: &Asking,
    work: &mut Work<'_, '_>,
) -> Result<Measures> {
    let (protocol, subjects) = of;
    let questions = ask::all(protocol, subjects);
    let answers = ask::ask(&format!("{name}questions"), of, &questions, vec![], work)?;
    let asked: Vec<(ask::Put, Answered)> = questions.into_iter().zip(answers).collect();
    let put = express::all(protocol, subjects, how.samples);
    let shown = express::express(&format!("{name}replies"), of, &put, vec![], (&how.drawing, how.seed), work)?;
    let (carried, placed) = latent(name, of, (&put, &shown), directions, &how.sites, work)?;
    let known = known(of, &asked, how.known);
    let mut rows = Vec::new();
    for (p, a) in &asked {
        let (subject, q) = (&subjects[p.subject], &protocol.questions[p.question]);
        let measure = match q.measure {
            protocol::Measure::Knowledge if known.contains(&p.question) => continue,
            protocol::Measure::Knowledge => Measure::K,
            protocol::Measure::Claim => Measure::S,
        };
        let all = &protocol.characters[q.character].traits;
        for which in q.which.map_or(all.clone(), |w| vec![w]) {
            let row = row((protocol, subject), which, measure, Some(a.value));
            rows.push(Measured { item: q.id.clone(), sample: q.sample.to_string(), split: q.split.clone(), ..row });
        }
    }
    for (p, s) in put.iter().zip(&shown) {
        let (subject, prompt) = (&subjects[p.subject], &protocol.prompts[p.prompt]);
        for which in &protocol.characters[subject.character].traits {
            let row = row((protocol, subject), *which, Measure::E, s.expression(*which));
            let (item, sample) = (prompt.id.clone(), p.sample.to_string());
            rows.push(Measured { item, sample, split: prompt.stratum.clone(), ..row });
        }
    }
    rows.extend(how.latent.into_iter().flat_map(|place| latent_rows(of, &carried, place, Some(directions.site))));
    Ok(Measures { rows, asked, put, shown, carried, placed, known })
}

/// The latent measures at a place, at one site or at all.
pub(super) fn latent_rows(
    (protocol, subjects): (&Protocol, &[Subject]),
    carried: &[Carried],
    place: Place,
    site: Option<Site>,
) -> Vec<Measured> {
    let here = carried.iter().filter(|c| c.place == place && site.is_none_or(|s| s == c.site));
    here.map(|c| {
        let measure = match c.kind {
            Kind::Feel => Measure::LFeel,
            Kind::Know => Measure::LKnow,
            Kind::Own => Measure::LSelf,
        };
        let sample = c.sample.map_or(String::new(), |s| s.to_string());
        let row = row((protocol, &subjects[c.subject]), c.which, measure, Some(c.z));
        Measured { item: c.item.clone(), sample, site: c.site.to_string(), split: place.name().into(), ..row }
    })
    .collect()
}

fn row((protocol, subject): (&Protocol, &Subject), which: usize, measure: Measure, value: Option<f64>) -> Measured {
    Measured {
        model: subject.model.clone(),
        format: subject.format.clone(),
        character: protocol.characters[subject.character].name.clone(),
        quality: protocol.traits[which].name.clone(),
        seed: subject.seed.map_or(String::new(), |s| s.to_string()),
        item: String::new(),
        sample: String::new(),
        measure,
        value,
        site: String::new(),
        split: String::new(),
    }
}

/// Places of the knowledge questions that the base answers with at least this value; of rotations, on the mean.
fn known((protocol, subjects): (&Protocol, &[Subject]), asked: &[(ask::Put, Answered)], least: f64) -> Vec<usize> {
    let knowledge = |q: &usize| protocol.questions[*q].measure == protocol::Measure::Knowledge;
    let same = |a: usize, b: usize| {
        let (a, b) = (&protocol.questions[a], &protocol.questions[b]);
        (&a.id, a.character, a.which, a.measure) == (&b.id, b.character, b.which, b.measure)
    };
    let of_base: Vec<(usize, f64)> =
        asked.iter().filter(|(p, _)| subjects[p.subject].format == BASE).map(|(p, a)| (p.question, a.value)).collect();
    let all = (0..protocol.questions.len()).filter(knowledge);
    all.filter(|q| {
        let own: Vec<f64> = of_base.iter().filter(|(other, _)| same(*q, *other)).map(|(_, v)| *v).collect();
        crate::analysis::stats::mean(&own).is_some_and(|m| m >= least)
    })
    .collect()
}

/// `measures.csv`.
pub(super) fn table(rows: &[Measured]) -> Table {
    let columns =
        ["model", "format", "character", "trait", "seed", "item", "sample", "measure", "value", "site", "split"];
    let mut table = Table::new("measures", &columns);
    for r in rows {
        let mut row: Vec<Cell> = [&r.model, &r.format, &r.character, &r.quality, &r.seed, &r.item, &r.sample]
            .map(|text| text.as_str().into())
            .to_vec();
        row.extend([r.measure.name().into(), r.value.into(), r.site.as_str().into(), r.split.as_str().into()]);
        table.push(row);
    }
    table
}
