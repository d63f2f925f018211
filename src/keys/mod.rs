//! The KMS domain: the keyring holds every key's material in memory and is the only place that uses
//! it. Which key a ciphertext needs is said by its header and looked up by id, never tried out.
//!
//! ```text
//! KeyMaterial (truth) ──Loader (watch, unwrap under the root key)──▶ Keyring ──seal, open──▶ secrets
//! ```

mod key;
mod keyring;
mod loader;
mod user;

pub use key::{Generation, Key, NewKey, binding, derive_key_id, new_generation};
pub use keyring::{KeyChanged, Keyring, UseError};
pub use loader::Loader;
pub use user::{NotAllowed, SecretUser};
