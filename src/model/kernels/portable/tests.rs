//! The two forms of every kernel against each other, on the CPU.

use super::super::testing::values;
use super::super::{self as kernels, Act, LowRankPart, RopeTable};
use super::*;
use std::sync::Arc;

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let data: Vec<f32> = values(seed, shape.iter().product()).into_iter().map(|v| 2.0 * v as f32).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// The largest difference, relative to the largest value where that is above 1.
pub(super) fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let (a, b) = (a.to_dtype(DType::F32).unwrap(), b.to_dtype(DType::F32).unwrap());
    largest((&a - &b).unwrap()) / largest(b).max(1.0)
}

/// Runs `f` with our own kernels and in tensor operations; the latter in bf16 too, where an error of the formula would be
/// far above the 2^-8 of one rounding.
fn agree(what: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let own = f(inputs).unwrap();
    let portable = forced(|| f(inputs)).unwrap();
    let off = apart(&portable, &own);
    assert!(off < 1e-6, "{what}: {off:e}");
    let narrow: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::BF16).unwrap()).collect();
    let rounded: Vec<Tensor> = narrow.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    let portable = forced(|| f(&narrow)).unwrap();
    assert_eq!(portable.dtype(), DType::BF16, "{what} leaves the dtype of the stream");
    let off = apart(&portable, &f(&rounded).unwrap());
    assert!(off < 8e-3, "{what} in bf16: {off:e}");
}

#[test]
fn kernels_by_row_are_the_same_in_both_forms() {
    let x = random(1, &[7, 48]);
    let wide = random(2, &[7, 96]);
    let (w, b) = (random(3, &[48]), random(4, &[48]));
    agree("rms norm", &[x.clone(), w.clone()], |t| kernels::rms_norm(&t[0], &t[1], 1e-5));
    agree("layer norm", &[x.clone(), w.clone(), b.clone()], |t| kernels::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-5));
    agree("layer norm", &[x.clone(), w], |t| kernels::layer_norm(&t[0], &t[1], None, 1e-5));
    for (first, heads) in [(0, 6), (0, 12), (8, 3), (72, 3)] {
        let what = format!("{heads} heads from {first} on");
        agree(&what, &[wide.clone(), random(5, &[8])], |t| kernels::norm_heads(&t[0], &t[1], first, heads, 8, 1e-6));
    }
    for act in [Act::Silu, Act::GeluTanh, Act::Gelu] {
        agree(&format!("{act:?}"), std::slice::from_ref(&wide), |t| kernels::activate(&t[0], act));
        agree(&format!("gated {act:?}"), std::slice::from_ref(&wide), |t| kernels::gated(&t[0], act));
    }
    agree("scaled", std::slice::from_ref(&x), |t| kernels::scaled(&t[0], 55.4256));
    agree("soft cap", std::slice::from_ref(&x), |t| kernels::softcap(&t[0], 1.5));
    agree("add", &[x.clone(), random(6, &[7, 48])], |t| kernels::add(&t[0], &t[1]));
    agree("bias", &[x, b], |t| kernels::add_bias(&t[0], &t[1]));
}

#[test]
fn rows_are_turned_the_same_in_both_forms() {
    // 3 of 4 heads of 8 columns, all of them or the first 6.
    let places = Arc::new(vec![0u32, 5, 63, 5, 2]);
    for d_rot in [8, 6] {
        let table = Arc::new(RopeTable::new(d_rot, 100.0, 64));
        agree("rope", &[random(1, &[5, 32])], |t| kernels::rope(&t[0], &table, &places, 3, 8));
        agree("rope of all", &[random(1, &[5, 32])], |t| kernels::rope(&t[0], &table, &places, 4, 8));
    }
    let table = Arc::new(RopeTable::new(8, 100.0, 64));
    let turned = |places: &[u32]| {
        let x = random(1, &[1, 8]);
        forced(|| kernels::rope(&x, &table, &Arc::new(places.to_vec()), 1, 8)).unwrap()
    };
    let (at_3, at_4, again) = (turned(&[3]), turned(&[4]), turned(&[3]));
    assert!(apart(&at_3, &at_4) > 1e-2 && apart(&at_3, &again) == 0.0, "angles are kept for the rows that they are of");
    let refused = forced(|| kernels::rope(&random(1, &[1, 8]), &table, &Arc::new(vec![64]), 1, 8));
    assert!(refused.unwrap_err().to_string().contains("position 64"));
}

