//! Crashes at any write, full disks, damaged and lost files, interrupts, a second process, clocks that go backwards. After
//! each, the next run that gets through leaves the same bytes as if nothing had happened.

use crate::disk::{Fault, Faulty};
use crate::setup::{contents, recording, run};
use personascope::model::{Model, Source};
use personascope::rng::stream;
use personascope::store::{Lock, UNFINISHED};
use personascope::unit::Share;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut finished = 0;
    for step in 0..40u64 {
        let kind = rng.random_range(0..9);
        let (mut disk, mut patience) = (Faulty::new(None, step), None);
        let mut hurt = None;
        // What is whole already gives a crash nothing to strike.
        if kind < 5 && out.join("run.json").exists() {
            std::fs::remove_dir_all(&out).unwrap();
        }
        match kind {
            0..3 => disk = Faulty::new(Some((rng.random_range(0..100), Fault::Crash)), step),
            3 => disk = Faulty::new(Some((rng.random_range(0..40), Fault::Full)), step),
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
                let end = if found.damaged.is_empty() { "finished, sound" } else { "finished, damaged before" };
                *seen.entry(end.into()).or_default() += 1;
                finished += 1;
            }
            Err(e) => {
                let e = e.to_string();
                assert!(disk.struck() || e.starts_with("interrupted"), "{what}: {e}");
                *seen.entry(e.split_whitespace().last().unwrap_or_default().into()).or_default() += 1;
                // A file that has its name is whole, whenever one looks.
                for (name, bytes) in contents(&out).iter().filter(|(name, _)| name.starts_with("activations")) {
                    assert!(want.get(name) == Some(bytes), "{what}: {name} has its name and is not whole");
                }
            }
        }
    }
    println!("{finished} runs of 40 got through; ends: {seen:?}");
    assert!(finished >= 8, "{finished} runs got through");
    for kind in ["finished, sound", "finished, damaged before", "Crash", "Full", "units"] {
        assert!(seen.contains_key(kind), "{kind} never happened: {seen:?}");
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
