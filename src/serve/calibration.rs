//! The default assistant by the numbers: what its own replies do on a vector, the middle of colours and the band of charts.
//!
//! It answers plain questions without a system prompt; everything is read off these replies, token by token.

use super::Problem;
use super::asks::Asks;
use super::worker::Reading;
use crate::analysis::stats::{mean, quantile_sorted, variance};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::model::generate::Settings;
use crate::model::sample::Sampling;
use crate::steer::Amount;
use crate::text::{Message, USER};
use crate::unit::Item;
use crate::vectors::Vector;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Replies that are drawn.
const REPLIES: usize = 48;
/// Tokens of a reply.
const ROOM: usize = 64;
/// Replies that are captured at once: bounds the rows that are held.
const AT_ONCE: usize = 8;

/// What is known of the default assistant, filled in as it is asked for.
#[derive(Default)]
pub struct Calibration {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    replies: Option<Arc<Vec<Said>>>,
    /// Mean length of the stream over the tokens of the replies, by site.
    norms: BTreeMap<Site, f64>,
    /// With what was read: a file may have other vectors under the same name later.
    bands: BTreeMap<String, (Reading, Arc<Band>)>,
    /// Why there is nothing.
    failed: Option<String>,
}

/// One reply of the default assistant.
struct Said {
    id: String,
    prompt: Vec<u32>,
    reply: Vec<u32>,
}

/// The default assistant on a vector.
#[derive(Clone, Debug, Serialize)]
pub struct Band {
    pub ready: bool,
    pub vector: String,
    pub replies: usize,
    pub tokens: usize,
    pub sites: Vec<SiteBand>,
}

/// At one site; projections in activation units.
#[derive(Clone, Debug, Serialize)]
pub struct SiteBand {
    pub site: Site,
    /// Mean length of the stream: what a strength of `1n` is.
    pub mean_norm: f64,
    pub token: Tokens,
    pub turn: Turns,
}

/// Over the tokens of all replies.
#[derive(Clone, Debug, Serialize)]
pub struct Tokens {
    pub mean: f64,
    pub sd: f64,
    /// At 0, 1, ... 100 %, interpolated between order statistics.
    pub quantiles: Vec<f64>,
    #[serde(skip)]
    sorted: Vec<f64>,
}

/// Over means of replies; low and high are at 5 and 95 %.
#[derive(Clone, Debug, Serialize)]
pub struct Turns {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    pub n: usize,
}

impl Calibration {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Lets the default assistant answer the questions, and measures the stream at all sites.
    ///
    /// # Errors
    /// No question, no chat template, a failed pass. It is remembered, and told to whoever asks.
    pub fn prepare(&self, asks: &dyn Asks, questions: &[String], sites: &[Site]) -> Result<()> {
        let drawn = draw(asks, questions).and_then(|said| Ok((norms(asks, &said, sites)?, said)));
        let mut held = self.held();
        match drawn {
            Ok((norms, said)) => (held.norms, held.replies) = (norms, Some(Arc::new(said))),
            Err(e) => {
                held.failed = Some(e.to_string());
                return Err(e);
            }
        }
        Ok(())
    }

    /// Whether replies are there.
    pub fn is_ready(&self) -> bool {
        self.held().replies.is_some()
    }

    /// The band of a vector at the sites of its group: `None` while the default assistant still answers.
    ///
    /// # Errors
    /// The default assistant could not be measured; a failed pass.
    pub fn band(&self, asks: &dyn Asks, id: &str, group: &[Vector]) -> Result<Option<Arc<Band>>, Problem> {
        let reading = Reading { lines: group.iter().map(|v| (v.site, v.unit.clone().into())).collect() };
        let (said, norms) = {
            let held = self.held();
            match held.bands.get(id) {
                Some((of, band)) if *of == reading => return Ok(Some(band.clone())),
                _ => {}
            }
            match (&held.replies, held.failure()) {
                (Some(said), _) => (said.clone(), held.norms.clone()),
                (None, Some(why)) => return Err(why),
                (None, None) => return Ok(None),
            }
        };
        // Nobody waits for the lock meanwhile.
        let band = Arc::new(measure(asks, id, &reading, &said, &norms)?);
        self.held().bands.insert(id.into(), (reading, band.clone()));
        Ok(Some(band))
    }

    /// A strength in the unit of its operation, for a vector where it is used.
    ///
    /// # Errors
    /// A strength that needs the default assistant before it is measured.
    pub fn amount(&self, asks: &dyn Asks, amount: Amount, id: &str, vector: &Vector) -> Result<f64, Problem> {
        let early = || Problem::refused("the default assistant is still being measured", "try again in a moment");
        match amount {
            Amount::Plain(v) => Ok(v),
            Amount::Norms(n) => {
                let held = self.held();
                let norm = held.norms.get(&vector.site);
                norm.map(|norm| n * norm).ok_or_else(|| held.failure().unwrap_or_else(early))
            }
            Amount::Percentile(p) => {
                // The vector where it is used, which need not be where it was made.
                let key = format!("{id} at {}", vector.site);
                let band = self.band(asks, &key, std::slice::from_ref(vector))?.ok_or_else(early)?;
                let site = band.sites.first().ok_or_else(early)?;
                quantile_sorted(&site.token.sorted, p / 100.0).ok_or_else(early)
            }
        }
    }
}

