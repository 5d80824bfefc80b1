//! How far two maps of the same roles agree: of two models, or of a model before and after a fine-tune.

use super::{MapOptions, Shape, cosine};
use crate::analysis::interval::Interval;
use crate::analysis::nulls::normal;
use crate::analysis::pca::pca;
use crate::analysis::resampled::{jackknife, t_interval};
use crate::analysis::stats::{mean, pearson, permutation_p, quantile, spearman};
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::table::{Cell, Table};
use faer::Mat;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::Rng;
use rand::seq::SliceRandom;

/// Dimensions of the subspaces that are compared by their angles.
const SUBSPACE: usize = 5;
/// Components whose coordinates are compared one by one.
const LOADINGS: usize = 3;
/// Components in which leading subspaces are found again without a role.
const REFITTED: usize = 40;

/// What two maps have in common.
#[derive(Clone, Debug)]
pub struct Alignment {
    pub site: String,
    pub other_site: String,
    pub quantities: Vec<Quantity>,
    /// Cosine of the two centred vectors of each common role; `None` where there is none.
    pub roles: Vec<(String, Option<f64>)>,
}

/// One number about two maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantity {
    pub name: &'static str,
    /// Counted from 1 where there are several.
    pub component: Option<usize>,
    pub value: Option<f64>,
    /// 95 % over roles.
    pub interval: Option<Interval>,
    pub null_mean: Option<f64>,
    pub null_hi: Option<f64>,
    pub p: Option<f64>,
    /// Roles in it.
    pub roles: usize,
    /// What the null is, or why there is no value.
    pub reason: Option<String>,
}

const SHUFFLED: &str = "null: the roles of one map shuffled";

/// Compares two maps over the roles that both have, each centred over these anew.
///
/// Where both have the same width: `centred_cosine` (mean over roles), `axis_cosine`, `subspace_overlap` (mean squared
/// cosine of the principal angles between the leading five components) and `principal_angle_degrees`. Between any two:
/// `procrustes_similarity`, the sum of singular values of the product of the leading coordinates, each brought to a
/// Frobenius norm of 1 (the best agreement under a rotation or reflection, without a scale), and
/// `procrustes_disparity`, 1 - similarity^2, as scipy has it; `loading_correlation` of the coordinates on PC1 to PC3;
/// `distance_correlation` and `distance_rank_correlation` of the distances between roles. Intervals are delete-one
/// jackknives over roles (of correlations and similarities on Fisher's scale).
///
/// # Errors
/// Fewer than four roles in common, or roles that do not differ.
pub fn align(a: &Shape, b: &Shape, options: &MapOptions) -> Result<Alignment> {
    let common: Vec<(usize, usize)> =
        a.roles.iter().enumerate().filter_map(|(i, r)| Some((i, b.roles.binary_search(r).ok()?))).collect();
    if common.len() < 4 {
        return Err(Error::refused(
            format!("{} roles are in both maps; four are the least", common.len()),
            "compare maps of the same roles, under the same names",
        ));
    }
    let side = |shape: &Shape, rows: Vec<usize>| Side::of(shape.points.select(Axis(0), &rows).view());
    let x = side(a, common.iter().map(|c| c.0).collect())?;
    let y = side(b, common.iter().map(|c| c.1).collect())?;
    let mut rng = stream(options.seed, &format!("align/{}/{}", a.site, b.site));
    let same = a.points.ncols() == b.points.ncols();
    let mut found = Vec::new();
    let mut roles = Vec::new();
    if same {
        let cosines: Vec<Option<f64>> =
            (0..x.n()).map(|r| cosine(&x.points.row(r).to_vec(), &y.points.row(r).to_vec())).collect();
        roles = common.iter().map(|c| a.roles[c.0].clone()).zip(cosines.iter().copied()).collect();
        found.push(centred_cosine(&x, &y, &cosines, options.permutations, &mut rng));
        found.push(axis_cosine(a, b, x.n()));
        found.extend(subspaces(&x, &y, options.permutations, &mut rng));
    }
    found.extend(procrustes(&x, &y, options, &mut rng));
    for c in 0..LOADINGS.min(x.scores.ncols()).min(y.scores.ncols()) {
        let (u, v) = (x.scores.column(c).to_vec(), y.scores.column(c).to_vec());
        let of = |kept: &[usize], order: &[usize]| {
            let at = |v: &[f64], i: usize| v[i];
            let left: Vec<f64> = kept.iter().map(|&i| at(&u, i)).collect();
            let right: Vec<f64> = kept.iter().map(|&i| at(&v, order[i])).collect();
            pearson(&left, &right).map(f64::abs)
        };
        let q = over_roles("loading_correlation", x.n(), options.permutations, &mut rng, &of);
        found.push(Quantity { component: Some(c + 1), ..q });
    }
    let (dx, dy) = (x.distances(), y.distances());
    for (name, by) in [
        ("distance_correlation", pearson as fn(&[f64], &[f64]) -> Option<f64>),
        ("distance_rank_correlation", spearman),
    ] {
        let of = |kept: &[usize], order: &[usize]| {
            let (mut u, mut v) = (Vec::new(), Vec::new());
            for (k, &i) in kept.iter().enumerate() {
                for &j in &kept[..k] {
                    u.push(dx[[i, j]]);
                    v.push(dy[[order[i], order[j]]]);
                }
            }
            by(&u, &v)
        };
        found.push(over_roles(name, x.n(), options.permutations, &mut rng, &of));
    }
    Ok(Alignment { site: a.site.clone(), other_site: b.site.clone(), quantities: found, roles })
}

