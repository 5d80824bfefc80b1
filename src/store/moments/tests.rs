//! Moments written to a folder and read back.

use super::*;
use crate::axes::Site;
use crate::moments::Along;
use safetensors::{Dtype, SafeTensors};
use std::sync::Arc;

fn moments(scatter: Scatter, directions: Vec<Along>) -> Running {
    let mut moments = Running::new(Arc::new(Shape::new(vec![2, 3], scatter, directions).unwrap()));
    moments.push(0, 1.0, &[&[0.0, 4.0], &[1.0, 0.0, 0.5]]);
    moments.push(0, 1.0, &[&[2.0, 2.0], &[3.0, 0.0, 0.5]]);
    moments.push(0, 1.0, &[&[1.0, 0.0], &[2.0, 3.0, 0.5]]);
    moments.push(4, 0.5, &[&[1.0, 7.0], &[0.0, 0.0, 0.1]]);
    moments.push(9, 1.0, &[&[5.0, 5.0], &[0.0, 0.0, 0.0]]);
    moments.push(9, 3.0, &[&[7.0, 5.0], &[0.0, 0.0, 0.0]]);
    moments
}

fn sites() -> Vec<Width> {
    vec![Width { site: Site::post(1), width: 2 }, Width { site: Site::Logits, width: 3 }]
}

fn label(role: &str, variant: &'static str, index: u32) -> GroupLabel {
    GroupLabel { values: vec![role.into(), "2".into()], variant, index, min_count: 2 }
}

/// Writes four groups, of which two have rows enough.
fn written(dir: &Path, scatter: Scatter, directions: Vec<Along>) -> Vec<Sum> {
    let names: Vec<String> = (0..directions.len()).map(|i| format!("axis, {i}")).collect();
    let groups = [
        label("a \"b\",\nc", "all", 9),
        label("poet", "filtered", 4),
        label("none", "all", 5),
        label("judge", "all", 0),
    ];
    let columns = ["role".to_string(), "turn".to_string()];
    let what = Description { sites: &sites(), columns: &columns, groups: &groups, directions: &names };
    write(dir, &moments(scatter, directions), &what).unwrap()
}

fn numbers(tensors: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f64>) {
    let t = tensors.tensor(name).unwrap();
    assert_eq!(t.dtype(), Dtype::F64);
    (t.shape().to_vec(), t.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect())
}

