//! Placeholder while the module is put together.
