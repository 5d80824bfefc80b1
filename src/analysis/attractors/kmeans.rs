//! Clusters of points by k-means, and how many there are, if there is more than one.

use crate::analysis::nulls::normal;
use crate::rng::stream;
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::Rng;

/// Clusters of points, the largest first.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// `[cluster, d]`.
    pub centres: Array2<f64>,
    /// The cluster of every point.
    pub labels: Vec<usize>,
    /// Sum of squared distances to the own centre.
    pub inertia: f64,
}

const RESTARTS: usize = 5;
const ITERATIONS: usize = 50;

/// Squared Euclidean distance.
pub fn distance(a: ArrayView1<f64>, b: ArrayView1<f64>) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The nearest centre.
pub fn nearest(point: ArrayView1<f64>, centres: ArrayView2<f64>) -> usize {
    let all = centres.rows().into_iter().map(|c| distance(point, c)).enumerate();
    all.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |a| a.0)
}

/// Lloyd's algorithm from seeds drawn by squared distance (k-means++, Arthur and Vassilvitskii 2007), the best of a few
/// starts. `None` where there are fewer different points than clusters.
pub fn kmeans(points: ArrayView2<f64>, k: usize, rng: &mut impl Rng) -> Option<Clusters> {
    let best = (0..RESTARTS).filter_map(|_| once(points, k, rng)).min_by(|a, b| a.inertia.total_cmp(&b.inertia))?;
    let mut sizes = vec![0usize; k];
    best.labels.iter().for_each(|&l| sizes[l] += 1);
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by_key(|&c| std::cmp::Reverse(sizes[c]));
    let place: Vec<usize> = (0..k).map(|c| order.iter().position(|o| *o == c).unwrap_or(c)).collect();
    Some(Clusters {
        centres: best.centres.select(Axis(0), &order),
        labels: best.labels.iter().map(|&l| place[l]).collect(),
        inertia: best.inertia,
    })
}

fn once(points: ArrayView2<f64>, k: usize, rng: &mut impl Rng) -> Option<Clusters> {
    let n = points.nrows();
    if k == 0 || n < k {
        return None;
    }
    let mut centres = Array2::zeros((k, points.ncols()));
    centres.row_mut(0).assign(&points.row(rng.random_range(0..n)));
    let mut away: Vec<f64> = points.rows().into_iter().map(|p| distance(p, centres.row(0))).collect();
    for c in 1..k {
        let total: f64 = away.iter().sum();
        if !(total > 0.0) {
            return None;
        }
        let mut left = rng.random::<f64>() * total;
        let pick = away.iter().position(|d| {
            left -= d;
            left < 0.0 && *d > 0.0
        });
        let pick = pick.or_else(|| away.iter().rposition(|d| *d > 0.0))?;
        centres.row_mut(c).assign(&points.row(pick));
        for (d, p) in away.iter_mut().zip(points.rows()) {
            *d = d.min(distance(p, centres.row(c)));
        }
    }
    let mut labels = vec![usize::MAX; n];
    for _ in 0..ITERATIONS {
        let new: Vec<usize> = points.rows().into_iter().map(|p| nearest(p, centres.view())).collect();
        let same = new == labels;
        labels = new;
        if same {
            break;
        }
        let mut sizes = vec![0.0; k];
        let mut sums = Array2::zeros(centres.dim());
        for (p, &l) in points.rows().into_iter().zip(&labels) {
            sums.row_mut(l).zip_mut_with(&p, |s: &mut f64, v| *s += v);
            sizes[l] += 1.0;
        }
        for c in (0..k).filter(|&c| sizes[c] > 0.0) {
            centres.row_mut(c).assign(&(&sums.row(c) / sizes[c]));
        }
    }
    let inertia = points.rows().into_iter().zip(&labels).map(|(p, &l)| distance(p, centres.row(l))).sum();
    Some(Clusters { centres, labels, inertia })
}

/// Mean silhouette with distances to centres instead of to all points: 1 for points at their own centre, 0 for points
/// half way between two.
pub fn silhouette(points: ArrayView2<f64>, clusters: &Clusters) -> f64 {
    let one = |(p, &l): (ArrayView1<f64>, &usize)| {
        let own = distance(p, clusters.centres.row(l)).sqrt();
        let others = (0..clusters.centres.nrows()).filter(|c| *c != l);
        let other = others.map(|c| distance(p, clusters.centres.row(c)).sqrt()).fold(f64::INFINITY, f64::min);
        let most = own.max(other);
        if most > 0.0 && most.is_finite() { (other - own) / most } else { 0.0 }
    };
    points.rows().into_iter().zip(&clusters.labels).map(one).sum::<f64>() / points.nrows().max(1) as f64
}

