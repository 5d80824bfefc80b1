//! The arithmetic of the forward pass on the CPU: each kernel in one place, with its backward and a test of that
//! backward against finite differences.
//!
//! candle's own fused ops (`rms_norm`, `softmax_last_dim`, `rope`) drop gradients without a word, and its elementwise
//! ops share one pool that concurrent workers wait for. These run on the calling thread alone: parallelism is one
//! worker per unit of work, and a row's result never depends on which other rows are beside it.
//!
//! Everything is generic over f32 (what models run in) and f64 (what tells rounding from a defect).

mod act;
mod add;
mod along;
mod attention;
mod bias;
mod choice;
mod embed;
mod layer_norm;
mod likelihood;
mod linear;
mod low_rank;
mod moe;
mod norm;
mod norm_heads;
pub mod packed;
mod pieces;
mod pointwise;
pub mod portable;
mod products;
mod rope;
mod special;
pub mod tape;
pub mod team;

pub use act::Act;
pub use along::{Move, Moved, RowMove, move_rows};
pub use attention::{Attention, HeadCache, attend, attend_cached};
pub use choice::{
    activate, add, add_bias, combine, gated, layer_norm, linear, linear_with_low_rank, nll, norm_heads, rms_norm, rope,
    scaled, softcap,
};
pub use embed::embed;
pub use likelihood::{CappedHead, HeadWeight, cross_entropy};
pub use low_rank::{LowRankPart, packed_with_low_rank};
pub use moe::{Routing, gather, route};
pub use packed::{Packed, linear_packed};
pub use pieces::{columns, end_to_end, rows};
pub use rope::RopeTable;

use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, WithDType};
use pulp::Simd;

/// A number type that the kernels are compiled for.
pub trait Real: WithDType + num::Float {
    /// As many numbers as a vector of the processor holds; they divide 16.
    type Vector<S: Simd>: Copy;