#[test]
fn products_are_the_same_in_both_forms_with_low_rank_parts_too() {
    let (x, w) = (random(1, &[9, 16]), random(2, &[16, 24]));
    agree("linear", &[x.clone(), w.clone()], |t| kernels::linear(&t[0], &t[1]));
    let parts = vec![
        LowRankPart { rows: 0..9, columns: 0..24, rank: 2, scale: 0.5, h_at: 0, b_at: 0 },
        LowRankPart { rows: 3..5, columns: 8..24, rank: 3, scale: -1.5, h_at: 18, b_at: 48 },
        LowRankPart { rows: 8..9, columns: 0..8, rank: 1, scale: 2.0, h_at: 24, b_at: 96 },
    ];
    let factors = [x, w, random(3, &[25]), random(4, &[104])];
    agree("low rank", &factors, |t| kernels::linear_with_low_rank(&t[0], &t[1], &t[2], &t[3], parts.clone()));
}

#[test]
fn answers_of_experts_are_added_up_the_same_in_both_forms() {
    // 4 rows with 2 experts each; the expert in the middle is asked by none.
    let slots = vec![vec![0, 3, 7], vec![], vec![1, 2, 4, 5, 6]];
    let inputs = [
        random(1, &[3, 6]),
        Tensor::zeros((0, 6), DType::F32, &Device::Cpu).unwrap(),
        random(2, &[5, 6]),
        random(3, &[4, 2]),
    ];
    agree("combine", &inputs, |t| kernels::combine(&t[..3], &slots, &t[3]));
}

#[test]
fn likelihoods_are_the_same_in_both_forms() {
    use super::super::{CappedHead, HeadWeight};
    let (h, w, targets) =
        (random(1, &[300, 8]), random(2, &[8, 20]), (0..300).map(|i| i * 7 % 20).collect::<Vec<u32>>());
    let tied = w.t().unwrap().contiguous().unwrap();
    for (weight, cap) in [(HeadWeight::Own(&w), None), (HeadWeight::Tied(&tied), Some(2.0))] {
        let head = CappedHead { weight, cap };
        let (own, other) =
            (kernels::nll(&h, head, &targets).unwrap(), forced(|| kernels::nll(&h, head, &targets)).unwrap());
        assert!(own.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5) && own.len() == other.len());
    }
    let head = HeadWeight::Own(&w);
    assert!(
        forced(|| kernels::nll(&h, head, &targets[1..])).is_err()
            && forced(|| kernels::nll(&h, head, &[20; 300])).is_err()
    );
}

#[test]
fn a_norm_whose_weight_is_finer_than_the_rows_is_rounded_once() {
    let (x, w) = (random(1, &[3, 32]).to_dtype(DType::BF16).unwrap(), random(2, &[32]));
    let want = kernels::rms_norm(&x.to_dtype(DType::F32).unwrap(), &w, 1e-6).unwrap().to_dtype(DType::BF16).unwrap();
    let got = forced(|| kernels::rms_norm(&x, &w, 1e-6)).unwrap();
    assert!(apart(&got, &want) < 5e-3 && got.dtype() == DType::BF16);
}

#[test]
fn the_first_of_equal_numbers_is_the_largest() {
    let x = Tensor::new(&[[1.0f32, 3.0, 3.0], [2.0, -1.0, 2.0], [-5.0, -4.0, -4.5]], &Device::Cpu).unwrap();
    let largest = Largest::of(3, &Device::Cpu).unwrap();
    assert_eq!(largest.first(&x).unwrap(), [1, 0, 1]);
    assert_eq!(largest.first(&x.to_dtype(DType::BF16).unwrap()).unwrap(), [1, 0, 1]);
    assert_eq!(largest.first(&(x * f64::NAN).unwrap()).unwrap(), [0, 0, 0]);
}
