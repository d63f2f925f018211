//! Root key providers: where the key that wraps all key material comes from.
//!
//! Providers only fetch (and, once, make) 32 bytes. What is wrapped with them, and what happens when
//! they are missing, is decided elsewhere ([`crate::installation`]).

mod file;
mod ring;
mod secret;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::BoxFuture;
use kube::Client;
use zeroize::Zeroizing;

use crate::crypto::{Fingerprint, RootKey, SecretArray};
use crate::telling::describe;

pub use file::FileRoot;
pub use ring::{MissingRoot, RootKeys};
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

/// Which provider.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
pub enum ProviderKind {
    /// Secrets in the operator's namespace, made by the operator.
    Secret,
    /// Files, mounted from wherever their owner keeps them.
    File,
}

/// Where root keys come from.
pub trait RootProvider: Send + Sync {
    /// Which one it is.
    fn kind(&self) -> ProviderKind;

    /// The root key with that fingerprint, if it is here. A look-up by name or by the fingerprint of what is found, never a
    /// trial decryption.
    fn find(&self, wanted: Fingerprint) -> BoxFuture<'_, Result<Option<RootKey>, RootError>>;

    /// The root key that a new installation starts with, or that a rotation goes to; `None` if one is still to be made.
    fn offered(&self) -> BoxFuture<'_, Result<Option<RootKey>, RootError>>;

    /// Makes the first root key. Called once in an installation's life, when nothing is encrypted yet. If
    /// somebody else was faster, his is the root key.
    fn create(&self) -> BoxFuture<'_, Result<RootKey, RootError>>;

    /// Keeps a further root key, under a name of its own. Nothing is ever written over.
    fn keep<'a>(&'a self, root: &'a RootKey) -> BoxFuture<'a, Result<(), RootError>>;

    /// Removes a root key for good, where that is the operator's to do; whether it is gone from here then. What is left, its
    /// owner has to remove.
    fn forget(&self, root: Fingerprint) -> BoxFuture<'_, Result<bool, RootError>>;

    /// Where root keys are, for messages.
    fn place(&self) -> String;
}

/// Where root keys may be, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootConfig {
    /// What a new installation starts with.
    pub provider: ProviderKind,
    /// The file that holds the root key.
    pub file: Option<PathBuf>,
    /// The file that holds the one before, or after, it.
    pub previous_file: Option<PathBuf>,
}

/// All places where root keys may be. Secrets are always among them, so that a migration to or from them needs no restart.
#[derive(Clone)]
pub struct Providers {
    first: ProviderKind,
    all: Arc<[Box<dyn RootProvider>]>,
}

impl Providers {
    /// The providers of that configuration.
    pub fn new(config: &RootConfig, client: Client, namespace: &str) -> Self {
        // Files first: what is in both places is then read without the API server.
        let mut all: Vec<Box<dyn RootProvider>> = Vec::new();
        if let Some(file) = &config.file {
            let previous = config.previous_file.clone();
            all.push(Box::new(FileRoot::new(file.clone(), previous)));
        }
        all.push(Box::new(SecretRoot::new(client, namespace)));
        Self {
            first: config.provider,
            all: all.into(),
        }
    }

    /// Two files and nothing else.
    #[cfg(test)]
    pub(crate) fn of_files(file: PathBuf, previous: PathBuf) -> Self {
        Self {
            first: ProviderKind::File,
            all: Arc::new([Box::new(FileRoot::new(file, Some(previous)))]),
        }
    }

    /// The provider of that kind, if it is configured.
    pub fn of(&self, kind: ProviderKind) -> Option<&dyn RootProvider> {
        let found = self.all.iter().find(|provider| provider.kind() == kind);
        found.map(|provider| &**provider)
    }

    /// The provider that a new installation starts with.
    pub fn first(&self) -> Option<&dyn RootProvider> {
        self.of(self.first)
    }

    /// The root key with that fingerprint, wherever it is, and whether one of these places is the etcd that holds what it wraps.
    ///
    /// # Errors
    /// That of a provider that failed, if the root key was not found elsewhere.
    async fn find(&self, wanted: Fingerprint) -> Result<Option<(RootKey, bool)>, RootError> {
        let (mut found, mut embedded, mut failed) = (None, false, None);
        for provider in &*self.all {
            match provider.find(wanted).await {
                Ok(Some(root)) => {
                    embedded |= provider.kind() == ProviderKind::Secret;
                    found = found.or(Some(root));
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (found, failed) {
            (Some(root), _) => Ok(Some((root, embedded))),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// Where was looked, and which root key is offered there.
    async fn places(&self) -> String {
        let mut places = Vec::new();
        for provider in &*self.all {
            let holds = match provider.offered().await {
                Ok(Some(root)) => format!(" (which holds {})", root.fingerprint()),
                Ok(None) | Err(_) => String::new(),
            };
            places.push(format!("{}{holds}", provider.place()));
        }
        places.join(" and ")
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