    /// e to the power of `self`, in a form that the compiler can vectorise. Exactly 0 at minus infinity.
    fn exp_fast(self) -> Self;
    /// The hyperbolic tangent, likewise.
    fn tanh_fast(self) -> Self;
    /// The error function, likewise (in f64 precise and not fast).
    fn erf_fast(self) -> Self;

    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a * b + c`, lane by lane.
    fn fma_lanes<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// The whole vectors at the front of a slice.
    fn vectors<S: Simd>(xs: &[Self]) -> &[Self::Vector<S>];
    fn vectors_mut<S: Simd>(xs: &mut [Self]) -> &mut [Self::Vector<S>];
}

/// Forwards to the methods that pulp names by type.
macro_rules! vectors {
    ($vector:ident, $splat:ident, $fma:ident, $all:ident, $all_mut:ident) => {
        type Vector<S: Simd> = S::$vector;
        #[inline(always)]
        fn splat<S: Simd>(simd: S, x: Self) -> S::$vector {
            simd.$splat(x)
        }
        #[inline(always)]
        fn fma_lanes<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
            simd.$fma(a, b, c)
        }
        #[inline(always)]
        fn vectors<S: Simd>(xs: &[Self]) -> &[S::$vector] {
            S::$all(xs).0
        }
        #[inline(always)]
        fn vectors_mut<S: Simd>(xs: &mut [Self]) -> &mut [S::$vector] {
            S::$all_mut(xs).0
        }
    };
}

impl Real for f32 {
    vectors!(f32s, splat_f32s, mul_add_e_f32s, as_simd_f32s, as_mut_simd_f32s);

    /// Cephes-style: range reduction by ln 2 in two parts, a polynomial of degree 6, the exponent through the bits.
    /// Within 2 ulp of the true value on [-87, 88]; 0 below, clamped above.
    #[inline(always)]
    fn exp_fast(self) -> f32 {
        // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
        const ROUND: f32 = 12_582_912.0;
        const LN2_HI: f32 = 0.693_359_4;
        const LN2_LO: f32 = -2.121_944_4e-4;
        let x = self.clamp(-87.0, 88.0);
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = (-n).mul_add(LN2_LO, (-n).mul_add(LN2_HI, x));
        let mut p = 1.987_569_1e-4_f32;
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p.mul_add(r, c);
        }
        let y = p.mul_add(r * r, r) + 1.0;
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
        if self < -87.0 { 0.0 } else { y * scale }
    }

    #[inline(always)]
    fn tanh_fast(self) -> f32 {
        special::tanh(self)
    }

    #[inline(always)]
    fn erf_fast(self) -> f32 {
        special::erf(self)
    }
}

impl Real for f64 {
    vectors!(f64s, splat_f64s, mul_add_e_f64s, as_simd_f64s, as_mut_simd_f64s);

    #[inline(always)]
    fn exp_fast(self) -> f64 {
        self.exp()
    }

    #[inline(always)]
    fn tanh_fast(self) -> f64 {
        self.tanh()
    }

    #[inline(always)]
    fn erf_fast(self) -> f64 {
        special::erf_f64(self)
    }
}

/// The float methods that the kernels use, under one name for both types.
pub mod num {
    /// The arithmetic of a real number.
    pub trait Float:
        Copy
        + PartialOrd
        + std::ops::Add<Output = Self>
        + std::ops::Sub<Output = Self>
        + std::ops::Mul<Output = Self>
        + std::ops::Div<Output = Self>
        + std::ops::Neg<Output = Self>
        + std::ops::AddAssign
        + std::ops::MulAssign
        + std::ops::DivAssign
        + std::ops::SubAssign
    {
        const ZERO: Self;
        const ONE: Self;
        const LOWEST: Self;
        fn fma(self, b: Self, c: Self) -> Self;
        fn root(self) -> Self;
        fn larger(self, other: Self) -> Self;
        fn natural_log(self) -> Self;
        fn of(v: f64) -> Self;
    }
    macro_rules! float {
        ($t:ty) => {
            impl Float for $t {
                const ZERO: $t = 0.0;
                const ONE: $t = 1.0;
                const LOWEST: $t = <$t>::NEG_INFINITY;
                #[inline(always)]
                fn fma(self, b: $t, c: $t) -> $t {
                    self.mul_add(b, c)
                }
                #[inline(always)]
                fn root(self) -> $t {
                    self.sqrt()
                }
                #[inline(always)]
                fn larger(self, other: $t) -> $t {
                    if other > self { other } else { self }
                }
                #[inline(always)]
                fn natural_log(self) -> $t {
                    self.ln()
                }
                #[inline(always)]
                fn of(v: f64) -> $t {
                    v as $t
                }
            }
        };
    }
    float!(f32);
    float!(f64);
}

/// One piece of arithmetic with its operands.
///
/// `run` must be marked `#[inline(always)]`, as must what it calls: a closure or a function passed as an argument is
/// compiled apart, without the wide instructions, and every fused multiply-add in it becomes a call (measured: 1000
/// times slower).
trait Kernel {
    type Out;
    fn run<S: Simd>(self, simd: S) -> Self::Out;
}

/// Runs a kernel with the widest vector instructions that this processor has.
#[inline]
fn vectorised<K: Kernel>(kernel: K) -> K::Out {
    struct Work<K>(K);
    impl<K: Kernel> pulp::WithSimd for Work<K> {
        type Output = K::Out;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> K::Out {
            self.0.run(simd)
        }
    }
    pulp::Arch::new().dispatch(Work(kernel))
}

/// Lanes of a running sum: fixed, so that a sum depends on its terms and their order alone.
const LANES: usize = 16;

/// Folds the lanes in a tree: 4 dependent steps rather than 15.
#[inline(always)]
fn fold_lanes<T: Real>(mut acc: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            acc[i] = f(acc[i], acc[i + half]);
        }
        half /= 2;
    }
    acc[0]
}

/// Sum of `f(x)` over a slice in [`LANES`] interleaved partial sums.
#[inline(always)]
fn lane_sum<T: Real>(xs: &[T], f: impl Fn(T) -> T) -> T {
    let mut acc = [T::ZERO; LANES];
    let chunks = xs.chunks_exact(LANES);
    let rest = chunks.remainder();
    for c in chunks {
        for (a, x) in acc.iter_mut().zip(c) {
            *a += f(*x);
        }
    }
    for (a, x) in acc.iter_mut().zip(rest) {
        *a += f(*x);
    }
    fold_lanes(acc, |a, b| a + b)
}

