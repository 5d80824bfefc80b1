//! A search as a table and a figure.

use super::search::{Along, Cell as Of, Searched, Value};
use super::strength::Strength;
use crate::error::Result;
use crate::figures::{Axis, Curves, Figure, Multiples, Page, Panel, Plot, Reference, Series, Style, Width};
use crate::table::{Cell, Table, number};

/// A number of a cell.
type Measure = fn(&Of) -> Option<f64>;

const COLUMNS: [&str; 25] = [
    "along",
    "site",
    "on",
    "strength",
    "amount",
    "score",
    "score_lo",
    "score_hi",
    "gain",
    "gain_lo",
    "gain_hi",
    "choosing_gain",
    "choosing_gain_lo",
    "choosing_gain_hi",
    "replies",
    "unscored",
    "perplexity",
    "repetition_3",
    "distinct_2",
    "knowledge",
    "knowledge_lo",
    "knowledge_hi",
    "text_perplexity",
    "chosen",
    "reason",
];

impl Along {
    /// As it stands in tables.
    pub fn name(self) -> String {
        match self {
            Along::Nothing => "nothing".into(),
            Along::Vector => "vector".into(),
            Along::Random(k) => format!("random {k}"),
        }
    }
}

impl Searched {
    /// A row for each cell, the unsteered model first.
    pub fn table(&self, strengths: &[String]) -> Table {
        let mut table = Table::new("search", &COLUMNS);
        for (i, c) in self.cells.iter().enumerate() {
            let strength = c.strength.map(|s| strengths[s].as_str());
            let mut row: Vec<Cell> = vec![c.along.name().into(), c.site.map(|s| s.to_string()).into()];
            row.extend([c.place.as_ref().map(|p| p.to_string()).into(), strength.into(), c.amount.into()]);
            for value in [&c.score, &c.gain, &c.choosing_gain] {
                // Where all resamples agree there is no interval, not one without width.
                let interval = value.interval.filter(|i| !i.one_sided);
                row.extend([value.mean.into(), interval.map(|i| i.lo).into(), interval.map(|i| i.hi).into()]);
            }
            row.extend([c.replies.into(), c.unscored.into()]);
            row.extend([c.perplexity, c.repetition, c.distinct].map(Cell::from));
            let known = c.paid.knowledge;
            row.extend(
                [known.map(|k| k.0), known.map(|k| k.1.lo), known.map(|k| k.1.hi), c.paid.perplexity].map(Cell::from),
            );
            row.push(usize::from(self.chosen == Ok(i)).into());
            let reason = match (c.score.mean, c.faults.first()) {
                (_, Some(fault)) => Some(fault.clone()),
                (None, _) => Some("no reply has a score".into()),
                _ if c.score.interval.is_none_or(|i| i.one_sided) => Some("every prompt has the same score".into()),
                _ => None,
            };
            row.push(reason.into());
            table.push(row);
        }
        table
    }

    /// What was found, in sentences.
    pub fn sentences(&self, strengths: &[String]) -> Vec<String> {
        let base = &self.cells[0];
        let told = |v: &Value| match (v.mean, v.interval) {
            (Some(m), Some(i)) if !i.one_sided => format!("{} [{}, {}]", number(m), number(i.lo), number(i.hi)),
            (Some(m), _) => number(m),
            _ => "none".into(),
        };
        let text = |c: &Of| {
            let value = |v: Option<f64>| v.map_or("none".into(), number);
            format!("perplexity {}, repetition {}", value(c.perplexity), value(c.repetition))
        };
        let mut all = vec![format!("unsteered: score {}, {}", told(&base.score), text(base))];
        match &self.chosen {
            Err(why) => all.push(format!("no operating point is recommended: {why}")),
            Ok(i) => {
                let c = &self.cells[*i];
                let place = c.place.as_ref().map(|p| p.to_string()).unwrap_or_default();
                let site = c.site.map(|s| s.to_string()).unwrap_or_default();
                let strength = c.strength.map_or("", |s| &strengths[s]);
                let by = if self.held_out {
                    "on prompts that had no say in the choice"
                } else {
                    "on the prompts that chose it"
                };
                all.push(format!(
                    "recommended: {site} on {place} at {strength}: score {}, gain {} {by}; {}",
                    told(&c.score),
                    told(&c.gain),
                    text(c)
                ));
                if let (Some((now, interval)), Some((before, _))) = (c.paid.knowledge, base.paid.knowledge) {
                    let ends = format!("[{}, {}]", number(interval.lo), number(interval.hi));
                    all.push(format!("knowledge there: {} {ends} right, {} unsteered", number(now), number(before)));
                }
                if let (Some(now), Some(before)) = (c.paid.perplexity, base.paid.perplexity) {
                    all.push(format!("perplexity of the texts there: {}, {} unsteered", number(now), number(before)));
                }
            }
        }
        all
    }

