//! What changes in the life of a key, as lines of the audit trail.

mod diff;

use std::future::Future;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{Api, ResourceExt};

pub(crate) use self::diff::{Change, changes, first_step};
use super::context::{Context, request_id};
use super::error::{Error, call};
use super::key_truth::replace;
use crate::api::names::FIELD_MANAGER;
use crate::api::{KeyMaterial, ManagedKey};
use crate::audit::{Entry, EventSource, Identity, Resource, ResourceType};

/// Error code of a change of which nobody knows whether it was made: the API server gave no answer.
const OUTCOME_UNKNOWN: &str = "OutcomeUnknown";

/// Changes of one key that are about to be made.
pub(crate) struct KeyChange<'a> {
    /// The truth about the key.
    pub(crate) truth: &'a KeyMaterial,
    /// The changes.
    pub(crate) changes: Vec<Change>,
    /// Who wants them.
    pub(crate) who: Identity,
    /// Why.
    pub(crate) reason: &'a str,
}

impl KeyChange<'_> {
    /// Writes the changes to the trail, makes them, and writes that they failed if they did, or may have.
    ///
    /// # Errors
    /// [`Error::Audit`]: nothing was done; otherwise that of `effect`.
    pub(crate) async fn carry_out<T>(
        &self,
        ctx: &Context,
        effect: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let request = request_id();
        let written = ctx.trail.write_all(self.entries(&request, None)).await;
        if !self.changes.iter().all(|change| change.protects) {
            written.map_err(Error::Audit)?;
        }
        ctx.check_leadership()?;
        let done = effect.await;
        if let Err(error) = &done {
            let code = if error.leaves_open() {
                OUTCOME_UNKNOWN
            } else {
                error.reason().as_str()
            };
            // What was not done needs no line to be safe; that it is lost is counted and shown by the trail itself.
            let _ = ctx
                .trail
                .write_all(self.entries(&request, Some(code)))
                .await;
        }
        done
    }

    /// Replaces the truth that was seen by the changed one, with a line for each change.
    ///
    /// # Errors
    /// As [`Self::carry_out`].
    pub(crate) async fn replace(&self, ctx: &Context) -> Result<(), Error> {
        self.carry_out(ctx, replace(self.truth, ctx)).await
    }

    fn entries(&self, request: &str, error: Option<&str>) -> Vec<Entry> {
        let spec = &self.truth.spec;
        let entry = |change: &Change| {
            let (who, reason) = if change.is_due {
                (Identity::controller(), "its time has come")
            } else {
                (self.who.clone(), self.reason)
            };
            let mut entry = Entry::allowed(EventSource::Kms, change.name, who, request);
            entry.resources = vec![Resource {
                type_: ResourceType::ManagedKey,
                namespace: spec.namespace.clone(),
                name: spec.name.clone(),
                uid: Some(spec.object_uid.clone()),
                arn: Some(spec.arn.clone()),
            }];
            let parameters = change.parameters.iter();
            entry.request_parameters.other = parameters
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            reason.clone_into(&mut entry.reason);
            entry.error_code = error.map(str::to_owned);
            entry
        };
        self.changes.iter().map(entry).collect()
    }
}

/// The controller, in the name of whoever last wrote the resource. The API server tells the operator no user, only the name of
/// the program that wrote: the cluster's own audit log knows who ran it.
pub(crate) async fn on_behalf_of(key: &ManagedKey, ctx: &Context) -> Identity {
    let (namespace, name) = (key.namespace().unwrap_or_default(), key.name_any());
    let keys: Api<ManagedKey> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("ManagedKey {namespace}/{name}");
    let found = call("get", object, keys.get_metadata_opt(&name)).await;
    let fields = found
        .ok()
        .flatten()
        .and_then(|key| key.metadata.managed_fields);
    Identity {
        field_manager: last_writer(&fields.unwrap_or_default()),
        ..Identity::controller()
    }
}

/// The field manager that wrote last, and no status.
fn last_writer(fields: &[ManagedFieldsEntry]) -> Option<String> {
    let written = fields
        .iter()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let last = written.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager
        .clone()
        .filter(|manager| manager != FIELD_MANAGER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_writer_is_no_status_writer() {
        let entry = |manager: &str, time: &str, subresource: Option<&str>| -> ManagedFieldsEntry {
            serde_json::from_value(
                json!({"manager": manager, "time": time, "subresource": subresource}),
            )
            .unwrap()
        };
        let fields = [
            entry("helm", "2026-11-01T00:00:00Z", None),
            entry("kubectl-client-side-apply", "2026-11-02T00:00:00Z", None),
            entry(
                "keystead/managed-key",
                "2026-11-03T00:00:00Z",
                Some("status"),
            ),
        ];
        assert_eq!(
            last_writer(&fields).as_deref(),
            Some("kubectl-client-side-apply")
        );
        assert_eq!(last_writer(&[]), None);
    }
}
