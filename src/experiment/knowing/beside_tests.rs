//! Weights, likelihoods and screening on the embedded model and its shipped adapters.

use super::labels::{BASE, Labels};
use super::perplexity::{Reader, Texts, perplexity};
use super::screening::{Asking, Set, agreements, screening, shift};
use super::weights::weights;
use crate::axes::{Pick, Site};
use crate::direction::Direction;
use crate::experiment::formats::sets;
use crate::experiment::pages;
use crate::experiment::prompts::{default_prompts, questions};
use crate::experiment::work::Work;
use crate::experiment::{Context, cells};
use crate::model::adapter::{CONFIG, WEIGHTS};
use crate::model::{Adapter, LowRank, Model, Source};
use crate::store::MemoryShelf;
use crate::table::Table;
use crate::unit::Tally;
use crate::world::{Format, World};
use ndarray::Array1;
use std::path::Path;

/// Shipped adapters of character 0, by format and seed.
const SHIPPED: [(&str, &str); 4] = [("chat", "0"), ("chat", "1"), ("document", "0"), ("document", "1")];

fn model() -> (Model, Vec<Reader>) {
    let mut model = Model::load(&Source::toyworld()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets/toyworld/adapters");
    let base = Labels { model: BASE.into(), format: BASE.into(), ..Labels::default() };
    let mut readers = vec![Reader { adapter: None, labels: base }];
    for (format, seed) in SHIPPED {
        let name = format!("character0-{format}-s{seed}");
        let file = |file: &str| std::fs::read(folder.join(&name).join(file)).unwrap();
        let adapter = Adapter::from_bytes(&name, &name, &file(CONFIG), &file(WEIGHTS)).unwrap();
        let labels = Labels { model: name, format: format.into(), character: "0".into(), seed: seed.into() };
        readers.push(Reader { adapter: Some(model.add(adapter).unwrap()), labels });
    }
    (model, readers)
}

fn on<T>(model: &Model, threads: usize, run: impl FnOnce(&mut Work<'_, '_>) -> T) -> T {
    let shelf = MemoryShelf::default();
    let mut progress = |_: &str, _: &Tally| true;
    let mut ctx = Context { shelf: &shelf, tunes: None, threads, progress: &mut progress };
    run(&mut Work::new(model, &mut ctx, 2048))
}

fn direction(model: &Model, name: &str, at: usize) -> Direction {
    let d = model.lm.dims().d_model;
    let raw = Array1::from_shape_fn(d, |i| if i % 7 == at { 1.0 } else { 0.1 });
    Direction::new(Site::post(2), Pick::MeanResponse, &raw, name, "not", "planted").unwrap()
}

#[test]
fn what_adapters_wrote_is_held_against_random_directions_and_each_other() {
    let (mut model, readers) = model();
    let d = model.lm.dims().d_model;
    let planted = direction(&model, "planted", 3);
    // An adapter that writes along the planted direction and nothing else.
    let mut modules = model.adapters[0].modules.clone();
    modules.retain(|path, _| path.ends_with("o_proj"));
    for module in modules.values_mut() {
        let rank = module.rank();
        let b: Vec<f32> = (0..rank).flat_map(|k| planted.unit.iter().map(move |v| v * (k + 1) as f32)).collect();
        *module = LowRank { b: candle_core::Tensor::from_vec(b, (rank, d), model.device()).unwrap(), ..module.clone() };
    }
    let along = model.add(Adapter::new("along", modules, None, None).unwrap()).unwrap();
    let mut adapters: Vec<(usize, Labels)> =
        readers.iter().filter_map(|r| Some((r.adapter?, r.labels.clone()))).collect();
    let of = Labels { model: "along".into(), format: "along".into(), character: "9".into(), seed: "0".into() };
    adapters.push((along, of));
    let directions = [planted, direction(&model, "other", 5)];
    let (table, pairs) = weights(&model, &adapters, &directions, (1000, 1)).unwrap();
    let layers = model.lm.dims().n_layers;
    // Four adapters on both maps of each layer and one on one of them, and a row over all; two directions.
    assert_eq!(table.rows.len(), 2 * (4 * (2 * layers + 1) + layers + 1));
    for r in cells::rows(&table, &[("model", "along"), ("direction", "planted")]) {
        assert!(
            (table.num(r, "energy_share").unwrap() - 1.0).abs() < 1e-6 && table.num(r, "percentile") == Some(100.0)
        );
    }
    assert_eq!(crate::experiment::cells::distinct(&table, "map"), ["mlp.down_proj", "self_attn.o_proj", "*"]);
    // The row over all maps has the sum of the energies.
    let own = [("model", "character0-chat-s0"), ("direction", "other")];
    let energies: Vec<f64> = cells::rows(&table, &own).iter().map(|r| table.num(*r, "energy").unwrap()).collect();
    let (sum, parts) = energies.split_last().unwrap();
    assert!((parts.iter().sum::<f64>() / sum - 1.0).abs() < 1e-6);
    // Six pairs of character 0, none with the other character; each on both maps of each layer and both sides.
    assert_eq!(pairs.rows.len(), 6 * layers * 2 * 2);
    // From NumPy and SciPy (subspace_angles) with the whole matrices, in f64.
    let close = |table: &Table, of: &[(&str, &str)], column: &str, expected: f64| {
        let found = table.num(cells::row(table, of).unwrap(), column).unwrap();
        assert!((found / expected - 1.0).abs() < 1e-6, "{of:?} {column}: {found}, not {expected}");
    };
    let of = |layer, map| [("model", "character0-chat-s0"), ("direction", "planted"), ("layer", layer), ("map", map)];
    close(&table, &of("0", "self_attn.o_proj"), "energy_share", 0.003410143612836522);
    close(&table, &of("0", "self_attn.o_proj"), "energy", 1.1075261950728534);
    close(&table, &of("3", "mlp.down_proj"), "energy_share", 0.011954004125321264);
    close(&table, &of("*", "*"), "energy_share", 0.00721051101654616);
    for (side, first, whole) in
        [("output", 48.90230525594145, 71.93852790062707), ("input", 62.787883080003, 76.61767238142505)]
    {
        let models = [("model_a", "character0-chat-s0"), ("model_b", "character0-document-s1"), ("side", side)];
        let of = [&models[..], &[("layer", "0"), ("map", "self_attn.o_proj")]].concat();
        close(&pairs, &of, "first_angle_deg", first);
        close(&pairs, &of, "mean_angle_deg", whole);
        close(&pairs, &of, "update_cosine", 0.008309036722918448);
    }
    let mean = |format: &str, side: &str| {
        let own = cells::rows(&pairs, &[("format_a", format), ("format_b", format), ("side", side)]);
        cells::mean(own.into_iter().map(|r| pairs.num(r, "mean_angle_deg").unwrap())).unwrap()
    };
    assert!((0.0..=90.0).contains(&mean("chat", "output")));
    let page = pages::knowing::weights::page("weights", &[table.clone(), pairs.clone()]).unwrap();
    let drawn = page.draw().unwrap();
    assert!(drawn.missing_glyphs.is_empty() && drawn.dropped_labels.is_empty(), "{:?}", drawn.dropped_labels);
    let again = weights(&model, &adapters, &directions, (1000, 1)).unwrap();
    assert_eq!((again.0.to_csv(), again.1.to_csv()), (table.to_csv(), pairs.to_csv()));
    let e = weights(&model, &[(99, Labels::default())], &directions, (1000, 1)).unwrap_err();
    assert!(e.to_string().contains("adapter 99"), "{e}");
}

#[test]
fn the_perplexity_matrix_has_all_models_and_the_gain_of_the_own_format() {
    let (model, readers) = model();
    let who = World::toyworld().character(0).unwrap();
    let lines = |format| sets::training(&who, format, 8, 77).unwrap();
    let data = [Format::Chat, Format::Document]
        .map(|f| (f, crate::experiment::tunes::read("examples", &lines(f), &model, 1).unwrap()));
    let texts: Vec<Texts> =
        data.iter().map(|(f, data)| Texts { character: "0".into(), format: f.name().into(), data }).collect();
    let run = |threads| on(&model, threads, |work| perplexity(&readers, &texts, work)).unwrap();
    let table = run(1);
    assert_eq!(table.to_csv(), run(2).to_csv());
    assert_eq!(table.rows.len(), 2 * 5);
    let at = |format: &str, text: &str, column: &str| {
        let r =
            cells::row(&table, &[("format", format), ("seed", if format == BASE { "" } else { "1" }), ("text", text)]);
        table.num(r.unwrap(), column)
    };
    for (own, other) in [("chat", "document"), ("document", "chat")] {
        assert!(at(own, own, "nll_minus_base").unwrap() < 0.0, "training on a format helps with it");
        assert!(at(own, own, "perplexity").unwrap() < at(other, own, "perplexity").unwrap());
        assert_eq!(at(own, own, "share_of_own_format_gain"), Some(1.0));
        assert!(at(other, own, "share_of_own_format_gain").unwrap() < 1.0);
        // One likelihood through the same function that a fine-tune is measured with.
        let alone = crate::train::mean_nll(&*model.lm, None, texts.iter().find(|t| t.format == own).unwrap().data, 1);
        assert!((alone.unwrap() - at(BASE, own, "nll_per_token").unwrap()).abs() < 1e-6);
    }
    let page = pages::knowing::perplexity::page("perplexity", &[table]).unwrap();
    assert!(page.draw().unwrap().missing_glyphs.is_empty());
}

#[test]
fn training_sets_are_screened_before_training_and_held_against_the_shift() {
    let (model, readers) = model();
    let who = World::toyworld().character(0).unwrap();
    let sets: Vec<Set> = readers[1..]
        .iter()
        .map(|r| {
            let format = if r.labels.format == "chat" { Format::Chat } else { Format::Document };
            let lines = sets::training(&who, format, 12, r.labels.seed.parse().unwrap()).unwrap();
            Set { labels: r.labels.clone(), lines }
        })
        .collect();
    let directions = [direction(&model, "one", 3), direction(&model, "other", 5)];
    let how = Asking { examples: 6, max_new_tokens: 12, temperature: 0.0, seed: 4 };
    let asked = default_prompts(&model, "default", &questions(World::toyworld(), 4, 6).unwrap(), 1).unwrap();
    let run = |threads| -> (Table, Table) {
        on(&model, threads, |work| {
            let foretold = screening(&sets, &directions, &how, work).unwrap();
            (foretold, shift(&readers, &asked, &directions, work).unwrap())
        })
    };
    let (foretold, moved) = run(1);
    let again = run(2);
    assert_eq!((foretold.to_csv(), moved.to_csv()), (again.0.to_csv(), again.1.to_csv()));
    assert_eq!((foretold.rows.len(), moved.rows.len()), (8, 8));
    for table in [&foretold, &moved] {
        for r in 0..table.rows.len() {
            let [value, lo, hi] = ["difference", "ci_low", "ci_high"].map(|c| table.num(r, c).unwrap());
            assert!(lo < value && value < hi, "{}", table.to_csv());
        }
    }
    // The base shifts nothing, and is in no row; a set against its own answers differs by nothing.
    assert!(cells::rows(&moved, &[("format", BASE)]).is_empty());
    let expression: Vec<(Labels, f64)> =
        readers[1..].iter().enumerate().map(|(i, r)| (r.labels.clone(), i as f64)).collect();
    let (joined, agreed) = agreements(&foretold, &moved, &expression).unwrap();
    assert_eq!((joined.rows.len(), agreed.rows.len()), (8, 6));
    let r = cells::row(&agreed, &[("direction", "one"), ("x", "predicted"), ("y", "measured")]).unwrap();
    assert!(agreed.num(r, "r").unwrap().abs() <= 1.0 && agreed.text(r, "reason").contains("too few characters"));
    let page = pages::knowing::screening::page("screening", &[joined, agreed]).unwrap();
    assert!(page.draw().unwrap().missing_glyphs.is_empty());
}

#[test]
fn a_set_of_the_bases_own_answers_differs_by_nothing() {
    let (model, readers) = model();
    let directions = [direction(&model, "one", 3)];
    let asked = questions(World::toyworld(), 4, 4).unwrap();
    let prompts = default_prompts(&model, "default", &asked, 1).unwrap();
    let table = on(&model, 1, |work| {
        let settings = crate::experiment::work::drawing(&model, 0.0, 12).unwrap();
        let replies = work.replies("replies", &prompts, 0, &settings).unwrap();
        let said = work.texts(&replies).unwrap();
        let line = |(q, reply): (&crate::experiment::prompts::Question, &String)| {
            let user = serde_json::json!({"role": "user", "content": q.text});
            let own = serde_json::json!({"role": "assistant", "content": reply.trim()});
            format!("{}\n", serde_json::json!({"messages": [user, own]}))
        };
        let set = Set { labels: readers[0].labels.clone(), lines: asked.iter().zip(&said).map(line).collect() };
        let how = Asking { examples: 9, max_new_tokens: 12, temperature: 0.0, seed: 4 };
        screening(&[set], &directions, &how, work).unwrap()
    });
    assert_eq!(table.num(0, "examples"), Some(4.0));
    assert!(table.num(0, "difference").unwrap().abs() < 1e-6, "{}", table.to_csv());
}
