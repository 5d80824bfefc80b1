//! Stores that are read: exported and brought back, imported from elsewhere, verified, analysed; and every way in which
//! a file can be wrong.

use assert_cmd::Command;
use half::{bf16, f16};
use personascope::axes::{Pick, Site};
use personascope::error::Error;
use personascope::rng::stream;
use personascope::store::Store;
use personascope::store::formats::npy::header;
use personascope::store::formats::{Format, Selection, export};
use personascope::store::import::{Axes, Convention, Import, Imported, import};
use personascope::store::manifest::{Manifest, Part, Stored, Sum};
use rand::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use zip::write::{SimpleFileOptions, ZipWriter};

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn done(dir: &Path, args: &[&str]) -> (String, String) {
    let (code, out, err) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {err}");
    (out, err)
}

fn refused(dir: &Path, args: &[&str], says: &str) {
    let (code, _, err) = run(dir, args);
    assert_eq!(code, 2, "{args:?}: {err}");
    assert!(err.contains(says) && err.contains("hint: "), "{args:?} should say `{says}`: {err}");
}

/// An array as numpy would write it into an archive: name, type, shape, bytes.
type Array<'a> = (&'a str, &'a str, Vec<usize>, Vec<u8>);

fn npz(path: &Path, arrays: &[Array]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, descr, shape, bytes) in arrays {
        let stored = SimpleFileOptions::DEFAULT.compression_method(zip::CompressionMethod::Stored);
        zip.start_file(format!("{name}.npy"), stored).unwrap();
        zip.write_all(&header(descr, shape)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn safetensors(path: &Path, arrays: &[(&str, &str, Vec<usize>, Vec<u8>)]) {
    let (mut head, mut at) = (serde_json::Map::new(), 0);
    for (name, dtype, shape, bytes) in arrays {
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes.len()] });
        head.insert(name.to_string(), entry);
        at += bytes.len();
    }
    let head = serde_json::Value::Object(head).to_string();
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head.bytes());
    arrays.iter().for_each(|a| file.extend(&a.3));
    fs::write(path, file).unwrap();
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Value `column` of `row` in layer `layer`, exact in 16 bits.
fn value(layer: usize, row: usize, column: usize) -> f32 {
    (64 * layer + 8 * row + column) as f32 / 4.0
}

fn layer(layer: usize, rows: usize, width: usize) -> Vec<f32> {
    (0..rows).flat_map(|r| (0..width).map(move |c| value(layer, r, c))).collect()
}

/// A folder with keys for five rows.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let keys = "id,persona,said\na,evil,\"x, \"\"y\"\"\"\nb,good,\nc,evil,\"two\nlines\"\nd,good,é\ne,evil,z\n";
    fs::write(dir.path().join("keys.csv"), keys).unwrap();
    dir
}

fn ask(dir: &Path, acts: &str, layers: Convention) -> Import {
    Import {
        acts: dir.join(acts),
        keys: dir.join("keys.csv"),
        layers,
        axes: None,
        arrays: None,
        n_layers: None,
        pick: None,
        out: dir.join("store"),
        command_line: "personascope import".into(),
    }
}

fn bring(ask: &Import) -> Result<Imported, Error> {
    import(ask, &mut |_| {})
}