/// One of the two maps over the common roles.
struct Side {
    /// `[role, d_model]`, centred.
    points: Array2<f64>,
    /// `[component, d_model]`.
    components: Array2<f64>,
    /// `[role, component]`.
    scores: Array2<f64>,
}

impl Side {
    fn of(points: ArrayView2<f64>) -> Result<Side> {
        let found = pca(points)?;
        Ok(Side { points: &points - &found.mean, components: found.components, scores: found.scores })
    }

    fn n(&self) -> usize {
        self.points.nrows()
    }

    fn distances(&self) -> Array2<f64> {
        let s = &self.scores;
        Array2::from_shape_fn((self.n(), self.n()), |(i, j)| {
            s.row(i).iter().zip(s.row(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
        })
    }
}

/// Of roles that are kept and of who stands for whom.
type Statistic<'a> = &'a dyn Fn(&[usize], &[usize]) -> Option<f64>;

/// A statistic of (roles that are kept, who stands for whom), between -1 and 1, with its jackknife and shuffles.
fn over_roles(name: &'static str, n: usize, draws: usize, rng: &mut impl Rng, of: Statistic<'_>) -> Quantity {
    let all: Vec<usize> = (0..n).collect();
    let Some(value) = of(&all, &all) else {
        let reason = Some("the roles of one map do not differ in it".to_string());
        return Quantity { name, roles: n, reason, ..Quantity::default() };
    };
    // Fisher's scale, kept finite at 1.
    let scale = |v: f64| v.clamp(-1.0 + 1e-12, 1.0 - 1e-12).atanh();
    let without = |i: usize| {
        let kept: Vec<usize> = all.iter().copied().filter(|j| *j != i).collect();
        of(&kept, &all).map(scale)
    };
    let interval = jackknife(n, scale(value), without);
    let mut order = all.clone();
    let mut draw = || {
        order.shuffle(rng);
        of(&all, &order)
    };
    let null: Vec<f64> = (0..draws).filter_map(|_| draw()).collect();
    Quantity {
        name,
        value: Some(value),
        interval: interval.map(|i| Interval { lo: i.lo.tanh(), hi: i.hi.tanh(), ..i }),
        null_mean: mean(&null),
        null_hi: quantile(&null, 0.95),
        p: permutation_p(value, &null),
        roles: n,
        reason: Some(SHUFFLED.into()),
        component: None,
    }
}

fn centred_cosine(x: &Side, y: &Side, own: &[Option<f64>], draws: usize, rng: &mut impl Rng) -> Quantity {
    // Cosines of every pair, once: shuffles are sums over them.
    let unit = |s: &Side| {
        let mut u = s.points.clone();
        for mut row in u.rows_mut() {
            let norm = row.dot(&row).sqrt();
            if norm > 0.0 {
                row /= norm;
            }
        }
        u
    };
    let pairs = unit(x).dot(&unit(y).t());
    let there: Vec<f64> = own.iter().flatten().copied().collect();
    let mut order: Vec<usize> = (0..x.n()).collect();
    let mut draw = || {
        order.shuffle(rng);
        mean(&order.iter().enumerate().map(|(i, &j)| pairs[[i, j]]).collect::<Vec<_>>())
    };
    let null: Vec<f64> = (0..draws).filter_map(|_| draw()).collect();
    let value = mean(&there);
    Quantity {
        name: "centred_cosine",
        value,
        interval: t_interval(&there),
        null_mean: mean(&null),
        null_hi: quantile(&null, 0.95),
        p: value.and_then(|v| permutation_p(v, &null)),
        roles: there.len(),
        reason: Some(SHUFFLED.into()),
        component: None,
    }
}

fn axis_cosine(a: &Shape, b: &Shape, roles: usize) -> Quantity {
    let empty = Quantity { name: "axis_cosine", roles, ..Quantity::default() };
    let (Some(x), Some(y)) = (&a.default, &b.default) else {
        return Quantity { reason: Some("one of the maps has no default persona".into()), ..empty };
    };
    let d = x.scaled_axis.len() as f64;
    Quantity {
        value: cosine(&x.scaled_axis.to_vec(), &y.scaled_axis.to_vec()),
        null_mean: Some(0.0),
        // The coordinate of a random unit vector is nearly normal with variance 1/d.
        null_hi: Some(1.645 / d.sqrt()),
        reason: Some("null: random directions; no interval: the axis has a single default on either side".into()),
        ..empty
    }
}

/// The angles between the leading components, and how far the subspaces overlap.
fn subspaces(x: &Side, y: &Side, draws: usize, rng: &mut impl Rng) -> Vec<Quantity> {
    let n = x.n();
    let k = SUBSPACE.min(n - 2).min(x.components.nrows()).min(y.components.nrows());
    let top = |s: &Side, k: usize| s.components.slice(s![..k, ..]).to_owned();
    let cosines = singular(&top(x, k).dot(&top(y, k).t()));
    let overlap = cosines.iter().map(|c| c * c).sum::<f64>() / k as f64;
    let (rx, ry) = (x.components.nrows().min(REFITTED), y.components.nrows().min(REFITTED));
    let cross = top(x, rx).dot(&top(y, ry).t());
    let without = |i: usize| {
        let (ex, ey) = (leading(x, rx, k, i)?, leading(y, ry, k, i)?);
        Some(ex.t().dot(&cross).dot(&ey).iter().map(|v| v * v).sum::<f64>() / k as f64)
    };
    let interval = jackknife(n, overlap, without);
    let d = x.points.ncols();
    let null: Vec<f64> = (0..draws.min(200)).filter_map(|_| random_overlap(d, k, rng)).collect();
    let reason = || Some(format!("leading {k} components; null: random subspaces"));
    let mut found = vec![Quantity {
        name: "subspace_overlap",
        value: Some(overlap),
        interval: interval.map(|i| Interval { lo: i.lo.max(0.0), hi: i.hi.min(1.0), ..i }),
        null_mean: mean(&null),
        null_hi: quantile(&null, 0.95),
        p: permutation_p(overlap, &null),
        roles: n,
        reason: reason(),
        component: None,
    }];
    found.extend(cosines.iter().enumerate().map(|(i, c)| Quantity {
        name: "principal_angle_degrees",
        component: Some(i + 1),
        value: Some(c.clamp(0.0, 1.0).acos().to_degrees()),
        roles: n,
        reason: Some(format!("leading {k} components")),
        ..Quantity::default()
    }));
    found
}

/// The `k` leading eigenvectors of the covariance of scores in `r` components, without a role: `[r, k]`.
fn leading(side: &Side, r: usize, k: usize, without: usize) -> Option<Array2<f64>> {
    let kept: Vec<usize> = (0..side.n()).filter(|i| *i != without).collect();
    let drawn = side.scores.slice(s![.., ..r]).select(Axis(0), &kept);
    let centred = &drawn - &drawn.mean_axis(Axis(0))?;
    let c = centred.t().dot(&centred);
    let eigen = Mat::from_fn(r, r, |i, j| c[[i, j]]).self_adjoint_eigen(faer::Side::Lower).ok()?;
    Some(Array2::from_shape_fn((r, k), |(i, j)| eigen.U()[(i, r - 1 - j)]))
}

/// The overlap of a random subspace with a fixed one: of `k` orthonormal vectors their parts in `k` coordinates.
fn random_overlap(d: usize, k: usize, rng: &mut impl Rng) -> Option<f64> {
    let m = Mat::from_fn(d, k, |_, _| normal(rng));
    let q = m.qr().compute_thin_Q();
    let inside: f64 = (0..k.min(d)).flat_map(|i| (0..k).map(move |j| (i, j))).map(|(i, j)| q[(i, j)].powi(2)).sum();
    Some(inside / k as f64)
}

fn procrustes(x: &Side, y: &Side, options: &MapOptions, rng: &mut impl Rng) -> [Quantity; 2] {
    let k = options.components.min(x.scores.ncols()).min(y.scores.ncols());
    let (u, v) = (x.scores.slice(s![.., ..k]), y.scores.slice(s![.., ..k]));
    let of = |kept: &[usize], order: &[usize]| {
        let other: Vec<usize> = kept.iter().map(|&i| order[i]).collect();
        let side = |s: ArrayView2<f64>, rows: &[usize]| {
            let drawn = s.select(Axis(0), rows);
            let centred = &drawn - &drawn.mean_axis(Axis(0))?;
            let norm = centred.iter().map(|v| v * v).sum::<f64>().sqrt();
            (norm > 0.0).then(|| centred / norm)
        };
        Some(singular(&side(u, kept)?.t().dot(&side(v, &other)?)).iter().sum::<f64>().min(1.0))
    };
    let like = over_roles("procrustes_similarity", x.n(), options.permutations, rng, &of);
    let reason = Some(format!("leading {k} coordinates; {SHUFFLED}"));
    let turned = |v: Option<f64>| v.map(|v| 1.0 - v * v);
    let apart = Quantity {
        name: "procrustes_disparity",
        value: turned(like.value),
        interval: like.interval.map(|i| Interval { lo: 1.0 - i.hi * i.hi, hi: 1.0 - i.lo.max(0.0).powi(2), ..i }),
        null_mean: turned(like.null_mean),
        // The null's upper end of similarity is its lower end of disparity: not a 95 % quantile of it.
        null_hi: None,
        reason: reason.clone(),
        ..like.clone()
    };
    [Quantity { reason, ..like }, apart]
}

/// Singular values, largest first; none where the decomposition fails.
fn singular(m: &Array2<f64>) -> Vec<f64> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[[i, j]]).singular_values().unwrap_or_default()
}

