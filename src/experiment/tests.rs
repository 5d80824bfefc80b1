//! Probes end to end at small settings.

use super::*;
use crate::model::Source;
use crate::store::MemoryShelf;
use crate::unit::Tally;
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&Source::Embedded).unwrap());

fn run_on(shelf: &MemoryShelf, threads: usize, plan: &Plan) -> Findings {
    let mut progress = |_: &str, _: &Tally| true;
    run(plan, &MODEL, &mut Context { shelf, threads, progress: &mut progress }).unwrap()
}

/// The same question with few personas, questions and resamples.
fn small(kind: &str) -> Plan {
    let settings = match kind {
        "trait_layers" => "personas = 16\nquestions = 2\nbootstrap = 20\npermutations = 5",
        "persona_map" => {
            "personas = 16\nquestions = 2\ndefault_replies = 2\nnull_draws = 3\nbootstrap = 20\naxis_bootstrap = 5\npermutations = 5\nhalves = 3"
        }
        "drift" => "conversations = 12\nturns = 3\nbootstrap = 20\npermutations = 5\nchats = 4\nchat_turns = 2",
        _ => {
            "personas = 16\nquestions = 2\ndoses = [0.0, 4.0]\nprompts = 2\nreplies = 4\nbootstrap = 20\ntraits = [\"anxious\", \"odds\"]"
        }
    };
    let text = format!("kind = \"{kind}\"\nquestion = \"Does it run?\"\n[settings]\n{settings}\n");
    Plan::resolve(Spec::parse(&format!("{kind}.toml"), &text).unwrap(), &MODEL).unwrap()
}

/// Everything that has to be the same in every run.
fn bytes(f: &Findings) -> (Vec<String>, Vec<String>, Vec<String>) {
    let tables = f.tables.iter().map(|t| format!("{}\n{}", t.name, t.to_csv())).collect();
    let figures = f.figures.iter().map(|d| format!("{}\n{}\n{}", d.name, d.figure.svg, d.caption)).collect();
    (tables, figures, f.summary.clone())
}

#[test]
fn every_kind_gives_the_same_bytes_with_one_or_two_threads_and_when_resumed() {
    for (kind, _) in SHIPPED {
        let plan = small(kind);
        let (one, two) = (MemoryShelf::default(), MemoryShelf::default());
        let first = run_on(&one, 1, &plan);
        assert!(!first.tables.is_empty() && !first.figures.is_empty() && !first.summary.is_empty(), "{kind}");
        assert!(first.tally.rows_computed > 0 && first.tally.rows_resumed == 0, "{kind}: {:?}", first.tally);
        assert_eq!(bytes(&first), bytes(&run_on(&two, 2, &plan)), "{kind}");
        let again = run_on(&one, 2, &plan);
        assert_eq!(bytes(&first), bytes(&again), "{kind}");
        assert_eq!((again.tally.rows_computed, again.tally.rows_resumed), (0, first.tally.rows_computed), "{kind}");
    }
}
