//! Which tensors a checkpoint lacks: all of them at once, and why that may be.

use super::shards::{Tensors, some_of};
use crate::error::{Error, Result, distance};
use candle_core::{DType, Device, Tensor};
use std::collections::HashSet;

/// What stands before the names of tensors that were saved from inside something larger, and what that was.
const WRAPPED: &[(&str, &str)] = &[
    ("language_model.", "a model of text and images"),
    ("model.language_model.", "a model of text and images"),
    ("text_model.", "a model of text and images"),
    ("base_model.model.", "a model inside an adapter (merge it with PEFT: merge_and_unload)"),
    ("_orig_mod.", "a compiled model"),
    ("module.", "a model in parallel training"),
    ("transformer.", "a model with its head"),
    ("gpt_neox.", "a model with its head"),
    ("model.", "a model with its head"),
];
/// Names that are looked at for a likeness.
const LOOKED_AT: usize = 4096;
/// Endings of names that quantised checkpoints have.
const QUANTISED: &[&str] = &[".qweight", ".qzeros", ".weight_scale", ".weight_scale_inv", ".absmax", ".SCB", "_blocks"];

/// A build without weights, to learn what it asks for.
#[derive(Default)]
pub(super) struct Survey {
    missing: Vec<String>,
    asked: HashSet<String>,
    /// Numbers handed out: no more than the files could hold.
    numbers: usize,
    /// Whether it ended before the model was built.
    cut_short: bool,
}

impl Survey {
    /// Notes a tensor that is asked for, and gives one of its shape that takes no memory.
    ///
    /// # Errors
    /// More is asked for than these files could hold.
    pub fn note(&mut self, tensors: &Tensors<'_>, name: &str, shape: &[usize]) -> Result<Tensor> {
        if !tensors.contains_key(name) {
            self.missing.push(name.into());
        }
        self.asked.insert(name.into());
        let bytes: usize = tensors.values().map(|(_, view)| view.data().len()).sum();
        let numbers = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        self.numbers = self.numbers.saturating_add(numbers.unwrap_or(usize::MAX));
        if self.numbers > bytes || self.asked.len() > 4 * tensors.len() + 64 {
            self.cut_short = true;
            return Err(Error::refused("the survey ended", ""));
        }
        Ok(Tensor::zeros(1, DType::F32, &Device::Cpu)?.broadcast_as(shape)?)
    }

    /// The error that names everything that is missing; `None` if nothing is.
    pub fn error(&self, place: &str, tensors: &Tensors<'_>) -> Option<Error> {
        let first = self.missing.first()?;
        let named: Vec<String> = self.missing.iter().map(|name| format!("`{name}`")).collect();
        let (n, more) = (named.len(), if self.cut_short { " or more" } else { "" });
        let which = match n {
            1 if !self.cut_short => format!("tensor {} is missing", named[0]),
            _ => {
                let asked = self.asked.len();
                format!("{n}{more} of the {asked}{more} tensors of this model are missing: {}", some_of(&named))
            }
        };
        let hint = self.why(first, tensors);
        Some(Error::format(place, which, hint))
    }

    fn why(&self, first: &str, tensors: &Tensors<'_>) -> String {
        if let Some(name) = tensors.keys().find(|name| QUANTISED.iter().any(|end| name.ends_with(end))) {
            return format!("`{name}` says that the checkpoint is quantised: take the one in bf16, f16 or f32");
        }
        if let Some(prefix) = self.prefix(tensors) {
            return prefix;
        }
        let near = near(first, tensors, &self.asked);
        let near = near.map_or(String::new(), |name| format!("; the nearest name to `{first}` in it is `{name}`"));
        let some: Vec<String> = tensors.keys().take(3).map(|name| format!("`{name}`")).collect();
        let have = format!("the weights are {} tensors ({} ...){near}", tensors.len(), some.join(", "));
        format!("{have}; are they of this config.json?")
    }

    /// What to say if the missing tensors are there under a prefix, or without one.
    fn prefix(&self, tensors: &Tensors<'_>) -> Option<String> {
        let found = |change: &dyn Fn(&str) -> Option<String>| {
            let there = |name: &&String| change(name).is_some_and(|other| tensors.contains_key(&other));
            self.missing.iter().filter(there).count()
        };
        let mut best: Option<(usize, String)> = None;
        let mut consider = |count: usize, say: String| {
            if 2 * count > self.missing.len() && best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, say));
            }
        };
        let all = self.missing.len();
        for (prefix, what) in WRAPPED {
            let count = found(&|name| Some(format!("{prefix}{name}")));
            let say = format!("{count} of {all} are there with `{prefix}` in front, as in {what}");
            consider(count, format!("{say}: save the language model itself again (save_pretrained of it alone)"));
            let count = found(&|name| name.strip_prefix(prefix).map(String::from));
            let say = format!("{count} of {all} are there without `{prefix}` in front, as in a model without its head");
            consider(count, format!("{say}: save it again as AutoModelForCausalLM"));
            for (inner, _) in WRAPPED {
                let count = found(&|name| name.strip_prefix(inner).map(|rest| format!("{prefix}{rest}")));
                let say = format!("{count} of {all} are there with `{prefix}` in place of `{inner}`, as in {what}");
                consider(count, format!("{say}: save the language model itself again (save_pretrained of it alone)"));
            }
        }
        best.map(|(_, say)| say)
    }
}

