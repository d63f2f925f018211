//! Sealing key pairs.

use std::fmt;

use hpke::{Deserializable as _, Kem as _, Serializable as _, kem::XWing};
use sha2::{Digest as _, Sha256};

use super::Recipient;
use crate::crypto::{
    error::{KeyError, RandomError},
    ids::{InstallationId, SealingKeyId},
    random::Random,
    secret::SecretArray,
};

/// Bytes of a public key: ML-KEM-768 1184 | X25519 32.
pub(super) const PUBLIC_LENGTH: usize = 1216;
const SEED_LENGTH: usize = 32;
/// What a key's id is a hash of, before the installation's id and the public key.
const ID_LABEL: &[u8] = b"keystead/v1/sealing-key";

/// What seals for an installation. It is no secret; its text form is what people copy.
#[derive(Clone, Eq, PartialEq)]
pub struct SealingPublicKey {
    installation: InstallationId,
    id: SealingKeyId,
    bytes: Box<[u8; PUBLIC_LENGTH]>,
}

impl SealingPublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// They are no X-Wing public key.
    pub fn new(installation: InstallationId, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: Box<[u8; PUBLIC_LENGTH]> = bytes.to_vec().try_into().map_err(|_| KeyError)?;
        <XWing as hpke::Kem>::PublicKey::from_bytes(bytes.as_slice()).map_err(|_| KeyError)?;
        Ok(Self {
            installation,
            id: id_of(installation, &bytes),
            bytes,
        })
    }

    /// The installation that can open.
    pub fn installation(&self) -> InstallationId {
        self.installation
    }

    /// Its name.
    pub fn id(&self) -> SealingKeyId {
        self.id
    }

    /// Both names.
    pub fn recipient(&self) -> Recipient {
        Recipient {
            installation: self.installation,
            key: self.id,
        }
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_LENGTH] {
        &self.bytes
    }

    pub(super) fn for_hpke(&self) -> <XWing as hpke::Kem>::PublicKey {
        <XWing as hpke::Kem>::PublicKey::from_bytes(self.bytes.as_slice())
            .expect("it was read when this was made")
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingPublicKey({})", self.recipient())
    }
}

/// What opens what was sealed for an installation: a seed from which the key pair follows.
pub struct SealingPrivateKey {
    id: SealingKeyId,
    seed: SecretArray<SEED_LENGTH>,
}

impl SealingPrivateKey {
    /// Bytes of the seed.
    pub const LENGTH: usize = SEED_LENGTH;

    /// A fresh key.
    pub fn generate(
        installation: InstallationId,
        random: &mut dyn Random,
    ) -> Result<Self, RandomError> {
        let seed = SecretArray::fill_with(|bytes| random.fill(bytes))?;
        Ok(Self::from_seed(installation, seed))
    }

    /// The key with this seed.
    pub fn from_seed(installation: InstallationId, seed: SecretArray<SEED_LENGTH>) -> Self {
        let id = id_of(installation, &public_of(&seed));
        Self { id, seed }
    }

    /// Its name.
    pub fn id(&self) -> SealingKeyId {
        self.id
    }

    /// The seed itself, for whoever stores it.
    pub fn expose(&self) -> &[u8; SEED_LENGTH] {
        self.seed.expose()
    }

    /// What seals for it.
    pub fn public(&self, installation: InstallationId) -> SealingPublicKey {
        let bytes = public_of(&self.seed);
        SealingPublicKey {
            installation,
            id: id_of(installation, &bytes),
            bytes,
        }
    }

    /// The expanded key, which wipes itself when it is dropped.
    pub(super) fn for_hpke(&self) -> <XWing as hpke::Kem>::PrivateKey {
        expand(&self.seed)
    }
}

/// The sealing keys of one installation.
pub struct SealingKeys {
    installation: InstallationId,
    keys: Vec<SealingPrivateKey>,
}

impl SealingKeys {
    /// These keys, which are of this installation.
    pub fn new(installation: InstallationId, keys: Vec<SealingPrivateKey>) -> Self {
        Self { installation, keys }
    }

    /// Whose they are.
    pub fn installation(&self) -> InstallationId {
        self.installation
    }

    /// The key of that name.
    pub fn find(&self, id: SealingKeyId) -> Option<&SealingPrivateKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// All of them, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &SealingPrivateKey> {
        self.keys.iter()
    }
}

fn expand(seed: &SecretArray<SEED_LENGTH>) -> <XWing as hpke::Kem>::PrivateKey {
    <XWing as hpke::Kem>::PrivateKey::from_bytes(seed.expose())
        .expect("every 32 bytes are an X-Wing private key")
}

fn public_of(seed: &SecretArray<SEED_LENGTH>) -> Box<[u8; PUBLIC_LENGTH]> {
    let mut bytes = Box::new([0; PUBLIC_LENGTH]);
    XWing::sk_to_pk(&expand(seed)).write_exact(bytes.as_mut_slice());
    bytes
}

/// The first 16 bytes of SHA-256: a key says by itself whether it is the one that is meant.
pub(super) fn id_of(
    installation: InstallationId,
    public_key: &[u8; PUBLIC_LENGTH],
) -> SealingKeyId {
    let digest = Sha256::new()
        .chain_update(ID_LABEL)
        .chain_update(installation.as_bytes())
        .chain_update(public_key)
        .finalize();
    let (id, _) = digest.split_first_chunk().expect("the digest has 32 bytes");
    SealingKeyId::from_bytes(*id)
}
