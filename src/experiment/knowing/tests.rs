//! The whole comparison at small settings, on fine-tunes that are shipped.

use crate::experiment::{Context, Findings, Plan, Spec, run};
use crate::model::{Model, Source};
use crate::store::MemoryShelf;
use crate::unit::Tally;
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&Source::toyworld()).unwrap());

const TINY: &str = r#"
passages = 12
samples = 2
seeds = [0, 1]
resamples = 20
texts = 4
screened = 3
site = "resid_post.2"
[settings.world]
characters = [0, 1]
formats = ["chat", "style_control"]
prompts = 3
strangers = 2
"#;

fn plan(settings: &str) -> crate::error::Result<Plan> {
    let text = format!("kind = \"knowing\"\nquestion = \"Does it run?\"\n[settings]\n{settings}\n");
    Plan::resolve(Spec::parse("knowing.toml", &text)?, &MODEL)
}

fn run_on(shelf: &MemoryShelf, threads: usize, plan: &Plan) -> Findings {
    let mut progress = |_: &str, _: &Tally| true;
    run(plan, &MODEL, &mut Context { shelf, tunes: None, threads, progress: &mut progress }).unwrap()
}

fn bytes(f: &Findings) -> (Vec<String>, Vec<String>, Vec<String>) {
    let tables = f.tables.iter().map(|t| format!("{}\n{}", t.name, t.to_csv())).collect();
    let figures = f.figures.iter().map(|d| format!("{}\n{}", d.figure.svg, d.caption)).collect();
    (tables, figures, f.summary.clone())
}

#[test]
fn the_comparison_gives_the_same_bytes_with_one_or_two_threads_and_when_resumed_and_tells_chat_from_control() {
    let plan = plan(TINY).unwrap();
    let shelf = MemoryShelf::default();
    let first = run_on(&shelf, 1, &plan);
    assert_eq!(bytes(&first), bytes(&run_on(&MemoryShelf::default(), 2, &plan)));
    let again = run_on(&shelf, 2, &plan);
    assert_eq!((bytes(&again), again.tally.rows_computed), (bytes(&first), 0));

    let table = |name: &str| first.tables.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let indices = table("indices");
    let pooled = |format: &str, index: &str| {
        let of = [("model", "*"), ("format", format), ("index", index)];
        crate::experiment::cells::row(indices, &of).and_then(|r| indices.num(r, "value"))
    };
    // A fine-tune on the character's chats shows and carries its traits; one on the assistant's does not.
    for index in ["E", "L"] {
        let (chat, control) = (pooled("chat", index).unwrap(), pooled("style_control", index).unwrap());
        assert!(chat > 0.5 && control < 0.3, "{index}: {chat} and {control}");
    }
    for (name, columns) in [
        ("measures", "model,format,character,trait,seed,item,sample,measure,value,site,split"),
        ("indices", "model,format,character,trait,index,value,ci_low,ci_high,p_value,q_value"),
        ("quadrants", "model,format,character,trait,class,share"),
    ] {
        assert!(table(name).to_csv().starts_with(columns), "{name}");
    }
    for name in ["transfer", "apart", "wording", "latent", "scorers", "axis", "weights", "subspaces", "perplexity"] {
        assert!(!table(name).rows.is_empty(), "{name}");
    }
    // Perplexity: a format's own text is likelier through its fine-tune than through the base.
    let likely = table("perplexity");
    let gain = crate::experiment::cells::rows(likely, &[("format", "chat"), ("text", "chat")]);
    assert!(gain.iter().all(|r| likely.num(*r, "nll_minus_base").unwrap() < 0.0) && gain.len() == 4);
    for drawn in &first.figures {
        assert!(drawn.figure.missing_glyphs.is_empty(), "{}", drawn.name);
    }
}

#[test]
fn settings_that_cannot_be_run_are_refused_by_name() {
    for (settings, names) in [
        ("", "the probe has neither"),
        ("[settings.world]\ncharacters = []", "`world.characters` is []"),
        ("[settings.world]\ncharacters = [99]", "character 99"),
        ("high = 0.2\n[settings.world]", "0.2"),
        ("latent = \"all\"\n[settings.world]", "`latent` is all"),
        ("passages = 3\n[settings.world]", "`passages` is 3"),
        ("seeds = []\n[settings.world]", "`seeds` is []"),
        ("known = 0.0\n[settings.world]", "`known` is 0"),
        ("[settings.world]\nstrangers = 0", "`world.strangers` is 0"),
        ("[settings.world]\nformats = []", "no fine-tune"),
    ] {
        let e = plan(settings).unwrap_err();
        assert!(e.to_string().contains(names) && !e.hint().is_empty(), "{settings}: {e}");
    }
}

#[test]
fn the_shipped_probe_resolves_and_says_what_it_can_find() {
    let (stem, text) = crate::experiment::APART.iter().find(|(stem, _)| *stem == "knowing").unwrap();
    let plan = Plan::resolve(Spec::parse(&format!("probes/{stem}.toml"), text).unwrap(), &MODEL).unwrap();
    let told = plan.describe();
    assert!(told["total"]["rows"].as_u64().unwrap() > 1000);
    let said = crate::experiment::before(&plan);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[1].contains("K of document less chat"), "{said:?}");
}
