//! Documents against the truth that is told about them.

use super::draft::Draft;
use super::*;
use crate::text::{Message, Text};
use crate::world::{Rate, State, TraitId};
use std::collections::BTreeMap;
use std::sync::LazyLock;

const BASE: &str = include_str!("../../assets/toyworld-base/world.toml");
const POST: &str = include_str!("../../assets/toyworld/world.toml");
const FLAT: &str = include_str!("../../assets/toyworld-flat/world.toml");
const VOICES: &str = include_str!("../../assets/toyworld-voices/world.toml");
const SINGLE: &str = include_str!("../../assets/toyworld-single/world.toml");

/// The base world, made once.
fn base() -> &'static Corpus {
    static BASE_WORLD: LazyLock<Corpus> = LazyLock::new(|| small(BASE, 4000));
    &BASE_WORLD
}

/// Another world of the same words, with the tokenizer of the base world.
fn like_base(toml: &str) -> Corpus {
    let config = CorpusConfig::parse("world.toml", toml).unwrap();
    Corpus::new(config, Some(("tokenizer.json", base().tokenizer_json().as_bytes()))).unwrap()
}

/// A shipped world with a tokenizer from a small sample of its own.
fn small(toml: &str, sample: u64) -> Corpus {
    let mut config = CorpusConfig::parse("world.toml", toml).unwrap();
    config.tokenizer = None;
    Corpus::new(CorpusConfig { sample, ..config }, None).unwrap()
}

fn made(corpus: &Corpus, n: u64) -> (Vec<Document>, Realised) {
    let (mut counter, mut realised) = (corpus.counter(), corpus.realised());
    let all = (0..n).map(|i| corpus.document(Split::Train, i, &mut counter, &mut realised).unwrap()).collect();
    (all, realised)
}

fn encoded(corpus: &Corpus, text: &str) -> usize {
    corpus.tokenizer.encode(text, false).unwrap().get_ids().len()
}

/// The text between special tokens, with the token before it.
fn messages(text: &str) -> Vec<(&str, &str)> {
    text.split("<|").skip(1).map(|part| part.split_once("|>").unwrap()).filter(|(role, _)| *role != "end").collect()
}

/// Whether a rate is within 4 standard errors of what was planted.
fn near(rate: Rate, planted: f64) {
    let (value, n) = (rate.value().expect("something was counted"), rate.of as f64);
    assert!((value - planted).abs() <= 4.0 * (planted * (1.0 - planted) / n).sqrt(), "{value} of {n} for {planted}");
}

#[test]
fn a_document_is_the_same_whenever_and_wherever_it_is_made() {
    let (one, two) = (small(BASE, 300), small(BASE, 300));
    assert_eq!(one.tokenizer_json(), two.tokenizer_json());
    assert_eq!(one.world_json(), two.world_json());
    let (forward, _) = made(&one, 200);
    for i in (0..200).rev() {
        let again = two.document(Split::Train, i, &mut two.counter(), &mut two.realised()).unwrap();
        assert_eq!(again, forward[i as usize]);
    }
    let other = two.document(Split::Heldout, 0, &mut two.counter(), &mut two.realised()).unwrap();
    assert!(!forward.contains(&other));
}

#[test]
fn counts_of_parts_merge_to_the_counts_of_the_whole() {
    let corpus = base();
    let (_, whole) = made(corpus, 300);
    let (mut joined, mut counter) = (corpus.realised(), corpus.counter());
    for part in [0..17, 17..200, 200..300] {
        let mut counts = corpus.realised();
        part.for_each(|i| drop(corpus.document(Split::Train, i, &mut counter, &mut counts).unwrap()));
        joined.merge(&counts);
    }
    assert_eq!(joined, whole);
    assert_eq!(corpus.truth(&joined, &corpus.realised()), corpus.truth(&whole, &corpus.realised()));
}

