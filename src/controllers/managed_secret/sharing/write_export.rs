//! Writes what waits for replicas in other clusters.

use super::super::apply::{announce_repair, put};
use super::super::observe::Observed;
use super::export::{ExportWrite, body};
use crate::audit::{Entry, EventSource, Identity};
use crate::controllers::context::{Context, request_id};
use crate::controllers::error::Error;
use crate::controllers::uses::{REPLICATION, resource_of};

/// Writes it, after the audit trail has a line that names those who can open it.
pub(crate) async fn write_export(
    write: &ExportWrite,
    seen: &Observed,
    ctx: &Context,
) -> Result<(), Error> {
    ctx.trail
        .write(line(write, seen))
        .await
        .map_err(Error::Audit)?;
    let body = || Ok(body(write, &seen.secret));
    put(&write.name, write.over.as_ref(), body, seen, ctx).await?;
    if write.repair {
        announce_repair(&write.name, seen, ctx).await;
    }
    Ok(())
}

fn line(write: &ExportWrite, seen: &Observed) -> Entry {
    let source = resource_of(&seen.secret);
    let mut who = Identity::secret(&source.namespace, &source.name);
    who.via = Some(REPLICATION.to_owned());
    let clusters = write.clusters.join(", ");
    let mut entry = Entry::allowed(
        EventSource::SecretsManager,
        "ReplicateSecretToRegions",
        who,
        &request_id(),
    );
    entry.resources = vec![source];
    entry.reason = format!("sealed for the clusters {clusters}");
    let version = write.exported.version.to_string();
    let other = &mut entry.request_parameters.other;
    other.insert("clusters".to_owned(), clusters);
    other.insert("versionId".to_owned(), version);
    entry
}
