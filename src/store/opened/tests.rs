use super::super::testing::{sites, small, value};
use super::*;
use crate::store::manifest::{Part, Stored};

fn expected(site: usize, rows: Range<usize>) -> Vec<f32> {
    let width = sites()[site].width;
    rows.flat_map(|r| (0..width).map(move |c| value(site, r, c))).collect()
}

#[test]
fn rows_come_back_across_files_and_in_every_dtype() {
    for dtype in [Stored::F32, Stored::F16, Stored::Bf16] {
        let dir = tempfile::tempdir().unwrap();
        let store = small(dir.path(), dtype);
        for (i, w) in sites().iter().enumerate() {
            for rows in [0..7, 2..5, 6..7, 3..3] {
                assert_eq!(store.read(w.site, rows.clone()).unwrap(), expected(i, rows), "{dtype:?} {}", w.site);
            }
        }
        let key = |id: &str| RowKey { id: id.into(), ..RowKey::default() };
        let acts = store
            .activations(Site::post(0), Pick::LastPrompt, &[1..2, 5..7], vec![key("a"), key("b"), key("c")])
            .unwrap();
        assert_eq!(acts.rows.as_slice().unwrap(), [expected(1, 1..2), expected(1, 5..7)].concat());
        assert!(store.read(Site::post(0), 5..8).unwrap_err().to_string().contains("rows 5..8 of a store with 7"));
        assert!(store.read(Site::post(1), 0..1).unwrap_err().hint().contains("resid_pre.0, resid_post.0, logits"));
    }
}

#[test]
fn keys_and_run_say_what_the_rows_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = small(dir.path(), Stored::F32);
    assert_eq!(store.columns, ["row", "id", "pos", "said", "persona", "score"]);
    assert_eq!(store.pick(), Some(Pick::LastPrompt));
    let keys = store.keys(Some(&["said", "persona"])).unwrap();
    assert_eq!((keys.columns[0].text(3), keys.columns[1].text(4)), ("two\nlines 3".into(), "B, \"C\"".into()));
    std::fs::write(dir.path().join(ROWS), "row,id\n0,a\n").unwrap();
    assert!(store.keys(None).unwrap_err().to_string().contains("1 lines of keys for 7 rows"));
}

#[test]
fn lists_of_sites_are_those_that_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = small(dir.path(), Stored::F32);
    let of =
        |list| -> Result<Vec<String>> { Ok(store.sites(Some(list))?.iter().map(|w| w.site.to_string()).collect()) };
    assert_eq!(of("resid_post.all, logits").unwrap(), ["resid_post.0", "logits"]);
    assert_eq!(of("all").unwrap(), ["resid_pre.0", "resid_post.0"]);
    assert_eq!(of("resid_post.0").unwrap(), ["resid_post.0"]);
    assert_eq!(store.sites(None).unwrap(), sites());
    for bad in ["resid_post.1", "resid_mid.0", "resid_post.0..1", "nonsense", ""] {
        assert!(of(bad).unwrap_err().hint().contains("kept here are"), "{bad}");
    }
}

/// Opens the store with another manifest.
fn with(dir: &Path, change: impl Fn(&mut Manifest)) -> Result<Store> {
    let mut manifest = Manifest::read(dir)?.unwrap();
    change(&mut manifest);
    manifest.write(dir)?;
    Store::open(dir)
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let said = |change: fn(&mut Manifest)| {
        let dir = tempfile::tempdir().unwrap();
        small(dir.path(), Stored::F32);
        with(dir.path(), change).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(said(|m| m.format = 2).contains("version 2"));
    assert!(said(|m| m.rows = 8).contains("7 rows in the files, and 8 in all"));
    assert!(said(|m| m.files[1].first_row = 4).contains("begins at row 4, and row 3 comes next"));
    assert!(said(|m| m.sites[1].site = m.sites[0].site).contains("two tensors are named `resid_pre.0`"));
    assert!(said(|m| m.files[1].sum.file = m.files[0].sum.file.clone()).contains("listed twice"));
    assert!(said(|m| m.files[0].sum.file = "../other.safetensors".into()).contains("no name of a file"));
    assert!(said(|m| m.files[0].rows = usize::MAX).contains("comes next"));
    assert!(said(|m| m.tables.clear()).contains("rows without rows.csv"));
    assert!(said(|m| m.sites[0].width = 0).contains("no columns"));
}

#[test]
fn a_file_that_is_not_what_the_manifest_says_is_refused_when_it_is_read() {
    let said = |change: fn(&mut Manifest)| {
        let dir = tempfile::tempdir().unwrap();
        small(dir.path(), Stored::F32);
        let store = with(dir.path(), change).unwrap();
        store.read(store.manifest.sites[0].site, 0..7).unwrap_err().to_string()
    };
    assert!(said(|m| m.dtype = Stored::F16).contains("`resid_pre.0` is F32, and the manifest says F16"));
    assert!(said(|m| m.sites[1].width = 4).contains("`resid_post.0` is [3, 3], and the manifest says [3, 4]"));
    assert!(said(|m| m.sites[1].site = Site::post(5)).contains("no tensor `resid_post.5`"));
    assert!(said(|m| m.sites.truncate(2)).contains("`logits`, of which the manifest knows nothing"));
}

#[test]
fn folders_of_older_versions_parts_and_stores_without_rows_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let hint = |e: Error| e.hint();
    assert!(hint(Store::open(dir.path()).err().unwrap()).contains("personascope capture"));
    assert!(Store::open(&dir.path().join("no")).err().unwrap().to_string().contains("no such folder"));
    let store = small(dir.path(), Stored::F32);
    assert!(store.whole().is_ok());
    let part = Part { index: 1, of: 7, runs: vec![(0, 7)], shard_bytes: 1 << 30 };
    let store = with(dir.path(), |m| m.part = Some(part.clone())).unwrap();
    let refused = store.whole().unwrap_err();
    assert!(refused.to_string().contains("part 2 of 7") && refused.hint().contains("capture-merge"), "{refused}");
    std::fs::remove_file(dir.path().join(MANIFEST)).unwrap();
    let older = Store::open(dir.path()).err().unwrap();
    assert!(older.to_string().contains("older version") && older.hint().contains("--layers sites"), "{older}");
}
