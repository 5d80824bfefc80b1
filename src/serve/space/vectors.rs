//! Directions of persona space, as vectors to read along and to push with.

use super::place::{AXIS_NAME, Layer, Line};
use super::{Found, Space};
use crate::axes::Pick;
use crate::error::Result;
use crate::serve::Problem;
use crate::vectors::{About, Vector};

impl Space {
    /// The assistant axis and the leading components at every site.
    pub(super) fn vectors(&self, found: &Found) -> Vec<Vector> {
        let of = |layer: &Layer| {
            let lines = layer.axes.iter().filter_map(|line| {
                let raw = &line.unit * line.length;
                let name = if line.name == AXIS_NAME { "assistant axis" } else { &line.name };
                let (positive, negative, origin) = self.words(layer, line);
                let about = About { positive, negative, origin, ..self.about(found, None) };
                Vector::new(layer.site, name, &raw.to_vec(), about).ok()
            });
            lines.collect::<Vec<Vector>>()
        };
        found.layers.iter().flat_map(of).collect()
    }

    /// The displacement from a role (or the default assistant) to a role, at every site.
    ///
    /// # Errors
    /// A role that is not there; a space that is not computed.
    pub fn difference(&self, role: &str, against: Option<&str>) -> Result<Vec<Vector>, Problem> {
        let found =
            self.ready()?.map_err(|_| Problem::refused("persona space is not computed yet", "wait a moment"))?;
        let against = against.unwrap_or(&self.cast.default.name);
        let (a, b) = (self.member(role)?, self.member(against)?);
        if a == b {
            return Err(Problem::refused(format!("`{role}` against itself has no direction"), "choose two roles"));
        }
        let (n, m) = (found.base.rows[a], found.base.rows[b]);
        let origin = format!("mean over {n} replies as {role} - mean over {m} replies as {against}");
        let (positive, negative) = (format!("like {role}"), format!("like {against}"));
        let about = About { positive, negative, origin, ..self.about(&found, Some([n, m])) };
        let one = |layer: &Layer| {
            let raw = &layer.means.row(a) - &layer.means.row(b);
            Vector::new(layer.site, "", &raw.to_vec(), about.clone())
        };
        Ok(found.layers.iter().map(one).collect::<Result<Vec<Vector>>>()?)
    }

    fn words(&self, layer: &Layer, line: &Line) -> (String, String, String) {
        let (n, default) = (self.cast.roles.len(), &self.cast.default.name);
        match line.ratio {
            None => {
                let origin = format!("mean({default}) - mean of {n} roles");
                ("like the default assistant".into(), "like a role".into(), origin)
            }
            Some(ratio) => {
                let name = &line.name;
                let origin = format!(
                    "{name} of {n} roles at {}, {:.1} % of their variance; the length is the standard deviation along it",
                    layer.site,
                    100.0 * ratio
                );
                (format!("the default assistant's side of {name}"), format!("the other side of {name}"), origin)
            }
        }
    }

    fn about(&self, found: &Found, counts: Option<[usize; 2]>) -> About {
        let n = self.cast.roles.len();
        About {
            pick: Some(Pick::MeanResponse),
            model: Some(self.of.name.clone()),
            model_hash: Some(self.of.hash.clone()),
            template_hash: self.of.template_hash.clone(),
            n_layers: Some(self.of.n_layers),
            counts: counts.or(Some([found.base.rows[n], found.base.rows[..n].iter().sum()])),
            ..About::default()
        }
    }
}
