//! Sources of randomness and manifests for tests.

use super::{Derivations, Manifest, NewVersion};
use crate::crypto::{Random, RandomError};

/// Ids of versions, in the order in which a test makes them.
pub(crate) const IDS: [&str; 3] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "00000000-0000-4000-8000-000000000003",
];

/// A manifest of versions of these ids, the last of which is the current one.
pub(crate) fn with_versions(ids: &[&str]) -> Manifest {
    let mut manifest = Manifest::new();
    for id in ids {
        let version = NewVersion {
            id: id.parse().unwrap(),
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
            key_id: "key".to_owned(),
            context: std::collections::BTreeMap::new(),
            derivations: Derivations::new(),
            substitutes: crate::secrets::Substitutes::new(),
        };
        manifest.add_current(version).unwrap();
    }
    manifest
}

/// What a closure fills in.
pub(super) struct Filled<F>(pub(super) F);

impl<F: FnMut(&mut [u8])> Random for Filled<F> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        (self.0)(out);
        Ok(())
    }
}

/// Every byte is this one.
pub(super) fn all(byte: u8) -> impl Random {
    Filled(move |out: &mut [u8]| out.fill(byte))
}

/// A source that must not be asked.
pub(super) fn never() -> impl Random {
    Filled(|_: &mut [u8]| panic!("nothing may be generated"))
}

/// A source that has nothing to give.
pub(super) struct Dry;

impl Random for Dry {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}
