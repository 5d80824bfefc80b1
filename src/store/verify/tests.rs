use super::super::manifest::{Manifest, Stored};
use super::super::testing::{sites, small, value};
use super::*;
use std::path::Path;

fn verified(dir: &Path) -> Verified {
    let mut told = 0;
    let found = Store::open(dir).unwrap().verify(&mut |n| told += n).unwrap();
    assert!(told >= found.bytes);
    found
}

/// What is wrong after the files were changed.
fn damage(change: impl Fn(&Path)) -> Vec<Damaged> {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path(), Stored::F16);
    change(dir.path());
    let found = verified(dir.path());
    assert!(!found.is_sound());
    found.damages
}

/// The one damage, which names its file and says what to do.
fn one(file: &str, says: &str, change: impl Fn(&Path)) {
    let all = damage(change);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].file, file);
    assert!(all[0].what.contains(says), "{}", all[0].what);
    assert!(all[0].next.contains("the same `personascope capture` again"));
}

const SECOND: &str = "activations-00001.safetensors";

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_store_is_read_once_and_its_norms_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let store = small(dir.path(), Stored::Bf16);
    let found = verified(dir.path());
    assert!(found.is_sound(), "{:?}", found.damages);
    assert_eq!(found.bytes, store.manifest.sums().map(|s| s.bytes).sum::<u64>());
    for (i, site) in found.sites.iter().enumerate() {
        let norm = |r: usize| (0..site.width).map(|c| f64::from(value(i, r, c)).powi(2)).sum::<f64>().sqrt();
        let mean = (0..7).map(norm).sum::<f64>() / 7.0;
        assert!((site.mean_norm - mean).abs() < 1e-12 * mean, "{site:?}");
        assert_eq!((site.rows, site.non_finite, site.width), (7, 0, sites()[i].width));
    }
}

#[test]
fn a_missing_shard_is_named() {
    one(SECOND, "is missing", |d| std::fs::remove_file(d.join(SECOND)).unwrap());
}

#[test]
fn a_truncated_shard_is_named_with_its_sizes() {
    one(SECOND, "bytes, and", |d| edit(&d.join(SECOND), |b| b.truncate(b.len() - 1)));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    one(SECOND, "checksum differs", |d| edit(&d.join(SECOND), |b| *b.last_mut().unwrap() ^= 1));
    // In the header's padding, which no tensor holds.
    one(SECOND, "checksum differs", |d| {
        edit(&d.join(SECOND), |b| {
            let at = b.iter().rposition(|c| *c == b'}').unwrap() + 1;
            assert_eq!(b[at], b' ', "this header is padded");
            b[at] = b'\n';
        });
    });
    // In the name of a tensor: the file is still whole, and no longer what the manifest says.
    one(SECOND, "no tensor `resid_pre.0`", |d| {
        edit(&d.join(SECOND), |b| {
            let at = b.windows(11).position(|w| w == b"resid_pre.0").unwrap();
            b[at + 10] = b'7';
        });
    });
}

#[test]
fn keys_that_are_damaged_or_fewer_are_named() {
    one("rows.csv", "checksum differs", |d| edit(&d.join(ROWS), |b| b[40] ^= 1));
    // A manifest that vouches for keys which do not fit: the count itself is compared.
    let vouched = |csv: &'static str| {
        move |d: &Path| {
            std::fs::write(d.join(ROWS), csv).unwrap();
            let mut m = Manifest::read(d).unwrap().unwrap();
            m.tables = vec![Sum::of(d, ROWS).unwrap()];
            m.write(d).unwrap();
        }
    };
    one("rows.csv", "2 lines of keys, and the tensors 7 rows", vouched("row,id\n0,a\n1,b\n"));
    one("rows.csv", "line 3: row 2, and 1 comes next", vouched("row,id\n0,a\n2,b\n"));
    one("rows.csv", "never closed", vouched("row,id\n0,\"a\n"));
}

#[test]
fn values_that_are_none_are_counted_with_their_first_row() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path(), Stored::F16);
    let path = dir.path().join(SECOND);
    // The last value of the second file: row 5 of logits. 0x7c00 is infinity in f16.
    edit(&path, |b| {
        let n = b.len();
        b[n - 2..].copy_from_slice(&[0, 0x7c]);
    });
    let mut m = Manifest::read(dir.path()).unwrap().unwrap();
    m.files[1].sum = Sum::of(dir.path(), SECOND).unwrap();
    m.write(dir.path()).unwrap();
    let found = verified(dir.path());
    assert!(found.damages.is_empty() && !found.is_sound());
    assert_eq!((found.sites[2].non_finite, found.sites[2].bad_rows, found.sites[2].first), (1, 1, Some(5)));
    let norm = |r: usize| f64::from(value(2, r, 0)).hypot(f64::from(value(2, r, 1)));
    let mean = [0, 1, 2, 3, 4, 6].map(norm).iter().sum::<f64>() / 6.0;
    assert!((found.sites[2].mean_norm - mean).abs() < 1e-12 * mean);
}
