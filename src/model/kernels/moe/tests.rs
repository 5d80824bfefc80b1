use super::super::testing::{check_gradients, values};
use super::super::{linear, tape};
use super::*;

fn logits(rows: &[&[f32]]) -> Tensor {
    Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

#[test]
fn rows_go_to_their_largest_probabilities() {
    // exp gives 1 : 2 : 4 : 1 of 8, and of equal logits the first ones are taken.
    let ln2 = std::f32::consts::LN_2;
    let z = logits(&[&[0.0, ln2, 2.0 * ln2, 0.0], &[5.0, 5.0, 5.0, 5.0]]);
    let plain = route(&z, 2, false).unwrap();
    assert_eq!(plain.experts, [2, 1, 0, 1]);
    let near = |x: &Tensor, want: [f32; 4]| {
        let got = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?}");
    };
    near(&plain.weights, [0.5, 0.25, 0.25, 0.25]);
    near(&route(&z, 2, true).unwrap().weights, [2.0 / 3.0, 1.0 / 3.0, 0.5, 0.5]);
    assert_eq!(plain.slots(4), [vec![2], vec![1, 3], vec![0], vec![]]);
}

#[test]
fn what_cannot_be_routed_is_refused() {
    let z = logits(&[&[0.0, 1.0], &[f32::NAN, 0.0]]);
    assert!(route(&z, 1, false).unwrap_err().to_string().contains("row 1 are not numbers"));
    assert!(route(&z, 3, false).unwrap_err().to_string().contains("3 of 2 experts"));
    let (a, w) = (logits(&[&[1.0, 2.0]]), logits(&[&[1.0]]));
    assert!(combine(&[a], &[vec![0, 0]], &w).unwrap_err().to_string().contains("do not fit"));
}

/// Three experts of one matrix each, two of them for a row.
fn mixture(x: &[Tensor], normalise: bool) -> Result<Tensor> {
    let routing = route(&linear(&x[0], &x[1])?, 2, normalise)?;
    let slots = routing.slots(3);
    let answer = |e: usize| linear(&gather(&x[0], &slots[e], 2)?, &x[2 + e]);
    combine(&[answer(0)?, answer(1)?, answer(2)?], &slots, &routing.weights)
}

#[test]
fn gradients_agree_with_finite_differences() {
    for normalise in [false, true] {
        check_gradients(&[&[6, 4], &[4, 3], &[4, 5], &[4, 5], &[4, 5]], |x| mixture(x, normalise));
    }
}

#[test]
fn an_expert_that_nothing_comes_to_changes_nothing() {
    let a = logits(&[&[1.0, 2.0], &[3.0, 4.0]]);
    let none = Tensor::zeros((0, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    let w = candle_core::Var::from_tensor(&logits(&[&[2.0], &[10.0]])).unwrap();
    let (y, tape) = tape::record(|| combine(&[none, a], &[vec![], vec![1, 0]], w.as_tensor())).unwrap();
    // Slot 1, the second row, is the first answer.
    assert_eq!(y.to_vec2::<f32>().unwrap(), [[6.0, 8.0], [10.0, 20.0]]);
    let grad = tape.backward(&y, y.ones_like().unwrap()).unwrap().take(w.as_tensor()).unwrap();
    assert_eq!(grad.to_vec2::<f32>().unwrap(), [[7.0], [3.0]]);
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    let f32s = |seed, r: usize, c: usize| {
        let data: Vec<f32> = values(seed, r * c).into_iter().map(|v| v as f32).collect();
        Tensor::from_vec(data, (r, c), &Device::Cpu).unwrap()
    };
    let weights = [f32s(2, 40, 3), f32s(3, 40, 30), f32s(4, 40, 30), f32s(5, 40, 30)];
    let run = |x: Tensor| mixture(&[&[x], &weights[..]].concat(), true).unwrap().to_vec2::<f32>().unwrap();
    let x = f32s(1, 37, 40);
    let whole = run(x.clone());
    for row in [0, 5, 36] {
        assert_eq!(run(x.narrow(0, row, 1).unwrap())[0], whole[row]);
    }
}
