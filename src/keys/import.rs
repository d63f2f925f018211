//! Imported material: the wrapping key that is offered for it, and the check that it is the key's own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::key::{GenerateError, NewKey, binding};
use super::kind::kind;
use super::wrapped::{USAGE_DIGEST, USAGE_OFFER};
use crate::api::key_import::{ImportIdentity, ImportOffer, ImportWrappingAlgorithm};
use crate::api::{KeyMaterialSpec, MaterialGeneration};
use crate::crypto::{
    DecryptionKey, ImportWrapping, InstallationId, KeyId, MAX_MATERIAL, MaterialBinding,
    MaterialId, Random, SecretBytes, SecretKey, WRAPPING_SIZE, root_of, unwrap_import,
    unwrap_material, wrap_material,
};
use crate::roots::RootKeys;

/// How long a wrapping key is offered (AWS KMS: 24 hours too).
const OFFERED_FOR: SignedDuration = SignedDuration::from_hours(24);
const DIGEST_LABEL: &[u8] = b"keystead/v1/import-digest";

/// Why material is not taken. The text may be shown: it holds nothing of the material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefusal {
    /// It does not unwrap. It does not say why, so that it is no oracle.
    #[error(
        "encryptedKeyMaterial does not unwrap: wrap it anew with status.import.wrappingPublicKey, as \
         spec.import.wrappingAlgorithm says (OAEP with SHA-256 also in MGF1, no label)"
    )]
    Unwrap,
    /// It is no key of this spec.
    #[error(
        "the material is no key of spec.keySpec: a symmetric key has 32 bytes, an HMAC key as many as its hash, and a \
         key pair is a PKCS#8 structure in DER of just that size or curve"
    )]
    Kind,
    /// It is another material than the key had.
    #[error(
        "the material is another than the one that was imported first, and only that is ever taken, since ciphertext \
         needs it: import that one, or make a new key"
    )]
    OtherMaterial,
    /// What the truth keeps does not open.
    #[error("what is stored of the import cannot be opened: see the root key")]
    Unreadable,
}

/// Material that may be taken.
#[derive(Debug)]
pub struct Imported {
    material: SecretBytes,
    digest: SecretBytes,
}

/// Makes a wrapping key for the key that `spec` describes. It takes up to seconds.
pub fn new_offer(
    new: &NewKey<'_>,
    spec: &KeyMaterialSpec,
    random: &mut dyn Random,
) -> Result<ImportOffer, GenerateError> {
    let pair = DecryptionKey::generate(WRAPPING_SIZE).map_err(GenerateError::Random)?;
    offer_of(new, spec, &pair, random)
}

fn offer_of(
    new: &NewKey<'_>,
    spec: &KeyMaterialSpec,
    pair: &SecretBytes,
    random: &mut dyn Random,
) -> Result<ImportOffer, GenerateError> {
    let id = MaterialId::generate(random).map_err(GenerateError::Random)?;
    let public = DecryptionKey::from_pkcs8(WRAPPING_SIZE, pair);
    let public = public.map_err(|_| GenerateError::Kind)?;
    let bound = bound_as(USAGE_OFFER, spec, new.id, id, new.installation);
    let wrapped = wrap_material(new.root, &bound, pair, random).map_err(GenerateError::Random)?;
    let valid_until = new.now.checked_add(OFFERED_FOR);
    Ok(ImportOffer {
        id: id.to_string(),
        public_key: BASE64.encode(public.public_key()),
        wrapped: BASE64.encode(wrapped),
        valid_until: Time(valid_until.unwrap_or(new.now)),
    })
}

/// What names the offer: base64 of the key id and the offer's id.
pub fn import_token(key: KeyId, offer: &ImportOffer) -> String {
    let id = offer.id.parse::<MaterialId>();
    let id = id.map_or([0; 16], |id| *id.as_bytes());
    BASE64.encode([key.as_bytes().as_slice(), &id].concat())
}

/// What material is opened with.
pub struct Opening<'a> {
    /// The installation.
    pub installation: InstallationId,
    /// The root keys.
    pub roots: &'a RootKeys,
    /// The key.
    pub key: KeyId,
    /// The truth about it.
    pub spec: &'a KeyMaterialSpec,
}

