//! Checkpoints that somebody damaged or made up: loading ends in an error or in a model that runs, never in a panic, and
//! takes no more memory than the files could need.

mod common;

use common::{checkpoints, fixtures};
use personascope::error::Error;
use personascope::model::{Example, Head, Hooks, Model, Rows, Source, forward};
use personascope::rng::stream;
use personascope::text::Text;
use rand::Rng;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Counts the bytes that a thread holds, and the most that it held.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may be there at once.
        count(size as i64);
        count(-(layout.size() as i64));
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The value, and the most bytes that were held on the way beyond those held before.
fn counted<T>(f: impl FnOnce() -> T) -> (T, i64) {
    let before = HELD.get();
    MOST.set(before);
    let value = f();
    (value, MOST.get() - before)
}

/// A good checkpoint in a folder of its own, to be damaged one file at a time.
struct Victim {
    dir: tempfile::TempDir,
    fixture: String,
    /// Bytes that loading may take.
    bound: i64,
}

impl Victim {
    fn new(fixture: &str) -> Victim {
        let dir = tempfile::tempdir().unwrap();
        let mut size = 0;
        for entry in fs::read_dir(fixtures().join(fixture)).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().to_string_lossy().starts_with("expected") {
                size += fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap() as i64;
            }
        }
        let mut victim = Victim { dir, fixture: fixture.into(), bound: i64::MAX };
        let (loaded, most) = counted(|| victim.load());
        loaded.unwrap_or_else(|e| panic!("{fixture} is good before it is damaged: {e}"));
        // Weights in f16 double as f32 and are there twice while they are turned; the tables of the tokenizer and
        // whatever else depends on no size come on top.
        assert!(most < 4 * size + (1 << 19), "{fixture}: a good checkpoint of {size} bytes takes {most}");
        victim.bound = 4 * size + (1 << 19);
        victim
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn original(&self, file: &str) -> Vec<u8> {
        fs::read(fixtures().join(&self.fixture).join(file)).unwrap()
    }

    fn load(&self) -> Result<Model, Error> {
        Model::load(&Source::Dir(self.dir.path().to_path_buf()))
    }

    /// Loads it with other bytes in a file. A model that comes of it must run, or say why not.
    fn with(&self, file: &str, bytes: &[u8], what: &str) -> Result<(), Error> {
        fs::write(self.path(file), bytes).unwrap();
        let found = self.attempt(&format!("{}/{file}: {what}", self.fixture));
        fs::write(self.path(file), self.original(file)).unwrap();
        found
    }

    fn attempt(&self, what: &str) -> Result<(), Error> {
        let (found, most) = counted(|| catch_unwind(AssertUnwindSafe(|| self.load())));
        assert!(most < self.bound, "{what}: {most} bytes of memory, at most {} can be needed", self.bound);
        match found.unwrap_or_else(|_| panic!("{what}: loading panicked")) {
            Ok(model) => {
                let ran = catch_unwind(AssertUnwindSafe(|| run(&model)));
                drop(ran.unwrap_or_else(|_| panic!("{what}: running panicked")));
                Ok(())
            }
            Err(e) => {
                assert!(!matches!(e, Error::Tensor(_)), "{what}: a defect, not a refusal: {e}");
                assert!(!e.to_string().is_empty() && !e.hint().is_empty(), "{what}: {e} has no hint");
                assert!(e.to_string().len() + e.hint().len() < 4096, "{what}: the message floods the terminal");
                Err(e)
            }
        }
    }

    fn refuses(&self, file: &str, bytes: &[u8], what: &str) -> Error {
        self.with(file, bytes, what).err().unwrap_or_else(|| panic!("{}/{file}: {what} was loaded", self.fixture))
    }
}

/// A pass over three tokens.
fn run(model: &Model) -> Result<(), Error> {
    let example = Example { index: 0, rows: 0..0, first_pos: 0, prompt_len: 3, adapter: None, edits: vec![] };
    let rows = Rows::pack([(example, vec![0, 1, 2])]);
    forward(&*model.lm, &rows, &mut Hooks::default(), None, Head::AllRows).map(drop)
}

