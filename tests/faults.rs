//! A capture under faults: crashes at any write, full disks, damaged and lost files, interrupts, a second process, clocks
//! that go backwards. After each, the next run that gets through leaves the same bytes as if nothing had happened.

use personascope::axes::{Pick, Site};
use personascope::capture::{Filter, Grouping, Names, Selection};
use personascope::error::Result;
use personascope::model::{Model, Source};
use personascope::moments::{Scatter, Shape};
use personascope::record::{Found, Known, Moments, Recording, Report, RowKeys};
use personascope::rng::stream;
use personascope::store::disk::{Disk, Out, Real};
use personascope::store::manifest::Stored;
use personascope::store::{Lock, UNFINISHED};
use personascope::text::Message;
use personascope::unit::{Item, Plan, Share, Tally, Task};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What goes wrong, after how many operations.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The process ends there: nothing is done any more, a write is torn, and what was not synced may be lost.
    Crash,
    /// No write succeeds from there on.
    Full,
}

struct State {
    fault: Option<(usize, Fault)>,
    struck: bool,
    rng: ChaCha8Rng,
    /// Bytes written and not synced, by file.
    unsynced: BTreeMap<PathBuf, Vec<(u64, usize)>>,
}

/// The real disk until the fault strikes.
#[derive(Clone)]
struct Faulty(Arc<Mutex<State>>);

impl Faulty {
    fn new(fault: Option<(usize, Fault)>, seed: u64) -> Faulty {
        let rng = stream(seed, "faulty disk");
        Faulty(Arc::new(Mutex::new(State { fault, struck: false, rng, unsynced: BTreeMap::new() })))
    }

    fn struck(&self) -> bool {
        self.0.lock().unwrap().struck
    }

    /// One operation: whether it may go on. `torn` writes a part of what was to be written.
    fn operation(&self, torn: &mut dyn FnMut(f64)) -> io::Result<()> {
        let mut s = self.0.lock().unwrap();
        let Some((left, fault)) = &mut s.fault else { return Ok(()) };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        let fault = *fault;
        let first = !std::mem::replace(&mut s.struck, true);
        if first && fault == Fault::Crash {
            torn(s.rng.random_range(0.0..1.0));
            // Any page that was not synced may be lost: zeros, as a file system leaves them.
            for (path, written) in std::mem::take(&mut s.unsynced) {
                for (at, n) in written {
                    if s.rng.random_ratio(1, 3)
                        && let Ok(mut file) = Real.open(&path)
                    {
                        file.write_at(&vec![0; n], at)?;
                    }
                }
            }
        }
        let kind = if fault == Fault::Full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Err(io::Error::new(kind, format!("{fault:?}")))
    }
}

struct FaultyFile {
    disk: Faulty,
    path: PathBuf,
    file: Box<dyn Out>,
}

impl Out for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = &mut self.file;
        self.disk.operation(&mut |share| {
            let _ = file.write_at(&bytes[..(share * bytes.len() as f64) as usize], at);
        })?;
        self.file.write_at(bytes, at)?;
        self.disk.0.lock().unwrap().unsynced.entry(self.path.clone()).or_default().push((at, bytes.len()));
        Ok(())
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.disk.operation(&mut |_| {})?;
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.disk.operation(&mut |_| {})?;
        self.file.sync()?;
        self.disk.0.lock().unwrap().unsynced.remove(&self.path);
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        self.operation(&mut |_| {})?;
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.into(), file: Real.create(path)? }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        self.operation(&mut |_| {})?;
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.into(), file: Real.open(path)? }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(&mut |_| {})?;
        Real.rename(from, to)?;
        let mut s = self.0.lock().unwrap();
        if let Some(written) = s.unsynced.remove(from) {
            s.unsynced.insert(to.into(), written);
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(&mut |_| {})?;
        Real.remove(path)
    }
}

