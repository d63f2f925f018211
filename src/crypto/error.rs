//! The errors of this module.
//!
//! Structure that anybody can read is described exactly ([`ParseError`]). Whether a tag, a commitment or a
//! signature was wrong is not: that is one opaque [`DecryptError`], so that an error is no oracle.

use thiserror::Error;

use super::{
    algorithm::SigningAlgorithm,
    ids::{InstallationId, KeyId, MaterialId, SealingKeyId},
    root::Fingerprint,
};

/// Authentication failed: wrong key, wrong context or changed bytes. It does not say which.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the ciphertext does not open")]
pub struct DecryptError;

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no randomness available")]
pub struct RandomError;

/// Why bytes are not a message, wrapped key or wrapped material of the formats read here.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseError {
    /// A field runs past the end.
    #[error("truncated")]
    Truncated,
    /// Something follows the end.
    #[error("bytes after the end")]
    TrailingBytes,
    /// The format version is another.
    #[error("unsupported format version {0}")]
    Version(u8),
    /// The algorithm is another.
    #[error("unsupported algorithm {0:#06x}")]
    Algorithm(u16),
    /// The context's pairs are not UTF-8, not in order, repeated, or do not fill their length.
    #[error("malformed encryption context")]
    Context,
    /// There is no wrapped key, or more than [`super::MAX_WRAPPED_KEYS`].
    #[error("{0} wrapped keys")]
    KeyCount(u16),
    /// The content type is neither framed nor non-framed.
    #[error("unknown content type {0}")]
    ContentType(u8),
    /// The frame length does not fit the content type, or a final frame is longer than a frame.
    #[error("frame length out of bounds")]
    FrameLength,
    /// A frame's sequence number, or the one in its IV, is not the next.
    #[error("frames out of order")]
    FrameOrder,
    /// The signature or the key that made it has no plausible length.
    #[error("malformed signature")]
    Signature,
}

/// Why pairs are no encryption context.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ContextError {
    /// The key starts with a prefix kept for Keystead or the AWS SDKs.
    #[error("encryption context key `{key}` starts with a reserved prefix")]
    Reserved {
        /// The key as given.
        key: String,
    },
    /// A key is given twice.
    #[error("encryption context key `{key}` is given twice")]
    Repeated {
        /// The key as given.
        key: String,
    },
    /// A key is empty.
    #[error("an encryption context key is empty")]
    EmptyKey,
    /// There are more than [`super::MAX_CONTEXT_PAIRS`] pairs.
    #[error("more than {} encryption context pairs", super::MAX_CONTEXT_PAIRS)]
    TooManyPairs,
    /// The serialised form exceeds [`super::MAX_CONTEXT_BYTES`].
    #[error(
        "the encryption context is longer than {} bytes",
        super::MAX_CONTEXT_BYTES
    )]
    TooLong,
}

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SealError {
    /// The plaintext exceeds the operation's limit.
    #[error("plaintext of {length} bytes exceeds {limit}")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No randomness for keys and ids.
    #[error("draw randomness")]
    Random(#[source] RandomError),
    /// The public key is not of the kind that it is said to be.
    #[error("read the public key")]
    Key(#[source] KeyError),
    /// There is no recipient, or more than [`super::MAX_WRAPPED_KEYS`].
    #[error("{0} recipients")]
    Recipients(usize),
    /// A recipient is given twice.
    #[error("sealing key {0} is given twice")]
    RepeatedRecipient(SealingKeyId),
}

/// Bytes are no key of the kind that they should be. It does not say why: they may be secret.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not a key of this kind")]
pub struct KeyError;

/// Why nothing was signed, or a signature not looked at.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SignError {
    /// A key of this kind does not sign with that algorithm.
    #[error("the key does not sign with {}", .0.name())]
    Algorithm(SigningAlgorithm),
    /// The algorithm takes the message itself only.
    #[error("the algorithm takes no digest")]
    NoDigest,
    /// The digest is not as long as the algorithm's hash.
    #[error("the digest has {length} bytes, not {expected}")]
    DigestLength {
        /// Bytes of the hash.
        expected: usize,
        /// Bytes given.
        length: usize,
    },
    /// The public key is not of the kind that it is said to be.
    #[error("read the public key")]
    Key(#[source] KeyError),
    /// No randomness.
    #[error("draw randomness")]
    Random,
}

/// Why a message or a small ciphertext was not decrypted.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum OpenError {
    /// The bytes have not the form read here.
    #[error("malformed ciphertext")]
    Malformed(#[source] ParseError),
    /// The plaintext would exceed the limit.
    #[error("plaintext of {length} bytes exceeds {limit}")]
    TooLong {
        /// Bytes announced.
        length: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// The message was made for another place, or with another context.
    #[error("the encryption context is another")]
    ContextMismatch {
        /// The first *expected* key whose value is absent or different; none if the message only has
        /// pairs beyond the expected. Never text of the message.
        key: Option<String>,
    },
    /// None of the wrapped keys was made by Keystead for its ARN.
    #[error("no wrapped key is ours")]
    NoKey,
    /// More than one of the wrapped keys is ours.
    #[error("more than one wrapped key is ours")]
    SeveralKeys,
    /// It is sealed, but for other installations only.
    #[error("sealed for installation {sealed_for}, and this is {this}")]
    OtherInstallation {
        /// The first installation that it is sealed for.
        sealed_for: InstallationId,
        /// The installation that was to open it.
        this: InstallationId,
    },
    /// It is sealed for this installation, under a sealing key that is not known here.
    #[error("sealing key {key} is missing")]
    SealingKeyMissing {
        /// The first key of this installation that it is sealed under.
        key: SealingKeyId,
    },
    /// The material that made the wrapped key is not known here.
    #[error("material {material} of key {key} is missing")]
    MaterialMissing {
        /// The key named by the ciphertext.
        key: KeyId,
        /// The generation named by the ciphertext.
        material: MaterialId,
    },
    /// Authentication failed.
    #[error(transparent)]
    Decrypt(DecryptError),
}

/// Why material was not unwrapped.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UnwrapError {
    /// The bytes have not the form read here.
    #[error("malformed wrapped material")]
    Malformed(#[source] ParseError),
    /// The material was wrapped under another root key.
    #[error("wrapped under root key {wanted}, but the root key is {have}")]
    RootMismatch {
        /// The root key that is needed.
        wanted: Fingerprint,
        /// The root key that was given.
        have: Fingerprint,
    },
    /// Authentication failed.
    #[error(transparent)]
    Decrypt(DecryptError),
}
