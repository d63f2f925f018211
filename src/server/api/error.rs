//! Why a call is not answered, by the names and codes that AWS has for it.

use axum::http::StatusCode;

use crate::keys::operations::{OperationError, Refused, Unrecorded};
use crate::telemetry::ApiResult;

/// Why a call is not answered. The text goes to the caller: it holds nothing that the caller did not say, or may not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct ApiError {
    /// The name of the error in AWS.
    pub(super) code: &'static str,
    /// The status code, as AWS has it for its JSON protocol.
    pub(super) status: StatusCode,
    /// How metrics count it.
    pub(super) result: ApiResult,
    /// In words.
    pub(super) message: String,
}

/// The errors of AWS, each with its own constructor: name in AWS, status code, how it is counted.
macro_rules! errors {
    ($($(#[$about:meta])* $name:ident => $code:literal, $status:ident, $result:ident;)*) => {$(
        $(#[$about])*
        pub(super) fn $name(message: impl Into<String>) -> Self {
            Self {
                code: $code,
                status: StatusCode::$status,
                result: ApiResult::$result,
                message: message.into(),
            }
        }
    )*};
}

impl ApiError {
    errors! {
        /// A parameter breaks a limit, or is missing.
        invalid_parameter => "InvalidParameterException", BAD_REQUEST, Refused;
        /// What is asked cannot be done in the state that the secret is in.
        invalid_request => "InvalidRequestException", BAD_REQUEST, Refused;
        /// A parameter of a call about keys breaks a limit, or is missing.
        validation => "ValidationException", BAD_REQUEST, Refused;
        /// There is no such key.
        no_key => "NotFoundException", BAD_REQUEST, Refused;
        /// There is no such secret or version.
        not_found => "ResourceNotFoundException", BAD_REQUEST, Refused;
        /// There is a version of that id with another value.
        resource_exists => "ResourceExistsException", BAD_REQUEST, Refused;
        /// The caller may not.
        access_denied => "AccessDeniedException", BAD_REQUEST, Denied;
        /// The secret's key refuses to decrypt.
        decryption_failure => "DecryptionFailure", BAD_REQUEST, Refused;
        /// The secret's key refuses to encrypt.
        encryption_failure => "EncryptionFailure", BAD_REQUEST, Refused;
        /// No token was sent.
        no_token => "MissingAuthenticationTokenException", BAD_REQUEST, Denied;
        /// The token is not valid.
        bad_token => "UnrecognizedClientException", BAD_REQUEST, Denied;
        /// There is no such call.
        unknown_operation => "UnknownOperationException", BAD_REQUEST, Refused;
        /// The body is no JSON of the form.
        not_readable => "SerializationException", BAD_REQUEST, Refused;
        /// The body is too large.
        too_large => "RequestEntityTooLargeException", PAYLOAD_TOO_LARGE, Refused;
        /// The body did not come in time.
        too_slow => "RequestTimeoutException", REQUEST_TIMEOUT, Refused;
        /// The caller asks too much at once.
        throttled => "ThrottlingException", BAD_REQUEST, Throttled;
        /// This replica cannot answer now; another one may, or the same one later.
        unavailable => "ServiceUnavailableException", SERVICE_UNAVAILABLE, Failed;
        /// Something failed that is not the caller's doing.
        internal => "InternalFailure", INTERNAL_SERVER_ERROR, Failed;
    }

    /// What RBAC, a namespace or a pod is looked up in gave no answer.
    pub(super) fn unanswered() -> Self {
        Self::unavailable("the API server of the cluster did not answer in time; try again")
    }
}

impl From<Unrecorded> for ApiError {
    fn from(unrecorded: Unrecorded) -> Self {
        Self::unavailable(unrecorded.to_string())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(message) => Self::access_denied(message),
            Refused::Undecided => Self::unanswered(),
        }
    }
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        let message = error.to_string();
        match error {
            OperationError::Stale(_)
            | OperationError::Undecided(_)
            | OperationError::Unrecorded(_) => Self::unavailable(message),
            OperationError::AccessDenied(_) => Self::access_denied(message),
            OperationError::Internal => Self::internal(message),
            error => Self {
                code: error.name(),
                ..Self::validation(message)
            },
        }
    }
}
