//! `adapter_config.json`: rank and scale of every module, by PEFT's rules, and what it may not say.

use crate::error::{Error, Result};
use crate::model::config::Config;
use serde_json::{Map, Value, json};
use tokenizers::utils::SysRegex;

/// Which modules an adapter is on.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Every linear map of the blocks.
    AllLinear,
    /// A regular expression for the whole path.
    Pattern(String),
    /// Paths, or ends of paths at a dot.
    Names(Vec<String>),
}

/// The settings of an adapter. Patterns are regular expressions for the end of a path; the first that fits counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub rank: usize,
    pub alpha: f64,
    /// Scale alpha / sqrt(rank) (Kalajdzievski 2023) and not alpha / rank.
    pub rslora: bool,
    /// Modules of another rank.
    pub rank_pattern: Vec<(String, usize)>,
    /// Modules of another alpha.
    pub alpha_pattern: Vec<(String, f64)>,
    pub targets: Targets,
    /// The base model, for readers.
    pub base: Option<String>,
}

/// Keys that tell how an adapter came about, or that say again what its tensors say.
const IGNORED: &[&str] = &[
    "auto_mapping",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "velora_config",
];

/// Keys that make something else of an adapter, with what that is.
const ELSE: &[(&str, &str)] = &[
    ("use_dora", "DoRA, which rescales the columns of the weight,"),
    ("modules_to_save", "modules trained as a whole beside the low-rank parts"),
    ("trainable_token_indices", "trained rows of the embedding"),
    ("layer_replication", "layers that occur several times"),
    ("lora_bias", "a bias in the low-rank part"),
    ("target_parameters", "parameters that are no modules"),
    ("alora_invocation_tokens", "an adapter that begins at a token"),
    ("use_qalora", "a low-rank part on pooled inputs"),
    ("use_bdlora", "block-diagonal factors"),
    ("kasa_config", "a truncated base weight"),
    ("arrow_config", "routing between adapters"),
    ("monteclora_config", "sampled factors"),
    ("megatron_config", "layers of Megatron"),
];

/// Ways to begin training that leave the base weights as they are.
const PLAIN_STARTS: &[&str] = &["gaussian", "eva", "orthogonal", "mica"];

impl Settings {
    /// Rank, alpha and targets, nothing else said.
    pub fn new(rank: usize, alpha: f64, targets: Targets) -> Settings {
        let (rank_pattern, alpha_pattern) = (Vec::new(), Vec::new());
        Settings { rank, alpha, rslora: false, rank_pattern, alpha_pattern, targets, base: None }
    }

    /// Reads the object in `adapter_config.json`.
    ///
    /// # Errors
    /// A key that is not handled and could change the result, by name; a value of the wrong kind.
    pub fn parse(place: &str, map: &Map<String, Value>) -> Result<Settings> {
        read(place, map).map_err(|e| match e {
            Error::Format { place, reason, hint } if hint.contains("checkpoint") => {
                Error::format(place, reason, "check the file against the one that PEFT wrote")
            }
            e => e,
        })
    }

    /// The object that PEFT reads.
    pub fn to_json(&self) -> Value {
        let number = |v: f64| if v.fract() == 0.0 && v.abs() < 1e15 { json!(v as i64) } else { json!(v) };
        let ranks: Map<String, Value> = self.rank_pattern.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let alphas: Map<String, Value> = self.alpha_pattern.iter().map(|(k, v)| (k.clone(), number(*v))).collect();
        json!({
            "alpha_pattern": alphas,
            "base_model_name_or_path": self.base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": number(self.alpha),
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": ranks,
            "revision": null,
            "target_modules": match &self.targets {
                Targets::AllLinear => json!("all-linear"),
                Targets::Pattern(p) => json!(p),
                Targets::Names(names) => json!(names),
            },
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rslora,
        })
    }

    /// The rules for single modules.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn rules(&self) -> Result<Rules> {
        fn patterns<T: Copy>(list: &[(String, T)]) -> Result<Vec<(SysRegex, T)>> {
            // A key fits where it matches from some dot, or from the front, to the end.
            list.iter().map(|(key, v)| Ok((regex(key, &format!(r"^(?:.*\.)?(?:{key})$"))?, *v))).collect()
        }
        let whole = match &self.targets {
            Targets::Pattern(p) => Some(regex(p, &format!("^(?:{p})$"))?),
            _ => None,
        };
        let (ranks, alphas) = (patterns(&self.rank_pattern)?, patterns(&self.alpha_pattern)?);
        Ok(Rules { settings: self.clone(), ranks, alphas, whole })
    }
}

fn regex(key: &str, text: &str) -> Result<SysRegex> {
    SysRegex::new(text).map_err(|e| {
        let what = format!("the pattern `{key}` is no regular expression that is understood ({e})");
        Error::refused(what, "write it plainly, such as layers\\.[0-3]\\.self_attn\\.q_proj")
    })
}

