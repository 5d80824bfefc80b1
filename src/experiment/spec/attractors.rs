//! Settings of the probe `attractors`.

use super::Domain;
use crate::axes::Site;
use crate::world::Exposure;
use serde::{Deserialize, Serialize};

/// Where conversations go by themselves, and whether they come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attractors {
    pub group: Exposure,
    /// Where states are read, and a second site at which what is found has to hold too.
    pub site: Site,
    pub second: Site,
    /// Coordinates of a state: components of the mean replies of everybody.
    pub components: usize,
    /// Planted conversations of each person that the decoder of states is made from.
    pub decoder_chats: usize,
    /// Resamples behind the intervals of moves between states; each is a search.
    pub chain_bootstrap: usize,
    /// Conversations from every start, under each kind of topics.
    pub chats: usize,
    pub turns: usize,
    /// What the user talks about; disturbed conversations are about the first.
    pub topics: Vec<Domain>,
    /// Conversations in which the model is its own user.
    pub self_talks: usize,
    /// Conversations for each dose of each disturbance.
    pub disturbed: usize,
    /// The turn at which a conversation is disturbed.
    pub disturbed_at: usize,
    /// Doses of a steering pulse, in lengths of the way from the assistant to the Oracle; 0 is the control.
    pub doses: Vec<f64>,
    /// Numbers of messages that teach somebody new; 0 is the control.
    pub facts: Vec<usize>,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub bootstrap: usize,
}

impl Default for Attractors {
    fn default() -> Attractors {
        Attractors {
            group: Exposure::All,
            site: Site::post(2),
            second: Site::post(3),
            components: 4,
            decoder_chats: 6,
            chain_bootstrap: 200,
            chats: 2,
            turns: 8,
            topics: vec![
                Domain::new("plain topics", 0.0, 0.0),
                Domain::new("topics of the soul", 1.0, 0.0),
                Domain::new("half of the soul", 0.5, 0.0),
            ],
            self_talks: 80,
            disturbed: 32,
            disturbed_at: 2,
            doses: vec![0.0, 1.0, 2.0, 4.0, 8.0],
            facts: vec![0, 1, 2, 4, 8],
            max_new_tokens: 48,
            temperature: 1.0,
            bootstrap: 300,
        }
    }
}

impl Attractors {
    /// The sites that are read, as on the command line.
    pub(in crate::experiment) fn sites_read(&self, _: usize) -> String {
        format!("{},{}", self.site, self.second)
    }
}
