//! Pickled `SteeringVector` objects of the library steering-vectors, by `pickle.dump` or by `torch.save`.

use super::file::File;
use super::format::Format;
use super::pickle::{Plain, View, archive, plain};
use super::rows::{layer, raw};
use super::{About, Vector};
use crate::axes::{Point, Site};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// Layer types of the library, and where their outputs are.
const TYPES: [(&str, Point); 3] =
    [("decoder_block", Point::ResidPost), ("self_attn", Point::AttnOut), ("mlp", Point::MlpOut)];

pub(super) fn read(root: View<'_, '_>) -> Result<File> {
    let fields = root.steering_vector().unwrap_or(root);
    let all = fields.get("layer_activations").ok_or_else(|| root.not("a SteeringVector"))?;
    let kind = match fields.get("layer_type") {
        Some(kind) => kind.text().ok_or_else(|| kind.not("a layer type"))?,
        None => "decoder_block",
    };
    let Some((_, point)) = TYPES.iter().find(|(name, _)| *name == kind) else {
        let what = format!("vectors of the layer type `{kind}`, whose output is no site here");
        return Err(Error::refused(what, "vectors of decoder_block, self_attn and mlp can be read"));
    };
    let about = About { convention: Some(Format::SteeringVectors.facts().convention.into()), ..About::default() };
    let (mut vectors, mut seen) = (Vec::new(), BTreeSet::new());
    for (at, tensor) in all.entries().ok_or_else(|| all.not("a dict of tensors by layer"))? {
        let n = at.whole().ok_or_else(|| at.not("the number of a layer"))?;
        if n < 0 {
            let what = format!("layer {n}, which counts from the end of a model that is not in the file");
            return Err(Error::refused(what, "write the vector again with layers counted from 0"));
        }
        // Some methods keep dimensions of one in front.
        let flat = |s: &[usize]| s.split_last().is_some_and(|(width, rest)| *width > 0 && rest.iter().all(|d| *d == 1));
        if !tensor.shape().is_some_and(flat) {
            return Err(tensor.not("a tensor [d_model]"));
        }
        let site = Site::new(*point, layer(n, "a SteeringVector")?);
        if !seen.insert(n) {
            return Err(all.not(&format!("a dict with one vector for layer {n}")));
        }
        let about = About { dtype: tensor.dtype().map(|d| d.name().into()), ..about.clone() };
        vectors.push(Vector::new(site, "", &tensor.values()?, about)?);
    }
    Ok(File::new(Format::SteeringVectors, vectors))
}

/// The layer type of a point; none where the library has no such output.
pub(super) fn layer_type(point: Point) -> Option<&'static str> {
    TYPES.iter().find(|(_, p)| *p == point).map(|(name, _)| *name)
}

/// A pickle for `pickle.load`, or an archive for `torch.load`, where the library is installed; all vectors at one point.
pub(super) fn write(vectors: &[&Vector], point: Point, of_torch: bool) -> Result<Vec<u8>> {
    let tensor = |v: &&Vector| {
        let at = v.site.layer().unwrap_or_default() as i64;
        (Plain::Int(at), Plain::Tensor(vec![v.unit.len()], raw(v)))
    };
    let fields = vec![
        (Plain::Text("layer_activations".into()), Plain::Dict(vectors.iter().map(tensor).collect())),
        (Plain::Text("layer_type".into()), Plain::Text(layer_type(point).unwrap_or_default().into())),
    ];
    let object = Plain::Object("steering_vectors.steering_vector", "SteeringVector", fields);
    if of_torch { archive(&object) } else { Ok(plain(&object)) }
}
