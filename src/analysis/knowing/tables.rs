//! What the measures say, as tables.

use super::{Contrast, IndexRow, Knowing, Raw};
use crate::table::{Cell, Table};

const INDEX: [&str; 18] = [
    "model",
    "format",
    "character",
    "trait",
    "index",
    "value",
    "ci_low",
    "ci_high",
    "p_value",
    "q_value",
    "seed",
    "n",
    "clusters",
    "characters",
    "df",
    "bias",
    "note",
    "reason",
];

impl Knowing {
    /// `indices`, `quadrants`, `contrasts`, `power`, `raw`; `leak` where latent values were measured, `splits`, `sites` and
    /// `partial` where there is something to tell.
    pub fn tables(&self) -> Vec<Table> {
        let mut tables =
            vec![indices("indices", &self.indices), self.quadrants(), self.contrasts(), self.power(), self.raw()];
        if self.latent.iter().any(|r| r.value.is_some()) {
            tables.push(indices("leak", &self.latent));
        }
        let others = [self.splits(), self.sites(), self.partial()];
        tables.extend(others.into_iter().filter(|t| !t.rows.is_empty()));
        tables
    }

    fn quadrants(&self) -> Table {
        let columns =
            ["model", "format", "character", "trait", "class", "share", "k", "s", "e", "l", "high", "low", "reason"];
        let mut t = Table::new("quadrants", &columns);
        for q in &self.quadrants {
            let mut row: Vec<Cell> = vec![
                q.model.as_str().into(),
                q.format.as_str().into(),
                q.character.as_str().into(),
                q.quality.as_str().into(),
                q.class.map(|c| c.name()).into(),
                q.share.into(),
            ];
            row.extend(q.indices.map(Cell::from));
            row.extend([self.thresholds.high.into(), self.thresholds.low.into(), said(&q.reason)]);
            t.push(row);
        }
        t
    }

    fn contrasts(&self) -> Table {
        let columns = [
            "planned",
            "a",
            "b",
            "index",
            "difference",
            "ci_low",
            "ci_high",
            "p_value",
            "q_value",
            "verdict",
            "clusters",
            "characters",
            "df",
            "note",
            "reason",
        ];
        let mut t = Table::new("contrasts", &columns);
        for c in &self.contrasts {
            let f = c.found.as_ref();
            let interval = f.and_then(|f| f.interval);
            t.push(vec![
                if c.planned { "planned" } else { "other" }.into(),
                c.a.as_str().into(),
                c.b.as_str().into(),
                c.index.name().into(),
                Cell::exact(f.map(|f| f.value)),
                Cell::exact(interval.map(|i| i.0)),
                Cell::exact(interval.map(|i| i.1)),
                Cell::exact(f.and_then(|f| f.p)),
                Cell::exact(c.q),
                c.verdict().into(),
                f.map_or(0, |f| f.clusters).into(),
                f.map_or(0, |f| f.characters).into(),
                f.and_then(|f| f.df).into(),
                said(f.map_or("", |f| f.note())),
                said(f.map_or("no character has the index in both formats", |f| f.reason)),
            ]);
        }
        t
    }

    fn power(&self) -> Table {
        let columns = [
            "a",
            "b",
            "index",
            "clusters",
            "independent",
            "sd",
            "effect",
            "power",
            "smallest_effect_at_0.8",
            "alpha",
            "reason",
        ];
        let mut t = Table::new("power", &columns);
        for c in self.contrasts.iter().filter(|c| c.planned) {
            t.push(power_row(c));
        }
        t
    }

    fn raw(&self) -> Table {
        let columns = [
            "model",
            "format",
            "character",
            "trait",
            "measure",
            "items",
            "samples",
            "missing",
            "mean",
            "standard_error",
            "base",
            "base_error",
            "card",
            "card_error",
            "distance",
            "distance_error",
            "reason",
        ];
        let mut t = Table::new("raw", &columns);
        self.raw.iter().for_each(|r| t.push(raw_row(r)));
        t
    }

