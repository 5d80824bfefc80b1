//! A file of vectors, whatever its format.

use super::format::{Format, Producer};
use super::pickle::Pickled;
use super::recognise::{Shape, recognise};
use super::{Cap, Vector};
use super::{arrays, assistant_axis, capping, llamacpp, native, persona_vectors, steering_vectors, svec};
use crate::axes::Site;
use crate::error::{Error, Result};
use std::path::Path;

/// Larger files hold something else than vectors.
const LARGEST: u64 = 4 << 30;

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    pub format: Format,
    /// Its numbering and scale in words.
    pub convention: String,
    /// In the order of their sites and names.
    pub vectors: Vec<Vector>,
    /// What was assumed, left out or is to be known.
    pub warnings: Vec<String>,
    /// Blocks of the model, where the file or the options tell.
    pub n_layers: Option<usize>,
}

/// What is known beside the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Who wrote a control vector for llama.cpp, where the file does not tell or tells wrong.
    pub producer: Option<Producer>,
    /// Blocks of the model.
    pub n_layers: Option<usize>,
    /// Keep the row of persona_vectors that is after the final norm, as `post_norm` at the last block.
    pub post_norm: bool,
}

/// Reads a file of vectors; without `format` it is recognised by what is in it.
///
/// # Errors
/// A file that is of no known format, or could be of two; that is damaged; that holds an object which is no tensor, by its
/// name; vectors that are not finite or differ in width.
pub fn read(path: &Path, format: Option<Format>, options: ReadOptions) -> Result<File> {
    let io = |e| Error::io("read", path, e);
    let size = std::fs::metadata(path).map_err(io)?.len();
    let place = path.display().to_string();
    if size > LARGEST {
        let what = format!("{place} has {size} bytes; files of vectors have at most {LARGEST}");
        return Err(Error::refused(what, "if it is a model or a capture, give it to `inspect` as such"));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let source = Source { path, place: &place, bytes: &bytes, options };
    let mut file = match format {
        Some(format) => source.of(format, None)?,
        None => {
            let (format, parsed) = recognise(path, &bytes, options.n_layers)?;
            source.of(format, parsed)?
        }
    };
    file.vectors.sort_by(|a, b| (a.site, &a.name).cmp(&(b.site, &b.name)));
    let n = options.n_layers.or(file.n_layers);
    if let Some((v, n)) = n.and_then(|n| Some((file.vectors.iter().find(|v| v.site.layer() >= Some(n))?, n))) {
        let what = format!("{place}: {} of a model with {n} blocks", v.site);
        return Err(Error::refused(what, "check the number of blocks, and the format: --from, --producer"));
    }
    for v in file.vectors.iter_mut() {
        v.about.n_layers = v.about.n_layers.or(n);
    }
    let width = file.vectors.first().map_or(0, |v| v.unit.len());
    if let Some(v) = file.vectors.iter().find(|v| v.unit.len() != width) {
        let what = format!("{place}: `{}` has {} values, others {width}", v.key(), v.unit.len());
        return Err(Error::refused(what, "all vectors of a file belong to one model: take those of others out"));
    }
    if file.vectors.is_empty() {
        let notes = if file.warnings.is_empty() { String::new() } else { format!(": {}", file.warnings.join("; ")) };
        return Err(Error::refused(format!("{place} holds no vector{notes}"), "check the file, and --from"));
    }
    Ok(File { n_layers: n, ..file })
}

/// A file in memory.
pub(super) struct Source<'f> {
    pub path: &'f Path,
    pub place: &'f str,
    pub bytes: &'f [u8],
    pub options: ReadOptions,
}