/// Imports arrays of an archive and gives what is said against it.
fn said(arrays: &[Array], layers: Convention) -> String {
    let dir = folder();
    npz(&dir.path().join("acts.npz"), arrays);
    let e = bring(&ask(dir.path(), "acts.npz", layers)).unwrap_err();
    assert!(!e.hint().is_empty(), "{e}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "a refused import leaves nothing behind: {left:?}");
    e.to_string()
}

/// An imported store of five rows at resid_post.0 and resid_post.1.
fn small(dir: &Path) -> Store {
    let arrays: Vec<Array> = (0..2).map(|l| (["l0", "l1"][l], "<f4", vec![5, 3], f32s(&layer(l, 5, 3)))).collect();
    npz(&dir.join("acts.npz"), &arrays);
    bring(&Import { pick: Some(Pick::LastPrompt), ..ask(dir, "acts.npz", Convention::ResidPost) }).unwrap();
    Store::open(&dir.join("store")).unwrap()
}

fn is_layer(store: &Store, site: Site, of: usize) {
    let rows = store.manifest.rows;
    let width = store.sites(Some(&site.to_string())).unwrap()[0].width;
    assert_eq!(store.read(site, 0..rows).unwrap(), layer(of, rows, width), "{site}");
}

#[test]
fn arrays_of_every_dtype_and_byte_order_become_a_sound_store() {
    let values = layer(1, 5, 3);
    let cases: Vec<(&str, Vec<u8>, Stored)> = vec![
        ("<f4", f32s(&values), Stored::F32),
        (">f4", values.iter().flat_map(|v| v.to_be_bytes()).collect(), Stored::F32),
        ("<f8", values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(), Stored::F32),
        (">f8", values.iter().flat_map(|v| f64::from(*v).to_be_bytes()).collect(), Stored::F32),
        ("<f2", values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(), Stored::F16),
        (">f2", values.iter().flat_map(|v| f16::from_f32(*v).to_be_bytes()).collect(), Stored::F16),
    ];
    for (descr, bytes, dtype) in cases {
        let dir = folder();
        npz(&dir.path().join("acts.npz"), &[("layer_1", descr, vec![5, 3], bytes)]);
        let done = bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap();
        assert_eq!((done.rows, done.dtype), (5, dtype), "{descr}");
        assert_eq!(!done.warnings.is_empty(), descr.ends_with("f8"), "{:?}", done.warnings);
        let store = Store::open(&dir.path().join("store")).unwrap();
        is_layer(&store, Site::post(1), 1);
        assert!(store.verify(&mut |_| {}).unwrap().is_sound(), "{descr}");
        assert_eq!(store.keys(None).unwrap().column("said").unwrap().text(2), "two\nlines");
    }
    let dir = folder();
    let half: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    safetensors(&dir.path().join("acts.safetensors"), &[("resid_post.1", "BF16", vec![5, 3], half)]);
    assert_eq!(bring(&ask(dir.path(), "acts.safetensors", Convention::Sites)).unwrap().dtype, Stored::Bf16);
    is_layer(&Store::open(&dir.path().join("store")).unwrap(), Site::post(1), 1);
}

#[test]
fn a_stack_of_layers_gives_the_store_of_its_layers_in_either_order() {
    let stores: Vec<(String, Vec<u8>)> = [0, 1, 2]
        .iter()
        .map(|kind| {
            let dir = folder();
            let acts = dir.path().join("acts.npz");
            let of = |l: usize, r: usize| (0..3).map(move |c| value(l, r, c));
            let mut ask = ask(dir.path(), "acts.npz", Convention::ResidPost);
            match kind {
                0 => {
                    let names = ["layer_0", "layer_1"];
                    let arrays: Vec<Array> =
                        (0..2).map(|l| (names[l], "<f4", vec![5, 3], f32s(&layer(l, 5, 3)))).collect();
                    npz(&acts, &arrays);
                }
                1 => {
                    let all: Vec<f32> = (0..2).flat_map(|l| (0..5).flat_map(move |r| of(l, r))).collect();
                    npz(&acts, &[("h", "<f4", vec![2, 5, 3], f32s(&all))]);
                    ask.axes = Some(Axes::LayerRow);
                }
                _ => {
                    let all: Vec<f32> = (0..5).flat_map(|r| (0..2).flat_map(move |l| of(l, r))).collect();
                    npz(&acts, &[("h", "<f4", vec![5, 2, 3], f32s(&all))]);
                    ask.axes = Some(Axes::RowLayer);
                }
            }
            bring(&ask).unwrap();
            let m = Manifest::read(&ask.out).unwrap().unwrap();
            (m.files[0].sum.blake3.clone(), fs::read(ask.out.join("rows.csv")).unwrap())
        })
        .collect();
    assert!(stores.windows(2).all(|w| w[0] == w[1]), "the same rows and keys");
}

#[test]
fn hidden_states_lose_the_one_behind_the_final_norm_and_need_the_number_of_layers() {
    let dir = folder();
    let all: Vec<f32> = (0..5).flat_map(|k| layer(k, 5, 3)).collect();
    npz(&dir.path().join("acts.npz"), &[("hidden", "<f4", vec![5, 5, 3], f32s(&all))]);
    let mut ask = Import { axes: Some(Axes::LayerRow), ..ask(dir.path(), "acts.npz", Convention::Hf) };
    let e = bring(&ask).unwrap_err();
    assert!(e.to_string().contains("hidden_states[4] may be after the final norm") && e.hint().contains("--n-layers"));
    ask.n_layers = Some(3);
    assert!(bring(&ask).unwrap_err().to_string().contains("hidden_states[4] of a model with 3 layers"));
    ask.n_layers = Some(4);
    let done = bring(&ask).unwrap();
    assert!(done.warnings[0].contains("layer 4 is after the final norm"), "{:?}", done.warnings);
    let store = Store::open(&ask.out).unwrap();
    assert_eq!(store.manifest.sites.len(), 4);
    is_layer(&store, "resid_pre.0".parse().unwrap(), 0);
    is_layer(&store, Site::post(2), 3);
    assert_eq!(store.run()["from"]["resid_post.2"], "hidden[3]");
    assert!(store.run()["convention"].as_str().unwrap().contains("final norm"));
}

#[test]
fn an_import_is_made_once_and_never_over_something_else() {
    let dir = folder();
    small(dir.path());
    let ask = Import { pick: Some(Pick::LastPrompt), ..ask(dir.path(), "acts.npz", Convention::ResidPost) };
    assert!(bring(&ask).unwrap().was_there);
    let other = Import { layers: Convention::ResidPre, ..ask.clone() };
    assert!(bring(&other).unwrap_err().to_string().contains("holds something else"));
    fs::write(ask.out.join("rows.csv"), "row,id\n").unwrap();
    assert!(bring(&ask).unwrap_err().to_string().contains("rows.csv has 7 bytes"));
    let unnamed = Import { out: dir.path().join(".."), ..ask };
    assert!(bring(&unnamed).unwrap_err().to_string().contains("holds something else"));
}

#[test]
fn keys_get_row_and_id_where_they_have_none() {
    let dir = folder();
    npz(&dir.path().join("acts.npz"), &[("0", "<f4", vec![2, 1], f32s(&[1.0, 2.0]))]);
    let ask = ask(dir.path(), "acts.npz", Convention::ResidPost);
    let csv = |keys: &str| {
        fs::write(dir.path().join("keys.csv"), keys).unwrap();
        let _ = fs::remove_dir_all(&ask.out);
        bring(&ask).unwrap();
        fs::read_to_string(ask.out.join("rows.csv")).unwrap()
    };
    assert_eq!(csv("q\nx\ny\n"), "row,id,q\n0,0,x\n1,1,y\n");
    assert_eq!(csv("q,id,row\nx,a,0\ny,b,1\n"), "row,id,q\n0,a,x\n1,b,y\n");
    assert_eq!(csv("row,id\n7,a\n9,b\n"), "row,id,source_row\n0,a,7\n1,b,9\n");
}

#[test]
fn a_truncated_archive_is_refused() {
    let dir = folder();
    let path = dir.path().join("acts.npz");
    npz(&path, &[("0", "<f4", vec![5, 3], f32s(&layer(0, 5, 3)))]);
    let bytes = fs::read(&path).unwrap();
    for cut in [1, 40, bytes.len() - 10] {
        fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        let e = bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap_err();
        assert!(e.to_string().contains("not a whole npz archive"), "{e}");
    }
}

#[test]
fn a_flipped_byte_of_an_archive_is_found_by_its_checksum() {
    let dir = folder();
    let path = dir.path().join("acts.npz");
    npz(&path, &[("0", "<f4", vec![5, 3], f32s(&layer(0, 5, 3)))]);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == value(0, 4, 0).to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let e = bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap_err();
    assert!(e.to_string().contains("array `0`") && e.to_string().contains("checksum"), "{e}");
}

#[test]
fn a_shape_that_does_not_fit_its_bytes_is_refused() {
    let short = said(&[("0", "<f4", vec![5, 4], f32s(&layer(0, 5, 3)))], Convention::ResidPost);
    assert!(short.contains("[5, 4] does not fit its"), "{short}");
    let huge = said(&[("0", "<f4", vec![usize::MAX, 2], vec![])], Convention::ResidPost);
    assert!(huge.contains("does not fit its"), "{huge}");
}

#[test]
fn another_number_of_keys_is_refused_with_both_numbers() {
    let e = said(&[("0", "<f4", vec![6, 3], f32s(&layer(0, 6, 3)))], Convention::ResidPost);
    assert!(e.contains("5 lines of keys, and the arrays have 6 rows"), "{e}");
}

#[test]
fn arrays_with_different_rows_are_refused() {
    let arrays = [("0", "<f4", vec![5, 3], f32s(&layer(0, 5, 3))), ("1", "<f4", vec![4, 3], f32s(&layer(0, 4, 3)))];
    assert!(said(&arrays, Convention::ResidPost).contains("`0` has 5 rows and `1` has 4"));
}

#[test]
fn numbers_that_are_not_floating_point_are_refused() {
    let e = said(&[("0", "<i8", vec![5, 3], vec![0; 120])], Convention::ResidPost);
    assert!(e.contains("array `0`: holds `<i8`, no floating-point numbers"), "{e}");
    let e = said(&[("0", "|u1", vec![5, 3], vec![0; 15])], Convention::ResidPost);
    assert!(e.contains("holds `|u1`"), "{e}");
}

#[test]
fn pickled_objects_are_never_read_whatever_their_shape() {
    let good = ("0", "<f4", vec![5, 3], f32s(&layer(0, 5, 3)));
    for shape in [vec![5], vec![5, 3]] {
        let e = said(&[good.clone(), ("1", "|O", shape, b"\x80\x04boom".to_vec())], Convention::ResidPost);
        assert!(e.contains("array `1`: holds pickled Python objects"), "{e}");
    }
    let dir = folder();
    npz(&dir.path().join("acts.npz"), &[good, ("1", "|O", vec![5], b"x".to_vec())]);
    let some = Import { arrays: Some(vec!["0".into()]), ..ask(dir.path(), "acts.npz", Convention::ResidPost) };
    assert_eq!(bring(&some).unwrap().sites.len(), 1);
}

#[test]
fn fortran_order_is_refused_and_said_how_to_turn_it() {
    let dir = folder();
    let path = dir.path().join("acts.npz");
    npz(&path, &[("0", "<f4", vec![5, 3], f32s(&layer(0, 5, 3)))]);
    let mut bytes = fs::read(&path).unwrap();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what).unwrap();
    let at = find(&bytes, b"'fortran_order': False,");
    bytes[at..at + 23].copy_from_slice(b"'fortran_order': True ,");
    fs::write(&path, bytes).unwrap();
    let e = bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap_err();
    assert!(e.to_string().contains("Fortran order") && e.hint().contains("ascontiguousarray"), "{e}");
}

