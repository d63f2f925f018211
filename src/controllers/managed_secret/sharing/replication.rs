//! A replica and its source: what the source gives, and what the replica makes of it; and with whom a source is shared.
//!
//! A replica pulls. It gets a value only if the source's resource lists its namespace now, and the source's truth has recorded
//! the UID that this namespace has now; so that nobody inherits anything by a name. The value is opened in the name of the
//! source, which may use its own key; the replica needs no right to that. What a replica that gets nothing has already stays.

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::super::observe::Observed;
use super::super::sources::value::copy_of;
use super::super::spec::user_of;
use super::super::step::{Refusal, internal};
use super::super::truth::base::Base;
use super::super::truth::opened::{open_manifest, read_version};
use super::remote_source;
use super::shares;
use crate::api::condition::NewCondition;
use crate::api::managed_secret::{ReplicaOf, ReplicationState, ReplicationStatus};
use crate::api::time::as_stored;
use crate::api::{ManagedSecret, Reason};
use crate::audit::{Decision, Entry, EventSource, Identity, Resource, ResourceType};
use crate::controllers::context::{Context, request_id};
use crate::controllers::error::{Error, call};
use crate::controllers::uses::{KeyAccess, REPLICATION, Reader, Uses};
use crate::keys::SecretUser;
use crate::secrets::{Manifest, ManifestError, ReplicaRecord, SecretValue, VersionId};
use crate::truth::Stored;

/// A replica's look at its source.
pub(crate) struct Replication {
    /// What it may have, or why it may have nothing.
    pub(crate) offer: Result<Offer, Denied>,
    /// The uses of the source's key that are not in the audit trail yet.
    pub(crate) uses: Uses,
    /// The line of the trail about a value that came sealed from another cluster.
    pub(crate) opened: Option<Entry>,
}

/// Why a source gives nothing.
#[derive(Debug)]
pub(crate) struct Denied {
    /// What is said of it where the replica is. Of what must not be known there, always the same.
    pub(crate) told: String,
    /// What is so, for the audit trail; `None` where nobody of this cluster denies anything.
    pub(crate) reason: Option<&'static str>,
}

/// What a source gives a replica.
pub(crate) struct Offer {
    /// UID of the source.
    pub(crate) uid: String,
    /// Its current version.
    pub(crate) version: VersionId,
    /// The sequence number of its manifest.
    pub(crate) sequence: u64,
    /// The value; `None` if the replica has taken it over before.
    pub(crate) value: Option<SecretValue>,
}

impl Replication {
    /// Writes down that the value was read, if it was. To be called before it leaves.
    pub(crate) async fn record(&self, ctx: &Context) -> Result<(), Error> {
        match &self.offer {
            Ok(Offer { value: Some(_), .. }) => {
                let opened = self.opened.iter().cloned().collect();
                ctx.trail.write_all(opened).await.map_err(Error::Audit)?;
                self.uses.record(ctx).await
            }
            _ => Ok(()),
        }
    }

    /// Writes down that the replica is given nothing, and why, unless its status says so already. It is refused whether that can
    /// be written or not.
    pub(crate) async fn record_denied(&self, replica: &ManagedSecret, ctx: &Context) {
        let Err(
            denied @ Denied {
                reason: Some(reason),
                ..
            },
        ) = &self.offer
        else {
            return;
        };
        let status = replica.status.as_ref();
        let old = status.and_then(|status| status.replication.as_ref());
        let known = old.and_then(|old| old.message.as_ref()) == Some(&denied.told);
        if let (false, Some(source)) = (known, &replica.spec.replica_of) {
            // That the line is lost is counted and shown by the trail itself.
            let _ = ctx
                .trail
                .write_all(vec![denial(replica, source, reason)])
                .await;
        }
    }
}

