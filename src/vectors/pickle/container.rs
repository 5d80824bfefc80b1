//! The files around pickles: torch's archive, its older format, and a pickle by itself.

use super::machine::Machine;
use super::node::{Held, Id, Node, Number};
use super::{check::check, cut, refuse};
use crate::error::{Error, Result};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use zip::{CompressionMethod, ZipArchive};

/// The most that a compressed archive is inflated to; torch itself never compresses.
const INFLATED: u64 = 1 << 28;
/// How the older format of torch begins: a pickle of a number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// A file that was parsed: its objects, and the bytes of its tensors.
pub struct Pickled<'a> {
    pub(super) place: String,
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Id,
    /// Storages beside the pickle, by their keys.
    pub(super) beside: BTreeMap<String, Cow<'a, [u8]>>,
    pub(super) big_endian: bool,
    /// Values that may still be read: no more than the file has bytes.
    pub(super) values: Cell<usize>,
}

/// Whether a file is of the format that torch wrote before its archives.
pub fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(LEGACY)
}

impl<'a> Pickled<'a> {
    /// Parses a file: an archive of torch, the format before it, or a pickle by itself.
    ///
    /// # Errors
    /// What is damaged; any object that is no plain value and no tensor, by its name; limits.
    pub fn read(place: &str, bytes: &'a [u8]) -> Result<Pickled<'a>> {
        if bytes.starts_with(b"PK\x03\x04") {
            archive(place, bytes)
        } else if is_legacy(bytes) {
            legacy(place, bytes)
        } else {
            let mut machine = Machine::new(place, bytes);
            let (root, end) = machine.run()?;
            if end != bytes.len() {
                return Err(refuse(place, format!("{} bytes stand behind its pickle", bytes.len() - end)));
            }
            finish(place, machine.nodes, root, BTreeMap::new(), false, bytes.len())
        }
    }
}

fn finish<'a>(
    place: &str,
    nodes: Vec<Node<'a>>,
    root: Id,
    beside: BTreeMap<String, Cow<'a, [u8]>>,
    big_endian: bool,
    bytes: usize,
) -> Result<Pickled<'a>> {
    check(place, &nodes, root)?;
    let inflated = beside.values().map(|b| b.len()).sum::<usize>();
    let values = Cell::new(bytes.saturating_add(inflated));
    Ok(Pickled { place: place.into(), nodes, root, beside, big_endian, values })
}

fn archive<'a>(place: &str, bytes: &'a [u8]) -> Result<Pickled<'a>> {
    let broken = |e: &dyn std::fmt::Display| {
        let hint = "it is damaged or cut short; make or fetch it again";
        Error::format(place, format!("not a whole archive ({e})"), hint)
    };
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    if zip.has_duplicate_names() {
        return Err(broken(&"two entries have the same name"));
    }
    let (mut pickle, mut beside, mut big_endian, mut left) = (None, BTreeMap::new(), false, INFLATED);
    for i in 0..zip.len() {
        let entry = zip.by_index_raw(i).map_err(|e| broken(&e))?;
        let name = entry.name().map_err(|e| broken(&e))?.into_owned();
        // Entries are in a folder that has the name of the file.
        let Some((_, own)) = name.split_once('/') else { continue };
        let key = own.strip_prefix("data/");
        if !["data.pkl", "byteorder"].contains(&own) && key.is_none() {
            continue;
        }
        let start = entry.data_start().and_then(|s| usize::try_from(s).ok());
        let end = start.zip(usize::try_from(entry.compressed_size()).ok()).and_then(|(s, n)| s.checked_add(n));
        let raw =
            start.zip(end).and_then(|(s, e)| bytes.get(s..e)).ok_or_else(|| broken(&"an entry ends behind it"))?;
        let content: Cow<'a, [u8]> = match entry.compression() {
            CompressionMethod::STORE if entry.size() == raw.len() as u64 => Cow::Borrowed(raw),
            CompressionMethod::DEFLATE => {
                left = left
                    .checked_sub(entry.size())
                    .ok_or_else(|| broken(&format!("it says that it inflates to more than {INFLATED} bytes")))?;
                let mut out = Vec::new();
                let read = DeflateDecoder::new(raw).take(entry.size() + 1).read_to_end(&mut out);
                read.map_err(|e| broken(&e))?;
                if out.len() as u64 != entry.size() {
                    return Err(broken(&format!("`{name}` has another size than it says")));
                }
                Cow::Owned(out)
            }
            _ => {
                return Err(broken(&format!("`{name}` has another size than it says, or is packed in an unknown way")));
            }
        };
        let mut crc = Crc::new();
        crc.update(&content);
        if crc.sum() != entry.crc32() {
            return Err(broken(&format!("the checksum of `{name}` differs")));
        }
        match (own, key) {
            (_, Some(key)) => drop(beside.insert(key.to_string(), content)),
            ("byteorder", _) => big_endian = content.trim_ascii() == b"big",
            _ => pickle = Some(content),
        }
    }
    let Some(pickle) = pickle else {
        return Err(refuse(place, "an archive without `data.pkl`, which no torch wrote"));
    };
    let (nodes, root, end) = match pickle {
        Cow::Borrowed(pickle) => objects(place, pickle)?,
        Cow::Owned(pickle) => {
            let (nodes, root, end) = objects(place, &pickle)?;
            (nodes.into_iter().map(owned).collect(), root, end)
        }
    };
    let _ = end;
    finish(place, nodes, root, beside, big_endian, bytes.len())
}

