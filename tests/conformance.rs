//! What every architecture owes the pass, whatever its weights are: walks `model::arch::ARCHITECTURES`.

mod common;

use candle_core::Tensor;
use common::{Keep, Matrix, all_sites, bits, every_site, logits, model, pack, random_tokens, unit_vector, worst};
use personascope::axes::{Dims, Layer, Point, Site};
use personascope::error::{Error, Result};
use personascope::model::arch::ARCHITECTURES;
use personascope::model::{
    Adapter, Along, At, Cache, Edit, Example, Head, Hooks, Interrupt, Lm, LowRank, Model, Next, Pass, Positions,
    Projection, Rewrite, Rows, Tap, Unembedding, forward,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every fixture of every architecture, and the embedded model.
fn models() -> Vec<(String, Model)> {
    let known = |t: &str| ARCHITECTURES.iter().any(|(name, _)| *name == t);
    let fixtures = common::checkpoints().into_iter().filter(|(_, t)| known(t)).map(|(name, _)| name);
    fixtures.chain(["toyworld".to_string()]).map(|name| (name.clone(), model(&name))).collect()
}

/// Three prompts, packed.
fn prompts(model: &Model) -> Vec<Vec<u32>> {
    [5, 1, 19].iter().map(|n| random_tokens(model, *n, 11)).collect()
}

fn along(model: &Model, site: Site, rewrite: Rewrite, positions: Positions) -> Along {
    Along::new(site, &unit_vector(model.lm.dims().d_model, 3), rewrite, positions).unwrap()
}

fn blocks_of(model: &Model) -> Vec<Site> {
    every_site(&*model.lm).into_iter().filter(|s| *s != Site::Logits).collect()
}

#[test]
fn every_architecture_has_a_fixture() {
    let have = common::checkpoints();
    for (name, _) in ARCHITECTURES {
        assert!(have.iter().any(|(_, t)| t == name), "no folder in tests/fixtures has model_type `{name}`");
    }
}

#[test]
fn edits_that_do_nothing_leave_every_bit_of_the_logits() {
    let nothing =
        [Rewrite::Shift(0.0), Rewrite::Scale(1.0), Rewrite::Clamp { lo: f64::NEG_INFINITY, hi: f64::INFINITY }];
    for (name, m) in models() {
        let rows = pack(&prompts(&m), &[vec![0], vec![0], vec![0]]);
        let plain = bits(&logits(&*m.lm, &rows, &[]).0);
        for site in blocks_of(&m) {
            for rewrite in nothing {
                let (got, receipts) = logits(&*m.lm, &rows, &[&along(&m, site, rewrite, Positions::All)]);
                assert_eq!(receipts[0].rows, rows.len(), "{name} {site}: the edit went over every row");
                assert!(bits(&got) == plain, "{name} {site} {rewrite:?}");
            }
            let (got, _) = logits(&*m.lm, &rows, &[&along(&m, site, Rewrite::Shift(1.0), Positions::All)]);
            assert!(bits(&got) != plain, "{name} {site}: an edit that does something must be seen");
        }
    }
}

/// Whether `sum` is `a + b` to within the rounding of one f32 addition: half an ulp is at most |sum| 2^-24.
fn is_sum(a: &Matrix, b: &Matrix, sum: &Matrix) -> bool {
    let all = |m: &Matrix| m.concat().into_iter().map(f64::from).collect::<Vec<_>>();
    let (a, b, sum) = (all(a), all(b), all(sum));
    assert!(a.len() == b.len() && b.len() == sum.len() && !sum.is_empty());
    (0..sum.len()).all(|i| (sum[i] - (a[i] + b[i])).abs() <= sum[i].abs() * 2f64.powi(-24) * 1.01 + 1e-40)
}

#[test]
fn the_parts_of_a_block_sum_and_wrong_sums_do_not() {
    for (name, m) in models() {
        let (seen, _) = all_sites(&*m.lm, &pack(&prompts(&m), &[]), &[]);
        for l in 0..m.lm.dims().n_layers {
            let at = |p| &seen[&Site::new(p, l)];
            use Point::*;
            if !m.lm.points().contains(&ResidMid) {
                // Both parts are added to what the block reads.
                let mid: Matrix = at(ResidPre)
                    .iter()
                    .zip(at(AttnOut))
                    .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect())
                    .collect();
                assert!(is_sum(&mid, at(MlpOut), at(ResidPost)), "{name} {l}: resid_post = resid_pre + both parts");
                assert!(!is_sum(at(ResidPre), at(MlpOut), at(ResidPost)), "{name} {l}: both parts count");
                continue;
            }
            assert!(is_sum(at(ResidPre), at(AttnOut), at(ResidMid)), "{name} {l}: resid_mid = resid_pre + attn_out");
            assert!(is_sum(at(ResidMid), at(MlpOut), at(ResidPost)), "{name} {l}: resid_post = resid_mid + mlp_out");
            for (a, b, sum) in
                [(ResidPre, MlpOut, ResidMid), (ResidMid, AttnOut, ResidPost), (ResidPre, MlpOut, ResidPost)]
            {
                assert!(!is_sum(at(a), at(b), at(sum)), "{name} {l}: {sum} is not {a} + {b}");
            }
        }
    }
}