/// How many clusters there are, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    pub clusters: Clusters,
    /// The best mean silhouette of 2 or more clusters, and the 95 % quantile of it for a Gaussian cloud of the same
    /// covariance: no more than one cluster where it stays below.
    pub silhouette: Option<f64>,
    pub null: Option<f64>,
    pub reason: String,
}

/// Clouds that the silhouette is compared with.
const CLOUDS: usize = 39;
/// Fewest points that are taken for more than one cluster.
const LEAST: usize = 8;

/// The number of clusters by silhouette, 1 unless it stands above that of a Gaussian cloud (p of at most 0.05) and
/// the points thin out between any two centres.
pub fn choose(points: ArrayView2<f64>, most: usize, seed: u64) -> Choice {
    let one = |reason: String| Choice {
        clusters: Clusters {
            centres: points.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(points.ncols())).insert_axis(Axis(0)),
            labels: vec![0; points.nrows()],
            inertia: f64::NAN,
        },
        silhouette: None,
        null: None,
        reason,
    };
    if points.nrows() < LEAST {
        return one(format!("{} runs; at least {LEAST} are needed to tell basins apart", points.nrows()));
    }
    let Some((best, score)) = split(points, most, &mut stream(seed, "k-means")) else {
        return one("all runs end at one point".into());
    };
    let mut rng = stream(seed, "one cluster");
    let (mut null, mut above) = (Vec::new(), 0);
    if let Some(root) = root(points) {
        for _ in 0..CLOUDS {
            let noise = Array2::from_shape_fn(points.dim(), |_| normal(&mut rng));
            let cloud = noise.dot(&root);
            let value = split(cloud.view(), most, &mut rng).map_or(-1.0, |s| s.1);
            above += usize::from(value >= score);
            null.push(value);
            // More than one of 39: p is above 0.05 whatever follows.
            if above > 1 {
                break;
            }
        }
    }
    let bar = crate::analysis::stats::quantile(&null, 0.95);
    let said = |c: Choice| Choice { silhouette: Some(score), null: bar, ..c };
    if above > 1 {
        return said(one("no more clustered than a Gaussian cloud".into()));
    }
    if !valleys(points, &best) {
        return said(one("the points do not thin out between the clusters".into()));
    }
    said(Choice { clusters: best, silhouette: None, null: None, reason: String::new() })
}