/// Values that stand where something else should.
fn hostile() -> Vec<Value> {
    let mut deep = json!(0);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(0.5),
        json!(1_000_000_000),
        json!(u32::MAX),
        json!(1u64 << 32),
        json!((1u64 << 53) + 1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(-1e308),
        json!("NaN"),
        json!(""),
        json!("x".repeat(1 << 16)),
        json!([]),
        json!({}),
        json!([1_000_000_000]),
        json!({ "rope_type": "x".repeat(1000), "factor": -1 }),
        deep,
    ]
}

/// Every value in a JSON text, by pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_string());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| pointers(v, &format!("{at}/{}", escaped(k)), found)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| pointers(v, &format!("{at}/{i}"), found)),
        _ => {}
    }
}

/// `n` damaged copies: bytes changed, removed, doubled, or the end cut off.
fn damaged(bytes: &[u8], n: usize, label: &str) -> Vec<Vec<u8>> {
    let mut rng = stream(0, label);
    let one = |_| {
        let mut copy = bytes.to_vec();
        for _ in 0..rng.random_range(1..4) {
            if copy.is_empty() {
                break;
            }
            let at = rng.random_range(0..copy.len());
            let to = (at + rng.random_range(0..16)).min(copy.len());
            match rng.random_range(0..5) {
                0 => copy[at] = rng.random(),
                1 => copy[at] ^= 1 << rng.random_range(0..8),
                2 => drop(copy.drain(at..to)),
                3 => {
                    let part = copy[at..to].to_vec();
                    copy.splice(at..at, part);
                }
                _ => copy.truncate(at),
            }
        }
        copy
    };
    (0..n).map(one).collect()
}

/// Keys that say how large something is: none of them may be a thousand million.
const SIZES: &[&str] = &[
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "n_embd",
    "n_layer",
    "n_head",
    "n_positions",
    "num_experts",
];

#[test]
fn any_value_of_a_configuration_may_be_anything() {
    for (fixture, _) in checkpoints() {
        let victim = Victim::new(&fixture);
        let good: Value = serde_json::from_slice(&victim.original("config.json")).unwrap();
        let mut places = Vec::new();
        pointers(&good, "", &mut places);
        for (i, place) in places.iter().enumerate() {
            let size = SIZES.iter().any(|key| place.strip_prefix('/') == Some(key));
            for (j, value) in hostile().into_iter().enumerate() {
                // One checkpoint sees everything, the others every size and some of the rest.
                if fixture != "llama_f16" && !size && !(i + j).is_multiple_of(16) {
                    continue;
                }
                let mut bad = good.clone();
                *bad.pointer_mut(place).unwrap() = value.clone();
                let shown: String = value.to_string().chars().take(40).collect();
                let found = victim.with("config.json", bad.to_string().as_bytes(), &format!("{place} = {shown}"));
                let large = value.as_f64().is_some_and(|v| !(0.0..1e9).contains(&v));
                assert!(!(size && large) || found.is_err(), "{fixture}: {place} = {shown} was loaded");
            }
        }
    }
}

#[test]
fn a_configuration_that_is_no_json_is_refused() {
    let victim = Victim::new("llama_f16");
    let good = String::from_utf8(victim.original("config.json")).unwrap();
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    assert!(good.contains("\"hidden_size\": 40,"), "{good}");
    for (what, text) in [
        ("a number that is none", with("\"hidden_size\": 40", "\"hidden_size\": NaN")),
        ("infinity", with("\"hidden_size\": 40", "\"hidden_size\": Infinity")),
        ("a number beyond numbers", with("\"hidden_size\": 40", "\"hidden_size\": 1e999")),
        ("a key twice", with("\"hidden_size\": 40", "\"hidden_size\": 40, \"hidden_size\": 48")),
        ("depth without end", "{\"a\":".repeat(200_000)),
        ("lists without end", "[".repeat(200_000)),
        ("a mark of order", format!("\u{feff}{good}")),
    ] {
        victim.refuses("config.json", text.as_bytes(), what);
    }
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    victim.refuses("config.json", &wide, "UTF-16");
    for end in (0..good.trim_end().len()).step_by(7) {
        victim.refuses("config.json", &good.as_bytes()[..end], &format!("cut at byte {end}"));
    }
    for (i, bytes) in damaged(good.as_bytes(), 300, "config").iter().enumerate() {
        let _ = victim.with("config.json", bytes, &format!("damage {i}"));
    }
}

