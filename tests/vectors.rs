//! Files of vectors: those that other programs wrote, those that mean harm, round trips, and what a vector does where it
//! comes back. The files in `fixtures/vectors` are made by `make.py` there.

mod common;

use common::{all_sites, fixtures, model, names, pack, random_tokens};
use personascope::axes::{Point, Site};
use personascope::model::{Along, Edit, Positions, Rewrite};
use personascope::vectors::pickle::Pickled;
use personascope::vectors::{About, File, Format, Producer, ReadOptions, Vector, WriteOptions, read, write};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Notes the most bytes that a thread held at once: a hostile file must not make it rise.
struct Counting;

thread_local! {
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|h| {
            let now = h.get().0.saturating_add(layout.size());
            h.set((now, h.get().1.max(now)));
        });
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|h| h.set((h.get().0.saturating_sub(layout.size()), h.get().1)));
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes held while `f` ran, beyond those before.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(|h| {
        h.set((h.get().0, h.get().0));
        h.get().0
    });
    let out = f();
    (out, HELD.with(|h| h.get().1.saturating_sub(before)))
}

fn fixture(name: &str) -> PathBuf {
    fixtures().join("vectors").join(name)
}

fn open(name: &str, format: Option<Format>) -> File {
    read(&fixture(name), format, ReadOptions::default()).unwrap_or_else(|e| panic!("{name}: {e} ({})", e.hint()))
}

/// Row r of the fixtures: (r + 1) (c + 1) (-1)^c / 4.
fn row(r: usize) -> Vec<f64> {
    (0..6).map(|c| ((r + 1) * (c + 1)) as f64 * if c % 2 == 0 { 0.25 } else { -0.25 }).collect()
}