/// Some conversations: rows of every turn in several files, and moments by persona.
fn recording<'m>(model: &'m Model, share: Share) -> Recording<'m> {
    let names = Names::default();
    let selection = Selection::from(Pick::EachTurn);
    let (mut items, mut known) = (Vec::new(), Vec::new());
    for i in 0..60 {
        let said = |k: usize| ["tea", "a walk in the garden", "the old river and the bridge"][(i + k) % 3];
        let mut messages = Vec::new();
        for k in 0..1 + i % 3 {
            messages.push(Message::new("user", format!("Tell me about {}.", said(k))));
            messages.push(Message::new("assistant", format!("I like {}.", said(k + 1))));
        }
        let encoded = model.text.chat(&messages, false).unwrap();
        let kept = selection.rows(&i.to_string(), &encoded, &names).unwrap();
        items.push(Item {
            id: i.to_string(),
            prompt_len: encoded.last_prompt() + 1,
            ranges: kept.iter().map(|k| k.range()).collect(),
            tokens: encoded.tokens,
            ..Item::default()
        });
        known.push(Known { kept, adapter: String::new(), cells: vec![format!("p{}", i % 4), (i % 5).to_string()] });
    }
    let further = vec!["persona".to_string(), "score".into()];
    let keys = RowKeys::new(known, &names, further, false);
    let sites: Vec<Site> = (0..model.lm.dims().n_layers).map(Site::post).collect();
    let filter: Filter = "score>=2".parse().unwrap();
    let by = ["persona".to_string()];
    let grouping =
        Grouping::new(keys.rows(), &by, Some(&filter), None, &keys.columns(), |row, c| keys.cell(&items, row, c));
    let widths = vec![model.lm.dims().d_model; sites.len()];
    let moments = Moments {
        shape: Arc::new(Shape::new(widths, Scatter::None, vec![]).unwrap()),
        grouping: grouping.unwrap(),
        directions: vec![],
        min_count: 1,
    };
    let plan = Plan { model, task: Task::Capture { sites }, edits: vec![], items, max_batch_tokens: 120 };
    // About 5 files.
    let shard_bytes = 80_000;
    Recording { plan, keys, rows: Some(Stored::F32), moments: Some(moments), shard_bytes, share, threads: 2 }
}

/// Runs it; stops after so many units if that is asked.
fn run(recording: &Recording<'_>, disk: &Faulty, out: &Path, patience: Option<usize>) -> Result<(Report, Found)> {
    let described = json!({ "plan_hash": recording.plan_hash()?, "share": share(recording) });
    let mut found = Found::default();
    let (mut begun, mut left) = (
        |f: &Found| {
            found = f.clone();
            Ok(())
        },
        patience,
    );
    let mut progress = |_: &Tally| match &mut left {
        Some(0) => false,
        Some(n) => {
            *n -= 1;
            true
        }
        None => true,
    };
    let report = recording.run(Arc::new(disk.clone()), out, described, &mut begun, &mut progress)?;
    Ok((report, found))
}

fn share(recording: &Recording<'_>) -> serde_json::Value {
    if recording.share == Share::ALL { json!(null) } else { json!([recording.share.index, recording.share.of]) }
}

/// All files but those that may differ between runs.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let files = entries.filter(|e| e.file_type().unwrap().is_file() && e.file_name() != "run.json");
    files.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// Some file of the folder or of its unfinished work.
fn any_file(dir: &Path, rng: &mut ChaCha8Rng) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> = [dir.to_path_buf(), dir.join(UNFINISHED)]
        .iter()
        .filter_map(|d| std::fs::read_dir(d).ok())
        .flatten()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file() && p.file_name().is_some_and(|n| n != ".lock" && n != "run.json" && n != "plan.json"))
        .collect();
    files.sort();
    if files.is_empty() { None } else { Some(files.swap_remove(rng.random_range(0..files.len()))) }
}

