//! Numbers as files hold them: to and from f32.

use super::manifest::Stored;
use half::{bf16, f16};

impl Stored {
    /// The name that safetensors has for it.
    pub fn tag(self) -> &'static str {
        match self {
            Stored::F32 => "F32",
            Stored::F16 => "F16",
            Stored::Bf16 => "BF16",
        }
    }

    /// Appends the values of little-endian bytes; each is exact in f32.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Stored::F32 => out.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Stored::F16 => out.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())),
            Stored::Bf16 => out.extend(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())),
        }
    }

    /// Appends the little-endian bytes of values, rounded to nearest.
    pub fn encode_all(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Stored::F32 => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            Stored::F16 => values.iter().for_each(|v| out.extend(f16::from_f32(*v).to_le_bytes())),
            Stored::Bf16 => values.iter().for_each(|v| out.extend(bf16::from_f32(*v).to_le_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exact_in_sixteen_bits_comes_back_and_the_rest_is_rounded() {
        for dtype in [Stored::F32, Stored::F16, Stored::Bf16] {
            let (mut bytes, mut back) = (Vec::new(), Vec::new());
            dtype.encode_all(&[1.5, -0.25, 0.0, 3.0001], &mut bytes);
            assert_eq!(bytes.len(), 4 * dtype.size());
            dtype.decode(&bytes, &mut back);
            assert_eq!(back[..3], [1.5, -0.25, 0.0]);
            // 3.0001 between 2 and 4: f16 steps by 2^-9, bf16 by 2^-6.
            assert_eq!(back[3], if dtype == Stored::F32 { 3.0001 } else { 3.0 });
        }
    }
}
