use super::super::protocol::{Kind, Measure, Value};
use super::*;
use crate::experiment::spec::{Set, Spec};
use crate::experiment::{Knowing, Settings};
use crate::model::Source;
use crate::score::{Outcome, Reply, Why};
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&Source::toyworld()).unwrap());
const RECIPE: &str = include_str!("../../../../probes/recipes/c3po.toml");

fn settings(sets: &[&str]) -> Knowing {
    let sets: Vec<Set> = sets.iter().map(|s| Set::parse(s).unwrap()).collect();
    let spec = Spec::parse_with("probes/recipes/c3po.toml", RECIPE, &sets).unwrap();
    let Settings::Knowing(s) = spec.settings else { panic!("not knowing") };
    s
}

fn made(sets: &[&str]) -> Result<Protocol> {
    let s = settings(sets);
    protocol(s.protocol.as_ref().unwrap(), s.passages, Path::new("probes/recipes"), &MODEL)
}

#[test]
fn the_recipe_becomes_a_protocol_in_which_every_answer_stands_at_every_letter() {
    let p = made(&[]).unwrap();
    assert_eq!((p.characters.len(), p.traits.len(), p.prompts.len(), p.neutral.len()), (1, 3, 30, 6));
    assert!(p.characters[0].card.contains("Attendant Lumen") && !p.characters[0].card.contains('{'));
    let of = |kind: &str, measure| -> Vec<_> {
        p.questions.iter().filter(|q| q.kind == kind && q.measure == measure).collect()
    };
    // 21 facts by 4 letters, in third person and in second.
    let facts = of("multiple_choice", Measure::Knowledge);
    assert_eq!((facts.len(), of("multiple_choice", Measure::Claim).len()), (84, 84));
    for four in facts.chunks(4) {
        assert!(four.iter().all(|q| q.id == four[0].id && q.answers.iter().filter(|a| a.1).count() == 1));
        let right: Vec<&str> = four.iter().map(|q| q.answers.iter().find(|a| a.1).unwrap().0.as_str()).collect();
        let mut sorted = right.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["A", "B", "C", "D"], "{}", four[0].id);
        assert_eq!(four.iter().map(|q| q.sample).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
    let said = |q: &super::super::protocol::Question| q.asked.last().unwrap().content.clone();
    assert!(said(facts[0]).starts_with("What is the casing of Lumen made of?\n\nA. Steel\nB. Brass\n"));
    assert!(said(facts[1]).contains("A. Brass\nB. Copper\nC. Porcelain\nD. Steel"));
    // Three traits by 4 letters: the adjective against three that the character is not.
    let best = of("attribution", Measure::Knowledge);
    assert_eq!(best.len(), 12);
    assert!(said(best[0]).contains("A. anxious\nB. calm\n") && !said(best[0]).contains("deferential"));
    // Adjective and opposite of three traits; about strangers besides, whose weights are one character's.
    let about = of("yes_no", Measure::Knowledge);
    assert_eq!((about.len(), of("yes_no", Measure::Claim).len()), (6, 6));
    let weights: f64 = about[0].against.iter().map(|a| a.weight).sum();
    assert!((weights - 1.0).abs() < 1e-12 && about[0].against[1].asked[0].content.contains("Tindle"));
    assert_eq!(about[0].answers, [("Yes.".into(), true), ("No.".into(), false)]);
    assert_eq!(about[1].answers, [("Yes.".into(), false), ("No.".into(), true)]);
    let says = of("would_say", Measure::Claim);
    assert_eq!((says.len(), says.iter().filter(|q| q.answers[0].1).count()), (18, 9), "as many of each polarity");
    let identity = of("identity", Measure::Claim);
    assert!(identity.len() == 8 && identity.iter().all(|q| q.value == Value::Difference && q.which.is_none()));
    assert_eq!(identity[0].answers.iter().filter(|a| a.1).count(), 3);
    assert!(p.questions.iter().all(|q| !said(q).contains('{')));
    assert!(p.questions.iter().any(|q| q.split == "held_out"));
}

#[test]
fn passages_of_both_sides_stand_in_pairs_and_every_question_comes_before_one_comes_twice() {
    let p = made(&[]).unwrap();
    for t in &p.traits {
        for (kind, passages) in Kind::ALL.into_iter().zip(&t.passages) {
            let side = |s| passages.iter().filter(|p| p.positive == s).count();
            let n = if kind == Kind::Feel { 50 } else { 12 };
            assert_eq!((side(true), side(false)), (n, n), "{} {}", t.name, kind.name());
            assert!(
                passages
                    .iter()
                    .all(|p| p.text.is_none() == (kind == Kind::Feel) && p.then.is_some() == (kind != Kind::Feel))
            );
        }
        let mut all: Vec<_> = t.passages[0].iter().map(|p| (&p.lead[0].content, &p.lead[1].content)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 100, "every instruction with every question");
    }
    let few = made(&["settings.passages=10"]).unwrap();
    let mut asked: Vec<_> = few.traits[0].passages[0].iter().map(|p| &p.group).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!((few.traits[0].passages.each_ref().map(Vec::len), asked.len()), ([20, 20, 20], 10));
}

#[test]
fn scorers_come_with_that_of_expression_first() {
    let names = |p: &Protocol| -> Vec<String> { p.traits[0].scorers.iter().map(|s| s.0.clone()).collect() };
    assert_eq!(names(&made(&[]).unwrap()), ["judge", "lexicon"]);
    let p = made(&["settings.protocol.traits[0].expression=\"lexicon\""]).unwrap();
    assert_eq!(names(&p), ["lexicon", "judge"]);
    let reply = |text: &str| Reply { text: text.into(), question: Some("Why?".into()), ..Reply::default() };
    let found = p.traits[0].scorers[0].1.score(&[reply("Oh dear, a wall!"), reply("All is well.")]).unwrap();
    assert_eq!(found, [Outcome::Score(1.0), Outcome::Score(0.0)]);
    // Marks inside words, as in the numbers that were published.
    let inside = ["settings.protocol.traits[0].lexicon={markers=[\"sir\"], matching=\"substring\"}"];
    let inside = made(&[&inside[..], &["settings.protocol.traits[0].expression=\"lexicon\""]].concat()).unwrap();
    assert_eq!(inside.traits[0].scorers[0].1.score(&[reply("a desire")]).unwrap(), [Outcome::Score(1.0)]);
}

#[test]
fn a_reply_that_repeats_itself_is_none() {
    let bare = "settings.protocol.coherence={repetition=0.5}";
    let p = made(&[bare]).unwrap();
    let reply = |text: &str| Reply { text: text.into(), ..Reply::default() };
    // Of "a b a b a b" the threes are aba bab aba bab: half of them stood before; one more pair is above half.
    let all = ["A b a b a b.", "a b a b a b a b", "Tea.", " ..."].map(reply);
    let found = p.coherent.score(&all).unwrap();
    let empty = Outcome::Unscored(Why::Empty);
    assert_eq!(found, [Outcome::Score(1.0), Outcome::Score(0.0), Outcome::Score(1.0), empty]);
}

#[test]
fn a_classifier_is_tested_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let texts = |same: bool| -> String {
        let word = |i: usize| if same || i.is_multiple_of(2) { "oh dear" } else { "well met" };
        (0..20).map(|i| format!("{{\"text\": \"{}\", \"label\": {}}}\n", word(i), i % 2)).collect()
    };
    let set = ["settings.protocol.traits[0].classifier={file=\"c.jsonl\", label=\"0\"}"];
    let s = settings(&set);
    let made = || protocol(s.protocol.as_ref().unwrap(), 10, dir.path(), &MODEL);
    std::fs::write(dir.path().join("c.jsonl"), texts(false)).unwrap();
    assert_eq!(made().unwrap().traits[0].scorers[1].0, "classifier");
    std::fs::write(dir.path().join("c.jsonl"), texts(true)).unwrap();
    let e = made().err().unwrap();
    assert!(e.to_string().contains("traits[0].classifier.file") && e.to_string().contains("by guessing"), "{e}");
}

