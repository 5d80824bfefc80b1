//! Projections of every token as it goes by.

use crate::axes::Site;
use crate::error::Result;
use crate::model::kernels::portable;
use crate::model::{At, Follow, Next, Tap};
use candle_core::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

/// What is read of every token: its projection on each of these unit vectors, `[d_model]`, at its site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub lines: Vec<(Site, Arc<[f32]>)>,
}

impl Reading {
    /// The projections of one row of `site`, each with the place of its line. Sums in f64.
    pub fn of_row<'a>(&'a self, site: Site, row: &'a [f32]) -> impl Iterator<Item = (usize, f64)> + 'a {
        let along = |unit: &[f32]| row.iter().zip(unit).map(|(x, u)| f64::from(*x) * f64::from(*u)).sum();
        let lines = self.lines.iter().enumerate().filter(move |(_, (s, _))| *s == site);
        lines.map(move |(k, (_, unit))| (k, along(unit)))
    }
}

/// The tap behind a batch: projections by start and position, as far as somebody asked for them.
#[derive(Default)]
pub struct Readings {
    by_index: HashMap<usize, Read>,
}

struct Read {
    reading: Arc<Reading>,
    /// `[position][line]`
    z: Vec<Vec<f64>>,
}

impl Readings {
    /// Reads a start from now on. It must be told before its prompt is.
    pub fn expect(&mut self, index: usize, reading: &Arc<Reading>) {
        if !reading.lines.is_empty() {
            self.by_index.insert(index, Read { reading: reading.clone(), z: vec![] });
        }
    }

    /// The projections of a start, `[position][line]`; nothing where none are read.
    pub fn of(&self, index: usize) -> &[Vec<f64>] {
        self.by_index.get(&index).map_or(&[], |r| &r.z)
    }

    /// Forgets what is behind so many rows of each start.
    pub fn only(&mut self, rows: impl Fn(usize) -> usize) {
        self.by_index.retain(|index, read| {
            let rows = rows(*index);
            read.z.truncate(rows);
            rows > 0
        });
    }
}

impl Tap for Readings {
    fn wants(&self, site: Site) -> bool {
        self.by_index.values().any(|r| r.reading.lines.iter().any(|(s, _)| *s == site))
    }

    fn see(&mut self, at: At, x: &Tensor) -> Result<Next> {
        let (_, width) = x.dims2()?;
        let x = portable::to_host(x)?;
        for example in at.rows.examples() {
            let Some(read) = self.by_index.get_mut(&example.index) else { continue };
            for row in example.rows.clone() {
                let pos = example.pos(row);
                if read.z.len() <= pos {
                    read.z.resize_with(pos + 1, || vec![0.0; read.reading.lines.len()]);
                }
                for (k, z) in read.reading.of_row(at.site, &x[row * width..(row + 1) * width]) {
                    read.z[pos][k] = z;
                }
            }
        }
        Ok(Next::Go)
    }
}

impl Follow for Readings {
    fn forked(&mut self, pairs: &[(usize, usize)]) {
        for (from, to) in pairs {
            let Some(z) = self.by_index.get(from).map(|r| r.z.clone()) else { continue };
            if let Some(read) = self.by_index.get_mut(to) {
                read.z = z;
            }
        }
    }

    /// Where all that is to be read of the new one was read of the old one.
    fn goes_on(&mut self, from: usize, to: usize, rows: usize) -> bool {
        let Some(new) = self.by_index.get(&to) else { return true };
        let Some(old) = self.by_index.get(&from).filter(|old| old.z.len() >= rows) else { return false };
        let place = |line| old.reading.lines.iter().position(|l| l == line);
        let Some(places) = new.reading.lines.iter().map(place).collect::<Option<Vec<usize>>>() else { return false };
        let z = old.z[..rows].iter().map(|z| places.iter().map(|k| z[*k]).collect()).collect();
        self.by_index.get_mut(&to).expect("just seen").z = z;
        true
    }
}
