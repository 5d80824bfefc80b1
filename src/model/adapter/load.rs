//! Reading an adapter folder of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use super::{Adapter, LowRank, Rules, Settings};
use crate::error::{Error, Result};
use crate::model::weights::as_f32;
use crate::shipped::ShippedAdapter;
use candle_core::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The file of the settings.
pub const CONFIG: &str = "adapter_config.json";
/// The file of the tensors.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the path of a module.
pub(super) const PREFIX: &str = "base_model.model.";
/// Our entry in the header of the tensors: an object with `base_hash`, and where the adapter comes from.
pub(super) const ABOUT: &str = "personascope";

/// What tensors of other kinds of adapters have in their names.
const ELSE: &[(&str, &str)] = &[
    ("lora_magnitude_vector", "DoRA, which rescales the columns of the weight,"),
    ("lora_embedding_", "an adapter on the embedding"),
    ("lora_A.bias", "a bias in the low-rank part"),
    ("lora_B.bias", "a bias in the low-rank part"),
    ("modules_to_save", "a module trained as a whole"),
    ("trainable_tokens", "trained rows of the embedding"),
];

impl Adapter {
    /// Reads a folder.
    ///
    /// # Errors
    /// Files that are missing or damaged; settings and tensors that are not supported or do not fit each other, by name.
    pub fn load(name: &str, dir: &Path) -> Result<Adapter> {
        let file = |file: &str| std::fs::read(dir.join(file)).map_err(|e| (dir.join(file), e));
        let config = file(CONFIG).map_err(|(path, e)| match e.kind() {
            std::io::ErrorKind::NotFound if dir.is_dir() => {
                let hint = format!("--adapter takes NAME=DIR, a folder with {CONFIG} and {WEIGHTS}");
                Error::format(path.display().to_string(), "there is no such file", hint)
            }
            _ => Error::io("read", path, e),
        })?;
        let weights = file(WEIGHTS).map_err(|(path, e)| {
            if dir.join("adapter_model.bin").is_file() {
                let hint = "save it again with PEFT (save_pretrained), which writes safetensors";
                return Error::format(path.display().to_string(), "there is only an adapter_model.bin", hint);
            }
            Error::io("read", path, e)
        })?;
        Adapter::from_bytes(name, &dir.display().to_string(), &config, &weights)
    }

    /// One that is inside the binary, under a name.
    ///
    /// # Errors
    /// None that are known: it was read when it was put there.
    pub fn shipped(name: &str, files: &ShippedAdapter) -> Result<Adapter> {
        Adapter::from_bytes(name, "a shipped adapter", files.config, files.weights)
    }

    /// The same from the contents of the two files; `place` is where they are from, for messages.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub fn from_bytes(name: &str, place: &str, config: &[u8], weights: &[u8]) -> Result<Adapter> {
        let at = |file: &str| format!("{place}/{file}");
        let damaged = |file: &str, reason: String| {
            Error::format(at(file), reason, "the file is damaged or cut short; fetch it again")
        };
        let object = match serde_json::from_slice(config) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(damaged(CONFIG, "not a JSON object".into())),
            Err(e) => return Err(damaged(CONFIG, e.to_string())),
        };
        let settings = Settings::parse(&at(CONFIG), &object)?;
        let whole = |e| damaged(WEIGHTS, format!("not a whole safetensors file of {} bytes ({e})", weights.len()));
        let file = SafeTensors::deserialize(weights).map_err(whole)?;
        let about = Adapter::about(weights);
        let modules = modules(&at(WEIGHTS), &file, &settings.rules()?)?;
        Adapter::new(name, modules, settings.base, about["base_hash"].as_str().map(String::from))
    }
}

impl Adapter {
    /// What whoever wrote an adapter says of it in the header of its tensors: `base_hash`, and `identity` of the
    /// fine-tune; null where nothing is said.
    pub fn about(weights: &[u8]) -> Value {
        let head = SafeTensors::read_metadata(weights).ok().map(|(_, head)| head);
        let text = head.as_ref().and_then(|h| h.metadata().as_ref()).and_then(|m| m.get(ABOUT));
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// One factor of a module: true for A.
type Factor = (String, bool);

fn modules(place: &str, file: &SafeTensors, rules: &Rules) -> Result<BTreeMap<String, LowRank>> {
    let mut factors: BTreeMap<Factor, (String, TensorView)> = BTreeMap::new();
    for (name, view) in file.tensors() {
        factors.insert(factor(place, &name)?, (name, view));
    }
    let paths: Vec<&str> = factors.keys().filter(|(_, is_a)| !is_a).map(|(path, _)| path.as_str()).collect();
    if let Some(((_, is_a), (name, _))) =
        factors.iter().find(|((path, is_a), _)| !factors.contains_key(&(path.clone(), !is_a)))
    {
        let (has, lacks) = if *is_a { ("lora_A", "lora_B") } else { ("lora_B", "lora_A") };
        let have = format!("{} tensors, `{name}` among them", factors.len());
        return Err(Error::MissingTensor { place: place.into(), name: name.replace(has, lacks), have });
    }
    if paths.is_empty() {
        return Err(Error::format(place, "no tensor in it", "is this the file of a trained adapter?"));
    }
    let one = |path: &str| -> Result<(String, LowRank)> {
        let get = |is_a: bool| &factors[&(path.to_string(), is_a)];
        let ((a_name, a), (b_name, b)) = (get(true), get(false));
        let rank = rules.rank(path);
        for (name, view, axis) in [(a_name, a, 0), (b_name, b, 1)] {
            let shape = view.shape();
            if shape.len() != 2 {
                let reason = format!("`{name}` has shape {shape:?}, but a factor is a matrix");
                return Err(Error::format(place, reason, "adapters on linear maps alone are supported"));
            }
            if shape[axis] != rank {
                let reason = format!("`{name}` has shape {shape:?}, but {CONFIG} gives it rank {rank}");
                let hint = "the two files do not belong together, or rank_pattern is incomplete";
                return Err(Error::format(place, reason, hint));
            }
        }
        let turned =
            |name: &str, view: &TensorView| -> Result<Tensor> { Ok(as_f32(place, name, view)?.t()?.contiguous()?) };
        Ok((path.to_string(), LowRank { a: turned(a_name, a)?, b: turned(b_name, b)?, scale: rules.scale(path) }))
    };
    paths.into_iter().map(one).collect()
}

/// The module and the factor that a tensor is.
fn factor(place: &str, name: &str) -> Result<Factor> {
    if let Some((_, what)) = ELSE.iter().find(|(part, _)| name.contains(part)) {
        let hint = "merge it into the model with PEFT (merge_and_unload) and load the result with --model";
        return Err(Error::format(place, format!("`{name}`: {what} is not supported"), hint));
    }
    let path = name.strip_prefix(PREFIX).and_then(|path| {
        let a = path.strip_suffix(".lora_A.weight").map(|p| (p.to_string(), true));
        a.or_else(|| path.strip_suffix(".lora_B.weight").map(|p| (p.to_string(), false)))
    });
    path.ok_or_else(|| {
        let reason = format!("`{name}` is no factor of a LoRA adapter");
        let hint = format!("factors are called {PREFIX}PATH.lora_A.weight and {PREFIX}PATH.lora_B.weight");
        Error::format(place, reason, hint)
    })
}