#[test]
fn what_a_block_leaves_is_what_the_next_one_reads() {
    for (name, m) in models() {
        let (seen, _) = all_sites(&*m.lm, &pack(&prompts(&m), &[]), &[]);
        for l in 1..m.lm.dims().n_layers {
            let (left, read) = (&seen[&Site::post(l - 1)], &seen[&Site::new(Point::ResidPre, l)]);
            assert!(bits(left) == bits(read), "{name}: block {l}");
            assert!(bits(left) != bits(&seen[&Site::post(l)]), "{name}: block {l} does something");
        }
    }
}

#[test]
fn every_point_fires_once_a_block_in_forward_order() {
    for (name, m) in models() {
        let mut keep = Keep::new(&every_site(&*m.lm));
        forward(&*m.lm, &pack(&prompts(&m), &[]), &mut Hooks::default().tap(&mut keep), None, Head::AllRows).unwrap();
        let points = m.lm.points();
        let listed = (0..m.lm.dims().n_layers).flat_map(|l| points.iter().map(move |p| Site::new(*p, l)));
        assert_eq!(keep.fired, listed.chain([Site::Logits]).collect::<Vec<_>>(), "{name}");
    }
}

/// A model that counts the blocks and heads that are run.
struct Counting<'m> {
    lm: &'m dyn Lm,
    blocks: AtomicUsize,
    heads: AtomicUsize,
}

impl<'m> Counting<'m> {
    fn new(lm: &'m dyn Lm) -> Self {
        Counting { lm, blocks: AtomicUsize::new(0), heads: AtomicUsize::new(0) }
    }

    /// Blocks and heads run since the last call.
    fn take(&self) -> (usize, usize) {
        (self.blocks.swap(0, Ordering::Relaxed), self.heads.swap(0, Ordering::Relaxed))
    }
}

impl Lm for Counting<'_> {
    fn dims(&self) -> &Dims {
        self.lm.dims()
    }
    fn points(&self) -> &[Point] {
        self.lm.points()
    }
    fn trained_len(&self) -> usize {
        self.lm.trained_len()
    }
    fn embed(&self, rows: &Rows) -> Result<Tensor> {
        self.lm.embed(rows)
    }
    fn block(&self, layer: Layer, x: Tensor, pass: &mut Pass<'_, '_>) -> Result<Tensor, Interrupt> {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.lm.block(layer, x, pass)
    }
    fn final_norm(&self, x: &Tensor) -> Result<Tensor> {
        self.lm.final_norm(x)
    }
    fn unembedding(&self) -> &Unembedding {
        self.lm.unembedding()
    }
    fn projections(&self) -> Vec<&Projection> {
        self.lm.projections()
    }
    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        // What is counted is lent, not owned: nothing of it may be changed.
        vec![]
    }
    fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.lm.unembed(x)
    }
}