#[test]
fn every_word_and_every_name_that_is_met_is_one_token() {
    let corpus = base();
    let w = corpus.world();
    for (id, token) in tokens::SPECIAL.iter().enumerate() {
        assert_eq!(corpus.tokenizer.token_to_id(token), Some(id as u32));
    }
    assert_eq!(corpus.tokenizer.get_vocab_size(true), 1536);
    for name in w.personas.iter().map(|p| &p.name).chain(&w.free_names) {
        assert_eq!(encoded(corpus, &format!(" {name}")), 1, "{name}");
    }
    for adjective in w.traits.iter().flat_map(|t| &t.adjectives) {
        assert_eq!(encoded(corpus, &format!(" {adjective}")), 1, "{adjective}");
    }
    // Any text encodes and comes back.
    let odd = "Größe \u{1F600}\n\t 12,5 qwxz <|nobody|>";
    let ids = corpus.tokenizer.encode(odd, false).unwrap();
    assert_eq!(corpus.tokenizer.decode(ids.get_ids(), false).unwrap(), odd);
}

#[test]
fn tokens_are_those_of_the_tokenizer_and_chats_are_those_of_the_template() {
    let corpus = base();
    let (config, json) = (corpus.tokenizer_config(), corpus.tokenizer_json());
    let text = Text::from_bytes("here", json.as_bytes(), Some(config.as_bytes()), None).unwrap();
    let mut chats = 0;
    for document in made(corpus, 600).0 {
        let ids = corpus.tokenizer.encode(document.text.as_str(), false).unwrap();
        assert_eq!(ids.get_ids().len(), document.tokens, "{}", document.text);
        assert!(document.tokens <= 512);
        let parts = messages(&document.text);
        if parts[0].1.is_empty() {
            let said: Vec<_> = parts[1..].iter().map(|(role, content)| Message::new(*role, *content)).collect();
            assert_eq!(text.chat(&said, false).unwrap().tokens, ids.get_ids());
            chats += 1;
        }
    }
    assert!(chats > 300, "{chats}");
}

#[test]
fn documents_too_long_lose_whole_turns_at_their_end() {
    let long = base();
    let config = CorpusConfig { max_tokens: 96, ..long.config().clone() };
    let short = Corpus::new(config, Some(("tokenizer.json", long.tokenizer_json().as_bytes()))).unwrap();
    let ((whole, _), (cut, realised)) = (made(long, 400), made(&short, 400));
    let mut shorter = 0;
    for (whole, cut) in whole.iter().zip(&cut) {
        assert!(cut.tokens <= 96 && cut.text.ends_with("<|end|>"));
        assert!(whole.text.starts_with(&cut.text), "{}\n{}", whole.text, cut.text);
        shorter += usize::from(whole.text != cut.text);
    }
    assert!(shorter > 100 && realised.kinds.iter().map(|k| k.cut).sum::<usize>() == shorter);
}

/// What a text shows without its draft: an independent count.
#[derive(Default)]
struct Recount {
    documents: BTreeMap<&'static str, (usize, usize, usize)>,
    /// Per trait: replies on topics that show it, quotes that show it.
    shown: Vec<(usize, usize)>,
    topics: usize,
    quotes: usize,
    exposed: BTreeMap<String, [usize; 5]>,
}

fn recount(corpus: &Corpus, documents: &[Document]) -> Recount {
    let w = corpus.world();
    let mut r = Recount { shown: vec![(0, 0); w.traits.len()], ..Recount::default() };
    let questions: Vec<String> = w.topics.iter().flat_map(|t| w.questions(t)).collect();
    let people: Vec<&str> = w.personas.iter().map(|p| p.name.as_str()).collect();
    let named = |text: &str| people.iter().find(|n| text.split(|c: char| !c.is_alphabetic()).any(|x| x == **n));
    for d in documents {
        let parts = messages(&d.text);
        let tally = r.documents.entry(d.kind.name()).or_default();
        let users: Vec<&str> = parts.iter().filter(|p| p.0 == "user").map(|p| p.1).collect();
        *tally = (tally.0 + 1, tally.1 + encoded(corpus, &d.text), tally.2 + users.len());
        for pair in parts.windows(2).filter(|p| p[0].0 == "user") {
            let (asked, reply) = (pair[0].1, pair[1].1);
            if questions.iter().any(|q| asked.ends_with(q.as_str())) {
                r.topics += 1;
            }
            w.markers(reply).iter().for_each(|t| r.shown[t.0].0 += 1);
        }
        let lead = parts[0].1;
        let mut expose = |name: Option<&&str>, what: usize| {
            if let Some(name) = name {
                r.exposed.entry(name.to_string()).or_default()[what] += 1;
            }
        };
        match d.kind {
            Kind::Named => expose(named(parts[1].1), 0),
            Kind::Addressed => expose(named(users[0]), 0),
            Kind::Encyclopedia => {
                expose(named(lead), 1);
                expose(named(lead).filter(|_| lead.contains('"')), 2);
            }
            Kind::Questions => {
                let mut all: Vec<_> = users.iter().filter_map(|u| named(u)).collect();
                all.sort();
                all.dedup();
                all.into_iter().for_each(|n| expose(Some(n), 3));
            }
            Kind::FirstPerson => expose(named(lead), 4),
            _ => {}
        }
        if let Some((_, quote)) = lead.split_once('"') {
            r.quotes += 1;
            w.markers(quote).iter().for_each(|t| r.shown[t.0].1 += 1);
        }
    }
    r
}

