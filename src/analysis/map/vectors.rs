//! What a map is made of: a vector for each role, those of the default persona, and directions of traits.

use crate::acts::{Activations, RowKey};
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// More roles than this are not mapped.
pub const MOST_ROLES: usize = 10_000;
/// Of more roles than this no pairs are compared: no neighbours, no interval of the participation ratio.
pub const MOST_PAIRED: usize = 2000;

/// What a row of the input stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Role,
    /// The default persona, which has no part in the components.
    Default,
    /// A direction, such as the difference of two means; it is never centred and only compared.
    Trait,
}

/// The label of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub kind: Kind,
}

/// Role vectors at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleVectors {
    pub site: String,
    /// In ascending order.
    pub roles: Vec<String>,
    /// `[role, d_model]`: the mean of each role's rows.
    pub vectors: Array2<f64>,
    /// Rows behind each.
    pub rows: Vec<usize>,
    /// `[row, d_model]`: the rows of the default, in an order that their values decide; none where there is no default.
    pub default: Array2<f64>,
    /// What the default is called.
    pub default_name: String,
    /// In ascending order, with their directions `[trait, d_model]`.
    pub traits: Vec<String>,
    pub directions: Array2<f64>,
}

impl RoleVectors {
    /// The groups of activations as roles; `default` names the one that stands apart.
    ///
    /// # Errors
    /// As [`RoleVectors::of`]; no such group.
    pub fn of_groups(acts: &Activations, default: Option<&str>) -> Result<RoleVectors> {
        if let Some(name) = default
            && !acts.keys.iter().any(|k| k.group == name)
        {
            let mut names: Vec<&str> = acts.keys.iter().map(|k| k.group.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let known = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            return Err(Error::refused(
                format!("no rows of the default persona `{name}` among {} personas at {}", names.len(), acts.site),
                format!("personas are {known}, ..."),
            ));
        }
        let kind = |name: &str| if Some(name) == default { Kind::Default } else { Kind::Role };
        let member = |k: &RowKey| Member { name: k.group.clone(), kind: kind(&k.group) };
        let members: Vec<Member> = acts.keys.iter().map(member).collect();
        RoleVectors::of(&acts.site.to_string(), acts.rows.view(), &members)
    }

    /// Collects rows by role. The order of the rows changes nothing, not even the last bit.
    ///
    /// # Errors
    /// Labels that are not as many as rows, values that are not finite, fewer than three roles or more than
    /// [`MOST_ROLES`], a name that is both a role and something else.
    pub fn of(site: &str, rows: ArrayView2<f32>, members: &[Member]) -> Result<RoleVectors> {
        let d = rows.ncols();
        if rows.nrows() != members.len() {
            let (found, expected) = (vec![rows.nrows(), d], vec![members.len(), d]);
            return Err(Error::Shape { place: site.into(), name: "role vectors".into(), found, expected });
        }
        let count = rows.iter().filter(|v| !v.is_finite()).count();
        if count > 0 {
            return Err(Error::NotFinite { place: format!("role vectors at {site}"), count });
        }
        let mut lists: BTreeMap<(Kind, &str), Vec<usize>> = BTreeMap::new();
        for (r, m) in members.iter().enumerate() {
            lists.entry((m.kind, m.name.as_str())).or_default().push(r);
        }
        for list in lists.values_mut() {
            in_order(rows, list);
        }
        let of = |kind: Kind| lists.iter().filter(move |((k, _), _)| *k == kind).map(|((_, name), list)| (*name, list));
        let roles: Vec<String> = of(Kind::Role).map(|(name, _)| name.to_string()).collect();
        enough(&roles, site)?;
        for kind in [Kind::Default, Kind::Trait] {
            if let Some((twice, _)) = of(kind).find(|(name, _)| roles.iter().any(|r| r == name)) {
                let other = if kind == Kind::Default { "the default" } else { "a trait" };
                return Err(Error::refused(
                    format!("`{twice}` is both a role and {other}"),
                    "give every row of a name the same label",
                ));
            }
        }
        let means = |kind: Kind| {
            let lists: Vec<&Vec<usize>> = of(kind).map(|(_, list)| list).collect();
            let mut means = Array2::zeros((lists.len(), d));
            for (mut mean, list) in means.axis_iter_mut(Axis(0)).zip(lists) {
                mean.assign(&mean_of(rows, list));
            }
            means
        };
        let mut default: Vec<usize> = of(Kind::Default).flat_map(|(_, list)| list.iter().copied()).collect();
        in_order(rows, &mut default);
        Ok(RoleVectors {
            site: site.into(),
            vectors: means(Kind::Role),
            rows: of(Kind::Role).map(|(_, list)| list.len()).collect(),
            default: rows.select(Axis(0), &default).mapv(f64::from),
            default_name: of(Kind::Default).next().map_or_else(String::new, |(name, _)| name.into()),
            traits: of(Kind::Trait).map(|(name, _)| name.to_string()).collect(),
            directions: means(Kind::Trait),
            roles,
        })
    }

    /// Whether all roles are the same, up to rounding.
    pub fn is_flat(&self) -> bool {
        let size = self.vectors.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let first = self.vectors.row(0);
        self.vectors.rows().into_iter().all(|r| r.iter().zip(&first).all(|(a, b)| (a - b).abs() <= 1e-12 * size))
    }

    /// The mean of the default's rows; `None` without any.
    pub fn default_mean(&self) -> Option<Array1<f64>> {
        self.default.mean_axis(Axis(0))
    }
}

fn enough(roles: &[String], site: &str) -> Result<()> {
    let what = format!("{} roles at {site}", roles.len());
    match roles.len() {
        0..3 => Err(Error::refused(
            format!("{what} are too few for a map"),
            "a map needs at least three roles beside the default persona",
        )),
        n if n > MOST_ROLES => Err(Error::refused(
            format!("{what}, and {MOST_ROLES} are the most"),
            "map means over roles, not single replies: give all rows of a role the same name",
        )),
        _ => Ok(()),
    }
}

/// Sorts rows by their values, so that a sum over them has one order.
fn in_order(rows: ArrayView2<f32>, list: &mut [usize]) {
    let by = |a: &usize, b: &usize| {
        let mut pairs = rows.row(*a).into_iter().zip(rows.row(*b)).map(|(x, y)| x.total_cmp(y));
        pairs.find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    list.sort_by(by);
}

fn mean_of(rows: ArrayView2<f32>, list: &[usize]) -> Array1<f64> {
    let mut sum = Array1::<f64>::zeros(rows.ncols());
    for &r in list {
        sum.zip_mut_with(&rows.row(r), |s, x| *s += f64::from(*x));
    }
    sum / list.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn member(name: &str, kind: Kind) -> Member {
        Member { name: name.into(), kind }
    }

    #[test]
    fn rows_of_a_role_are_averaged_and_their_order_changes_nothing() {
        let rows = array![[1.0f32, 0.0], [3.0, 2.0], [0.0, 5.0], [7.0, 7.0], [9.0, 1.0], [2.0, 2.0]];
        let labels = [("b", 0), ("b", 0), ("a", 0), ("default", 1), ("c", 0), ("default", 1)];
        let members: Vec<Member> =
            labels.iter().map(|(n, d)| member(n, if *d == 1 { Kind::Default } else { Kind::Role })).collect();
        let v = RoleVectors::of("resid_post.1", rows.view(), &members).unwrap();
        assert_eq!((v.roles.as_slice(), v.rows.as_slice()), (&["a", "b", "c"].map(String::from)[..], &[1, 2, 1][..]));
        assert_eq!(v.vectors, array![[0.0, 5.0], [2.0, 1.0], [9.0, 1.0]]);
        assert_eq!((v.default_mean().unwrap(), v.default_name.as_str()), (array![4.5, 4.5], "default"));
        let back: Vec<usize> = (0..6).rev().collect();
        let turned: Vec<Member> = back.iter().map(|&i| members[i].clone()).collect();
        assert_eq!(RoleVectors::of("resid_post.1", rows.select(Axis(0), &back).view(), &turned).unwrap(), v);
    }

    #[test]
    fn what_cannot_be_mapped_is_refused_by_name() {
        let rows = Array2::<f32>::zeros((4, 2));
        let of = |names: [&str; 4], kinds: [Kind; 4]| {
            let members: Vec<Member> = names.iter().zip(kinds).map(|(n, k)| member(n, k)).collect();
            RoleVectors::of("s", rows.view(), &members).unwrap_err().to_string()
        };
        let r = Kind::Role;
        assert!(of(["a", "b", "d", "d"], [r, r, Kind::Default, Kind::Default]).contains("2 roles at s are too few"));
        assert!(of(["a", "b", "c", "a"], [r, r, r, Kind::Trait]).contains("`a` is both a role and a trait"));
        let bad = array![[1.0f32], [f32::NAN]];
        assert!(RoleVectors::of("s", bad.view(), &[member("a", r), member("b", r)]).is_err());
        assert!(RoleVectors::of("s", bad.view(), &[]).unwrap_err().to_string().contains("[2, 1]"));
    }
}