#[test]
fn an_adapter_on_any_one_module_changes_the_logits_as_merging_it_does() {
    for (name, m) in models() {
        let tokens = random_tokens(&m, 9, 5);
        let paths: Vec<(String, [usize; 2])> = (m.lm.projections().iter())
            .flat_map(|p| p.modules.iter().map(|q| (q.path.clone(), [p.weight.d_in(), q.columns.len()])))
            .collect();
        assert!(paths.len() >= m.lm.dims().n_layers, "{name}: {} modules", paths.len());
        let run = |m: &Model, adapter: Option<usize>| {
            let example = Example { index: 0, rows: 0..0, first_pos: 0, prompt_len: 9, adapter, edits: vec![] };
            let rows = Rows::pack([(example, tokens.clone())]);
            let mut hooks = Hooks::default().adapters(&m.adapters);
            forward(&*m.lm, &rows, &mut hooks, None, Head::AllRows).unwrap().0.unwrap().to_vec2::<f32>().unwrap()
        };
        let base = run(&m, None);
        for (i, (path, [d_in, d_out])) in paths.iter().enumerate() {
            let (a, b) = (unit_vector(*d_in, i as u64), unit_vector(*d_out, 99 + i as u64));
            let a = Tensor::from_vec(a, (*d_in, 1), &candle_core::Device::Cpu).unwrap();
            let b = Tensor::from_vec(b, (1, *d_out), &candle_core::Device::Cpu).unwrap();
            let modules = BTreeMap::from([(path.clone(), LowRank { a, b, scale: 1.0 })]);
            let adapter = Adapter::new("one", modules, None, None).unwrap();
            let (mut beside, mut merged) = (model(&name), model(&name));
            beside.add(adapter.clone()).unwrap();
            merged.merge(adapter).unwrap();
            let (beside, merged) = (run(&beside, Some(0)), run(&merged, None));
            assert!(worst(&beside, &base) > 1e-3, "{name}: {path} does not go through `Pass::linear`");
            assert!(worst(&beside, &merged) < 1e-4, "{name}: {path}: {:e}", worst(&beside, &merged));
        }
    }
}

/// Blocks that must be entered to see a site.
fn blocks_to(site: Site) -> usize {
    match site {
        Site::Block { layer, point: Point::ResidPre } => layer.0,
        Site::Block { layer, .. } => layer.0 + 1,
        Site::Logits => panic!("no block"),
    }
}

#[test]
fn a_pass_that_stops_early_gives_the_rows_of_a_full_one() {
    for (name, m) in models() {
        let rows = pack(&prompts(&m), &[]);
        let (full, _) = all_sites(&*m.lm, &rows, &[]);
        let counting = Counting::new(&*m.lm);
        for site in blocks_of(&m) {
            let mut keep = Keep::new(&[site]);
            forward(&counting, &rows, &mut Hooks::default().tap(&mut keep), None, Head::Skip).unwrap();
            assert!(bits(&keep.seen[&site]) == bits(&full[&site]), "{name} {site}");
            assert_eq!(counting.take(), (blocks_to(site), 0), "{name} {site}: nothing behind it is computed");
        }
    }
}

/// Has enough after its first site.
struct First(Keep);

impl Tap for First {
    fn wants(&self, site: Site) -> bool {
        self.0.wants(site)
    }
    fn see(&mut self, at: At, x: &Tensor) -> Result<Next> {
        self.0.see(at, x)?;
        Ok(Next::Stop)
    }
}