/// The elements of a contiguous CPU storage.
fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout, op: &'static str) -> Result<&'a [T]> {
    let (from, to) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg(format!("{op} needs a contiguous operand, got {layout:?}")).bt())?;
    Ok(&T::cpu_storage_as_slice(storage)?[from..to])
}

/// Wraps the result of a kernel.
fn storage<T: Real>(data: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(data), shape.into())
}

/// Lends the elements of a contiguous CPU tensor.
fn read<T: Real, R>(x: &Tensor, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(held) => f(slice(held, layout, "a gradient")?),
        _ => candle_core::bail!("a gradient on another device than the CPU"),
    }
}

/// Chooses the compiled number type by name.
macro_rules! by_type {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!("{} computes in f32 or f64, not {other:?}", $op),
        }
    };
}
use by_type;

/// Chooses the compiled number type by what the storage holds.
macro_rules! by_dtype {
    ($storage:expr, $op:expr, $T:ident => $body:expr) => {
        match $storage {
            candle_core::CpuStorage::F32(_) => {
                type $T = f32;
                $body
            }
            candle_core::CpuStorage::F64(_) => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!(
                "{} computes in f32 or f64 on the CPU, not {:?}",
                $op,
                candle_core::backend::BackendStorage::dtype(other)
            ),
        }
    };
}
use by_dtype;

#[cfg(test)]
pub(crate) mod testing {
    use super::tape;
    use candle_core::{Device, Result, Tensor, Var};

    /// Values in [-1, 1] that look random and are the same everywhere.
    pub fn values(seed: u64, n: usize) -> Vec<f64> {
        use rand::Rng;
        let mut rng = crate::rng::stream(seed, "kernel test");
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Compares the gradient of `sum(w * f(inputs))` with central differences in f64, for every input.
    pub fn check_gradients(shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let device = Device::Cpu;
        let make = |i: usize, data: Vec<f64>| Tensor::from_vec(data, shapes[i], &device).unwrap();
        let data: Vec<Vec<f64>> =
            shapes.iter().enumerate().map(|(i, s)| values(i as u64, s.iter().product())).collect();
        let weights = |y: &Tensor| Tensor::from_vec(values(99, y.elem_count()), y.shape(), &device).unwrap();
        let loss = |inputs: &[Tensor]| -> f64 {
            let y = f(inputs).unwrap();
            (&y * weights(&y)).unwrap().sum_all().unwrap().to_scalar().unwrap()
        };
        let vars: Vec<Var> =
            data.iter().enumerate().map(|(i, d)| Var::from_tensor(&make(i, d.clone())).unwrap()).collect();
        let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let (y, tape) = tape::record(|| f(&inputs)).unwrap();
        let mut grads = tape.backward(&y, weights(&y)).unwrap();
        for i in 0..shapes.len() {
            let got = grads.take(&inputs[i]).expect("every input has a gradient").flatten_all().unwrap();
            let got = got.to_vec1::<f64>().unwrap();
            for j in 0..data[i].len() {
                let at = |h: f64| {
                    let mut moved = data.clone();
                    moved[i][j] += h;
                    let ts: Vec<Tensor> = moved.into_iter().enumerate().map(|(k, d)| make(k, d)).collect();
                    loss(&ts)
                };
                let h = 1e-5;
                let want = (at(h) - at(-h)) / (2.0 * h);
                // Central differences err by about h^2 and by eps / h: 1e-10 and 1e-11 here.
                assert!((got[j] - want).abs() < 1e-7 * (1.0 + want.abs()), "input {i}[{j}]: {} for {want}", got[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn fast_exp_is_within_two_ulp() {
        let mut worst = 0.0_f64;
        for i in -87_000..88_000 {
            let x = i as f32 / 1000.0;
            let (got, want) = (f64::from(x.exp_fast()), f64::from(x).exp());
            worst = worst.max((got - want).abs() / want);
        }
        // One ulp of f32 is between 6e-8 and 1.2e-7 relative.
        assert!(worst < 2.4e-7, "{worst:e}");
        assert_eq!(0.0_f32.exp_fast(), 1.0);
        assert_eq!([-87.5_f32, -1e30, f32::NEG_INFINITY].map(f32::exp_fast), [0.0; 3]);
    }
}
