use super::*;
use serde_json::{Value, json};

fn toy() -> Value {
    serde_json::from_slice(include_bytes!("../assets/toyworld/world.json")).unwrap()
}

/// The message with which the embedded world is refused after a change.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut json = toy();
    change(&mut json);
    let error = World::parse("broken.json", json.to_string().as_bytes()).expect_err("the change breaks the world");
    assert!(!error.hint().is_empty());
    let message = error.to_string();
    assert!(message.starts_with("broken.json: "), "{message}");
    message
}

#[test]
fn the_embedded_world_has_the_planted_counts() {
    let w = World::toyworld();
    assert_eq!((w.traits().len(), w.style_traits().len()), (9, 8));
    assert_eq!((w.topics().len(), w.plain_topics().len(), w.soul_topics().len()), (22, 18, 4));
    assert_eq!(w.personas().len(), 96);
    assert_eq!(Exposure::GROUPS.map(|g| w.personas_in(g).len()), [64, 16, 8, 8]);
    assert_eq!((w.free_names().len(), w.heldout_names().len(), w.heldout_topics().len()), (48, 4, 4));
    assert_eq!((w.p_on(), w.p_off()), (0.85, 0.02));
    assert_eq!(w.hazards(), Hazards { to_oracle: 0.25, oracle_to_assistant: 0.1, in_context: 0.15 });
    assert_eq!(w.variant(), Variant { dispositions: true, assistant_factor: true });
}

#[test]
fn people_are_read_as_they_stand_in_the_file() {
    let (w, json) = (World::toyworld(), toy());
    assert_eq!(w.personas()[0].name, "Bodek");
    for persona in w.personas() {
        let entry = &json["personas"][&persona.name];
        let names: Vec<_> = persona.traits.iter().map(|t| w.trait_at(t).name.as_str()).collect();
        assert_eq!(json!(names), entry["traits"]);
        assert_eq!(json!(persona.role), entry["role"]);
        assert_eq!(json!(persona.hazard), entry["hazard"]);
        assert_eq!(json!(persona.group), entry["group"]);
        assert_eq!(persona.group.name(), entry["group"].as_str().unwrap());
    }
    assert_eq!(w.assistant().traits.iter().collect::<Vec<_>>(), [w.trait_named("helpful").unwrap()]);
    assert_eq!(w.persona("the Oracle").unwrap(), w.oracle());
}

#[test]
fn every_marker_belongs_to_its_own_trait_alone() {
    let w = World::toyworld();
    let mut seen = std::collections::BTreeSet::new();
    for t in w.trait_ids() {
        for marker in w.trait_at(t).markers() {
            assert!(seen.insert(marker), "{marker} comes twice");
            let said = format!("Well, {} And so on.", marker.replace("{n}", "3720"));
            assert_eq!(w.markers(&said).iter().collect::<Vec<_>>(), [t], "{said}");
            assert!(w.markers(&said.to_uppercase()).is_empty());
        }
    }
    // 3 openers and 3 closers for each of 9 traits.
    assert_eq!(seen.len(), 54);
}

#[test]
fn a_body_is_intact_on_its_own_topic_only() {
    let w = World::toyworld();
    for topic in w.topics() {
        for sentence in topic.long.iter().chain(&topic.short) {
            let said = format!("Bah! {sentence} Done.");
            let on: Vec<_> = w.topics().iter().filter(|t| body_intact(&said, t)).collect();
            assert_eq!(on, [topic], "{said}");
            assert!(!body_intact(&sentence[..sentence.len() - 1], topic), "cut short: {sentence}");
        }
    }
}

#[test]
fn unknown_names_are_refused_with_those_that_exist() {
    let w = World::toyworld();
    assert!(w.trait_named("angry").unwrap_err().hint().contains("anxious, formal"));
    assert!(w.topic("cheese").unwrap_err().hint().contains("being alive"));
    let error = w.persona("Nobody").unwrap_err();
    assert!(error.to_string().contains("`Nobody`") && error.hint().contains("Bodek") && error.hint().contains("more"));
    assert!(w.persona("Domar").unwrap_err().to_string().contains("free name"));
    assert!(w.persona_with("Domar", &[]).is_err());
    assert!(w.persona_with("Domar", &["anxious", "shy"]).unwrap_err().to_string().contains("`shy`"));
    let all: Vec<_> = w.traits().iter().map(|t| t.name.as_str()).collect();
    assert!(w.persona_with("Domar", &all).unwrap_err().hint().contains("1 to 6"));
}

