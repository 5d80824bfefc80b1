//! What comes together in one batch: a model and many adapters of it, against a pass for each; prompts in pieces between
//! the steps of others; conversations that go on.

mod common;

use candle_core::Tensor;
use common::{Keep, Matrix, checkpoints, every_site, fixtures, model, random_tokens, unit_vector, worst};
use personascope::axes::{Point, Site};
use personascope::error::Result;
use personascope::model::adapter::Settings;
use personascope::model::adapter::Targets;
use personascope::model::generate::{Settings as Drawing, Start, generate};
use personascope::model::sample::Sampling;
use personascope::model::{
    Adapter, Along, At, Batch, Did, Edit, Example, Follow, Head, Hooks, Kernels, Model, Next, Opening, Positions,
    Receipt, Rewrite, Rows, Source, Tap, forward,
};
use personascope::rng::stream;
use personascope::score::{Under, likelihoods_under};
use rand::Rng;
use std::collections::BTreeMap;
use std::path::Path;

/// The embedded model and nine of its shipped adapters.
fn shipped() -> Model {
    let mut m = model("toyworld");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets/toyworld/adapters");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names.iter().take(9) {
        m.add(Adapter::load(name, &folder.join(name)).unwrap()).unwrap();
    }
    assert_eq!(m.adapters.len(), 9);
    m
}

fn readers(m: &Model) -> Vec<Option<usize>> {
    std::iter::once(None).chain((0..m.adapters.len()).map(Some)).collect()
}

fn pack(prompts: &[(&Vec<u32>, Option<usize>)]) -> Rows {
    Rows::pack(prompts.iter().enumerate().map(|(index, (tokens, adapter))| {
        let (prompt_len, adapter) = (tokens.len(), *adapter);
        (Example { index, rows: 0..0, first_pos: 0, prompt_len, adapter, edits: vec![] }, (*tokens).clone())
    }))
}

fn every(m: &Model, rows: &Rows) -> BTreeMap<Site, Matrix> {
    let wanted = |s: &Site| matches!(s, Site::Logits | Site::Block { point: Point::ResidPost, .. });
    let mut keep = Keep::new(&every_site(&*m.lm).into_iter().filter(wanted).collect::<Vec<_>>());
    let mut hooks = Hooks::default().adapters(&m.adapters).tap(&mut keep);
    forward(&*m.lm, rows, &mut hooks, None, Head::AllRows).unwrap();
    keep.seen
}

#[test]
fn ten_models_in_one_batch_are_ten_runs() {
    let m = shipped();
    let readers = readers(&m);
    let prompts: Vec<Vec<u32>> = [40, 3, 1, 25].iter().map(|n| random_tokens(&m, *n, *n as u64)).collect();
    // The models side by side on each prompt, as one comparison has them.
    let both: Vec<(&Vec<u32>, Option<usize>)> =
        prompts.iter().flat_map(|p| readers.iter().map(move |r| (p, *r))).collect();
    let together = every(&m, &pack(&both));
    assert_eq!(together.len(), m.lm.dims().n_layers + 1, "every resid_post, and the logits");
    let mut apart = 0.0f64;
    for reader in &readers {
        let alone = every(&m, &pack(&prompts.iter().map(|p| (p, *reader)).collect::<Vec<_>>()));
        for (site, rows) in &alone {
            let mut at = 0;
            let mut from = 0;
            for (tokens, who) in &both {
                if who == reader {
                    let (a, b) = (&together[site][at..at + tokens.len()], &rows[from..from + tokens.len()]);
                    assert!(worst(a, b) < 1e-5, "{site} through {reader:?}: {:e}", worst(a, b));
                    from += tokens.len();
                }
                at += tokens.len();
            }
            assert_eq!(from, rows.len());
        }
        let base = every(&m, &pack(&[(&prompts[0], None)]));
        apart = apart.max(worst(&alone[&Site::Logits][..prompts[0].len()], &base[&Site::Logits]));
    }
    assert!(apart > 0.1, "the adapters do something");
}

