//! Activations, alone and gated: `act(gate) * up` from one fused product (Shazeer 2020).

use super::{Kernel, Real, by_dtype, by_type, read, slice, storage, tape, vectorised};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// The curve of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x Phi(x)`, with the normal distribution by its tangent formula (Hendrycks and Gimpel 2016).
    GeluTanh,
    /// `x Phi(x)`, with the normal distribution by the error function.
    Gelu,
}

/// `[row, 2 * d_mlp]`, gate first, to `act(gate) * up [row, d_mlp]`.
pub fn gated(gate_up: &Tensor, act: Act) -> Result<Tensor> {
    apply(gate_up, Activate { act, gated: true })
}

/// `act(x)`, number by number.
pub fn activate(x: &Tensor, act: Act) -> Result<Tensor> {
    apply(x, Activate { act, gated: false })
}

fn apply(x: &Tensor, op: Activate) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = x.apply_op1_no_bwd(&op)?;
    let input = x.clone();
    tape::push(&[&x], &y, move |grad, _| {
        let (grad, d) = (grad.contiguous()?, op.width(input.dim(1)?));
        by_type!(input.dtype(), op.name(), T => {
            let dx = read::<T, _>(&input, |x| read::<T, _>(&grad, |grad| Ok(op.back(x, grad, d))))?;
            Ok(vec![Some(Tensor::from_vec(dx, input.shape(), input.device())?)])
        })
    });
    Ok(y)
}

#[derive(Clone, Copy)]
struct Activate {
    act: Act,
    gated: bool,
}

impl Activate {
    /// Columns of the result.
    fn width(&self, columns: usize) -> usize {
        if self.gated { columns / 2 } else { columns }
    }

    fn run<T: Real>(&self, x: &[T], d: usize) -> Vec<T> {
        let gated = self.gated;
        match self.act {
            Act::Silu => vectorised(Forward { curve: Silu, x, d, gated }),
            Act::GeluTanh => vectorised(Forward { curve: GeluTanh, x, d, gated }),
            Act::Gelu => vectorised(Forward { curve: Gelu, x, d, gated }),
        }
    }

    fn back<T: Real>(&self, x: &[T], grad: &[T], d: usize) -> Vec<T> {
        let gated = self.gated;
        match self.act {
            Act::Silu => vectorised(Back { curve: Silu, x, grad, d, gated }),
            Act::GeluTanh => vectorised(Back { curve: GeluTanh, x, grad, d, gated }),
            Act::Gelu => vectorised(Back { curve: Gelu, x, grad, d, gated }),
        }
    }
}

/// One curve, compiled for itself.
trait Curve: Copy {
    fn value<T: Real>(self, x: T) -> T;
    /// The gradients of `x` and `up` from that of `value(x) * up`.
    fn back<T: Real>(self, x: T, up: T, grad: T) -> (T, T);
}

#[derive(Clone, Copy)]
struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x / (T::ONE + (-x).exp_fast())
    }

    /// With s the logistic function: silu' = s (1 + x (1 - s)).
    #[inline(always)]
    fn back<T: Real>(self, x: T, up: T, grad: T) -> (T, T) {
        let s = T::ONE / (T::ONE + (-x).exp_fast());
        (grad * up * s * (T::ONE + x * (T::ONE - s)), grad * x * s)
    }
}

#[derive(Clone, Copy)]
struct GeluTanh;

/// sqrt(8 / pi), and what multiplies the cube.
const BEND: f64 = 1.595_769_121_605_730_9;
const CUBE: f64 = 0.044_715;

impl Curve for GeluTanh {
    /// (1 + tanh u) / 2 is the logistic function of 2 u, which loses nothing in the tails.
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        let bend = (x * x).fma(T::of(BEND * CUBE), T::of(BEND));
        x / (T::ONE + (-x * bend).exp_fast())
    }

    /// With s the logistic function of v = 2 u: (x s)' = s (1 + x (1 - s) v').
    #[inline(always)]
    fn back<T: Real>(self, x: T, up: T, grad: T) -> (T, T) {
        let bend = (x * x).fma(T::of(BEND * CUBE), T::of(BEND));
        let s = T::ONE / (T::ONE + (-x * bend).exp_fast());
        let turn = (x * x).fma(T::of(3.0 * BEND * CUBE), T::of(BEND));
        (grad * up * s * (T::ONE + x * (T::ONE - s) * turn), grad * x * s)
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Gelu {
    /// The distribution function of the standard normal.
    #[inline(always)]
    fn phi<T: Real>(x: T) -> T {
        let half = T::of(0.5);
        (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf_fast().fma(half, half)
    }
}

impl Curve for Gelu {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * Gelu::phi(x)
    }

    /// (x Phi)' = Phi + x phi, with phi = exp(-x^2 / 2) / sqrt(2 pi).
    #[inline(always)]
    fn back<T: Real>(self, x: T, up: T, grad: T) -> (T, T) {
        let (area, half) = (Gelu::phi(x), T::of(0.5));
        let density = T::of(0.398_942_280_401_432_7) * (-x * x * half).exp_fast();
        (grad * up * x.fma(density, area), grad * x * area)
    }
}

struct Forward<'a, C, T> {
    curve: C,
    x: &'a [T],
    /// Columns of the result.
    d: usize,
    gated: bool,
}

