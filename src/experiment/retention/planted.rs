//! The hazard that the conversations show, by what was taught and by the context, beside the one that was planted.

use super::breaks::{Judged, ended};
use super::teach::Taught;
use crate::analysis::interval::wilson;
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::table::{Cell, Table};
use crate::talk::Talk;

/// Edges of the bins of context tokens; teaching is binned by the number of messages.
const CONTEXT: [usize; 6] = [0, 100, 160, 220, 300, 400];

/// One row per bin: breaks (by the rule) out of the replies that could have been one, with Wilson's interval, beside the
/// mean of the planted hazards of the same replies. The first reply after the lessons cannot break by plan and is left
/// out; so is the last one, behind which no second look confirms a break.
pub(super) fn table(plan: &Plan, taught: &[Taught], talks: &[Talk], judged: &[Judged]) -> Result<Table> {
    let teaching = super::teaching(plan)?;
    // (teaching bin, context bin, broke, planted hazard)
    let mut chances: Vec<(String, usize, bool, f64)> = Vec::new();
    for ((who, talk), found) in taught.iter().zip(talks).zip(judged) {
        let own: Vec<bool> = found.own.iter().map(|o| o[0]).collect();
        let Some((turns, broke)) = ended(&own) else { continue };
        let last = if broke { turns } else { turns.min(own.len().saturating_sub(1)) };
        for turn in 1..last {
            let context = talk.turns[turn].context;
            let bin = CONTEXT.iter().rposition(|edge| *edge <= context).unwrap_or(0);
            let hazard = teaching.hazard(who.tokens, context);
            chances.push((who.group(), bin, broke && turn + 1 == turns, hazard));
        }
    }
    let columns = ["by", "bin", "hazard", "lo", "hi", "planted", "breaks", "chances", "reason"];
    let mut table = Table::new("planted", &columns);
    let mut row = |by: &str, bin: String, of: Vec<&(String, usize, bool, f64)>| {
        let (n, k) = (of.len(), of.iter().filter(|c| c.2).count());
        let range = wilson(k, n, 0.95);
        let planted = of.iter().map(|c| c.3).sum::<f64>() / n.max(1) as f64;
        let mut row: Vec<Cell> = vec![by.into(), bin.into(), (n > 0).then_some(k as f64 / n as f64).into()];
        row.extend([range.map(|i| i.lo).into(), range.map(|i| i.hi).into(), (n > 0).then_some(planted).into()]);
        row.extend([k.into(), n.into(), (n == 0).then_some("no reply in this bin").into()]);
        table.push(row);
    };
    let mut groups: Vec<String> = taught.iter().map(Taught::group).collect();
    groups.dedup();
    for group in groups {
        let of = chances.iter().filter(|c| c.0 == group).collect();
        row("messages that taught", group, of);
    }
    for (bin, from) in CONTEXT.iter().enumerate() {
        let to = CONTEXT.get(bin + 1).map_or("more".into(), usize::to_string);
        let of = chances.iter().filter(|c| c.1 == bin).collect();
        row("tokens of context", format!("{from} to {to}"), of);
    }
    Ok(table)
}
