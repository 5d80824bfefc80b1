//! The command line that makes a run again, from what its `run.json` says.
//!
//! Commands record how they were called; a probe says all that decides its results instead, so that its record is the same
//! wherever it ran. Capitals stand for what that leaves out: folders of adapters, where results go.

use crate::experiment::{APART, SHIPPED, Settings, Spec};
use crate::shell::word;
use serde_json::Value;
use std::fmt::Write as _;

/// The command of a run; empty where its record says none. `flat`: tables and figures lie in one folder, as `compare`
/// leaves them.
///
/// A probe is told by its file and by the keys that differ from it; a file that is not shipped is taken to hold them all.
pub fn command(run: &Value, flat: bool) -> String {
    match (run["command_line"].as_str(), run["stem"].as_str(), run["kind"].as_str()) {
        (Some(said), ..) => said.into(),
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
    fn other_runs_are_told_as_they_were_called() {
        let run = json!({ "command": "analyze bias", "command_line": "personascope analyze bias --in 'a b.npz'" });
        assert_eq!(command(&run, true), "personascope analyze bias --in 'a b.npz'");
        assert_eq!(command(&json!({ "command": "capture" }), true), "");
        assert_eq!(command(&json!([1]), true), "");
    }
}
