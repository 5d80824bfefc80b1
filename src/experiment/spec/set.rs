//! Keys of a probe file set from outside: `settings.samples=1`.

use super::Spec;
use crate::error::{Error, Result};
use toml::{Table, Value};

/// A key with the value that it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// As it was written, for messages.
    written: String,
    path: Vec<Step>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    /// Place in a list, from 0.
    At(usize),
}

impl Set {
    /// Reads `KEY=VALUE`: keys of tables are parted by dots, places in lists stand in brackets, the value is TOML.
    ///
    /// # Errors
    /// No `=`, a key that is none, a value that is no TOML.
    pub fn parse(text: &str) -> Result<Set> {
        let refused = |what: String, hint: &str| Error::refused(format!("--set {text}: {what}"), hint);
        let Some((key, value)) = text.split_once('=') else {
            return Err(refused("no `=`".into(), "write KEY=VALUE, such as settings.samples=1"));
        };
        let hint = "a key is settings.samples, or settings.data[0].file of a list";
        let path = path(key.trim()).ok_or_else(|| refused(format!("`{key}` is no key"), hint))?;
        let value: Table = toml::from_str(&format!("value = {value}")).map_err(|e| {
            let reason = e.message().trim().replace('\n', ", ");
            refused(format!("the value is no TOML ({reason})"), "write texts in quotes: --set 'question=\"Why?\"'")
        })?;
        match <[(String, Value); 1]>::try_from(value.into_iter().collect::<Vec<_>>()) {
            Ok([(_, value)]) => Ok(Set { written: text.into(), path, value }),
            Err(_) => Err(refused("the value is more than one".into(), "give a single value of TOML")),
        }
    }

    /// Sets `model`.
    pub fn model(name: &str) -> Set {
        let path = vec![Step::Key("model".into())];
        Set { written: format!("model={name:?}"), path, value: name.into() }
    }

    fn apply(&self, table: &mut Table) -> Result<()> {
        let refused = |what: String, hint: &str| Error::refused(format!("--set {}: {what}", self.written), hint);
        let (last, before) = match self.path.split_last() {
            Some((Step::Key(last), [])) => {
                table.insert(last.clone(), self.value.clone());
                return Ok(());
            }
            Some((last, [Step::Key(first), rest @ ..])) => {
                let new = || Value::Table(Table::new());
                (last, (table.entry(first.clone()).or_insert_with(new), rest))
            }
            _ => return Err(refused("no key".into(), "begin with a key of the file, such as settings.")),
        };
        let (mut here, steps) = before;
        for step in steps {
            here = match (step, here) {
                (Step::Key(key), Value::Table(t)) => t.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())),
                (Step::At(at), Value::Array(a)) => {
                    let n = a.len();
                    a.get_mut(*at).ok_or_else(|| refused(format!("the list has {n} entries"), "places count from 0"))?
                }
                (step, _) => return Err(refused(format!("nothing to take {step} of"), "see the file for its tables")),
            };
        }
        match (last, here) {
            (Step::Key(key), Value::Table(t)) => {
                t.insert(key.clone(), self.value.clone());
                Ok(())
            }
            (Step::At(at), Value::Array(a)) if *at < a.len() => {
                a[*at] = self.value.clone();
                Ok(())
            }
            (Step::At(_), Value::Array(a)) => {
                Err(refused(format!("the list has {} entries", a.len()), "places count from 0"))
            }
            (step, _) => Err(refused(format!("nothing to take {step} of"), "see the file for its tables")),
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Key(key) => write!(f, "`{key}`"),
            Step::At(at) => write!(f, "place {at}"),
        }
    }
}

fn path(text: &str) -> Option<Vec<Step>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut steps = Vec::new();
    for part in text.split('.') {
        let mut pieces = part.split('[');
        let key = pieces.next().filter(|k| !k.is_empty() && k.chars().all(plain))?;
        steps.push(Step::Key(key.into()));
        for piece in pieces {
            steps.push(Step::At(piece.strip_suffix(']')?.parse().ok()?));
        }
    }
    Some(steps)
}

