//! The vocabulary of places: layers, points, sites and dimensions.
//!
//! # The layer convention, stated once
//!
//! Layers count from 0. `resid_pre.l` is what block `l` reads; `resid_post.l` is what it leaves behind, before any
//! final norm. Hugging Face `hidden_states[k]` is `resid_pre.0` for `k = 0`, `resid_post.(k-1)` for
//! `1 <= k < n_layers`, and *after the final norm* for `k = n_layers`, which has no name here. Foreign numbering
//! lives in the importer of that format and nowhere else. There are no negative layers.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A block of the model, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Layer(pub usize);

/// A place inside a block where the residual stream can be read or edited.
///
/// In forward order. `attn_out` and `mlp_out` are exactly what is added to the stream, so
/// `resid_mid = resid_pre + attn_out` and `resid_post = resid_mid + mlp_out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    ResidPre,
    AttnOut,
    ResidMid,
    MlpOut,
    ResidPost,
}

impl Point {
    /// All points, in forward order.
    pub const ALL: [Point; 5] = [Point::ResidPre, Point::AttnOut, Point::ResidMid, Point::MlpOut, Point::ResidPost];

    /// The field's name for the point.
    pub fn name(self) -> &'static str {
        match self {
            Point::ResidPre => "resid_pre",
            Point::AttnOut => "attn_out",
            Point::ResidMid => "resid_mid",
            Point::MlpOut => "mlp_out",
            Point::ResidPost => "resid_post",
        }
    }
}

/// Where in the model an activation lives: `resid_post.2`, or `logits`.
///
/// Ordered as the forward pass meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// A point of one block.
    Block { layer: Layer, point: Point },
    /// The unembedded output, `[row, d_vocab]`. The only site whose width is not `d_model`.
    Logits,
}

impl Site {
    /// The site `point.layer`.
    pub fn new(point: Point, layer: usize) -> Site {
        Site::Block { layer: Layer(layer), point }
    }

    /// `resid_post.layer`.
    pub fn post(layer: usize) -> Site {
        Site::new(Point::ResidPost, layer)
    }

    /// The block the site belongs to; `None` for `logits`.
    pub fn layer(self) -> Option<usize> {
        match self {
            Site::Block { layer, .. } => Some(layer.0),
            Site::Logits => None,
        }
    }

    /// The site in words, with its Hugging Face name where it has one.
    pub fn in_words(self, n_layers: usize) -> String {
        match self {
            Site::Logits => "logits over the vocabulary".into(),
            Site::Block { layer: Layer(l), point } => {
                let place = format!("block {l} of {n_layers} (counted from 0)");
                match point {
                    Point::ResidPre if l == 0 => format!("residual read by {place} (HF hidden_states[0])"),
                    Point::ResidPre => format!("residual read by {place} (HF hidden_states[{l}])"),
                    Point::ResidPost if l + 1 < n_layers => {
                        format!("residual after {place} (HF hidden_states[{}])", l + 1)
                    }
                    Point::ResidPost => {
                        format!("residual after {place}, before the final norm (no HF hidden_states row)")
                    }
                    Point::AttnOut => format!("what attention adds in {place}"),
                    Point::ResidMid => format!("residual between attention and MLP of {place}"),
                    Point::MlpOut => format!("what the MLP adds in {place}"),
                }
            }
        }
    }

    /// Expands a comma-separated list of sites: `resid_post.3`, ranges `resid_post.2..5` (last one included),
    /// `resid_post.all`, `all` (every point of every block) and `logits`. Duplicates are dropped, forward order kept.
    ///
    /// `points` are those of the model's blocks.
    ///
    /// # Errors
    /// An unknown point, a layer outside the model or an empty list, naming the sites that exist.
    pub fn parse_list(text: &str, n_layers: usize, points: &[Point]) -> Result<Vec<Site>> {
        let bad = |item: &str| Error::Site { asked: item.into(), exist: Site::describe_all(n_layers, points) };
        let mut sites = Vec::new();
        for item in text.split(',').map(str::trim) {
            match item.split_once('.') {
                None if item == "all" => {
                    let every = |l| points.iter().map(move |p| Site::new(*p, l));
                    sites.extend((0..n_layers).flat_map(every));
                }
                None if item == "logits" => sites.push(Site::Logits),
                None => return Err(bad(item)),
                Some((point, layers)) => {
                    let point = Point::from_str(point).ok().filter(|p| points.contains(p)).ok_or_else(|| bad(item))?;
                    let number = |s: &str| s.parse::<usize>().ok().filter(|l| *l < n_layers).ok_or_else(|| bad(item));
                    let (first, last) = match layers.split_once("..") {
                        _ if layers == "all" => (0, n_layers - 1),
                        Some((a, b)) => (number(a)?, number(b)?),
                        None => (number(layers)?, number(layers)?),
                    };
                    if first > last {
                        return Err(bad(item));
                    }
                    sites.extend((first..=last).map(|l| Site::new(point, l)));
                }
            }
        }
        sites.sort();
        sites.dedup();
        Ok(sites)
    }