impl Held {
    /// Why there is no band, once it is known.
    fn failure(&self) -> Option<Problem> {
        let what = format!("the default assistant could not be measured: {}", self.failed.as_ref()?);
        Some(Problem::refused(what, "give strengths as numbers in activation units; colours have no middle then"))
    }
}

fn draw(asks: &dyn Asks, questions: &[String]) -> Result<Vec<Said>> {
    if questions.is_empty() {
        return Err(Error::refused("there is no question for the default assistant", "give a card with questions"));
    }
    let model = asks.model();
    let mut said = Vec::with_capacity(REPLIES);
    for i in 0..REPLIES {
        let messages = [Message::new(USER, &questions[i % questions.len()])];
        let prompt = model.text.chat(&messages, true)?.tokens;
        said.push(Said { id: format!("default/{i}"), prompt, reply: vec![] });
    }
    let longest = said.iter().map(|s| s.prompt.len()).max().unwrap_or(0);
    let max_new_tokens = ROOM.min(model.lm.dims().n_ctx.saturating_sub(longest));
    let mut stops: Vec<u32> = model.stops.iter().chain(model.text.special_ids()).copied().collect();
    stops.sort_unstable();
    let settings = Settings { max_new_tokens, sampling: Sampling::new(1.0, 1.0)?, stops };
    let item = |s: &Said| {
        let (id, tokens, prompt_len) = (s.id.clone(), s.prompt.clone(), s.prompt.len());
        Item { id, tokens, prompt_len, ..Item::default() }
    };
    let replies = asks.replies(said.iter().map(item).collect(), &settings)?;
    said.iter_mut().zip(replies).for_each(|(s, reply)| s.reply = reply);
    // An empty reply has no mean.
    said.retain(|s| !s.reply.is_empty());
    if said.is_empty() {
        return Err(Error::refused("the default assistant says nothing", "check the model and its chat template"));
    }
    Ok(said)
}

/// Shows every row of every reply's tokens: the site, the place of the reply, the row.
fn rows(asks: &dyn Asks, said: &[Said], sites: &[Site], mut see: impl FnMut(Site, usize, &[f32])) -> Result<()> {
    for (part, some) in said.chunks(AT_ONCE).enumerate() {
        let item = |s: &Said| {
            let (tokens, from) = ([&s.prompt[..], &s.reply].concat(), s.prompt.len());
            let ranges = (from..tokens.len()).map(|p| p..p + 1).collect();
            Item { id: s.id.clone(), prompt_len: from, tokens, ranges, ..Item::default() }
        };
        for (site, kept) in asks.capture(some.iter().map(item).collect(), sites)? {
            let owners =
                some.iter().enumerate().flat_map(|(i, s)| std::iter::repeat_n(part * AT_ONCE + i, s.reply.len()));
            for (owner, row) in owners.zip(kept.rows()) {
                see(site, owner, row.as_slice().unwrap_or(&[]));
            }
        }
    }
    Ok(())
}

fn norms(asks: &dyn Asks, said: &[Said], sites: &[Site]) -> Result<BTreeMap<Site, f64>> {
    let mut sums: BTreeMap<Site, (f64, usize)> = BTreeMap::new();
    rows(asks, said, sites, |site, _, row| {
        let sum = sums.entry(site).or_default();
        sum.0 += row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        sum.1 += 1;
    })?;
    Ok(sums.into_iter().map(|(site, (sum, n))| (site, sum / n as f64)).collect())
}

fn measure(asks: &dyn Asks, id: &str, reading: &Reading, said: &[Said], norms: &BTreeMap<Site, f64>) -> Result<Band> {
    let group: Vec<Site> = reading.lines.iter().map(|l| l.0).collect();
    let mut sites = group.clone();
    sites.sort_unstable();
    sites.dedup();
    let mut by_reply: Vec<Vec<Vec<f64>>> = vec![vec![vec![]; said.len()]; group.len()];
    rows(asks, said, &sites, |site, owner, row| {
        reading.of_row(site, row).for_each(|(k, z)| by_reply[k][owner].push(z));
    })?;
    let of = |(site, replies): (Site, Vec<Vec<f64>>)| {
        // Replies without a token were left out when they were drawn.
        let mut means: Vec<f64> = replies.iter().filter_map(|r| mean(r)).collect();
        let mut tokens = replies.concat();
        let (m, turn) = (mean(&tokens).unwrap_or_default(), mean(&means).unwrap_or_default());
        let sd = variance(&tokens).unwrap_or_default().sqrt();
        tokens.sort_by(f64::total_cmp);
        means.sort_by(f64::total_cmp);
        let at = |list: &[f64], q: f64| quantile_sorted(list, q).unwrap_or(m);
        SiteBand {
            site,
            mean_norm: norms.get(&site).copied().unwrap_or(f64::NAN),
            turn: Turns { mean: turn, low: at(&means, 0.05), high: at(&means, 0.95), n: means.len() },
            token: Tokens {
                mean: m,
                sd,
                quantiles: (0..=100).map(|p| at(&tokens, f64::from(p) / 100.0)).collect(),
                sorted: tokens,
            },
        }
    };
    let tokens = said.iter().map(|s| s.reply.len()).sum();
    let sites = group.into_iter().zip(by_reply).map(of).collect();
    Ok(Band { ready: true, vector: id.into(), replies: said.len(), tokens, sites })
}

#[cfg(test)]
mod tests;