#[test]
fn two_arrays_of_one_name_are_refused() {
    let dir = folder();
    let path = dir.path().join("acts.npz");
    let array = |name| (name, "<f4", vec![5, 3], f32s(&layer(0, 5, 3)));
    npz(&path, &[array("h.1"), array("h.2")]);
    let mut bytes = fs::read(&path).unwrap();
    while let Some(at) = bytes.windows(7).position(|w| w == b"h.2.npy") {
        bytes[at + 2] = b'1';
    }
    fs::write(&path, bytes).unwrap();
    let e = bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap_err();
    assert!(e.to_string().contains("two arrays in it have the same name"), "{e}");
    // And two names that are one site.
    let twice = said(&[array("layer_1"), array("layer_01")], Convention::ResidPost);
    assert!(twice.contains("are both resid_post.1"), "{twice}");
    let hooks = [array("blocks.0.hook_out"), array("blocks.0.hook_resid_post")];
    assert!(said(&hooks, Convention::Tl).contains("are both resid_post.0"));
}

#[test]
fn values_that_are_none_are_refused_with_their_place() {
    let mut values = layer(0, 5, 3);
    values[3 * 3 + 2] = f32::NAN;
    let e = said(&[("0", "<f4", vec![5, 3], f32s(&values))], Convention::ResidPost);
    assert!(e.contains("array `0`, row 3, column 2: NaN is not finite"), "{e}");
    let large: Vec<u8> = (0..15).flat_map(|i| (if i == 7 { 1e300 } else { 0.5f64 }).to_le_bytes()).collect();
    let e = said(&[("0", "<f8", vec![5, 3], large)], Convention::ResidPost);
    assert!(e.contains("row 2, column 1: 1e300 does not fit float32") || e.contains("does not fit float32"), "{e}");
}

