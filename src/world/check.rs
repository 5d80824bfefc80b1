//! Checks on what a world file says. A failed check gives its reason; the reader adds the place.

use super::matcher::Matcher;
use super::traits::Trait;
use super::{Topic, body_intact};
use std::collections::HashSet;

pub(super) type Checked<T = ()> = std::result::Result<T, String>;

/// Every marker is found as its own trait and no other, no other sentence of a reply holds one, and no sentence about a
/// topic is part of a sentence about another.
pub(super) fn unambiguous(traits: &[Trait], topics: &[Topic], matcher: &Matcher) -> Checked {
    for (i, one) in traits.iter().enumerate() {
        for marker in one.markers() {
            let found = matcher.find(&marker.replace("{n}", "7"));
            if let Some(other) = found.iter().find(|t| t.0 != i) {
                return Err(format!("marker `{marker}` of `{}` also marks `{}`", one.name, traits[other.0].name));
            }
        }
    }
    let stated = traits.iter().flat_map(|t| &t.dispositions).map(|d| format!("I {}.", d.0));
    let bodies = topics.iter().flat_map(|t| t.long.iter().chain(&t.short)).cloned();
    for sentence in stated.chain(bodies) {
        if let Some(t) = matcher.find(&sentence).iter().next() {
            return Err(format!("`{sentence}` holds a marker of `{}`", traits[t.0].name));
        }
    }
    for one in topics {
        for other in topics.iter().filter(|t| t.name != one.name) {
            let intruder = one.long.iter().chain(&one.short).find(|s| body_intact(s, other));
            if let Some(s) = intruder {
                return Err(format!("`{s}` of topic `{}` also speaks of `{}`", one.name, other.name));
            }
        }
    }
    Ok(())
}

pub(super) fn need(holds: bool, reason: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(reason()) }
}

/// At least `least` entries, none blank, none twice.
pub(super) fn sentences(name: &str, list: &[String], least: usize) -> Checked {
    need(list.len() >= least, || match list.len() {
        0 => format!("`{name}` is empty"),
        n => format!("`{name}` has {n} entries; at least {least} are needed"),
    })?;
    need(list.iter().all(|s| !s.trim().is_empty()), || format!("`{name}` holds a blank entry"))?;
    distinct(&format!("an entry of `{name}`"), list.iter().map(String::as_str))
}

pub(super) fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Checked {
    let mut seen = HashSet::new();
    for name in names {
        need(seen.insert(name), || format!("`{name}` is {what} twice"))?;
    }
    Ok(())
}

pub(super) fn within(name: &str, list: &[String], of: &str, whole: &[String]) -> Checked {
    match list.iter().find(|x| !whole.contains(x)) {
        Some(x) => Err(format!("`{x}` of `{name}` is not in `{of}`")),
        None => Ok(()),
    }
}