fn objects<'a>(place: &str, pickle: &'a [u8]) -> Result<(Vec<Node<'a>>, Id, usize)> {
    let mut machine = Machine::new(place, pickle);
    machine.beside = true;
    let (root, end) = machine.run()?;
    Ok((machine.nodes, root, end))
}

/// A node that keeps its bytes itself.
fn owned<'b>(node: Node<'_>) -> Node<'b> {
    match node {
        Node::Text(t) => Node::Text(Cow::Owned(t.into_owned())),
        Node::Bytes(b) => Node::Bytes(Cow::Owned(b.into_owned())),
        Node::None => Node::None,
        Node::Bool(b) => Node::Bool(b),
        Node::Int(n) => Node::Int(n),
        Node::Large => Node::Large,
        Node::Float(x) => Node::Float(x),
        Node::List(l) => Node::List(l),
        Node::Tuple(l) => Node::Tuple(l),
        Node::Dict(d) => Node::Dict(d),
        Node::Name(k) => Node::Name(k),
        Node::Storage(s) => Node::Storage(s),
        Node::Tensor(t) => Node::Tensor(t),
        Node::Object(k, s) => Node::Object(k, s),
        Node::Dtype(c, b) => Node::Dtype(c, b),
        Node::Array => Node::Array,
    }
}

/// The older format: four pickles (a number, a version, the machine, the object), one of the keys of the storages, and
/// then these, each behind its count.
fn legacy<'a>(place: &str, bytes: &'a [u8]) -> Result<Pickled<'a>> {
    let parts = Parts::read(place, bytes, true)?;
    let beside = parts.storages.into_iter().map(|(key, (_, range))| (key, Cow::Borrowed(&bytes[range]))).collect();
    finish(place, parts.nodes, parts.root, beside, false, bytes.len())
}

/// The one storage that such a file holds by itself, within a plain pickle: kind, count, and where its values are.
pub(super) fn legacy_storage(place: &str, bytes: &[u8]) -> Result<(Number, usize, Range<usize>)> {
    if !is_legacy(bytes) {
        return Err(refuse(place, "the bytes of a storage in it are none that torch wrote"));
    }
    let mut parts = Parts::read(place, bytes, false)?;
    match &parts.nodes[parts.root as usize] {
        Node::Storage(storage) => match &storage.held {
            Held::Beside(key) => {
                let (number, range) = parts.storages.remove(key).ok_or_else(|| cut(place, bytes.len()))?;
                Ok((number, storage.count, range))
            }
            Held::Within(..) => Err(refuse(place, "a storage within a storage")),
        },
        other => Err(refuse(place, format!("{} where the bytes of a storage belong", other.words()))),
    }
}

struct Parts<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    storages: BTreeMap<String, (Number, Range<usize>)>,
}

impl<'a> Parts<'a> {
    fn read(place: &str, bytes: &'a [u8], nested: bool) -> Result<Parts<'a>> {
        let mut at = 0;
        let mut next = |beside: bool| -> Result<(Vec<Node<'a>>, Id)> {
            let mut machine = Machine::new(place, &bytes[at..]);
            (machine.beside, machine.nested) = (beside, nested && beside);
            let (root, end) = machine.run()?;
            at += end;
            Ok((machine.nodes, root))
        };
        next(false)?;
        next(false)?;
        let (machine, root) = next(false)?;
        if let Node::Dict(pairs) = &machine[root as usize] {
            let little = |(k, v): &(Id, Id)| match (&machine[*k as usize], &machine[*v as usize]) {
                (Node::Text(k), Node::Bool(v)) => k != "little_endian" || *v,
                _ => true,
            };
            if !pairs.iter().all(little) {
                return Err(refuse(place, "it was written by a machine that puts the larger byte first"));
            }
        }
        let (nodes, root) = next(true)?;
        let (list, keys) = next(false)?;
        let Node::List(keys) = &list[keys as usize] else { return Err(cut(place, at)) };
        let mut wanted: BTreeMap<&str, (Number, usize)> = BTreeMap::new();
        for node in &nodes {
            if let Node::Storage(s) = node
                && let Held::Beside(key) = &s.held
                && wanted.insert(key, (s.number, s.count)).is_some_and(|before| before != (s.number, s.count))
            {
                return Err(refuse(place, "one storage is said to be two"));
            }
        }
        let mut storages = BTreeMap::new();
        for key in keys {
            let Node::Text(key) = &list[*key as usize] else { return Err(cut(place, at)) };
            let Some((number, count)) = wanted.get(key.as_ref()).copied() else {
                return Err(refuse(place, "it has values that no tensor of it asks for"));
            };
            let head = bytes.get(at..at.saturating_add(8)).and_then(|b| b.try_into().ok());
            let said = head.map(u64::from_le_bytes).ok_or_else(|| cut(place, bytes.len()))?;
            at += 8;
            let end = count.checked_mul(number.size()).and_then(|n| n.checked_add(at));
            let end = end.filter(|end| *end <= bytes.len() && said == count as u64);
            let end = end.ok_or_else(|| refuse(place, format!("a storage of {count} values is not there")))?;
            if storages.insert(key.to_string(), (number, at..end)).is_some() {
                return Err(refuse(place, "two storages have the same key"));
            }
            at = end;
        }
        Ok(Parts { nodes, root, storages })
    }
}
