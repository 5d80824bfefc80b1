//! Runs of a folder: what is found, what is told of it, and what no name leads to.

use super::*;
use std::fs;

fn shipped() -> Runs {
    Runs::open(
        Path::new(env!("CARGO_MANIFEST_DIR")),
        "d4b42c1135ca505b4f04d169169fdbfa146561da95b75c3ab22f7612db53021b",
    )
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_shipped_results_are_runs_with_tables_figures_and_commands() {
    let runs = shipped();
    let all = runs.list();
    let of = |id: &str| all.iter().find(|r| r.id == id).unwrap();
    let map = of("notebooks-data/persona_map");
    assert_eq!(
        (map.stem.as_str(), map.kind.as_str(), map.same_model, map.vectors),
        ("persona_map", "persona_map", true, true)
    );
    assert_eq!(map.command, "personascope run probes/persona_map.toml --out DIR");
    let variance = map.tables.iter().find(|t| t.name == "variance").unwrap();
    assert_eq!((variance.rows, variance.columns), (Some(315), Some(7)));
    let names: Vec<&str> = map.figures.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["persona_map", "persona_map_planted"]);
    assert!(map.figures[0].caption.len() > 100 && !map.summary.is_empty());
    assert!(
        !of("notebooks-data/speakers").same_model
            && of("notebooks-data/speakers").model.name.as_deref() == Some("toyworld-voices")
    );
    assert!(of("notebooks-data/knowing").figures.iter().all(|f| f.name.starts_with("knowing_")));
    let page =
        runs.table("notebooks-data/persona_map", "variance", &TableAsk { limit: 2, ..TableAsk::default() }).unwrap();
    assert_eq!((page.total, page.shown, page.rows.len(), page.columns[0].as_str()), (315, 315, 2, "site"));
    let svg = fs::read_to_string(runs.figure("notebooks-data/persona_map", "persona_map").unwrap()).unwrap();
    assert!(svg.contains("<svg"));
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let (tmp, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(outside.path(), "secret.csv", "a\n1\n");
    put(tmp.path(), "a/run.json", "{}");
    put(tmp.path(), "a/t.csv", "a\n1\n");
    put(tmp.path(), "other.csv", "a\n1\n");
    let runs = Runs::open(tmp.path(), "");
    assert_eq!(runs.file("a", "t.csv").unwrap().1, "text/csv; charset=utf-8");
    let out = outside.path().join("secret.csv");
    for name in
        ["../other.csv", "..", "/etc/passwd", "a/../../x", "..\\x", "t.csv\0.svg", "", "./t.csv", out.to_str().unwrap()]
    {
        assert_eq!(runs.file("a", name).unwrap_err().status, 400, "{name:?}");
        assert_eq!(runs.table("a", name, &TableAsk::default()).unwrap_err().status, 400, "{name:?}");
        assert_eq!(runs.figure("a", name).unwrap_err().status, 400, "{name:?}");
    }
    for run in ["..", "a/..", "/etc", "a\\b", "a//b", "", "\0"] {
        assert_eq!(runs.file(run, "t.csv").unwrap_err().status, 400, "{run:?}");
    }
    for (run, name) in
        [("b", "t.csv"), ("a", "other.csv"), ("a", "u.csv"), ("a", ".hidden"), ("a", "run"), (".", "run.json")]
    {
        assert_eq!(runs.file(run, name).unwrap_err().status, 404, "{run} {name}");
    }
    assert!(runs.file("a", "u.csv").unwrap_err().hint.contains("t.csv"));
    // A file that was real when it was listed, and is a way out now.
    #[cfg(unix)]
    {
        fs::remove_file(tmp.path().join("a/t.csv")).unwrap();
        std::os::unix::fs::symlink(&out, tmp.path().join("a/t.csv")).unwrap();
        assert_eq!(runs.file("a", "t.csv").unwrap_err().status, 404);
        runs.rescan();
        assert!(runs.list()[0].tables.is_empty());
    }
}

#[test]
fn a_damaged_record_is_a_run_with_a_warning_and_nothing_fails() {
    let tmp = tempfile::tempdir().unwrap();
    for (dir, text) in [
        ("cut", "{\"stem\": \"x"),
        ("list", "[1]"),
        ("bytes", "\u{1}"),
        ("odd", "{\"stem\": 3, \"summary\": \"s\", \"model\": []}"),
    ] {
        put(tmp.path(), &format!("{dir}/run.json"), text);
    }
    put(tmp.path(), "odd/bad.csv", "a,b\n1\n");
    put(tmp.path(), "odd/empty.csv", "");
    put(tmp.path(), "odd/quoted.csv", "a,b\n\"1\n2\",x\n");
    let runs = Runs::open(tmp.path(), "");
    let all = runs.list();
    assert_eq!(all.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["bytes", "cut", "list", "odd"]);
    for run in &all[..3] {
        assert!(run.warnings[0].contains("damaged"), "{run:?}");
        assert!(runs.file(&run.id, "run.json").is_ok());
    }
    let odd = &all[3];
    let counts: Vec<_> = odd.tables.iter().map(|t| (t.name.as_str(), t.rows, t.columns)).collect();
    assert_eq!(counts, [("bad", None, None), ("empty", None, None), ("quoted", Some(1), Some(2))]);
    assert!(odd.stem == "odd" && odd.warnings.is_empty());
    assert_eq!(Runs::open(&tmp.path().join("nowhere"), "").list(), []);
}

#[test]
fn figures_beside_tables_and_of_longer_stems_find_their_run() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["notebooks-data/knowing/run.json", "notebooks-data/knowing_x/run.json", "flat/run.json"] {
        put(tmp.path(), name, "{}");
    }
    for name in ["figures/knowing_plane.svg", "figures/knowing_x.svg", "figures/knowing_x_plane.svg", "flat/any.svg"] {
        put(tmp.path(), name, "<svg/>");
    }
    put(tmp.path(), "figures/knowing_plane.md", "What it shows.\n");
    let runs = Runs::open(tmp.path(), "");
    let figures = |id: &str| -> Vec<FigureInfo> { runs.list().into_iter().find(|r| r.id == id).unwrap().figures };
    let plane = FigureInfo { name: "knowing_plane".into(), caption: "What it shows.".into() };
    assert_eq!(figures("notebooks-data/knowing"), [plane]);
    let names: Vec<String> = figures("notebooks-data/knowing_x").into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["knowing_x", "knowing_x_plane"]);
    assert_eq!(figures("flat")[0].name, "any");
    assert_eq!(runs.figure("notebooks-data/knowing", "knowing_x").unwrap_err().status, 404);
    put(tmp.path(), "later/run.json", "{}");
    assert_eq!((runs.rescan(), runs.list().len()), (4, 4));
}
