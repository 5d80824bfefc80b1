//! Rows and means of rows, taken where the rows are.

use candle_core::{DType, DeviceLocation, Result, Tensor};

/// Rows that give one row: their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub first: usize,
    pub len: usize,
}

/// How the rows of a pass become those that are kept; made once for all sites of a pass.
pub struct Pooling {
    segments: Vec<Segment>,
    location: DeviceLocation,
    how: How,
}

enum How {
    /// All rows, as they stand.
    All,
    /// Single rows, kept in the dtype of the stream.
    Rows(Tensor),
    /// Products with `[segment, row]` matrices over runs of rows, in f32.
    Means(Vec<Block>),
}

struct Block {
    first: usize,
    matrix: Tensor,
}

/// Numbers that one matrix may have: segments are few and far apart, and most of it is zeros.
const BLOCK: usize = 1 << 21;

impl Pooling {
    /// The rows and means of these segments of rows such as `x [row, width]`.
    pub fn new(segments: Vec<Segment>, x: &Tensor) -> Result<Pooling> {
        let device = x.device();
        let singles = segments.iter().all(|s| s.len == 1);
        let how = if singles && segments.len() == x.dim(0)? && segments.iter().enumerate().all(|(i, s)| s.first == i) {
            How::All
        } else if singles {
            let rows: Vec<u32> = segments.iter().map(|s| s.first as u32).collect();
            How::Rows(Tensor::from_vec(rows, segments.len(), device)?)
        } else {
            let block = |part: &[Segment]| {
                let (first, end) = hull(part);
                let mut matrix = vec![0.0f32; part.len() * (end - first)];
                for (row, s) in matrix.chunks_exact_mut(end - first).zip(part) {
                    row[s.first - first..][..s.len].fill(1.0 / s.len as f32);
                }
                Ok(Block { first, matrix: Tensor::from_vec(matrix, (part.len(), end - first), device)? })
            };
            How::Means(parts(&segments).into_iter().map(block).collect::<Result<_>>()?)
        };
        Ok(Pooling { segments, location: device.location(), how })
    }

    /// Whether it is of these segments, and of rows where `x` is.
    pub fn is_of(&self, segments: &[Segment], x: &Tensor) -> bool {
        self.segments == segments && self.location == x.device().location()
    }

    /// The kept rows of `x [row, width]`, `[segment, width]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match &self.how {
            How::All => Ok(x.clone()),
            How::Rows(rows) => x.contiguous()?.index_select(rows, 0),
            How::Means(blocks) => {
                let mean = |b: &Block| {
                    b.matrix.matmul(&x.narrow(0, b.first, b.matrix.dim(1)?)?.to_dtype(DType::F32)?.contiguous()?)
                };
                let means = blocks.iter().map(mean).collect::<Result<Vec<_>>>()?;
                if let [one] = &means[..] { Ok(one.clone()) } else { Tensor::cat(&means, 0) }
            }
        }
    }
}

/// The rows from the first to behind the last of some segments.
fn hull(segments: &[Segment]) -> (usize, usize) {
    segments.iter().fold((usize::MAX, 0), |(from, end), s| (from.min(s.first), end.max(s.first + s.len)))
}

/// Runs of segments whose matrices are small enough, or of one segment.
fn parts(segments: &[Segment]) -> Vec<&[Segment]> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for i in 1..=segments.len() {
        let full = i < segments.len() && {
            let (first, end) = hull(&segments[from..=i]);
            (end - first) * (i + 1 - from) > BLOCK
        };
        if full || i == segments.len() {
            parts.push(&segments[from..i]);
            from = i;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rows_and_means_are_those_of_the_definition() {
        // Row i is (i, 10 i).
        let x = Tensor::from_vec((0..6).flat_map(|i| [i as f32, 10.0 * i as f32]).collect(), (6, 2), &Device::Cpu);
        let x = x.unwrap();
        let kept = |segments: &[(usize, usize)]| {
            let segments = segments.iter().map(|&(first, len)| Segment { first, len }).collect();
            Pooling::new(segments, &x).unwrap().apply(&x).unwrap().to_vec2::<f32>().unwrap()
        };
        assert_eq!(kept(&[(4, 1), (0, 1)]), [[4.0, 40.0], [0.0, 0.0]]);
        assert_eq!(kept(&[(1, 4), (5, 1)]), [[2.5, 25.0], [5.0, 50.0]]);
        let all: Vec<(usize, usize)> = (0..6).map(|i| (i, 1)).collect();
        assert_eq!(kept(&all), x.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn a_matrix_is_cut_before_it_is_too_large() {
        let segments: Vec<Segment> = (0..3000).map(|i| Segment { first: 2 * i, len: 2 }).collect();
        let cut = parts(&segments);
        // n segments of 2 rows make n * 2 n numbers: 1024 of them fill 2^21.
        assert_eq!(cut.iter().map(|p| p.len()).collect::<Vec<_>>(), [1024, 1024, 952]);
        assert_eq!(cut.concat(), segments);
        let long = [Segment { first: 0, len: 5 << 20 }, Segment { first: 5, len: 1 }];
        assert_eq!(parts(&long).len(), 2);
    }
}
