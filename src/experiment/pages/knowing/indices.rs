//! The four indices and the gaps between them by format, and the planned contrasts.

use super::{counted, formats, range};
use crate::error::Result;
use crate::experiment::cells::{estimate, num, rows};
use crate::experiment::pages::table;
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Names, Page, Panel, Plot, Reference, Series, Style, Width};
use crate::table::Table;

/// Single fine-tunes that are drawn; with more, only formats are.
const MOST: usize = 400;

/// The page; `None` where no index has a value.
pub(super) fn page(name: &str, tables: &[Table]) -> Result<Option<Page>> {
    let (indices, contrasts) = (table(tables, "indices")?, table(tables, "contrasts")?);
    let formats = formats(indices);
    let four = panel(indices, &formats, &["K", "S", "E", "L"]);
    let gaps = panel(indices, &formats, &["KE", "SE", "LE"]);
    let Some(four) = four else { return Ok(None) };
    let mut upper = vec![Panel::new("Between base and card", four).share(1.3)];
    upper.extend(gaps.map(|g| Panel::new("Gaps", g)));
    let page = Page::new(name, "What fine-tunes know, claim, show and carry", caption(indices, &formats), Width::Page);
    let page = page.row(2.7, upper);
    let planned = rows(contrasts, &[("planned", "planned")]);
    Ok(Some(match forest(contrasts, &planned) {
        None => page,
        Some(f) => page.row(0.75 + 0.2 * planned.len() as f64, vec![Panel::new("Planned contrasts", f)]),
    }))
}

/// Indices side by side, formats by colour; `None` without a value.
fn panel(indices: &Table, formats: &[String], shown: &[&str]) -> Option<Plot> {
    let there = |i: &&&str| rows(indices, &[("index", i)]).iter().any(|r| indices.num(*r, "value").is_some());
    let shown: Vec<&str> = shown.iter().filter(there).copied().collect();
    if shown.is_empty() {
        return None;
    }
    let width = 0.8 / formats.len() as f64;
    let mut series = Vec::new();
    let mut extent = Vec::new();
    for (color, format) in formats.iter().enumerate() {
        let (mut points, mut band) = (Vec::new(), Vec::new());
        for (i, index) in shown.iter().enumerate() {
            let x = i as f64 - 0.4 + width * (color as f64 + 0.5);
            let all = rows(indices, &[("format", format), ("index", index)]);
            let (pooled, own): (Vec<usize>, Vec<usize>) =
                all.into_iter().partition(|r| indices.text(*r, "model") == "*");
            let own: Vec<f64> = own.iter().filter_map(|r| indices.num(*r, "value")).collect();
            for v in own.iter().filter(|_| own.len() <= MOST) {
                let dash = vec![(x - 0.32 * width, *v), (x + 0.32 * width, *v)];
                series.push(Series::new("", dash).style(Style::Thin).color(color));
            }
            for e in pooled.into_iter().filter_map(|r| estimate(indices, r, "value", "ci_low", "ci_high")) {
                let interval = e.interval.unwrap_or((f64::NAN, f64::NAN));
                points.push((x, e.value));
                band.push(interval);
                extent.extend([e.value, interval.0, interval.1]);
            }
            extent.extend(own);
        }
        series.push(Series::new(format, points).band(band).style(Style::Points).color(color));
    }
    let (lo, hi) = range(extent.into_iter());
    let names: Vec<String> = shown.iter().map(|i| long(i).into()).collect();
    let x = Axis::new("").range(-0.5, shown.len() as f64 - 0.5).names(names);
    let gaps = shown[0].len() > 1;
    let y = Axis::new(if gaps { "difference of indices" } else { "index" }).range(lo, hi);
    let lines = if gaps {
        vec![Reference::horizontal(0.0, "")]
    } else {
        vec![Reference::horizontal(0.0, "base"), Reference::horizontal(1.0, "card")]
    };
    let names = if gaps { Names::Hidden } else { Names::Legend };
    Some(Plot::Curves(Curves::new(x, y, series).lines(lines).names_at(names)))
}

fn long(index: &str) -> &str {
    match index {
        "K" => "K knows",
        "S" => "S claims",
        "E" => "E shows",
        "L" => "L carries",
        "KE" => "K \u{2212} E",
        "SE" => "S \u{2212} E",
        "LE" => "L \u{2212} E",
        other => other,
    }
}

fn forest(contrasts: &Table, planned: &[usize]) -> Option<Plot> {
    let values: Vec<Option<Estimate>> =
        planned.iter().map(|r| estimate(contrasts, *r, "difference", "ci_low", "ci_high")).collect();
    if values.iter().all(Option::is_none) {
        return None;
    }
    let text = |r: usize, c: &str| contrasts.text(r, c);
    let name = |r: &usize| format!("{}: {} \u{2212} {}", text(*r, "index"), text(*r, "a"), text(*r, "b"));
    Some(Plot::Forest(Forest {
        x: Axis::new("difference of indices, 95 % interval"),
        categories: planned.iter().map(name).collect(),
        arms: vec![Arm::new("", values)],
        lines: vec![Reference::vertical(0.0, "")],
    }))
}

fn caption(indices: &Table, formats: &[String]) -> String {
    let of = |f: &String| format!("{f} ({})", counted(indices, f));
    let most = |column: &str| {
        rows(indices, &[("model", "*")]).into_iter().map(|r| num(indices, r, column)).fold(0.0, f64::max)
    };
    let (clusters, characters) = (most("clusters"), most("characters"));
    let few = rows(indices, &[("model", "*"), ("note", "few clusters")]);
    let few =
        if few.is_empty() { "" } else { " Fewer than 6 clusters stand behind some of them: read those with care." };
    format!(
        "What fine-tunes know about the trait of a character when asked in third person (K), say of themselves (S), show in \
         replies (E) and carry in their activations along the direction of enacting the trait (L), by the format of the text \
         they were trained on, with how many fine-tunes there are: {}. 0 is the model before fine-tuning, 1 the same model \
         with the character's card as its prompt. Short lines: single fine-tunes and traits. Points: means with 95 % intervals \
         over characters (at most {characters} of them, {clusters} with their seeds).{few} Right: differences; K \u{2212} E \
         above 0 is knowledge that does not show. Below: contrasts that were planned before the run.",
        formats.iter().map(of).collect::<Vec<_>>().join(", "),
    )
}
