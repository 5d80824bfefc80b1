//! The kinds of files that hold vectors, in one table.

use crate::axes::{Point, Site};
use std::str::FromStr;

/// A kind of file. Names are those of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Personascope,
    LlamacppGguf,
    PersonaVectors,
    AssistantAxis,
    CappingConfig,
    SteeringVectors,
    Svec,
    Npz,
    Safetensors,
}

/// Who wrote a control vector for llama.cpp: the two count layers differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// `direction.l` is what block `l` leaves behind.
    Repeng,
    /// `direction.k` is what block `k - 1` leaves behind.
    CvectorGenerator,
}

/// What a format is and what it can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub name: &'static str,
    /// Whose it is, in words.
    pub words: &'static str,
    /// Its numbering and scale, in words.
    pub convention: &'static str,
    /// How names of such files end.
    pub extension: &'static str,
    pub sites: Sites,
    /// Whether several vectors at one site can be told apart.
    pub names: bool,
    /// Whether the sign in words and the provenance are kept.
    pub about: bool,
    /// Whether a vector of every length is kept as long as it is; otherwise the unit is stored and the length beside it.
    pub unscaled: bool,
}

/// The sites that a format can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sites {
    /// Every site.
    Every,
    /// `resid_post` of every block.
    Post,
    /// `resid_post` of every block but the first.
    PostWithoutFirst,
    /// `resid_pre.0`, and `resid_post` of every block but the last.
    HiddenStates,
    /// One of `resid_post`, `attn_out` and `mlp_out`, the same for all.
    OneOutput,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 9] = [
        Format::Personascope,
        Format::LlamacppGguf,
        Format::PersonaVectors,
        Format::AssistantAxis,
        Format::CappingConfig,
        Format::SteeringVectors,
        Format::Svec,
        Format::Npz,
        Format::Safetensors,
    ];

    /// What it is and holds.
    pub fn facts(self) -> &'static Facts {
        match self {
            Format::Personascope => &Facts {
                name: "personascope",
                words: "our own: safetensors with provenance",
                convention: "site names; unit vectors, with the length that each had",
                extension: "safetensors",
                sites: Sites::Every,
                names: true,
                about: true,
                unscaled: false,
            },
            Format::LlamacppGguf => &Facts {
                name: "llamacpp-gguf",
                words: "control vector of llama.cpp (GGUF)",
                convention: "direction.l is added to what block l leaves behind; there is no direction.0",
                extension: "gguf",
                sites: Sites::PostWithoutFirst,
                names: false,
                about: true,
                unscaled: true,
            },
            Format::PersonaVectors => &Facts {
                name: "persona-vectors",
                words: "persona_vectors: a tensor [n_layers + 1, d_model] of torch",
                convention: "row k is Hugging Face hidden_states[k]: row 0 is resid_pre.0, row k is resid_post.(k-1), and the \
                             last row is after the final norm; raw differences of means",
                extension: "pt",
                sites: Sites::HiddenStates,
                names: false,
                about: false,
                unscaled: true,
            },
            Format::AssistantAxis => &Facts {
                name: "assistant-axis",
                words: "assistant-axis: tensors [n_layers, d_model] of torch",
                convention: "row i is what block i leaves behind: resid_post.i; an axis points at the Assistant, unscaled",
                extension: "pt",
                sites: Sites::Post,
                names: true,
                about: false,
                unscaled: true,
            },
            Format::CappingConfig => &Facts {
                name: "capping-config",
                words: "capping_config.pt of assistant-axis: vectors by name, and the caps of experiments",
                convention: "layer i is what block i leaves behind: resid_post.i; a cap is a ceiling on the projection along the \
                             unit vector, h - max(h.u - cap, 0) u",
                extension: "pt",
                sites: Sites::Post,
                names: true,
                about: false,
                unscaled: true,
            },
            Format::SteeringVectors => &Facts {
                name: "steering-vectors",
                words: "pickled SteeringVector of the library steering-vectors",
                convention: "layer i of `decoder_block` is resid_post.i, of `self_attn` attn_out.i, of `mlp` mlp_out.i; unscaled",
                extension: "pkl",
                sites: Sites::OneOutput,
                names: false,
                about: false,
                unscaled: true,
            },
            Format::Svec => &Facts {
                name: "svec",
                words: ".svec of IBM's activation-steering (JSON)",
                convention: "directions[l] is what block l leaves behind: resid_post.l; of the last block it is made after the \
                             final norm and applied before it",
                extension: "svec",
                sites: Sites::Post,
                names: false,
                about: false,
                unscaled: true,
            },
            Format::Npz => &Facts {
                name: "npz",
                words: "arrays of numpy by site",
                convention: "keys are site names, several at one site with /name behind it; values unscaled",
                extension: "npz",
                sites: Sites::Every,
                names: true,
                about: false,
                unscaled: true,
            },
            Format::Safetensors => &Facts {
                name: "safetensors",
                words: "plain safetensors by site",
                convention: "keys are site names, several at one site with /name behind it; values unscaled",
                extension: "safetensors",
                sites: Sites::Every,
                names: true,
                about: false,
                unscaled: true,
            },
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        self.facts().name
    }
}

