//! Knowing a trait against feeling it: what fine-tunes know, say of themselves, show and carry inside, each between two
//! anchors.
//!
//! Every measure is put between the base model (0) and the base model with the character's card as its prompt (1). The
//! gaps between the four indices are what is asked about: known but not shown (KE), claimed but not shown (SE), felt but
//! not shown (LE). Within one fine-tune the items are the units (all models answer the same ones, so differences are taken
//! per item; Fieller 1954 for the ratio); over fine-tunes a character with a seed is. The pooled estimand is the mean over
//! characters like those at hand.

mod apart;
mod classes;
mod contrasts;
mod index;
mod input;
mod partial;
mod pooled;
mod power;
mod quadrants;
mod ratio;
mod sheet;
mod sites;
mod splits;
mod tables;
#[cfg(test)]
mod tests;
mod units;

pub use apart::{Auroc, Directions, Pair, Told, apart, apart_table, warning as apart_warning};
pub use classes::{Class, Thresholds};
pub use contrasts::{Contrast, Planned, USUAL, planned};
pub use index::Index;
pub use input::{BASE, CARD, Fault, Measure, Measured, fault};
pub use partial::{Partial, Share};
pub use power::{power, smallest_effect};
pub use quadrants::Quadrant;
pub use ratio::OVERLAP;
pub use splits::SplitRow;
pub use units::IndexRow;

use crate::error::Result;

/// Choices of an analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub thresholds: Thresholds,
    /// The site of the latent measures; the middle one of those that there are when left out.
    pub site: Option<String>,
    /// Contrasts that were planned; those of [`USUAL`] whose formats there are when left out.
    pub planned: Option<Vec<Planned>>,
    /// Resamples behind the share of a class and the intervals of partial R².
    pub resamples: usize,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { thresholds: Thresholds::default(), site: None, planned: None, resamples: 1000, seed: 0 }
    }
}

/// Means of one measure of a fine-tune and of its anchors.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    pub model: String,
    pub format: String,
    pub character: String,
    pub quality: String,
    pub measure: Measure,
    /// Items and samples of the fine-tune, and its values that could not be scored.
    pub items: usize,
    pub samples: usize,
    pub missing: usize,
    /// The fine-tune, the base model, the card: mean over items and its standard error.
    pub means: [(Option<f64>, Option<f64>); 3],
    /// Card less base over the items that all three have, with its standard error.
    pub distance: Option<(f64, Option<f64>)>,
    /// Why there is no index.
    pub reason: String,
}

/// What the measures say.
#[derive(Clone, Debug, PartialEq)]
pub struct Knowing {
    /// The site of the latent measures; `None` where they have none.
    pub site: Option<String>,
    pub thresholds: Thresholds,
    /// Of each fine-tune and trait, then pooled by format: the indices, the gaps.
    pub indices: Vec<IndexRow>,
    /// The same of the latent indices and their difference.
    pub latent: Vec<IndexRow>,
    pub raw: Vec<Raw>,
    /// Planned ones first.
    pub contrasts: Vec<Contrast>,
    pub quadrants: Vec<Quadrant>,
    pub splits: Vec<SplitRow>,
    /// Latent indices pooled by format at every site; empty with a single one.
    pub sites: Vec<(String, IndexRow)>,
    pub partial: Vec<Partial>,
    pub warnings: Vec<String>,
}

/// Indices, gaps, contrasts, classes and what comes with them, from rows in any order.
///
/// # Errors
/// Rows with a [`fault`], none of a fine-tune, thresholds in the wrong order, a site or a planned format that is not
/// there.
pub fn knowing(rows: &[Measured], options: &Options) -> Result<Knowing> {
    input::check(rows)?;
    options.thresholds.check()?;
    let sites = sites::of(rows);
    let (site, chosen) = sites::choose(&sites, options.site.as_deref())?;
    let takes = |r: &Measured| sites::takes(r, site.as_deref(), &sites);
    let subjects = sheet::subjects(rows, takes);
    let found = units::all(&subjects);
    let planned = contrasts::plan(&found, options.planned.as_deref())?;
    let mut knowing = Knowing {
        thresholds: options.thresholds,
        indices: units::rows(&found, &Index::MAIN),
        latent: units::rows(&found, &Index::LATENT),
        raw: units::raw(&subjects),
        contrasts: contrasts::contrasts(&found, &planned),
        quadrants: quadrants::quadrants(&subjects, options),
        splits: splits::splits(rows, takes),
        sites: sites::profile(rows, &sites),
        partial: partial::partial(rows, options),
        warnings: chosen.into_iter().collect(),
        site,
    };
    knowing.warnings.extend(warnings(&knowing, rows));
    Ok(knowing)
}

fn warnings(found: &Knowing, rows: &[Measured]) -> Vec<String> {
    let mut said = Vec::new();
    let missing = rows.iter().filter(|r| r.value.is_none()).count();
    if missing > 0 {
        said.push(format!("{missing} of {} values are missing and are left out of the means", rows.len()));
    }
    let overlapping = found.raw.iter().filter(|r| r.reason == "anchors overlap").count();
    if overlapping > 0 {
        said.push(format!(
            "in {overlapping} of {} cells the card is within {OVERLAP} standard errors of the base model: no index there",
            found.raw.len()
        ));
    }
    let lost = found.raw.iter().filter(|r| r.distance.is_none()).count();
    if lost > 0 {
        said.push(format!("{lost} of {} cells cannot be put between anchors; raw.csv says why", found.raw.len()));
    }
    said
}
