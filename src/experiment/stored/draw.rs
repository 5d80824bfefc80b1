//! The figures of a store: those of the shipped experiments, in words of its own columns.

use super::Analysis;
use crate::analysis::sweep::Sweep;
use crate::error::Result;
use crate::experiment::trait_layers::draw::{self as layers, Words};
use crate::figures::Page;
use crate::table::Table;

pub(super) fn sweeps(ask: &Analysis, table: &Table, caption: String) -> Result<Page> {
    let words = Words { title: "Contrasts by site".into(), caption, groups: "groups".into() };
    layers::sweeps("contrast", ask.pick.name(), table, words)
}

pub(super) fn caption(sweeps: &[Sweep], ask: &Analysis) -> String {
    let each: Vec<String> = sweeps
        .iter()
        .map(|s| {
            let negative = s.layers.iter().find_map(|l| l.direction.as_ref()).map_or("others", |d| &d.negative);
            let (train, test) = (s.train_groups.len(), s.test_groups.len());
            format!("{} against {negative} (fitted on {train} groups, scored on {test})", s.name)
        })
        .collect();
    format!(
        "AUROC of contrast vectors on rows of held-out groups by `{}`: {}. Bands and bars are 95 % bootstrap intervals \
         over held-out groups; where all resamples agree, bars (b) are one-sided 95 % bounds and no band is drawn. Grey: \
         labels shuffled by group, from the mean to the 95 % quantile. The site (right, in brackets) is chosen on training \
         groups alone.",
        ask.group,
        each.join("; "),
    )
}
