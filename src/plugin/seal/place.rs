//! Where an entry opens, and what is to be said of one that is found somewhere.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::{
    EncryptionContext, OpenError, Purpose, SealingKeyId, SealingPublicKey, peek_sealed,
};
use crate::plugin::exit::{Exit, Failure};

/// Where entries open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scope {
    /// Only as this key of this secret.
    #[default]
    Strict,
    /// As any key of any secret of the namespace.
    Namespace,
}

/// The place of a `ManagedSecret`, and the pairs that are bound to its ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) context: BTreeMap<String, String>,
}

impl Place {
    /// What an entry is bound to.
    pub(super) fn context(&self, scope: Scope, key: &str) -> Result<EncryptionContext, Failure> {
        let user = EncryptionContext::user(&self.context);
        let user = user.map_err(|error| Failure::error(format!("encryption context: {error}")))?;
        let purpose = match scope {
            Scope::Strict => Purpose::Sealed {
                namespace: &self.namespace,
                secret: &self.name,
                key,
            },
            Scope::Namespace => Purpose::SealedForNamespace {
                namespace: &self.namespace,
            },
        };
        let context = purpose.context(&user);
        context.map_err(|error| Failure::error(format!("encryption context: {error}")))
    }
}

/// What is to be said of an entry. Only the installation can say that it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// For this place, and the active key.
    Current,
    /// For this place, and an older key of the installation.
    OldKey(SealingKeyId),
    /// Encrypted under a `ManagedKey` of a cluster, which alone can say more.
    UnderManagedKey,
    /// For another secret or key.
    Renamed(String),
    /// For another namespace.
    WrongNamespace(String),
    /// For other pairs of the encryption context.
    OtherContext,
    /// For none of the keys that are known.
    UnknownKey(SealingKeyId),
    /// Not whole.
    Altered,
}

impl Verdict {
    /// The verdict on an entry that was found there. `known`: the keys, the active one first.
    pub(super) fn on(entry: &str, place: &Place, key: &str, known: &[SealingPublicKey]) -> Self {
        let Ok(message) = STANDARD.decode(entry.trim()) else {
            return Self::Altered;
        };
        let info = match peek_sealed(&message) {
            Ok(info) => info,
            Err(OpenError::NoKey) => return Self::UnderManagedKey,
            Err(_) => return Self::Altered,
        };
        let scopes = [Scope::Strict, Scope::Namespace];
        let mut expected = scopes.iter().map(|&scope| place.context(scope, key));
        if !expected.any(|expected| expected.is_ok_and(|expected| expected == info.context)) {
            return Self::misplaced(&info.context, place, key);
        }
        let recipients = || info.recipients.iter();
        let is = |known: &SealingPublicKey| recipients().any(|r| *r == known.recipient());
        match known.iter().position(is) {
            Some(0) => Self::Current,
            Some(older) => Self::OldKey(known[older].id()),
            None => Self::UnknownKey(info.recipients[0].key),
        }
    }

    fn misplaced(context: &EncryptionContext, place: &Place, key: &str) -> Self {
        let bound = |name: &str| context.get(name).unwrap_or_default().to_owned();
        let namespace = bound("keystead:namespace");
        if namespace != place.namespace {
            return Self::WrongNamespace(namespace);
        }
        let (name, of) = (bound("keystead:secret"), bound("keystead:key"));
        let strict = context.get("keystead:scope").is_none();
        if strict && (name != place.name || of != key) {
            return Self::Renamed(format!("{name}, key {of}"));
        }
        Self::OtherContext
    }

    /// In words, with the remedy.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Current => "current".to_owned(),
            Self::OldKey(id) => format!("under the older sealing key {id}: seal it again"),
            Self::UnderManagedKey => "under a ManagedKey: only its cluster can tell".to_owned(),
            Self::Renamed(was) => format!("sealed for secret {was}: seal it again for this name"),
            Self::WrongNamespace(was) => {
                format!("sealed for namespace {was}: seal it again for this one")
            }
            Self::OtherContext => {
                "sealed with another encryption context: seal it again with spec.encryptionContext"
                    .to_owned()
            }
            Self::UnknownKey(id) => {
                format!(
                    "sealed for the key {id}, which is not among the given ones: fetch the keys again, or seal it again"
                )
            }
            Self::Altered => "altered or cut: seal it again".to_owned(),
        }
    }

    /// The exit code of `--validate`.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Current | Self::OldKey(_) | Self::UnderManagedKey => Exit::Ok,
            Self::Renamed(_) | Self::OtherContext => Exit::Renamed,
            Self::WrongNamespace(_) => Exit::WrongNamespace,
            Self::UnknownKey(_) => Exit::UnknownKeyVersion,
            Self::Altered => Exit::Altered,
        }
    }
}
