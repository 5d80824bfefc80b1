//! What a probe found.

use super::plan::Plan;
use super::work::Work;
use crate::direction::Direction;
use crate::error::Result;
use crate::figures::{Figure, Page};
use crate::table::Table;
use crate::unit::Tally;
use serde_json::{Value, json};

/// A figure with its name and caption.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The stem of its files: that of the probe, with a suffix for all but the first.
    pub name: String,
    pub figure: Figure,
    /// Every number in it comes from the tables.
    pub caption: String,
    /// Names of the tables that it is drawn from.
    pub tables: Vec<String>,
}

/// Everything a probe found.
#[derive(Clone, Debug)]
pub struct Findings {
    pub stem: String,
    pub question: String,
    pub tables: Vec<Table>,
    pub vectors: Vec<Direction>,
    pub figures: Vec<Drawn>,
    /// Short sentences with the numbers found, each with its interval and null where it has one.
    pub summary: Vec<String>,
    pub warnings: Vec<String>,
    /// Sum over all stages. The only part that depends on what was already on the shelf.
    pub tally: Tally,
    /// The resolved plan and what it was run on, as `run.json` records it.
    pub provenance: Value,
}

/// What a kind of probe hands back: tables, and what is drawn from them.
#[derive(Default)]
pub(super) struct Found {
    pub tables: Vec<Table>,
    pub vectors: Vec<Direction>,
    /// Pages, whose description is the caption, with the tables they are drawn from.
    pub pages: Vec<(Page, Vec<&'static str>)>,
    pub summary: Vec<String>,
}

pub(super) fn assemble(plan: &Plan, found: Found, work: Work<'_, '_>) -> Result<Findings> {
    let mut figures = Vec::with_capacity(found.pages.len());
    for (page, tables) in found.pages {
        let figure = page.draw()?;
        let tables = tables.into_iter().map(String::from).collect();
        figures.push(Drawn { name: page.name, figure, caption: page.desc, tables });
    }
    let rows: Value = found.tables.iter().map(|t| (t.name.clone(), json!(t.rows.len()))).collect();
    let mut provenance = plan.provenance().clone();
    provenance["table_rows"] = rows;
    Ok(Findings {
        stem: plan.spec.stem.clone(),
        question: plan.spec.question.clone(),
        tables: found.tables,
        vectors: found.vectors,
        figures,
        summary: found.summary,
        warnings: work.warnings,
        tally: work.tally,
        provenance,
    })
}
