//! Writing rows of all layers to disk against a plain sequential write of the same bytes, in turn on the same disk.
//!
//! `cargo bench --bench store [DIR] [MEGABYTES]`: the folder is made under DIR, the system's folder for temporary files unless
//! given. Arms: `plain` writes the bytes of the rows one after another and syncs; `writer` lays rows that are computed already
//! out by site, with checksum of every unit, journal, sync, BLAKE3 of every file and rename, as `capture` does; `checked
//! plain` is the plain write with a BLAKE3 of its bytes on the way, which is what any writer with checksums pays.

use personascope::axes::Site;
use personascope::store::disk::Real;
use personascope::store::manifest::{Stored, Width};
use personascope::store::{Layout, RowWriter, pack};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 5;
/// A model of 12 layers of 768, units of 2,048 tokens.
const SITES: usize = 12;
const WIDTH: usize = 768;
const UNIT: usize = 2048;

/// Writes all rows into a folder.
type Arm<'a> = &'a dyn Fn(&Path) -> Done<()>;

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let parent = args.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let megabytes: usize = args.get(1).map_or(Ok(1024), |m| m.parse())?;
    let sites: Vec<Width> = (0..SITES).map(|l| Width { site: Site::post(l), width: WIDTH }).collect();
    let units = (megabytes << 20).div_ceil(UNIT * SITES * WIDTH * 4);
    let layout = Layout { sites, dtype: Stored::F32, units: vec![UNIT; units], shard_bytes: 256 << 20 };
    let kept: Vec<(Site, Vec<f32>)> =
        layout.sites.iter().map(|s| (s.site, (0..UNIT * WIDTH).map(|i| (i % 1013) as f32).collect())).collect();
    println!("{} bytes, {units} units of {UNIT} rows at {SITES} sites of {WIDTH}", layout.bytes());

    let arms: [(&str, Arm); 3] = [
        ("plain", &|dir| plain(dir, &layout, &kept, false)),
        ("checked plain", &|dir| plain(dir, &layout, &kept, true)),
        ("writer", &|dir| writer(dir, &layout, &kept)),
    ];
    let mut seconds = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for ((_, arm), seconds) in arms.iter().zip(&mut seconds) {
            let dir = tempfile::tempdir_in(&parent)?;
            let began = Instant::now();
            arm(dir.path())?;
            if round > 0 {
                seconds.push(began.elapsed().as_secs_f64());
            }
        }
    }
    let mut first = None;
    println!("{:<16}{:>12}{:>12}{:>12}", "MB/s", "median", "best", "of plain");
    for ((name, _), seconds) in arms.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        let rate = |s: f64| layout.bytes() as f64 / 1e6 / s;
        let (median, best) = (rate(seconds[ROUNDS / 2]), rate(seconds[0]));
        println!("{name:<16}{median:>12.0}{best:>12.0}{:>11.0}%", 100.0 * median / *first.get_or_insert(median));
    }
    Ok(())
}

fn plain(dir: &Path, layout: &Layout, kept: &[(Site, Vec<f32>)], checked: bool) -> Done<()> {
    let mut file = std::fs::File::create(dir.join("plain"))?;
    let mut hash = blake3::Hasher::new();
    let mut bytes = vec![0; UNIT * WIDTH * 4];
    for _ in &layout.units {
        for (_, values) in kept {
            bytes.chunks_exact_mut(4).zip(values).for_each(|(b, v)| b.copy_from_slice(&v.to_le_bytes()));
            if checked {
                hash.update(&bytes);
            }
            file.write_all(&bytes)?;
        }
    }
    file.sync_all()?;
    std::hint::black_box(hash.finalize());
    Ok(())
}

fn writer(dir: &Path, layout: &Layout, kept: &[(Site, Vec<f32>)]) -> Done<()> {
    let (mut writer, _) = RowWriter::open(Arc::new(Real), dir, layout.clone(), "bench", &[])?;
    for unit in 0..layout.units.len() {
        let packed = pack(&layout.sites, layout.dtype, writer.pieces(unit), kept)?;
        writer.put(unit, &packed)?;
    }
    let rows: usize = writer.finish()?.iter().map(|f| f.rows).sum();
    if rows == layout.rows() { Ok(()) } else { Err("rows are missing".into()) }
}
