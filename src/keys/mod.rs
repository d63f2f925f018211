//! The KMS domain: the keyring holds every key's material in memory and is the only place that uses
//! it. Which key a ciphertext needs is said by its header and looked up by id, never tried out.
//!
//! ```text
//! KeyMaterial (truth) ──Loader (watch, unwrap under the root key)──▶ Keyring ──seal, open──▶ secrets
//!                                                                       └──▶ operations (policy, audit) ──▶ API
//! ```

mod freshness;
#[cfg(test)]
mod guarded_tests;
mod import;
mod key;
mod keyring;
mod kind;
mod loader;
pub mod operations;
mod rewrap;
mod sealing;
mod state_table;
#[cfg(test)]
mod testing;
mod user;
mod uses;
mod wrapped;

pub use freshness::{Freshness, NotFresh};
pub use import::{ImportRefusal, Imported, Opening, import_token, imported_generation, new_offer};
pub use key::{GenerateError, Generation, Key, NewKey, binding, derive_key_id, new_generation};
pub use keyring::{KeyChanged, Keyring, UseError, Used};
pub use kind::{Algorithms, SYMMETRIC_DEFAULT, kind};
pub use loader::Loader;
pub use rewrap::{RewrapError, is_under, rewrap};
pub use sealing::{
    PublishedKey, SealingKey, new_sealing_generation, new_sealing_key, newest_sealing_key,
    sealing_key_id,
};
pub use state_table::{StateRefusal, permitted};
pub use user::{NotAllowed, SecretUser};
pub use uses::{RefusedUse, ToldUses, Uses, read_told};
pub use wrapped::roots_of;
