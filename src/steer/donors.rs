//! Rows of a capture as what patches put in.

use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::Donor;
use crate::store::Store;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A row, and the position that it came from.
type Row = (Option<usize>, Vec<f32>);

/// Rows of one site by the prompt that they came from.
#[derive(Clone, Debug)]
pub struct Donors {
    place: String,
    by_id: BTreeMap<String, Arc<Donor>>,
}

impl Donors {
    /// Reads the rows of a site. A prompt with one row (its last token, a mean) gives that row to every position that is
    /// patched; one with several gives each to the position that it came from.
    ///
    /// # Errors
    /// No capture, one without the site, or prompts with several rows that are means.
    pub fn open(dir: &Path, site: Site) -> Result<Donors> {
        let store = Store::open(dir)?;
        store.whole()?;
        let place = dir.display().to_string();
        let width = store.sites(Some(&site.to_string()))?[0].width;
        let keys = store.keys(Some(&["id", "pos"]))?;
        let id = keys.column("id")?;
        let pos: Vec<Option<i64>> = match keys.column("pos") {
            Ok(column) => column.ints().map(Iterator::collect).unwrap_or_default(),
            Err(_) => vec![],
        };
        let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in 0..store.manifest.rows {
            let values = store.read(site, row..row + 1)?;
            debug_assert_eq!(values.len(), width);
            let at = pos.get(row).copied().flatten().and_then(|p| usize::try_from(p).ok());
            rows.entry(id.text(row).into_owned()).or_default().push((at, values));
        }
        let mut by_id = BTreeMap::new();
        for (id, mut rows) in rows {
            let donor = if rows.len() == 1 {
                Donor::One(rows.remove(0).1)
            } else {
                let bad = || {
                    let what = format!("prompt `{id}` of {place} has several rows that are no single tokens");
                    Error::refused(what, "capture tokens (--pick all, last_prompt or positions) to patch with")
                };
                let placed = rows.into_iter().map(|(at, row)| Some((at?, row))).collect::<Option<Vec<_>>>();
                let mut placed = placed.ok_or_else(bad)?;
                placed.sort_by_key(|r| r.0);
                Donor::Each(placed)
            };
            by_id.insert(id, Arc::new(donor));
        }
        Ok(Donors { place, by_id })
    }

    /// The rows for a prompt: those of the prompt with its id; where only one prompt was captured, those of that one.
    ///
    /// # Errors
    /// No such prompt.
    pub fn of(&self, id: &str) -> Result<Arc<Donor>> {
        let only = self.by_id.values().next().filter(|_| self.by_id.len() == 1);
        self.by_id.get(id).or(only).cloned().ok_or_else(|| {
            let few: Vec<&str> = self.by_id.keys().take(5).map(String::as_str).collect();
            let what = format!("{} has no rows of prompt `{id}`", self.place);
            Error::refused(what, format!("it has {}, ...: patches go by the ids of prompts", few.join(", ")))
        })
    }
}
