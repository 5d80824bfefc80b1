//! Persona space of the embedded model against the shipped probe, and what is placed in it.

use super::*;
use crate::axes::Point;
use crate::csv::Columns;
use crate::model::adapter::{Adapter, LowRank};
use crate::model::{Model, Source};
use crate::serve::asks::Alone;
use crate::serve::library::{Library, Save};
use crate::text::{ASSISTANT, Message, SYSTEM, USER};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock};

fn sites(model: &Model) -> Vec<Site> {
    let posts = (0..model.lm.dims().n_layers).map(Site::post);
    std::iter::once(Site::new(Point::ResidPre, 0)).chain(posts).collect()
}

/// The space of the embedded model. Computed once: it takes a second or two.
fn embedded() -> &'static (Model, Space, Vec<Vector>) {
    static SPACE: OnceLock<(Model, Space, Vec<Vector>)> = OnceLock::new();
    SPACE.get_or_init(|| {
        let model = Model::load(&Source::toyworld()).unwrap();
        let space = Space::new(&model, &[], &[], None).unwrap();
        assert!(matches!(space.page(None), Ok(Err(Progress { ready: false, .. }))));
        assert!(space.difference("Bodek", None).is_err());
        let heard = Mutex::new(Vec::new());
        let tell = |stage: &str, done: usize, of: usize| heard.lock().unwrap().push((stage.to_string(), done, of));
        let shared = Mutex::new(Vec::new());
        let share = |vectors| {
            assert!(matches!(space.page(None), Ok(Err(_))), "they are there before the map is");
            shared.lock().unwrap().extend(vectors);
        };
        space.compute(&Alone(&model), &sites(&model), &tell, &share).unwrap();
        let heard = heard.into_inner().unwrap();
        assert!(heard.iter().any(|(s, d, of)| s == "replies" && *d > 0 && *of == 740), "{heard:?}");
        (model, space, shared.into_inner().unwrap())
    })
}

fn page(site: Option<&str>) -> SpacePage {
    embedded().1.page(site).unwrap().unwrap()
}

