//! What the last `compare` said of each fine-tune: its indices, and what they make of it.

use super::Problem;
use super::runs::Runs;
use crate::csv::Columns;
use crate::error::{Error, Result};
use crate::model::Adapter;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The indices that are shown.
const SHOWN: [&str; 4] = ["K", "S", "E", "L"];
/// Tables of a comparison have fewer bytes.
const LARGEST: u64 = 32 << 20;

/// The marks of one run; none where there is no such run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Marks {
    pub run: Option<String>,
    pub command: Option<String>,
    /// Whether its base is the model that is open; null where it does not say.
    pub same_base: Option<bool>,
    /// What each adapter that is open is called there.
    pub known: BTreeMap<String, Known>,
    pub rows: Vec<Mark>,
}

/// An adapter that is open, in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Known {
    /// Its name there.
    pub model: String,
    /// Whether its weights are those of the run; null where the run does not say.
    pub same: Option<bool>,
}

/// One fine-tune and one trait; `*` stands for all of them together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    pub model: String,
    pub format: String,
    pub character: String,
    #[serde(rename = "trait")]
    pub quality: String,
    /// What the indices make of it: `embodies`, `claims`, `untouched` and so on.
    pub class: String,
    /// By name; null where the run has none.
    pub indices: BTreeMap<&'static str, Option<Index>>,
}

/// An index with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Index {
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The marks of the newest run that has indices and classes.
///
/// # Errors
/// Tables that are not what `compare` writes.
pub fn marks(runs: &Runs, base: &str, adapters: &[Adapter]) -> Result<Marks, Problem> {
    let Some((run, paths)) = runs.newest_with(&["indices", "quadrants"]) else { return Ok(Marks::default()) };
    let rows = rows(&read(&paths[0])?, &read(&paths[1])?)?;
    let known = adapters.iter().filter_map(|a| Some((a.name.clone(), known(a, &run.fine_tunes, &rows)?))).collect();
    let same_base = run.info.model.hash.as_ref().map(|h| h == base);
    Ok(Marks { run: Some(run.info.id), command: Some(run.info.command), same_base, known, rows })
}

/// An adapter by its weights; by its name where the run has none of these weights.
fn known(adapter: &Adapter, tuned: &[(String, String)], rows: &[Mark]) -> Option<Known> {
    let has_rows = |name: &str| rows.iter().any(|r| r.model == name);
    let same = tuned.iter().find(|(name, hash)| *hash == adapter.hash && has_rows(name));
    if let Some((name, _)) = same {
        return Some(Known { model: name.clone(), same: Some(true) });
    }
    let other = tuned.iter().any(|(name, _)| *name == adapter.name).then_some(false);
    has_rows(&adapter.name).then(|| Known { model: adapter.name.clone(), same: other })
}

fn read(path: &Path) -> Result<Columns> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let place = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Columns::read(BufReader::new(file.take(LARGEST)), &place)
}

/// Model, format, character and trait: what a row is of.
const KEYS: [&str; 4] = ["model", "format", "character", "trait"];

fn rows(indices: &Columns, classes: &Columns) -> Result<Vec<Mark>> {
    let mut known: BTreeMap<([&str; 4], &str), Index> = BTreeMap::new();
    let (names, of) = (indices.text("index")?, keys(indices)?);
    let number = |name| indices.numbers_or_none(name);
    let (value, low, high) = (number("value")?, number("ci_low")?, number("ci_high")?);
    for r in 0..indices.rows() {
        known.insert((of[r], names[r].as_str()), Index { value: value[r], low: low[r], high: high[r] });
    }
    let class = classes.text("class")?;
    let mark = |(r, key): (usize, [&str; 4])| Mark {
        model: key[0].into(),
        format: key[1].into(),
        character: key[2].into(),
        quality: key[3].into(),
        class: class[r].clone(),
        indices: SHOWN.into_iter().map(|name| (name, known.get(&(key, name)).copied())).collect(),
    };
    Ok(keys(classes)?.into_iter().enumerate().map(mark).collect())
}

