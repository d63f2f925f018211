//! One key in memory: its attributes and the unwrapped generations of its material.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::kind::kind;
use crate::api::{
    InternalUse, KeyMaterial, KeyMaterialSpec, KeyOrigin, KeyState, MaterialGeneration,
};
use crate::crypto::{
    Arn, InstallationId, KeyError, KeyId, KeyKind, MaterialBinding, MaterialId, MaterialLookup,
    Random, RandomError, RootKey, SecretBytes, SecretKey, UnwrapError, WrappingKey, root_of,
    unwrap_material, wrap_material,
};
use crate::policy::{KeyRules, RuleError};
use crate::roots::RootKeys;

/// A key with its material.
pub struct Key {
    /// The key id.
    pub id: KeyId,
    /// The name that ciphertext knows the key by.
    pub arn: Arn,
    /// The truth this was made from.
    pub truth: KeyMaterial,
    /// Who may do what with it. Nobody may do anything if the truth's policy cannot be read.
    pub rules: Result<KeyRules, RuleError>,
    /// The generations, oldest first.
    pub generations: Vec<Generation>,
}

/// One generation of a key's material.
pub struct Generation {
    /// For people: 1, 2, ...
    pub version: u32,
    /// The id that ciphertext names it by.
    pub id: MaterialId,
    /// The material; the error says why it could not be opened.
    pub material: Result<SecretKey, String>,
}

impl Key {
    /// Reads the truth about a key and opens its generations.
    ///
    /// # Errors
    /// The truth is not of the form that the operator writes: somebody else wrote it.
    pub fn load(
        truth: KeyMaterial,
        installation: InstallationId,
        roots: &RootKeys,
    ) -> Result<Self, String> {
        let id: KeyId = truth
            .name_any()
            .parse()
            .map_err(|_| "its name is no key id".to_owned())?;
        let arn: Arn = truth
            .spec
            .arn
            .parse()
            .map_err(|_| "spec.arn is no ARN".to_owned())?;
        if truth.spec.internal.is_some() {
            return Err("it is no key of a ManagedKey".to_owned());
        }
        if arn.key != id {
            return Err("spec.arn names another key".to_owned());
        }
        let generations = truth
            .spec
            .generations
            .iter()
            .map(|g| load_generation(g, &truth.spec, id, installation, roots))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            id,
            arn,
            rules: KeyRules::of(&truth.spec),
            truth,
            generations,
        })
    }

    /// The state, as the truth decides it.
    pub fn state(&self) -> KeyState {
        let spec = &self.truth.spec;
        if spec.destroyed.is_some() {
            KeyState::Unavailable
        } else if spec.deletion.as_ref().is_some_and(|d| d.due.is_some()) {
            KeyState::DestructionDue
        } else if spec.parked_since.is_some() || spec.deletion.is_some() {
            KeyState::PendingDeletion
        } else if spec.origin == KeyOrigin::External && self.generations.is_empty() {
            KeyState::PendingImport
        } else if !spec.enabled {
            KeyState::Disabled
        } else if self.current().is_some_and(|g| g.material.is_ok()) {
            KeyState::Enabled
        } else {
            KeyState::Unavailable
        }
    }

    /// What its material is; none if its spec and usage do not go together.
    pub fn kind(&self) -> Option<KeyKind> {
        kind(self.truth.spec.key_spec, self.truth.spec.key_usage)
    }

    /// The generation that encrypts.
    pub fn current(&self) -> Option<&Generation> {
        self.generations.last()
    }

    /// The current generation as what wraps a data key, if it could be opened.
    pub fn wrapping_key(&self) -> Option<WrappingKey<'_>> {
        self.current()
            .and_then(|generation| self.wrapping(generation))
    }

    fn wrapping<'a>(&'a self, generation: &'a Generation) -> Option<WrappingKey<'a>> {
        let material = generation.material.as_ref().ok()?.symmetric()?;
        Some(WrappingKey {
            arn: &self.arn,
            material_id: generation.id,
            material,
        })
    }
}

