//! Which format makes which texts likely: matrices of models and texts.

use crate::error::Result;
use crate::experiment::cells::{distinct, mean, num, rows};
use crate::figures::{Heat, Page, Panel, Plot, Ramp, Shades, Width};
use crate::table::Table;

/// Draws the table `perplexity`: perplexity, the change of the likelihood, and the share of the own format's gain.
///
/// # Errors
/// A table that is missing, and what the page refuses.
pub fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let found = super::super::table(tables, "perplexity")?;
    let (models, texts) = (distinct(found, "format"), distinct(found, "text"));
    let panel = |title: &str, column: &str, shades: Shades| {
        let value = |model: &str, text: &str| {
            mean(rows(found, &[("format", model), ("text", text)]).into_iter().map(|r| num(found, r, column)))
        };
        let tuned: Vec<String> = models.iter().filter(|m| column == "perplexity" || *m != BASE).cloned().collect();
        Panel::new(title, Plot::Heat(matrix(&tuned, &texts, value, shades)))
    };
    let nll = Shades::new("nats per token", Ramp::Diverging);
    let characters = distinct(found, "character").len();
    let tuned = distinct(found, "model").len();
    let desc = format!(
        "How likely models find texts that none was trained on, mean over {characters} characters and the seeds of each \
         ({tuned} models in all); of conversations the assistant's words count, read through the chat template. (a) Perplexity. (b) \
         Change of the negative log-likelihood per token against the base on the same texts. (c) That change as a share of what \
         training on the format of the text itself brings, with the same character and seed; crossed out where that is not clear \
         of 0."
    );
    let height = 0.95 + 0.24 * models.len() as f64;
    Ok(Page::new(name, "Likelihood of texts by what models were trained on", desc, Width::Page)
        .row(
            height,
            vec![
                panel("Perplexity", "perplexity", Shades::new("perplexity", Ramp::Sequential)),
                panel("Change of NLL", "nll_minus_base", nll),
            ],
        )
        .row(
            height,
            vec![panel(
                "Share of the own format's gain",
                "share_of_own_format_gain",
                Shades::new("share", Ramp::Diverging),
            )],
        ))
}

/// The format of the model without an adapter.
pub(in crate::experiment) const BASE: &str = "base";

/// A matrix of what models were trained on by texts.
pub(in crate::experiment) fn matrix<M: AsRef<str>, T: AsRef<str>>(
    models: &[M],
    texts: &[T],
    value: impl Fn(&str, &str) -> Option<f64>,
    shades: Shades,
) -> Heat {
    let words = |name: &str| name.replace('_', " ");
    let named = |model: &M| if model.as_ref() == BASE { "nothing (base)".into() } else { words(model.as_ref()) };
    let of = |model: &M| texts.iter().map(|text| value(model.as_ref(), text.as_ref())).collect();
    Heat {
        x_label: "text".into(),
        y_label: "trained on".into(),
        columns: texts.iter().map(|text| words(text.as_ref())).collect(),
        rows: models.iter().map(named).collect(),
        values: models.iter().map(of).collect(),
        shades,
        decimals: 2,
    }
}
