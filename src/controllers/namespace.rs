//! What matters of a namespace: names can be re-used, UIDs cannot.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use super::context::Context;
use super::error::{Error, call, is};
use crate::api::names::{INJECTION_ENABLED, LABEL_INJECTION, NEVER_INJECTED};
use crate::installation::approved_before;
use crate::remember::Remembered;

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

impl NamespaceFacts {
    /// Where only the UID matters, since there is nothing to adopt.
    pub(crate) fn of(uid: String) -> Self {
        Self {
            uid,
            created: None,
            approved_before: None,
        }
    }
}

/// Looks at a namespace.
pub(crate) async fn namespace_facts(name: &str, ctx: &Context) -> Result<NamespaceFacts, Error> {
    let metadata = metadata(name, ctx).await?;
    let approved = approved_before(ctx.client.clone(), &ctx.namespace);
    let approved_before = call("get", "the installation record", approved).await?;
    Ok(NamespaceFacts {
        uid: metadata.uid.unwrap_or_default(),
        created: metadata.creation_timestamp.map(|time| time.0),
        approved_before,
    })
}

/// The UID of a namespace.
pub(crate) async fn namespace_uid(name: &str, ctx: &Context) -> Result<String, Error> {
    Ok(metadata(name, ctx).await?.uid.unwrap_or_default())
}

/// How long it is remembered whether a namespace opts in.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most namespaces of which that is remembered.
const MOST: usize = 4096;

/// Which namespaces opt in to injection.
pub struct OptedIn {
    /// Whether there are webhooks that inject at all.
    injects: bool,
    known: Remembered<String, bool>,
}

impl OptedIn {
    /// `injects`: whether there are webhooks that inject at all. Without them a namespace's label means nothing.
    pub fn new(injects: bool) -> Self {
        Self {
            injects,
            known: Remembered::new(REMEMBERED, MOST),
        }
    }

    /// Whether pods of that namespace are injected as they are made. At most ten seconds old.
    pub(crate) async fn contains(&self, name: &str, ctx: &Context) -> Result<bool, Error> {
        if !self.injects || name == ctx.namespace || NEVER_INJECTED.contains(&name) {
            return Ok(false);
        }
        let (namespace, asked) = (name.to_owned(), Instant::now());
        if let Some(known) = self.known.get(&namespace, asked) {
            return Ok(known);
        }
        let labels = metadata(name, ctx).await?.labels.unwrap_or_default();
        let enabled = labels
            .get(LABEL_INJECTION)
            .is_some_and(|value| value == INJECTION_ENABLED);
        self.known.put(namespace, asked, enabled);
        Ok(enabled)
    }
}

async fn metadata(name: &str, ctx: &Context) -> Result<ObjectMeta, Error> {
    let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
    let object = format!("Namespace {name}");
    let found = call("get", object, namespaces.get_metadata(name)).await?;
    Ok(found.metadata)
}

/// The UID that counts for a namespace that was named: the recorded one, unless an administrator approved all namespaces of a
/// restore; otherwise that which it has at the first look.
pub(crate) fn accepted_uid(recorded: Option<&str>, now: Option<&NamespaceFacts>) -> Option<String> {
    let restored = now.is_some_and(|facts| match (facts.created, facts.approved_before) {
        (Some(created), Some(before)) => created < before,
        _ => false,
    });
    match (recorded, now) {
        (Some(_), Some(facts)) if restored => Some(facts.uid.clone()),
        (Some(recorded), _) => Some(recorded.to_owned()),
        (None, now) => now.map(|facts| facts.uid.clone()),
    }
}

/// Looks at a namespace that somebody else named: `None` if there is none, or if it is not served, so that the operator has no
/// right to look at it.
pub(crate) async fn find_namespace(
    name: &str,
    ctx: &Context,
) -> Result<Option<NamespaceFacts>, Error> {
    find(name, ctx, namespace_facts(name, ctx)).await
}

/// The UID of a namespace that somebody else named; `None` as for [`find_namespace`].
pub(crate) async fn find_namespace_uid(name: &str, ctx: &Context) -> Result<Option<String>, Error> {
    find(name, ctx, namespace_uid(name, ctx)).await
}

async fn find<T>(
    name: &str,
    ctx: &Context,
    look: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    // The name comes from a user or group that somebody wrote: it may be anything, also a path.
    if !is_namespace_name(name) || !ctx.scope.contains(name) {
        return Ok(None);
    }
    match look.await {
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => Ok(None),
        found => found.map(Some),
    }
}

/// Whether a namespace can have that name: a label of RFC 1123.
fn is_namespace_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (name.bytes().next(), name.bytes().last());
    name.len() <= 63
        && first.is_some_and(inner)
        && last.is_some_and(inner)
        && name.bytes().all(|byte| inner(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_namespace_is_asked_for() {
        for name in ["shop", "a", "0", "team-1", &"x".repeat(63)] {
            assert!(is_namespace_name(name), "{name}");
        }
        for name in [
            "",
            "-shop",
            "shop-",
            "Shop",
            "a b",
            "a.b",
            "..",
            "kube-system/secrets/db",
            "a?b",
            "a%2fb",
            &"x".repeat(64),
        ] {
            assert!(!is_namespace_name(name), "{name}");
        }
    }
}
