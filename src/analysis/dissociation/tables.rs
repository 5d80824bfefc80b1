//! Effects as a table.

use super::Moved;
use crate::analysis::interval::Interval;
use crate::table::{Cell, Table};

const COLUMNS: [&str; 22] = [
    "format",
    "edit",
    "direction",
    "dose_norms",
    "measure",
    "effect",
    "ci_low",
    "ci_high",
    "over_controls",
    "over_low",
    "over_high",
    "p_value",
    "q_value",
    "units",
    "coherent",
    "coherent_unedited",
    "coherent_controls",
    "neutral_nats_change",
    "operating",
    "verdict",
    "interval_note",
    "reason",
];

/// One row per format, edit, direction, dose and measure.
pub fn table(name: &str, all: &[Moved]) -> Table {
    let mut table = Table::new(name, &COLUMNS);
    for m in all {
        // Where all units agree there is no interval, not one without width.
        let ends = |i: Option<Interval>| {
            let i = i.filter(|i| !i.one_sided);
            [Cell::from(i.map(|i| i.lo)), i.map(|i| i.hi).into()]
        };
        let mut row: Vec<Cell> = vec![m.format.as_str().into(), m.edit.as_str().into(), m.direction.as_str().into()];
        row.extend([m.dose.into(), m.measure.into(), m.effect.into()]);
        row.extend(ends(m.interval));
        row.push(m.over.into());
        row.extend(ends(m.over_interval));
        row.extend([m.p.into(), m.q.into(), m.units.into()]);
        row.extend([m.coherent, m.coherent_before].map(|c| Cell::from(c.is_finite().then_some(c))));
        row.extend([m.coherent_controls.into(), m.nats.into(), usize::from(m.is_operating).into()]);
        row.push(m.verdict.clone().into());
        let note = m.over_interval.or(m.interval).map_or("", |i| i.note());
        row.push(note.into());
        let reason = match (m.is_control, m.interval, m.over) {
            (_, None, _) => Some("no interval from a single unit"),
            (false, _, None) => Some("no control in the same units"),
            _ => None,
        };
        row.push(reason.into());
        table.push(row);
    }
    table
}