#[test]
fn names_and_shapes_that_a_convention_does_not_have_are_refused() {
    let array = |name| (name, "<f4", vec![5, 3], f32s(&layer(0, 5, 3)));
    assert!(said(&[array("mean")], Convention::ResidPost).contains("no array named `mean`"));
    assert!(said(&[array("a.0"), array("b.1")], Convention::ResidPost).contains("not layers of one thing"));
    assert!(said(&[array("layer_0")], Convention::Tl).contains("no array named `layer_0`"));
    assert!(said(&[("h", "<f4", vec![1, 5, 3], f32s(&layer(0, 5, 3)))], Convention::ResidPost).contains("three dim"));
    assert!(said(&[("h", "<f4", vec![1, 1, 5, 3], f32s(&layer(0, 5, 3)))], Convention::ResidPost).contains("4 dim"));
    assert!(said(&[("h", "<f4", vec![15], f32s(&layer(0, 5, 3)))], Convention::ResidPost).contains("no array"));
    assert!(said(&[("0", "<f4", vec![0, 3], vec![])], Convention::ResidPost).contains("without values"));
}

#[test]
fn a_pickle_or_another_kind_of_file_is_refused() {
    let dir = folder();
    fs::write(dir.path().join("acts.pt"), b"x").unwrap();
    let e = bring(&ask(dir.path(), "acts.pt", Convention::ResidPost)).unwrap_err();
    assert!(e.to_string().contains("neither .npz nor .safetensors"));
    fs::write(dir.path().join("acts.npz"), b"not a zip").unwrap();
    let e = bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap_err();
    assert!(e.to_string().contains("not a whole npz"), "{e}");
}

#[test]
fn an_npz_goes_out_and_comes_back_to_the_same_bytes() {
    let dir = folder();
    let store = small(dir.path());
    let out = dir.path().join("out.npz");
    let all = Selection::of(&store, None, &[]).unwrap();
    let written = export(&store, &all, Format::Npz, &out, &mut |_| {}).unwrap();
    assert_eq!(written, std::slice::from_ref(&out));
    let again = Import {
        acts: out.clone(),
        keys: store.dir.join("rows.csv"),
        out: dir.path().join("again"),
        ..ask(dir.path(), "", Convention::Sites)
    };
    let done = bring(&again).unwrap();
    assert!(done.warnings[0].contains("one dimension: row, id, persona, said"), "{:?}", done.warnings);
    let (a, b) = (&store.manifest, Manifest::read(&again.out).unwrap().unwrap());
    assert_eq!((&a.files, &a.tables), (&b.files, &b.tables));
    // The same store gives the same bytes.
    let first = fs::read(&out).unwrap();
    export(&store, &all, Format::Npz, &out, &mut |_| {}).unwrap();
    assert_eq!(first, fs::read(&out).unwrap());
}

