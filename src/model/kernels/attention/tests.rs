use super::super::testing::{check_gradients, values};
use super::*;
use candle_core::{D, Device};

fn spec() -> Attention {
    Attention::new(4, 2, 6)
}

/// Every kind of layer: windows of one key, shorter and longer than the blocks of keys and queries, with a cap or not,
/// one to eight query heads for a key, head sizes that fill no vector.
fn specs() -> Vec<Attention> {
    let mut specs = Vec::new();
    for (n_heads, n_kv_heads, d_head) in
        [(4, 2, 6), (3, 3, 16), (7, 1, 5), (8, 1, 40), (5, 1, 80), (3, 1, 33), (6, 1, 8)]
    {
        for (window, softcap) in [
            (None, Some(1.5)),
            (Some(1), None),
            (Some(5), Some(0.7)),
            (Some(16), None),
            (Some(41), Some(3.0)),
            (Some(500), None),
        ] {
            specs.push(Attention { window, softcap, scale: 0.9, ..Attention::new(n_heads, n_kv_heads, d_head) });
        }
    }
    specs
}

/// Rows of the fused input.
fn input<T: candle_core::WithDType>(seed: u64, n: usize, spec: Attention, f: impl Fn(f64) -> T) -> Tensor {
    let data: Vec<T> = values(seed, n * spec.width()).into_iter().map(f).collect();
    Tensor::from_vec(data, (n, spec.width()), &Device::Cpu).unwrap()
}

fn bits(x: &Tensor) -> Vec<Vec<u32>> {
    x.to_vec2::<f32>().unwrap().into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
}

