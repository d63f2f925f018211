//! What matters of a namespace: names can be re-used, UIDs cannot.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use super::context::Context;
use super::error::{Error, call, is};
use crate::installation::approved_before;

/// What matters of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceFacts {
    /// Its UID.
    pub(crate) uid: String,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// The instant before which namespaces were approved to adopt.
    pub(crate) approved_before: Option<Timestamp>,
}

/// Looks at a namespace.
pub(crate) async fn namespace_facts(name: &str, ctx: &Context) -> Result<NamespaceFacts, Error> {
    let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
    let found = call(
        "get",
        format!("Namespace {name}"),
        namespaces.get_metadata(name),
    )
    .await?;
    let approved = approved_before(ctx.client.clone(), &ctx.namespace);
    let approved_before = call("get", "the installation record", approved).await?;
    Ok(NamespaceFacts {
        uid: found.metadata.uid.unwrap_or_default(),
        created: found.metadata.creation_timestamp.map(|time| time.0),
        approved_before,
    })
}

/// Looks at a namespace that somebody else named: `None` if there is none, or if it is not served, so that the operator has no
/// right to look at it.
pub(crate) async fn find_namespace(
    name: &str,
    ctx: &Context,
) -> Result<Option<NamespaceFacts>, Error> {
    if !ctx.scope.contains(name) {
        return Ok(None);
    }
    match namespace_facts(name, ctx).await {
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => Ok(None),
        found => found.map(Some),
    }
}
