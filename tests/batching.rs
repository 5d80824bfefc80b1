//! What must not matter: who else is in the batch, in which order, cut how, on how many threads, interrupted or not,
//! and what comes later in the text.

mod common;

use candle_core::{Device, Tensor};
use common::{Matrix, all_sites, bits, every_site, logits, model, pack, random_tokens, unit_vector, worst};
use personascope::axes::Site;
use personascope::error::Result;
use personascope::model::generate::{Settings, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{Along, Cache, Edit, Example, Head, Hooks, Lm, Model, Positions, Rewrite, Rows, forward};
use personascope::rng::stream;
use personascope::store::FolderShelf;
use personascope::text::Message;
use personascope::unit::{Item, Outcome, Plan, Shelf, Tally, Task, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How far batching may move a number. Kernels are made so that it moves none; this is what is promised.
const BATCHING: f64 = 1e-5;
/// Cached decoding sums the same products in another order.
const DECODING: f64 = 1e-4;

/// 37 prompts of unlike lengths, the shortest one token, the longest beyond a block of any kernel.
fn ragged(model: &Model) -> Vec<Vec<u32>> {
    let mut rng = stream(7, "lengths");
    let mut lengths: Vec<usize> = (0..34).map(|_| rng.random_range(1..90)).collect();
    lengths.extend([1, 130, 64]);
    let prompts = lengths.iter().enumerate().map(|(i, n)| random_tokens(model, *n, 100 + i as u64));
    prompts.collect()
}

/// Up to 24 different chats that the embedded model knows how to answer.
fn chats(model: &Model, n: usize) -> Vec<Vec<u32>> {
    let topics = ["tea", "the garden", "the boat", "bread", "the soul", "maps"];
    let who = ["", "You are Bodek.", "Please act as Rupel."];
    let ask = ["Tell me about", "What should I know about", "Please say something about", "Let us talk about"];
    let chat = |i: usize| {
        let question = format!("{} {}.", ask[i / topics.len()], topics[i % topics.len()]);
        let mut messages = vec![Message::new("user", question)];
        if !who[i % 3].is_empty() {
            messages.insert(0, Message::new("system", who[i % 3]));
        }
        model.text.chat(&messages, true).unwrap().tokens
    };
    (0..n).map(chat).collect()
}

fn along(model: &Model, site: Site, rewrite: Rewrite, positions: Positions) -> Along {
    Along::new(site, &unit_vector(model.lm.dims().d_model, 4), rewrite, positions).unwrap()
}

/// Every site of each prompt by itself.
fn one_at_a_time(lm: &dyn Lm, prompts: &[Vec<u32>]) -> Vec<BTreeMap<Site, Matrix>> {
    prompts.iter().map(|p| all_sites(lm, &pack(std::slice::from_ref(p), &[]), &[]).0).collect()
}

#[test]
fn packing_changes_nothing_in_any_order() {
    for fixture in ["toyworld", "llama_sharded"] {
        let m = model(fixture);
        let mut prompts = ragged(&m);
        prompts.iter_mut().for_each(|p| p.truncate(m.lm.dims().n_ctx));
        let alone = one_at_a_time(&*m.lm, &prompts);
        let mut orders = vec![(0..prompts.len()).collect::<Vec<_>>()];
        orders.push(orders[0].iter().rev().copied().collect());
        let mut shuffled = orders[0].clone();
        shuffled.shuffle(&mut stream(1, "order"));
        orders.push(shuffled);
        let (mut apart, mut same_bits) = ((0.0, String::new()), true);
        for order in &orders {
            let rows = pack(&order.iter().map(|i| prompts[*i].clone()).collect::<Vec<_>>(), &[]);
            let (packed, _) = all_sites(&*m.lm, &rows, &[]);
            for (place, &i) in order.iter().enumerate() {
                for (site, want) in &alone[i] {
                    let got = &packed[site][rows.examples()[place].rows.clone()];
                    let d = worst(got, want);
                    same_bits &= bits(got) == bits(want);
                    if d > apart.0 {
                        apart = (d, format!("{site} of prompt {i} ({} tokens)", prompts[i].len()));
                    }
                }
            }
        }
        println!("{fixture}: packed against alone: {:e} {}, same bits: {same_bits}", apart.0, apart.1);
        assert!(apart.0 < BATCHING, "{fixture}: {apart:?}");
    }
}

/// A capture of every row, and the mean of each prompt, at every site.
fn capture<'m>(model: &'m Model, prompts: &[Vec<u32>], max_batch_tokens: usize) -> Plan<'m> {
    let item = |(i, tokens): (usize, &Vec<u32>)| Item {
        id: format!("p{i}"),
        tokens: tokens.clone(),
        prompt_len: tokens.len(),
        ranges: (0..tokens.len()).map(|t| t..t + 1).chain(std::iter::once(0..tokens.len())).collect(),
        seed: 0,
        // Every third one is steered.
        adapter: None,
        edits: if i % 3 == 0 { vec![0] } else { vec![] },
    };
    let edits = vec![along(model, Site::post(1), Rewrite::Shift(2.0), Positions::All).into()];
    let items = prompts.iter().enumerate().map(item).collect();
    Plan { model, task: Task::Capture { sites: every_site(&*model.lm) }, edits, items, max_batch_tokens }
}

