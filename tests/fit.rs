//! `personascope fit`: what it writes, what it refuses, and that nothing but the data and the seed decides it.

use assert_cmd::Command;
use personascope::rng::stream;
use personascope::vectors::decode;
use rand::Rng;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().expect("it starts");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn done(dir: &Path, args: &[&str]) -> String {
    let (code, _, err) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {err}");
    err
}

fn refused(dir: &Path, args: &[&str], says: &str) {
    let (code, _, err) = run(dir, args);
    assert_eq!(code, 2, "{args:?}: {err}");
    assert!(err.contains(says) && err.contains("hint: "), "{args:?} should say `{says}`: {err}");
}

const ROWS: usize = 48;
const WIDTH: usize = 12;

/// Rows of three sites: `resid_pre.0` all the same, `resid_post.0` noise, `resid_post.1` with label 1 above label 0 in
/// the last column. Groups of two rows, one of either label.
fn acts(dir: &Path, name: &str, seed: u64) {
    let mut rng = stream(seed, "fit tests");
    let mut site = |signal: f32, noise: f32| -> Vec<u8> {
        let value = |rng: &mut rand_chacha::ChaCha8Rng, r: usize, c: usize| {
            let sum: f32 = (0..4).map(|_| rng.random_range(-1.0..1.0_f32)).sum();
            noise * sum + if c == WIDTH - 1 && r.is_multiple_of(2) { signal } else { 1.0 }
        };
        (0..ROWS * WIDTH).flat_map(|i| value(&mut rng, i / WIDTH, i % WIDTH).to_le_bytes()).collect()
    };
    let arrays = [("resid_pre.0", site(1.0, 0.0)), ("resid_post.0", site(1.0, 1.0)), ("resid_post.1", site(7.0, 1.0))];
    let views = arrays.iter().map(|(n, b)| (*n, TensorView::new(Dtype::F32, vec![ROWS, WIDTH], b).unwrap()));
    fs::write(dir.join(name), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn labels() -> Vec<String> {
    (0..ROWS).map(|r| format!("{r},{},q{:02}", usize::from(r % 2 == 0), r / 2)).collect()
}

fn write_labels(dir: &Path, name: &str, lines: &[String]) {
    fs::write(dir.join(name), format!("row,label,group\n{}\n", lines.join("\n"))).unwrap();
}

/// `scores.csv` by site, method and metric.
fn scores(dir: &Path) -> BTreeMap<(String, String, String), Vec<String>> {
    let text = fs::read_to_string(dir.join("scores.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("site,method,metric,value,ci_low,ci_high,null_mean,null_p95,p_value,n"));
    let mut all = BTreeMap::new();
    for line in lines {
        let cells: Vec<String> = line.split(',').map(str::to_string).collect();
        let key = (cells[0].clone(), cells[1].clone(), cells[2].clone());
        assert!(all.insert(key, cells[3..].to_vec()).is_none(), "twice: {line}");
    }
    all
}

#[test]
fn scores_stand_beside_their_nulls_and_directions_point_at_label_1() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    acts(dir, "a.safetensors", 1);
    write_labels(dir, "l.csv", &labels());
    let methods = "contrast,mass_mean,logistic,lda,svm,pca,ridge";
    let base = ["fit", "--activations", "a.safetensors", "--labels", "l.csv", "--permutations", "19"];
    let err = done(dir, &[&base[..], &["--method", methods, "--out", "all"]].concat());
    assert!(err.contains("at resid_pre.0 all rows are the same"), "{err}");
    let all = scores(&dir.join("all"));
    for method in methods.split(',') {
        let of = |site: &str, metric: &str| {
            all.get(&(site.into(), method.into(), metric.into())).unwrap_or_else(|| panic!("{site} {method} {metric}"))
        };
        let num = |site: &str, metric: &str, at: usize| of(site, metric)[at].parse::<f64>().unwrap();
        // Signal 6 over noise with deviation 1.15 on one coordinate: almost never out of order.
        assert!(num("resid_post.1", "auroc", 0) > 0.9, "{method}");
        assert!(num("resid_post.1", "auroc", 1) < num("resid_post.1", "auroc", 2));
        assert!(num("resid_post.1", "auroc", 5) <= 0.1 && num("resid_post.1", "auroc", 3) < 0.7, "{method}");
        assert!((0.15..0.85).contains(&num("resid_post.0", "auroc", 0)), "{method}");
        assert_eq!(of("resid_pre.0", "auroc")[0], "0.5");
        let more =
            ["auroc_train", "accuracy", "brier", "effect_size", "random_direction", "reliability", "control_auroc"];
        for metric in more.iter().chain(&["selectivity", "leave_one_group_out_cosine", "q_value"]) {
            num("resid_post.1", metric, 0);
        }
    }
    let vectors = decode("d", &fs::read(dir.join("all/directions.safetensors")).unwrap()).unwrap().unwrap();
    assert_eq!(vectors.len(), 14);
    for v in vectors.iter().filter(|v| v.site.to_string() == "resid_post.1") {
        assert!(v.unit.len() == WIDTH && v.unit[WIDTH - 1] > 0.7, "{}: {:?}", v.name, v.unit);
        assert_eq!((v.about.counts, v.about.positive.as_str()), (Some([24, 24]), "label 1"));
        assert!(v.about.residual_norm.is_some_and(|n| n > 1.0) && v.about.more.contains_key("intercept"));
    }
    for file in ["folds.csv", "held_out.csv", "calibration.csv", "wording.csv", "run.json"] {
        assert!(dir.join("all").join(file).is_file(), "{file}");
    }
    // No group is in two folds.
    let folds = fs::read_to_string(dir.join("all/folds.csv")).unwrap();
    let pairs: BTreeSet<(&str, &str)> = folds
        .lines()
        .skip(1)
        .map(|l| {
            let cells: Vec<&str> = l.split(',').collect();
            (cells[2], cells[3])
        })
        .collect();
    assert_eq!(pairs.len(), ROWS / 2);

    // One method: the key is the site alone.
    done(dir, &[&base[..], &["--method", "contrast", "--sites", "resid_post.all", "--out", "one"]].concat());
    let one = decode("d", &fs::read(dir.join("one/directions.safetensors")).unwrap()).unwrap().unwrap();
    assert_eq!(one.iter().map(|v| v.key()).collect::<Vec<_>>(), ["resid_post.0", "resid_post.1"]);
}

#[test]
fn threads_and_the_order_of_lines_change_no_byte_and_the_seed_does() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    acts(dir, "a.safetensors", 2);
    let mut lines = labels();
    write_labels(dir, "l.csv", &lines);
    lines.reverse();
    write_labels(dir, "r.csv", &lines);
    let go = |labels: &str, threads: &str, seed: &str, out: &str| {
        let args = ["fit", "--activations", "a.safetensors", "--method", "logistic,contrast", "--permutations", "9"];
        let more = ["--labels", labels, "--threads", threads, "--seed", seed, "--out", out];
        done(dir, &[&args[..], &more].concat());
        ["scores.csv", "directions.safetensors", "held_out.csv"].map(|f| fs::read(dir.join(out).join(f)).unwrap())
    };
    let first = go("l.csv", "1", "0", "x");
    assert!(first == go("l.csv", "3", "0", "y"), "threads");
    assert!(first == go("r.csv", "1", "0", "z"), "order of lines");
    assert!(first[0] != go("l.csv", "1", "5", "s")[0], "another seed has other folds");
}

#[test]
fn what_is_wrong_is_refused_by_name_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    acts(dir, "a.safetensors", 3);
    let try_with = |lines: &[String], more: &[&str], says: &str| {
        write_labels(dir, "l.csv", lines);
        let base = ["fit", "--activations", "a.safetensors", "--labels", "l.csv", "--out", "o"];
        let method: &[&str] = if more.contains(&"--method") { &[] } else { &["--method", "contrast"] };
        refused(dir, &[&base[..], method, more].concat(), says);
        assert!(!dir.join("o").exists());
    };
    let mut lines = labels();
    lines[3] = "3,yes,q01".into();
    try_with(&lines, &[], "line 5: the label of row 3 is `yes`");
    lines[3] = "2,1,q01".into();
    try_with(&lines, &[], "line 5: row 2 stands in line 4 already");
    lines[3] = format!("{ROWS},1,q01");
    try_with(&lines, &[], "the activations have 48");
    let same: Vec<String> = labels().iter().map(|l| l.replace(",0,", ",1,")).collect();
    try_with(&same, &[], "same label");
    let one: Vec<String> = (0..ROWS).map(|r| format!("{r},{},q", r % 2)).collect();
    try_with(&one, &[], "too few to hold any out");
    try_with(&labels(), &["--sites", "resid_post.7"], "resid_post.7");
    try_with(&labels(), &["--method", "logistic", "--alpha", "0"], "penalty of 0");
    try_with(&labels(), &["--method", "lda", "--shrinkage", "1.5"], "shrinkage");
    try_with(&labels(), &["--folds", "1"], "1 folds");
}

#[test]
fn a_probe_is_tried_on_other_rows_and_a_score_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    acts(dir, "a.safetensors", 4);
    acts(dir, "b.safetensors", 5);
    write_labels(dir, "l.csv", &labels());
    let base = ["fit", "--activations", "a.safetensors", "--permutations", "9", "--sites", "resid_post.1"];
    let more = ["--labels", "l.csv", "--method", "contrast", "--transfer", "other=b.safetensors,l.csv", "--out", "t"];
    done(dir, &[&base[..], &more].concat());
    let table = fs::read_to_string(dir.join("t/transfer.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().skip(1).map(|l| l.split(',').collect()).collect();
    let pairs: Vec<(&str, &str)> = lines.iter().map(|l| (l[2], l[3])).collect();
    assert_eq!(pairs, [("this", "this"), ("this", "other"), ("other", "this"), ("other", "other")]);
    // The same signal in both.
    assert!(lines.iter().all(|l| l[4].parse::<f64>().unwrap() > 0.9 && l[8].parse::<f64>().unwrap() > 0.8), "{table}");

    let graded: Vec<String> = (0..ROWS).map(|r| format!("{r},{},q{:02}", 10 * ((r + 1) % 2), r / 2)).collect();
    fs::write(dir.join("s.csv"), format!("row,score,group\n{}\n", graded.join("\n"))).unwrap();
    done(dir, &[&base[..], &["--labels", "s.csv", "--method", "ridge", "--out", "g"]].concat());
    let all = scores(&dir.join("g"));
    let of = |metric: &str| all[&("resid_post.1".into(), "ridge".into(), metric.into())][0].parse::<f64>().unwrap();
    assert!(of("spearman") > 0.6 && of("r_squared") > 0.3);
    refused(dir, &[&base[..], &["--labels", "s.csv", "--method", "lda", "--out", "h"]].concat(), "no column `label`");
}

#[test]
fn a_capture_is_fitted_with_the_wording_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut prompts = String::new();
    for i in 0..16 {
        let mood = if i % 2 == 0 { "Oh dear! I am so worried." } else { "All is calm and well." };
        prompts += &format!(
            "{{\"id\":\"p{i}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Tell me about tea {i}.\"}},\
             {{\"role\":\"assistant\",\"content\":\"{mood} Tea is number {i}.\"}}]}}\n"
        );
    }
    fs::write(dir.join("p.jsonl"), prompts).unwrap();
    let sites = "resid_pre.0,resid_post.0..1";
    done(dir, &["capture", "--prompts", "p.jsonl", "--sites", sites, "--pick", "mean_response", "--out", "acts"]);
    let lines: Vec<String> = (0..16).map(|r| format!("{r},{},g{r}", (r + 1) % 2)).collect();
    write_labels(dir, "l.csv", &lines);
    done(
        dir,
        &[
            "fit",
            "--activations",
            "acts",
            "--labels",
            "l.csv",
            "--method",
            "contrast",
            "--permutations",
            "9",
            "--out",
            "o",
        ],
    );
    let all = scores(&dir.join("o"));
    let gain = &all[&("resid_post.1".into(), "contrast".into(), "gain_over_resid_pre.0".into())];
    // The words give the label away: there is nothing to gain, and the interval holds 0.
    let [value, lo, hi] = [0, 1, 2].map(|i| gain[i].parse::<f64>().unwrap());
    assert!(value.abs() < 0.2 && lo <= 0.0 && hi >= 0.0, "{gain:?}");
    let v = decode("d", &fs::read(dir.join("o/directions.safetensors")).unwrap()).unwrap().unwrap();
    assert!(v[0].about.model_hash.is_some() && v[0].about.template_hash.is_some());
    assert_eq!(v[0].about.pick.map(|p| p.name()), Some("mean_response"));
    refused(dir, &["fit", "--activations", "acts", "--labels", "l.csv", "--method", "pca", "--out", "q"], "pca");
    refused(dir, &["fit", "--activations", "acts", "--labels", "l.csv", "--method", "lda", "--out", "acts"], "--out");
}