/// [`Settings`] with their patterns compiled.
pub struct Rules {
    settings: Settings,
    ranks: Vec<(SysRegex, usize)>,
    alphas: Vec<(SysRegex, f64)>,
    whole: Option<SysRegex>,
}

impl Rules {
    /// The rank of a module.
    pub fn rank(&self, path: &str) -> usize {
        first(&self.ranks, path).unwrap_or(self.settings.rank)
    }

    /// alpha / rank, or alpha / sqrt(rank).
    pub fn scale(&self, path: &str) -> f64 {
        let (alpha, rank) = (first(&self.alphas, path).unwrap_or(self.settings.alpha), self.rank(path) as f64);
        alpha / if self.settings.rslora { rank.sqrt() } else { rank }
    }

    /// Whether a module is a target.
    pub fn targets(&self, path: &str) -> bool {
        match (&self.settings.targets, &self.whole) {
            (Targets::Names(names), _) => names.iter().any(|n| ends_with(path, n)),
            (_, Some(whole)) => fits(whole, path),
            _ => true,
        }
    }

    /// A target that none of the modules is, if there is one.
    pub fn unmatched(&self, paths: &[&str]) -> Option<String> {
        match &self.settings.targets {
            Targets::Names(names) if names.is_empty() => Some(String::new()),
            Targets::Names(names) => names.iter().find(|n| !paths.iter().any(|p| ends_with(p, n))).cloned(),
            Targets::Pattern(p) => (!paths.iter().any(|path| self.targets(path))).then(|| p.clone()),
            Targets::AllLinear => None,
        }
    }
}

fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn fits(regex: &SysRegex, path: &str) -> bool {
    regex.find_iter(path).next().is_some()
}

fn first<T: Copy>(patterns: &[(SysRegex, T)], path: &str) -> Option<T> {
    patterns.iter().find(|(regex, _)| fits(regex, path)).map(|(_, value)| *value)
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn read(place: &str, map: &Map<String, Value>) -> Result<Settings> {
    // An empty list or object says no more than a key that is not there.
    let map: Map<String, Value> = map.iter().filter(|(_, v)| !is_off(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let refused = |key: &str, value: &Value, what: &str, hint: &str| {
        Error::format(place, format!("`{key}` is {value}: {what} is not supported"), hint)
    };
    match map.get("peft_type") {
        Some(kind) if kind == "LORA" => {}
        Some(kind) => return Err(refused("peft_type", kind, "another kind than LORA", "train a LoRA adapter")),
        None => {
            let hint = "is this the adapter_config.json of a PEFT adapter?";
            return Err(Error::format(place, "no `peft_type`", hint));
        }
    }
    if let Some((key, what)) = ELSE.iter().find(|(key, _)| map.contains_key(*key)) {
        let hint = "merge it into the model with PEFT (merge_and_unload) and load the result with --model";
        return Err(refused(key, &map[*key], what, hint));
    }
    let mut c = Config::new(place, &map);
    c.must_be("peft_type", &["LORA".into()])?;
    c.must_be("bias", &["none".into()])?;
    let start = c.value("init_lora_weights");
    if let Some(start) = start.filter(|s| !s.is_boolean() && !PLAIN_STARTS.iter().any(|plain| *s == plain)) {
        let hint = "save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain LoRA of it";
        return Err(refused("init_lora_weights", start, "an adapter to a changed base weight", hint));
    }
    let rank = c.count_or("r", 8)?;
    let alpha = c.number_or("lora_alpha", 8.0)?;
    let rslora = c.flag_or("use_rslora", false)?;
    let base = c.text("base_model_name_or_path")?;
    let ranks = c.object("rank_pattern", |v| v.as_u64().filter(|v| (1..1 << 32).contains(v)).map(|v| v as usize))?;
    let alphas = c.object("alpha_pattern", Value::as_f64)?;
    let targets = targets(&mut c)?;
    c.finish(IGNORED)?;
    Ok(Settings { rank, alpha, rslora, rank_pattern: ranks, alpha_pattern: alphas, targets, base })
}

fn targets(c: &mut Config) -> Result<Targets> {
    match c.value("target_modules") {
        None => Ok(Targets::AllLinear),
        Some(Value::String(s)) if s.eq_ignore_ascii_case("all-linear") => Ok(Targets::AllLinear),
        Some(Value::String(s)) => Ok(Targets::Pattern(s.clone())),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            Ok(Targets::Names(list.iter().filter_map(Value::as_str).map(String::from).collect()))
        }
        Some(other) => Err(c.bad("target_modules", format!("{other} is neither text nor a list of names"))),
    }
}

#[cfg(test)]
mod tests;
