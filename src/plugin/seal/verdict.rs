//! What is to be said of an entry that is found somewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::{
    EncryptionContext, OpenError, SealedInfo, SealingKeyId, SealingPublicKey, peek_sealed,
};
use crate::plugin::exit::Exit;
use crate::sealing::{Place, Refusal};

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
    /// Its private key was there, and it was not opened or sealed.
    Refused(Refusal),
}

impl Verdict {
    /// The verdict on an entry that was found there. `known`: the keys, the active one first.
    pub(super) fn on(entry: &str, place: &Place, key: &str, known: &[SealingPublicKey]) -> Self {
        let info = match Self::fitting(entry, place, key) {
            Ok(info) => info,
            Err(verdict) => return verdict,
        };
        let is = |known: &SealingPublicKey| info.recipients.contains(&known.recipient());
        match known.iter().position(is) {
            Some(0) => Self::Current,
            Some(older) => Self::OldKey(known[older].id()),
            None => Self::UnknownKey(info.recipients[0].key),
        }
    }

    /// What an entry says of itself, if it is for that place.
    pub(super) fn fitting(entry: &str, place: &Place, key: &str) -> Result<SealedInfo, Self> {
        let message = STANDARD.decode(entry.trim()).map_err(|_| Self::Altered)?;
        let info = peek_sealed(&message).map_err(|error| match error {
            OpenError::NoKey => Self::UnderManagedKey,
            _ => Self::Altered,
        })?;
        match place.expected(&info, key) {
            Ok(expected) if expected == info.context => Ok(info),
            _ => Err(Self::misplaced(&info.context, place, key)),
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
            Self::OldKey(id) => {
                format!("under the older sealing key {id}: seal it anew with `seal reseal`")
            }
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
            Self::Altered => Refusal::Altered.to_string(),
            Self::Refused(refusal) => refusal.to_string(),
        }
    }

    /// The exit code of a command that finds it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Current | Self::OldKey(_) | Self::UnderManagedKey => Exit::Ok,
            Self::Renamed(_) | Self::OtherContext | Self::Refused(Refusal::Misplaced) => {
                Exit::Renamed
            }
            Self::WrongNamespace(_) => Exit::WrongNamespace,
            Self::UnknownKey(_) | Self::Refused(Refusal::KeyMissing) => Exit::UnknownKeyVersion,
            Self::Altered | Self::Refused(Refusal::Altered) => Exit::Altered,
            Self::Refused(Refusal::TooLong | Refusal::NotSealed) => Exit::Error,
        }
    }
}