fn denial(replica: &ManagedSecret, source: &ReplicaOf, reason: &str) -> Entry {
    let mut who = Identity::secret(
        &replica.namespace().unwrap_or_default(),
        &replica.name_any(),
    );
    who.via = Some(REPLICATION.to_owned());
    let source = Resource {
        type_: ResourceType::ManagedSecret,
        namespace: source.namespace.clone(),
        name: source.name.clone(),
        uid: None,
        arn: None,
    };
    Entry {
        resources: vec![source],
        decision: Decision::Deny,
        reason: reason.to_owned(),
        error_code: Some("AccessDeniedException".to_owned()),
        ..Entry::allowed(
            EventSource::SecretsManager,
            "GetSecretValue",
            who,
            &request_id(),
        )
    }
}

/// Looks at the source of a replica.
pub(crate) async fn observe(
    seen: &Observed,
    source: &ReplicaOf,
    ctx: &Context,
) -> Result<Replication, Error> {
    if let Some(cluster) = &source.cluster {
        return remote_source::observe(seen, source, cluster, ctx).await;
    }
    let (namespace, name) = (&source.namespace, &source.name);
    let nothing = |why| Replication {
        offer: Err(why),
        uses: Uses::default(),
        opened: None,
    };
    if !ctx.scope.contains(namespace) {
        let reason = "its namespace is not served";
        return Ok(nothing(not_shared(source, reason)));
    }
    // The truth first: whoever is listed after it was read may have what was read.
    let truth = format!("truth of {namespace}/{name}");
    let stored = call("get", truth, ctx.sealed.get(namespace, name)).await?;
    let api: Api<ManagedSecret> = Api::namespaced(ctx.client.clone(), namespace);
    let object = format!("ManagedSecret {namespace}/{name}");
    let found = call("get", object, api.get_opt(name)).await?;
    let Some(Ok(stored)) = stored else {
        let reason = "nothing is stored of a ManagedSecret of that name";
        return Ok(nothing(not_shared(source, reason)));
    };
    let uses = Uses::of_source(
        source,
        &stored.claim.object_uid,
        Reader::replica(&seen.secret),
    );
    let user = user_of_source(found.as_ref(), &stored, ctx.now());
    let offer = offer(
        seen,
        source,
        found.as_ref(),
        &stored,
        &KeyAccess::new(user, &uses, ctx),
    );
    Ok(Replication {
        offer,
        uses,
        opened: None,
    })
}

/// The source as a user of its own key.
fn user_of_source(found: Option<&ManagedSecret>, stored: &Stored, now: Timestamp) -> SecretUser {
    let home = Some(stored.claim.namespace_uid.as_str());
    match found {
        Some(found) => user_of(found, home, now),
        None => SecretUser {
            namespace: stored.namespace.clone(),
            name: stored.name.clone(),
            namespace_uid: home.map(str::to_owned),
            pairs: std::collections::BTreeMap::new(),
            now,
        },
    }
}

/// The names of the clusters that truth is sealed for, as far as it opens.
pub(crate) fn clusters_of(stored: &Stored, ctx: &Context) -> Vec<String> {
    let uses = Uses::default();
    let access = KeyAccess::new(user_of_source(None, stored, ctx.now()), &uses, ctx);
    let manifest = open_manifest(stored, &access).ok();
    let export = manifest.as_ref().and_then(Manifest::export);
    export
        .into_iter()
        .flat_map(|export| export.recipients.keys().cloned())
        .collect()
}

