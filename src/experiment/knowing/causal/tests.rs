use super::super::latent::Place;
use super::super::rows;
use super::super::subjects::subjects;
use super::*;
use crate::axes::Site;
use crate::experiment::Context;
use crate::experiment::spec::OfWorld;
use crate::experiment::work::drawing;
use crate::model::Source;
use crate::store::MemoryShelf;
use crate::unit::Tally;

#[test]
fn places_are_spread_over_all() {
    assert_eq!(spread(30, 3), [0, 10, 20]);
    assert_eq!((spread(2, 8), spread(0, 3), spread(5, 5)), (vec![0, 1], vec![], vec![0, 1, 2, 3, 4]));
}

#[test]
fn settings_of_edits_out_of_range_are_refused_by_name() {
    let fine = Causal { doses: vec![0.1, 0.2], ..Causal::default() };
    assert!(check(&fine, &["chat"]).is_ok() && check(&Causal::default(), &[]).is_ok());
    let patch = |a: &str, b: &str| Causal { patch: Some((a.into(), b.into())), ..Causal::default() };
    assert!(check(&patch("chat", "base"), &["chat"]).is_ok());
    for (c, says) in [
        (Causal { doses: vec![0.2, 0.1], ..Causal::default() }, "causal.doses"),
        (Causal { doses: vec![0.0], ..Causal::default() }, "causal.doses"),
        (Causal { doses: vec![f64::NAN], ..Causal::default() }, "causal.doses"),
        (Causal { level: 1.5, ..Causal::default() }, "causal.level"),
        (Causal { prompts: 0, ..fine.clone() }, "causal.prompts"),
        (Causal { samples: 0, ..fine.clone() }, "causal.samples"),
        (patch("chat", "novel"), "`novel`"),
        (patch("chat", "chat"), "causal.patch"),
    ] {
        let e = check(&c, &["chat"]).unwrap_err();
        assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{says}: {e}");
    }
}

/// Everything on the embedded model's base alone.
fn on_the_base(causal: Causal, threads: usize, run: impl FnOnce(&Trial<'_>, &mut Work<'_, '_>)) {
    let model = Model::load(&Source::toyworld()).unwrap();
    let world = OfWorld { characters: vec![0], prompts: 2, strangers: 1, ..OfWorld::default() };
    let s = Settings { causal, passages: 10, resamples: 50, ..Settings::default() };
    let protocol = super::super::world::protocol(&world, s.passages, 0).unwrap();
    let sites = [Site::post(1), Site::post(2)];
    let how = Asking {
        samples: 1,
        drawing: drawing(&model, 1.0, 12).unwrap(),
        seed: 0,
        known: 1.0,
        latent: Some(Place::LastPrompt),
        sites: sites.to_vec(),
    };
    let shelf = MemoryShelf::default();
    let mut progress = |_: &str, _: &Tally| true;
    let mut ctx = Context { shelf: &shelf, tunes: None, threads, progress: &mut progress };
    let mut work = Work::new(&model, &mut ctx, 2048);
    let sets = rows::sets(&protocol, &sites, (&how.drawing, 0), &mut work).unwrap();
    let default = rows::default(&protocol, &sites, &mut work).unwrap();
    let fitted = (Some(Site::post(2)), Pick::LastPrompt);
    let directions = Directions::fit(&protocol, (&sets, &default), &sites, fitted, (0, threads)).unwrap();
    let all = subjects(&protocol, &[]);
    let trial = Trial::new((&protocol, &all), &directions, &how, &s, &[]);
    assert_eq!(trial.tried, [0], "the card is no model of its own");
    run(&trial, &mut work);
}

#[test]
fn doses_differ_ablation_is_no_dose_and_nothing_depends_on_threads() {
    let causal = Causal { doses: vec![0.2, 1.0], prompts: 2, samples: 1, controls: 1, ..Causal::default() };
    let mut seen = Vec::new();
    for threads in [1, 2] {
        on_the_base(causal.clone(), threads, |trial, work| {
            let tables = super::causal(trial, work).unwrap();
            let found = &tables[0];
            let nats = |direction: &str, edit: &str, dose: &str| {
                let of = [("format", "base"), ("direction", direction), ("edit", edit), ("dose_norms", dose)];
                let rows = crate::experiment::cells::rows(found, &of);
                found.num(rows[0], "neutral_nats_change").unwrap()
            };
            for direction in ["feel", "know", "self", "random 0", "in_span 0"] {
                let [ablated, weak, strong] =
                    [("ablate", ""), ("add", "0.2"), ("add", "1")].map(|(edit, dose)| nats(direction, edit, dose));
                assert!(strong > weak && strong > 0.1, "{direction}: {weak} {strong}");
                assert!(ablated != 0.0 && ablated < strong, "{direction}: {ablated}");
            }
            let traits = trial.traits(0).len();
            let doses = &tables[1];
            assert_eq!(
                doses.where_is("character", "*").len(),
                2,
                "a row over traits for the direction and for controls"
            );
            assert_eq!(doses.rows.len(), 2 * (traits + 1));
            let (effects, units) = (found.where_is("measure", "E"), traits as f64);
            assert!(effects.iter().all(|r| found.num(*r, "units").unwrap() <= units));
            // The base and the mean over formats, which is the base: 5 directions, ablated and at two doses; the larger
            // one may leave nothing coherent to score.
            assert!(effects.len() >= 2 * 5 * 2 && effects.len() <= 2 * 5 * 3, "{}", effects.len());
            seen.push(tables.iter().map(Table::to_csv).collect::<Vec<_>>());
        });
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_model_patched_with_its_own_activations_shows_what_it_shows() {
    for at in [At::LastPrompt, At::All] {
        let causal = Causal { prompts: 2, samples: 2, at, ..Causal::default() };
        on_the_base(causal, 2, |trial, work| {
            let found = patching(trial, BASE, BASE, work).unwrap();
            assert_eq!(found.where_is("way", "forward").len(), 2, "one row for each site, and no control");
            for r in 0..found.rows.len() {
                let e = |column: &str| found.num(r, column).unwrap();
                assert_eq!((e("e_patched"), e("e_to")), (e("e_to"), e("e_from")));
                assert!(found.text(r, "recovered").is_empty() && found.text(r, "reason").contains("the same"));
            }
            let e = patching(trial, "chat", BASE, work).unwrap_err();
            assert!(e.to_string().contains("no character has a model of format chat"), "{e}");
        });
    }
}