/// Replies of up to 12 tokens, some under an edit.
fn replies<'m>(model: &'m Model, prompts: &[Vec<u32>], max_batch_tokens: usize) -> Plan<'m> {
    let sampling = Sampling::new(0.9, 0.95).unwrap();
    let settings = Settings { max_new_tokens: 12, sampling, stops: model.stops.clone() };
    let mut plan = capture(model, prompts, max_batch_tokens);
    plan.task = Task::Generate(settings);
    plan.items.iter_mut().for_each(|i| i.seed = 5);
    plan
}

/// Runs to the end and joins the outcomes.
fn outcomes(plan: &Plan, threads: usize) -> Vec<Outcome> {
    let mut all = Vec::new();
    let take = |u: usize, o: Outcome| {
        assert_eq!(u, all.len(), "outcomes come in the order of the units");
        all.push(o);
        Ok(())
    };
    run(plan, threads, None, &mut |_: &Tally| true, take).unwrap();
    all
}

/// All kept rows of a site, and all replies, whatever the units were.
fn joined(outcomes: &[Outcome]) -> (BTreeMap<Site, Vec<f32>>, Vec<Vec<u32>>) {
    let mut kept: BTreeMap<Site, Vec<f32>> = BTreeMap::new();
    for (site, rows) in outcomes.iter().flat_map(|o| &o.kept) {
        kept.entry(*site).or_default().extend(rows);
    }
    (kept, outcomes.iter().flat_map(|o| o.replies.clone()).collect())
}

#[test]
fn any_token_budget_gives_the_same_rows() {
    let m = model("toyworld");
    let prompts = ragged(&m);
    let (want, _) = joined(&outcomes(&capture(&m, &prompts, 1), 1));
    for budget in [50, 333, 2048, 1 << 20] {
        let plan = capture(&m, &prompts, budget);
        let (got, _) = joined(&outcomes(&plan, 1));
        assert!(got.keys().eq(want.keys()));
        for (site, want) in &want {
            let width = m.lm.dims().width(*site);
            assert_eq!(want.len(), plan.rows() * width);
            let d = worst(std::slice::from_ref(&got[site]), std::slice::from_ref(want));
            assert!(d < BATCHING, "{budget} tokens: {site} {d:e}");
        }
    }
}

fn bytes(outcomes: &[Outcome]) -> Vec<Vec<u8>> {
    outcomes.iter().map(|o| o.to_bytes().unwrap()).collect()
}

#[test]
fn one_thread_or_two_give_the_same_bytes() {
    let m = model("toyworld");
    for plan in [capture(&m, &ragged(&m), 200), replies(&m, &chats(&m, 18), 70)] {
        assert!(plan.units().len() > 5, "{} units", plan.units().len());
        let one = bytes(&outcomes(&plan, 1));
        for threads in [1, 2, 5] {
            assert!(bytes(&outcomes(&plan, threads)) == one, "{threads} threads");
        }
    }
}

