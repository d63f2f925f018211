//! The same material under another root key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::ResourceExt;

use super::key::{binding, root_of_generation};
use crate::api::{KeyMaterial, MaterialGeneration};
use crate::crypto::{
    Fingerprint, InstallationId, KeyId, MaterialBinding, Random, RandomError, UnwrapError,
    unwrap_material, wrap_material,
};
use crate::roots::RootKeys;

/// Why material was not wrapped anew. It is left as it is then.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// The object, or a generation of it, was not written by the operator.
    #[error("{0}")]
    Malformed(&'static str),
    /// The root key that it is wrapped under is missing.
    #[error("it is wrapped under root key {0}, which is missing")]
    RootMissing(Fingerprint),
    /// It does not open.
    #[error("version {version} of the material cannot be opened: {source}")]
    Unwrap {
        /// For people: 1, 2, ...
        version: u32,
        /// Why.
        source: UnwrapError,
    },
    /// What was wrapped does not open to the same material. This is a fault of the machine or of this program.
    #[error("version {version} of the material was not wrapped rightly")]
    Unequal {
        /// For people: 1, 2, ...
        version: u32,
    },
    /// The operating system gave no randomness.
    #[error("draw randomness")]
    Random(#[source] RandomError),
}

/// Whether every generation is wrapped under that root key. What says of none is under none.
pub fn is_under(truth: &KeyMaterial, root: Fingerprint) -> bool {
    let under = |g: &MaterialGeneration| root_of_generation(g) == Some(root);
    truth.spec.generations.iter().all(under)
}

/// Wraps every generation under the current root key that is wrapped under another one. What results is opened again and
/// compared before anybody writes it over the old.
///
/// # Errors
/// If anything of it cannot be opened: nothing is changed then.
pub fn rewrap(
    truth: &KeyMaterial,
    installation: InstallationId,
    roots: &RootKeys,
    random: &mut dyn Random,
) -> Result<KeyMaterial, RewrapError> {
    let mut wanted = truth.clone();
    let id: KeyId = truth
        .name_any()
        .parse()
        .map_err(|_| RewrapError::Malformed("its name is no key id"))?;
    for generation in &mut wanted.spec.generations {
        let material = generation
            .material_id
            .parse()
            .map_err(|_| RewrapError::Malformed("a material id is malformed"))?;
        let bound = binding(&truth.spec, id, material, installation);
        rewrap_one(generation, &bound, roots, random)?;
    }
    Ok(wanted)
}

fn rewrap_one(
    generation: &mut MaterialGeneration,
    bound: &MaterialBinding<'_>,
    roots: &RootKeys,
    random: &mut dyn Random,
) -> Result<(), RewrapError> {
    let version = generation.version;
    let malformed = RewrapError::Malformed("wrapped is no wrapped material");
    let root = root_of_generation(generation).ok_or(malformed)?;
    let current = roots.current();
    if root == current.fingerprint() {
        return Ok(());
    }
    let old = roots.find(root).ok_or(RewrapError::RootMissing(root))?;
    let wrapped = BASE64.decode(&generation.wrapped);
    let wrapped = wrapped.map_err(|_| RewrapError::Malformed("wrapped is no base64"))?;
    let failed = |source| RewrapError::Unwrap { version, source };
    let opened = unwrap_material(&old, bound, &wrapped).map_err(failed)?;
    let anew = wrap_material(&current, bound, &opened, random).map_err(RewrapError::Random)?;
    // Compared in constant time, as all secrets are.
    match unwrap_material(&current, bound, &anew) {
        Ok(again) if again == opened => {}
        _ => return Err(RewrapError::Unequal { version }),
    }
    generation.wrapped = BASE64.encode(anew);
    generation.root_fingerprint = current.fingerprint().to_string();
    Ok(())
}