impl Spec {
    /// [`Spec::parse`] of a text in which some keys are given other values; the first of two for one key is lost.
    ///
    /// # Errors
    /// Those of the text by itself; a key or value that the file could not have.
    pub fn parse_with(place: &str, text: &str, sets: &[Set]) -> Result<Spec> {
        let spec = Spec::parse(place, text)?;
        if sets.is_empty() {
            return Ok(spec);
        }
        let broken = |e: String| Error::format(place, e, "see the comments in probes/*.toml for keys and values");
        let mut table: Table = toml::from_str(text).map_err(|e| broken(e.message().into()))?;
        sets.iter().try_for_each(|set| set.apply(&mut table))?;
        let text = toml::to_string(&table).map_err(|e| broken(e.to_string()))?;
        // Lines are those of no file here.
        Spec::parse(place, &text).map_err(|e| match e {
            Error::Format { reason, hint, .. } => {
                let written: Vec<&str> = sets.iter().map(|s| s.written.as_str()).collect();
                Error::format(format!("{place} with --set {}", written.join(" --set ")), reason, hint)
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Settings;

    const FILE: &str = "kind = \"drift\"\nquestion = \"?\"\n[settings]\n";

    fn with(sets: &[&str]) -> Result<Spec> {
        let sets = sets.iter().map(|s| Set::parse(s)).collect::<Result<Vec<_>>>()?;
        Spec::parse_with("dir/drift.toml", FILE, &sets)
    }

    #[test]
    fn keys_are_set_by_path_and_the_last_one_counts() {
        let spec = with(&["seed=3", "seed = 4", "settings.turns=7"]).unwrap();
        let Settings::Drift(s) = &spec.settings else { panic!("not drift") };
        assert_eq!((spec.seed, s.turns, spec.stem.as_str()), (4, 7, "drift"));
        assert_eq!(Spec::parse_with("dir/drift.toml", FILE, &[Set::model("a b")]).unwrap().model, "a b");
        assert_eq!(with(&[]).unwrap(), Spec::parse("dir/drift.toml", FILE).unwrap());
    }

    #[test]
    fn places_in_lists_are_replaced_and_tables_made_on_the_way() {
        let mut table: Table = toml::from_str("a = [1, 2]\n[[b]]\nx = 1\n[[b]]\nx = 2").unwrap();
        for set in ["a[1]=9", "b[0].x=[3, 4]", "c.d.e=true"] {
            Set::parse(set).unwrap().apply(&mut table).unwrap();
        }
        let want: Table = toml::from_str("a = [1, 9]\nb = [{x = [3, 4]}, {x = 2}]\nc = {d = {e = true}}").unwrap();
        assert_eq!(table, want);
        for (set, says) in [("a[2]=1", "2 entries"), ("a[0].x=1", "`x`"), ("b.x=1", "`x`"), ("b[5].x=1", "2 entries")] {
            let e = Set::parse(set).unwrap().apply(&mut table).unwrap_err();
            assert!(e.to_string().contains(says) && e.to_string().contains(set), "{set}: {e}");
        }
    }

    #[test]
    fn what_a_file_could_not_have_is_refused_by_what_was_typed() {
        for (set, says) in [
            ("settings.turn=7", "unknown key `turn`"),
            ("settings.turns=\"many\"", "invalid type"),
            ("settings.turns", "no `=`"),
            ("settings..turns=1", "is no key"),
            ("a b=1", "is no key"),
            ("[0]=1", "is no key"),
            ("a[x]=1", "is no key"),
            ("model=toyworld", "no TOML"),
            ("seed=", "no TOML"),
            ("seed=1\nmodel=2", "more than one"),
        ] {
            let e = with(&[set]).unwrap_err();
            assert!(e.to_string().contains(says) && e.to_string().contains("--set"), "{set}: {e}");
            assert!(!e.hint().is_empty() && !e.to_string().contains("line "), "{set}: {e}");
        }
        // A file that is wrong by itself says so with its line.
        let e = Spec::parse_with("x.toml", "kind = \"drift\"\nfoo = 1\n", &[Set::model("m")]).unwrap_err();
        assert!(e.to_string().contains("x.toml, line"), "{e}");
    }
}
