//! The tree itself: which module may know which, what is absent where, and names that must match across folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules at the end of the order, which may use everything and which nothing may use.
const LAST: [&str; 3] = ["cli", "serve", "main"];
/// Top modules that may print.
const PRINT: [&str; 2] = ["cli", "main"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder, sorted; none if there is no such folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Rust files under src with their top module and their text without comments.
fn sources() -> Vec<(PathBuf, String, String)> {
    let src = root().join("src");
    let rust = files(&src).into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs"));
    rust.map(|p| {
        let first = p.strip_prefix(&src).unwrap().components().next().unwrap();
        let top = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string();
        let text = without_comments(&fs::read_to_string(&p).unwrap());
        (p, top, text)
    })
    .collect()
}

/// Cuts line comments off. A `//` in a string goes too, with what stands behind it in that line.
fn without_comments(text: &str) -> String {
    text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that `lib.rs` declares, in order.
fn declared(lib: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim().strip_prefix("pub ").unwrap_or(line.trim());
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_string())
    };
    without_comments(lib).lines().filter_map(name).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The top modules behind every `crate::` (or `personascope::`) of a text, those in braces too.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "personascope::"] {
        for (at, _) in text.match_indices(root) {
            if text[..at].ends_with(is_name) {
                continue; // another crate whose name ends so
            }
            let rest = &text[at + root.len()..];
            let Some(group) = rest.strip_prefix('{') else {
                found.insert(rest.chars().take_while(|c| is_name(*c)).collect());
                continue;
            };
            let (mut depth, mut name, mut first) = (0, String::new(), true);
            for c in group.chars() {
                match c {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => first = true,
                    c if depth == 0 && first && is_name(c) => name.push(c),
                    c if depth == 0 && !c.is_whitespace() => first = false,
                    _ => {}
                }
                if (first && c == ',') || (!first && !name.is_empty()) {
                    found.insert(std::mem::take(&mut name));
                }
            }
            found.insert(name);
        }
    }
    found.remove("");
    found
}

/// What is wrong with a module that uses these others, given the order.
fn backward<'a>(order: &'a [String], top: &str, used: &'a BTreeSet<String>) -> Vec<&'a str> {
    let place = |m: &str| order.iter().position(|o| o == m);
    if LAST.contains(&top) {
        return vec![];
    }
    let Some(own) = place(top) else { return vec!["(itself not declared in lib.rs)"] };
    // Names that are no module are items of the crate's root, of which there are none.
    used.iter().filter(|u| place(u).is_none_or(|p| p > own)).map(String::as_str).collect()
}

#[test]
fn arrows_are_read_from_the_text_as_they_stand() {
    let text = "use crate::axes::{Dims, Site};\nuse crate::{\n    acts::{Activations, RowKey},\n    error, table::Table as T,\n};\n\
                fn f(x: crate::model::Lm) -> my_crate::zoo::X {}\nuse personascope::world::World;\nuse crate::{one};";
    let found: Vec<String> = used(&without_comments(text)).into_iter().collect();
    assert_eq!(found, ["acts", "axes", "error", "model", "one", "table", "world"]);
    assert!(used(&without_comments("/// [`crate::cli::run`] ... // crate::cli")).is_empty());

    let order: Vec<String> = ["axes", "text", "model"].map(String::from).to_vec();
    let uses = |names: &[&str]| names.iter().map(|s| s.to_string()).collect::<BTreeSet<_>>();
    assert!(backward(&order, "text", &uses(&["axes", "text"])).is_empty());
    assert_eq!(backward(&order, "text", &uses(&["axes", "model"])), ["model"]);
    assert_eq!(backward(&order, "model", &uses(&["axes", "nothing_known"])), ["nothing_known"]);
    assert_eq!(declared("pub mod axes;\n// mod gone;\nmod b;\npub mod cli;\nuse x;"), ["axes", "b", "cli"]);
}