/// That a file has these rows at these sites, and nothing else.
fn holds(name: &str, file: &File, wanted: &[(Site, &str, usize, f64)]) {
    let keys: Vec<String> = file.vectors.iter().map(Vector::key).collect();
    assert_eq!(keys.len(), wanted.len(), "{name}: {keys:?}");
    for (site, own, r, sign) in wanted {
        let v = file.at(Some(*site), Some(own)).unwrap_or_else(|e| panic!("{name}: {e} of {keys:?}"));
        let worst = v.raw().iter().zip(row(*r)).map(|(a, b)| (a - sign * b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{name}: {} is off by {worst}", v.key());
    }
}

fn post(l: usize, r: usize) -> (Site, &'static str, usize, f64) {
    (Site::post(l), "", r, 1.0)
}

#[test]
fn tensors_of_persona_vectors_are_read_in_every_form_that_torch_writes() {
    let pre = (Site::new(Point::ResidPre, 0), "", 0, 1.0);
    let all = ["", "_bf16", "_f16", "_f64", "_legacy", "_strided"];
    for name in all.map(|n| format!("persona_vectors{n}.pt")) {
        let file = open(&name, Some(Format::PersonaVectors));
        // Row 3 of 4 is hidden_states[3] of three blocks: behind the final norm.
        holds(&name, &file, &[pre, post(0, 1), post(1, 2)]);
        assert_eq!((file.n_layers, file.warnings.len()), (Some(3), 2));
        assert!(file.warnings[0].contains("off-by-one") && file.warnings[0].contains("row 2 is resid_post.1"));
        assert!(file.warnings[1].contains("hidden_states[3]) is after the final norm"), "{:?}", file.warnings);
    }
    let bf16 = open("persona_vectors_bf16.pt", Some(Format::PersonaVectors));
    assert_eq!(bf16.vectors[0].about.dtype.as_deref(), Some("bf16"));
    let zero = open("persona_vectors_zero_row.pt", Some(Format::PersonaVectors));
    holds("zero row", &zero, &[post(0, 1), post(1, 2)]);
    assert!(zero.warnings[1].contains("rows 0 are zero"), "{:?}", zero.warnings);

    let keep = ReadOptions { post_norm: true, ..ReadOptions::default() };
    let kept = read(&fixture("persona_vectors.pt"), Some(Format::PersonaVectors), keep).unwrap();
    holds("kept", &kept, &[pre, post(0, 1), post(1, 2), (Site::post(2), "post_norm", 3, 1.0)]);
    assert!(kept.warnings[1].contains("resid_post.2/post_norm"), "{:?}", kept.warnings);
}

#[test]
fn a_tensor_by_itself_is_not_guessed_at() {
    let path = fixture("persona_vectors.pt");
    let e = read(&path, None, ReadOptions::default()).unwrap_err();
    names(&e, &["persona_vectors", "assistant-axis", "[4, d_model]"]);
    assert!(e.hint().contains("--from persona-vectors or --from assistant-axis"), "{}", e.hint());
    // The number of blocks tells.
    for (n, format) in [(3, Format::PersonaVectors), (4, Format::AssistantAxis)] {
        let options = ReadOptions { n_layers: Some(n), ..ReadOptions::default() };
        assert_eq!(read(&path, None, options).unwrap().format, format);
    }
    let options = ReadOptions { n_layers: Some(9), ..ReadOptions::default() };
    names(&read(&path, Some(Format::PersonaVectors), options).unwrap_err(), &["[10, d_model]", "[4, 6]"]);
}

#[test]
fn tensors_of_assistant_axis_are_read_in_every_form() {
    let rows = [post(0, 0), post(1, 1), post(2, 2)];
    let bare = open("assistant_axis.pt", Some(Format::AssistantAxis));
    holds("bare", &bare, &rows);
    assert_eq!(bare.vectors[0].about.positive, "the Assistant");
    for name in ["axis.pt", "axis_packed.pt", "axis_metadata.pt", "axis_numpy.pkl"] {
        let file = open(name, None);
        holds(name, &file, &rows);
        assert_eq!((file.format, file.n_layers), (Format::AssistantAxis, Some(3)));
        assert_eq!(file.vectors[0].about.positive, "the Assistant");
    }
    let axis = open("axis.pt", None);
    assert_eq!(axis.vectors[0].about.more["n_roles"], 275);
    assert_eq!(axis.warnings.len(), 2, "the two means are left out by name: {:?}", axis.warnings);
    let more = &open("axis_metadata.pt", None).vectors[0].about.more;
    assert_eq!(more["metadata"]["parts"], serde_json::json!([1, 2.5]));
    assert_eq!(more["metadata"]["seed"], "a number beyond 64 bits");

    let role = open("role.pt", None);
    holds("role", &role, &rows.map(|(s, _, r, x)| (s, "ghost", r, x)));
    assert!(role.warnings[0].contains("mean of activations"), "{:?}", role.warnings);
    assert_eq!(role.vectors[0].about.more["type"], "pos_3");
    let calm = open("trait.pt", None);
    assert_eq!((calm.vectors[0].name.as_str(), calm.vectors[0].about.positive.as_str()), ("calm", "calm"));
    assert_eq!(calm.vectors[0].about.more["positive_mean_score"], 81.5);
    let both = rows.iter().flat_map(|(s, _, r, _)| [(*s, "angel", *r, -1.0), (*s, "ghost", *r, 1.0)]);
    holds("roles", &open("roles.pt", None), &both.collect::<Vec<_>>());
}

#[test]
fn a_capping_config_keeps_its_caps_as_ceilings() {
    let file = open("capping_config.pt", None);
    assert_eq!(file.format, Format::CappingConfig);
    holds("capping", &file, &[(Site::post(1), "role_trait_1", 0, 1.0), (Site::post(2), "role_trait_2", 1, 1.0)]);
    let caps = |f: &File| f.caps().into_iter().map(|c| (c.experiment, c.vector, c.ceiling)).collect::<Vec<_>>();
    let [one, two] = ["resid_post.1/role_trait_1", "resid_post.2/role_trait_2"].map(String::from);
    let cap = |e: &str, v: &String, c| (e.to_string(), v.clone(), c);
    // A number, one in a text, one of numpy, a whole one; an intervention without a cap is none.
    let wanted = vec![
        cap("layers_1:3-p0.25", &one, 1.5),
        cap("layers_1:2-p0.5", &one, 3.0),
        cap("layers_1:3-p0.25", &two, -2.25),
        cap("7", &two, 4.0),
    ];
    assert_eq!(caps(&file), wanted);
    assert!(file.warnings[0].contains("ceilings") && file.warnings[1].contains("1 interventions have no cap"));
    // Through our own format and back, nothing is lost.
    let dir = tempfile::tempdir().unwrap();
    let ours = through(dir.path(), &file.vectors, Format::Personascope, &WriteOptions::default()).0;
    assert_eq!(caps(&ours), wanted);
    let back = through(dir.path(), &ours.vectors, Format::CappingConfig, &WriteOptions::default()).0;
    assert_eq!(caps(&back), wanted);
    holds("back", &back, &[(Site::post(1), "role_trait_1", 0, 1.0), (Site::post(2), "role_trait_2", 1, 1.0)]);
}

#[test]
fn steering_vectors_are_read_as_pickle_and_torch_write_them() {
    let pickles = (0..6).map(|p| format!("steering_vector_{p}.pkl"));
    for name in pickles.chain(["steering_vector.pt".into()]) {
        let file = open(&name, None);
        assert_eq!(file.format, Format::SteeringVectors);
        holds(&name, &file, &[post(1, 0), post(2, 1)]);
    }
    let mlp = open("steering_vector_mlp.pkl", None);
    holds("mlp", &mlp, &[(Site::new(Point::MlpOut, 0), "", 0, 1.0)]);
    let e = read(&fixture("steering_vector_norm.pkl"), None, ReadOptions::default()).unwrap_err();
    names(&e, &["input_layernorm"]);
}

#[test]
fn control_vectors_are_numbered_as_their_producer_does() {
    let ours = open("repeng.gguf", None);
    holds("repeng", &ours, &[post(1, 1), post(2, 2)]);
    assert!(
        ours.warnings[0].contains("repeng")
            && ours.warnings[0].contains("off-by-one")
            && ours.warnings[0].contains("--producer"),
        "{:?}",
        ours.warnings
    );
    assert!(
        ours.warnings[1].contains("resid_post.2") && ours.warnings[1].contains("final norm"),
        "{:?}",
        ours.warnings
    );
    assert_eq!(ours.vectors[0].about.more["model_type"], "llama");
    // direction.1 and direction.2 were taken behind blocks 0 and 1.
    let theirs = open("cvector_generator.gguf", None);
    holds("generator", &theirs, &[post(0, 0), post(1, 1)]);
    assert_eq!(theirs.warnings.len(), 1);
    // What is asked for goes before what the file tells.
    let asked = |name: &str, p| read(&fixture(name), None, ReadOptions { producer: Some(p), ..Default::default() });
    holds("asked", &asked("repeng.gguf", Producer::CvectorGenerator).unwrap(), &[post(0, 1), post(1, 2)]);
    holds("asked", &asked("cvector_generator.gguf", Producer::Repeng).unwrap(), &[post(1, 0), post(2, 1)]);
    holds("asked", &asked("nobody.gguf", Producer::Repeng).unwrap(), &[post(1, 1)]);
    let e = read(&fixture("nobody.gguf"), None, ReadOptions::default()).unwrap_err();
    assert!(e.hint().contains("--producer repeng"), "{e}");
    names(&read(&fixture("model.gguf"), None, ReadOptions::default()).unwrap_err(), &["`llama`", "no control vector"]);
}

#[test]
fn arrays_and_json_are_read_by_the_names_of_their_sites() {
    let evil = (Site::new(Point::AttnOut, 0), "evil", 1, 1.0);
    let big_endian = (Site::new(Point::ResidPre, 2), "", 2, 1.0);
    holds("npz", &open("arrays.npz", None), &[post(1, 0), evil, big_endian]);
    holds("compressed", &open("arrays_compressed.npz", None), &[post(1, 0), evil]);
    let tensors = open("arrays.safetensors", None);
    holds("safetensors", &tensors, &[post(1, 0), (Site::new(Point::MlpOut, 2), "sad", 1, 1.0)]);
    assert_eq!(tensors.format, Format::Safetensors);
    let svec = open("activation_steering.svec", None);
    holds("svec", &svec, &[post(0, 0), post(1, 1), post(2, 2)]);
    assert!(
        svec.warnings[0].contains("resid_post.2") && svec.warnings[0].contains("final norm"),
        "{:?}",
        svec.warnings
    );
    assert_eq!(svec.vectors[0].about.more["explained_variance"], 0.5);
    for (name, says) in [("arrays_unnamed.npz", "layer_1"), ("array.npy", "array.npy")] {
        let e = read(&fixture(name), None, ReadOptions::default()).unwrap_err();
        names(&e, &[says]);
        assert!(e.hint().contains("resid_post.14"), "{}", e.hint());
    }
}

#[test]
fn what_is_no_vector_is_refused_by_name() {
    for (name, says) in [
        ("sklearn.pkl", "sklearn.decomposition._pca.PCA"),
        ("integers.pt", "whole numbers"),
        ("state_dict.pt", "dict"),
        ("make.py", "no file of vectors"),
        ("versions.json", "`directions`"),
    ] {
        names(&read(&fixture(name), None, ReadOptions::default()).unwrap_err(), &[says]);
    }
}

/// Pickles that mean harm, or that nothing writes.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let tensor = |numel: &[u8], offset: &[u8], size: &[u8], stride: &[u8]| {
        let head = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu";
        [head, numel, b"tQ", offset, b"(", size, b"t(", stride, b"t\x89ccollections\nOrderedDict\n)RtR."].concat()
    };
    // 2^60, and -1.
    let huge = b"\x8a\x08\0\0\0\0\0\0\0\x10".as_slice();
    let less = b"J\xff\xff\xff\xff".as_slice();
    let twice = |n: usize| {
        let mut b = b"\x80\x04]\x94a".to_vec();
        b.splice(2.., *b"(K\x01K\x02t\x94");
        (0..n).for_each(|_| b.extend(b"2\x86\x94"));
        b.push(b'.');
        b
    };
    let mut deep = b"\x80\x02N".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 100_000));
    deep.push(b'.');
    let marks = [&b"\x80\x02"[..], &vec![b'('; 100_000], b"."].concat();
    let mut encoded = b"\x80\x02]".to_vec();
    encoded.extend(b"X\xff\xff\0\0");
    encoded.extend(vec![b'a'; 65535]);
    encoded.extend(b"q\x010c_codecs\nencode\nq\x020");
    (0..20_000).for_each(|_| encoded.extend(b"h\x02h\x01X\x06\0\0\0latin1\x86Ra"));
    encoded.push(b'.');
    let text = |n: &[u8]| [b"\x80\x04\x8d", n, b"abc."].concat();
    vec![
        ("a call of os.system", b"cposix\nsystem\n(S'touch ran'\ntR.".to_vec(), "posix.system"),
        (
            "the same by names on the stack",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.".to_vec(),
            "os.system",
        ),
        ("an instance", b"(S'touch ran'\nios\nsystem\n.".to_vec(), "os.system"),
        ("eval", b"\x80\x02c__builtin__\neval\nX\x01\0\0\x001\x85R.".to_vec(), "__builtin__.eval"),
        ("an attribute of a recognised module", b"\x80\x02ctorch.storage\npickle.loads\n.".to_vec(), "pickle.loads"),
        ("a class called", b"\x80\x02csteering_vectors\nSteeringVector\n)R.".to_vec(), "SteeringVector"),
        ("a class that is none", b"\x80\x02X\x01\0\0\0a)\x81.".to_vec(), "no tensor|class that is none"),
        ("an extension", b"\x80\x02\x82\x01.".to_vec(), "only its program"),
        ("a persistent object", b"Phello\n.".to_vec(), "outside"),
        ("a buffer", b"\x80\x05\x97.".to_vec(), "buffers"),
        ("a huge tensor", tensor(huge, b"K\0", huge, b"K\x01"), "outside|storage"),
        ("two huge sizes", tensor(b"K\x04", b"K\0", &[huge, huge].concat(), b"K\x01K\x01"), "outside|storage"),
        ("a repeated value", tensor(b"K\x04", b"K\0", &[huge, b"K\x01"].concat(), b"K\0K\x01"), "outside|storage"),
        ("a negative step", tensor(b"K\x04", b"K\x03", b"K\x04", less), "outside|no count"),
        ("a negative size", tensor(b"K\x04", b"K\0", less, b"K\x01"), "outside|no count"),
        ("a start behind the end", tensor(b"K\x04", b"K\x04", b"K\x01", b"K\x01"), "outside|storage"),
        ("a list that holds itself", b"\x80\x02]q\x00h\x00a.".to_vec(), "holds itself"),
        ("a dict that holds itself", b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.".to_vec(), "holds itself"),
        ("100,000 tuples in each other", deep, "deep"),
        ("100,000 marks", marks, "byte"),
        ("an object that was never kept", b"\x80\x02j\xff\xff\xff\xff.".to_vec(), "object 4294967295"),
        ("2^200 numbers in 200 tuples", twice(200), "deep"),
        ("a gigabyte in copies of one text", encoded, "again and again"),
        ("a text longer than the file", text(&[0xff; 8]), "byte"),
        ("a text of 2^60", text(&(1u64 << 60).to_le_bytes()), "byte"),
        ("a frame longer than the file", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.".to_vec(), "byte"),
        ("protocol 9", b"\x80\x09N.".to_vec(), "protocol 9|no file"),
        ("nothing on the stack", b"\x80\x02.".to_vec(), "byte"),
        ("nothing at all", b"\x80\x02".to_vec(), "byte"),
        ("bytes behind the end", b"\x80\x02N.N.".to_vec(), "behind"),
    ]
}

#[test]
fn hostile_pickles_are_refused_without_running_or_allocating() {
    let dir = tempfile::tempdir().unwrap();
    for (what, bytes, says) in hostile() {
        let path = dir.path().join("x.pkl");
        std::fs::write(&path, &bytes).unwrap();
        let (result, held) = peak(|| Pickled::read("x.pkl", &bytes).map(|_| ()));
        let message = match result {
            Err(e) => e.to_string(),
            Ok(()) => panic!("{what} is read"),
        };
        assert!(says.split('|').any(|s| message.contains(s)), "{what}: {message}");
        // Nodes of some ten bytes of file each, and no more than that.
        assert!(held < 100_000 + 120 * bytes.len(), "{what}: {held} bytes for {}", bytes.len());
        let e = read(&path, None, ReadOptions::default()).unwrap_err();
        assert!(!e.hint().is_empty(), "{what}: {e}");
        assert!(!Path::new("ran").exists() && !dir.path().join("ran").exists(), "{what} ran");
    }
}

/// An archive as torch writes it, around a pickle, with a storage of its own size.
fn archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::DEFAULT.compression_method(zip::CompressionMethod::STORE);
    for (name, bytes) in
        [("x/data.pkl", pickle), ("x/byteorder", b"little"), ("x/data/0", storage), ("x/version", b"3\n")]
    {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_that_lie_about_their_storages_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pt");
    let tensor = |count: u8, rows: u8| {
        [
            &b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK"[..],
            &[count],
            b"tQK\0K",
            &[rows],
            b"K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR.",
        ]
        .concat()
    };
    let attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read(&path, Some(Format::AssistantAxis), ReadOptions::default())
    };
    let four: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let good = archive(&tensor(4, 2), &four);
    assert_eq!(attempt(&good).unwrap().vectors[1].raw_norm, 5.0);
    names(&attempt(&archive(&tensor(4, 2), &four[..8])).unwrap_err(), &["a storage of 4 f32 has 8 bytes"]);
    names(&attempt(&archive(&tensor(255, 2), &four)).unwrap_err(), &["a storage of 255 f32 has 16 bytes"]);
    names(&attempt(&archive(&tensor(4, 3), &four)).unwrap_err(), &["does not fit its storage of 4"]);
    let mut wrong = good.clone();
    let at = wrong.windows(4).position(|w| w == 2.0f32.to_le_bytes()).unwrap();
    wrong[at] ^= 1;
    names(&attempt(&wrong).unwrap_err(), &["checksum of `x/data/0`"]);
    // Sizes in the list of entries: compressed at 20, whole at 24 from the mark of an entry.
    let entries: Vec<usize> = (0..good.len() - 4).filter(|i| good[*i..].starts_with(b"PK\x01\x02")).collect();
    for (entry, field) in entries.iter().flat_map(|e| [(e, 20), (e, 24)]) {
        let mut wrong = good.clone();
        wrong[entry + field..entry + field + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        let (result, held) = peak(|| attempt(&wrong).map(|_| ()));
        // What `version` says is not read.
        assert!(result.is_err() || *entry == entries[3], "entry at {entry}, field {field}");
        assert!(held < 1 << 20, "{held} bytes");
    }
    // Packed: 64 kilobytes that become 64 MiB, said to be more than any archive may hold, and to be 16 bytes.
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    (0..64).for_each(|_| packer.write_all(&vec![0; 1 << 20]).unwrap());
    let packed = packer.finish().unwrap();
    let bomb = archive(&tensor(4, 2), &packed);
    let entry = (0..bomb.len() - 4).filter(|i| bomb[*i..].starts_with(b"PK\x01\x02")).nth(2).unwrap();
    for (size, says) in [(u32::MAX - 1, "inflates to more"), (16, "another size")] {
        let mut bomb = bomb.clone();
        bomb[entry + 10] = 8;
        bomb[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        let (result, held) = peak(|| attempt(&bomb).map(|_| ()));
        names(&result.unwrap_err(), &[says]);
        assert!(held < 1 << 20, "{held} bytes");
    }
    // Without the values of the infinite and of no number.
    let nan: Vec<u8> = [1.0f32, f32::NAN, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    names(&attempt(&archive(&tensor(4, 2), &nan)).unwrap_err(), &["resid_post.0", "NaN"]);
}

#[test]
fn files_cut_anywhere_or_with_a_wrong_byte_never_end_the_program() {
    let mut tried = 0;
    for name in ["axis.pt", "capping_config.pt", "steering_vector.pt", "steering_vector_0.pkl", "steering_vector_4.pkl"]
        .into_iter()
        .chain(["persona_vectors_legacy.pt", "axis_numpy.pkl", "role.pt"])
    {
        let bytes = std::fs::read(fixture(name)).unwrap();
        assert!(Pickled::read(name, &bytes).is_ok(), "{name}");
        for end in 0..bytes.len() {
            assert!(Pickled::read(name, &bytes[..end]).is_err(), "{name} cut at {end}");
            tried += 1;
        }
        let mut wrong = bytes.clone();
        for at in 0..bytes.len() {
            for value in [0, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80] {
                wrong[at] = value;
                let (result, held) = peak(|| match Pickled::read(name, &wrong) {
                    Ok(p) => drop(p.root().get("axis").map(|v| v.values())),
                    Err(e) => drop(e.to_string()),
                });
                let () = result;
                assert!(held < 1 << 20, "{name}: byte {at} = {value} makes {held} bytes");
            }
            wrong[at] = bytes[at];
        }
    }
    assert!(tried > 10_000);
}

#[test]
fn other_files_with_a_wrong_byte_are_read_or_refused_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "nobody.gguf",
        "repeng.gguf",
        "arrays.npz",
        "arrays_compressed.npz",
        "arrays.safetensors",
        "activation_steering.svec",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let path = dir.path().join(name);
        let mut wrong = bytes.clone();
        // Some of them: each costs a file.
        for at in (0..bytes.len()).step_by(5) {
            let value = if at % 2 == 0 { 0xff } else { bytes[at] ^ 1 };
            wrong[at] = value;
            std::fs::write(&path, &wrong).unwrap();
            let (result, held) = peak(|| read(&path, None, ReadOptions::default()));
            if let Ok(file) = result {
                let finite = |v: &Vector| v.raw_norm.is_finite() && v.raw_norm > 0.0;
                assert!(!file.vectors.is_empty() && file.vectors.iter().all(finite), "{name}: byte {at} = {value}");
            }
            // Archives are read through a buffer of a megabyte.
            assert!(held < 3 << 20, "{name}: byte {at} = {value} makes {held} bytes");
            wrong[at] = bytes[at];
        }
    }
}

/// Writes a file and reads it back, with the warnings of writing.
fn through(dir: &Path, vectors: &[Vector], format: Format, options: &WriteOptions) -> (File, Vec<String>) {
    let (bytes, warnings) = write(vectors, format, options).unwrap_or_else(|e| panic!("{format:?}: {e}"));
    let path = dir.join(format!("{}.{}", format.name(), format.facts().extension));
    std::fs::write(&path, bytes).unwrap();
    let from = (format == Format::PersonaVectors).then_some(format);
    let file = read(&path, from, ReadOptions::default()).unwrap_or_else(|e| panic!("{format:?}: {e} ({})", e.hint()));
    assert_eq!(file.format, format);
    (file, warnings)
}

fn vectors(sites: &[Site], name: &str) -> Vec<Vector> {
    let about =
        About { positive: "evil".into(), negative: "good".into(), origin: "a contrast".into(), ..About::default() };
    let of = |(i, s): (usize, &Site)| {
        let raw: Vec<f64> = (0..7).map(|c| ((c * c + 3 * i) as f64).sin() * 10f64.powi(i as i32)).collect();
        Vector::new(*s, name, &raw, about.clone()).unwrap()
    };
    sites.iter().enumerate().map(of).collect()
}

fn same(format: Format, a: &Vector, b: &Vector) {
    assert_eq!(a.site, b.site, "{format:?}");
    let cosine: f64 = a.unit.iter().zip(&b.unit).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    assert!((cosine - 1.0).abs() < 1e-6 && (a.raw_norm / b.raw_norm - 1.0).abs() < 1e-6, "{format:?}: {cosine}");
}

#[test]
fn every_format_gives_back_what_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<Site> = (1..5).map(Site::post).collect();
    for n_layers in [None, Some(6)] {
        let given = vectors(&all, "");
        for format in Format::ALL {
            let options = WriteOptions { n_layers, ..WriteOptions::default() };
            let (file, warnings) = through(dir.path(), &given, format, &options);
            assert_eq!(file.vectors.len(), 4, "{format:?}: {warnings:?}");
            given.iter().zip(&file.vectors).for_each(|(a, b)| same(format, a, b));
            let kept = file.vectors[0].about.positive == "evil";
            assert_eq!(kept, format.facts().about, "{format:?}");
            assert_eq!(!kept, warnings.iter().any(|w| w.contains("`evil`")), "{format:?}: {warnings:?}");
            // Through a second format and back: all are as good as each other.
            let (again, _) = through(dir.path(), &file.vectors, Format::Npz, &options);
            given.iter().zip(&again.vectors).for_each(|(a, b)| same(format, a, b));
        }
    }
    let named = vectors(&all, "evil");
    for format in Format::ALL {
        let (file, warnings) = through(dir.path(), &named, format, &WriteOptions::default());
        let lost = !format.facts().names && format != Format::LlamacppGguf;
        assert!(file.vectors.iter().all(|v| v.name == if lost { "" } else { "evil" }), "{format:?}");
        assert_eq!(lost, warnings.iter().any(|w| w.contains("keeps no names")), "{format:?}: {warnings:?}");
    }
    let (one, two) = (
        write(&named, Format::AssistantAxis, &Default::default()),
        write(&named, Format::AssistantAxis, &Default::default()),
    );
    assert_eq!(one.unwrap(), two.unwrap(), "the same bytes");
}

