//! The tap that keeps rows, or means of rows, at chosen sites.

use crate::axes::{Dims, Site};
use crate::error::Result;
use crate::model::{At, Next, Tap};
use candle_core::{DType, Tensor};
use std::ops::Range;

/// Keeps one output row per range of positions; a range of several positions is averaged (sums in f64).
pub struct Collect<'a> {
    sites: &'a [Site],
    /// Ranges of absolute positions, by example of the pass.
    ranges: Vec<&'a [Range<usize>]>,
    /// What was kept, by site, rows in the order of examples and ranges.
    pub kept: Vec<(Site, Vec<f32>)>,
}

impl<'a> Collect<'a> {
    /// A tap on `sites` for examples with the given ranges, in the order of the pass.
    pub fn new(sites: &'a [Site], ranges: Vec<&'a [Range<usize>]>, dims: &Dims) -> Collect<'a> {
        let rows: usize = ranges.iter().map(|r| r.len()).sum();
        let kept = sites.iter().map(|s| (*s, Vec::with_capacity(rows * dims.width(*s)))).collect();
        Collect { sites, ranges, kept }
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
        let x = x.to_dtype(DType::F32)?.contiguous()?;
        let (_, width) = x.dims2()?;
        let (storage, layout) = x.storage_and_layout();
        let candle_core::Storage::Cpu(cpu) = &*storage else {
            return Err(candle_core::Error::Msg("captured rows must be on the CPU".into()).bt().into());
        };
        let x = &cpu.as_slice::<f32>()?[layout.start_offset()..];
        let place = self.sites.iter().position(|s| *s == at.site).expect("only wanted sites are shown");
        let kept = &mut self.kept[place].1;
        let mut sum = vec![0.0f64; width];
        for (example, ranges) in at.rows.examples().iter().zip(&self.ranges) {
            for range in ranges.iter() {
                let first = example.rows.start + range.start - example.first_pos;
                let rows = &x[first * width..(first + range.len()) * width];
                if range.len() == 1 {
                    kept.extend_from_slice(rows);
                    continue;
                }
                sum.fill(0.0);
                for row in rows.chunks_exact(width) {
                    sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                }
                kept.extend(sum.iter().map(|s| (s / range.len() as f64) as f32));
            }
        }
        let last = self.kept.iter().all(|(_, rows)| !rows.is_empty() || self.ranges.iter().all(|r| r.is_empty()));
        Ok(if last { Next::Stop } else { Next::Go })
    }
}
