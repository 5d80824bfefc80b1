//! A line for each row: the keys, then every value of every site. For small things.

use super::{Selection, head_line, key_line, rows_at_once};
use crate::error::Result;
use crate::store::Appending;
use crate::store::keys::Keys;
use crate::store::opened::Store;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Columns of values are `resid_post.2[0]`, `resid_post.2[1]`, ...; values are the shortest that are the same f32.
pub(super) fn write(
    store: &Store,
    what: &Selection,
    keys: &Keys,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<PathBuf>> {
    let mut file = Appending::create(out)?;
    let mut text = head_line(keys);
    for w in &what.sites {
        (0..w.width).for_each(|i| text.push_str(&format!(",{}[{i}]", w.site)));
    }
    text.push('\n');
    let row_bytes = (what.width() * store.manifest.dtype.size()) as u64;
    for rows in what.pieces(rows_at_once(store, what)) {
        let values = what.sites.iter().map(|w| store.read(w.site, rows.clone())).collect::<Result<Vec<_>>>()?;
        for (i, row) in rows.clone().enumerate() {
            key_line(keys, row, &mut text);
            for (w, values) in what.sites.iter().zip(&values) {
                for v in &values[i * w.width..(i + 1) * w.width] {
                    let _ = write!(text, ",{v:?}");
                }
            }
            text.push('\n');
        }
        file.append(text.as_bytes())?;
        text.clear();
        progress(rows.len() as u64 * row_bytes);
    }
    file.append(text.as_bytes())?;
    file.finish()?;
    Ok(vec![out.into()])
}