#[test]
fn what_a_format_cannot_hold_is_left_out_with_a_warning_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sites =
        [Site::new(Point::ResidPre, 0), Site::post(0), Site::post(1), Site::new(Point::MlpOut, 1), Site::post(2)];
    let given = vectors(&sites, "");
    let options = WriteOptions { n_layers: Some(3), ..WriteOptions::default() };
    for (format, kept) in [
        (Format::LlamacppGguf, vec!["resid_post.1", "resid_post.2"]),
        // Of three blocks, hidden_states[3] is behind the norm.
        (Format::PersonaVectors, vec!["resid_pre.0", "resid_post.0", "resid_post.1"]),
        (Format::AssistantAxis, vec!["resid_post.0", "resid_post.1", "resid_post.2"]),
        (Format::SteeringVectors, vec!["resid_post.0", "resid_post.1", "resid_post.2"]),
        (Format::Npz, vec!["resid_pre.0", "resid_post.0", "mlp_out.1", "resid_post.1", "resid_post.2"]),
    ] {
        let (file, warnings) = through(dir.path(), &given, format, &options);
        let keys: Vec<String> = file.vectors.iter().map(Vector::key).collect();
        assert_eq!(keys, kept, "{format:?}");
        let lost = sites.iter().filter(|s| !kept.contains(&s.to_string().as_str()));
        for s in lost {
            assert!(
                warnings.iter().any(|w| w.starts_with(&format!("{s} (")) && w.contains("left out")),
                "{warnings:?}"
            );
        }
    }
    let first = vectors(&[Site::post(0)], "");
    let e = write(&first, Format::LlamacppGguf, &options).unwrap_err();
    names(&e, &["resid_post.0", "layer 0"]);
    // A SteeringVector as torch writes it.
    let (bytes, _) =
        write(&first, Format::SteeringVectors, &WriteOptions { torch: true, ..Default::default() }).unwrap();
    assert!(bytes.starts_with(b"PK"));
    let path = dir.path().join("sv.pt");
    std::fs::write(&path, bytes).unwrap();
    same(Format::SteeringVectors, &first[0], &read(&path, None, ReadOptions::default()).unwrap().vectors[0]);
    let both = [vectors(&[Site::post(1)], "evil"), vectors(&[Site::post(1)], "sad")].concat();
    let e = write(&both, Format::Svec, &options).unwrap_err();
    names(&e, &["resid_post.1/evil", "resid_post.1/sad"]);
    assert!(e.hint().contains("--name"));
    assert_eq!(through(dir.path(), &both, Format::Safetensors, &options).0.vectors.len(), 2);
    assert_eq!(through(dir.path(), &both, Format::CappingConfig, &options).0.vectors.len(), 2);
    // The last row comes back where it was, if it was asked for.
    let keep = ReadOptions { post_norm: true, ..ReadOptions::default() };
    let kept = read(&fixture("persona_vectors.pt"), Some(Format::PersonaVectors), keep).unwrap();
    let (bytes, _) = write(&kept.vectors, Format::PersonaVectors, &WriteOptions::default()).unwrap();
    let path = dir.path().join("again.pt");
    std::fs::write(&path, bytes).unwrap();
    let again = read(&path, Some(Format::PersonaVectors), keep).unwrap();
    assert_eq!(again.vectors.len(), 4);
    kept.vectors.iter().zip(&again.vectors).for_each(|(a, b)| same(Format::PersonaVectors, a, b));
}