#[test]
fn greedy_replies_of_ten_models_in_one_batch_are_those_of_ten_runs() {
    let m = shipped();
    let starts: Vec<Start> = readers(&m)
        .into_iter()
        .flat_map(|adapter| {
            let m = &m;
            (0..2).map(move |i| {
                let tokens = random_tokens(m, 6 + i, i as u64);
                Start { id: i.to_string(), tokens, seed: 0, adapter, edits: vec![] }
            })
        })
        .collect();
    let settings = Drawing { max_new_tokens: 24, sampling: Sampling::GREEDY, stops: vec![] };
    let (together, _) = generate(&*m.lm, &m.adapters, &starts, &[], &settings).unwrap();
    for (alone, replies) in starts.chunks(2).zip(together.chunks(2)) {
        assert_eq!(generate(&*m.lm, &m.adapters, alone, &[], &settings).unwrap().0, replies, "{:?}", alone[0].adapter);
    }
    assert!(together[2..].iter().any(|r| *r != together[0] && *r != together[1]), "the adapters say something else");
}

#[test]
fn likelihoods_of_ten_models_do_not_depend_on_their_neighbours() {
    let m = shipped();
    let texts: Vec<Vec<u32>> = [30, 2, 17].iter().map(|n| random_tokens(&m, *n, 50 + *n as u64)).collect();
    let under = |tokens: &Vec<u32>, adapter| Under {
        tokens: tokens.clone(),
        counted: vec![true; tokens.len()],
        prompt_len: tokens.len(),
        adapter,
        edits: vec![],
    };
    let all: Vec<Under> = texts.iter().flat_map(|t| readers(&m).into_iter().map(move |r| under(t, r))).collect();
    let together = likelihoods_under(&*m.lm, &m.adapters, &[], &all, 2).unwrap();
    for (one, likely) in all.iter().zip(&together) {
        let alone = likelihoods_under(&*m.lm, &m.adapters, &[], std::slice::from_ref(one), 1).unwrap();
        assert_eq!(alone[0], *likely, "through {:?}", one.adapter);
    }
}

/// An adapter with both factors random on every linear map.
fn random(m: &Model) -> Adapter {
    let settings = Settings::new(2, 3.0, Targets::AllLinear);
    let (mut adapter, _) = Adapter::fresh("random", &*m.lm, &m.hash, &settings, 1).unwrap();
    for (path, module) in &mut adapter.modules {
        let mut rng = stream(2, path);
        let b: Vec<f32> = (0..module.b.elem_count()).map(|_| rng.random_range(-0.5..0.5)).collect();
        module.b = candle_core::Tensor::from_vec(b, module.b.shape(), &candle_core::Device::Cpu).unwrap();
        module.a = module.a.detach();
    }
    Adapter::new("random", adapter.modules, None, None).unwrap()
}

/// What is left of `x` beside the span of `basis`, as a share of its length, by Gram and Schmidt.
fn beside(x: &[f64], basis: &[Vec<f64>]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut held: Vec<Vec<f64>> = Vec::new();
    let reduce = |v: &[f64], held: &[Vec<f64>]| {
        let mut v = v.to_vec();
        for _ in 0..2 {
            for u in held {
                let c = dot(&v, u);
                v.iter_mut().zip(u).for_each(|(x, y)| *x -= c * y);
            }
        }
        v
    };
    for b in basis {
        let v = reduce(b, &held);
        let norm = dot(&v, &v).sqrt();
        if norm > 1e-9 {
            held.push(v.iter().map(|x| x / norm).collect());
        }
    }
    let rest = reduce(x, &held);
    (dot(&rest, &rest) / dot(x, x)).sqrt()
}

