//! The values that an errand needs.

use crate::api::ManagedSecret;
use crate::controllers::context::Context;
use crate::controllers::managed_secret::{opened, user_of};
use crate::controllers::rotation_schedule::observe::{Observed, Truth};
use crate::controllers::uses::KeyAccess;
use crate::secrets::{SecretValue, Stage, VersionId, VersionRecord};

/// The values of a secret that count in a rotation.
pub(super) struct Values {
    pub(super) current: SecretValue,
    /// The one that is under way, where there is one.
    pub(super) pending: Option<SecretValue>,
    pub(super) previous: Option<SecretValue>,
}

impl Values {
    /// Opens them.
    pub(super) fn read(
        secret: &ManagedSecret,
        truth: &Truth,
        pending: Option<&VersionId>,
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
        let previous = pending.and_then(|_| manifest.staged(&Stage::Previous));
        Ok(Self {
            current: read(manifest.current())?,
            pending: pending.map(read_pending).transpose()?,
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
