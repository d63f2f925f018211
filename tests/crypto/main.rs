//! The cryptography through its public interface.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod envelope;
mod format;
mod interop;
mod keys;
mod material;
mod sealing;
mod small;
mod support;
mod wycheproof;
