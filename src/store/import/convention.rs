//! What other programs mean by the number or the name of a layer.

use crate::axes::{Point, Site};
use crate::error::{Error, Result};
use std::str::FromStr;

/// How layers are numbered or named in the arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// `hidden_states[k]` of Hugging Face transformers.
    Hf,
    /// `k` is the stream that block `k` leaves behind.
    ResidPost,
    /// `k` is the stream that block `k` reads.
    ResidPre,
    /// Names of TransformerLens.
    Tl,
    /// The names used here.
    Sites,
}

impl Convention {
    /// All conventions.
    pub const ALL: [Convention; 5] =
        [Convention::Hf, Convention::ResidPost, Convention::ResidPre, Convention::Tl, Convention::Sites];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Convention::Hf => "hf",
            Convention::ResidPost => "resid_post",
            Convention::ResidPre => "resid_pre",
            Convention::Tl => "tl",
            Convention::Sites => "sites",
        }
    }

    /// What it says, in full.
    pub fn in_words(self) -> &'static str {
        match self {
            Convention::Hf => {
                "Hugging Face hidden_states[k]: k = 0 is resid_pre.0, k = 1 to n_layers - 1 is resid_post.(k-1), and \
                 k = n_layers is after the final norm, which is no site here"
            }
            Convention::ResidPost => {
                "k is what block k leaves behind, counted from 0, before any final norm: resid_post.k"
            }
            Convention::ResidPre => "k is what block k reads, counted from 0: resid_pre.k",
            Convention::Tl => {
                "TransformerLens: blocks.k.hook_resid_pre, hook_attn_out, hook_resid_mid, hook_mlp_out and \
                 hook_resid_post are resid_pre.k, attn_out.k, resid_mid.k, mlp_out.k and resid_post.k"
            }
            Convention::Sites => "names are sites: resid_post.2, mlp_out.0, logits",
        }
    }

    /// The site of layer number `k`; `None` for the stream behind the final norm, which has none.
    ///
    /// # Errors
    /// A number that the model does not have, and `hf` without `n_layers`, where no number can be told from the one
    /// behind the final norm.
    pub fn site_of_index(self, k: usize, n_layers: Option<usize>) -> Result<Option<Site>> {
        let site = match (self, k) {
            (Convention::Hf, _) => {
                let Some(n) = n_layers else {
                    return Err(Error::refused(
                        format!("hidden_states[{k}] may be after the final norm: that of the last layer is"),
                        "say how many blocks the model has: --n-layers N",
                    ));
                };
                match k {
                    0 => Site::new(Point::ResidPre, 0),
                    _ if k == n => return Ok(None),
                    _ if k > n => {
                        let what = format!("hidden_states[{k}] of a model with {n} layers");
                        return Err(Error::refused(what, format!("there are hidden_states[0] to hidden_states[{n}]")));
                    }
                    _ => Site::post(k - 1),
                }
            }
            (Convention::ResidPost, _) => Site::post(k),
            (Convention::ResidPre, _) => Site::new(Point::ResidPre, k),
            (Convention::Tl | Convention::Sites, _) => {
                return Err(Error::refused(
                    format!("the convention `{}` names arrays and numbers no layers", self.name()),
                    "use hf, resid_post or resid_pre for an array with a dimension of layers",
                ));
            }
        };
        self.within(site, n_layers).map(Some)
    }

    /// The site of an array by its name; `None` for the stream behind the final norm.
    ///
    /// # Errors
    /// A name that the convention does not have, or a layer that the model does not have.
    pub fn site_of_name(self, name: &str, n_layers: Option<usize>) -> Result<Option<Site>> {
        let unknown = |hint: &str| {
            let what = format!("the convention `{}` has no array named `{name}`", self.name());
            Error::refused(what, format!("{hint}; --arrays takes some and leaves the others"))
        };
        match self {
            Convention::Hf | Convention::ResidPost | Convention::ResidPre => {
                let (_, k) = numbered(name).ok_or_else(|| {
                    unknown("a name ends in the number of its layer: `5`, `layer_5`, `hidden_states.5`")
                })?;
                self.site_of_index(k, n_layers)
            }
            Convention::Tl => {
                let parts: Vec<&str> = name.split('.').collect();
                let site = match parts.as_slice() {
                    ["blocks", k, hook] => number(k).zip(hook.strip_prefix("hook_").and_then(tl_point)),
                    _ => None,
                };
                let (k, point) = site.ok_or_else(|| unknown(self.in_words()))?;
                self.within(Site::new(point, k), n_layers).map(Some)
            }
            Convention::Sites => {
                let site =
                    name.parse().map_err(|_| unknown("names are POINT.LAYER such as resid_post.2, or logits"))?;
                self.within(site, n_layers).map(Some)
            }
        }
    }

    fn within(self, site: Site, n_layers: Option<usize>) -> Result<Site> {
        match (site.layer(), n_layers) {
            (Some(l), Some(n)) if l >= n => {
                let what = format!("{site} of a model with {n} layers");
                Err(Error::refused(what, "check --layers and --n-layers; layers count from 0"))
            }
            _ => Ok(site),
        }
    }
}

