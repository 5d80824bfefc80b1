//! What was measured on a base model, on the same model with the persona's card, and on fine-tunes of it.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The format whose rows are the lower anchor of their character: the base model without a prompt.
pub const BASE: &str = "base";
/// The format whose rows are the upper anchor: the base model with the character's card as its system prompt.
pub const CARD: &str = "card";

/// What is measured of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Knowledge about the character, asked in third person.
    K,
    /// What the model says of itself.
    S,
    /// What its replies show.
    E,
    /// The latent trait along the direction of enacting it.
    LFeel,
    /// The same along the direction of describing it.
    LKnow,
    /// The same along the direction of claiming it.
    LSelf,
}

impl Measure {
    pub const ALL: [Measure; 6] = [Measure::K, Measure::S, Measure::E, Measure::LFeel, Measure::LKnow, Measure::LSelf];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Measure::K => "K",
            Measure::S => "S",
            Measure::E => "E",
            Measure::LFeel => "L_feel",
            Measure::LKnow => "L_know",
            Measure::LSelf => "L_self",
        }
    }

    /// Whether it is read from activations.
    pub fn is_latent(self) -> bool {
        matches!(self, Measure::LFeel | Measure::LKnow | Measure::LSelf)
    }

    /// The measure of a name; `None` where there is no such measure.
    pub fn of(name: &str) -> Option<Measure> {
        Measure::ALL.into_iter().find(|m| m.name() == name)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The fine-tune; any name, or none, for anchors.
    pub model: String,
    /// What it was trained on, [`BASE`] or [`CARD`].
    pub format: String,
    pub character: String,
    /// The trait (a word that the language keeps for itself).
    pub quality: String,
    pub seed: String,
    /// The question or prompt; the same name is the same item for all models.
    pub item: String,
    pub sample: String,
    pub measure: Measure,
    /// `None` where it could not be scored.
    pub value: Option<f64>,
    /// Where in the model it was read; empty where that means nothing.
    pub site: String,
    /// A stratum of the item: neutral or emotional, trained or held out; empty without one.
    pub split: String,
}

impl Measured {
    /// Whether the row is an anchor of its character.
    pub fn is_anchor(&self) -> bool {
        self.format == BASE || self.format == CARD
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which row, from 0.
    pub row: usize,
    /// The column that shows it.
    pub column: &'static str,
    pub what: String,
    pub hint: &'static str,
}

/// The first fault of the rows, in their order; `None` where all is well.
pub fn fault(rows: &[Measured]) -> Option<Fault> {
    let single = rows.iter().enumerate().find_map(|(row, r)| cell_fault(row, r));
    let based: BTreeSet<&str> = rows.iter().filter(|r| r.format == BASE).map(|r| r.character.as_str()).collect();
    let tuned = || rows.iter().enumerate().filter(|(_, r)| !r.is_anchor());
    let homeless = tuned().find(|(_, r)| !based.contains(r.character.as_str())).map(|(row, r)| Fault {
        row,
        column: "format",
        what: format!("character `{}` has no rows of format `{BASE}`", r.character),
        hint: "indices start at the base model: add its rows for the character, with the same items",
    });
    [single, homeless, mixed(rows), twice(rows)].into_iter().flatten().min_by_key(|f| f.row)
}

/// [`fault`] as an error, where there are no lines to point to.
pub(super) fn check(rows: &[Measured]) -> Result<()> {
    if let Some(f) = fault(rows) {
        return Err(Error::refused(format!("row {} of the measures, `{}`: {}", f.row + 1, f.column, f.what), f.hint));
    }
    if rows.iter().all(Measured::is_anchor) {
        return Err(Error::refused(
            format!("{} rows of measures, and none of a fine-tune", rows.len()),
            "rows whose format is neither `base` nor `card` are what is compared",
        ));
    }
    Ok(())
}

fn cell_fault(row: usize, r: &Measured) -> Option<Fault> {
    let empty = |column, of: &str| {
        of.trim().is_empty().then(|| Fault {
            row,
            column,
            what: "the cell is empty".into(),
            hint: "every row needs a format, a character, a trait and an item, and rows of a fine-tune a model",
        })
    };
    let nan = r.value.is_some_and(|v| !v.is_finite()).then(|| Fault {
        row,
        column: "value",
        what: "the value is no finite number".into(),
        hint: "leave the cell empty if it is missing",
    });
    let named = if r.is_anchor() { None } else { empty("model", &r.model) };
    named
        .or_else(|| empty("format", &r.format))
        .or_else(|| empty("character", &r.character))
        .or_else(|| empty("trait", &r.quality))
        .or_else(|| empty("item", &r.item))
        .or(nan)
}

/// A fine-tune that is of two formats. One name may stand for several seeds, which are told apart by them.
fn mixed(rows: &[Measured]) -> Option<Fault> {
    let mut formats = BTreeMap::new();
    for (row, r) in rows.iter().enumerate().filter(|(_, r)| !r.is_anchor()) {
        let format = *formats.entry(r.model.as_str()).or_insert(r.format.as_str());
        if format != r.format {
            return Some(Fault {
                row,
                column: "format",
                what: format!("model `{}` is of format `{format}` and of `{}`", r.model, r.format),
                hint: "give each fine-tune a name of its own",
            });
        }
    }
    None
}

fn twice(rows: &[Measured]) -> Option<Fault> {
    let key = |r: &usize| {
        let r = &rows[*r];
        // The anchors of several seeds are further samples.
        let who = (&r.model, &r.format, &r.character, &r.quality, &r.seed);
        (who, (&r.item, &r.sample, r.measure, &r.site, &r.split))
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then(a.cmp(b)));
    let again = order.windows(2).filter(|w| key(&w[0]) == key(&w[1])).min_by_key(|w| w[1])?;
    let r = &rows[again[1]];
    Some(Fault {
        row: again[1],
        column: "item",
        what: format!(
            "{} of `{}` for item `{}`, sample `{}` is there twice (first in row {})",
            r.measure,
            r.model,
            r.item,
            r.sample,
            again[0] + 1
        ),
        hint: "one row per model, character, trait, item, sample, measure, site and split",
    })
}
