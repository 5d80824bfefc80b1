//! The gate test: the same contents under several headers, and where the last prompt token stands on the assistant axis.

use super::Settings;
use super::sides::Side;
use crate::analysis::interval::Interval;
use crate::analysis::nulls::normal;
use crate::analysis::shares::gate;
use crate::analysis::stats::quantile;
use crate::axes::Site;
use crate::error::Result;
use crate::experiment::cells::{estimate, rows, said};
use crate::experiment::plan::Plan;
use crate::experiment::prompts::questions;
use crate::experiment::work::Work;
use crate::model::Model;
use crate::rng::stream;
use crate::table::{Cell, Table, number};
use crate::text::{ChatOptions, Message, USER};
use crate::unit::Item;
use ndarray::{Array1, Array2, ArrayView1, s};

/// Random directions behind the size that an effect has along any of them.
const RANDOM: usize = 1000;

/// Items by header, each with the contents in the same order; and what could not be written.
type Headers = Vec<(String, Vec<Item>)>;

/// The contents under every header: the chat template first, whose place the others are compared with.
pub(super) fn items(plan: &Plan, s: &Settings, model: &Model) -> Result<(Headers, Vec<String>)> {
    // Other questions than the axis is fitted on.
    let asked = questions(plan.world, plan.spec.seed, s.questions + s.contents)?;
    let contents: Vec<&str> = asked[s.questions..].iter().map(|q| q.text.as_str()).collect();
    let chat = |content: &str| Ok(model.text.chat(&[Message::new(USER, content)], true)?.tokens);
    let speaker = |content: &str| {
        let options = ChatOptions {
            generation_header: true,
            reply_as: Some(format!("<|{}|>", s.speaker)),
            ..ChatOptions::default()
        };
        Ok(model.text.chat_with(&[Message::new(USER, content)], &options)?.tokens)
    };
    let raw = |text: String| -> Result<Vec<u32>> {
        let mut tokens = model.text.raw(&text)?.tokens;
        // What a chat begins with, so that only the header is different.
        if let Some(bos) = model.text.bos().filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    };
    let mark = plan.world.tag().map(|t| t.mark.clone());
    type Write<'a> = Box<dyn Fn(&str) -> Result<Vec<u32>> + 'a>;
    let mut writes: Vec<(String, Write<'_>)> = vec![
        ("chat template".into(), Box::new(chat)),
        ("\"Assistant:\"".into(), Box::new(|c: &str| raw(format!("{c}\n\nAssistant:")))),
        (format!("<|{}|>", s.speaker), Box::new(speaker)),
        ("bare text".into(), Box::new(|c: &str| raw(c.into()))),
    ];
    if let Some(mark) = &mark {
        writes.push((format!("chat template, {}", mark.trim()), Box::new(move |c: &str| chat(&format!("{mark}{c}")))));
    }
    let (mut all, mut lost) = (Vec::new(), Vec::new());
    for (header, write) in writes {
        match contents.iter().map(|c| write(c)).collect::<Result<Vec<_>>>() {
            Ok(tokens) => {
                all.push((header.clone(), tokens.into_iter().enumerate().map(|t| item(&header, t)).collect()))
            }
            Err(e) => lost.push(format!("the header {header} cannot be written and is left out: {e}")),
        }
    }
    Ok((all, lost))
}

fn item(header: &str, (content, tokens): (usize, Vec<u32>)) -> Item {
    let last = tokens.len().saturating_sub(1);
    let id = format!("{header}/{content}");
    Item { id, prompt_len: tokens.len(), tokens, ranges: std::iter::once(last..last + 1).collect(), ..Item::default() }
}

