//! Transcripts of several speakers, and what is read of them.

use super::Settings;
use crate::axes::Site;
use crate::error::Result;
use crate::experiment::plan::Plan;
use crate::experiment::work::Work;
use crate::rng::stream;
use crate::talk::{Part, Place, Talk, User};
use ndarray::Array2;
use rand::Rng;
use rand::seq::index;

/// Who was to speak at every turn of a conversation, as places among the world's speakers, and what was said.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub speakers: Vec<usize>,
    pub replies: Vec<String>,
}

/// Rows of all conversations.
pub(super) struct Spoken {
    /// The place of every reply that has a token.
    pub replies: Vec<Place>,
    /// By site, `[reply, d_model]`: the token before each reply, and the mean over it.
    pub before: Vec<(Site, Array2<f32>)>,
    pub over: Vec<(Site, Array2<f32>)>,
    /// At the site that is drawn: every token of the first ones of each reply, with its place.
    pub tokens: (Vec<Place>, Array2<f32>),
}

/// The conversations before they are led. Both models are asked the same by the same speakers in turn; without `headers`
/// nothing says who is to speak.
pub(super) fn begin(plan: &Plan, s: &Settings, headers: bool) -> (Vec<Talk>, Vec<Said>) {
    let world = plan.world;
    let (people, topics) = (world.speakers(), world.plain_topics());
    let mut rng = stream(plan.spec.seed, "speakers");
    let (mut talks, mut said) = (Vec::new(), Vec::new());
    for i in 0..s.conversations {
        let cast = index::sample(&mut rng, people.len(), s.together).into_vec();
        let speakers: Vec<usize> = (0..s.turns).map(|_| cast[rng.random_range(0..cast.len())]).collect();
        let question = |_| {
            let topic = topics[rng.random_range(0..topics.len())];
            world.question(&mut rng, topic)
        };
        let says = User::Says((0..s.turns).map(question).collect());
        let mut talk = Talk::new(format!("speakers/{i:04}"), vec![], says, plan.spec.seed);
        if headers {
            talk.reply_as = speakers.iter().map(|i| format!("<|{}|>", people[*i].name)).collect();
        }
        talks.push(talk);
        said.push(Said { speakers, replies: vec![] });
    }
    (talks, said)
}

/// What was said, put beside who was to say it.
pub(super) fn replies(mut said: Vec<Said>, talks: &[Talk]) -> Vec<Said> {
    said.iter_mut().zip(talks).for_each(|(s, t)| s.replies = t.turns.iter().map(|t| t.reply.clone()).collect());
    said
}

/// Reads the conversations at all sites, and token by token at the one that is drawn.
pub(super) fn read(plan: &Plan, s: &Settings, name: &str, talks: &[Talk], work: &mut Work<'_, '_>) -> Result<Spoken> {
    let stage = |what: &str| format!("{name}: {what}");
    let (over, replies) = work.read(&stage("means over replies"), talks, &[Part::Reply], &plan.sites)?;
    let (before, at) = work.read(&stage("before replies"), talks, &[Part::Before], &plan.sites)?;
    // An empty reply has a token before it and none of its own.
    let there: Vec<usize> =
        (0..at.len()).filter(|i| replies.iter().any(|r| (r.talk, r.turn) == (at[*i].talk, at[*i].turn))).collect();
    let before = before.into_iter().map(|(site, x)| (site, x.select(ndarray::Axis(0), &there))).collect();
    let (mut kept, places) = work.read(&stage("tokens of replies"), talks, &[Part::Tokens], &[s.site])?;
    Ok(Spoken { replies, before, over, tokens: (places, kept.remove(0).1) })
}

impl Spoken {
    /// The rows of a part at a site.
    pub fn rows(&self, site: Site, part: Part) -> &Array2<f32> {
        let of = if part == Part::Before { &self.before } else { &self.over };
        &of.iter().find(|(s, _)| *s == site).expect("every site was read").1
    }
}
