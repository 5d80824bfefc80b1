//! Persona against authorial bias: shares of variance by site, the common shift, and what it does to each role.

use crate::error::Result;
use crate::experiment::cells::{curve, distinct, estimate, num, row, rows, said, short, site_axis};
use crate::figures::{Arm, Axis, Curves, Estimate, Forest, Names, Page, Panel, Plot, Reference, Style, Width};
use crate::table::{Table, number};

/// Roles that are drawn; with more, those that move most and least along the shift.
const MOST: usize = 24;

/// Draws the tables of [`crate::analysis::shares::tables`]. Roles are those of the site with the largest share of the model.
///
/// # Errors
/// A table that is missing, and what the page refuses.
pub fn page(name: &str, tables: &[Table]) -> Result<Page> {
    let [shares, shift, roles] = ["shares", "shift", "roles"].map(|t| super::table(tables, t));
    let (shares, shift, roles) = (shares?, shift?, roles?);
    let sites = distinct(shares, "site");
    let site = strongest(shares);
    let mut panels = vec![Panel::new("Shares of variance", Plot::Curves(by_site(shares, &sites)))];
    // Without a spread of personas there is nothing to measure a shift in.
    if (0..shift.rows.len()).any(|r| shift.num(r, "relative").is_some()) {
        panels.push(Panel::new("Common shift of all personas", Plot::Curves(shifts(shift, &sites))));
    }
    let pair = row(shift, &[("site", &site)]).map(|r| (shift.text(r, "from"), shift.text(r, "to")));
    let page = Page::new(name, "Persona and authorial bias", caption(tables, &site)?, Width::Page).row(2.4, panels);
    let Some((from, to)) = pair else { return Ok(page) };
    let forest = per_role(roles, &site, &from, &to);
    let height = 1.1 + 0.13 * forest.categories.len() as f64;
    Ok(page.row(height, vec![Panel::new(format!("Shift of each role at {}", short(&site)), Plot::Forest(forest))]))
}

/// What was found, in sentences.
pub fn summary(tables: &[Table]) -> Vec<String> {
    let (Ok(shares), Ok(shift)) = (super::table(tables, "shares"), super::table(tables, "shift")) else {
        return vec![];
    };
    let site = strongest(shares);
    let of = |source: &str| share(shares, &site, source);
    let mut all = vec![format!(
        "{site}: persona {}, model {}, interaction {}, residual {}",
        said(of("persona")),
        said(of("model")),
        said(of("interaction")),
        said(of("residual")),
    )];
    for r in rows(shift, &[("site", &site)]) {
        let relative = estimate(shift, r, "relative", "relative_low", "relative_high");
        let p = shift.num(r, "p_roles").map_or("none".into(), number);
        all.push(format!(
            "{site}: common shift from {} to {}: {} between-persona sd, split halves {}, p {p} over roles",
            shift.text(r, "from"),
            shift.text(r, "to"),
            said(relative),
            said(shift.num(r, "split_half_cosine").map(|value| Estimate { value, interval: None })),
        ));
    }
    all
}

fn share(shares: &Table, site: &str, source: &str) -> Option<Estimate> {
    estimate(shares, row(shares, &[("site", site), ("source", source)])?, "share", "ci_low", "ci_high")
}

/// The site at which the model has its largest share; the first of equals.
fn strongest(shares: &Table) -> String {
    let mut best = (f64::NEG_INFINITY, String::new());
    for r in rows(shares, &[("source", "model")]) {
        let value = num(shares, r, "share");
        if value > best.0 {
            best = (value, shares.text(r, "site"));
        }
    }
    best.1
}

fn by_site(shares: &Table, sites: &[String]) -> Curves {
    let of = |source: &str| -> Vec<Option<Estimate>> { sites.iter().map(|s| share(shares, s, source)).collect() };
    let series = distinct(shares, "source").iter().map(|s| curve(s, &of(s)).style(Style::Marked)).collect();
    Curves::new(site_axis(sites), Axis::new("share of variance"), series).lines(vec![Reference::horizontal(0.0, "")])
}

fn shifts(shift: &Table, sites: &[String]) -> Curves {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for r in 0..shift.rows.len() {
        let pair = (shift.text(r, "from"), shift.text(r, "to"));
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let line = |(from, to): &(String, String)| {
        let value = |site: &String| {
            let r = row(shift, &[("site", site), ("from", from), ("to", to)])?;
            estimate(shift, r, "relative", "relative_low", "relative_high")
        };
        curve(&format!("{from} to {to}"), &sites.iter().map(value).collect::<Vec<_>>()).style(Style::Marked)
    };
    let names = if pairs.len() > 6 { Names::Hidden } else { Names::Legend };
    let drawn: Vec<_> = pairs.iter().take(6).map(line).collect();
    Curves::new(site_axis(sites), Axis::new("length in between-persona sd"), drawn)
        .lines(vec![Reference::horizontal(0.0, "")])
        .names_at(names)
}

fn per_role(roles: &Table, site: &str, from: &str, to: &str) -> Forest {
    let mut at = rows(roles, &[("site", site), ("from", from), ("to", to)]);
    at.sort_by(|a, b| num(roles, *b, "along_shift").total_cmp(&num(roles, *a, "along_shift")));
    if at.len() > MOST {
        at.drain(MOST / 2..at.len() - MOST / 2);
    }
    let arm = |name: &str, column: &str| {
        let value = |r: &usize| roles.num(*r, column).map(|value| Estimate { value, interval: None });
        Arm::new(name, at.iter().map(value).collect())
    };
    let mut arms = vec![arm("along the shift of the others", "along_shift")];
    if at.iter().any(|r| roles.num(*r, "along_axis").is_some()) {
        arms.push(arm("along the assistant axis", "along_axis"));
    }
    Forest {
        x: Axis::new(format!("from {from} to {to}, in units of the stream")),
        categories: at.iter().map(|r| roles.text(*r, "role")).collect(),
        arms,
        lines: vec![Reference::vertical(0.0, "")],
    }
}

fn caption(tables: &[Table], site: &str) -> Result<String> {
    let (shares, shift, roles) =
        (super::table(tables, "shares")?, super::table(tables, "shift")?, super::table(tables, "roles")?);
    let of = |source: &str| said(share(shares, site, source));
    let total = distinct(roles, "role").len();
    let some =
        if total > MOST { format!(" The {MOST} of {total} roles that move most and least.") } else { String::new() };
    let first = row(shift, &[("site", site)]);
    let p = |column: &str| first.and_then(|r| shift.num(r, column)).map_or("none".into(), number);
    Ok(format!(
        "Two effects told apart. (a) Shares of the variance of rows: of the persona whichever model speaks, of the model whoever \
         speaks (authorial bias), of what a model does to single personas, and of prompts and noise; effects without their noise. \
         At {site}, where the model's share is largest: persona {}, model {}, interaction {}, residual {}. (b) Length of the common \
         shift of all personas from one model to the other, without noise, over the root mean square distance of personas from \
         their mean; at {site} sign flips of roles give p {}, of prompts p {}. (c) The difference of each role along the shift of \
         the other roles{}.{some} Intervals are 95 % over prompts.",
        of("persona"),
        of("model"),
        of("interaction"),
        of("residual"),
        p("p_roles"),
        p("p_prompts"),
        if rows(roles, &[("is_default", "1")]).is_empty() {
            ""
        } else {
            " and along the assistant axis of the first model"
        },
    ))
}
