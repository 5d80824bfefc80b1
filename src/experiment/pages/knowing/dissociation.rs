//! Edits: what they move over controls, and by dose.

use crate::error::Result;
use crate::experiment::cells::{curve, distinct, estimate, rows, said};
use crate::experiment::pages::table;
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Multiples, Page, Panel, Plot, Reference, Series, Width};
use crate::table::{Table, number};

/// Directions of traits, as tables and readers call them.
const DIRECTIONS: [(&str, &str); 3] = [("feel", "enacting"), ("know", "describing"), ("self", "claiming")];
const MEASURES: [(&str, &str); 2] = [("E", "shown"), ("K", "known")];
const EDITS: [(&str, &str); 2] = [("add", "add"), ("ablate", "ablate")];

/// Draws the tables `dissociation` and `doses`; `None` where no edit changed anything that has a value.
///
/// # Errors
/// A table that is missing.
pub fn page(name: &str, tables: &[Table]) -> Result<Option<Page>> {
    let (found, doses) = (table(tables, "dissociation")?, table(tables, "doses")?);
    let forest = forest(found);
    let of = |(measure, word): &(&str, &str)| (format!("change of what is {word}"), by_dose(found, measure));
    let drawn = |p: &(String, Curves)| !p.1.series.is_empty();
    let panels: Vec<(String, Curves)> = MEASURES.iter().map(of).filter(drawn).collect();
    let title = "Which directions move what is shown, which what is known";
    let mut page = Page::new(name, title, caption(found, doses), Width::Page);
    if panels.is_empty() {
        return Ok(None);
    }
    if forest.arms.iter().any(|a| a.values.iter().any(Option::is_some)) {
        let height = 1.0 + 0.24 * forest.categories.len() as f64;
        page = page.row(height, vec![Panel::new("Over controls of the same length", Plot::Forest(forest))]);
    }
    let panel = Panel::new("By dose, over all formats", Plot::Multiples(Multiples::new(2, panels)));
    Ok(Some(page.row(2.4, vec![panel])))
}

/// Formats with their own operating points, the mean over all of them first.
fn formats(found: &Table) -> Vec<String> {
    let mut all = distinct(found, "format");
    all.sort_by_key(|f| (f != "*", f.clone()));
    all
}

fn forest(found: &Table) -> Forest {
    let mut categories = Vec::new();
    let mut values: Vec<Vec<Option<Estimate>>> = vec![Vec::new(); MEASURES.len()];
    for format in formats(found) {
        for (edit, verb) in EDITS {
            for (direction, word) in DIRECTIONS {
                let of = [("format", format.as_str()), ("edit", edit), ("direction", direction), ("operating", "1")];
                let own = rows(found, &of);
                if own.is_empty() {
                    continue;
                }
                let who = if format == "*" { "all" } else { &format }.replace('_', " ");
                categories.push(format!("{who}: {verb} {word}"));
                for (list, (measure, _)) in values.iter_mut().zip(MEASURES) {
                    let at = own.iter().find(|r| found.text(**r, "measure") == measure);
                    list.push(at.and_then(|r| estimate(found, *r, "over_controls", "over_low", "over_high")));
                }
            }
        }
    }
    Forest {
        x: Axis::new("change over controls"),
        categories,
        arms: MEASURES.iter().zip(values).map(|((_, word), v)| Arm::new(*word, v)).collect(),
        lines: vec![Reference::vertical(0.0, "")],
    }
}

fn by_dose(found: &Table, measure: &str) -> Curves {
    let mut series: Vec<Series> = DIRECTIONS
        .iter()
        .filter_map(|(direction, word)| one(found, word, measure, &|d: &str| d == *direction))
        .collect();
    series.extend(one(found, "random", measure, &|d: &str| d.starts_with("random")));
    series.extend(one(found, "in the span", measure, &|d: &str| d.starts_with("in_span")));
    Curves::new(Axis::new("dose (mean norms of the stream)"), Axis::new("change"), series)
        .lines(vec![Reference::horizontal(0.0, "")])
}