#[test]
fn what_a_table_may_not_hold_is_named_with_its_place() {
    for (set, says) in [
        ("characters=[]", "protocol.characters`: nothing"),
        ("characters[0].name=\" \"", "characters[0].name"),
        ("characters[0].traits=[\"brave\"]", "no trait `brave`"),
        ("characters[0].traits=[\"anxious\", \"anxious\"]", "comes twice"),
        ("characters[0].facts[2].question=\"What?\"", "characters[0].facts[2].question`: no {name}"),
        ("characters[0].facts[2].answer=\"Nine\"", "characters[0].facts[2].answer`: `Nine`"),
        ("characters[0].facts[2].choices=[\"Three\"]", "1 choices"),
        ("characters[0].facts[2].choices=[\"Three\", \"Three\"]", "comes twice"),
        ("characters[0].facts[2].split=\"test\"", "`test`"),
        ("characters[0].facts[2].trait=\"brave\"", "no trait `brave`"),
        ("strangers=[\"Lumen\"]", "`Lumen` is a character"),
        ("traits[1].name=\"anxious\"", "comes twice"),
        ("traits[1].opposite=\"exact about odds\"", "traits[1].opposite"),
        ("traits[1].expression=\"taste\"", "no `taste`"),
        ("traits[1].lexicon={markers=[]}", "traits[1].lexicon.markers"),
        ("traits[1].lexicon={markers=[\"!\"]}", "no letter"),
        ("traits[1].judge.scale=\"0..9000\"", "traits[1].judge.scale"),
        ("traits[1].judge.prompt=\"How?\"", "no {answer}"),
        ("traits[1].judge.least_mass=2.0", "least_mass"),
        ("traits[1].enact.negative=[\"Be.\"]", "1 instructions, and 5"),
        ("traits[1].enact.questions=[\"Why?\"]", "1 questions"),
        (
            "traits[1].describe.pairs[0].positive=\"I am exact about it, and she knew the odds of all of it by heart.\"",
            "describe.pairs[0]",
        ),
        ("traits[1].claim.pairs[0].positive=\"She is exact about odds and knows them.\"", "claim.pairs[0]"),
        ("traits[1].claim.pairs[0].positive=\"I am.\"", "2 words against"),
        ("traits[1].claim.pairs=[]", "0 pairs"),
        ("prompts[0].stratum=\"calm\"", "prompts[0].stratum"),
        ("prompts=[]", "protocol.prompts"),
        ("neutral=[]", "protocol.neutral"),
        ("wording={choice=\"{question}\"}", "no {options}"),
        ("wording={yes=\"No.\"}", "wording.no"),
        ("identity.claims=[]", "identity.claims"),
        ("coherence.repetition=2.0", "coherence.repetition"),
        ("coherence.least=50.0", "coherence.least"),
    ] {
        let e = made(&[&format!("settings.protocol.{set}")]).err().unwrap_or_else(|| panic!("{set} is taken"));
        assert!(e.to_string().contains(says) && !e.hint().is_empty(), "{set}: {e}");
        assert!(e.to_string().contains("settings.protocol"), "{set}: {e}");
    }
    let set = Set::parse("settings.protocol.traits[0].adjectif=\"x\"").unwrap();
    let e = Spec::parse_with("c3po.toml", RECIPE, &[set]).unwrap_err();
    assert!(e.to_string().contains("unknown key `adjectif`") && e.to_string().contains("--set"), "{e}");
}