    /// Score by strength, and below it what it does to the text: a column of plots for each place.
    ///
    /// # Errors
    /// A figure that cannot be drawn.
    pub fn figure(&self, strengths: &[Strength], scored_by: &str) -> Result<(Figure, String)> {
        let x = Strength::axis(strengths);
        let mut places: Vec<String> = Vec::new();
        for c in &self.cells {
            let name = c.place.as_ref().map(|p| p.to_string());
            places.extend(name.filter(|n| !places.contains(n)).into_iter().collect::<Vec<_>>());
        }
        let base = &self.cells[0];
        let rows: [(&str, Measure, bool); 3] = [
            ("score", |c| c.score.mean, true),
            ("nats per token", |c| c.perplexity.map(f64::ln), false),
            ("repetition", |c| c.repetition, false),
        ];
        let mut page = Page::new("search", "Search for an operating point", self.caption(scored_by), Width::Page);
        for (name, of, band) in rows {
            let panel = |place: &String| {
                let lines = of(base).map(|v| Reference::horizontal(v, "")).into_iter().collect();
                let curves =
                    Curves::new(Axis::new(x.0), Axis::new(name), self.series(place, &x.1, of, band)).lines(lines);
                (place.clone(), curves)
            };
            let panels: Vec<(String, Curves)> = places.iter().map(panel).collect();
            page = page.row(2.0, vec![Panel::new(name, Plot::Multiples(Multiples::new(places.len(), panels)))]);
        }
        Ok((page.draw()?, self.caption(scored_by)))
    }

    fn series(&self, place: &str, x: &[f64], of: Measure, band: bool) -> Vec<Series> {
        let here = |c: &&Of| c.place.as_ref().is_some_and(|p| p.to_string() == place);
        let mut names: Vec<(String, bool)> = Vec::new();
        let name = |c: &Of| {
            let site = c.site.map(|s| s.to_string()).unwrap_or_default();
            if c.along == Along::Vector { (site, false) } else { ("random".into(), true) }
        };
        for c in self.cells.iter().filter(here) {
            if !names.contains(&name(c)) {
                names.push(name(c));
            }
        }
        names.sort_by_key(|(_, null)| *null);
        let at = |c: &Of| c.strength.map_or(f64::NAN, |s| x[s]);
        let mut all = Vec::new();
        for (label, null) in names {
            let mut own: Vec<&Of> = self.cells.iter().filter(here).filter(|c| name(c).0 == label).collect();
            own.sort_by(|a, b| at(a).total_cmp(&at(b)));
            if null {
                // Of several random directions, and of those of all sites, the one that does most at each strength.
                own = largest(own, of);
            }
            let point = |c: &&Of| (at(c), of(c).unwrap_or(f64::NAN));
            let points: Vec<(f64, f64)> = own.iter().map(point).collect();
            let series = Series::new(label, points);
            let nan = (f64::NAN, f64::NAN);
            let interval = |c: &&Of| c.score.interval.filter(|i| !i.one_sided).map_or(nan, |i| (i.lo, i.hi));
            let bands: Vec<(f64, f64)> = own.iter().map(interval).collect();
            all.push(match (null, band) {
                (true, _) => Series { style: Style::Null, ..series },
                (false, true) => series.band(bands),
                (false, false) => series,
            });
        }
        all
    }

    fn caption(&self, scored_by: &str) -> String {
        let n = self.cells[0].replies;
        let split = if self.held_out {
            "The point is chosen on every other prompt; the score shown is that of the rest"
        } else {
            "Too few prompts to choose on some and report on others: the score of the chosen point is too good"
        };
        format!(
            "Score by {scored_by} (mean over prompts, {n} replies per point, bands: 95 % bootstrap over prompts), perplexity \
             of the replies under the unsteered model (its logarithm, in nats per token) and the share of runs of three tokens \
             that came before, by the strength of the edit. Columns: the tokens that are edited. Grey: the largest value of \
             any random direction of the same length at any site. Dotted: the unsteered model. {split}."
        )
    }
}

/// Of cells in the order of their strengths, the one with the largest value at each.
fn largest(cells: Vec<&Of>, of: Measure) -> Vec<&Of> {
    let mut kept: Vec<&Of> = Vec::new();
    for cell in cells {
        match kept.last_mut() {
            Some(last) if last.strength == cell.strength => {
                if of(cell) > of(last) {
                    *last = cell;
                }
            }
            _ => kept.push(cell),
        }
    }
    kept
}
