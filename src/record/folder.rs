//! The folder of a capture, from what is there to all that should be.

use super::about::About;
use super::sums::Sums;
use super::{Dealt, Recording};
use crate::error::{Error, Result};
use crate::moments::Running;
use crate::store::disk::Disk;
use crate::store::manifest::{MANIFEST, Manifest, Part, ROWS, Sum};
use crate::store::{Appending, Lock, Packed, RowWriter, UNFINISHED, create_dir, damages, pack, write_atomic};
use crate::unit::{Delivery, Outcome, Progress, Share, Tally, each};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const RUN: &str = "run.json";
/// In the folder of unfinished work: what is being made.
const PLAN: &str = "plan.json";
/// In a part of a plan: what its sums are of.
pub const SHARED: &str = "sums.json";

/// What became of a capture.
#[derive(Clone, Debug)]
pub struct Report {
    pub tally: Tally,
    pub manifest: Manifest,
    /// Rows of all that it holds now.
    pub rows: usize,
}

/// What was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Everything, as it was written.
    pub complete: bool,
    pub rows: usize,
    /// What was not as it had been written, in words.
    pub damaged: Vec<String>,
}

impl Recording<'_> {
    /// Makes all that is missing in `out`, tells `begun` what was there, and describes it in `run.json` by `described`,
    /// which holds the hash of the plan.
    ///
    /// # Errors
    /// A folder that another process has, or that holds something else; a failed pass; a full disk. What was written by
    /// then stays and is found again by the next call.
    pub fn run(
        &self,
        disk: Arc<dyn Disk>,
        out: &Path,
        mut described: Value,
        begun: &mut dyn FnMut(&Found) -> Result<()>,
        progress: &mut dyn Progress,
    ) -> Result<Report> {
        self.plan.check()?;
        create_dir(out)?;
        let _lock = Lock::take(out)?;
        let hash = described["plan_hash"].as_str().unwrap_or_default().to_string();
        let dealt = self.dealt();
        let (old, unsound) = self.old_manifest(out, &hash, &dealt);
        if old.is_none() {
            self.is_ours(out, &hash)?;
        }
        let damaged = match &old {
            Some(old) => damages(out, old.sums())?,
            None => vec![],
        };
        let rows = dealt.runs.iter().map(|(_, n)| n).sum();
        let mut tally = self.tally(&dealt);
        if let Some(old) = old.clone().filter(|_| damaged.is_empty()) {
            begun(&Found { complete: true, rows, damaged: vec![] })?;
            tally.rows_resumed = rows;
            self.end(out, described, &tally, &[])?;
            return Ok(Report { tally, manifest: old, rows });
        }
        let unfinished = out.join(UNFINISHED);
        create_dir(&unfinished)?;
        write_json(&unfinished.join(PLAN), &described)?;

        let damages = damaged.iter().map(|(s, d)| s.damaged(d)).chain(unsound);
        let mut found = Found { damaged: damages.collect(), ..Found::default() };
        let known: Vec<Sum> = old.iter().flat_map(|m| m.files.iter().map(|f| f.sum.clone())).collect();
        let layout = self.layout(&dealt);
        let (mut writer, there) = RowWriter::open(disk, out, layout, &hash, &known)?;
        let new: Vec<String> = there.damaged.into_iter().filter(|d| !found.damaged.contains(d)).collect();
        found.damaged.extend(new);
        let mut sums = self.sums(out, &dealt, &hash)?;

        // What is finished of the moments stays as it is, unless it was that which was damaged.
        let summed = |old: &Manifest| old.tables.iter().filter(|t| t.file != ROWS).cloned().collect::<Vec<_>>();
        let kept = old.as_ref().map(&summed).filter(|tables| {
            !tables.is_empty() && tables.iter().all(|t| damaged.iter().all(|(s, _)| s.file != t.file))
        });
        if kept.is_some() {
            sums = None;
        }

        let own: Vec<usize> = dealt.own().collect();
        let place: BTreeMap<usize, usize> = own.iter().enumerate().map(|(place, unit)| (*unit, place)).collect();
        let rows_of = |unit: usize| self.keys.rows_of(&dealt.units[unit]).len();
        let is_missing = |unit: &usize| writer.lacks(place[unit]) || sums.as_ref().is_some_and(|s| s.lacks(*unit));
        let todo: Vec<usize> = own.iter().copied().filter(is_missing).collect();
        let lacks: Vec<bool> = own.iter().map(|u| writer.lacks(place[u])).collect();
        found.rows = rows - todo.iter().map(|u| rows_of(*u) - writer.rows_of(place[u])).sum::<usize>();
        if self.rows.is_none() {
            found.rows = rows - todo.iter().map(|u| rows_of(*u)).sum::<usize>();
        }
        begun(&found)?;
        tally.rows_resumed = found.rows;
        tally.units_done = own.len() - todo.len();
        tally.tokens_done = tally.tokens - todo.iter().map(|u| self.tokens(&dealt, *u)).sum::<usize>();

        let pieces: Vec<_> = own.iter().map(|u| writer.pieces(place[u]).to_vec()).collect();
        let sites = self.sites();
        let (first_of, shape_of) = (|u: usize| self.keys.rows_of(&dealt.units[u]).start, self.moments.as_ref());
        let lacks_sum: Vec<bool> = own.iter().map(|u| sums.as_ref().is_some_and(|s| s.lacks(*u))).collect();
        let job = |unit: usize| -> Result<Done> {
            let outcome: Outcome = self.plan.execute(&dealt.units[unit])?;
            let at = place[&unit];
            let packed = match self.rows {
                Some(dtype) if lacks[at] => Some(pack(&sites, dtype, &pieces[at], &outcome.kept)?),
                _ => None,
            };
            let summed = shape_of
                .filter(|_| lacks_sum[at])
                .map(|m| super::part(&m.shape, &m.grouping, first_of(unit), rows_of(unit), &outcome.kept));
            Ok(Done { packed, summed, splits: outcome.splits })
        };
        // Rows have places; sums have an order.
        let delivery = if sums.is_some() { Delivery::InOrder } else { Delivery::AsDone };
        each(&self.plan, &dealt.units, &todo, self.threads, delivery, job, |unit, done: Done| {
            let before = writer.rows_of(place[&unit]);
            if let Some(packed) = &done.packed {
                writer.put(place[&unit], packed)?;
            }
            if let (Some(sums), Some(part)) = (&mut sums, &done.summed) {
                sums.take(unit, part)?;
            }
            tally.units_done += 1;
            tally.tokens_done += self.tokens(&dealt, unit);
            tally.rows_computed += rows_of(unit) - if self.rows.is_some() { before } else { 0 };
            tally.splits += done.splits;
            if progress.step(&tally) {
                return Ok(());
            }
            if let Some(sums) = &mut sums {
                sums.save()?;
            }
            Err(tally.interrupted())
        })?;

        let mut tables = Vec::new();
        let written = writer.finish()?;
        drop(writer);
        if self.rows.is_some() {
            tables.push(self.write_keys(out, &dealt)?);
        }
        match (kept, &mut sums) {
            (Some(kept), _) => tables.extend(kept),
            (None, Some(sums)) => tables.extend(self.write_sums(out, sums)?),
            (None, None) => {}
        }
        let manifest = Manifest {
            format: Manifest::FORMAT,
            plan_hash: hash,
            rows: if self.rows.is_some() { rows } else { 0 },
            dtype: self.rows.unwrap_or_default(),
            sites: self.sites(),
            files: written,
            tables,
            part: self.part(&dealt),
        };
        manifest.write(out)?;
        described["files"] = manifest.files.iter().map(|f| json!(f.sum.file)).collect();
        self.end(out, described, &tally, &found.damaged)?;
        Ok(Report { tally, manifest, rows })
    }

    /// The manifest of a finished run of this plan and share; what is wrong with it in words where there is one and it
    /// cannot be right.
    fn old_manifest(&self, out: &Path, hash: &str, dealt: &Dealt) -> (Option<Manifest>, Option<String>) {
        match Manifest::read(out) {
            Ok(None) => (None, None),
            Err(e) => (None, Some(e.to_string())),
            Ok(Some(old)) if old.plan_hash != hash => (None, None),
            Ok(Some(old)) => {
                let files: Vec<usize> = old.files.iter().map(|f| f.rows).collect();
                let (layout, part) = (self.layout(dealt), self.part(dealt));
                let right = (old.part.is_some() == part.is_some())
                    && old.part.as_ref().zip(part.as_ref()).is_none_or(|(a, b)| a.index == b.index && a.of == b.of);
                if !right {
                    return (None, None);
                }
                let sound = old.rows == layout.rows()
                    && old.sites == layout.sites
                    && old.dtype == layout.dtype
                    && old.part == part
                    && files == layout.files();
                if sound { (Some(old), None) } else { (None, Some(format!("{MANIFEST} is not what was written"))) }
            }
        }
    }

    fn part(&self, dealt: &Dealt) -> Option<Part> {
        let Share { index, of } = self.share;
        let part = || Part { index, of, runs: dealt.runs.clone(), shard_bytes: self.shard_bytes };
        (self.share != Share::ALL).then(part)
    }

    /// Refuses a folder that holds, or was to hold, something else.
    fn is_ours(&self, out: &Path, hash: &str) -> Result<()> {
        let share = if self.share == Share::ALL { Value::Null } else { json!([self.share.index, self.share.of]) };
        for path in [out.join(RUN), out.join(UNFINISHED).join(PLAN)] {
            let Some(run) = read_json(&path)? else { continue };
            if run["plan_hash"] != hash {
                let what = format!("{} holds the results of another plan", out.display());
                return Err(Error::refused(
                    what,
                    "choose another --out, or remove the folder; nothing in it was touched",
                ));
            }
            if run["share"] != share {
                let what = format!("{} holds another share of this plan", out.display());
                return Err(Error::refused(what, "give every share an --out of its own; nothing in it was touched"));
            }
        }
        Ok(())
    }

    fn tokens(&self, dealt: &Dealt, unit: usize) -> usize {
        self.plan.items[dealt.units[unit].clone()].iter().map(|i| i.tokens.len()).sum()
    }

    fn tally(&self, dealt: &Dealt) -> Tally {
        let tokens = dealt.own().map(|u| self.tokens(dealt, u)).sum();
        Tally { units: dealt.own().count(), tokens, ..Tally::default() }
    }

    fn sums(&self, out: &Path, dealt: &Dealt, hash: &str) -> Result<Option<Sums>> {
        let Some(m) = &self.moments else { return Ok(None) };
        let apart = (self.share != Share::ALL).then(|| out.to_path_buf());
        let unfinished = out.join(UNFINISHED);
        Sums::open(m.shape.clone(), dealt.blocks.clone(), apart, &unfinished, hash).map(Some)
    }

    fn write_keys(&self, out: &Path, dealt: &Dealt) -> Result<Sum> {
        let mut file = Appending::create(&out.join(ROWS))?;
        file.append(self.keys.header().as_bytes())?;
        let mut number = 0;
        for (_, units) in &dealt.blocks {
            let items = dealt.items(units);
            number = self.keys.lines(&self.plan.items, items, number, &mut |lines| file.append(lines))?;
        }
        file.finish()?;
        Sum::of(out, ROWS)
    }

    /// The moments of a whole plan; of a part, its blocks and what is needed to join them.
    fn write_sums(&self, out: &Path, sums: &mut Sums) -> Result<Vec<Sum>> {
        let Some(m) = &self.moments else { return Ok(vec![]) };
        let about = About::new(m, &self.sites());
        if self.share == Share::ALL {
            return about.write(out, sums.total());
        }
        write_json(&out.join(SHARED), &serde_json::to_value(&about).unwrap_or_default())?;
        let mut all = sums.files();
        all.push(SHARED.into());
        all.iter().map(|file| Sum::of(out, file)).collect()
    }

    /// Writes `run.json` and takes away what was unfinished.
    fn end(&self, out: &Path, mut described: Value, tally: &Tally, damaged: &[String]) -> Result<()> {
        if described["files"].is_null() {
            described["files"] = match Manifest::read(out)? {
                Some(m) => m.files.iter().map(|f| json!(f.sum.file)).collect(),
                None => json!([]),
            };
        }
        described["rows_computed"] = tally.rows_computed.into();
        described["rows_resumed"] = tally.rows_resumed.into();
        described["units_split"] = tally.splits.into();
        if !damaged.is_empty() {
            described["mended"] = json!(damaged);
        }
        write_json(&out.join(RUN), &described)?;
        let unfinished = out.join(UNFINISHED);
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(|e| Error::io("remove", unfinished, e))?;
        }
        Ok(())
    }
}

/// What a worker makes of a unit.
struct Done {
    packed: Option<Packed>,
    summed: Option<Running>,
    splits: usize,
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    write_atomic(path, text.as_bytes(), true)
}

pub(super) fn read_json(path: &Path) -> Result<Option<Value>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let place = path.display().to_string();
    let wrong = |e: serde_json::Error| {
        Error::format(&place, format!("not what a capture wrote ({e})"), "remove the file, or choose another --out")
    };
    serde_json::from_slice(&text).map(Some).map_err(wrong)
}
