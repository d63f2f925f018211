//! Root key providers: where the key that wraps all key material comes from.
//!
//! Providers only fetch (and, once, make) 32 bytes. What is wrapped with them, and what happens when
//! they are missing, is decided elsewhere ([`crate::installation`]).

mod file;
mod secret;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::BoxFuture;
use kube::Client;
use zeroize::Zeroizing;

use crate::crypto::{RootKey, SecretArray};
use crate::telling::describe;

pub use file::FileRoot;
pub use secret::SecretRoot;

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The API server did not give or take the Secret.
    #[error("{operation} Secret {name}: {}", describe(reason))]
    Api {
        /// What was tried.
        operation: &'static str,
        /// Which Secret.
        name: String,
        /// Why it failed. No source: a chain that is printed must not quote the root key.
        reason: kube::Error,
    },
    /// The file cannot be read.
    #[error("read root key file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was found is no root key.
    #[error("{place} does not hold a root key: 32 bytes, or their base64, are needed")]
    Malformed {
        /// Where it was looked for.
        place: String,
    },
    /// The provider cannot make a root key; somebody else must.
    #[error(
        "there is no root key at {place}, and this provider does not make one; put 32 random bytes there"
    )]
    NotMade {
        /// Where it was looked for.
        place: String,
    },
    /// The operating system gave no randomness.
    #[error("draw randomness")]
    Random(#[source] crate::crypto::RandomError),
}

/// Where the root key comes from.
pub trait RootProvider: Send + Sync {
    /// The root key, or `None` if there is none.
    fn load(&self) -> BoxFuture<'_, Result<Option<RootKey>, RootError>>;

    /// Makes the root key. Called once in an installation's life, when nothing is encrypted yet. If
    /// somebody else was faster, his is the root key.
    fn create(&self) -> BoxFuture<'_, Result<RootKey, RootError>>;

    /// Where the root key is, for messages.
    fn place(&self) -> String;

    /// Whether the root key is in the same etcd as what it wraps.
    fn is_embedded(&self) -> bool;
}

/// Which provider, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootConfig {
    /// A Secret in the operator's namespace.
    Secret,
    /// A file, mounted from wherever its owner keeps it.
    File(PathBuf),
}

/// The provider of that configuration.
pub fn provider(config: &RootConfig, client: Client, namespace: &str) -> Box<dyn RootProvider> {
    match config {
        RootConfig::Secret => Box::new(SecretRoot::new(client, namespace)),
        RootConfig::File(path) => Box::new(FileRoot::new(path.clone())),
    }
}

/// 32 raw bytes, or their base64 with or without a newline at its end.
fn parse(bytes: &[u8], place: impl FnOnce() -> String) -> Result<RootKey, RootError> {
    let key = SecretArray::from_slice(bytes).or_else(|| {
        let text = bytes.trim_ascii_end();
        let decoded = Zeroizing::new(BASE64.decode(text).ok()?);
        SecretArray::from_slice(&decoded)
    });
    key.map(RootKey::from_secret)
        .ok_or_else(|| RootError::Malformed { place: place() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Option<String> {
        parse(bytes, String::new)
            .ok()
            .map(|root| root.fingerprint().to_string())
    }

    #[test]
    fn raw_bytes_and_their_base64_are_the_same_root_key() {
        let raw = [7; 32];
        let text = BASE64.encode(raw);
        assert!(parsed(&raw).is_some());
        assert_eq!(parsed(&raw), parsed(text.as_bytes()));
        assert_eq!(parsed(&raw), parsed(format!("{text}\n").as_bytes()));
    }

    #[test]
    fn other_lengths_are_refused() {
        assert_eq!(parsed(&[7; 31]), None);
        assert_eq!(parsed(&[7; 33]), None);
        assert_eq!(parsed(b""), None);
        assert_eq!(parsed(BASE64.encode([7; 16]).as_bytes()), None);
    }
}
