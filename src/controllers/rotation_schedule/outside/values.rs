//! The values that an errand needs.

use kube::ResourceExt;

use super::Errand;
use crate::api::ManagedSecret;
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::managed_secret::{opened, read_other, user_of};
use crate::controllers::rotation_schedule::observe::{Observed, Truth};
use crate::controllers::uses::{KeyAccess, Reader};
use crate::secrets::{SecretValue, Stage, VersionRecord};

/// The values of a secret that count in a rotation.
pub(super) struct Values {
    pub(super) current: SecretValue,
    /// The one that is under way, where there is one.
    pub(super) pending: Option<SecretValue>,
    pub(super) previous: Option<SecretValue>,
}

impl Values {
    /// Opens those that an errand needs.
    pub(super) fn read(
        secret: &ManagedSecret,
        truth: &Truth,
        errand: &Errand,
        seen: &Observed,
        ctx: &Context,
    ) -> Result<Self, String> {
        let read = |version: Option<&VersionRecord>| {
            let version = version.ok_or("a version of the rotation is gone")?;
            value(secret, truth, version, seen, ctx)
        };
        let manifest = &truth.manifest;
        let read_pending = |id| read(manifest.version(id));
        // Only who changes something has to know what was before.
        let previous = manifest.staged(&Stage::Previous);
        let previous = previous.filter(|_| errand.changes());
        Ok(Self {
            current: read(manifest.current())?,
            pending: errand.pending().map(read_pending).transpose()?,
            previous: previous.map(|version| read(Some(version))).transpose()?,
        })
    }
}

/// Opens a version.
pub(super) fn value(
    secret: &ManagedSecret,
    truth: &Truth,
    version: &VersionRecord,
    seen: &Observed,
    ctx: &Context,
) -> Result<SecretValue, String> {
    let home = &truth.stored.claim.namespace_uid;
    let user = user_of(secret, Some(home), ctx.now());
    let access = KeyAccess::new(user, &seen.uses, ctx);
    opened::read_version(&truth.stored, version, &access).map_err(|(_, message)| message)
}

/// The value of another secret of the namespace, whose use is written down; what is in the way, in words.
pub(super) async fn other(
    secret: &ManagedSecret,
    name: &str,
    ctx: &Context,
) -> Result<Result<SecretValue, String>, Error> {
    let namespace = secret.namespace().unwrap_or_default();
    let reader = Reader::rotation_of(secret);
    match read_other(&namespace, name, reader, ctx).await? {
        Ok((value, uses)) => {
            uses.record(ctx).await?;
            Ok(Ok(value))
        }
        Err(problem) => Ok(Err(format!("ManagedSecret {name}: {problem}"))),
    }
}