#[test]
fn what_adapters_write_is_what_they_add_to_the_stream_in_every_architecture() {
    let mut seen = 0;
    for (fixture, kind) in common::checkpoints() {
        let mut m = model(&fixture);
        let (layers, d) = (m.lm.dims().n_layers, m.lm.dims().d_model);
        let whole = random(&m);
        let written = whole.written(&*m.lm).unwrap();
        // Experts are no linear maps that adapters change.
        let maps = if kind == "qwen3_moe" { 1..=2 } else { 2..=2 };
        let per: Vec<usize> = (0..layers).map(|l| written.iter().filter(|w| w.layer.0 == l).count()).collect();
        assert!(per.iter().all(|n| maps.contains(n)), "{fixture}: {per:?}");
        assert!(written.iter().all(|w| w.b.dim() == (d, 2) && w.a.nrows() == 2 && w.scale == 1.5), "{fixture}");
        // Only the first map of the first layer is changed: its output moves within the span of its factor and, where a
        // norm stands behind it, of what it was before.
        let first = &written[0];
        let path = whole.modules.keys().find(|p| p.contains(".0.") && p.ends_with(&first.map)).unwrap().clone();
        let module = whole.modules[&path].clone();
        m.add(Adapter::new("one", BTreeMap::from([(path, module)]), None, None).unwrap()).unwrap();
        let tokens = random_tokens(&m, 4, 3);
        let site = Site::new(Point::AttnOut, 0);
        let out = |adapter| -> Matrix {
            let mut keep = Keep::new(&[site]);
            let rows = pack(&[(&tokens, adapter)]);
            let mut hooks = Hooks::default().adapters(&m.adapters).tap(&mut keep);
            forward(&*m.lm, &rows, &mut hooks, None, Head::Skip).unwrap();
            keep.seen[&site].clone()
        };
        let (before, after) = (out(None), out(Some(0)));
        let columns: Vec<Vec<f64>> =
            first.b.columns().into_iter().map(|c| c.iter().map(|v| f64::from(*v)).collect()).collect();
        for (x, y) in before.iter().zip(&after) {
            let moved: Vec<f64> = x.iter().zip(y).map(|(x, y)| f64::from(y - x)).collect();
            let was: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
            let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(length(&moved) > 1e-3 * length(&was), "{fixture}: the adapter does something");
            let with_norm = [columns.clone(), vec![was]].concat();
            let rest = beside(&moved, &with_norm);
            assert!(rest < 1e-3, "{fixture}: {rest}");
        }
        seen += 1;
    }
    assert!(seen >= 15 && fixtures().is_dir(), "{seen} fixtures");
}

/// A prompt of these tokens, under some edits.
fn long(m: &Model, name: &str, n: usize, edits: &[usize]) -> Start {
    let tokens = random_tokens(m, n, n as u64);
    Start { id: name.into(), tokens, seed: 5, adapter: None, edits: edits.to_vec() }
}

/// What became of some starts: their replies, and what each edit did to each, counted from the first of them.
type Became = (Vec<Vec<u32>>, Vec<Did>);

fn became((replies, receipts): (Vec<Vec<u32>>, Vec<Receipt>), first: usize) -> Became {
    let did = receipts.iter().enumerate().flat_map(|(e, r)| Did::of(e, r));
    (replies, did.map(|d| Did { item: d.item - first, ..d }).collect())
}

#[test]
fn prompts_that_are_read_in_pieces_between_others_steps_have_the_replies_that_they_have_alone() {
    let portable = Opening { kernels: Kernels::Portable, ..Opening::default() };
    let models = [Opening::default(), portable].map(|o| Model::open(&Source::toyworld(), o).unwrap().0);
    for m in &models {
        let unit = |seed| unit_vector(m.lm.dims().d_model, seed);
        let everywhere = Along::new(Site::post(1), &unit(1), Rewrite::Shift(2.0), Positions::All).unwrap();
        let behind = Along::new(Site::post(2), &unit(2), Rewrite::Pin(1.5), Positions::LastPromptOn).unwrap();
        let edits: [&dyn Edit; 2] = [&everywhere, &behind];
        // Three pieces and a little; exactly one; one more than one; a single token. Equal prompts share what they can.
        let arms = [vec![], vec![0], vec![1], vec![0, 1], vec![1]].map(|e| long(m, "a", 390, &e));
        let parties: [Vec<Start>; 3] = [
            arms.to_vec(),
            vec![long(m, "b", 128, &[1]), long(m, "c", 129, &[]), long(m, "d", 300, &[0])],
            vec![long(m, "e", 1, &[0])],
        ];
        let sampling = Sampling::new(if m.kernels == Kernels::Own { 1.0 } else { 0.0 }, 1.0).unwrap();
        let drawing = Drawing { max_new_tokens: 24, sampling, stops: vec![] };
        let alone = parties.each_ref().map(|p| became(generate(&*m.lm, &[], p, &edits, &drawing).unwrap(), 0));
        let mut batch = Batch::new(&*m.lm, &m.adapters);
        let own = || edits.iter().map(|e| Box::new(*e) as Box<dyn Edit>).collect::<Vec<_>>();
        let firsts = parties.each_ref().map(|p| batch.enter(p.clone(), own(), drawing.clone()).unwrap().start);
        let mut passes = [0; 3];
        let mut waiting = vec![0, 1, 2];
        while !batch.is_idle() {
            waiting.retain(|p| {
                passes[*p] += 1;
                !batch.read(firsts[*p], None).unwrap()
            });
            batch.step(None).unwrap();
        }
        assert!(passes[0] > 8 && passes[2] == 1, "{passes:?}");
        for ((first, alone), n) in firsts.into_iter().zip(alone).zip(0..) {
            let (replies, did) = became(batch.dismiss(first), first);
            assert_eq!(replies, alone.0, "party {n}");
            assert_eq!(did.len(), alone.1.len());
            for (a, b) in did.iter().zip(&alone.1) {
                match m.kernels {
                    Kernels::Own => assert_eq!(a, b, "party {n}"),
                    _ => {
                        assert_eq!((a.item, a.edit, a.rows, a.changed), (b.item, b.edit, b.rows, b.changed));
                        assert!((a.before.mean - b.before.mean).abs() < 1e-4);
                    }
                }
            }
        }
    }
}

