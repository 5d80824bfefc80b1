//! Moments of a plan's rows while its units come in: taken by workers, merged in the order of the units, kept over
//! interruptions.

use crate::axes::Site;
use crate::capture::Grouping;
use crate::error::{Error, Result};
use crate::moments::{Running, Shape};
use crate::store::write_atomic;
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sums over blocks of units.
pub struct Sums {
    shape: Arc<Shape>,
    /// The blocks that are ours with their numbers, in order.
    blocks: Vec<(usize, Range<usize>)>,
    /// Where finished blocks go one by one; `None` where they are merged into one.
    apart: Option<PathBuf>,
    /// Where what is unfinished waits.
    waiting: PathBuf,
    plan: String,
    at: At,
    saved: Instant,
    /// How long the last save took.
    cost: Duration,
}

/// How far the sums are.
struct At {
    /// Blocks that are done, and units that are in the next one.
    blocks: usize,
    units: usize,
    block: Running,
    /// Of the finished blocks, where they are merged.
    total: Running,
}

/// Sums that wait are saved no more often than this, and no more often than costs a twentieth of the time.
const SAVED_EVERY: Duration = Duration::from_secs(10);

impl Sums {
    /// Begins, or goes on where `unfinished` says that it was.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn open(
        shape: Arc<Shape>,
        blocks: Vec<(usize, Range<usize>)>,
        apart: Option<PathBuf>,
        unfinished: &Path,
        plan: &str,
    ) -> Result<Sums> {
        let nothing = || Running::new(shape.clone());
        let at = At { blocks: 0, units: 0, block: nothing(), total: nothing() };
        let mut sums = Sums {
            blocks,
            apart,
            waiting: unfinished.join("sums"),
            plan: plan.into(),
            at,
            saved: Instant::now(),
            cost: Duration::ZERO,
            shape,
        };
        if let Some(at) = sums.waited()? {
            sums.at = at;
        }
        if let Some(apart) = &sums.apart {
            // Blocks that were finished are files of their own; what waits belongs to the one behind them.
            let mut done = 0;
            while done < sums.blocks.len() && read_block(apart, sums.blocks[done].0, &sums.shape)?.is_some() {
                done += 1;
            }
            if done != sums.at.blocks {
                (sums.at.blocks, sums.at.units, sums.at.block) = (done, 0, Running::new(sums.shape.clone()));
            }
        }
        Ok(sums)
    }

    /// Whether a unit is still to be summed.
    pub fn lacks(&self, unit: usize) -> bool {
        let place = self.blocks.partition_point(|(_, units)| units.end <= unit);
        place > self.at.blocks || (place == self.at.blocks && unit >= self.next())
    }

    /// The next unit.
    fn next(&self) -> usize {
        self.blocks.get(self.at.blocks).map_or(usize::MAX, |(_, units)| units.start + self.at.units)
    }

    /// Takes a unit in; units come in order.
    ///
    /// # Errors
    /// Sums that cannot be saved.
    pub fn take(&mut self, unit: usize, part: &Running) -> Result<()> {
        assert!(unit == self.next(), "units come in order");
        self.at.block.merge(part);
        self.at.units += 1;
        let (number, units) = &self.blocks[self.at.blocks];
        if self.at.units == units.len() {
            let block = std::mem::replace(&mut self.at.block, Running::new(self.shape.clone()));
            match &self.apart {
                Some(apart) => write_summed(&apart.join(block_name(*number)), &block.to_bytes())?,
                None => self.at.total.merge(&block),
            }
            (self.at.blocks, self.at.units) = (self.at.blocks + 1, 0);
        }
        if self.saved.elapsed() > SAVED_EVERY.max(20 * self.cost) {
            self.save()?;
        }
        Ok(())
    }

    /// Saves what is unfinished.
    ///
    /// # Errors
    /// Names the file.
    pub fn save(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut bytes = Vec::new();
        let block = self.at.block.to_bytes();
        for n in [self.at.blocks, self.at.units, self.plan.len(), block.len()] {
            bytes.extend((n as u64).to_le_bytes());
        }
        bytes.extend(self.plan.as_bytes());
        bytes.extend(block);
        bytes.extend(self.at.total.to_bytes());
        write_summed(&self.waiting, &bytes)?;
        (self.saved, self.cost) = (Instant::now(), began.elapsed());
        Ok(())
    }

    /// The sums of everything, where blocks were merged.
    pub fn total(&self) -> &Running {
        &self.at.total
    }

    /// The files of the blocks, where they are apart.
    pub fn files(&self) -> Vec<String> {
        self.blocks.iter().map(|(number, _)| block_name(*number)).collect()
    }

    /// What was saved of the same plan.
    fn waited(&self) -> Result<Option<At>> {
        let Some(bytes) = read_summed(&self.waiting)? else { return Ok(None) };
        let number = |i: usize| {
            let at = bytes.get(8 * i..8 * i + 8)?;
            usize::try_from(u64::from_le_bytes(at.try_into().ok()?)).ok()
        };
        let parse = || {
            let (blocks, units, plan, block) = (number(0)?, number(1)?, number(2)?, number(3)?);
            let (plan, rest) = bytes.get(32..)?.split_at_checked(plan)?;
            let (block, total) = rest.split_at_checked(block)?;
            let running = |bytes| Running::from_bytes(self.shape.clone(), bytes);
            let at = At { blocks, units, block: running(block)?, total: running(total)? };
            (plan == self.plan.as_bytes() && blocks <= self.blocks.len()).then_some(at)
        };
        Ok(parse())
    }
}

/// The sums of rows `first..first + rows`, `[row, width]` at each site.
pub fn part(shape: &Arc<Shape>, grouping: &Grouping, first: usize, rows: usize, kept: &[(Site, Vec<f32>)]) -> Running {
    let mut part = Running::new(shape.clone());
    for row in 0..rows {
        let at: Vec<&[f32]> =
            kept.iter().map(|(_, v)| &v[row * (v.len() / rows)..(row + 1) * (v.len() / rows)]).collect();
        grouping.of(first + row).for_each(|(group, weight)| part.push(group, weight, &at));
    }
    part
}

/// What the names of blocks begin with.
pub const BLOCK: &str = "sums-";

fn block_name(number: usize) -> String {
    format!("{BLOCK}{number:05}.block")
}

/// The sums of a block that is kept apart; `None` if it is not there or damaged.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn read_block(dir: &Path, number: usize, shape: &Arc<Shape>) -> Result<Option<Running>> {
    let bytes = read_summed(&dir.join(block_name(number)))?;
    Ok(bytes.and_then(|b| Running::from_bytes(shape.clone(), &b)))
}

/// Bytes of the checksum in front.
const SUM: usize = 32;

fn write_summed(path: &Path, body: &[u8]) -> Result<()> {
    let mut bytes = Sha256::digest(body).to_vec();
    bytes.extend(body);
    write_atomic(path, &bytes, true)
}

fn read_summed(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let whole = bytes.len() >= SUM && Sha256::digest(&bytes[SUM..])[..] == bytes[..SUM];
    Ok(whole.then(|| bytes.split_off(SUM)))
}
