//! The command line that makes a run again, from what its `run.json` says.
//!
//! Capitals stand for what is not recorded: files that were given, folders of adapters, where results go.

use crate::experiment::{APART, SHIPPED, Settings, Spec};
use serde_json::Value;
use std::fmt::Write as _;

/// The command of a run. `flat`: tables and figures lie in one folder, as `compare` leaves them.
///
/// A probe is told by its file and by the keys that differ from it; a file that is not shipped is taken to hold them all.
pub fn command(run: &Value, flat: bool) -> String {
    if let Some(said) = run["command_line"].as_str() {
        return said.into();
    }
    let text = |key: &str| run[key].as_str();
    match (text("command"), text("stem"), text("kind")) {
        (Some(name), ..) if name.starts_with("analyze") && run["inputs"].is_array() => analyze(run, name),
        (Some("steer"), ..) => steer(run),
        (Some("capture"), ..) => capture(run),
        (Some("fit"), ..) => fit(run),
        (Some(name), ..) => format!("personascope {name} --out DIR"),
        (None, Some(stem), Some(kind)) => probe(run, stem, kind, flat),
        _ => String::new(),
    }
}

fn probe(run: &Value, stem: &str, kind: &str, flat: bool) -> String {
    let verb = if flat && kind == "knowing" { "compare" } else { "run" };
    let shipped = SHIPPED.iter().chain(APART).find(|(s, _)| *s == stem);
    let spec = shipped.and_then(|(s, text)| Spec::parse(&format!("{s}.toml"), text).ok());
    let spec = spec.filter(|s| s.settings.kind() == kind);
    let folder = if spec.is_some() { "probes/" } else { "" };
    let mut line = format!("personascope {verb} {folder}{}", word(&format!("{stem}.toml")));
    let said = run["model"]["name"].as_str().unwrap_or_default();
    let (model, random) = match said.split_once(" (random weights, seed ") {
        Some((model, seed)) => (model, seed.strip_suffix(')')),
        None => (said, None),
    };
    if spec.as_ref().is_some_and(|s| s.model != model) {
        let _ = write!(line, " --model {}", word(model));
    }
    random.iter().for_each(|seed| line += &format!(" --random-weights {seed}"));
    line += &computed(run);
    for set in spec.as_ref().map_or(vec![], |s| changes(s, run)) {
        let _ = write!(line, " --set {}", word(&set));
    }
    line + " --out DIR"
}

/// The keys in which a run differs from its probe file, as `KEY=VALUE` in TOML.
fn changes(spec: &Spec, run: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (key, own) in [("seed", spec.seed), ("max_batch_tokens", spec.max_batch_tokens as u64)] {
        all.extend(run[key].as_u64().filter(|v| *v != own).map(|v| format!("{key}={v}")));
    }
    let own = as_json(&spec.settings);
    for (key, value) in run["settings"].as_object().into_iter().flatten() {
        if own.get(key).is_some_and(|own| own != value) {
            all.extend(toml(value).map(|v| format!("settings.{key}={v}")));
        }
    }
    all
}