/// What a batch showed: the last residual stream by start and position.
#[derive(Default)]
struct Watch {
    site: Option<Site>,
    seen: BTreeMap<(usize, usize), Vec<f32>>,
    /// Rows that went through the model.
    read: usize,
    /// How unlikely each reply was without edits.
    nll: Vec<f64>,
    /// Whether rows of a start that has left will do.
    takes: bool,
}

impl Tap for Watch {
    fn wants(&self, site: Site) -> bool {
        Some(site) == self.site
    }

    fn see(&mut self, at: At, x: &Tensor) -> Result<Next> {
        let x = x.to_vec2::<f32>()?;
        for example in at.rows.examples() {
            for row in example.rows.clone() {
                self.seen.insert((example.index, example.pos(row)), x[row].clone());
                self.read += 1;
            }
        }
        Ok(Next::Go)
    }
}

impl Watch {
    fn copy(&mut self, from: usize, to: usize, rows: usize) {
        let rows: Vec<_> =
            self.seen.range((from, 0)..(from, rows)).map(|((_, pos), x)| ((to, *pos), x.clone())).collect();
        self.seen.extend(rows);
    }

    fn of(&self, index: usize) -> Vec<&Vec<f32>> {
        self.seen.range((index, 0)..(index + 1, 0)).map(|(_, x)| x).collect()
    }
}

impl Follow for Watch {
    fn forked(&mut self, pairs: &[(usize, usize)]) {
        pairs.iter().for_each(|(from, to)| self.copy(*from, *to, usize::MAX));
    }

    fn goes_on(&mut self, from: usize, to: usize, rows: usize) -> bool {
        if self.takes {
            self.copy(from, to, rows);
        }
        self.takes
    }
}

/// Draws all replies of some starts; the index of the first.
fn drawn<'m>(
    batch: &mut Batch<'m>,
    starts: &[Start],
    edits: &[&'m dyn Edit],
    drawing: &Drawing,
    watch: &mut Watch,
) -> (usize, Vec<Vec<u32>>) {
    let own = edits.iter().map(|e| Box::new(*e) as Box<dyn Edit>).collect();
    let first = batch.enter(starts.to_vec(), own, drawing.clone()).unwrap().start;
    batch.keep(first);
    while !batch.read(first, Some(watch)).unwrap() {}
    while !batch.is_idle() {
        batch.step(Some(watch)).unwrap();
    }
    watch.nll = (0..starts.len()).map(|s| batch.nll(first + s).unwrap()).collect();
    (first, batch.dismiss(first).0)
}

/// How unlikely texts are behind their first tokens, all of it read at once.
fn unlikely(m: &Model, adapter: Option<usize>, texts: &[(usize, Vec<u32>)]) -> Vec<f64> {
    let of = |(n, tokens): &(usize, Vec<u32>)| {
        let counted = (0..tokens.len()).map(|i| i >= *n).collect();
        Under { tokens: tokens.clone(), counted, prompt_len: *n, adapter, edits: vec![] }
    };
    let texts: Vec<Under> = texts.iter().map(of).collect();
    likelihoods_under(&*m.lm, &m.adapters, &[], &texts, 1).unwrap().iter().map(|l| l.nll).collect()
}

