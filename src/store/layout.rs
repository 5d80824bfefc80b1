//! Where every row of a capture lies: in which file, at which byte.

use super::manifest::{Stored, Width};
use crate::axes::Site;
use crate::error::{Error, Result};
use half::{bf16, f16};
use serde_json::{Map, Value, json};
use std::ops::Range;

/// What is written: a tensor `[row, width]` per site, rows in order, in files of a stated size.
#[derive(Clone, Debug)]
pub struct Layout {
    pub sites: Vec<Width>,
    pub dtype: Stored,
    /// Rows of each unit, in order.
    pub units: Vec<usize>,
    pub shard_bytes: u64,
}

/// The rows of one unit in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub unit: usize,
    pub file: usize,
    /// Its first row in the unit, and in the file.
    pub of_unit: usize,
    pub of_file: usize,
    pub rows: usize,
}

impl Layout {
    /// Bytes of one row at all sites.
    pub fn row_bytes(&self) -> u64 {
        self.sites.iter().map(|s| (s.width * self.dtype.size()) as u64).sum()
    }

    /// Rows of all units.
    pub fn rows(&self) -> usize {
        self.units.iter().sum()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.row_bytes() * self.rows() as u64
    }

    /// Rows of each file: as many as its size allows, and one at least.
    pub fn files(&self) -> Vec<usize> {
        let most = (self.shard_bytes / self.row_bytes().max(1)).max(1) as usize;
        let (mut left, mut files) = (self.rows(), Vec::new());
        while left > 0 {
            files.push(left.min(most));
            left -= left.min(most);
        }
        files
    }

    /// The units cut at the borders of the files, in order.
    pub fn pieces(&self) -> Vec<Piece> {
        let files = self.files();
        let (mut file, mut of_file, mut pieces) = (0, 0, Vec::with_capacity(self.units.len()));
        for (unit, &rows) in self.units.iter().enumerate() {
            let mut of_unit = 0;
            while of_unit < rows {
                let n = (rows - of_unit).min(files[file] - of_file);
                pieces.push(Piece { unit, file, of_unit, of_file, rows: n });
                (of_unit, of_file) = (of_unit + n, of_file + n);
                if of_file == files[file] {
                    (file, of_file) = (file + 1, 0);
                }
            }
        }
        pieces
    }
}

/// File names for files of rows: one file is simply `activations.safetensors`.
pub fn names(files: usize) -> Vec<String> {
    match files {
        0 => vec![],
        1 => vec!["activations.safetensors".into()],
        n => (0..n).map(|i| format!("activations-{i:05}.safetensors")).collect(),
    }
}

/// The head of a file of rows and the byte at which each site's tensor begins; the last number is the length of the file.
///
/// Safetensors: 8 bytes of length, then JSON padded with spaces to a multiple of 8.
pub fn head(sites: &[Width], dtype: Stored, rows: usize) -> (Vec<u8>, Vec<u64>) {
    let mut map = Map::new();
    let producer = concat!("personascope ", env!("CARGO_PKG_VERSION"));
    map.insert("__metadata__".into(), json!({ "format": "pt", "producer": producer }));
    let mut ends = vec![0usize];
    for Width { site, width } in sites {
        let at = ends[ends.len() - 1];
        let end = at + rows * width * dtype.size();
        let entry = json!({ "dtype": dtype.tag(), "shape": [rows, width], "data_offsets": [at, end] });
        map.insert(site.to_string(), entry);
        ends.push(end);
    }
    let mut text = Value::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text);
    let starts = ends.iter().map(|e| (head.len() + e) as u64).collect();
    (head, starts)
}

/// The rows of a unit as they stand in files.
pub struct Packed {
    /// By site, little endian.
    pub bytes: Vec<Vec<u8>>,
    /// A checksum for each piece of the unit.
    pub sums: Vec<u32>,
}

impl Packed {
    /// Rows that are packed already.
    pub fn new(layout: &Layout, pieces: &[Piece], bytes: Vec<Vec<u8>>) -> Packed {
        let of = |p: &Piece| sum(&layout.sites, layout.dtype, &bytes, p.of_unit..p.of_unit + p.rows);
        let sums = pieces.iter().map(of).collect();
        Packed { bytes, sums }
    }
}