#[test]
fn gradient_agrees_with_finite_differences() {
    let spec = Attention::new(2, 1, 3);
    let examples = Arc::new(vec![0..3, 3..5]);
    check_gradients(&[&[5, spec.width()]], |x| attend(&x[0], spec, &examples, None));
    // More queries than one block of the gradient.
    let (spec, examples) = (Attention::new(1, 1, 2), Arc::new(vec![0..2, 2..70]));
    check_gradients(&[&[70, spec.width()]], |x| attend(&x[0], spec, &examples, None));
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn gradient_with_a_cap_and_a_window_agrees_with_finite_differences() {
    let examples = Arc::new(vec![0..3, 3..9]);
    for (window, softcap) in [(None, Some(0.6)), (Some(1), None), (Some(3), Some(0.8))] {
        let spec = Attention { window, softcap, scale: 1.3, ..Attention::new(2, 1, 3) };
        check_gradients(&[&[9, spec.width()]], |x| attend(&x[0], spec, &examples, None));
    }
    // The second block of the gradient's queries begins behind the first keys.
    let spec = Attention { window: Some(5), softcap: Some(0.5), ..Attention::new(1, 1, 1) };
    check_gradients(&[&[72, spec.width()]], |x| attend(&x[0], spec, &Arc::new(vec![0..72]), None));
}

/// The textbook form, in tensor operations, for one sequence.
fn textbook(x: &Tensor, s: Attention) -> Tensor {
    let n = x.dim(0).unwrap();
    let part = |at: usize, heads: usize| {
        let y = x.narrow(1, at * s.d_head, heads * s.d_head).unwrap();
        y.reshape((n, heads, s.d_head)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
    };
    let (q, k, v) = (part(0, s.n_heads), part(s.n_heads, s.n_kv_heads), part(s.n_heads + s.n_kv_heads, s.n_kv_heads));
    let hidden = |i: usize, j: usize| j > i || s.window.is_some_and(|w| i - j >= w);
    let mask = (0..n * n).map(|at| if hidden(at / n, at % n) { f64::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (n, n), &Device::Cpu).unwrap();
    let heads: Vec<Tensor> = (0..s.n_heads)
        .map(|h| {
            let kv = h / (s.n_heads / s.n_kv_heads);
            let scores = (q.get(h).unwrap().matmul(&k.get(kv).unwrap().t().unwrap()).unwrap() * s.scale).unwrap();
            let scores =
                s.softcap.map_or(scores.clone(), |cap| ((scores / cap).unwrap().tanh().unwrap() * cap).unwrap());
            let scores = (scores + &mask).unwrap();
            let e = scores.broadcast_sub(&scores.max_keepdim(D::Minus1).unwrap()).unwrap().exp().unwrap();
            let p = e.broadcast_div(&e.sum_keepdim(D::Minus1).unwrap()).unwrap();
            p.matmul(&v.get(kv).unwrap()).unwrap()
        })
        .collect();
    Tensor::cat(&heads, 1).unwrap()
}

#[test]
fn packed_rows_agree_with_the_textbook_sequence_by_sequence() {
    let lengths = [1usize, 2, 33, 7, 64];
    let mut examples = Vec::new();
    for l in lengths {
        let from = examples.last().map_or(0, |r: &Range<usize>| r.end);
        examples.push(from..from + l);
    }
    for spec in [vec![spec()], specs()].concat() {
        let x = input(5, lengths.iter().sum(), spec, |v| v);
        let got = attend(&x, spec, &Arc::new(examples.clone()), None).unwrap();
        for r in &examples {
            let want = textbook(&x.narrow(0, r.start, r.len()).unwrap(), spec);
            let diff = (got.narrow(0, r.start, r.len()).unwrap() - want).unwrap().abs().unwrap();
            assert!(diff.max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12, "rows {r:?} of {spec:?}");
        }
    }
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn cached_steps_give_the_bits_of_the_whole() {
    let n = 135;
    for spec in [vec![spec()], specs()].concat() {
        let x = input(6, n, spec, |v| v as f32);
        let whole = bits(&attend(&x, spec, &Arc::new(vec![0..n]), None).unwrap());
        for steps in [&[1, 30, 1, 1, 2, 35, 1, 59, 1, 4][..], &[70, 3, 62], &[n]] {
            let mut heads = Vec::new();
            let mut from = 0;
            for step in steps.iter().copied() {
                let part = x.narrow(0, from, step).unwrap();
                let got = bits(&attend_cached(&part, spec, &[0..step], &mut [&mut heads]).unwrap());
                assert_eq!(got[..], whole[from..from + step], "{step} rows after {from} of {spec:?}");
                from += step;
            }
            assert_eq!((from, heads[0].len()), (n, n));
        }
    }
}

#[test]
fn rows_that_ask_alone_get_the_bits_of_the_whole() {
    let n = 90;
    let examples = Arc::new(vec![0..37, 37..40, 40..90]);
    let asking = vec![5..36, 38..38, 71..90];
    for spec in [vec![spec()], specs()].concat() {
        let x = input(7, n, spec, |v| v as f32);
        let whole = bits(&attend(&x, spec, &examples, None).unwrap());
        let got = bits(&attend(&x, spec, &examples, Some(&Arc::new(asking.clone()))).unwrap());
        let want: Vec<_> = asking.iter().cloned().flatten().map(|r| whole[r].clone()).collect();
        assert_eq!(got, want, "{spec:?}");
    }
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn a_window_longer_than_the_sequence_changes_no_bit_and_one_key_gives_its_value() {
    let n = 50;
    let x = input(8, n, spec(), |v| v as f32);
    let of = |window| attend(&x, Attention { window, ..spec() }, &Arc::new(vec![0..n]), None).unwrap();
    assert_eq!(bits(&of(None)), bits(&of(Some(n))));
    assert_ne!(bits(&of(None)), bits(&of(Some(n - 1))));
    // Both query heads of a group gather the value of their own row.
    let (own, v) = (of(Some(1)), x.narrow(1, 6 * 6, 2 * 6).unwrap());
    let v = v.reshape((n, 2, 1, 6)).unwrap().broadcast_as((n, 2, 2, 6)).unwrap().reshape((n, 24)).unwrap();
    assert_eq!(bits(&own), bits(&v));
}

#[test]
fn a_window_without_keys_and_a_cap_of_zero_are_refused() {
    let x = input(9, 2, spec(), |v| v);
    for bad in [Attention { window: Some(0), ..spec() }, Attention { softcap: Some(0.0), ..spec() }] {
        let error = attend(&x, bad, &Arc::new(vec![0..1, 1..2]), None).unwrap_err().to_string();
        assert!(error.contains("must be positive"), "{error}");
    }
}
