//! Keystead.

pub mod secrets;