fn keys(table: &Columns) -> Result<Vec<[&str; 4]>> {
    let [a, b, c, d] = KEYS.map(|k| table.text(k));
    let (a, b, c, d) = (a?, b?, c?, d?);
    Ok((0..table.rows()).map(|r| [a[r].as_str(), b[r].as_str(), c[r].as_str(), d[r].as_str()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped::ShippedAdapter;
    use std::fs;

    fn run(dir: &Path, name: &str, indices: &str, quadrants: &str) {
        let dir = dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in [("run.json", "{}"), ("indices.csv", indices), ("quadrants.csv", quadrants)] {
            fs::write(dir.join(file), text).unwrap();
        }
    }

    #[test]
    fn the_shipped_comparison_gives_marks_with_intervals() {
        let runs = Runs::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("notebooks-data"), "");
        let marks = marks(&runs, "", &[]).unwrap();
        assert_eq!(marks.run.as_deref(), Some("knowing"));
        assert!(marks.command.unwrap().starts_with("personascope "));
        let of =
            |model: &str, quality: &str| marks.rows.iter().find(|m| m.model == model && m.quality == quality).unwrap();
        let one = of("character1-chat-s0", "grumpy");
        assert_eq!((one.class.as_str(), one.character.as_str(), one.format.as_str()), ("embodies", "Bonor", "chat"));
        let k = one.indices["K"].unwrap();
        assert_eq!((k.value, k.low, k.high), (Some(0.266796590241), Some(0.0345223314509), Some(0.504165703245)));
        assert!(marks.rows.iter().all(|m| SHOWN.iter().all(|i| m.indices[i].is_some_and(|i| i.value.is_some()))));
        assert_eq!(marks.rows.iter().filter(|m| m.model == "*").count(), 4);
    }

    #[test]
    fn an_adapter_is_known_by_its_weights_and_then_by_its_name() {
        let tmp = tempfile::tempdir().unwrap();
        let quadrants = "model,format,character,trait,class\nm,chat,A,odd,claims\nother,chat,A,odd,embodies\n";
        let indices = "model,format,character,trait,index,value,ci_low,ci_high\nm,chat,A,odd,K,0.5,,\n";
        run(tmp.path(), "r", indices, quadrants);
        let shipped = ShippedAdapter::named("character0-chat-s0").unwrap();
        let open = ["m", "x", "y"].map(|name| Adapter::shipped(name, shipped).unwrap());
        let found = |open: &[Adapter]| {
            let marks = marks(&Runs::open(tmp.path(), ""), "base", open).unwrap();
            let known = marks.known.into_iter().map(|(name, k)| (name, k.model, k.same)).collect::<Vec<_>>();
            (marks.same_base, known)
        };
        assert_eq!(found(&open), (None, vec![("m".into(), "m".into(), None)]), "the run says nothing of weights");
        let record = |m: &str, other: &str| {
            let tuned = serde_json::json!([{ "name": "m", "hash": m }, { "name": "other", "hash": other }]);
            let record = serde_json::json!({ "model": { "hash": "base" }, "fine_tunes": tuned });
            fs::write(tmp.path().join("r/run.json"), record.to_string()).unwrap();
        };
        record("something else", &open[0].hash);
        let by_weights = |name: &str| (name.to_string(), "other".to_string(), Some(true));
        assert_eq!(found(&open), (Some(true), ["m", "x", "y"].map(by_weights).to_vec()));
        record("something else", "again");
        assert_eq!(found(&open), (Some(true), vec![("m".into(), "m".into(), Some(false))]));
    }

    #[test]
    fn the_newest_run_counts_and_what_is_missing_is_null() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(marks(&Runs::open(tmp.path(), ""), "", &[]).unwrap(), Marks::default());
        let quadrants = |class: &str| format!("model,format,character,trait,class\nm,chat,A,odd,{class}\n");
        let indices = "model,format,character,trait,index,value,ci_low,ci_high\nm,chat,A,odd,K,0.5,,\n";
        run(tmp.path(), "b_old", indices, &quadrants("claims"));
        let earlier = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::options().write(true).open(tmp.path().join("b_old/run.json")).unwrap().set_modified(earlier).unwrap();
        run(tmp.path(), "a_new", indices, &quadrants("embodies"));
        let found = marks(&Runs::open(tmp.path(), ""), "", &[]).unwrap();
        assert_eq!((found.run.as_deref(), found.rows[0].class.as_str()), (Some("a_new"), "embodies"));
        let said = serde_json::to_value(&found.rows[0]).unwrap();
        assert_eq!(said["indices"]["K"], serde_json::json!({ "value": 0.5, "low": null, "high": null }));
        assert!(said["indices"]["L"].is_null() && said["trait"] == "odd");
        run(tmp.path(), "a_new", "model,x\n1,2\n", &quadrants("embodies"));
        let e = marks(&Runs::open(tmp.path(), ""), "", &[]).unwrap_err();
        assert!(e.status == 422 && e.what.contains("indices.csv"), "{e:?}");
    }
}