#[test]
fn a_conversation_that_goes_on_reads_only_what_is_new_and_gives_what_it_gives_when_read_anew() {
    let mut models = vec![shipped()];
    models.extend(checkpoints().iter().map(|(name, _)| model(name)));
    for m in &models {
        let (layer, width) = (m.lm.dims().n_layers - 1, m.lm.dims().d_model);
        let of = |on| Along::new(Site::post(layer), &unit_vector(width, 1), Rewrite::Shift(2.0), on).unwrap();
        let (everywhere, reply) = (of(Positions::All), of(Positions::LastPromptOn));
        let edits: [&dyn Edit; 2] = [&everywhere, &reply];
        let drawing = Drawing { max_new_tokens: 9, sampling: Sampling::new(1.0, 1.0).unwrap(), stops: vec![] };
        let renewed = m.lm.positions_change_at().is_some();
        let turns = if m.lm.dims().n_ctx > 64 { 3 } else { 2 };
        for adapter in [None, Some(3)].into_iter().filter(|a| a.is_none_or(|a| a < m.adapters.len())) {
            let mut batch = Batch::new(&*m.lm, &m.adapters).keeping(4096);
            let watching = || Watch { site: Some(Site::post(layer)), takes: true, ..Watch::default() };
            let mut watch = watching();
            let mut said = random_tokens(m, 33, 3);
            for turn in 0..turns {
                let arm = |edits: &[usize]| Start {
                    id: format!("talk/{turn}"),
                    tokens: said.clone(),
                    seed: 5,
                    adapter,
                    edits: edits.to_vec(),
                };
                let arms = [arm(&[]), arm(&[1]), arm(&[0])];
                let (before, mut anew) = (watch.read, watching());
                let (first, replies) = drawn(&mut batch, &arms, &edits, &drawing, &mut watch);
                let mut fresh = Batch::new(&*m.lm, &m.adapters);
                assert_eq!(drawn(&mut fresh, &arms, &edits, &drawing, &mut anew), (0, replies.clone()), "turn {turn}");
                assert_eq!(watch.nll, anew.nll);
                let judged = replies.iter().map(|r| (said.len(), [&said[..], r].concat())).collect::<Vec<_>>();
                for (nll, want) in watch.nll.iter().zip(unlikely(m, adapter, &judged)) {
                    assert!((nll - want).abs() < 1e-5 * want, "{nll} {want}");
                }
                for arm in 0..3 {
                    assert_eq!(watch.of(first + arm).len(), said.len() + 9);
                    assert!(watch.of(first + arm) == anew.of(arm), "turn {turn} arm {arm}");
                }
                // 5 tokens are new to the two arms that share the prompt; the arm whose whole prompt is edited is read anew.
                let spared = anew.read - (watch.read - before);
                let known = if turn == 0 || renewed { 0 } else { said.len() - 5 };
                assert_eq!(spared, known, "turn {turn}");
                // What is kept of a reply under edits ends where they begin; of equal beginnings there is one.
                let rows = [0, 1, 2].map(|arm| batch.rows_of(first + arm));
                assert_eq!(rows, [if renewed { 0 } else { said.len() + 9 }, 0, 0]);
                said = [&said[..], &replies[0], &random_tokens(m, 5, 7 + turn)].concat();
            }
            // Nobody takes what was not watched as it should be, and another model's rows are another's.
            said.truncate(m.lm.dims().n_ctx - 9);
            let (read, alone) = (watch.read, Start { id: "x".into(), tokens: said, seed: 5, adapter, edits: vec![] });
            let other = Start { adapter: adapter.map_or(m.adapters.len().checked_sub(1), |_| None), ..alone.clone() };
            watch.takes = false;
            drawn(&mut batch, std::slice::from_ref(&alone), &[], &drawing, &mut watch);
            assert_eq!(watch.read - read, alone.tokens.len() + 9);
            if other.adapter != adapter {
                watch.takes = true;
                drawn(&mut batch, &[other], &[], &drawing, &mut watch);
                assert_eq!(watch.read - read, 2 * (alone.tokens.len() + 9));
            }
        }
    }
    assert!(models.len() > 10);
}
