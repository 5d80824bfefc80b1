//! `personascope analyze retention` and `analyze bias`: the contracts' files in, the contracts' tables out.

use assert_cmd::Command;
use personascope::rng::stream;
use rand::Rng;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::{SimpleFileOptions, ZipWriter};

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn done(dir: &Path, args: &[&str]) -> String {
    let (code, out, err) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {err}");
    out
}

fn refused(dir: &Path, args: &[&str], says: &str) {
    let (code, _, err) = run(dir, args);
    assert_eq!(code, 2, "{args:?}: {err}");
    assert!(err.contains(says) && err.contains("hint: "), "{args:?} should say `{says}`: {err}");
}

/// The cells of a column of a table without quoted commas, by the values of other columns.
fn cell(dir: &Path, table: &str, of: &[(&str, &str)], column: &str) -> String {
    let text = fs::read_to_string(dir.join(format!("{table}.csv"))).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("{name} of {names:?}"));
    let rows = lines.map(|l| l.split(',').collect::<Vec<_>>());
    let found = rows.clone().find(|r| of.iter().all(|(c, v)| r[at(c)] == *v));
    found.unwrap_or_else(|| panic!("{of:?} in {text}"))[at(column)].to_string()
}

fn number(dir: &Path, table: &str, of: &[(&str, &str)], column: &str) -> f64 {
    cell(dir, table, of, column).parse().unwrap()
}

#[test]
fn the_study_of_five_personas_has_curves_and_rank_correlations_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let study = Path::new(env!("CARGO_MANIFEST_DIR")).join("notebooks-data/retention/study.csv");
    fs::copy(study, dir.path().join("study.csv")).unwrap();
    let said = done(dir.path(), &["analyze", "retention", "--in", "study.csv", "--out", "out", "--svg-only"]);
    assert!(said.contains("5 of 5 broke, median 24"), "{said}");
    let out = dir.path().join("out");
    // lifelines 0.30.3, KaplanMeierFitter on the same five rows, at turn 20: 0.6 with 0.125730 to 0.881756.
    let at = [("clock", "turns"), ("time", "20")];
    for (column, want) in [("survival", 0.6), ("ci_low", 0.1257301829942), ("ci_high", 0.8817564073939)] {
        let found = number(&out, "survival", &at, column);
        assert!((found - want).abs() < 1e-6, "{column}: {found}");
    }
    assert_eq!(cell(&out, "groups", &[("clock", "tokens")], "median"), "3870");
    // Ranks 2 3 4 5 1 of words per response against 5 1 3 4 2: see scipy.stats.spearmanr; p of all 120 orders.
    let words = [("test", "spearman"), ("clock", "turns"), ("group", "words_per_response")];
    assert!((number(&out, "tests", &words, "estimate") + 0.7).abs() < 1e-9);
    assert!((number(&out, "tests", &words, "p_value") - 28.0 / 120.0).abs() < 1e-9);
    let cox = [("test", "cox_adjusted"), ("clock", "turns")];
    assert_eq!(cell(&out, "tests", &cox, "p_value"), "");
    assert!(fs::read_to_string(out.join("tests.csv")).unwrap().contains("too few events: 5 in all"));
    assert!(out.join("retention.svg").is_file() && out.join("run.json").is_file());
}

#[test]
fn definitions_and_modes_have_tables_and_what_is_no_retention_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = String::from("run,group,turns,tokens,event,mode,note,turns@rule,event@rule\n");
    for i in 0..40 {
        let (turns, event) = (1 + i % 8, u8::from(i % 8 != 7));
        let mode = if event == 1 { ["memory loss", "vagueness"][i % 2] } else { "" };
        let rule = if i == 0 { ",".to_string() } else { format!("{},{event}", turns + 1) };
        rows += &format!("r{i},{},{turns},{},{event},{mode},x,{rule}\n", ["a", "b"][i / 20], 100 * turns);
    }
    fs::write(dir.path().join("r.csv"), &rows).unwrap();
    let args = ["analyze", "retention", "--in", "r.csv", "--out", "out", "--svg-only"];
    done(dir.path(), &args);
    let out = dir.path().join("out");
    assert_eq!(cell(&out, "agreement", &[("b", "rule")], "n"), "39");
    assert_eq!(cell(&out, "agreement", &[("b", "rule")], "turns_difference"), "1");
    assert_eq!(cell(&out, "modes", &[("group", "a"), ("mode", "vagueness")], "breaks"), "8"); // odd rows of the first 20 but 7 and 15
    // Nothing was planted between the groups; their rows are not quite the same.
    assert!(number(&out, "tests", &[("test", "log_rank"), ("clock", "tokens")], "p_value") > 0.05);
    // The order of the rows is nothing that a result knows of.
    let tables =
        || ["survival", "groups", "tests", "agreement"].map(|t| fs::read(out.join(format!("{t}.csv"))).unwrap());
    let before = tables();
    let mut lines: Vec<&str> = rows.lines().collect();
    lines[1..].reverse();
    fs::write(dir.path().join("r.csv"), lines.join("\n")).unwrap();
    done(dir.path(), &args);
    assert_eq!(before, tables());

    let bad = |text: &str, says: &str| {
        fs::write(dir.path().join("bad.csv"), text).unwrap();
        refused(dir.path(), &["analyze", "retention", "--in", "bad.csv", "--out", "bad"], says);
    };
    bad("run,group,turns,event\na,g,0,1\n", "line 2, column `turns`: 0 is not positive");
    bad("run,group,turns,event\na,g,3,2\n", "neither 0 nor 1");
    bad("run,group,turns\na,g,3\n", "no column `event`");
    bad("run,group,turns,event\na,g,3,1\na,g,4,1\n", "twice");
    bad("run,group,turns,event,turns@rule\na,g,3,1,2\n", "no `event@rule`");
    assert!(!dir.path().join("bad").exists());
}