    /// One line that says which sites a model of `n_layers` blocks with these points has.
    pub fn describe_all(n_layers: usize, points: &[Point]) -> String {
        let points: Vec<_> = points.iter().map(|p| p.name()).collect();
        format!("{} with layers 0..{}, and logits", points.join(" "), n_layers.saturating_sub(1))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Point {
    type Err = ();
    fn from_str(s: &str) -> Result<Point, ()> {
        Point::ALL.into_iter().find(|p| p.name() == s).ok_or(())
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Block { layer, point } => write!(f, "{point}.{}", layer.0),
            Site::Logits => f.write_str("logits"),
        }
    }
}

impl FromStr for Site {
    type Err = Error;
    fn from_str(s: &str) -> Result<Site> {
        let bad = || Error::Site { asked: s.into(), exist: "POINT.LAYER such as resid_post.2, or logits".into() };
        if s == "logits" {
            return Ok(Site::Logits);
        }
        let (point, layer) = s.split_once('.').ok_or_else(bad)?;
        Ok(Site::new(point.parse().map_err(|_| bad())?, layer.parse().map_err(|_| bad())?))
    }
}

impl Serialize for Site {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Site {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Site, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The sizes of a model, in the field's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dims {
    pub d_model: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub d_head: usize,
    pub d_mlp: usize,
    pub d_vocab: usize,
    /// Positions that the model was made for.
    pub n_ctx: usize,
}

impl Dims {
    /// Columns of an activation at `site`.
    pub fn width(&self, site: Site) -> usize {
        match site {
            Site::Logits => self.d_vocab,
            Site::Block { .. } => self.d_model,
        }
    }

    /// Whether the model has the site.
    pub fn has(&self, site: Site) -> bool {
        site.layer().is_none_or(|l| l < self.n_layers)
    }
}

/// Which rows of a prompt are kept.
///
/// Directions fitted at different picks are different things (published cosine 0.48) and are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// Every token that somebody said, one row each; those of the template too where they are asked for.
    All,
    /// The last token before the reply: the end of the header that opens the assistant's turn.
    LastPrompt,
    /// Mean over the content tokens of the last turn when it is the assistant's.
    MeanResponse,
    /// Mean over the content tokens of each turn, one row per turn.
    EachTurn,
    /// Tokens at stated positions, one row each.
    Positions,
}

impl Pick {
    /// All picks.
    pub const ALL: [Pick; 5] = [Pick::All, Pick::LastPrompt, Pick::MeanResponse, Pick::EachTurn, Pick::Positions];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Pick::All => "all",
            Pick::LastPrompt => "last_prompt",
            Pick::MeanResponse => "mean_response",
            Pick::EachTurn => "each_turn",
            Pick::Positions => "positions",
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pick {
    type Err = String;
    fn from_str(s: &str) -> Result<Pick, String> {
        let names: Vec<_> = Pick::ALL.iter().map(|p| p.name()).collect();
        Pick::ALL.into_iter().find(|p| p.name() == s).ok_or(format!("one of {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_prints_and_parses_back() {
        for l in 0..3 {
            for p in Point::ALL {
                let s = Site::new(p, l);
                assert_eq!(s.to_string().parse::<Site>().unwrap(), s);
            }
        }
        assert_eq!("logits".parse::<Site>().unwrap(), Site::Logits);
        for bad in ["", "resid_post", "resid_post.", "resid_post.-1", "resid_end.1", "resid_post.1.2", "Logits"] {
            assert!(bad.parse::<Site>().is_err(), "{bad} is no site");
        }
    }

    #[test]
    fn sites_sort_in_the_order_of_the_forward_pass() {
        let all = Site::parse_list("logits,all", 2, &Point::ALL).unwrap();
        assert_eq!(all.len(), 11);
        assert_eq!(all[0], Site::new(Point::ResidPre, 0));
        assert!(Site::post(0) < Site::new(Point::ResidPre, 1));
        assert_eq!(*all.last().unwrap(), Site::Logits);
    }

    #[test]
    fn lists_expand_ranges_and_refuse_what_does_not_exist() {
        let list = |s| {
            Site::parse_list(s, 4, &Point::ALL).map(|v| v.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(list("resid_post.2..3").unwrap(), "resid_post.2 resid_post.3");
        assert_eq!(list("mlp_out.1, mlp_out.1,resid_pre.0").unwrap(), "resid_pre.0 mlp_out.1");
        for bad in ["", "resid_post.4", "resid_post.3..2", "resid_post.1..9", "residpost.1", "resid_post.-1"] {
            let hint = list(bad).unwrap_err().hint();
            assert!(hint.contains("resid_pre attn_out"), "{bad}: {hint}");
        }
    }
}
