//! Whether directions of enacting, describing and claiming can be told apart at a site.

use crate::table::{Cell, Table};

/// The three directions, in the order of every array of this module.
pub const DIRECTIONS: [&str; 3] = ["feel", "know", "self"];

/// Above this cosine, in absolute value, two directions may be one.
pub const COSINE: f64 = 0.9;
/// Above this AUROC both ways each does the work of the other.
pub const TRANSFER: f64 = 0.95;

/// An AUROC on rows that the fit has not seen, with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auroc {
    pub value: f64,
    /// 95 %.
    pub interval: Option<(f64, f64)>,
}

/// The three directions of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    pub site: String,
    /// Cosines; the diagonal is not looked at.
    pub cosines: [[f64; 3]; 3],
    /// `[fitted on][tested on]`, held out by group on the diagonal too; `None` where it could not be had.
    pub transfer: [[Option<Auroc>; 3]; 3],
}

/// What is said of two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The same direction, and each classifies the other's rows: what follows from them is about one thing.
    Not,
    /// One of them is surely worse on the other's rows than the other itself.
    Apart,
    Undecided,
}

impl Told {
    pub fn name(self) -> &'static str {
        match self {
            Told::Not => "cannot be told apart",
            Told::Apart => "apart",
            Told::Undecided => "undecided",
        }
    }
}

/// Two directions of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub site: String,
    /// Places among enacting, describing and claiming.
    pub of: (usize, usize),
    pub cosine: f64,
    /// Fitted on the first and tested on the second, and the reverse.
    pub transfer: [Option<Auroc>; 2],
    /// Each on its own held-out rows.
    pub own: [Option<Auroc>; 2],
    pub told: Told,
    /// Why it is undecided.
    pub reason: &'static str,
}

/// All pairs of every site.
pub fn apart(sites: &[Directions]) -> Vec<Pair> {
    let pairs = [(0, 1), (0, 2), (1, 2)];
    sites.iter().flat_map(|d| pairs.map(|of| pair(d, of))).collect()
}

fn pair(d: &Directions, (a, b): (usize, usize)) -> Pair {
    let finite = |v: Option<Auroc>| v.filter(|v| v.value.is_finite());
    let cosine = d.cosines[a][b];
    let transfer = [finite(d.transfer[a][b]), finite(d.transfer[b][a])];
    let own = [finite(d.transfer[a][a]), finite(d.transfer[b][b])];
    // What was fitted on one is measured against what was fitted on the other, on the same rows.
    let below = |across: Option<Auroc>, own: Option<Auroc>| {
        across.and_then(|t| t.interval).zip(own).is_some_and(|((_, hi), own)| hi < own.value)
    };
    let both = transfer.iter().all(|t| t.is_some_and(|t| t.value > TRANSFER));
    let (told, reason) = if cosine.abs() > COSINE && both {
        (Told::Not, "")
    } else if below(transfer[0], own[1]) || below(transfer[1], own[0]) {
        (Told::Apart, "")
    } else if !cosine.is_finite() || transfer.iter().chain(&own).any(Option::is_none) {
        (Told::Undecided, "a cosine or an AUROC is missing")
    } else {
        (Told::Undecided, "each does nearly as well on the rows of the other")
    };
    Pair { site: d.site.clone(), of: (a, b), cosine, transfer, own, told, reason }
}

/// The pairs as a table: one row per site and pair.
pub fn apart_table(pairs: &[Pair]) -> Table {
    let columns = [
        "site",
        "a",
        "b",
        "cosine",
        "a_on_b",
        "a_on_b_low",
        "a_on_b_high",
        "b_on_a",
        "b_on_a_low",
        "b_on_a_high",
        "a_on_a",
        "b_on_b",
        "verdict",
        "reason",
    ];
    let mut t = Table::new("apart", &columns);
    for p in pairs {
        let (a, b) = p.of;
        let mut row: Vec<Cell> =
            vec![p.site.as_str().into(), DIRECTIONS[a].into(), DIRECTIONS[b].into(), p.cosine.into()];
        for across in p.transfer {
            let interval = across.and_then(|v| v.interval);
            row.extend([across.map(|v| v.value).into(), interval.map(|i| i.0).into(), interval.map(|i| i.1).into()]);
        }
        row.extend(p.own.map(|v| v.map(|v| v.value).into()));
        row.extend([p.told.name().into(), Some(p.reason).filter(|r| !r.is_empty()).into()]);
        t.push(row);
    }
    t
}

