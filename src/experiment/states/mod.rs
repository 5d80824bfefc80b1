//! Who speaks in a conversation of a toy world, told twice: from the text by its markers, and from activations.
//!
//! Both looks are wrong now and then, and how often is known: of the text exactly, of activations from planted
//! conversations that had no part in the fit. So moves between states are estimated through the errors, and the two can
//! be compared.

mod chain;
mod realised;

pub(super) use chain::{Chain, Look, chain_table, difference_table};
pub(super) use realised::Realised;

use super::plan::Plan;
use super::prompts::{personas, system};
use super::work::Work;
use crate::analysis::decoder::Decoder;
use crate::analysis::pca::{Pca, pca};
use crate::axes::Site;
use crate::error::Result;
use crate::rng::stream;
use crate::table::Table;
use crate::talk::{Part, Talk};
use crate::text::Message;
use crate::world::{ConversationOptions, Exposure, Persona, State, SystemPrompt, World};
use ndarray::{Array2, ArrayView1, Axis};
use std::collections::BTreeMap;

/// How the decoder is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fitting {
    pub site: Site,
    /// Planted conversations of each person, assistant and Oracle; half of them fit, half count the errors.
    pub chats: usize,
    pub turns: usize,
}

/// Share of the covariance within classes that is replaced by its mean variance.
const SHRINKAGE: f64 = 0.1;
/// Share of planted topics that are of the soul: all states are met.
const SOUL: f64 = 0.3;

/// Tells persona, assistant and Oracle apart, and knows how often it is wrong.
pub(super) struct Seer {
    world: &'static World,
    decoder: Decoder,
    /// `[truth][named]` of activations, for conversations that began with a persona and for those that did not.
    errors: [[[f64; 3]; 3]; 2],
    /// Of the mean replies of everybody: the plane of persona space.
    pub plane: Pca,
    /// The mean reply of everybody, by name, `[d_model]`.
    pub means: BTreeMap<String, ndarray::Array1<f64>>,
}

/// A planted conversation as one to be read, with who speaks at every turn.
struct Planted {
    who: &'static Persona,
    talk: Talk,
    states: Vec<State>,
}