/// A shelf that counts what is put on it.
struct Counted {
    shelf: FolderShelf,
    put: Mutex<BTreeMap<String, usize>>,
}

impl Shelf for Counted {
    fn get(&self, address: &str) -> Result<Option<Outcome>> {
        self.shelf.get(address)
    }
    fn put(&self, address: &str, outcome: &Outcome) -> Result<()> {
        *self.put.lock().unwrap().entry(address.into()).or_default() += 1;
        self.shelf.put(address, outcome)
    }
}

#[test]
fn interrupted_at_random_and_resumed_gives_the_same_bytes_and_computes_nothing_twice() {
    let m = model("toyworld");
    for (p, plan) in [capture(&m, &ragged(&m), 150), replies(&m, &chats(&m, 24), 60)].iter().enumerate() {
        let want = bytes(&outcomes(plan, 1));
        for seed in 0..4u64 {
            let mut rng = stream(seed, "interruptions");
            let dir = tempfile::tempdir().unwrap();
            let mut interrupted = 0;
            let counted =
                Counted { shelf: FolderShelf::open(&dir.path().join("units")).unwrap(), put: Default::default() };
            let (got, tally) = loop {
                let patience = rng.random_range(1..6);
                let threads = rng.random_range(1..3);
                let mut computed = 0;
                // Stops, on average, after `patience` units that were not on the shelf.
                let mut progress = |t: &Tally| {
                    let fresh = t.rows_computed > computed;
                    computed = t.rows_computed;
                    !(fresh && rng.random_ratio(1, patience))
                };
                let mut got = Vec::new();
                let take = |_, o: Outcome| {
                    got.push(o);
                    Ok(())
                };
                match run(plan, threads, Some(&counted), &mut progress, take) {
                    Ok(tally) => break (got, tally),
                    Err(e) => {
                        assert!(e.to_string().starts_with("interrupted after"), "{e}");
                        interrupted += 1;
                    }
                }
            };
            assert!(interrupted > 0, "plan {p} seed {seed}: never interrupted");
            assert!(bytes(&got) == want, "plan {p} seed {seed}, interrupted {interrupted} times");
            let put = counted.put.lock().unwrap();
            assert_eq!(put.len(), plan.units().len());
            assert!(put.values().all(|n| *n == 1), "plan {p} seed {seed}: {put:?}");
            assert_eq!(tally.rows_computed + tally.rows_resumed, plan.rows());
            assert!(tally.rows_resumed > 0);
            // Once more: all of it from the shelf.
            let again = run(plan, 2, Some(&counted), &mut |_: &Tally| true, |_, _| Ok(())).unwrap();
            assert_eq!((again.rows_computed, again.rows_resumed), (0, plan.rows()));
        }
    }
}

#[test]
fn later_tokens_never_change_earlier_positions() {
    for fixture in ["toyworld", "llama_f16"] {
        let m = model(fixture);
        for cut in [1, 7, 40] {
            let start = random_tokens(&m, cut, 8);
            let with = |more: usize, seed| [start.clone(), random_tokens(&m, more, seed)].concat();
            let sites = |tokens: Vec<u32>| all_sites(&*m.lm, &pack(&[tokens], &[]), &[]).0;
            let (alone, one, other) = (sites(start.clone()), sites(with(24, 1)), sites(with(24, 2)));
            for (site, want) in &alone {
                assert!(bits(&one[site][..cut]) == bits(&other[site][..cut]), "{fixture} {site} {cut}: other tokens");
                assert!(worst(&one[site][..cut], want) < BATCHING, "{fixture} {site} {cut}: more tokens");
                assert!(bits(&one[site][cut..]) != bits(&other[site][cut..]), "{fixture} {site}: the tails differ");
            }
        }
    }
}

fn greedy(logits: &[f32]) -> u32 {
    (0..logits.len()).fold(0, |b, i| if logits[i] > logits[b] { i } else { b }) as u32
}