impl Sites {
    /// Whether a site is among them; the last block is known by `n_layers`.
    pub fn has(self, site: Site, n_layers: Option<usize>) -> bool {
        let Site::Block { layer, point } = site else { return self == Sites::Every };
        let last = n_layers == Some(layer.0 + 1);
        match self {
            Sites::Every => true,
            Sites::Post => point == Point::ResidPost,
            Sites::PostWithoutFirst => point == Point::ResidPost && layer.0 > 0,
            Sites::HiddenStates => (point == Point::ResidPost && !last) || (point == Point::ResidPre && layer.0 == 0),
            Sites::OneOutput => [Point::ResidPost, Point::AttnOut, Point::MlpOut].contains(&point),
        }
    }

    /// In words.
    pub fn in_words(self) -> &'static str {
        match self {
            Sites::Every => "every site",
            Sites::Post => "resid_post.l alone",
            Sites::PostWithoutFirst => "resid_post.l from l = 1 on: layer 0 is refused by the loader of llama.cpp",
            Sites::HiddenStates => {
                "resid_pre.0 and resid_post.l before the last block: its last row is after the final norm"
            }
            Sites::OneOutput => "resid_post.l, attn_out.l or mlp_out.l, one of the three in a file",
        }
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(s: &str) -> Result<Format, String> {
        let names: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
        Format::ALL.into_iter().find(|f| f.name() == s).ok_or(format!("one of {}", names.join(", ")))
    }
}

impl Producer {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Producer::Repeng => "repeng",
            Producer::CvectorGenerator => "cvector-generator",
        }
    }

    /// Its numbering in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Producer::Repeng => "repeng: direction.l was made at what block l leaves behind, resid_post.l",
            Producer::CvectorGenerator => {
                "cvector-generator: direction.k was made at what block k - 1 leaves behind, resid_post.(k-1), and llama.cpp \
                 adds it one block later"
            }
        }
    }
}

impl FromStr for Producer {
    type Err = String;
    fn from_str(s: &str) -> Result<Producer, String> {
        let all = [Producer::Repeng, Producer::CvectorGenerator];
        all.into_iter().find(|p| p.name() == s).ok_or("repeng or cvector-generator".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_the_names_of_the_command_line_and_no_two_are_alike() {
        let names: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
        let wanted = "personascope llamacpp-gguf persona-vectors assistant-axis capping-config steering-vectors svec npz safetensors";
        assert_eq!(names.join(" "), wanted);
        for f in Format::ALL {
            assert_eq!(f.name().parse::<Format>().unwrap(), f);
            assert!(!f.facts().words.contains("  ") && !f.facts().convention.contains("  "), "{f:?}");
            // What tells vectors apart or keeps their sign is what round trips rely on.
            assert!(f.facts().sites != Sites::Every || f.facts().names);
        }
        assert!("gguf".parse::<Format>().unwrap_err().contains("llamacpp-gguf"));
    }

    #[test]
    fn sites_that_a_format_has_no_row_for_are_known() {
        let pre = |l| Site::new(Point::ResidPre, l);
        for (sites, held, lost) in [
            (Sites::Every, vec![Site::Logits, pre(3), Site::post(0)], vec![]),
            (Sites::Post, vec![Site::post(0), Site::post(3)], vec![pre(0), Site::Logits]),
            (Sites::PostWithoutFirst, vec![Site::post(1), Site::post(3)], vec![Site::post(0), pre(1)]),
            // A model of four blocks: hidden_states[4] is behind the final norm.
            (Sites::HiddenStates, vec![pre(0), Site::post(2)], vec![Site::post(3), pre(1)]),
            (Sites::OneOutput, vec![Site::new(Point::MlpOut, 3)], vec![Site::new(Point::ResidMid, 1)]),
        ] {
            assert!(held.iter().all(|s| sites.has(*s, Some(4))), "{sites:?}");
            assert!(!lost.iter().any(|s| sites.has(*s, Some(4))), "{sites:?}");
        }
        assert!(Sites::HiddenStates.has(Site::post(3), None));
    }
}
