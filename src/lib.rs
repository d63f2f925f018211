//! Keystead.

pub mod crypto;