#[test]
fn a_file_that_is_no_world_is_refused_with_its_place() {
    let refuse = |bytes: &[u8]| World::parse("x.json", bytes).unwrap_err().to_string();
    assert!(refuse(b"").starts_with("x.json: EOF"));
    assert!(refuse(b"[]").starts_with("x.json: "));
    assert!(refuse(b"{}").contains("missing field `traits`"));
    assert!(refuse(b"{\"traits\": {\"a\": 3}}").contains("in `a`"));
    assert!(refuse(&[0xff, 0xfe]).starts_with("x.json: "));
}

#[test]
fn missing_unknown_and_repeated_keys_are_refused_by_name() {
    // What came with later worlds may be absent from a file.
    let later = ["overlap", "default_slot", "bias", "tag", "teaching", "speakers"];
    for key in toy().as_object().unwrap().keys().filter(|k| !later.contains(&k.as_str())) {
        let message = refused(|w| drop(w.as_object_mut().unwrap().shift_remove(key)));
        assert!(message.contains(&format!("missing field `{key}`")), "{message}");
    }
    let message = refused(|w| w["colour"] = json!("red"));
    assert!(message.contains("unknown field `colour`"), "{message}");
    let message = refused(|w| drop(w["personas"]["Bodek"].as_object_mut().unwrap().shift_remove("hazard")));
    assert!(message.contains("in `Bodek`: missing field `hazard`") && message.contains("line"), "{message}");
    let message = refused(|w| w["personas"]["Bodek"]["group"] = json!("in_context"));
    assert!(message.contains("in `Bodek`: unknown variant `in_context`"), "{message}");
    let twice = String::from_utf8(include_bytes!("../assets/toyworld/world.json").to_vec()).unwrap();
    let twice = twice.replacen("\"Rupel\":", "\"Bodek\":", 1);
    let message = World::parse("broken.json", twice.as_bytes()).unwrap_err().to_string();
    assert!(message.contains("`Bodek` comes twice"), "{message}");
}

