//! The search for an operating point: layer, place and strength against what the edit does to the text.

use super::choice::choose;
use super::knowledge::{Costs, Paid};
use super::op::Op;
use super::place::Place;
use super::sweep::{Arm, Prompted, Steered, Sweep};
use crate::analysis::interval::{Interval, cluster_bootstrap};
use crate::analysis::nulls::random_direction;
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::generate::Settings;
use crate::rng::stream;
use crate::score::quality::{distinct_n, repetition, reply_nll};
use crate::score::{Reply, Scorer};
use crate::unit::{Shelf, Tally};

/// A direction where it may be applied.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub site: Site,
    /// `[d_model]`, of unit length.
    pub unit: Vec<f32>,
    /// One for each strength of the search, in the unit of the operation.
    pub amounts: Vec<f64>,
}

/// What is searched.
pub struct Search<'m> {
    pub model: &'m Model,
    pub prompts: Vec<Prompted>,
    /// The text of each prompt's question, for scorers that read it.
    pub questions: Vec<Option<String>>,
    pub op: Op,
    pub candidates: Vec<Candidate>,
    pub places: Vec<Place>,
    /// How each strength is written in results.
    pub strengths: Vec<String>,
    /// Random directions of the same length beside each candidate.
    pub controls: usize,
    /// Seeds of the replies.
    pub seeds: Vec<u64>,
    pub settings: Settings,
    pub max_batch_tokens: usize,
    pub costs: Costs,
    pub limits: Limits,
    /// Resamples of an interval.
    pub bootstrap: usize,
    /// Decides random directions and resamples.
    pub seed: u64,
}

/// What the text of an operating point may look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Perplexity under the unsteered model, times that of unsteered replies.
    pub perplexity: f64,
    /// Share of repeated runs of three tokens, above that of unsteered replies.
    pub repetition: f64,
}

/// Which direction a cell is steered along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// None: the model by itself.
    Nothing,
    /// The candidate's.
    Vector,
    /// A random one of the same length.
    Random(usize),
}

/// A value over some prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Value {
    pub mean: Option<f64>,
    /// 95 %, by resampling prompts.
    pub interval: Option<Interval>,
}

/// The replies of one cell of the grid, measured.
#[derive(Clone, Debug)]
pub struct Cell {
    pub along: Along,
    /// `None` for the unsteered model.
    pub site: Option<Site>,
    pub place: Option<Place>,
    /// Index of the strength.
    pub strength: Option<usize>,
    pub amount: Option<f64>,
    /// Over the prompts that report.
    pub score: Value,
    /// Score less that of the unsteered reply with the same seed, over the prompts that report.
    pub gain: Value,
    /// The same over the prompts that choose.
    pub choosing_gain: Value,
    /// Replies without a score.
    pub unscored: usize,
    pub replies: usize,
    /// Of all replies, under the unsteered model.
    pub perplexity: Option<f64>,
    /// Share of runs of three tokens that came before in the reply.
    pub repetition: Option<f64>,
    /// Distinct pairs of tokens over all pairs.
    pub distinct: Option<f64>,
    pub paid: Paid,
    pub faults: Vec<String>,
}

/// What a search found.
#[derive(Debug)]
pub struct Searched {
    /// The unsteered model first.
    pub cells: Vec<Cell>,
    /// The recommended cell, by its index; or why there is none.
    pub chosen: std::result::Result<usize, String>,
    /// Whether other prompts chose than report.
    pub held_out: bool,
}

