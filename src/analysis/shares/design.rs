//! Which rows belong to which cell: every role under every model, on prompts that cells may share.

use crate::error::{Error, Result};
use crate::rng::stream;
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// With more prompts than this they are dealt into bundles, which then take the place of prompts.
pub const MOST_PROMPTS: usize = 600;
const BUNDLES: usize = 300;

/// What a row is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub model: String,
    pub role: String,
    pub prompt: String,
    /// Whether the role is the default persona; the same for all rows of a role.
    pub is_default: bool,
}

/// The cells of a table of rows: role by role, and in a role model by model.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Sorted, but for the one that the others are compared with: that is the first.
    pub models: Vec<String>,
    /// Sorted; those that every model has with two prompts at least.
    pub roles: Vec<String>,
    /// The place of the default persona among the roles.
    pub default: Option<usize>,
    /// Prompts, or bundles of them.
    pub prompts: usize,
    /// Rows of every cell and prompt, `[role * models + model][prompt]`, ascending by their labels and then by row.
    pub rows: Vec<Vec<Vec<usize>>>,
    /// Whether every cell has every prompt, and as many rows of each.
    pub balanced: bool,
    /// Whether the effect of a prompt can be told from that of a cell, and is taken out of the cells' means.
    pub blocked: bool,
    pub warnings: Vec<String>,
}

impl Design {
    /// Sorts rows into cells; `before` is the model that the others are compared with, the first by name when left out. The
    /// order of the rows does not matter, apart from the indices that the cells hold.
    ///
    /// # Errors
    /// No such model, fewer than two models, or fewer than two roles that every model has on two prompts; two default personas.
    pub fn of(labels: &[Label], before: Option<&str>, seed: u64) -> Result<Design> {
        let mut models = names(labels, |l| &l.model);
        if let Some(before) = before {
            let Some(at) = models.iter().position(|m| m == before) else {
                let hint = format!("the models are {}", models.join(", "));
                return Err(Error::refused(format!("no rows of the model `{before}`"), hint));
            };
            models[..=at].rotate_right(1);
        }
        let all = names(labels, |l| &l.role);
        if models.len() < 2 {
            let what = format!("rows of {} model{}", models.len(), if models.len() == 1 { "" } else { "s" });
            return Err(Error::refused(what, "a shift between models needs two of them: the column `model`"));
        }
        let (prompt, bundled) = prompts(labels, seed);
        let mut by_cell: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
        for (label, p) in labels.iter().zip(&prompt) {
            by_cell.entry((&label.role, &label.model)).or_default().insert(*p);
        }
        let full = |role: &&String| {
            models.iter().all(|m| by_cell.get(&(role.as_str(), m.as_str())).is_some_and(|p| p.len() > 1))
        };
        let roles: Vec<String> = all.iter().filter(full).cloned().collect();
        let mut warnings = Vec::new();
        if bundled {
            warnings.push(format!(
                "more than {MOST_PROMPTS} prompts: dealt into {BUNDLES} bundles that are resampled whole"
            ));
        }
        let lost: Vec<&String> = all.iter().filter(|r| !roles.contains(r)).collect();
        if roles.len() < 2 {
            let what =
                format!("{} of {} roles are there under every model on two prompts or more", roles.len(), all.len());
            return Err(Error::refused(what, "give every role under every model, on at least two prompts"));
        }
        if !lost.is_empty() {
            let some: Vec<&str> = lost.iter().take(5).map(|s| s.as_str()).collect();
            let more = if lost.len() > 5 { ", ..." } else { "" };
            let n = lost.len();
            warnings
                .push(format!("{n} roles lack a model or a second prompt and are left out: {}{more}", some.join(", ")));
        }
        let default = default(labels, &roles)?;
        Ok(cells(labels, &prompt, models, roles, default, warnings))
    }

    /// Roles times models.
    pub fn cells(&self) -> usize {
        self.rows.len()
    }

