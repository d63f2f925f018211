//! The same material under another root key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::ResourceExt;

use super::key::binding;
use super::wrapped::{Part, parts, slots};
use crate::api::KeyMaterial;
use crate::crypto::{
    Fingerprint, InstallationId, KeyId, MaterialBinding, Random, RandomError, RootKey, UnwrapError,
    unwrap_material, wrap_material,
};
use crate::roots::RootKeys;

/// Why material was not wrapped anew. It is left as it is then.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// The object, or a generation of it, was not written by the operator.
    #[error("{0}")]
    Malformed(String),
    /// The root key that it is wrapped under is missing.
    #[error("it is wrapped under root key {0}, which is missing")]
    RootMissing(Fingerprint),
    /// It does not open.
    #[error("{what} cannot be opened: {source}")]
    Unwrap {
        /// What it is, for people.
        what: String,
        /// Why.
        source: UnwrapError,
    },
    /// What was wrapped does not open to the same material. This is a fault of the machine or of this program.
    #[error("{what} was not wrapped rightly")]
    Unequal {
        /// What it is, for people.
        what: String,
    },
    /// The operating system gave no randomness.
    #[error("draw randomness")]
    Random(#[source] RandomError),
}

/// Whether everything of it is wrapped under that root key. What says of none is under none.
pub fn is_under(truth: &KeyMaterial, root: Fingerprint) -> bool {
    let mut parts = parts(&truth.spec).into_iter();
    parts.all(|part| part.root() == Some(root))
}

/// Wraps everything under the current root key that is wrapped under another one. What results is opened again and compared
/// before anybody writes it over the old.
///
/// # Errors
/// If anything of it cannot be opened: nothing is changed then.
pub fn rewrap(
    truth: &KeyMaterial,
    installation: InstallationId,
    roots: &RootKeys,
    random: &mut dyn Random,
) -> Result<KeyMaterial, RewrapError> {
    let id: KeyId = truth
        .name_any()
        .parse()
        .map_err(|_| RewrapError::Malformed("its name is no key id".to_owned()))?;
    let current = roots.current();
    let mut wrapped = Vec::new();
    for part in parts(&truth.spec) {
        let material = part.id.parse();
        let material = material
            .map_err(|_| RewrapError::Malformed("a material id is malformed".to_owned()))?;
        let mut bound = binding(&truth.spec, id, material, installation);
        bound.usage = part.usage.unwrap_or(bound.usage);
        wrapped.push(rewrap_one(&part, &bound, &current, roots, random)?);
    }
    let mut wanted = truth.clone();
    for (slot, anew) in slots(&mut wanted.spec).into_iter().zip(wrapped) {
        let Some(anew) = anew else { continue };
        *slot.wrapped = anew;
        if let Some(fingerprint) = slot.root_fingerprint {
            *fingerprint = current.fingerprint().to_string();
        }
    }
    Ok(wanted)
}