/// A contrast at a block of the embedded model, through every format, applied at the site at which it comes back: the
/// projection rises there by the stated amount, and nowhere before.
#[test]
fn a_vector_taken_at_a_block_acts_at_that_block_after_every_format() {
    let model = model("toyworld");
    let (site, before) = (Site::post(1), Site::post(0));
    let prompts: Vec<Vec<u32>> = (0..6).map(|s| random_tokens(&model, 9 + s as usize, s)).collect();
    let rows = pack(&prompts, &[]);
    let (plain, _) = all_sites(&*model.lm, &rows, &[]);
    let width = model.lm.dims().d_model;
    let half = plain[&site].len() / 2;
    let mean = |rows: &[Vec<f32>]| -> Vec<f64> {
        (0..width).map(|c| rows.iter().map(|r| f64::from(r[c])).sum::<f64>() / rows.len() as f64).collect()
    };
    let (one, zero) = (mean(&plain[&site][..half]), mean(&plain[&site][half..]));
    let raw: Vec<f64> = one.iter().zip(&zero).map(|(a, b)| a - b).collect();
    let given = Vector::new(site, "", &raw, About { positive: "first half".into(), ..About::default() }).unwrap();
    let project = |rows: &[Vec<f32>]| -> Vec<f64> {
        let dot = |r: &Vec<f32>| r.iter().zip(&given.unit).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum();
        rows.iter().map(dot).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let amount = 3.5;
    let edits = vec![vec![0]; prompts.len()];
    let edited = pack(&prompts, &edits);
    for format in Format::ALL {
        for n_layers in [None, Some(model.lm.dims().n_layers)] {
            let options = WriteOptions { n_layers, ..WriteOptions::default() };
            let (file, _) = through(dir.path(), std::slice::from_ref(&given), format, &options);
            let v = file.at(None, None).unwrap();
            assert_eq!(v.site, site, "{format:?}");
            let edit = Along::new(v.site, &v.unit, Rewrite::Shift(amount), Positions::All).unwrap();
            let (steered, receipts) = all_sites(&*model.lm, &edited, &[&edit as &dyn Edit]);
            assert!(!receipts.is_empty(), "{format:?}");
            assert_eq!(common::bits(&steered[&before]), common::bits(&plain[&before]), "{format:?}: before it");
            for (a, b) in project(&plain[&site]).iter().zip(project(&steered[&site])) {
                assert!(((b - a) / amount - 1.0).abs() < 1e-3, "{format:?}: {a} to {b}");
            }
        }
    }
    // A file of cvector-generator is taken back by the one block that its numbers are ahead.
    let (bytes, _) = write(&[given], Format::LlamacppGguf, &WriteOptions::default()).unwrap();
    let path = dir.path().join("generator.gguf");
    std::fs::write(&path, bytes).unwrap();
    let options = ReadOptions { producer: Some(Producer::CvectorGenerator), ..ReadOptions::default() };
    assert_eq!(read(&path, None, options).unwrap().vectors[0].site, before);
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out =
        assert_cmd::Command::new(env!("CARGO_BIN_EXE_personascope")).current_dir(dir).args(args).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

#[test]
fn convert_writes_what_it_says_and_refuses_what_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let file = |name: &str| fixture(name).display().to_string();
    let (code, out, err) = run(
        d,
        &[
            "convert",
            &file("persona_vectors.pt"),
            "--from",
            "persona-vectors",
            "--to",
            "personascope",
            "--out",
            "v.safetensors",
        ],
    );
    assert!(code == 0 && out.is_empty(), "{err}");
    assert!(err.contains("warning: row 3 (hidden_states[3]) is after the final norm"), "{err}");
    let (code, _, err) = run(d, &["convert", "v.safetensors", "--to", "llamacpp-gguf", "--out", "v.gguf"]);
    assert!(code == 0 && err.contains("resid_post.0") && err.contains("left out"), "{err}");
    let back = read(&d.join("v.gguf"), None, ReadOptions::default()).unwrap();
    holds("gguf", &back, &[post(1, 2)]);
    assert_eq!((back.n_layers, back.warnings.len()), (Some(3), 0));
    // Of cvector-generator, to repeng's numbering: direction.2 becomes direction.1.
    let args = ["convert", &file("cvector_generator.gguf"), "--from", "llamacpp-gguf", "--to", "llamacpp-gguf"];
    let (code, _, err) = run(d, &[&args[..], &["--producer", "cvector-generator", "--out", "w.gguf"]].concat());
    assert!(code == 0, "{err}");
    holds("renumbered", &read(&d.join("w.gguf"), None, ReadOptions::default()).unwrap(), &[post(1, 1)]);
    let (code, _, err) = run(
        d,
        &[
            "convert",
            &file("roles.pt"),
            "--to",
            "svec",
            "--name",
            "ghost",
            "--sites",
            "resid_post.1..2",
            "--out",
            "g.svec",
        ],
    );
    assert!(code == 0, "{err}");
    holds("svec", &read(&d.join("g.svec"), None, ReadOptions::default()).unwrap(), &[post(1, 1), post(2, 2)]);

    // Who numbers so in what is written may be said, and cannot be chosen.
    let args = ["convert", "v.safetensors", "--to", "llamacpp-gguf", "--out", "again.gguf", "--producer"];
    assert_eq!(run(d, &[&args[..], &["repeng"]].concat()).0, 0);
    let (code, _, err) = run(d, &[&args[..], &["cvector-generator"]].concat());
    assert!(code == 2 && err.contains("repeng's numbering"), "{err}");

    let was = std::fs::read(d.join("v.safetensors")).unwrap();
    for (args, says) in [
        (vec!["convert", "v.safetensors", "--to", "npz", "--out", "./v.safetensors"], "the file that is read"),
        (vec!["convert", "v.safetensors", "--to", "npz", "--out", "."], "is a folder"),
        (
            vec!["convert", "v.safetensors", "--to", "npz", "--sites", "resid_post.2", "--out", "x.npz"],
            "no vector at resid_post.2",
        ),
        (vec!["convert", "v.safetensors", "--to", "npz", "--name", "sad", "--out", "x.npz"], "with the name `sad`"),
        (
            vec!["convert", "v.safetensors", "--to", "npz", "--producer", "repeng", "--out", "x.npz"],
            "no control vector",
        ),
        (vec!["convert", "v.safetensors", "--from", "svec", "--to", "npz", "--out", "x.npz"], "not JSON"),
        (
            vec!["convert", "v.safetensors", "--from", "persona-vectors", "--to", "npz", "--out", "x.npz"],
            "not a pickle",
        ),
        (vec!["convert", "none.pt", "--to", "npz", "--out", "x.npz"], "cannot read none.pt"),
        (vec!["convert", "v.safetensors", "--to", "gguf", "--out", "x.gguf"], "llamacpp-gguf"),
    ] {
        let (code, _, err) = run(d, &args);
        assert!(code == 2 && err.contains(says), "{args:?}: {err}");
    }
    assert_eq!(std::fs::read(d.join("v.safetensors")).unwrap(), was);
    assert!(!d.join("x.npz").exists());
    let (code, out, _) = run(d, &["convert", "--help"]);
    assert!(code == 0 && out.contains("Examples:") && Format::ALL.iter().all(|f| out.contains(f.name())), "{out}");
}

#[test]
fn inspect_says_in_words_what_a_row_is() {
    let dir = tempfile::tempdir().unwrap();
    let see = |args: &[&str]| {
        let (code, out, err) = run(dir.path(), &[&["inspect"], args].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        out + &err
    };
    let at = |name: &str| fixture(name).display().to_string();
    let out = see(&[&at("persona_vectors.pt"), "--from", "persona-vectors"]);
    assert!(out.contains("residual read by block 0 of 3 (HF hidden_states[0])"), "{out}");
    assert!(out.contains("residual after block 1 of 3 (HF hidden_states[2])"), "{out}");
    assert!(out.contains("warning: row 3 (hidden_states[3]) is after the final norm"), "{out}");
    let out = see(&[&at("repeng.gguf"), "--n-layers", "28"]);
    assert!(out.contains("residual after block 1 of 28") && out.contains("repeng: direction.l"), "{out}");
    let out = see(&[&at("cvector_generator.gguf")]);
    assert!(out.contains("residual after block 0 (HF hidden_states[1], unless it is the last block)"), "{out}");
    assert!(out.contains("one block later"), "{out}");
    let out = see(&[&at("capping_config.pt")]);
    assert!(out.contains("caps (ceilings)") && out.contains("layers_1:3-p0.25"), "{out}");
    assert!(see(&[&at("axis.pt")]).contains("larger means    the Assistant"));
    for name in ["arrays.npz", "arrays.safetensors", "steering_vector_4.pkl", "activation_steering.svec"] {
        assert!(see(&[&at(name)]).contains("residual after block 1"), "{name}");
    }
    let (code, _, err) = run(dir.path(), &["inspect", &at("sklearn.pkl")]);
    assert!(code == 2 && err.contains("sklearn.decomposition._pca.PCA"), "{err}");
}
