//! Moments that were written, read back.

use super::tables::BEHIND;
use super::{GROUPS, MOMENTS};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::store::manifest::Width;
use ndarray::{Array1, Array2};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The moments in a folder. Tensors are read when they are asked for.
#[derive(Debug)]
pub struct Moments {
    pub sites: Vec<Width>,
    /// Names of the columns that groups are told apart by.
    pub columns: Vec<String>,
    /// All groups that were asked for, in order.
    pub groups: Vec<GroupRow>,
    path: PathBuf,
    head: Metadata,
    /// Where the numbers begin.
    start: u64,
}

/// A line of `groups.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRow {
    /// One for each of the columns.
    pub values: Vec<String>,
    /// Which rows were taken: `all`, or `filtered`.
    pub variant: String,
    pub count: u64,
    pub weight: f64,
    /// Its row in the tensors.
    pub row: Option<usize>,
    /// Why it has none.
    pub reason: String,
}

impl Moments {
    /// Opens the moments of a folder.
    ///
    /// # Errors
    /// Files that are missing, damaged or do not belong together.
    pub fn read(dir: &Path) -> Result<Moments> {
        let path = dir.join(MOMENTS);
        let (head, start) = head(&path)?;
        let names = head.offset_keys();
        let mut sites = Vec::new();
        for name in names.iter().filter_map(|n| n.strip_prefix("mean/")) {
            let site: Site = name.parse()?;
            let shape = &head.info(&format!("mean/{name}")).map_or(vec![], |t| t.shape.clone());
            let [_, width] = shape[..] else { return Err(damaged(&path, format!("`mean/{name}` is no matrix"))) };
            sites.push(Width { site, width });
        }
        let table = dir.join(GROUPS);
        let text = std::fs::read_to_string(&table).map_err(|e| Error::io("read", &table, e))?;
        let (columns, groups) = groups(&text).map_err(|reason| damaged(&table, reason))?;
        let moments = Moments { sites, columns, groups, path, head, start };
        let (in_tensors, in_table) = (moments.vector("count")?.len(), moments.groups.iter().filter_map(|g| g.row));
        if !in_table.eq(0..in_tensors) {
            let reason = format!("its groups are not the {in_tensors} of {MOMENTS}");
            return Err(damaged(&table, reason));
        }
        Ok(moments)
    }

    /// `[row, width]`: the weighted means.
    ///
    /// # Errors
    /// A site that is not there; a file that cannot be read.
    pub fn mean(&self, site: Site) -> Result<Array2<f64>> {
        self.matrix("mean", site)
    }

    /// `[row, width]`: sums of `weight (x - mean)^2`.
    ///
    /// # Errors
    /// A site that is not there; a file that cannot be read.
    pub fn m2(&self, site: Site) -> Result<Array2<f64>> {
        self.matrix("m2", site)
    }

    /// `[row]`: what M2 and scatter matrices are divided by for the variance; 0 for groups of a single row.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn degrees(&self) -> Result<Array1<f64>> {
        let (weight, squared) = (self.vector("weight")?, self.vector("weight_squared")?);
        Ok(&weight - &(&squared / &weight))
    }

    /// `[row, width]`: the variance without bias; not a number for groups of a single row.
    ///
    /// # Errors
    /// A site that is not there; a file that cannot be read.
    pub fn variance(&self, site: Site) -> Result<Array2<f64>> {
        let degrees = self.degrees()?;
        Ok(self.m2(site)? / degrees.insert_axis(ndarray::Axis(1)))
    }

    /// `[width, width]`: the scatter matrix of the group at a row of the tensors; `None` where none was kept.
    ///
    /// # Errors
    /// A site or row that is not there; a file that cannot be read.
    pub fn scatter(&self, site: Site, row: usize) -> Result<Option<Array2<f64>>> {
        self.width(site)?;
        self.one_of(&format!("scatter/{site}"), row)
    }

    /// `[l, width]` and the bound of its error: the sketch of the scatter matrix of the group at a row of the tensors;
    /// `None` where none was kept.
    ///
    /// # Errors
    /// A site or row that is not there; a file that cannot be read.
    pub fn sketch(&self, site: Site, row: usize) -> Result<Option<(Array2<f64>, f64)>> {
        self.width(site)?;
        let Some(sketch) = self.one_of(&format!("sketch/{site}"), row)? else { return Ok(None) };
        let errors = self.vector(&format!("sketch_error/{site}"))?;
        Ok(errors.get(row).map(|e| (sketch, *e)))
    }

    fn width(&self, site: Site) -> Result<usize> {
        self.sites.iter().find(|w| w.site == site).map(|w| w.width).ok_or_else(|| {
            let exist: Vec<String> = self.sites.iter().map(|w| w.site.to_string()).collect();
            Error::Site { asked: site.to_string(), exist: exist.join(", ") }
        })
    }

    fn matrix(&self, what: &str, site: Site) -> Result<Array2<f64>> {
        let (name, width) = (format!("{what}/{site}"), self.width(site)?);
        let values = self.numbers(self.info(&name)?, None)?;
        let rows = values.len() / width.max(1);
        Array2::from_shape_vec((rows, width), values).map_err(|_| damaged(&self.path, format!("the shape of `{name}`")))
    }

    fn vector(&self, name: &str) -> Result<Array1<f64>> {
        Ok(self.numbers(self.info(name)?, None)?.into())
    }

    /// The matrix at a row of a tensor of three dimensions.
    fn one_of(&self, name: &str, row: usize) -> Result<Option<Array2<f64>>> {
        let Some(info) = self.head.info(name) else { return Ok(None) };
        let [rows, lines, width] = info.shape[..] else {
            return Err(damaged(&self.path, format!("`{name}` has not three dimensions")));
        };
        if row >= rows {
            let hint = format!("rows are those of the column `group` in {GROUPS}");
            return Err(Error::refused(format!("row {row} of `{name}`, which has {rows}"), hint));
        }
        let values = self.numbers(info, Some((row, lines * width)))?;
        Ok(Array2::from_shape_vec((lines, width), values).ok())
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.head.info(name).ok_or_else(|| Error::MissingTensor {
            place: self.path.display().to_string(),
            name: name.into(),
            have: self.head.offset_keys().join(", "),
        })
    }

    /// The numbers of a tensor, or the n-th block of some length of them.
    fn numbers(&self, info: &TensorInfo, block: Option<(usize, usize)>) -> Result<Vec<f64>> {
        let (from, end) = info.data_offsets;
        let (from, length) = block.map_or((from, end - from), |(n, values)| (from + 8 * n * values, 8 * values));
        let mut bytes = vec![0; length];
        let mut read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.start + from as u64))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(|e| Error::io("read", &self.path, e))?;
        let number = |b: [u8; 8]| match info.dtype {
            Dtype::I64 => i64::from_le_bytes(b) as f64,
            _ => f64::from_le_bytes(b),
        };
        Ok(bytes.as_chunks::<8>().0.iter().map(|b| number(*b)).collect())
    }
}