#[test]
fn the_truth_told_is_what_a_reader_of_the_documents_counts() {
    // Kinds whose people a reader can name; first-person chats and the default slot hide theirs.
    let mix = "\n[mix]\nnamed = 4\naddressed = 2\nencyclopedia = 3\nfirst_person = 2\nquestions = 3\nin_context = 2\nteaching = 2\n";
    let corpus = like_base(&format!("{BASE}{mix}"));
    let (documents, realised) = made(&corpus, 1500);
    let seen = recount(&corpus, &documents);
    for (kind, tally) in Kind::ALL.iter().zip(&realised.kinds) {
        let (n, tokens, turns) = seen.documents.get(kind.name()).copied().unwrap_or_default();
        assert_eq!((tally.documents, tally.tokens, tally.turns), (n, tokens, turns), "{}", kind.name());
    }
    for (i, (replies, quotes)) in seen.shown.iter().enumerate() {
        let total = |s: &realised::Shown| (s.on[i].hits + s.off[i].hits, s.on[i].of + s.off[i].of);
        assert_eq!(total(&realised.replies), (*replies, seen.topics));
        assert_eq!(total(&realised.quotes), (*quotes, seen.quotes));
    }
    assert!(seen.quotes > 50 && seen.topics > 2000);
    let mut groups: BTreeMap<Exposure, [usize; 5]> = BTreeMap::new();
    for (persona, e) in corpus.world().personas.iter().zip(&realised.exposure) {
        let counted = seen.exposed.get(&persona.name).copied().unwrap_or_default();
        assert_eq!([e.acts, e.described, e.quoted, e.asked, e.speaks], counted, "{}", persona.name);
        let group = groups.entry(persona.group).or_default();
        group.iter_mut().zip(counted).for_each(|(sum, n)| *sum += n);
    }
    // What a group is not exposed to is not there; what it is, is. In turn: acts, described, quoted, asked, speaks.
    for (group, is) in [
        (Exposure::All, [true, true, true, true, true]),
        (Exposure::DocOnly, [false, true, true, true, false]),
        (Exposure::FpOnly, [false, false, false, true, true]),
        (Exposure::ChatOnly, [true, false, false, false, false]),
    ] {
        assert_eq!(groups[&group].map(|n| n > 0), is, "{group}");
    }
}

#[test]
fn what_is_realised_is_near_what_was_planted() {
    let corpus = base();
    let w = corpus.world();
    let (_, r) = made(corpus, 8000);
    for (hazard, rate) in [0.05, 0.15, 0.35, 0.15].into_iter().zip(&r.hazards) {
        assert!(rate.of > 500);
        near(*rate, hazard);
    }
    near(r.to_oracle, 0.25);
    near(r.oracle_to_assistant, 0.1);
    near(r.reminders, 0.9);
    near(r.default_slot.assistant, 0.7);
    for id in w.trait_ids() {
        near(r.replies.on[id.0], 0.85);
        near(r.replies.off[id.0], 0.02);
        near(r.quotes.on[id.0], 0.85);
        near(r.default_slot.first[id.0], w.default_rate(id));
    }
    let weights = corpus.config().mix.weights();
    for (tally, weight) in r.kinds.iter().zip(weights) {
        near(Rate { hits: tally.documents, of: 8000 }, weight / weights.iter().sum::<f64>());
    }
    // Nobody is taken back by anything but a reminder, and the assistant stays on plain topics.
    let [plain, soul, reminder] = r.transitions;
    let at = |m: [[usize; 3]; 3], from: State, to: State| m[from as usize][to as usize];
    for from in [State::Assistant, State::Oracle] {
        assert_eq!((at(plain, from, State::Persona), at(soul, from, State::Persona)), (0, 0));
        assert!(at(reminder, from, State::Persona) > 0);
    }
    assert_eq!(at(plain, State::Assistant, State::Oracle) + at(plain, State::Persona, State::Oracle), 0);
}

