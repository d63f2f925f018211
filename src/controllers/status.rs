//! Publishing a status: by server-side apply on the subresource, only when something changed, and an Event
//! only when the summary turned.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::context::Context;
use super::error::{Error, call, is};
use crate::api::ConditionType;
use crate::api::condition::{self, NewCondition};

/// A status to publish.
pub(crate) struct Publication<'a, K, S> {
    /// The object.
    pub(crate) object: &'a K,
    /// What it says now.
    pub(crate) old: Option<&'a S>,
    /// What it shall say.
    pub(crate) new: &'a S,
    /// The conditions that it has now.
    pub(crate) old_conditions: &'a [Condition],
    /// The summary of `new`.
    pub(crate) ready: &'a NewCondition,
    /// The field manager of this kind's status.
    pub(crate) manager: &'static str,
}

impl<K, S> Publication<'_, K, S>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    S: Serialize + PartialEq,
{
    /// Publishes, if there is anything new. An object that is gone meanwhile needs no status.
    pub(crate) async fn publish(&self, ctx: &Context) -> Result<(), Error> {
        if self.old == Some(self.new) {
            return Ok(());
        }
        ctx.check_leadership()?;
        let (namespace, name) = (self.object.namespace().unwrap_or_default(), self.object.name_any());
        let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            // The UID makes sure that a status never lands on another object of the same name.
            "metadata": { "name": name, "namespace": namespace, "uid": self.object.uid() },
            "status": self.new,
        });
        let params = PatchParams::apply(self.manager).force();
        let object = format!("status of {} {namespace}/{name}", K::kind(&()));
        match call("apply", object, api.patch_status(&name, &params, &Patch::Apply(body))).await {
            Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => {
                return Ok(());
            }
            other => other.map(|_| ())?,
        }
        self.announce(ctx).await;
        Ok(())
    }

    /// An Event when the summary turned, or when it is still false for another reason.
    async fn announce(&self, ctx: &Context) {
        let old = condition::find(self.old_conditions, ConditionType::Ready);
        let status = if self.ready.status { "True" } else { "False" };
        let same = old.is_some_and(|old| {
            old.status == status && (self.ready.status || old.reason == self.ready.reason.as_str())
        });
        if same {
            return;
        }
        let type_ = if self.ready.status || self.ready.reason.is_progress() {
            EventType::Normal
        } else {
            EventType::Warning
        };
        let reference = self.object.object_ref(&());
        ctx.event(&reference, type_, self.ready.reason, self.ready.message.clone()).await;
    }
}
