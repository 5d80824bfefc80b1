//! Moments as bytes and back, to the bit: for what waits on a disk or comes from another process.
//!
//! Little-endian: the print of the shape, the number of groups, then each. No checksum; whoever stores them adds one.

use super::Running;
use super::full::panel_values;
use super::group::Group;
use super::projected::Projected;
use super::shape::Shape;
use super::site::{SiteMoments, Spread};
use super::twofold::Twofold;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

impl Running {
    /// All of it as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out).expect("a vector takes what is written");
        out
    }

    /// Writes the same bytes in parts.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.shape.print())?;
        whole(out, self.groups.len() as u64)?;
        for (index, group) in &self.groups {
            whole(out, u64::from(*index))?;
            write_group(out, group)?;
        }
        Ok(())
    }

    /// What was written; `None` for bytes that are damaged, too few or too many, or of another shape.
    pub fn from_bytes(shape: Arc<Shape>, bytes: &[u8]) -> Option<Running> {
        let mut from = From(bytes);
        if from.take(32)? != shape.print() {
            return None;
        }
        let mut groups = BTreeMap::new();
        for _ in 0..from.whole()? {
            let index = u32::try_from(from.whole()?).ok()?;
            let rising = groups.last_key_value().is_none_or(|(last, _)| *last < index);
            let group = read_group(&mut from, &shape)?;
            if !rising {
                return None;
            }
            groups.insert(index, group);
        }
        from.0.is_empty().then_some(Running { shape, groups })
    }
}

fn whole(out: &mut impl Write, n: u64) -> io::Result<()> {
    out.write_all(&n.to_le_bytes())
}

fn wide(out: &mut impl Write, values: &[f64]) -> io::Result<()> {
    in_blocks(out, values, |v| v.to_le_bytes())
}

/// Thousands at a time, for writers that have no buffer.
fn in_blocks<T: Copy, const N: usize>(out: &mut impl Write, values: &[T], of: impl Fn(T) -> [u8; N]) -> io::Result<()> {
    for block in values.chunks(4096) {
        let bytes: Vec<u8> = block.iter().flat_map(|v| of(*v)).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn sum(out: &mut impl Write, sum: Twofold) -> io::Result<()> {
    wide(out, &[sum.high, sum.low])
}

fn write_group(out: &mut impl Write, group: &Group) -> io::Result<()> {
    whole(out, group.count)?;
    sum(out, group.weight)?;
    sum(out, group.weight_squared)?;
    for site in &group.sites {
        for (high, low) in [(&site.mean, &site.mean_low), (&site.m2, &site.m2_low)] {
            wide(out, high)?;
            in_blocks(out, low, f32::to_le_bytes)?;
        }
        match &site.spread {
            Spread::None => {}
            Spread::Full(full) => {
                whole(out, full.rows.len() as u64)?;
                wide(out, &full.rows)?;
                whole(out, full.panels.len() as u64)?;
                wide(out, &full.panels)?;
            }
            Spread::Sketch(sketch) => {
                whole(out, sketch.rows.len() as u64)?;
                wide(out, &sketch.rows)?;
                wide(out, &[sketch.error])?;
            }
        }
    }
    for projected in &group.projections {
        whole(out, projected.count)?;
        sum(out, projected.mean)?;
        sum(out, projected.m2)?;
        wide(out, &[projected.min, projected.max])?;
        whole(out, projected.quantiles.zeros)?;
        for store in [&projected.quantiles.negative, &projected.quantiles.positive] {
            whole(out, store.len() as u64)?;
            for (bin, count) in store {
                out.write_all(&bin.to_le_bytes())?;
                whole(out, *count)?;
            }
        }
    }
    Ok(())
}

fn read_group(from: &mut From, shape: &Shape) -> Option<Group> {
    let (count, weight, weight_squared) = (from.whole()?, from.sum()?, from.sum()?);
    let mut group = Group { count, weight, weight_squared, sites: Vec::new(), projections: Vec::new() };
    if count == 0 || !(group.weight() > 0.0 && group.weight_squared() > 0.0) {
        return None;
    }
    for width in shape.widths() {
        let mut site = SiteMoments::new(*width, shape.scatter());
        (site.mean, site.mean_low) = (from.wide(*width)?, from.narrow(*width)?);
        (site.m2, site.m2_low) = (from.wide(*width)?, from.narrow(*width)?);
        match &mut site.spread {
            Spread::None => {}
            Spread::Full(full) => {
                full.rows = from.rows(*width)?;
                let values = usize::try_from(from.whole()?).ok()?;
                if values != 0 && values != panel_values(*width) {
                    return None;
                }
                full.panels = from.wide(values)?;
                if full.rows.len() >= full.most() * width {
                    return None;
                }
            }
            Spread::Sketch(sketch) => {
                sketch.rows = from.rows(*width)?;
                sketch.error = from.float()?;
                if sketch.rows.len() >= sketch.most() * width || sketch.error < 0.0 {
                    return None;
                }
            }
        }
        group.sites.push(site);
    }
    for along in shape.directions() {
        let mut projected = Projected::new(along.accuracy);
        projected.count = from.whole()?;
        (projected.mean, projected.m2) = (from.sum()?, from.sum()?);
        (projected.min, projected.max) = (from.float()?, from.float()?);
        projected.quantiles.zeros = from.whole()?;
        let mut left = count.checked_sub(projected.quantiles.zeros)?;
        projected.quantiles.negative = from.bins(&mut left)?;
        projected.quantiles.positive = from.bins(&mut left)?;
        if projected.count != count || left != 0 {
            return None;
        }
        group.projections.push(projected);
    }
    Some(group)
}

/// What is left to read.
struct From<'a>(&'a [u8]);

impl<'a> From<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn whole(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Finite numbers.
    fn wide(&mut self, n: usize) -> Option<Vec<f64>> {
        let bytes = self.take(n.checked_mul(8)?)?;
        let values: Vec<f64> =
            bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect();
        values.iter().all(|v| v.is_finite()).then_some(values)
    }

    fn narrow(&mut self, n: usize) -> Option<Vec<f32>> {
        let bytes = self.take(n.checked_mul(4)?)?;
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default())).collect();
        values.iter().all(|v| v.is_finite()).then_some(values)
    }

    fn float(&mut self) -> Option<f64> {
        self.wide(1).map(|v| v[0])
    }

    fn sum(&mut self) -> Option<Twofold> {
        self.wide(2).map(|v| Twofold { high: v[0], low: v[1] })
    }

    /// Rows of which the number of values stands before them.
    fn rows(&mut self, width: usize) -> Option<Vec<f64>> {
        let values = usize::try_from(self.whole()?).ok()?;
        if values % width == 0 { self.wide(values) } else { None }
    }

    /// Counts that come out of those that are `left`.
    fn bins(&mut self, left: &mut u64) -> Option<BTreeMap<i32, u64>> {
        let mut bins = BTreeMap::new();
        for _ in 0..self.whole()? {
            let bin = i32::from_le_bytes(self.take(4)?.try_into().ok()?);
            let count = self.whole()?;
            *left = left.checked_sub(count)?;
            if count == 0 || bins.last_key_value().is_some_and(|(last, _)| *last >= bin) {
                return None;
            }
            bins.insert(bin, count);
        }
        Some(bins)
    }
}