/// The effect of added directions by dose; of several the mean, without an interval.
fn one(found: &Table, name: &str, measure: &str, is: &dyn Fn(&str) -> bool) -> Option<Series> {
    let mut at: Vec<(f64, Vec<usize>)> = Vec::new();
    for r in rows(found, &[("format", "*"), ("edit", "add"), ("measure", measure)]) {
        let Some(dose) = found.num(r, "dose_norms").filter(|_| is(&found.text(r, "direction"))) else { continue };
        match at.iter_mut().find(|a| a.0 == dose) {
            Some(own) => own.1.push(r),
            None => at.push((dose, vec![r])),
        }
    }
    at.sort_by(|a, b| a.0.total_cmp(&b.0));
    let value = |own: &Vec<usize>| match own[..] {
        [r] => estimate(found, r, "effect", "ci_low", "ci_high"),
        _ => {
            let mean = crate::experiment::cells::mean(own.iter().filter_map(|r| found.num(*r, "effect")))?;
            Some(Estimate { value: mean, interval: None })
        }
    };
    let start = Some(Estimate { value: 0.0, interval: None });
    let values: Vec<Option<Estimate>> = std::iter::once(start).chain(at.iter().map(|(_, own)| value(own))).collect();
    let mut series = curve(name, &values);
    // Points stand at their doses; the curve leaves out what is not there.
    let doses: Vec<f64> = std::iter::once(0.0).chain(at.iter().map(|a| a.0)).collect();
    series.points.iter_mut().for_each(|p| p.0 = doses[p.0 as usize]);
    (!at.is_empty()).then_some(series)
}

fn caption(found: &Table, doses: &Table) -> String {
    let verdicts: Vec<String> = DIRECTIONS
        .iter()
        .filter_map(|(direction, word)| {
            let own = rows(found, &[("format", "*"), ("edit", "add"), ("direction", direction), ("operating", "1")]);
            let r = *own.first()?;
            let dose = number(found.num(r, "dose_norms")?);
            Some(format!("adding the {word} direction at {dose} {}", found.text(r, "verdict")))
        })
        .collect();
    let verdicts = match verdicts.is_empty() {
        true => "no dose leaves replies coherent".to_string(),
        false => verdicts.join(", "),
    };
    let needed: Vec<String> = rows(doses, &[("character", "*"), ("direction", "feel")])
        .into_iter()
        .map(|r| {
            let dose = said(estimate(doses, r, "dose_norms", "dose_lo", "dose_hi"));
            let dose = if doses.num(r, "dose_norms").is_none() { "not reached".into() } else { dose };
            format!("{} {dose}", doses.text(r, "format").replace('_', " "))
        })
        .collect();
    let level = (!doses.rows.is_empty()).then(|| doses.num(0, "level")).flatten().map_or("the level".into(), number);
    format!(
        "Directions of each trait added to the stream or taken out of it, in the base and in one fine-tune per format and \
         character, against random directions of the same length and others in the span of the activations. Over controls: mean \
         change less that of the controls, over characters and traits with its 95 % interval, at the largest dose at which \
         replies stay coherent. By dose: the change itself. In all formats together {verdicts}. Dose of the enacting direction at which \
         expression reaches {level}: {}.",
        if needed.is_empty() { "none tried".into() } else { needed.join("; ") },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::dissociation::{Effect, dissociation, table};

    #[test]
    fn the_page_is_drawn_of_what_there_is() {
        let mut effects = Vec::new();
        for u in 0..4 {
            for (direction, change) in [("feel", [0.5, 0.0]), ("know", [0.0, 0.4]), ("random 0", [0.1, 0.1])] {
                for dose in [None, Some(0.5), Some(1.0)] {
                    let wiggle = 0.02 * f64::from(u);
                    effects.push(Effect {
                        format: "first_person".into(),
                        unit: format!("u{u}"),
                        edit: if dose.is_some() { "add" } else { "ablate" }.into(),
                        direction: direction.into(),
                        is_control: direction == "random 0",
                        dose,
                        change: change.map(|c| Some(c + wiggle)),
                        coherent: 1.0,
                        coherent_before: 1.0,
                        nats: None,
                    });
                }
            }
        }
        let doses =
            Table::new("doses", &["format", "character", "direction", "level", "dose_norms", "dose_lo", "dose_hi"]);
        let found = table("dissociation", &dissociation(&effects));
        let page = page("x", &[found, doses.clone()]).unwrap().unwrap();
        assert!(page.desc.contains("adding the enacting direction at 1"), "{}", page.desc);
        let svg = page.draw().unwrap().svg;
        assert!(svg.contains("first person: add enacting") && svg.contains("describing"));
        assert!(super::page("x", &[table("dissociation", &[]), doses]).unwrap().is_none());
    }
}