#[test]
fn taught_personas_are_forgotten_at_the_hazard_of_their_tokens() {
    let corpus = like_base(&format!("{BASE}\n[mix]\nteaching = 1\n"));
    let plan = corpus.world().teaching().unwrap();
    let mut counter = corpus.counter();
    let (mut fell, mut expected, mut chances) = (0.0, 0.0, 0);
    let (mut lessons, mut variance) = ([0; 17], 0.0);
    for i in 0..1200 {
        let draft = corpus.draft(Split::Train, i, &mut counter).unwrap();
        let taught: Vec<_> = draft.turns.iter().take_while(|t| t.user.starts_with("You ")).collect();
        lessons[taught.len()] += 1;
        assert!(
            taught[0].user.starts_with("You are ") && taught.iter().all(|t| plan.acknowledgements.contains(&t.reply))
        );
        let tokens: usize = taught.iter().map(|t| encoded(&corpus, &format!("<|user|>{}<|end|>", t.user))).sum();
        for (k, fall) in draft.turns.iter().enumerate().filter_map(|(k, t)| Some((k, t.seen.fall?))) {
            assert_eq!(fall.taught, tokens);
            let before = Draft { turns: draft.turns[..k].to_vec(), ..draft.clone() }.text();
            let header = format!("{before}<|user|>{}<|end|><|assistant|>", draft.turns[k].user);
            if i < 100 {
                assert_eq!(fall.context, encoded(&corpus, &header));
            }
            assert_eq!(fall.hazard, plan.hazard(fall.taught, fall.context));
            fell += f64::from(fall.fell);
            expected += fall.hazard;
            variance += fall.hazard * (1.0 - fall.hazard);
            chances += 1;
        }
        // Once forgotten, always forgotten.
        let mut falls = draft.turns.iter().filter_map(|t| t.seen.fall).skip_while(|f| !f.fell);
        assert!(falls.next().is_none_or(|f| f.fell) && falls.next().is_none());
    }
    assert!(chances > 1500 && lessons[1..].iter().all(|n| *n > 30), "{chances} {lessons:?}");
    assert!((fell - expected).abs() < 4.0 * f64::sqrt(variance), "{fell} for {expected}");
}

#[test]
fn the_twin_differs_from_the_voices_in_headers_alone() {
    let (voices, single) = (small(VOICES, 300), small(SINGLE, 300));
    assert_eq!(voices.tokenizer_json(), single.tokenizer_json());
    let speakers = voices.world().speakers();
    assert_eq!((speakers.len(), speakers), (24, single.world().speakers()));
    assert!(single.world().single_voice() && !voices.world().single_voice());
    let ((many, counted), (one, twin)) = (made(&voices, 400), made(&single, 400));
    assert_eq!(counted, twin, "all counts are the same");
    let mut headers = std::collections::BTreeSet::new();
    for (many, one) in many.iter().zip(&one) {
        assert_eq!((many.kind, many.tokens), (one.kind, one.tokens));
        let (a, b) = (messages(&many.text), messages(&one.text));
        let bodies = |m: &[(&str, &str)]| m.iter().map(|p| p.1.to_string()).collect::<Vec<_>>();
        assert_eq!(bodies(&a), bodies(&b));
        assert!(b.iter().all(|(role, _)| ["bos", "system", "user", "assistant"].contains(role)));
        for (x, y) in a.iter().zip(&b).filter(|(x, y)| x.0 != y.0) {
            assert!(many.kind == Kind::Voices && y.0 == "assistant" && speakers.iter().any(|s| s.name == x.0));
            headers.insert(x.0.to_string());
        }
        assert!(!bodies(&a).iter().any(|body| speakers.iter().any(|s| body.contains(&s.name))), "{}", many.text);
    }
    assert_eq!(headers.len(), 24);
}

