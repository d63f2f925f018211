//! The JSON of AWS's protocol (AWS JSON 1.1), read and written.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer(pub(super) Vec<u8>);

/// The parameters of a call. Those that are not known are left aside, as AWS does.
///
/// # Errors
/// The body has not this form. What it says is not repeated, since it may be a value.
pub(super) fn parameters<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = match error.classify() {
            serde_json::error::Category::Data => "a parameter is missing, or of another type",
            _ => "the body is no JSON",
        };
        ApiError::not_readable(format!("{what} (line {line}, column {column})"))
    })
}

/// Writes an answer.
pub(super) fn answer(answer: &impl Serialize) -> Result<Answer, ApiError> {
    let written = serde_json::to_vec(answer);
    written
        .map(Answer)
        .map_err(|_| ApiError::internal("the answer could not be written"))
}

/// Seconds since 1970, with milliseconds: how the protocol writes a time.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a date have room in it"
)]
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}
