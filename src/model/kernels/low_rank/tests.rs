use super::{LowRankPart, linear_with_low_rank};
use crate::model::kernels::linear;
use crate::model::kernels::portable::with_low_rank as added;
use crate::model::kernels::tape;
use crate::model::kernels::testing::{check_gradients, values};
use candle_core::{Device, Tensor, Var};

fn part(rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, rank: usize, at: [usize; 2]) -> LowRankPart {
    LowRankPart { rows, columns, rank, scale: 1.5, h_at: at[0], b_at: at[1] }
}

/// Seven rows, nine columns: two parts on all rows, one on some with the factor of the first again.
fn parts() -> Vec<LowRankPart> {
    // h: 7*2 + 7*1 + 3*2 = 27; b: 2*4 + 1*3 = 11.
    vec![part(0..7, 0..4, 2, [0, 0]), part(0..7, 6..9, 1, [14, 8]), part(2..5, 5..9, 2, [21, 0])]
}

fn f64s(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    let shape = shape.into();
    Tensor::from_vec(values(seed, shape.elem_count()), shape, &Device::Cpu).unwrap()
}

#[test]
fn the_op_is_the_sum_of_its_products() {
    let (x, w, h, b) = (f64s(1, (7, 5)), f64s(2, (5, 9)), f64s(3, 27), f64s(4, 11));
    let fused = linear_with_low_rank(&x, &w, &h, &b, parts()).unwrap().to_vec2::<f64>().unwrap();
    let slow = added(linear(&x, &w).unwrap(), &h, &b, &parts()).unwrap().to_vec2::<f64>().unwrap();
    for (a, b) in fused.concat().iter().zip(slow.concat()) {
        assert!((a - b).abs() < 1e-14, "{a} for {b}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let w = f64s(2, (5, 9));
    check_gradients(&[&[7, 5], &[27], &[11]], |t| linear_with_low_rank(&t[0], &w, &t[1], &t[2], parts()));
    check_gradients(&[&[7, 5], &[5, 9], &[27], &[11]], |t| linear_with_low_rank(&t[0], &t[1], &t[2], &t[3], parts()));
}

#[test]
fn a_frozen_weight_gets_no_gradient_and_a_trained_one_keeps_its_own() {
    let (h, b) = (Var::from_tensor(&f64s(3, 27)).unwrap(), Var::from_tensor(&f64s(4, 11)).unwrap());
    let (x, w) = (f64s(1, (7, 5)), f64s(2, (5, 9)));
    let grads = |w: &Tensor| {
        let (y, tape) = tape::record(|| linear_with_low_rank(&x, w, &h, &b, parts())).unwrap();
        tape.backward(&y, y.ones_like().unwrap()).unwrap()
    };
    let mut frozen = grads(&w);
    assert!(frozen.take(&w).is_none() && frozen.take(&x).is_none());
    assert!(frozen.take(&h).is_some() && frozen.take(&b).is_some());
    let w = Var::from_tensor(&w).unwrap();
    let mut trained = grads(&w);
    assert!(trained.take(&w).is_some() && trained.take(&h).is_some());
}

#[test]
fn rows_have_the_same_bits_alone_and_among_others() {
    let f32s = |seed, n: usize| values(seed, n).into_iter().map(|v| v as f32).collect::<Vec<_>>();
    for (rank, n) in [(1, 40), (2, 40), (3, 7), (8, 1), (8, 64), (16, 150), (70, 33), (520, 48)] {
        let (rows, d_in) = (150, 12);
        let tensor = |v: Vec<f32>, shape: (usize, usize)| Tensor::from_vec(v, shape, &Device::Cpu).unwrap();
        let (x, w) = (tensor(f32s(1, rows * d_in), (rows, d_in)), tensor(f32s(2, d_in * (n + 9)), (d_in, n + 9)));
        let (h, b) = (tensor(f32s(3, rows * rank), (rows, rank)), tensor(f32s(4, rank * n), (rank, n)));
        let b = b.flatten_all().unwrap();
        let through = |from: usize, len: usize, adapted: std::ops::Range<usize>| {
            let h = h.narrow(0, from + adapted.start, adapted.len()).unwrap().flatten_all().unwrap();
            let x = x.narrow(0, from, len).unwrap();
            let y = linear_with_low_rank(&x, &w, &h, &b, vec![part(adapted, 4..4 + n, rank, [0, 0])]).unwrap();
            y.to_vec2::<f32>().unwrap()
        };
        let (whole, base) = (through(0, rows, 0..rows), linear(&x, &w).unwrap().to_vec2::<f32>().unwrap());
        for (from, len) in [(0, 1), (7, 2), (9, 17), (60, 65), (0, 149)] {
            assert_eq!(through(from, len, 0..len)[..], whole[from..from + len], "{len} rows of rank {rank} to {n}");
        }
        let mixed = through(0, rows, 50..51);
        assert_eq!(mixed[50], whole[50]);
        assert!(mixed[..50] == base[..50] && mixed[51..] == base[51..], "the others are as without");
        assert!((0..4).chain(4 + n..n + 9).all(|c| whole[3][c] == base[3][c]), "as are other columns");
    }
}

#[test]
fn parts_outside_their_operands_are_refused() {
    let (x, w, h, b) = (f64s(1, (7, 5)), f64s(2, (5, 9)), f64s(3, 27), f64s(4, 11));
    for bad in [part(0..8, 0..4, 2, [0, 0]), part(0..7, 6..10, 2, [0, 0]), part(0..7, 0..4, 2, [14, 0])] {
        assert!(linear_with_low_rank(&x, &w, &h, &b, vec![bad]).is_err());
    }
}
