//! Moments of rows that are stored: captured earlier, or made elsewhere and imported.

use super::Moments;
use super::about::About;
use super::folder::{read_json, write_json};
use super::sums::part;
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::moments::Running;
use crate::store::manifest::{Manifest, Width};
use crate::store::{Lock, Store, create_dir};
use serde_json::Value;
use std::path::Path;

/// Rows that are read at once.
const AT_ONCE: usize = 4096;

/// Takes the moments of the rows of a store at some sites into the folder `out`, described in its `run.json` by
/// `described`, which holds the hash of what is done; `progress` is told rows out of all.
///
/// # Errors
/// A store that is damaged or a part of one, a folder that holds something else.
pub fn moments_of(
    store: &Store,
    sites: &[Width],
    moments: &Moments,
    out: &Path,
    described: &Value,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest> {
    store.whole()?;
    create_dir(out)?;
    let _lock = Lock::take(out)?;
    let hash = described["plan_hash"].as_str().unwrap_or_default();
    if let Some(old) = read_json(&out.join("run.json"))?
        && old["plan_hash"] != hash
    {
        let what = format!("{} holds something else", out.display());
        return Err(Error::refused(what, "choose another --out, or remove the folder; nothing in it was touched"));
    }
    let all = store.manifest.rows;
    let mut total = Running::new(moments.shape.clone());
    for first in (0..all).step_by(AT_ONCE) {
        let rows = first..all.min(first + AT_ONCE);
        let read = |w: &Width| -> Result<(Site, Vec<f32>)> {
            let values = store.read(w.site, rows.clone())?;
            match values.iter().filter(|v| !v.is_finite()).count() {
                0 => Ok((w.site, values)),
                count => {
                    let place = format!("rows {} to {} of {} at {}", first, rows.end, store.dir.display(), w.site);
                    Err(Error::NotFinite { place, count })
                }
            }
        };
        let kept = sites.iter().map(read).collect::<Result<Vec<_>>>()?;
        total.merge(&part(&moments.shape, &moments.grouping, first, rows.len(), &kept));
        progress(rows.end as u64, all as u64);
    }
    let manifest = Manifest {
        format: Manifest::FORMAT,
        plan_hash: hash.into(),
        rows: 0,
        dtype: store.manifest.dtype,
        sites: sites.to_vec(),
        files: vec![],
        tables: About::new(moments, sites).write(out, &total)?,
        part: None,
    };
    manifest.write(out)?;
    write_json(&out.join("run.json"), described)?;
    Ok(manifest)
}