impl<C: Curve, T: Real> Kernel for Forward<'_, C, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Forward { curve, x, d, gated } = self;
        if !gated {
            let mut out = vec![T::ZERO; x.len()];
            for (y, x) in out.iter_mut().zip(x) {
                *y = curve.value(*x);
            }
            return out;
        }
        let mut out = vec![T::ZERO; x.len() / 2];
        for (row, y) in x.chunks_exact(2 * d).zip(out.chunks_exact_mut(d)) {
            let (gate, up) = row.split_at(d);
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = curve.value(*g) * *u;
            }
        }
        out
    }
}

/// The gradient of the input.
struct Back<'a, C, T> {
    curve: C,
    x: &'a [T],
    grad: &'a [T],
    d: usize,
    gated: bool,
}

impl<C: Curve, T: Real> Kernel for Back<'_, C, T> {
    type Out = Vec<T>;
    #[inline(always)]
    fn run<S: pulp::Simd>(self, _: S) -> Vec<T> {
        let Back { curve, x, grad, d, gated } = self;
        let mut out = vec![T::ZERO; x.len()];
        if !gated {
            for ((dx, x), grad) in out.iter_mut().zip(x).zip(grad) {
                *dx = curve.back(*x, T::ONE, *grad).0;
            }
            return out;
        }
        for ((row, grad), dx) in x.chunks_exact(2 * d).zip(grad.chunks_exact(d)).zip(out.chunks_exact_mut(2 * d)) {
            let ((gate, up), (d_gate, d_up)) = (row.split_at(d), dx.split_at_mut(d));
            for ((((dg, du), g), u), grad) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(grad) {
                (*dg, *du) = curve.back(*g, *u, *grad);
            }
        }
        out
    }
}

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        if self.gated { "gated" } else { "activate" }
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = l.shape().dims2()?;
        if self.gated && !columns.is_multiple_of(2) {
            candle_core::bail!("gated: {columns} columns are not a gate and an up of one size")
        }
        let d = self.width(columns);
        by_dtype!(x, self.name(), T => Ok(storage(self.run::<T>(slice(x, l, self.name())?, d), (rows, d))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::{Act, activate, gated};
    use candle_core::{DType, Device, Tensor};

    const ALL: [Act; 3] = [Act::Silu, Act::GeluTanh, Act::Gelu];

    #[test]
    fn gradients_agree_with_finite_differences() {
        for act in ALL {
            check_gradients(&[&[3, 10]], |x| gated(&x[0], act));
            // Values up to 3, where the curves bend differently.
            check_gradients(&[&[3, 20]], |x| activate(&super::super::scaled(&x[0], 3.0)?, act));
        }
    }

    /// From the formulas, with the C library's functions: numbers at -3, -0.5, 0.5 and 3.
    const KNOWN: [[f64; 4]; 3] = [
        [-0.142_277_619_532_700_35, -0.188_770_334_399_072_7, 0.311_229_665_600_927_3, 2.857_722_380_467_299_8],
        [-0.003_637_392_081_772_994_3, -0.154_285_990_174_856_06, 0.345_714_009_825_143_94, 2.996_362_607_918_227],
        [-0.004_049_694_094_890_287, -0.154_268_769_362_993_44, 0.345_731_230_637_006_56, 2.995_950_305_905_11],
    ];

    #[test]
    fn the_curves_have_their_known_values() {
        let at = Tensor::new(&[[-3.0f64, -0.5, 0.5, 3.0]], &Device::Cpu).unwrap();
        for (act, want) in ALL.into_iter().zip(KNOWN) {
            let exact = activate(&at, act).unwrap().to_vec2::<f64>().unwrap();
            let fast = activate(&at.to_dtype(DType::F32).unwrap(), act).unwrap().to_vec2::<f32>().unwrap();
            for ((exact, fast), want) in exact[0].iter().zip(&fast[0]).zip(want) {
                assert!((exact - want).abs() < 1e-12, "{act:?}: {exact} for {want}");
                assert!((f64::from(*fast) - want).abs() < 4e-7 * want.abs().max(0.5), "{act:?}: {fast} for {want}");
            }
        }
    }

    #[test]
    fn a_gate_is_an_activation_times_the_other_half() {
        let x = Tensor::from_vec(values(1, 66), (3, 22), &Device::Cpu).unwrap();
        for act in ALL {
            let apart = (activate(&x.narrow(1, 0, 11).unwrap(), act).unwrap() * x.narrow(1, 11, 11).unwrap()).unwrap();
            assert_eq!(gated(&x, act).unwrap().to_vec2::<f64>().unwrap(), apart.to_vec2::<f64>().unwrap());
        }
    }

    #[test]
    fn large_inputs_saturate_without_a_not_a_number() {
        let x = Tensor::new(&[[-1e30f32, -200.0, 200.0, 1e30]], &Device::Cpu).unwrap();
        for act in ALL {
            let y = activate(&x, act).unwrap().to_vec2::<f32>().unwrap();
            assert!(y[0][1].abs() < 1e-30 && y[0][2] == 200.0 && y[0][3] == 1e30, "{act:?}: {y:?}");
            assert!(y[0][0].is_finite(), "{act:?}: {y:?}");
        }
    }

    #[test]
    fn an_odd_number_of_columns_is_no_gate_and_up() {
        let x = Tensor::zeros((1, 5), DType::F32, &Device::Cpu).unwrap();
        assert!(gated(&x, Act::Silu).unwrap_err().to_string().contains("5 columns"));
    }
}