    /// Prompts of a cell.
    pub(super) fn filled(&self, cell: usize) -> usize {
        self.rows[cell].iter().filter(|r| !r.is_empty()).count()
    }
}

fn names(labels: &[Label], of: impl Fn(&Label) -> &String) -> Vec<String> {
    labels.iter().map(of).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// The number of each row's prompt, by its name; whether prompts were bundled.
fn prompts(labels: &[Label], seed: u64) -> (Vec<usize>, bool) {
    let names = names(labels, |l| &l.prompt);
    let bundled = names.len() > MOST_PROMPTS;
    let mut rng = stream(seed, "bundles of prompts");
    let mut number = |i: usize| if bundled { rng.random_range(0..BUNDLES) } else { i };
    let of: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), number(i))).collect();
    (labels.iter().map(|l| of[l.prompt.as_str()]).collect(), bundled)
}

fn default(labels: &[Label], roles: &[String]) -> Result<Option<usize>> {
    let named: BTreeSet<&str> = labels.iter().filter(|l| l.is_default).map(|l| l.role.as_str()).collect();
    if named.len() > 1 {
        let names: Vec<&str> = named.into_iter().take(4).collect();
        let what = format!("more than one default persona: {}", names.join(", "));
        return Err(Error::refused(what, "is_default is 1 for the rows of one role"));
    }
    Ok(named.first().and_then(|d| roles.iter().position(|r| r == d)))
}

fn cells(
    labels: &[Label],
    prompt: &[usize],
    models: Vec<String>,
    roles: Vec<String>,
    default: Option<usize>,
    warnings: Vec<String>,
) -> Design {
    let numbers = |all: &[String]| all.iter().cloned().zip(0..).collect::<BTreeMap<String, usize>>();
    let (role_at, model_at) = (numbers(&roles), numbers(&models));
    let mut kept: Vec<(usize, usize, usize)> = Vec::new();
    for (row, label) in labels.iter().enumerate() {
        if let (Some(r), Some(m)) = (role_at.get(&label.role), model_at.get(&label.model)) {
            kept.push((r * models.len() + m, prompt[row], row));
        }
    }
    // Prompts that no kept role has are gone.
    let used: BTreeSet<usize> = kept.iter().map(|k| k.1).collect();
    let number: BTreeMap<usize, usize> = used.iter().enumerate().map(|(i, p)| (*p, i)).collect();
    let mut rows = vec![vec![Vec::new(); used.len()]; roles.len() * models.len()];
    for (cell, p, row) in kept {
        rows[cell][number[&p]].push(row);
    }
    let each = rows[0][0].len();
    let balanced = each > 0 && rows.iter().flatten().all(|r| r.len() == each);
    let blocked = !balanced && connected(&rows);
    Design { models, roles, default, prompts: used.len(), rows, balanced, blocked, warnings }
}

/// Whether at least half of the table of cells and prompts is filled, every prompt is in two cells and every cell can be
/// reached from every other through prompts that they share.
fn connected(rows: &[Vec<Vec<usize>>]) -> bool {
    let (cells, prompts) = (rows.len(), rows[0].len());
    let there = |c: usize, p: usize| !rows[c][p].is_empty();
    let count = |p: usize| (0..cells).filter(|c| there(*c, p)).count();
    let filled: usize = (0..prompts).map(count).sum();
    if 2 * filled < cells * prompts || (0..prompts).any(|p| count(p) < 2) {
        return false;
    }
    let (mut seen, mut todo) = (vec![false; cells], vec![0]);
    seen[0] = true;
    let mut met = vec![false; prompts];
    while let Some(c) = todo.pop() {
        for (p, met) in met.iter_mut().enumerate() {
            if !*met && there(c, p) {
                *met = true;
                for (other, seen) in seen.iter_mut().enumerate() {
                    if !*seen && there(other, p) {
                        *seen = true;
                        todo.push(other);
                    }
                }
            }
        }
    }
    seen.iter().all(|s| *s)
}