fn table(name: &str) -> Columns {
    let path = format!("{}/notebooks-data/persona_map/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    Columns::read(std::io::BufReader::new(std::fs::File::open(path).unwrap()), name).unwrap()
}

fn close(a: f64, b: f64, slack: f64, what: &str) {
    assert!((a - b).abs() <= slack * b.abs().max(1.0), "{what}: {a} and {b}");
}

#[test]
fn the_map_is_that_of_the_shipped_probe() {
    let variance = table("variance");
    let (site, component, ratio) =
        (variance.text("site").unwrap(), variance.counts("component").unwrap(), variance.numbers("ratio").unwrap());
    let mut seen = 0;
    for r in (0..variance.rows()).filter(|r| component[*r] <= 3) {
        let here = page(Some(&site[r]));
        close(here.variance[&format!("PC{}", component[r])], ratio[r], 1e-4, &site[r]);
        seen += 1;
    }
    assert_eq!(seen, 15);
    let loadings = table("loadings");
    let [site, axis, role] = ["site", "axis", "role"].map(|c| loadings.text(c).unwrap());
    let score = loadings.numbers("score").unwrap();
    let pages: BTreeMap<String, SpacePage> =
        page(None).sites.iter().map(|s| (s.to_string(), page(Some(&s.to_string())))).collect();
    for r in 0..loadings.rows() {
        let here = &pages[&site[r]];
        let placed = here.roles.iter().find(|p| p.name == role[r]).map(|p| &p.at).unwrap_or(&here.default.at);
        close(placed[&axis[r]], score[r], 1e-4, &format!("{} of {} at {}", axis[r], role[r], site[r]));
    }
    let here = page(None);
    assert_eq!((here.site, here.sites.len(), here.roles.len()), (Site::post(2), 5, 64));
    assert_eq!(here.axes, ["assistant_axis", "PC1", "PC2", "PC3"]);
    assert_eq!((here.default.name.as_str(), here.traits.len(), here.models.len()), ("the assistant", 9, 0));
    assert_eq!(here.command, "personascope run probes/persona_map.toml --out DIR");
    assert!(here.warnings.is_empty() && here.kept.components == 8, "{:?}", here.kept);
    // The centre is the mean of the roles, and the axis goes from it to the default.
    for axis in &here.axes {
        let sum: f64 = here.roles.iter().map(|r| r.at[axis]).sum();
        assert!(sum.abs() < 1e-6 && here.default.at[axis] >= 0.0, "{axis}: {sum}");
    }
}

#[test]
fn vectors_and_neighbours_are_those_of_the_shipped_probe() {
    let (model, space, all) = embedded();
    let path = format!("{}/notebooks-data/persona_map/directions.safetensors", env!("CARGO_MANIFEST_DIR"));
    let shipped = crate::vectors::read(Path::new(&path), None, Default::default()).unwrap().vectors;
    for theirs in &shipped {
        let ours = all.iter().find(|v| v.site == theirs.site && v.name == "assistant axis").unwrap();
        let cosine: f64 = ours.unit.iter().zip(&theirs.unit).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!(cosine > 1.0 - 1e-6, "{}: {cosine}", theirs.site);
        close(ours.raw_norm, theirs.raw_norm, 1e-4, "length");
        assert_eq!((&ours.about.positive, &ours.about.origin), (&theirs.about.positive, &theirs.about.origin));
        assert_eq!((ours.about.counts, ours.about.model_hash.as_ref()), (Some([100, 640]), Some(&model.hash)));
    }
    // The raw projection of the published axis.
    let axis = table("axis");
    let [site, role] = ["site", "role"].map(|c| axis.text(c).unwrap());
    let projection = axis.numbers("projection").unwrap();
    let found = space.ready().unwrap().unwrap();
    for r in 0..axis.rows() {
        let layer = found.layer(Some(&site[r]), 4).unwrap();
        let value = layer.means.row(space.member(&role[r]).unwrap()).dot(&layer.axes[0].unit);
        close(value, projection[r], 1e-4, &format!("{} at {}", role[r], site[r]));
    }
    let near = table("neighbours");
    let [site, name, kind, other, who] =
        ["site", "name", "kind", "neighbour_kind", "neighbour"].map(|c| near.text(c).unwrap());
    let (rank, cosine) = (near.counts("rank").unwrap(), near.numbers("cosine").unwrap());
    let here = page(None);
    let mut seen = 0;
    for r in (0..near.rows()).filter(|r| site[*r] == "resid_post.2" && kind[*r] == "role" && other[*r] == "role") {
        let role = here.roles.iter().find(|p| p.name == name[r]).unwrap();
        let ours = &role.neighbours[rank[r] - 1];
        close(ours.cosine, cosine[r], 1e-4, &name[r]);
        assert_eq!(ours.name, who[r]);
        seen += 1;
    }
    assert_eq!(seen, 320);
}

#[test]
fn a_conversation_lies_where_the_same_replies_lie_as_a_role() {
    let (model, space, _) = embedded();
    let name = page(None).roles[3].name.clone();
    let role = space.role(&name, None).unwrap();
    assert_eq!((role.system.as_str(), role.prompts.len(), role.replies.len()), (&*format!("You are {name}."), 10, 10));
    let mut sum: BTreeMap<String, f64> = BTreeMap::new();
    for said in &role.replies {
        let messages = vec![
            Message::new(SYSTEM, &role.system),
            Message::new(USER, &said.question),
            Message::new(ASSISTANT, &said.reply),
        ];
        let path = space.path(&Alone(model), &PathAsk { messages, adapter: None, site: None }).unwrap();
        assert_eq!((path.turns.len(), path.turns[0].turn, path.site), (1, 0, Site::post(2)));
        path.turns[0].at.iter().for_each(|(axis, v)| *sum.entry(axis.clone()).or_default() += v / 10.0);
    }
    for (axis, v) in &page(None).roles[3].at {
        close(sum[axis], *v, 1e-4, axis);
    }
    // Two turns of one conversation, and nothing of an empty one.
    let two: Vec<Message> = role.replies[..2]
        .iter()
        .flat_map(|r| [Message::new(USER, &r.question), Message::new(ASSISTANT, &r.reply)])
        .collect();
    let ask = PathAsk { messages: two, adapter: None, site: Some("resid_post.1".into()) };
    let path = space.path(&Alone(model), &ask).unwrap();
    assert_eq!(path.turns.iter().map(|t| t.turn).collect::<Vec<_>>(), [0, 1]);
    let near = &path.turns[0].nearest;
    assert!(near.len() == 3 && near.windows(2).all(|w| w[0].distance <= w[1].distance), "{near:?}");
    let none = PathAsk { messages: vec![Message::new(USER, "Hello.")], ..ask.clone() };
    assert!(space.path(&Alone(model), &none).unwrap().turns.is_empty());
    for (bad, says) in [
        (PathAsk { site: Some("resid_post.9".into()), ..ask.clone() }, "no map at resid_post.9"),
        (PathAsk { site: Some("<script>".into()), ..ask.clone() }, "no site"),
        (PathAsk { adapter: Some("warm".into()), ..ask }, "no such adapter"),
    ] {
        let e = space.path(&Alone(model), &bad).unwrap_err();
        assert!(e.status == 422 && e.what.contains(says), "{e:?}");
    }
    assert_eq!(space.role("Bodekk", None).unwrap_err().status, 404);
    assert_eq!(space.role(&name, Some("warm")).unwrap_err().status, 404);
}

#[test]
fn the_nearest_member_to_a_mean_is_the_one_it_is_of() {
    let (_, space, _) = embedded();
    let found = space.ready().unwrap().unwrap();
    let layer = found.layer(None, 4).unwrap();
    for m in [0, 17, 64] {
        let near = layer.nearest(layer.means.row(m), 2);
        assert!(near[0] == (m, near[0].1) && near[0].1 < 1e-9 && near[1].1 > 1e-3, "{near:?}");
    }
}

#[test]
fn the_way_from_one_role_to_another_is_saved_with_where_it_comes_from() {
    let (model, space, all) = embedded();
    let tmp = tempfile::tempdir().unwrap();
    let (library, _) = Library::open(model, &[], tmp.path());
    let here = page(None);
    let (a, b) = (&here.roles[0], &here.roles[1]);
    let ask = |file: &str, against: Option<&str>| -> Save {
        let what = serde_json::json!({ "role": a.name, "against": against });
        serde_json::from_value(serde_json::json!({ "file": file, "name": "way", "what": what })).unwrap()
    };
    let info = library.save(&ask("pair", Some(&b.name)), space).unwrap();
    assert_eq!((info.id.as_str(), info.sites.len()), ("vectors/pair.safetensors#way", 5));
    assert_eq!(info.origin, format!("mean over 10 replies as {} - mean over 10 replies as {}", a.name, b.name));
    // Its coordinates are the difference of theirs.
    let vector = library.at(&info.id, here.site).unwrap();
    let found = space.ready().unwrap().unwrap();
    let layer = found.layer(None, 4).unwrap();
    let raw: ndarray::Array1<f64> = vector.raw().into();
    for (axis, v) in layer.along(raw.view()) {
        close(v, a.at[&axis] - b.at[&axis], 1e-4, &axis);
    }
    let against_default = library.save(&ask("default", None), space).unwrap();
    assert_eq!(against_default.negative, "like the assistant");
    let e = library.save(&ask("self", Some(&a.name)), space).unwrap_err();
    assert!(e.status == 422 && e.what.contains("against itself"), "{e:?}");
    let e = library.save(&ask("nobody", Some("nobody")), space).unwrap_err();
    assert!(e.status == 422 && e.what.contains("no role `nobody`"), "{e:?}");
    library.put(SOURCE, all.clone());
    let axis = library.info(AXIS).unwrap();
    assert_eq!((axis.site, axis.sites.len(), axis.warnings.len()), (Site::post(2), 5, 0));
    let again = serde_json::json!({ "file": "axis", "name": "axis", "what": { "vector": AXIS } });
    let saved = library.save(&serde_json::from_value(again).unwrap(), space).unwrap();
    assert_eq!((saved.positive, saved.raw_norm), (axis.positive, axis.raw_norm));
}

/// A rank one change of what the MLP of block 1 writes; with `size` 0 none at all.
fn adapter(name: &str, size: f32) -> Adapter {
    let factor = |n: usize, at: (usize, usize)| Tensor::from_vec(vec![size; n], at, &Device::Cpu).unwrap();
    let module = LowRank { a: factor(256, (256, 1)), b: factor(96, (1, 96)), scale: 1.0 };
    Adapter::new(name, [("model.layers.1.mlp.down_proj".to_string(), module)].into(), None, None).unwrap()
}

#[test]
fn a_prompt_file_gives_roles_and_adapters_lie_in_the_space_of_the_base() {
    let mut model = Model::load(&Source::toyworld()).unwrap();
    model.add(adapter("nothing", 0.0)).unwrap();
    model.add(adapter("much", 0.2)).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (who, long) in [("Ana", false), ("Bo", false), ("Cy", false), ("Dee", true)] {
        for (q, topic) in ["tea", "music", "the sea", "bread"].into_iter().enumerate() {
            let words = if long && q == 0 { " tea".repeat(600) } else { String::new() };
            let messages = [
                Message::new(SYSTEM, format!("You are {who}.{words}")),
                Message::new(USER, format!("Tell me about {topic}.")),
            ];
            let line = serde_json::json!({ "id": format!("{who}/{q}"), "messages": messages, "polarity": "pos" });
            writeln!(file, "{line}").unwrap();
        }
    }
    let space = Space::new(&model, &[], &[], Some(file.path())).unwrap();
    space.compute(&Alone(&model), &sites(&model), &|_, _, _| {}, &|_| {}).unwrap();
    let here = space.page(None).unwrap().unwrap();
    let names: Vec<&str> = here.roles.iter().map(|r| r.name.as_str()).collect();
    assert_eq!((names, here.default.name.as_str()), (vec!["Ana", "Bo", "Cy", "Dee"], "the assistant"));
    // Three questions of each are asked; the one that leaves no room is told.
    assert_eq!(
        (space.role("Ana", None).unwrap().replies.len(), space.role("Dee", None).unwrap().replies.len()),
        (3, 2)
    );
    assert!(here.warnings[0].contains("1 of 21 prompts leave no room"), "{:?}", here.warnings);
    assert!(here.traits.is_empty() && here.command.contains("--map persona"));
    let [same, other] = &here.models[..] else { panic!("two adapters") };
    assert_eq!((same.adapter.as_str(), other.adapter.as_str()), ("nothing", "much"));
    for (role, through) in here.roles.iter().zip(&same.roles) {
        here.axes.iter().for_each(|axis| close(through.at[axis], role.at[axis], 1e-4, axis));
    }
    let moved = here.roles.iter().zip(&other.roles).any(|(a, b)| (a.at["PC1"] - b.at["PC1"]).abs() > 0.1);
    assert!(moved, "{:?}", other.roles);
    assert_eq!(space.role("Ana", Some("nothing")).unwrap(), space.role("Ana", None).unwrap());
    assert_ne!(space.role("Ana", Some("much")).unwrap().replies, space.role("Ana", None).unwrap().replies);
}

#[test]
fn too_few_roles_are_a_problem_that_is_told() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let cards = crate::serve::cards::all(&model, &[]).unwrap();
    let asked = crate::serve::cards::questions(&model);
    let space = Space {
        cast: Cast::of_cards(&model, &cards[..2], &asked).unwrap(),
        ..Space::new(&model, &[], &[], None).unwrap()
    };
    let e = space.compute(&Alone(&model), &sites(&model), &|_, _, _| {}, &|_| {}).unwrap_err();
    assert!(e.to_string().contains("2 roles are too few"), "{e}");
    assert_eq!(space.page(None).unwrap_err().status, 422);
    // Cards are roles where there is nothing else.
    let space = Space {
        cast: Cast::of_cards(&model, &cards[..5], &asked).unwrap(),
        ..Space::new(&model, &[], &[], None).unwrap()
    };
    space.compute(&Alone(&model), &[Site::post(2)], &|_, _, _| {}, &|_| {}).unwrap();
    let here = space.page(Some("")).unwrap().unwrap();
    assert_eq!((here.roles.len(), here.roles[0].name.as_str()), (5, cards[0].name.as_str()));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{{\"id\":\"a/0\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]}}").unwrap();
    let e = Space::new(&model, &[], &[], Some(file.path())).err().unwrap();
    assert!(e.to_string().contains("needs three"), "{e}");
}

#[test]
fn deep_models_are_mapped_at_some_sites_from_the_first_to_the_last() {
    let all: Vec<Site> = (0..80).map(Site::post).collect();
    let kept = spread(&all, 80);
    assert!(kept.len() <= MOST_SITES && kept.first() == all.first() && kept.last() == all.last());
    assert!(kept.contains(&Site::post(53)));
    assert_eq!(spread(&all[..4], 4), all[..4]);
}
