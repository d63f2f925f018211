//! Keystead.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod cli;
pub mod clock;
pub mod leader;
pub mod telemetry;
