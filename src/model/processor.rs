//! Where a model computes, and with which form of the kernels.

use crate::error::{Error, Result};
use candle_core::Device;
use std::fmt;
use std::str::FromStr;

/// A processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Processor {
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number among those that are visible.
    Cuda(usize),
}

impl Processor {
    /// Makes it ready.
    ///
    /// # Errors
    /// A GPU that this build cannot use, or that is not there.
    pub fn open(self) -> Result<Device> {
        let Processor::Cuda(number) = self else { return Ok(Device::Cpu) };
        if !cfg!(feature = "cuda") {
            let what = format!("this build computes on the CPU alone, and {self} was asked for");
            return Err(Error::refused(
                what,
                "build with `--features cuda`, or by scripts/build-cuda.sh; or take --device cpu",
            ));
        }
        Device::new_cuda(number).map_err(|e| {
            let reason = e.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            Error::refused(format!("{self} cannot be used: {reason}"), "see what `nvidia-smi` lists; cuda is cuda:0")
        })
    }

    /// Whether several workers compute side by side faster than one.
    pub fn is_shared_by_workers(self) -> bool {
        self == Processor::Cpu
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Processor::Cpu => f.write_str("cpu"),
            Processor::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Processor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Processor> {
        match text.split_once(':') {
            None if text == "cpu" => return Ok(Processor::Cpu),
            None if text == "cuda" => return Ok(Processor::Cuda(0)),
            Some(("cuda", number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                if let Ok(number) = number.parse() {
                    return Ok(Processor::Cuda(number));
                }
            }
            _ => {}
        }
        Err(Error::refused(format!("`{text}` is no device"), "there are cpu, cuda and cuda:N"))
    }
}

/// Which form of the kernels a model runs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kernels {
    /// Our own on the CPU, tensor operations elsewhere.
    #[default]
    Own,
    /// Tensor operations on the CPU too: what a GPU would be given, to be compared with our own.
    Portable,
}

impl FromStr for Kernels {
    type Err = Error;
    fn from_str(text: &str) -> Result<Kernels> {
        match text {
            "own" => Ok(Kernels::Own),
            "portable" => Ok(Kernels::Portable),
            _ => Err(Error::refused(format!("there are no `{text}` kernels"), "there are own and portable")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_as_they_are_written() {
        for (text, processor) in
            [("cpu", Processor::Cpu), ("cuda:0", Processor::Cuda(0)), ("cuda:17", Processor::Cuda(17))]
        {
            assert_eq!(text.parse::<Processor>().unwrap(), processor);
            assert_eq!(processor.to_string(), text);
        }
        assert_eq!("cuda".parse::<Processor>().unwrap(), Processor::Cuda(0));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:1x", "cpu:0", "cuda:99999999999999999999"] {
            assert!(wrong.parse::<Processor>().unwrap_err().hint().contains("cuda:N"), "{wrong}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_gpus_says_how_to_get_one_with_them() {
        let error = Processor::Cuda(0).open().unwrap_err();
        assert!(error.to_string().contains("cuda:0") && error.hint().contains("--features cuda"), "{error}");
    }
}
