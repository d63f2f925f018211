//! The namespaces that a source is shared with: each by the UID that it had when it was named.

use super::super::observe::Observed;
use crate::api::ManagedSecret;
use crate::api::managed_secret::ReplicationState;
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::namespace::{accepted_uid, find_namespace};
use crate::secrets::{Manifest, ShareRecord};

/// The namespaces that a source is shared with, as they are to be remembered.
pub(super) fn records(seen: &Observed, manifest: &Manifest) -> Vec<ShareRecord> {
    let record = |namespace: &String| {
        let now = seen.shared_with.get(namespace).and_then(Option::as_ref);
        let uid = accepted_uid(manifest.share(namespace), now)?;
        Some(ShareRecord {
            namespace: namespace.clone(),
            uid,
        })
    };
    wanted(&seen.secret).filter_map(record).collect()
}

fn wanted(secret: &ManagedSecret) -> impl Iterator<Item = &String> {
    secret.spec.share_with.iter().flat_map(|s| &s.namespaces)
}

/// Looks at the namespaces that a source is shared with and that are not remembered yet; and where a whole restore may have made
/// them anew, also at others: all of them where the source takes truth over, and those with replicas that get nothing.
pub(crate) async fn look(seen: &mut Observed, ctx: &Context) -> Result<(), Error> {
    let adopts = seen.namespace.is_some();
    let secret = seen.secret.clone();
    for namespace in wanted(&secret) {
        let known = seen.truth.manifest().and_then(|m| m.share(namespace));
        if adopts || known.is_none() || has_failed_replica(seen, namespace) {
            let facts = find_namespace(namespace, ctx).await?;
            seen.shared_with.insert(namespace.clone(), facts);
        }
    }
    Ok(())
}

fn has_failed_replica(seen: &Observed, namespace: &str) -> bool {
    let mut replicas = seen.replicas.iter().flatten();
    replicas.any(|r| r.namespace == namespace && r.status == Some(ReplicationState::Failed))
}
