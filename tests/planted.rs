//! The shipped probes on the embedded model find what was planted.

use personascope::experiment::{Context, Exports, Findings, Plan, SHIPPED, Spec, report, run, write};
use personascope::model::{Model, Source};
use personascope::store::MemoryShelf;
use personascope::table::Table;
use personascope::unit::Tally;

fn table<'a>(f: &'a Findings, name: &str) -> &'a Table {
    f.tables.iter().find(|t| t.name == name).unwrap()
}

/// The rows in which every column shows the value.
fn rows(t: &Table, of: &[(&str, &str)]) -> Vec<usize> {
    (0..t.rows.len()).filter(|r| of.iter().all(|(c, v)| t.text(*r, c) == *v)).collect()
}

fn mean(t: &Table, rows: &[usize], column: &str) -> f64 {
    rows.iter().map(|r| t.num(*r, column).unwrap()).sum::<f64>() / rows.len() as f64
}

/// With `FINDINGS_OUT` set to a folder, the findings are left there to be looked at.
fn leave(all: &[Findings]) {
    if let Some(dir) = std::env::var_os("FINDINGS_OUT").map(std::path::PathBuf::from) {
        for f in all {
            write(f, &dir.join("notebooks-data"), &dir.join("figures"), Exports::ALL, &serde_json::json!({})).unwrap();
        }
        let page = report("personascope", all, &|s| format!("personascope run probes/{s}.toml --out DIR"));
        std::fs::write(dir.join("report.html"), page).unwrap();
    }
}

#[test]
fn the_shipped_probes_find_what_was_planted() {
    let model = Model::load(&Source::toyworld()).unwrap();
    let shelf = MemoryShelf::default();
    let all: Vec<Findings> = SHIPPED
        .iter()
        .map(|(stem, toml)| {
            let plan = Plan::resolve(Spec::parse(&format!("probes/{stem}.toml"), toml).unwrap(), &model).unwrap();
            let mut progress = |_: &str, _: &Tally| true;
            let f =
                run(&plan, &model, &mut Context { shelf: &shelf, tunes: None, threads: 2, progress: &mut progress })
                    .unwrap();
            // Seen when the test fails, or with --nocapture.
            f.summary.iter().chain(&f.warnings).for_each(|s| println!("{stem}: {s}"));
            f
        })
        .collect();
    leave(&all);
    let [traits, map, drift, steering] = all.as_slice() else { panic!("four probes are shipped") };

    let layers = table(traits, "layers");
    let chosen = rows(layers, &[("pick", "last_prompt"), ("probe", "contrast"), ("chosen", "1")]);
    assert_eq!(chosen.len(), 9);
    assert!(mean(layers, &chosen, "auroc") >= 0.93);
    for r in &chosen {
        let (lo, hi) = (layers.num(*r, "auroc_lo").unwrap(), layers.num(*r, "auroc_hi").unwrap());
        let auroc = layers.num(*r, "auroc").unwrap();
        assert!(lo <= auroc && auroc <= hi && lo < hi, "{auroc} in {lo}..{hi}");
    }
    // Null means are of 200 shuffles over 9 traits; what is left of a single one is the personas' own spread.
    assert!((mean(layers, &chosen, "null_mean") - 0.5).abs() < 0.02);
    let first = rows(layers, &[("pick", "last_prompt"), ("probe", "contrast"), ("site", "resid_pre.0")]);
    assert_eq!(first.len(), 9);
    for r in first {
        assert_eq!((layers.num(r, "auroc"), layers.text(r, "reason").as_str()), (Some(0.5), "constant"));
    }

    // PC1 is the planted assistant factor: above its null, along the axis, and correlated with what was planted.
    let variance = table(map, "variance");
    let pc1 = rows(variance, &[("site", "resid_post.2"), ("component", "1")]);
    assert!(mean(variance, &pc1, "ratio") > 2.0 * mean(variance, &pc1, "null_95"));
    let place = table(map, "place");
    let at = rows(place, &[("site", "resid_post.2"), ("axis", "PC1")]);
    assert!(mean(place, &at, "cosine_low") > mean(place, &at, "null_cosine_95"));
    let correlations = table(map, "correlations");
    let r = |covariate: &str| {
        let of = [("site", "resid_post.2"), ("axis", "assistant_axis"), ("covariate", covariate)];
        mean(correlations, &rows(correlations, &of), "pearson_r")
    };
    assert!(r("helpful") > 0.6 && r("style_traits") < -0.6, "{} {}", r("helpful"), r("style_traits"));

    let scores = table(drift, "scores");
    for (pick, bar) in [("mean_response", 0.93), ("last_prompt", 0.80)] {
        let of = |probe: &str| {
            let at = rows(scores, &[("site", "resid_post.2"), ("pick", pick), ("probe", probe)]);
            mean(scores, &at, "auroc")
        };
        assert!(of("activation") >= bar, "{pick}: {}", of("activation"));
        assert!((0.0..=1.0).contains(&of("wording")));
    }

    // Left to itself, the model falls back in the planted order, and at the end about as often.
    let free = table(drift, "free_turns");
    let last = |hazard: &str| {
        let own = rows(free, &[("hazard_per_turn", hazard), ("look", "text")]);
        let at = [*own.last().unwrap()];
        (mean(free, &at, "persona_fraction"), mean(free, &at, "expected_fraction"))
    };
    let ends = ["0.05", "0.15", "0.35"].map(last);
    assert!(ends[0].0 > ends[1].0 && ends[1].0 > ends[2].0, "{ends:?}");
    // People of the lowest hazard fall back sooner than planted (docs/LOG.md): 0.44 for 0.67. The others are within 0.15.
    assert!(ends.iter().all(|(found, expected)| (found - expected).abs() < 0.25), "{ends:?}");
    assert!(ends[1..].iter().all(|(found, expected)| (found - expected).abs() < 0.15), "{ends:?}");

    // Both looks at the same conversations see the same chain, through errors that are theirs.
    let looks = table(drift, "looks");
    for hazard in ["0.05", "0.15", "0.35"] {
        let of = [("arm", hazard), ("from", "persona"), ("to", "assistant")];
        let gap = mean(looks, &rows(looks, &of), "difference");
        assert!(gap.abs() < 0.04, "hazard {hazard}: {gap}");
    }
    // Only the topics of the soul move the default assistant.
    let rates = table(drift, "rate");
    let slope = |domain: &str| {
        let at = rows(rates, &[("domain", domain), ("quantity", "slope")]);
        (mean(rates, &at, "ci_low"), mean(rates, &at, "ci_high"))
    };
    let (plain, soul) = (slope("plain topics"), slope("topics of the soul"));
    assert!(plain.0 < 0.0 && plain.1 > 0.0 && soul.0 > 0.1, "{plain:?} {soul:?}");

    let doses = table(steering, "doses");
    let rate = |arm: &str, dose: &str, measure: &str| {
        let of = [("trait", "(all)"), ("arm", arm), ("dose_mean_difference", dose), ("measure", measure)];
        mean(doses, &rows(doses, &of), "rate")
    };
    assert!(rate("trait", "0", "target") < 0.1);
    assert!(rate("trait", "4", "target") > 0.5);
    assert!(rate("trait", "4", "intact") >= 0.9);
    for dose in ["0", "0.5", "1", "2", "3", "4"] {
        assert!(rate("random", dose, "target") <= 0.15, "dose {dose}");
    }
    assert!(rate("trait", "0", "helpful") > 0.5);
}