/// Greedy tokens and the logits behind each, by decoding all prompts together over a cache.
fn cached(lm: &dyn Lm, prompts: &[Vec<u32>], edit: Option<&dyn Edit>, steps: usize) -> Vec<(Vec<u32>, Matrix)> {
    let mut cache = Cache::new(lm.dims().n_layers);
    let mut done = vec![(Vec::new(), Matrix::new()); prompts.len()];
    for step in 0..steps {
        let rows = Rows::pack(prompts.iter().enumerate().map(|(index, prompt)| {
            let drawn: &Vec<u32> = &done[index].0;
            let (first_pos, tokens) =
                if step == 0 { (0, prompt.clone()) } else { (prompt.len() + step - 1, vec![drawn[step - 1]]) };
            let edits = edit.map(|_| 0).into_iter().collect();
            (Example { index, rows: 0..0, first_pos, prompt_len: prompt.len(), adapter: None, edits }, tokens)
        }));
        let mut hooks = edit.into_iter().fold(Hooks::default(), |h, e| h.edit(e));
        let (out, _) = forward(lm, &rows, &mut hooks, Some(&mut cache), Head::LastRows).unwrap();
        for (done, logits) in done.iter_mut().zip(out.unwrap().to_vec2::<f32>().unwrap()) {
            done.0.push(greedy(&logits));
            done.1.push(logits);
        }
    }
    done
}

/// The same without a cache, prompt by prompt: everything from the first token at every step.
fn recomputed(lm: &dyn Lm, prompt: &[u32], edit: Option<&dyn Edit>, steps: usize) -> (Vec<u32>, Matrix) {
    let (mut tokens, mut drawn, mut behind) = (prompt.to_vec(), Vec::new(), Matrix::new());
    for _ in 0..steps {
        let edits = edit.map(|_| 0).into_iter().collect();
        let example = Example { index: 0, rows: 0..0, first_pos: 0, prompt_len: prompt.len(), adapter: None, edits };
        let (logits, _) = logits(lm, &Rows::pack([(example, tokens.clone())]), edit.as_slice());
        let last = logits.into_iter().last().unwrap();
        drawn.push(greedy(&last));
        tokens.push(greedy(&last));
        behind.push(last);
    }
    (drawn, behind)
}

#[test]
fn cached_decoding_is_full_recompute_with_and_without_an_edit() {
    const STEPS: usize = 20;
    for fixture in ["toyworld", "llama_f16", "llama_sharded"] {
        let m = model(fixture);
        let prompts = if fixture == "toyworld" {
            chats(&m, 5)
        } else {
            [3, 1, 20, 40].iter().map(|n| random_tokens(&m, *n, 9)).collect()
        };
        let edits = [
            (Rewrite::Shift(4.0), Positions::All),
            (Rewrite::Shift(4.0), Positions::LastPrompt),
            (Rewrite::Scale(0.0), Positions::Generated),
            (Rewrite::Pin(3.0), Positions::At(vec![0, 5, 21])),
        ];
        let edits: Vec<Along> = edits.into_iter().map(|(r, p)| along(&m, Site::post(1), r, p)).collect();
        let cases: Vec<Option<&dyn Edit>> =
            [None].into_iter().chain(edits.iter().map(|e| Some(e as &dyn Edit))).collect();
        let mut apart = 0.0f64;
        let mut texts = Vec::new();
        for (c, edit) in cases.into_iter().enumerate() {
            let starts: Vec<Start> = prompts
                .iter()
                .map(|p| Start {
                    id: String::new(),
                    tokens: p.clone(),
                    seed: 0,
                    adapter: None,
                    edits: edit.map(|_| 0).into_iter().collect(),
                })
                .collect();
            let settings = Settings { max_new_tokens: STEPS, sampling: Sampling::GREEDY, stops: vec![] };
            let (replies, _) = generate(&*m.lm, &[], &starts, edit.as_slice(), &settings).unwrap();
            let cached = cached(&*m.lm, &prompts, edit, STEPS);
            for (i, prompt) in prompts.iter().enumerate() {
                let (tokens, behind) = recomputed(&*m.lm, prompt, edit, STEPS);
                let d = worst(&cached[i].1, &behind);
                apart = apart.max(d);
                assert!(d < DECODING, "{fixture} case {c} prompt {i}: {d:e}");
                assert_eq!(cached[i].0, tokens, "{fixture} case {c} prompt {i}");
                assert_eq!(replies[i], tokens, "{fixture} case {c} prompt {i}: generate");
            }
            texts.push(replies);
        }
        println!("{fixture}: cached against recomputed: {apart:e}");
        assert!(texts[1..].iter().any(|t| *t != texts[0]), "{fixture}: no edit changed a token");
    }
}

