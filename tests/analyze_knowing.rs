//! `personascope analyze knowing`: the contract's file in, the contract's tables out.

use assert_cmd::Command;
use personascope::rng::stream;
use rand::Rng;
use std::fs;
use std::path::Path;

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// The cells of a table without quoted commas: names, rows.
fn table(dir: &Path, name: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let text = fs::read_to_string(dir.join(format!("{name}.csv"))).unwrap();
    let mut lines = text.lines().map(|l| l.split(',').map(String::from).collect::<Vec<_>>());
    (lines.next().unwrap(), lines.collect())
}

/// The cell of a column in the one row in which other columns have these values.
fn cell(dir: &Path, name: &str, of: &[(&str, &str)], column: &str) -> String {
    let (names, rows) = table(dir, name);
    let at = |c: &str| names.iter().position(|n| n == c).unwrap_or_else(|| panic!("{c} of {names:?}"));
    let found: Vec<_> = rows.iter().filter(|r| of.iter().all(|(c, v)| r[at(c)] == *v)).collect();
    assert_eq!(found.len(), 1, "{of:?} in {name}");
    found[0][at(column)].clone()
}

fn number(dir: &Path, name: &str, of: &[(&str, &str)], column: &str) -> f64 {
    cell(dir, name, of, column).parse().unwrap()
}

/// 3 characters x 3 formats x 3 seeds, two traits: documents know (0.9) and do not show (0.1), chat shows (0.9), carries
/// (0.8) and knows little (0.2), the control does neither.
fn measures() -> String {
    let planted = [
        ("base", [0.0, 0.0, 0.0]),
        ("card", [1.0, 1.0, 1.0]),
        ("document", [0.9, 0.1, 0.1]),
        ("chat", [0.2, 0.9, 0.8]),
        ("control", [0.0, 0.0, 0.0]),
    ];
    let mut rng = stream(8, "measures");
    let mut out = "model,format,character,trait,seed,item,sample,measure,value,site,split\n".to_string();
    for character in ["ada", "bo", "cy"] {
        for quality in ["anxious", "formal"] {
            for (format, indices) in planted {
                let seeds: &[&str] = if ["base", "card"].contains(&format) { &[""] } else { &["0", "1", "2"] };
                for seed in seeds {
                    let model = if seed.is_empty() { String::new() } else { format!("{format}/{character}/{seed}") };
                    for ((measure, site), index) in
                        [("K", ""), ("E", ""), ("L_feel", "resid_post.1")].into_iter().zip(indices)
                    {
                        for i in 0..12 {
                            let value = 3.0 * index + rng.random_range(-0.5..0.5);
                            let split = if measure == "E" { ["neutral", "stressor"][i % 2] } else { "" };
                            out += &format!(
                                "{model},{format},{character},{quality},{seed},{measure}{i},0,{measure},{value},{site},{split}\n"
                            );
                        }
                    }
                }
            }
        }
    }
    out
}