/// One row per pair of sites and quantity.
pub fn alignment_table(of: &[Alignment]) -> Table {
    let columns = ["site", "other_site", "quantity", "component", "value", "ci_low", "ci_high"];
    let mut table =
        Table::new("alignment", &[&columns[..], &["null_mean", "null_95", "p_value", "n", "reason"]].concat());
    for a in of {
        for q in &a.quantities {
            let mut row: Vec<Cell> = vec![a.site.clone().into(), a.other_site.clone().into(), q.name.into()];
            row.extend([q.component.into(), q.value.into()]);
            row.extend([q.interval.map(|i| i.lo).into(), q.interval.map(|i| i.hi).into()]);
            row.extend([q.null_mean.into(), q.null_hi.into(), q.p.into(), q.roles.into(), q.reason.clone().into()]);
            table.push(row);
        }
    }
    table
}

/// One row per pair of sites of the same width and common role.
pub fn role_alignment_table(of: &[Alignment]) -> Table {
    let mut table = Table::new("role_alignment", &["site", "other_site", "role", "centred_cosine", "reason"]);
    for a in of {
        for (role, cosine) in &a.roles {
            let reason = cosine.is_none().then_some("one of the two vectors is the mean of all");
            let sites = [Cell::from(a.site.clone()), a.other_site.clone().into()];
            table.push([&sites[..], &[role.clone().into(), (*cosine).into(), reason.into()]].concat());
        }
    }
    table
}