impl MaterialLookup for Key {
    fn find(&self, key: KeyId, material: MaterialId) -> Option<WrappingKey<'_>> {
        let generation = self
            .generations
            .iter()
            .find(|g| key == self.id && g.id == material)?;
        self.wrapping(generation)
    }
}

fn load_generation(
    generation: &MaterialGeneration,
    spec: &KeyMaterialSpec,
    key: KeyId,
    installation: InstallationId,
    roots: &RootKeys,
) -> Result<Generation, String> {
    let id: MaterialId = generation
        .material_id
        .parse()
        .map_err(|_| "a material id is malformed".to_owned())?;
    let bound = binding(spec, key, id, installation);
    let material = unwrapped(generation, &bound, roots)?.and_then(|bytes| {
        let kind = kind(spec.key_spec, spec.key_usage).ok_or(KeyError);
        kind.and_then(|kind| SecretKey::from_bytes(kind, &bytes))
            .map_err(|error| error.to_string())
    });
    Ok(Generation {
        version: generation.version,
        id,
        material,
    })
}

/// The bytes of a generation, or why they cannot be had.
///
/// # Errors
/// It is not of the form that the operator writes.
pub(super) fn unwrapped(
    generation: &MaterialGeneration,
    bound: &MaterialBinding<'_>,
    roots: &RootKeys,
) -> Result<Result<SecretBytes, String>, String> {
    let wrapped = BASE64
        .decode(&generation.wrapped)
        .map_err(|_| "wrapped is no base64".to_owned())?;
    Ok(root_under(&wrapped, roots).and_then(|root| {
        unwrap_material(&root, bound, &wrapped).map_err(|error| error.to_string())
    }))
}

/// The root key that the material says it is wrapped under. A look-up, never a trial.
fn root_under(wrapped: &[u8], roots: &RootKeys) -> Result<Arc<RootKey>, String> {
    let root = root_of(wrapped).map_err(|error| UnwrapError::Malformed(error).to_string())?;
    let missing = || format!("it is wrapped under root key {root}, which is missing");
    roots.find(root).ok_or_else(missing)
}

/// What a generation is bound to: it opens for this key of this name in this installation only.
pub fn binding(
    spec: &KeyMaterialSpec,
    key: KeyId,
    material: MaterialId,
    installation: InstallationId,
) -> MaterialBinding<'_> {
    MaterialBinding {
        installation,
        key,
        material,
        namespace: &spec.namespace,
        name: &spec.name,
        spec: spec.key_spec.as_str(),
        usage: spec
            .internal
            .map_or_else(|| spec.key_usage.as_str(), InternalUse::as_str),
        origin: spec.origin.as_str(),
    }
}

/// What a new key is made from.
pub struct NewKey<'a> {
    /// The installation.
    pub installation: InstallationId,
    /// The root key.
    pub root: &'a RootKey,
    /// The key id.
    pub id: KeyId,
    /// Now.
    pub now: Timestamp,
}

/// Why no material was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// No randomness.
    #[error("no randomness available")]
    Random(#[source] RandomError),
    /// There is no such key: the schema refuses it.
    #[error("the spec and the usage of the key do not go together")]
    Kind,
}

/// Makes a generation of random material for the key that `spec` describes, wrapped under the root. A key pair of RSA takes up
/// to seconds.
pub fn new_generation(
    new: &NewKey<'_>,
    spec: &KeyMaterialSpec,
    random: &mut dyn Random,
) -> Result<MaterialGeneration, GenerateError> {
    let kind = kind(spec.key_spec, spec.key_usage).ok_or(GenerateError::Kind)?;
    let id = MaterialId::generate(random).map_err(GenerateError::Random)?;
    let material = SecretKey::generate(kind, random).map_err(GenerateError::Random)?;
    wrapped_generation(new, spec, id, &material, random).map_err(GenerateError::Random)
}

