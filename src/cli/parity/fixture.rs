//! A fixture, and how far numbers are from its own.

use crate::axes::Site;
use crate::error::{Error as Failure, Result};
use crate::model::kernels::portable::to_host;
use crate::model::{At, Dtype, Next, Source, Tap};
use crate::shipped::Shipped;
use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// Bars in f32: absolute, the same where no value reaches [`SMALL`], and relative to the largest value of a row.
const ABSOLUTE: f64 = 5e-5;
const ABSOLUTE_SMALL: f64 = 5e-6;
const SMALL: f64 = 2.0;
const RELATIVE: f64 = 1e-4;
/// In bf16: times the error of the reference.
const TIMES: f64 = 2.0;

/// Rows of numbers.
pub type Matrix = Vec<Vec<f32>>;

/// Expected values of a model.
pub struct Fixture {
    pub name: String,
    pub source: Source,
    pub prompts: Vec<Prompt>,
    /// Kept rows by site, prompts in order.
    pub want: BTreeMap<Site, Matrix>,
    /// Error of the reference's bf16 by site, where it was measured.
    pub bf16: BTreeMap<Site, f64>,
}

#[derive(Deserialize)]
struct Expected {
    prompts: Vec<Prompt>,
}

/// A prompt, and the rows of it that are compared.
#[derive(Deserialize)]
pub struct Prompt {
    pub id: String,
    pub tokens: Vec<u32>,
    pub rows: Vec<usize>,
    pub logit_rows: Vec<usize>,
}

impl Fixture {
    /// Reads a folder.
    ///
    /// # Errors
    /// Files that are missing or not of the form, or do not belong together.
    pub fn read(dir: &Path) -> Result<Fixture> {
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Expected { prompts } = json(&dir.join("expected.json"))?;
        let bf16: BTreeMap<String, f64> = match dir.join("bf16.json") {
            path if path.is_file() => json(&path)?,
            _ => BTreeMap::new(),
        };
        let path = dir.join("expected.safetensors");
        let bad = |reason: String| Failure::format(path.display().to_string(), reason, "make the fixture again");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).map_err(|e| bad(e.to_string()))?;
        let mut want = BTreeMap::new();
        for (site, tensor) in tensors {
            let site: Site = site.parse()?;
            let kept = |p: &Prompt| if site == Site::Logits { p.logit_rows.len() } else { p.rows.len() };
            let (found, rows) = (tensor.dims().first().copied().unwrap_or(0), prompts.iter().map(kept).sum::<usize>());
            if tensor.rank() != 2 || found != rows {
                return Err(bad(format!("{site} has shape {:?} for {rows} rows of expected.json", tensor.dims())));
            }
            want.insert(site, matrix(&tensor)?);
        }
        let embedded = if dir.join("config.json").is_file() { None } else { Shipped::named(&name) };
        let source = embedded.map_or_else(|| Source::Dir(dir.to_path_buf()), Source::Embedded);
        let bf16 = bf16.into_iter().map(|(site, error)| Ok((site.parse()?, error))).collect::<Result<_>>()?;
        Ok(Fixture { name, source, prompts, want, bf16 })
    }

    /// How far the rows `got(prompt, row)` are from those kept at a site.
    pub fn distance<'g>(&self, site: Site, want: &Matrix, got: impl Fn(usize, usize) -> &'g Vec<f32>) -> Error {
        let mut error = Error::default();
        let mut want = want.iter();
        for (p, prompt) in self.prompts.iter().enumerate() {
            let rows = if site == Site::Logits { &prompt.logit_rows } else { &prompt.rows };
            for (row, want) in rows.iter().zip(&mut want) {
                error.add(got(p, *row), want, || format!("prompt `{}` row {row}", prompt.id));
            }
        }
        error
    }

    /// How far `got(prompt)` are from the logits of the last row of each prompt, where these were kept.
    pub fn last_logits<'g>(&self, got: impl Fn(usize) -> Option<&'g Vec<f32>>) -> Error {
        let mut error = Error::default();
        let Some(want) = self.want.get(&Site::Logits) else { return error };
        let mut want = want.iter();
        for (p, prompt) in self.prompts.iter().enumerate() {
            for (row, want) in prompt.logit_rows.iter().zip(&mut want) {
                if let Some(got) = got(p).filter(|_| row + 1 == prompt.tokens.len()) {
                    error.add(got, want, || format!("prompt `{}`", prompt.id));
                }
            }
        }
        error
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|e| Failure::io("read", path, e))?;
    let hint = "is this a fixture of the parity tests?";
    serde_json::from_slice(&bytes).map_err(|e| Failure::format(path.display().to_string(), e.to_string(), hint))
}

