//! Keystead.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod cli;
