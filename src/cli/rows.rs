//! Rows of activations from a store, or from arrays that another program wrote.

use crate::acts::RowKey;
use crate::analysis::wording::TokenCounts;
use crate::axes::{Pick, Site};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::formats::sources::{Number, Sources};
use ndarray::Array2;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Other rows by a name.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub path: PathBuf,
    pub labels: PathBuf,
}

impl FromStr for Named {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Named, String> {
        let parts = s.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(',')?)));
        match parts {
            Some((name, (path, labels))) if !name.is_empty() && !path.is_empty() && !labels.is_empty() => {
                Ok(Named { name: name.into(), path: path.into(), labels: labels.into() })
            }
            _ => Err("NAME=PATH,LABELS: a name, activations and their labels.csv".into()),
        }
    }
}

/// Rows that can be loaded site by site.
pub struct Rows {
    pub sites: Vec<Site>,
    pub count: usize,
    pub warnings: Vec<String>,
    held: Held,
}

enum Held {
    Store(Box<Store>),
    Arrays { file: Box<Mutex<Sources>>, arrays: Vec<Taken>, path: PathBuf },
}

struct Taken {
    site: Site,
    array: usize,
    width: usize,
    number: Number,
}

impl Rows {
    /// Opens a store or a file; `sites` chooses among those that are there.
    pub fn open(path: &Path, sites: Option<&str>) -> Result<Rows> {
        if !path.is_file() {
            let store = Store::open(path)?;
            store.whole()?;
            let sites = store.sites(sites)?.iter().map(|w| w.site).collect();
            return Ok(Rows {
                sites,
                count: store.manifest.rows,
                warnings: vec![],
                held: Held::Store(Box::new(store)),
            });
        }
        let file = Sources::open(path)?;
        let (mut arrays, mut warnings, mut count) = (Vec::new(), Vec::new(), None);
        for (i, a) in file.arrays.iter().enumerate() {
            let Ok(site) = a.name.parse::<Site>() else {
                warnings.push(format!("`{}` in {} is no site and is passed over", a.name, path.display()));
                continue;
            };
            let [rows, width] = a.shape[..] else {
                let reason = format!("has the shape {:?}", a.shape);
                return Err(Error::format(file.place(i), reason, "an array of activations is [row, d_model]"));
            };
            let number = match &a.number {
                Ok(number) => *number,
                Err((reason, hint)) => return Err(Error::format(file.place(i), reason.clone(), *hint)),
            };
            if count.is_some_and(|c| c != rows) {
                let reason = format!("has {rows} rows, and others have {}", count.unwrap_or(0));
                return Err(Error::format(file.place(i), reason, "every site has the same rows in the same order"));
            }
            count = Some(rows);
            arrays.push(Taken { site, array: i, width, number });
        }
        arrays.sort_by_key(|t| t.site);
        if let Some(pair) = arrays.windows(2).find(|p| p[0].site == p[1].site) {
            let reason = format!("two arrays are of {}", pair[0].site);
            return Err(Error::format(path.display().to_string(), reason, "give every site one array"));
        }
        let here: Vec<Site> = arrays.iter().map(|t| t.site).collect();
        let Some(count) = count else {
            let hint = "name arrays by their site: resid_post.3; or bring them in with `personascope import`";
            return Err(Error::format(path.display().to_string(), "no array is named by a site", hint));
        };
        let sites = chosen(&here, sites)?;
        let held = Held::Arrays { file: Box::new(Mutex::new(file)), arrays, path: path.into() };
        Ok(Rows { sites, count, warnings, held })
    }

    /// Some rows of a site, `[row, d_model]`, in f32; `rows` ascend.
    pub fn load(&self, site: Site, rows: &[usize]) -> Result<Array2<f32>> {
        let (values, width) = match &self.held {
            Held::Store(store) => {
                let width = store.sites(Some(&site.to_string()))?[0].width;
                let mut values = Vec::with_capacity(rows.len() * width);
                for run in rows.chunk_by(|a, b| a + 1 == *b) {
                    values.extend(store.read(site, run[0]..run[0] + run.len())?);
                }
                (values, width)
            }
            Held::Arrays { file, arrays, .. } => {
                let Some(t) = arrays.iter().find(|t| t.site == site) else {
                    return Err(Error::Site { asked: site.to_string(), exist: "those of the file".into() });
                };
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                (read(&mut file, t, self.count, rows)?, t.width)
            }
        };
        let (found, expected) = (vec![values.len()], vec![rows.len(), width]);
        Array2::from_shape_vec((rows.len(), width), values).map_err(|_| Error::Shape {
            place: "activations".into(),
            name: site.to_string(),
            found,
            expected,
        })
    }