/// What to say of the sites at which feeling and knowing cannot be told apart, and at which nothing about the difference
/// may be concluded; `None` where there is no such site.
pub fn warning(pairs: &[Pair]) -> Option<String> {
    let sites: Vec<&str> =
        pairs.iter().filter(|p| p.of == (0, 1) && p.told == Told::Not).map(|p| p.site.as_str()).collect();
    (!sites.is_empty()).then(|| {
        format!(
            "feeling and knowing cannot be told apart at {}: no conclusion about their difference there",
            sites.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nulls::normal;
    use crate::analysis::stats::auroc;
    use crate::rng::stream;

    /// Rows of three contrasts in 20 dimensions, each along its own planted direction; fitted on one half by differences of
    /// means, tested on the other.
    fn planted(planted: [[f64; 3]; 3]) -> Directions {
        let d = 20;
        let mut rng = stream(3, "apart");
        let mut rows = |along: [f64; 3]| -> Vec<(bool, Vec<f64>)> {
            let one = |i: usize, rng: &mut _| {
                let sign = [1.0, -1.0][i % 2];
                let x = |j: usize, rng: &mut _| normal(rng) + if j < 3 { 2.5 * sign * along[j] } else { 0.0 };
                (sign > 0.0, (0..d).map(|j| x(j, &mut *rng)).collect())
            };
            (0..200).map(|i| one(i, &mut rng)).collect()
        };
        let data = planted.map(|p| (rows(p), rows(p)));
        let fit = |rows: &[(bool, Vec<f64>)]| -> Vec<f64> {
            (0..d).map(|j| rows.iter().map(|(l, x)| if *l { x[j] } else { -x[j] }).sum()).collect()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let v: Vec<Vec<f64>> = data.iter().map(|(train, _)| fit(train)).collect();
        let score = |a: usize, b: usize| {
            let (labels, scores): (Vec<bool>, Vec<f64>) = data[b].1.iter().map(|(l, x)| (*l, dot(x, &v[a]))).unzip();
            let value = auroc(&scores, &labels).unwrap();
            // Hanley and McNeil's bound on the error, which is largest in the middle.
            let half = 1.96 * (value * (1.0 - value) / 100.0).sqrt();
            Some(Auroc { value, interval: Some((value - half, value + half)) })
        };
        let all = [0, 1, 2];
        Directions {
            site: "resid_post.1".into(),
            cosines: all.map(|a| all.map(|b| dot(&v[a], &v[b]) / (dot(&v[a], &v[a]) * dot(&v[b], &v[b])).sqrt())),
            transfer: all.map(|a| all.map(|b| score(a, b))),
        }
    }

    #[test]
    fn directions_that_coincide_cannot_be_told_apart_and_others_can() {
        // Feeling and knowing are one direction, claiming is orthogonal to them.
        let found = apart(&[planted([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])]);
        assert_eq!(found.iter().map(|p| p.told).collect::<Vec<_>>(), [Told::Not, Told::Apart, Told::Apart]);
        assert!(found[0].cosine > 0.95 && found[1].cosine.abs() < 0.3);
        assert!(warning(&found).unwrap().contains("cannot be told apart at resid_post.1"));
        // An opposite direction is the same line, and its AUROC is near 0: nothing transfers as it stands.
        let found = apart(&[planted([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])]);
        assert_eq!(found[0].told, Told::Apart);
        assert!(warning(&found).is_none());
        let t = apart_table(&found);
        assert_eq!((t.rows.len(), t.text(0, "verdict"), t.text(0, "b")), (3, "apart".into(), "know".into()));
    }

    #[test]
    fn what_is_neither_is_undecided_with_its_reason() {
        let auroc = |value| Some(Auroc { value, interval: Some((value - 0.04, value + 0.04)) });
        let mut d = Directions { site: "s".into(), cosines: [[0.7; 3]; 3], transfer: [[auroc(0.96); 3]; 3] };
        let told = |d: &Directions| (apart(std::slice::from_ref(d))[0].told, apart(std::slice::from_ref(d))[0].reason);
        assert_eq!(told(&d), (Told::Undecided, "each does nearly as well on the rows of the other"));
        // Just at the thresholds is not above them.
        (d.cosines, d.transfer[0][1]) = ([[0.9; 3]; 3], auroc(0.95));
        assert_eq!(told(&d).0, Told::Undecided);
        (d.cosines, d.transfer[0][1]) = ([[-0.91; 3]; 3], auroc(0.951));
        assert_eq!(told(&d).0, Told::Not);
        d.transfer[1][0] = None;
        assert_eq!(told(&d), (Told::Undecided, "a cosine or an AUROC is missing"));
        d.cosines = [[f64::NAN; 3]; 3];
        assert_eq!(told(&d).0, Told::Undecided);
    }
}
