//! What of a secret cannot be an environment variable of a pod.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes of a value that can. kubelet reads lines of at most 65,536 bytes from the file that a variable comes from.
pub const MAX_VARIABLE: usize = 64_000;

/// A key whose value cannot be an environment variable where the secret is not in a Secret of form Plain.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UndeliverableKey {
    /// The key, as pods name it.
    pub key: String,
    /// Why not.
    pub reason: Undeliverable,
}

/// Why a value cannot be an environment variable. Says nothing else of it.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, thiserror::Error,
)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Undeliverable {
    /// kubelet takes an empty value for a missing one, and the container does not start.
    #[error("it is empty")]
    Empty,
    /// More than a line that kubelet reads.
    #[error("it has more than {MAX_VARIABLE} bytes")]
    TooLong,
    /// The file that a variable comes from has no way to write one.
    #[error("it contains a single quote")]
    SingleQuote,
    /// It would arrive without the carriage return.
    #[error("it contains a line that ends with a carriage return")]
    CarriageReturn,
    /// No environment variable has one.
    #[error("it contains a NUL byte")]
    Nul,
    /// A container's configuration is JSON, in which other bytes become replacement characters.
    #[error("it is not text in UTF-8")]
    NotText,
}
