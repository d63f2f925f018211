//! Looks at everything that the plan for a grant may depend on.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{GrantRecord, KeyGrant, KeyMaterial};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::namespace::{find_namespace_uid, namespace_uid};
use crate::policy::namespace_of_user;

/// Everything that [`super::plan::plan`] may look at.
pub(super) struct Observed {
    /// The resource.
    pub(super) grant: Arc<KeyGrant>,
    /// Whether it lives in the operator's own namespace.
    pub(super) in_operator_namespace: bool,
    /// The truth about the key that it names, if there is one.
    pub(super) key: Option<KeyMaterial>,
    /// Keys that it is recorded with and does not name: another one has the name now.
    pub(super) strays: Vec<KeyMaterial>,
    /// UID of the grant's own namespace; looked at only when the grant is not recorded yet.
    pub(super) namespace_uid: Option<String>,
    /// The grantee's namespace.
    pub(super) home: Home,
}

/// The namespace of a grantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// It has none: a person.
    Nowhere,
    /// It is there, with that UID; looked at only when the grant is not recorded yet.
    There(String),
    /// It is not there, or not served.
    Missing(String),
    /// Nobody looked: what was recorded counts.
    Recorded,
}

/// Looks.
pub(super) async fn observe(grant: Arc<KeyGrant>, ctx: &Context) -> Result<Observed, Error> {
    let namespace = grant.namespace().unwrap_or_default();
    let named = ctx.keyring.named(&namespace, &grant.spec.key_ref.name);
    let key = named.first().map(|key| key.truth.clone());
    let id = named.first().map(|key| key.id);
    let others = ctx.keyring.of_namespace(&namespace).into_iter();
    let strays = others
        .filter(|key| Some(key.id) != id && recorded(&grant, &key.truth).is_some())
        .map(|key| key.truth.clone())
        .collect();
    let mut seen = Observed {
        in_operator_namespace: namespace == ctx.namespace,
        home: Home::Recorded,
        namespace_uid: None,
        key,
        strays,
        grant,
    };
    let known = seen.key.as_ref().and_then(|key| recorded(&seen.grant, key));
    if known.is_none() && seen.key.is_some() {
        seen.namespace_uid = Some(namespace_uid(&namespace, ctx).await?);
        seen.home = home(&seen.grant.spec.grantee_principal, ctx).await?;
    }
    Ok(seen)
}

async fn home(grantee: &str, ctx: &Context) -> Result<Home, Error> {
    let Some(namespace) = namespace_of_user(grantee) else {
        return Ok(Home::Nowhere);
    };
    let found = find_namespace_uid(namespace, ctx).await?;
    Ok(found.map_or_else(|| Home::Missing(namespace.to_owned()), Home::There))
}

/// The record of this very grant in the truth of a key.
pub(super) fn recorded<'a>(grant: &KeyGrant, truth: &'a KeyMaterial) -> Option<&'a GrantRecord> {
    let uid = grant.metadata.uid.as_deref();
    let mut records = truth.spec.grants.iter();
    records.find(|record| Some(record.uid.as_str()) == uid)
}