impl Opening<'_> {
    /// Unwraps material for that offer, if it is a key of the spec, and the one that was imported first.
    pub fn open(
        &self,
        offer: &ImportOffer,
        algorithm: ImportWrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Imported, ImportRefusal> {
        let pair = self.unwrapped(USAGE_OFFER, &offer.id, &offer.wrapped)?;
        let pair = DecryptionKey::from_pkcs8(WRAPPING_SIZE, &pair);
        let pair = pair.map_err(|_| ImportRefusal::Unreadable)?;
        let wrapping = match algorithm {
            ImportWrappingAlgorithm::RsaesOaepSha256 => ImportWrapping::RsaesOaepSha256,
            ImportWrappingAlgorithm::RsaAesKeyWrapSha256 => ImportWrapping::RsaAesKeyWrapSha256,
        };
        let material = unwrap_import(&pair, wrapping, wrapped);
        let imported = self.checked(material.map_err(|_| ImportRefusal::Unwrap)?)?;
        let identity = self.spec.import.as_ref().and_then(|i| i.identity.as_ref());
        if let Some(identity) = identity {
            let known = &identity.wrapped_digest;
            let known = self.unwrapped(USAGE_DIGEST, &identity.material_id, known)?;
            if known != imported.digest {
                return Err(ImportRefusal::OtherMaterial);
            }
        }
        Ok(imported)
    }

    fn checked(&self, material: SecretBytes) -> Result<Imported, ImportRefusal> {
        let kind = kind(self.spec.key_spec, self.spec.key_usage).ok_or(ImportRefusal::Kind)?;
        if material.len() > MAX_MATERIAL {
            return Err(ImportRefusal::Kind);
        }
        let key = SecretKey::from_bytes(kind, &material).map_err(|_| ImportRefusal::Kind)?;
        // A key pair is known by its public key: PKCS#8 has several ways to write the same one.
        let known_by = key.public_key().unwrap_or(material.expose());
        let mut digest = SecretBytes::zeroed(32);
        let hashed = Sha256::new()
            .chain_update(DIGEST_LABEL)
            .chain_update(self.key.as_bytes())
            .chain_update(known_by)
            .finalize();
        digest.expose_mut().copy_from_slice(&hashed);
        Ok(Imported { material, digest })
    }

    fn unwrapped(
        &self,
        usage: &str,
        id: &str,
        wrapped: &str,
    ) -> Result<SecretBytes, ImportRefusal> {
        let id = id.parse().map_err(|_| ImportRefusal::Unreadable)?;
        let wrapped = BASE64.decode(wrapped);
        let wrapped = wrapped.map_err(|_| ImportRefusal::Unreadable)?;
        let bound = bound_as(usage, self.spec, self.key, id, self.installation);
        let root = root_of(&wrapped).map_err(|_| ImportRefusal::Unreadable)?;
        let root = self.roots.find(root).ok_or(ImportRefusal::Unreadable)?;
        unwrap_material(&root, &bound, &wrapped).map_err(|_| ImportRefusal::Unreadable)
    }
}

/// The generation of imported material, and what it is known by from now on. Imported again, it has the id that ciphertext
/// knows it by.
pub fn imported_generation(
    new: &NewKey<'_>,
    spec: &KeyMaterialSpec,
    imported: &Imported,
    random: &mut dyn Random,
) -> Result<(MaterialGeneration, ImportIdentity), GenerateError> {
    let known = spec.import.as_ref().and_then(|i| i.identity.as_ref());
    let id = match known.and_then(|identity| identity.material_id.parse().ok()) {
        Some(id) => id,
        None => MaterialId::generate(random).map_err(GenerateError::Random)?,
    };
    let mut wrap = |bound: &MaterialBinding<'_>, bytes: &SecretBytes| {
        let wrapped = wrap_material(new.root, bound, bytes, random);
        wrapped
            .map(|wrapped| BASE64.encode(wrapped))
            .map_err(GenerateError::Random)
    };
    let bound = binding(spec, new.id, id, new.installation);
    let wrapped = wrap(&bound, &imported.material)?;
    let bound = bound_as(USAGE_DIGEST, spec, new.id, id, new.installation);
    let wrapped_digest = wrap(&bound, &imported.digest)?;
    let generation = MaterialGeneration {
        version: 1,
        material_id: id.to_string(),
        wrapped,
        root_fingerprint: new.root.fingerprint().to_string(),
        created: Time(new.now),
        unused_since: None,
    };
    let identity = ImportIdentity {
        material_id: id.to_string(),
        wrapped_digest,
    };
    Ok((generation, identity))
}

fn bound_as<'a>(
    usage: &'a str,
    spec: &'a KeyMaterialSpec,
    key: KeyId,
    id: MaterialId,
    installation: InstallationId,
) -> MaterialBinding<'a> {
    MaterialBinding {
        usage,
        ..binding(spec, key, id, installation)
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
