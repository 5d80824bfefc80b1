//! Scores made elsewhere: a CSV with `id` and `score`.

use super::{Outcome, Reply, Scorer, Why};
use crate::csv::Csv;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Scores by id, and by other columns that the file shares with the replies.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Columns besides `id` by which lines are told apart.
    columns: Vec<String>,
    by_key: BTreeMap<Vec<String>, String>,
}

const HINT: &str = "a line a reply, with the columns id and score; of a sweep with strength and seed too";

impl Given {
    /// Reads a CSV. Columns that the replies have as well (`strength`, `seed`) are part of a line's key.
    ///
    /// # Errors
    /// No column `id` or `score`, two lines with one key.
    pub fn parse(place: &str, text: &str, replies: &[Reply]) -> Result<Given> {
        let (mut csv, names) = Csv::open(text.as_bytes(), place)?;
        let at = |name: &str| names.iter().position(|n| n == name);
        let need = |name: &str| at(name).ok_or_else(|| Error::format(place, format!("no column `{name}`"), HINT));
        let (id, score) = (need("id")?, need("score")?);
        let shared = |n: &&String| replies.iter().any(|r| r.columns.iter().any(|(k, _)| k == *n));
        let columns: Vec<String> = names.iter().filter(shared).cloned().collect();
        let mut by_key = BTreeMap::new();
        let mut cells = Vec::new();
        while csv.record(&mut cells)? {
            let rest = columns.iter().filter_map(|c| at(c)).map(|c| cells[c].clone());
            let key: Vec<String> = std::iter::once(cells[id].clone()).chain(rest).collect();
            if by_key.insert(key.clone(), cells[score].clone()).is_some() {
                let what = format!("a second score for {}", key.join(", "));
                return Err(Error::format(format!("{place}, line {}", csv.line()), what, HINT));
            }
        }
        Ok(Given { columns, by_key })
    }

    /// How many lines belong to none of the replies.
    pub fn unused(&self, replies: &[Reply]) -> usize {
        let keys: std::collections::BTreeSet<Vec<String>> = replies.iter().map(|r| self.key(r)).collect();
        self.by_key.keys().filter(|k| !keys.contains(*k)).count()
    }

    fn key(&self, reply: &Reply) -> Vec<String> {
        let of =
            |name: &String| reply.columns.iter().find(|(k, _)| k == name).map_or(String::new(), |(_, v)| v.clone());
        std::iter::once(reply.id.clone()).chain(self.columns.iter().map(of)).collect()
    }
}

impl Scorer for Given {
    fn score(&self, replies: &[Reply]) -> Result<Vec<Outcome>> {
        let one = |r: &Reply| match self.by_key.get(&self.key(r)).map(|cell| cell.trim()) {
            None => Outcome::Unscored(Why::Missing),
            Some(cell) => match cell.parse::<f64>() {
                Ok(v) if v.is_finite() => Outcome::Score(v),
                _ => Outcome::Unscored(Why::Unparsable(cell.into())),
            },
        };
        Ok(replies.iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_find_their_replies_and_what_is_no_number_stays_none() {
        let reply = |id: &str, seed: &str| Reply {
            id: id.into(),
            columns: vec![("seed".into(), seed.into()), ("other".into(), "x".into())],
            ..Reply::default()
        };
        let replies = [reply("a", "1"), reply("a", "2"), reply("b", "1"), reply("b", "2"), reply("c", "1")];
        let csv = "score,id,seed,judge\n3.5,a,1,g\nREFUSAL,a,2,g\n,b,1,g\nNaN,b,2,g\n9,z,1,g\n";
        let given = Given::parse("s.csv", csv, &replies).unwrap();
        let none = |text: &str| Outcome::Unscored(Why::Unparsable(text.into()));
        assert_eq!(
            given.score(&replies).unwrap(),
            [Outcome::Score(3.5), none("REFUSAL"), none(""), none("NaN"), Outcome::Unscored(Why::Missing)]
        );
        assert_eq!(given.unused(&replies), 1);
        for (csv, says) in [
            ("id,x\n", "no column `score`"),
            ("score\n", "no column `id`"),
            ("id,score\na,1\na,2\n", "line 3: a second score"),
        ] {
            assert!(Given::parse("s.csv", csv, &replies).unwrap_err().to_string().contains(says));
        }
    }
}