/// The clusters with the best silhouette among 2 to `most`.
fn split(points: ArrayView2<f64>, most: usize, rng: &mut impl Rng) -> Option<(Clusters, f64)> {
    let of = |k: usize, rng: &mut _| {
        let clusters = kmeans(points, k, rng)?;
        let score = silhouette(points, &clusters);
        Some((clusters, score))
    };
    let all: Vec<(Clusters, f64)> = (2..=most.max(2)).filter_map(|k| of(k, rng)).collect();
    // The first of equals: the fewest clusters.
    all.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// R with R'R the covariance of the points.
fn root(points: ArrayView2<f64>) -> Option<Array2<f64>> {
    let d = points.ncols();
    let centred = &points - &points.mean_axis(Axis(0))?;
    let c = centred.t().dot(&centred) / (points.nrows() - 1).max(1) as f64;
    let e = Mat::from_fn(d, d, |i, j| c[[i, j]]).self_adjoint_eigen(Side::Lower).ok()?;
    Some(Array2::from_shape_fn((d, d), |(i, j)| e.S()[i].max(0.0).sqrt() * e.U()[(j, i)]))
}

/// Whether the density along the line between the centres of any two neighbours has a valley: at its lowest point
/// between them less than 3/4 of the lower of the two peaks.
fn valleys(points: ArrayView2<f64>, clusters: &Clusters) -> bool {
    let k = clusters.centres.nrows();
    let centre = |c: usize| clusters.centres.row(c);
    for a in 0..k {
        for b in a + 1..k {
            let line = &centre(b) - &centre(a);
            let length = line.dot(&line);
            let middle = (&centre(a) + &centre(b)) / 2.0;
            // Not neighbours: another centre is nearer to the middle.
            let own = nearest(middle.view(), clusters.centres.view());
            if own != a && own != b && distance(middle.view(), centre(own)) < 0.999 * length / 4.0 {
                continue;
            }
            let along = |p: ArrayView1<f64>| (&p - &centre(a)).dot(&line) / length;
            let side = |c: usize| -> Vec<f64> {
                let of = points.rows().into_iter().zip(&clusters.labels).filter(|(_, l)| **l == c);
                of.map(|(p, _)| along(p)).collect()
            };
            if !valley(&side(a), &side(b)) {
                return false;
            }
        }
    }
    true
}

fn valley(a: &[f64], b: &[f64]) -> bool {
    let sd = |v: &[f64]| crate::analysis::stats::variance(v).map_or(0.0, f64::sqrt);
    let n = (a.len() + b.len()) as f64;
    // Silverman's rule, with the spread within clusters.
    let width = (1.06 * sd(a).max(sd(b)) * n.powf(-0.2)).max(1e-3);
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let density = |x: f64| all.iter().map(|v| (-(x - v).powi(2) / (2.0 * width * width)).exp()).sum::<f64>();
    let grid: Vec<f64> = (-10..=50).map(|i| density(f64::from(i) / 40.0)).collect();
    let between = (10..=50).min_by(|&i, &j| grid[i].total_cmp(&grid[j])).unwrap_or(30);
    let peak = |part: &[f64]| part.iter().fold(0.0_f64, |m, v| m.max(*v));
    grid[between] < 0.75 * peak(&grid[..between.max(1)]).min(peak(&grid[(between + 1).min(60)..]))
}

/// Agreement of two labellings of the same points beyond chance: the adjusted Rand index (Hubert and Arabie 1985), 1 for
/// the same partition. Two labellings with a single label each agree.
pub fn agreement(a: &[usize], b: &[usize]) -> f64 {
    let size = |l: &[usize]| l.iter().max().map_or(0, |m| m + 1);
    let (ka, kb) = (size(a), size(b));
    let mut table = Array2::<f64>::zeros((ka, kb));
    a.iter().zip(b).for_each(|(&i, &j)| table[[i, j]] += 1.0);
    let pairs = |n: f64| n * (n - 1.0) / 2.0;
    let index: f64 = table.iter().map(|n| pairs(*n)).sum();
    let rows: f64 = table.sum_axis(Axis(1)).iter().map(|n| pairs(*n)).sum();
    let columns: f64 = table.sum_axis(Axis(0)).iter().map(|n| pairs(*n)).sum();
    let all = pairs(a.len().min(b.len()) as f64);
    let expected = if all > 0.0 { rows * columns / all } else { 0.0 };
    let most = (rows + columns) / 2.0;
    if most - expected <= 1e-12 * most.abs() { 1.0 } else { (index - expected) / (most - expected) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(n: usize, d: usize, seed: u64) -> Array2<f64> {
        let mut rng = stream(seed, "cloud");
        Array2::from_shape_fn((n, d), |_| normal(&mut rng))
    }

    #[test]
    fn one_cloud_is_one_cluster_and_two_are_two() {
        for seed in 0..8 {
            // Stretched: k-means cuts it in two, and so it does a Gaussian cloud of that shape.
            let mut points = cloud(120, 4, seed);
            points.column_mut(0).mapv_inplace(|v| 5.0 * v);
            let one = choose(points.view(), 5, seed);
            assert_eq!(one.clusters.centres.nrows(), 1, "{}: {:?}", one.reason, one.silhouette);
        }
        let mut points = cloud(120, 4, 20);
        (0..36).for_each(|i| points[[i, 1]] += 8.0);
        let two = choose(points.view(), 5, 1);
        assert_eq!(two.clusters.centres.nrows(), 2, "{}", two.reason);
        // The larger first: the 84 that were not moved.
        let planted: Vec<usize> = (0..120).map(|i| usize::from(i < 36)).collect();
        assert_eq!(two.clusters.labels, planted);
        assert!((two.clusters.centres[[1, 1]] - 8.0).abs() < 0.6);
    }

    #[test]
    fn points_that_are_the_same_are_one_cluster() {
        assert_eq!(choose(Array2::ones((20, 3)).view(), 4, 1).clusters.centres.nrows(), 1);
        assert_eq!(choose(Array2::ones((3, 3)).view(), 4, 1).clusters.centres.nrows(), 1);
        assert!(kmeans(Array2::zeros((0, 2)).view(), 2, &mut stream(1, "x")).is_none());
    }

    #[test]
    fn agreement_is_beyond_chance() {
        assert_eq!(agreement(&[0, 0, 1, 1], &[1, 1, 0, 0]), 1.0);
        assert_eq!(agreement(&[0, 0, 0], &[0, 0, 0]), 1.0);
        // Table [[1, 1], [1, 1]]: index 0, expected 2 * 2 / 6, most 2.
        assert!((agreement(&[0, 0, 1, 1], &[0, 1, 0, 1]) + (2.0 / 3.0) / (2.0 - 2.0 / 3.0)).abs() < 1e-12);
    }
}