/// People whose markers can tell them from assistant and Oracle, and who are not helpful themselves.
pub(super) fn recognisable(world: &'static World, group: Exposure) -> Result<Vec<&'static Persona>> {
    let assistant = world.assistant().traits;
    let people = personas(world, group, None)?;
    Ok(people.into_iter().filter(|p| world.tells_apart(p) && p.traits.and(assistant).is_empty()).collect())
}

/// What stands before a conversation that begins with somebody: nothing for the default assistant.
pub(super) fn before(world: &World, who: &Persona) -> Vec<Message> {
    match who.name == world.assistant().name {
        true => vec![],
        false => vec![Message::new(crate::text::SYSTEM, system(world, who))],
    }
}

fn planted(plan: &Plan, people: &[&'static Persona], fitting: &Fitting) -> Result<Vec<Planted>> {
    let world = plan.world;
    let mut all = Vec::new();
    for who in people.iter().copied().chain([world.assistant(), world.oracle()]) {
        let mut rng = stream(plan.spec.seed, &format!("planted for the decoder/{}", who.name));
        // Only few fall to the assistant or the Oracle by themselves: they have conversations of their own.
        let copies = if world.start(who) == State::Persona { 1 } else { 8 };
        for i in 0..fitting.chats * copies {
            let fixed = SystemPrompt::Fixed(system(world, who));
            let chat = world.conversation(&mut rng, who, &ConversationOptions::bare(fitting.turns, SOUL, fixed))?;
            let states = chat.turns.iter().map(|t| t.state).collect();
            let said = chat.turns.into_iter().map(|t| (t.user, t.reply));
            all.push(Planted { who, states, talk: Talk::held(format!("{}/{i}", who.name), before(world, who), said) });
        }
    }
    Ok(all)
}

/// The conversations that a decoder is made from, for the forecast of a plan.
pub(super) fn forecast(plan: &Plan, people: &[&'static Persona], fitting: &Fitting) -> Result<Vec<Talk>> {
    Ok(planted(plan, people, fitting)?.into_iter().map(|p| p.talk).collect())
}

impl Seer {
    /// Fits on planted conversations that the model reads.
    pub fn fit(plan: &Plan, people: &[&'static Persona], fitting: &Fitting, work: &mut Work<'_, '_>) -> Result<Seer> {
        let world = plan.world;
        let planted = planted(plan, people, fitting)?;
        let talks: Vec<Talk> = planted.iter().map(|p| p.talk.clone()).collect();
        let (mut kept, places) = work.read("planted for the decoder", &talks, &[Part::Reply], &[fitting.site])?;
        let rows = kept.remove(0).1;
        let truth = |r: usize| planted[places[r].talk].states[places[r].turn];
        let who = |r: usize| planted[places[r].talk].who;
        // Conversations of a person alternate between the two halves.
        let fits = |r: &usize| places[*r].talk % 2 == 0;
        let fitted: Vec<usize> = (0..places.len()).filter(fits).collect();
        let classes: Vec<String> = fitted.iter().map(|r| world.speaker(truth(*r), who(*r)).name.clone()).collect();
        let chosen = rows.select(Axis(0), &fitted);
        let decoder = Decoder::fit(chosen.view(), &classes, SHRINKAGE)?;
        let means = means(&chosen, &classes);
        let stacked: Vec<_> = means.values().map(|m| m.view()).collect();
        let stacked = ndarray::stack(Axis(0), &stacked).expect("all means are of one width");
        let mut seer = Seer { world, decoder, errors: [[[0.5; 3]; 3]; 2], plane: pca(stacked.view())?, means };
        seer.plane.orient(seer.means[&world.assistant().name].view());
        for r in (0..places.len()).filter(|r| !fits(r)) {
            let person = world.start(who(r)) == State::Persona;
            let named = seer.name(rows.row(r), who(r));
            seer.errors[usize::from(!person)][truth(r) as usize][named as usize] += 1.0;
        }
        for row in seer.errors.iter_mut().flatten() {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum);
        }
        Ok(seer)
    }

    /// Who speaks, by the mean activation over a reply in a conversation that began with `who`.
    pub fn name(&self, row: ArrayView1<'_, f32>, who: &Persona) -> State {
        let states = self.states(who);
        let names: Vec<&str> = states.iter().map(|s| self.world.speaker(*s, who).name.as_str()).collect();
        self.decoder.name(row, &names).map_or(State::Assistant, |i| states[i])
    }

    /// The states that a conversation which began with `who` can be in.
    fn states(&self, who: &Persona) -> &'static [State] {
        if self.world.start(who) == State::Persona { &State::ALL } else { &State::ALL[1..] }
    }

    /// Probability that each state is named as `named`, from activations.
    pub fn seen(&self, named: State, who: &Persona) -> Vec<f64> {
        let person = self.world.start(who) == State::Persona;
        let errors = &self.errors[usize::from(!person)];
        State::ALL
            .iter()
            .map(|s| if person || *s != State::Persona { errors[*s as usize][named as usize] } else { 0.0 })
            .collect()
    }

    /// Probability that each state is named as `named`, from markers.
    pub fn read(&self, named: State, who: &Persona) -> Vec<f64> {
        let confusion = self.world.confusion(who);
        let person = self.world.start(who) == State::Persona;
        let of = |s: &State| if person || *s != State::Persona { confusion[*s as usize].of(named) } else { 0.0 };
        State::ALL.iter().map(of).collect()
    }

    /// Where the mean reply of somebody lies, as [`Seer::coordinates`]; `None` of somebody unknown.
    pub fn place_of(&self, name: &str, k: usize) -> Option<Vec<f64>> {
        let mean = self.means.get(name)?;
        Some(self.coordinates(mean.mapv(|v| v as f32).view(), k))
    }

    /// Coordinates on the first `k` components of the mean replies of everybody.
    pub fn coordinates(&self, row: ArrayView1<'_, f32>, k: usize) -> Vec<f64> {
        let centred: ndarray::Array1<f64> = row.iter().zip(&self.plane.mean).map(|(v, m)| f64::from(*v) - m).collect();
        self.plane.components.rows().into_iter().take(k).map(|c| c.dot(&centred)).collect()
    }

    /// How often activations name each state, by the true one.
    pub fn errors_table(&self, name: &str) -> Table {
        let mut table = Table::new(name, &["began_with", "truth", "named", "share"]);
        for (began, errors) in ["persona", "assistant or oracle"].iter().zip(&self.errors) {
            for (truth, named) in State::ALL.iter().flat_map(|t| State::ALL.iter().map(move |n| (*t, *n))) {
                let share = errors[truth as usize][named as usize];
                if *began == "persona" || (truth != State::Persona && named != State::Persona) {
                    table.push(vec![(*began).into(), truth.name().into(), named.name().into(), share.into()]);
                }
            }
        }
        table
    }
}

fn means(rows: &Array2<f32>, classes: &[String]) -> BTreeMap<String, ndarray::Array1<f64>> {
    let mut sums: BTreeMap<String, (ndarray::Array1<f64>, f64)> = BTreeMap::new();
    for (row, class) in rows.rows().into_iter().zip(classes) {
        let (sum, n) = sums.entry(class.clone()).or_insert_with(|| (ndarray::Array1::zeros(rows.ncols()), 0.0));
        sum.zip_mut_with(&row, |s, v| *s += f64::from(*v));
        *n += 1.0;
    }
    sums.into_iter().map(|(class, (sum, n))| (class, sum / n)).collect()
}
