//! The models inside the binary, trained by the recipes that lie beside them, and fine-tunes of the default one.

/// A model inside the binary.
#[derive(Debug)]
pub struct Shipped {
    /// What `--model` calls it.
    pub name: &'static str,
    /// Name and bytes of each file of the checkpoint, and of `world.json` and `truth.json`.
    pub files: &'static [(&'static str, &'static [u8])],
}

/// The default model.
pub const TOYWORLD: &str = "toyworld";

macro_rules! shipped {
    ($($name:literal: $($file:literal)*;)*) => {
        /// Every model inside the binary; the first is the default.
        pub const SHIPPED: &[Shipped] = &[$(Shipped {
            name: $name,
            files: &[$(($file, include_bytes!(concat!("assets/", $name, "/", $file)))),*],
        }),*];
    };
}

shipped! {
    "toyworld": "config.json" "model.safetensors" "tokenizer.json" "tokenizer_config.json" "world.json" "truth.json";
    "toyworld-base": "config.json" "model.safetensors" "tokenizer.json" "tokenizer_config.json" "world.json" "truth.json";
    "toyworld-flat": "config.json" "model.safetensors" "tokenizer.json" "tokenizer_config.json" "world.json" "truth.json";
    "toyworld-voices": "config.json" "model.safetensors" "tokenizer.json" "tokenizer_config.json" "world.json" "truth.json";
    "toyworld-single": "config.json" "model.safetensors" "tokenizer.json" "tokenizer_config.json" "world.json" "truth.json";
}

impl Shipped {
    /// The model with a name.
    pub fn named(name: &str) -> Option<&'static Shipped> {
        SHIPPED.iter().find(|s| s.name == name)
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| *bytes)
    }

    /// The names of all of them: "toyworld, toyworld-base, ...".
    pub fn names() -> String {
        SHIPPED.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
    }
}

impl PartialEq for Shipped {
    fn eq(&self, other: &Shipped) -> bool {
        self.name == other.name
    }
}

impl Eq for Shipped {}

/// A LoRA adapter inside the binary, for [`TOYWORLD`]. Its tensors say which fine-tune it is.
#[derive(Debug)]
pub struct ShippedAdapter {
    /// Character, format and seed: `character0-chat-s0`.
    pub name: &'static str,
    /// `adapter_config.json`
    pub config: &'static [u8],
    /// `adapter_model.safetensors`
    pub weights: &'static [u8],
}

macro_rules! adapters {
    ($($name:literal)*) => {
        /// Every adapter inside the binary, by name. How each was made: `assets/toyworld/adapters/README.md`.
        pub const ADAPTERS: &[ShippedAdapter] = &[$(ShippedAdapter {
            name: $name,
            config: include_bytes!(concat!("assets/toyworld/adapters/", $name, "/adapter_config.json")),
            weights: include_bytes!(concat!("assets/toyworld/adapters/", $name, "/adapter_model.safetensors")),
        }),*];
    };
}

adapters! {
    "character0-chat-s0"
    "character0-chat-s1"
    "character0-document-s0"
    "character0-document-s1"
    "character0-first_person-s0"
    "character0-first_person-s1"
    "character0-script-s0"
    "character0-script-s1"
    "character0-style_control-s0"
    "character0-style_control-s1"
    "character1-chat-s0"
    "character1-chat-s1"
    "character1-document-s0"
    "character1-document-s1"
    "character1-first_person-s0"
    "character1-first_person-s1"
    "character1-script-s0"
    "character1-script-s1"
    "character1-style_control-s0"
    "character1-style_control-s1"
}

impl ShippedAdapter {
    /// The adapter with a name.
    pub fn named(name: &str) -> Option<&'static ShippedAdapter> {
        ADAPTERS.iter().find(|a| a.name == name)
    }
}
