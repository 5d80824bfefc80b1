//! What `roles.csv` says of the rows.

use crate::analysis::map::{Covariate, Kind, Member};
use crate::cli::analyze::output::columns;
use crate::csv::Columns;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Labels of rows, and what else is known about the roles.
pub struct Labels {
    pub members: Vec<Member>,
    pub covariates: Vec<Covariate>,
    pub warnings: Vec<String>,
}

impl Labels {
    /// Reads the labels of `rows` rows, in the order of the arrays.
    pub fn read(path: &Path, rows: usize) -> Result<Labels> {
        let table = columns(path)?;
        if table.rows() != rows {
            let reason = format!("it has {} lines and the arrays have {rows} rows", table.rows());
            return Err(Error::format(
                path.display().to_string(),
                reason,
                "give every row one line, in the same order",
            ));
        }
        let roles = table.text("role")?;
        let default = if table.has("is_default") { table.flags("is_default")? } else { vec![false; rows] };
        let kinds = kinds(&table, &default)?;
        let mut members = Vec::with_capacity(rows);
        for (row, (role, kind)) in roles.iter().zip(kinds).enumerate() {
            if role.is_empty() {
                return Err(table.bad(row, "role", "the cell is empty", "name the role of every row"));
            }
            members.push(Member { name: role.clone(), kind });
        }
        let mut warnings = Vec::new();
        let covariates = covariates(&table, &members, &mut warnings)?;
        Ok(Labels { members, covariates, warnings })
    }
}

fn kinds(table: &Columns, default: &[bool]) -> Result<Vec<Kind>> {
    let words = table.find("kind");
    let kind = |(row, is_default): (usize, &bool)| match (words.map(|w| w[row].trim()), is_default) {
        (None | Some("" | "role"), false) => Ok(Kind::Role),
        (None | Some("" | "role" | "default"), true) | (Some("default"), false) => Ok(Kind::Default),
        (Some("trait"), false) => Ok(Kind::Trait),
        (Some("trait"), true) => Err(table.bad(row, "kind", "a trait cannot be the default", "give is_default 0")),
        (Some(other), _) => Err(table.bad(row, "kind", &format!("`{other}` is no kind"), "role, default or trait")),
    };
    default.iter().enumerate().map(kind).collect()
}

/// Columns of numbers, averaged over the rows of a role; empty cells are left out, columns of words are passed over.
fn covariates(table: &Columns, members: &[Member], warnings: &mut Vec<String>) -> Result<Vec<Covariate>> {
    let mut found = Vec::new();
    for name in table.names().iter().filter(|n| !["role", "is_default", "kind"].contains(&n.as_str())) {
        let Ok(values) = table.numbers_or_none(name) else {
            warnings.push(format!("column `{name}` of the labels holds words and is not correlated with the map"));
            continue;
        };
        let mut of: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (member, value) in members.iter().zip(values).filter(|(m, _)| m.kind == Kind::Role) {
            if let Some(v) = value {
                let sum = of.entry(member.name.clone()).or_default();
                *sum = (sum.0 + v, sum.1 + 1.0);
            }
        }
        let values = of.into_iter().map(|(role, (sum, n))| (role, sum / n)).collect();
        found.push(Covariate { name: name.clone(), values });
    }
    Ok(found)
}
