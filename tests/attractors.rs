//! `analyze attractors` through the binary: a plain file, a file with everything, and what is refused.

use assert_cmd::Command;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn run(dir: &Path, args: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().unwrap();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Numbers between -1 and 1, by a linear congruence.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// 60 runs of 10 turns that return to (2, -1) by a half per turn.
fn states() -> String {
    let mut noise = Noise(1);
    let mut text = "run,turn,z0,z1\n".to_string();
    for run in 0..60 {
        let (mut x, mut y) = (8.0 * noise.next(), 8.0 * noise.next());
        for turn in 0..10 {
            let _ = writeln!(text, "r{run},{turn},{x},{y}");
            (x, y) = (1.0 + 0.5 * x + noise.next(), -0.5 + 0.5 * y + noise.next());
        }
    }
    text
}

#[test]
fn a_plain_file_gives_tables_a_figure_and_a_verdict() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("states.csv"), states()).unwrap();
    let ask = |out: &str| {
        let args = ["analyze", "attractors", "--in", "states.csv", "--out", out, "--seed", "3", "--svg-only"];
        run(dir.path(), &args)
    };
    let (code, err) = ask("a");
    assert_eq!(code, 0, "{err}");
    let record: Value = serde_json::from_slice(&fs::read(dir.path().join("a/run.json")).unwrap()).unwrap();
    assert_eq!(record["verdict"], "provisional_fixed_point", "{record}");
    let dynamics = fs::read_to_string(dir.path().join("a/dynamics.csv")).unwrap();
    assert!(dynamics.starts_with("quantity,component,value,ci_low,ci_high,n,reason\n"), "{dynamics}");
    let row = |start: &str| -> Vec<f64> {
        let line = dynamics.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}: {dynamics}"));
        line.split(',').skip(2).take(3).map(|c| c.parse().unwrap()).collect()
    };
    let radius = row("spectral_radius,");
    assert!(radius[1] <= 0.5 && 0.5 <= radius[2], "{radius:?}");
    for (component, planted) in [("fixed_point,z0", 2.0), ("fixed_point,z1", -1.0)] {
        let found = row(component);
        assert!((found[0] - planted).abs() < 0.2 && found[1] < found[0] && found[0] < found[2], "{found:?}");
    }
    let conditions = fs::read_to_string(dir.path().join("a/conditions.csv")).unwrap();
    assert!(conditions.starts_with("condition,result,value,bar,reason\n") && conditions.lines().count() == 7);
    assert!(fs::read_to_string(dir.path().join("a/attractors.svg")).unwrap().contains("Movement"));
    // Rows in another order, and again: the same bytes.
    let mut lines: Vec<String> = states().lines().map(String::from).collect();
    lines[1..].reverse();
    fs::write(dir.path().join("states.csv"), lines.join("\n")).unwrap();
    assert_eq!(ask("b").0, 0);
    for file in ["dynamics.csv", "basins.csv", "conditions.csv", "attractors.svg"] {
        let read = |out: &str| fs::read(dir.path().join(out).join(file)).unwrap();
        assert!(read("a") == read("b"), "{file}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let said = |text: &str| {
        fs::write(dir.path().join("bad.csv"), text).unwrap();
        let (code, err) = run(dir.path(), &["analyze", "attractors", "--in", "bad.csv", "--out", "x"]);
        assert!(code == 2 && err.contains("hint: ") && !dir.path().join("x").exists(), "{code} {err}");
        err
    };
    assert!(said("run,turn\na,0\n").contains("no states z0"));
    assert!(said("run,turn,z0\na,0,1\na,0,2\n").contains("line 3, column `turn`: run `a` has turn 0 a second time"));
    assert!(said("run,turn,z0\na,0.5,1\n").contains("no turn"));
    assert!(said("run,turn,z0\na,0,nan\n").contains("line 2, column `z0`"));
    assert!(said("run,turn,z0,dose\na,0,1,-2\n").contains("below 0"));
    assert!(said("run,turn,z0,start\na,0,1,x\na,1,1,y\n").contains("began both at"));
}