/// What the source gives, or why it gives nothing.
fn offer(
    seen: &Observed,
    source: &ReplicaOf,
    found: Option<&ManagedSecret>,
    stored: &Stored,
    access: &KeyAccess<'_>,
) -> Result<Offer, Denied> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let listed = found.is_none_or(|found| lists(found, &namespace));
    if !listed {
        let reason = "its spec.shareWith does not name the replica's namespace";
        return Err(not_shared(source, reason));
    }
    let manifest = match open_manifest(stored, access) {
        Ok(manifest) => manifest,
        Err(_) if recorded(seen).is_some_and(|r| r.source_uid == stored.claim.object_uid) => {
            return Err(does_not_open(source));
        }
        // Whoever never had anything of it learns nothing of it.
        Err(_) => return Err(not_shared(source, "its manifest does not open")),
    };
    if seen.home.is_none() || manifest.share(&namespace) != seen.home.as_deref() {
        let reason = "the replica's namespace is not the one, by its UID, that it was shared with";
        return Err(not_shared(source, reason));
    }
    let found = found.ok_or_else(|| gone(source, stored.parked_since))?;
    let uid = found.uid().unwrap_or_default();
    if stored.claim.object_uid != uid || stored.parked_since.is_some() {
        return Err(not_adopted(source));
    }
    let current = manifest.current().ok_or_else(|| does_not_open(source))?;
    let known = recorded(seen).is_some_and(|r| r.source_uid == uid && r.version == current.id);
    // Whoever takes truth over, or starts afresh, may have to be given the value once more.
    let value = if known && seen.namespace.is_none() {
        None
    } else {
        let value = read_version(stored, current, access);
        Some(value.map_err(|_| does_not_open(source))?)
    };
    Ok(Offer {
        uid,
        version: current.id.clone(),
        sequence: manifest.sequence(),
        value,
    })
}

/// Whether a secret is shared with a namespace, as its resource says it now.
fn lists(source: &ManagedSecret, namespace: &str) -> bool {
    let listed = source.spec.share_with.iter().flat_map(|s| &s.namespaces);
    // The schema refuses both; a definition that was changed by hand must not make chains.
    source.spec.replica_of.is_none() && listed.into_iter().any(|listed| listed == namespace)
}

/// What the replica has of its source.
pub(crate) fn recorded(seen: &Observed) -> Option<&ReplicaRecord> {
    seen.truth.manifest()?.replica()
}

/// What is said of every source that gives the replica nothing, be it there or not: nobody learns from it which secrets another
/// namespace has.
fn not_shared(source: &ReplicaOf, reason: &'static str) -> Denied {
    let told = format!(
        "ManagedSecret {}/{} does not exist, or its spec.shareWith.namespaces does not name this namespace; a namespace that was \
         made anew inherits nothing, until it is taken out there and put in again. Whoever administers the source finds the \
         reason in the audit log",
        source.namespace, source.name
    );
    Denied {
        told,
        reason: Some(reason),
    }
}

fn gone(source: &ReplicaOf, since: Option<Timestamp>) -> Denied {
    let since = since.map_or_else(String::new, |since| format!(" since {since:.0}"));
    let told = format!(
        "ManagedSecret {}/{} is gone{since}; the value that this replica has stays. Apply the source again, or put stored: {{}} in \
         the place of replicaOf",
        source.namespace, source.name
    );
    Denied {
        told,
        reason: Some("its resource is gone"),
    }
}

fn not_adopted(source: &ReplicaOf) -> Denied {
    let told = format!(
        "ManagedSecret {}/{} was made anew and has not taken its stored value over yet; its own condition says why",
        source.namespace, source.name
    );
    Denied {
        told,
        reason: Some("its resource was made anew and has not taken the stored value over"),
    }
}

fn does_not_open(source: &ReplicaOf) -> Denied {
    let told = format!(
        "the stored value of ManagedSecret {}/{} cannot be opened now; its own condition says why",
        source.namespace, source.name
    );
    Denied {
        told,
        reason: Some("its stored value does not open"),
    }
}

/// What the replica takes, or why it takes nothing.
fn accepted<'a>(
    replication: &'a Replication,
    record: Option<&ReplicaRecord>,
) -> Result<&'a Offer, String> {
    let offer = replication.offer.as_ref();
    let offer = offer.map_err(|denied| denied.told.clone())?;
    match record {
        Some(record) if record.source_uid == offer.uid && offer.sequence < record.sequence => {
            Err(format!(
                "the source has sequence {}, but {} was seen before: somebody put older ciphertext back there. The value that this \
                 replica has stays",
                offer.sequence, record.sequence
            ))
        }
        _ => Ok(offer),
    }
}

