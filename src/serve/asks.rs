//! Whoever answers questions about the model in bulk: the worker, or in tests the model by itself.

use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::generate::Settings;
use crate::unit::{self, Item, MAX_BATCH_TOKENS, Outcome, Plan, Tally, Task};
use ndarray::Array2;

/// Work that a page waits for in the background.
pub trait Asks: Sync {
    fn model(&self) -> &Model;

    /// Replies to prompts, in their order.
    ///
    /// # Errors
    /// A prompt that the model cannot take, a failed pass, a server that stops.
    fn replies(&self, items: Vec<Item>, settings: &Settings) -> Result<Vec<Vec<u32>>>;

    /// The ranges of all items at the given sites: one array per site, `[row, width]`, rows in the order of the items.
    ///
    /// # Errors
    /// The same.
    fn capture(&self, items: Vec<Item>, sites: &[Site]) -> Result<Vec<(Site, Array2<f32>)>>;
}

/// The model by itself, on the calling thread.
pub struct Alone<'m>(pub &'m Model);

impl Asks for Alone<'_> {
    fn model(&self) -> &Model {
        self.0
    }

    fn replies(&self, items: Vec<Item>, settings: &Settings) -> Result<Vec<Vec<u32>>> {
        Ok(self.run(Task::Generate(settings.clone()), items)?.replies)
    }

    fn capture(&self, items: Vec<Item>, sites: &[Site]) -> Result<Vec<(Site, Array2<f32>)>> {
        shaped(self.0, self.run(Task::Capture { sites: sites.to_vec() }, items)?.kept)
    }
}

impl Alone<'_> {
    fn run(&self, task: Task, items: Vec<Item>) -> Result<Outcome> {
        let plan = Plan { model: self.0, task, edits: vec![], items, max_batch_tokens: MAX_BATCH_TOKENS };
        let mut all = Outcome::default();
        unit::run(&plan, 1, None, &mut |_: &Tally| true, |_, outcome| {
            all = std::mem::take(&mut all).join(outcome);
            Ok(())
        })?;
        Ok(all)
    }
}

/// Kept rows as arrays.
pub(super) fn shaped(model: &Model, kept: Vec<(Site, Vec<f32>)>) -> Result<Vec<(Site, Array2<f32>)>> {
    let one = |(site, values): (Site, Vec<f32>)| {
        let width = model.lm.dims().width(site);
        let (rows, found) = (values.len() / width, vec![values.len()]);
        let array = Array2::from_shape_vec((rows, width), values);
        let (name, expected) = (site.to_string(), vec![rows, width]);
        Ok((site, array.map_err(|_| Error::Shape { place: "the page".into(), name, found, expected })?))
    };
    kept.into_iter().map(one).collect()
}
