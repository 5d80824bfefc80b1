//! The tap that keeps rows, or means of rows, at chosen sites.

use super::pooling::{Pooling, Segment};
use crate::axes::{Dims, Site};
use crate::error::Result;
use crate::model::kernels::portable;
use crate::model::{At, Next, Tap};
use candle_core::{DType, Tensor};
use std::ops::Range;

/// Bytes that may wait on a device before they are brought to the host in the middle of a pass.
const WAITING_BYTES: usize = 1 << 30;

/// Keeps one output row per range of positions; a range of several positions is averaged (sums in f64; on a device the
/// average is taken there, in f32).
pub struct Collect<'a> {
    sites: &'a [Site],
    /// Ranges of absolute positions, by example of the pass.
    ranges: Vec<&'a [Range<usize>]>,
    /// What was kept, by site, rows in the order of examples and ranges.
    kept: Vec<(Site, Vec<f32>)>,
    seen: Vec<bool>,
    /// What is kept, by the place of its site, but still on a device: looking at it at once would make the device wait
    /// for the host in every layer.
    waiting: Vec<(usize, Tensor)>,
    pooling: Option<Pooling>,
}

impl<'a> Collect<'a> {
    /// A tap on `sites` for examples with the given ranges, in the order of the pass.
    pub fn new(sites: &'a [Site], ranges: Vec<&'a [Range<usize>]>, dims: &Dims) -> Collect<'a> {
        let rows: usize = ranges.iter().map(|r| r.len()).sum();
        let kept = sites.iter().map(|s| (*s, Vec::with_capacity(rows * dims.width(*s)))).collect();
        Collect { sites, ranges, kept, seen: vec![false; sites.len()], waiting: Vec::new(), pooling: None }
    }

    /// What was kept, by site, rows in the order of examples and ranges.
    pub fn into_kept(mut self) -> Result<Vec<(Site, Vec<f32>)>> {
        self.bring()?;
        Ok(self.kept)
    }

    fn bring(&mut self) -> Result<()> {
        for (place, rows) in std::mem::take(&mut self.waiting) {
            self.kept[place].1 = portable::to_host(&rows)?;
        }
        Ok(())
    }

    /// Where the rows of each range are in the pass.
    fn segments(&self, at: At) -> Vec<Segment> {
        let of_example = |(example, ranges): (&crate::model::Example, &&[Range<usize>])| {
            let first = example.rows.start as isize - example.first_pos as isize;
            let of = move |r: &Range<usize>| Segment { first: r.start.wrapping_add_signed(first), len: r.len() };
            ranges.iter().map(of).collect::<Vec<_>>()
        };
        at.rows.examples().iter().zip(&self.ranges).flat_map(of_example).collect()
    }
}

impl Tap for Collect<'_> {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains(&site)
    }

    fn reads(&self, example: usize) -> Option<Range<usize>> {
        let ranges = self.ranges.get(example)?;
        let start = ranges.iter().map(|r| r.start).min().unwrap_or(0);
        Some(start..ranges.iter().map(|r| r.end).max().unwrap_or(start))
    }

    fn see(&mut self, at: At, x: &Tensor) -> Result<Next> {
        let place = self.sites.iter().position(|s| *s == at.site).expect("only wanted sites are shown");
        let segments = self.segments(at);
        if portable::applies(x) {
            let pooling = match &mut self.pooling {
                Some(pooling) if pooling.is_of(&segments, x) => pooling,
                other => other.insert(Pooling::new(segments, x)?),
            };
            self.waiting.push((place, pooling.apply(x)?));
            let bytes = |(_, t): &(usize, Tensor)| t.elem_count() * t.dtype().size_in_bytes();
            if self.waiting.iter().map(bytes).sum::<usize>() > WAITING_BYTES {
                self.bring()?;
            }
        } else {
            keep(&mut self.kept[place].1, &segments, x)?;
        }
        self.seen[place] = true;
        Ok(if self.seen.iter().all(|s| *s) { Next::Stop } else { Next::Go })
    }
}

/// Appends the segments of `x [row, width]`, which is on the host.
fn keep(kept: &mut Vec<f32>, segments: &[Segment], x: &Tensor) -> Result<()> {
    let x = x.to_dtype(DType::F32)?.contiguous()?;
    let (_, width) = x.dims2()?;
    let (storage, layout) = x.storage_and_layout();
    let candle_core::Storage::Cpu(cpu) = &*storage else {
        return Err(candle_core::Error::Msg("captured rows must be on the CPU".into()).bt().into());
    };
    let x = &cpu.as_slice::<f32>()?[layout.start_offset()..];
    let mut sum = vec![0.0f64; width];
    for segment in segments {
        let rows = &x[segment.first * width..(segment.first + segment.len) * width];
        if segment.len == 1 {
            kept.extend_from_slice(rows);
            continue;
        }
        sum.fill(0.0);
        for row in rows.chunks_exact(width) {
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
        }
        kept.extend(sum.iter().map(|s| (s / segment.len as f64) as f32));
    }
    Ok(())
}
