//! A replica's look at a source in another cluster: at one Secret there, which holds the value sealed for this installation.
//!
//! What comes from there is an envelope that opens for one source, version and sequence only; who may write that Secret is trusted
//! with the value, as the source's namespace is.

use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::super::observe::Observed;
use super::super::sources::native::plain;
use super::exported::{ENTRY, Exported, name_of};
use super::replication::{Denied, Offer, Replication, recorded};
use crate::api::ManagedSecret;
use crate::api::managed_secret::{ReplicaOf, SourceCluster};
use crate::api::names::SECRET_TYPE_REPLICA;
use crate::audit::{Entry, EventSource, Identity};
use crate::controllers::context::{Context, jitter, request_id};
use crate::controllers::error::{Error, call};
use crate::controllers::remote::{Access, AskError, ask};
use crate::controllers::uses::{REPLICATION, Uses, resource_of};
use crate::crypto::{Limits, OpenError, open_sealed, peek_sealed};
use crate::secrets::SecretValue;

/// Whether a secret follows a source in another cluster.
pub(crate) fn is_remote(secret: &ManagedSecret) -> bool {
    let source = secret.spec.replica_of.as_ref();
    source.is_some_and(|source| source.cluster.is_some())
}

/// Looks at the source of a replica.
pub(crate) async fn observe(
    seen: &Observed,
    source: &ReplicaOf,
    cluster: &SourceCluster,
    ctx: &Context,
) -> Result<Replication, Error> {
    let offer = match access(seen, cluster, ctx).await? {
        Ok(access) => offer(seen, source, &access, ctx).await,
        Err(problem) => Err(problem),
    };
    let offer = offer.map_err(|told| Denied { told, reason: None });
    let taken = matches!(&offer, Ok(Offer { value: Some(_), .. }));
    Ok(Replication {
        opened: taken.then(|| line(seen, source)),
        offer,
        uses: Uses::default(),
    })
}

/// How the cluster is reached, or why it is not.
async fn access(
    seen: &Observed,
    cluster: &SourceCluster,
    ctx: &Context,
) -> Result<Result<Access, String>, Error> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let name = &cluster.secret_ref.name;
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("Secret {namespace}/{name}");
    let problem = |what: String| {
        format!("spec.replicaOf.cluster.secretRef: Secret {namespace}/{name}: {what}")
    };
    let Some(secret) = call("get", &object, api.get_opt(name)).await? else {
        return Ok(Err(problem("it does not exist".to_owned())));
    };
    let access = match Access::read(&plain(secret)) {
        Ok(access) => access,
        Err(error) => return Ok(Err(problem(error.to_string()))),
    };
    if !ctx.remotes.allows(&access.server) {
        let server = &access.server;
        return Ok(Err(problem(format!(
            "{server} is no server that this installation may connect to; whoever administers the platform lists it in the chart value \
             replication.clusters"
        ))));
    }
    Ok(Ok(access))
}

/// What the source gives, or why it gives nothing.
async fn offer(
    seen: &Observed,
    source: &ReplicaOf,
    access: &Access,
    ctx: &Context,
) -> Result<Offer, String> {
    let name = name_of(&source.name);
    let place = format!("{}/{name} of {}", source.namespace, access.server);
    let secret = asked(&source.namespace, &name, access, ctx).await;
    let secret = secret.map_err(|error| {
        format!("Secret {place}: the server {error}. The value that this replica has stays")
    })?;
    taken(seen, source, &secret, ctx).map_err(|problem| {
        format!("Secret {place} {problem}. The value that this replica has stays")
    })
}

async fn asked(
    namespace: &str,
    name: &str,
    access: &Access,
    ctx: &Context,
) -> Result<Secret, AskError> {
    if !ctx.remotes.admit(&access.server, Instant::now()) {
        return Err(AskError::Unreachable);
    }
    let asked = ask(access, namespace, name).await;
    let answered = !matches!(asked, Err(AskError::Unreachable));
    ctx.remotes
        .note(&access.server, answered, Instant::now(), jitter());
    asked
}

/// Opens what was found, if it is another version than the one that the replica has.
fn taken(
    seen: &Observed,
    source: &ReplicaOf,
    secret: &Secret,
    ctx: &Context,
) -> Result<Offer, &'static str> {
    let envelope = secret.data.as_ref().and_then(|data| data.get(ENTRY));
    let exported = Exported::read(secret.annotations());
    let (Some(envelope), Some(exported), Some(SECRET_TYPE_REPLICA)) =
        (envelope, exported, secret.type_.as_deref())
    else {
        return Err("is not what a source writes for replicas");
    };
    let info = peek_sealed(&envelope.0).map_err(|error| not_opened(&error))?;
    let this = ctx.installation.id;
    if !info.recipients.iter().any(|to| to.installation == this) {
        return Err(NOT_SHARED);
    }
    let record = recorded(seen);
    let known =
        record.is_some_and(|r| r.source_uid == exported.uid && r.version == exported.version);
    // Whoever takes truth over, or starts afresh, may have to be given the value once more.
    let value = if known && seen.namespace.is_none() {
        None
    } else {
        Some(open(source, &envelope.0, &exported, ctx)?)
    };
    Ok(Offer {
        uid: exported.uid,
        version: exported.version,
        sequence: exported.sequence,
        value,
    })
}

fn open(
    source: &ReplicaOf,
    envelope: &[u8],
    exported: &Exported,
    ctx: &Context,
) -> Result<SecretValue, &'static str> {
    let Some(sealing) = ctx.keyring.sealing() else {
        return Err("cannot be opened, as the sealing key of this installation is not there");
    };
    let context = exported.context(&source.namespace, &source.name);
    let context = context.map_err(|_| ALTERED)?;
    let opened = open_sealed(envelope, &context, &sealing.keys, Limits::default());
    let bytes = opened.map_err(|error| not_opened(&error))?;
    SecretValue::decode(bytes.expose()).map_err(|_| ALTERED)
}

/// What is said of an envelope for others.
const NOT_SHARED: &str = "is not sealed for this installation: the source's spec.shareWith.clusters does not have its public sealing key";
/// What is said of an envelope of something else.
const ALTERED: &str = "does not open: it was altered, or was made for another source or version";

fn not_opened(error: &OpenError) -> &'static str {
    match error {
        OpenError::OtherInstallation { .. } => NOT_SHARED,
        OpenError::SealingKeyMissing { .. } => {
            "is sealed under a sealing key that this installation does not have (any more): put a newer one into the source's \
             spec.shareWith.clusters"
        }
        OpenError::ContextMismatch { .. }
        | OpenError::TooLong { .. }
        | OpenError::Malformed(_)
        | OpenError::NoKey
        | OpenError::SeveralKeys
        | OpenError::MaterialMissing { .. }
        | OpenError::Decrypt(_) => ALTERED,
    }
}

/// What the audit trail says of a value that is taken.
fn line(seen: &Observed, source: &ReplicaOf) -> Entry {
    let replica = resource_of(&seen.secret);
    let mut who = Identity::secret(&replica.namespace, &replica.name);
    who.via = Some(REPLICATION.to_owned());
    let event = EventSource::SecretsManager;
    let mut entry = Entry::allowed(event, "OpenSealedValue", who, &request_id());
    entry.resources = vec![replica];
    entry.reason = format!(
        "sealed for this installation by ManagedSecret {}/{} of another cluster",
        source.namespace, source.name
    );
    entry
}
