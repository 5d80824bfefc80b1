//! What a capture will give and take, said before it runs.

use super::super::out::say;
use crate::error::{Error, Result};
use crate::record::{Found, Recording};
use crate::store::manifest::Manifest;
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use std::path::Path;
use std::time::{Duration, Instant};

/// A run of fewer units is over before a sample of it would tell anything.
const WORTH_A_SAMPLE: usize = 24;

/// Says on stderr what is to come, and refuses what the disk has no room for.
pub fn say(recording: &Recording, out: &Path, found: &Found) -> Result<()> {
    let p = recording.predict()?;
    let time = if p.units < WORTH_A_SAMPLE {
        String::new()
    } else {
        let all = sampled(recording)?;
        let left = all.mul_f64(1.0 - found.rows as f64 / p.rows_of(recording).max(1) as f64);
        format!("; about {}", HumanDuration(left))
    };
    let resumed =
        if found.rows > 0 { format!(", {} of them there", HumanCount(found.rows as u64)) } else { String::new() };
    eprintln!(
        "{} rows{resumed} of {} tokens at {} sites: {}{time}",
        HumanCount(p.rows_of(recording) as u64),
        HumanCount(p.tokens as u64),
        recording.sites().len(),
        HumanBytes(p.bytes())
    );
    let needed = (p.bytes() as f64 * (1.0 - found.rows as f64 / p.rows_of(recording).max(1) as f64)) as u64;
    match free(out) {
        Some(free) if free < needed => {
            let what = format!("{} needs {} and has {} free", out.display(), HumanBytes(needed), HumanBytes(free));
            Err(Error::refused(what, "free some space, or keep less: --keep moments, fewer --sites, --rows-dtype bf16"))
        }
        _ => Ok(()),
    }
}

/// Says that what is there is read first, where that takes a while.
pub fn say_checking(out: &Path) {
    const A_WHILE: u64 = 1 << 30;
    let there = Manifest::read(out).ok().flatten().map_or(0, |m| m.sums().map(|s| s.bytes).sum());
    if there > A_WHILE {
        eprintln!("checking {} that {} holds", HumanBytes(there), out.display());
    }
}

/// Says on stdout what a run would give, without doing it.
pub fn say_all(recording: &Recording, out: &Path) -> Result<()> {
    let p = recording.predict()?;
    let line = |what: &str, value: String| say!("{what:<16}{value}");
    line("prompts", HumanCount(recording.plan.items.len() as u64).to_string());
    line("tokens", HumanCount(p.tokens as u64).to_string());
    line("units", HumanCount(p.units as u64).to_string());
    line("rows", HumanCount(p.rows_of(recording) as u64).to_string());
    line("sites", recording.sites().iter().map(|s| s.site.to_string()).collect::<Vec<_>>().join(","));
    if recording.rows.is_some() {
        line("rows on disk", format!("{} in {} files", HumanBytes(p.bytes_of_rows), p.files));
        line("their keys", HumanBytes(p.bytes_of_keys).to_string());
    }
    if let Some(m) = &recording.moments {
        line("groups", m.grouping.groups.len().to_string());
        line("moments", HumanBytes(p.bytes_of_moments).to_string());
    }
    if let Some(free) = free(out) {
        line("free on disk", HumanBytes(free).to_string());
    }
    line("time", format!("about {}", HumanDuration(sampled(recording)?)));
    Ok(())
}

/// The time of the whole by that of one unit.
fn sampled(recording: &Recording) -> Result<Duration> {
    let Some(unit) = recording.sample() else { return Ok(Duration::ZERO) };
    let tokens: usize = recording.plan.items[unit.clone()].iter().map(|i| i.tokens.len()).sum();
    recording.plan.execute(&unit)?;
    let began = Instant::now();
    recording.plan.execute(&unit)?;
    let all = recording.predict()?.tokens as f64 / tokens.max(1) as f64;
    let workers = recording.plan.model.workers(recording.threads).max(1) as f64;
    Ok(began.elapsed().mul_f64(all / workers))
}

/// Bytes that are free where a folder is, or would be.
fn free(out: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let there = out.ancestors().find(|p| p.exists() || p.as_os_str().is_empty())?;
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        let stat = rustix::fs::statvfs(there).ok()?;
        Some(stat.f_bavail * stat.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = out;
        None
    }
}
