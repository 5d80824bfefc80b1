//! What is sent while replies are drawn.

use crate::model::Did;
use serde_json::{Value, json};

/// A named piece of JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: &'static str,
    pub data: Value,
}

impl Event {
    pub fn new(name: &'static str, data: Value) -> Event {
        Event { name, data }
    }
}

/// A receipt of an edit, or why it is none.
pub fn receipt(edit: usize, did: Option<&Did>, tolerance: f64) -> Value {
    let Some(did) = did.filter(|d| d.rows > 0) else {
        return json!({ "edit": edit, "rows": 0, "changed": 0, "before": null, "after": null, "norm_ratio": null, "off": null,
            "fault": "no token was touched" });
    };
    let spread = |s: crate::model::Spread| json!({ "mean": s.mean, "p05": s.p05, "p95": s.p95 });
    // What is no number is off by any measure.
    let missed = did.off.is_nan() || did.off > tolerance;
    let fault = missed.then(|| format!("it missed its goal by {:.1e} lengths of the row", did.off));
    json!({ "edit": edit, "rows": did.rows, "changed": did.changed, "before": spread(did.before), "after": spread(did.after),
        "norm_ratio": did.norm_ratio, "off": did.off, "fault": fault })
}

/// A projection for a page: far finer than the numbers it comes from are exact.
pub fn shown(z: f64) -> f64 {
    (z * 1e8).round() / 1e8
}
