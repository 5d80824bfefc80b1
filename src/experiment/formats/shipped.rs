//! The adapters inside the binary. Each says in its file which fine-tune it is; one that nobody asks for is not used.

/// Name, settings, tensors.
pub(super) type Files = (&'static str, &'static [u8], &'static [u8]);

/// All shipped adapters.
pub(super) const FILES: &[Files] = &[];