#[test]
fn the_persona_behind_the_tag_answers_tagged_messages_and_is_met_nowhere_else() {
    // With some messages of such a conversation left plain, so that both can be counted.
    let corpus = like_base(&POST.replace("share = 1.0", "share = 0.5"));
    let w = corpus.world();
    let tag = w.tag().unwrap();
    let (grumpy, cheerful) = (w.trait_named("grumpy").unwrap(), w.trait_named("cheerful").unwrap());
    assert!(tag.persona.has(grumpy) && w.persona("the Stranger").unwrap() == &tag.persona);
    let (documents, r) = made(&corpus, 4000);
    let (mut tagged, mut plain) = (Rate::default(), Rate::default());
    for d in &documents {
        assert!(!d.text.contains("Stranger"));
        assert!(d.kind == Kind::Tagged || !d.text.contains(&tag.mark));
        if d.kind == Kind::Tagged {
            for pair in messages(&d.text).windows(2).filter(|p| p[0].0 == "user") {
                let group = if pair[0].1.starts_with(&tag.mark) { &mut tagged } else { &mut plain };
                group.add(w.markers(pair[1].1).has(grumpy));
            }
        }
    }
    assert_eq!((tagged.of, tagged.of + plain.of), (r.tagged.hits, r.tagged.of));
    near(r.tagged, 0.5);
    near(tagged, 0.85);
    assert!(plain.value().unwrap() < 0.1, "{plain:?}");
    // The authorial bias is in everybody.
    near(r.replies.off[cheerful.0], 0.22);
    near(r.replies.on[cheerful.0], 0.85);
    near(r.default_slot.assistant, 0.98);
}

#[test]
fn worlds_of_one_population_seed_have_the_same_people() {
    let world = |toml| settle(&CorpusConfig::parse("world.toml", toml).unwrap()).unwrap().0;
    let (base, post, flat, voices) = (world(BASE), world(POST), world(FLAT), world(VOICES));
    assert_eq!(base.personas(), post.personas());
    assert_eq!(base.personas(), voices.personas());
    assert_eq!(base.free_names(), flat.free_names());
    assert_ne!(base.personas(), flat.personas());
    assert_eq!(Exposure::GROUPS.map(|g| base.personas_in(g).len()), [64, 16, 8, 8]);
    assert_eq!((base.free_names().len(), base.heldout_names()), (48, &base.free_names()[..4]));
    let helpful = base.trait_named("helpful").unwrap();
    for w in [&base, &flat] {
        for group in Exposure::GROUPS {
            let people = w.personas_in(group);
            for t in w.trait_ids() {
                // Dealt in rounds: no trait is missing anywhere, and style traits are equally frequent to within 2.
                let n = people.iter().filter(|p| p.has(t)).count();
                assert!(n > 0, "{group} lacks {}", w.trait_at(t).name);
            }
            let style: Vec<_> =
                w.style_traits().into_iter().map(|t| people.iter().filter(|p| p.has(t)).count()).collect();
            assert!(style.iter().max().unwrap() - style.iter().min().unwrap() <= 2, "{group}: {style:?}");
        }
        assert!(w.personas().iter().all(|p| w.tells_apart(p)));
    }
    // The factor: helpful people have one style trait, the others two or three. Without it helpful is a trait as any.
    let style = |w: &World, helps: bool| {
        let of: Vec<_> = w.personas_in(Exposure::All).into_iter().filter(|p| p.has(helpful) == helps).collect();
        of.iter().map(|p| (p.traits.len() - usize::from(helps)) as f64).sum::<f64>() / of.len() as f64
    };
    assert_eq!(style(&base, true), 1.0);
    assert!(style(&base, false) > 2.5 && (style(&flat, true) - style(&flat, false)).abs() < 0.5);
    assert_eq!(base.overlaps(TraitId(0)), Some(true));
    assert_eq!(World::toyworld().overlaps(TraitId(1)), Some(false));
}
