//! Which models fit into memory, and what the machine allows them at best.

use super::speed::Speed;
use crate::model::Dtype;
use serde::Serialize;

/// Parameters of common checkpoints, in billions.
const SIZES: [f64; 9] = [0.5, 1.0, 1.5, 3.0, 8.0, 14.0, 27.0, 32.0, 70.0];

/// What a run needs beside its weights, as a share of them: activations, keys and values, a tensor on its way.
const BESIDE: f64 = 0.25;

/// A size of models on this machine.
#[derive(Serialize)]
pub struct Fit {
    pub billions: f64,
    pub dtype: Dtype,
    /// Bytes that a run needs.
    pub bytes: u64,
    pub fits: bool,
    /// Tokens a second that products allow: two operations a parameter and token.
    pub reading: f64,
    /// Tokens a second that memory allows one reply: every weight is read for every token.
    pub writing: f64,
}

/// The table for weights of one type, up to the first size or two that no longer fit.
pub fn table(available: u64, speed: &Speed, dtype: Dtype) -> Vec<Fit> {
    let bytes_each = if dtype == Dtype::F32 { 4.0 } else { 2.0 };
    let one = |billions: f64| {
        let parameters = billions * 1e9;
        let weights = parameters * bytes_each;
        let bytes = (weights * (1.0 + BESIDE)) as u64;
        let (reading, writing) = (speed.gflops * 1e9 / (2.0 * parameters), speed.gigabytes_per_second * 1e9 / weights);
        Fit { billions, dtype, bytes, fits: bytes <= available, reading, writing }
    };
    SIZES.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_rates_follow_from_the_number_of_parameters() {
        let speed = Speed { gflops: 200.0, gigabytes_per_second: 20.0, prefill: 0.0, decoding: vec![] };
        let at = |available, dtype| table(available, &speed, dtype).into_iter().find(|f| f.billions == 1.0).unwrap();
        // A billion parameters of 4 bytes, and a quarter more: 5 GB. 200e9 / 2e9 tokens; 20e9 / 4e9 tokens.
        let f = at(5_000_000_000, Dtype::F32);
        assert_eq!((f.bytes, f.fits, f.reading, f.writing), (5_000_000_000, true, 100.0, 5.0));
        assert!(!at(4_999_999_999, Dtype::F32).fits);
        let f = at(2_500_000_000, Dtype::Bf16);
        assert_eq!((f.bytes, f.fits, f.writing), (2_500_000_000, true, 10.0));
    }
}
