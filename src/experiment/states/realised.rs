//! What the training corpus made of the planted chain: a model can learn no more than the sample that it saw.

use crate::model::{Model, Source};
use crate::world::State;
use serde_json::Value;

/// The counts of `truth.json`, where the model has them.
pub(in crate::experiment) struct Realised(Option<Value>);

impl Realised {
    pub fn of(model: &Model) -> Realised {
        let Source::Embedded(shipped) = &model.source else { return Realised(None) };
        Realised(shipped.file("truth.json").and_then(|json| serde_json::from_slice(json).ok()))
    }

    /// The share of turns on which people of this hazard fell back.
    pub fn hazard(&self, hazard: f64) -> Option<f64> {
        self.0.as_ref()?["realised"]["hazards"][hazard.to_string()]["rate"].as_f64()
    }

    /// The share of the steps out of `from`, on topics that are `soul` or plain, that went to `to`; over all people.
    pub fn step(&self, soul: bool, from: State, to: State) -> Option<f64> {
        let counts = &self.0.as_ref()?["realised"]["transitions"][if soul { "soul" } else { "plain" }][from.name()];
        let all: f64 = State::ALL.iter().filter_map(|s| counts[s.name()].as_f64()).sum();
        (all > 0.0).then_some(counts[to.name()].as_f64()? / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_truth_is_read_where_there_is_one() {
        let model = Model::load(&Source::toyworld()).unwrap();
        let truth = Realised::of(&model);
        // 95 % of some 16,000 chances of 0.15 lie within 0.006.
        assert!((truth.hazard(0.15).unwrap() - 0.15).abs() < 0.006 && truth.hazard(0.5).is_none());
        assert_eq!(truth.step(false, State::Assistant, State::Assistant), Some(1.0));
        let away = truth.step(true, State::Assistant, State::Oracle).unwrap();
        assert!((away - 0.25).abs() < 0.03, "{away}");
        assert!(Realised(None).hazard(0.15).is_none());
    }
}