#[test]
fn sampled_text_is_the_same_in_any_batch() {
    let m = model("toyworld");
    let prompts = chats(&m, 21);
    let (_, want) = joined(&outcomes(&replies(&m, &prompts, 1), 1));
    assert_eq!(want.len(), prompts.len());
    assert!(want.iter().any(|r| r.len() == 12) && want.iter().all(|r| !r.is_empty()));
    for budget in [64, 200, 1 << 20] {
        assert_eq!(joined(&outcomes(&replies(&m, &prompts, budget), 2)).1, want, "{budget} tokens");
    }
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.shuffle(&mut stream(3, "order"));
    let mut plan = replies(&m, &prompts, 300);
    plan.items = order.iter().map(|i| plan.items[*i].clone()).collect();
    let got = joined(&outcomes(&plan, 2)).1;
    for (place, i) in order.iter().enumerate() {
        assert_eq!(got[place], want[*i], "prompt {i} in another order");
    }
    // And it is a sample: another seed or another id is another text.
    let mut plan = replies(&m, &prompts, 300);
    plan.items.iter_mut().for_each(|i| i.seed = 6);
    assert_ne!(joined(&outcomes(&plan, 2)).1, want);
    let mut plan = replies(&m, &prompts, 300);
    plan.items.iter_mut().for_each(|i| i.id.push('x'));
    assert_ne!(joined(&outcomes(&plan, 2)).1, want);
}

/// Rows of a stream, a unit direction of the same width, and the largest value in the rows.
fn rows_and_unit() -> impl Strategy<Value = (Matrix, Vec<f32>)> {
    let width = 2usize..40;
    (width, 1usize..5, 0i32..3).prop_flat_map(|(d, n, size)| {
        let value = -10f32.powi(size)..10f32.powi(size);
        let rows = prop::collection::vec(prop::collection::vec(value, d), n);
        let unit = prop::collection::vec(-1f64..1.0, d).prop_filter_map("no direction", |v| {
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            (norm > 1e-3).then(|| v.iter().map(|x| (x / norm) as f32).collect::<Vec<f32>>())
        });
        (rows, unit)
    })
}

fn apply(rewrite: Rewrite, unit: &[f32], x: &Matrix) -> Matrix {
    let edit = Along::new(Site::post(0), unit, rewrite, Positions::All).unwrap();
    let x = Tensor::from_vec(x.concat(), (x.len(), unit.len()), &Device::Cpu).unwrap();
    edit.apply(&x).unwrap().to_vec2().unwrap()
}

/// Every coordinate along the direction, in f64.
fn along_unit(x: &Matrix, unit: &[f32]) -> Vec<f64> {
    x.iter().map(|r| r.iter().zip(unit).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).collect()
}

/// What is left of each row without its part along the direction, in f64.
fn complement(x: &Matrix, unit: &[f32]) -> Vec<f64> {
    let length = unit.iter().map(|u| f64::from(*u).powi(2)).sum::<f64>();
    let rest = |(row, c): (&Vec<f32>, f64)| -> Vec<f64> {
        row.iter().zip(unit).map(|(x, u)| f64::from(*x) - c / length * f64::from(*u)).collect()
    };
    x.iter().zip(along_unit(x, unit)).flat_map(rest).collect()
}

/// A few roundings of f32 at the size of the numbers involved, in up to 40 columns.
fn rounding(x: &Matrix, amount: f64) -> f64 {
    let largest = x.concat().iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    (largest * 40f64.sqrt() + amount.abs()) * 2e-6
}

fn laws(f: impl Fn(Matrix, Vec<f32>, f64, f64) -> std::result::Result<(), TestCaseError>) {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let inputs = (rows_and_unit(), -20f64..20.0, -20f64..20.0);
    runner.run(&inputs, |((x, unit), a, b)| f(x, unit, a, b)).unwrap();
}

