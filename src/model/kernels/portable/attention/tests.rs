//! Attention against our own kernel: whole and cached, windows, caps, ragged examples.

use super::super::super::testing::values;
use super::super::super::{Attention, attend};
use super::super::tests::apart;
use super::*;
use candle_core::{Device, Tensor};
use std::ops::Range;
use std::sync::Arc;

const PLAIN: Attention = Attention { n_heads: 6, n_kv_heads: 2, d_head: 8, scale: 0.3, softcap: None, window: None };

fn specs() -> [Attention; 4] {
    [
        PLAIN,
        Attention { n_kv_heads: 6, ..PLAIN },
        Attention { window: Some(5), ..PLAIN },
        Attention { window: Some(1), softcap: Some(0.7), n_kv_heads: 1, ..PLAIN },
    ]
}

/// Row ranges of sequences of these lengths.
fn ranges(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |l: &usize| {
        end += l;
        end - l..end
    };
    lengths.iter().map(range).collect()
}

/// 33 lengths from 1 to 70 in no order.
fn ragged() -> Vec<usize> {
    (0..33).map(|i| 1 + (i * 29 + i * i * 7) % 70).collect()
}

fn rows(seed: u64, n: usize, spec: &Attention) -> Tensor {
    let data: Vec<f32> = values(seed, n * spec.width()).into_iter().map(|v| 2.0 * v as f32).collect();
    Tensor::from_vec(data, (n, spec.width()), &Device::Cpu).unwrap()
}

#[test]
fn ragged_examples_get_the_answers_of_our_own_kernel() {
    for lengths in [ragged(), vec![1], vec![40; 5], vec![3, 3, 3, 64, 64], vec![700, 1]] {
        for spec in specs() {
            let examples = ranges(&lengths);
            let x = rows(1, examples.last().unwrap().end, &spec);
            let want = attend(&x, spec, &Arc::new(examples.clone()), None).unwrap();
            let mut layout = Layout::new(&spec, &examples, None, &Device::Cpu).unwrap();
            for _ in 0..2 {
                // The second time with the masks of the first.
                let off = apart(&layout.attend(&x, &spec).unwrap(), &want);
                assert!(off < 1e-6, "{spec:?}, lengths {lengths:?}: {off:e}");
            }
        }
    }
}

#[test]
fn rows_that_ask_alone_get_their_answers() {
    let examples = ranges(&[37, 3, 50, 20]);
    for spec in specs() {
        let x = rows(2, 110, &spec);
        for asking in [vec![5..36, 38..38, 71..90, 109..110], vec![36..37, 39..40, 89..90, 109..110]] {
            let want = attend(&x, spec, &Arc::new(examples.clone()), Some(&Arc::new(asking.clone()))).unwrap();
            let mut layout = Layout::new(&spec, &examples, Some(&asking), &Device::Cpu).unwrap();
            assert!(apart(&layout.attend(&x, &spec).unwrap(), &want) < 1e-6, "{spec:?} {asking:?}");
        }
        let nobody = vec![0..0, 37..37, 40..40, 90..90];
        let mut layout = Layout::new(&spec, &examples, Some(&nobody), &Device::Cpu).unwrap();
        assert_eq!(layout.attend(&x, &spec).unwrap().dims(), [0, spec.n_heads * spec.d_head]);
    }
}

