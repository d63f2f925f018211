//! Stored truth for tests.

use super::{Claim, Materials, Recovery, Stored};

/// What is stored of a secret, without ciphertext.
pub(crate) fn stored(namespace: &str, name: &str) -> Stored {
    Stored {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        claim: Claim {
            object_uid: "u1".to_owned(),
            namespace_uid: "n1".to_owned(),
        },
        recovery: Recovery::default(),
        parked_since: None,
        approved: None,
        manifest: Vec::new(),
        versions: std::collections::BTreeMap::new(),
        needs: None,
        entries: Materials::new(),
        resource_version: None,
    }
}