fn near(a: &[f64], b: &[f64], bar: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bar)
}

#[test]
fn edits_leave_the_complement_of_their_direction_alone() {
    laws(|x, unit, a, b| {
        let clamp = Rewrite::Clamp { lo: a.min(b), hi: a.max(b) };
        for rewrite in [Rewrite::Shift(a), Rewrite::Scale(b / 10.0), Rewrite::Pin(a), clamp] {
            let y = apply(rewrite, &unit, &x);
            let bar = rounding(&x, 20.0) + rounding(&y, 0.0);
            prop_assert!(near(&complement(&x, &unit), &complement(&y, &unit), bar), "{rewrite:?}");
            let (c, got) = (along_unit(&x, &unit), along_unit(&y, &unit));
            let want: Vec<f64> = c
                .iter()
                .map(|c| match rewrite {
                    Rewrite::Shift(a) => c + a,
                    Rewrite::Scale(k) => c * k,
                    Rewrite::Pin(m) => m,
                    Rewrite::Clamp { lo, hi } => c.clamp(lo, hi),
                })
                .collect();
            prop_assert!(near(&got, &want, 10.0 * bar), "{rewrite:?}: {got:?} for {want:?}");
        }
        Ok(())
    });
}

#[test]
fn pin_ablation_and_clamp_done_twice_are_done_once() {
    laws(|x, unit, a, b| {
        let clamp = Rewrite::Clamp { lo: a.min(b), hi: a.max(b) };
        for rewrite in [Rewrite::Pin(a), Rewrite::Scale(0.0), clamp] {
            let once = apply(rewrite, &unit, &x);
            let twice = apply(rewrite, &unit, &once);
            let bar = 10.0 * (rounding(&x, 20.0) + rounding(&once, 0.0));
            prop_assert!(worst(&once, &twice) <= bar, "{rewrite:?}: {}", worst(&once, &twice));
        }
        Ok(())
    });
}

#[test]
fn shifts_add_and_a_shift_back_undoes_one() {
    laws(|x, unit, a, b| {
        let both = apply(Rewrite::Shift(b), &unit, &apply(Rewrite::Shift(a), &unit, &x));
        let bar = rounding(&x, 40.0);
        prop_assert!(worst(&both, &apply(Rewrite::Shift(a + b), &unit, &x)) <= bar);
        let back = apply(Rewrite::Shift(-a), &unit, &apply(Rewrite::Shift(a), &unit, &x));
        prop_assert!(worst(&back, &x) <= bar);
        Ok(())
    });
}

#[test]
fn rows_kept_alone_have_the_bits_that_they_have_among_all() {
    let model = personascope::model::Model::load(&personascope::model::Source::toyworld()).unwrap();
    let dims = *model.lm.dims();
    let sites: Vec<_> = (0..dims.n_layers).map(personascope::axes::Site::post).collect();
    let tokens = |n: u32| (0..n).map(|i| 6 + i * 37 % 900).collect::<Vec<_>>();
    let kept = |ranges: [Vec<std::ops::Range<usize>>; 3]| {
        let items = [tokens(31), tokens(90), tokens(8)].into_iter().zip(ranges);
        let items = items.map(|(tokens, ranges)| personascope::unit::Item { tokens, ranges, ..Default::default() });
        let task = personascope::unit::Task::Capture { sites: sites.clone() };
        let items = items.collect();
        let plan = personascope::unit::Plan { model: &model, task, edits: vec![], items, max_batch_tokens: 2048 };
        plan.execute(&(0..3)).unwrap().kept
    };
    // Two tokens of the first prompt, none of the second, the last of the third.
    let few = kept([vec![4..5, 20..21], vec![], std::iter::once(7..8).collect()]);
    let all = kept([31, 90, 8].map(|n| (0..n).map(|i| i..i + 1).collect()));
    for ((site, few), (_, all)) in few.iter().zip(&all) {
        let row = |r: usize| all[r * dims.d_model..][..dims.d_model].to_vec();
        let want: Vec<f32> = [4, 20, 31 + 90 + 7].into_iter().flat_map(row).collect();
        assert_eq!(*few, want, "{site}");
    }
}
