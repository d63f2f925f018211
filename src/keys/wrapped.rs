//! Everything in a key's truth that is wrapped under a root key: the generations, and what is kept of imported material. Whoever
//! loads, counts or wraps anew asks here, so that nothing is forgotten under an old root key.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::api::{KeyMaterialSpec, MaterialGeneration};
use crate::crypto::{Fingerprint, root_of};

/// What an offered wrapping key is bound to in the place of a usage, so that it is never taken for a key's material.
pub(super) const USAGE_OFFER: &str = "Import";
/// The same for the digest of imported material.
pub(super) const USAGE_DIGEST: &str = "ImportDigest";

/// One thing that is wrapped.
pub(super) struct Part<'a> {
    /// What it is bound to in the place of the key's usage; absent: the key's usage.
    pub(super) usage: Option<&'static str>,
    /// The material id that it is bound to.
    pub(super) id: &'a str,
    /// The wrapped bytes, base64.
    pub(super) wrapped: &'a str,
    /// What it is, for people.
    pub(super) what: String,
}

impl Part<'_> {
    /// The root key that it says it is wrapped under; `None` if it says nothing that can be read.
    pub(super) fn root(&self) -> Option<Fingerprint> {
        root_of(&BASE64.decode(self.wrapped).ok()?).ok()
    }
}

/// Where one thing is kept.
pub(super) struct Slot<'a> {
    /// The wrapped bytes, base64.
    pub(super) wrapped: &'a mut String,
    /// The name of the root key beside it, for people.
    pub(super) root_fingerprint: Option<&'a mut String>,
}

/// All of them, in the order of [`slots`].
pub(super) fn parts(spec: &KeyMaterialSpec) -> Vec<Part<'_>> {
    let mut parts: Vec<_> = spec.generations.iter().map(generation).collect();
    if let Some(import) = &spec.import {
        let parked = import.parked.iter().map(|parked| &parked.generation);
        parts.extend(parked.map(generation));
        parts.extend(import.offer.iter().map(|offer| Part {
            usage: Some(USAGE_OFFER),
            id: &offer.id,
            wrapped: &offer.wrapped,
            what: "the wrapping key of the import".to_owned(),
        }));
        parts.extend(import.identity.iter().map(|identity| Part {
            usage: Some(USAGE_DIGEST),
            id: &identity.material_id,
            wrapped: &identity.wrapped_digest,
            what: "the digest of the imported material".to_owned(),
        }));
    }
    parts
}

/// Where each of [`parts`] is kept, in the same order.
pub(super) fn slots(spec: &mut KeyMaterialSpec) -> Vec<Slot<'_>> {
    let mut slots: Vec<_> = spec.generations.iter_mut().map(slot).collect();
    if let Some(import) = &mut spec.import {
        let parked = import
            .parked
            .iter_mut()
            .map(|parked| &mut parked.generation);
        slots.extend(parked.map(slot));
        let offer = import.offer.iter_mut().map(|offer| &mut offer.wrapped);
        let identity = import
            .identity
            .iter_mut()
            .map(|identity| &mut identity.wrapped_digest);
        slots.extend(offer.chain(identity).map(|wrapped| Slot {
            wrapped,
            root_fingerprint: None,
        }));
    }
    slots
}

/// The root keys that anything of a key says it is wrapped under.
pub fn roots_of(truth: &KeyMaterialSpec) -> HashSet<Fingerprint> {
    parts(truth).iter().filter_map(Part::root).collect()
}

fn generation(generation: &MaterialGeneration) -> Part<'_> {
    Part {
        usage: None,
        id: &generation.material_id,
        wrapped: &generation.wrapped,
        what: format!("version {} of the material", generation.version),
    }
}

fn slot(generation: &mut MaterialGeneration) -> Slot<'_> {
    Slot {
        wrapped: &mut generation.wrapped,
        root_fingerprint: Some(&mut generation.root_fingerprint),
    }
}
