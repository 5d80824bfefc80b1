//! The figure of a pick: AUROC over layers for each trait, and the chosen layer of all traits.

use crate::error::Result;
use crate::experiment::cells::{
    curve, distinct, estimate, mean, null, num, round, row, rows, short, site_axis, two_sided,
};
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Multiples, Page, Panel, Plot, Reference, Role};
use crate::figures::{Style, Width};
use crate::table::Table;

const CONTRAST: &str = "contrast vector";
const WORDING: &str = "token counts";
const NULL: &str = "shuffled labels";

/// What a figure of a sweep says besides its numbers.
pub(in crate::experiment) struct Words {
    pub title: String,
    pub caption: String,
    /// What rows are grouped by, in the plural.
    pub groups: String,
}

/// Draws the rows of one pick of the table of layers.
pub(super) fn page(name: &str, pick: &str, layers: &Table) -> Result<Page> {
    let traits = distinct(layers, "trait");
    let (title, what) = match pick {
        "last_prompt" => ("Traits at the last prompt token", "at the last prompt token, before a word of the reply"),
        _ => ("Traits over replies", "of the mean over the model's own reply"),
    };
    let caption = caption(layers, pick, what, &traits);
    sweeps(name, pick, layers, Words { title: title.into(), caption, groups: "personas".into() })
}

/// Draws the sweeps of one pick. Without a score of the wording it is left out.
pub(in crate::experiment) fn sweeps(name: &str, pick: &str, layers: &Table, words: Words) -> Result<Page> {
    let traits = distinct(layers, "trait");
    let at = |t: &str, probe: &str| rows(layers, &[("pick", pick), ("trait", t), ("probe", probe)]);
    let score = |r: usize| estimate(layers, r, "auroc", "auroc_lo", "auroc_hi");
    let banded = |r: usize| two_sided(layers, r, "auroc", "auroc_lo", "auroc_hi");
    let first = traits.first().map(|t| at(t, "contrast")).unwrap_or_default();
    let sites: Vec<String> = first.iter().map(|r| layers.text(*r, "site")).collect();
    let wording = |t: &str| at(t, "wording").first().copied().filter(|r| score(*r).is_some());
    let worded = traits.iter().any(|t| wording(t).is_some());

    let panel = |t: &String| {
        let contrast: Vec<Option<Estimate>> = at(t, "contrast").into_iter().map(banded).collect();
        let nulls: Vec<Option<Estimate>> = at(t, "contrast").into_iter().map(|r| null(layers, r)).collect();
        let mut series = vec![curve(CONTRAST, &contrast)];
        if worded {
            let wording = wording(t).and_then(banded);
            series.push(curve(WORDING, &vec![wording; sites.len()]).style(Style::Dashed));
        }
        series.push(curve(NULL, &nulls).style(Style::Null));
        let y = Axis::new(format!("AUROC on held-out {}", words.groups)).range(0.2, 1.02);
        let curves = Curves::new(site_axis(&sites), y, series);
        (t.clone(), curves.lines(vec![Reference::horizontal(0.5, "")]))
    };
    let chosen = |t: &String| row(layers, &[("pick", pick), ("trait", t), ("probe", "contrast"), ("chosen", "1")]);
    let value = |of: &dyn Fn(&String) -> Option<Estimate>| traits.iter().map(of).collect::<Vec<_>>();
    let mut arms = vec![Arm::new(CONTRAST, value(&|t| score(chosen(t)?)))];
    if worded {
        arms.push(Arm::new(WORDING, value(&|t| score(wording(t)?))).role(Role::Baseline));
    }
    arms.push(Arm::new(NULL, value(&|t| null(layers, chosen(t)?))).role(Role::Null));
    let forest = Forest {
        x: Axis::new("AUROC at the chosen layer").range(0.2, 1.02),
        categories: traits
            .iter()
            .map(|t| match chosen(t) {
                Some(r) => format!("{t} ({})", short(&layers.text(r, "site"))),
                None => t.clone(),
            })
            .collect(),
        arms,
        lines: vec![Reference::vertical(0.5, "chance")],
    };
    let page = Page::new(name, words.title, words.caption, Width::Page);
    let rows_of_panels = traits.len().div_ceil(3).max(1);
    let grid = Multiples::new(3.min(traits.len().max(1)), traits.iter().map(panel).collect());
    Ok(page.row(
        if rows_of_panels > 1 { 4.6 } else { 2.6 },
        vec![
            Panel::new(format!("Held-out {} by layer", words.groups), Plot::Multiples(grid)).share(1.9),
            Panel::new(format!("Layer chosen on training {}", words.groups), Plot::Forest(forest)).share(1.1),
        ],
    ))
}

fn caption(layers: &Table, pick: &str, what: &str, traits: &[String]) -> String {
    let contrast = rows(layers, &[("pick", pick), ("probe", "contrast")]);
    let chosen = rows(layers, &[("pick", pick), ("probe", "contrast"), ("chosen", "1")]);
    let (mut train, mut test) = (String::new(), String::new());
    if let Some(r) = contrast.first() {
        (train, test) = (layers.text(*r, "train_groups"), layers.text(*r, "test_groups"));
    }
    let average = |column: &str| mean(chosen.iter().map(|r| num(layers, *r, column))).map_or("none".into(), round);
    let constant = rows(layers, &[("pick", pick), ("probe", "contrast"), ("reason", "constant")]);
    let constant = constant.first().map_or(String::new(), |r| {
        format!(
            " At {} all rows are the same, which gives 0.5 by construction: a negative control.",
            layers.text(*r, "site")
        )
    });
    format!(
        "AUROC of contrast vectors {what}, for {} planted traits. Vectors are fitted on {train} personas and score \
         {test} held-out personas; bands and bars are 95 % bootstrap intervals over held-out personas; where all resamples agree, bars (b) are \
         one-sided 95 % bounds and no band is drawn. Grey: labels \
         shuffled by persona, from the mean to the 95 % quantile. Token counts: a logistic probe of the same rows' \
         words on the same split. The layer (right, in brackets) is chosen on training personas alone; there the mean \
         AUROC is {}, that of shuffled labels {}.{constant}",
        traits.len(),
        average("auroc"),
        average("null_mean"),
    )
}
