//! Vectors of files and folders: how they are grouped, found, refused and saved.

use super::*;
use crate::model::Source;
use crate::vectors::{About, encode};
use std::fs;

fn model() -> Model {
    Model::load(&Source::toyworld()).unwrap()
}

fn vector(site: Site, name: &str, width: usize, about: About) -> Vector {
    let raw: Vec<f64> = (0..width).map(|i| (i % 7) as f64 - 2.5).collect();
    Vector::new(site, name, &raw, about).unwrap()
}

#[test]
fn the_shipped_results_are_groups_by_name_with_a_vector_per_site() {
    let model = model();
    let (library, warnings) = Library::open(&model, &[], Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(warnings, [""; 0]);
    let all = library.list();
    let axis = "notebooks-data/persona_map/directions.safetensors#like_the_default_assistant/mean_response";
    let info = all.iter().find(|v| v.id == axis).unwrap();
    assert_eq!((info.sites.len(), info.site, info.pick), (5, Site::post(2), Some(Pick::MeanResponse)));
    assert_eq!(info.positive, "like the default assistant");
    assert!((info.raw_norm[&Site::new(Point::ResidPre, 0)] - 0.12461850454139764).abs() < 1e-12);
    // Keys with the site in front and behind.
    let voice = library.info("notebooks-data/voice/directions.safetensors#Domar/last_prompt").unwrap();
    assert_eq!((voice.sites.as_slice(), voice.pick), (&[Site::post(2)][..], Some(Pick::LastPrompt)));
    assert_eq!(library.at(axis, Site::post(1)).unwrap().site, Site::post(1));
    let e = library.at(axis, Site::new(Point::AttnOut, 1)).unwrap_err();
    assert!(e.status == 422 && e.hint.contains("resid_pre.0, resid_post.0"), "{e:?}");
    // A single vector may be tried anywhere.
    let (moved, there) = (library.at(&voice.id, Site::post(0)).unwrap(), &library.group(&voice.id).unwrap()[0]);
    assert_eq!((moved.site, &moved.unit, there.site), (Site::post(0), &there.unit, Site::post(2)));
    let typed = library.file(&voice.id);
    assert!(typed.ends_with("notebooks-data/voice/directions.safetensors#Domar/last_prompt"), "{typed}");
    let e = library.group(&axis.replace("persona_map", "persona_mop")).unwrap_err();
    assert!(e.status == 422 && e.hint.contains(axis), "{e:?}");
    let said = serde_json::to_value(info).unwrap();
    assert!(said["raw_norm"]["resid_post.2"].as_f64().unwrap() > 1.0 && said["site"] == "resid_post.2");
    assert_eq!((said["pick"].as_str(), said["sites"][0].as_str()), (Some("mean_response"), Some("resid_pre.0")));
}

#[test]
fn vectors_of_another_model_or_width_are_left_out_with_a_word() {
    let model = model();
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("vectors");
    fs::create_dir_all(&dir).unwrap();
    let put = |name: &str, vectors: &[Vector]| fs::write(dir.join(name), encode(vectors).unwrap()).unwrap();
    let of = |hash: &str| About { model_hash: Some(hash.into()), ..About::default() };
    put(
        "other.safetensors",
        &[vector(Site::post(2), "x", 96, of("f00")), vector(Site::post(2), "y", 96, of(&model.hash))],
    );
    put("wide.safetensors", &[vector(Site::post(2), "", 64, About::default())]);
    put("unsaid.safetensors", &[vector(Site::post(2), "", 96, About::default())]);
    fs::write(dir.join("broken.gguf"), "no gguf").unwrap();
    let (library, warnings) = Library::open(&model, &[], tmp.path());
    let ids: Vec<String> = library.list().into_iter().map(|v| v.id).collect();
    assert_eq!(ids, ["vectors/other.safetensors#y", "vectors/unsaid.safetensors#"]);
    assert!(library.info(&ids[1]).unwrap().warnings[0].contains("which model"));
    for says in
        ["other.safetensors are left out: they were made on another model", "have 64 values", "broken.gguf is left out"]
    {
        assert!(warnings.iter().any(|w| w.contains(says)), "{says}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 3);
}

#[test]
fn files_are_given_by_name_and_vectors_without_a_file_survive_another_search() {
    let model = model();
    let (tmp, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = tmp.path().join("mine.safetensors");
    let two = [vector(Site::post(1), "a", 96, About::default()), vector(Site::post(1), "b", 96, About::default())];
    fs::write(&file, encode(&two).unwrap()).unwrap();
    let typed = |name: &str| PathBuf::from(format!("{}#{name}", file.display()));
    let given = [typed("a"), typed("c"), tmp.path().join("none.npz")];
    let (library, warnings) = Library::open(&model, &given, folder.path());
    assert!(
        warnings.len() == 2 && warnings[0].contains("no vector named `c`") && warnings[1].contains("none.npz"),
        "{warnings:?}"
    );
    library.put(
        "persona space",
        vec![vector(Site::post(2), "PC1", 96, About { model_hash: Some("x".into()), ..About::default() })],
    );
    assert_eq!((library.rescan(), library.warnings()), (2, warnings));
    let ids: Vec<String> = library.list().into_iter().map(|v| v.id).collect();
    assert_eq!(ids, ["persona space#PC1".to_string(), format!("{}#a", file.display())]);
    assert!(library.file("persona space#PC1").ends_with("vectors/PC1.safetensors#PC1"));
    library.put("persona space", vec![]);
    assert_eq!(library.list().len(), 1);
}

#[test]
fn saved_vectors_are_whole_described_and_never_overwrite() {
    let model = model();
    let tmp = tempfile::tempdir().unwrap();
    let (library, _) = Library::open(&model, &[], tmp.path());
    let about = About { positive: "odd".into(), origin: "two rows".into(), counts: Some([2, 3]), ..About::default() };
    let vectors = vec![vector(Site::post(2), "x", 96, about.clone()), vector(Site::post(1), "x", 96, about)];
    let info = library.write("mine.v1", "odd", vectors.clone()).unwrap();
    assert_eq!((info.id.as_str(), info.sites.len()), ("vectors/mine.v1.safetensors#odd", 2));
    let path = tmp.path().join("vectors/mine.v1.safetensors");
    let read = crate::vectors::read(&path, None, Default::default()).unwrap();
    let about = &read.vectors[0].about;
    // What is not known of where it was made stays unknown, and is said.
    assert_eq!((about.counts, about.origin.as_str(), &about.model_hash), (Some([2, 3]), "two rows", &None));
    assert!(info.warnings[0].contains("which model"), "{:?}", info.warnings);
    assert_eq!(read.vectors[0].unit, vectors[1].unit);
    let before = fs::read(&path).unwrap();
    let e = library.write("mine.v1.safetensors", "again", vectors.clone()).unwrap_err();
    assert!(e.status == 422 && e.what.contains("there already") && fs::read(&path).unwrap() == before, "{e:?}");
    for bad in ["", "..", "../x", ".hidden", "a/b", "a\\b", "/x", "a b", "a\0", "é", &"x".repeat(81), "a..b"] {
        assert_eq!(library.write(bad, "odd", vectors.clone()).unwrap_err().status, 400, "{bad:?}");
    }
    for bad in ["a#b", "a/", "a\n", " a", &"x".repeat(81)] {
        assert_eq!(library.write("fine", bad, vectors.clone()).unwrap_err().status, 422, "{bad:?}");
    }
    let left: Vec<_> = fs::read_dir(tmp.path().join("vectors")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["mine.v1.safetensors"]);
    #[cfg(unix)]
    {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), inside.path().join("vectors")).unwrap();
        let (library, _) = Library::open(&model, &[], inside.path());
        assert_eq!(library.write("x", "", vectors).unwrap_err().status, 400);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_default_site_is_two_thirds_deep() {
    let post = |layers: &[usize]| layers.iter().map(|l| Site::post(*l)).collect::<Vec<_>>();
    assert_eq!(default_site(&post(&[0, 1, 2, 3]), 4), Some(Site::post(2)));
    assert_eq!(default_site(&post(&(0..32).collect::<Vec<_>>()), 32), Some(Site::post(21)));
    assert_eq!(default_site(&post(&[1, 3]), 4), Some(Site::post(3)));
    let mixed = [Site::new(Point::ResidPre, 2), Site::post(2), Site::new(Point::MlpOut, 2)];
    assert_eq!(default_site(&mixed, 4), Some(Site::post(2)));
    assert_eq!(default_site(&[], 4), None);
}
