use super::alignment::{align, alignment_table, role_alignment_table};
use super::density::density_table;
use super::neighbours::{neighbour_table, neighbours};
use super::*;
use crate::analysis::nulls::normal;
use crate::rng::stream;
use crate::table::Table;
use ndarray::{Array1, Array2, Axis, array};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

const QUICK: MapOptions = MapOptions {
    scaling: Scaling { zscore: false, l2: false },
    components: 4,
    null_draws: 20,
    bootstrap: 200,
    permutations: 100,
    halves: 30,
    seed: 1,
};

/// Roles r00.. with unit noise in each of `d` dimensions and 3 more along e0 for every third; `defaults` rows of the
/// default at 6 along e0.
fn world(roles: usize, d: usize, defaults: usize, seed: u64) -> (Array2<f32>, Vec<Member>) {
    let mut rng = stream(seed, "map world");
    let mut rows = Array2::from_shape_fn((roles + defaults, d), |_| normal(&mut rng) as f32);
    let mut members = Vec::new();
    for r in 0..roles + defaults {
        let kind = if r < roles { Kind::Role } else { Kind::Default };
        if kind == Kind::Role {
            rows[[r, 0]] += if r % 3 == 0 { 6.0 } else { 0.0 };
            members.push(Member { name: format!("r{r:02}"), kind });
        } else {
            rows.row_mut(r).mapv_inplace(|v| 0.3 * v);
            rows[[r, 0]] += 8.0;
            members.push(Member { name: "default".into(), kind });
        }
    }
    (rows, members)
}

fn shaped(rows: &Array2<f32>, members: &[Member], options: &MapOptions) -> Shape {
    shape(&RoleVectors::of("resid_post.2", rows.view(), members).unwrap(), options).unwrap()
}