/// The part under the current root key; `None` if it is.
fn rewrap_one(
    part: &Part<'_>,
    bound: &MaterialBinding<'_>,
    current: &RootKey,
    roots: &RootKeys,
    random: &mut dyn Random,
) -> Result<Option<String>, RewrapError> {
    let malformed = || RewrapError::Malformed(format!("{} is malformed", part.what));
    let root = part.root().ok_or_else(malformed)?;
    if root == current.fingerprint() {
        return Ok(None);
    }
    let old = roots.find(root).ok_or(RewrapError::RootMissing(root))?;
    let wrapped = BASE64.decode(part.wrapped).map_err(|_| malformed())?;
    let opened = unwrap_material(&old, bound, &wrapped).map_err(|source| RewrapError::Unwrap {
        what: part.what.clone(),
        source,
    })?;
    let anew = wrap_material(current, bound, &opened, random).map_err(RewrapError::Random)?;
    // Compared in constant time, as all secrets are.
    match unwrap_material(current, bound, &anew) {
        Ok(again) if again == opened => Ok(Some(BASE64.encode(anew))),
        _ => Err(RewrapError::Unequal {
            what: part.what.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::key::{NewKey, new_generation};
    use super::*;
    use crate::api::KeyMaterialSpec;
    use crate::crypto::{Material, OsRandom, SecretKey};
    use crate::keys::Key;
    use crate::roots::Providers;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn installation() -> InstallationId {
        InstallationId::from_bytes([7; 16])
    }

    /// Two root keys, of which the first is the current one.
    async fn roots(folder: &std::path::Path) -> (RootKeys, Fingerprint, Fingerprint) {
        let (one, two) = (folder.join("one"), folder.join("two"));
        std::fs::write(&one, [1; 32]).unwrap();
        std::fs::write(&two, [2; 32]).unwrap();
        let of = |bytes| crate::crypto::SecretArray::from_slice(bytes).unwrap();
        let fingerprint = |bytes| RootKey::from_secret(of(bytes)).fingerprint();
        let (first, second) = (fingerprint(&[1; 32]), fingerprint(&[2; 32]));
        let roots = RootKeys::open(Providers::of_files(one, two), first);
        (roots.await.unwrap(), first, second)
    }

    /// A key with that many generations under the current root key.
    fn key(roots: &RootKeys, generations: usize) -> KeyMaterial {
        let mut spec: KeyMaterialSpec = serde_json::from_value(json!({
            "namespace": "shop", "name": "orders", "namespaceUid": "n", "objectUid": "o",
            "arn": format!("arn:aws:kms:ks-local-1:123456789012:key/{ID}"), "keySpec": "SymmetricDefault",
            "keyUsage": "EncryptDecrypt", "origin": "Keystead", "enabled": true, "generations": [],
        }))
        .unwrap();
        for _ in 0..generations {
            let new = NewKey {
                installation: installation(),
                root: &roots.current(),
                id: ID.parse().unwrap(),
                now: "2026-01-02T03:04:05Z".parse().unwrap(),
            };
            let generation = new_generation(&new, &spec, &mut OsRandom).unwrap();
            spec.generations.push(generation);
        }
        KeyMaterial::new(ID, spec)
    }

    fn materials(truth: &KeyMaterial, roots: &RootKeys) -> Vec<Material> {
        let key = Key::load(truth.clone(), installation(), roots).unwrap();
        let opened = key.generations.into_iter().map(|g| match g.material {
            Ok(SecretKey::Symmetric(material)) => material,
            other => panic!("{other:?}"),
        });
        opened.collect()
    }

    #[tokio::test]
    async fn the_same_material_is_under_the_current_root_key_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (roots, first, second) = roots(folder.path()).await;
        let old = key(&roots, 3);
        assert!(is_under(&old, first) && !is_under(&old, second));
        let before = materials(&old, &roots);
        roots.switch(second).await.unwrap();
        let new = rewrap(&old, installation(), &roots, &mut OsRandom).unwrap();
        assert!(is_under(&new, second));
        assert_eq!(materials(&new, &roots), before);
        let mut undone = new.clone();
        for (undone, old) in undone
            .spec
            .generations
            .iter_mut()
            .zip(&old.spec.generations)
        {
            assert_ne!(undone.wrapped, old.wrapped);
            undone.wrapped.clone_from(&old.wrapped);
            undone.root_fingerprint.clone_from(&old.root_fingerprint);
        }
        assert_eq!(undone.spec, old.spec);
        // Again there is nothing to do.
        let again = rewrap(&new, installation(), &roots, &mut OsRandom).unwrap();
        assert_eq!(again.spec, new.spec);
    }

    #[tokio::test]
    async fn what_does_not_open_or_whose_root_key_is_missing_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (roots, first, second) = roots(folder.path()).await;
        let old = key(&roots, 2);
        roots.switch(second).await.unwrap();
        let mut moved = old.clone();
        moved.spec.name = "other".into();
        let refused = rewrap(&moved, installation(), &roots, &mut OsRandom);
        assert!(
            matches!(refused, Err(RewrapError::Unwrap { what, .. }) if what == "version 1 of the material")
        );
        let mut altered = old.clone();
        altered.spec.generations[1].wrapped = "AAAA".into();
        let refused = rewrap(&altered, installation(), &roots, &mut OsRandom);
        assert!(matches!(refused, Err(RewrapError::Malformed(_))));
        roots.forget(first);
        let refused = rewrap(&old, installation(), &roots, &mut OsRandom);
        assert!(matches!(refused, Err(RewrapError::RootMissing(root)) if root == first));
    }
}
