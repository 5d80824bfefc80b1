//! Parts of a capture joined to the whole: the same bytes as one process would have written.

use super::about::About;
use super::defect;
use super::folder::{SHARED, read_json, write_json};
use super::keys::Records;
use super::sums::{BLOCK, read_block};
use crate::error::{Error, Result};
use crate::moments::Running;
use crate::store::disk::Disk;
use crate::store::manifest::{Manifest, Part, ROWS, Sum, Width};
use crate::store::{Appending, Layout, Lock, Packed, RowWriter, Store, UNFINISHED, create_dir};
use crate::unit::Share;
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was joined.
#[derive(Clone, Debug)]
pub struct Merged {
    pub manifest: Manifest,
    pub rows: usize,
    /// Rows that an earlier, interrupted call had copied.
    pub rows_resumed: usize,
}

/// A part that is whole.
struct Source {
    dir: PathBuf,
    manifest: Manifest,
    part: Part,
}

/// Bytes of rows that are copied at once.
const AT_ONCE: u64 = 16 << 20;

/// Joins the parts of a capture in `out`; `progress` is told bytes copied out of all. The record gets the command lines of
/// the parts and then `command_line`, how the program was called for this.
///
/// # Errors
/// A part that is missing, unfinished, damaged or of another plan; a folder that holds something else.
pub fn merge(
    disk: Arc<dyn Disk>,
    parts: &[PathBuf],
    out: &Path,
    command_line: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Merged> {
    let sources = sources(parts)?;
    let first = &sources[0].manifest;
    for s in &sources {
        for sum in s.manifest.sums() {
            if let Some(damage) = sum.check(&s.dir)? {
                let what = format!("{}: {}", s.dir.display(), sum.damaged(&damage));
                return Err(Error::refused(what, "run the capture of this share again: it makes just what is damaged"));
            }
        }
    }
    create_dir(out)?;
    let _lock = Lock::take(out)?;
    let mut run = read_json(&sources[0].dir.join("run.json"))?.unwrap_or_default();
    if let Some(old) = read_json(&out.join("run.json"))?
        && (old["plan_hash"] != first.plan_hash.as_str() || !old["share"].is_null())
    {
        let what = format!("{} holds something else", out.display());
        return Err(Error::refused(what, "choose another --out, or remove the folder; nothing in it was touched"));
    }
    let unfinished = out.join(UNFINISHED);
    create_dir(&unfinished)?;
    let rows: usize = sources.iter().map(|s| s.part.runs.iter().map(|r| r.1).sum::<usize>()).sum();
    let (files, rows_resumed) = copy_rows(disk, &sources, out, progress)?;
    let mut tables = Vec::new();
    if first.tables.iter().any(|t| t.file == ROWS) {
        tables.push(join_keys(&sources, out)?);
    }
    tables.extend(join_sums(&sources, out)?);
    let manifest =
        Manifest { rows: if files.is_empty() { 0 } else { rows }, files, tables, part: None, ..first.clone() };
    manifest.write(out)?;
    describe(&mut run, &sources, &manifest, command_line)?;
    write_json(&out.join("run.json"), &run)?;
    std::fs::remove_dir_all(&unfinished).map_err(|e| Error::io("remove", unfinished, e))?;
    Ok(Merged { manifest, rows, rows_resumed })
}

/// The parts in order: all of one plan, each once.
fn sources(parts: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources: Vec<Source> = Vec::new();
    for dir in parts {
        let place = dir.display();
        let manifest = Manifest::read(dir)?.ok_or_else(|| {
            let hint = "wait until its capture is done, or run it again: it goes on where it was";
            Error::refused(format!("{place} holds no finished part of a capture"), hint)
        })?;
        let Some(part) = manifest.part.clone() else {
            let hint = "give the folders that `capture --shard I/N` wrote";
            return Err(Error::refused(format!("{place} holds a whole capture, not a part of one"), hint));
        };
        if let Some(s) = sources.first()
            && (s.manifest.plan_hash != manifest.plan_hash || s.part.of != part.of)
        {
            let what = format!("{} and {place} are parts of different captures", s.dir.display());
            return Err(Error::refused(what, "give the parts of one capture, made with the same options and prompts"));
        }
        if let Some(s) = sources.iter().find(|s| s.part.index == part.index) {
            let what = format!("{} and {place} are the same part, {} of {}", s.dir.display(), part.index, part.of);
            return Err(Error::refused(what, "give every part once"));
        }
        sources.push(Source { dir: dir.clone(), manifest, part });
    }
    sources.sort_by_key(|s| s.part.index);
    let Some(first) = sources.first() else {
        return Err(Error::refused("no parts to join", "give the folders that `capture --shard I/N` wrote"));
    };
    let missing: Vec<String> =
        (0..first.part.of).filter(|i| sources.iter().all(|s| s.part.index != *i)).map(|i| i.to_string()).collect();
    if !missing.is_empty() {
        let what = format!("of {} parts there are missing: {}", first.part.of, missing.join(", "));
        return Err(Error::refused(what, "run `capture --shard` for them and give all parts"));
    }
    Ok(sources)
}

/// All runs of rows in the order of the whole: the source, its first row there, the number of rows.
fn runs(sources: &[Source]) -> Result<Vec<(usize, usize, usize)>> {
    let mut runs = Vec::new();
    for (s, source) in sources.iter().enumerate() {
        let mut at = 0;
        for &(first, count) in &source.part.runs {
            runs.push((first, s, at, count));
            at += count;
        }
    }
    runs.sort_unstable();
    let mut next = 0;
    for (first, _, _, count) in &runs {
        if *first != next {
            return Err(defect(format!("the parts leave a gap or overlap at row {next}")));
        }
        next += count;
    }
    Ok(runs.into_iter().map(|(_, s, at, count)| (s, at, count)).collect())
}

fn copy_rows(
    disk: Arc<dyn Disk>,
    sources: &[Source],
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Vec<crate::store::manifest::RowFile>, usize)> {
    let first = &sources[0].manifest;
    let is_kept = sources.iter().any(|s| s.manifest.rows > 0);
    let mut layout = Layout {
        sites: first.sites.clone(),
        dtype: first.dtype,
        units: vec![],
        shard_bytes: sources[0].part.shard_bytes,
    };
    let most = (AT_ONCE / layout.row_bytes().max(1)).max(1) as usize;
    let mut chunks = Vec::new();
    for (source, at, count) in if is_kept { runs(sources)? } else { vec![] } {
        let cut = (0..count).step_by(most).map(|from| (source, at + from, most.min(count - from)));
        chunks.extend(cut);
    }
    layout.units = chunks.iter().map(|c| c.2).collect();
    let plan = format!("merge {}", first.plan_hash);
    let old = Manifest::read(out)?.map(|m| m.files.into_iter().map(|f| f.sum).collect::<Vec<_>>());
    let (mut writer, found) = RowWriter::open(disk, out, layout, &plan, &old.unwrap_or_default())?;
    let stores = sources.iter().map(|s| Store::open(&s.dir)).collect::<Result<Vec<_>>>()?;
    let (all, row) = (writer.layout().bytes(), writer.layout().row_bytes());
    let mut done = 0;
    for (unit, &(source, at, count)) in chunks.iter().enumerate() {
        if writer.lacks(unit) {
            let mut bytes = Vec::with_capacity(first.sites.len());
            for Width { site, .. } in &first.sites {
                let mut of_site = Vec::new();
                stores[source].read_bytes(*site, at..at + count, &mut of_site)?;
                bytes.push(of_site);
            }
            let packed = Packed::new(writer.layout(), writer.pieces(unit), bytes);
            writer.put(unit, &packed)?;
        }
        done += count as u64 * row;
        progress(done, all);
    }
    Ok((writer.finish()?, found.rows))
}

fn join_keys(sources: &[Source], out: &Path) -> Result<Sum> {
    let open = |s: &Source| -> Result<Records<BufReader<File>>> {
        let path = s.dir.join(ROWS);
        let file = File::open(&path).map_err(|e| Error::io("read", &path, e))?;
        Ok(Records::new(BufReader::new(file), path.display().to_string()))
    };
    let mut records = sources.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut heads = Vec::new();
    for r in &mut records {
        let (first, rest) = r.record()?.ok_or_else(|| defect("a table of rows without a head"))?;
        heads.push(first + &rest);
    }
    let mut file = Appending::create(&out.join(ROWS))?;
    file.append(heads[0].as_bytes())?;
    let mut number = 0;
    for (source, _, count) in runs(sources)? {
        let mut lines = String::new();
        for _ in 0..count {
            let (_, rest) = records[source].record()?.ok_or_else(|| {
                let place = sources[source].dir.join(ROWS).display().to_string();
                Error::format(place, "fewer lines than rows", "run the capture of this share again")
            })?;
            lines += &format!("{number}{rest}");
            number += 1;
            if lines.len() > 1 << 16 {
                file.append(lines.as_bytes())?;
                lines.clear();
            }
        }
        file.append(lines.as_bytes())?;
    }
    file.finish()?;
    Sum::of(out, ROWS)
}

fn join_sums(sources: &[Source], out: &Path) -> Result<Vec<Sum>> {
    let Some(value) = read_json(&sources[0].dir.join(SHARED))? else { return Ok(vec![]) };
    let about: About = serde_json::from_value(value).map_err(|e| {
        let place = sources[0].dir.join(SHARED).display().to_string();
        Error::format(place, e.to_string(), "run the capture of this share again")
    })?;
    let shape = about.shape()?;
    let is_block = |t: &&Sum| t.file.starts_with(BLOCK);
    let blocks: usize = sources.iter().map(|s| s.manifest.tables.iter().filter(is_block).count()).sum();
    let mut total = Running::new(shape.clone());
    for number in 0..blocks {
        let has = |s: &&Source| Share { index: s.part.index, of: s.part.of }.has(number);
        let source = sources.iter().find(has).ok_or_else(|| defect("a block of no part"))?;
        let block = read_block(&source.dir, number, &shape)?.ok_or_else(|| {
            let what = format!("{}: block {number} of the sums is missing or damaged", source.dir.display());
            Error::refused(what, "run the capture of this share again")
        })?;
        total.merge(&block);
    }
    about.write(out, &total)
}

/// What one process would have written into `run.json`, but for how often it was resumed.
fn describe(run: &mut serde_json::Value, sources: &[Source], manifest: &Manifest, command_line: &str) -> Result<()> {
    let (mut computed, mut resumed, mut split) = (0, 0, 0);
    let mut lines = Vec::new();
    for s in sources {
        let run = read_json(&s.dir.join("run.json"))?.unwrap_or_default();
        let count = |key: &str| run[key].as_u64().unwrap_or_default();
        computed += count("rows_computed");
        resumed += count("rows_resumed");
        split += count("units_split");
        lines.extend(run["command_line"].as_str().map(String::from));
    }
    (run["rows_computed"], run["rows_resumed"], run["units_split"]) = (computed.into(), resumed.into(), split.into());
    run["files"] = manifest.files.iter().map(|f| json!(f.sum.file)).collect();
    lines.push(command_line.into());
    run["command_line"] = lines.join("\n").into();
    run["merged_from"] = sources.len().into();
    if let Some(run) = run.as_object_mut() {
        run.shift_remove("share");
        run.shift_remove("mended");
    }
    Ok(())
}