#[test]
fn the_published_formulas_hold_on_a_small_array_by_hand() {
    // Roles (0,0), (4,0), (2,3) with mean (2,1); default rows (6,1) and (8,3) with mean (7,2).
    let rows = array![[0.0f32, 0.0], [4.0, 0.0], [2.0, 3.0], [6.0, 1.0], [8.0, 3.0]];
    let names = [("a", Kind::Role), ("b", Kind::Role), ("c", Kind::Role), ("assistant", Kind::Default)];
    let mut members: Vec<Member> = names.iter().map(|(n, k)| Member { name: (*n).into(), kind: *k }).collect();
    members.push(members[3].clone());
    let s = shaped(&rows, &members, &QUICK);
    let d = s.default.as_ref().unwrap();
    // axis = mean(default) - mean(roles) = (5, 1), as it is; projections <h, a/(|a| + 1e-8)> of vectors as they are.
    assert_eq!(d.axis, array![5.0, 1.0]);
    let norm = 26f64.sqrt() + 1e-8;
    for (p, dot) in d.projections.iter().zip([0.0, 20.0, 13.0]) {
        assert!((p - dot / norm).abs() < 1e-12);
    }
    assert!((d.projection - 37.0 / norm).abs() < 1e-12);
    let place = d.place.unwrap();
    assert_eq!(place.rank_percentile, 1.0);
    // (20 - 37) / (20 - 0), beyond the upper end.
    assert!((place.range_distance + 17.0 / 20.0).abs() < 1e-12);
    // Centred roles (-2,-1), (2,-1), (0,2): scatter diag(8, 6), so the shares are 8/14 and 6/14, PC1 = e0, PC2 = e1; signs
    // are those of the default's coordinates 5 and 1.
    assert!((s.pca.explained_variance_ratio[0] - 8.0 / 14.0).abs() < 1e-12);
    assert!((s.pca.explained_variance[1] - 3.0).abs() < 1e-12);
    let t = variance_table(&[&s]);
    assert!((t.num(0, "cumulative").unwrap() - 8.0 / 14.0).abs() < 1e-12 && t.num(1, "cumulative").unwrap() == 1.0);
    let pc1 = s.line("PC1").unwrap();
    assert!((pc1.cosine.unwrap() - 5.0 / 26f64.sqrt()).abs() < 1e-12);
    assert!((pc1.default_score.unwrap() - 5.0).abs() < 1e-12);
    assert!(pc1.role_scores.iter().zip([-2.0, 2.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-12));
    // (8 + 6)^2 / (64 + 36).
    assert!((s.dimension.participation_ratio - 1.96).abs() < 1e-12);
    let axis = axis_table(&[&s]);
    assert_eq!(
        (axis.text(0, "role"), axis.text(0, "is_default"), axis.text(0, "rows")),
        ("assistant".into(), "1".into(), "2".into())
    );
    assert_eq!(axis.num(2, "rank_percentile"), Some(1.0));
}

#[test]
fn unit_lengths_and_z_scores_are_those_of_the_definitions() {
    let rows = array![[0.0f32, 0.0, 5.0], [4.0, 0.0, 5.0], [2.0, 3.0, 5.0], [7.0, 2.0, 9.0]];
    let members: Vec<Member> = [("a", Kind::Role), ("b", Kind::Role), ("c", Kind::Role), ("d", Kind::Default)]
        .map(|(n, kind)| Member { name: n.into(), kind })
        .to_vec();
    let l2 = MapOptions { scaling: Scaling { zscore: false, l2: true }, ..QUICK };
    let s = shaped(&rows, &members, &l2);
    // (-2,-1,0)/sqrt 5, (2,-1,0)/sqrt 5, (0,1,0).
    let want = [[-2.0, -1.0], [2.0, -1.0], [0.0, 5f64.sqrt()]].map(|r| r.map(|v: f64| v / 5f64.sqrt()));
    for (row, want) in s.points.rows().into_iter().zip(want) {
        assert!((row[0] - want[0]).abs() < 1e-12 && (row[1] - want[1]).abs() < 1e-12 && row[2] == 0.0);
    }
    // The axis and the projections stay those of the vectors as they are.
    let plain = shaped(&rows, &members, &QUICK);
    assert_eq!(s.default.as_ref().unwrap().projections, plain.default.as_ref().unwrap().projections);
    let z = shaped(&rows, &members, &MapOptions { scaling: Scaling { zscore: true, l2: false }, ..QUICK });
    // Deviations sqrt(8/3) and sqrt(6/3); the third dimension is constant over the roles and has no part.
    let (sx, sy) = ((8f64 / 3.0).sqrt(), 2f64.sqrt());
    let d = z.default.as_ref().unwrap();
    let scaled = [5.0 / sx, 1.0 / sy, 0.0];
    assert!(d.scaled_axis.iter().zip(scaled).all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(d.axis, array![5.0, 1.0, 4.0]);
    let length = (scaled[0] * scaled[0] + scaled[1] * scaled[1]).sqrt();
    assert!((d.projection - length).abs() < 1e-6, "the z-score of the default is the axis itself");
    assert!((z.pca.explained_variance_ratio[0] - 0.5).abs() < 1e-9);
}

#[test]
fn one_massive_dimension_rules_the_map_unless_it_is_z_scored() {
    let (mut rows, members) = world(40, 12, 4, 3);
    let mut rng = stream(9, "massive");
    rows.column_mut(7).iter_mut().for_each(|v| *v = 5000.0 + 300.0 * normal(&mut rng) as f32);
    let plain = shaped(&rows, &members, &QUICK);
    assert!(plain.line("PC1").unwrap().cosine.unwrap().abs() > 0.99 || plain.pca.components[[0, 7]].abs() > 0.99);
    let z = shaped(&rows, &members, &MapOptions { scaling: Scaling { zscore: true, l2: false }, ..QUICK });
    let place = z.default.as_ref().unwrap().place.unwrap();
    assert!(place.rank_percentile > 0.6 && z.pca.components[[0, 7]].abs() < 0.9, "{place:?}");
}

#[test]
fn a_planted_assistant_factor_is_the_first_component_and_the_default_sits_at_its_end() {
    let (rows, members) = world(60, 12, 6, 4);
    let s = shaped(&rows, &members, &QUICK);
    let pc1 = s.line("PC1").unwrap();
    let i = pc1.cosine_interval.unwrap();
    assert!(pc1.cosine.unwrap() > 0.9 && i.lo > 0.8 && i.lo < pc1.cosine.unwrap() && pc1.cosine.unwrap() < i.hi + 0.01);
    let (a, b) = (pc1.place.unwrap(), s.default.as_ref().unwrap().place.unwrap());
    assert!(a.rank_percentile > 0.9 && b.rank_percentile > 0.9 && a.range_distance < 0.15);
    assert!(s.default.as_ref().unwrap().halves.unwrap().cosine_lo > 0.8);
    // A factor along a single coordinate keeps its variance when coordinates are shuffled.
    assert_eq!(s.dimension.above_null, 0);
    let positive: BTreeMap<String, f64> =
        (0..60).map(|r| (format!("r{r:02}"), f64::from(u8::from(r % 3 == 0)))).collect();
    let c = correlate(&s, &[Covariate { name: "planted".into(), values: positive }], &QUICK);
    assert!(c[1].pearson.unwrap() > 0.85 && c[1].p.unwrap() < 0.02 && c[2].p.unwrap() > 0.02, "{c:?}");
    let none = Covariate { name: "none".into(), values: BTreeMap::new() };
    let t = correlation_table(&[(&s, &correlate(&s, &[none], &QUICK))]);
    assert!(t.rows.len() == 5 && t.text(0, "reason").contains("does not vary"));
}

#[test]
fn without_a_default_the_axis_is_empty_with_a_reason_and_the_rest_is_there() {
    let (rows, members) = world(20, 6, 0, 5);
    let s = shaped(&rows, &members, &QUICK);
    assert!(s.default.is_none() && s.lines.len() == 4 && s.lines[0].name == "PC1");
    let t = axis_table(&[&s]);
    assert!(t.rows.len() == 1 && t.text(0, "reason").contains("no row is the default"));
    assert!(place_table(&[&s]).text(0, "cosine_with_axis").is_empty());
    assert_eq!(variance_table(&[&s]).rows.len(), 6);
    assert_eq!(loading_table(&[&s]).rows.len(), 4 * 20);
    assert_eq!(density_table(&[&s]).rows.len(), density::GRID * density::GRID);
}

#[test]
fn roles_that_are_alike_and_points_on_a_line_do_not_end_in_a_panic() {
    let alike = Array2::<f32>::ones((5, 3));
    let (_, members) = world(5, 3, 0, 1);
    let e = shape(&RoleVectors::of("logits", alike.view(), &members).unwrap(), &QUICK).unwrap_err();
    assert!(e.to_string().contains("5 roles do not differ at logits"), "{e}");
    let line = Array2::from_shape_fn((5, 3), |(i, _)| i as f32);
    let s = shape(&RoleVectors::of("logits", line.view(), &members).unwrap(), &QUICK).unwrap();
    assert!(s.plane().is_none() && s.dimension.elbow.is_none() && s.dimension.for_share == [1; 4]);
    assert!(density_table(&[&s]).rows.is_empty());
    // The default is the mean of the roles: no axis, and no number that is not finite.
    let mut with = world(5, 3, 1, 1);
    let mean = with.0.slice(ndarray::s![..5, ..]).mean_axis(Axis(0)).unwrap();
    with.0.row_mut(5).assign(&mean);
    let s = shaped(&with.0, &with.1, &QUICK);
    let finite = |t: Table| t.rows.iter().flatten().all(|c| !c.show().contains("NaN"));
    assert!(finite(axis_table(&[&s])) && finite(place_table(&[&s])));
}

#[test]
fn neighbours_are_by_centred_cosine_and_traits_are_directions() {
    // Centred: a (1,0), b (1,0.2), c (-2,-0.2) around the mean (10, 5).
    let rows = array![[11.0f32, 5.0], [11.0, 5.2], [8.0, 4.8], [0.0, 3.0]];
    let members: Vec<Member> = [("a", Kind::Role), ("b", Kind::Role), ("c", Kind::Role), ("upright", Kind::Trait)]
        .map(|(n, kind)| Member { name: n.into(), kind })
        .to_vec();
    let s = shaped(&rows, &members, &QUICK);
    let n = neighbours(&s, 1);
    // cos(c, a) = -2 / 2.00998 = -0.99504 and cos(c, b) = -2.04 / (2.00998 * 1.01980) = -0.99524.
    assert_eq!((n[0].nearest[0].1.as_str(), n[2].nearest[0].1.as_str()), ("b", "a"));
    // cos((1, 0.2), (0, 1)) = 0.2 / sqrt(1.04).
    let trait_of_b = &n[1].nearest[1];
    assert!(trait_of_b.1 == "upright" && (trait_of_b.2 - 0.2 / 1.04f64.sqrt()).abs() < 1e-6);
    let t = neighbour_table(&[("s", &n)]);
    assert_eq!(t.rows.len(), 7);
    assert_eq!((t.text(6, "name"), t.text(6, "neighbour")), ("upright".into(), "b".into()));
}

#[test]
fn a_turned_and_scaled_copy_aligns_and_other_roles_do_not() {
    let (rows, members) = world(30, 8, 3, 6);
    let a = shaped(&rows, &members, &QUICK);
    // Twice the size, two dimensions swapped and one mirrored: distances are in proportion, directions are not the same.
    let mut turned = rows.mapv(|v| 2.0 * v);
    turned.column_mut(1).assign(&rows.column(2).mapv(|v| -2.0 * v));
    turned.column_mut(2).assign(&rows.column(1).mapv(|v| 2.0 * v));
    let b = shaped(&turned, &members, &QUICK);
    let of = |found: &super::alignment::Alignment, name: &str| {
        found.quantities.iter().find(|q| q.name == name).cloned().unwrap()
    };
    let found = align(&a, &b, &QUICK).unwrap();
    let like = of(&found, "procrustes_similarity");
    assert!((like.value.unwrap() - 1.0).abs() < 1e-9 && like.p.unwrap() < 0.011 && like.null_hi.unwrap() < 0.95);
    assert!(of(&found, "procrustes_disparity").value.unwrap().abs() < 1e-9);
    assert!((of(&found, "distance_correlation").value.unwrap() - 1.0).abs() < 1e-9);
    assert!(of(&found, "centred_cosine").value.unwrap() < 0.9);
    let same = align(&a, &a, &QUICK).unwrap();
    assert!((of(&same, "centred_cosine").value.unwrap() - 1.0).abs() < 1e-9);
    assert!((of(&same, "axis_cosine").value.unwrap() - 1.0).abs() < 1e-9);
    assert!(of(&same, "principal_angle_degrees").value.unwrap() < 1e-5);
    assert_eq!(role_alignment_table(&[same]).rows.len(), 30);
    // Another width and other roles altogether: what needs a common space is left out, and nothing stands above chance.
    let (other, others) = world(30, 11, 3, 77);
    let mut shuffled = others.clone();
    // Names go to other vectors, so that nothing is shared.
    shuffled[..30].shuffle(&mut stream(1, "names"));
    let far = align(&a, &shaped(&other, &shuffled, &QUICK), &QUICK).unwrap();
    assert!(far.quantities.iter().all(|q| q.name != "centred_cosine") && far.roles.is_empty());
    assert!(of(&far, "procrustes_similarity").p.unwrap() > 0.02, "{:?}", of(&far, "procrustes_similarity"));
    assert!(alignment_table(&[far]).rows.len() >= 7);
}

#[test]
fn the_order_of_rows_and_a_common_offset_change_nothing() {
    let (rows, members) = world(12, 5, 2, 8);
    let back: Vec<usize> = (0..14).rev().collect();
    let turned: Vec<Member> = back.iter().map(|&i| members[i].clone()).collect();
    let a = shaped(&rows, &members, &QUICK);
    let b = shaped(&rows.select(Axis(0), &back), &turned, &QUICK);
    let csv = |s: &Shape| {
        [variance_table(&[s]), axis_table(&[s]), place_table(&[s]), dimension_table(&[s])].map(|t| t.to_csv())
    };
    assert_eq!(csv(&a), csv(&b));
    let moved = &rows + &Array1::from_elem(5, 64.0f32);
    let c = shaped(&moved, &members, &QUICK);
    assert!((a.pca.explained_variance_ratio[0] - c.pca.explained_variance_ratio[0]).abs() < 1e-5);
}
