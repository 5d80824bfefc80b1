//! Tensors of persona_vectors: `[n_layers + 1, d_model]`, a row for each of Hugging Face's hidden states.
//!
//! The last row is made after the final norm, which no site is. Steering with it there adds it before the norm all the same.

use super::file::{File, Source};
use super::format::Format;
use super::pickle::{Plain, View, archive};
use super::rows::{empty_rows, rows, stack};
use super::{About, Vector};
use crate::axes::{Point, Site};
use crate::error::Result;

/// The name of the vector of the last row, where it is asked for.
const POST_NORM: &str = "post_norm";

pub(super) fn read(source: &Source<'_>, root: View<'_, '_>) -> Result<File> {
    let Some([count, _]) = root.shape() else { return Err(root.not("a tensor [n_layers + 1, d_model]")) };
    let last = count.saturating_sub(1);
    if let Some(n) = source.options.n_layers.filter(|n| *n != last) {
        return Err(root.not(&format!("a tensor [{}, d_model], for --n-layers {n},", n + 1)));
    }
    let about = About {
        convention: Some(Format::PersonaVectors.facts().convention.into()),
        origin: "difference of means of persona_vectors".into(),
        ..About::default()
    };
    let keep = source.options.post_norm && last > 0;
    let site = |k: usize| match k {
        0 => Some(Site::new(Point::ResidPre, 0)),
        k if k < last => Some(Site::post(k - 1)),
        _ => keep.then(|| Site::post(last - 1)),
    };
    let (mut vectors, zero) = rows(root, "", &about, site)?;
    let mut warnings = vec![format!(
        "off-by-one: rows are counted as hidden_states, so that row k (layer k of persona_vectors) is resid_post.(k-1), what \
         block k - 1 leaves behind; row {} is resid_post.{}",
        last.saturating_sub(1),
        last.saturating_sub(2)
    )];
    if last < 2 {
        warnings.clear();
    }
    warnings.extend(empty_rows(&zero, "rows"));
    if last > 0 && !zero.contains(&last) {
        let place = format!("row {last} (hidden_states[{last}]) is after the final norm");
        warnings.push(match keep {
            true => format!(
                "{place}: it is kept as resid_post.{}/{POST_NORM}, a place before the norm at which it was not made",
                last - 1
            ),
            false => format!("{place}, where no site is: left out (the post-norm row; --keep-post-norm keeps it)"),
        });
        if let (true, Some(v)) = (keep, vectors.last_mut()) {
            v.name = POST_NORM.into();
            v.about.convention = Some(place);
        }
    }
    Ok(File { warnings, n_layers: Some(last), ..File::new(Format::PersonaVectors, vectors) })
}

/// A row for each hidden state of a model of `n_layers` blocks.
pub(super) fn write(vectors: &[&Vector], n_layers: usize) -> Result<Vec<u8>> {
    let width = vectors.first().map_or(0, |v| v.unit.len());
    let row = |site: Site| match site {
        Site::Block { layer, point: Point::ResidPre } if layer.0 == 0 => Some(0),
        Site::Block { layer, point: Point::ResidPost } => Some(layer.0 + 1),
        _ => None,
    };
    let values = stack(vectors, n_layers + 1, row)?;
    archive(&Plain::Tensor(vec![n_layers + 1, width], values))
}

/// Whether a vector is that of the last row.
pub(super) fn is_post_norm(v: &Vector, n_layers: Option<usize>) -> bool {
    v.name == POST_NORM && n_layers.is_some_and(|n| v.site == Site::post(n.wrapping_sub(1)))
}