/// Positions and effects at every site, of both models: 0 is the mean of the roles and 1 the default assistant.
pub(super) fn gate_table(
    plan: &Plan,
    s: &Settings,
    work: &mut Work<'_, '_>,
    before: &Model,
    sides: [&Side; 2],
) -> Result<Table> {
    let columns = [
        "model",
        "site",
        "header",
        "contents",
        "position",
        "ci_low",
        "ci_high",
        "effect",
        "effect_low",
        "effect_high",
        "p_value",
        "random_95",
        "reason",
    ];
    let mut table = Table::new("gate", &columns);
    let (headers, lost) = items(plan, s, work.model)?;
    work.warnings.extend(lost);
    let all = || headers.iter().flat_map(|h| h.1.clone()).collect::<Vec<Item>>();
    let kept = [
        (before.name.clone(), work.on(before, |w| w.capture("headers", all(), &plan.sites))?),
        (work.model.name.clone(), work.capture("headers", all(), &plan.sites)?),
    ];
    let names: Vec<(String, usize)> = headers.iter().map(|h| (h.0.clone(), h.1.len())).collect();
    let assistant = &plan.world.assistant().name;
    for ((model, kept), side) in kept.into_iter().zip(sides) {
        for (i, (site, rows)) in kept.iter().enumerate() {
            let (axis, middle) = side.axis(i, assistant);
            one_site(&mut table, (&model, site), &names, rows, (&axis, &middle), plan.spec.seed, s.bootstrap);
        }
    }
    Ok(table)
}

fn one_site(
    table: &mut Table,
    (model, site): (&str, &Site),
    headers: &[(String, usize)],
    kept: &Array2<f32>,
    (axis, middle): (&Array1<f64>, &Array1<f64>),
    seed: u64,
    resamples: usize,
) {
    let length = axis.dot(axis).sqrt();
    let rows = kept.mapv(f64::from);
    // Where all prompts end in the same vector there is no axis.
    let flat = length <= 1e-6 * middle.dot(middle).sqrt();
    let place = |row: ArrayView1<'_, f64>| (&row - middle).dot(axis) / (length * length);
    let mut from = 0;
    let (mut positions, mut means) = (Vec::new(), Vec::new());
    for (header, n) in headers {
        let of = rows.slice(s![from..from + n, ..]);
        positions.push((header.clone(), of.rows().into_iter().map(place).collect::<Vec<f64>>()));
        means.push(of.mean_axis(ndarray::Axis(0)).unwrap_or_else(|| Array1::zeros(rows.ncols())));
        from += n;
    }
    let found = if flat { None } else { gate(&positions, resamples, seed) };
    for (h, (header, n)) in headers.iter().enumerate() {
        let g = found.as_ref().map(|f| &f[h]);
        let ends = |i: Option<Interval>| (i.map(|i| i.lo), i.map(|i| i.hi));
        let (lo, hi) = ends(g.and_then(|g| g.interval));
        let (effect_lo, effect_hi) = ends(g.and_then(|g| g.effect_interval));
        let random = (h > 0 && g.is_some()).then(|| random_95(&(&means[h] - &means[0]), seed) / length);
        table.push(vec![
            model.into(),
            site.to_string().into(),
            header.as_str().into(),
            (*n).into(),
            g.map(|g| g.position).into(),
            lo.into(),
            hi.into(),
            g.filter(|_| h > 0).map(|g| g.effect).into(),
            effect_lo.into(),
            effect_hi.into(),
            g.and_then(|g| g.p).into(),
            random.into(),
            if g.is_none() { "the last prompt token is the same for everybody".into() } else { Cell::Empty },
        ]);
    }
}

/// The 95 % quantile of the size of a difference along unit directions without preference.
fn random_95(difference: &Array1<f64>, seed: u64) -> f64 {
    let mut rng = stream(seed, "gate/directions without preference");
    let mut draw = || {
        let v = Array1::from_shape_fn(difference.len(), |_| normal(&mut rng));
        v.dot(difference).abs() / v.dot(&v).sqrt()
    };
    quantile(&(0..RANDOM).map(|_| draw()).collect::<Vec<_>>(), 0.95).unwrap_or(f64::NAN)
}

pub(super) fn summary(tables: &[Table], at: &Site) -> Vec<String> {
    let Some(gate) = tables.iter().find(|t| t.name == "gate") else { return vec![] };
    let site = at.to_string();
    let one = |r: usize| {
        let effect = estimate(gate, r, "effect", "effect_low", "effect_high")?;
        Some(format!(
            "Gate at {site}, {}: {} moves the last prompt token by {} of the way from the mean role to the assistant (p {}).",
            gate.text(r, "model"),
            gate.text(r, "header"),
            said(Some(effect)),
            gate.num(r, "p_value").map_or("none".into(), number),
        ))
    };
    rows(gate, &[("site", &site)]).into_iter().filter_map(one).collect()
}