/// Passes over the cache, each a list of (example, rows), against whole attention of what each example has had by then.
fn decode(spec: Attention, passes: &[Vec<(usize, usize)>], forget: &[(usize, usize)]) {
    let n = passes.iter().flatten().map(|(e, _)| e + 1).max().unwrap();
    let full: Vec<Tensor> = (0..n).map(|e| rows(10 + e as u64, 200, &spec)).collect();
    let (mut slots, mut had) = (Slots::new(2), vec![0; n]);
    for (p, pass) in passes.iter().enumerate() {
        slots.close_pass();
        let (mut new, mut parts, mut want, mut row) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (e, rows) in pass {
            new.push(Newcomers { example: *e, rows: row..row + rows, first_pos: had[*e] });
            parts.push(full[*e].narrow(0, had[*e], *rows).unwrap());
            (row, had[*e]) = (row + rows, had[*e] + rows);
            let all = full[*e].narrow(0, 0, had[*e]).unwrap();
            let whole = attend(&all, spec, &Arc::new(ranges(&[had[*e]])), None).unwrap();
            want.push(whole.narrow(0, had[*e] - rows, *rows).unwrap());
        }
        let (x, want) = (Tensor::cat(&parts, 0).unwrap(), Tensor::cat(&want, 0).unwrap());
        for layer in 0..2 {
            // Another layer has other keys: those of the first, doubled.
            let x = (&x * (1.0 + layer as f64)).unwrap();
            let got = slots.attend(layer, &spec, &new, &x).unwrap();
            if layer == 0 {
                let off = apart(&got, &want);
                assert!(off < 1e-6, "{spec:?} pass {p}: {off:e}");
            }
        }
        forget.iter().filter(|(after, _)| *after == p).for_each(|(_, e)| slots.forget(*e));
    }
}

#[test]
fn cached_passes_get_the_answers_of_the_whole() {
    for spec in specs() {
        // Ragged prompts, single steps, then several rows at once for some, and an example that comes late.
        let prompts: Vec<(usize, usize)> = ragged().into_iter().take(6).enumerate().collect();
        let step: Vec<(usize, usize)> = (0..6).map(|e| (e, 1)).collect();
        let late = vec![(4, 3), (6, 9), (0, 1)];
        decode(spec, &[prompts, step.clone(), step.clone(), late, step], &[]);
    }
}

#[test]
fn a_cache_with_many_steps_grows_and_one_whose_examples_finish_shrinks() {
    let passes = |examples: &[usize], n: usize| vec![examples.iter().map(|e| (*e, 1)).collect::<Vec<_>>(); n];
    let all = [vec![vec![(0, 3), (1, 40), (2, 7), (3, 1), (4, 2)]]].into_iter().flatten();
    let passes: Vec<_> =
        all.chain(passes(&[0, 1, 2, 3, 4], 30)).chain(passes(&[3, 1], 40)).chain(passes(&[1], 9)).collect();
    // Three leave at once (two are left of five: the buffers shrink), then another one.
    decode(PLAIN, &passes, &[(30, 0), (30, 2), (30, 4), (70, 3)]);
    let mut slots = Slots::new(1);
    let new = |e: usize| Newcomers { example: e, rows: e..e + 1, first_pos: 0 };
    slots.attend(0, &PLAIN, &[new(0), new(1), new(2)], &rows(1, 3, &PLAIN)).unwrap();
    slots.close_pass();
    (0..3).for_each(|e| slots.forget(e));
    let again = Newcomers { example: 7, rows: 0..1, first_pos: 0 };
    let got = slots.attend(0, &PLAIN, &[again], &rows(2, 1, &PLAIN)).unwrap();
    let want = attend(&rows(2, 1, &PLAIN), PLAIN, &Arc::new(ranges(&[1])), None).unwrap();
    assert!(apart(&got, &want) < 1e-6, "an empty cache starts anew");
}

#[test]
fn blocks_keep_the_scores_within_their_bound() {
    let long = Attention { n_heads: 32, n_kv_heads: 8, d_head: 128, ..PLAIN };
    for (n, queries, keys) in [(1, 32_768, 32_768), (8, 4096, 4096), (64, 1, 2048), (1, 100, 100)] {
        let cut: Vec<Range<usize>> = super::blocks::blocks(&long, n, queries, keys).collect();
        assert_eq!(cut.iter().map(Range::len).sum::<usize>(), queries);
        assert!(cut.windows(2).all(|w| w[0].end == w[1].start));
        let most = cut.iter().map(Range::len).max().unwrap();
        assert!(most == 1 || n * 32 * most * keys * 4 <= SCORE_BYTES, "{most} queries of {n} x {keys}");
    }
}
