//! A tensor for each site in the numbers in which the store keeps them, and the keys in a CSV file beside.

use super::{Selection, head_line, key_lines};
use crate::error::Result;
use crate::store::Appending;
use crate::store::keys::Keys;
use crate::store::layout::head;
use crate::store::opened::{CHUNK, Store};
use std::path::{Path, PathBuf};

/// The keys are in `OUT.keys.csv`, a line for each row of the tensors.
pub(super) fn write(
    store: &Store,
    what: &Selection,
    keys: &Keys,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<PathBuf>> {
    let beside = keys_beside(out);
    let mut table = Appending::create(&beside)?;
    let mut text = head_line(keys) + "\n";
    for rows in what.pieces(1 << 16) {
        key_lines(keys, rows, &mut text);
        table.append(text.as_bytes())?;
        text.clear();
    }
    table.append(text.as_bytes())?;

    let mut file = Appending::create(out)?;
    file.append(&head(&what.sites, store.manifest.dtype, what.count()).0)?;
    let mut bytes = Vec::new();
    for w in &what.sites {
        for rows in what.pieces(CHUNK / (w.width * store.manifest.dtype.size())) {
            bytes.clear();
            store.read_bytes(w.site, rows, &mut bytes)?;
            file.append(&bytes)?;
            progress(bytes.len() as u64);
        }
    }
    // Neither is there before both are complete.
    table.finish()?;
    file.finish()?;
    Ok(vec![out.into(), beside])
}

/// Where the keys of a file are.
fn keys_beside(out: &Path) -> PathBuf {
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    out.with_file_name(format!("{name}.keys.csv"))
}
