//! How fast the model changes from one speaker to the next: the place of every token of a reply on the way between them.

use super::{Settings, Voices};
use crate::analysis::turns::{TurnValue, mean_by_turn};
use crate::error::Result;
use crate::table::{Cell, Table};
use crate::talk::Part;
use ndarray::{Array1, ArrayView1};
use std::collections::BTreeMap;

/// One row per model, kind of turn and token: the mean place on the way from the mean reply of the speaker before (0) to
/// that of the one who speaks (1); -1 is the token before the reply. Turns after the same speaker are placed on the way
/// from a speaker of the conversation who is not speaking: they have nothing to change from.
pub(super) fn table(all: &[Voices; 2], s: &Settings, seed: u64) -> Result<Table> {
    let columns = ["model", "after", "token", "place", "lo", "hi", "conversations"];
    let mut table = Table::new("switch", &columns);
    for voices in all {
        let mut values = Vec::new();
        let ways = Ways::of(voices, s);
        let rows = voices.spoken.rows(s.site, Part::Before);
        for (r, place) in voices.spoken.replies.iter().enumerate() {
            if let Some((arm, way)) = ways.at(voices, place.talk, place.turn) {
                let value = way.place(rows.row(r));
                values.push(TurnValue { conversation: place.talk.to_string(), arm: arm.into(), turn: 0, value });
            }
        }
        let (places, tokens) = &voices.spoken.tokens;
        for (place, row) in places.iter().zip(tokens.rows()).filter(|(p, _)| p.offset < s.tokens) {
            if let Some((arm, way)) = ways.at(voices, place.talk, place.turn) {
                let (conversation, turn) = (place.talk.to_string(), place.offset + 1);
                values.push(TurnValue { conversation, arm: arm.into(), turn, value: way.place(row) });
            }
        }
        for m in mean_by_turn(&values, s.bootstrap, seed) {
            let mut row: Vec<Cell> = vec![voices.model.clone().into(), m.arm.into(), (m.turn as f64 - 1.0).into()];
            row.extend([m.mean.into(), m.interval.map(|i| i.lo).into(), m.interval.map(|i| i.hi).into()]);
            row.push(m.conversations.into());
            table.push(row);
        }
    }
    Ok(table)
}

/// The mean reply of every speaker.
struct Ways(BTreeMap<usize, Array1<f64>>);

/// From one mean to another.
struct Way<'a> {
    from: &'a Array1<f64>,
    to: &'a Array1<f64>,
}

impl Way<'_> {
    fn place(&self, row: ArrayView1<'_, f32>) -> f64 {
        let way = self.to - self.from;
        let along: f64 = row.iter().zip(self.from).zip(&way).map(|((v, f), w)| (f64::from(*v) - f) * w).sum();
        along / way.dot(&way)
    }
}

impl Ways {
    fn of(voices: &Voices, s: &Settings) -> Ways {
        let rows = voices.spoken.rows(s.site, Part::Reply);
        let mut sums: BTreeMap<usize, (Array1<f64>, f64)> = BTreeMap::new();
        for (place, row) in voices.spoken.replies.iter().zip(rows.rows()) {
            let who = voices.said[place.talk].speakers[place.turn];
            let (sum, n) = sums.entry(who).or_insert_with(|| (Array1::zeros(rows.ncols()), 0.0));
            sum.zip_mut_with(&row, |s, v| *s += f64::from(*v));
            *n += 1.0;
        }
        Ways(sums.into_iter().map(|(who, (sum, n))| (who, sum / n)).collect())
    }

    /// What kind of turn it is, and the way that it is placed on.
    fn at(&self, voices: &Voices, talk: usize, turn: usize) -> Option<(&'static str, Way<'_>)> {
        let speakers = &voices.said[talk].speakers;
        let (now, last) = (speakers[turn], speakers[turn.checked_sub(1)?]);
        let (arm, from) = match now != last {
            true => ("another speaker", last),
            false => ("the same speaker", *speakers.iter().find(|s| **s != now)?),
        };
        Some((arm, Way { from: self.0.get(&from)?, to: self.0.get(&now)? }))
    }
}
