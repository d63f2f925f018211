//! Seals and writes the truth of a secret.

use std::collections::BTreeMap;

use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::super::observe::{Observed, truth_reference};
use super::super::sources::sealed;
use super::super::step::TruthWrite;
use crate::api::Reason;
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::uses::KeyAccess;
use crate::crypto::{EncryptionContext, peek};
use crate::secrets::{VersionRecord, manifest_context, version_context};
use crate::telemetry::Truth;
use crate::truth::Stored;

/// Seals the manifest and every version that is new or bound otherwise, and writes all of it in one update.
pub(crate) async fn write_truth(
    write: &TruthWrite,
    seen: &Observed,
    ctx: &Context,
) -> Result<(), Error> {
    let (namespace, name) = (
        seen.secret.namespace().unwrap_or_default(),
        seen.secret.name_any(),
    );
    let access = seen.key_access(ctx);
    let mut versions = BTreeMap::new();
    for version in write.manifest.versions() {
        versions.insert(
            version.id.to_string(),
            envelope(version, write, seen, &access)?,
        );
    }
    let context = manifest_context(&namespace, &name).map_err(Error::Context)?;
    let stored = Stored {
        manifest: seal(write, &context, &write.manifest.to_json(), &access)?,
        claim: write.claim.clone(),
        recovery: write.recovery.clone(),
        parked_since: None,
        approved: None,
        versions,
        needs: None,
        entries: sealed::needs(seen),
        resource_version: write.over.clone(),
        namespace,
        name,
    };
    if let Some(replication) = &seen.replication {
        replication.record(ctx).await?;
    }
    seen.issuers.record(ctx).await?;
    seen.uses.record(ctx).await?;
    sealed::record(seen, ctx).await?;
    // Once more, since that may have taken a while.
    ctx.check_leadership()?;
    let object = format!("truth of {}/{}", stored.namespace, stored.name);
    let (reference, writer) = (
        truth_reference(&seen.secret, ctx),
        ObjectRef::from_obj(&*seen.secret),
    );
    let writing = ctx.references.writing(&reference, &writer);
    writing.done(&call("write", object, ctx.sealed.write(&stored)).await?);
    ctx.metrics.truth_written(Truth::SealedSecret);
    announce_adoption(write, seen, ctx).await;
    Ok(())
}

/// An Event when the secret has taken over truth that another resource of its name had.
async fn announce_adoption(write: &TruthWrite, seen: &Observed, ctx: &Context) {
    let before = write
        .before
        .as_ref()
        .map(|(stored, _)| &stored.claim.object_uid);
    if before.is_some_and(|uid| *uid != write.claim.object_uid) {
        let note = "took over the stored secret of this name, with its values".to_owned();
        let secret = seen.secret.object_ref(&());
        ctx.event(&secret, EventType::Normal, Reason::Adopted, note)
            .await;
    }
}

/// The envelope of one version: made now, kept, or opened and made anew.
fn envelope(
    version: &VersionRecord,
    write: &TruthWrite,
    seen: &Observed,
    access: &KeyAccess<'_>,
) -> Result<Vec<u8>, Error> {
    let (namespace, name) = (
        seen.secret.namespace().unwrap_or_default(),
        seen.secret.name_any(),
    );
    let context = version_context(&namespace, &name, version).map_err(Error::Context)?;
    let fresh = write.fresh.iter().find(|(id, _)| id == version.id.as_str());
    if let Some((_, value)) = fresh {
        return seal(write, &context, value.encode().expose(), access);
    }
    let before = write.before.as_ref().and_then(|(stored, manifest)| {
        Some((
            stored.versions.get(version.id.as_str())?,
            manifest.version(&version.id)?,
        ))
    });
    let Some((envelope, old)) = before else {
        return Err(Error::VersionLost(version.id.to_string()));
    };
    let bound = old.key_id == version.key_id && old.context == version.context;
    if bound && peek(envelope).is_ok_and(|info| info.material == write.material) {
        return Ok(envelope.clone());
    }
    // The old message's header is never rewritten: its authentication tag uses nonce 0 under the message's key,
    // and a second header under the same key would give the authentication key away. So: a new message.
    let old_context = version_context(&namespace, &name, old).map_err(Error::Context)?;
    let opened = access
        .open(envelope, &old_context)
        .map_err(|source| Error::Crypto {
            operation: "open a version to encrypt it anew",
            source,
        })?;
    seal(write, &context, opened.expose(), access)
}

fn seal(
    write: &TruthWrite,
    context: &EncryptionContext,
    plaintext: &[u8],
    access: &KeyAccess<'_>,
) -> Result<Vec<u8>, Error> {
    access
        .seal(write.key, context, plaintext)
        .map_err(|source| Error::Crypto {
            operation: "seal the truth",
            source,
        })
}