/// A safetensors file of a header and data, whatever they say.
fn raw(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + n]).unwrap(), &bytes[8 + n..])
}

const WEIGHTS: &str = "model.safetensors";

#[test]
fn a_header_may_say_anything_of_its_length() {
    let victim = Victim::new("llama_f16");
    let good = victim.original(WEIGHTS);
    let true_length = u64::from_le_bytes(good[..8].try_into().unwrap());
    for length in
        [0, 1, true_length - 1, true_length + 1, 1 << 30, 100_000_001, 1 << 40, 1 << 63, u64::MAX - 7, u64::MAX]
    {
        let bytes = [&length.to_le_bytes()[..], &good[8..]].concat();
        victim.refuses(WEIGHTS, &bytes, &format!("a header of {length} bytes"));
    }
    // A header of 1 GB that is there: zeros that take no room on the disk.
    let file = fs::OpenOptions::new().write(true).open(victim.path(WEIGHTS)).unwrap();
    io::Write::write_all(&mut &file, &(1u64 << 30).to_le_bytes()).unwrap();
    file.set_len((1 << 30) + 8).unwrap();
    drop(file);
    assert!(victim.attempt("a header of 1 GB").is_err());
    fs::write(victim.path(WEIGHTS), &good).unwrap();
    victim.attempt("what was damaged is whole again").unwrap();
}

#[test]
fn a_header_may_say_anything_of_its_tensors() {
    let victim = Victim::new("llama_f16");
    let good = victim.original(WEIGHTS);
    let (header, data) = split(&good);
    let names: Vec<String> = header.as_object().unwrap().keys().filter(|k| *k != "__metadata__").cloned().collect();
    let change = |what: &str, change: &dyn Fn(&mut Value)| {
        let mut header = header.clone();
        change(&mut header);
        victim.with(WEIGHTS, &raw(header.to_string().as_bytes(), data), what)
    };
    change("nothing", &|_| ()).unwrap();
    let (one, two) = (&names[0], &names[1]);
    let end = data.len();
    let ends = |h: &Value, name: &str| h[name]["data_offsets"].clone();
    let must = |what: &str, f: &dyn Fn(&mut Value)| {
        assert!(change(what, f).is_err(), "{what} was loaded");
    };
    must("two tensors in one place", &|h| h[one]["data_offsets"] = ends(h, two));
    must("offsets beyond the file", &|h| h[one]["data_offsets"] = json!([end, 2 * end]));
    must("offsets that run backwards", &|h| h[one]["data_offsets"] = json!([100, 0]));
    must("offsets that overflow", &|h| h[one]["data_offsets"] = json!([u64::MAX - 1, u64::MAX]));
    must("negative offsets", &|h| h[one]["data_offsets"] = json!([-8, 0]));
    must("a shape that overflows", &|h| h[one]["shape"] = json!([u64::MAX, u64::MAX]));
    must("a shape that wraps to the true size", &|h| h[one]["shape"] = json!([1u64 << 63, 2, 61, 40]));
    must("a shape without end", &|h| h[one]["shape"] = json!(vec![2; 1000]));
    must("no shape", &|h| h[one]["shape"] = json!([]));
    must("a wider type", &|h| h[one]["dtype"] = json!("F64"));
    must("a narrower type", &|h| h[one]["dtype"] = json!("U8"));
    must("a type of the same width", &|h| h[one]["dtype"] = json!("I16"));
    must("a type that is none", &|h| h[one]["dtype"] = json!("F17"));
    must("no tensors", &|h| *h = json!({}));
    must("no object", &|h| *h = json!([1]));
    must("text in place of a tensor", &|h| h[one] = json!("x"));
    must("notes in place of tensors", &|h| h["__metadata__"] = json!({ "a": 1 }));
    must("a tensor of no size", &|h| {
        h[one]["shape"] = json!([0, 40]);
        h[one]["data_offsets"] = json!([0, 0]);
    });
    // The same width, and floats: nothing in the file gives it away but what the values are.
    let _ = change("f16 said to be bf16", &|h| h[one]["dtype"] = json!("BF16"));

    let mut places = Vec::new();
    pointers(&header, "", &mut places);
    let mut rng = stream(0, "header");
    let values = hostile();
    for _ in 0..400 {
        let (place, value) = (&places[rng.random_range(0..places.len())], &values[rng.random_range(0..values.len())]);
        let shown: String = value.to_string().chars().take(40).collect();
        let _ = change(&format!("{place} = {shown}"), &|h| *h.pointer_mut(place).unwrap() = value.clone());
    }
    let text = header.to_string().into_bytes();
    for (i, header) in damaged(&text, 400, "header bytes").iter().enumerate() {
        let _ = victim.with(WEIGHTS, &raw(header, data), &format!("damage {i} to the header"));
    }
    let twice = String::from_utf8(text.clone()).unwrap().replacen(two, one, 1);
    victim.refuses(WEIGHTS, &raw(twice.as_bytes(), data), "one name twice");
    let mut no_text = text;
    no_text[2] = 0xff;
    victim.refuses(WEIGHTS, &raw(&no_text, data), "a header that is no UTF-8");
}

