//! Looks at everything that may be said of an alias.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{KeyAlias, KeySpec, KeyUsage};
use crate::controllers::context::Context;

/// Everything that [`super::plan::plan`] may look at.
pub(super) struct Observed {
    /// The resource.
    pub(super) alias: Arc<KeyAlias>,
    /// The key that it names, if that is known.
    pub(super) key: Option<Aliased>,
}

/// What matters of a key to an alias of it.
pub(super) struct Aliased {
    /// The key id.
    pub(super) id: String,
    /// Its spec.
    pub(super) spec: KeySpec,
    /// Its usage.
    pub(super) usage: KeyUsage,
}

/// Looks, in memory only.
pub(super) fn observe(alias: Arc<KeyAlias>, ctx: &Context) -> Observed {
    let namespace = alias.namespace().unwrap_or_default();
    let keys = ctx.keyring.named(&namespace, &alias.spec.key_ref.name);
    let key = keys.first().map(|key| Aliased {
        id: key.id.to_string(),
        spec: key.truth.spec.key_spec,
        usage: key.truth.spec.key_usage,
    });
    Observed { alias, key }
}