/// The next generation, of that material.
pub(super) fn wrapped_generation(
    new: &NewKey<'_>,
    spec: &KeyMaterialSpec,
    id: MaterialId,
    material: &SecretBytes,
    random: &mut dyn Random,
) -> Result<MaterialGeneration, RandomError> {
    let bound = binding(spec, new.id, id, new.installation);
    let wrapped = wrap_material(new.root, &bound, material, random)?;
    Ok(MaterialGeneration {
        version: spec.generations.last().map_or(1, |last| last.version + 1),
        material_id: id.to_string(),
        wrapped: BASE64.encode(wrapped),
        root_fingerprint: new.root.fingerprint().to_string(),
        created: Time(new.now),
        unused_since: None,
    })
}

/// The key id of the `ManagedKey` with this UID: the first 16 bytes of SHA-256 over a label, the
/// installation and the UID, with the version and variant bits of a UUID (RFC 9562, version 8).
///
/// Derived rather than drawn, so that making the same key twice (two leaders, a crash between two
/// steps) meets the API server's refusal of a second object with the same name.
pub fn derive_key_id(installation: InstallationId, object_uid: &str) -> KeyId {
    let digest = Sha256::new()
        .chain_update(b"keystead/v1/key-id")
        .chain_update(installation.as_bytes())
        .chain_update(object_uid)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    KeyId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::{INSTALLATION, made, reloaded, root, rotated};

    #[test]
    fn a_key_of_every_kind_is_made_wrapped_and_loaded() {
        for (spec, usage) in [
            ("SymmetricDefault", "EncryptDecrypt"),
            ("Hmac256", "GenerateVerifyMac"),
            ("Hmac384", "GenerateVerifyMac"),
            ("Hmac512", "GenerateVerifyMac"),
            ("Rsa2048", "EncryptDecrypt"),
            ("Rsa2048", "SignVerify"),
            ("EccNistP256", "SignVerify"),
            ("EccNistP384", "SignVerify"),
            ("EccNistEdwards25519", "SignVerify"),
        ] {
            let key = made(1, spec, usage);
            assert_eq!(key.state(), KeyState::Enabled, "{spec} {usage}");
            let secret = key.generations[0].material.as_ref().unwrap();
            let pair = spec.starts_with("Rsa") || spec.starts_with("Ecc");
            assert_eq!(secret.public_key().is_some(), pair);
            assert_eq!(key.wrapping_key().is_some(), spec == "SymmetricDefault");
        }
    }

    #[test]
    fn the_highest_version_encrypts_however_often_the_key_is_loaded_and_each_decrypts() {
        let mut key = made(1, "SymmetricDefault", "EncryptDecrypt");
        for version in 2..=5 {
            // All made in the same second.
            key = rotated(key.truth);
            assert_eq!(key.current().unwrap().version, version);
        }
        for _ in 0..30 {
            key = reloaded(key.truth);
            let current = key.current().unwrap();
            assert_eq!(current.version, 5);
            assert_eq!(key.wrapping_key().unwrap().material_id, current.id);
            for generation in &key.generations {
                assert!(key.find(key.id, generation.id).is_some());
            }
        }
    }

    #[test]
    fn material_does_not_open_as_that_of_another_spec_or_usage() {
        let key = made(1, "Rsa2048", "SignVerify");
        for change in [("keyUsage", "EncryptDecrypt"), ("keySpec", "Rsa3072")] {
            let mut truth = serde_json::to_value(&key.truth).unwrap();
            truth["spec"][change.0] = change.1.into();
            let truth = serde_json::from_value(truth).unwrap();
            let loaded = Key::load(truth, INSTALLATION, &RootKeys::only(Arc::new(root()))).unwrap();
            assert_eq!(loaded.state(), KeyState::Unavailable, "{change:?}");
        }
    }

    #[test]
    fn a_key_id_depends_on_the_installation_and_the_object() {
        let one = InstallationId::from_bytes([1; 16]);
        let two = InstallationId::from_bytes([2; 16]);
        let id = derive_key_id(one, "uid-a");
        assert_eq!(id, derive_key_id(one, "uid-a"));
        assert_ne!(id, derive_key_id(one, "uid-b"));
        assert_ne!(id, derive_key_id(two, "uid-a"));
        assert_eq!(id.to_string().chars().nth(14), Some('8'));
    }
}