#[test]
fn weights_of_any_type_that_are_no_numbers_are_refused() {
    let victim = Victim::new("llama_f16");
    let good = victim.original(WEIGHTS);
    let bad = |bits: u16, at: usize| {
        let mut bytes = good.clone();
        let from = bytes.len() - 2 * (at + 1);
        bytes[from..from + 2].copy_from_slice(&bits.to_le_bytes());
        bytes
    };
    let n = SafeTensors::deserialize(&good).unwrap().iter().map(|(_, v)| v.data().len() / 2).sum::<usize>();
    let mut rng = stream(0, "values");
    for bits in [0x7e00, 0x7c00, 0xfc00, 0xffff] {
        for at in [0, n - 1, rng.random_range(0..n), rng.random_range(0..n)] {
            let e = victim.refuses(WEIGHTS, &bad(bits, at), &format!("{bits:x} at {at}")).to_string();
            assert!(e.contains("not finite"), "{e}");
        }
    }
    let sharded = Victim::new("llama_sharded");
    let file = "model-00002-of-00002.safetensors";
    let mut bytes = sharded.original(file);
    let from = bytes.len() - 4;
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        bytes[from..].copy_from_slice(&value.to_le_bytes());
        sharded.refuses(file, &bytes, &format!("{value}"));
    }
}

#[test]
fn damage_anywhere_in_a_file_of_weights_ends_in_an_error_or_in_a_model() {
    let victim = Victim::new("llama_f16");
    let good = victim.original(WEIGHTS);
    for (i, bytes) in damaged(&good, 200, "weights").iter().enumerate() {
        let found = victim.with(WEIGHTS, bytes, &format!("damage {i}"));
        assert!(bytes.len() == good.len() || found.is_err(), "damage {i}: another length was loaded");
    }
    for end in (0..good.len()).step_by(1501) {
        victim.refuses(WEIGHTS, &good[..end], &format!("cut at byte {end}"));
    }
}