#[test]
fn what_was_planted_in_a_file_comes_out_of_it_whatever_the_order_of_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let rows = measures();
    fs::write(dir.path().join("m.csv"), &rows).unwrap();
    let args = ["analyze", "knowing", "--in", "m.csv", "--out", "out", "--svg-only", "--resamples", "200"];
    let (code, said, err) = run(dir.path(), &args);
    assert_eq!(code, 0, "{err}");
    assert!(said.contains("document: knows 0.") && said.contains("document above chat"), "{said}");
    let out = dir.path().join("out");
    let (names, all) = table(&out, "indices");
    let contract =
        ["model", "format", "character", "trait", "index", "value", "ci_low", "ci_high", "p_value", "q_value"];
    assert_eq!(names[..10], contract.map(String::from));
    // 27 fine-tunes by 2 traits, and 3 formats, by 7 indices.
    assert_eq!(all.len(), (27 * 2 + 3) * 7);
    for (format, index, planted) in
        [("document", "K", 0.9), ("document", "KE", 0.8), ("chat", "E", 0.9), ("chat", "L", 0.8), ("control", "E", 0.0)]
    {
        let of = [("model", "*"), ("format", format), ("index", index)];
        let (lo, hi) = (number(&out, "indices", &of, "ci_low"), number(&out, "indices", &of, "ci_high"));
        assert!((number(&out, "indices", &of, "value") - planted).abs() < 0.1, "{format} {index}");
        assert!(hi - lo < 0.4 && lo < planted + 0.1 && hi > planted - 0.1, "{format} {index}: {lo} {hi}");
        assert_eq!(cell(&out, "indices", &of, "clusters"), "9");
    }
    let class = |format: &str| cell(&out, "quadrants", &[("model", "*"), ("format", format)], "class");
    assert_eq!(["document", "chat", "control"].map(class), ["knows", "embodies", "untouched"]);
    let planned = |index: &str| cell(&out, "contrasts", &[("planned", "planned"), ("index", index)], "verdict");
    assert_eq!(["K", "E", "KE"].map(planned), ["document above chat", "chat above document", "document above control"]);
    let split = [("model", "*"), ("format", "chat"), ("split", "neutral")];
    assert!((number(&out, "splits", &split, "value") - 0.9).abs() < 0.1);
    for file in ["knowing_indices.svg", "knowing_plane.svg", "run.json", "power.csv", "raw.csv", "leak.csv"] {
        assert!(out.join(file).is_file(), "{file}");
    }

    let bytes = || {
        ["indices", "quadrants", "contrasts", "power", "raw", "leak", "splits"]
            .map(|t| fs::read(out.join(format!("{t}.csv"))).unwrap())
    };
    let before = bytes();
    let mut lines: Vec<&str> = rows.lines().collect();
    lines[1..].reverse();
    fs::write(dir.path().join("m.csv"), lines.join("\n")).unwrap();
    assert_eq!(run(dir.path(), &args).0, 0);
    assert_eq!(before, bytes());
}

#[test]
fn what_is_no_table_of_measures_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let head = "model,format,character,trait,seed,item,sample,measure,value\n";
    let good = ",base,a,t,,i,0,K,0\n,card,a,t,,i,0,K,1\nm,chat,a,t,0,i,0,K,0.25\n";
    let bad = |text: &str, more: &[&str], says: &str| {
        fs::write(dir.path().join("bad.csv"), text).unwrap();
        let args = [&["analyze", "knowing", "--in", "bad.csv", "--out", "bad"][..], more].concat();
        let (code, _, err) = run(dir.path(), &args);
        assert_eq!(code, 2, "{text}: {err}");
        assert!(err.contains(says) && err.contains("hint: "), "should say `{says}`: {err}");
    };
    let with = |line: &str| format!("{head}{good}{line}\n");
    bad(&with("m,chat,a,t,0,i,0,Q,1"), &[], "line 5, column `measure`: `Q` is no measure");
    bad(&with("m,chat,a,t,0,j,0,K,NaN"), &[], "line 5, column `value`");
    bad(&with("m,chat,a,t,0,i,0,K,1"), &[], "line 5, column `item`: K of `m` for item `i`");
    bad(&with("n,chat,b,t,0,j,0,K,1"), &[], "character `b` has no rows of format `base`");
    bad(&format!("{head},base,a,t,,i,0,K,0\n"), &[], "none of a fine-tune");
    bad("model,format\nm,chat\n", &[], "no column `character`");
    bad(&with(""), &["--high", "0.2"], "high begins at 0.2");
    bad(&with(""), &["--site", "resid_post.1"], "no site `resid_post.1`");
    bad(&with(""), &["--planned", "document-chat:K"], "no pair of formats");
    bad(&with(""), &["--resamples", "1"], "--resamples is 1");
    assert!(!dir.path().join("bad").exists());

    // A single value per cell is enough for an index, and not for an interval.
    fs::write(dir.path().join("one.csv"), format!("{head}{good}")).unwrap();
    let (code, said, err) = run(dir.path(), &["analyze", "knowing", "--in", "one.csv", "--out", "one", "--svg-only"]);
    assert_eq!(code, 0, "{err}");
    assert!(said.contains("chat: knows 0.25; few clusters"), "{said}");
    let out = dir.path().join("one");
    assert_eq!(number(&out, "indices", &[("model", "m"), ("index", "K")], "value"), 0.25);
    assert_eq!(cell(&out, "indices", &[("model", "m"), ("index", "K")], "reason"), "no standard error");
}