impl Search<'_> {
    /// Cells of the grid, the unsteered one among them.
    pub fn cells(&self) -> usize {
        1 + self.candidates.len() * self.places.len() * (1 + self.controls) * self.strengths.len()
    }

    /// Runs all of it; `told` is asked after every batch whether to go on, with cells done.
    ///
    /// # Errors
    /// A failed pass, a scorer that cannot score, an interruption.
    pub fn run(
        &self,
        scorer: &dyn Scorer,
        threads: usize,
        shelf: Option<&dyn Shelf>,
        told: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Searched> {
        let plain = self.sweep(vec![], vec!["0".into()]).run(threads, shelf, &mut |_: &Tally| true)?;
        let mut base = self.look(scorer, &plain, threads)?.remove(0);
        base.paid = self.costs.pay(self.model, &[], threads)?;
        let mut cells = vec![self.cell(&base, &base, (Along::Nothing, None, None, None))];
        let mut next = |n: usize| match told(n) {
            true => Ok(()),
            false => Err(Error::refused(
                format!("interrupted after {n} of {} cells", self.cells()),
                "run the same command again: finished replies are kept",
            )),
        };
        next(1)?;
        for candidate in &self.candidates {
            for place in &self.places {
                let random = (0..self.controls).map(Along::Random);
                for along in std::iter::once(Along::Vector).chain(random) {
                    let arm = self.arm(candidate, place, along)?;
                    let steered =
                        self.sweep(vec![arm.clone()], self.strengths.clone()).run(threads, shelf, &mut |_| true)?;
                    for (s, mut looked) in self.look(scorer, &steered, threads)?.into_iter().enumerate() {
                        let one = Arm { amounts: vec![arm.amounts[s]], ..arm.clone() };
                        looked.paid = self.costs.pay(self.model, &[one], threads)?;
                        let at = (along, Some(candidate), Some(place), Some(s));
                        let mut cell = self.cell(&looked, &base, at);
                        cell.faults = steered.faults.clone();
                        cells.push(cell);
                    }
                    next(cells.len())?;
                }
            }
        }
        let chosen = choose(&cells, &self.limits);
        Ok(Searched { cells, chosen, held_out: self.prompts.len() >= HALVED })
    }

    fn arm(&self, candidate: &Candidate, place: &Place, along: Along) -> Result<Arm> {
        let unit = match along {
            Along::Random(k) => {
                let (site, d) = (candidate.site, candidate.unit.len());
                let label = format!("{site} control {k}");
                random_direction(site, Pick::LastPrompt, d, 1.0, self.seed, &label)?.unit.to_vec()
            }
            _ => candidate.unit.clone(),
        };
        let (site, op, amounts) = (candidate.site, self.op, candidate.amounts.clone());
        Ok(Arm { site, op, unit, donors: None, place: place.clone(), amounts })
    }

    fn sweep(&self, arms: Vec<Arm>, strengths: Vec<String>) -> Sweep<'_> {
        Sweep {
            model: self.model,
            prompts: self.prompts.clone(),
            arms,
            strengths,
            seeds: self.seeds.clone(),
            settings: self.settings.clone(),
            max_batch_tokens: self.max_batch_tokens,
        }
    }

    /// The replies of each strength, measured.
    fn look(&self, scorer: &dyn Scorer, steered: &Steered, threads: usize) -> Result<Vec<Looked>> {
        let mut replies = Vec::with_capacity(steered.replies.len());
        let mut pairs = Vec::with_capacity(steered.replies.len());
        for r in &steered.replies {
            let prompt = &self.prompts[r.prompt];
            replies.push(Reply {
                id: prompt.id.clone(),
                text: self.model.text.decode(&r.tokens)?,
                question: self.questions[r.prompt].clone(),
                columns: vec![],
            });
            pairs.push((prompt.encoded.tokens.clone(), r.tokens.clone()));
        }
        let scores = scorer.score(&replies)?;
        let nll = reply_nll(self.model, &pairs, threads)?;
        let strengths = steered.replies.iter().map(|r| r.strength + 1).max().unwrap_or(1);
        let mut looked = vec![Looked::new(self.prompts.len()); strengths];
        for (((r, score), nll), (_, tokens)) in steered.replies.iter().zip(scores).zip(nll).zip(&pairs) {
            let one = &mut looked[r.strength];
            one.scores[r.prompt].push(score.score());
            one.nll.extend(nll.map(|mean| (mean * tokens.len() as f64, tokens.len())));
            one.repetition.extend(repetition(tokens, 3));
            one.distinct.extend(distinct_n(tokens, 2));
        }
        Ok(looked)
    }

    fn cell(
        &self,
        looked: &Looked,
        base: &Looked,
        (along, candidate, place, strength): (Along, Option<&Candidate>, Option<&Place>, Option<usize>),
    ) -> Cell {
        let n = self.prompts.len();
        let (choosing, reporting): (Vec<usize>, Vec<usize>) = match n >= HALVED {
            true => (0..n).partition(|p| p % 2 == 0),
            false => ((0..n).collect(), (0..n).collect()),
        };
        let own = |p: usize| mean(&looked.scores[p].iter().flatten().copied().collect::<Vec<_>>());
        let gained = |p: usize| {
            let pairs = looked.scores[p].iter().zip(&base.scores[p]);
            mean(&pairs.filter_map(|(a, b)| Some((*a)? - (*b)?)).collect::<Vec<_>>())
        };
        let all: Vec<Option<f64>> = looked.scores.concat();
        let (sum, tokens) = looked.nll.iter().fold((0.0, 0), |(s, n), (nll, k)| (s + nll, n + k));
        Cell {
            along,
            site: candidate.map(|c| c.site),
            place: place.cloned(),
            strength,
            amount: candidate.zip(strength).map(|(c, s)| c.amounts[s]),
            score: self.value(&reporting, &own),
            gain: self.value(&reporting, &gained),
            choosing_gain: self.value(&choosing, &gained),
            unscored: all.iter().filter(|s| s.is_none()).count(),
            replies: all.len(),
            perplexity: (tokens > 0).then(|| (sum / tokens as f64).exp()),
            repetition: mean(&looked.repetition),
            distinct: mean(&looked.distinct),
            paid: looked.paid.clone(),
            faults: vec![],
        }
    }

    /// The mean over prompts that have a value, and its interval.
    fn value(&self, prompts: &[usize], of: &dyn Fn(usize) -> Option<f64>) -> Value {
        let values: Vec<f64> = prompts.iter().filter_map(|p| of(*p)).collect();
        let mut rng = stream(self.seed, "steer search");
        let statistic = |s: &[usize]| mean(&s.iter().map(|i| values[*i]).collect::<Vec<_>>());
        Value { mean: mean(&values), interval: cluster_bootstrap(values.len(), self.bootstrap, &mut rng, statistic) }
    }
}

/// From so many prompts on every other one chooses, and the rest reports.
const HALVED: usize = 4;

#[derive(Clone)]
struct Looked {
    /// By prompt, in the order of the seeds.
    scores: Vec<Vec<Option<f64>>>,
    /// Sum of nats and tokens of each reply that has any.
    nll: Vec<(f64, usize)>,
    repetition: Vec<f64>,
    distinct: Vec<f64>,
    paid: Paid,
}

impl Looked {
    fn new(prompts: usize) -> Looked {
        let scores = vec![Vec::new(); prompts];
        Looked { scores, nll: vec![], repetition: vec![], distinct: vec![], paid: Paid::default() }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    crate::analysis::stats::mean(values)
}
