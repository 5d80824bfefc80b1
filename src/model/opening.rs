//! How a model is opened: with which weights, for what, in which numbers; and how far that is.

use super::processor::{Kernels, Processor};
use crate::error::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a model is opened. The default is its stored weights, to be run, in f32, on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    pub filling: Filling,
    pub purpose: Purpose,
    pub dtype: Dtype,
    pub processor: Processor,
    pub kernels: Kernels,
}

impl Opening {
    /// Stored weights in f32 on the CPU for a purpose.
    pub fn to(purpose: Purpose) -> Opening {
        Opening { purpose, ..Opening::default() }
    }

    /// Whether kernels are tensor operations.
    pub fn is_portable(&self) -> bool {
        self.kernels == Kernels::Portable || self.processor != Processor::Cpu
    }

    /// Where tensors go, ready to be used.
    ///
    /// # Errors
    /// A device that cannot be used; training elsewhere than on the CPU, or without our own kernels.
    pub(super) fn device(&self) -> Result<Device> {
        if self.purpose != Purpose::Run && self.is_portable() {
            let what = format!("training on {} in tensor operations", self.processor);
            return Err(Error::refused(what, "train on the CPU: only its own kernels have gradients"));
        }
        self.processor.open()
    }
}

/// What a model's tensors are filled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filling {
    /// What the files hold.
    #[default]
    Stored,
    /// Random values of this seed: an untrained model of the same shape.
    Random(u64),
    /// A few random values over and over, which are quickly made: a model of the same cost, to be timed.
    Noise,
}

/// What a model is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be run.
    #[default]
    Run,
    /// To be run while adapters on it are trained: a head that is the embedding again is not copied for speed.
    Adapt,
    /// To be trained: every weight is a variable.
    Train,
}

/// The numbers that weights are rounded to, whatever the files hold. Another one than theirs makes another model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    #[default]
    F32,
    Bf16,
    F16,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Dtype; 3] = [Dtype::F32, Dtype::Bf16, Dtype::F16];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::F16 => "f16",
        }
    }

    /// As tensors have it.
    pub fn of_tensors(self) -> DType {
        match self {
            Dtype::F32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
            Dtype::F16 => DType::F16,
        }
    }

    /// The value that a weight has in this type: nearest, ties to even. Beyond the range of f16 it is infinite.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Dtype::F32 => value,
            Dtype::Bf16 => half::bf16::from_f32(value).to_f32(),
            Dtype::F16 => half::f16::from_f32(value).to_f32(),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = Error;
    fn from_str(text: &str) -> Result<Dtype> {
        Dtype::ALL.into_iter().find(|d| d.name() == text).ok_or_else(|| {
            let names = Dtype::ALL.map(Dtype::name).join(", ");
            Error::refused(format!("`{text}` is no number type"), format!("there are {names}"))
        })
    }
}

/// What is done with a model on its way into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// A file comes from the hub.
    Fetch(&'a str),
    /// The files are hashed.
    Hash,
    /// The weights are read and converted.
    Read,
}

/// How far a model is on its way, in bytes of its files. A stage begins with `done` at 0 or, for a download that goes
/// on, at what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loading<'a> {
    pub stage: Stage<'a>,
    pub done: u64,
    pub total: u64,
}

/// Whoever is told.
pub type Watch<'w> = dyn FnMut(Loading<'_>) + 'w;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_types_round_to_the_nearest_and_have_one_name_everywhere() {
        // bf16 keeps 8 bits: between 256 and 512 it has every second number; 257 and 259 are ties, to even.
        assert_eq!([257.0, 259.0, 258.5].map(|v| Dtype::Bf16.round(v)), [256.0, 260.0, 258.0]);
        // f16 keeps 11 bits: every second number from 2048 on; its largest is 65504.
        assert_eq!([2049.0, 2051.0].map(|v| Dtype::F16.round(v)), [2048.0, 2052.0]);
        assert!(Dtype::F16.round(70_000.0).is_infinite() && Dtype::Bf16.round(70_000.0).is_finite());
        assert_eq!(Dtype::F32.round(0.1), 0.1);
        for dtype in Dtype::ALL {
            assert_eq!(dtype.to_string().parse::<Dtype>().unwrap(), dtype);
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
        assert!("float".parse::<Dtype>().unwrap_err().hint().contains("bf16"));
    }
}
