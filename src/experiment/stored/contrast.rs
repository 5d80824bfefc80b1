//! Contrast vectors of two values of a column, on held-out groups.

use super::{Analysis, Chosen, Contrast, Parts, draw, groups_of};
use crate::acts::RowKey;
use crate::analysis::sweep::{Sweep, sweep_rows, sweep_table};
use crate::error::{Error, Result};
use crate::experiment::cells::{round, said};
use crate::figures::Estimate;
use crate::store::{Keys, Store};
use crate::unit::parallel;

pub(super) fn run(store: &Store, ask: &Analysis, progress: &(dyn Fn(u64) + Sync), found: &mut Parts) -> Result<()> {
    let mut names: Vec<&str> = vec![&ask.group];
    for c in &ask.contrasts {
        if !names.contains(&c.column.as_str()) {
            names.push(&c.column);
        }
    }
    let keys = store.keys(Some(&names))?;
    let mut sweeps: Vec<Sweep> = Vec::new();
    for contrast in &ask.contrasts {
        if sweeps.iter().any(|s| s.name == name(contrast)) {
            let what = format!("two contrasts have {} on their larger side", name(contrast));
            return Err(Error::refused(what, "run them one by one, each with its own --out"));
        }
        sweeps.push(one(store, ask, &keys, contrast, progress, found)?);
    }
    let layers = sweep_table("layers", &sweeps);
    let caption = draw::caption(&sweeps, ask);
    found.pages.push((draw::sweeps(ask, &layers, caption)?, vec!["layers"]));
    found.tables.push(layers);
    for s in &sweeps {
        found.vectors.extend(s.layers.iter().filter_map(|l| l.direction.clone()));
        found.summary.push(sentence(s, ask));
    }
    Ok(())
}

/// What larger projections mean.
fn name(c: &Contrast) -> String {
    format!("{}={}", c.column, c.positive)
}

fn one(
    store: &Store,
    ask: &Analysis,
    keys: &Keys,
    contrast: &Contrast,
    progress: &(dyn Fn(u64) + Sync),
    found: &mut Parts,
) -> Result<Sweep> {
    let column = keys.column(&contrast.column)?;
    let (positive, negative) = (column.is(&contrast.positive), column.is(&contrast.negative));
    for (value, rows) in [(&contrast.positive, &positive), (&contrast.negative, &negative)] {
        if !rows.contains(&true) {
            let few: Vec<String> = column.distinct().into_iter().take(8).collect();
            let what = format!("no row has {} = `{value}`", contrast.column);
            return Err(Error::refused(what, format!("`{}` holds {}, ...", contrast.column, few.join(", "))));
        }
    }
    let kept: Vec<bool> = positive.iter().zip(&negative).map(|(p, n)| *p || *n).collect();
    let chosen = Chosen::of(&kept);
    let left = kept.len() - chosen.rows.len();
    if left > 0 {
        let Contrast { column, positive, negative } = contrast;
        found.warnings.push(format!("{left} rows have neither {positive} nor {negative} as {column} and are left out"));
    }
    let labels: Vec<bool> = chosen.rows.iter().map(|r| positive[*r]).collect();
    let groups = groups_of(keys, &ask.group, &chosen.rows)?;
    let row_keys: Vec<RowKey> = groups.into_iter().map(|group| RowKey { group, ..RowKey::default() }).collect();
    let name = name(contrast);
    let of_site = parallel(&ask.sites, ask.threads, |w| {
        let acts = store.activations(w.site, ask.pick, &chosen.runs, row_keys.clone())?;
        let sweep = sweep_rows(&name, &[acts], None, &labels, &ask.sweep)?;
        progress(1);
        Ok(sweep)
    })?;
    let joined = of_site.into_iter().reduce(Sweep::join);
    let mut sweep = joined.ok_or_else(|| Error::refused("no sites", "give at least one of those that are kept"))?;
    for d in sweep.layers.iter_mut().filter_map(|l| l.direction.as_mut()) {
        d.negative = format!("{}={}", contrast.column, contrast.negative);
    }
    if sweep.layers.iter().all(|l| l.held_out.auroc.is_none()) {
        let reason = sweep.layers.iter().find_map(|l| l.held_out.reason.clone()).unwrap_or_default();
        return Err(Error::refused(
            format!("nothing can be held out of {name}: {reason}"),
            format!(
                "each side needs two groups by `{}` at least; give another --group COLUMN, or more rows",
                ask.group
            ),
        ));
    }
    let (with, all) = (sweep.positives.1, sweep.test_groups.len());
    let few = with.min(all - with);
    // Where every group has both classes, the number of pairs is that of the groups.
    let few = if few == 0 { all } else { few };
    if few < FEW {
        found.warnings.push(format!("{name}: only {few} held-out groups of the smaller class; intervals say little"));
    }
    Ok(sweep)
}

/// Fewer held-out groups than these are said.
const FEW: usize = 5;

fn sentence(s: &Sweep, ask: &Analysis) -> String {
    let (l, score) = (s.chosen(), &s.chosen().held_out);
    let interval = score.interval.map(|i| (i.lo, i.hi));
    let value = score.auroc.map(|value| Estimate { value, interval });
    let direction = l.direction.as_ref();
    let negative = direction.map_or(String::new(), |d| format!(" against {}", d.negative));
    let number = |v: Option<f64>| v.map_or("none".into(), round);
    let why = score.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"));
    let choice = match (s.layers.len(), l.train_auroc) {
        (1, _) => String::new(),
        (_, Some(_)) => ", chosen on training groups alone".into(),
        (_, None) => ", the first: there are too few training groups to choose by".into(),
    };
    format!(
        "{}{negative} at {}{choice}: AUROC {}{why} on {} held-out of {} groups by `{}`; shuffled labels {} (95 %: {}), \
         p = {}.",
        s.name,
        l.site,
        said(value),
        s.test_groups.len(),
        s.test_groups.len() + s.train_groups.len(),
        ask.group,
        number(score.null_mean),
        number(score.null_hi),
        score.p.map_or("none".into(), |p| format!("{p:.3}")),
    )
}