#[test]
fn modules_use_those_declared_before_them_and_never_those_after() {
    let order = declared(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    assert!(order.len() >= 10, "{order:?}");
    let first_last = order.iter().position(|m| LAST.contains(&m.as_str())).unwrap_or(order.len());
    assert!(order[first_last..].iter().all(|m| LAST.contains(&m.as_str())), "{LAST:?} come at the end: {order:?}");
    let (mut wrong, mut arrows) = (Vec::new(), 0);
    for (path, top, text) in sources() {
        if top == "lib" {
            continue;
        }
        let used = used(&text);
        arrows += used.len();
        for u in backward(&order, &top, &used) {
            wrong.push(format!("{}: crate::{u} is not before {top}", path.strip_prefix(root()).unwrap().display()));
        }
    }
    assert!(arrows > 50, "only {arrows} arrows were found: is the reading of paths broken?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of the files of some top modules in which a word stands.
fn places(modules: impl Fn(&str) -> bool, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, top, text) in sources().into_iter().filter(|(_, top, _)| modules(top)) {
        for (n, line) in text.lines().enumerate() {
            for word in words.iter().filter(|w| line.match_indices(**w).any(|(at, _)| !line[..at].ends_with(is_name))) {
                let path = path.strip_prefix(root()).unwrap().display().to_string();
                found.push(format!("{path}:{}: `{word}` in {top}", n + 1));
            }
        }
    }
    found
}

#[test]
fn modules_lack_what_they_must_not_know() {
    let tensors = places(|m| ["analysis", "world", "text", "figures"].contains(&m), &["candle"]);
    assert!(tensors.is_empty(), "{}", tensors.join("\n"));
    let outside = ["std::fs", "std::time", "std::io", "std::env", "Instant", "SystemTime", "println!", "print!"];
    let outside = places(|m| m == "analysis", &outside);
    assert!(outside.is_empty(), "{}", outside.join("\n"));
    assert!(!places(|m| m == "model", &["candle_core"]).is_empty(), "the search finds what is there");
}

#[test]
fn nothing_but_the_command_line_prints() {
    let printing = ["println!", "eprintln!", "print!", "eprint!", "dbg!", "io::stdout", "io::stderr"];
    let found = places(|m| !PRINT.contains(&m), &printing);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Folders of probes/ that hold no runs.
const NO_RUNS: [&str; 3] = ["lexicons", "personas", "recipes"];

/// Names without a partner: a probe `X` has data `X` and at least one figure `X*`, and the reverse.
fn orphans(probes: &[String], data: &[String], figures: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let belongs = |figure: &str, stem: &str| {
        figure
            .strip_prefix(stem)
            .is_some_and(|rest| rest.is_empty() || !rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    for p in probes {
        if !data.contains(p) {
            wrong.push(format!("probes/{p}.toml has no notebooks-data/{p}/"));
        }
        if !figures.iter().any(|f| belongs(f, p)) {
            wrong.push(format!("probes/{p}.toml has no figures/{p}*.svg"));
        }
    }
    wrong.extend(data.iter().filter(|d| !probes.contains(d)).map(|d| format!("notebooks-data/{d}/ has no probe")));
    let lost = figures.iter().filter(|f| !probes.iter().any(|p| belongs(f, p)));
    wrong.extend(lost.map(|f| format!("figures/{f}.svg has no probe")));
    wrong
}

#[test]
fn a_missing_partner_is_an_orphan() {
    let names = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let count = |p: &[&str], d: &[&str], f: &[&str]| orphans(&names(p), &names(d), &names(f)).len();
    assert_eq!(count(&[], &[], &[]), 0);
    assert_eq!(count(&["drift"], &["drift"], &["drift", "drift_by_turn"]), 0);
    assert_eq!(count(&["drift"], &[], &["drift"]), 1);
    assert_eq!(count(&["drift"], &["drift"], &[]), 1);
    assert_eq!(count(&["drift"], &["drift"], &["drifting"]), 2);
    assert_eq!(count(&[], &["drift"], &["drift"]), 2);
}

#[test]
fn probes_data_and_figures_have_the_same_stems() {
    let stems = |dir: &str, extension: &str| -> Vec<String> {
        let dir = root().join(dir);
        let no_run = |p: &Path| NO_RUNS.iter().any(|folder| p.starts_with(dir.join(folder)));
        let with = |p: &&PathBuf| p.extension().is_some_and(|e| e == extension) && !no_run(p);
        let stem = |p: &PathBuf| p.file_stem().unwrap().to_string_lossy().into_owned();
        files(&dir).iter().filter(with).map(stem).collect()
    };
    let data: BTreeMap<String, ()> = fs::read_dir(root().join("notebooks-data"))
        .into_iter()
        .flatten()
        .map(|e| e.unwrap())
        .filter(|e| e.path().is_dir())
        .map(|e| (e.file_name().to_string_lossy().into_owned(), ()))
        .collect();
    let data: Vec<String> = data.into_keys().collect();
    let wrong = orphans(&stems("probes", "toml"), &data, &stems("figures", "svg"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
