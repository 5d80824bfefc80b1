//! Tensors with a row for each layer.

use super::{About, Vector};
use crate::axes::Site;
use crate::error::{Error, Result};
use crate::vectors::pickle::View;

/// The vectors of a tensor `[layers, d_model]`; `site` gives that of a row, or none for a row that is left out. Rows that are
/// zero hold no vector (a difference of equal means), and come back by number.
///
/// # Errors
/// A tensor of other dimensions or of whole numbers, rows that are not finite.
pub(super) fn rows(
    tensor: View<'_, '_>,
    name: &str,
    about: &About,
    site: impl Fn(usize) -> Option<Site>,
) -> Result<(Vec<Vector>, Vec<usize>)> {
    let Some([count, width]) = tensor.shape() else { return Err(tensor.not("a tensor [layers, d_model]")) };
    if *width == 0 || *count == 0 {
        return Err(tensor.not("a tensor [layers, d_model] with values"));
    }
    let about = About { dtype: tensor.dtype().map(|d| d.name().into()), ..about.clone() };
    let values = tensor.values()?;
    let (mut vectors, mut zero) = (Vec::new(), Vec::new());
    for (k, row) in values.chunks_exact(*width).enumerate() {
        if row.iter().all(|v| *v == 0.0) {
            zero.push(k);
        } else if let Some(site) = site(k) {
            vectors.push(Vector::new(site, name, row, about.clone())?);
        }
    }
    Ok((vectors, zero))
}

/// What to say of rows that are zero; nothing where there are none.
pub(super) fn empty_rows(zero: &[usize], what: &str) -> Option<String> {
    let list: Vec<String> = zero.iter().take(12).map(usize::to_string).collect();
    let more = if zero.len() > 12 { format!(", ... ({} in all)", zero.len()) } else { String::new() };
    (!zero.is_empty()).then(|| format!("{what} {}{more} are zero and hold no vector: left out", list.join(", ")))
}

/// A tensor `[count, d_model]` of f32 in which every row not given is zero.
///
/// # Errors
/// Vectors of different widths, two for one row.
pub(super) fn stack(vectors: &[&Vector], count: usize, row: impl Fn(Site) -> Option<usize>) -> Result<Vec<f32>> {
    let width = vectors.first().map_or(0, |v| v.unit.len());
    let mut out = vec![0.0; count * width];
    let mut taken = vec![false; count];
    for v in vectors {
        let Some(k) = row(v.site).filter(|k| *k < count && v.unit.len() == width) else {
            let what = format!("`{}` with {} values has no row among {count} of {width}", v.key(), v.unit.len());
            return Err(Error::refused(what, "all vectors of such a file belong to one model"));
        };
        if std::mem::replace(&mut taken[k], true) {
            let what = format!("two vectors at {}", v.site);
            return Err(Error::refused(what, "the format holds one per site: choose with --name"));
        }
        raw(v).into_iter().enumerate().for_each(|(i, x)| out[k * width + i] = x);
    }
    Ok(out)
}

/// A vector as long as it was, in f32.
pub(super) fn raw(v: &Vector) -> Vec<f32> {
    v.raw().into_iter().map(|x| x as f32).collect()
}

/// A layer number as another program writes it.
pub(super) fn layer(n: i64, what: &str) -> Result<usize> {
    // Beyond any model, and far from where a sum of layers could overflow.
    usize::try_from(n).ok().filter(|n| *n < 1 << 20).ok_or_else(|| {
        Error::refused(format!("layer {n} of {what}"), "layers count from 0; write the file again with such numbers")
    })
}
