//! Which format a file is of, by what is in it.

use super::format::Format;
use super::pickle::{Pickled, View, is_legacy};
use crate::error::{Error, Result};
use std::path::Path;

/// What kind of container a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Gguf,
    Pickle,
    Npz,
    Npy,
    Json,
    Safetensors,
    Unknown,
}

impl Shape {
    /// The container, by its first bytes; names decide only between archives, and for pickles of the oldest protocols,
    /// which begin with nothing of their own.
    pub(super) fn of_bytes(path: &Path, bytes: &[u8]) -> Shape {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let pickle = ["pt", "pth", "bin", "pkl", "pickle", "p"].contains(&extension);
        let length = bytes.first_chunk().map(|b| u64::from_le_bytes(*b));
        match bytes {
            [b'G', b'G', b'U', b'F', ..] => Shape::Gguf,
            [b'P', b'K', 3, 4, ..] if has(bytes, b"data.pkl") => Shape::Pickle,
            [b'P', b'K', 3, 4, ..] if has(bytes, b".npy") => Shape::Npz,
            [b'P', b'K', 3 | 5, ..] => {
                if pickle {
                    Shape::Pickle
                } else {
                    Shape::Npz
                }
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Shape::Npy,
            [0x80, 0..=5, ..] => Shape::Pickle,
            _ if length.is_some_and(|n| n < bytes.len() as u64) && bytes.get(8) == Some(&b'{') => Shape::Safetensors,
            _ if bytes.trim_ascii_start().first() == Some(&b'{') => Shape::Json,
            _ if pickle || is_legacy(bytes) => Shape::Pickle,
            _ => Shape::Unknown,
        }
    }
}

/// Whether some bytes stand in the last part of a file, where an archive lists its entries.
fn has(bytes: &[u8], name: &[u8]) -> bool {
    let list = &bytes[bytes.len().saturating_sub(1 << 16)..];
    list.windows(name.len()).any(|w| w == name)
}

/// The format of a file; a pickle comes back parsed.
///
/// # Errors
/// No known format; a tensor by itself, whose rows two formats count differently, unless `n_layers` tells.
pub(super) fn recognise<'a>(
    path: &Path,
    bytes: &'a [u8],
    n_layers: Option<usize>,
) -> Result<(Format, Option<Pickled<'a>>)> {
    let place = path.display().to_string();
    let unknown = |reason: &str| {
        let names: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
        Error::format(&place, reason, format!("formats are {}; say which with --from", names.join(", ")))
    };
    match Shape::of_bytes(path, bytes) {
        Shape::Gguf => Ok((Format::LlamacppGguf, None)),
        Shape::Npz => Ok((Format::Npz, None)),
        Shape::Json => Ok((Format::Svec, None)),
        Shape::Safetensors => {
            let ours = safetensors::SafeTensors::read_metadata(bytes)
                .is_ok_and(|(_, head)| head.metadata().as_ref().is_some_and(|m| m.contains_key(super::native::ENTRY)));
            Ok((if ours { Format::Personascope } else { Format::Safetensors }, None))
        }
        Shape::Pickle => {
            let parsed = Pickled::read(&place, bytes)?;
            let format = in_pickle(&place, parsed.root(), n_layers)?;
            Ok((format, Some(parsed)))
        }
        Shape::Npy => Err(Error::format(
            place,
            "an array by itself, which does not say at which site it is",
            "save it with numpy.savez under the name of its site: np.savez(\"v.npz\", **{\"resid_post.14\": v})",
        )),
        Shape::Unknown => Err(unknown("no file of vectors that is known")),
    }
}

fn in_pickle(place: &str, root: View<'_, '_>, n_layers: Option<usize>) -> Result<Format> {
    let fields = root.get("layer_activations").is_some();
    if root.steering_vector().is_some() || fields {
        return Ok(Format::SteeringVectors);
    }
    if let Some([rows, _]) = root.shape() {
        return match n_layers {
            Some(n) if *rows == n + 1 => Ok(Format::PersonaVectors),
            Some(n) if *rows == n => Ok(Format::AssistantAxis),
            _ => Err(Error::format(
                place,
                format!(
                    "a tensor [{rows}, d_model] by itself: of persona_vectors, row k is hidden_states[k] of a model with {} \
                     blocks; of assistant-axis, row k is what block k leaves behind in a model with {rows}",
                    rows.saturating_sub(1)
                ),
                "nothing in the file tells which: say --from persona-vectors or --from assistant-axis, or --n-layers N",
            )),
        };
    }
    if root.get("vectors").is_some() && root.get("experiments").is_some() {
        return Ok(Format::CappingConfig);
    }
    let two = |v: View<'_, '_>| v.shape().is_some_and(|s| s.len() == 2);
    let axis = root.get("axis").is_some_and(two) || root.get("vector").is_some_and(two);
    let table = root.entries().is_some_and(|e| !e.is_empty() && e.iter().all(|(k, v)| k.text().is_some() && two(*v)));
    if axis || table {
        return Ok(Format::AssistantAxis);
    }
    let hint = "known are a tensor [layers, d_model], a dict of such by name, {\"axis\"}, {\"vector\", \"type\", \"role\"}, a \
                capping config, and a SteeringVector";
    Err(Error::format(place, format!("{}, which is no known form of vectors", root.words()), hint))
}
