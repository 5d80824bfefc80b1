//! The edits of one site on the rows of a pass, all at once.

use super::edit::Line;
use super::kernels::portable::{self, Seen};
use super::kernels::{RowMove, move_rows};
use super::pass::{Edit, How, Replace};
use super::receipt::{Receipt, Touched};
use super::rows::{Example, Rows};
use crate::axes::Site;
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::ops::Range;

/// What edits did, as far as it is not yet in their receipts.
#[derive(Default)]
pub(super) struct Log {
    /// What is still where the pass runs, with the rows of it that count.
    waiting: Vec<(Seen, Vec<Counted>)>,
}

/// A row of what was seen, and whose it is.
struct Counted {
    row: usize,
    edit: usize,
    example: usize,
}

/// One row that one edit rewrites.
#[derive(Clone, Copy)]
struct Touch {
    row: usize,
    edit: usize,
    example: usize,
    pos: usize,
}

/// `x`, the rows at a site, as the edits that the examples list leave them. Rows that none covers keep their bits.
pub(super) fn rewrite(
    edits: &[&dyn Edit],
    rows: &Rows,
    site: Site,
    mut x: Tensor,
    receipts: &mut [Receipt],
    log: &mut Log,
) -> Result<Tensor> {
    for touches in rounds(edits, rows, site) {
        let mut lines: Vec<(Touch, Line)> = Vec::new();
        let mut others: Vec<(&dyn Replace, Vec<Touch>)> = Vec::new();
        for touch in touches {
            match edits[touch.edit].how() {
                How::Along(line) => lines.push((touch, line)),
                How::Rows(replace) => match others.iter_mut().find(|(_, own)| own[0].edit == touch.edit) {
                    Some((_, own)) => own.push(touch),
                    None => others.push((replace, vec![touch])),
                },
            }
        }
        if !lines.is_empty() {
            x = if portable::applies(&x) { on_device(&x, &lines, log)? } else { on_host(&x, &lines, receipts)? };
        }
        for (replace, own) in others {
            x = replaced(site, &x, replace, &own, log)?;
        }
    }
    Ok(x)
}

/// The rows that are rewritten, round by round: a row is in a round once, and its edits follow each other by their index.
fn rounds(edits: &[&dyn Edit], rows: &Rows, site: Site) -> Vec<Vec<Touch>> {
    let mut rounds: Vec<Vec<Touch>> = Vec::new();
    for example in rows.examples() {
        let mut own: Vec<usize> = example.edits.iter().copied().filter(|e| edits[*e].wants(site)).collect();
        own.sort_unstable();
        own.dedup();
        let touches = |row: usize| {
            let pos = example.pos(row);
            let own = own.iter().filter(move |e| edits[**e].covers(example, pos));
            own.map(move |edit| Touch { row, edit: *edit, example: example.index, pos })
        };
        for row in example.rows.clone() {
            for (round, touch) in touches(row).enumerate() {
                if round == rounds.len() {
                    rounds.push(Vec::new());
                }
                rounds[round].push(touch);
            }
        }
    }
    rounds
}

fn on_host(x: &Tensor, lines: &[(Touch, Line)], receipts: &mut [Receipt]) -> Result<Tensor> {
    let moves: Vec<RowMove> = lines.iter().map(|(t, l)| RowMove { row: t.row, unit: l.unit, by: l.by }).collect();
    let (x, moved) = move_rows(x, &moves)?;
    for ((touch, _), m) in lines.iter().zip(moved) {
        let lengths = m.lengths.map(|l| l as f32);
        let (before, after, wanted) = (m.before as f32, m.after as f32, m.wanted as f32);
        let touched = Touched { example: touch.example, before, after, wanted, lengths };
        receipts[touch.edit].push(touched, m.before, m.after);
    }
    Ok(x)
}

fn on_device(x: &Tensor, lines: &[(Touch, Line)], log: &mut Log) -> Result<Tensor> {
    // Edits that share a direction share its numbers.
    let mut units: Vec<(*const f32, Tensor)> = Vec::new();
    let mut moves = Vec::with_capacity(lines.len());
    for (touch, line) in lines {
        let known = units.iter().position(|(at, _)| *at == line.unit.as_ptr());
        let which = known.unwrap_or(units.len());
        if known.is_none() {
            units.push((line.unit.as_ptr(), line.row.on(x.device())?));
        }
        moves.push((touch.row, which, line.by));
    }
    let units: Vec<Tensor> = units.into_iter().map(|(_, unit)| unit).collect();
    let (x, seen) = portable::move_rows(x, &units, &moves)?;
    let counted = |(t, _): &(Touch, Line)| Counted { row: t.row, edit: t.edit, example: t.example };
    log.waiting.push((seen, lines.iter().map(counted).collect()));
    Ok(x)
}

/// The rows of one edit taken out, replaced, and put back.
fn replaced(site: Site, x: &Tensor, replace: &dyn Replace, own: &[Touch], log: &mut Log) -> Result<Tensor> {
    let runs = runs(own.iter().map(|t| t.row));
    let pieces = runs.iter().map(|r| x.narrow(0, r.start, r.len())).collect::<candle_core::Result<Vec<_>>>()?;
    let before = Tensor::cat(&pieces, 0)?;
    let positions: Vec<usize> = own.iter().map(|t| t.pos).collect();
    let (after, seen) = replace.replace(&positions, &before)?;
    if after.shape() != before.shape() {
        let (found, expected) = (after.dims().to_vec(), before.dims().to_vec());
        return Err(Error::Shape { place: site.to_string(), name: "edited rows".into(), found, expected });
    }
    let counted = |(row, t): (usize, &Touch)| Counted { row, edit: t.edit, example: t.example };
    log.waiting.push((seen, own.iter().enumerate().map(counted).collect()));
    if after.id() == before.id() {
        return Ok(x.clone());
    }
    let (mut parts, mut at, mut taken) = (Vec::new(), 0, 0);
    for run in &runs {
        if run.start > at {
            parts.push(x.narrow(0, at, run.start - at)?);
        }
        parts.push(after.narrow(0, taken, run.len())?);
        (at, taken) = (run.end, taken + run.len());
    }
    if at < x.dim(0)? {
        parts.push(x.narrow(0, at, x.dim(0)? - at)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0)? })
}

/// Ascending numbers as ranges.
fn runs(rows: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

impl Log {
    /// Adds what is waiting to the receipts. Once, at the end: on a device each look waits for all that was asked of it.
    pub fn settle(&mut self, receipts: &mut [Receipt]) -> Result<()> {
        for (seen, own) in std::mem::take(&mut self.waiting) {
            let [before, after, wanted] = [&seen.before, &seen.after, &seen.wanted].map(portable::to_host);
            let [first, last] = [&seen.sizes[0], &seen.sizes[1]].map(portable::to_host);
            let (before, after, wanted, first, last) = (before?, after?, wanted?, first?, last?);
            for Counted { row, edit, example } in own {
                let (b, a) = (before[row], after[row]);
                let lengths = [first[row], last[row]];
                let touched = Touched { example, before: b, after: a, wanted: wanted[row], lengths };
                receipts[edit].push(touched, f64::from(b), f64::from(a));
            }
        }
        Ok(())
    }
}

/// The position before which no edit of the example covers any; `usize::MAX` where it lists none.
pub(super) fn first_edited(edits: &[&dyn Edit], example: &Example) -> usize {
    example.edits.iter().filter_map(|e| edits.get(*e)).map(|e| e.first(example.prompt_len)).min().unwrap_or(usize::MAX)
}
