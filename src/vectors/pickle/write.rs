//! Writing pickles that torch and plain Python open: protocol 2, and nothing but dicts, lists, texts, numbers and tensors.

use crate::error::{Error, Result};
use std::io::{Cursor, Write};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// What can be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Plain>),
    Dict(Vec<(Plain, Plain)>),
    /// Shape and values, in C order.
    Tensor(Vec<usize>, Vec<f32>),
    /// An instance of the class of a module, with its attributes.
    Object(&'static str, &'static str, Vec<(Plain, Plain)>),
}

impl Plain {
    /// A dict whose keys are texts.
    pub fn dict(entries: Vec<(&str, Plain)>) -> Plain {
        Plain::Dict(entries.into_iter().map(|(k, v)| (Plain::Text(k.into()), v)).collect())
    }
}

/// An archive as `torch.save` writes it; `torch.load` opens it, with `weights_only=True` where no object is in it.
///
/// # Errors
/// More than 4 GB.
pub fn archive(value: &Plain) -> Result<Vec<u8>> {
    let mut out = Writer::new(true);
    out.whole(value);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let (pickle, storages) = (out.bytes, out.beside);
    let mut entry = |name: &str, bytes: &[u8]| {
        // Torch begins every entry at a multiple of 64.
        let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::STORE).with_alignment(64);
        zip.start_file(format!("archive/{name}"), options)?;
        zip.write_all(bytes)
    };
    let mut all = || -> std::io::Result<()> {
        entry("data.pkl", &pickle)?;
        entry("byteorder", b"little")?;
        for (i, bytes) in storages.iter().enumerate() {
            entry(&format!("data/{i}"), bytes)?;
        }
        entry("version", b"3\n")
    };
    let failed = |e: &dyn std::fmt::Display| {
        Error::refused(format!("the archive cannot be written: {e}"), "choose fewer vectors, or another format")
    };
    all().map_err(|e| failed(&e))?;
    Ok(zip.finish().map_err(|e| failed(&e))?.into_inner())
}

/// A pickle by itself, as `pickle.dump` writes it; `pickle.load` opens it where torch is installed.
pub fn plain(value: &Plain) -> Vec<u8> {
    let mut out = Writer::new(false);
    out.whole(value);
    out.bytes
}

struct Writer {
    bytes: Vec<u8>,
    /// Whether the bytes of tensors are kept beside the pickle, or written into it.
    archive: bool,
    beside: Vec<Vec<u8>>,
}

impl Writer {
    fn new(archive: bool) -> Writer {
        Writer { bytes: Vec::new(), archive, beside: Vec::new() }
    }

    fn whole(&mut self, value: &Plain) {
        self.bytes.extend([0x80, 2]);
        self.value(value);
        self.bytes.push(b'.');
    }

    fn value(&mut self, value: &Plain) {
        match value {
            Plain::Int(n) => self.int(*n),
            Plain::Float(x) => {
                self.bytes.push(b'G');
                self.bytes.extend(x.to_be_bytes());
            }
            Plain::Text(t) => self.text(t),
            Plain::List(items) => {
                self.bytes.extend(b"](");
                items.iter().for_each(|v| self.value(v));
                self.bytes.push(b'e');
            }
            Plain::Dict(pairs) => self.dict(pairs),
            Plain::Tensor(shape, values) => self.tensor(shape, values),
            Plain::Object(module, class, state) => {
                self.name(module, class);
                self.bytes.extend(b")\x81");
                self.dict(state);
                self.bytes.push(b'b');
            }
        }
    }

    fn dict(&mut self, pairs: &[(Plain, Plain)]) {
        self.bytes.extend(b"}(");
        for (k, v) in pairs {
            self.value(k);
            self.value(v);
        }
        self.bytes.push(b'u');
    }

    fn int(&mut self, n: i64) {
        match i32::try_from(n) {
            Ok(n) => {
                self.bytes.push(b'J');
                self.bytes.extend(n.to_le_bytes());
            }
            Err(_) => {
                self.bytes.extend([0x8a, 8]);
                self.bytes.extend(n.to_le_bytes());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn name(&mut self, module: &str, name: &str) {
        self.bytes.extend(format!("c{module}\n{name}\n").into_bytes());
    }

    fn tensor(&mut self, shape: &[usize], values: &[f32]) {
        self.name("torch._utils", "_rebuild_tensor_v2");
        self.bytes.push(b'(');
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        if self.archive {
            let key = self.beside.len().to_string();
            self.storage(&key, values.len(), false);
            self.beside.push(raw);
        } else {
            self.name("torch.storage", "_load_from_bytes");
            // Protocol 2 has no bytes: they are a text in which every character is one.
            self.name("_codecs", "encode");
            let text: String = stored_alone(values.len(), &raw).into_iter().map(char::from).collect();
            self.text(&text);
            self.text("latin1");
            self.bytes.extend(b"\x86R\x85R");
        }
        self.int(0);
        self.bytes.push(b'(');
        shape.iter().for_each(|d| self.int(*d as i64));
        self.bytes.extend(b"t(");
        let steps = (0..shape.len()).map(|i| shape[i + 1..].iter().product::<usize>());
        steps.for_each(|s| self.int(s as i64));
        // No gradient, no hooks.
        self.bytes.extend(b"t\x89");
        self.name("collections", "OrderedDict");
        self.bytes.extend(b")RtR");
    }

    /// A storage beside the pickle.
    fn storage(&mut self, key: &str, count: usize, older: bool) {
        self.bytes.push(b'(');
        self.text("storage");
        self.name("torch", "FloatStorage");
        self.text(key);
        self.text("cpu");
        self.int(count as i64);
        if older {
            self.bytes.push(b'N');
        }
        self.bytes.extend(b"tQ");
    }
}

/// A storage by itself in the format that torch wrote before its archives, and still writes within pickles.
fn stored_alone(count: usize, raw: &[u8]) -> Vec<u8> {
    let mut out = Writer::new(true);
    out.bytes.extend(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
    out.whole(&Plain::Int(1001));
    out.bytes.extend(b"\x80\x02}(");
    out.text("protocol_version");
    out.int(1001);
    out.text("little_endian");
    out.bytes.push(0x88);
    out.text("type_sizes");
    out.value(&Plain::dict(vec![("short", Plain::Int(2)), ("int", Plain::Int(4)), ("long", Plain::Int(4))]));
    out.bytes.extend(b"u.\x80\x02");
    out.storage("0", count, true);
    out.bytes.push(b'.');
    out.whole(&Plain::List(vec![Plain::Text("0".into())]));
    out.bytes.extend((count as u64).to_le_bytes());
    out.bytes.extend(raw);
    out.bytes
}