#[test]
fn tensors_have_a_row_for_each_group_with_rows_enough() {
    let dir = tempfile::tempdir().unwrap();
    let sums = written(dir.path(), Scatter::Full, vec![]);
    assert_eq!(sums.iter().map(|s| s.file.as_str()).collect::<Vec<_>>(), [MOMENTS, GROUPS]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    for sum in &sums {
        assert_eq!(&Sum::of(dir.path(), &sum.file).unwrap(), sum);
    }
    let bytes = std::fs::read(dir.path().join(MOMENTS)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let count = tensors.tensor("count").unwrap();
    assert_eq!((count.dtype(), count.data()), (Dtype::I64, [2i64.to_le_bytes(), 3i64.to_le_bytes()].as_flattened()));
    assert_eq!(numbers(&tensors, "weight"), (vec![2], vec![4.0, 3.0]));
    assert_eq!(numbers(&tensors, "weight_squared"), (vec![2], vec![10.0, 3.0]));
    // Weights 1 and 3 on 5 and 7: mean 6.5, M2 = 1.5^2 + 3 * 0.5^2 = 3; the other group by hand in `moments::site`.
    assert_eq!(numbers(&tensors, "mean/resid_post.1"), (vec![2, 2], vec![6.5, 5.0, 1.0, 2.0]));
    assert_eq!(numbers(&tensors, "m2/resid_post.1"), (vec![2, 2], vec![3.0, 0.0, 2.0, 8.0]));
    assert_eq!(numbers(&tensors, "mean/logits"), (vec![2, 3], vec![0.0, 0.0, 0.0, 2.0, 1.0, 0.5]));
    let (shape, scatter) = numbers(&tensors, "scatter/resid_post.1");
    assert_eq!(shape, [2, 2, 2]);
    for (got, want) in scatter.iter().zip([3.0, 0.0, 0.0, 0.0, 2.0, -2.0, -2.0, 8.0]) {
        assert!((got - want).abs() < 1e-14, "{scatter:?}");
    }
    let (head_bytes, head) = SafeTensors::read_metadata(&bytes).unwrap();
    assert!(head.metadata().as_ref().unwrap()["variance"].contains("weight_squared"));
    assert_eq!(bytes.len() as u64, 8 + head_bytes as u64 + self::bytes(moments(Scatter::Full, vec![]).shape(), 2));
}

#[test]
fn tables_say_which_row_is_whose_and_why_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let sums =
        written(dir.path(), Scatter::None, vec![Along::new(0, vec![0.0, 1.0]), Along::new(1, vec![1.0, 0.0, 0.0])]);
    assert_eq!(sums.len(), 3);
    let text = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    // Effective rows of the weights 1 and 3: 16 / 10.
    assert_eq!(
        text(GROUPS),
        "group,role,turn,rows,count,weight,n_effective,reason\n\
         0,\"a \"\"b\"\",\nc\",2,all,2,4,1.6,\n\
         ,poet,2,filtered,1,0.5,1,\"1 rows pass, 2 needed\"\n\
         ,none,2,all,0,0,,\"0 rows pass, 2 needed\"\n\
         1,judge,2,all,3,3,3,\n"
    );
    let projections = text(PROJECTIONS);
    let lines: Vec<&str> = projections.lines().collect();
    assert_eq!(
        lines[0],
        "group,role,turn,rows,site,direction,count,mean,sd,min,p1,p5,p10,p25,p50,p75,p90,p95,p99,max,quantile_accuracy"
    );
    // 5 and 5, twice the same; then 4, 2, 0: the median of 2 to within 0.001 of itself, p25 is of rank 0.
    assert!(lines[2].starts_with("c\",2,all,resid_post.1,\"axis, 0\",2,5,0,5,5,5,"), "{}", lines[2]);
    let judge: Vec<&str> = lines[5].split(',').collect();
    assert_eq!(&judge[..5], ["1", "judge", "2", "all", "resid_post.1"]);
    assert_eq!(&judge[7..14], ["3", "2", "2", "0", "0", "0", "0"]);
    let median: f64 = judge[15].parse().unwrap();
    assert!((median - 2.0).abs() <= 0.002 && judge[20..] == ["4", "0.001"], "{judge:?}");
    assert_eq!(lines.len(), 1 + 4 + 2, "two groups, two directions, and a name of two lines");
}

#[test]
fn what_was_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), Scatter::Sketch { rows: 2 }, vec![]);
    let read = Moments::read(dir.path()).unwrap();
    assert_eq!(read.sites, sites());
    assert_eq!(read.columns, ["role", "turn"]);
    let rows: Vec<_> = read.groups.iter().map(|g| (g.values[0].as_str(), g.variant.as_str(), g.count, g.row)).collect();
    assert_eq!(
        rows,
        [
            ("a \"b\",\nc", "all", 2, Some(0)),
            ("poet", "filtered", 1, None),
            ("none", "all", 0, None),
            ("judge", "all", 3, Some(1))
        ]
    );
    assert_eq!(read.groups[1].reason, "1 rows pass, 2 needed");
    assert_eq!(read.mean(Site::post(1)).unwrap(), ndarray::array![[6.5, 5.0], [1.0, 2.0]]);
    assert_eq!(read.m2(Site::post(1)).unwrap(), ndarray::array![[3.0, 0.0], [2.0, 8.0]]);
    // Degrees of the weights 1 and 3: 4 - 10 / 4 = 1.5; of three ones: 2.
    assert_eq!(read.variance(Site::post(1)).unwrap(), ndarray::array![[2.0, 0.0], [1.0, 4.0]]);
    let (sketch, error) = read.sketch(Site::post(1), 1).unwrap().unwrap();
    let scatter = sketch.t().dot(&sketch);
    assert!(error < 1e-14 && (scatter - ndarray::array![[2.0, -2.0], [-2.0, 8.0]]).iter().all(|e| e.abs() < 1e-14));
    assert_eq!(read.scatter(Site::post(1), 1).unwrap(), None);
    assert!(read.mean(Site::post(0)).unwrap_err().hint().contains("resid_post.1"));

    written(dir.path(), Scatter::Full, vec![]);
    let read = Moments::read(dir.path()).unwrap();
    let scatter = read.scatter(Site::post(1), 1).unwrap().unwrap();
    assert!((scatter - ndarray::array![[2.0, -2.0], [-2.0, 8.0]]).iter().all(|e| e.abs() < 1e-14));
    assert_eq!(read.sketch(Site::Logits, 0).unwrap(), None);
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let restore = || written(dir.path(), Scatter::None, vec![]);
    let fails = |file: &str| {
        let said = Moments::read(dir.path()).unwrap_err().to_string();
        assert!(said.contains(file), "{said}");
    };
    for file in [MOMENTS, GROUPS] {
        restore();
        let whole = std::fs::read(dir.path().join(file)).unwrap();
        for cut in [0, 5, whole.len() / 3, whole.len() - 9] {
            std::fs::write(dir.path().join(file), &whole[..cut]).unwrap();
            fails(file);
        }
        std::fs::remove_file(dir.path().join(file)).unwrap();
        fails(file);
    }
    restore();
    let table = std::fs::read_to_string(dir.path().join(GROUPS)).unwrap();
    for (from, to) in
        [("\n1,judge", "\n2,judge"), ("\n1,judge", "\n,judge"), (",all,3,", ",all,x,"), ("3,3,3,", "3,3,3")]
    {
        assert!(table.contains(from));
        std::fs::write(dir.path().join(GROUPS), table.replace(from, to)).unwrap();
        fails(GROUPS);
    }
    restore();
    Moments::read(dir.path()).unwrap();
}

#[test]
fn columns_that_would_stand_twice_are_refused() {
    let check = |names: &[&str], projections| {
        check_columns(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>(), projections)
    };
    check(&["role", "turn"], true).unwrap();
    assert!(check(&["role", "count"], false).unwrap_err().to_string().contains("`count`"));
    assert!(check(&["role", "role"], false).is_err());
    assert!(check(&["site"], false).is_ok() && check(&["site"], true).is_err());
}

#[test]
fn no_group_with_rows_enough_makes_empty_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let groups = [label("poet", "filtered", 4)];
    let columns = ["role".to_string(), "turn".to_string()];
    let what = Description { sites: &sites(), columns: &columns, groups: &groups, directions: &[] };
    write(dir.path(), &moments(Scatter::Full, vec![]), &what).unwrap();
    let read = Moments::read(dir.path()).unwrap();
    assert_eq!((read.groups.len(), read.mean(Site::Logits).unwrap().dim()), (1, (0, 3)));
}