/// The rows of a tensor, on the host.
pub fn matrix(x: &Tensor) -> Result<Matrix> {
    let (_, width) = x.dims2()?;
    Ok(to_host(x)?.chunks_exact(width.max(1)).map(<[f32]>::to_vec).collect())
}

/// A tap that keeps all rows of some sites.
pub struct Keep {
    pub seen: BTreeMap<Site, Matrix>,
    sites: Vec<Site>,
}

impl Keep {
    /// Of the sites that a fixture has.
    pub fn of(fixture: &Fixture) -> Keep {
        Keep { seen: BTreeMap::new(), sites: fixture.want.keys().copied().collect() }
    }
}

impl Tap for Keep {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains(&site)
    }

    fn see(&mut self, at: At, x: &Tensor) -> Result<Next> {
        self.seen.insert(at.site, matrix(x)?);
        Ok(Next::Go)
    }
}

/// How far numbers are from others.
#[derive(Clone, Debug, Default)]
pub struct Error {
    /// The largest difference, and where.
    pub absolute: f64,
    pub place: String,
    /// The largest difference, relative to the largest value of its row.
    pub relative: f64,
    /// The largest value.
    pub largest: f64,
    squares: f64,
    all_squares: f64,
}

impl Error {
    fn add(&mut self, got: &[f32], want: &[f32], place: impl Fn() -> String) {
        let largest = want.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
        self.largest = self.largest.max(largest);
        // Rows of another width or without a number are as far off as can be.
        let far = got.len() != want.len() || got.iter().any(|g| !g.is_finite());
        let far = if far { f64::INFINITY } else { 0.0 };
        let off = got.iter().zip(want).map(|(g, w)| f64::from(g - w).abs()).fold(far, f64::max);
        if off > self.absolute {
            (self.absolute, self.place) = (off, place());
        }
        self.relative = self.relative.max(off / largest.max(f64::MIN_POSITIVE));
        self.squares += far + got.iter().zip(want).map(|(g, w)| f64::from(g - w).powi(2)).sum::<f64>();
        self.all_squares += want.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
    }

    /// Takes in another one.
    pub fn join(&mut self, other: &Error) {
        self.absolute = self.absolute.max(other.absolute);
        self.relative = self.relative.max(other.relative);
        self.largest = self.largest.max(other.largest);
        self.squares += other.squares;
        self.all_squares += other.all_squares;
    }

    /// Length of the difference, relative to that of what was expected.
    pub fn rms(&self) -> f64 {
        if self.squares == 0.0 { 0.0 } else { (self.squares / self.all_squares).sqrt() }
    }

    /// Whether it is within the bars of a number type; `reference` is the reference's own error in bf16.
    pub fn fine(&self, dtype: Dtype, reference: Option<&f64>) -> bool {
        if dtype == Dtype::F32 {
            let most = if self.largest < SMALL { ABSOLUTE_SMALL } else { ABSOLUTE };
            return self.absolute < most && self.relative < RELATIVE;
        }
        // f16 has three bits more than bf16, and what is stored in neither is rounded by both.
        match reference {
            Some(reference) => self.rms() <= TIMES * reference,
            None => self.rms().is_finite(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_definition_and_have_bars() {
        let mut error = Error::default();
        error.add(&[1.0, -4.0], &[1.0, -4.00002], || "here".into());
        assert!((error.absolute - 2e-5).abs() < 1e-6 && error.place == "here");
        assert!((error.relative - 5e-6).abs() < 1e-7 && (error.largest - 4.0).abs() < 1e-4);
        assert!((error.rms() - 2e-5 / 17f64.sqrt()).abs() < 1e-6);
        assert!(error.fine(Dtype::F32, None));
        // The same difference where values are small.
        let mut small = Error::default();
        small.add(&[1.0], &[1.00002], String::new);
        assert!(!small.fine(Dtype::F32, None));
        assert!(small.fine(Dtype::Bf16, Some(&1.1e-5)) && !small.fine(Dtype::Bf16, Some(&0.9e-5)));
        for got in [vec![f32::NAN], vec![]] {
            let mut off = Error::default();
            off.add(&got, &[1.0], String::new);
            assert!(!off.fine(Dtype::F32, None) && !off.fine(Dtype::Bf16, Some(&1.0)) && !off.fine(Dtype::F16, None));
        }
    }
}