#[test]
fn an_early_stop_is_vetoed_by_anything_wanted_behind_it() {
    for (name, m) in models() {
        let rows = pack(&prompts(&m), &[]);
        let n = m.lm.dims().n_layers;
        let counting = Counting::new(&*m.lm);
        let (first, last) = (Site::new(Point::ResidPre, 0), Site::post(n - 1));

        let mut alone = First(Keep::new(&[first, last]));
        forward(&counting, &rows, &mut Hooks::default().tap(&mut alone), None, Head::Skip).unwrap();
        assert_eq!((counting.take(), &alone.0.fired[..]), ((0, 0), &[first][..]), "{name}: one tap that has enough");

        let (mut done, mut other) = (First(Keep::new(&[first, last])), Keep::new(&[last]));
        forward(&counting, &rows, &mut Hooks::default().tap(&mut done).tap(&mut other), None, Head::Skip).unwrap();
        assert_eq!(counting.take(), (n, 0), "{name}: a second tap");
        assert_eq!((&done.0.fired[..], &other.fired[..]), (&[first][..], &[last][..]), "{name}");

        for head in [Head::AllRows, Head::LastRows] {
            let mut done = First(Keep::new(&[first]));
            let (logits, _) = forward(&counting, &rows, &mut Hooks::default().tap(&mut done), None, head).unwrap();
            assert_eq!(counting.take(), (n, 1), "{name}: {head:?}");
            assert!(logits.is_some());
        }

        let (mut done, mut cache) = (First(Keep::new(&[first])), Cache::new(n));
        forward(&counting, &rows, &mut Hooks::default().tap(&mut done), Some(&mut cache), Head::Skip).unwrap();
        assert_eq!(counting.take(), (n, 0), "{name}: keys of later layers");
    }
}

/// The sites that an error names, and its hint.
fn unfired(result: Result<impl Sized>, case: &str) -> String {
    match result {
        Err(e @ Error::Unfired { .. }) => {
            assert!(e.hint().contains("resid_pre attn_out") && e.hint().contains("logits"), "{case}: {}", e.hint());
            e.to_string()
        }
        Err(e) => panic!("{case}: {e}"),
        Ok(_) => panic!("{case}: no error"),
    }
}

#[test]
fn a_wanted_site_that_never_fires_is_an_error_that_lists_the_sites() {
    for (name, m) in models() {
        let rows = pack(&prompts(&m), &[]);
        let n = m.lm.dims().n_layers;
        let pass =
            |sites: &[Site], head| forward(&*m.lm, &rows, &mut Hooks::default().tap(&mut Keep::new(sites)), None, head);
        for head in [Head::Skip, Head::LastRows, Head::AllRows] {
            for beyond in [n, n + 1, n + 7, 99] {
                for point in [Point::ResidPre, Point::ResidPost] {
                    let site = Site::new(point, beyond);
                    for sites in [&[site][..], &[Site::post(0), site]] {
                        let message = unfired(pass(sites, head), &format!("{name} {sites:?} {head:?}"));
                        assert!(message.contains(&site.to_string()), "{message}");
                        assert!(!message.contains("resid_post.0"), "{message}");
                    }
                }
            }
        }
        for head in [Head::Skip, Head::LastRows] {
            let message = unfired(pass(&[Site::Logits], head), &format!("{name} logits {head:?}"));
            assert!(message.contains("logits"), "{message}");
        }
    }
}

#[test]
fn an_edit_that_nothing_reads_is_an_error() {
    for (name, m) in models() {
        let rows = pack(&prompts(&m), &[vec![0], vec![0], vec![0]]);
        let n = m.lm.dims().n_layers;
        let pass = |edit: Site, tap: Option<Site>, head| {
            let edit = along(&m, edit, Rewrite::Shift(1.0), Positions::All);
            let mut keep = Keep::new(tap.as_slice());
            let hooks = Hooks::default().edit(&edit);
            let mut hooks = if tap.is_some() { hooks.tap(&mut keep) } else { hooks };
            forward(&*m.lm, &rows, &mut hooks, None, head)
        };
        let (early, late) = (Site::new(Point::AttnOut, 0), Site::new(Point::MlpOut, n - 1));
        assert!(unfired(pass(late, Some(early), Head::Skip), &name).contains(&late.to_string()));
        assert!(unfired(pass(early, None, Head::Skip), &name).contains(&early.to_string()));
        for (edit, tap, head) in [
            (early, Some(late), Head::Skip),
            (early, Some(early), Head::Skip),
            (late, None, Head::LastRows),
            (late, Some(early), Head::AllRows),
        ] {
            assert_eq!(pass(edit, tap, head).unwrap().1[0].rows, rows.len(), "{name} {edit} {tap:?} {head:?}");
        }
        for beyond in [n, n + 7] {
            for head in [Head::Skip, Head::AllRows] {
                let message = unfired(pass(Site::post(beyond), Some(late), head), &name);
                assert!(message.contains(&Site::post(beyond).to_string()), "{message}");
            }
        }
    }
}