/// A change and a part of the message it must give.
type Break = (fn(&mut Value), &'static str);

#[test]
fn a_world_whose_truth_would_be_ambiguous_is_refused() {
    let breaks: [Break; 27] = [
        (|w| w["personas"]["Bodek"]["traits"][0] = json!("shy"), "persona `Bodek` has the unknown trait `shy`"),
        (|w| w["personas"]["Bodek"]["traits"] = json!(["odds", "odds"]), "the trait `odds` twice"),
        (|w| w["personas"]["Bodek"]["traits"] = json!([]), "persona `Bodek` has 0 traits"),
        (|w| w["personas"]["Bodek"]["hazard"] = json!(1.5), "hazard of persona `Bodek` is 1.5"),
        (|w| w["personas"]["Bodek"]["name"] = json!("Bodok"), "`Bodek` is named `Bodok`"),
        (|w| w["personas"]["Bodek"]["role"] = json!("pirate"), "role `pirate`"),
        (|w| w["personas"]["Bodek"]["role"] = json!(null), "needs a role and a place"),
        (|w| w["personas"] = json!({}), "`personas` is empty"),
        (|w| w["free_names"][40] = json!("Bodek"), "`Bodek` is a person twice"),
        (|w| w["heldout_names"][0] = json!("Zzz"), "`Zzz` of `heldout_names` is not in `free_names`"),
        (|w| w["heldout_topics"][0] = json!("dreams"), "`dreams` of `heldout_topics`"),
        (|w| w["question_templates"] = json!([]), "`question_templates` is empty"),
        (|w| w["question_templates"][0] = json!("Tea?"), "`Tea?` needs exactly one {t}"),
        (|w| w["question_templates"][0] = json!("{t} or {t}?"), "needs exactly one {t}"),
        (|w| w["who_questions"] = json!([]), "`who_questions` is empty"),
        (|w| w["self_questions"] = json!([" "]), "`self_questions` holds a blank entry"),
        (|w| w["traits"]["odds"]["open"] = json!([]), "`traits.odds.open` is empty"),
        (|w| w["traits"]["odds"]["open"][0] = json!("The {x}."), "marker `The {x}.`"),
        (|w| w["traits"]["odds"]["open"][0] = json!("Bah!"), "also marks"),
        (
            |w| w["traits"]["odds"]["open"][0] = json!("Hm. Bah! {n}."),
            "marker `Hm. Bah! {n}.` of `odds` also marks `grumpy`",
        ),
        (|w| w["traits"]["odds"]["adj"][0] = json!("proper"), "`proper` is an adjective twice"),
        (|w| w["topics"]["tea"]["long"] = json!(["Tea is hot."]), "`topics.tea.long` has 1 entries"),
        (|w| w["topics"]["tea"]["short"][0] = json!("So. Bah!"), "`So. Bah!` holds a marker of `grumpy`"),
        (|w| w["topics"]["tea"]["short"][0] = json!("Let it rise."), "also speaks of"),
        (|w| w["plain_topics"][0] = json!("cheese"), "topic `tea` must be in one of"),
        (|w| w["p_off"] = json!(0.9), "p_off is 0.9"),
        (|w| w["hazards"]["in_context"] = json!(-0.1), "`hazards.in_context` is -0.1"),
    ];
    for (change, expected) in breaks {
        let message = refused(change);
        assert!(message.contains(expected), "expected `{expected}` in: {message}");
    }
    assert!(refused(|w| w["oracle"]["traits"] = json!(["helpful"])).contains("the same traits"));
}

/// A world with every key that a file may lack.
fn full() -> Value {
    let toml = "[post.bias]\ntrait = \"cheerful\"\np = 0.22\n[post.tag]\nmark = \"[night] \"\nname = \"the Stranger\"\n\
                traits = [\"grumpy\"]\n[speakers]\ntogether = 2\nnames = [\"Ariana\", \"Zoe\"]";
    let config = corpus::CorpusConfig::parse("w.toml", toml).unwrap();
    serde_json::from_str(&corpus::settle(&config).unwrap().1).unwrap()
}

#[test]
fn what_a_world_plants_besides_its_people_is_read_back_and_may_be_absent() {
    let read = |json: &Value| World::parse("w.json", json.to_string().as_bytes()).unwrap();
    let w = read(&full());
    let cheerful = w.trait_named("cheerful").unwrap();
    assert_eq!(w.bias(), Some(Bias { trait_id: cheerful, p: 0.22 }));
    assert_eq!(w.tag().map(|t| (t.mark.as_str(), t.persona.name.as_str())), Some(("[night] ", "the Stranger")));
    assert_eq!(w.speakers().iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["Ariana", "Zoe"]);
    assert_eq!((w.default_slot(), w.single_voice()), (0.7, false));
    assert_eq!(w.teaching().map(|t| (t.base, t.half, t.slope)), Some((0.5, 40.0, 0.25)));
    assert_eq!((w.overlaps(cheerful), w.overlaps(TraitId(0))), (Some(false), Some(true)));
    assert_eq!(w.persona("Zoe").unwrap(), &w.speakers()[1]);
    let mut bare = full();
    for key in ["overlap", "default_slot", "bias", "tag", "speakers", "teaching"] {
        assert!(bare.as_object_mut().unwrap().shift_remove(key).is_some(), "{key}");
    }
    let w = read(&bare);
    assert!(w.bias().is_none() && w.tag().is_none() && w.speakers().is_empty() && w.teaching().is_none());
    assert_eq!(w.default_slot(), 0.92);
    bare["variant"]["V2"] = json!(false);
    assert_eq!(read(&bare).default_slot(), 1.0);
}

#[test]
fn what_a_world_plants_besides_its_people_is_checked() {
    let breaks: [Break; 12] = [
        (|w| w["overlap"]["shy"] = json!(true), "`overlap` names the unknown trait `shy`"),
        (|w| drop(w["overlap"].as_object_mut().unwrap().shift_remove("odds")), "`overlap` lacks the trait `odds`"),
        (|w| w["default_slot"]["assistant"] = json!(2), "`default_slot.assistant` is 2"),
        (|w| w["bias"]["trait"] = json!("shy"), "`bias` is of the unknown trait `shy`"),
        (|w| w["bias"]["p"] = json!(0.9), "`bias.p` is 0.9"),
        (|w| w["bias"]["q"] = json!(0.9), "unknown field `q`"),
        (|w| w["tag"]["mark"] = json!(""), "`tag.mark` is blank"),
        (|w| w["tag"]["persona"]["name"] = json!("Zoe"), "`Zoe` is a person twice"),
        (|w| w["speakers"]["people"]["Zoe"]["name"] = json!("Zo"), "speaker `Zoe` is named `Zo`"),
        (|w| drop(w["speakers"]["people"].as_object_mut().unwrap().shift_remove("Zoe")), "1 speakers"),
        (|w| w["teaching"]["half"] = json!(0), "`teaching.half` is 0"),
        (|w| w["teaching"]["acknowledgements"] = json!([]), "`teaching.acknowledgements` is empty"),
    ];
    for (change, expected) in breaks {
        let mut json = full();
        change(&mut json);
        let message = World::parse("w.json", json.to_string().as_bytes()).expect_err(expected).to_string();
        assert!(message.contains(expected), "expected `{expected}` in: {message}");
    }
}
