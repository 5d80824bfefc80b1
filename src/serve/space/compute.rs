//! Replies of everybody, and where their means lie.

use super::cast::{Ask, Cast, Member};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::serve::asks::Asks;
use crate::unit::Item;
use ndarray::{Array1, Array2};

/// Prompts that are handed in at once: how far it is is told in between.
const AT_ONCE: usize = 128;

/// Told the stage, and how much of it is done.
pub type Tell<'t> = &'t dyn Fn(&str, usize, usize);

/// What one model (the base, or an adapter) said in all roles.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// By member, the default assistant last: question and reply.
    pub replies: Vec<Vec<(String, String)>>,
    /// By site, `[member, d_model]`: means over replies, f64 sums.
    pub means: Vec<(Site, Array2<f64>)>,
    /// Replies behind each mean.
    pub rows: Vec<usize>,
    pub warnings: Vec<String>,
}

/// Asks everybody through an adapter and takes the means over replies at `sites`. A prompt that leaves no room for a reply, and
/// an empty reply, which has no mean, are left out.
///
/// # Errors
/// What the model or the chat template refuses; a member without a reply.
pub(super) fn hear(
    asks: &dyn Asks,
    cast: &Cast,
    adapter: Option<usize>,
    sites: &[Site],
    tell: Tell<'_>,
) -> Result<Heard> {
    let model = asks.model();
    let name = adapter.and_then(|a| model.adapters.get(a)).map_or(String::new(), |a| format!(" of {}", a.name));
    let members: Vec<&Member> = cast.roles.iter().chain([&cast.default]).collect();
    let all: Vec<(usize, &Ask)> =
        members.iter().enumerate().flat_map(|(m, member)| member.asks.iter().map(move |a| (m, a))).collect();
    let mut heard = Heard { replies: vec![vec![]; members.len()], rows: vec![0; members.len()], ..Heard::default() };
    let mut answered: Vec<(usize, Item)> = Vec::new();
    let (mut crowded, mut empty) = (0, 0);
    let stage = format!("replies{name}");
    for (n, chunk) in all.chunks(AT_ONCE).enumerate() {
        tell(&stage, n * AT_ONCE, all.len());
        let mut asked = Vec::with_capacity(chunk.len());
        for (m, ask) in chunk {
            let tokens = model.text.chat(&ask.messages, true)?.tokens;
            let fits = tokens.len() + cast.drawing.max_new_tokens <= model.lm.dims().n_ctx;
            crowded += usize::from(!fits);
            let id = ask.id.clone();
            let item = Item { id, prompt_len: tokens.len(), tokens, seed: cast.seed, adapter, ..Item::default() };
            asked.extend(fits.then_some((*m, *ask, item)));
        }
        let replies = asks.replies(asked.iter().map(|a| a.2.clone()).collect(), &cast.drawing)?;
        for ((m, ask, mut item), reply) in asked.into_iter().zip(replies) {
            if reply.is_empty() {
                empty += 1;
                continue;
            }
            heard.replies[m].push((ask.question.clone(), model.text.decode(&reply)?));
            heard.rows[m] += 1;
            let from = item.tokens.len();
            item.tokens.extend(reply);
            item.ranges = std::iter::once(from..item.tokens.len()).collect();
            answered.push((m, item));
        }
    }
    if let Some(silent) = heard.rows.iter().position(|n| *n == 0) {
        let what = format!("`{}` gave no reply to any of {} prompts", members[silent].name, members[silent].asks.len());
        return Err(Error::refused(
            what,
            "its prompts may be too long for the model, or it ends at once; leave it out",
        ));
    }
    for (n, what) in [(crowded, "prompts leave no room for a reply"), (empty, "replies are empty")] {
        heard.warnings.extend((n > 0).then(|| format!("{n} of {} {what} and are left out{name}", all.len())));
    }
    heard.means = means(asks, &answered, &heard.rows, sites, &format!("means over replies{name}"), tell)?;
    Ok(heard)
}

fn means(
    asks: &dyn Asks,
    answered: &[(usize, Item)],
    rows: &[usize],
    sites: &[Site],
    stage: &str,
    tell: Tell<'_>,
) -> Result<Vec<(Site, Array2<f64>)>> {
    let dims = asks.model().lm.dims();
    let mut sums: Vec<(Site, Array2<f64>)> =
        sites.iter().map(|s| (*s, Array2::zeros((rows.len(), dims.width(*s))))).collect();
    for (n, chunk) in answered.chunks(AT_ONCE).enumerate() {
        tell(stage, n * AT_ONCE, answered.len());
        let kept = asks.capture(chunk.iter().map(|(_, item)| item.clone()).collect(), sites)?;
        for ((site, sum), (_, kept)) in sums.iter_mut().zip(kept) {
            if kept.iter().any(|v| !v.is_finite()) {
                let count = kept.iter().filter(|v| !v.is_finite()).count();
                return Err(Error::NotFinite { place: format!("replies at {site}"), count });
            }
            for ((m, _), row) in chunk.iter().zip(kept.rows()) {
                sum.row_mut(*m).zip_mut_with(&row, |s, v| *s += f64::from(*v));
            }
        }
    }
    let counts: Array1<f64> = rows.iter().map(|n| *n as f64).collect();
    for (_, sum) in &mut sums {
        sum.rows_mut().into_iter().zip(&counts).for_each(|(mut row, n)| row.mapv_inplace(|v| v / n));
    }
    Ok(sums)
}