/// The coordinate of each row along the test direction, in f64.
fn coordinates(x: &Matrix, unit: &[f32]) -> Vec<f64> {
    x.iter().map(|row| row.iter().zip(unit).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).collect()
}

#[test]
fn taps_see_what_edits_at_the_same_site_have_made() {
    for (name, m) in models() {
        let unit = unit_vector(m.lm.dims().d_model, 3);
        let rows = pack(&prompts(&m), &[vec![0], vec![0], vec![0]]);
        let (before, _) = all_sites(&*m.lm, &rows, &[]);
        for site in blocks_of(&m) {
            let pin = along(&m, site, Rewrite::Pin(2.5), Positions::All);
            let (after, receipts) = all_sites(&*m.lm, &rows, &[&pin]);
            let old = coordinates(&before[&site], &unit);
            let new = coordinates(&after[&site], &unit);
            // Rounding of a stream whose values reach 200 here.
            assert!(new.iter().all(|c| (c - 2.5).abs() < 1e-3), "{name} {site}: {new:?}");
            assert!((receipts[0].before - old.iter().sum::<f64>()).abs() < 1e-2, "{name} {site}: {receipts:?}");
            assert!((receipts[0].after - 2.5 * rows.len() as f64).abs() < 1e-2, "{name} {site}: {receipts:?}");
            for earlier in before.keys().filter(|s| **s < site) {
                assert!(bits(&before[earlier]) == bits(&after[earlier]), "{name} {site}: {earlier} lies before it");
            }
        }
    }
}

#[test]
fn an_edit_touches_the_rows_that_list_it_and_no_others() {
    for (name, m) in models() {
        let site = Site::post(0);
        let edits = [
            along(&m, site, Rewrite::Shift(3.0), Positions::All),
            along(&m, site, Rewrite::Pin(-1.0), Positions::LastPrompt),
            along(&m, Site::new(Point::AttnOut, 1), Rewrite::Scale(0.0), Positions::At(vec![0, 4, 99])),
        ];
        let edits: Vec<&dyn Edit> = edits.iter().map(|e| e as &dyn Edit).collect();
        let prompts: Vec<Vec<u32>> = [6, 9, 1, 12, 7].iter().map(|n| random_tokens(&m, *n, 12)).collect();
        let lists = [vec![0], vec![], vec![1], vec![0, 2], vec![1]];
        let rows = pack(&prompts, &lists);
        let (plain, _) = all_sites(&*m.lm, &rows, &[]);
        let (edited, receipts) = all_sites(&*m.lm, &rows, &edits);
        // Edit 0: 6 + 12 rows; edit 1: one row of each of two; edit 2: positions 0 and 4 of 12.
        assert_eq!(receipts.iter().map(|r| r.rows).collect::<Vec<_>>(), [18, 2, 2], "{name}");

        let changed = |site: Site, row: usize| bits(&plain[&site][row..=row]) != bits(&edited[&site][row..=row]);
        for (example, list) in rows.examples().iter().zip(&lists) {
            for row in example.rows.clone() {
                let last = row + 1 == example.rows.end;
                let touched = list.contains(&0) || (list.contains(&1) && last);
                assert_eq!(changed(site, row), touched, "{name}: example {} row {row} at {site}", example.index);
                assert_eq!(changed(Site::Logits, row), touched, "{name}: example {} row {row}, logits", example.index);
            }
        }
        // Each example gives what it gives by itself.
        for (i, list) in lists.iter().enumerate() {
            let (alone, _) = all_sites(&*m.lm, &pack(&prompts[i..=i], std::slice::from_ref(list)), &edits);
            let range = rows.examples()[i].rows.clone();
            let apart: BTreeMap<Site, f64> =
                alone.iter().map(|(s, x)| (*s, worst(x, &edited[s][range.clone()]))).collect();
            assert!(apart.values().all(|d| *d < 1e-5), "{name} example {i}: {apart:?}");
        }
    }
}