/// A point by its name behind `hook_`; `hook_in` and `hook_out` are those of newer versions.
fn tl_point(name: &str) -> Option<Point> {
    match name {
        "in" => Some(Point::ResidPre),
        "out" => Some(Point::ResidPost),
        name => name.parse().ok(),
    }
}

/// A name that ends in a number, cut in two: `layer_5` is `layer_` and 5, `h[5]` is `h[` and 5. `layer_-1` is none: there
/// are no negative layers, and the last one of a model is not known here.
pub(super) fn numbered(name: &str) -> Option<(&str, usize)> {
    let inside = name.strip_suffix(']').filter(|n| n.contains('[')).unwrap_or(name);
    let stem = inside.trim_end_matches(|c: char| c.is_ascii_digit());
    let negative = stem.strip_suffix('-').is_some_and(|s| !s.ends_with(char::is_alphanumeric));
    number(&inside[stem.len()..]).filter(|_| !negative).map(|k| (stem, k))
}

/// A number without leading zeros: `01` beside `1` would be two arrays of one layer, and is seen as such elsewhere.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl FromStr for Convention {
    type Err = String;
    fn from_str(s: &str) -> Result<Convention, String> {
        let names: Vec<_> = Convention::ALL.iter().map(|c| c.name()).collect();
        Convention::ALL.into_iter().find(|c| c.name() == s).ok_or(format!("one of {}", names.join(", ")))
    }
}

/// The order of the dimensions of one array with all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axes {
    /// `[layer, row, d]`
    LayerRow,
    /// `[row, layer, d]`
    RowLayer,
}

impl Axes {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Axes::LayerRow => "layer,row,d",
            Axes::RowLayer => "row,layer,d",
        }
    }
}

impl FromStr for Axes {
    type Err = String;
    fn from_str(s: &str) -> Result<Axes, String> {
        match s.replace(' ', "").as_str() {
            "layer,row,d" => Ok(Axes::LayerRow),
            "row,layer,d" => Ok(Axes::RowLayer),
            _ => Err("layer,row,d or row,layer,d".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(c: Convention, name: &str) -> String {
        match c.site_of_name(name, Some(4)) {
            Ok(site) => site.map_or("none".into(), |s| s.to_string()),
            Err(e) => format!("refused: {e}"),
        }
    }

    #[test]
    fn every_convention_names_the_same_places() {
        // A model of four blocks: hidden_states[0..=4], of which the last is after the final norm.
        let hf: Vec<String> = (0..5).map(|k| named(Convention::Hf, &format!("hidden_states.{k}"))).collect();
        assert_eq!(hf, ["resid_pre.0", "resid_post.0", "resid_post.1", "resid_post.2", "none"]);
        assert!(named(Convention::Hf, "5").contains("hidden_states[5] of a model with 4 layers"));
        assert_eq!(named(Convention::ResidPost, "layer_3"), "resid_post.3");
        assert_eq!(named(Convention::ResidPre, "arr_3"), "resid_pre.3");
        assert_eq!(named(Convention::ResidPost, "h[2]"), "resid_post.2");
        assert_eq!(named(Convention::Tl, "blocks.3.hook_resid_post"), "resid_post.3");
        assert_eq!(named(Convention::Tl, "blocks.1.hook_mlp_out"), "mlp_out.1");
        assert_eq!(named(Convention::Tl, "blocks.1.hook_in"), "resid_pre.1");
        assert_eq!(named(Convention::Sites, "resid_mid.0"), "resid_mid.0");
        assert_eq!(named(Convention::Sites, "logits"), "logits");
    }

    #[test]
    fn what_a_convention_does_not_have_is_refused_by_name() {
        for (c, name) in [
            (Convention::ResidPost, "layer"),
            (Convention::ResidPost, "layer_-1"),
            (Convention::Hf, "last"),
            (Convention::Tl, "blocks.1.attn.hook_q"),
            (Convention::Tl, "hook_embed"),
            (Convention::Tl, "ln_final.hook_normalized"),
            (Convention::Tl, "blocks.1.mlp.hook_out"),
            (Convention::Sites, "layer_1"),
        ] {
            assert!(named(c, name).contains(&format!("`{name}`")), "{}", named(c, name));
        }
        assert!(named(Convention::ResidPost, "layer_4").contains("resid_post.4 of a model with 4 layers"));
        let unsure = Convention::Hf.site_of_index(3, None).unwrap_err();
        assert!(unsure.hint().contains("--n-layers"), "{unsure}");
        assert!(Convention::Tl.site_of_index(0, None).is_err());
        assert_eq!((numbered("layer-1"), numbered("h[-1]"), numbered("-1")), (Some(("layer-", 1)), None, None));
    }
}