impl Source<'_> {
    fn of(&self, format: Format, parsed: Option<Pickled<'_>>) -> Result<File> {
        let other = |what: &str| {
            let reason = format!("not {what}, which --from {} says", format.name());
            Error::format(self.place, reason, "leave --from out to have the file recognised, or give its own format")
        };
        match format {
            Format::Personascope => match native::decode(self.place, self.bytes)? {
                Some(vectors) => {
                    let n_layers = vectors.iter().find_map(|v| v.about.n_layers);
                    Ok(File { n_layers, ..File::new(format, vectors) })
                }
                None => Err(other("a file of ours: it has no `directions` in its header")),
            },
            Format::LlamacppGguf => llamacpp::read(self),
            Format::Svec => svec::read(self),
            Format::Npz | Format::Safetensors => arrays::read(self, format),
            Format::PersonaVectors | Format::AssistantAxis | Format::CappingConfig | Format::SteeringVectors => {
                let parsed = match parsed {
                    Some(parsed) => parsed,
                    None if Shape::of_bytes(self.path, self.bytes) != Shape::Pickle => return Err(other("a pickle")),
                    None => Pickled::read(self.place, self.bytes)?,
                };
                match format {
                    Format::PersonaVectors => persona_vectors::read(self, parsed.root()),
                    Format::AssistantAxis => assistant_axis::read(self, parsed.root()),
                    Format::CappingConfig => capping::read(parsed.root()),
                    _ => steering_vectors::read(parsed.root()),
                }
            }
        }
    }
}

impl File {
    pub(super) fn new(format: Format, vectors: Vec<Vector>) -> File {
        let convention = format.facts().convention.to_string();
        File { format, convention, vectors, warnings: vec![], n_layers: None }
    }

    /// The vector at a site, by its name where there are several. Without a site, the only one there is.
    ///
    /// # Errors
    /// None there, or several; names what there is.
    pub fn at(&self, site: Option<Site>, name: Option<&str>) -> Result<&Vector> {
        let fits = |v: &&Vector| site.is_none_or(|s| v.site == s) && name.is_none_or(|n| v.name == n);
        let found: Vec<&Vector> = self.vectors.iter().filter(fits).collect();
        if let [one] = found.as_slice() {
            return Ok(one);
        }
        let list = |all: &[&Vector]| {
            let keys: Vec<String> = all.iter().take(12).map(|v| v.key()).collect();
            let more = if all.len() > 12 { format!(", ... ({} in all)", all.len()) } else { String::new() };
            format!("there are {}{more}", keys.join(", "))
        };
        let asked = match (site, name) {
            (Some(s), Some(n)) => format!("at {s} with the name `{n}`"),
            (Some(s), None) => format!("at {s}"),
            (None, Some(n)) => format!("with the name `{n}`"),
            (None, None) => "without a site".into(),
        };
        if found.is_empty() {
            let all: Vec<&Vector> = self.vectors.iter().collect();
            return Err(Error::refused(format!("the file has no vector {asked}"), list(&all)));
        }
        let what = format!("the file has {} vectors {asked}", found.len());
        Err(Error::refused(what, format!("say which by site or name: {}", list(&found))))
    }

    /// The caps of a capping config, by experiment, as the vectors carry them.
    pub fn caps(&self) -> Vec<Cap> {
        self.vectors.iter().flat_map(capping::caps_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::About;

    #[test]
    fn one_vector_is_found_by_site_and_name_and_errors_list_what_there_is() {
        let v = |l, name| Vector::new(Site::post(l), name, &[1.0, 0.0], About::default()).unwrap();
        let file = File::new(Format::Npz, vec![v(1, "evil"), v(1, "sad"), v(2, "")]);
        assert_eq!(file.at(Some(Site::post(2)), None).unwrap(), &v(2, ""));
        assert_eq!(file.at(Some(Site::post(1)), Some("sad")).unwrap(), &v(1, "sad"));
        assert_eq!(file.at(None, Some("evil")).unwrap(), &v(1, "evil"));
        let e = file.at(Some(Site::post(1)), None).unwrap_err();
        assert!(e.to_string().contains("2 vectors at resid_post.1"), "{e}");
        assert!(e.hint().contains("resid_post.1/evil, resid_post.1/sad") && !e.hint().contains("resid_post.2"));
        let e = file.at(Some(Site::post(3)), None).unwrap_err();
        assert!(e.to_string().contains("no vector at resid_post.3") && e.hint().contains("resid_post.2"), "{e}");
        assert!(file.at(None, None).is_err());
    }
}
