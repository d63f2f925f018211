//! Looks for what is stored of a secret, and opens what has no value in it.
//!
//! What is kept as ciphertext counts while it is proven to be the newest, and the namespace to be the one that it is of; otherwise both
//! are read anew. So what was written before a call was made counts, at the latest after ten seconds and mostly within moments.

use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use super::read::{failure, unreadable};
use super::select::Selector;
use crate::keys::Keyring;
use crate::policy::SecretRules;
use crate::secrets::{Manifest, manifest_context};
use crate::server::api::error::ApiError;
use crate::server::catalogue::{Catalogue, Revision};
use crate::server::ciphertext::{Ciphertext, Described, Kept};
use crate::server::gate::PolicyGate;
use crate::server::known::Uids;
use crate::telling::describe;
use crate::truth::Stored;

/// Where secrets are looked for.
pub(in crate::server::api) struct Store {
    pub(in crate::server::api) ciphertext: Ciphertext,
    pub(in crate::server::api) namespaces: Arc<Uids>,
    pub(in crate::server::api) catalogue: Arc<Catalogue>,
    pub(in crate::server::api) keyring: Arc<Keyring>,
    pub(in crate::server::api) gate: Arc<PolicyGate>,
}

/// What is stored of a secret, as far as it can be looked into.
pub(super) struct Seen {
    pub(super) stored: Arc<Stored>,
    pub(super) described: Result<Arc<Described>, ApiError>,
}

impl Store {
    /// What is stored, if it is that of the namespace that there is now: names can be re-used.
    pub(super) async fn look(&self, namespace: &str, name: &str) -> Result<Option<Seen>, ApiError> {
        if let Some(kept) = self.kept(namespace, name) {
            return Ok(Some(kept));
        }
        let (stored, uid) = tokio::join!(
            self.ciphertext.read(namespace, name),
            self.gate.namespace_uid(namespace)
        );
        let stored = stored.map_err(|error| {
            let error = describe(&error);
            warn!(namespace, name, error, "a stored secret could not be read");
            ApiError::unanswered()
        })?;
        let uid = uid.map_err(|_| ApiError::unanswered())?;
        Ok(match stored {
            Some(Ok(kept)) => {
                let uid = uid.unwrap_or_default();
                self.seen(kept, (namespace, &uid), name)
            }
            None => None,
            Some(Err(problem)) => {
                warn!(
                    namespace,
                    name, problem, "a stored secret is not of the operator's form"
                );
                None
            }
        })
    }

    /// What needs no question. Whatever is not as it should be is looked at anew.
    fn kept(&self, namespace: &str, name: &str) -> Option<Seen> {
        let uid = self.namespaces.get(namespace, Instant::now())?;
        let kept = self.ciphertext.kept(namespace, name)?;
        let seen = self.seen(kept, (namespace, &uid), name)?;
        let described = seen.described.as_ref().ok()?;
        let is_behind = self.is_behind(&seen.stored, &described.manifest);
        (!is_behind).then_some(seen)
    }

    /// Whether the status of the `ManagedSecret`, of which this replica hears by another way, tells of another current version: then
    /// whoever was told of that must not be given this one.
    fn is_behind(&self, stored: &Stored, manifest: &Manifest) -> bool {
        let entry = self.catalogue.get(&stored.namespace, &stored.name);
        let told = entry.and_then(|entry| Some((entry.revision?, entry)));
        told.is_some_and(|(revision, entry)| {
            let current = Selector::default().of_manifest(manifest).ok();
            let current = current.map(|current| Revision::of(current.id.as_str(), &entry.template));
            current != Some(revision)
        })
    }

    fn seen(&self, kept: Kept, (namespace, uid): (&str, &str), name: &str) -> Option<Seen> {
        let stored = &kept.stored;
        let is_its = stored.claim.namespace_uid == uid
            && (stored.namespace.as_str(), stored.name.as_str()) == (namespace, name);
        is_its.then(|| Seen {
            described: self.described(&kept),
            stored: kept.stored,
        })
    }

    /// What it says of itself, while the key that it is under may be used.
    fn described(&self, kept: &Kept) -> Result<Arc<Described>, ApiError> {
        if let Some(described) = kept.described.get() {
            let key = self.keyring.key_to_decide(&kept.stored.manifest);
            return key
                .map(|_| described.clone())
                .map_err(|error| failure(&error));
        }
        let manifest = self.manifest(&kept.stored)?;
        let claim = (&*kept.stored.namespace, &*kept.stored.claim.namespace_uid);
        let rules = SecretRules::new(claim, Some(manifest.access()));
        let described = Arc::new(Described { manifest, rules });
        Ok(kept.described.get_or_init(|| described).clone())
    }

    /// Bound to where it was found; what is written beside it counts for nothing.
    fn manifest(&self, stored: &Stored) -> Result<Manifest, ApiError> {
        let context = manifest_context(&stored.namespace, &stored.name);
        let context = context.map_err(|error| ApiError::internal(error.to_string()))?;
        let json = self.keyring.open_to_decide(&stored.manifest, &context);
        let json = json.map_err(|error| failure(&error))?;
        Manifest::from_json(json.expose()).map_err(|_| unreadable())
    }
}
