//! Which cell of a search is recommended, or why none.

use super::search::{Along, Cell, Limits};

/// The cell with the largest gain, over the prompts that choose, among those whose gain is clear of 0 and above that of
/// every random direction at the same place and strength, and whose text stays within the limits. Of equals the one with
/// the smaller perplexity.
pub(super) fn choose(cells: &[Cell], limits: &Limits) -> Result<usize, String> {
    let Some(base) = cells.iter().find(|c| c.along == Along::Nothing) else {
        return Err("there is no unsteered reply to compare with".into());
    };
    let coherent = |c: &Cell| {
        let perplexity = c.perplexity.zip(base.perplexity).is_some_and(|(c, b)| c <= limits.perplexity * b);
        let repeated = c.repetition.zip(base.repetition).is_none_or(|(c, b)| c <= b + limits.repetition);
        perplexity && repeated && c.faults.is_empty()
    };
    let steered: Vec<usize> = (0..cells.len()).filter(|i| cells[*i].along == Along::Vector).collect();
    let clear: Vec<usize> = steered.iter().copied().filter(|i| is_clear(&cells[*i])).collect();
    let above: Vec<usize> = clear.iter().copied().filter(|i| beats_controls(cells, *i)).collect();
    let fine: Vec<usize> = above.iter().copied().filter(|i| coherent(&cells[*i])).collect();
    let gain = |i: usize| cells[i].choosing_gain.mean.unwrap_or(f64::NEG_INFINITY);
    let size = |i: usize| cells[i].perplexity.unwrap_or(f64::INFINITY);
    let best = fine.into_iter().reduce(|a, b| match gain(b).total_cmp(&gain(a)) {
        std::cmp::Ordering::Greater => b,
        std::cmp::Ordering::Equal if size(b) < size(a) => b,
        _ => a,
    });
    best.ok_or_else(|| {
        match () {
            () if steered.is_empty() => "nothing was steered",
            () if clear.is_empty() => "no gain is clear of 0",
            () if above.is_empty() => "no gain is above that of the random directions",
            () => "every gain costs more coherence than the limits allow",
        }
        .into()
    })
}

fn is_clear(cell: &Cell) -> bool {
    cell.choosing_gain.interval.is_some_and(|i| i.lo > 0.0)
}

fn beats_controls(cells: &[Cell], i: usize) -> bool {
    let own = &cells[i];
    let beside = |c: &&Cell| {
        matches!(c.along, Along::Random(_)) && (c.site, &c.place, c.strength) == (own.site, &own.place, own.strength)
    };
    cells.iter().filter(beside).all(|c| c.choosing_gain.mean < own.choosing_gain.mean)
}

#[cfg(test)]
mod tests {
    use super::super::knowledge::Paid;
    use super::super::search::Value;
    use super::*;
    use crate::analysis::interval::Interval;
    use crate::axes::Site;

    fn cell(along: Along, layer: usize, gain: f64, perplexity: f64) -> Cell {
        let interval =
            Interval { lo: gain - 0.1, hi: gain + 0.1, draws_used: 9, few_clusters: false, one_sided: false };
        let value = Value { mean: Some(gain), interval: Some(interval) };
        Cell {
            along,
            site: Some(Site::post(layer)),
            place: None,
            strength: Some(0),
            amount: None,
            score: value,
            gain: value,
            choosing_gain: value,
            unscored: 0,
            replies: 4,
            perplexity: Some(perplexity),
            repetition: Some(0.1),
            distinct: None,
            paid: Paid::default(),
            faults: vec![],
        }
    }

    #[test]
    fn the_largest_gain_wins_that_is_clear_above_chance_and_still_a_text() {
        let limits = Limits { perplexity: 1.5, repetition: 0.1 };
        let base = cell(Along::Nothing, 0, 0.0, 4.0);
        let vector = |layer, gain, perplexity| cell(Along::Vector, layer, gain, perplexity);
        let cells = [base.clone(), vector(1, 0.3, 4.5), vector(2, 0.5, 5.9), vector(3, 0.9, 6.1)];
        assert_eq!(choose(&cells, &limits), Ok(2));
        // A random direction that does as much takes the second out.
        let with = [&cells[..], &[cell(Along::Random(0), 2, 0.5, 4.0)]].concat();
        assert_eq!(choose(&with, &limits), Ok(1));
        let why = |cells: &[Cell]| choose(cells, &limits).unwrap_err();
        assert!(why(&[base.clone(), vector(1, 0.05, 4.0)]).contains("clear of 0"));
        assert!(why(&[base.clone(), vector(1, 0.5, 9.0)]).contains("coherence"));
        assert!(why(&[base.clone(), vector(2, 0.5, 4.0), cell(Along::Random(0), 2, 0.6, 4.0)]).contains("random"));
        let mut broken = vector(1, 0.5, 4.0);
        broken.faults.push("missed".into());
        assert!(why(&[base, broken]).contains("coherence"));
    }
}
