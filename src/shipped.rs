//! The models inside the binary: trained by the recipes that lie beside them.

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