    /// The token of each row, where rows are tokens.
    pub fn tokens(&self, rows: &[usize]) -> Result<Option<TokenCounts>> {
        let Held::Store(store) = &self.held else { return Ok(None) };
        if !store.columns.iter().any(|c| c == "token_id") {
            return Ok(None);
        }
        let keys = store.keys(Some(&["token_id"]))?;
        let column = keys.column("token_id")?;
        let token = |r: &usize| column.text(*r).parse::<u32>().ok().map(|t| vec![t]);
        let Some(tokens) = rows.iter().map(token).collect::<Option<Vec<_>>>() else { return Ok(None) };
        TokenCounts::of_tokens(vec![RowKey::default(); rows.len()], &tokens).map(Some)
    }

    /// What a row is, where that is known.
    pub fn pick(&self) -> Option<Pick> {
        if let Held::Store(store) = &self.held { store.pick() } else { None }
    }

    /// What the store says of its making.
    pub fn run(&self) -> Value {
        if let Held::Store(store) = &self.held { store.run() } else { Value::Null }
    }

    /// What numbers of a site are stored as.
    pub fn dtype(&self, site: Site) -> Option<String> {
        match &self.held {
            Held::Store(store) => json!(store.manifest.dtype).as_str().map(str::to_string),
            Held::Arrays { arrays, .. } => {
                arrays.iter().find(|t| t.site == site).map(|t| format!("{:?}", t.number.kind).to_lowercase())
            }
        }
    }

    /// The source, for `run.json`.
    pub fn describe(&self) -> Value {
        match &self.held {
            Held::Store(store) => json!({ "command": store.run()["command"], "plan_hash": store.manifest.plan_hash,
                                          "rows": self.count, "dtype": store.manifest.dtype }),
            Held::Arrays { path, .. } => {
                json!({ "file": path.file_name().map(|n| n.to_string_lossy().into_owned()), "rows": self.count })
            }
        }
    }
}

/// Sites of a list among those that are there.
fn chosen(here: &[Site], list: Option<&str>) -> Result<Vec<Site>> {
    let Some(list) = list else { return Ok(here.to_vec()) };
    let layers = here.iter().filter_map(|s| s.layer()).max().map_or(1, |l| l + 1);
    let names = || format!("there are {}", here.iter().map(Site::to_string).collect::<Vec<_>>().join(", "));
    let asked =
        Site::parse_list(list, layers, &crate::axes::Point::ALL).map_err(|e| Error::refused(e.to_string(), names()))?;
    let found: Vec<Site> = here.iter().copied().filter(|s| asked.contains(s)).collect();
    let broad = list.split(',').any(|i| i.trim().ends_with("all"));
    if found.is_empty() || (!broad && found.len() < asked.len()) {
        return Err(Error::refused(format!("not all of `{list}` are there"), names()));
    }
    Ok(found)
}

/// Some rows of an array, which is read from its beginning to its end and not held as a whole.
fn read(file: &mut Sources, t: &Taken, count: usize, rows: &[usize]) -> Result<Vec<f32>> {
    let (path, place) = (file.path.clone(), file.place(t.array));
    let mut reader = file.reader(t.array)?;
    let mut bytes = vec![0; t.width * t.number.size()];
    let (mut values, mut row) = (Vec::with_capacity(rows.len() * t.width), Vec::with_capacity(t.width));
    let mut wanted = rows.iter().peekable();
    for r in 0..count {
        reader.read_exact(&mut bytes).map_err(|e| Error::io("read", &path, e))?;
        if wanted.next_if_eq(&&r).is_some() {
            row.clear();
            t.number.decode(&bytes, &mut row);
            values.extend(row.iter().map(|v| *v as f32));
        }
    }
    let bad = values.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        return Err(Error::NotFinite { place, count: bad });
    }
    Ok(values)
}