/// An array as numpy writes it.
fn npy(shape: (usize, usize), values: &[f32]) -> Vec<u8> {
    let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", shape.0, shape.1);
    let padded = (10 + head.len() + 1).next_multiple_of(64) - 10;
    head += &" ".repeat(padded - head.len() - 1);
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.bytes());
    values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

/// Eight roles under two models on twelve prompts, with gaps: at resid_post.0 the second model moves everybody by 1 along the
/// first coordinate, at resid_post.1 it moves nobody.
fn vectors(dir: &Path) -> String {
    let mut rng = stream(1, "bias contract");
    let mut noise = || (0..6).map(|_| rng.random_range(-0.5..0.5_f32)).sum::<f32>();
    let persona: Vec<Vec<f32>> = (0..8).map(|_| (0..10).map(|_| noise()).collect()).collect();
    let (mut labels, mut arrays, mut n) = ("row,model,role,prompt,is_default\n".to_string(), [vec![], vec![]], 0);
    for (r, persona) in persona.iter().enumerate() {
        for m in 0..2 {
            for p in 0..12 {
                if (r + 3 * m + 5 * p) % 7 == 0 {
                    continue;
                }
                labels += &format!("{n},{},role {r},p{p},{}\n", ["base", "trained"][m], u8::from(r == 0));
                n += 1;
                for (site, array) in arrays.iter_mut().enumerate() {
                    for (j, v) in persona.iter().enumerate() {
                        let shift = if site == 0 && j == 0 && m == 1 { 1.0 } else { 0.0 };
                        array.push(v + shift + 0.5 * noise());
                    }
                }
            }
        }
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (site, array) in arrays.iter().enumerate() {
        zip.start_file(format!("resid_post.{site}.npy"), SimpleFileOptions::default()).unwrap();
        zip.write_all(&npy((n, 10), array)).unwrap();
    }
    fs::write(dir.join("v.npz"), zip.finish().unwrap().into_inner()).unwrap();
    fs::write(dir.join("v.csv"), &labels).unwrap();
    labels
}

#[test]
fn a_shift_of_one_site_is_found_there_and_not_at_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let labels = vectors(dir.path());
    let args = ["analyze", "bias", "--in", "v.npz", "--labels", "v.csv", "--out", "out", "--svg-only"];
    done(dir.path(), &args);
    let out = dir.path().join("out");
    let share = |site: &str, column: &str| number(&out, "shares", &[("site", site), ("source", "model")], column);
    // Half of the shift to either side: a mean square of 0.25.
    let square = number(&out, "components", &[("site", "resid_post.0"), ("source", "model")], "mean_square");
    assert!((square - 0.25).abs() < 0.08, "{square}");
    assert!(share("resid_post.0", "ci_low") > 0.02);
    assert!(share("resid_post.1", "ci_low") <= 0.0 && share("resid_post.1", "ci_high") >= 0.0);
    let sum: f64 = ["persona", "model", "interaction", "residual"]
        .iter()
        .map(|s| number(&out, "shares", &[("site", "resid_post.0"), ("source", s)], "share"))
        .sum();
    assert!((sum - 1.0).abs() < 1e-9);
    let p = |site: &str| number(&out, "shift", &[("site", site)], "p_roles");
    // The least that signs of eight roles can give: 1 of 128.
    assert!((p("resid_post.0") - 1.0 / 128.0).abs() < 1e-6 && p("resid_post.1") > 0.05);
    assert_eq!(cell(&out, "sharpening", &[("model", "trained")], "site"), "resid_post.0");
    let record = fs::read_to_string(out.join("run.json")).unwrap();
    assert!(record.contains("\"prompt_effects_taken_out\": true") && out.join("bias.svg").is_file());

    let bad = |text: &str, says: &str| {
        fs::write(dir.path().join("bad.csv"), text).unwrap();
        refused(dir.path(), &["analyze", "bias", "--in", "v.npz", "--labels", "bad.csv", "--out", "bad"], says);
    };
    bad(labels.rsplit_once("\n1").unwrap().0, "and the arrays have");
    bad(&labels.replacen("0,base", "7,base", 1), "stands where row 0 of the arrays");
    bad(&labels.replace("trained", "base"), "rows of 1 model");
    bad(&labels.replacen("p1,1", "p1,0", 1), "the default in some lines");
    bad(&labels.replace("prompt", "question"), "no column `prompt`");
    assert!(!dir.path().join("bad").exists());
}