#[test]
fn forty_faults_lose_nothing_and_leave_nothing_wrong() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let recording = recording(&model, Share::ALL);
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let (report, _) = run(&recording, &Faulty::new(None, 0), &whole, None).unwrap();
    let want = contents(&whole);
    assert!(report.manifest.files.len() >= 4 && report.tally.units > 15, "{report:?}");

    let out = dir.path().join("out");
    let mut rng = stream(5, "faults");
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut finished = 0;
    for step in 0..40u64 {
        let kind = rng.random_range(0..9);
        let (mut disk, mut patience) = (Faulty::new(None, step), None);
        let mut hurt = None;
        match kind {
            0..3 => disk = Faulty::new(Some((rng.random_range(0..160), Fault::Crash)), step),
            3 => disk = Faulty::new(Some((rng.random_range(0..160), Fault::Full)), step),
            4 => patience = Some(rng.random_range(0..12)),
            5..8 => hurt = any_file(&out, &mut rng),
            _ => {}
        }
        if let Some(path) = &hurt {
            let mut bytes = std::fs::read(path).unwrap();
            match kind {
                5 if !bytes.is_empty() => {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                    std::fs::write(path, bytes).unwrap();
                }
                6 => std::fs::write(path, &bytes[..bytes.len() * rng.random_range(0..100) / 100]).unwrap(),
                _ => std::fs::remove_file(path).unwrap(),
            }
        }
        if kind == 8 && out.exists() {
            let _held = Lock::take(&out).unwrap();
            let e = run(&recording, &disk, &out, None).unwrap_err().to_string();
            assert!(e.contains("another process"), "{e}");
            // Clocks go backwards: files from the future, and from long ago.
            for (i, path) in any_file(&out, &mut rng).into_iter().enumerate() {
                let file = std::fs::File::options().write(true).open(path).unwrap();
                let day = std::time::Duration::from_secs(86_400 * 4000);
                let now = std::time::SystemTime::now();
                file.set_modified(if i % 2 == 0 { now + day } else { now - day }).unwrap();
            }
        }
        let what = format!("step {step}, kind {kind}, {hurt:?}");
        match run(&recording, &disk, &out, patience) {
            Ok((report, found)) => {
                let got = contents(&out);
                for (name, bytes) in &want {
                    assert!(got.get(name) == Some(bytes), "{what}: {name}");
                }
                assert_eq!(got.len(), want.len(), "{what}");
                assert!(!out.join(UNFINISHED).exists(), "{what}");
                let t = report.tally;
                assert_eq!(t.rows_computed + t.rows_resumed, report.rows, "{what}");
                seen.insert(format!("finished, {}", if found.damaged.is_empty() { "sound" } else { "damaged before" }));
                finished += 1;
                // What is whole is begun anew now and then, or all that follows would find it whole.
                if rng.random_ratio(1, 2) {
                    std::fs::remove_dir_all(&out).unwrap();
                }
            }
            Err(e) => {
                let e = e.to_string();
                assert!(disk.struck() || e.starts_with("interrupted"), "{what}: {e}");
                seen.insert(e.split_whitespace().last().unwrap_or_default().to_string());
                // A file that has its name is whole, whenever one looks.
                for (name, bytes) in contents(&out).iter().filter(|(name, _)| name.starts_with("activations")) {
                    assert!(want.get(name) == Some(bytes), "{what}: {name} has its name and is not whole");
                }
            }
        }
    }
    assert!(finished >= 8, "{finished} runs got through");
    for kind in ["finished, sound", "finished, damaged before", "Crash", "Full", "units"] {
        assert!(seen.contains(kind), "{kind} never happened: {seen:?}");
    }
}

#[test]
fn a_lost_or_damaged_file_is_made_again_and_nothing_else() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let recording = recording(&model, Share::ALL);
    let dir = tempfile::tempdir().unwrap();
    let (report, _) = run(&recording, &Faulty::new(None, 0), dir.path(), None).unwrap();
    let want = contents(dir.path());
    for (file, rows) in report.manifest.files.iter().map(|f| (f.sum.file.clone(), f.rows)).take(2) {
        for how in ["removed", "flipped", "cut"] {
            let path = dir.path().join(&file);
            let mut bytes = std::fs::read(&path).unwrap();
            match how {
                "removed" => std::fs::remove_file(&path).unwrap(),
                "cut" => std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
                _ => {
                    *bytes.last_mut().unwrap() ^= 1;
                    std::fs::write(&path, bytes).unwrap();
                }
            }
            let (again, found) = run(&recording, &Faulty::new(None, 0), dir.path(), None).unwrap();
            assert!(found.damaged.iter().any(|d| d.contains(&file)), "{how}: {found:?}");
            assert_eq!(
                (again.tally.rows_computed, again.tally.rows_resumed),
                (rows, report.rows - rows),
                "{file} {how}"
            );
            assert!(contents(dir.path()) == want, "{file} {how}");
        }
    }
    let (again, found) = run(&recording, &Faulty::new(None, 0), dir.path(), None).unwrap();
    assert!(found.complete && again.tally.rows_resumed == report.rows && again.tally.rows_computed == 0);
}