#[test]
fn csv_and_safetensors_hold_the_chosen_rows_with_their_keys() {
    let dir = folder();
    let store = small(dir.path());
    let evil = Selection::of(&store, Some("resid_post.1"), &[("persona".into(), "evil".into())]).unwrap();
    assert_eq!(evil.count(), 3);
    let out = dir.path().join("x.csv");
    export(&store, &evil, Format::Csv, &out, &mut |_| {}).unwrap();
    let head = "row,id,persona,said,resid_post.1[0],resid_post.1[1],resid_post.1[2]\n";
    let rows = "0,a,evil,\"x, \"\"y\"\"\",16.0,16.25,16.5\n2,c,evil,\"two\nlines\",20.0,20.25,20.5\n4,e,evil,z,24.0,24.25,24.5\n";
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("{head}{rows}"));

    let out = dir.path().join("x.safetensors");
    let written = export(&store, &evil, Format::Safetensors, &out, &mut |_| {}).unwrap();
    let bytes = fs::read(&out).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let t = file.tensor("resid_post.1").unwrap();
    assert_eq!(
        (t.shape(), t.data().to_vec()),
        (&[3, 3][..], f32s(&[16.0, 16.25, 16.5, 20.0, 20.25, 20.5, 24.0, 24.25, 24.5]))
    );
    let keys = fs::read_to_string(&written[1]).unwrap();
    assert_eq!(keys, "row,id,persona,said\n0,a,evil,\"x, \"\"y\"\"\"\n2,c,evil,\"two\nlines\"\n4,e,evil,z\n");

    let cell = |c: &str, v: &str| (c.to_string(), v.to_string());
    let count = |cells: &[(String, String)]| Selection::of(&store, None, cells).map(|s| s.count());
    assert_eq!(count(&[cell("persona", "evil"), cell("persona", "good")]).unwrap(), 5);
    assert_eq!(count(&[cell("persona", "evil"), cell("id", "c")]).unwrap(), 1);
    let hint = count(&[cell("persona", "nobody")]).unwrap_err().hint();
    assert!(hint.contains("evil, good"), "{hint}");
    assert!(count(&[cell("persona", "good"), cell("id", "c")]).is_err());
    assert!(count(&[cell("nope", "x")]).unwrap_err().hint().contains("row, id, persona, said"));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_without_its_feature_is_refused_by_name() {
    let dir = folder();
    small(dir.path());
    refused(dir.path(), &["export", "store", "--format", "parquet", "--out", "x.parquet"], "the feature `parquet`");
    assert!(!dir.path().join("x.parquet").exists());
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_keys_and_lists_and_nulls_where_cells_are_empty() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    let dir = folder();
    fs::write(dir.path().join("keys.csv"), "id,n,score,said\n1,1,0.5,x\n2,,1,\n3,3,,z\n4,4,2,é\n5,5,3,\"a\nb\"\n")
        .unwrap();
    let store = small(dir.path());
    let out = dir.path().join("x.parquet");
    let most = Selection { rows: vec![0..2, 3..5], ..Selection::of(&store, None, &[]).unwrap() };
    export(&store, &most, Format::Parquet, &out, &mut |_| {}).unwrap();
    let file = SerializedFileReader::new(fs::File::open(&out).unwrap()).unwrap();
    let rows: Vec<Vec<(String, Field)>> = file.get_row_iter(None).unwrap().map(|r| r.unwrap().into_columns()).collect();
    assert_eq!(rows.len(), 4);
    let get = |row: usize, name: &str| rows[row].iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!((get(0, "id"), get(2, "row")), (Field::Str("1".into()), Field::Long(3)));
    assert_eq!((get(1, "n"), get(2, "n")), (Field::Null, Field::Long(4)));
    assert_eq!((get(0, "score"), get(3, "said")), (Field::Double(0.5), Field::Str("a\nb".into())));
    for (i, r) in [0, 1, 3, 4].into_iter().enumerate() {
        let Field::ListInternal(list) = get(i, "resid_post.1") else { panic!("a list") };
        let expected: Vec<Field> = (0..3).map(|c| Field::Float(value(1, r, c))).collect();
        assert_eq!(list.elements(), expected);
    }
}

/// Writes the manifest anew after a change.
fn with(store: &Path, change: impl FnOnce(&mut Manifest)) {
    let mut m = Manifest::read(store).unwrap().unwrap();
    change(&mut m);
    m.write(store).unwrap();
}