fn as_json(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// A value as TOML on one line; `None` where there is no such value.
fn toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Array(all) => format!("[{}]", all.iter().map(toml).collect::<Option<Vec<_>>>()?.join(", ")),
        // What is not said of an entry is its default.
        Value::Object(all) => {
            let entries = all.iter().filter_map(|(k, v)| Some(format!("{k} = {}", toml(v)?)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    })
}

/// Where and with what it was computed.
fn computed(run: &Value) -> String {
    let mut line = String::new();
    if let Some(device) = run["device"].as_str().filter(|d| *d != "cpu") {
        let _ = write!(line, " --device {}", word(device));
    }
    if let Some(dtype) = run["dtype"].as_str().filter(|d| *d != "f32") {
        let _ = write!(line, " --dtype {}", word(dtype));
    }
    for adapter in run["model"]["adapters"].as_array().into_iter().flatten() {
        let merged = if adapter["merged"] == true { " --merge-adapters" } else { "" };
        let _ = write!(line, " --adapter {}=ADAPTER{merged}", word(adapter["name"].as_str().unwrap_or("NAME")));
    }
    line
}

fn model(run: &Value) -> String {
    let name = run["model"]["name"].as_str().unwrap_or("MODEL");
    format!(" --model {}{}", word(name), computed(run))
}

/// Options of `analyze` that are recorded under another name than their own.
const HORIZONS: [(&str, &str); 2] = [("horizon_turns", "horizon"), ("horizon_tokens", "token-horizon")];
const NUMBERS: [&str; 10] = [
    "components",
    "neighbours",
    "false_alarms",
    "reference",
    "folds",
    "bootstrap",
    "shuffles",
    "permutations",
    "resamples",
    "seed",
];

fn analyze(run: &Value, name: &str) -> String {
    let mut line = format!("personascope {name}");
    for (i, input) in run["inputs"].as_array().into_iter().flatten().enumerate() {
        let flag = match (i, name) {
            (0, _) => "in",
            (1, "analyze drift") => "calibration",
            (2, _) => "against",
            (3, _) => "against-labels",
            _ => "labels",
        };
        let file = input["file"].as_str().or(input["folder"].as_str()).unwrap_or("FILE");
        let _ = write!(line, " --{flag} {}", word(file));
    }
    for (key, flag) in HORIZONS.into_iter().chain(NUMBERS.map(|n| (n, n))) {
        if run[key].is_number() {
            let _ = write!(line, " --{} {}", flag.replace('_', "-"), run[key]);
        }
    }
    line + " --out DIR"
}

fn steer(run: &Value) -> String {
    let mut line = format!("personascope steer{}", model(run));
    let text = |v: &Value| word(v.as_str().unwrap_or("FILE"));
    let _ = write!(line, " --prompts {}", text(&run["prompts"]));
    for edit in run["edits"].as_array().into_iter().flatten() {
        let file = if edit["vector"]["file"].is_string() { &edit["vector"]["file"] } else { &edit["vector"]["rows"] };
        let (op, on) = (text(&edit["op"]), text(&edit["on"]));
        let _ = write!(line, " --vector {} --site {} --op {op} --on {on}", text(file), text(&edit["site"]));
        let _ = write!(line, " --strength {}", list(&edit["strengths"]));
    }
    let _ = write!(line, " --max-new-tokens {}", run["max_new_tokens"]);
    let _ = write!(line, " --temperature {} --top-p {}", run["sampling"]["temperature"], run["sampling"]["top_p"]);
    line + &format!(" --seed {} --out DIR", list(&run["seeds"]))
}

fn capture(run: &Value) -> String {
    let text = |key: &str| run[key].as_str().map(word);
    let mut line =
        format!("personascope capture{} --prompts PROMPTS.jsonl --sites {}", model(run), list(&run["sites"]));
    for key in ["pick", "keep", "role", "speaker"] {
        if let Some(value) = text(key) {
            let _ = write!(line, " --{key} {value}");
        }
    }
    if run["template_tokens"] == true {
        line += " --template-tokens";
    }
    line + " --out DIR"
}

fn fit(run: &Value) -> String {
    let text = |v: &Value, else_: &str| word(v.as_str().unwrap_or(else_));
    let mut line =
        format!("personascope fit --activations ACTS --labels {}", text(&run["labels"]["file"], "LABELS.csv"));
    let _ = write!(line, " --method {} --sites {}", list(&run["methods"]), list(&run["sites"]));
    for key in ["alpha", "shrinkage", "folds", "permutations", "seed"] {
        let value = run[key].as_str().map_or_else(|| run[key].to_string(), str::to_string);
        let _ = write!(line, " --{key} {value}");
    }
    if run["standardize"] == true {
        line += " --standardize";
    }
    let (positive, negative) = (&run["larger_projection_means"], &run["smaller_projection_means"]);
    let _ = write!(line, " --positive {} --negative {}", text(positive, ""), text(negative, ""));
    line + " --out DIR"
}

/// A list with commas between.
fn list(values: &Value) -> String {
    let one = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    word(&values.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(","))
}

/// A word as a shell takes it: quoted where it has to be.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recorded(stem: &str) -> Value {
        let path = format!("{}/notebooks-data/{stem}/run.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_shipped_probe_is_its_file_and_what_was_changed_of_it() {
        for (stem, _) in SHIPPED.iter().chain(APART) {
            let said = command(&recorded(stem), false);
            assert_eq!(said, format!("personascope run probes/{stem}.toml --out DIR"));
        }
        let mut run = recorded("drift");
        run["seed"] = json!(3);
        run["settings"]["turns"] = json!(4);
        run["settings"]["sites"] = json!("resid_post.2, resid_pre.0");
        run["model"]["name"] = json!("toyworld (random weights, seed 5)");
        run["model"]["adapters"] = json!([{ "name": "warm", "merged": false }]);
        let said = command(&run, false);
        assert!(
            said.starts_with(
                "personascope run probes/drift.toml --random-weights 5 --adapter warm=ADAPTER --set seed=3"
            ),
            "{said}"
        );
        assert!(said.contains("--set 'settings.sites=\"resid_post.2, resid_pre.0\"'"), "{said}");
        // What it says is what a probe file may say.
        let sets: Vec<crate::experiment::Set> = changes(&Spec::parse("drift.toml", SHIPPED[2].1).unwrap(), &run)
            .iter()
            .map(|s| crate::experiment::Set::parse(s).unwrap())
            .collect();
        let again = Spec::parse_with("drift.toml", SHIPPED[2].1, &sets).unwrap();
        assert_eq!((again.seed, as_json(&again.settings)), (3, run["settings"].clone()));
        assert!(command(&recorded("knowing"), true).starts_with("personascope compare probes/knowing.toml"));
    }

    #[test]
    fn other_runs_are_told_as_far_as_they_are_recorded() {
        let run = json!({ "command": "analyze bias", "inputs": [{ "file": "a b.npz" }, { "file": "l.csv" }], "permutations": 99, "seed": 0 });
        let said = "personascope analyze bias --in 'a b.npz' --labels l.csv --permutations 99 --seed 0 --out DIR";
        assert_eq!(command(&run, true), said);
        let run = json!({
            "command": "steer", "model": { "name": "toyworld" }, "prompts": "p.jsonl", "seeds": [0, 1], "max_new_tokens": 8,
            "sampling": { "temperature": 0.0, "top_p": 1.0 },
            "edits": [{ "vector": { "file": "v.npz#evil" }, "site": "resid_post.2", "op": "shift", "on": "all", "strengths": ["0", "0.5n"] }],
        });
        let said = command(&run, true);
        let edit = "--vector 'v.npz#evil' --site resid_post.2 --op shift --on all --strength 0,0.5n --max-new-tokens 8";
        assert!(said.contains(edit) && said.ends_with("--seed 0,1 --out DIR"), "{said}");
        assert_eq!(command(&json!({ "command": "convert", "command_line": "x y" }), true), "x y");
        assert_eq!(command(&json!([1]), true), "");
    }
}
