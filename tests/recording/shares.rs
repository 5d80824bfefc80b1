//! A capture dealt out to several processes, each of which may die, and joined again.

use crate::disk::{Fault, Faulty};
use crate::setup::{contents, recording, run};
use personascope::model::{Model, Source};
use personascope::record::merge;
use personascope::rng::stream;
use personascope::store::disk::Real;
use personascope::unit::Share;
use rand::Rng;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes all parts; each dies once before it gets through.
fn parts(model: &Model, of: usize, dir: &Path) -> Vec<PathBuf> {
    let mut rng = stream(of as u64, "deaths of parts");
    let one = |index: usize| {
        let recording = recording(model, Share { index, of });
        let out = dir.join(format!("part {index} of {of}"));
        let (dies, seed) = (rng.random_range(3..12), rng.random());
        let first = run(&recording, &Faulty::new(Some((dies, Fault::Crash)), seed), &out, None);
        assert!(first.is_err(), "part {index} of {of} had less than {dies} operations to do");
        let patience = rng.random_range(0..3);
        let _ = run(&recording, &Faulty::new(None, 0), &out, Some(patience));
        run(&recording, &Faulty::new(None, 0), &out, None).unwrap();
        out
    };
    (0..of).map(one).collect()
}

#[test]
fn parts_that_died_and_came_back_join_to_the_bytes_of_the_whole() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    run(&recording(&model, Share::ALL), &Faulty::new(None, 0), &whole, None).unwrap();
    let want = contents(&whole);
    assert!(want.contains_key("moments.safetensors") && want.contains_key("activations-00001.safetensors"));
    for of in [2, 7] {
        let mut parts = parts(&model, of, dir.path());
        parts.reverse();
        let out = dir.path().join(format!("joined from {of}"));
        // The joining dies too.
        let dying = Faulty::new(Some((7, Fault::Crash)), of as u64);
        assert!(merge(Arc::new(dying), &parts, &out, "merge", &mut |_, _| {}).is_err());
        merge(Arc::new(Real), &parts, &out, "merge", &mut |_, _| {}).unwrap();
        let got = contents(&out);
        assert!(got.keys().eq(want.keys()), "{of}: {:?}", got.keys());
        for (name, bytes) in &want {
            assert!(&got[name] == bytes, "{of} parts: {name}");
        }
        let again = merge(Arc::new(Real), &parts, &out, "merge", &mut |_, _| {}).unwrap();
        assert_eq!(again.rows_resumed, again.rows);
    }
}

#[test]
fn parts_that_do_not_make_a_whole_are_refused_by_name() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(&model, 2, dir.path());
    let out = dir.path().join("out");
    let refused = |parts: &[PathBuf], says: &str| {
        let e = merge(Arc::new(Real), parts, &out, "merge", &mut |_, _| {}).unwrap_err();
        assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{says}: {e}");
        assert!(!out.exists(), "{says}");
    };
    refused(&parts[..1], "missing: 1");
    refused(&[parts[0].clone(), parts[0].clone()], "the same part");
    refused(&[parts[0].clone(), dir.path().join("nowhere")], "no finished part");
    let whole = dir.path().join("whole");
    run(&recording(&model, Share::ALL), &Faulty::new(None, 0), &whole, None).unwrap();
    refused(&[parts[0].clone(), whole.clone()], "a whole capture");
    let mut other = recording(&model, Share { index: 1, of: 2 });
    other.shard_bytes *= 2;
    let elsewhere = dir.path().join("other");
    run(&other, &Faulty::new(None, 0), &elsewhere, None).unwrap();
    refused(&[parts[0].clone(), elsewhere], "different captures");
    let e = run(&recording(&model, Share { index: 0, of: 2 }), &Faulty::new(None, 0), &parts[1], None).unwrap_err();
    assert!(e.to_string().contains("another share"), "{e}");

    let file = parts[1].join("activations-00001.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 4;
    std::fs::write(&file, bytes).unwrap();
    refused(&parts, "activations-00001.safetensors is not what was written");
    run(&recording(&model, Share { index: 1, of: 2 }), &Faulty::new(None, 0), &parts[1], None).unwrap();
    merge(Arc::new(Real), &parts, &out, "merge", &mut |_, _| {}).unwrap();
    for (name, bytes) in contents(&whole) {
        assert!(std::fs::read(out.join(&name)).unwrap() == bytes, "{name}");
    }
}
