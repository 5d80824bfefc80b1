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

/// What a kind of probe or an analysis hands back: tables, and what is drawn from them.
#[derive(Default)]
pub struct Parts {
    pub tables: Vec<Table>,
    pub vectors: Vec<Direction>,
    /// Pages, whose description is the caption, with the tables they are drawn from.
    pub pages: Vec<(Page, Vec<&'static str>)>,
    pub summary: Vec<String>,
    pub warnings: Vec<String>,
    /// What `run.json` records besides.
    pub record: Vec<(&'static str, Value)>,
}

impl Parts {
    /// Draws the pages; `provenance` is what `run.json` records, to which the sizes of the tables are added.
    ///
    /// # Errors
    /// A page that cannot be drawn.
    pub fn findings(self, stem: &str, question: &str, mut provenance: Value) -> Result<Findings> {
        let mut figures = Vec::with_capacity(self.pages.len());
        for (page, tables) in self.pages {
            let figure = page.draw()?;
            let tables = tables.into_iter().map(String::from).collect();
            figures.push(Drawn { name: page.name, figure, caption: page.desc, tables });
        }
        self.record.into_iter().for_each(|(key, value)| provenance[key] = value);
        provenance["table_rows"] = self.tables.iter().map(|t| (t.name.clone(), json!(t.rows.len()))).collect();
        Ok(Findings {
            stem: stem.into(),
            question: question.into(),
            tables: self.tables,
            vectors: self.vectors,
            figures,
            summary: self.summary,
            warnings: self.warnings,
            tally: Tally::default(),
            provenance,
        })
    }
}

pub(super) fn assemble(plan: &Plan, mut found: Parts, work: Work<'_, '_>) -> Result<Findings> {
    found.warnings.splice(0..0, work.warnings);
    let findings = found.findings(&plan.spec.stem, &plan.spec.question, plan.provenance().clone())?;
    Ok(Findings { tally: work.tally, ..findings })
}