/// The header of the file, and where what it describes begins.
fn head(path: &Path) -> Result<(Metadata, u64)> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
    let mut bytes = vec![0; 8];
    let short = || damaged(path, "it ends before its numbers do".into());
    file.read_exact(&mut bytes).map_err(|_| short())?;
    let text = u64::from_le_bytes(bytes[..].try_into().unwrap_or_default());
    let start = text.checked_add(8).filter(|start| *start <= length).ok_or_else(short)?;
    bytes.resize(start as usize, 0);
    file.read_exact(&mut bytes[8..]).map_err(|e| Error::io("read", path, e))?;
    let head: Metadata = serde_json::from_slice(&bytes[8..]).map_err(|e| damaged(path, e.to_string()))?;
    if start + head.data_len() as u64 != length {
        return Err(short());
    }
    let known = |t: &TensorInfo| matches!(t.dtype, Dtype::F64 | Dtype::I64);
    match head.tensors().into_iter().find(|(_, t)| !known(t)) {
        Some((name, _)) => Err(damaged(path, format!("`{name}` is not in 64 bits"))),
        None => Ok((head, start)),
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::format(path.display().to_string(), reason, "it is damaged, or not of a folder that `capture` wrote")
}

/// The columns of the groups, and the groups.
fn groups(text: &str) -> Result<(Vec<String>, Vec<GroupRow>), String> {
    let mut lines = records(text).ok_or("a quoted field does not end, or the last line does not")?.into_iter();
    let names = lines.next().unwrap_or_default();
    let inner = names.len().checked_sub(1 + BEHIND.len()).ok_or("its first line is not that of groups")?;
    if names[0] != "group" || names[1 + inner..] != BEHIND {
        return Err("its first line is not that of groups".into());
    }
    let mut groups = Vec::new();
    for (n, cells) in lines.enumerate() {
        let bad = |what: &str| format!("group {n} of the table: {what}");
        if cells.len() != names.len() {
            return Err(bad("a line with another number of fields than the first"));
        }
        let (values, behind) = cells[1..].split_at(inner);
        let row = match cells[0].as_str() {
            "" => None,
            row => Some(row.parse().map_err(|_| bad("`group` is no whole number"))?),
        };
        groups.push(GroupRow {
            values: values.to_vec(),
            variant: behind[0].clone(),
            count: behind[1].parse().map_err(|_| bad("`count` is no whole number"))?,
            weight: behind[2].parse().map_err(|_| bad("`weight` is no number"))?,
            row,
            reason: behind[4].clone(),
        });
    }
    Ok((names[1..=inner].to_vec(), groups))
}

/// Fields of each line of a CSV file (RFC 4180); `None` if it breaks off.
fn records(text: &str) -> Option<Vec<Vec<String>>> {
    let (mut lines, mut line, mut field, mut inside) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => field.push(chars.next()?),
            '"' => inside = !inside,
            ',' if !inside => line.push(std::mem::take(&mut field)),
            '\n' if !inside => {
                line.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut line));
            }
            c => field.push(c),
        }
    }
    (!inside && line.is_empty() && field.is_empty()).then_some(lines)
}