#[test]
fn an_index_may_say_anything() {
    let victim = Victim::new("llama_sharded");
    let file = "model.safetensors.index.json";
    let good: Value = serde_json::from_slice(&victim.original(file)).unwrap();
    let map = good["weight_map"].as_object().unwrap();
    let first = map.keys().next().unwrap();
    let last = map.keys().find(|k| map[*k] != map[first]).expect("two files");
    let must = |what: &str, f: &dyn Fn(&mut Value)| {
        let mut bad = good.clone();
        f(&mut bad);
        victim.refuses(file, bad.to_string().as_bytes(), what)
    };
    must("no files", &|i| i["weight_map"] = json!({}));
    for path in
        ["/etc/passwd", "../model.safetensors", "..", "a/b.safetensors", ".safetensors", "x.bin", "a\u{0}.safetensors"]
    {
        must(path, &|i| i["weight_map"][first] = json!(path));
    }
    let swapped = must("files exchanged", &|i| {
        let (a, b) = (i["weight_map"][first].clone(), i["weight_map"][last].clone());
        (i["weight_map"][first], i["weight_map"][last]) = (b, a);
    });
    assert!(swapped.to_string().contains(first.as_str()), "{swapped}");
    must("a tensor that is nowhere", &|i| i["weight_map"]["more"] = i["weight_map"][first].clone());
    let e = must("files that are nowhere", &|i| {
        for (n, key) in map.keys().enumerate() {
            i["weight_map"][key] = json!(format!("lost-{}.safetensors", n % 3));
        }
    });
    assert!(["lost-0", "lost-1", "lost-2"].iter().all(|f| e.to_string().contains(f)), "all at once: {e}");

    let mut places = Vec::new();
    pointers(&good, "", &mut places);
    let (mut rng, values) = (stream(0, "index"), hostile());
    for _ in 0..300 {
        let (place, value) = (&places[rng.random_range(0..places.len())], &values[rng.random_range(0..values.len())]);
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value.clone();
        let shown: String = value.to_string().chars().take(40).collect();
        let found = victim.with(file, bad.to_string().as_bytes(), &format!("{place} = {shown}"));
        assert!(!place.starts_with("/weight_map") || found.is_err(), "{place} = {shown} was loaded");
    }
    for (i, bytes) in damaged(&victim.original(file), 300, "index bytes").iter().enumerate() {
        let _ = victim.with(file, bytes, &format!("damage {i}"));
    }
}

#[test]
fn the_files_of_a_tokenizer_may_say_anything() {
    let victim = Victim::new("llama_f16");
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let good: Value = serde_json::from_slice(&victim.original(file)).unwrap();
        let mut places = Vec::new();
        pointers(&good, "", &mut places);
        let (mut rng, values) = (stream(0, file), hostile());
        for _ in 0..400 {
            let (place, value) =
                (&places[rng.random_range(0..places.len())], &values[rng.random_range(0..values.len())]);
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value.clone();
            let shown: String = value.to_string().chars().take(40).collect();
            let _ = victim.with(file, bad.to_string().as_bytes(), &format!("{place} = {shown}"));
        }
        for (i, bytes) in damaged(&victim.original(file), 300, file).iter().enumerate() {
            let _ = victim.with(file, bytes, &format!("damage {i}"));
        }
    }
    let settings = Path::new("generation_config.json");
    for text in
        ["", "{", "[]", "{\"eos_token_id\": 4294967298}", "{\"eos_token_id\": -1}", "{\"eos_token_id\": [2, \"x\"]}"]
    {
        fs::write(victim.path(settings.to_str().unwrap()), text).unwrap();
        assert!(victim.attempt(text).is_err(), "{text} was loaded");
    }
}

#[test]
fn a_tokenizer_of_a_real_kind_may_be_damaged_anywhere() {
    let good = Source::toyworld().read("tokenizer.json").unwrap().unwrap();
    let (_, most) = counted(|| Text::from_bytes("good", &good, None, None).unwrap());
    for (i, bytes) in damaged(&good, 150, "toyworld").iter().enumerate() {
        let (found, took) = counted(|| catch_unwind(|| Text::from_bytes("bad", bytes, None, None).map(drop)));
        let found = found.unwrap_or_else(|_| panic!("damage {i} ends in a panic"));
        assert!(took < 2 * most, "damage {i} takes {took} bytes, a good one {most}");
        if let Err(e) = found {
            assert!(!e.hint().is_empty(), "{e}");
        }
    }
}

#[test]
fn what_breaks_the_reader_of_tokenizers_is_an_error() {
    let mut tokenizer: Value =
        serde_json::from_slice(&fs::read(fixtures().join("llama_f16/tokenizer.json")).unwrap()).unwrap();
    tokenizer["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" });
    let e = Text::from_bytes("t", tokenizer.to_string().as_bytes(), None, None).err().unwrap();
    assert!(e.to_string().contains("t/tokenizer.json") && !e.hint().is_empty(), "{e}");
}