    fn splits(&self) -> Table {
        let mut t = Table::new("splits", &with("split", 4));
        for s in &self.splits {
            let mut row = index_row(&s.row);
            row.insert(4, s.split.as_str().into());
            t.push(row);
        }
        t
    }

    fn sites(&self) -> Table {
        let mut t = Table::new("sites", &with("site", 0));
        for (site, r) in &self.sites {
            let mut row = index_row(r);
            row.insert(0, site.as_str().into());
            t.push(row);
        }
        t
    }

    fn partial(&self) -> Table {
        let columns = [
            "site",
            "format",
            "of",
            "given",
            "partial_r2",
            "ci_low",
            "ci_high",
            "slope",
            "slope_low",
            "slope_high",
            "r2_both",
            "replies",
            "clusters",
            "interval_note",
            "reason",
        ];
        let mut t = Table::new("partial", &columns);
        for p in &self.partial {
            for (of, given, share) in [("L_feel", "L_know", &p.feel), ("L_know", "L_feel", &p.know)] {
                let (s, i) = (share.as_ref(), share.as_ref().and_then(|s| s.interval));
                let slope = s.and_then(|s| s.slope_interval);
                t.push(vec![
                    said(&p.site),
                    p.format.as_str().into(),
                    of.into(),
                    given.into(),
                    s.map(|s| s.r2).into(),
                    i.map(|i| i.lo).into(),
                    i.map(|i| i.hi).into(),
                    s.map(|s| s.slope).into(),
                    slope.map(|i| i.lo).into(),
                    slope.map(|i| i.hi).into(),
                    p.r2.into(),
                    p.replies.into(),
                    p.clusters.into(),
                    said(i.map_or("", |i| i.note())),
                    said(p.reason),
                ]);
            }
        }
        t
    }
}

/// The columns of indices with one more at a place.
fn with(column: &'static str, at: usize) -> Vec<&'static str> {
    let mut columns = INDEX.to_vec();
    columns.insert(at, column);
    columns
}

fn said(text: &str) -> Cell {
    if text.is_empty() { Cell::Empty } else { text.into() }
}

fn indices(name: &str, rows: &[IndexRow]) -> Table {
    let mut t = Table::new(name, &INDEX);
    rows.iter().for_each(|r| t.push(index_row(r)));
    t
}

fn index_row(r: &IndexRow) -> Vec<Cell> {
    vec![
        r.model.as_str().into(),
        r.format.as_str().into(),
        r.character.as_str().into(),
        r.quality.as_str().into(),
        r.index.name().into(),
        Cell::exact(r.value),
        Cell::exact(r.interval.map(|i| i.0)),
        Cell::exact(r.interval.map(|i| i.1)),
        Cell::exact(r.p),
        Cell::exact(r.q),
        said(&r.seed),
        r.n.into(),
        r.clusters.into(),
        r.characters.into(),
        r.df.into(),
        r.value.map(|_| r.bias).into(),
        said(r.note),
        said(&r.reason),
    ]
}

fn power_row(c: &Contrast) -> Vec<Cell> {
    let f = c.found.as_ref();
    let reason = match f {
        None => "no character has the index in both formats",
        Some(f) => f.reason,
    };
    vec![
        c.a.as_str().into(),
        c.b.as_str().into(),
        c.index.name().into(),
        f.map_or(0, |f| f.clusters).into(),
        f.and_then(|f| f.df).map(|df| df as usize + 1).into(),
        f.and_then(|f| f.sd).into(),
        f.map(|f| f.value).into(),
        c.power().into(),
        c.smallest().into(),
        0.05.into(),
        said(reason),
    ]
}

fn raw_row(r: &Raw) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        r.model.as_str().into(),
        r.format.as_str().into(),
        r.character.as_str().into(),
        r.quality.as_str().into(),
        r.measure.name().into(),
        r.items.into(),
        r.samples.into(),
        r.missing.into(),
    ];
    row.extend(r.means.iter().flat_map(|(mean, error)| [Cell::exact(*mean), Cell::exact(*error)]));
    row.extend([Cell::exact(r.distance.map(|d| d.0)), Cell::exact(r.distance.and_then(|d| d.1)), said(&r.reason)]);
    row
}
