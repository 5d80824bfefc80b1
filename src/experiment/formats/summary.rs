//! What came out, in sentences made from the tables alone.

use super::ask::PARTICULAR;
use super::draw::{all_of, each_of, few, shown, words};
use super::likely::{DELTA, PERPLEXITY};
use super::{BASE, Cast, Settings, table};
use crate::analysis::stats::spearman;
use crate::experiment::cells::{num, round, rows, said};
use crate::figures::Estimate;
use crate::table::Table;
use crate::world::Format;

pub(super) fn summary(s: &Settings, cast: &Cast, tables: &[Table]) -> Vec<String> {
    let (asked, showed) = (table(tables, "questions"), table(tables, "expression"));
    let models: Vec<&str> = cast.models().into_iter().filter(|m| *m != BASE).collect();
    let auroc = |about: &'static str| move |m: &str| all_of(asked, m, &[("about", about), ("measure", "auroc")]);
    let shows = |condition: &'static str| move |m: &str| all_of(showed, m, &shown(condition, "both", "on_minus_off"));
    let card = said(shows("card")(BASE));
    let mut all = vec![
        tokens(table(tables, "training"), &models),
        format!(
            "Shown without a system prompt (marker rate of the character's traits minus that of the others): {}; base {}, base \
             with all traits in its system prompt {card}.",
            ranked(&models, &shows("bare")),
            said(shows("bare")(BASE)),
        ),
        format!(
            "Shown after \"You are X.\": {}; base {}.",
            ranked(&models, &shows("named")),
            said(shows("named")(BASE))
        ),
        format!(
            "Known of the character in the third person (AUROC over yes-or-no questions): {}; base {}.",
            ranked(&models, &auroc("third_person")),
            said(auroc("third_person")(BASE)),
        ),
        format!(
            "Of free names that no fine-tune met, held to the character's traits: {}; so the character in particular is known \
             by a difference of {} (base {}).",
            ranked(&models, &auroc("strangers")),
            ranked(&models, &|m| all_of(asked, m, &PARTICULAR)),
            said(all_of(asked, BASE, &PARTICULAR)),
        ),
        format!(
            "Said of itself (AUROC), without a system prompt: {}; after \"You are X.\": {}.",
            ranked(&models, &auroc("self")),
            ranked(&models, &auroc("self_named")),
        ),
        introduced(&models, table(tables, "identity")),
        together(cast, tables),
        own_format(s, cast, table(tables, "perplexity")),
        damage(&models, asked, showed),
        few(s),
    ];
    all.retain(|line| !line.is_empty());
    all
}

/// "chat 0.78 [0.70, 0.85], document 0.05 [..]", the largest first.
fn ranked(models: &[&str], value: &dyn Fn(&str) -> Option<Estimate>) -> String {
    let mut all: Vec<(&str, Option<Estimate>)> = models.iter().map(|m| (*m, value(m))).collect();
    let key = |e: &Option<Estimate>| e.map_or(f64::NEG_INFINITY, |e| e.value);
    all.sort_by(|a, b| key(&b.1).total_cmp(&key(&a.1)));
    let one = |(m, e): &(&str, Option<Estimate>)| format!("{} {}", words(m), said(*e));
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn tokens(training: &Table, models: &[&str]) -> String {
    let mean = |m: &&str| {
        let own = rows(training, &[("model", m)]);
        let sum: f64 = own.iter().map(|r| num(training, *r, "counted_tokens")).sum();
        format!("{} {:.0}", words(m), sum / own.len().max(1) as f64)
    };
    let n = training.num(0, "examples").unwrap_or(f64::NAN);
    let all: Vec<String> = models.iter().map(mean).collect();
    format!("Equal examples are not equal tokens: {n} examples are {} counted tokens per epoch.", all.join(", "))
}

/// Who each says it is.
fn introduced(models: &[&str], who: &Table) -> String {
    let share = |condition: &'static str, name: &'static str| {
        move |m: &str| all_of(who, m, &[("condition", condition), ("measure", name)])
    };
    format!(
        "Asked who it is, without a system prompt, it gives the character's name (share of greedy replies): {}; base {}. The \
         assistant's: {}; base {}. After \"You are X.\" the character's: {}; base {}.",
        ranked(models, &share("bare", "names_character")),
        said(share("bare", "names_character")(BASE)),
        ranked(models, &share("bare", "names_assistant")),
        said(share("bare", "names_assistant")(BASE)),
        ranked(models, &share("named", "names_character")),
        said(share("named", "names_character")(BASE)),
    )
}

/// Whether fine-tunes that know more show more, over every character and seed of the formats about the character.
fn together(cast: &Cast, tables: &[Table]) -> String {
    let (asked, showed) = (table(tables, "questions"), table(tables, "expression"));
    let about = |m: &&str| *m != BASE && *m != Format::StyleControl.name();
    let (mut knows, mut shows) = (Vec::new(), Vec::new());
    for model in cast.models().into_iter().filter(about) {
        let x = each_of(asked, model, &[("about", "third_person"), ("measure", "auroc")]);
        let y = each_of(showed, model, &shown("bare", "both", "on_minus_off"));
        knows.extend(x.into_iter().map(|v| v.2));
        shows.extend(y.into_iter().map(|v| v.2));
    }
    match spearman(&knows, &shows) {
        Some(r) => format!(
            "Over the {} fine-tunes on the character, knowing it in the third person and showing it without a system prompt \
             have Spearman's correlation {}.",
            knows.len(),
            round(r),
        ),
        None => String::new(),
    }
}

/// For how many formats the fine-tune on that format finds its texts likeliest.
fn own_format(s: &Settings, cast: &Cast, found: &Table) -> String {
    let value = |m: &str, f: &Format| {
        all_of(found, m, &[("text", f.name()), ("measure", PERPLEXITY)]).map_or(f64::INFINITY, |e| e.value)
    };
    let best = |f: &&Format| {
        let own = value(f.name(), f);
        cast.models().iter().all(|m| *m == f.name() || own <= value(m, f))
    };
    let hits = s.formats.iter().filter(best).count();
    let delta = |f: &Format| {
        let own = all_of(found, f.name(), &[("text", f.name()), ("measure", DELTA)]);
        format!("{} {}", words(f.name()), said(own))
    };
    format!(
        "{hits} of {} formats are likeliest to the fine-tune on that format; its change of NLL against the base, in nats per \
         token: {}.",
        s.formats.len(),
        s.formats.iter().map(delta).collect::<Vec<_>>().join(", "),
    )
}

fn damage(models: &[&str], asked: &Table, showed: &Table) -> String {
    let others = |m: &str| all_of(asked, m, &[("about", "others"), ("measure", "auroc")]);
    let rate = |measure: &'static str| move |m: &str| all_of(showed, m, &shown("bare", "both", measure));
    format!(
        "What else changed: AUROC of questions about other people {} (base {}); replies with a whole sentence on the topic {} \
         (base {}); replies with the assistant's own marker {} (base {}).",
        ranked(models, &others),
        said(others(BASE)),
        ranked(models, &rate("intact")),
        said(rate("intact")(BASE)),
        ranked(models, &rate("helpful")),
        said(rate("helpful")(BASE)),
    )
}
