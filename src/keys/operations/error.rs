//! Why an operation was not done, by the names that AWS KMS has for it.

use super::gate::{Refused, Unrecorded};
use crate::crypto::KeyId;
use crate::keys::{NotFresh, StateRefusal};

/// Why an operation was not done. The text may go to the caller: it holds nothing that the caller did not say, or may not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// What is asked breaks a limit; the message names it. Nothing was looked up.
    #[error("{0}")]
    Validation(String),
    /// There is no such key, or its material was destroyed.
    #[error("key {0} does not exist")]
    NotFound(KeyId),
    /// The caller may not; or the ciphertext names a key that does not exist, which is the same to the caller.
    #[error("{0}")]
    AccessDenied(String),
    /// Nobody could decide in time. It may be tried again.
    #[error("{0}")]
    Undecided(Refused),
    /// This replica cannot prove that it knows the key's state. Another one can.
    #[error("no key is used: {0}")]
    Stale(NotFresh),
    /// A key of this spec and usage does not do that, or not with that algorithm.
    #[error("key {0} is not of a spec and usage for this operation and algorithm")]
    InvalidKeyUsage(KeyId),
    /// The key has no public key.
    #[error("key {0} is no key pair: it has no public key")]
    Unsupported(KeyId),
    /// The key's state refuses it.
    #[error(transparent)]
    State(StateRefusal),
    /// The ciphertext is not of the form, was changed, or was made with another context.
    #[error("the ciphertext is invalid, or was made with another encryption context")]
    InvalidCiphertext,
    /// The ciphertext was made by another key than the one that is named.
    #[error("the ciphertext was made by another key")]
    IncorrectKey,
    /// The code is not that of the message.
    #[error("the MAC is not that of the message")]
    InvalidMac,
    /// The signature is not that of the message.
    #[error("the signature is not that of the message")]
    InvalidSignature,
    /// The request would have succeeded.
    #[error("the request would have succeeded, but dryRun is set")]
    DryRun,
    /// The use could not be written down, so it is not answered.
    #[error(transparent)]
    Unrecorded(Unrecorded),
    /// No randomness, or the library failed.
    #[error("internal failure")]
    Internal,
}

impl OperationError {
    /// The name of the error in AWS KMS.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::NotFound(_) => "NotFoundException",
            Self::AccessDenied(_) => "AccessDeniedException",
            Self::Undecided(_) | Self::Stale(_) => "DependencyTimeoutException",
            Self::InvalidKeyUsage(_) => "InvalidKeyUsageException",
            Self::Unsupported(_) => "UnsupportedOperationException",
            Self::State(refusal) => refusal.name(),
            Self::InvalidCiphertext => "InvalidCiphertextException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::InvalidMac => "KMSInvalidMacException",
            Self::InvalidSignature => "KMSInvalidSignatureException",
            Self::DryRun => "DryRunOperationException",
            Self::Unrecorded(_) | Self::Internal => "KMSInternalException",
        }
    }
}

impl From<Refused> for OperationError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(message) => Self::AccessDenied(message),
            Refused::Undecided => Self::Undecided(refused),
        }
    }
}

/// Refuses what has not `least` to `most` bytes.
pub(super) fn bounded(
    what: &str,
    length: usize,
    least: usize,
    most: usize,
) -> Result<(), OperationError> {
    if (least..=most).contains(&length) {
        return Ok(());
    }
    let message = format!("{what} has {length} bytes; it must have {least} to {most}");
    Err(OperationError::Validation(message))
}