/// The name in the files that is most like one that is missing, and that nothing else asked for.
fn near<'t>(name: &str, tensors: &'t Tensors<'_>, asked: &HashSet<String>) -> Option<&'t str> {
    let free = |other: &&String| other.len() <= 256 && name.len() <= 256 && !asked.contains(*other);
    let all = tensors.keys().filter(free).take(LOOKED_AT).map(|other| (distance(name, other), other.as_str()));
    all.min().filter(|(d, _)| 3 * d <= name.len()).map(|(_, other)| other)
}

/// What is worth saying about tensors that nobody asked for; leftovers that every checkpoint of a kind has are not.
pub(super) fn unexpected(tensors: &Tensors<'_>, taken: &dyn Fn(&str) -> bool) -> Option<String> {
    let harmless = |name: &str, shape: &[usize]| {
        // The frequencies of rotary positions and the masks of older versions, which are made from the configuration.
        name.ends_with("rotary_emb.inv_freq")
            || (name.ends_with(".attn.bias") || name.ends_with(".attention.bias")) && shape.len() == 4
            || name.ends_with(".attn.masked_bias")
            || name.ends_with(".attention.masked_bias")
    };
    let unused: Vec<String> = tensors
        .iter()
        .filter(|(name, (_, view))| !taken(name) && !harmless(name, view.shape()))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    (!unused.is_empty()).then(|| format!("{} tensors of the files are not used: {}", unused.len(), some_of(&unused)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, TensorView};

    /// Tensors of these names and shapes.
    fn tensors(names: &[(&str, &[usize])]) -> Tensors<'static> {
        let bytes: &'static [u8] = &[0; 64];
        let view = |shape: &[usize]| {
            let n: usize = shape.iter().product();
            TensorView::new(Dtype::F32, shape.to_vec(), &bytes[..4 * n]).unwrap()
        };
        names.iter().map(|(name, shape)| (name.to_string(), (0, view(shape)))).collect()
    }

    fn lacking(have: &[&str], asked: &[&str]) -> (String, String) {
        let have = tensors(&have.iter().map(|n| (*n, &[2][..])).collect::<Vec<_>>());
        let mut survey = Survey::default();
        for name in asked {
            assert_eq!(survey.note(&have, name, &[2]).unwrap().dims(), [2]);
        }
        let e = survey.error("w", &have).unwrap();
        (e.to_string(), e.hint())
    }

    #[test]
    fn a_missing_tensor_is_named_with_the_nearest_name() {
        let (what, hint) = lacking(&["a.down_proj.weight", "norm"], &["norm", "a.down_porj.weight"]);
        assert_eq!(what, "w: tensor `a.down_porj.weight` is missing");
        assert!(hint.contains("nearest name") && hint.contains("`a.down_proj.weight`"), "{hint}");
        let (what, _) = lacking(&["u", "v", "w", "x", "y", "z"], &["a", "b", "c", "d", "e", "x"]);
        assert!(what.contains("5 of the 6 tensors of this model are missing: `a`, `b`, `c`, `d` and 1 more"), "{what}");
    }

    #[test]
    fn a_prefix_that_explains_the_most_is_said() {
        let asked = ["model.embed", "model.norm"];
        let hint = |have: &[&str]| lacking(have, &asked).1;
        let with = hint(&["language_model.model.embed", "language_model.model.norm"]);
        assert!(with.contains("2 of 2 are there with `language_model.` in front"), "{with}");
        let without = hint(&["embed", "norm"]);
        assert!(without.contains("without `model.` in front"), "{without}");
        let instead = hint(&["transformer.embed", "transformer.norm"]);
        assert!(instead.contains("with `transformer.` in place of `model.`"), "{instead}");
        let quantised = hint(&["model.embed.qweight", "embed", "norm"]);
        assert!(quantised.contains("quantised"), "{quantised}");
    }

    #[test]
    fn a_survey_ends_where_files_could_hold_no_more() {
        let have = tensors(&[("a", &[4])]);
        // 16 bytes hold at most 16 numbers.
        assert!(Survey::default().note(&have, "b", &[16]).is_ok());
        for shape in [&[17][..], &[usize::MAX, 2], &[1 << 40, 1 << 40]] {
            let mut survey = Survey::default();
            assert!(survey.note(&have, "b", shape).is_err());
            assert!(survey.error("w", &have).unwrap().to_string().contains("1 or more"), "{shape:?}");
        }
        let mut survey = Survey::default();
        assert!((0..1000).any(|i| survey.note(&have, &i.to_string(), &[0]).is_err()), "layers without end");
    }

    #[test]
    fn leftovers_that_change_nothing_are_not_mentioned() {
        let have = tensors(&[
            ("h.0.attn.bias", &[1, 1, 2, 2]),
            ("h.0.attn.masked_bias", &[1]),
            ("layers.0.attention.bias", &[1, 1, 2, 2]),
            ("model.layers.0.self_attn.rotary_emb.inv_freq", &[2]),
            ("used", &[2]),
        ]);
        assert_eq!(unexpected(&have, &|name| name == "used"), None);
        // A bias that is a vector is one.
        let have = tensors(&[("h.0.attn.bias", &[4]), ("more", &[2])]);
        let said = unexpected(&have, &|_| false).unwrap();
        assert!(said.contains("2 tensors") && said.contains("`h.0.attn.bias`, `more`"), "{said}");
    }

    #[test]
    fn distances_count_insertions_removals_and_changes() {
        // kitten -> sitten -> sittin -> sitting
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("abc", "abc")), (3, 3, 0));
    }
}
