//! A store: every byte against its checksum, every value.

use crate::cli::out::say;
use crate::cli::progress::Bar;
use crate::error::Result;
use crate::store::Store;
use indicatif::HumanBytes;
use std::path::Path;

/// Prints what a store holds; false where something in it is damaged.
pub fn store(dir: &Path) -> Result<bool> {
    let store = Store::open(dir)?;
    let (m, run) = (&store.manifest, store.run());
    let total: u64 = m.sums().map(|s| s.bytes).sum();
    let text = |key: &str| run[key].as_str().unwrap_or("not said").to_string();
    say!("command   {}", text("command"));
    match run["model"]["name"].as_str() {
        Some(name) => say!("model     {name}"),
        None if run["convention"].is_string() => say!("layers    {}: {}", text("layers"), text("convention")),
        None => {}
    }
    say!("pick      {}", text("pick"));
    say!("rows      {} of {} sites, {}", m.rows, m.sites.len(), m.dtype.tag());
    if let Some(part) = &m.part {
        say!("part      {} of {}: join the parts with `personascope capture-merge`", part.index + 1, part.of);
    }
    say!("keys      {}", if store.columns.is_empty() { "none".into() } else { store.columns.join(", ") });
    say!("files     {} with rows, {} others, {}", m.files.len(), m.tables.len(), HumanBytes(total));
    let bar = Bar::bytes("verify", total);
    let found = store.verify(&mut |n| bar.forward(n));
    bar.end();
    let found = found?;
    if !found.sites.is_empty() {
        say!("\n  {:<16} {:>7} {:>12} {:>15} {:>11}", "site", "width", "rows", "mean row norm", "non-finite");
    }
    for s in &found.sites {
        say!("  {:<16} {:>7} {:>12} {:>15.4} {:>11}", s.site.to_string(), s.width, s.rows, s.mean_norm, s.non_finite);
    }
    say!();
    for d in &found.damages {
        say!("damaged: {}", d.what);
    }
    for s in found.sites.iter().filter(|s| s.non_finite > 0) {
        let first = s.first.unwrap_or_default();
        say!("not finite: {} values of {} in {} rows, the first in row {first}", s.non_finite, s.site, s.bad_rows);
    }
    if let Some(d) = found.damages.first() {
        say!("what next: {}", d.next);
    }
    if found.is_sound() {
        say!("sound: all {} files have the checksums with which they were written", m.sums().count());
    }
    Ok(found.is_sound())
}
