//! What has to be read to decide on a change.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::runtime::reflector::ObjectRef;

use super::super::super::observe::{Observed, read};
use super::super::super::step::Refusal;
use crate::api::{PutVersion, SecretChange};
use crate::controllers::context::Context;
use crate::secrets::{SecretValue, VersionId, change_context};

/// A change that a call of the API asks for.
pub(crate) struct ChangeSeen {
    /// As it was asked for.
    pub(crate) change: Arc<SecretChange>,
    /// The value that is put; `None` if nothing is, and otherwise why it does not open.
    pub(crate) put: Option<Result<SecretValue, String>>,
    /// The value of the version that it names, if that is kept: the one that is put, or the one to be made current.
    pub(crate) kept: Option<Result<SecretValue, Refusal>>,
}

impl ChangeSeen {
    /// The oldest change that is asked for, before anything was read.
    pub(crate) fn of(seen: &Observed, ctx: &Context) -> Option<Self> {
        let change = ctx.changes.oldest(&ObjectRef::from_obj(&*seen.secret))?;
        Some(Self {
            change,
            put: None,
            kept: None,
        })
    }

    /// With what has to be read. The truth was read before.
    pub(crate) fn read(self, seen: &Observed, ctx: &Context) -> Self {
        let kept = self.named().and_then(|version| read(&version, seen, ctx));
        let put = self.change.spec.put.as_ref();
        Self {
            put: put.map(|put| opened(&self.change, put, seen, ctx)),
            kept,
            ..self
        }
    }

    /// The version whose value counts.
    pub(crate) fn named(&self) -> Option<VersionId> {
        let put = self.change.spec.put.as_ref().map(|put| &put.version_id);
        let moved = self.change.spec.move_stage.as_ref();
        let moved = moved.and_then(|moved| moved.move_to_version_id.as_ref());
        put.or(moved)?.parse().ok()
    }
}

/// Opens what is put, bound to the secret and the version that it is put as.
fn opened(
    change: &SecretChange,
    put: &PutVersion,
    seen: &Observed,
    ctx: &Context,
) -> Result<SecretValue, String> {
    let version = put.version_id.parse::<VersionId>();
    let version = version.map_err(|error| error.to_string())?;
    let spec = &change.spec;
    let context = change_context(&spec.namespace, &spec.name, &version);
    let context = context.map_err(|error| error.to_string())?;
    // The library's own text would quote what was sent.
    let envelope = STANDARD.decode(&put.value).map_err(|_| "it is no base64")?;
    let opened = seen.key_access(ctx).open(&envelope, &context);
    let opened = opened.map_err(|error| error.to_string())?;
    SecretValue::decode(opened.expose()).map_err(|error| error.to_string())
}
