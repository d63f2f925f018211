//! The sealing key of the installation: kept as key material is, used by nobody but the operator.
//!
//! Each generation is the seed of a key pair. The pair's id, which follows from its public key, is the material id. No generation is
//! ever removed: what was sealed once must open.

use k8s_openapi::jiff::Timestamp;

use super::key::{NewKey, binding, unwrapped, wrapped_generation};
use crate::api::{
    InternalUse, KeyMaterial, KeyMaterialSpec, KeyOrigin, KeySpec, KeyUsage, MaterialGeneration,
    PolicyRecord, RotationRecord,
};
use crate::crypto::{
    AccountId, Arn, InstallationId, KeyId, MaterialId, Random, RandomError, Region, SealingKeyId,
    SealingKeys, SealingPrivateKey, SealingPublicKey, SecretArray, SecretBytes,
};
use crate::roots::RootKeys;

use super::derive_key_id;
use crate::api::names::SEALING_KEY;

/// The sealing key in memory.
pub struct SealingKey {
    /// The truth this was made from.
    pub truth: KeyMaterial,
    /// The private keys of the generations that could be opened, newest first.
    pub keys: SealingKeys,
    /// The public keys, of the same generations and in the same order.
    pub public: Vec<PublishedKey>,
    /// Versions that could not be opened, and why.
    pub closed: Vec<(u32, String)>,
}

/// A public key and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// The key.
    pub key: SealingPublicKey,
    /// When.
    pub created: Timestamp,
}

impl SealingKey {
    /// Reads the truth about it and opens its generations.
    ///
    /// # Errors
    /// The truth is not of the form that the operator writes: somebody else wrote it.
    pub fn load(
        truth: KeyMaterial,
        installation: InstallationId,
        roots: &RootKeys,
    ) -> Result<Self, String> {
        let id = sealing_key_id(installation);
        if truth.metadata.name.as_deref() != Some(&id.to_string()) {
            return Err("it is no sealing key of this installation".to_owned());
        }
        let (mut keys, mut public, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        for generation in truth.spec.generations.iter().rev() {
            match open(generation, &truth.spec, id, installation, roots)? {
                Ok(key) => {
                    public.push(PublishedKey {
                        key: key.public(installation),
                        created: generation.created.0,
                    });
                    keys.push(key);
                }
                Err(error) => closed.push((generation.version, error)),
            }
        }
        Ok(Self {
            truth,
            keys: SealingKeys::new(installation, keys),
            public,
            closed,
        })
    }
}

fn open(
    generation: &MaterialGeneration,
    spec: &KeyMaterialSpec,
    key: KeyId,
    installation: InstallationId,
    roots: &RootKeys,
) -> Result<Result<SealingPrivateKey, String>, String> {
    let id: MaterialId = generation
        .material_id
        .parse()
        .map_err(|_| "a material id is malformed".to_owned())?;
    let bound = binding(spec, key, id, installation);
    Ok(unwrapped(generation, &bound, roots)?.and_then(|bytes| {
        let seed = SecretArray::from_slice(bytes.expose());
        let key = seed.map(|seed| SealingPrivateKey::from_seed(installation, seed));
        key.filter(|key| key.id().as_bytes() == id.as_bytes())
            .ok_or_else(|| "it is another key than its id says".to_owned())
    }))
}

/// The key id of the sealing key: there is one in an installation.
pub fn sealing_key_id(installation: InstallationId) -> KeyId {
    derive_key_id(installation, SEALING_KEY)
}

/// The id of the newest sealing key.
pub fn newest_sealing_key(truth: &KeyMaterialSpec) -> Option<SealingKeyId> {
    truth.generations.last()?.material_id.parse().ok()
}

/// The truth about a sealing key that has no generation yet.
pub fn new_sealing_key(
    installation: InstallationId,
    region: &Region,
    namespace: &str,
) -> KeyMaterialSpec {
    let arn = Arn {
        region: region.clone(),
        account: AccountId::of(installation, namespace),
        key: sealing_key_id(installation),
    };
    KeyMaterialSpec {
        namespace: namespace.to_owned(),
        name: SEALING_KEY.to_owned(),
        // It belongs to no resource, so nothing claims it and it waits for none.
        namespace_uid: installation.to_string(),
        object_uid: installation.to_string(),
        internal: Some(InternalUse::Sealing),
        arn: arn.to_string(),
        key_spec: KeySpec::SymmetricDefault,
        key_usage: KeyUsage::EncryptDecrypt,
        origin: KeyOrigin::Keystead,
        enabled: true,
        parked_since: None,
        deletion: None,
        destroyed: None,
        rotation: RotationRecord::default(),
        policy: PolicyRecord::default(),
        grants: Vec::new(),
        import: None,
        generations: Vec::new(),
    }
}

/// Its next generation.
///
/// # Errors
/// No randomness.
pub fn new_sealing_generation(
    new: &NewKey<'_>,
    spec: &KeyMaterialSpec,
    random: &mut dyn Random,
) -> Result<MaterialGeneration, RandomError> {
    let key = SealingPrivateKey::generate(new.installation, random)?;
    let id = MaterialId::from_bytes(*key.id().as_bytes());
    wrapped_generation(new, spec, id, &SecretBytes::copy_of(key.expose()), random)
}

#[cfg(test)]
#[path = "sealing_tests.rs"]
mod tests;