#[test]
fn inspect_names_what_is_damaged_and_what_to_do() {
    let dir = folder();
    small(dir.path());
    let (out, _) = done(dir.path(), &["inspect", "store"]);
    for word in ["import", "resid_post.0", "last_prompt", "persona", "sound: all 2 files"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let path = dir.path().join("store/activations.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, out, _) = run(dir.path(), &["inspect", "store"]);
    assert_eq!(code, 1);
    assert!(out.contains("damaged: activations.safetensors is not what was written") && out.contains("what next: "));
    // Another dtype than the manifest says, though its checksum is vouched for.
    with(&dir.path().join("store"), |m| {
        m.files[0].sum = Sum::of(&dir.path().join("store"), "activations.safetensors").unwrap();
        m.dtype = Stored::Bf16;
    });
    let (code, out, _) = run(dir.path(), &["inspect", "store"]);
    assert!(code == 1 && out.contains("`resid_post.0` is F32, and the manifest says BF16"), "{out}");
}

#[test]
fn a_manifest_of_a_later_version_and_a_part_are_refused() {
    let dir = folder();
    small(dir.path());
    let store = dir.path().join("store");
    with(&store, |m| m.part = Some(Part { index: 0, of: 2, runs: vec![(0, 5)], shard_bytes: 1 << 30 }));
    let ask = ["analyze", "store", "--contrast", "persona=evil,good", "--out", "r"];
    refused(dir.path(), &ask, "part 1 of 2");
    refused(dir.path(), &["export", "store", "--format", "npz", "--out", "x.npz"], "part 1 of 2");
    assert!(done(dir.path(), &["inspect", "store"]).0.contains("capture-merge"));
    with(&store, |m| m.format = 99);
    refused(dir.path(), &ask, "version 99");
    refused(dir.path(), &["inspect", "store"], "version 99");
}

#[test]
fn large_csv_files_and_files_inside_the_store_are_refused() {
    let dir = folder();
    small(dir.path());
    refused(dir.path(), &["export", "store", "--format", "csv", "--out", "store/x.csv"], "is inside the store");
    refused(dir.path(), &["analyse", "store", "--map", "persona", "--out", "store"], "the store itself");
    // 1e6 rows of 2 x 3 values of 13 characters are 78 MB; a hundred times the width is above a gigabyte.
    with(&dir.path().join("store"), |m| {
        (m.rows, m.files[0].rows) = (1_000_000, 1_000_000);
        m.sites.iter_mut().for_each(|w| w.width = 300);
    });
    refused(dir.path(), &["export", "store", "--format", "csv", "--out", "x.csv"], "a CSV file of about 7");
}

/// Two layers of 24 personas, half of them evil, asked the same 4 questions: the second layer has `signal` along its first
/// coordinate for the evil ones. Written as `[layer, row, d]`, with the keys.
fn planted(dir: &Path, signal: f32) {
    let mut rng = stream(5, "planted");
    let mut normal = || {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    let mut keys = "persona,kind,question,one\n".to_string();
    for p in 0..24 {
        (0..4).for_each(|q| keys += &format!("p{p},{},q{q},same\n", if p % 2 == 0 { "evil" } else { "good" }));
    }
    let mut all = Vec::new();
    for layer in 0..2 {
        for p in 0..24 {
            let centre: Vec<f32> = (0..8).map(|_| normal()).collect();
            for _ in 0..4 {
                let planted = if layer == 1 && p % 2 == 0 { signal } else { 0.0 };
                all.extend((0..8).map(|c| centre[c] + normal() + if c == 0 { planted } else { 0.0 }));
            }
        }
    }
    fs::write(dir.join("keys.csv"), keys).unwrap();
    npz(&dir.join("acts.npz"), &[("h", "<f4", vec![2, 96, 8], f32s(&all))]);
    let args =
        ["import", "--acts", "acts.npz", "--keys", "keys.csv", "--layers", "resid_post", "--axes", "layer,row,d"];
    done(dir, &[&args[..], &["--pick", "last_prompt", "--out", "store"]].concat());
}

#[test]
fn a_planted_contrast_is_found_in_an_imported_store_at_its_layer() {
    let dir = tempfile::tempdir().unwrap();
    planted(dir.path(), 4.0);
    let args = ["analyze", "store", "--contrast", "kind=evil,good", "--group", "persona", "--svg-only", "--out"];
    let (out, err) = done(dir.path(), &[&args[..], &["a"]].concat());
    assert!(
        out.contains("kind=evil against kind=good at resid_post.1, chosen on training groups alone: AUROC"),
        "{out}"
    );
    assert!(err.contains("only 4 held-out groups") || err.contains("results in a"), "{err}");
    let table = fs::read_to_string(dir.path().join("a/layers.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    let at = |name: &str| lines[0].iter().position(|c| *c == name).unwrap();
    let number = |row: usize, name: &str| lines[row][at(name)].parse::<f64>().unwrap();
    assert_eq!(lines[2][at("site")], "resid_post.1");
    assert_eq!(lines[2][at("chosen")], "1");
    // Means of evil and good personas differ by 4 with a row deviation of sqrt(2): Phi(4 / 2) = 0.98.
    assert!(number(2, "auroc") > 0.9 && number(1, "auroc") < 0.85, "{table}");
    assert!(number(2, "p_value") < 0.01);
    assert_eq!(lines[3][at("probe")], "wording");
    assert!(lines[3][at("auroc")].is_empty() && lines[3][at("reason")].contains("words of the rows"), "{table}");
    let bytes = fs::read(dir.path().join("a/directions.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let unit = file.tensor("resid_post.1/kind=evil/last_prompt").unwrap().data().to_vec();
    let first = f32::from_le_bytes(unit[..4].try_into().unwrap());
    assert!(first > 0.8, "the planted direction is e0: {first}");
    let svg = fs::read_to_string(dir.path().join("a/contrast.svg")).unwrap();
    assert!(svg.contains("kind=evil") && !svg.contains("token counts"));
    // Threads change nothing.
    done(dir.path(), &[&args[..], &["b", "--threads", "1"]].concat());
    for file in ["layers.csv", "contrast.svg", "directions.safetensors"] {
        assert_eq!(
            fs::read(dir.path().join("a").join(file)).unwrap(),
            fs::read(dir.path().join("b").join(file)).unwrap()
        );
    }
    let record = |d: &str| fs::read(dir.path().join(d).join("run.json")).unwrap();
    let [mut a, mut b] = ["a", "b"].map(|d| serde_json::from_slice::<serde_json::Value>(&record(d)).unwrap());
    assert!(a["command_line"].as_str().unwrap().starts_with("personascope analyze store --contrast "), "{a}");
    assert!(b["command_line"].as_str().unwrap().ends_with(" b --threads 1"), "{b}");
    (a["command_line"], b["command_line"]) = (serde_json::Value::Null, serde_json::Value::Null);
    assert_eq!(a, b);
}

#[test]
fn a_map_of_group_means_has_coordinates_and_its_null() {
    let dir = tempfile::tempdir().unwrap();
    planted(dir.path(), 6.0);
    let args = ["analyze", "store", "--map", "persona", "--site", "resid_post.1", "--svg-only", "--out"];
    let (out, _) = done(dir.path(), &[&args[..], &["m"]].concat());
    assert!(out.contains("At resid_post.1 PC1 of 24 roles"), "{out}");
    let scores = fs::read_to_string(dir.path().join("m/loadings.csv")).unwrap();
    let pc1: Vec<(String, f64)> = scores
        .lines()
        .filter(|l| l.starts_with("resid_post.1") && l.contains(",PC1,"))
        .map(|l| l.split(',').collect::<Vec<_>>())
        .map(|c| (c[2].to_string(), c[4].parse().unwrap()))
        .collect();
    assert_eq!(pc1.len(), 24);
    // 6 apart along e0 against a deviation of about 1.1: PC1 tells evil from good, with either sign.
    let evil = |name: &str| name[1..].parse::<usize>().unwrap() % 2 == 0;
    let side = pc1.iter().filter(|(n, v)| (*v > 0.0) == evil(n)).count();
    assert!(side >= 23 || side <= 1, "{pc1:?}");
    let svg = fs::read_to_string(dir.path().join("m/map.svg")).unwrap();
    assert!(svg.contains("Variance at post.1") && svg.contains("Dimensions"));
    let (out, _) = done(dir.path(), &[&args[..], &["d", "--default", "p0"]].concat());
    assert!(out.contains("on PC1 it is above"), "{out}");
    assert!(dir.path().join("d/directions.safetensors").is_file());
}

#[test]
fn questions_that_no_analysis_can_answer_are_refused_with_what_would_help() {
    let dir = tempfile::tempdir().unwrap();
    planted(dir.path(), 1.0);
    let ask =
        |args: &[&str], says: &str| refused(dir.path(), &[&["analyze", "store", "--out", "r"], args].concat(), says);
    ask(&[], "nothing is asked");
    ask(&["--contrast", "kind=evil,bad"], "no row has kind = `bad`");
    ask(&["--contrast", "nope=a,b"], "no column `nope`");
    ask(&["--contrast", "one=same,other"], "no row has one = `other`");
    ask(&["--contrast", "kind=evil,good", "--group", "kind"], "no held-out group with kind=evil");
    ask(&["--contrast", "persona=p0,p1", "--group", "persona"], "no held-out group");
    ask(&["--contrast", "kind=evil,good", "--sites", "resid_post.7"], "no site `resid_post.7`");
    ask(&["--contrast", "kind=evil,good", "--pick", "all"], "the store says last_prompt");
    ask(&["--contrast", "kind=evil,good", "--folds", "1"], "out of range");
    ask(&["--map", "kind"], "2 roles at resid_post.0 are too few for a map");
    ask(&["--map", "persona", "--default", "nobody"], "no rows of the default persona `nobody`");
    ask(&["--map", "persona", "--site", "resid_mid.0"], "not among the sites");
    assert!(!dir.path().join("r").exists());
    let (code, _, err) = run(dir.path(), &["analyze", "store", "--out", "r", "--contrast", "kind=evil"]);
    assert!(code == 2 && err.contains("COLUMN=POSITIVE,NEGATIVE"), "{err}");
}

#[test]
fn questions_asked_of_both_sides_are_held_out_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    planted(dir.path(), 4.0);
    let args = ["analyze", "store", "--contrast", "kind=evil,good", "--group", "question", "--svg-only", "--out", "q"];
    let (out, err) = done(dir.path(), &args);
    // 4 questions, 3 of them (five eighths of 4, rounded) for training, each with both kinds.
    assert!(out.contains("on 1 held-out of 4 groups by `question`") && err.contains("only 1 held-out"), "{out}{err}");
}

#[test]
fn a_store_that_does_not_say_its_pick_is_asked_for_it() {
    let dir = folder();
    npz(&dir.path().join("acts.npz"), &[("0", "<f4", vec![5, 3], f32s(&layer(0, 5, 3)))]);
    bring(&ask(dir.path(), "acts.npz", Convention::ResidPost)).unwrap();
    refused(dir.path(), &["analyze", "store", "--map", "id", "--out", "r"], "does not say what its rows are");
    done(dir.path(), &["analyze", "store", "--map", "id", "--pick", "all", "--svg-only", "--out", "r"]);
}

#[test]
fn a_capture_goes_out_as_npz_comes_back_as_hidden_states_and_gives_the_same_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..24)
        .map(|i| {
            let name = ["Bodek", "Domar"][i % 2];
            let asked = ["tea", "rain", "the garden", "a walk", "bread", "the sea"][i / 4];
            format!(
                "{{\"id\":\"p{i}\",\"messages\":[{{\"role\":\"system\",\"content\":\"You are {name}.\"}},{{\"role\":\"user\",\
                 \"content\":\"Tell me about {asked}.\"}}],\"persona\":\"{name}\",\"question\":\"q{}\"}}\n",
                i / 4
            )
        })
        .collect();
    fs::write(dir.path().join("p.jsonl"), lines).unwrap();
    let sites = "resid_pre.0,resid_post.all";
    done(dir.path(), &["capture", "--prompts", "p.jsonl", "--sites", sites, "--pick", "last_prompt", "--out", "acts"]);
    done(dir.path(), &["export", "acts", "--format", "npz", "--out", "acts.npz"]);
    // Renamed as another program would have them: hidden_states[k], of which the last is behind the final norm.
    let store = Store::open(&dir.path().join("acts")).unwrap();
    let rows = store.manifest.rows;
    let n_layers = store.manifest.sites.len() - 1;
    let mut all = Vec::new();
    for w in &store.manifest.sites {
        all.extend(store.read(w.site, 0..rows).unwrap());
    }
    let width = store.manifest.sites[0].width;
    npz(&dir.path().join("hf.npz"), &[("hidden_states", "<f4", vec![n_layers + 1, rows, width], f32s(&all))]);
    let n = n_layers.to_string();
    let keys = ["--keys", "acts/rows.csv", "--pick", "last_prompt"];
    let hf = ["--layers", "hf", "--n-layers", &n, "--axes", "layer,row,d", "--out", "hf"];
    done(dir.path(), &[&["import", "--acts", "hf.npz"], &keys[..], &hf].concat());
    let post = ["--layers", "sites", "--out", "back"];
    done(dir.path(), &[&["import", "--acts", "acts.npz"], &keys[..], &post].concat());
    let results = |store: &str| {
        let out = format!("r-{store}");
        let args =
            ["analyze", store, "--contrast", "persona=Bodek,Domar", "--group", "question", "--svg-only", "--out"];
        // The last hidden state is no site: the three stores have all others in common.
        let common = format!("resid_pre.0,resid_post.0..{}", n_layers - 2);
        done(dir.path(), &[&args[..], &[&out, "--sites", &common]].concat());
        let text = |f: &str| fs::read_to_string(dir.path().join(&out).join(f)).unwrap();
        let bytes = fs::read(dir.path().join(&out).join("directions.safetensors")).unwrap();
        // The hash of the model stands in the head of those of a capture alone: values are compared.
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let vectors: BTreeMap<String, Vec<u8>> =
            file.tensors().into_iter().map(|(n, t)| (n, t.data().to_vec())).collect();
        assert_eq!(vectors.len(), n_layers - 1, "the first site is constant and has no direction");
        (text("layers.csv"), text("contrast.svg"), vectors)
    };
    // The first site is the embedding of one and the same token: it is left out of a map, and said.
    let (_, err) = done(dir.path(), &["analyze", "acts", "--map", "id", "--svg-only", "--out", "map"]);
    assert!(err.contains("at resid_pre.0 all rows are the same"), "{err}");
    let flat = ["analyze", "acts", "--map", "id", "--sites", "resid_pre.0", "--out", "flat"];
    refused(dir.path(), &flat, "all rows are the same at resid_pre.0");
    let captured = results("acts");
    for other in ["back", "hf"] {
        let found = results(other);
        assert_eq!(captured.0, found.0, "{other}");
        assert!(captured.1 == found.1, "the figure of {other} is another");
        assert!(captured.2 == found.2, "the directions of {other} are others");
    }
}
