//! Cryptography: envelopes, wrapped data keys, and key material under the root key.
//!
//! Three layers, each encrypting the one to its right:
//!
//! ```text
//! root key ──wrap_material──▶ material ──wrap/encrypt──▶ data key ──seal──▶ plaintext
//! (RootKey)                   (SecretKey)                (one message)      (SecretBytes)
//! ```
//!
//! Material that is not for this (HMAC keys, key pairs) is wrapped the same way and used directly.
//!
//! Every byte format is described in `docs/formats.md`, with an example that is also a test vector. Nothing
//! here does I/O, knows Kubernetes or keeps state: randomness and keys are arguments, look-ups go through
//! [`MaterialLookup`].

mod algorithm;
mod arn;
mod body;
mod bytes;
mod cipher;
mod committed;
mod context;
mod envelope;
mod error;
mod footer;
mod header;
mod ids;
mod import;
mod kdf;
mod key_pair;
mod mac;
mod material;
mod public_key;
mod purpose;
mod random;
mod root;
mod sealing;
mod secret;
mod secret_key;
mod suite;
#[cfg(test)]
mod vectors;
mod wrap;

pub use algorithm::{KeyKind, MacAlgorithm, OaepAlgorithm, RsaSize, SigningAlgorithm, SigningKind};
pub use arn::{AccountId, Arn, ArnError, PROVIDER_ID, Region, secret_arn};
pub use context::{
    EncryptionContext, MAX_CONTEXT_BYTES, MAX_CONTEXT_PAIRS, OWN_PREFIX, RESERVED_PREFIXES,
};
pub use envelope::{EnvelopeInfo, Limits, MAX_PLAINTEXT, max_sealed_length, open, peek, seal};
pub use error::{
    ContextError, DecryptError, KeyError, OpenError, ParseError, RandomError, SealError, SignError,
    UnwrapError,
};
pub use header::MAX_WRAPPED_KEYS;
pub use ids::{IdError, InstallationId, KeyId, MaterialId, SealingKeyId};
pub use import::{ImportWrapping, MAX_WRAPPED_IMPORT, WRAPPING_SIZE, unwrap_import, wrap_import};
pub use key_pair::{DecryptionKey, SigningKey};
pub use mac::MacKey;
pub use material::{
    MAX_MATERIAL, Material, MaterialBinding, MaterialLookup, WrappingKey, root_of, unwrap_material,
    wrap_material,
};
pub use public_key::{Message, encrypt_oaep, public_key_pem, verify};
pub use purpose::Purpose;
pub use random::{OsRandom, Random};
pub use root::{Fingerprint, RootKey};
pub use sealing::{
    Recipient, SEALING_PROVIDER_ID, SealedInfo, SealingKeyError, SealingKeys, SealingPrivateKey,
    SealingPublicKey, open_sealed, peek_sealed, seal_to,
};
pub use secret::{SecretArray, SecretBytes};
pub use secret_key::SecretKey;
pub use suite::Suite;
pub use wrap::{CiphertextInfo, MAX_SMALL_PLAINTEXT, decrypt, encrypt, peek_ciphertext};