/// Packs the rows of a unit, `[row, width]` at each site, which lie in these pieces.
///
/// # Errors
/// Values that are not finite, as they are or in the numbers they are to be kept in.
pub fn pack(sites: &[Width], dtype: Stored, pieces: &[Piece], kept: &[(Site, Vec<f32>)]) -> Result<Packed> {
    let rows: usize = pieces.iter().map(|p| p.rows).sum();
    let mut all = Vec::with_capacity(sites.len());
    for (Width { site, width }, (got, values)) in sites.iter().zip(kept) {
        assert!(site == got && values.len() == rows * width, "an outcome fits its plan");
        let count = values.iter().filter(|v| !v.is_finite()).count();
        if count > 0 {
            return Err(Error::NotFinite { place: format!("activations at {site}"), count });
        }
        let mut bytes = vec![0; values.len() * dtype.size()];
        match dtype {
            Stored::F32 => fill(&mut bytes, values, |v| v.to_le_bytes()),
            Stored::Bf16 => fill(&mut bytes, values, |v| bf16::from_f32(v).to_le_bytes()),
            Stored::F16 => {
                if let Some(v) = values.iter().find(|v| f16::from_f32(**v).is_infinite()) {
                    let what = format!("an activation at {site} is {v}, and f16 ends at 65504");
                    return Err(Error::refused(what, "keep rows in bf16 or f32"));
                }
                fill(&mut bytes, values, |v| f16::from_f32(v).to_le_bytes());
            }
        }
        all.push(bytes);
    }
    let sums = pieces.iter().map(|p| sum(sites, dtype, &all, p.of_unit..p.of_unit + p.rows)).collect();
    Ok(Packed { bytes: all, sums })
}

/// The checksum of some rows, over all sites.
pub fn sum(sites: &[Width], dtype: Stored, bytes: &[Vec<u8>], rows: Range<usize>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for (Width { width, .. }, bytes) in sites.iter().zip(bytes) {
        let row = width * dtype.size();
        crc.update(&bytes[rows.start * row..rows.end * row]);
    }
    crc.finalize()
}

fn fill<const N: usize>(bytes: &mut [u8], values: &[f32], to: impl Fn(f32) -> [u8; N]) {
    for (place, v) in bytes.chunks_exact_mut(N).zip(values) {
        place.copy_from_slice(&to(*v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn layout(units: &[usize], shard_bytes: u64) -> Layout {
        let sites = vec![Width { site: Site::post(0), width: 3 }, Width { site: Site::Logits, width: 2 }];
        Layout { sites, dtype: Stored::F32, units: units.to_vec(), shard_bytes }
    }

    #[test]
    fn units_are_cut_where_files_end() {
        // 5 values of 4 bytes a row: 65 bytes hold 3 rows, so 7 rows make files of 3, 3 and 1.
        let layout = layout(&[2, 0, 4, 1], 65);
        assert_eq!((layout.files(), layout.bytes()), (vec![3, 3, 1], 140));
        let got: Vec<_> = layout.pieces().iter().map(|p| (p.unit, p.file, p.of_unit, p.of_file, p.rows)).collect();
        assert_eq!(got, [(0, 0, 0, 0, 2), (2, 0, 0, 2, 1), (2, 1, 1, 0, 3), (3, 2, 0, 0, 1)]);
        assert!(super::tests::layout(&[], 65).pieces().is_empty());
        assert_eq!(super::tests::layout(&[5], 1).files(), [1; 5]);
    }

    #[test]
    fn a_head_is_that_of_a_safetensors_file_and_says_where_tensors_begin() {
        for dtype in [Stored::F32, Stored::F16, Stored::Bf16] {
            let layout = layout(&[4], 1 << 20);
            let (mut file, starts) = head(&layout.sites, dtype, 4);
            assert_eq!(starts[0], file.len() as u64);
            let (a, b) = (4 * 3 * dtype.size() as u64, 4 * 2 * dtype.size() as u64);
            assert_eq!(starts, [starts[0], starts[0] + a, starts[0] + a + b]);
            file.resize(starts[2] as usize, 7);
            let read = SafeTensors::deserialize(&file).unwrap();
            assert_eq!(read.tensor("logits").unwrap().shape(), [4, 2]);
            assert_eq!(read.tensor("resid_post.0").unwrap().data().len() as u64, a);
        }
    }

    #[test]
    fn rows_are_packed_as_they_are_read_and_what_does_not_fit_is_refused() {
        let layout = layout(&[2], 1 << 20);
        let kept = |v: f32| vec![(Site::post(0), vec![v, 1.0, 2.0, 3.0, 4.0, 5.0]), (Site::Logits, vec![0.5; 4])];
        let pack = |dtype, v| pack(&layout.sites, dtype, &layout.pieces(), &kept(v));
        let halves = pack(Stored::Bf16, 1.0e5).unwrap();
        assert_eq!(bf16::from_le_bytes([halves.bytes[0][0], halves.bytes[0][1]]), bf16::from_f32(1.0e5));
        assert!(pack(Stored::F16, 1.0e5).err().unwrap().to_string().contains("65504"));
        assert!(matches!(pack(Stored::F32, f32::NAN), Err(Error::NotFinite { count: 1, .. })));
        let (one, other) = (pack(Stored::F32, 1.0).unwrap(), pack(Stored::F32, -1.0).unwrap());
        assert!(one.sums != other.sums && one.sums.len() == 1);
    }
}