/// The value of a replica, if it is another than the one that it has.
///
/// # Errors
/// The source gives nothing, and the replica has nothing either.
pub(crate) fn value(
    replication: &Replication,
    base: &Base<'_>,
) -> Result<Option<SecretValue>, Refusal> {
    let truth = base.truth();
    let record = truth.and_then(|truth| truth.manifest.replica());
    match (accepted(replication, record), truth) {
        (Ok(offer), _) => {
            let value = offer.value.as_ref();
            let copied = value.map(|value| copy_of(value.iter())).transpose()?;
            match (copied, truth) {
                (None, None) => Err(internal(&"neither a source's nor a stored value")),
                (copied, _) => Ok(copied),
            }
        }
        (Err(_), Some(_)) => Ok(None),
        (Err(message), None) => Err(Refusal(Reason::ReplicationFailed, message)),
    }
}

/// Writes down what the replica has of its source, or that it is none, and with whom a source is shared.
pub(crate) fn record(
    seen: &Observed,
    base: &Base<'_>,
    manifest: &mut Manifest,
    now: Timestamp,
) -> Result<(), ManifestError> {
    let before = base.truth().and_then(|truth| truth.manifest.replica());
    let replica = seen.replication.as_ref().and_then(|replication| {
        match (accepted(replication, before), before) {
            (Ok(offer), before) => Some(record_of(offer, before, now)),
            (Err(_), before) => before.cloned(),
        }
    });
    manifest.record_replica(replica)?;
    let shares = shares::records(seen, manifest);
    manifest.record_shares(shares).map(drop)
}

fn record_of(offer: &Offer, before: Option<&ReplicaRecord>, now: Timestamp) -> ReplicaRecord {
    let same =
        |record: &&ReplicaRecord| record.source_uid == offer.uid && record.version == offer.version;
    // A source that is only encrypted anew is no news: what is older than its current version has a lower sequence all the same.
    before
        .filter(same)
        .cloned()
        .unwrap_or_else(|| ReplicaRecord {
            source_uid: offer.uid.clone(),
            version: offer.version.clone(),
            sequence: offer.sequence,
            time: now,
        })
}

/// What is said when everything else is as it should be.
pub(crate) fn ready(seen: &Observed, manifest: &Manifest, ready: NewCondition) -> NewCondition {
    let Some(replication) = &seen.replication else {
        return ready;
    };
    match accepted(replication, manifest.replica()) {
        Ok(_) => ready,
        Err(message) => NewCondition::not_ready(Reason::ReplicationFailed, message),
    }
}

/// How a replica follows its source, as its status tells it; `None` for what is no replica.
pub(crate) fn status(
    secret: &ManagedSecret,
    manifest: Option<&Manifest>,
    ready: &NewCondition,
) -> Option<ReplicationStatus> {
    secret.spec.replica_of.as_ref()?;
    let status = match (ready.status, ready.reason.is_progress()) {
        (true, _) => ReplicationState::InSync,
        (false, true) => ReplicationState::InProgress,
        (false, false) => ReplicationState::Failed,
    };
    let old = secret.status.as_ref().and_then(|s| s.replication.as_ref());
    let taken = manifest.map(Manifest::replica);
    let (source_version, last_sync_time) = match taken {
        Some(record) => (
            record.map(|record| record.version.to_string()),
            record.map(|record| as_stored(record.time)),
        ),
        None => old.map_or((None, None), |old| {
            (old.source_version.clone(), old.last_sync_time.clone())
        }),
    };
    Some(ReplicationStatus {
        status,
        message: (!ready.status).then(|| ready.message.clone()),
        source_version,
        last_sync_time,
    })
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
