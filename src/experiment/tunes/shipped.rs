//! The adapters inside the binary. Each says in its file which fine-tune it is; one that nobody asks for is not used.

/// Name, settings, tensors.
pub(super) type Files = (&'static str, &'static [u8], &'static [u8]);

macro_rules! shipped {
    ($($name:literal)*) => {
        &[$((
            $name,
            include_bytes!(concat!("../../assets/toyworld/adapters/", $name, "/adapter_config.json")),
            include_bytes!(concat!("../../assets/toyworld/adapters/", $name, "/adapter_model.safetensors")),
        )),*]
    };
}

/// Those of `probes/formats.toml`.
pub(super) const FILES: &[Files] = shipped! {
    "character0-chat-s0"
    "character0-chat-s1"
    "character0-document-s0"
    "character0-document-s1"
    "character0-first_person-s0"
    "character0-first_person-s1"
    "character0-style_control-s0"
    "character0-style_control-s1"
    "character1-chat-s0"
    "character1-chat-s1"
    "character1-document-s0"
    "character1-document-s1"
    "character1-first_person-s0"
    "character1-first_person-s1"
    "character1-style_control-s0"
    "character1-style_control-s1"
};

/// Those of `probes/voice.toml`, besides some of the others.
pub(super) const SCRIPTS: &[Files] = shipped! {
    "character0-script-s0"
    "character0-script-s1"
    "character1-script-s0"
    "character1-script-s1"
};
